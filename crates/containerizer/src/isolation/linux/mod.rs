//! What Linux lets a process do.

mod capabilities;
mod devices;
mod no_new_privileges;
mod seccomp;

pub(super) use capabilities::Capabilities;
pub(super) use devices::Devices;
pub(super) use no_new_privileges::NoNewPrivileges;
pub(super) use seccomp::Seccomp;
