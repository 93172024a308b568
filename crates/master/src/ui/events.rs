//! The stream that tells pages when to look again.

use crate::observers::Observed;
use crate::shared::Shared;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use http_api::stream::byte_stream;
use http_api::{Response, respond};
use std::sync::Arc;
use std::time::Duration;

/// Least time between two changes that are told.
const THROTTLE: Duration = Duration::from_secs(1);
/// Most time between two signs of life.
const BEAT: Duration = Duration::from_secs(5);

/// A stream of server-sent events: `hello` with the version of the UI, `change` when something changed, `beat` when
/// nothing did. A slow reader misses changes, and finds all of them when it looks.
pub(super) fn stream(shared: &Arc<Shared>) -> Response {
    let Ok(place) = shared.ui.viewers.clone().try_acquire_owned() else {
        let text = "Too many pages are open at a time; this one can be loaded again by hand";
        return respond::text(503, text);
    };
    let (sender, mut response, closed) = byte_stream("text/event-stream");
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let shared = shared.clone();
    let mut changes = shared.ui.changes.subscribe();
    let _ = shared.observed.send(Observed::Viewers);
    tokio::spawn(async move {
        let tell = async {
            let hello = format!("retry: 1000\nevent: hello\ndata: {}\n\n", ui::assets::version());
            let mut open = sender.send(hello).await;
            while open {
                let event = match tokio::time::timeout(BEAT, changes.changed()).await {
                    Ok(Ok(())) => "event: change\ndata:\n\n",
                    Ok(Err(_)) => return,
                    Err(_) => "event: beat\ndata:\n\n",
                };
                open = sender.send(event).await;
                tokio::time::sleep(THROTTLE).await;
            }
        };
        tokio::select! {
            () = tell => {}
            () = closed.wait() => {}
        }
        drop((changes, place));
        let _ = shared.observed.send(Observed::Viewers);
    });
    response
}
