//! Keeps one container's files from filling the disk of all.
//!
//! What a task fetches it could write itself, so that nothing is gained by a limit on archives as such. But the node
//! must stay usable: whoever has written a while stops when less than a reserve is left, of space or of inodes.

use crate::beneath::Directory;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Bytes between two looks at the disk.
const CHUNK: u64 = 16 << 20;
/// Made files between two looks at the disk.
const ENTRIES: u32 = 4096;
/// Part of the disk that stays free, as a divisor,
const RESERVE_DIVISOR: u64 = 20;
/// or so many bytes, if that is less.
const RESERVE_MAX: u64 = 1 << 30;

/// Watches the disk of a directory while something is written to it.
#[derive(Debug)]
pub struct Guard<'a> {
    directory: &'a Directory,
    written: u64,
    made: u32,
}

impl<'a> Guard<'a> {
    /// For what is about to be written.
    #[must_use]
    pub fn new(directory: &'a Directory) -> Self {
        Self { directory, written: 0, made: 0 }
    }

    /// One more file, directory or link.
    ///
    /// # Errors
    /// When too little of the disk is left.
    pub fn count(&mut self) -> Result<(), String> {
        self.made += 1;
        if self.made.is_multiple_of(ENTRIES) { self.look() } else { Ok(()) }
    }

    /// So many more bytes.
    ///
    /// # Errors
    /// When too little of the disk is left.
    pub fn grow(&mut self, bytes: u64) -> Result<(), String> {
        let before = self.written / CHUNK;
        self.written += bytes;
        if self.written / CHUNK > before { self.look() } else { Ok(()) }
    }

    fn look(&self) -> Result<(), String> {
        let shown = self.directory.path().display();
        let disk = rustix::fs::fstatvfs(self.directory.descriptor())
            .map_err(|e| format!("Failed to look at the disk of '{shown}': {e}"))?;
        let (total, free) = (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize);
        let reserve = (total / RESERVE_DIVISOR).min(RESERVE_MAX);
        if free < reserve {
            return Err(format!(
                "too little space is left on the disk of '{shown}': {free} bytes, {reserve} are kept free"
            ));
        }
        // File systems without a fixed number of inodes say 0.
        if disk.f_files > 0 && disk.f_favail < disk.f_files / RESERVE_DIVISOR / 5 {
            return Err(format!(
                "too few inodes are left on the disk of '{shown}': {}",
                disk.f_favail
            ));
        }
        Ok(())
    }

    /// Copies everything from a reader; the number of bytes.
    ///
    /// # Errors
    /// When reading or writing fails, or too little of the disk is left.
    pub fn copy(
        &mut self,
        from: &mut impl Read,
        to: &mut File,
        shown: &Path,
    ) -> Result<u64, String> {
        let mut buffer = vec![0; 128 << 10];
        let mut copied = 0;
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(copied),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            };
            to.write_all(&buffer[..count])
                .map_err(|e| format!("Failed to write '{}': {e}", shown.display()))?;
            copied += count as u64;
            self.grow(count as u64)?;
        }
    }

    /// Copies a whole file, by the kernel where it can; the number of bytes.
    ///
    /// # Errors
    /// When reading or writing fails, or too little of the disk is left.
    pub fn copy_file(&mut self, from: &mut File, to: &mut File) -> Result<u64, String> {
        let mut copied = 0;
        loop {
            let count = io::copy(&mut from.take(CHUNK), to).map_err(|e| e.to_string())?;
            if count == 0 {
                return Ok(copied);
            }
            copied += count;
            self.grow(count)?;
        }
    }
}
