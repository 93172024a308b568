//! The directories that are worked in. They are opened before the rights are given up: the user may have none to those
//! above them.

use crate::beneath::Directory;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::Path;
use wire::internal::FetchRequest;

/// The sandbox, and the user's part of the cache.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) sandbox: Directory,
    /// None: nothing goes through the cache.
    pub(crate) cache: Option<Directory>,
}

impl Places {
    /// Opens them; the user's part of the cache is made where it is missing.
    pub(crate) fn open(request: &FetchRequest) -> Result<Self, String> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let sandbox = Directory::open(Path::new(&request.directory))?;
        let wanted = request.items.iter().any(|item| item.cache);
        let cache = request.cache_directory.as_deref().filter(|_| wanted);
        let cache = cache.map(|path| cache_directory(path, request)).transpose()?;
        Ok(Self { sandbox, cache })
    }
}

fn cache_directory(path: &str, request: &FetchRequest) -> Result<Directory, String> {
    let fault = |e| format!("Could not create the fetcher cache directory: {path}: {e}");
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            let user = request.user.as_ref();
            chown(path, user.map(|u| u.uid), user.map(|u| u.gid)).map_err(fault)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(fault(error)),
    }
    Directory::open(Path::new(path))
}
