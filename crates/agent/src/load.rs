//! How busy this node is, from `/proc`.

use agent_core::contract::Measured;
use std::fs;
use std::io::{Error, Result};
use std::time::Duration;

/// The kernel counts cpu time for user space in hundredths of a second.
const TICK_MILLIS: u64 = 10;

pub(crate) fn measure() -> Result<Measured> {
    parse(&fs::read_to_string("/proc/loadavg")?, &fs::read_to_string("/proc/stat")?)
        .ok_or_else(|| Error::other("unexpected content of /proc/loadavg or /proc/stat"))
}

fn parse(loadavg: &str, stat: &str) -> Option<Measured> {
    let mut loads = loadavg.split_whitespace().skip(1).map(|w| w.parse::<f64>().ok());
    let mut load = || loads.next().flatten().map(resources::to_milli);
    let (load_5, load_15) = (load()?, load()?);
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|w| w.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what guests use is part of user.
    let busy = [0, 1, 2, 5, 6].iter().map(|at| ticks.get(*at).copied()).sum::<Option<u64>>()?;
    let busy = Duration::from_millis(busy.saturating_mul(TICK_MILLIS));
    Some(Measured { load_5, load_15, busy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy_time() {
        let stat = "cpu  100 10 40 9000 500 5 45 0 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n";
        let measured = parse("0.50 1.25 2.75 1/100 4242\n", stat).expect("readable");
        assert_eq!((measured.load_5, measured.load_15), (1250, 2750));
        assert_eq!(measured.busy, Duration::from_secs(2));
        assert_eq!(parse("", stat), None);
        // Many cpus, up for long.
        let stat = "cpu  100 10 40 90000000000 500 5 45 0 0 0\n";
        let measured = parse("0.50 1.25 2.75 1/100 4242\n", stat).expect("readable");
        assert_eq!(measured.busy, Duration::from_secs(2));
    }
}
