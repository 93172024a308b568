//! Connections from inside a container's network.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::Arc;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// From where connections are made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network(Option<Arc<File>>);

impl Network {
    /// The network of a process, if it is another one than that of this process.
    pub(crate) fn of(pid: u32) -> Self {
        let own = std::fs::read_link("/proc/self/ns/net");
        let path = format!("/proc/{pid}/ns/net");
        match (own, std::fs::read_link(&path)) {
            (Ok(own), Ok(theirs)) if own != theirs => Self(File::open(path).ok().map(Arc::new)),
            _ => Self::default(),
        }
    }

    /// Connects to the first address of a host that answers.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let Some(namespace) = &self.0 else { return TcpStream::connect((host, port)).await };
        let mut error = io::Error::from(io::ErrorKind::NotFound);
        for address in lookup_host((host, port)).await? {
            let connected = async {
                let socket = socket_inside(namespace.clone(), address).await?;
                TcpSocket::from_std_stream(socket.into()).connect(address).await
            };
            match connected.await {
                Ok(stream) => return Ok(stream),
                Err(e) => error = e,
            }
        }
        Err(error)
    }
}

/// A socket belongs to the network in which it was made. It is made by a thread of its own, which goes there and ends.
async fn socket_inside(namespace: Arc<File>, address: SocketAddr) -> io::Result<OwnedFd> {
    let (sender, made) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("network".to_owned())
        .spawn(move || drop(sender.send(make(&namespace, address))))?;
    made.await.map_err(io::Error::other)?
}

fn make(namespace: &File, address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the descriptor is open; only this thread changes its network; the new descriptor is nobody else's.
    unsafe {
        if libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::socket(family, kind, 0) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
