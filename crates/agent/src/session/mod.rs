//! Sessions: commands inside a container whose standard streams are a client's; and the terminals of tasks, which clients
//! attach to (spec/agent.md 6.4, 8.2).
//!
//! A session has threads of its own that read what comes out: there are few. It ends when nothing comes out any more or
//! its client is gone, and with the agent. The terminal of a task belongs to its supervisor, which outlives the agent and
//! gives a copy of what comes out to everybody who asks.

mod input;
mod near;
mod output;
mod pieces;
mod readers;

pub(crate) use input::Attached;
pub(crate) use pieces::typed;

use crate::container_calls;
use crate::shared::Shared;
use agent_core::contract::{ContainerCall, Input};
use containerizer::Terminal;
use http_api::Response;
use http_api::negotiate::Encoding;
use http_api::respond;
use http_api::stream::bounded_stream;
use input::Turn;
use pieces::Typed;
use readers::{BUFFER, Readers};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use wire::v1;
use wire::v1::agent::Call;
use wire::v1::agent::process_io::data;

/// What is read of a stream at once.
const CHUNK: usize = 32 << 10;

/// All sessions that run, by the name of their container: `root.child`.
#[derive(Debug)]
pub(crate) struct Sessions {
    directory: PathBuf,
    open: Mutex<BTreeMap<String, Arc<Session>>>,
    /// Containers that somebody puts something into.
    inputs: Mutex<BTreeSet<String>>,
    /// Time between two signs of life on a stream.
    heartbeat: Duration,
}

/// The near ends of a container's streams.
#[derive(Debug)]
struct Session {
    /// Standard input, until it is closed.
    input: Mutex<Option<File>>,
    is_terminal: bool,
    /// Who reads what comes out.
    readers: Readers,
    /// Dropped when nothing comes out any more.
    ending: watch::Sender<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    pub(crate) fn new(runtime_dir: &Path, heartbeat: Duration) -> Self {
        let directory = runtime_dir.join("sessions");
        let _ = std::fs::remove_dir_all(&directory);
        Self { directory, open: Mutex::default(), inputs: Mutex::default(), heartbeat }
    }

    fn find(&self, name: &str) -> Option<Arc<Session>> {
        lock(&self.open).get(name).cloned()
    }
}

impl Session {
    /// Reads a stream to its end. Blocks.
    fn copy(&self, mut from: File, kind: data::Type) {
        let mut chunk = vec![0; CHUNK];
        loop {
            match from.read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => self.readers.tell(&pieces::data(kind, &chunk[..length])),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // A terminal that nobody has any more.
                Err(_) => return,
            }
        }
    }

    /// What a client sends. Blocks.
    fn take(&self, piece: Typed) -> Result<(), String> {
        let mut input = lock(&self.input);
        match piece {
            Typed::Bytes(bytes) if bytes.is_empty() && !self.is_terminal => *input = None,
            Typed::Bytes(bytes) => {
                if input.as_mut().is_some_and(|file| file.write_all(&bytes).is_err()) {
                    *input = None;
                }
            }
            Typed::Size(size) => {
                let Some(file) = input.as_ref() else { return Ok(()) };
                let resized = near::resize(file, &size);
                return resized.map_err(|e| format!("Unable to set the window size: {e}"));
            }
            Typed::Heartbeat => {}
        }
        Ok(())
    }
}

/// A container's name for people, and for the table of sessions.
fn shown(id: &v1::ContainerId) -> String {
    match &id.parent {
        Some(parent) => format!("{}.{}", shown(parent), id.value),
        None => id.value.clone(),
    }
}

