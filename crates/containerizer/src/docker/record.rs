//! What is written down of a container before the engine hears of it, so that an agent that was killed at any moment
//! knows which containers are its, and what they have written already.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};

/// A container's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its sandbox.
    pub(super) sandbox: PathBuf,
    /// Lengths of `stdout` and `stderr` when it was made; None until then.
    pub(super) before: Option<[u64; 2]>,
    /// The engine was, or is at any moment, told to start it.
    pub(super) started: bool,
    /// It is removed as soon as it has ended.
    pub(super) remove: bool,
    /// Nothing of what it writes can be had from the engine later.
    pub(super) unlogged: bool,
    /// The network that was asked for (a `NetworkInfo`).
    #[serde(default)]
    pub(super) network: Option<Value>,
    /// Names of the variables whose values nobody else learns.
    #[serde(default)]
    pub(super) secret_variables: Vec<String>,
    /// Its GPUs.
    #[serde(default)]
    pub(super) gpus: Vec<String>,
}

/// A directory of records.
#[derive(Debug)]
pub(super) struct Records(PathBuf);

impl Records {
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self(directory))
    }

    fn path(&self, container_id: &str) -> PathBuf {
        self.0.join(container_id)
    }

    /// Writes a record, in one step over an older one.
    pub(super) fn put(&self, container_id: &str, record: &Record) -> Result<(), String> {
        let path = self.path(container_id);
        let new = path.with_extension("new");
        let text = serde_json::to_vec(record).map_err(|e| e.to_string())?;
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))
    }

    /// None if there is none that can be read.
    pub(super) fn get(&self, container_id: &str) -> Option<Record> {
        serde_json::from_slice(&std::fs::read(self.path(container_id)).ok()?).ok()
    }

    pub(super) fn remove(&self, container_id: &str) {
        let _ = std::fs::remove_file(self.path(container_id));
    }

    /// The ids of all containers that have one.
    pub(super) fn ids(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.0)?.flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| Path::new(name).extension().is_none()).collect())
    }
}
