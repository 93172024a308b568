//! One node as a deterministic state machine: frameworks, executors, tasks, containers and status updates.
//!
//! [`Agent::step`] takes an [`contract::Input`] and appends [`contract::Effect`]s; it does no IO and reads no clock.
//! For command tasks and pods the agent itself speaks as Mesos' command executor and default executor would
//! (docs/decisions/003-command-tasks-without-executor.md).
//!
//! Checks of tasks: `checks` (when and how), `check_results` (what follows).
//!
//! Architecture invariant: an update of a framework that checkpoints leaves only after the store has it.
#![forbid(unsafe_code)]

mod admission;
mod agent;
mod allotment;
mod appearance;
mod check_results;
mod checks;
mod compact;
mod compact_checks;
mod containers;
pub mod contract;
mod draining;
mod environment;
mod executor_api;
mod gc;
mod kill;
mod launch;
mod names;
mod nested;
mod operations;
mod oversubscription;
mod pods;
mod preemption;
mod reconfiguration;
mod recovery;
mod refusal;
mod registration;
mod removal;
mod state;
mod status;
mod updates;
mod volumes;

pub use agent::Agent;
pub use allotment::{Allotment, Limitable};
pub use compact::compact;
pub use gc::GarbageCollection;
pub use oversubscription::{Estimator, LoadThresholds, Oversubscription, as_revocable};
pub use registration::CAPABILITIES;
pub use state::{Drain, Executor, ExecutorKind, ExecutorState, Framework, State, Task};
pub use state::{Launched, LaunchedState};
pub use volumes::shown_volumes;
