//! What the agent must know after a restart: an append-only log of records (`frames`).
//!
//! A write is in the page cache (it survives the process) when it is answered, and on the disk if that was asked for.
//! At each start, and whenever it has doubled, the log is written anew without what was forgotten. A torn end is cut
//! off. Damage is not repaired without being asked for: see [`Store::open`].
//!
//! Some room beyond the end is kept for the log, where the file system can: what filled the disk ends, and that is told,
//! before there is room again.

use crate::frames::{self, MAGIC};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use wire::internal::AgentRecord;

/// A log that is smaller is not written anew while the agent runs.
const REWRITE_MIN: u64 = 16 << 20;
/// Room that is kept beyond its end; it is renewed when half of it is used.
const RESERVE: u64 = 256 << 10;

/// The log.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    path: PathBuf,
    length: u64,
    /// Length at which it is written anew.
    rewrite_at: u64,
    /// Where the room ends that is kept for it.
    reserved: u64,
}

/// What was found at the start.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    /// Records in order, without what was forgotten.
    pub(crate) records: Vec<AgentRecord>,
    /// Places that could not be read, and where the damaged log was put.
    pub(crate) damage: Option<(usize, PathBuf)>,
}

/// Why it could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// A log that may not be damaged is.
    Damaged {
        /// The log.
        path: PathBuf,
        /// Places that can't be read.
        places: usize,
        /// Where the first one is.
        at: usize,
        /// Records that can be read.
        readable: usize,
    },
    /// The file system.
    Io(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether an error says that there is no room: it passes when there is.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Store {
    /// Opens the log in a directory, which is made if it is not there. A damaged one is left as it is if `strict`, else
    /// it is kept aside and all that can be read of it is used.
    pub(crate) fn open(directory: &Path, strict: bool) -> Result<Opened, OpenError> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join("agent.log");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let scan = frames::scan(&bytes);
        let damage = match scan.damaged.first() {
            None => None,
            Some(first) if strict => {
                let (places, at, readable) = (scan.damaged.len(), first.start, scan.records.len());
                return Err(OpenError::Damaged { path, places, at, readable });
            }
            Some(_) => Some((scan.damaged.len(), put_aside(&path)?)),
        };
        let records = agent_core::compact(scan.records);
        let (file, length) = match write_anew(&path, &records) {
            // There is no room for a second one: the first goes on, without its torn end.
            Err(error) if is_full(&error) && damage.is_none() && scan.end >= MAGIC.len() => {
                tracing::warn!(%error, path = %path.display(), "cannot write the log anew");
                let file = File::options().append(true).open(&path)?;
                file.set_len(scan.end as u64)?;
                (file, scan.end as u64)
            }
            other => other?,
        };
        let rewrite_at = REWRITE_MIN.max(2 * length);
        let mut store = Self { file, path, length, rewrite_at, reserved: 0 };
        store.reserve();
        Ok(Opened { store, records, damage })
    }

    /// Appends records in one write; `sync`: they are on the disk when it returns. After an error none of them is in the
    /// log, as far as anybody can tell.
    pub(crate) fn append(&mut self, records: &[AgentRecord], sync: bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            frames::put(record, &mut bytes);
        }
        let written = self.file.write_all(&bytes);
        let written = written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            self.file.set_len(self.length)?;
            // That gave up what was kept.
            self.reserved = 0;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.reserve();
        if self.length >= self.rewrite_at {
            // What was asked for is done; if this fails the log only stays long.
            if let Err(error) = self.rewrite() {
                tracing::warn!(%error, path = %self.path.display(), "cannot write the log anew");
            }
            self.rewrite_at = REWRITE_MIN.max(2 * self.length);
        }
        Ok(())
    }

    /// Drops what was forgotten since the last time.
    fn rewrite(&mut self) -> io::Result<()> {
        let scan = frames::scan(&std::fs::read(&self.path)?);
        if !scan.damaged.is_empty() {
            return Err(io::Error::other("it is damaged"));
        }
        (self.file, self.length) = write_anew(&self.path, &agent_core::compact(scan.records))?;
        self.reserved = 0;
        self.reserve();
        Ok(())
    }

    /// Keeps room for what comes. Without it the log is no worse.
    fn reserve(&mut self) {
        if self.length + RESERVE / 2 <= self.reserved {
            return;
        }
        let kept = fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.length, RESERVE);
        if kept.is_ok() {
            self.reserved = self.length + RESERVE;
        }
    }
}

