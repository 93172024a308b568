//! What a container writes, from the engine into its sandbox.
//!
//! The engine keeps everything that a container has written. What the sandbox has of it is known by the lengths of
//! `stdout` and `stderr`: after a restart, or when the connection breaks, the engine tells all of it again and what is
//! there already is skipped. No line is lost and none comes twice, whenever the agent is killed.

use super::engine::{Engine, Fault};
use crate::user::User;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Names of the files, in the order in which the engine numbers the streams from 1.
const NAMES: [&str; 2] = ["stdout", "stderr"];
/// Time between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Cuts the engine's frames: eight bytes with the stream's number and the length, then what was written.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Everything is the first stream's: of a container with a terminal.
    plain: bool,
    header: Vec<u8>,
    /// Of the frame that has begun: which stream, and how much is to come.
    open: (usize, usize),
}

impl Frames {
    pub(super) fn new(plain: bool) -> Self {
        Self { plain, ..Self::default() }
    }

    /// Pieces with their stream (0 is standard output).
    pub(super) fn cut(&mut self, mut bytes: Bytes) -> Vec<(usize, Bytes)> {
        let mut out = Vec::new();
        if self.plain {
            return vec![(0, bytes)];
        }
        while !bytes.is_empty() {
            if self.open.1 == 0 {
                let more = bytes.split_to(bytes.len().min(8 - self.header.len()));
                self.header.extend_from_slice(&more);
                if let [stream, _, _, _, a, b, c, d] = self.header[..] {
                    let length = u32::from_be_bytes([a, b, c, d]);
                    let stream = usize::from(stream == 2);
                    self.open = (stream, usize::try_from(length).unwrap_or(usize::MAX));
                    self.header.clear();
                }
                continue;
            }
            let piece = bytes.split_to(bytes.len().min(self.open.1));
            self.open.1 -= piece.len();
            out.push((self.open.0, piece));
        }
        out
    }
}

/// `stdout` and `stderr` of a sandbox.
#[derive(Debug)]
pub(super) struct Files {
    files: [Arc<File>; 2],
    /// How long they were when the container was made.
    before: [u64; 2],
}

impl Files {
    /// Opens them, and makes them if needed. What a container put in their place is not written to.
    pub(super) fn open(sandbox: &Path, before: Option<[u64; 2]>) -> io::Result<Self> {
        let open = |name| {
            let mut options = File::options();
            options.create(true).append(true).mode(0o644);
            options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
            let file = options.open(sandbox.join(name))?;
            match file.metadata()?.is_file() {
                true => Ok(file),
                false => Err(io::Error::other(format!("'{name}' is not a file"))),
            }
        };
        let files = [open(NAMES[0])?, open(NAMES[1])?];
        let before = match before {
            Some(before) => before,
            None => [files[0].metadata()?.len(), files[1].metadata()?.len()],
        };
        Ok(Self { files: files.map(Arc::new), before })
    }

    /// Gives them to a user.
    pub(super) fn own(&self, user: &User) -> Result<(), String> {
        for file in &self.files {
            std::os::unix::fs::fchown(&**file, Some(user.uid), Some(user.gid)).map_err(|e| {
                format!("cannot give the output to the user with id {}: {e}", user.uid)
            })?;
        }
        Ok(())
    }

    /// Everything goes where errors go.
    pub(super) fn together(self) -> Self {
        let [_, errors] = self.files;
        Self { files: [errors.clone(), errors], before: self.before }
    }

    /// For a container without a sandbox.
    pub(super) fn nowhere() -> io::Result<Self> {
        let file = Arc::new(File::options().append(true).open("/dev/null")?);
        Ok(Self { files: [file.clone(), file], before: [0, 0] })
    }

    /// How long they were when the container was made.
    pub(super) fn before(&self) -> [u64; 2] {
        self.before
    }

    /// How much of the container's output they have.
    pub(super) fn have(&self) -> [u64; 2] {
        let length = |at: usize| self.files[at].metadata().map_or(0, |m| m.len());
        [0, 1].map(|at| length(at).saturating_sub(self.before[at]))
    }

    /// Writes a piece. A full disk is waited for: the engine has the rest.
    async fn write(&self, stream: usize, piece: Bytes) {
        let file = self.files[stream].clone();
        let mut rest = piece;
        while !rest.is_empty() {
            let (file, bytes) = (file.clone(), rest.clone());
            let written = tokio::task::spawn_blocking(move || (&*file).write(&bytes)).await;
            match written.unwrap_or_else(|e| Err(io::Error::other(e))) {
                Ok(count) => drop(rest.split_to(count)),
                Err(error) => {
                    tracing::warn!(%error, file = NAMES[stream], "cannot write what a container writes");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Says something of our own on standard error.
    pub(super) fn tell(&self, text: &str) {
        let _ = (&*self.files[1]).write_all(format!("{text}\n").as_bytes());
    }

    /// Writes what comes until its end, but for the first `skip` bytes of each stream.
    async fn copy(&self, mut body: Incoming, plain: bool, mut skip: [u64; 2]) -> Result<(), Fault> {
        let mut frames = Frames::new(plain);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| Fault::Broken(e.to_string()))?;
            for (stream, mut piece) in frames.cut(frame.into_data().unwrap_or_default()) {
                let known = usize::try_from(skip[stream]).unwrap_or(usize::MAX).min(piece.len());
                drop(piece.split_to(known));
                skip[stream] -= known as u64;
                self.write(stream, piece).await;
            }
        }
        Ok(())
    }

    /// Copies everything that a container writes, until it has ended or is gone.
    pub(super) async fn follow(&self, engine: &Engine, name: &str, plain: bool) {
        loop {
            let copied = match engine.output(name).await {
                Ok(body) => self.copy(body, plain, self.have()).await,
                Err(fault) => Err(fault),
            };
            match copied {
                Ok(()) => return,
                Err(fault) if !fault.is_passing() => {
                    tracing::warn!(container = name, %fault, "the engine does not show what a container writes");
                    return;
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Copies what comes from an attachment: nothing of it can be had again.
    pub(super) async fn follow_attached(&self, body: Incoming, plain: bool) {
        if let Err(fault) = self.copy(body, plain, [0, 0]).await {
            tracing::warn!(%fault, "what a container writes is lost: its log driver keeps nothing");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_wherever_the_pieces_end() {
        let mut all = Vec::new();
        for (stream, text) in [(1_u8, "out\n"), (2, ""), (2, "err"), (1, "more")] {
            all.extend_from_slice(&[
                stream,
                0,
                0,
                0,
                0,
                0,
                0,
                u8::try_from(text.len()).unwrap_or(0),
            ]);
            all.extend_from_slice(text.as_bytes());
        }
        for size in 1..=all.len() {
            let mut frames = Frames::new(false);
            let mut got = [Vec::new(), Vec::new()];
            for piece in all.chunks(size) {
                for (stream, bytes) in frames.cut(Bytes::copy_from_slice(piece)) {
                    got[stream].extend_from_slice(&bytes);
                }
            }
            assert_eq!(got, [b"out\nmore".to_vec(), b"err".to_vec()], "pieces of {size}");
        }
        let plain = Frames::new(true).cut(Bytes::from_static(b"\x01text"));
        assert_eq!(plain, [(0, Bytes::from_static(b"\x01text"))]);
    }
}
