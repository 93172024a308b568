//! One node as a deterministic state machine: tasks, executors, containers and status updates.
#![forbid(unsafe_code)]

pub mod contract;
