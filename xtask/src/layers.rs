//! The dependency rules of docs/architecture.md, read from `cargo metadata`.

use crate::run::{Failure, cargo, output};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Which of our crates each crate may use. Every crate may use `base`; `testkit` is for tests only.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "proffer",
        &[
            "master",
            "agent",
            "executor",
            "fetcher",
            "ui",
            "sim",
            "client",
            "http",
            "wire",
            "resources",
            "detector",
            "master-core",
            "agent-core",
            "allocator",
        ],
    ),
    (
        "proffer-master",
        &["master-core", "allocator", "coordination", "http", "ui", "wire", "resources"],
    ),
    ("proffer-agent", &["agent-core", "containerizer", "detector", "http", "wire", "resources"]),
    ("proffer-executor", &["client", "wire"]),
    ("proffer-fetcher", &["containerizer", "wire"]),
    ("proffer-ui", &["resources", "wire"]),
    ("proffer-bench", &["allocator", "resources", "sim", "wire"]),
    ("proffer-sim", &["master-core", "agent-core", "allocator", "resources", "wire"]),
    ("proffer-coordination", &["detector", "wire"]),
    ("proffer-client", &["detector", "wire"]),
    ("proffer-http", &["resources", "wire"]),
    ("proffer-containerizer", &["resources", "wire"]),
    ("proffer-detector", &["wire"]),
    ("proffer-supervisor", &[]),
    ("proffer-master-core", &["allocator", "resources", "wire"]),
    ("proffer-agent-core", &["resources", "wire"]),
    ("proffer-allocator", &["resources", "wire"]),
    ("proffer-resources", &["wire"]),
    ("proffer-wire", &[]),
    ("proffer-base", &[]),
    ("proffer-testkit", &[]),
    ("xtask", &[]),
];

/// Crates that do no IO and know no clock: their whole tree of normal dependencies is checked.
const PURE: &[&str] = &[
    "proffer-base",
    "proffer-wire",
    "proffer-resources",
    "proffer-allocator",
    "proffer-master-core",
    "proffer-agent-core",
    "proffer-ui",
];

/// What must not be in the tree of a pure crate.
const IMPURE: &[&str] =
    &["tokio", "mio", "socket2", "getrandom", "rustix", "libc", "hyper", "rand", "nix"];

pub(crate) fn check() -> Result<(), Failure> {
    let text = output(cargo(&["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Value =
        serde_json::from_str(&text).map_err(|e| Failure::new(format!("cargo metadata: {e}")))?;
    let faults: Vec<String> = arrows(&metadata).into_iter().chain(impure(&metadata)).collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("layers are broken:\n  {}", faults.join("\n  "))))
}

fn arrows(metadata: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        if !package["source"].is_null() {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(n, _)| *n == name) else {
            faults.push(format!("{name}: not in the table of xtask/src/layers.rs"));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let used = text(&dependency["name"]);
            let development = dependency["kind"] == "dev";
            let ours = used.strip_prefix("proffer-");
            let fine = match ours {
                None => true,
                Some("base") => name != "proffer-supervisor" || development,
                Some("testkit") => development,
                Some(short) => allowed.contains(&short) || development,
            };
            if !fine {
                faults.push(format!("{name} must not use {used}"));
            }
        }
    }
    faults
}

fn impure(metadata: &Value) -> Vec<String> {
    let names: BTreeMap<&str, &str> =
        list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let normal = list(&node["deps"])
            .iter()
            .filter(|d| list(&d["dep_kinds"]).iter().any(|k| k["kind"].is_null()));
        edges.insert(text(&node["id"]), normal.map(|d| text(&d["pkg"])).collect());
    }
    let mut faults = Vec::new();
    for (id, name) in names.iter().filter(|(_, name)| PURE.contains(name)) {
        let mut seen = BTreeSet::new();
        let mut open = vec![*id];
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(edges.get(id).into_iter().flatten());
            }
        }
        for used in seen.iter().filter_map(|id| names.get(id)).filter(|used| IMPURE.contains(used))
        {
            faults.push(format!("{name} is pure, but {used} is in its dependencies"));
        }
    }
    faults
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
