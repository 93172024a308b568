//! Layers: archives of what changes in a file system, unpacked into a directory each.
//!
//! Everything happens below that directory: ways are resolved by the kernel (openat2) as if it were the root, so that no
//! link leads out of it, and the last part of a name is never followed.

use super::meta::{Meta, dress, dress_name};
use super::whiteout::{Form, Name};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use tar::EntryType;

/// Most bytes that come out of one layer.
const LAYER_MAX: u64 = 128 << 30;
/// Most entries of one layer.
const ENTRIES_MAX: u64 = 4_000_000;
/// Most directories in each other, those of the store included.
const DEPTH_MAX: usize = 300;
/// Most bytes of headers before an entry (long names, extended attributes).
const HEADERS_MAX: u64 = 4 << 20;
/// Bytes between two looks at the space that is left.
const LOOK_EVERY: u64 = 64 << 20;
/// Space of the file system that layers leave to others: this, or a twentieth of it if that is less.
const LEAVE_FREE: u64 = 1 << 30;
/// Unpacks an archive into an empty directory. Ends early when `stop` is set.
///
/// # Errors
/// With a text that completes "the layer"; the directory is left as it is.
pub(crate) fn unpack(
    archive: impl Read,
    directory: &Path,
    form: Form,
    stop: &AtomicBool,
) -> Result<(), String> {
    let fault = |e: io::Error| format!("is malformed: {e}");
    let allowed = Rc::new(Cell::new(HEADERS_MAX));
    let metered = Metered { inner: archive, allowed: allowed.clone() };
    let mut archive = tar::Archive::new(metered);
    archive.set_ignore_zeros(false);
    let mut unpacker =
        Unpacker::new(directory, form).map_err(|e| format!("cannot be unpacked: {e}"))?;
    let mut entries = archive.entries().map_err(fault)?;
    let mut count = 0_u64;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err("is not needed any more".to_owned());
        }
        allowed.set(HEADERS_MAX);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(fault)?;
        count += 1;
        if count > ENTRIES_MAX {
            return Err(format!("has more than {ENTRIES_MAX} entries"));
        }
        allowed.set(u64::MAX);
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        unpacker
            .take(&mut entry)
            .map_err(|text| format!("has the entry '{}': {text}", shown(&name)))?;
        // What an entry did not need is counted like what it did.
        let rest = io::copy(&mut entry, &mut io::sink()).map_err(fault)?;
        unpacker.count(rest).map_err(|e| format!("cannot be unpacked: {e}"))?;
    }
    unpacker.set_times();
    allowed.set(LAYER_MAX.min(1 << 30));
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(fault)?;
    Ok(())
}

fn shown(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_debug).collect()
}

/// Gives only as many bytes as are allowed: what reads headers keeps them in memory.
struct Metered<R> {
    inner: R,
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.allowed.get();
        if allowed == 0 && !buffer.is_empty() {
            return Err(io::Error::other("its headers are too long"));
        }
        let most = usize::try_from(allowed).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        if allowed != u64::MAX {
            self.allowed.set(allowed - count as u64);
        }
        Ok(count)
    }
}

struct Unpacker {
    root: OwnedFd,
    form: Form,
    /// The directory of the last entry: the next one is mostly in the same.
    last: Option<(PathBuf, Rc<OwnedFd>)>,
    /// Directories, whose times change as long as something is put into them.
    times: Vec<(PathBuf, Timespec)>,
    written: u64,
    looked: u64,
}

