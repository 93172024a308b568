//! The main process, from the fork to its execution.

use crate::child;
use crate::privileges;
use crate::spec::{Spec, Streams, User};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// What it has as its first three descriptors.
#[derive(Debug)]
pub(crate) struct Stdio {
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) errors: OwnedFd,
}

impl Stdio {
    /// Opens what somebody else has the other ends of, for a user.
    pub(crate) fn open(streams: &Streams, user: Option<&User>) -> Result<Self, String> {
        let [input, output, errors] = &streams.paths;
        let (read, write) = match streams.is_terminal {
            true => (libc::O_RDWR, libc::O_RDWR),
            false => (libc::O_RDONLY, libc::O_WRONLY),
        };
        Ok(Self {
            input: open_stream(input, read, user)?,
            output: open_stream(output, write, user)?,
            errors: open_stream(errors, write, user)?,
        })
    }

    /// A terminal is all three.
    pub(crate) fn of_terminal(terminal: OwnedFd) -> io::Result<Self> {
        Ok(Self { input: terminal.try_clone()?, output: terminal.try_clone()?, errors: terminal })
    }
}

/// Does not wait for the other end, which is there or never will be.
fn open_stream(path: &CStr, way: i32, user: Option<&User>) -> Result<OwnedFd, String> {
    let flags = way | libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: the path is terminated; the descriptor is nobody else's; programs do not expect it not to block.
    unsafe {
        let fd = libc::open(path.as_ptr(), flags);
        if fd < 0 {
            let error = io::Error::last_os_error();
            return Err(format!("cannot open {}: {error}", path.to_string_lossy()));
        }
        libc::fcntl(fd, libc::F_SETFL, 0);
        if let Some(user) = user {
            libc::fchown(fd, user.uid, libc::gid_t::MAX);
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Turns the process into the main process, a child of `parent`, or says on its standard error why it can't.
pub(crate) fn execute(spec: &Spec, stdio: &Stdio, parent: &OwnedFd) -> ! {
    let terminal = spec.container.as_ref().is_some_and(|c| c.terminal.is_some())
        || spec.streams.as_ref().is_some_and(|streams| streams.is_terminal);
    let error = become_main(spec, stdio, terminal, parent);
    let text = format!("Failed to execute '{}': {error}\n", spec.program.to_string_lossy());
    // SAFETY: writes bytes of a live buffer, then ends without running anything of the parent's.
    unsafe {
        libc::write(2, text.as_ptr().cast(), text.len());
        libc::_exit(1);
    }
}

/// Returns only on failure.
fn become_main(spec: &Spec, stdio: &Stdio, terminal: bool, parent: &OwnedFd) -> String {
    let last = || io::Error::last_os_error().to_string();
    // SAFETY: descriptors are open, strings are terminated, the set is initialised before use.
    unsafe {
        libc::setsid();
        for (target, source) in [&stdio.input, &stdio.output, &stdio.errors].into_iter().enumerate()
        {
            libc::dup2(source.as_raw_fd(), target as i32);
        }
        if terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) != 0 {
            return format!("cannot take the terminal: {}", last());
        }
        for signal in [libc::SIGPIPE, libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        let mut files: libc::rlimit = std::mem::zeroed();
        if spec.open_files > 0 && libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files) == 0 {
            files.rlim_cur = files.rlim_max.min(spec.open_files);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
        }
    }
    let container = spec.container.as_ref();
    let directory = &spec.working_directory;
    // SAFETY: the path is terminated.
    if unsafe { libc::chdir(directory.as_ptr()) } != 0 {
        return format!("cannot change to {}: {}", directory.to_string_lossy(), last());
    }
    let own = Default::default();
    let privileges = container.map_or(&own, |c| &c.privileges);
    let user = spec.user.as_ref();
    if let Err(text) =
        privileges::limit(privileges).and_then(|()| privileges::take_on(privileges, user))
    {
        return text;
    }
    // It does not outlive its parent. Asked for here, since a change of the user takes it back.
    // SAFETY: a system call without pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if child::has_ended(parent) {
        return io::Error::from_raw_os_error(libc::ESRCH).to_string();
    }
    // SAFETY: nothing uses the descriptors that are closed.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    let pointers = |list: &[CString]| {
        let mut out: Vec<*const libc::c_char> = list.iter().map(|text| text.as_ptr()).collect();
        out.push(std::ptr::null());
        out
    };
    let (arguments, environment) = (pointers(&spec.arguments), pointers(&spec.environment));
    let mut error = io::Error::from_raw_os_error(libc::ENOENT);
    for path in candidates(spec) {
        // SAFETY: both lists end with null and point into strings that live in `spec`.
        unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        let failed = io::Error::last_os_error();
        if failed.raw_os_error() != Some(libc::ENOENT) {
            error = failed;
        }
    }
    error.to_string()
}

/// Paths to try: the program itself if it has a slash, else in each directory of PATH.
fn candidates(spec: &Spec) -> Vec<CString> {
    if spec.program.to_bytes().contains(&b'/') {
        return vec![spec.program.clone()];
    }
    let path = spec
        .environment
        .iter()
        .find_map(|e| e.to_bytes().strip_prefix(b"PATH="))
        .unwrap_or(b"/usr/bin:/bin");
    let join =
        |directory: &[u8]| CString::new([directory, b"/", spec.program.to_bytes()].concat()).ok();
    path.split(|b| *b == b':').filter(|d| !d.is_empty()).filter_map(join).collect()
}
