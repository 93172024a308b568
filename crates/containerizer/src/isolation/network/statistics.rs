//! What went through a network namespace, as the container sees it.

use super::round_trips;
use crate::processes;
use serde_json::{Map, Value};
use std::path::PathBuf;
use wire::v1::{ResourceStatistics, SnmpStatistics};

/// What is told beside what went through interfaces: flags of the agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkStatistics {
    /// Not `--network_cni_metrics`: nothing is told.
    pub none: bool,
    /// `--network_enable_snmp_statistics`: counters of the protocols.
    pub protocols: bool,
    /// `--network_enable_socket_statistics_summary`: how many connections there are.
    pub connections: bool,
    /// `--network_enable_socket_statistics_details`: how long their other ends take to answer.
    pub round_trips: bool,
}

/// Adds what went through all interfaces but the loopback, in the network of a container.
pub(super) fn add(
    supervisor: u32,
    options: NetworkStatistics,
    out: &mut ResourceStatistics,
) -> Result<(), String> {
    if options.none {
        return Ok(());
    }
    let pid = processes::first_child(supervisor).ok_or("it has ended")?;
    let read = |name: &str| {
        let path = format!("/proc/{pid}/net/{name}");
        std::fs::read_to_string(&path).map_err(|e| format!("cannot read {path}: {e}"))
    };
    if options.protocols {
        out.net_snmp_statistics = Some(protocols(&read("snmp")?));
    }
    if options.connections {
        let [active, waiting] = connections(&read("sockstat")?);
        out.net_tcp_active_connections = active;
        out.net_tcp_time_wait_connections = waiting;
    }
    if options.round_trips {
        let namespace = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let times = round_trips::of(&namespace).map_err(|e| {
            format!("cannot look at the connections in {}: {e}", namespace.display())
        })?;
        out.net_tcp_rtt_microsecs_p50 = round_trips::at(&times, 50);
        out.net_tcp_rtt_microsecs_p90 = round_trips::at(&times, 90);
        out.net_tcp_rtt_microsecs_p95 = round_trips::at(&times, 95);
        out.net_tcp_rtt_microsecs_p99 = round_trips::at(&times, 99);
    }
    let table = read("dev")?;
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

/// Counters of protocols. A line has their names, which are those of the fields, and the next one their values.
fn protocols(table: &str) -> SnmpStatistics {
    let lines: Vec<&str> = table.lines().collect();
    let mut all = Map::new();
    for pair in lines.chunks_exact(2) {
        let (Some((protocol, names)), Some((_, values))) =
            (pair[0].split_once(':'), pair[1].split_once(':'))
        else {
            continue;
        };
        let values = values.split_whitespace().filter_map(|value| value.parse::<i64>().ok());
        let counters = names.split_whitespace().map(str::to_owned).zip(values.map(Value::from));
        let counters: Map<String, Value> = counters.collect();
        all.insert(format!("{}_stats", protocol.to_lowercase()), counters.into());
    }
    wire::json::from_value(&all.into()).unwrap_or_default()
}

/// TCP connections that are in use, and that wait for their end.
fn connections(table: &str) -> [Option<f64>; 2] {
    let line = table.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    ["inuse", "tw"].map(|name| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse().ok()
    })
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

    #[test]
    fn protocols_and_connections() {
        let table = "Ip: Forwarding InReceives OutTransmits\nIp: 1 12 7\nIcmpMsg: InType3\nIcmpMsg: 5\n\
            Tcp: MaxConn ActiveOpens\nTcp: -1 3\nUdp: InDatagrams\nUdp: 9\n";
        let made = protocols(table);
        let ip = made.ip_stats.expect("IP");
        assert_eq!((ip.forwarding, ip.in_receives, ip.out_requests), (Some(1), Some(12), None));
        let tcp = made.tcp_stats.expect("TCP");
        assert_eq!((tcp.max_conn, tcp.active_opens), (Some(-1), Some(3)));
        assert_eq!(made.udp_stats.expect("UDP").in_datagrams, Some(9));
        assert_eq!(made.icmp_stats, None);
        let table =
            "sockets: used 9\nTCP: inuse 4 orphan 0 tw 2 alloc 6 mem 1\nUDP: inuse 1 mem 0\n";
        assert_eq!(connections(table), [Some(4.0), Some(2.0)]);
    }
}
