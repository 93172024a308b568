//! ArithmeticOverlapping: sums and differences of ports, each piece of which overlaps with one of the other's.

use super::{operations, ports};
use crate::{Case, Scale, Watch};
use resources::Resources;
use std::hint::black_box;

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let case = |pieces: u64| {
        let count = operations(scale, 1_000);
        let size: [(_, &dyn std::fmt::Display); 2] = [("pieces", &pieces), ("operations", &count)];
        Case::new("ArithmeticOverlapping", size, move |w| run(pieces, count, w))
    };
    scale.pick(3, &[10, 100, 1_000], |_| true).into_iter().map(case).collect()
}

fn run(pieces: u64, count: u64, watch: &mut Watch) {
    // 1-6, 11-16, … and 3-8, 13-18, …
    let from = |first: u64| {
        ports((0..pieces).map(|i| (first + 10 * i, first + 10 * i + 5)).collect::<Vec<_>>())
    };
    let (a, b) = (from(1), from(3));
    let mut repeat = |what, operation: &dyn Fn(&mut Resources), each: i64| {
        let mut result = Resources::new();
        watch.laps(what, count, || {
            for _ in 0..count {
                result = black_box(&a).clone();
                operation(&mut result);
            }
        });
        let expected = each * i64::try_from(pieces).unwrap_or(i64::MAX) * 1000;
        assert_eq!(result.quantity("ports"), expected, "{what}");
    };
    repeat("a + b", &|result| *result += black_box(&b), 8);
    repeat("a - b", &|result| *result -= black_box(&b), 2);
}
