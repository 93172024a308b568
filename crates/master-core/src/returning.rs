//! Agents that come back with what they run: master and agent learn from each other (spec/master.md 1.9).

use crate::announce::Announcement;
use crate::contract::Effect;
use crate::master::{Cx, Master, Timer};
use crate::registration::registered_total;
use crate::state::{Executor, Framework, Task, is_terminal};
use allocator::{AgentId, FrameworkId};
use base::Token;
use resources::Resources;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::internal::master_to_agent::Message;
use wire::v1::TaskState;
use wire::v1::task_status::Reason;
use wire::{internal, v1};

impl Master {
    /// An agent is back, with what it runs; the registry knows it as reachable. `open`: its connection is.
    pub(crate) fn take_back(
        &mut self,
        cx: &mut Cx<'_>,
        connection: Token,
        ip: String,
        mut register: internal::Register,
        open: bool,
    ) {
        let id = register.info.id.as_ref().map(|id| id.value.clone()).unwrap_or_default();
        self.forget_recovered(&id);
        self.state.unreachable.remove(&id);
        self.count("master/slave_reregistrations");
        let known = self.agent_keys.get(&id).copied();
        let key = match known {
            Some(key) => {
                if let Some(old) =
                    self.agent(key).and_then(|a| a.connection).filter(|old| *old != connection)
                {
                    self.connections.remove(&old);
                    cx.out.push(Effect::CloseAgent { connection: old });
                }
                if self.agent(key).is_some_and(|a| a.total != registered_total(&register)) {
                    self.rescind_on(cx, key);
                }
                self.refresh_agent(key, &register);
                key
            }
            None => self.make_agent(cx, &id, ip, &register),
        };
        if let Some(agent) = self.agent_mut(key) {
            agent.reregistered = Some(cx.now.wall);
        }
        self.learn_operations(cx, key, &register.operations);
        let reconciliations =
            if known.is_some() { self.missing(cx, key, &register) } else { Vec::new() };
        let tasks = std::mem::take(&mut register.tasks);
        self.learn(cx, key, &register, tasks, known.is_none());
        if open {
            self.connect_agent(cx, key, connection);
        } else {
            // It hung up meanwhile.
            self.timers
                .set(Timer::Reregister(key), cx.now.mono + self.config.agent_reregister_timeout);
        }
        if known.is_none() {
            self.announce(cx, || Announcement::AgentAdded { agent: key });
        }
        self.resume_drain(cx, key);
        self.send_registered(cx, key, reconciliations);
        self.remind(cx, key, &register);
        self.keep_down(cx, key);
    }

    pub(crate) fn refresh_agent(&mut self, key: AgentId, register: &internal::Register) {
        let Some(agent) = self.agent_mut(key) else { return };
        let is_other = agent.info.attributes != register.info.attributes;
        agent.info = register.info.clone();
        agent.version.clone_from(&register.version);
        agent.capabilities.clone_from(&register.capabilities);
        self.set_total(key, registered_total(register));
        if is_other {
            self.warnings.forget_answers_on(key);
        }
    }

    /// Takes over frameworks, executors and the tasks of these that the agent lists and the master does not know.
    pub(crate) fn learn(
        &mut self,
        cx: &mut Cx<'_>,
        key: AgentId,
        register: &internal::Register,
        tasks: Vec<v1::Task>,
        announce: bool,
    ) {
        for info in &register.frameworks {
            let id = info.id.clone().unwrap_or_default().value;
            let completed = self.state.completed_frameworks.iter().any(|f| f.id == id);
            if !completed && !self.framework_keys.contains_key(&id) {
                self.make_framework(cx, id, info.clone(), true);
            }
        }
        // All at once: there may be many.
        let mut held: BTreeMap<FrameworkId, Resources> = BTreeMap::new();
        for executor in &register.executors {
            let of = executor
                .framework_id
                .as_ref()
                .and_then(|id| self.framework_keys.get(&id.value))
                .copied();
            let Some(of) = of else { continue };
            let id = executor.executor_id.value.as_str();
            if self.framework(of).is_none_or(|f| f.executors.contains_key(&(key, id.to_owned()))) {
                continue;
            }
            let resources = Resources::from_wire(&executor.resources).unwrap_or_default();
            *held.entry(of).or_default() += &resources;
            self.put_executor(of, key, Executor { info: executor.clone(), resources });
        }
        for task in tasks {
            let Some(of) = self.framework_keys.get(&task.framework_id.value).copied() else {
                continue;
            };
            if let Some(resources) = self.learn_task(cx, key, of, task, announce) {
                *held.entry(of).or_default() += &resources;
            }
        }
        for (of, resources) in &held {
            self.hold(*of, key, resources);
        }
        self.allocator.track_all(key, &held);
    }

