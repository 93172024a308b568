//! Rules for what frameworks send (spec/master.md 1.6), with the texts that they are told.

pub(crate) mod call;
pub(crate) mod command;
pub(crate) mod framework;
pub(crate) mod ids;
pub(crate) mod operation;
pub(crate) mod resources;
pub(crate) mod task;
