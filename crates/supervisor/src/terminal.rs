//! A terminal of a container: one of its own file system for terminals, if it has one. The supervisor keeps the end that
//! is not the container's, and writes what comes out of it to the sandbox.

use crate::log::{Log, Stream};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// The way on which the container's first process hands over its end.
pub(crate) fn channel() -> Result<(OwnedFd, OwnedFd), String> {
    let mut fds = [0; 2];
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for the two descriptors, which nobody else owns.
    unsafe {
        if libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) != 0 {
            return Err(format!("cannot make a socket: {}", io::Error::last_os_error()));
        }
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// In the first process: makes a terminal of so many rows and columns for a user, sends its outer end, and gives the
/// inner one.
pub(crate) fn make(
    (rows, columns): (u16, u16),
    user: Option<libc::uid_t>,
    to: &OwnedFd,
) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let checked = |result: i32| match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    };
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: paths are terminated, structures live through their calls, and each descriptor that is made is owned at
    // once.
    unsafe {
        let outer = libc::open(c"/dev/ptmx".as_ptr(), flags | libc::O_NONBLOCK);
        let outer = OwnedFd::from_raw_fd(checked(outer)?);
        let locked: libc::c_int = 0;
        checked(libc::ioctl(outer.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked))?;
        let inner = checked(libc::ioctl(outer.as_raw_fd(), libc::TIOCGPTPEER, flags))?;
        let inner = OwnedFd::from_raw_fd(inner);
        checked(libc::ioctl(inner.as_raw_fd(), libc::TIOCSWINSZ, &raw const size))?;
        if let Some(user) = user {
            checked(libc::fchown(inner.as_raw_fd(), user, libc::gid_t::MAX))?;
        }
        send(to, outer.as_fd())?;
        Ok(inner)
    }
}

/// Room for one descriptor beside a message.
#[repr(C, align(8))]
struct Beside([u8; 32]);

/// Builds a message of one byte with one descriptor, and has it sent or received.
fn message(beside: &mut Beside, carry: impl FnOnce(&mut libc::msghdr) -> isize) -> io::Result<()> {
    let mut byte = [0_u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all zero is a valid value; every pointer is to what lives through the call.
    let mut head: libc::msghdr = unsafe { std::mem::zeroed() };
    head.msg_iov = &raw mut part;
    head.msg_iovlen = 1;
    head.msg_control = beside.0.as_mut_ptr().cast();
    // SAFETY: computes a size.
    head.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<i32>() as u32) } as _;
    match carry(&mut head) {
        1 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Hands over a descriptor.
pub(crate) fn send(to: &impl AsFd, sent: BorrowedFd<'_>) -> io::Result<()> {
    let to = to.as_fd();
    let mut beside = Beside([0; 32]);
    message(&mut beside, |head| {
        // SAFETY: the header has room for one descriptor, which is open.
        unsafe {
            let entry = libc::CMSG_FIRSTHDR(head);
            (*entry).cmsg_level = libc::SOL_SOCKET;
            (*entry).cmsg_type = libc::SCM_RIGHTS;
            (*entry).cmsg_len = libc::CMSG_LEN(size_of::<i32>() as u32) as _;
            libc::CMSG_DATA(entry).cast::<i32>().write_unaligned(sent.as_raw_fd());
            libc::sendmsg(to.as_raw_fd(), head, 0)
        }
    })
}

/// In the supervisor, when the terminal has been made: what comes out of it.
pub(crate) fn receive(from: BorrowedFd<'_>, log: Log) -> Result<Stream, String> {
    let mut beside = Beside([0; 32]);
    let mut outer = None;
    message(&mut beside, |head| {
        // SAFETY: the header has room for one descriptor, which is nobody else's when it comes.
        unsafe {
            let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
            let length = libc::recvmsg(from.as_raw_fd(), head, flags);
            let entry = libc::CMSG_FIRSTHDR(head);
            if length == 1 && !entry.is_null() && (*entry).cmsg_type == libc::SCM_RIGHTS {
                let fd = libc::CMSG_DATA(entry).cast::<i32>().read_unaligned();
                outer = Some(File::from(OwnedFd::from_raw_fd(fd)));
            }
            length
        }
    })
    .map_err(|e| format!("cannot receive the terminal: {e}"))?;
    let outer = outer.ok_or("the terminal did not come")?;
    Ok(Stream::new(outer, log))
}
