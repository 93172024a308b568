//! Trees of files that are mounted for one container alone.

use super::setup::{Attributes, long, path};
use crate::images::merged;
use crate::rooted::{self, Within};
use crate::supervisor::number;
use std::io;
use std::path::{Path, PathBuf};

/// A root file system, or a volume that is an image. The container's first process mounts it, in the container's own
/// mount namespace: on the host nothing is mounted, whose table of mounts each container begins with a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A directory of the host, with what is mounted in it.
    Directory {
        /// Which one.
        path: PathBuf,
        /// What is not allowed in it.
        attributes: Attributes,
    },
    /// Directories put together by overlayfs. Devices in them are without effect.
    Layers {
        /// What is not written to; the topmost first.
        lower: Vec<PathBuf>,
        /// What the container writes.
        upper: PathBuf,
        /// For overlayfs itself, empty, on the same file system as `upper`.
        work: PathBuf,
    },
}

impl Root {
    /// A directory of the host as it is.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::Directory { path: path.into(), attributes: Attributes::default() }
    }

    /// Reads a file of it, before it is mounted anywhere; no link in it leads out of it.
    pub(crate) fn read(&self, file: &Path) -> io::Result<String> {
        match self {
            Self::Directory { path, .. } => rooted::read(path, file, Within::Root),
            Self::Layers { lower, .. } => merged::read(lower, file),
        }
    }

    /// Writes it as the supervisor reads it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Directory { path: directory, attributes } => {
                number(out, 0)?;
                path(out, directory)?;
                long(out, attributes.0);
                Ok(())
            }
            Self::Layers { lower, upper, work } => {
                number(out, 1)?;
                number(out, lower.len())?;
                lower.iter().chain([upper, work]).try_for_each(|directory| path(out, directory))
            }
        }
    }
}
