//! Downloads of blobs into files: what an interruption left is kept and continued, and nothing is taken before its
//! digest is right.

use super::digest::{Digest, Hasher};
use super::manifest::Descriptor;
use super::registry::Repository;
use crate::download::Answer;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_RANGE;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// Largest blob.
const BLOB_MAX: u64 = 128 << 30;
/// How many times in a row a download may break without a byte of progress.
const TRIES: u32 = 4;
/// Pause after the first of them; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
/// Pieces that wait to be written.
const QUEUE: usize = 16;

/// What has been downloaded of a blob.
struct Partial {
    file: File,
    hasher: Hasher,
    length: u64,
}

/// Why one attempt ended.
enum Stop {
    /// Another one may get further.
    Broken(String),
    /// No other one would.
    Final(String),
}

/// Downloads a blob to `path`, going on where a former download stopped.
pub(crate) async fn download(
    repository: &Repository,
    blob: &Descriptor,
    path: &Path,
) -> Result<(), String> {
    let digest = &blob.digest;
    let mut partial = open(path, digest).await?;
    let resumed = partial.length > 0;
    let mut tries = 0;
    let found = loop {
        if blob.size == Some(partial.length) && partial.length > 0 {
            break partial.hasher.clone().finish();
        }
        let before = partial.length;
        let (next, ended) = attempt(repository, blob, partial).await?;
        partial = next;
        match ended {
            Ok(()) => break partial.hasher.clone().finish(),
            Err(Stop::Final(text)) => return Err(text),
            Err(Stop::Broken(text)) => {
                tries = if partial.length > before { 1 } else { tries + 1 };
                if tries >= TRIES {
                    return Err(text);
                }
                tracing::info!(%digest, at = partial.length, error = %text, "a download broke and is continued");
                tokio::time::sleep(PAUSE * (1 << (tries - 1))).await;
            }
        }
    };
    if found == *digest {
        return Ok(());
    }
    let _ = std::fs::remove_file(path);
    if resumed {
        // What was there before may have been the corrupt part.
        tracing::warn!(%digest, "a continued download is corrupt; it is begun anew");
        return Box::pin(download(repository, blob, path)).await;
    }
    Err(format!("what {} gave as {digest} is {found}: it is corrupt", repository.shown()))
}

/// Opens the file, locked against other processes, and hashes what is in it.
async fn open(path: &Path, digest: &Digest) -> Result<Partial, String> {
    let (path, hasher) = (path.to_owned(), digest.hasher());
    blocking(move || {
        let fault = |e: io::Error| format!("cannot open {}: {e}", path.display());
        let mut file = locked(&path).map_err(fault)?;
        let mut partial = Partial { hasher, length: 0, file: file.try_clone().map_err(fault)? };
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = file.read(&mut buffer).map_err(fault)?;
            if count == 0 {
                return Ok(partial);
            }
            partial.hasher.update(&buffer[..count]);
            partial.length += count as u64;
        }
    })
    .await
}

/// Waits for another process that downloads the same: then the file may have been taken away under that name.
fn locked(path: &Path) -> io::Result<File> {
    loop {
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(file.as_fd(), rustix::fs::FlockOperation::LockExclusive)?;
        let inode = |m: std::fs::Metadata| (m.dev(), m.ino());
        if std::fs::metadata(path)
            .is_ok_and(|m| file.metadata().is_ok_and(|f| inode(f) == inode(m)))
        {
            return Ok(file);
        }
    }
}

async fn attempt(
    repository: &Repository,
    blob: &Descriptor,
    mut partial: Partial,
) -> Result<(Partial, Result<(), Stop>), String> {
    let mut answer = match repository.blob(&blob.digest, partial.length).await {
        Ok(answer) => answer,
        Err(text) => return Ok((partial, Err(Stop::Broken(text)))),
    };
    match answer.status {
        StatusCode::PARTIAL_CONTENT => {
            let range = answer.header(CONTENT_RANGE).unwrap_or_default();
            if !range.starts_with(&format!("bytes {}-", partial.length)) {
                return Ok((
                    restart(partial, &blob.digest)?,
                    Err(Stop::Broken(format!(
                        "{} gave another part of {} than it was asked for",
                        repository.shown(),
                        blob.digest
                    ))),
                ));
            }
        }
        StatusCode::OK => partial = restart(partial, &blob.digest)?,
        StatusCode::RANGE_NOT_SATISFIABLE if partial.length > 0 => {
            // Perhaps it is whole already.
            if partial.hasher.clone().finish() == blob.digest {
                return Ok((partial, Ok(())));
            }
            partial = restart(partial, &blob.digest)?;
            return Ok((partial, Err(Stop::Broken("the download is begun anew".to_owned()))));
        }
        status => {
            let text = repository.refusal(&blob.digest.to_string(), answer).await;
            let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Ok((partial, Err(if again { Stop::Broken(text) } else { Stop::Final(text) })));
        }
    }
    let max = blob.size.unwrap_or(BLOB_MAX).min(BLOB_MAX);
    let (pieces, queue) = mpsc::channel(QUEUE);
    let length = partial.length;
    let writer = tokio::task::spawn_blocking(move || write(partial, queue));
    let received = receive(&mut answer, &pieces, length, max).await;
    drop(pieces);
    let (partial, written) = writer.await.map_err(|e| format!("cannot write a download: {e}"))?;
    written.map_err(|e| format!("cannot write a download: {e}"))?;
    Ok((partial, received))
}

async fn receive(
    answer: &mut Answer,
    pieces: &mpsc::Sender<Bytes>,
    mut length: u64,
    max: u64,
) -> Result<(), Stop> {
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => {
                length += piece.len() as u64;
                if length > max {
                    return Err(Stop::Final(format!(
                        "what came from {} is longer than {max} bytes",
                        answer.uri
                    )));
                }
                if pieces.send(piece).await.is_err() {
                    return Err(Stop::Final("what came could not be written".to_owned()));
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => return Err(Stop::Broken(format!("failed to {error}"))),
        }
    }
}

fn write(mut partial: Partial, mut queue: mpsc::Receiver<Bytes>) -> (Partial, io::Result<()>) {
    while let Some(piece) = queue.blocking_recv() {
        if let Err(error) = partial.file.write_all(&piece) {
            return (partial, Err(error));
        }
        partial.hasher.update(&piece);
        partial.length += piece.len() as u64;
    }
    (partial, Ok(()))
}

fn restart(mut partial: Partial, digest: &Digest) -> Result<Partial, String> {
    let fault = |e: io::Error| format!("cannot begin a download anew: {e}");
    partial.file.set_len(0).map_err(fault)?;
    partial.file.rewind().map_err(fault)?;
    Ok(Partial { hasher: digest.hasher(), length: 0, file: partial.file })
}

/// Runs on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| format!("a thread ended: {e}"))?
}

/// Where the parts of a blob are kept.
pub(crate) fn partial_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join(digest.file_name())
}
