//! Workloads of resource arithmetic.

mod arithmetic;
mod contains;
mod filters;
mod ranges;
mod text;

use crate::{Case, Scale};
use resources::{Entry, Identity, Resources, Value};
use std::sync::Arc;

pub(crate) fn cases(scale: Scale) -> Vec<Case> {
    [arithmetic::cases, filters::cases, contains::cases, text::cases, ranges::cases]
        .into_iter()
        .flat_map(|cases| cases(scale))
        .collect()
}

/// Operations of a workload: the peer's number of them, but few when it is only to be seen that they work.
fn operations(scale: Scale, number: u64) -> u64 {
    if scale == Scale::Tiny { number.min(3) } else { number }
}

fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").expect("resources")
}

fn ports(ranges: Vec<(u64, u64)>) -> Resources {
    let identity = Identity { name: "ports".to_owned(), ..Identity::default() };
    let entry = Entry { identity: Arc::new(identity), value: Value::Ranges(ranges) };
    [entry].into_iter().collect()
}
