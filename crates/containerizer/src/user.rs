//! Users of this host. They are looked up here, so that the supervisor needs no library for it.

use crate::isolation::Root;
use std::ffi::{CStr, CString};
use std::path::Path;

/// Most groups of a user that are looked for.
const GROUPS_MAX: usize = 65_536;
/// Longest entry of the table of users.
const ENTRY_MAX: usize = 1 << 20;

/// Who a container runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Main group.
    pub gid: u32,
    /// All groups, the main one included.
    pub groups: Vec<u32>,
}

impl User {
    /// Finds a user by name: on this host or, if it has none of that name, in the root file system of the container.
    ///
    /// The host comes first, since that is what the operator allows, and what owns volumes. An image can't make somebody
    /// root who is not.
    pub(crate) fn named(name: &str, rootfs: Option<&Root>) -> Result<Self, String> {
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

    fn of_image(name: &str, rootfs: &Root) -> Option<Self> {
        let tables = Tables::of(rootfs);
        let entry = tables.user(|entry| entry.name == name)?;
        Some(Self { uid: entry.uid, gid: entry.gid, groups: tables.groups(name, entry.gid) })
    }

    /// The user that an image names: `user`, `uid`, and with a group `user:group`, in any mixture of names and numbers.
    /// Names are those of the image's own tables; no link in it leads out of it.
    ///
    /// # Errors
    /// With a text that names what is not there.
    pub(crate) fn by_image(text: &str, rootfs: &Root) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (text, None),
        };
        let tables = Tables::of(rootfs);
        let entry = match tables.user(|entry| entry.name == user) {
            Some(entry) => entry,
            None => {
                let uid = number(user)
                    .ok_or_else(|| format!("there is no user '{user}' in the image"))?;
                let unnamed = Entry { name: String::new(), uid, gid: 0 };
                tables.user(|entry| entry.uid == uid).unwrap_or(unnamed)
            }
        };
        let Some(group) = group else {
            let groups = tables.groups(&entry.name, entry.gid);
            return Ok(Self { uid: entry.uid, gid: entry.gid, groups });
        };
        let gid = tables.group(group).or_else(|| number(group));
        let gid = gid.ok_or_else(|| format!("there is no group '{group}' in the image"))?;
        Ok(Self { uid: entry.uid, gid, groups: vec![gid] })
    }
}

/// An id as text: those above are taken for negative ones by some.
fn number(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|id| is_number && i32::try_from(*id).is_ok())
}

/// `/etc/passwd` and `/etc/group` of an image, as far as it has them.
struct Tables {
    users: String,
    groups: String,
}

/// A user in a table.
struct Entry {
    name: String,
    uid: u32,
    gid: u32,
}

impl Tables {
    fn of(rootfs: &Root) -> Self {
        let read = |path: &str| rootfs.read(Path::new(path)).unwrap_or_default();
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    fn user(&self, is_wanted: impl Fn(&Entry) -> bool) -> Option<Entry> {
        // Name, password, user, group.
        let entries = self.users.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let (uid, gid) = (number(fields.nth(1)?)?, number(fields.next()?)?);
            Some(Entry { name, uid, gid })
        });
        entries.into_iter().find(is_wanted)
    }

    /// Name, password, group, members.
    fn group_entries(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.groups.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            Some((name, number(fields.nth(1)?)?, fields.next()?))
        })
    }

    fn group(&self, name: &str) -> Option<u32> {
        self.group_entries().find(|(entry, ..)| *entry == name).map(|(_, gid, _)| gid)
    }

    /// The main group, and those that have the user as a member.
    fn groups(&self, user: &str, gid: u32) -> Vec<u32> {
        let is_member = |members: &str| members.split(',').any(|member| member.trim() == user);
        let others = self
            .group_entries()
            .filter(|(_, group, members)| !user.is_empty() && *group != gid && is_member(members));
        std::iter::once(gid).chain(others.map(|(_, group, _)| group)).collect()
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
    fn users_of_images_are_names_or_numbers_of_their_own_tables() {
        let root = testkit::cluster::temporary_directory();
        let users =
            "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:\nbroken:x:y:z\nbig:x:4294967295:0::/:\n";
        let groups = "root:x:0:\napp:x:1001:\nweb:x:2000:other,app\nlog:x:2001:app\n";
        std::fs::create_dir(root.join("etc")).expect("a directory");
        std::fs::write(root.join("etc/passwd"), users).expect("a table");
        std::fs::write(root.join("etc/group"), groups).expect("a table");
        let of = |text: &str| {
            User::by_image(text, &Root::directory(&root))
                .map(|user| (user.uid, user.gid, user.groups))
        };
        assert_eq!(of("app"), Ok((1000, 1001, vec![1001, 2000, 2001])));
        assert_eq!(of("1000"), of("app"));
        assert_eq!(of("app:web"), Ok((1000, 2000, vec![2000])));
        assert_eq!(of("7:web"), Ok((7, 2000, vec![2000])));
        assert_eq!(of("app:9"), Ok((1000, 9, vec![9])));
        assert_eq!(of("7"), Ok((7, 0, vec![0])));
        assert_eq!(of("7:"), of("7"));
        assert_eq!(of("root"), Ok((0, 0, vec![0])));
        for name in ["nobody", "broken", "big", "4294967295", "-1", "+1", ""] {
            let error = of(name).expect_err(name);
            assert_eq!(error, format!("there is no user '{name}' in the image"));
        }
        assert_eq!(of("app:none").expect_err("none"), "there is no group 'none' in the image");
        // The tables of this host are nobody's business.
        std::fs::remove_file(root.join("etc/passwd")).expect("removed");
        std::os::unix::fs::symlink("../../../../../../etc/passwd", root.join("etc/passwd"))
            .expect("a link");
        assert!(of("root").is_err());
        std::fs::remove_dir_all(&root).expect("removed");
    }

    #[test]
    fn root_has_the_id_zero_and_is_in_its_group() {
        let root = User::named("root", None).expect("every system has it");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0), "{root:?}");
        let error = User::named("nobody-has-this-name", None).expect_err("there is none");
        assert_eq!(error, "there is no user 'nobody-has-this-name' on this host");
    }
}
