//! What an entry of a layer says of a file beside its content: owner, mode, time, attributes.

use super::layer::{kind_of, open_below};
use super::sparse::{self, Sparse};
use rustix::fs::{AtFlags, FileType, Mode, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

/// Kinds of extended attributes that an archive may not set: they mean something to overlayfs, or to this host.
const FORBIDDEN_ATTRIBUTES: [&str; 3] = ["trusted.", "user.overlay.", "security.selinux"];

/// What an entry says beside its content.
pub(super) struct Meta {
    pub(super) mode: Mode,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) time: Timespec,
    pub(super) attributes: BTreeMap<String, Vec<u8>>,
    /// Where its holes are, if it says so in a header of the POSIX format.
    pub(super) sparse: Option<Sparse>,
}

impl Meta {
    /// Reads it from the headers.
    ///
    /// # Errors
    /// With a text that completes "the entry".
    pub(super) fn of<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Self, String> {
        let fault = |e: io::Error| format!("its header is malformed: {e}");
        let header = entry.header();
        let number = |n: io::Result<u64>, what: &str| {
            let n = n.map_err(fault)?;
            u32::try_from(n)
                .ok()
                .filter(|n| *n != u32::MAX)
                .ok_or_else(|| format!("its {what} {n} is too large"))
        };
        let mode = Mode::from_raw_mode(header.mode().map_err(fault)? & 0o7777);
        let (mut uid, mut gid) = (number(header.uid(), "owner")?, number(header.gid(), "group")?);
        let seconds = i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0);
        let mut time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let mut attributes = BTreeMap::new();
        let mut sparse = sparse::Fields::default();
        if let Some(extensions) = entry.pax_extensions().map_err(fault)? {
            for extension in extensions {
                let extension = extension.map_err(fault)?;
                let (key, value) = (extension.key_bytes(), extension.value_bytes());
                let text =
                    || std::str::from_utf8(value).map_err(|_| "its header is malformed".to_owned());
                match key {
                    b"uid" => uid = number(text()?.parse().map_err(io::Error::other), "owner")?,
                    b"gid" => gid = number(text()?.parse().map_err(io::Error::other), "group")?,
                    b"mtime" => time = seconds_of(text()?).unwrap_or(time),
                    _ if key.starts_with(b"GNU.sparse.") => {
                        sparse.take(key, value)?;
                    }
                    _ => {
                        if let Some(name) = key
                            .strip_prefix(b"SCHILY.xattr.".as_slice())
                            .and_then(|n| std::str::from_utf8(n).ok())
                            && !FORBIDDEN_ATTRIBUTES.iter().any(|kind| name.starts_with(kind))
                        {
                            attributes.insert(name.to_owned(), value.to_vec());
                        }
                    }
                }
            }
        }
        Ok(Self { mode, uid, gid, time, attributes, sparse: sparse.sparse()? })
    }
}

/// `1350244992.023960108`.
fn seconds_of(text: &str) -> Option<Timespec> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = part.chars().chain("000000000".chars()).take(9).collect();
    Some(Timespec { tv_sec: whole.parse().ok()?, tv_nsec: digits.parse().ok()? })
}

/// Gives an open file its owner, mode, attributes and time, in the order in which none takes another away.
pub(super) fn dress(file: &File, meta: &Meta) -> io::Result<()> {
    use rustix::fs::{Gid, Uid};
    rustix::fs::fchown(file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
    rustix::fs::fchmod(file, meta.mode)?;
    for (name, value) in &meta.attributes {
        match rustix::fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
            // Not every file system has every kind.
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rustix::fs::futimens(
        file,
        &Timestamps { last_access: meta.time, last_modification: meta.time },
    )?)
}

/// The same for what has a name and can't be opened; links have no mode.
pub(super) fn dress_name(
    at: BorrowedFd<'_>,
    name: &OsStr,
    meta: &Meta,
    has_mode: bool,
) -> io::Result<()> {
    use rustix::fs::{Gid, Uid};
    if kind_of(at, name)? == Some(FileType::Directory) {
        return dress(&File::from(open_below(at, name)?), meta);
    }
    let (owner, group) = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
    rustix::fs::chownat(at, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)?;
    if has_mode {
        rustix::fs::chmodat(at, name, meta.mode, AtFlags::empty())?;
    }
    let times = Timestamps { last_access: meta.time, last_modification: meta.time };
    Ok(rustix::fs::utimensat(at, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
