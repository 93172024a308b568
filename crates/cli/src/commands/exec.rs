//! `proffer exec`: a command inside the container of a running task, as if it ran in this terminal.

use super::{items, text};
use crate::operator_client::{Failure, OperatorClient};
use clap::{Arg, ArgAction, ArgMatches, Command};
use rustix::termios::{OptionalActions, Termios};
use serde_json::{Value, json};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wire::recordio::{Decoder, encode};
use wire::v1;
use wire::v1::agent::call::attach_container_input;
use wire::v1::agent::process_io::{Control, Data, control, data};
use wire::v1::agent::{Call, ProcessIo, call, process_io};

const EXAMPLES: &str = "\
The exit status is that of the command; 128 and the signal's number when a signal ended it.

Examples:
  proffer exec web-1 -- ls -l             what is in its sandbox
  proffer exec -it web-1 sh               a shell
  echo data | proffer exec -i web-1 -- sh -c 'cat >file'
";

/// Time between two looks at the size of the terminal.
const SIZE_EVERY: Duration = Duration::from_millis(200);
/// Longest record that is taken.
const RECORD_MAX: usize = 1 << 20;

pub(crate) fn command() -> Command {
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).long(name).short(short).action(ArgAction::SetTrue).help(help)
    };
    Command::new("exec")
        .about("Runs a command inside the container of a running task")
        .after_help(EXAMPLES)
        .args([
            flag("interactive", 'i', "The command reads what is typed or piped here"),
            flag("tty", 't', "The command has a terminal"),
            Arg::new("task").value_name("TASK").required(true).help("Id of the task"),
            Arg::new("command")
                .value_name("COMMAND")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .help("Program and arguments"),
        ])
}

/// Ends the process with the command's exit status.
pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let id = matches.get_one::<String>("task").map(String::as_str).unwrap_or_default();
    let words: Vec<String> =
        matches.get_many::<String>("command").into_iter().flatten().cloned().collect();
    let tasks = client.call(&json!({"type": "GET_TASKS"})).await?;
    let found: Vec<&Value> = items(&tasks["get_tasks"]["tasks"])
        .iter()
        .filter(|task| task["task_id"]["value"] == id && task["state"] == "TASK_RUNNING")
        .collect();
    let task = match found[..] {
        [task] => task,
        [] => return Err(Failure::failed(format!("no task '{id}' runs"))),
        _ => return Err(Failure::failed(format!("several frameworks run a task '{id}'"))),
    };
    let statuses = items(&task["statuses"]);
    let container = statuses.iter().rev().map(|s| &s["container_status"]["container_id"]);
    let Some(container) = container.into_iter().find(|id| !id.is_null()) else {
        return Err(Failure::failed(format!("the container of task '{id}' is not known")));
    };
    let agents = client.call(&json!({"type": "GET_AGENTS"})).await?;
    let agent = items(&agents["get_agents"]["agents"])
        .iter()
        .find(|agent| agent["agent_info"]["id"] == task["agent_id"])
        .and_then(|agent| text(agent, "pid").split_once('@'))
        .map(|(_, address)| address.to_owned())
        .ok_or_else(|| Failure::failed(format!("the agent of task '{id}' is not known")))?;
    let session = Session {
        agent,
        container: json!({"value": unique()?, "parent": container}),
        is_interactive: matches.get_flag("interactive"),
        has_terminal: matches.get_flag("tty"),
    };
    let ended = tokio::task::spawn_blocking(move || session.run(&words)).await;
    let status = ended.map_err(|e| Failure::failed(e.to_string()))??;
    std::process::exit(status);
}

fn unique() -> Result<String, Failure> {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    let uuid = read.map_err(|e| Failure::failed(format!("cannot make an id: {e}")))?;
    Ok(uuid.trim().to_owned())
}

#[derive(Clone)]
struct Session {
    agent: String,
    container: Value,
    is_interactive: bool,
    has_terminal: bool,
}

/// The terminal as it was, restored at the end.
struct Raw(Termios);

