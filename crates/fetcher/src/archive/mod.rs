//! Unpacking. The name decides whether something is an archive, its first bytes which one (spec/agent.md 5).

mod tar;
mod zip;

use crate::beneath::{Directory, Relative};
use crate::guard::Guard;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};

/// Endings of archives that the peer unpacks.
const TREES: [&str; 8] =
    [".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip"];
/// Endings of archives that only we unpack.
const OWN_TREES: [&str; 2] = [".tar.zst", ".tzst"];
/// Most memory for the dictionary of an xz stream, in KiB (`xz -9` needs 64 MiB).
const XZ_MEMORY_KIB: u32 = 256 << 10;
/// Longest target of a symbolic link.
const TARGET_MAX: usize = 4096;

/// What is to be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Files and directories.
    Tree,
    /// One compressed file; what is cut off its name.
    Single(&'static str),
}

impl Form {
    /// What a name stands for; None: it is no archive.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let ends = |ending: &str| name.ends_with(ending);
        if TREES.iter().chain(&OWN_TREES).any(|ending| ends(ending)) {
            return Some(Self::Tree);
        }
        [".gz", ".zst"].into_iter().find(|ending| name.ends_with(ending)).map(Self::Single)
    }

    /// Whether the peer takes such a name for no archive, and copies it as it is.
    #[must_use]
    pub fn is_own(name: &str) -> bool {
        name.ends_with(".zst") || name.ends_with(".tzst")
    }
}

/// Unpacks a file into a directory. `output` is the name that it was to have itself, which names what a single
/// compressed file becomes.
///
/// Names that are absolute or have `..` are refused, so is what goes through a symbolic link out of the directory, and
/// what is neither file, directory nor link. Owners and the bits for set-user-id, set-group-id and sticky are not taken
/// over. Files that are there are replaced.
///
/// # Errors
/// Why it failed; what was unpacked before stays.
pub fn extract(
    archive: File,
    form: Form,
    output: &Relative,
    directory: &Directory,
) -> Result<(), String> {
    let mut guard = Guard::new(directory);
    match form {
        Form::Single(ending) => {
            let name = output.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = name.strip_suffix(ending).unwrap_or(&name);
            let name = Relative::parse(name.as_bytes())?;
            if name.is_root() {
                return Err(format!("nothing is left of its name without '{ending}'"));
            }
            let mut reader = match decoder(archive)? {
                (_, None) => return Err("the file is not compressed".to_owned()),
                (_, Some(reader)) => reader,
            };
            let mut file = directory.create(&name, 0o644)?;
            guard.copy(&mut reader, &mut file, name.path()).map(drop)
        }
        Form::Tree => match decoder(archive)? {
            (_, Some(reader)) => tar::extract(reader, directory, &mut guard),
            (mut file, None) => {
                let mut magic = [0; 4];
                let length = fill(&mut file, &mut magic)?;
                file.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
                if length == 4 && (magic == *b"PK\x03\x04" || magic == *b"PK\x05\x06") {
                    zip::extract(file, directory, &mut guard)
                } else {
                    tar::extract(Box::new(BufReader::new(file)), directory, &mut guard)
                }
            }
        },
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> Result<usize, String> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]).map_err(|e| e.to_string())? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

/// A reader of what is in a compressed file. None: the file is not compressed.
fn decoder(mut file: File) -> Result<(File, Option<Box<dyn Read>>), String> {
    let fault = |e: std::io::Error| e.to_string();
    let mut magic = [0; 6];
    let length = fill(&mut file, &mut magic)?;
    file.seek(SeekFrom::Start(0)).map_err(fault)?;
    let magic = &magic[..length];
    let input =
        || file.try_clone().map(|file| BufReader::with_capacity(64 << 10, file)).map_err(fault);
    let reader: Option<Box<dyn Read>> = if magic.starts_with(&[0x1f, 0x8b]) {
        Some(Box::new(flate2::bufread::MultiGzDecoder::new(input()?)))
    } else if magic.starts_with(b"BZh") {
        Some(Box::new(bzip2::bufread::MultiBzDecoder::new(input()?)))
    } else if magic.starts_with(b"\xfd7zXZ\0") {
        Some(Box::new(lzma_rust2::XzReader::new_mem_limit(input()?, true, XZ_MEMORY_KIB)))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Some(Box::new(zstd::Decoder::with_buffer(input()?).map_err(fault)?))
    } else {
        None
    };
    Ok((file, reader))
}

/// Permissions as they are set: no set-user-id, set-group-id and sticky bits, nothing writable for others.
fn permissions(mode: u32) -> u32 {
    mode & 0o755
}
