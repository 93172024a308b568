//! Getting the bytes of a URI, and their number.

use crate::beneath::{Directory, Relative};
use crate::guard::Guard;
use crate::hadoop::Hadoop;
use crate::watchdog::{Progress, Watchdog};
use crate::{ftp, http, log};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use wire::internal::fetch_item::Source;
use wire::internal::{FetchItem, FetchRequest};

/// Where a URI comes from.
#[derive(Debug)]
pub(crate) struct Download<'a> {
    uri: &'a str,
    source: &'a Source,
    hadoop: Hadoop<'a>,
    stall_timeout: Duration,
}

impl<'a> Download<'a> {
    pub(crate) fn new(request: &'a FetchRequest, item: &'a FetchItem) -> Result<Self, String> {
        Ok(Self {
            uri: &item.uri,
            source: item.source.as_ref().ok_or("the request does not say where it comes from")?,
            hadoop: Hadoop(&request.hadoop),
            stall_timeout: Duration::from_nanos(request.stall_timeout_nanos),
        })
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> Result<u64, String> {
        match self.source {
            Source::Path(path) => {
                let found = std::fs::metadata(path);
                found
                    .map(|m| m.len())
                    .map_err(|e| format!("Could not determine file size for: '{path}', error: {e}"))
            }
            Source::Url(url) => {
                let _watchdog = Watchdog::start(self.uri, self.stall_timeout);
                if is_ftp(url) { ftp::size(url) } else { http::size(url, self.stall_timeout) }
            }
            Source::Hadoop(uri) => self.hadoop.size(uri),
            Source::Fault(text) => Err(text.clone()),
        }
    }

    /// Brings it to a name below a directory.
    pub(crate) fn bring(&self, directory: &Directory, name: &Relative) -> Result<(), String> {
        let shown = directory.path().join(name.path());
        match self.source {
            Source::Path(path) => copy(Path::new(path), directory, name),
            Source::Url(url) => {
                log::info(&format!("Downloading resource from '{url}' to '{}'", shown.display()));
                let watchdog = Watchdog::start(self.uri, self.stall_timeout);
                let take = |length: Option<u64>, bytes: &mut dyn Read| {
                    watchdog.progress().expect(length.unwrap_or(0));
                    let mut counted = Counted { bytes, progress: watchdog.progress() };
                    let mut file = directory.create(name, 0o644)?;
                    let got = Guard::new(directory)
                        .copy(&mut counted, &mut file, &shown)
                        .map_err(|e| format!("Error downloading resource: {e}"))?;
                    match length {
                        Some(length) if length != got => {
                            Err(format!("Error downloading resource: {got} of {length} bytes came"))
                        }
                        _ => Ok(()),
                    }
                };
                if is_ftp(url) {
                    ftp::get(url, take)
                } else {
                    let (length, mut bytes) = http::get(url, self.stall_timeout)?;
                    take(length, &mut bytes)
                }
            }
            Source::Hadoop(uri) => {
                log::info(&format!(
                    "Downloading resource with Hadoop client from '{uri}' to '{}'",
                    shown.display()
                ));
                // The client takes a path, so that it is given one without links on the way.
                let fresh = OsString::from(format!(".fetched-{}", std::process::id()));
                let made = self.hadoop.copy_to_local(uri, &directory.path().join(&fresh));
                let moved = made.and_then(|()| directory.rename(&fresh, name));
                if moved.is_err() {
                    let _ = std::fs::remove_file(directory.path().join(&fresh));
                }
                moved
            }
            Source::Fault(text) => Err(text.clone()),
        }
    }
}

fn is_ftp(url: &str) -> bool {
    url.starts_with("ftp")
}

/// Copies a file of this host, with its permissions.
fn copy(path: &Path, directory: &Directory, name: &Relative) -> Result<(), String> {
    let fault = |what: &str| format!("Failed to copy '{}': {what}", path.display());
    // A pipe that nobody writes to would not open.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| fault(&io::Error::from(e).to_string()))?;
    let mut source = File::from(source);
    let found = source.metadata().map_err(|e| fault(&e.to_string()))?;
    if found.is_dir() {
        return Err(fault("`source` was a directory"));
    }
    if !found.is_file() {
        return Err(fault("it is no regular file"));
    }
    let mut file = directory.create(name, found.permissions().mode() & 0o777)?;
    Guard::new(directory).copy_file(&mut source, &mut file).map(drop).map_err(|e| fault(&e))
}

/// Counts what is read.
struct Counted<'a> {
    bytes: &'a mut dyn Read,
    progress: &'a Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.progress.add(count as u64);
        Ok(count)
    }
}
