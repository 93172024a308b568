//! Whiteouts: how a layer takes away what is in layers below it. In archives they are files with names that begin with
//! `.wh.` (OCI image specification, layer.md); overlayfs wants devices 0:0 and an attribute.

use super::layer::{kind_of, replace};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Begins the name of a whiteout.
pub(crate) const PREFIX: &[u8] = b".wh.";
/// Hides all that is in a directory below.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// The attribute of an opaque directory.
pub(crate) const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";

/// How layers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As overlayfs wants them.
    Overlay,
    /// With whiteouts as they are in archives.
    Plain,
}

/// What a name in an archive means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Plain,
    /// What AUFS kept for itself.
    Ignored,
    /// This is gone.
    Hides(OsString),
    /// All in its directory is gone.
    Opaque,
}

impl Name {
    pub(crate) fn of(path: &Path, name: &OsStr) -> Result<Self, String> {
        let mut above =
            path.parent().into_iter().flat_map(Path::components).map(|c| c.as_os_str().as_bytes());
        if above.any(|part| part.starts_with(PREFIX)) {
            let internal = |part: &[u8]| part.starts_with(b".wh..wh.");
            let mut all = path.components().map(|c| c.as_os_str().as_bytes());
            return if all.any(internal) {
                Ok(Self::Ignored)
            } else {
                Err("it is below a whiteout".to_owned())
            };
        }
        let Some(hidden) = name.as_bytes().strip_prefix(PREFIX) else { return Ok(Self::Plain) };
        match hidden {
            b".wh..opq" => Ok(Self::Opaque),
            hidden if hidden.starts_with(PREFIX) => Ok(Self::Ignored),
            b"" | b"." | b".." => Err("it is a whiteout of nothing".to_owned()),
            hidden => Ok(Self::Hides(OsStr::from_bytes(hidden).to_owned())),
        }
    }
}

impl Form {
    /// The directory of a layer's content in the store.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Overlay => "rootfs.overlay",
            Self::Plain => "rootfs",
        }
    }

    /// Takes away what layers below have under a name. What this layer itself has there stays.
    pub(crate) fn hide(self, at: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        match (self, kind_of(at, name)?) {
            (Self::Plain, _) => {
                let marker = [PREFIX, name.as_bytes()].concat();
                mark(at, OsStr::from_bytes(&marker))
            }
            (Self::Overlay, None) => {
                Ok(rustix::fs::mknodat(at, name, FileType::CharacterDevice, Mode::empty(), 0)?)
            }
            (Self::Overlay, Some(FileType::Directory)) => {
                let directory = super::layer::open_below(at, name)?;
                set_opaque(&directory)
            }
            (Self::Overlay, Some(_)) => Ok(()),
        }
    }

    /// Takes away all that layers below have in a directory, which was opened as a way only.
    pub(crate) fn make_opaque(self, directory: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Self::Plain => mark(directory, OsStr::from_bytes(OPAQUE)),
            Self::Overlay => set_opaque(super::layer::open_below(directory, OsStr::new("."))?),
        }
    }

    /// Whether something was taken away under a name.
    pub(crate) fn is_hidden(self, at: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
        if self == Self::Plain {
            return Ok(false);
        }
        let stat = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0)
    }
}

fn set_opaque(directory: impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(directory, OPAQUE_ATTRIBUTE, b"y", XattrFlags::empty())?)
}

fn mark(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    replace(at, name)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())?;
    Ok(())
}
