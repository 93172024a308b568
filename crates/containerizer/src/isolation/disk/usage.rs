//! What a directory takes on its disk.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The kernel counts blocks in units of so many bytes.
const BLOCK: u64 = 512;

/// Bytes that everything below a directory takes, itself included, as `du` counts them: links are not followed, what has
/// several names counts once, other file systems and what is at or below `except` don't.
///
/// # Errors
/// When the directory itself can't be read; what disappears meanwhile takes nothing.
pub(super) fn of(directory: &Path, except: &[PathBuf]) -> io::Result<u64> {
    let root = directory.symlink_metadata()?;
    let mut seen = BTreeSet::new();
    let mut total = root.blocks() * BLOCK;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(found) = entry.metadata() else { continue };
            if found.dev() != root.dev() || except.contains(&path) || !is_new(&mut seen, &found) {
                continue;
            }
            total += found.blocks() * BLOCK;
            if found.is_dir() {
                open.push(path);
            }
        }
    }
    Ok(total)
}

fn is_new(seen: &mut BTreeSet<u64>, found: &Metadata) -> bool {
    found.is_dir() || found.nlink() < 2 || seen.insert(found.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_count_once_and_what_is_excepted_does_not() {
        let directory = testkit::cluster::temporary_directory();
        let empty = of(&directory, &[]).expect("it is there");
        std::fs::create_dir_all(directory.join("a/b")).expect("directories");
        let file = directory.join("a/b/file");
        std::fs::write(&file, vec![1; 1 << 20]).expect("a file");
        std::fs::hard_link(&file, directory.join("again")).expect("a link");
        std::os::unix::fs::symlink("/usr", directory.join("elsewhere")).expect("a link");
        let all = of(&directory, &[]).expect("it is there") - empty;
        assert!(((1 << 20)..(1 << 20) + 65536).contains(&all), "{all}");
        // A hole takes nothing.
        std::fs::File::create(directory.join("hole"))
            .and_then(|f| f.set_len(1 << 30))
            .expect("a file");
        std::fs::remove_file(directory.join("again")).expect("removed");
        let less = of(&directory, &[directory.join("a")]).expect("it is there") - empty;
        assert!(less < 65536, "{less}");
        assert!(of(&directory.join("none"), &[]).is_err());
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
