//! What the agent must know after a restart: an append-only log of records.
//!
//! Each record is framed by its length and a checksum. A torn last record is cut off; a record with a wrong checksum
//! ends the log, and the damaged file is kept aside. A write is in the page cache (it survives the process) when it is
//! answered, and on the disk if that was asked for. At each start, and whenever it has doubled, the log is written anew
//! without what was forgotten.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use wire::internal::AgentRecord;

const MAGIC: &[u8] = b"proffer-agent-log 1\n";
const FRAME_HEAD: usize = 8;

/// A log that is smaller is not written anew while the agent runs.
const REWRITE_MIN: u64 = 16 << 20;

/// The log.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    path: PathBuf,
    length: u64,
    /// Length at which it is written anew.
    rewrite_at: u64,
}

/// What was found at the start.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    /// Records in order, without what was forgotten.
    pub(crate) records: Vec<AgentRecord>,
    /// Where a damaged log was put.
    pub(crate) quarantined: Option<PathBuf>,
}

impl Store {
    /// Opens the log in a directory, which is made if it is not there.
    pub(crate) fn open(directory: &Path) -> io::Result<Opened> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join("agent.log");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (records, damaged) = parse(&bytes);
        let quarantined = if damaged {
            let mut number = 0;
            let aside = loop {
                let aside = directory.join(format!("agent.log.damaged-{number}"));
                if !aside.exists() {
                    break aside;
                }
                number += 1;
            };
            std::fs::copy(&path, &aside)?;
            Some(aside)
        } else {
            None
        };
        let records = agent_core::compact(records);
        let (file, length) = write_anew(&path, &records)?;
        let store = Self { file, path, length, rewrite_at: REWRITE_MIN.max(2 * length) };
        Ok(Opened { store, records, quarantined })
    }

    /// Appends records in one write; `sync`: they are on the disk when it returns.
    pub(crate) fn append(&mut self, records: &[AgentRecord], sync: bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            frame(record, &mut bytes);
        }
        self.file.write_all(&bytes)?;
        if sync {
            self.file.sync_data()?;
        }
        self.length += bytes.len() as u64;
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
        let (records, damaged) = parse(&std::fs::read(&self.path)?);
        if damaged {
            return Err(io::Error::other("it is damaged"));
        }
        (self.file, self.length) = write_anew(&self.path, &agent_core::compact(records))?;
        Ok(())
    }
}

/// Replaces a log; where the next record goes, and its length. Tasks' environments are for nobody else to read.
fn write_anew(path: &Path, records: &[AgentRecord]) -> io::Result<(File, u64)> {
    let mut content = MAGIC.to_vec();
    for record in records {
        frame(record, &mut content);
    }
    let new = path.with_extension("log.new");
    let mut file =
        File::options().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(&content)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok((File::options().append(true).open(path)?, content.len() as u64))
}

fn frame(record: &AgentRecord, out: &mut Vec<u8>) {
    let bytes = wire::protobuf::to_vec(record);
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    out.extend_from_slice(&bytes);
}

/// Records up to the first that is not whole; whether that is damage, not just a torn end.
fn parse(bytes: &[u8]) -> (Vec<AgentRecord>, bool) {
    let mut records = Vec::new();
    if bytes.is_empty() {
        return (records, false);
    }
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return (records, !MAGIC.starts_with(bytes));
    };
    while let Some((head, after)) = rest.split_at_checked(FRAME_HEAD) {
        let (length, sum) = head.split_at(4);
        let number = |b: &[u8]| b.iter().rev().fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
        let Some((record, after)) = after.split_at_checked(number(length) as usize) else {
            return (records, false);
        };
        if crc32fast::hash(record) != number(sum) {
            // Of a torn end the checksum is wrong as well; damage has good records behind it.
            return (records, !after.is_empty());
        }
        match wire::protobuf::from_slice(record) {
            Ok(record) => records.push(record),
            Err(_) => return (records, true),
        }
        rest = after;
    }
    (records, false)
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

    #[test]
    fn a_log_cut_anywhere_gives_whole_records_only() {
        let directory = testkit::cluster::temporary_directory();
        let mut opened = Store::open(&directory).expect("a store");
        let records = [agent("a"), agent("b"), agent("c")];
        opened.store.append(&records, true).expect("written");
        let whole = std::fs::read(log(&directory)).expect("the log");
        for length in 0..whole.len() {
            std::fs::write(log(&directory), &whole[..length]).expect("cut");
            let mut again = Store::open(&directory).expect("a store");
            assert!(records.starts_with(&again.records), "{length}");
            assert_eq!(again.quarantined, None, "{length}");
            again.store.append(&[agent("d")], false).expect("written");
            let last = Store::open(&directory).expect("a store");
            assert_eq!(last.records.last(), Some(&agent("d")), "{length}");
        }
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn damage_is_kept_aside_and_told() {
        let directory = testkit::cluster::temporary_directory();
        let mut opened = Store::open(&directory).expect("a store");
        opened.store.append(&[agent("a"), agent("b")], true).expect("written");
        let whole = std::fs::read(log(&directory)).expect("the log");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            std::fs::write(log(&directory), &damaged).expect("damaged");
            let again = Store::open(&directory).expect("a store");
            assert!([agent("a"), agent("b")].starts_with(&again.records), "{at}");
            assert!(again.records.len() < 2, "{at}: the damage is noticed");
        }
        assert!(directory.join("agent.log.damaged-0").exists());
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn the_log_does_not_grow_with_what_was_forgotten() {
        let directory = testkit::cluster::temporary_directory();
        let mut store = Store::open(&directory).expect("a store").store;
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
        let again = Store::open(&directory).expect("a store");
        assert_eq!(again.records, [agent("a"), agent("b")]);
        let mode = std::fs::metadata(log(&directory)).expect("the log").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "environments are in it");
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
