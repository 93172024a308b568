//! What tasks say, while `proffer run` follows them.

use crate::commands::logs::Logs;
use crate::operator_client::{Failure, OperatorClient};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Time between two looks at what a task says.
const LOOK: Duration = Duration::from_millis(200);
/// Longest time for the rest of what tasks that have ended said.
const REST: Duration = Duration::from_secs(10);

/// Shows what tasks say.
pub(super) struct Said {
    client: OperatorClient,
    /// Lines say whose they are.
    has_prefix: bool,
    tasks: BTreeMap<String, (watch::Sender<bool>, JoinHandle<()>)>,
}

impl Said {
    /// For so many tasks.
    pub(super) fn new(client: OperatorClient, tasks: usize) -> Self {
        Self { client, has_prefix: tasks > 1, tasks: BTreeMap::new() }
    }

    /// Shows what a task says from now on, if that is not done already.
    pub(super) fn begin(&mut self, framework: &str, id: &str, agent: &str, executor: &str) {
        if self.tasks.contains_key(id) {
            return;
        }
        let task = json!({"id": id, "framework_id": framework, "slave_id": agent,
            "executor_id": executor, "state": "TASK_RUNNING"});
        let prefix = self.has_prefix.then(|| format!("[{id}] "));
        let logs = Logs::of(task, &["stdout", "stderr"], None).patient(prefix);
        let (tell, ended) = watch::channel(false);
        let following = tokio::spawn(follow(logs, self.client.clone(), ended));
        self.tasks.insert(id.to_owned(), (tell, following));
    }

    /// A task says nothing any more.
    pub(super) fn end(&mut self, id: &str) {
        if let Some((tell, _)) = self.tasks.get(id) {
            tell.send_replace(true);
        }
    }

    /// Waits until everything is shown.
    pub(super) async fn finish(self) {
        let all = async {
            for (tell, following) in self.tasks.into_values() {
                tell.send_replace(true);
                let _ = following.await;
            }
        };
        let _ = tokio::time::timeout(REST, all).await;
    }
}

async fn follow(mut logs: Logs, client: OperatorClient, mut ended: watch::Receiver<bool>) {
    loop {
        let is_over = *ended.borrow_and_update();
        match logs.step(&client).await {
            Ok(true) => continue,
            Ok(false) if is_over => return,
            Ok(false) => {}
            Err(Failure::Failed(text) | Failure::Usage(text)) => {
                eprintln!("proffer: {text}");
                return;
            }
        }
        tokio::select! {
            _ = ended.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
