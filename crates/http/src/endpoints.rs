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

/// A text that tells of all.
#[must_use]
pub fn help(endpoints: &[Endpoint]) -> String {
    let mut out = String::new();
    for Endpoint { path, methods, what, .. } in endpoints {
        let methods = if methods.is_empty() { "GET" } else { methods };
        let _ = writeln!(out, "{methods:<10} {path}\n           {what}");
    }
    out
}
