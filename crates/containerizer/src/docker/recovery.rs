//! Containers of a former process of the agent.

use super::life::{Seen, limitation};
use super::output::Files;
use super::record::Record;
use super::{ID, RUNTIME, Shared, appearance, plan};
use crate::Found;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Time without progress after which the rest of what a container wrote is left out.
const STALL: Duration = Duration::from_secs(10);
/// How often a container's description is asked for.
const TRIES: u32 = 3;
/// Time between two of these.
const PAUSE: Duration = Duration::from_millis(200);

impl Shared {
    /// Finds all, watches over those that run, and removes what is nobody's.
    pub(super) async fn recover(self: &Arc<Self>) -> Result<Vec<Found>, String> {
        let label = format!("{RUNTIME}={}", self.runtime_dir);
        let listed = self.engine.list(&label).await.map_err(|fault| fault.to_string())?;
        let id = |c: &Value| c["Labels"][ID].as_str().map(str::to_owned);
        let mut states: BTreeMap<String, String> = listed
            .iter()
            .filter_map(|c| Some((id(c)?, c["State"].as_str().unwrap_or_default().to_owned())))
            .collect();
        let ids = self.records.ids();
        let ids = ids.map_err(|e| format!("cannot read the records of containers: {e}"))?;
        let mut found = Vec::new();
        for container_id in ids {
            let state = states.remove(&container_id);
            found.push(self.find(container_id, state.as_deref()).await?);
        }
        for (container_id, state) in states {
            self.tidy(&container_id, &state).await;
        }
        // Of starts that were not finished.
        let _ = std::fs::remove_dir_all(&self.circumstances.secrets);
        Ok(found)
    }

    async fn find(
        self: &Arc<Self>,
        container_id: String,
        state: Option<&str>,
    ) -> Result<Found, String> {
        let name = plan::name(&container_id);
        let nothing = |unstarted: bool| Found { unstarted, ..Found::of(container_id.clone()) };
        let Some(record) = self.records.get(&container_id) else { return Ok(nothing(false)) };
        let Some(state) = state else { return Ok(nothing(!record.started)) };
        if state == "created" {
            // The engine may be about to start it: asked to do so, it has when it answers.
            let started = record.started && self.engine.start(&name).await.is_ok();
            if !started {
                self.remove_after(name, Duration::ZERO);
                return Ok(nothing(true));
            }
        }
        let Some(inspected) = self.describe(&name).await else { return Ok(nothing(false)) };
        let runs = match &inspected["State"]["Running"] {
            Value::Bool(runs) => *runs,
            _ => matches!(state, "running" | "paused" | "restarting"),
        };
        let seen = Seen::of(&inspected);
        let files = Files::open(&record.sandbox, record.before);
        let files = files.inspect_err(|error| {
            tracing::warn!(container = %name, %error, "what the container writes is not kept: its sandbox is gone");
        });
        if runs {
            if let Some(gpus) = &self.gpus {
                gpus.keep(&container_id, &record.gpus);
            }
            let files = match files {
                Ok(files) => files,
                Err(_) => Files::nowhere().map_err(|e| e.to_string())?,
            };
            let attached = self.attach(&record, &name).await;
            self.watch(&container_id, &seen, files, attached);
            let appearance = Some(appearance::of(&inspected, &record));
            return Ok(Found { pid: Some(seen.pid), appearance, ..nothing(false) });
        }
        if let Ok(files) = files
            && !record.unlogged
            && tokio::time::timeout(STALL, files.follow(&self.engine, &name, seen.plain))
                .await
                .is_err()
        {
            tracing::warn!(container = %name, "the rest of what a container wrote is left out: it takes too long");
        }
        let code =
            inspected["State"]["ExitCode"].as_i64().and_then(|code| i32::try_from(code).ok());
        let status = code.map(|code| (code & 0xFF) << 8);
        Ok(Found { status, limitation: limitation(&inspected), ..nothing(false) })
    }

    /// What the engine says of a container; None if it is gone. One that the engine stumbles over again and again is no
    /// reason to have none of the others: it is taken as it is in the list.
    async fn describe(&self, name: &str) -> Option<Value> {
        let mut tries = 1;
        loop {
            match self.engine.inspect(name).await {
                Ok(inspected) => return Some(inspected),
                Err(fault) if fault.is_missing() => return None,
                Err(fault) if tries == TRIES => {
                    tracing::error!(container = %name, %fault, "a container is taken over without its description");
                    return Some(Value::Null);
                }
                Err(_) => tries += 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attach(&self, record: &Record, name: &str) -> Option<hyper::body::Incoming> {
        if !record.unlogged {
            return None;
        }
        self.engine.attach(name).await.ok()
    }

    /// One of ours without a record: its end was recorded, or the runtime directory was removed.
    async fn tidy(&self, container_id: &str, state: &str) {
        let name = plan::name(container_id);
        if matches!(state, "running" | "paused" | "restarting") {
            if self.kill_orphans {
                tracing::warn!(container = %name, "a container that nobody knows is removed");
                self.remove_after(name, Duration::ZERO);
            } else {
                tracing::warn!(container = %name, "a container that nobody knows is left alone (--docker_kill_orphans=false)");
            }
            return;
        }
        // How long ago it ended is not looked at: it waits for the whole delay again.
        let delay = if state == "created" { Duration::ZERO } else { self.remove_delay };
        self.remove_after(name, delay);
    }
}
