//! The streams of containers, for commands that are terminals of them: where a task's container is, what its agent is
//! asked, and what goes in and comes out.

use super::found::{self, Which};
use super::{items, text};
use crate::operator_client::{Failure, OperatorClient};
use clap::ArgMatches;
use rustix::termios::{OptionalActions, Termios};
use serde_json::{Value, json};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};
use wire::recordio::{Decoder, encode};
use wire::v1;
use wire::v1::agent::call::attach_container_input;
use wire::v1::agent::process_io::{Control, Data, control, data};
use wire::v1::agent::{Call, ProcessIo, call, process_io};

/// Longest record that is taken.
const RECORD_MAX: usize = 1 << 20;
/// What is typed to leave a container that one is attached to: Ctrl-P, Ctrl-Q.
const LEAVE: [u8; 2] = [0x10, 0x11];

/// A container, and the agent that it is at.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) agent: String,
    pub(super) container: Value,
}

/// The container of the running task that is asked for.
pub(super) async fn find(client: &OperatorClient, matches: &ArgMatches) -> Result<Remote, Failure> {
    let task = found::task(client, matches, Which::Open).await?;
    let id = text(&task, "id");
    if task["state"] != "TASK_RUNNING" {
        let state = text(&task, "state");
        return Err(Failure::failed(format!("task '{id}' does not run now: it is {state}")));
    }
    let statuses = items(&task["statuses"]);
    let container = statuses.iter().rev().map(|s| &s["container_status"]["container_id"]);
    let Some(container) = container.into_iter().find(|id| !id.is_null()) else {
        return Err(Failure::failed(format!("the container of task '{id}' is not known")));
    };
    let agent = found::address(client, text(&task, "slave_id")).await?;
    let agent =
        agent.ok_or_else(|| Failure::failed(format!("the agent of task '{id}' is not known")))?;
    Ok(Remote { agent, container: container.clone() })
}

impl Remote {
    pub(super) fn failed(&self, error: &io::Error) -> Failure {
        Failure::failed(format!("agent {}: {error}", self.agent))
    }

    /// A call of its own connection, whose answer is a stream.
    pub(super) fn stream(&self, call: &Value) -> Result<Box<dyn Read + Send>, Failure> {
        let asked = self.ask(call, "application/x-protobuf");
        let (code, mut output) = asked.map_err(|e| self.failed(&e))?;
        if code == 200 {
            return Ok(output);
        }
        let mut answer = String::new();
        let _ = output.read_to_string(&mut answer);
        Err(Failure::failed(format!("agent {} refuses: {answer}", self.agent)))
    }

    /// A request of its own connection: the answer's status, and its body.
    pub(super) fn ask(
        &self,
        call: &Value,
        accept: &str,
    ) -> io::Result<(u16, Box<dyn Read + Send>)> {
        let mut stream = TcpStream::connect(&self.agent)?;
        let body = call.to_string();
        write!(
            stream,
            "POST /api/v1 HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: {accept}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.agent,
            body.len()
        )?;
        answer(stream)
    }

    /// How the container ends, in the end; None: that is not known.
    pub(super) fn exit_status(&self) -> Option<i32> {
        let wait = json!({"type": "WAIT_CONTAINER",
            "wait_container": {"container_id": self.container}});
        let (_, mut body) = self.ask(&wait, "application/json").ok()?;
        let mut answer = Vec::new();
        body.read_to_end(&mut answer).ok()?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        i32::try_from(answer["wait_container"]["exit_status"].as_i64()?).ok()
    }

    /// The way into the container.
    pub(super) fn input(&self) -> io::Result<Typing> {
        let mut stream = TcpStream::connect(&self.agent)?;
        write!(
            stream,
            "POST /api/v1 HTTP/1.1\r\nhost: {}\r\ncontent-type: application/recordio\r\n\
             message-content-type: application/x-protobuf\r\naccept: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n",
            self.agent
        )?;
        let container = wire::json::from_value::<v1::ContainerId>(&self.container);
        let container_id = Some(container.map_err(io::Error::other)?);
        write_call(
            &mut stream,
            call::AttachContainerInput {
                r#type: Some(attach_container_input::Type::ContainerId as i32),
                container_id,
                process_io: None,
            },
        )?;
        Ok(Typing(Arc::new(Mutex::new(stream))))
    }
}

