//! Detaching from the agent, and forking the main process.

use crate::setup::{self, Report};
use crate::spec::Spec;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

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

/// Forks the main process; its process id.
///
/// A command that can't be executed counts as started: it says why on its standard error and ends with status 1, as
/// the peer's launcher does.
pub(crate) fn start(spec: &Spec) -> Result<libc::pid_t, String> {
    let user = &spec.user;
    let open = |name: &str| {
        let path =
            std::path::Path::new(std::str::from_utf8(spec.directory.to_bytes()).unwrap_or("/"))
                .join(name);
        let file = std::fs::File::options().create(true).append(true).open(&path);
        let file = file.map_err(|e| format!("cannot open {}: {e}", path.display()))?;
        if let Some(user) = user {
            let _ = std::os::unix::fs::fchown(&file, Some(user.uid), Some(user.gid));
        }
        Ok::<_, String>(file)
    };
    let (stdout, stderr) = (open("stdout")?, open("stderr")?);
    let null =
        std::fs::File::open("/dev/null").map_err(|e| format!("cannot open /dev/null: {e}"))?;
    let report = setup::is_needed(spec).then(Report::new).transpose()?;
    // SAFETY: a plain system call.
    let supervisor = unsafe { libc::getpid() };
    // SAFETY: this process has one thread, so the child may use the whole library.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(format!("cannot fork: {}", io::Error::last_os_error()));
    }
    if pid > 0 {
        return match report.map_or(Ok(()), Report::outcome) {
            Ok(()) => Ok(pid),
            Err(text) => {
                // SAFETY: a plain system call; it waits for the child, which ends now.
                unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
                Err(text)
            }
        };
    }
    if let Some(report) = report
        && let Err(text) = setup::set_up(spec)
    {
        report.failed(&text);
        // SAFETY: ends without running anything of the parent's.
        unsafe { libc::_exit(1) };
    }
    let error =
        become_main(spec, supervisor, [null.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()]);
    let text = format!("Failed to execute '{}': {error}\n", spec.program.to_string_lossy());
    // SAFETY: writes bytes of a live buffer, then ends without running anything of the parent's.
    unsafe {
        libc::write(2, text.as_ptr().cast(), text.len());
        libc::_exit(1);
    }
}

/// In the child: turns it into the main process. Returns only on failure.
fn become_main(spec: &Spec, supervisor: libc::pid_t, stdio: [i32; 3]) -> io::Error {
    // SAFETY: descriptors are open, strings are terminated, the set is initialised before use.
    unsafe {
        libc::setsid();
        for (target, source) in stdio.into_iter().enumerate() {
            libc::dup2(source, target as i32);
        }
        libc::close_range(3, libc::c_uint::MAX, 0);
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
        if libc::chdir(spec.working_directory.as_ptr()) != 0 {
            return io::Error::last_os_error();
        }
        if let Some(user) = &spec.user
            && (libc::setgroups(user.groups.len(), user.groups.as_ptr()) != 0
                || libc::setgid(user.gid) != 0
                || libc::setuid(user.uid) != 0)
        {
            return io::Error::last_os_error();
        }
        // It does not outlive its supervisor. Asked for here, since a change of the user takes it back.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != supervisor {
            return io::Error::from_raw_os_error(libc::ESRCH);
        }
    }
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
    error
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
