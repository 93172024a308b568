//! A command inside a container that runs, as checks want it: an `exec` of the engine's.

use super::engine::Fault;
use super::life::{GLANCE, process_of};
use super::output::Files;
use super::{Running, Shared, plan};
use crate::{ContainerSpec, Exited, StartError, processes};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

impl Shared {
    /// Starts a command; what it writes goes where the specification says.
    pub(super) async fn launch_inside(
        self: &Arc<Self>,
        spec: &ContainerSpec,
        parent: &str,
    ) -> Result<u32, StartError> {
        let around = self.live().get(parent).and_then(|live| live.running.clone());
        let around = around.ok_or_else(|| format!("the container '{parent}' is not running"))?;
        let directory = Path::new(spec.output.as_ref().unwrap_or(&spec.directory));
        let files = Files::open(directory, None)
            .map_err(|e| format!("cannot open the output in {}: {e}", directory.display()))?;
        let files = if spec.output.is_some() { files.together() } else { files };
        let fault = |fault: Fault| StartError::Launch(fault.to_string());
        let description = describe(spec)?;
        let name = plan::name(parent);
        let exec = self.engine.make_exec(&name, &description).await.map_err(fault)?;
        let body = self.engine.start_exec(&exec).await.map_err(fault)?;
        let pid = self.pid_of(&exec).await.map_err(fault)?;
        let process = process_of(pid, &around.id).map(Arc::new);
        let running = Running { pid, process, ..around };
        if let Some(live) = self.live().get_mut(&spec.container_id) {
            live.running = Some(running);
            live.parent = Some(parent.to_owned());
        }
        let (shared, container_id) = (self.clone(), spec.container_id.clone());
        tokio::spawn(async move {
            files.follow_attached(body, false).await;
            let inspected = shared.engine.inspect_exec(&exec).await.unwrap_or_default();
            let code = inspected["ExitCode"].as_i64().and_then(|code| i32::try_from(code).ok());
            shared.live().remove(&container_id);
            let status = code.map(|code| (code & 0xFF) << 8);
            let _ = shared.exits.send(Exited { container_id, status, limitation: None });
        });
        Ok(pid)
    }

    /// The process of a command, which is there a little after the engine said that it starts it; 0 if it has ended.
    async fn pid_of(&self, exec: &str) -> Result<u32, Fault> {
        loop {
            let inspected = self.engine.inspect_exec(exec).await?;
            let pid = inspected["Pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap_or(0);
            if pid > 0 || !inspected["ExitCode"].is_null() {
                return Ok(pid);
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Kills a command inside a container. True if it is one.
    pub(super) fn kill_inside(&self, container_id: &str) -> bool {
        let live = self.live();
        let Some(live) = live.get(container_id).filter(|live| live.parent.is_some()) else {
            return false;
        };
        let process = live.running.as_ref().and_then(|running| running.process.clone());
        process.iter().for_each(|process| processes::kill(process));
        true
    }

    /// Whether a command runs inside a container.
    pub(super) fn has_inside(&self, container_id: &str) -> bool {
        self.live().values().any(|live| live.parent.as_deref() == Some(container_id))
    }
}

fn describe(spec: &ContainerSpec) -> Result<Value, String> {
    let value = spec.command.value.as_deref().ok_or("'CommandInfo.value' is not set")?;
    let words: Vec<&str> = if spec.command.shell() {
        vec!["/bin/sh", "-c", value]
    } else {
        [value].into_iter().chain(spec.command.arguments.iter().map(String::as_str)).collect()
    };
    let environment: Vec<String> =
        spec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": words, "Env": environment }))
}