/// Reads an answer: its status, and its body.
fn answer(stream: TcpStream) -> io::Result<(u16, Box<dyn Read + Send>)> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let code = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let mut is_chunked = false;
    let mut length = None;
    loop {
        line.clear();
        if stream.read_line(&mut line)? <= 2 {
            break;
        }
        let lower = line.to_ascii_lowercase();
        is_chunked |= lower.starts_with("transfer-encoding: chunked");
        length =
            lower.strip_prefix("content-length:").and_then(|n| n.trim().parse().ok()).or(length);
    }
    let body: Box<dyn Read + Send> = match length {
        Some(length) => Box::new(stream.take(length)),
        None if is_chunked => Box::new(Chunks { stream, left: 0 }),
        None => Box::new(stream),
    };
    Ok((code, body))
}

/// What an exit status of a container is for a shell: 128 and the signal's number when a signal ended it.
pub(super) fn shell_status(status: i32) -> i32 {
    match status & 0x7F {
        0 => (status >> 8) & 0xFF,
        signal => 128 + signal,
    }
}

/// The terminal as it was, restored at the end.
#[derive(Debug)]
pub(super) struct Raw(Termios);

impl Raw {
    pub(super) fn begin() -> Option<Self> {
        let before = rustix::termios::tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

pub(super) fn window_size() -> Option<(u32, u32)> {
    let size = rustix::termios::tcgetwinsize(io::stdin()).ok()?;
    Some((u32::from(size.ws_row), u32::from(size.ws_col)))
}

/// What goes into a container.
#[derive(Debug, Clone)]
pub(super) struct Typing(Arc<Mutex<TcpStream>>);

impl Typing {
    fn send(&self, piece: ProcessIo) -> io::Result<()> {
        let attach = call::AttachContainerInput {
            r#type: Some(attach_container_input::Type::ProcessIo as i32),
            container_id: None,
            process_io: Some(piece),
        };
        write_call(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), attach)
    }

    /// Nothing comes.
    pub(super) fn end(&self) {
        let _ = self.send(stdin_piece(&[]));
    }

    /// The answer that refuses it, if it is refused. Blocks until it ends.
    pub(super) fn refusal(&self) -> Option<String> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).try_clone().ok()?;
        let (code, mut body) = answer(stream).ok()?;
        let mut text = String::new();
        let _ = body.read_to_string(&mut text);
        Some(text).filter(|_| code != 0 && code != 200)
    }

    /// Sends what is typed or piped here, and then its end.
    pub(super) fn copy(&self) {
        let mut chunk = [0; 4096];
        while let Ok(length) = io::stdin().read(&mut chunk) {
            if self.send(stdin_piece(&chunk[..length])).is_err() || length == 0 {
                return;
            }
        }
    }

    /// Sends what is typed here, until that is the wish to leave; whether it was.
    pub(super) fn copy_until_left(&self) -> bool {
        let mut chunk = [0; 4096];
        let mut typed = Leaving::default();
        loop {
            let length = match io::stdin().read(&mut chunk) {
                Ok(length @ 1..) => length,
                _ => return false,
            };
            let (bytes, leaves) = typed.pass(&chunk[..length]);
            if !bytes.is_empty() && self.send(stdin_piece(&bytes)).is_err() {
                return false;
            }
            if leaves {
                return true;
            }
        }
    }

    /// Tells the size of this terminal if it is another than the one that is known there, before anything that is typed
    /// after this; then again whenever it changes.
    pub(super) fn follow_size(&self, known: Option<(u32, u32)>) {
        let mut known = known;
        let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
        if self.tell_size(&mut known).is_err() {
            return;
        }
        let typing = self.clone();
        tokio::spawn(async move {
            while changes.recv().await.is_some() {
                if typing.tell_size(&mut known).is_err() {
                    return;
                }
            }
        });
    }

    fn tell_size(&self, known: &mut Option<(u32, u32)>) -> io::Result<()> {
        let size = window_size();
        if let Some(new) = size.filter(|_| size != *known) {
            self.send(size_piece(new))?;
        }
        *known = size;
        Ok(())
    }
}

