//! Bodies of requests: read within bounds of size, time, and memory for all of them together.

use crate::{Request, Response, respond};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long the whole of a body may take.
const WHOLE_TIME: Duration = Duration::from_secs(60);
/// How long a client may send nothing of it.
const PAUSE: Duration = Duration::from_secs(15);
/// So much of a body is always taken: small calls are served whatever others send.
const FREE: usize = 64 << 10;
/// What is held of all other bodies at a time.
const BUDGET: usize = 512 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// A part of the budget.
struct Share(usize);

impl Share {
    /// Has it cover a body of so many bytes; false: there is not so much.
    fn cover(&mut self, length: usize) -> bool {
        let more = length.saturating_sub(FREE).saturating_sub(self.0);
        if HELD.fetch_add(more, Ordering::Relaxed) + more > BUDGET {
            HELD.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.0 += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Reads the body of a request of `limit` bytes at most.
///
/// # Errors
/// The answer that refuses it: 400, 408, 413 or 503.
pub async fn body(request: Request, limit: usize) -> Result<Bytes, Box<Response>> {
    let refuse = |status, text: String| Err(Box::new(respond::text(status, text)));
    let too_large = || refuse(413, format!("The body is larger than {limit} bytes"));
    let mut body = request.into_body();
    if body.size_hint().lower() > limit as u64 {
        return too_large();
    }
    let whole = async {
        let mut bytes = BytesMut::new();
        let mut share = Share(0);
        loop {
            let frame = match tokio::time::timeout(PAUSE, body.frame()).await {
                Err(_) => {
                    let text = format!("Nothing of the body came for {} s", PAUSE.as_secs());
                    return refuse(408, text);
                }
                Ok(None) => return Ok(bytes.freeze()),
                Ok(Some(Err(error))) => {
                    return refuse(400, format!("Failed to read the body: {error}"));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return too_large();
            }
            if !share.cover(bytes.len() + data.len()) {
                let text = "Too many large requests at a time; try again later";
                return refuse(503, text.to_owned());
            }
            bytes.extend_from_slice(&data);
        }
    };
    match tokio::time::timeout(WHOLE_TIME, whole).await {
        Ok(done) => done,
        Err(_) => refuse(408, format!("The body did not come within {} s", WHOLE_TIME.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bodies_need_no_share_and_large_ones_give_theirs_back() {
        let mut large = Share(0);
        assert!(large.cover(BUDGET / 2));
        let mut other = Share(0);
        assert!(!other.cover(BUDGET), "together they are too much");
        assert!(other.cover(FREE), "small ones are always taken");
        drop(large);
        assert!(other.cover(BUDGET));
    }
}
