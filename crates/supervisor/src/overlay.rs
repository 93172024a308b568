//! Directories put together by overlayfs.

use crate::container::Layers;
use crate::{mount, namespaces, steps};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

/// Most layers whose names are sure to fit an option of fsconfig(2), which has room for 255 characters.
const FEW: usize = 60;

/// A mount of layers, attached nowhere. Devices in it are without effect. To be called where the layers are mounted.
pub(crate) fn make(layers: &Layers) -> io::Result<OwnedFd> {
    if layers.lower.len() > FEW {
        return aside(layers);
    }
    of_layers(layers, |options| mount::new(c"overlay", options, mount::NO_DEV))
}

/// Has layers mounted. What the container writes goes with it: the disk need not have it at the end. Kernels before 5.10
/// can't be told.
fn of_layers<T>(layers: &Layers, mount: impl Fn(&CStr) -> io::Result<T>) -> io::Result<T> {
    let lower =
        layers.lower.iter().map(|path| steps::open(path)).collect::<io::Result<Vec<_>>>()?;
    let (upper, work) = (steps::open(&layers.upper)?, steps::open(&layers.work)?);
    // Descriptors by their numbers are short, whatever the paths are, and nothing in them is special.
    let number = |fd: &OwnedFd| fd.as_raw_fd().to_string();
    let lower: Vec<String> = lower.iter().map(number).collect();
    let (lower, upper, work) = (lower.join(":"), number(&upper), number(&work));
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let with = |more: &str| mount(&CString::new(format!("{options}{more}"))?);
    go_to(c"/proc/self/fd")?;
    let made = with(",volatile").or_else(|_| with(""));
    go_to(c"/")?;
    made
}

/// Mounts layers of which there are many, by the older call, which only can mount somewhere: in a mount namespace that
/// is left again.
fn aside(layers: &Layers) -> io::Result<OwnedFd> {
    let here = File::open("/proc/self/ns/mnt")?;
    // SAFETY: a plain system call.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let none = std::ptr::null();
    // SAFETY: the path is terminated; the kernel wants nothing else for a change of propagation.
    let kept = done(unsafe {
        libc::mount(none, c"/".as_ptr(), none, libc::MS_PRIVATE | libc::MS_REC, none.cast())
    });
    let made = kept.and_then(|()| {
        of_layers(layers, |options| {
            let (kind, at) = (c"overlay".as_ptr(), layers.upper.as_ptr());
            // SAFETY: all strings are terminated.
            done(unsafe { libc::mount(kind, at, kind, libc::MS_NODEV, options.as_ptr().cast()) })
        })
    });
    let made = made.and_then(|()| mount::clone(steps::open(&layers.upper)?.as_fd(), false));
    namespaces::enter(&here, libc::CLONE_NEWNS)?;
    made
}

fn go_to(directory: &CStr) -> io::Result<()> {
    // SAFETY: the path is terminated.
    done(unsafe { libc::chdir(directory.as_ptr()) })
}

fn done(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
