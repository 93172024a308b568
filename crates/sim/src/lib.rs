//! The cluster simulator: the real master core, allocator and agent cores under virtual time, with frameworks that
//! know what they asked for, and with faults.
//!
//! Nothing here is asynchronous: an agenda of events ordered by time is popped one by one, each is an input of one
//! core, and the effects of that step become new events. One seed decides everything, so that a failing run is
//! replayed exactly by its seed.
//!
//! ```text
//!   agenda ──pop──► core.step ──effects──► network / disk / containers / registry models ──► agenda
//! ```
#![forbid(unsafe_code)]

mod agent_node;
mod checks;
mod coordination;
mod executor;
pub mod failover;
mod framework;
pub mod invariants;
mod launching;
mod lending;
pub mod linearizability;
mod master_node;
mod network;
mod operations;
mod operator;
mod options;
mod plan;
mod sabotage;
pub mod study;
mod trace;
pub mod what_if;
mod world;

pub use coordination::Pace;
pub use options::{Fault, Options};
pub use sabotage::Sabotage;
pub use world::{Failure, Report, World};
