//! The supervisor: starts the main process of one container, outlives the agent, and keeps the exit status.
//!
//! It is executed by the agent with the container's runtime directory as its only argument and the specification
//! (`spec`) on its standard input. On its standard output it tells the agent, if that still listens:
//!
//! ```text
//! started <pid>\n     the main process, or the init around it, was forked and has set up what it needs
//! failed <text>\n     it could not be, or could not set up what it needs; nothing was started
//! exited <status>\n   the last process of the container is gone; raw wait status of the main process, and ` oom` if it
//!                     was killed because its memory was not enough
//! ```
//!
//! In the runtime directory it holds `lock` locked while it lives, writes its process id into it before it starts anything,
//! reads commands from the FIFO `control` (`signal <n>\n`, `kill\n`, `agent <pid>\n`), and adds the exit status to `lock`
//! (it survives the agent, not a crash of the machine, after which nothing runs anyway). Being the subreaper of its descendants, it alone knows
//! which process ids are still its own, so it alone sends signals.
//!
//! The agent is gone when it does not read standard output any more, or when the process of the last `agent` command has
//! ended. If no other says `agent` for as long as the container may wait, it is shut down.

mod agent;
mod cgroup;
mod child;
mod container;
mod control;
mod door;
mod init;
mod log;
mod main_process;
mod mount;
mod namespaces;
mod oom;
mod overlay;
mod privileges;
mod rooted;
mod setup;
mod spec;
mod steps;
mod terminal;
mod tree;
mod volume;

use agent::{Agent, Due};
use cgroup::Tracker;
use control::Command;
use door::Door;
use init::Init;
use log::Stream;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The argument of the process that stands for a pod.
const IDLE: &str = "--idle";
/// How often the container's lock is tried for.
const LOCK_TRIES: u32 = 500;
/// Time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

fn main() {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("proffer-supervisor is started by the agent: expected a runtime directory");
        std::process::exit(64);
    };
    if directory.as_os_str() == IDLE {
        idle();
    }
    if [volume::SHOW, volume::HIDE].iter().any(|what| directory.as_os_str() == *what) {
        if let Err(text) = volume::run(std::env::args_os().skip(1)) {
            eprintln!("{text}");
            std::process::exit(1);
        }
        return;
    }
    match supervise(&directory) {
        Ok(()) => {}
        Err(text) => {
            tell(&format!("failed {}\n", text.replace('\n', " ")));
            std::process::exit(1);
        }
    }
}

/// What stands for a pod does nothing, to its end.
fn idle() -> ! {
    loop {
        // SAFETY: a plain system call.
        unsafe { libc::pause() };
    }
}

