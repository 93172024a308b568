//! Unpacking what may be hostile, and resolving names below a directory.

mod archives;
mod hostile;
mod names;

use fetcher::archive::{self, Form};
use fetcher::beneath::{Directory, Relative};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A sandbox, and what is beside it.
struct Host {
    base: PathBuf,
}

impl Host {
    fn new() -> Self {
        let base = testkit::cluster::temporary_directory();
        std::fs::create_dir(base.join("sandbox")).expect("a sandbox");
        std::fs::create_dir(base.join("outside")).expect("a directory");
        Self { base }
    }

    fn sandbox(&self) -> PathBuf {
        self.base.join("sandbox")
    }

    fn directory(&self) -> Directory {
        Directory::open(&self.sandbox()).expect("a directory")
    }

    /// Unpacks bytes as if a URI of that name had brought them.
    fn extract(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.base.join("archive");
        std::fs::write(&path, bytes).expect("an archive");
        let form = Form::of(name).expect("the name of an archive");
        let output = Relative::parse(name.as_bytes()).expect("a name");
        let archive = File::open(path).expect("an archive");
        archive::extract(archive, form, &output, &self.directory())
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.sandbox().join(name))
            .unwrap_or_else(|e| format!("{name}: {e}"))
    }

    fn mode(&self, name: &str) -> u32 {
        self.sandbox().join(name).metadata().expect("a file").permissions().mode() & 0o7777
    }

    /// Everything beside the sandbox.
    fn is_untouched(&self) -> bool {
        let mut names: Vec<String> = names(&self.base);
        names.retain(|name| name != "archive");
        names == ["outside", "sandbox"] && names_are(&self.base.join("outside"), &[])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn names_are(directory: &Path, expected: &[&str]) -> bool {
    names(directory) == expected
}

/// One entry of an archive: type, name, target, mode, content.
#[derive(Clone, Copy)]
struct Item<'a>(tar::EntryType, &'a [u8], &'a [u8], u32, &'a [u8]);

fn file<'a>(name: &'a str, content: &'a str) -> Item<'a> {
    Item(tar::EntryType::Regular, name.as_bytes(), b"", 0o644, content.as_bytes())
}

fn directory(name: &str) -> Item<'_> {
    Item(tar::EntryType::Directory, name.as_bytes(), b"", 0o755, b"")
}

fn symlink<'a>(name: &'a str, target: &'a str) -> Item<'a> {
    Item(tar::EntryType::Symlink, name.as_bytes(), target.as_bytes(), 0o777, b"")
}

fn hard_link<'a>(name: &'a str, target: &'a str) -> Item<'a> {
    Item(tar::EntryType::Link, name.as_bytes(), target.as_bytes(), 0o644, b"")
}

/// An archive with exactly these names, whatever they are.
fn tar_of(items: &[Item<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for Item(kind, name, target, mode, content) in items {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1_000_000_000);
        let raw = header.as_old_mut();
        raw.name[..name.len()].copy_from_slice(name);
        raw.linkname[..target.len()].copy_from_slice(target);
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}
