//! Namespaces of containers beside those of their file system.

mod ipc;
mod pid;

pub(super) use ipc::Ipc;
pub(super) use pid::Pid;