impl Unpacker {
    fn new(directory: &Path, form: Form) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty())?;
        Ok(Self { root, form, last: None, times: Vec::new(), written: 0, looked: 0 })
    }

    fn take<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), String> {
        let mut kind = entry.header().entry_type();
        // As old archives say it.
        if kind == EntryType::Regular && entry.path_bytes().ends_with(b"/") {
            kind = EntryType::Directory;
        }
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let meta = Meta::of(entry)?;
        let path = match meta.sparse.as_ref().and_then(|sparse| sparse.name.as_deref()) {
            Some(name) => confined(name)?,
            None => confined(&entry.path_bytes())?,
        };
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return self.dress_root(&meta).map_err(|e| e.to_string());
        };
        let directory = path.parent().unwrap_or(Path::new(""));
        let name = match Name::of(&path, &name)? {
            Name::Plain => name,
            Name::Ignored => return Ok(()),
            Name::Hides(hidden) => {
                let parent = self.parent(directory).map_err(|e| e.to_string())?;
                return self.form.hide(parent.as_fd(), &hidden).map_err(|e| e.to_string());
            }
            Name::Opaque => {
                let parent = self.parent(directory).map_err(|e| e.to_string())?;
                return self.form.make_opaque(parent.as_fd()).map_err(|e| e.to_string());
            }
        };
        let parent = self.parent(directory).map_err(|e| e.to_string())?;
        let at = parent.as_fd();
        match kind {
            EntryType::Directory => {
                self.directory(at, &name, &meta).map_err(|e| e.to_string())?;
                self.times.push((path, meta.time));
                Ok(())
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let has_holes = kind == EntryType::GNUSparse;
                self.file(at, &name, &meta, has_holes, entry).map_err(|e| e.to_string())
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or("the link has no target")?;
                self.clear(at, &name).map_err(|e| e.to_string())?;
                rustix::fs::symlinkat(OsStr::from_bytes(&target), at, &name)
                    .map_err(|e| e.to_string())?;
                dress_name(at, &name, &meta, false).map_err(|e| e.to_string())
            }
            EntryType::Link => {
                let target = confined(&entry.link_name_bytes().ok_or("the link has no target")?)?;
                self.hard_link(at, &name, &target)
            }
            EntryType::Fifo => {
                self.node(at, &name, &meta, FileType::Fifo, 0).map_err(|e| e.to_string())
            }
            EntryType::Char | EntryType::Block => {
                let number =
                    |n: io::Result<Option<u32>>| n.ok().flatten().ok_or("the device has no number");
                let major = number(entry.header().device_major())?;
                let minor = number(entry.header().device_minor())?;
                if (major, minor) == (0, 0) {
                    return Err("the device 0:0 is none".to_owned());
                }
                let char = kind == EntryType::Char;
                let kind = if char { FileType::CharacterDevice } else { FileType::BlockDevice };
                let device = rustix::fs::makedev(major, minor);
                self.node(at, &name, &meta, kind, device).map_err(|e| e.to_string())
            }
            other => Err(format!("its kind {:?} is not known", char::from(other.as_byte()))),
        }
    }

    /// The directory for an entry; made if the archive does not say how.
    fn parent(&mut self, path: &Path) -> io::Result<Rc<OwnedFd>> {
        if let Some((last, found)) = &self.last
            && last == path
        {
            return Ok(found.clone());
        }
        let found = match self.open(path) {
            Err(Errno::NOENT) => self.make_way(path)?,
            other => other?,
        };
        // What was made must be removable: that takes a descriptor and some stack for each level.
        let way = rustix::fs::readlinkat(
            rustix::fs::CWD,
            format!("/proc/self/fd/{}", found.as_raw_fd()),
            Vec::new(),
        );
        if way.is_ok_and(|way| way.to_bytes().iter().filter(|b| **b == b'/').count() > DEPTH_MAX) {
            return Err(io::Error::other("it is too deep"));
        }
        let found = Rc::new(found);
        self.last = Some((path.to_owned(), found.clone()));
        Ok(found)
    }

    fn make_way(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut way = PathBuf::new();
        for part in path.components() {
            let at = self.open(&way)?;
            way.push(part);
            match rustix::fs::mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.open(path)?)
    }

    /// Opens a directory as if the layer's were the root.
    fn open(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                // Something was renamed meanwhile, somewhere.
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
    }

    fn directory(&mut self, at: BorrowedFd<'_>, name: &OsStr, meta: &Meta) -> io::Result<()> {
        match kind_of(at, name)? {
            Some(FileType::Directory) => {}
            Some(_) => {
                let hidden = self.form.is_hidden(at, name)?;
                self.clear(at, name)?;
                rustix::fs::mkdirat(at, name, Mode::RWXU)?;
                if hidden {
                    // The layer takes away what was there before and puts something new in its place.
                    let made = open_below(at, name)?;
                    self.form.make_opaque(made.as_fd())?;
                }
            }
            None => rustix::fs::mkdirat(at, name, Mode::RWXU)?,
        }
        dress_name(at, name, meta, true)
    }

    fn file<R: Read>(
        &mut self,
        at: BorrowedFd<'_>,
        name: &OsStr,
        meta: &Meta,
        has_holes: bool,
        content: &mut R,
    ) -> io::Result<()> {
        self.clear(at, name)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        let length = match &meta.sparse {
            Some(sparse) => {
                for part in sparse.parts(content).map_err(io::Error::other)? {
                    file.seek(SeekFrom::Start(part.offset))?;
                    let copied =
                        self.copy(&mut file, &mut content.by_ref().take(part.length), false)?;
                    if copied != part.length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Some(sparse.size)
            }
            None => Some(self.copy(&mut file, content, has_holes)?).filter(|_| has_holes),
        };
        match length {
            Some(length) if length > LAYER_MAX => {
                return Err(io::Error::other(format!("it is longer than {LAYER_MAX} bytes")));
            }
            Some(length) => file.set_len(length)?,
            None => {}
        }
        dress(&file, meta)
    }

    /// Writes what comes, from where the file is. With holes nothing is written where there are only zeros.
    fn copy(
        &mut self,
        file: &mut File,
        content: &mut impl Read,
        has_holes: bool,
    ) -> io::Result<u64> {
        let mut buffer = [0; 1 << 16];
        let mut copied = 0;
        loop {
            let count = content.read(&mut buffer)?;
            if count == 0 {
                return Ok(copied);
            }
            self.count(count as u64)?;
            copied += count as u64;
            if has_holes && buffer[..count].iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(count as i64))?;
            } else {
                file.write_all(&buffer[..count])?;
            }
        }
    }

    fn node(
        &mut self,
        at: BorrowedFd<'_>,
        name: &OsStr,
        meta: &Meta,
        kind: FileType,
        device: u64,
    ) -> io::Result<()> {
        self.clear(at, name)?;
        rustix::fs::mknodat(at, name, kind, Mode::RUSR | Mode::WUSR, device)?;
        dress_name(at, name, meta, true)
    }

    fn hard_link(&mut self, at: BorrowedFd<'_>, name: &OsStr, target: &Path) -> Result<(), String> {
        let shown = || format!("it is a hard link to '{}'", shown(&target.to_string_lossy()));
        let directory = self.open(target.parent().unwrap_or(Path::new("")));
        let directory = directory.map_err(|_| format!("{}, which is not in the layer", shown()))?;
        let file = target.file_name().ok_or_else(|| format!("{}, a directory", shown()))?;
        match kind_of(directory.as_fd(), file).map_err(|e| e.to_string())? {
            None => return Err(format!("{}, which is not in the layer", shown())),
            Some(FileType::Directory) => return Err(format!("{}, a directory", shown())),
            Some(_) => {}
        }
        if same(directory.as_fd(), file, at, name) {
            return Ok(());
        }
        self.clear(at, name).map_err(|e| e.to_string())?;
        rustix::fs::linkat(&directory, file, at, name, AtFlags::empty())
            .map_err(|e| format!("{}: {e}", shown()))
    }

    /// Removes what has the name of an entry that comes.
    fn clear(&mut self, at: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        replace(at, name)?;
        // It may have been what is remembered.
        self.last = None;
        Ok(())
    }

    fn dress_root(&self, meta: &Meta) -> io::Result<()> {
        dress(&File::from(open_below(self.root.as_fd(), OsStr::new("."))?), meta)
    }

    /// Counts what was written, and looks now and then at what is left.
    fn count(&mut self, bytes: u64) -> io::Result<()> {
        self.written += bytes;
        if self.written > LAYER_MAX {
            return Err(io::Error::other(format!("there are more than {LAYER_MAX} bytes in it")));
        }
        if self.written - self.looked >= LOOK_EVERY {
            self.looked = self.written;
            let root = open_below(self.root.as_fd(), OsStr::new("."))?;
            let space = rustix::fs::fstatvfs(root)?;
            let (all, free) = (space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize);
            if free < LEAVE_FREE.min(all / 20) {
                return Err(io::Error::other("there is no space left for it"));
            }
        }
        Ok(())
    }

    fn set_times(&self) {
        for (path, time) in self.times.iter().rev() {
            let times = Timestamps { last_access: *time, last_modification: *time };
            let directory = path.parent().unwrap_or(Path::new(""));
            if let (Ok(at), Some(name)) = (self.open(directory), path.file_name()) {
                // It may have been replaced since.
                let _ = rustix::fs::utimensat(at, name, &times, AtFlags::SYMLINK_NOFOLLOW);
            }
        }
    }
}

