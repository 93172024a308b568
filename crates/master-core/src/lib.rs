//! The cluster as a deterministic state machine: frameworks, agents, tasks and offers.
//!
//! [`Master::step`] takes an [`contract::Input`] and appends [`contract::Effect`]s; it does no IO and reads no clock.
//! The policy of offers is an [`allocator::Allocator`].
//!
//! Architecture invariant: an agent is admitted, unreachable, reachable or gone only after the registry has it.
#![forbid(unsafe_code)]

mod accept;
mod acknowledged;
mod agents;
mod announce;
mod borrowers;
mod calls;
pub mod contract;
mod draining;
mod election;
mod frameworks;
pub mod history;
mod in_words;
mod inverse_offers;
mod kill;
mod latencies;
mod lease;
mod lending;
mod liveness;
mod maintenance;
mod master;
mod minimum;
mod offers;
mod operations;
mod operator;
mod overlap;
mod oversubscription;
mod quota;
mod recall;
mod reconcile;
mod registering;
mod registration;
pub mod registry;
mod removal;
mod returning;
pub mod schedule;
mod share;
mod state;
mod subscribe;
mod tasks;
mod update_framework;
mod validate;
pub mod why;

pub use announce::Announcement;
pub use draining::Deactivated;
pub use frameworks::options as framework_options;
pub use latencies::Latencies;
pub use maintenance::{Machine, Maintenance, Scheduled};
pub use master::Master;
pub use share::{Share, ShareConfig};
pub use state::{
    Agent, Executor, Framework, Offer, Operation, State, Task, is_operation_terminal, is_terminal,
};
pub use validate::call::check as check_call;
