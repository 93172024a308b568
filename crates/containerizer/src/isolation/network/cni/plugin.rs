//! Running a plugin: its command in the environment, its configuration on standard input, its answer on standard output.
//!
//! Its standard streams are files in memory, not pipes: nobody has to read while it writes, and what it leaves behind
//! keeps nobody waiting.

use super::config::parse_object;
use crate::supervisor;
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Most of an answer that is read.
const ANSWER_MAX: u64 = 1 << 20;
/// Most of what a plugin says that is shown.
const SHOWN_MAX: usize = 300;

/// Where plugins are, and how long they may take.
#[derive(Debug, Clone)]
pub(super) struct Plugins {
    pub(super) directories: Vec<PathBuf>,
    pub(super) timeout: Duration,
}

/// What a plugin is called for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// `ADD`, `DEL` or `CHECK`.
    pub(super) command: &'a str,
    /// The container.
    pub(super) container_id: &'a str,
    /// Its network namespace; None: it is gone.
    pub(super) namespace: Option<&'a Path>,
    /// The interface inside.
    pub(super) interface: &'a str,
}

impl Plugins {
    /// Runs a plugin to its end; its answer, empty if it said nothing.
    pub(super) fn run(
        &self,
        program: &str,
        call: Call<'_>,
        input: &Value,
    ) -> Result<Map<String, Value>, String> {
        let Call { command, .. } = call;
        let fault = |text: String| format!("CNI plugin '{program}' failed to {command}: {text}");
        let path = self.find(program)?;
        let (status, answer, errors) = self.execute(&path, call, input).map_err(fault)?;
        let (said, errors) = (shown(&answer), shown(&errors));
        if !errors.is_empty() {
            tracing::info!(plugin = program, command, container = call.container_id, %errors, "a plugin said");
        }
        let parsed = parse_object(&answer);
        if !status.success() {
            let reported = parsed.ok().and_then(|answer| reported(&answer));
            return Err(fault(reported.unwrap_or_else(|| {
                let said = if errors.is_empty() { said } else { errors };
                let colon = if said.is_empty() { "" } else { ": " };
                format!("it ended with {status}{colon}{said}")
            })));
        }
        match parsed {
            Ok(answer) => Ok(answer),
            Err(_) if answer.trim_ascii().is_empty() && command != "ADD" => Ok(Map::new()),
            Err(error) => Err(fault(format!("its answer is no result: {error}; it said '{said}'"))),
        }
    }

    /// The path of a plugin.
    pub(super) fn find(&self, program: &str) -> Result<PathBuf, String> {
        let paths = self.directories.iter().map(|directory| directory.join(program));
        paths.into_iter().find(|path| path.is_file()).ok_or_else(|| {
            let places: Vec<_> = self.directories.iter().map(|d| d.display().to_string()).collect();
            format!("there is no CNI plugin '{program}' in {}", places.join(":"))
        })
    }

    fn execute(
        &self,
        path: &Path,
        call: Call<'_>,
        input: &Value,
    ) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), String> {
        let memory = || memory().map_err(|e| format!("cannot make a file in memory: {e}"));
        let (mut input_file, mut output, mut errors) = (memory()?, memory()?, memory()?);
        let written = write!(input_file, "{input}").and_then(|()| input_file.rewind());
        written.map_err(|e| format!("cannot write its configuration: {e}"))?;
        let share = |file: &File| file.try_clone().map_err(|e| format!("cannot share a file: {e}"));
        let mut command = Command::new(path);
        command.env_clear().current_dir("/").process_group(0);
        command.stdin(share(&input_file)?).stdout(share(&output)?).stderr(share(&errors)?);
        command.env("CNI_COMMAND", call.command).env("CNI_CONTAINERID", call.container_id);
        command.env("CNI_IFNAME", call.interface);
        command.env("CNI_NETNS", call.namespace.unwrap_or_else(|| Path::new("")));
        let directories = std::env::join_paths(&self.directories);
        command.env("CNI_PATH", directories.map_err(|e| e.to_string())?);
        let search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| search.into()));
        // The next agent must not undo what this one's plugin is still doing.
        // SAFETY: what is called between fork and exec is one system call without pointers.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn().map_err(|e| format!("cannot execute it: {e}"))?;
        let status = wait(&mut child, self.timeout)?;
        let read = |file: &mut File| {
            let mut bytes = Vec::new();
            let read = file.rewind().and_then(|()| file.take(ANSWER_MAX).read_to_end(&mut bytes));
            read.map(|_| bytes).map_err(|e| format!("cannot read its answer: {e}"))
        };
        Ok((status, read(&mut output)?, read(&mut errors)?))
    }
}

/// Waits for the end of a process. After a time it is killed with its group.
fn wait(child: &mut Child, timeout: Duration) -> Result<ExitStatus, String> {
    let end = Instant::now() + timeout;
    let fd = supervisor::watch(child.id()).ok_or("cannot watch it")?;
    let ended = loop {
        let left = end.saturating_duration_since(Instant::now());
        let ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        let mut polled = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which lives through the call.
        match unsafe { libc::poll(&raw mut polled, 1, ms) } {
            1 => break true,
            _ if left.is_zero() => break false,
            _ => {}
        }
    };
    if !ended && let Ok(group) = i32::try_from(child.id()) {
        // SAFETY: a plain system call; the process was not waited for, so that the group is its own.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    let status = child.wait().map_err(|e| format!("cannot wait for its end: {e}"))?;
    if ended {
        Ok(status)
    } else {
        Err(format!("it took longer than {} and was killed", base::duration::format(timeout)))
    }
}

fn memory() -> io::Result<File> {
    Ok(memfd_create("plugin", MemfdFlags::CLOEXEC)?.into())
}

/// What an answer says of a failure.
fn reported(answer: &Map<String, Value>) -> Option<String> {
    let text = |key| answer.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let message = text("msg")?;
    Some(match text("details") {
        Some(details) => format!("{message}: {details}"),
        None => message.to_owned(),
    })
}

/// The beginning of what was said, as one line.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
