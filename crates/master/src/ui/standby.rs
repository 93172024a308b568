//! What a master that does not lead shows, and who leads, for pages that lost their master.

use super::{address, frame, html};
use crate::shared::{Leader, Shared};
use http::HeaderValue;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use http_api::{Response, respond};
use serde_json::json;
use std::sync::Arc;

/// `/ui/leader`: who leads, and whether it is the one that is asked. Pages of other masters may read it: it says no
/// more than `/redirect`.
pub(super) fn leader(shared: &Arc<Shared>) -> Response {
    let (leader, me) = match &*shared.leader.borrow() {
        Leader::Me => (Some(address(&shared.info)), true),
        Leader::Other(leader) => (Some(address(leader)), false),
        Leader::Nobody => (None, false),
    };
    let body = json!({ "leader": leader, "me": me, "masters": super::masters(shared) });
    let mut response = respond::content("application/json", body.to_string().into_bytes());
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The page while nobody leads.
pub(super) fn nobody(shared: &Arc<Shared>, is_part: bool) -> Response {
    let text = "The masters have not agreed on a leader, or it has not read the registry yet. Tasks run on meanwhile. \
                This page looks again by itself; if it stays so, see the logs of the masters.";
    let page = ui::pages::problem("No master leads", text, true);
    html(503, &page, &frame(shared, None), is_part)
}
