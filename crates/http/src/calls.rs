//! How many requests there were for what, how they were answered, and how long that took.

use crate::prometheus::{Exposition, Kind};
use base::Histogram;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Endpoints and calls that are told apart; all others count as one.
const KINDS_MAX: usize = 200;
/// What nothing is found at.
const UNKNOWN: &str = "(unknown)";
const OTHERS: &str = "(others)";
/// Paths whose second part is a name of ours as well.
const GROUPS: [&str; 6] = ["api", "files", "machine", "maintenance", "metrics", "logging"];

tokio::task_local! {
    static CALL: Cell<&'static str>;
}

/// Names the call that the request being answered turned out to be, such as `ACCEPT`.
pub fn name(call: &'static str) {
    let _ = CALL.try_with(|cell| cell.set(call));
}

/// Answers a request; says what [`name`] was told meanwhile, or nothing.
pub(crate) async fn named<T>(answer: impl Future<Output = T>) -> (T, &'static str) {
    CALL.scope(Cell::new(""), async {
        let answer = answer.await;
        (answer, CALL.with(Cell::get))
    })
    .await
}

/// Counts of all requests to a server.
#[derive(Debug, Default)]
pub struct Calls(Mutex<BTreeMap<(String, &'static str), Seen>>);

#[derive(Debug, Default)]
struct Seen {
    times: Histogram,
    statuses: BTreeMap<u16, u64>,
}

impl Calls {
    /// Counts one; `time` is that until the head of the answer.
    pub fn record(&self, path: &str, call: &'static str, status: u16, time: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (endpoint(path), call);
        if !all.contains_key(&key) {
            if status == 404 {
                key = (UNKNOWN.to_owned(), "");
            } else if all.len() >= KINDS_MAX {
                key = (OTHERS.to_owned(), "");
            }
        }
        let seen = all.entry(key).or_default();
        seen.times.record(time);
        *seen.statuses.entry(status).or_default() += 1;
    }

    /// Adds them to what Prometheus is told.
    pub fn add_to(&self, out: &mut Exposition) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((endpoint, call), seen) in &*all {
            let labels = vec![("call", (*call).to_owned()), ("endpoint", endpoint.clone())];
            let help = "Time until the head of the answer to a request, by endpoint and call.";
            out.add_histogram("http/request_duration", help, labels.clone(), &seen.times);
            for (status, count) in &seen.statuses {
                let mut labels = labels.clone();
                labels.push(("status", status.to_string()));
                let help = "Requests, by endpoint, call and status of the answer.";
                #[expect(clippy::cast_precision_loss, reason = "what Prometheus counts with")]
                out.add("http/requests", Kind::Counter, help, labels, *count as f64);
            }
        }
    }
}

/// A path without what is chosen by who asks.
fn endpoint(path: &str) -> String {
    let ours = ["/master", "/slave(1)", "/slave%281%29"];
    let rest = ours.iter().find_map(|prefix| path.strip_prefix(prefix));
    let path = rest.filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let mut parts = path.split('/').skip(1);
    let first = parts.next().unwrap_or_default();
    let taken = match first {
        "api" => 2,
        _ if GROUPS.contains(&first) => 1,
        _ => 0,
    };
    let more = parts.take(taken).filter(|part| !part.is_empty());
    std::iter::once(first).chain(more).fold(String::new(), |all, part| all + "/" + part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_choose_is_not_told_apart() {
        for (path, want) in [
            ("/", "/"),
            ("/master/state", "/state"),
            ("/api/v1/scheduler", "/api/v1/scheduler"),
            ("/slave(1)/api/v1", "/api/v1"),
            ("/files/read", "/files/read"),
            ("/quota/some/role", "/quota"),
            ("/metrics", "/metrics"),
            ("/master", "/master"),
        ] {
            assert_eq!(endpoint(path), want, "{path}");
        }
    }

    #[test]
    fn what_is_not_found_is_one_endpoint_and_there_are_not_too_many() {
        let calls = Calls::default();
        let record = |path: &str, status| calls.record(path, "", status, Duration::ZERO);
        record("/state", 200);
        record("/state", 404);
        (0..1000).for_each(|n| record(&format!("/wrong{n}"), 404));
        (0..1000).for_each(|n| record(&format!("/right{n}"), 200));
        let mut all = Exposition::default();
        calls.add_to(&mut all);
        let text = all.text();
        let value = |endpoint: &str, status: u16| {
            let line = format!(
                "mesos_http_requests_total{{call=\"\",endpoint=\"{endpoint}\",status=\"{status}\"}} "
            );
            text.lines().find_map(|l| l.strip_prefix(line.as_str())).map(str::to_owned)
        };
        assert_eq!(value("/state", 404).as_deref(), Some("1"));
        assert_eq!(value("(unknown)", 404).as_deref(), Some("1000"));
        assert!(value("(others)", 200).is_some());
        assert!(calls.0.lock().expect("unlocked").len() <= KINDS_MAX + 2);
    }

    #[tokio::test]
    async fn a_call_names_itself_on_its_way() {
        name("NOBODY");
        let answered = named(async { name("ACCEPT") }).await;
        assert_eq!(answered, ((), "ACCEPT"));
    }
}
