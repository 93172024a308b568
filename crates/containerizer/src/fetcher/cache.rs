//! The books of the cache: which URI is in which file, who uses it, and what has to go.
//!
//! A file belongs to one user, and is in that user's directory. Entries are found by user and URI. One that is being
//! downloaded is waited for; when its download fails, those who wait fetch for themselves, and when it was only
//! cancelled, one of them takes it over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Longest part of a URI in a file's name.
const NAME_MAX: usize = 20;

/// The user, if there is one, and the URI.
type Key = (Option<String>, String);

/// Files that were downloaded, up to a total size.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    total: u64,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    entries: BTreeMap<Key, Entry>,
    used: u64,
    /// Number of the last file.
    serial: u64,
    /// Counts uses, so that the oldest is known.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    file: String,
    /// Space that is claimed.
    size: u64,
    users: u32,
    last_use: u64,
    state: watch::Sender<State>,
}

/// What became of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It goes on.
    Pending,
    /// It is there.
    Ready,
    /// It failed, or did not fit.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
}

/// What is known of a URI.
#[derive(Debug)]
pub(super) enum Found {
    /// It is there.
    Ready(Lease),
    /// Somebody downloads it.
    Pending(watch::Receiver<State>),
    /// Nobody does.
    Missing(Download),
}

impl Cache {
    pub(super) fn new(directory: PathBuf, total: u64) -> Arc<Self> {
        Arc::new(Self { directory, total, books: Mutex::default() })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are claimed.
    pub(super) fn used(&self) -> u64 {
        self.books().used
    }

    /// Where a user's files are.
    pub(super) fn directory(&self, user: Option<&str>) -> PathBuf {
        user.map_or_else(|| self.directory.clone(), |user| self.directory.join(user))
    }

    fn path(&self, key: &Key, file: &str) -> PathBuf {
        self.directory(key.0.as_deref()).join(file)
    }

    /// Looks a URI up; `name` is its last part.
    pub(super) fn find(self: &Arc<Self>, user: Option<&str>, uri: &str, name: &str) -> Found {
        let key = (user.map(str::to_owned), uri.to_owned());
        let mut books = self.books();
        books.clock += 1;
        let clock = books.clock;
        if let Some(entry) = books.entries.get_mut(&key) {
            if *entry.state.borrow() == State::Pending {
                entry.last_use = clock;
                return Found::Pending(entry.state.subscribe());
            }
            let file = entry.file.clone();
            // Somebody may have removed it: nobody guards the directory.
            if self.path(&key, &file).symlink_metadata().is_ok() {
                entry.users += 1;
                entry.last_use = clock;
                return Found::Ready(Lease { cache: self.clone(), key, file, stray: false });
            }
            tracing::warn!(%uri, %file, "a file of the fetcher's cache is gone; it is downloaded again");
            books.remove(&key);
        }
        books.serial += 1;
        let file = file_name(books.serial, name);
        let state = watch::Sender::new(State::Pending);
        let entry = Entry { file: file.clone(), size: 0, users: 1, last_use: clock, state };
        books.entries.insert(key.clone(), entry);
        Found::Missing(Download { cache: self.clone(), key, file, open: true })
    }
}

impl Books {
    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.used -= entry.size;
        Some(entry)
    }

    /// The least recently used entries that nobody uses and that make so much room together.
    fn victims(&self, missing: u64) -> Option<Vec<Key>> {
        let mut free: Vec<(&Key, &Entry)> =
            self.entries.iter().filter(|(_, e)| e.users == 0).collect();
        free.sort_by_key(|(_, entry)| entry.last_use);
        let mut room = 0;
        let mut chosen = Vec::new();
        for (key, entry) in free {
            if room >= missing {
                break;
            }
            room += entry.size;
            chosen.push(key.clone());
        }
        (room >= missing).then_some(chosen)
    }
}

/// A download into the cache that has begun. Dropped, it counts as cancelled.
#[derive(Debug)]
pub(super) struct Download {
    cache: Arc<Cache>,
    key: Key,
    file: String,
    open: bool,
}

