//! Sandboxes, read from the agents that have them: browsers need to reach only the master.
//!
//! A path is made of the ids of something the master knows and of what is asked for below it, so that nothing else of
//! an agent can be read; the agent checks once more that no link leads out.

use super::places::{self, Sandbox};
use super::{digest, frame, html};
use crate::shared::Shared;
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http_api::peer::{Peer, PeerError};
use http_api::stream::{ByteSender, byte_stream};
use http_api::{Response, respond};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use ui::pages::{Directory, Entry, File};
use ui::{Page, Place, Query};
use wire::v1::agent::{Call, Response as Answer, call, response};

/// Longest answer of an agent: the list of a large directory.
const ANSWER_MAX: usize = 16 << 20;
/// Most that is read of a file at once.
const PIECE_MAX: u64 = 64 << 10;
const API: &str = "/slave(1)/api/v1";

/// What can't be read, and why.
struct Refusal {
    status: u16,
    text: String,
}

/// An agent that is asked for files of one sandbox.
struct Reader {
    peer: Peer,
    host: String,
    /// Virtual path that everything lies below.
    root: String,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// Connects to the agent that has a sandbox.
    async fn open(
        shared: &Arc<Shared>,
        place: &Place,
        places: &Arc<Semaphore>,
    ) -> Result<Self, Refusal> {
        let refuse = |status, text: &str| Refusal { status, text: text.to_owned() };
        let permit = places.clone().try_acquire_owned();
        let permit =
            permit.map_err(|_| refuse(503, "Too many files are read at a time; try again"))?;
        let Some(digest) = digest(shared).await else {
            return Err(refuse(503, "The master is shutting down"));
        };
        let found = places::sandbox(&digest, place);
        let Sandbox { address, host, root, own } =
            found.map_err(|text| Refusal { status: 404, text })?;
        let peer = Peer::connect(&address).await.map_err(|error| told(&host, "", error))?;
        let mut reader = Self { peer, host, root, _place: permit };
        if let Some(own) = own
            && reader.list(&own).await.is_ok()
        {
            reader.root = format!("{}/{own}", reader.root);
        }
        Ok(reader)
    }

    fn at(&self, path: &str) -> String {
        if path.is_empty() { self.root.clone() } else { format!("{}/{path}", self.root) }
    }

    async fn ask(&mut self, path: &str, call: &Call) -> Result<Answer, Refusal> {
        let answer = self.peer.call(API, call, ANSWER_MAX).await;
        answer.map_err(|error| told(&self.host, path, error))
    }

    async fn list(&mut self, path: &str) -> Result<Vec<wire::v1::FileInfo>, Refusal> {
        let call = Call {
            r#type: Some(call::Type::ListFiles as i32),
            list_files: Some(call::ListFiles { path: self.at(path) }),
            ..Call::default()
        };
        let answer = self.ask(path, &call).await?;
        Ok(answer.list_files.map(|list| list.file_infos).unwrap_or_default())
    }

