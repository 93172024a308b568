//! Bytes of the agent's log: records, each framed by its length and a checksum.
//!
//! ```text
//! magic  (length: u32  crc32: u32  record)*      numbers in little-endian order
//! ```
//!
//! A process that dies while it writes leaves a torn end: a frame that is not whole, and nothing behind it. Anything
//! else that is not a frame is damage; what comes after it is found again by its checksums.

use std::ops::Range;
use wire::internal::AgentRecord;

pub(crate) const MAGIC: &[u8] = b"proffer-agent-log 1\n";
const HEAD: usize = 8;

/// What is in a log.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scan {
    /// Records that could be read, in order.
    pub(crate) records: Vec<AgentRecord>,
    /// Places that are neither records nor a torn end.
    pub(crate) damaged: Vec<Range<usize>>,
    /// Where a torn end begins; the length of the log if it has none.
    pub(crate) end: usize,
}

/// Adds a record to a log.
pub(crate) fn put(record: &AgentRecord, out: &mut Vec<u8>) {
    let bytes = wire::protobuf::to_vec(record);
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    out.extend_from_slice(&bytes);
}

/// The content of the frame that begins at the start of `bytes`, if one does.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    // No record is empty, but zeros would be frames of empty ones.
    let content = rest.get(..length).filter(|content| !content.is_empty())?;
    (crc32fast::hash(content) == u32::from_le_bytes(*sum)).then_some(content)
}

/// Reads a log.
pub(crate) fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut at = if bytes.starts_with(MAGIC) { MAGIC.len() } else { 0 };
    while at < bytes.len() {
        if let Some(content) = frame(&bytes[at..]) {
            let next = at + HEAD + content.len();
            match wire::protobuf::from_slice(content) {
                Ok(record) => scan.records.push(record),
                Err(_) => scan.damaged.push(at..next),
            }
            at = next;
            continue;
        }
        let next = (at + 1..bytes.len()).find(|next| frame(&bytes[*next..]).is_some());
        let is_torn_magic = at == 0 && MAGIC.starts_with(bytes);
        match next {
            Some(next) => {
                scan.damaged.push(at..next);
                at = next;
            }
            None if at > 0 || is_torn_magic => break,
            None => {
                scan.damaged.push(at..bytes.len());
                at = bytes.len();
            }
        }
    }
    scan.end = at;
    scan
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wire::internal::agent_record::Record;

    fn record(id: &str) -> AgentRecord {
        let info =
            wire::v1::AgentInfo { hostname: "h".into(), id: Some(id.into()), ..Default::default() };
        AgentRecord { record: Some(Record::Agent(info)) }
    }

    fn log(records: &[AgentRecord]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        records.iter().for_each(|record| put(record, &mut bytes));
        bytes
    }

    #[test]
    fn a_log_cut_anywhere_has_whole_records_and_no_damage() {
        let records = [record("a"), record("b"), record("c")];
        let whole = log(&records);
        for length in 0..=whole.len() {
            let scan = scan(&whole[..length]);
            assert!(records.starts_with(&scan.records), "{length}");
            assert_eq!((scan.damaged.len(), scan.end <= length), (0, true), "{length}");
            assert_eq!(scan.records.len() == 3, length == whole.len(), "{length}");
        }
    }

    #[test]
    fn damage_costs_only_the_record_that_it_hits() {
        let records = [record("a"), record("b"), record("c")];
        let whole = log(&records);
        let last = whole.len() - (whole.len() - MAGIC.len()) / 3;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let scan = scan(&damaged);
            let hit = at.checked_sub(MAGIC.len()).map(|at| at / ((whole.len() - MAGIC.len()) / 3));
            let left: Vec<_> =
                (0..3).filter(|n| Some(*n) != hit).map(|n| records[n].clone()).collect();
            assert_eq!(scan.records, left, "{at}");
            // Of the last record damage can't be told from a torn end.
            assert_eq!(scan.damaged.len(), usize::from(at < last), "{at}");
        }
    }

    #[test]
    fn what_is_no_log_is_damage() {
        assert_eq!(scan(b"something else").damaged.first(), Some(&(0..14)));
        assert_eq!(scan(b""), Scan::default());
        // A record of a kind that is not known has a right checksum, and is none.
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&[0xff]).to_le_bytes());
        bytes.push(0xff);
        put(&record("a"), &mut bytes);
        let scan = scan(&bytes);
        assert_eq!((scan.records.len(), scan.damaged.len()), (1, 1));
    }

    /// Where and how a log is damaged, and what is in front of it.
    #[test]
    fn arbitrary_damage_is_survived() {
        let records: Vec<AgentRecord> = ["a", "b", "c", "d"].map(record).into();
        let whole = log(&records);
        let time = Duration::from_secs(2);
        bolero::check!(name = "agent_log").with_test_time(time).for_each(|bytes: &[u8]| {
            let read = scan(bytes);
            assert!(read.end <= bytes.len());
            let Some((place, patch)) = bytes.split_first() else { return };
            let mut patched = whole.clone();
            let at = usize::from(*place).min(patched.len());
            let end = (at + patch.len()).min(patched.len());
            patched[at..end].copy_from_slice(&patch[..end - at]);
            // What was not hit is still there, in order.
            let mut left = scan(&patched).records.into_iter();
            let size = (whole.len() - MAGIC.len()) / records.len();
            for (n, record) in records.iter().enumerate() {
                let begin = MAGIC.len() + n * size;
                if end <= begin || at >= begin + size {
                    assert!(left.any(|l| l == *record), "record {n} of {patched:?}");
                }
            }
        });
    }
}
