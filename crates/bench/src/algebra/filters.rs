//! Filters: parts of resources.

use super::{operations, parse};
use crate::{Case, Scale, Watch};
use resources::{Entry, Resources};
use std::hint::black_box;

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let count = operations(scale, 50_000);
    vec![Case::new("Filters", [("operations", &count)], move |w| run(count, w))]
}

fn run(count: u64, watch: &mut Watch) {
    let plain = parse("cpus:1;gpus:1;mem:128;disk:256");
    let revocable: Resources = [Entry::revocable_scalar("cpus", 1_000)].into_iter().collect();
    let reserved = parse("cpus(role):1;gpus(role):1;mem(role):128;disk(role):256");
    let mut repeat = |what, resources: &Resources, filter: &dyn Fn(&Resources) -> Resources| {
        assert_eq!(filter(resources), *resources, "everything passes");
        watch.laps(what, count, || {
            (0..count).for_each(|_| drop(black_box(filter(black_box(resources)))));
        });
    };
    repeat("not revocable", &plain, &Resources::nonrevocable);
    repeat("revocable", &revocable, &Resources::revocable);
    repeat("unreserved", &plain, &Resources::unreserved);
    repeat("reserved to a role", &reserved, &|r| r.filter(|e| e.reserved_to() == Some("role")));
}
