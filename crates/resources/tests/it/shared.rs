//! Shared volumes: copies are counted (spec/master.md 3.2).

use resources::{Entry, Identity, Resources, Value};
use std::sync::Arc;
use wire::v1;

/// A volume of 64 MB that is mounted at `path`.
fn volume(id: &str, path: &str, shared: bool) -> Resources {
    let persistence = v1::resource::disk_info::Persistence { id: id.to_owned(), principal: None };
    let volume = v1::Volume {
        mode: v1::volume::Mode::Rw as i32,
        container_path: path.to_owned(),
        ..Default::default()
    };
    let disk = v1::resource::DiskInfo {
        persistence: Some(persistence),
        volume: Some(volume),
        ..Default::default()
    };
    let reservation = v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic as i32),
        role: Some("a".to_owned()),
        ..Default::default()
    };
    let identity = Identity {
        name: "disk".to_owned(),
        disk: Some(Box::new(disk)),
        reservations: vec![reservation],
        shared,
        ..Identity::default()
    };
    let entry = Entry { identity: Arc::new(identity), value: Value::Scalar(64_000) };
    std::iter::once(entry).collect()
}

fn times(resources: &Resources, times: u32) -> Resources {
    let mut all = Resources::new();
    (0..times).for_each(|_| all += resources);
    all
}

#[test]
fn what_is_added_so_often_can_be_taken_away_so_often() {
    let one = volume("v", "data", true);
    let mut three = times(&one, 3);
    assert_eq!(three.iter().count(), 3);
    assert_eq!(three.scalar("disk"), 3 * 64_000);
    assert_eq!(three.to_wire().len(), 3);
    three -= &times(&one, 2);
    assert_eq!(three, one);
    three -= &one;
    assert!(three.is_empty());
    three -= &one;
    assert!(three.is_empty());
}

#[test]
fn containment_compares_counts() {
    let one = volume("v", "data", true);
    let other = volume("w", "data", true);
    let two = times(&one, 2);
    assert!(two.contains(&one) && two.contains(&two));
    assert!(!one.contains(&two));
    assert_ne!(one, two);
    let mut both = one.clone();
    both += &other;
    assert!(!two.contains(&both) && !both.contains(&two));
}

#[test]
fn a_volume_that_is_not_shared_is_another_resource() {
    let (shared, own) = (volume("v", "data", true), volume("v", "data", false));
    assert!(!shared.contains(&own) && !own.contains(&shared));
    let mut both = shared.clone();
    both += &own;
    assert_eq!(both.shared(), shared);
    assert_eq!(both.nonshared(), own);
}

#[test]
fn copies_that_are_mounted_in_different_places_keep_their_places() {
    let (data, logs) = (volume("v", "data", true), volume("v", "logs", true));
    let mut both = times(&data, 2);
    both += &logs;
    let paths = |all: &Resources| -> Vec<String> {
        let volumes = all.iter().filter_map(|e| e.identity.disk.as_ref()?.volume.clone());
        volumes.map(|v| v.container_path).collect()
    };
    assert_eq!(paths(&both), ["data", "data", "logs"]);
    // Where it is mounted does not make another resource of it.
    assert_eq!(both, times(&logs, 3));
    both -= &times(&logs, 3);
    assert!(both.is_empty());
}

#[test]
fn a_destroyed_volume_gives_back_its_disk() {
    let one = volume("v", "data", true);
    let plain = Resources::parse("disk:64", "*").expect("resources");
    assert_eq!(one.without_volumes().to_unreserved(), plain);
    assert_eq!(times(&one, 3).without_volumes().scalar("disk"), 3 * 64_000);
}

/// It would take minutes if each copy was compared with all others.
#[test]
fn many_copies_take_no_longer_than_few() {
    let mut some = volume("v", "data", true);
    some += &Resources::parse("cpus:1", "*").expect("resources");
    let mut all = times(&some, 100_000);
    assert_eq!(all.scalar("cpus"), 100_000_000);
    (0..100_000).for_each(|_| all -= &some);
    assert!(all.is_empty());
}
