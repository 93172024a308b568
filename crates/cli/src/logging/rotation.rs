//! A log file that does not grow for ever.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is renamed to `<name>.1` when it is full; there are at most so many of these.
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    file: File,
    size: u64,
    size_max: u64,
    former_max: u32,
}

impl Rotating {
    /// Opens it; what it has stays. `size_max` 0: it is never full.
    pub(super) fn open(path: &Path, size_max: u64, former_max: u32) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, size_max, former_max })
    }

    fn former(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.former_max).rev() {
            let (from, to) = (self.former(number), self.former(number + 1));
            if from.exists() {
                fs::rename(from, to)?;
            }
        }
        if self.former_max > 0 {
            fs::rename(&self.path, self.former(1))?;
        } else {
            fs::remove_file(&self.path)?;
        }
        self.file = File::options().create(true).append(true).open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

impl Write for Rotating {
    /// Takes whole lines: they are not torn apart.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let is_full =
            self.size_max > 0 && self.size > 0 && self.size + line.len() as u64 > self.size_max;
        if is_full && self.rotate().is_err() {
            // Where nothing can be renamed, a file that is too long is better than none; tried again after as much.
            self.size = 0;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_whole() {
        let directory =
            std::env::temp_dir().join(format!("proffer-rotation-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("made");
        let path = directory.join("x.log");
        fs::write(&path, "old\n").expect("written");
        let mut log = Rotating::open(&path, 20, 2).expect("opened");
        for number in 0..10 {
            log.write_all(format!("line {number}\n").as_bytes()).expect("written");
        }
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        assert_eq!(read("x.log"), "line 8\nline 9\n");
        assert_eq!(
            (read("x.log.1"), read("x.log.2")),
            ("line 6\nline 7\n".to_owned(), "line 4\nline 5\n".to_owned())
        );
        assert!(!directory.join("x.log.3").exists());
        let _ = fs::remove_dir_all(directory);
    }
}
