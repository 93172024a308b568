//! Sockets that listen in the host's network, and whose they are.

use std::collections::BTreeMap;

/// State of a socket that listens, as the kernel's tables have it.
const LISTEN: &str = "0A";

/// Ports of TCP sockets that listen, by the sockets' numbers.
pub(super) fn listening() -> BTreeMap<u64, u16> {
    let tables = ["tcp", "tcp6"].map(|name| format!("/proc/self/net/{name}"));
    let tables = tables.map(|path| std::fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| parse(table)).collect()
}

/// The columns are: number, own address, other address, state, six others, and the socket's number.
fn parse(table: &str) -> impl Iterator<Item = (u64, u16)> {
    table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = columns.get(1)?.rsplit_once(':')?;
        let inode = columns.get(9)?.parse().ok()?;
        let listens = columns.get(3) == Some(&LISTEN);
        listens.then_some((inode, u16::from_str_radix(port, 16).ok()?))
    })
}

/// Numbers of the sockets that a process has open; none if it has ended.
pub(super) fn of(pid: u32) -> Vec<u64> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    let number = |target: std::path::PathBuf| {
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    targets.filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_listen() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
            \x20  1: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n";
        assert_eq!(parse(table).collect::<Vec<_>>(), [(4711, 8080)]);
    }
}
