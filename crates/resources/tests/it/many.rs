//! Large collections behave as small ones: what is done at once is the same as done entry by entry.

use proptest::prelude::*;
use resources::{Entry, Identity, Resources, Value};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::v1;

/// A scalar reserved to one of a hundred roles, or one of a hundred volumes, of which there may be several.
fn entry() -> impl Strategy<Value = Entry> {
    (0_u32..100, any::<bool>(), 1_i64..3).prop_map(|(number, is_volume, milli)| {
        let mut identity = Identity::default();
        if is_volume {
            let persistence =
                v1::resource::disk_info::Persistence { id: number.to_string(), principal: None };
            identity.name = "disk".to_owned();
            identity.shared = true;
            identity.disk = Some(Box::new(v1::resource::DiskInfo {
                persistence: Some(persistence),
                ..Default::default()
            }));
        } else {
            identity.name = "cpus".to_owned();
            identity.reservations = vec![v1::resource::ReservationInfo {
                role: Some(number.to_string()),
                ..Default::default()
            }];
        }
        let milli = if is_volume { 1 } else { milli };
        Entry { identity: Arc::new(identity), value: Value::Scalar(milli) }
    })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(entry(), 40..200)
}

fn one_by_one(entries: &[Entry]) -> Resources {
    let mut out = Resources::new();
    entries.iter().for_each(|entry| out.add(entry.clone()));
    out
}

fn listed(resources: &Resources) -> Vec<Entry> {
    resources.iter().cloned().collect()
}

proptest! {
    #[test]
    fn sums(a in entries(), b in entries()) {
        let collected: Resources = a.iter().cloned().collect();
        prop_assert_eq!(listed(&collected), listed(&one_by_one(&a)));
        let mut sum = collected;
        sum += &one_by_one(&b);
        let mut expected = one_by_one(&a);
        listed(&one_by_one(&b)).into_iter().for_each(|entry| expected.add(entry));
        prop_assert_eq!(listed(&sum), listed(&expected));
    }

    #[test]
    fn differences_and_containment(a in entries(), b in entries(), is_part in any::<bool>()) {
        let whole = one_by_one(&a);
        let other = if is_part { one_by_one(&a[..a.len() / 2]) } else { one_by_one(&b) };
        let mut difference = whole.clone();
        difference -= &other;
        let (mut expected, mut is_contained) = (whole.clone(), true);
        for entry in other.iter() {
            let one: Resources = [entry.clone()].into_iter().collect();
            is_contained &= expected.contains(&one);
            expected -= &one;
        }
        prop_assert_eq!(listed(&difference), listed(&expected));
        prop_assert_eq!(whole.contains(&other), is_contained);
        if is_part {
            prop_assert!(is_contained);
        }
    }

    #[test]
    fn ranges_are_sets_of_numbers(a in numbers(), b in numbers()) {
        let (ports_a, ports_b) = (ports(&a), ports(&b));
        let mut sum = ports_a.clone();
        sum += &ports_b;
        prop_assert_eq!(listed(&sum), listed(&ports(&a.union(&b).copied().collect())));
        let mut difference = ports_a.clone();
        difference -= &ports_b;
        prop_assert_eq!(listed(&difference), listed(&ports(&a.difference(&b).copied().collect())));
        prop_assert_eq!(ports_a.contains(&ports_b), b.is_subset(&a));
        prop_assert!(sum.contains(&ports_a) && sum.contains(&ports_b));
    }
}

fn numbers() -> impl Strategy<Value = BTreeSet<u64>> {
    proptest::collection::btree_set(0_u64..60, 0..50)
}

/// As text, number by number.
fn ports(numbers: &BTreeSet<u64>) -> Resources {
    let single: Vec<String> = numbers.iter().map(|n| format!("{n}-{n}")).collect();
    Resources::parse(&format!("ports:[{}]", single.join(",")), "*").expect("ports")
}

#[test]
fn a_sum_of_many_is_the_same_as_one_added_after_the_other() {
    let volume = |id: usize, shared: bool| {
        let mut volume = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 5},
            "reservations": [{"type": "DYNAMIC", "role": "a"}],
            "disk": {"persistence": {"id": format!("id{id}")},
                "volume": {"container_path": "data", "mode": "RW"}}});
        if shared {
            volume["shared"] = json!({});
        }
        wire::json::from_value(&volume).expect("a resource")
    };
    let one = |i: usize| {
        let volumes = [volume(i % 300, false), volume(i % 70, true)];
        let mut all = Resources::from_wire(&volumes).expect("resources");
        all += &Resources::parse("cpus:1;mem:5;cpus(a):1;ports:[1-5]", "*").expect("resources");
        all
    };
    let all: Vec<Resources> = (0..600).map(one).collect();
    let mut expected = Resources::new();
    all.iter().for_each(|r| expected += r);
    let sum: Resources = all.iter().sum();
    assert_eq!(sum, expected);
    assert_eq!(sum.iter().count(), expected.iter().count());
    assert_eq!((sum.scalar("cpus"), sum.scalar("disk")), (1_200_000, 6_000_000));
    all.iter().for_each(|r| expected -= r);
    assert!(expected.is_empty(), "{expected}");
    assert!(std::iter::empty::<&Resources>().sum::<Resources>().is_empty());
}
