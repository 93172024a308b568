//! URIs of tasks, from servers and files on this machine.

mod cache;
mod ends;
mod server;
mod sources;

use serde_json::{Value, json};
use server::{Reply, Server};
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http, wait};

/// A cluster with one agent, and a framework.
struct World {
    cluster: Cluster,
    framework: Framework,
}

impl World {
    fn new(flags: &[&str]) -> Self {
        Self::with(flags, &[])
    }

    fn with(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
        options.agent_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        options.environment = environment.iter().map(owned).collect();
        let cluster = Cluster::start(options);
        let options = FrameworkOptions { checkpoint: true, ..FrameworkOptions::default() };
        let framework = Framework::subscribe(&cluster.master(), &options);
        Self { cluster, framework }
    }

    fn launch(&mut self, id: &str, command: &str, uris: &Value) {
        self.launch_as(None, id, command, uris);
    }

    fn launch_as(&mut self, user: Option<&str>, id: &str, command: &str, uris: &Value) {
        let offer = self.framework.offers().remove(0);
        let mut task = command_task(&offer, id, command, 0.1, 32.0);
        task["command"]["uris"] = uris.clone();
        if let Some(user) = user {
            task["command"]["user"] = json!(user);
        }
        self.framework.launch(&offer, &[task]);
    }

    /// Its last status.
    fn run(&mut self, id: &str, command: &str, uris: &Value) -> Value {
        self.launch(id, command, uris);
        self.framework.until_end(id).pop().expect("a status")
    }

    #[track_caller]
    fn finishes(&mut self, id: &str, command: &str, uris: &Value) -> String {
        let status = self.run(id, command, uris);
        assert_eq!(status["state"], "TASK_FINISHED", "{status}\n{}", self.stderr(id));
        self.file(id, "stdout")
    }

    /// It fails since not everything could be fetched; what its standard error says.
    #[track_caller]
    fn is_not_fetched(&mut self, id: &str, uris: &Value) -> String {
        let status = self.run(id, "true", uris);
        assert_eq!(status["state"], "TASK_FAILED", "{status}");
        assert_eq!(status["reason"], "REASON_CONTAINER_LAUNCH_FAILED");
        assert_eq!(status["source"], "SOURCE_AGENT");
        let container = &status["container_status"]["container_id"]["value"];
        let container = container.as_str().expect("a container");
        let message = format!(
            "Failed to launch container: Failed to fetch all URIs for container '{container}': exited with status 1"
        );
        assert_eq!(status["message"], message);
        self.stderr(id)
    }

    fn sandbox(&self, id: &str) -> PathBuf {
        let slaves = self.cluster.directory().join("agent0/slaves");
        let agents = std::fs::read_dir(slaves).expect("agents").flatten();
        let agents = agents.map(|entry| entry.path()).filter(|path| !path.ends_with("latest"));
        let framework = format!("frameworks/{}/executors/{id}/runs/latest", self.framework.id);
        agents.map(|agent| agent.join(&framework)).find(|path| path.exists()).expect("a sandbox")
    }

    fn file(&self, id: &str, name: &str) -> String {
        std::fs::read_to_string(self.sandbox(id).join(name)).unwrap_or_else(|e| e.to_string())
    }

    fn stderr(&self, id: &str) -> String {
        self.file(id, "stderr")
    }

    fn metric(&self, name: &str) -> f64 {
        let answer = http::Connection::open(&self.cluster.agent(0)).and_then(|mut connection| {
            connection.request("GET", "/metrics/snapshot", &[("Connection", "close")], &[])
        });
        answer.expect("an answer").json()[name].as_f64().expect("a number")
    }

    /// Processes that fetch for this cluster.
    fn fetchers(&self) -> Vec<String> {
        let directory = self.cluster.directory().display().to_string();
        let entries = std::fs::read_dir("/proc").expect("processes").flatten();
        let fetches = |path: &Path| {
            let text = |name| std::fs::read(path.join(name)).unwrap_or_default();
            let sandbox = format!("MESOS_SANDBOX={directory}").into_bytes();
            text("environ").split(|b| *b == 0).any(|variable| variable.starts_with(&sandbox))
                && text("cmdline").starts_with(b"mesos-fetcher")
        };
        let found = entries.filter(|entry| fetches(&entry.path()));
        found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[track_caller]
    fn wait_for_fetchers(&self, count: usize) {
        wait::until("the number of fetchers", Duration::from_secs(20), || {
            (self.fetchers().len() == count).then_some(())
        });
    }
}

pub(crate) fn is_root() -> bool {
    let root = std::process::Command::new("id").arg("-u").output();
    let root = root.is_ok_and(|out| out.stdout == b"0\n");
    if !root {
        eprintln!("skipped: this needs root");
    }
    root
}
