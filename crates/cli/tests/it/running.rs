//! Tasks that are to run on whatever happens to masters: each writes down its process when it starts.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use testkit::framework::{Framework, FrameworkOptions, amount, command_task, text};
use testkit::{Cluster, wait};

/// Time for anything that has to happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A framework that waits for its next master; with an id it is one that was there before.
pub(crate) fn framework(master: &str, id: Option<String>) -> Framework {
    let options = FrameworkOptions {
        id,
        failover_timeout: 3600.0,
        checkpoint: true,
        ..FrameworkOptions::default()
    };
    wait::until("a subscription", LIMIT, || Framework::try_subscribe(master, &options))
}

/// `<prefix>-0` and so on.
pub(crate) fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

/// Launches small tasks and waits until they run.
pub(crate) fn launch(cluster: &Cluster, framework: &mut Framework, names: &[String]) {
    let mut waiting = names;
    while !waiting.is_empty() {
        for offer in framework.offers() {
            let fits = ((amount(&offer, "cpus") * 10.0 + 1e-6) as usize).min(waiting.len());
            let (batch, rest) = waiting.split_at(fits);
            waiting = rest;
            let task = |name: &String| {
                let path = cluster.directory().join(name);
                // Once more would show.
                let command = format!("echo $$ >> {}; exec sleep 100000", path.display());
                command_task(&offer, name, &command, 0.1, 32.0)
            };
            framework.launch(&offer, &batch.iter().map(task).collect::<Vec<_>>());
        }
    }
    for name in names {
        framework.until_state(name, "TASK_RUNNING");
        // It runs before it has written down its process.
        pid(&cluster.directory().join(name));
    }
}

/// The process that a task wrote down.
fn pid(path: &Path) -> String {
    wait::until("a pid", LIMIT, || {
        std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
    })
}

/// Processes of the tasks whose names begin so, all of whom run.
pub(crate) fn pids(cluster: &Cluster, prefixes: &[&str]) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(cluster.directory()).expect("a directory").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_task = |name: &String| {
        let prefix = name.rsplit_once('-').map_or("", |(prefix, _)| prefix);
        prefixes.contains(&prefix)
    };
    names
        .filter(is_task)
        .map(|name| {
            let pid = pid(&cluster.directory().join(&name));
            let runs = Path::new("/proc").join(pid.trim()).exists();
            assert!(runs, "{name} runs, once: {pid}");
            (name, pid)
        })
        .collect()
}

/// What the master says of the tasks when it is asked for all.
pub(crate) fn reconciled(framework: &mut Framework, tasks: usize) -> BTreeMap<String, String> {
    let answer = framework.call(&json!({"type": "RECONCILE", "reconcile": {"tasks": []}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let mut all = BTreeMap::new();
    while all.len() < tasks {
        let (_, update): (_, Value) = framework.update(None);
        all.insert(text(&update["task_id"]["value"]), text(&update["state"]));
    }
    all
}

/// What the master is to say of them.
pub(crate) fn all_run(names: &[String]) -> BTreeMap<String, String> {
    names.iter().map(|name| (name.clone(), "TASK_RUNNING".to_owned())).collect()
}
