//! A socket that breaks when its peer takes nothing for too long, so that what waits for it is given up.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// See the module.
#[derive(Debug)]
pub(crate) struct Stall<S> {
    socket: S,
    limit: Duration,
    /// Runs while a write waits.
    timer: Pin<Box<Sleep>>,
    waits: bool,
}

impl<S> Stall<S> {
    pub(crate) fn new(socket: S, limit: Duration) -> Self {
        Self { socket, limit, timer: Box::pin(tokio::time::sleep(limit)), waits: false }
    }

    /// What a write that could not be done means.
    fn stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if !self.waits {
            self.waits = true;
            let end = Instant::now() + self.limit;
            self.timer.as_mut().reset(end);
        }
        ready!(self.timer.as_mut().poll(cx));
        let text = format!("the peer took nothing for {} seconds", self.limit.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write(cx, bytes) {
            Poll::Ready(done) => {
                self.waits = false;
                Poll::Ready(done)
            }
            Poll::Pending => self.stalled(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write_vectored(cx, parts) {
            Poll::Ready(done) => {
                self.waits = false;
                Poll::Ready(done)
            }
            Poll::Pending => self.stalled(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_takes_fails_in_time_and_progress_starts_the_time_anew() {
        let (near, mut far) = tokio::io::duplex(10);
        let mut socket = Stall::new(near, Duration::from_secs(60));
        let begun = Instant::now();
        let reader = async {
            let mut some = [0; 10];
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                far.read_exact(&mut some).await.expect("ten bytes");
            }
        };
        let (written, ()) = tokio::join!(socket.write_all(&[0; 100]), reader);
        assert_eq!(written.expect_err("it stalls").kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 150 + 60);
    }
}
