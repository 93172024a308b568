//! Sessions: commands inside a container whose standard streams are a client's (spec/agent.md 6.4, 8.2).
//!
//! The streams are named pipes, or a terminal; the supervisor opens them by path. Threads of their own read what comes
//! out: there are few sessions. A session ends when nothing comes out any more or its client is gone, and with the agent.

use crate::container_calls;
use crate::shared::Shared;
use agent_core::contract::{ContainerCall, Input, Streams};
use http_api::Response;
use http_api::negotiate::Encoding;
use http_api::respond;
use http_api::stream::{EventSender, SendError, event_stream};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::v1;
use wire::v1::agent::process_io::{Control, Data, control, data};
use wire::v1::agent::{Call, ProcessIo, process_io};

/// What is read of a stream at once.
const CHUNK: usize = 32 << 10;
/// Pause before a client that is slow is given the next piece.
const PAUSE: Duration = Duration::from_millis(10);
/// Time between two signs of life on a stream.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// All sessions that run, by the name of their container: `root.child`.
#[derive(Debug)]
pub(crate) struct Sessions {
    directory: PathBuf,
    open: Mutex<BTreeMap<String, Arc<Session>>>,
}

/// The near ends of a container's streams.
#[derive(Debug)]
pub(crate) struct Session {
    /// Standard input, until it is closed.
    input: Mutex<Option<File>>,
    is_terminal: bool,
    /// Somebody sends input.
    is_busy: AtomicBool,
    /// Who reads what comes out.
    readers: Mutex<Vec<EventSender>>,
}

/// Streams that the container has not got yet.
struct Prepared {
    streams: Streams,
    /// Held until it has: pipes have a reader and a writer.
    input: File,
    output: File,
    errors: Option<File>,
    directory: Option<PathBuf>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    pub(crate) fn new(runtime_dir: &Path) -> Self {
        let directory = runtime_dir.join("sessions");
        let _ = std::fs::remove_dir_all(&directory);
        Self { directory, open: Mutex::default() }
    }

    fn pipes(&self, number: u64) -> io::Result<Prepared> {
        let directory = self.directory.join(number.to_string());
        std::fs::create_dir_all(&directory)?;
        let path = |name: &str| directory.join(name);
        for name in ["stdin", "stdout", "stderr"] {
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(CWD, path(name), FileType::Fifo, mode, 0)?;
        }
        let open = |name: &str| -> io::Result<File> {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::open(path(name), flags, Mode::empty())?;
            rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
            Ok(file.into())
        };
        let input = File::options().read(true).write(true).open(path("stdin"))?;
        let (output, errors) = (open("stdout")?, Some(open("stderr")?));
        let text = |name: &str| path(name).display().to_string();
        let streams = Streams {
            input: text("stdin"),
            output: text("stdout"),
            errors: text("stderr"),
            is_terminal: false,
        };
        Ok(Prepared { streams, input, output, errors, directory: Some(directory) })
    }
}

fn terminal(size: Option<&v1::tty_info::WindowSize>) -> io::Result<Prepared> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let near = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&near)?;
    rustix::pty::unlockpt(&near)?;
    let far = rustix::pty::ptsname(&near, Vec::new())?;
    let far = far.into_string().map_err(io::Error::other)?;
    let near = File::from(near);
    if let Some(size) = size {
        resize(&near, size)?;
    }
    let streams =
        Streams { input: far.clone(), output: far.clone(), errors: far, is_terminal: true };
    let output = near.try_clone()?;
    Ok(Prepared { streams, input: near, output, errors: None, directory: None })
}