/// Keeps a copy of a damaged log; where.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = |number: u32| path.with_extension(format!("log.damaged-{number}"));
    let aside = (0..).map(aside).find(|aside| !aside.exists()).unwrap_or_else(|| aside(0));
    std::fs::copy(path, &aside)?;
    Ok(aside)
}

/// Replaces a log; where the next record goes, and its length. Tasks' environments are for nobody else to read.
fn write_anew(path: &Path, records: &[AgentRecord]) -> io::Result<(File, u64)> {
    let mut content = MAGIC.to_vec();
    for record in records {
        frames::put(record, &mut content);
    }
    let new = path.with_extension("log.new");
    let written = write_durably(&new, &content).and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok((File::options().append(true).open(path)?, content.len() as u64))
}

fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file =
        File::options().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::internal::agent_record::Record;

    fn agent(id: &str) -> AgentRecord {
        let info =
            wire::v1::AgentInfo { hostname: "h".into(), id: Some(id.into()), ..Default::default() };
        AgentRecord { record: Some(Record::Agent(info)) }
    }

    fn log(directory: &Path) -> PathBuf {
        directory.join("agent.log")
    }

    fn open(directory: &Path) -> Opened {
        Store::open(directory, true).expect("a store")
    }

    #[test]
    fn a_log_cut_anywhere_gives_whole_records_only() {
        let directory = testkit::cluster::temporary_directory();
        let records = [agent("a"), agent("b"), agent("c")];
        open(&directory).store.append(&records, true).expect("written");
        let whole = std::fs::read(log(&directory)).expect("the log");
        for length in 0..whole.len() {
            std::fs::write(log(&directory), &whole[..length]).expect("cut");
            let mut again = open(&directory);
            assert!(records.starts_with(&again.records) && again.damage.is_none(), "{length}");
            again.store.append(&[agent("d")], true).expect("written");
            let last = open(&directory);
            assert_eq!(last.records.last(), Some(&agent("d")), "{length}");
        }
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_damaged_log_is_refused_or_kept_aside() {
        let directory = testkit::cluster::temporary_directory();
        open(&directory).store.append(&[agent("a"), agent("b")], true).expect("written");
        let mut damaged = std::fs::read(log(&directory)).expect("the log");
        damaged[MAGIC.len() + 10] ^= 1;
        std::fs::write(log(&directory), &damaged).expect("damaged");
        let refused = Store::open(&directory, true).expect_err("it is damaged");
        let OpenError::Damaged { places: 1, at, readable: 1, .. } = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(at, MAGIC.len());
        assert_eq!(std::fs::read(log(&directory)).expect("the log"), damaged, "left as it is");
        let opened = Store::open(&directory, false).expect("a store");
        assert_eq!(opened.records, [agent("b")]);
        let aside = directory.join("agent.log.damaged-0");
        assert_eq!(opened.damage, Some((1, aside.clone())));
        assert_eq!(std::fs::read(aside).expect("kept"), damaged);
        assert_eq!(open(&directory).records, [agent("b")], "it is whole again");
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn the_log_does_not_grow_with_what_was_forgotten() {
        let directory = testkit::cluster::temporary_directory();
        let mut store = open(&directory).store;
        let record = |record| AgentRecord { record: Some(record) };
        let framework = wire::v1::FrameworkInfo {
            user: "u".repeat(100_000),
            name: "n".into(),
            id: Some("f".into()),
            ..Default::default()
        };
        let forget = wire::internal::ForgetFramework { framework_id: "f".into() };
        store.append(&[agent("a")], false).expect("written");
        for _ in 0..500 {
            store.append(&[record(Record::Framework(framework.clone()))], false).expect("written");
            store.append(&[record(Record::ForgetFramework(forget.clone()))], false).expect("gone");
            let length = std::fs::metadata(log(&directory)).expect("the log").len();
            assert_eq!(length, store.length);
            assert!(length < REWRITE_MIN + 200_000, "{length}");
        }
        store.append(&[agent("b")], false).expect("written");
        let again = open(&directory);
        assert_eq!(again.records, [agent("a"), agent("b")]);
        let mode = std::fs::metadata(log(&directory)).expect("the log").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "environments are in it");
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
