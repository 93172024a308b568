//! Detaching from the agent, and forking the main process.

use crate::cgroup::Entrances;
use crate::init::{self, Init};
use crate::log::{Log, Rotation, Stream};
use crate::main_process::{self, Stdio};
use crate::namespaces::{self, Namespaces};
use crate::setup::{self, Report};
use crate::spec::Spec;
use crate::terminal;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

/// Makes this process independent of the agent: a session of its own, subreaper of its descendants, deaf to the
/// agent's terminal and to broken pipes.
pub(crate) fn detach() -> Result<(), String> {
    // SAFETY: plain system calls without pointers.
    unsafe {
        libc::setsid();
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        if libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0 {
            return Err(format!("cannot become subreaper: {}", io::Error::last_os_error()));
        }
    }
    Ok(())
}

/// Blocks SIGCHLD and gives a descriptor that is readable when a child has ended.
pub(crate) fn block_sigchld() -> Result<OwnedFd, String> {
    // SAFETY: the set is initialised by sigemptyset before it is used; signalfd gives a descriptor that nobody else owns.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(format!(
                "cannot watch for the end of processes: {}",
                io::Error::last_os_error()
            ));
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// A container that was started.
#[derive(Debug)]
pub(crate) struct Started {
    /// The main process; of a container with an init that one.
    pub(crate) pid: libc::pid_t,
    pub(crate) init: Option<Init>,
    /// Output that is to be copied.
    pub(crate) streams: Vec<Stream>,
}

/// What the two sides of a fork tell each other.
struct Channels {
    report: Option<Report>,
    /// Both ends of the pipe on which an init tells how the main process ended.
    status: Option<(OwnedFd, OwnedFd)>,
    /// Both ends of the socket on which a terminal is handed over.
    terminal: Option<(OwnedFd, OwnedFd)>,
    /// This process: readable when it has ended.
    supervisor: OwnedFd,
}

/// Forks the main process, under an init if it needs one.
///
/// A command that can't be executed counts as started: it says why on its standard error and ends with status 1, as
/// the peer's launcher does.
pub(crate) fn start(spec: &Spec) -> Result<Started, String> {
    let null = File::open("/dev/null").map_err(|e| format!("cannot open /dev/null: {e}"))?;
    let container = spec.container.as_ref();
    let has_init = container.is_some_and(namespaces::needs_init);
    let has_terminal = container.is_some_and(|c| c.terminal.is_some());
    let channels = Channels {
        report: setup::is_needed(spec).then(Report::new).transpose()?,
        status: has_init.then(init::pipe).transpose()?,
        terminal: has_terminal.then(terminal::channel).transpose()?,
        supervisor: open_self()?,
    };
    let namespaces = container.map(Namespaces::prepare).transpose()?;
    let mut streams = Vec::new();
    // What comes out of a terminal goes to one file, through this process anyway.
    let (stdio, log) = if let Some(given) = &spec.streams {
        (Stdio::open(given, spec.user.as_ref())?, None)
    } else if has_terminal {
        let (out, _) = open_logs(spec)?;
        let empty = || null.try_clone().map_err(|e| format!("cannot open /dev/null: {e}"));
        let (output, errors) = (empty()?.into(), empty()?.into());
        (Stdio { input: null.into(), output, errors }, Some(out))
    } else {
        let (out, errors) = open_logs(spec)?;
        let ((output, first), (errors, second)) = (out.share()?, errors.share()?);
        streams.extend(first.into_iter().chain(second));
        (Stdio { input: null.into(), output, errors }, None)
    };
    let entrances = Entrances::open(&spec.cgroups.joined)?;
    let pid = entrances.fork().map_err(|e| format!("cannot fork: {e}"))?;
    if pid == 0 {
        become_child(spec, &entrances, channels, namespaces, stdio);
    }
    if let Err(text) = channels.report.map_or(Ok(()), Report::outcome) {
        // SAFETY: a plain system call; it waits for the child, which ends now.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        return Err(text);
    }
    if let (Some((ours, _)), Some(log)) = (channels.terminal, log) {
        streams.push(terminal::receive(ours.as_fd(), log)?);
    }
    let is_first = container.is_some_and(|c| c.namespaces & libc::CLONE_NEWPID != 0);
    let init = channels.status.map(|(status, _)| Init { pid, is_first, status });
    Ok(Started { pid, init, streams })
}

/// The files for output and errors.
fn open_logs(spec: &Spec) -> Result<(Log, Log), String> {
    if spec.is_joined {
        // The file is another container's, which limits it.
        let open = || Log::open(spec, c"stderr", Rotation { max: 0, keep: 0 });
        return Ok((open()?, open()?));
    }
    let [out, errors] = spec.logs;
    Ok((Log::open(spec, c"stdout", out)?, Log::open(spec, c"stderr", errors)?))
}

/// In the child: sets everything up, and becomes the main process or its init.
fn become_child(
    spec: &Spec,
    entrances: &Entrances,
    channels: Channels,
    namespaces: Option<Namespaces>,
    mut stdio: Stdio,
) -> ! {
    let has_init = channels.status.is_some();
    if has_init {
        // SAFETY: plain system calls.
        unsafe {
            libc::setsid();
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        }
        init::become_init();
    }
    if let Some(report) = channels.report {
        let handed = channels.terminal.as_ref().map(|(_, theirs)| theirs);
        let made = match has_ended(&channels.supervisor) {
            true => Err("the supervisor has ended".to_owned()),
            false => setup::set_up(spec, entrances, namespaces, handed),
        };
        match made {
            Ok(None) => {}
            Ok(Some(terminal)) => stdio = terminal,
            Err(text) => {
                report.failed(&text);
                // SAFETY: ends without running anything of the parent's.
                unsafe { libc::_exit(1) };
            }
        }
    }
    let Some((_, status)) = channels.status else {
        main_process::execute(spec, &stdio, &channels.supervisor)
    };
    let Ok(own) = open_self() else {
        // SAFETY: ends without running anything of the parent's.
        unsafe { libc::_exit(1) };
    };
    // SAFETY: this process has one thread, so the child may use the whole library.
    match unsafe { libc::fork() } {
        0 => main_process::execute(spec, &stdio, &own),
        // SAFETY: ends without running anything of the parent's.
        -1 => unsafe { libc::_exit(1) },
        main => {
            let is_first =
                spec.container.as_ref().is_some_and(|c| c.namespaces & libc::CLONE_NEWPID != 0);
            init::run(main, &status, is_first)
        }
    }
}

/// This process, for its children: readable when it has ended.
fn open_self() -> Result<OwnedFd, String> {
    // SAFETY: system calls without pointers; the descriptor is nobody else's.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0);
        if fd < 0 {
            return Err(format!("cannot open this process: {}", io::Error::last_os_error()));
        }
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Whether a process has ended.
pub(crate) fn has_ended(process: &OwnedFd) -> bool {
    let mut polled = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    unsafe { libc::poll(&raw mut polled, 1, 0) != 0 }
}
