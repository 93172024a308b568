//! Network namespaces that have a name: files on which they are mounted, so that they are there before the container's
//! first process and after its last.
//!
//! They are mounted in a directory that is a shared mount: a mount namespace that is copied from the host's would hold
//! what was mounted at that time for as long as it lives, unless it is told of what is unmounted.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// What statfs(2) says of a file of a namespace.
const NSFS: libc::c_long = 0x6e73_6673;

/// Makes a namespace with nothing but the loopback interface, which is up, and mounts it on a new file.
pub(super) fn make(path: &Path) -> io::Result<()> {
    File::create(path)?;
    let path = path.to_owned();
    // The namespace of this thread must not become that of what it does later.
    let made = std::thread::Builder::new().name("network".to_owned()).spawn(move || {
        // SAFETY: a plain system call, about this thread alone.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        raise_loopback()?;
        mount(Some(Path::new("/proc/thread-self/ns/net")), &path, libc::MS_BIND)
    })?;
    made.join().map_err(|_| io::Error::other("the thread that makes it failed"))?
}

/// Does something in a namespace, on a thread of its own.
pub(super) fn inside<T: Send + 'static>(
    path: &Path,
    what: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let namespace = File::open(path)?;
    let done = std::thread::Builder::new().name("network".to_owned()).spawn(move || {
        // SAFETY: the descriptor is open; only this thread changes its network.
        if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        what()
    })?;
    done.join().map_err(|_| io::Error::other("the thread inside failed"))?
}

/// Whether a namespace is mounted there.
pub(super) fn is_mounted(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path is terminated, and the structure lives through the call.
    unsafe {
        let mut answer: libc::statfs = std::mem::zeroed();
        libc::statfs(path.as_ptr(), &raw mut answer) == 0 && answer.f_type == NSFS
    }
}

/// Unmounts a namespace, if one is there, and removes the file; idempotent.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if is_mounted(path) {
        unmount(path)?;
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Makes a directory a shared mount of its own; idempotent.
pub(super) fn share(directory: &Path) -> io::Result<()> {
    if shared(directory)? {
        return Ok(());
    }
    mount(Some(directory), directory, libc::MS_BIND)?;
    // First alone: what is mounted there is nobody's business but that of copies of it.
    mount(None, directory, libc::MS_PRIVATE).and_then(|()| mount(None, directory, libc::MS_SHARED))
}

/// Undoes that; idempotent.
pub(super) fn unshare(directory: &Path) -> io::Result<()> {
    if shared(directory)? { unmount(directory) } else { Ok(()) }
}

fn shared(directory: &Path) -> io::Result<bool> {
    let directory = directory.canonicalize()?;
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let is_it = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let at = fields.get(4).map(|path| path.replace("\\040", " "));
        at.as_deref() == directory.to_str() && fields.iter().any(|f| f.starts_with("shared:"))
    };
    Ok(table.lines().any(is_it))
}

fn mount(source: Option<&Path>, target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes());
    let source = source.map(text).transpose()?;
    let target = text(target)?;
    let source = source.as_ref().map_or(std::ptr::null(), |source| source.as_ptr());
    let none = std::ptr::null();
    // SAFETY: the paths are terminated; the kernel wants nothing else for these flags.
    match unsafe { libc::mount(source, target.as_ptr(), none, flags, none.cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn unmount(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is terminated.
    match unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// In this thread's namespace.
fn raise_loopback() -> io::Result<()> {
    let (family, kind) = (libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC);
    // SAFETY: the request names the interface, terminated, and lives through the calls; the socket is closed.
    unsafe {
        let socket = libc::socket(family, kind, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let status = libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw mut request);
        let error = io::Error::last_os_error();
        libc::close(socket);
        if status == 0 { Ok(()) } else { Err(error) }
    }
}