/// A name in an archive as a way below the root: leading slashes and dots mean nothing, `..` is refused.
fn confined(bytes: &[u8]) -> Result<PathBuf, String> {
    if bytes.contains(&0) {
        return Err("its name contains a zero byte".to_owned());
    }
    let mut path = PathBuf::new();
    for part in bytes.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its name leads out of the layer".to_owned()),
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Ok(path)
}

/// What has a name, if anything does.
pub(crate) fn kind_of(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn same(a: BorrowedFd<'_>, a_name: &OsStr, b: BorrowedFd<'_>, b_name: &OsStr) -> bool {
    let stat = |at, name| {
        rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map(|s| (s.st_dev, s.st_ino))
    };
    matches!((stat(a, a_name), stat(b, b_name)), (Ok(a), Ok(b)) if a == b)
}

/// Removes whatever has a name, with all that is below it.
pub(crate) fn replace(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match kind_of(at, name)? {
        None => Ok(()),
        Some(FileType::Directory) => {
            let directory = open_below(at, name)?;
            for entry in rustix::fs::Dir::read_from(&directory)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    replace(directory.as_fd(), OsStr::from_bytes(name))?;
                }
            }
            Ok(rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)?)
        }
        Some(_) => Ok(rustix::fs::unlinkat(at, name, AtFlags::empty())?),
    }
}

/// Opens a directory that is no link.
pub(crate) fn open_below(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}
