//! The workloads of the peer's benchmarks of allocator, sorter and resources (Apache Mesos 1.12,
//! `src/tests/{hierarchical_allocator_benchmarks,hierarchical_allocator_tests,sorter_tests,resources_tests}.cpp`), by
//! their names there and with their parameters, so that figures can be put side by side.
//!
//! A workload checks what comes out of it as it runs; `cargo test` runs each at a tiny size.
#![forbid(unsafe_code)]

mod algebra;
mod case;
mod policy;
mod watch;

pub use case::{Case, Scale};
pub use watch::{Figures, Lap, Watch};

/// All workloads of a scale, in the order in which they run.
#[must_use]
pub fn cases(scale: Scale) -> Vec<Case> {
    let mut cases = policy::cases(scale);
    cases.extend(algebra::cases(scale));
    cases
}
