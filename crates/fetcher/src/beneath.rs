//! Making files below a directory, whatever names and links an archive brings.
//!
//! Names are parsed first ([`Relative`]); then the kernel resolves them so that neither `..` nor a symbolic link can lead
//! out of the directory (openat2, Linux 5.6). A link that points elsewhere may be made, since it is only a name: nothing
//! is read, written or linked through it.

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// How often a name is resolved again when the kernel saw something being moved meanwhile.
const TRIES: u32 = 64;

/// A name below a directory: neither absolute nor with `..`. It may be the directory itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relative(PathBuf);

impl Relative {
    /// Parses a name.
    ///
    /// # Errors
    /// When it is absolute, has `..` or a zero byte.
    pub fn parse(name: &[u8]) -> Result<Self, String> {
        let shown = || String::from_utf8_lossy(name).escape_debug().to_string();
        if name.contains(&0) {
            return Err(format!("the name '{}' has a zero byte", shown()));
        }
        let mut path = PathBuf::new();
        for component in Path::new(OsStr::from_bytes(name)).components() {
            match component {
                Component::Normal(part) => path.push(part),
                Component::CurDir => {}
                Component::ParentDir => {
                    return Err(format!("the name '{}' has '..' in it", shown()));
                }
                Component::RootDir | Component::Prefix(_) => {
                    return Err(format!("the name '{}' is absolute", shown()));
                }
            }
        }
        Ok(Self(path))
    }

    /// Whether it is the directory itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.as_os_str().is_empty()
    }

    /// The name as a path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn split(&self) -> Result<(&Path, &OsStr), String> {
        let name = self.0.file_name().ok_or("a file without a name")?;
        Ok((self.0.parent().unwrap_or(Path::new("")), name))
    }
}

/// A directory below which files are made.
#[derive(Debug)]
pub struct Directory {
    root: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Opens a directory.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open(path: &Path) -> Result<Self, String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| format!("Failed to open the directory '{}': {e}", path.display()))?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The opened directory.
    #[must_use]
    pub fn descriptor(&self) -> &OwnedFd {
        &self.root
    }

    fn shown(&self, path: &Path) -> String {
        self.path.join(path).display().to_string()
    }

    fn fault(&self, what: &str, path: &Path, error: Errno) -> String {
        let shown = self.shown(path);
        match error {
            Errno::XDEV => {
                format!(
                    "Failed to {what} '{shown}': a symbolic link on the way leads out of '{}'",
                    self.path.display()
                )
            }
            Errno::NOSYS => format!(
                "Failed to {what} '{shown}': this needs openat2, that is Linux 5.6 or newer"
            ),
            error => format!("Failed to {what} '{shown}': {error}"),
        }
    }

    /// A directory below, made with its parents where it is missing.
    fn directory(&self, path: &Path) -> Result<OwnedFd, String> {
        if path.as_os_str().is_empty() {
            return self
                .root
                .try_clone()
                .map_err(|e| format!("Failed to open '{}': {e}", self.path.display()));
        }
        match self.resolve(path) {
            Err(Errno::NOENT) => {
                let (parent, name) =
                    (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
                let parent = self.directory(parent)?;
                match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(self.fault("make the directory", path, error)),
                }
                self.resolve(path).map_err(|e| self.fault("open the directory", path, e))
            }
            other => other.map_err(|e| self.fault("open the directory", path, e)),
        }
    }

    fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// Makes a directory, with its parents. One that is there stays.
    ///
    /// # Errors
    /// When it can't be made, or something else has the name.
    pub fn make_directory(&self, name: &Relative) -> Result<(), String> {
        self.directory(name.path()).map(drop)
    }

    /// The place of a new name: its parent, and nothing of that name in it.
    fn clear<'a>(&self, name: &'a Relative) -> Result<(OwnedFd, &'a OsStr), String> {
        let (parent, last) = name.split()?;
        let parent = self.directory(parent)?;
        match rustix::fs::unlinkat(&parent, last, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok((parent, last)),
            Err(error) => Err(self.fault("replace", name.path(), error)),
        }
    }

    /// Makes a new file, with its parents; a file or link of that name is replaced.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(&self, name: &Relative, mode: u32) -> Result<File, String> {
        let (parent, last) = self.clear(name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, last, flags, Mode::from_raw_mode(mode & 0o777))
            .map(File::from)
            .map_err(|e| self.fault("create", name.path(), e))
    }

    /// Opens a file that is there; a symbolic link is not followed.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn read(&self, name: &Relative) -> Result<File, String> {
        let (parent, last) = name.split()?;
        let parent = self.directory(parent)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, last, flags, Mode::empty())
            .map(File::from)
            .map_err(|e| self.fault("open", name.path(), e))
    }

    /// Makes a symbolic link; a file or link of that name is replaced.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn symlink(&self, name: &Relative, target: &OsStr) -> Result<(), String> {
        let (parent, last) = self.clear(name)?;
        rustix::fs::symlinkat(target, &parent, last)
            .map_err(|e| self.fault("make the symbolic link", name.path(), e))
    }

    /// Makes a second name of a file that is below the directory too; a file or link of that name is replaced.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn link(&self, name: &Relative, target: &Relative) -> Result<(), String> {
        if name == target {
            return Ok(());
        }
        let (from, source) = target.split()?;
        let from = self.directory(from)?;
        let (parent, last) = self.clear(name)?;
        // Without AT_SYMLINK_FOLLOW: of a symbolic link, the link itself.
        rustix::fs::linkat(&from, source, &parent, last, AtFlags::empty())
            .map_err(|e| self.fault("make the link", name.path(), e))
    }

    /// Moves something from the top of the directory to a name below it.
    ///
    /// # Errors
    /// When it can't be moved.
    pub fn rename(&self, from: &OsString, name: &Relative) -> Result<(), String> {
        let (parent, last) = self.clear(name)?;
        rustix::fs::renameat(self.root.as_fd(), from, &parent, last)
            .map_err(|e| self.fault("make", name.path(), e))
    }
}
