//! Workloads of the allocator and of its sorters.

mod cluster;
mod declines;
mod mix;
mod quota;
mod serving;
mod sort;
mod suppress;
mod volumes;

use crate::{Case, Scale};

pub(crate) fn cases(scale: Scale) -> Vec<Case> {
    [
        serving::cases,
        declines::cases,
        suppress::cases,
        volumes::cases,
        quota::cases,
        mix::cases,
        sort::cases,
    ]
    .into_iter()
    .flat_map(|cases| cases(scale))
    .collect()
}

/// Agents and frameworks of most of the peer's workloads.
fn agents_and_frameworks(scale: Scale) -> Vec<(u32, u32)> {
    const AGENTS: [u32; 6] = [1_000, 5_000, 10_000, 20_000, 30_000, 50_000];
    const FRAMEWORKS: [u32; 8] = [1, 50, 100, 200, 500, 1_000, 3_000, 6_000];
    const USUAL: [(u32, u32); 4] = [(1_000, 200), (10_000, 200), (10_000, 1_000), (50_000, 200)];
    let all = AGENTS.iter().flat_map(|a| FRAMEWORKS.iter().map(|f| (*a, *f)));
    scale.pick((12, 5), &all.collect::<Vec<_>>(), |size| USUAL.contains(size))
}
