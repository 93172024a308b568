//! The cluster as a deterministic state machine: frameworks, agents, tasks and offers.
#![forbid(unsafe_code)]

pub mod contract;
pub mod registry;
