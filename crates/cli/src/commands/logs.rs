//! `proffer logs`: what a task said, and what it says.

use super::found::{self, Which, has_ended};
use super::sandbox::Sandbox;
use super::{note, text, unwritten};
use crate::operator_client::{Failure, OperatorClient, escaped};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use client::AgentError;
use serde_json::Value;
use std::io::Write;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
What the task wrote to its stdout is printed to stdout, what it wrote to its stderr to stderr. With -f it goes on until
the task has ended, also while its agent is started again or another master leads.

Examples:
  proffer logs web-1
  proffer logs -f --tail 20 web-1
  proffer logs --stderr build-7 --framework jenkins
";

/// Time between two looks at files.
const LOOK: Duration = Duration::from_millis(250);
/// Time between two looks at the state of the task.
const ASK: Duration = Duration::from_secs(1);
/// Bytes that are read at once while lines are counted from the end.
const BLOCK: u64 = 64 << 10;

pub(crate) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("logs")
        .about("What a task said, and says")
        .after_help(EXAMPLES)
        .args(found::args())
        .args([
            flag("follow", "Goes on with what it says from now on").short('f'),
            flag("stdout", "Only what it writes to stdout"),
            flag("stderr", "Only what it writes to stderr").conflicts_with("stdout"),
            Arg::new("tail")
                .long("tail")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("Only the last N lines of each"),
        ])
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let task = found::task(client, matches, Which::All).await?;
    let only = ["stdout", "stderr"].into_iter().find(|name| matches.get_flag(name));
    let names = only.map_or_else(|| vec!["stdout", "stderr"], |name| vec![name]);
    let tail = matches.get_one::<u64>("tail").copied();
    let mut logs = Logs::of(task, &names, tail);
    if matches.get_flag("follow") {
        logs.follow(client).await?;
    } else {
        logs.print(client).await?;
    }
    Ok(String::new())
}

/// One of the files.
struct Stream {
    name: &'static str,
    /// Bytes that were printed, or left out by `--tail`; None: it was not looked at yet.
    offset: Option<u64>,
    /// The last line is not complete.
    is_open: bool,
}

/// What a task says.
pub(crate) struct Logs {
    task: Value,
    tail: Option<u64>,
    streams: Vec<Stream>,
    sandbox: Option<Sandbox>,
    /// Put before each line.
    prefix: Option<String>,
    /// It goes on when nobody reads it.
    is_patient: bool,
    is_away: bool,
}

/// Why nothing could be printed.
enum Trouble {
    /// It may pass: the agent is away.
    Passing(AgentError),
    Lasting(Failure),
    /// Nobody takes what is printed.
    Unwritten(std::io::Error),
}

