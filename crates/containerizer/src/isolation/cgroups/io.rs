//! `cgroups/blkio`: what a container reads from and writes to disks.

use super::{Controller, Group, Groups, Wanted};
use std::collections::BTreeMap;
use wire::v1::ResourceStatistics;
use wire::v1::cgroup_info::blkio::throttling::Statistics;
use wire::v1::cgroup_info::blkio::{self, Operation, Value};
use wire::v1::device::Number;

#[derive(Debug)]
pub(super) struct Io;

impl Controller for Io {
    fn kernel(&self) -> &'static [&'static str] {
        &["blkio"]
    }

    fn kernel_v2(&self) -> &'static [&'static str] {
        &["io"]
    }

    fn apply(&self, _groups: &Groups, _wanted: &Wanted<'_>, _is_new: bool) -> Result<(), String> {
        Ok(())
    }

    fn usage(&self, groups: &Groups, out: &mut ResourceStatistics) -> Result<(), String> {
        let group = groups.get("blkio").or_else(|_| groups.get("io"))?;
        let throttling = if group.is_v2 { of_v2(group)? } else { of_v1(group)? };
        out.blkio_statistics = Some(blkio::Statistics { throttling, ..Default::default() });
        Ok(())
    }
}

/// By device; without one: the sum of all.
type Devices = BTreeMap<Option<(u32, u32)>, Statistics>;

fn finish(devices: Devices) -> Vec<Statistics> {
    let number = |(major, minor): (u32, u32)| Number {
        major_number: major.into(),
        minor_number: minor.into(),
    };
    let named = |(device, statistics): (Option<(u32, u32)>, _)| Statistics {
        device: device.map(number),
        ..statistics
    };
    devices.into_iter().map(named).collect()
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines `8:0 Read 4096`, in the end `Total 4096`.
fn of_v1(group: &Group) -> Result<Vec<Statistics>, String> {
    let mut devices = Devices::new();
    for (file, is_bytes) in
        [("blkio.throttle.io_serviced", false), ("blkio.throttle.io_service_bytes", true)]
    {
        for line in group.read(file)?.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (device, operation, value) = match words[..] {
                [name, operation, value] => (device(name), operation, value),
                [operation, value] => (None, operation, value),
                _ => continue,
            };
            let Ok(value) = value.parse() else { continue };
            let operation = Operation::from_str_name(&operation.to_uppercase());
            let value = Value { op: operation.map(|o| o as i32), value: Some(value) };
            let statistics = devices.entry(device).or_default();
            if is_bytes {
                statistics.io_service_bytes.push(value);
            } else {
                statistics.io_serviced.push(value);
            }
        }
    }
    Ok(finish(devices))
}

/// Lines `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`; sums as version 1 has them are made of them.
fn of_v2(group: &Group) -> Result<Vec<Statistics>, String> {
    const NAMES: [(&str, &str, Operation); 3] = [
        ("rios", "rbytes", Operation::Read),
        ("wios", "wbytes", Operation::Write),
        ("dios", "dbytes", Operation::Discard),
    ];
    let mut devices = Devices::new();
    let mut sums = (0, 0);
    for line in group.read("io.stat")?.lines() {
        let Some((name, rest)) = line.split_once(' ') else { continue };
        let Some(device) = device(name) else { continue };
        let pairs = rest.split_whitespace().filter_map(|pair| pair.split_once('='));
        let numbers: BTreeMap<&str, u64> =
            pairs.filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
        let mut totals = (0, 0);
        let statistics = devices.entry(Some(device)).or_default();
        let push = |list: &mut Vec<Value>, operation: Operation, value: u64| {
            list.push(Value { op: Some(operation as i32), value: Some(value) });
        };
        for (count, size, operation) in NAMES {
            let number = |name| numbers.get(name).copied().unwrap_or(0);
            push(&mut statistics.io_serviced, operation, number(count));
            push(&mut statistics.io_service_bytes, operation, number(size));
            totals = (totals.0 + number(count), totals.1 + number(size));
        }
        push(&mut statistics.io_serviced, Operation::Total, totals.0);
        push(&mut statistics.io_service_bytes, Operation::Total, totals.1);
        sums = (sums.0 + totals.0, sums.1 + totals.1);
    }
    let total = |value| vec![Value { op: Some(Operation::Total as i32), value: Some(value) }];
    devices.insert(
        None,
        Statistics { device: None, io_serviced: total(sums.0), io_service_bytes: total(sums.1) },
    );
    Ok(finish(devices))
}
