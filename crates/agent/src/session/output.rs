//! ATTACH_CONTAINER_OUTPUT: what comes out of a container from now on.

use super::pieces;
use super::readers::BUFFER;
use containerizer::Terminal;
use http_api::Response;
use http_api::negotiate::Encoding;
use http_api::stream::{SendError, bounded_stream};
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use wire::v1::agent::process_io::data;

/// What comes out of the terminal of a task. Who reads too slowly loses the stream, and the task never waits.
pub(super) fn of_terminal(
    terminal: Terminal,
    encoding: Encoding,
    heartbeat: Duration,
) -> io::Result<Response> {
    let Terminal { input, output } = terminal;
    let mut output = UnixStream::from_std(output)?;
    drop(input);
    let (sender, response, closed) = bounded_stream(encoding, BUFFER);
    tokio::spawn(async move {
        let gone = closed.wait();
        tokio::pin!(gone);
        let mut chunk = vec![0; 16 << 10];
        let mut beat = tokio::time::interval(heartbeat);
        beat.reset();
        loop {
            tokio::select! {
                read = output.read(&mut chunk) => {
                    let Ok(length @ 1..) = read else { return };
                    let piece = pieces::data(data::Type::Stdout, &chunk[..length]);
                    if sender.send(&piece).is_err() {
                        return;
                    }
                }
                _ = beat.tick() => {
                    if sender.send(&pieces::heartbeat(heartbeat)) == Err(SendError::Closed) {
                        return;
                    }
                }
                () = &mut gone => return,
            }
        }
    });
    Ok(response)
}