impl Raw {
    fn begin() -> Option<Self> {
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

fn window_size() -> Option<(u32, u32)> {
    let size = rustix::termios::tcgetwinsize(io::stdin()).ok()?;
    Some((u32::from(size.ws_row), u32::from(size.ws_col)))
}

impl Session {
    fn run(self, words: &[String]) -> Result<i32, Failure> {
        let failed = |e: io::Error| Failure::failed(format!("agent {}: {e}", self.agent));
        let size = window_size().filter(|_| self.has_terminal);
        let mut launch = json!({"container_id": self.container,
            "command": {"shell": false, "value": words[0], "arguments": words}});
        if self.has_terminal {
            let mut tty = json!({});
            if let Some((rows, columns)) = size {
                tty["window_size"] = json!({"rows": rows, "columns": columns});
            }
            launch["container"] = json!({"type": "MESOS", "tty_info": tty});
        }
        let call = json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION",
            "launch_nested_container_session": launch});
        let (code, mut output) = self.ask(&call, "application/x-protobuf").map_err(failed)?;
        if code != 200 {
            let mut answer = String::new();
            let _ = output.read_to_string(&mut answer);
            return Err(Failure::failed(format!("agent {} refuses: {answer}", self.agent)));
        }
        let waiting = {
            let session = self.clone();
            std::thread::spawn(move || session.exit_status())
        };
        let raw = (self.has_terminal && self.is_interactive).then(Raw::begin).flatten();
        let input = Arc::new(Mutex::new(self.attach().map_err(failed)?));
        if self.is_interactive {
            let input = input.clone();
            std::thread::spawn(move || send_input(&input));
        } else if !self.has_terminal {
            let _ = send(&input, &stdin_piece(&[]));
        }
        if self.has_terminal {
            std::thread::spawn(move || send_sizes(&input, size));
        }
        let shown = show(&mut output);
        drop(raw);
        shown.map_err(failed)?;
        let status = waiting.join().unwrap_or(None);
        let remove = json!({"type": "REMOVE_NESTED_CONTAINER",
            "remove_nested_container": {"container_id": self.container}});
        let _ = self.ask(&remove, "application/json");
        match status {
            Some(status) if status & 0x7F == 0 => Ok((status >> 8) & 0xFF),
            Some(status) => Ok(128 + (status & 0x7F)),
            None => Err(Failure::failed("how the command ended is not known")),
        }
    }

    /// A request of its own connection: the answer's status, and its body.
    fn ask(&self, call: &Value, accept: &str) -> io::Result<(u16, Box<dyn Read>)> {
        let mut stream = TcpStream::connect(&self.agent)?;
        let body = call.to_string();
        write!(
            stream,
            "POST /api/v1 HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: {accept}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.agent,
            body.len()
        )?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let code = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut is_chunked = false;
        loop {
            line.clear();
            if stream.read_line(&mut line)? <= 2 {
                break;
            }
            is_chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
        }
        let body: Box<dyn Read> =
            if is_chunked { Box::new(Chunks { stream, left: 0 }) } else { Box::new(stream) };
        Ok((code, body))
    }

    fn exit_status(&self) -> Option<i32> {
        let wait = json!({"type": "WAIT_NESTED_CONTAINER",
            "wait_nested_container": {"container_id": self.container}});
        let (_, mut body) = self.ask(&wait, "application/json").ok()?;
        let mut answer = Vec::new();
        body.read_to_end(&mut answer).ok()?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        i32::try_from(answer["wait_nested_container"]["exit_status"].as_i64()?).ok()
    }

    fn attach(&self) -> io::Result<TcpStream> {
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
        Ok(stream)
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

fn send(input: &Mutex<TcpStream>, piece: &ProcessIo) -> io::Result<()> {
    let attach = call::AttachContainerInput {
        r#type: Some(attach_container_input::Type::ProcessIo as i32),
        container_id: None,
        process_io: Some(piece.clone()),
    };
    write_call(&mut input.lock().unwrap_or_else(PoisonError::into_inner), attach)
}

fn stdin_piece(bytes: &[u8]) -> ProcessIo {
    ProcessIo {
        r#type: Some(process_io::Type::Data as i32),
        data: Some(Data { r#type: Some(data::Type::Stdin as i32), data: Some(bytes.to_vec()) }),
        control: None,
    }
}

fn send_input(input: &Mutex<TcpStream>) {
    let mut chunk = [0; 4096];
    while let Ok(length) = io::stdin().read(&mut chunk) {
        // Nothing: the end, which the command is told.
        if send(input, &stdin_piece(&chunk[..length])).is_err() || length == 0 {
            return;
        }
    }
}

fn send_sizes(input: &Mutex<TcpStream>, mut known: Option<(u32, u32)>) {
    loop {
        std::thread::sleep(SIZE_EVERY);
        let size = window_size();
        if size == known {
            continue;
        }
        known = size;
        let Some((rows, columns)) = size else { continue };
        let window_size = Some(v1::tty_info::WindowSize { rows, columns });
        let piece = ProcessIo {
            r#type: Some(process_io::Type::Control as i32),
            data: None,
            control: Some(Control {
                r#type: Some(control::Type::TtyInfo as i32),
                tty_info: Some(v1::TtyInfo { window_size }),
                heartbeat: None,
            }),
        };
        if send(input, &piece).is_err() {
            return;
        }
    }
}

/// Writes what the command says here, to its end.
fn show(output: &mut dyn Read) -> io::Result<()> {
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