    /// Length of a file, and a piece of it.
    async fn piece(
        &mut self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<response::ReadFile, Refusal> {
        let read = call::ReadFile { path: self.at(path), offset, length: Some(length) };
        let call = Call {
            r#type: Some(call::Type::ReadFile as i32),
            read_file: Some(read),
            ..Call::default()
        };
        Ok(self.ask(path, &call).await?.read_file.unwrap_or_default())
    }
}

/// What an agent's failure means for who reads a file of it.
fn told(host: &str, path: &str, error: PeerError) -> Refusal {
    let path = if path.is_empty() { "the sandbox" } else { path };
    match error {
        PeerError::Unreachable(why) => Refusal {
            status: 502,
            text: format!(
                "The agent on {host} can't be reached from the master to read files: {why}. \
                 The master must be able to connect to the agent's port."
            ),
        },
        PeerError::Refused(404, _) => Refusal {
            status: 404,
            text: format!("There is no {path}. Sandboxes are removed some time after their end."),
        },
        PeerError::Refused(status @ (400 | 403), text) => Refusal { status, text },
        PeerError::Refused(status, text) => {
            Refusal { status: 502, text: format!("The agent on {host} answered {status}: {text}") }
        }
    }
}

/// The path that a query asks for, below the sandbox.
fn path_of(query: &Query) -> Result<String, Refusal> {
    let path = ui::relative_path(query.get("path").unwrap_or_default());
    path.map_err(|bad| Refusal { status: 400, text: bad.to_string() })
}

/// The page of a directory or file.
pub(super) async fn files(
    shared: &Arc<Shared>,
    place: Place,
    query: &Query,
    is_part: bool,
) -> Response {
    match find(shared, place, query).await {
        Ok(page) => html(200, &page, &around(shared).await, is_part),
        Err(Refusal { status, text }) => {
            let page = ui::pages::problem("This can't be read", &text, false);
            html(status, &page, &around(shared).await, is_part)
        }
    }
}

async fn around(shared: &Arc<Shared>) -> ui::Frame {
    let digest = digest(shared).await;
    frame(shared, digest.as_deref())
}

async fn find(shared: &Arc<Shared>, place: Place, query: &Query) -> Result<Page, Refusal> {
    let path = path_of(query)?;
    let mut reader = Reader::open(shared, &place, &shared.ui.reads).await?;
    if !path.is_empty() {
        match reader.piece(&path, 0, 0).await {
            Ok(piece) => return Ok(ui::pages::file(&File { place, path, size: piece.size })),
            // It may be a directory.
            Err(refusal) if refusal.status == 400 => {}
            Err(refusal) => return Err(refusal),
        }
    }
    let entries = reader.list(&path).await?.into_iter().map(entry).collect();
    Ok(ui::pages::directory(&Directory { place, path, entries }, super::now()))
}

#[expect(clippy::cast_precision_loss, reason = "shown in seconds")]
fn entry(info: wire::v1::FileInfo) -> Entry {
    let name = info.path.rsplit('/').next().unwrap_or_default().to_owned();
    Entry {
        name,
        mode: info.mode(),
        size: info.size(),
        modified: info.mtime.map_or(0.0, |at| at.nanoseconds as f64 / 1e9),
        owner: info.uid.unwrap_or_default(),
        group: info.gid.unwrap_or_default(),
    }
}

/// What comes out of a sandbox is data, whatever it is: no browser may take it for a page of the master.
fn guarded(mut response: Response, name: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    let name = ui::query::encode(name);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{name}")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn refused(Refusal { status, text }: Refusal) -> Response {
    respond::text(status, text)
}

/// A piece of a file as it is, with the length of the whole and where the piece begins in headers. Without an offset it
/// is the end.
pub(super) async fn read(shared: &Arc<Shared>, place: Place, query: &Query) -> Response {
    match read_piece(shared, &place, query).await {
        Ok(response) => response,
        Err(refusal) => refused(refusal),
    }
}

async fn read_piece(
    shared: &Arc<Shared>,
    place: &Place,
    query: &Query,
) -> Result<Response, Refusal> {
    let path = path_of(query)?;
    let number = |name: &str| match query.get(name).map(str::parse::<u64>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => {
            let text = format!("'{name}' in the query: expected a number that is not negative");
            Err(Refusal { status: 400, text })
        }
    };
    let (offset, length) = (number("offset")?, number("length")?);
    let length = length.unwrap_or(PIECE_MAX).min(PIECE_MAX);
    let mut reader = Reader::open(shared, place, &shared.ui.reads).await?;
    let offset = match offset {
        Some(offset) => offset,
        None => reader.piece(&path, 0, 0).await?.size.saturating_sub(length),
    };
    let piece = reader.piece(&path, offset, length).await?;
    let response = respond::content("application/octet-stream", piece.data);
    let mut response = guarded(response, base_name(&path));
    response.headers_mut().insert("x-file-size", piece.size.into());
    response.headers_mut().insert("x-file-offset", offset.into());
    Ok(response)
}

/// A whole file, as long as it is when it is asked for.
pub(super) async fn download(shared: &Arc<Shared>, place: Place, query: &Query) -> Response {
    let path = match path_of(query) {
        Ok(path) => path,
        Err(refusal) => return refused(refusal),
    };
    let mut reader = match Reader::open(shared, &place, &shared.ui.downloads).await {
        Ok(reader) => reader,
        Err(refusal) => return refused(refusal),
    };
    let first = match reader.piece(&path, 0, PIECE_MAX).await {
        Ok(first) => first,
        Err(refusal) => return refused(refusal),
    };
    let (sender, mut response, _) = byte_stream("application/octet-stream");
    // If less comes the browser sees that it is not all.
    response.headers_mut().insert(CONTENT_LENGTH, first.size.into());
    let name = base_name(&path).to_owned();
    tokio::spawn(async move { copy(reader, path, first, sender).await });
    guarded(response, &name)
}

/// Sends a file as fast as it is taken.
async fn copy(mut reader: Reader, path: String, first: response::ReadFile, sender: ByteSender) {
    let size = first.size;
    let mut data = first.data;
    let mut sent = 0;
    loop {
        let length = data.len() as u64;
        if length == 0 || !sender.send(data).await {
            return;
        }
        sent += length;
        if sent >= size {
            return;
        }
        match reader.piece(&path, sent, PIECE_MAX.min(size - sent)).await {
            Ok(piece) => data = piece.data,
            Err(Refusal { text, .. }) => {
                tracing::info!(path, "a download of a sandbox ended early: {text}");
                return;
            }
        }
    }
}