/// Looks for the wish to leave in what is typed.
#[derive(Debug, Default)]
struct Leaving {
    /// The first of its characters was typed, and not sent yet.
    begun: bool,
}

impl Leaving {
    /// What is to be sent of what is typed, and whether it ends there.
    fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len() + 1);
        for byte in typed {
            if std::mem::replace(&mut self.begun, false) {
                if *byte == LEAVE[1] {
                    return (out, true);
                }
                out.push(LEAVE[0]);
            }
            self.begun = *byte == LEAVE[0];
            if !self.begun {
                out.push(*byte);
            }
        }
        (out, false)
    }
}

/// One record in one chunk.
fn write_call(stream: &mut TcpStream, attach: call::AttachContainerInput) -> io::Result<()> {
    let call = Call {
        r#type: Some(call::Type::AttachContainerInput as i32),
        attach_container_input: Some(attach),
        ..Default::default()
    };
    let record = encode(&wire::protobuf::to_vec(&call));
    let mut chunk = format!("{:x}\r\n", record.len()).into_bytes();
    chunk.extend(record);
    chunk.extend(b"\r\n");
    stream.write_all(&chunk)
}

fn stdin_piece(bytes: &[u8]) -> ProcessIo {
    ProcessIo {
        r#type: Some(process_io::Type::Data as i32),
        data: Some(Data { r#type: Some(data::Type::Stdin as i32), data: Some(bytes.to_vec()) }),
        control: None,
    }
}

fn size_piece((rows, columns): (u32, u32)) -> ProcessIo {
    let window_size = Some(v1::tty_info::WindowSize { rows, columns });
    ProcessIo {
        r#type: Some(process_io::Type::Control as i32),
        data: None,
        control: Some(Control {
            r#type: Some(control::Type::TtyInfo as i32),
            tty_info: Some(v1::TtyInfo { window_size }),
            heartbeat: None,
        }),
    }
}

/// Writes what the command says here, to its end.
pub(super) fn show(output: &mut dyn Read) -> io::Result<()> {
    let mut records = Decoder::new(RECORD_MAX);
    let mut chunk = [0; 16 << 10];
    loop {
        let length = output.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        records.push(&chunk[..length]);
        while let Some(record) = records.next().map_err(io::Error::other)? {
            let piece = wire::protobuf::from_slice::<ProcessIo>(&record);
            let Some(data) = piece.map_err(io::Error::other)?.data else { continue };
            let bytes = data.data();
            if data.r#type() == data::Type::Stderr {
                io::stderr().write_all(bytes)?;
            } else {
                io::stdout().write_all(bytes)?;
                io::stdout().flush()?;
            }
        }
    }
}

/// A body in chunks.
struct Chunks {
    stream: BufReader<TcpStream>,
    /// Bytes of the chunk that were not read yet.
    left: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let size = line.trim();
            if size.is_empty() {
                continue;
            }
            self.left = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            if self.left == 0 {
                return Ok(0);
            }
        }
        let most = buffer.len().min(self.left);
        let length = self.stream.read(&mut buffer[..most])?;
        self.left -= length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_leave_and_one_of_them_is_typed() {
        let mut typed = Leaving::default();
        assert_eq!(typed.pass(b"ls\r"), (b"ls\r".to_vec(), false));
        assert_eq!(typed.pass(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(typed.pass(b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(typed.pass(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(typed.pass(b"\x11never"), (Vec::new(), true));
    }
}