impl Download {
    /// Name of the file in the user's directory.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Claims space; others go for it if they must.
    ///
    /// # Errors
    /// When there is not so much to be had.
    pub(super) fn reserve(&self, size: u64) -> Result<(), String> {
        let mut books = self.cache.books();
        let free = self.cache.total.saturating_sub(books.used);
        if size > free {
            let victims = books.victims(size - free).ok_or(
                "Failed to reserve space in the cache: Could not free up enough fetcher cache space",
            )?;
            for key in victims {
                if let Some(entry) = books.remove(&key) {
                    delete(&self.cache.path(&key, &entry.file));
                }
            }
        }
        books.used += size;
        if let Some(entry) = books.entries.get_mut(&self.key) {
            entry.size += size;
        } else {
            books.used -= size;
        }
        Ok(())
    }

    /// It is there: others may use it. One that is larger than was claimed is only for whoever downloaded it.
    pub(super) fn complete(mut self) -> Lease {
        self.open = false;
        let (cache, key, file) = (self.cache.clone(), self.key.clone(), self.file.clone());
        let size = cache.path(&key, &file).symlink_metadata().map(|found| found.len());
        let mut books = cache.books();
        let claimed = books.entries.get(&key).map_or(0, |entry| entry.size);
        let fits = size.as_ref().is_ok_and(|size| *size <= claimed);
        if let (true, Ok(size), Some(entry)) = (fits, size, books.entries.get_mut(&key)) {
            entry.size = size;
            entry.state.send_replace(State::Ready);
            books.used -= claimed - size;
        } else {
            tracing::warn!(uri = %key.1, "a download is larger than it was said to be; it is not kept");
            if let Some(entry) = books.remove(&key) {
                entry.state.send_replace(State::Failed);
            }
        }
        drop(books);
        Lease { cache, key, file, stray: !fits }
    }

    /// It failed: those who wait fetch for themselves.
    pub(super) fn fail(mut self) {
        self.end(State::Failed);
    }

    fn end(&mut self, state: State) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        let mut books = self.cache.books();
        if let Some(entry) = books.remove(&self.key) {
            // Whoever looks again finds nothing half done.
            delete(&self.cache.path(&self.key, &self.file));
            entry.state.send_replace(state);
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.end(State::Cancelled);
    }
}

/// A file of the cache stays as long as this.
#[derive(Debug)]
pub(super) struct Lease {
    cache: Arc<Cache>,
    key: Key,
    file: String,
    /// It is in nobody's books.
    stray: bool,
}

impl Lease {
    /// Name of the file in the user's directory.
    pub(super) fn file(&self) -> &str {
        &self.file
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.stray {
            delete(&self.cache.path(&self.key, &self.file));
        } else if let Some(entry) = self.cache.books().entries.get_mut(&self.key)
            && entry.file == self.file
        {
            entry.users = entry.users.saturating_sub(1);
        }
    }
}

fn delete(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a file of the fetcher's cache");
    }
}

