//! File systems of containers.

mod linux;
mod posix;
mod shared;

pub(super) use linux::Linux;
pub(super) use posix::Posix;
pub(crate) use posix::{give, link_volume};
pub(super) use shared::Shared;

use crate::MesosOptions;

/// Needed for everything that a container can't undo itself.
pub(super) fn needs_root() -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err("it needs an agent that runs as root".to_owned())
    }
}

/// What mounts needs a mount namespace, which is another isolator's.
pub(super) fn needs_mount_namespaces(options: &MesosOptions) -> Result<(), String> {
    needs_root()?;
    if options.isolation.has("filesystem/linux") {
        Ok(())
    } else {
        Err("it needs 'filesystem/linux' in --isolation".to_owned())
    }
}

/// Mounts are made by descriptors, which the kernel can since 5.12.
pub(super) fn needs_mounts_by_descriptor() -> Result<(), String> {
    // SAFETY: no descriptor and no structure: the kernel refuses it, if it knows the call.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, std::ptr::null::<u8>(), 0)
    };
    if result != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        return Err("it needs Linux 5.12 or newer (mount_setattr)".to_owned());
    }
    Ok(())
}
