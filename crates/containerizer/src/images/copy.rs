//! Layers put together by copying, where there is no overlayfs.
//!
//! Links are never followed: directories are opened one by one, and what a layer has in the place of something else
//! replaces it.

use super::layer::{kind_of, open_below, replace};
use super::whiteout::{OPAQUE, PREFIX};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Longest value of an extended attribute; the kernel has none longer.
const ATTRIBUTE_MAX: usize = 1 << 16;

/// Copies layers, the lowest first, into a directory.
pub(crate) fn copy(layers: &[PathBuf], directory: &Path) -> Result<(), String> {
    for layer in layers {
        let copied = copy_layer(layer, directory);
        copied.map_err(|e| {
            format!("cannot copy {} to {}: {e}", layer.display(), directory.display())
        })?;
    }
    Ok(())
}

/// Gives a directory the owner, mode and times of another.
pub(crate) fn dress_like(source: &Path, target: &Path) -> io::Result<()> {
    let open = |path| {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    let (source, target) = (open(source)?, open(target)?);
    dress(source.as_fd(), target.as_fd(), &rustix::fs::fstat(&source)?)
}

fn copy_layer(layer: &Path, directory: &Path) -> io::Result<()> {
    let open = |path| {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    let (from, to) = (open(layer)?, open(directory)?);
    let mut links = BTreeMap::new();
    copy_directory(&from, &to, &to, &mut links, Path::new(""))
}

/// Where the first name of a file with several is, from the root on.
type Links = BTreeMap<(u64, u64), PathBuf>;

fn copy_directory(
    from: &OwnedFd,
    to: &OwnedFd,
    root: &OwnedFd,
    links: &mut Links,
    path: &Path,
) -> io::Result<()> {
    let names = names(from)?;
    for name in &names {
        if name.as_bytes() == OPAQUE {
            for old in self::names(to)? {
                replace(to.as_fd(), &old)?;
            }
        }
    }
    for name in &names {
        if let Some(hidden) =
            name.as_bytes().strip_prefix(PREFIX).filter(|_| name.as_bytes() != OPAQUE)
        {
            replace(to.as_fd(), OsStr::from_bytes(hidden))?;
        }
    }
    for name in names.iter().filter(|name| !name.as_bytes().starts_with(PREFIX)) {
        copy_entry(from, to, root, links, path, name)?;
    }
    dress(from.as_fd(), to.as_fd(), &rustix::fs::fstat(from)?)
}

fn copy_entry(
    from: &OwnedFd,
    to: &OwnedFd,
    root: &OwnedFd,
    links: &mut Links,
    path: &Path,
    name: &OsStr,
) -> io::Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory {
        if kind_of(to.as_fd(), name)? != Some(FileType::Directory) {
            replace(to.as_fd(), name)?;
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
        }
        let (from, to) = (open_below(from.as_fd(), name)?, open_below(to.as_fd(), name)?);
        return copy_directory(&from, &to, root, links, &path.join(name));
    }
    replace(to.as_fd(), name)?;
    let key = (stat.st_dev as u64, stat.st_ino as u64);
    if stat.st_nlink > 1 {
        if let Some(first) = links.get(&key) {
            // The way to it was made by this layer's own directories.
            return Ok(rustix::fs::linkat(root, first, to, name, AtFlags::empty())?);
        }
        links.insert(key, path.join(name));
    }
    match kind {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
            let flags =
                OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut target =
                File::from(rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
            copy_content(&mut source, &mut target, &stat)?;
            dress(source.as_fd(), target.as_fd(), &stat)
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target.as_c_str(), to, name)?;
            dress_name(to, name, &stat)
        }
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
            rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?;
            rustix::fs::chmodat(
                to,
                name,
                Mode::from_raw_mode(stat.st_mode & 0o7777),
                AtFlags::empty(),
            )?;
            dress_name(to, name, &stat)
        }
        other => {
            Err(io::Error::other(format!("{} is of the kind {other:?}", path.join(name).display())))
        }
    }
}

/// Copies what is in a file, and where it has holes.
fn copy_content(source: &mut File, target: &mut File, stat: &Stat) -> io::Result<()> {
    const BLOCK: i64 = 512;
    if stat.st_blocks * BLOCK >= stat.st_size {
        return io::copy(source, target).map(drop);
    }
    let seek = |file: &File, to| rustix::fs::seek(file, to);
    let mut end = 0;
    loop {
        let begin = match seek(source, rustix::fs::SeekFrom::Data(end)) {
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            begin => begin?,
        };
        end = seek(source, rustix::fs::SeekFrom::Hole(begin))?;
        seek(source, rustix::fs::SeekFrom::Start(begin))?;
        seek(target, rustix::fs::SeekFrom::Start(begin))?;
        io::copy(&mut (&*source).take(end - begin), target)?;
    }
    target.set_len(stat.st_size as u64)
}

fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: time, last_modification: time }
}

fn dress(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(to, uid, gid)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    copy_attributes(from, to)?;
    Ok(rustix::fs::futimens(to, &times(stat))?)
}

fn dress_name(at: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::chownat(at, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(rustix::fs::utimensat(at, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut list = vec![0; ATTRIBUTE_MAX];
    let length = match rustix::fs::flistxattr(from, &mut list) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if length == 0 {
        return Ok(());
    }
    let mut value = vec![0; ATTRIBUTE_MAX];
    for name in list[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"trusted.") || name == b"security.selinux" {
            continue;
        }
        let length = rustix::fs::fgetxattr(from, name, &mut value)?;
        match rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
