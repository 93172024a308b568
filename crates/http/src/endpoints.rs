//! What a daemon answers, as its `/help` and the reference show it.

use std::fmt::Write as _;

/// A path that is answered.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The path.
    pub path: &'static str,
    /// Its methods; empty: any.
    pub methods: &'static str,
    /// Whether Mesos has it too.
    pub mesos: bool,
    /// What it tells or does, in one sentence.
    pub what: &'static str,
}

/// One that Mesos has too.
#[must_use]
pub const fn endpoint(path: &'static str, methods: &'static str, what: &'static str) -> Endpoint {
    Endpoint { path, methods, mesos: true, what }
}

/// One that Mesos does not have.
#[must_use]
pub const fn own(path: &'static str, methods: &'static str, what: &'static str) -> Endpoint {
    Endpoint { path, methods, mesos: false, what }
}

/// What masters and agents answer alike.
pub const COMMON: &[Endpoint] = &[
    endpoint("/version", "", "what was built, and when"),
    endpoint("/metrics/snapshot", "", "metrics by Mesos' names; timeout"),
    own("/metrics", "", "metrics for Prometheus"),
    endpoint(
        "/logging/toggle",
        "",
        "the level of the log; with level and duration another one for a while",
    ),
    endpoint("/files/browse", "", "the files of a directory: path"),
    endpoint("/files/read", "", "a piece of a file: path, offset, length"),
    endpoint("/files/download", "", "a file: path"),
    endpoint("/files/debug", "", "which virtual paths there are"),
    endpoint("/system/stats.json", "", "load and memory of this host"),
    endpoint("/help", "", "this list"),
];

/// A text that tells of all.
#[must_use]
pub fn help(endpoints: &[&[Endpoint]]) -> String {
    let mut out = String::new();
    for Endpoint { path, methods, what, .. } in endpoints.iter().copied().flatten() {
        let methods = if methods.is_empty() { "GET" } else { methods };
        let _ = writeln!(out, "{methods:<10} {path}\n           {what}");
    }
    out
}