fn resize(terminal: &File, size: &v1::tty_info::WindowSize) -> io::Result<()> {
    let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let size = Winsize {
        ws_row: short(size.rows),
        ws_col: short(size.columns),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

impl Session {
    /// Gives a piece to everybody who reads; those who are gone are dropped, those who are slow are waited for.
    fn tell(&self, piece: &ProcessIo) {
        let mut readers = lock(&self.readers);
        readers.retain(|reader| {
            loop {
                match reader.send(piece) {
                    Ok(()) => return true,
                    Err(SendError::Closed) => return false,
                    Err(SendError::Slow) => std::thread::sleep(PAUSE),
                }
            }
        });
    }

    /// Reads a stream to its end. Blocks.
    fn copy(&self, mut from: File, kind: data::Type) {
        let mut chunk = vec![0; CHUNK];
        loop {
            match from.read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => self.tell(&data_piece(kind, &chunk[..length])),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // A terminal that nobody has any more.
                Err(_) => return,
            }
        }
    }

    /// What a client sends. Blocks.
    fn take(&self, piece: &ProcessIo) {
        if let Some(data) = &piece.data {
            let bytes = data.data.as_deref().unwrap_or_default();
            let mut input = lock(&self.input);
            if bytes.is_empty() && !self.is_terminal {
                *input = None;
            } else if let Some(file) = input.as_mut()
                && file.write_all(bytes).is_err()
            {
                *input = None;
            }
        }
        let size = piece.control.as_ref().and_then(|c| c.tty_info.as_ref()?.window_size.as_ref());
        if let (Some(size), true, Some(file)) = (size, self.is_terminal, lock(&self.input).as_ref())
        {
            let _ = resize(file, size);
        }
    }
}

fn data_piece(kind: data::Type, bytes: &[u8]) -> ProcessIo {
    ProcessIo {
        r#type: Some(process_io::Type::Data as i32),
        data: Some(Data { r#type: Some(kind as i32), data: Some(bytes.to_vec()) }),
        control: None,
    }
}

fn heartbeat() -> ProcessIo {
    let interval =
        v1::DurationInfo { nanoseconds: i64::try_from(HEARTBEAT.as_nanos()).unwrap_or(i64::MAX) };
    ProcessIo {
        r#type: Some(process_io::Type::Control as i32),
        data: None,
        control: Some(Control {
            r#type: Some(control::Type::Heartbeat as i32),
            heartbeat: Some(control::Heartbeat { interval: Some(interval) }),
            tty_info: None,
        }),
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
        Some(tty) => terminal(tty.window_size.as_ref()),
        None => shared.sessions.pipes(number.0),
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
    let (sender, response, closed) = event_stream(encoding);
    let session = Arc::new(Session {
        input: Mutex::new(near.ok()),
        is_terminal,
        is_busy: AtomicBool::new(false),
        readers: Mutex::new(vec![sender]),
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
        loop {
            tokio::select! {
                _ = &mut copying => break,
                () = &mut gone => break,
                () = tokio::time::sleep(HEARTBEAT) => {
                    let session = session.clone();
                    let _ = tokio::task::spawn_blocking(move || session.tell(&heartbeat())).await;
                }
            }
        }
        lock(&shared.sessions.open).remove(&name);
        *lock(&session.input) = None;
        // The container ends with its session; what it still says goes to nobody.
        let kill = ContainerCall::Kill { container_id: id, signal: 9 };
        let _ =
            shared.inputs.send(Input::ContainerCall { token: shared.token(), call: kill }).await;
        lock(&session.readers).clear();
    });
    response
}

/// ATTACH_CONTAINER_OUTPUT: what comes out of a session from now on.
pub(crate) fn attach_output(shared: &Shared, id: &v1::ContainerId, encoding: Encoding) -> Response {
    let session = lock(&shared.sessions.open).get(&shown(id)).cloned();
    let Some(session) = session else { return not_attached(id) };
    let (sender, response, _) = event_stream(encoding);
    lock(&session.readers).push(sender);
    response
}

/// The input of a session, taken by one client at a time.
pub(crate) struct Attached(Arc<Session>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::SeqCst);
    }
}

impl Attached {
    /// Hands over a piece. Waits until the container takes it.
    pub(crate) async fn take(&self, piece: ProcessIo) {
        let session = self.0.clone();
        let _ = tokio::task::spawn_blocking(move || session.take(&piece)).await;
    }
}

/// ATTACH_CONTAINER_INPUT: the input of a session, or the answer that refuses it.
pub(crate) fn attach_input(
    shared: &Shared,
    id: &v1::ContainerId,
) -> Result<Attached, Box<Response>> {
    let session = lock(&shared.sessions.open).get(&shown(id)).cloned();
    let Some(session) = session else { return Err(Box::new(not_attached(id))) };
    if session.is_busy.swap(true, Ordering::SeqCst) {
        let text = "Multiple input connections are not allowed";
        return Err(Box::new(respond::text(409, text)));
    }
    Ok(Attached(session))
}

fn not_attached(id: &v1::ContainerId) -> Response {
    let text = format!(
        "Container {} cannot be found among those whose streams can be attached to: only sessions \
         that run can",
        shown(id)
    );
    respond::text(404, text)
}
