//! Directories that nobody needs any more. They go aside at once, and are removed by and by.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

/// What is to be removed. What an agent that is killed does not get to is removed by the next.
#[derive(Debug)]
pub(super) struct Trash {
    directory: PathBuf,
    next: AtomicU64,
    removals: mpsc::Sender<PathBuf>,
}

impl Trash {
    /// Directories are put into this one, which is emptied first. It must be on the same file system as they are.
    pub(super) fn new(directory: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        let mut next = 0;
        let (removals, queue) = mpsc::channel::<PathBuf>();
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            next = next.max(number.map_or(0, |number| number + 1));
            let _ = removals.send(entry.path());
        }
        // It ends with the sender, when everything is removed.
        std::thread::Builder::new().name("images-removed".to_owned()).spawn(move || {
            for path in queue {
                if let Err(error) = crate::remove_tree(&path) {
                    tracing::warn!(path = %path.display(), %error, "cannot remove what a container left; it is tried again when the agent starts");
                }
            }
        })?;
        Ok(Self { directory, next: AtomicU64::new(next), removals })
    }

    /// Takes a directory away from its place. No error if it is gone.
    pub(super) fn take(&self, path: &Path) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let aside = self.directory.join(number.to_string());
        match std::fs::rename(path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        let _ = self.removals.send(aside);
        Ok(())
    }
}