fn supervise(directory: &Path) -> Result<(), String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|e| format!("cannot read the specification: {e}"))?;
    let spec = spec::Spec::parse(&bytes).ok_or("the specification is malformed")?;
    child::detach()?;
    let lock = hold(&directory.join("lock"))?;
    let mut control = control::Control::open(&directory.join("control"))?;
    let signals = child::block_sigchld()?;
    let mut agent = Agent::listening(spec.recovery_timeout, spec.grace_period);
    // Whoever recovers finds the lock held, or nothing is started.
    if !agent.is_there() {
        return Err("the agent is gone".to_owned());
    }
    let tracker = spec.cgroups.tracker.as_ref();
    let mut memory = spec.cgroups.memory.as_deref().map(oom::Watch::new).transpose()?;
    let has_terminal = spec.container.as_ref().is_some_and(|c| c.terminal.is_some());
    let door = has_terminal.then(|| Door::open(directory)).transpose();
    let door = door.map_err(|e| format!("cannot make a socket for the terminal: {e}"))?;
    // Whoever finds the lock held learns here by whom. An empty file means that nothing was started.
    (&lock)
        .write_all(format!("{}\n", std::process::id()).as_bytes())
        .map_err(|e| format!("cannot write the lock file: {e}"))?;
    let started = child::start(&spec).inspect_err(|_| {
        let _ = lock.set_len(0);
    });
    let child::Started { pid: main, init, mut streams } = started?;
    if let (Some(door), Some(stream)) = (door, streams.last_mut()) {
        stream.share(door);
    }
    tell(&format!("started {main}\n"));
    let spared = init.as_ref().map(|init| init.pid);

    let mut status = None;
    let mut killing = false;
    let mut main_is_there = true;
    let mut saw_oom = false;
    let mut rounds = 0;
    loop {
        let reaped = tree::reap();
        let told = init.as_ref().filter(|_| status.is_none()).and_then(Init::main_status);
        let ended = reaped.exited.iter().find(|(pid, _)| *pid == main).map(|(_, status)| *status);
        main_is_there &= ended.is_none();
        if let Some(ended) = told.or(ended) {
            // The container ends with its main process: what is left of it goes too.
            status.get_or_insert(ended);
            killing = true;
        }
        if reaped.none_left && status.is_some() {
            break;
        }
        if killing {
            if let Some(tracker) = tracker {
                tracker.kill();
            }
            match &init {
                // With it goes everything in its namespace.
                Some(init) if init.is_first && main_is_there => tree::kill(init.pid),
                // What left the cgroup is looked for when that did not do.
                _ if tracker.is_some() && rounds == 0 => {}
                _ => tree::signal_all(libc::SIGKILL, spared),
            }
            rounds += 1;
        }
        // While killing, look again soon: a process may have been forked between the look and the signal.
        let wait_ms = if killing { 10 } else { agent.wait_ms() };
        let waiting = init.as_ref().filter(|_| status.is_none());
        let mut also = vec![waiting.map_or(-1, |init| init.status.as_raw_fd())];
        also.extend(streams.iter().flat_map(Stream::descriptors));
        let woken = control.wait(&signals, &mut agent, memory.as_mut(), &also, wait_ms);
        saw_oom |= woken.saw_oom;
        killing |= woken.saw_oom;
        for command in woken.commands {
            match command {
                Command::Signal(signal) => send(tracker, signal, spared),
                Command::Kill => killing = true,
                Command::Agent(pid) => agent.come_back(pid),
            }
        }
        streams = streams.into_iter().filter_map(Stream::copied).collect();
        match agent.due() {
            Some(Due::Terminate) => send(tracker, libc::SIGTERM, spared),
            Some(Due::Kill) => killing = true,
            None => {}
        }
    }
    streams.into_iter().for_each(Stream::drain);
    // The kernel tells it some time after the main process was killed for it, which may be after its end was seen.
    saw_oom |= memory.as_mut().is_some_and(oom::Watch::saw_oom);
    let end = format!("{}{}\n", status.unwrap_or(0), if saw_oom { " oom" } else { "" });
    let kept = keep(&lock, &end);
    // The agent removes cgroups, after it has read in them how much memory there was. Without one nobody may come to do it.
    if !agent.is_there() && (!saw_oom || spec.recovery_timeout.is_zero()) {
        spec.cgroups.remove();
    }
    tell(&format!("exited {end}"));
    drop(lock);
    kept
}

/// Takes the container's lock. A supervisor of a former agent may still hold it, to see that its agent is gone.
fn hold(path: &Path) -> Result<File, String> {
    let lock = File::options().create(true).append(true).open(path);
    let lock = lock.map_err(|e| format!("cannot create the lock file: {e}"))?;
    for _ in 0..LOCK_TRIES {
        // SAFETY: the descriptor is open as long as `lock` lives, which is until this process ends.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return match lock.metadata() {
                Ok(metadata) if metadata.len() == 0 => Ok(lock),
                _ => Err("the container was started before".to_owned()),
            };
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err("another supervisor holds the container's lock".to_owned())
}

/// Sends a signal to every process of the container but its init.
fn send(tracker: Option<&Tracker>, signal: i32, spared: Option<libc::pid_t>) {
    match tracker {
        Some(tracker) => tracker.signal(signal, spared),
        None => tree::signal_all(signal, spared),
    }
}

/// Leaves the exit status behind, as the second line of the lock file: a file of its own would cost each container
/// one more inode. It counts only when its line is whole.
fn keep(mut lock: &File, end: &str) -> Result<(), String> {
    lock.write_all(end.as_bytes()).map_err(|e| format!("cannot keep the exit status: {e}"))
}

/// Tells the agent, which may be gone.
fn tell(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
