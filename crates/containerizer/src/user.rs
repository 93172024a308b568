//! Users of this host. They are looked up here, so that the supervisor needs no library for it.

use std::ffi::{CStr, CString};
use std::path::Path;

/// Most groups of a user that are looked for.
const GROUPS_MAX: usize = 65_536;
/// Longest entry of the table of users.
const ENTRY_MAX: usize = 1 << 20;

/// Who a container runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, the main one included.
    pub(crate) groups: Vec<u32>,
}

impl User {
    /// Finds a user by name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let text =
            CString::new(name).map_err(|_| "the user's name contains a zero byte".to_owned())?;
        let (uid, gid) =
            ids(&text).ok_or_else(|| format!("there is no user '{name}' on this host"))?;
        Ok(Self { uid, gid, groups: groups(&text, gid) })
    }

    /// Gives a file or directory to the user.
    pub(crate) fn own(&self, path: &Path) -> Result<(), String> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(|e| {
            format!("cannot give {} to the user with id {}: {e}", path.display(), self.uid)
        })
    }
}

fn ids(name: &CStr) -> Option<(u32, u32)> {
    let mut buffer = vec![0_i8; 4096];
    loop {
        // SAFETY: all pointers are to live objects, the buffer's length is given, and the entry is read only on
        // success.
        unsafe {
            let mut entry: libc::passwd = std::mem::zeroed();
            let mut found = std::ptr::null_mut();
            let status = libc::getpwnam_r(
                name.as_ptr(),
                &raw mut entry,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut found,
            );
            if status == libc::ERANGE && buffer.len() < ENTRY_MAX {
                buffer.resize(buffer.len() * 2, 0);
                continue;
            }
            return (status == 0 && !found.is_null()).then_some((entry.pw_uid, entry.pw_gid));
        }
    }
}

fn groups(name: &CStr, gid: u32) -> Vec<u32> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the list has room for `count` entries; the call says in `count` how many it wrote, or would.
        let status =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let wanted = usize::try_from(count).unwrap_or(0);
        if status >= 0 {
            groups.truncate(wanted);
            return groups;
        }
        if groups.len() >= GROUPS_MAX {
            return vec![gid];
        }
        groups.resize((groups.len() * 2).max(wanted), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_the_id_zero_and_is_in_its_group() {
        let root = User::named("root").expect("every system has it");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0), "{root:?}");
        let error = User::named("nobody-has-this-name").expect_err("there is none");
        assert_eq!(error, "there is no user 'nobody-has-this-name' on this host");
    }
}