impl Logs {
    pub(crate) fn of(task: Value, names: &[&'static str], tail: Option<u64>) -> Self {
        let stream = |name: &&'static str| Stream { name, offset: None, is_open: false };
        let streams = names.iter().map(stream).collect();
        Self { task, tail, streams, sandbox: None, prefix: None, is_patient: false, is_away: false }
    }

    /// The same for who follows a task for its own sake: it goes on when nobody reads what is printed. A prefix is put
    /// before each line.
    pub(crate) fn patient(self, prefix: Option<String>) -> Self {
        Self { is_patient: true, prefix, ..self }
    }

    fn id(&self) -> &str {
        text(&self.task, "id")
    }

    /// What there is.
    async fn print(&mut self, client: &OperatorClient) -> Result<(), Failure> {
        let mut sandbox = Sandbox::of(client, &self.task).await?;
        // Whether there is a sandbox at all: a task that said nothing has one.
        sandbox.list("").await?;
        self.sandbox = Some(sandbox);
        match self.advance().await {
            Ok(_) => Ok(()),
            Err(Trouble::Lasting(failure)) => Err(failure),
            Err(Trouble::Unwritten(error)) => Err(unwritten(error)),
            Err(Trouble::Passing(error)) => Err(Failure::failed(error.to_string())),
        }
    }

    /// What there is and what comes, until the task has ended.
    pub(crate) async fn follow(&mut self, client: &OperatorClient) -> Result<(), Failure> {
        let mut asked = Instant::now();
        loop {
            let is_over = has_ended(&self.task);
            let said = self.step(client).await?;
            if is_over && (!said || self.is_away) {
                return if self.is_away { Err(self.lost()) } else { Ok(()) };
            }
            if said {
                continue;
            }
            tokio::time::sleep(LOOK).await;
            if asked.elapsed() >= ASK {
                asked = Instant::now();
                self.look(client).await;
            }
        }
    }

    fn lost(&self) -> Failure {
        Failure::failed(format!(
            "the agent of task '{}' does not answer; the task is {}",
            self.id(),
            text(&self.task, "state")
        ))
    }

    /// Learns the task's state; while no master answers it stays what it was.
    async fn look(&mut self, client: &OperatorClient) {
        let (id, framework) = (escaped(self.id()), escaped(text(&self.task, "framework_id")));
        let path = format!("/tasks?limit=1&task_id={id}&framework_id={framework}");
        if let Ok(answer) = client.get(&path).await
            && let Some(task) = super::items(&answer["tasks"]).first()
        {
            self.task = task.clone();
        }
    }

    /// Prints what is new; whether there was something.
    pub(crate) async fn step(&mut self, client: &OperatorClient) -> Result<bool, Failure> {
        match &mut self.sandbox {
            None => match Sandbox::of(client, &self.task).await {
                Ok(sandbox) => self.sandbox = Some(sandbox),
                Err(failure) => {
                    self.away(&match failure {
                        Failure::Failed(text) | Failure::Usage(text) => text,
                    });
                    return Ok(false);
                }
            },
            // It may listen elsewhere now.
            Some(sandbox) if self.is_away => {
                let _ = sandbox.find_again(client).await;
            }
            Some(_) => {}
        }
        match self.advance().await {
            Ok(said) => {
                if std::mem::take(&mut self.is_away) {
                    note("the agent is back");
                }
                Ok(said)
            }
            Err(Trouble::Passing(error)) => {
                self.away(&format!("{error}; waiting for it"));
                Ok(false)
            }
            Err(Trouble::Lasting(failure)) => Err(failure),
            Err(Trouble::Unwritten(error)) => Err(unwritten(error)),
        }
    }

    fn away(&mut self, text: &str) {
        if !std::mem::replace(&mut self.is_away, true) {
            note(text);
        }
    }

    async fn advance(&mut self) -> Result<bool, Trouble> {
        let Some(sandbox) = &mut self.sandbox else { return Ok(false) };
        let mut said = false;
        for stream in &mut self.streams {
            let printed = stream.advance(sandbox, self.tail, self.prefix.as_deref()).await;
            said |= match printed {
                Err(Trouble::Unwritten(_)) if self.is_patient => true,
                Err(Trouble::Unwritten(error)) => return Err(Trouble::Lasting(unwritten(error))),
                other => other?,
            };
        }
        Ok(said)
    }
}

impl Stream {
    /// Prints what was not printed yet.
    async fn advance(
        &mut self,
        sandbox: &mut Sandbox,
        tail: Option<u64>,
        prefix: Option<&str>,
    ) -> Result<bool, Trouble> {
        let mut said = false;
        loop {
            let Some(offset) = self.begin(sandbox, tail).await? else { return Ok(said) };
            let Some((size, piece)) = read(sandbox, self.name, offset, None).await? else {
                return Ok(said);
            };
            if size < offset {
                note(&format!("{} was begun anew", self.name));
                self.offset = Some(0);
                continue;
            }
            if piece.is_empty() {
                return Ok(said);
            }
            self.offset = Some(offset + piece.len() as u64);
            self.print(&piece, prefix).map_err(Trouble::Unwritten)?;
            said = true;
        }
    }

    /// Where to go on; None while there is no file.
    async fn begin(
        &mut self,
        sandbox: &mut Sandbox,
        tail: Option<u64>,
    ) -> Result<Option<u64>, Trouble> {
        if self.offset.is_none() {
            self.offset = match tail {
                Some(lines) => last_lines(sandbox, self.name, lines).await?,
                None => Some(0),
            };
        }
        Ok(self.offset)
    }

    fn print(&mut self, piece: &[u8], prefix: Option<&str>) -> std::io::Result<()> {
        let bytes = match prefix {
            None => piece.to_vec(),
            Some(prefix) => {
                let mut out = Vec::with_capacity(piece.len() + prefix.len());
                for line in piece.split_inclusive(|byte| *byte == b'\n') {
                    if !self.is_open {
                        out.extend_from_slice(prefix.as_bytes());
                    }
                    out.extend_from_slice(line);
                    self.is_open = !line.ends_with(b"\n");
                }
                out
            }
        };
        match self.name {
            "stderr" => std::io::stderr().lock().write_all(&bytes),
            _ => {
                let mut out = std::io::stdout().lock();
                out.write_all(&bytes).and_then(|()| out.flush())
            }
        }
    }
}

/// Size and a piece of a file; None when there is none.
async fn read(
    sandbox: &mut Sandbox,
    name: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<Option<(u64, Vec<u8>)>, Trouble> {
    match sandbox.read(name, offset, length).await {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.is_missing() => Ok(None),
        // It is not there, or not yet.
        Err(error @ (AgentError::Unreachable { .. } | AgentError::Refused { status: 503, .. })) => {
            Err(Trouble::Passing(error))
        }
        Err(error) => Err(Trouble::Lasting(sandbox.failed(name, &error))),
    }
}

/// Where the last lines of a file begin; None when there is none.
async fn last_lines(sandbox: &mut Sandbox, name: &str, lines: u64) -> Result<Option<u64>, Trouble> {
    let Some((size, _)) = read(sandbox, name, u64::MAX, Some(0)).await? else { return Ok(None) };
    if lines == 0 {
        return Ok(Some(size));
    }
    let (mut end, mut left) = (size, lines);
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        let Some((_, piece)) = read(sandbox, name, begin, Some(end - begin)).await? else {
            return Ok(None);
        };
        for (at, byte) in piece.iter().enumerate().rev() {
            let after = begin + at as u64 + 1;
            // The end of the last line begins none.
            if *byte == b'\n' && after < size {
                left -= 1;
                if left == 0 {
                    return Ok(Some(after));
                }
            }
        }
        end = begin;
    }
    Ok(Some(0))
}
