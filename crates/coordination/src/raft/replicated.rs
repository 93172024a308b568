//! The registry in the hands of the master that leads.

use super::store::Store;
use super::{Command, Raft};
use crate::{Change, Key, Registry, RegistryError};
use openraft::error::{ClientWriteError, RaftError};
use std::time::Duration;
use tokio::runtime::Handle;

/// Bytes of changes that go into one command, at least one write.
const COMMAND_BYTES: usize = 1 << 20;
/// Most bytes of a write: it is sent in one call.
const WRITE_MAX: usize = 4 << 20;

pub(super) struct Replicated {
    pub(super) raft: openraft::Raft<Raft>,
    pub(super) store: Store,
    pub(super) runtime: Handle,
    /// Longest time for a write to be with a majority.
    pub(super) store_max: Duration,
}

impl std::fmt::Debug for Replicated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicated").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Replicated {
    pub(super) async fn commit(&self, command: Command) -> Result<(), RegistryError> {
        let place = self.store.place();
        match tokio::time::timeout(self.store_max, self.raft.client_write(command)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err(RegistryError::Deposed { place: place.to_owned() })
            }
            Ok(Err(error)) => Err(RegistryError::unavailable(place, error)),
            Err(_) => Err(RegistryError::unavailable(place, "no majority of masters answers")),
        }
    }

    async fn write_all(&self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        let mut command = Command::default();
        let mut bytes = 0;
        let size = |change: &Change| {
            change.key.0.len() + change.key.1.len() + change.value.as_ref().map_or(0, Vec::len)
        };
        for write in writes {
            let size: usize = write.iter().map(size).sum();
            if size > WRITE_MAX {
                let place = self.store.place().to_owned();
                return Err(RegistryError::TooLarge { place, size, max: WRITE_MAX });
            }
            bytes += size;
            command.changes.extend_from_slice(write);
            if bytes > COMMAND_BYTES {
                self.commit(std::mem::take(&mut command)).await?;
                bytes = 0;
            }
        }
        if command.changes.is_empty() { Ok(()) } else { self.commit(command).await }
    }
}

impl Registry for Replicated {
    fn read(&self) -> Result<Vec<(Key, Vec<u8>)>, RegistryError> {
        self.store.content().map_err(|e| RegistryError::unavailable(self.store.place(), e))
    }

    fn write(&mut self, writes: &[&[Change]]) -> Result<(), RegistryError> {
        self.runtime.block_on(self.write_all(writes))
    }
}
