//! The sandbox of a task, through its agent's files.

use super::{found, text};
use crate::operator_client::{Failure, OperatorClient};
use client::{Agent, AgentError};
use serde_json::Value;
use wire::v1::FileInfo;

/// The kind of a file as stat(2) has it.
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

pub(super) fn is_directory(file: &FileInfo) -> bool {
    file.mode() & KIND == DIRECTORY
}

pub(super) fn is_link(file: &FileInfo) -> bool {
    file.mode() & KIND == LINK
}

/// Last part of a file's path; empty when an agent gives something that is no name.
pub(super) fn name(file: &FileInfo) -> &str {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if matches!(name, "." | "..") { "" } else { name }
}

/// A directory of a task at its agent.
#[derive(Debug)]
pub(super) struct Sandbox {
    agent: Agent,
    agent_id: String,
    /// Where the agent shows it.
    root: String,
    task: String,
}

impl Sandbox {
    /// The sandbox of a task as `/tasks` shows it.
    ///
    /// # Errors
    /// When its agent is not registered or does not answer.
    pub(super) async fn of(client: &OperatorClient, task: &Value) -> Result<Self, Failure> {
        let (id, agent_id) = (text(task, "id"), text(task, "slave_id"));
        let Some(address) = found::address(client, agent_id).await? else {
            return Err(Failure::failed(format!(
                "the sandbox of task '{id}' can't be read: its agent {agent_id} is not registered; \
                 the task is {}",
                text(task, "state")
            )));
        };
        let executor = match text(task, "executor_id") {
            "" => id,
            executor => executor,
        };
        let framework = text(task, "framework_id");
        let mut sandbox = Self {
            agent: Agent::new(address),
            agent_id: agent_id.to_owned(),
            root: format!("/frameworks/{framework}/executors/{executor}/runs/latest"),
            task: id.to_owned(),
        };
        // A task of a pod has a directory of its own in that of the pod.
        let own = format!("{}/tasks/{id}", sandbox.root);
        if executor != id && sandbox.agent.list(&own).await.is_ok() {
            sandbox.root = own;
        }
        Ok(sandbox)
    }

    /// Looks again where the agent is: it may have been started elsewhere on its host.
    pub(super) async fn find_again(&mut self, client: &OperatorClient) -> Result<bool, Failure> {
        let address = found::address(client, &self.agent_id).await?;
        let is_there = address.is_some();
        if let Some(address) = address.filter(|address| address != self.agent.address()) {
            self.agent = Agent::new(address);
        }
        Ok(is_there)
    }

    /// A path as the agent knows it.
    fn path(&self, path: &str) -> String {
        let path = path.trim_matches('/');
        if path.is_empty() { self.root.clone() } else { format!("{}/{path}", self.root) }
    }

    /// Size of a file and a piece of it.
    ///
    /// # Errors
    /// As [`Agent::read`].
    pub(super) async fn read(
        &mut self,
        path: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<(u64, Vec<u8>), AgentError> {
        let path = self.path(path);
        self.agent.read(&path, offset, length).await
    }

    /// Entries of a directory; a file is its own entry.
    ///
    /// # Errors
    /// When there is no such thing.
    pub(super) async fn list(&mut self, path: &str) -> Result<Vec<FileInfo>, Failure> {
        let whole = self.path(path);
        let entries = self.agent.list(&whole).await.map_err(|e| self.failed(path, &e))?;
        if !entries.is_empty() {
            return Ok(entries);
        }
        Ok(self.entry(path).await?.filter(|file| !is_directory(file)).into_iter().collect())
    }

    /// The entry of a path in the directory that it is in; None for the sandbox itself.
    ///
    /// # Errors
    /// When there is no such directory.
    pub(super) async fn entry(&mut self, path: &str) -> Result<Option<FileInfo>, Failure> {
        let trimmed = path.trim_matches('/');
        if trimmed.is_empty() {
            return Ok(None);
        }
        let (directory, wanted) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        let whole = self.path(directory);
        let entries = self.agent.list(&whole).await.map_err(|e| self.failed(path, &e))?;
        let found = entries.into_iter().find(|file| name(file) == wanted);
        match found {
            Some(file) => Ok(Some(file)),
            None => Err(self.missing(path)),
        }
    }

    fn missing(&self, path: &str) -> Failure {
        let task = &self.task;
        Failure::failed(match path {
            "" => format!(
                "agent {} has no sandbox of task '{task}': it has not started yet, or was removed \
                 after its end (see the agent's --gc_delay)",
                self.agent_id
            ),
            path => format!(
                "there is no '{path}' in the sandbox of task '{task}'; `proffer ls {task}` shows what is"
            ),
        })
    }

    /// What an error of the agent means for who asked for a path.
    pub(super) fn failed(&self, path: &str, error: &AgentError) -> Failure {
        match error {
            error if error.is_missing() => self.missing(path),
            AgentError::Refused { text, .. } => Failure::failed(format!("'{path}': {text}")),
            error => Failure::failed(error.to_string()),
        }
    }
}