/// `c`, a number, and something of the URI for people; its end is kept, since it tells an archive.
fn file_name(serial: u64, name: &str) -> String {
    let name: Vec<char> =
        name.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }).collect();
    let text = |part: &[char]| part.iter().collect::<String>();
    if name.len() <= NAME_MAX {
        return format!("c{serial}-{}", text(&name));
    }
    format!("c{serial}-{}_{}", text(&name[..10]), text(&name[name.len() - 10..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Host {
        directory: PathBuf,
        cache: Arc<Cache>,
    }

    impl Host {
        fn new(total: u64) -> Self {
            let directory = testkit::cluster::temporary_directory();
            Self { cache: Cache::new(directory.clone(), total), directory }
        }

        fn find(&self, uri: &str) -> Found {
            self.cache.find(None, uri, uri)
        }

        fn missing(&self, uri: &str) -> Download {
            match self.find(uri) {
                Found::Missing(download) => download,
                other => panic!("{uri}: {other:?}"),
            }
        }

        /// Downloads `size` bytes after `claimed` were claimed.
        fn download(&self, uri: &str, claimed: u64, size: usize) -> Lease {
            let download = self.missing(uri);
            download.reserve(claimed).expect("space");
            std::fs::write(self.directory.join(download.file()), vec![b'x'; size]).expect("a file");
            download.complete()
        }

        fn is_ready(&self, uri: &str) -> bool {
            matches!(self.find(uri), Found::Ready(_))
        }

        fn files(&self) -> usize {
            std::fs::read_dir(&self.directory).expect("a directory").count()
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    #[test]
    fn what_is_downloaded_once_is_there_for_others_of_the_same_user() {
        let host = Host::new(100);
        drop(host.download("a", 10, 10));
        assert!(host.is_ready("a"));
        assert!(matches!(host.cache.find(Some("u"), "a", "a"), Found::Missing(_)));
        assert_eq!(host.cache.used(), 10);
    }

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_in_use_stays() {
        let host = Host::new(30);
        let held = host.download("held", 10, 10);
        drop(host.download("old", 10, 10));
        drop(host.download("young", 10, 10));
        assert!(host.is_ready("old"));
        drop(host.download("next", 10, 10));
        assert!(host.is_ready("held") && host.is_ready("old") && host.is_ready("next"));
        assert!(matches!(host.find("young"), Found::Missing(_)));
        assert_eq!(host.files(), 3);
        let large = host.missing("large");
        assert!(large.reserve(21).is_err_and(|e| e.contains("Could not free up enough")));
        assert!(host.is_ready("old"), "nothing goes for what does not fit anyway");
        large.reserve(20).expect("all but what is held");
        assert_eq!(host.cache.used(), 30);
        drop((held, large));
        assert_eq!((host.cache.used(), host.files()), (10, 1));
    }

    #[test]
    fn smaller_than_announced_gives_space_back_and_larger_is_not_kept() {
        let host = Host::new(100);
        drop(host.download("small", 50, 5));
        assert_eq!(host.cache.used(), 5);
        let large = host.download("large", 5, 50);
        assert!(host.directory.join(large.file()).exists(), "whoever downloaded it may use it");
        assert_eq!(host.cache.used(), 5);
        drop(large);
        assert_eq!(host.files(), 1);
        assert!(matches!(host.find("large"), Found::Missing(_)));
    }

    #[test]
    fn those_who_wait_learn_how_it_ended() {
        let host = Host::new(100);
        let wait = |host: &Host| match host.find("a") {
            Found::Pending(state) => state,
            other => panic!("{other:?}"),
        };
        let download = host.missing("a");
        let state = wait(&host);
        assert_eq!(*state.borrow(), State::Pending);
        download.fail();
        assert_eq!(*state.borrow(), State::Failed);
        let download = host.missing("a");
        let state = wait(&host);
        drop(download);
        assert_eq!(*state.borrow(), State::Cancelled);
        let download = host.missing("a");
        download.reserve(1).expect("space");
        let state = wait(&host);
        std::fs::write(host.directory.join(download.file()), "x").expect("a file");
        let _lease = download.complete();
        assert_eq!(*state.borrow(), State::Ready);
    }

    #[test]
    fn a_file_that_vanished_is_downloaded_again() {
        let host = Host::new(100);
        let lease = host.download("a", 10, 10);
        std::fs::remove_file(host.directory.join(lease.file())).expect("it was there");
        let again = host.download("a", 10, 10);
        drop(lease);
        assert_eq!(host.cache.used(), 10);
        // The lease on the file of before does not count for the new one.
        assert!(host.missing("b").reserve(95).is_err());
        drop(again);
        assert!(host.missing("b").reserve(95).is_ok());
    }

    #[test]
    fn names_tell_people_what_it_is_and_keep_their_ending() {
        assert_eq!(file_name(1, "a.tgz"), "c1-a.tgz");
        assert_eq!(file_name(2, "abcdefghijklmnopqrst"), "c2-abcdefghijklmnopqrst");
        assert_eq!(file_name(3, "abcdefghijklmnopqrstu.tar.gz"), "c3-abcdefghij_stu.tar.gz");
        assert_eq!(file_name(4, "ä\n/b"), "c4-ä__b");
    }
}
