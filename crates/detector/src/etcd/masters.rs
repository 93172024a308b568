//! Masters as they stand in etcd: a key `<path>/masters/<lease>` for each of them, which is bound to that lease and
//! holds its MasterInfo in JSON. The oldest key leads, as in etcd's own elections.

use super::client::{Client, Error, decoded, encoded, end_of, number};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use wire::v1;

/// Time after which it is looked again where no server tells of changes.
const UNTOLD: Duration = Duration::from_secs(1);

/// A master that may lead.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its lease.
    pub lease: i64,
    /// Revision at which its key was made: the lowest one leads.
    pub revision: i64,
    /// Who it is; the text says why that is not understood.
    pub info: Result<v1::MasterInfo, String>,
}

/// All masters, the leader first.
#[derive(Debug, Clone, PartialEq)]
pub struct Masters {
    /// They were these at this revision.
    pub revision: i64,
    /// In the order in which they came.
    pub all: Vec<Candidate>,
}

/// Where the masters of a directory are.
fn directory(client: &Client) -> String {
    format!("{}/masters/", client.path())
}

/// Key of the master that has this lease.
#[must_use]
pub fn key_of(client: &Client, lease: i64) -> String {
    format!("{}{lease:016x}", directory(client))
}

/// Looks who there is.
///
/// # Errors
/// When no server answers in time, or it is not let in.
pub async fn masters(client: &Client, max: Duration) -> Result<Masters, Error> {
    let directory = directory(client);
    let range = json!({
        "key": encoded(&directory), "range_end": encoded(end_of(&directory)),
        "sort_target": "CREATE", "sort_order": "ASCEND",
    });
    let answer = client.call("kv/range", &range, max).await?;
    let entries = answer["kvs"].as_array().map_or(&[][..], Vec::as_slice);
    let all = entries.iter().filter_map(|entry| candidate(client, entry)).collect();
    Ok(Masters { revision: number(&answer["header"]["revision"]), all })
}

/// Nobody can lead by a key that is not bound to the lease it names: it is passed over.
fn candidate(client: &Client, entry: &Value) -> Option<Candidate> {
    let (key, lease) = (decoded(&entry["key"]), number(&entry["lease"]));
    if lease == 0 || key != key_of(client, lease).as_bytes() {
        let key = String::from_utf8_lossy(&key).into_owned();
        tracing::warn!(key, "this key is no master's; remove it");
        return None;
    }
    let info = wire::json::from_slice(&decoded(&entry["value"]));
    Some(Candidate {
        lease,
        revision: number(&entry["create_revision"]),
        info: info
            .map_err(|e| format!("the value of {} is not understood: {e}", key_of(client, lease))),
    })
}

/// Waits for a change of masters after a revision, or until nothing can be said of changes any more.
pub async fn changed(client: &Client, revision: i64) {
    let directory = directory(client);
    let create = json!({"create_request": {
        "key": encoded(&directory), "range_end": encoded(end_of(&directory)),
        "start_revision": (revision + 1).to_string(),
    }});
    let Ok(mut body) = client.open("watch", &create).await else {
        return tokio::time::sleep(UNTOLD).await;
    };
    let mut line = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        for part in frame.into_data().unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if !line.ends_with(b"\n") {
                continue;
            }
            let told: Value = serde_json::from_slice(&line).unwrap_or_default();
            line.clear();
            let goes_on = told["result"].is_object()
                && told["result"]["events"].is_null()
                && told["result"]["canceled"].is_null();
            if !goes_on {
                return;
            }
        }
    }
}
