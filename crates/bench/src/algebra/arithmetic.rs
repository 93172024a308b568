//! Arithmetic: sums and differences of scalars, of many reservations, and of shared volumes.

use super::{operations, parse};
use crate::{Case, Scale, Watch};
use resources::{Entry, Identity, Resources};
use std::sync::Arc;
use wire::v1;

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let scalars = parse("cpus:1;gpus:1;mem:128;disk:256");
    let reservations = if scale == Scale::Tiny { 5 } else { 1_000 };
    let mut shared = parse("cpus:1;mem:128");
    shared += &shared_volume();
    let kinds = [
        ("scalars", scalars.clone(), 50_000),
        ("reservations", reserved(&scalars, reservations), 10),
        ("shared", shared, 50_000),
    ];
    let case = |(kind, resources, number): (&'static str, Resources, u64)| {
        let count = operations(scale, number);
        let size: [(_, &dyn std::fmt::Display); 2] = [("kind", &kind), ("operations", &count)];
        Case::new("Arithmetic", size, move |w| run(&resources, count, w))
    };
    kinds.into_iter().map(case).collect()
}

/// Each of the resources so many times, each time with a reservation of its own.
fn reserved(resources: &Resources, times: u32) -> Resources {
    let all = (0..times).flat_map(|i| resources.iter().map(move |entry| (i, entry)));
    let reserve = |(i, entry): (u32, &Entry)| {
        let label = v1::Label { key: format!("key_{i}"), value: Some(format!("value_{i}")) };
        let reservation = v1::resource::ReservationInfo {
            r#type: Some(v1::resource::reservation_info::Type::Dynamic as i32),
            role: Some(i.to_string()),
            principal: Some(format!("principal_{i}")),
            labels: Some(v1::Labels { labels: vec![label] }),
        };
        let identity = Identity { reservations: vec![reservation], ..(*entry.identity).clone() };
        Entry { identity: Arc::new(identity), value: entry.value.clone() }
    };
    all.map(reserve).collect()
}

fn shared_volume() -> Resources {
    let disk = Box::new(v1::resource::DiskInfo {
        persistence: Some(v1::resource::disk_info::Persistence {
            id: "persistentId".to_owned(),
            principal: None,
        }),
        volume: Some(v1::Volume {
            mode: v1::volume::Mode::Rw as i32,
            container_path: "/volume".to_owned(),
            ..v1::Volume::default()
        }),
        ..Default::default()
    });
    let reserved = parse("disk(test):256");
    let with_disk = |entry: &Entry| {
        let identity =
            Identity { disk: Some(disk.clone()), shared: true, ..(*entry.identity).clone() };
        Entry { identity: Arc::new(identity), value: entry.value.clone() }
    };
    reserved.iter().map(with_disk).collect()
}

fn run(resources: &Resources, count: u64, watch: &mut Watch) {
    let mut total = Resources::new();
    watch.laps("total += r", count, || (0..count).for_each(|_| total += resources));
    watch.laps("total -= r", count, || (0..count).for_each(|_| total -= resources));
    assert!(total.is_empty(), "{total}");
    watch.laps("total = total + r", count, || {
        for _ in 0..count {
            let mut sum = total.clone();
            sum += resources;
            total = sum;
        }
    });
    watch.laps("total = total - r", count, || {
        for _ in 0..count {
            let mut difference = total.clone();
            difference -= resources;
            total = difference;
        }
    });
    assert!(total.is_empty(), "{total}");
}