/// LAUNCH_NESTED_CONTAINER_SESSION: the answer is what comes out of the command.
pub(crate) async fn launch(shared: &Arc<Shared>, call: &Call, encoding: Encoding) -> Response {
    let (id, command, container) = match container_calls::session(call) {
        Ok(parsed) => parsed,
        Err(text) => {
            return respond::text(400, format!("Failed to validate agent::Call: {text}"));
        }
    };
    let tty = container.as_ref().and_then(|c| c.tty_info.as_ref());
    let number = shared.token();
    let prepared = match tty {
        Some(tty) => near::terminal(tty.window_size.as_ref()),
        None => near::pipes(shared.sessions.directory.join(number.0.to_string())),
    };
    let mut prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            return respond::text(
                500,
                format!("Failed to create the streams of a session: {error}"),
            );
        }
    };
    let launch = ContainerCall::Launch {
        container_id: id.clone(),
        command: Box::new(command),
        container: container.map(|c| Box::new(v1::ContainerInfo { tty_info: None, ..c })),
        resources: Vec::new(),
        limits: BTreeMap::new(),
        streams: Some(prepared.streams.clone()),
    };
    let input = Input::ContainerCall { token: number, call: launch };
    let answer = shared.ask(number, None, input).await;
    match answer {
        Some(answer) if answer.status() == 200 => {}
        Some(answer) => return answer,
        None => return respond::text(500, "a call was answered with a stream"),
    }
    let is_terminal = prepared.streams.is_terminal;
    let near = if is_terminal {
        prepared.input.try_clone()
    } else {
        // The last writer but this one goes with `prepared`, so that the end of the input can be told.
        File::options().write(true).open(&prepared.streams.input)
    };
    let (sender, response, closed) = bounded_stream(encoding, BUFFER);
    let session = Arc::new(Session {
        input: Mutex::new(near.ok()),
        is_terminal,
        readers: Readers::owned(sender),
        ending: watch::channel(()).0,
    });
    let name = shown(&id);
    lock(&shared.sessions.open).insert(name.clone(), session.clone());
    let errors = prepared.errors.take();
    let output = prepared.output.try_clone();
    drop(prepared);
    let copying = {
        let session = session.clone();
        tokio::task::spawn_blocking(move || {
            std::thread::scope(|scope| {
                if let Some(errors) = errors {
                    scope.spawn(|| session.copy(errors, data::Type::Stderr));
                }
                if let Ok(output) = output {
                    session.copy(output, data::Type::Stdout);
                }
            });
        })
    };
    let shared = shared.clone();
    tokio::spawn(async move {
        let gone = closed.wait();
        tokio::pin!(copying, gone);
        let interval = shared.sessions.heartbeat;
        let mut beat = tokio::time::interval(interval);
        beat.reset();
        loop {
            tokio::select! {
                _ = &mut copying => break,
                () = &mut gone => break,
                _ = beat.tick() => session.readers.offer(&pieces::heartbeat(interval)),
            }
        }
        lock(&shared.sessions.open).remove(&name);
        *lock(&session.input) = None;
        // The container ends with its session; what it still says goes to nobody.
        let kill = ContainerCall::Kill { container_id: id, signal: 9 };
        let _ =
            shared.inputs.send(Input::ContainerCall { token: shared.token(), call: kill }).await;
        session.readers.end();
        let _ = session.ending.send(());
    });
    response
}

/// ATTACH_CONTAINER_OUTPUT: what comes out of a session or of a task's terminal from now on.
pub(crate) async fn attach_output(
    shared: &Shared,
    id: &v1::ContainerId,
    encoding: Encoding,
) -> Response {
    if let Some(session) = shared.sessions.find(&shown(id)) {
        let (sender, response, _) = bounded_stream(encoding, BUFFER);
        session.readers.add(sender);
        return response;
    }
    let terminal = match terminal(shared, id).await {
        Ok(terminal) => terminal,
        Err((status, text)) => return respond::text(status, text),
    };
    let begun = output::of_terminal(terminal, encoding, shared.sessions.heartbeat);
    begun.unwrap_or_else(|error| respond::text(500, error.to_string()))
}

/// ATTACH_CONTAINER_INPUT: the input of a session or of a task's terminal, or the answer that refuses it.
pub(crate) async fn attach_input<'a>(
    shared: &'a Shared,
    id: &v1::ContainerId,
) -> Result<Attached<'a>, (u16, String)> {
    let name = shown(id);
    let turn = || {
        let busy = || (409, "Multiple input connections are not allowed".to_owned());
        Turn::take(&shared.sessions, &name).ok_or_else(busy)
    };
    if let Some(session) = shared.sessions.find(&name) {
        return Ok(Attached::to_session(session, turn()?));
    }
    let terminal = terminal(shared, id).await?;
    Attached::to_terminal(terminal, turn()?).map_err(|error| (500, error.to_string()))
}

/// The terminal of a container below an executor.
async fn terminal(shared: &Shared, id: &v1::ContainerId) -> Result<Terminal, (u16, String)> {
    let view = shared.view().await;
    let Some(name) = view.and_then(|view| view.below_executor(id)) else {
        return Err((404, format!("Container {} cannot be found", shown(id))));
    };
    shared.containerizer.attach(&name).await.map_err(|text| (500, text))
}
