//! Users of this host. They are looked up here, so that the supervisor needs no library for it.

use crate::rooted::{self, Within};
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
    /// Finds a user by name: on this host or, if it has none of that name, in the root file system of the container.
    ///
    /// The host comes first, since that is what the operator allows, and what owns volumes. An image can't make somebody
    /// root who is not.
    pub(crate) fn named(name: &str, rootfs: Option<&Path>) -> Result<Self, String> {
        let text =
            CString::new(name).map_err(|_| "the user's name contains a zero byte".to_owned())?;
        if let Some((uid, gid)) = ids(&text) {
            return Ok(Self { uid, gid, groups: groups(&text, gid) });
        }
        let Some(rootfs) = rootfs else {
            return Err(format!("there is no user '{name}' on this host"));
        };
        match Self::of_image(name, rootfs) {
            None => Err(format!("there is no user '{name}' on this host, nor in the image")),
            Some(user) if user.uid == 0 => {
                Err(format!("the user '{name}' of the image is root, under another name"))
            }
            Some(user) => Ok(user),
        }
    }

    fn of_image(name: &str, rootfs: &Path) -> Option<Self> {
        let read = |path: &str| rooted::read(rootfs, Path::new(path), Within::Root).ok();
        // Name, password, user, group.
        let users = read("/etc/passwd")?;
        let mut entries = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let entry = entries.find(|fields| fields.first() == Some(&name))?;
        let (uid, gid) = (entry.get(2)?.parse().ok()?, entry.get(3)?.parse().ok()?);
        // Name, password, group, members.
        let table = read("/etc/group").unwrap_or_default();
        let groups = table.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_member = fields.get(3)?.split(',').any(|member| member.trim() == name);
            fields.get(2)?.parse().ok().filter(|group| is_member && *group != gid)
        });
        Some(Self { uid, gid, groups: std::iter::once(gid).chain(groups).collect() })
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
        let root = User::named("root", None).expect("every system has it");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0), "{root:?}");
        let error = User::named("nobody-has-this-name", None).expect_err("there is none");
        assert_eq!(error, "there is no user 'nobody-has-this-name' on this host");
    }
}
