//! Files of an image that is not in a registry: in a tar archive, or in a directory.
//!
//! An archive is read in place: a first pass notes where each file in it begins. Links in a directory don't lead out of
//! it.

use super::store::read_config;
use crate::rooted::{self, Within};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Most files in an archive of an image.
const FILES_MAX: usize = 100_000;
/// Links in an archive that lead to others.
const LINKS_MAX: usize = 10;

pub(super) enum Member {
    File { start: u64, size: u64 },
    Link { target: String },
}

/// Where files are found by their names.
pub(super) enum Archive {
    Packed { path: PathBuf, members: BTreeMap<String, Member> },
    Directory(OwnedFd),
}

impl Archive {
    /// Opens an archive or a directory.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let text = |e: io::Error| e.to_string();
        if path.is_dir() {
            return rooted::directory(path).map(Self::Directory).map_err(text);
        }
        let file = BufReader::new(File::open(path).map_err(text)?);
        let mut archive = tar::Archive::new(file);
        let mut members = BTreeMap::new();
        for entry in archive.entries_with_seek().map_err(text)? {
            let entry = entry.map_err(text)?;
            let name = plain(&String::from_utf8_lossy(&entry.path_bytes()));
            let kind = entry.header().entry_type();
            if kind.is_file() {
                let (start, size) = (entry.raw_file_position(), entry.size());
                members.insert(name, Member::File { start, size });
            } else if kind.is_symlink() || kind.is_hard_link() {
                let link = entry.link_name_bytes().unwrap_or_default();
                let link = String::from_utf8_lossy(&link).into_owned();
                let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
                let target = if kind.is_symlink() { format!("{parent}/{link}") } else { link };
                members.insert(name, Member::Link { target: plain(&target) });
            }
            if members.len() > FILES_MAX {
                return Err(format!("there are more than {FILES_MAX} files in it"));
            }
        }
        Ok(Self::Packed { path: path.to_owned(), members })
    }

    /// Whether there is something of a name.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Packed { members, .. } => members.contains_key(name),
            Self::Directory(base) => {
                rooted::open(base, Path::new(name), Within::Root, OFlags::PATH).is_ok()
            }
        }
    }

    /// What is in a file.
    pub(super) fn file(&self, name: &str) -> Result<io::Take<File>, String> {
        let mut name = plain(name);
        let (path, members) = match self {
            Self::Directory(base) => return within(base, &name),
            Self::Packed { path, members } => (path, members),
        };
        for _ in 0..LINKS_MAX {
            match members.get(&name) {
                Some(Member::File { start, size }) => {
                    let mut file = File::open(path).map_err(|e| e.to_string())?;
                    file.seek(SeekFrom::Start(*start)).map_err(|e| e.to_string())?;
                    return Ok(file.take(*size));
                }
                Some(Member::Link { target }) => name.clone_from(target),
                None => return Err(format!("there is no {name} in it")),
            }
        }
        Err(format!("{name} in it leads nowhere"))
    }

    /// A file that is read whole.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        read_config(self.file(name)?).map_err(|e| format!("{name}: {e}"))
    }
}

/// A file in a directory.
fn within(base: &OwnedFd, name: &str) -> Result<io::Take<File>, String> {
    // What is no file must not keep us waiting.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let opened = rooted::open(base, Path::new(name), Within::Root, flags).map(File::from);
    let found = opened.and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = found.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => format!("there is no {name} in it"),
        _ => format!("{name} in it: {e}"),
    })?;
    if metadata.is_file() {
        Ok(file.take(metadata.len()))
    } else {
        Err(format!("{name} in it is not a file"))
    }
}

/// A name without detours: these never leave the archive, they are keys only.
fn plain(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
