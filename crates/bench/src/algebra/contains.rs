//! Contains: whether some resources are part of others, for scalars, ports in many pieces, and both.

use super::{operations, parse, ports};
use crate::{Case, Scale, Watch};
use resources::Resources;
use std::hint::black_box;

pub(super) fn cases(scale: Scale) -> Vec<Case> {
    let last = if scale == Scale::Tiny { 16 } else { 16_000 };
    // Single ports with gaps of one; the last piece has the rest.
    let mut pieces: Vec<_> = (0..last / 2).map(|i| (1 + 2 * i, 1 + 2 * i)).collect();
    pieces.last_mut().expect("a piece").1 = last;
    let few = parse("cpus:1;mem:128");
    let more = parse("cpus:1;gpus:1;mem:128;disk:256");
    let (pieces, whole) = (ports(pieces), ports(vec![(1, last)]));
    let both = |a: &Resources, b: &Resources| {
        let mut sum = a.clone();
        sum += b;
        sum
    };
    let kinds = [
        ("scalars", few.clone(), more.clone(), [5_000, 5_000, 5_000]),
        ("ranges", pieces.clone(), whole.clone(), [100, 50, 1]),
        ("mixed", both(&few, &pieces), both(&more, &whole), [100, 50, 1]),
    ];
    let case = |(kind, small, large, numbers): (&'static str, Resources, Resources, [u64; 3])| {
        let counts = numbers.map(|number| operations(scale, number));
        Case::new("Contains", [("kind", &kind)], move |w| run(&small, &large, counts, w))
    };
    kinds.into_iter().map(case).collect()
}

fn run(small: &Resources, large: &Resources, counts: [u64; 3], watch: &mut Watch) {
    let mut repeat = |what, count, a: &Resources, b: &Resources, expected| {
        let found = watch.laps(what, count, || {
            (0..count).filter(|_| black_box(a).contains(black_box(b))).count()
        });
        assert_eq!(found > 0, expected, "{what}");
    };
    repeat("large contains small", counts[0], large, small, true);
    repeat("small contains large", counts[1], small, large, false);
    repeat("small contains itself", counts[2], small, &small.clone(), true);
}
