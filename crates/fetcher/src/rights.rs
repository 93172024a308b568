//! Becoming the container's user, and bounds for this process.

use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, setrlimit};
use wire::internal::FetchRequest;

/// Memory that this process may take: an archive of lies ends it, not the node.
const MEMORY_MAX: u64 = 1 << 30;

/// Becomes the user. There must be one thread yet, since rights are a thread's.
pub(crate) fn take(request: &FetchRequest) -> Result<(), String> {
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