    /// What the task holds of the agent, if it was not known.
    fn learn_task(
        &mut self,
        cx: &mut Cx<'_>,
        key: AgentId,
        of: FrameworkId,
        mut wire: v1::Task,
        announce: bool,
    ) -> Option<Resources> {
        let id = wire.task_id.value.clone();
        let Framework { tasks, unreachable_tasks, completed_tasks, .. } = self.framework_mut(of)?;
        let Entry::Vacant(place) = tasks.entry(id.clone()) else { return None };
        // It was lost, unreachable or gone for its framework, which now learns better.
        let away = unreachable_tasks.len() + completed_tasks.len();
        unreachable_tasks.retain(|t| t.id() != id);
        completed_tasks.retain(|t| t.id() != id);
        let was_away = unreachable_tasks.len() + completed_tasks.len() < away;
        // It stays for as long as the task: decoding leaves room for more.
        wire.resources.shrink_to_fit();
        wire.statuses.shrink_to_fit();
        let resources = Resources::from_wire(&wire.resources).unwrap_or_default();
        let task = Task { wire, agent: key, resources, launched: None };
        let task = place.insert(Arc::new(task)).clone();
        let wire = &task.wire;
        self.announce(cx, || Announcement::TaskAdded { task: Box::new(wire.clone()) });
        if let Some(agent) = self.agent_mut(key) {
            agent.tasks.insert((of, id));
        }
        if announce && was_away && !is_terminal(wire.state()) {
            let status = v1::TaskStatus {
                task_id: wire.task_id.clone(),
                agent_id: Some(wire.agent_id.clone()),
                executor_id: wire.executor_id.clone(),
                ..crate::tasks::master_status(
                    cx,
                    wire.status_update_state
                        .and_then(|s| TaskState::try_from(s).ok())
                        .unwrap_or(wire.state()),
                    Reason::AgentReregistered,
                    "Unreachable agent re-reregistered".to_owned(),
                )
            };
            self.send_status(cx, of, status);
        }
        task.holds_resources().then(|| task.resources.clone())
    }

    /// Tasks and executors that the master knows and the agent did not list.
    pub(crate) fn missing(
        &mut self,
        cx: &Cx<'_>,
        key: AgentId,
        register: &internal::Register,
    ) -> Vec<internal::Reconciliation> {
        let listed: BTreeSet<(&str, &str)> = register
            .tasks
            .iter()
            .map(|t| (t.framework_id.value.as_str(), t.task_id.value.as_str()))
            .collect();
        let executors: BTreeSet<(&str, &str)> = register
            .executors
            .iter()
            .map(|e| {
                (
                    e.framework_id.as_ref().map_or("", |id| id.value.as_str()),
                    e.executor_id.value.as_str(),
                )
            })
            .collect();
        let Some(agent) = self.agent(key) else { return Vec::new() };
        let of: BTreeSet<FrameworkId> =
            agent.tasks.iter().chain(&agent.executors).map(|(framework, _)| *framework).collect();
        let mut reconciliations = Vec::new();
        let mut gone = Vec::new();
        for framework in of.iter().filter_map(|of| self.framework(*of)) {
            let missing = agent
                .tasks_of(framework.key)
                .filter(|id| !listed.contains(&(&framework.id, id)))
                .filter_map(|id| framework.tasks.get(id));
            let statuses: Vec<v1::TaskStatus> = missing
                .map(|t| v1::TaskStatus {
                    task_id: t.wire.task_id.clone(),
                    state: t.wire.state,
                    executor_id: t.wire.executor_id.clone(),
                    agent_id: Some(t.wire.agent_id.clone()),
                    // Of the status that was told last, if that is of this state.
                    uuid: (t.wire.status_update_state == Some(t.wire.state))
                        .then(|| t.wire.status_update_uuid.clone())
                        .flatten(),
                    ..Default::default()
                })
                .collect();
            if !statuses.is_empty() {
                reconciliations
                    .push(internal::Reconciliation { framework: framework.info.clone(), statuses });
            }
            let unlisted = agent
                .executors_of(framework.key)
                .filter(|id| !executors.contains(&(&framework.id, id)));
            gone.extend(unlisted.map(|id| (framework.key, id.to_owned())));
        }
        for (framework, executor) in gone {
            self.remove_executor(cx, framework, key, &executor);
        }
        reconciliations
    }

    /// Says again what the agent may have missed: frameworks that ended, tasks that shall end.
    pub(crate) fn remind(&self, cx: &mut Cx<'_>, key: AgentId, register: &internal::Register) {
        for info in &register.frameworks {
            let id = info.id.clone().unwrap_or_default();
            if self.state.completed_frameworks.iter().any(|f| f.id == id.value) {
                let message = internal::ShutdownFramework { framework_id: id };
                self.send_to_agent(cx, key, Message::ShutdownFramework(message));
            } else if let Some(framework) =
                self.framework_keys.get(&id.value).and_then(|key| self.framework(*key))
                && framework.info != *info
                && !framework.recovered
            {
                let message = internal::UpdateFramework { framework: framework.info.clone() };
                self.send_to_agent(cx, key, Message::UpdateFramework(message));
            }
        }
        let Some(agent) = self.agent(key) else { return };
        for (framework, task) in &agent.killed {
            let preemption = self.preempted_for(*framework, key, task);
            let by_operator = agent.killed_by_operator.contains(&(*framework, task.clone()));
            let Some(framework) = self.framework(*framework) else { continue };
            let message = internal::KillTask {
                framework_id: framework.id.as_str().into(),
                task_id: task.as_str().into(),
                kill_policy: None,
                preemption,
                at_once: None,
                asked_by: by_operator.then(|| crate::kill::OPERATOR.to_owned()),
            };
            self.send_to_agent(cx, key, Message::KillTask(message));
        }
    }
}
