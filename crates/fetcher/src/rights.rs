//! Becoming the container's user, and bounds for this process.

use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, setrlimit};
use std::os::unix::fs::{DirBuilderExt as _, chown};
use wire::internal::FetchRequest;

/// Memory that this process may take: an archive of lies ends it, not the node.
const MEMORY_MAX: u64 = 1 << 30;

/// Makes the user's cache directory and becomes the user. There must be one thread yet, since rights are a thread's.
pub(crate) fn take(request: &FetchRequest) -> Result<(), String> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let Some(directory) = &request.cache_directory
        && request.items.iter().any(|item| item.cache)
    {
        let fault = |e| format!("Could not create the fetcher cache directory: {directory}: {e}");
        match std::fs::DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => {
                let user = request.user.as_ref();
                chown(directory, user.map(|u| u.uid), user.map(|u| u.gid)).map_err(fault)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fault(error)),
        }
    }
    if let Some(user) = &request.user {
        let groups: Vec<Gid> = user.groups.iter().map(|id| Gid::from_raw(*id)).collect();
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        let taken = rustix::thread::set_thread_groups(&groups)
            .and_then(|()| rustix::thread::set_thread_res_gid(gid, gid, gid))
            .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid));
        taken.map_err(|e| format!("Failed to become the user with id {}: {e}", user.uid))?;
    }
    limit_memory(true);
    Ok(())
}

/// Sets or lifts the bound on memory; a Hadoop client has to know its own.
pub(crate) fn limit_memory(limited: bool) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Data);
    let most = maximum.unwrap_or(u64::MAX);
    let current = if limited { Some(most.min(MEMORY_MAX)) } else { maximum };
    let _ = setrlimit(Resource::Data, Rlimit { current, maximum });
}
