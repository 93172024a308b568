//! How long the other ends of a container's TCP connections take to answer, as the kernel knows it (sock_diag(7)).

use super::namespace;
use super::netlink::attribute;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

const SOCKETS: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// A request for all that there are.
const ALL: u16 = 0x301;
/// Attribute with what is known of a TCP connection, and the bit that asks for it.
const INFO: u16 = 2;
const ASK_INFO: u8 = 1 << (INFO - 1);
/// Length of what is told of a socket before its attributes.
const SOCKET: usize = 72;
/// Where in the attribute the time is, microseconds.
const TIME: usize = 68;
/// Most answers that are read; there are some hundred sockets in each.
const ANSWERS_MAX: usize = 10_000;

/// Times of all connections in a network namespace, microseconds, the shortest first.
pub(super) fn of(namespace: &Path) -> io::Result<Vec<u32>> {
    namespace::inside(namespace, || {
        let mut times = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            read(family, &mut times)?;
        }
        times.sort_unstable();
        Ok(times)
    })
}

/// The time below which so many percent are; None: there are none.
pub(super) fn at(times: &[u32], percent: usize) -> Option<f64> {
    times.get(times.len() * percent / 100).copied().map(f64::from)
}

fn read(family: i32, times: &mut Vec<u32>) -> io::Result<()> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: a system call without pointers; the descriptor it gives is nobody else's.
    let socket = unsafe {
        match libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) {
            -1 => return Err(io::Error::last_os_error()),
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    let mut message = 72_u32.to_le_bytes().to_vec();
    message.extend(SOCKETS.to_le_bytes());
    message.extend(ALL.to_le_bytes());
    message.extend([0; 8]);
    let protocol = libc::IPPROTO_TCP as u8;
    message.extend([family as u8, protocol, ASK_INFO, 0]);
    // In whatever state, and whatever address.
    message.extend(u32::MAX.to_le_bytes());
    message.extend([0; 48]);
    let fd = socket.as_raw_fd();
    // SAFETY: the buffer lives through the call, and its length is given.
    if unsafe { libc::send(fd, message.as_ptr().cast(), message.len(), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = vec![0_u8; 32 << 10];
    for _ in 0..ANSWERS_MAX {
        // SAFETY: as above.
        let received = unsafe { libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0) };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        if !take(&answer[..received], times)? {
            break;
        }
    }
    Ok(())
}

/// Takes the times out of an answer; false if it was the last one.
fn take(mut answer: &[u8], times: &mut Vec<u32>) -> io::Result<bool> {
    while let Some(([l0, l1, l2, l3, k0, k1], rest)) = answer.split_first_chunk() {
        let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        let body = rest.get(10..length.saturating_sub(6)).unwrap_or_default();
        match u16::from_le_bytes([*k0, *k1]) {
            DONE => return Ok(false),
            ERROR => {
                let code = body.first_chunk().copied().map_or(0, i32::from_le_bytes);
                return Err(io::Error::from_raw_os_error(-code));
            }
            _ => {}
        }
        let info = body.get(SOCKET..).and_then(|attributes| attribute(attributes, INFO));
        let time = info.and_then(|info| info.get(TIME..)?.first_chunk().copied());
        times.extend(time.map(u32::from_le_bytes).filter(|time| *time > 0));
        if length < 16 {
            return Err(io::Error::other("the kernel's answer is too short"));
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_of_this_process_have_times() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let here = TcpStream::connect(listener.local_addr().expect("an address"));
        let mut here = here.expect("a connection");
        let (mut there, _) = listener.accept().expect("a connection");
        // It takes an answer to know the time.
        for stream in [&mut here, &mut there] {
            std::io::Write::write_all(stream, b"x").expect("written");
        }
        std::io::Read::read_exact(&mut there, &mut [0]).expect("read");
        let mut times = Vec::new();
        read(libc::AF_INET, &mut times).expect("times");
        assert!(!times.is_empty());
    }

    #[test]
    fn percentiles() {
        let times: Vec<u32> = (1..=10).collect();
        let all = [50, 90, 95, 99].map(|percent| at(&times, percent));
        assert_eq!(all, [Some(6.0), Some(10.0), Some(10.0), Some(10.0)]);
        assert_eq!(at(&[], 50), None);
    }
}
