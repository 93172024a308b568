//! The little of the kernel's netlink (rtnetlink(7)) that is needed of interfaces: what is at the other end of one, and how
//! fast it sends.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

const GET_LINK: u16 = 18;
const NEW_QDISC: u16 = 36;
const DELETE_QDISC: u16 = 37;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;
/// Attributes of an interface: index of the one that it is made of, or that is at its other end.
const IFLA_LINK: u16 = 5;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TBF_PARAMETERS: u16 = 1;
const TBF_RATE64: u16 = 4;
const TBF_BURST: u16 = 6;
/// The root of an interface's queues.
const ROOT: u32 = 0xFFFF_FFFF;
/// Lengths are those of Ethernet: no table of times is needed.
const ETHERNET: u8 = 1;

/// A socket, in the network of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

/// How fast something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second.
    pub bytes: u64,
    /// Bytes that are sent at once after a pause.
    pub burst: u64,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: a system call without pointers; the descriptor it gives is nobody else's.
        unsafe {
            match libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Self(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    /// Index of what is at the other end of an interface, in the network there; None if it has no other end.
    pub(super) fn other_end(&self, index: u32) -> io::Result<Option<u32>> {
        let answer = self.ask(GET_LINK, 0, &interface(index))?;
        let attributes = answer.get(16..).unwrap_or_default();
        let link = attribute(attributes, IFLA_LINK).and_then(|link| link.first_chunk().copied());
        Ok(link.map(u32::from_le_bytes))
    }

    /// Has an interface send no faster than that, in place of what held before.
    pub(super) fn limit(&self, index: u32, rate: Rate) -> io::Result<()> {
        let short = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        // What does not go out at once waits for up to a fifth of a second, then it is dropped.
        let queue = short((rate.bytes / 5).max(2 * rate.burst));
        let mut parameters = Vec::new();
        // Two rates, of which the second one is not used: cell, link layer, overhead, alignment, shortest, rate.
        parameters.extend([0, ETHERNET, 0, 0, 0, 0, 0, 0]);
        parameters.extend(short(rate.bytes).to_le_bytes());
        parameters.extend([0; 12]);
        for number in [queue, 0, 0] {
            parameters.extend(number.to_le_bytes());
        }
        let mut options = Vec::new();
        put(&mut options, TBF_PARAMETERS, &parameters);
        if rate.bytes > u64::from(u32::MAX) {
            put(&mut options, TBF_RATE64, &rate.bytes.to_le_bytes());
        }
        put(&mut options, TBF_BURST, &short(rate.burst).to_le_bytes());
        let mut body = queues(index);
        put(&mut body, TCA_KIND, b"tbf\0");
        put(&mut body, TCA_OPTIONS, &options);
        self.ask(NEW_QDISC, CREATE | REPLACE | ACK, &body).map(drop)
    }

    /// Takes such a limit away; no error if there is none.
    pub(super) fn unlimit(&self, index: u32) -> io::Result<()> {
        match self.ask(DELETE_QDISC, ACK, &queues(index)) {
            Err(e) if e.raw_os_error() != Some(libc::ENOENT) => Err(e),
            _ => Ok(()),
        }
    }

    /// Sends a request; the body of the answer.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
        let mut message = length.to_le_bytes().to_vec();
        message.extend(kind.to_le_bytes());
        message.extend((REQUEST | flags).to_le_bytes());
        message.extend([0; 8]);
        message.extend_from_slice(body);
        let mut answer = vec![0_u8; 32 << 10];
        let fd = self.0.as_raw_fd();
        // SAFETY: both buffers live through the calls, and their lengths are given.
        let received = unsafe {
            if libc::send(fd, message.as_ptr().cast(), message.len(), 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            libc::recv(fd, answer.as_mut_ptr().cast(), answer.len(), 0)
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        answer.truncate(received);
        let malformed = || io::Error::other("the kernel's answer is too short");
        let code = answer.get(4..6).ok_or_else(malformed)?;
        let body = answer.get(16..).ok_or_else(malformed)?.to_vec();
        if code != ERROR.to_le_bytes() {
            return Ok(body);
        }
        match body.first_chunk().copied().map(i32::from_le_bytes).ok_or_else(malformed)? {
            0 => Ok(body),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    }
}

/// Index of an interface in the network of this thread.
pub(super) fn index(name: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: the name is terminated.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// What a request about an interface begins with.
fn interface(index: u32) -> [u8; 16] {
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_le_bytes());
    body
}

/// What a request about the queues of an interface begins with: the kind of address, which does not matter, the
/// interface, the handle, the parent.
fn queues(index: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for number in [index, 0, ROOT, 0] {
        body.extend(number.to_le_bytes());
    }
    body
}

/// Adds an attribute, which begins at a multiple of four bytes.
fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend(length.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The value of an attribute.
pub(super) fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some(([l0, l1, k0, k1], value)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*l0, *l1]));
        if length < 4 {
            return None;
        }
        if u16::from_le_bytes([*k0, *k1]) == wanted {
            return value.get(..length - 4);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}
