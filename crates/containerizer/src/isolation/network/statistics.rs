//! What went through the interfaces of a network namespace, as the container sees it.

use crate::processes;
use wire::v1::ResourceStatistics;

/// Adds what went through all interfaces but the loopback, in the network of a container.
pub(super) fn add(supervisor: u32, out: &mut ResourceStatistics) -> Result<(), String> {
    let pid = processes::first_child(supervisor).ok_or("it has ended")?;
    let path = format!("/proc/{pid}/net/dev");
    let table = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {path}: {e}"))?;
    let [rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped] =
        sum(&table);
    out.net_rx_bytes = Some(rx_bytes);
    out.net_rx_packets = Some(rx_packets);
    out.net_rx_errors = Some(rx_errors);
    out.net_rx_dropped = Some(rx_dropped);
    out.net_tx_bytes = Some(tx_bytes);
    out.net_tx_packets = Some(tx_packets);
    out.net_tx_errors = Some(tx_errors);
    out.net_tx_dropped = Some(tx_dropped);
    Ok(())
}

/// Bytes, packets, errors and drops of what came in, then of what went out. Each line has eight columns of either.
fn sum(table: &str) -> [u64; 8] {
    let mut sums = [0; 8];
    for (name, columns) in table.lines().filter_map(|line| line.split_once(':')) {
        if name.trim() == "lo" {
            continue;
        }
        let columns: Vec<u64> =
            columns.split_whitespace().filter_map(|column| column.parse().ok()).collect();
        for (sum, at) in sums.iter_mut().zip([0, 1, 2, 3, 8, 9, 10, 11]) {
            *sum += columns.get(at).copied().unwrap_or(0);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_does_not_count() {
        let table = "Inter-|   Receive    |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n\
            lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n eth1:10 0 0 0 0 0 0 0 0 0 0 80 0 0 0 0\n";
        assert_eq!(sum(table), [11, 2, 3, 4, 5, 6, 7, 88]);
    }
}
