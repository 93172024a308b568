//! ACCEPT: offers become tasks (spec/master.md 1.4).

use crate::announce::Announcement;
use crate::calls::refuse;
use crate::master::{Cx, Master};
use crate::operator::shown;
use crate::overlap::DENIED;
use crate::state::{Agent, Executor, Offer, Task};
use crate::validate;
use crate::validate::operation::Actor;
use allocator::{AgentId, FrameworkId};
use resources::{Conversion, Resources};
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::internal::master_to_agent::Message;
use wire::v1::offer::operation::Type;
use wire::v1::scheduler::call;
use wire::v1::task_status::Reason;
use wire::{internal, v1};

/// The offers of one ACCEPT, put together.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) agent: AgentId,
    pub(crate) agent_id: String,
    pub(crate) role: String,
    /// What is left of them, with allocation info.
    pub(crate) left: Resources,
    /// What limits and guarantees denied of soft offers.
    pub(crate) denied: Resources,
    /// The part of it that operations of this call made, which is free again without a filter.
    pub(crate) made: Resources,
    /// Volumes of another size, which this call can't use any more.
    pub(crate) resized: Resources,
}

impl Offered {
    /// A task or executor has these now.
    fn take(&mut self, resources: &Resources) {
        self.left -= resources;
        // What was offered goes before what was made.
        if !self.left.contains(&self.made) {
            self.made -= resources;
        }
    }
}

impl Master {
    pub(crate) fn accept(&mut self, cx: &mut Cx<'_>, key: FrameworkId, accept: call::Accept) {
        let offers = match self.check_offers(key, &accept.offer_ids) {
            Ok(offers) => offers,
            Err(text) => {
                for id in accept.offer_ids.iter().map(|id| &id.value) {
                    match self.offers.get(id).map(|o| o.framework == key) {
                        Some(true) => self.pass(cx, id, None),
                        // The peer discards it without a word; its framework may as well know.
                        Some(false) => self.rescind(cx, id),
                        None => {}
                    }
                }
                self.refuse_all(cx, key, &accept.operations, &text);
                return;
            }
        };
        let Some(first) = offers.first() else { return };
        let time = refuse(accept.filters.as_ref());
        let agent_id = self.agent(first.agent).map(|a| a.id.clone()).unwrap_or_default();
        let mut offered = Offered {
            agent: first.agent,
            agent_id,
            role: first.role.clone(),
            left: Resources::new(),
            denied: Resources::new(),
            made: Resources::new(),
            resized: Resources::new(),
        };
        for offer in &offers {
            self.take_offer(&offer.id);
            self.note_answered(cx.now, offer.made);
            self.history.ended(cx.now.wall, key, &offer.role);
            self.count_of(key, "offers/accepted");
            if offer.soft && accept.operations.is_empty() {
                self.give_back(cx, offer, Some(time));
            } else {
                self.claim(offer, &mut offered);
            }
        }
        let whole = offered.left.clone();
        for operation in accept.operations {
            self.operation(cx, key, &mut offered, operation);
        }
        let Offered { agent, role, mut left, mut made, resized, .. } = offered;
        let is_used = left != whole;
        if left.contains(&made) {
            left -= &made;
        } else {
            made = Resources::new();
        }
        made += &resized;
        self.allocator.recover(cx.now, key, agent, &made, None);
        self.allocator.recover(cx.now, key, agent, &left, Some(time));
        if is_used {
            self.allocator.used(key, &role);
        } else {
            self.pass_turn(cx, key, &role, agent, Some(time));
        }
    }

    fn check_offers(
        &self,
        key: FrameworkId,
        ids: &[v1::OfferId],
    ) -> Result<Vec<Arc<Offer>>, String> {
        if ids.is_empty() {
            return Err("No offers specified".to_owned());
        }
        // One check of all offers after the other: of several faults the peer names the first of these.
        let ids = || ids.iter().map(|id| &id.value);
        let mut seen = BTreeSet::new();
        if let Some(id) = ids().find(|id| !seen.insert(*id)) {
            return Err(format!("Duplicate offer {id} in offer list"));
        }
        let known = |id: &String| {
            let offer = self.offers.get(id).cloned();
            offer.ok_or_else(|| format!("Offer {id} is no longer valid"))
        };
        let offers: Vec<Arc<Offer>> = ids().map(known).collect::<Result<_, _>>()?;
        if let Some(offer) = offers.iter().find(|offer| offer.framework != key) {
            let name = |key| self.framework(key).map_or("", |f| f.id.as_str()).to_owned();
            return Err(format!(
                "Offer {} has invalid framework {} while framework {} is expected",
                offer.id,
                name(offer.framework),
                name(key)
            ));
        }
        let Some(first) = offers.first() else { return Ok(offers) };
        if let Some(offer) = offers.iter().find(|offer| offer.role != first.role) {
            return Err(format!(
                "Aggregated offers must be allocated to the same role. Offer {} is allocated to role {} but role {} is expected",
                offer.id, offer.role, first.role
            ));
        }
        if let Some(offer) = offers.iter().find(|offer| offer.agent != first.agent) {
            return Err(format!(
                "Aggregated offers must belong to one single agent. Offer {} uses another agent than offer {}",
                offer.id, first.id
            ));
        }
        Ok(offers)
    }

    /// The whole call failed: every task and operation is told so.
    fn refuse_all(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        operations: &[v1::offer::Operation],
        text: &str,
    ) {
        for operation in operations {
            let tasks = match operation.r#type() {
                Type::Launch => operation.launch.as_ref().map(|l| l.task_infos.as_slice()),
                Type::LaunchGroup => {
                    operation.launch_group.as_ref().map(|l| l.task_group.tasks.as_slice())
                }
                _ => {
                    let text = format!("Operation attempted with invalid offers: {text}");
                    self.operation_error(cx, key, operation, &text);
                    continue;
                }
            };
            for task in tasks.unwrap_or_default() {
                let text = format!("Task launched with invalid offers: {text}");
                self.drop_task(cx, key, task, Reason::InvalidOffers, &text);
            }
        }
    }

    /// A task that never ran: TASK_LOST, or TASK_DROPPED for frameworks that know it.
    fn drop_task(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        task: &v1::TaskInfo,
        reason: Reason,
        text: &str,
    ) {
        let Some(framework) = self.framework(key) else { return };
        let state = framework.lost(v1::TaskState::TaskDropped);
        self.tell(cx, key, task, state, reason, text.to_owned());
    }

    /// OPERATION_ERROR, if the framework gave the operation an id.
    fn operation_error(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        operation: &v1::offer::Operation,
        text: &str,
    ) {
        let Some(id) = &operation.id else { return };
        let status = v1::OperationStatus {
            operation_id: Some(id.clone()),
            state: v1::OperationState::OperationError as i32,
            message: Some(text.to_owned()),
            ..Default::default()
        };
        self.send_operation_status(cx, key, status);
    }

    fn operation(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        offered: &mut Offered,
        operation: v1::offer::Operation,
    ) {
        let has_id = operation.id.is_some();
        self.count_of(key, "operations");
        self.count_of(
            key,
            &format!("operations/{}", operation.r#type().as_str_name().to_lowercase()),
        );
        match operation.r#type() {
            Type::Launch => {
                for task in operation.launch.unwrap_or_default().task_infos {
                    if has_id {
                        let text = "The `id` field cannot be set on LAUNCH operations".to_owned();
                        self.tell(
                            cx,
                            key,
                            &task,
                            v1::TaskState::TaskError,
                            Reason::TaskInvalid,
                            text,
                        );
                    } else {
                        self.launch(cx, key, offered, task);
                    }
                }
            }
            Type::LaunchGroup => {
                let group = operation.launch_group.unwrap_or_default();
                if has_id {
                    let text = "The `id` field cannot be set on LAUNCH_GROUP operations";
                    self.refuse_group(cx, key, &group.task_group.tasks, text);
                } else {
                    self.launch_group(cx, key, offered, group);
                }
            }
            Type::Unknown => {}
            _ => {
                let operation = allocated(operation, &offered.role);
                if let Err(mut text) = self.convert(cx, key, offered, &operation) {
                    if !offered.denied.is_empty() {
                        text = format!(
                            "{text}; limits or guarantees of others denied {}",
                            offered.denied
                        );
                    }
                    self.operation_error(cx, key, &operation, &text);
                }
            }
        }
    }

    /// A reservation or volume: what is left afterwards has it.
    fn convert(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        offered: &mut Offered,
        operation: &v1::offer::Operation,
    ) -> Result<(), String> {
        let kind = operation.r#type();
        let conversion = Conversion::of(operation)
            .map_err(|e| format!("Operation attempted with invalid resources: {e}"))?;
        if operation.reserve.as_ref().is_some_and(|r| !r.source.is_empty()) {
            return Err(
                "Reservation updates are not yet implemented for the scheduler API.".to_owned()
            );
        }
        let (Some(framework), Some(agent)) = (self.framework(key), self.agent(offered.agent))
        else {
            return Err("Agent removed".to_owned());
        };
        if !agent.is_connected() {
            return Err("Agent disconnected".to_owned());
        }
        if operation.id.is_some() && !has_feedback(agent) {
            return Err(format!(
                "Operation requested feedback, but agent {} does not have the required AGENT_OPERATION_FEEDBACK capability",
                agent.id
            ));
        }
        let used = self.state.used_on(agent);
        let actor = Actor::Framework(framework);
        validate::operation::check(operation, actor, agent, &used)
            .map_err(|e| format!("{e}; on agent {}", shown(agent)))?;
        let Some(conversion) = conversion else {
            return Err(format!("the fields of a {} operation are not set", kind.as_str_name()));
        };
        let resizes = matches!(kind, Type::GrowVolume | Type::ShrinkVolume);
        let converted = offered.left.convert(&conversion).map_err(|e| match resizes {
            true => format!("Invalid {} operation: {e}", kind.as_str_name()),
            false => e.to_string(),
        })?;
        if kind == Type::Destroy {
            self.rescind_containing(cx, offered.agent, &conversion.consumed);
        }
        offered.made -= &conversion.consumed;
        if resizes {
            offered.left -= &conversion.consumed;
            offered.resized += &conversion.converted;
        } else {
            offered.left = converted;
            offered.made += &conversion.converted;
        }
        self.apply(cx, offered.agent, Some(key), operation.clone(), &conversion);
        Ok(())
    }

    fn launch(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        offered: &mut Offered,
        mut task: v1::TaskInfo,
    ) {
        if !self.agent(offered.agent).is_some_and(|a| a.is_connected()) {
            self.drop_task(cx, key, &task, Reason::AgentDisconnected, "Agent disconnected");
            return;
        }
        let Some(framework) = self.framework(key) else { return };
        normalize(&mut task, &framework.id, &offered.role);
        let checked = validate::task::check(self, framework, offered, &task);
        let valid = match checked {
            Ok(valid) => valid,
            Err(text) => {
                let check = |o| validate::task::check(self, framework, &o, &task).is_ok();
                if offered.undenied().is_some_and(check) {
                    self.drop_task(cx, key, &task, Reason::InvalidOffers, DENIED);
                } else {
                    self.tell(cx, key, &task, v1::TaskState::TaskError, Reason::TaskInvalid, text);
                }
                return;
            }
        };
        let info = framework.info.clone();
        let shared = valid.resources.shared();
        offered.take(&valid.resources.nonshared());
        // Each task has a copy of a shared volume; the offered one is there for the next.
        self.allocator.track(key, offered.agent, &shared);
        let launch_executor = task.executor.is_none() || valid.new_executor.is_some();
        if let (Some(executor), Some(resources)) = (&task.executor, valid.new_executor) {
            offered.take(&resources);
            self.add_executor(key, offered.agent, executor.clone(), resources);
        }
        self.add_task(cx, key, offered.agent, &task, valid.resources);
        let message = internal::RunTask { framework: info, task, launch_executor };
        self.send_to_agent(cx, offered.agent, Message::RunTask(message));
    }

    fn launch_group(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        offered: &mut Offered,
        group: v1::offer::operation::LaunchGroup,
    ) {
        let (mut executor, mut tasks) = (group.executor, group.task_group.tasks);
        if !self.agent(offered.agent).is_some_and(|a| a.is_connected()) {
            for task in &tasks {
                self.drop_task(cx, key, task, Reason::AgentDisconnected, "Agent disconnected");
            }
            return;
        }
        let Some(framework) = self.framework(key) else { return };
        allocate(&mut executor.resources, &offered.role);
        for task in &mut tasks {
            if task.executor.is_none() {
                task.executor = Some(executor.clone());
            }
            normalize(task, &framework.id, &offered.role);
        }
        let valid = match validate::task::check_group(self, framework, offered, &executor, &tasks) {
            Ok(valid) => valid,
            Err(text) => {
                let check =
                    |o| validate::task::check_group(self, framework, &o, &executor, &tasks).is_ok();
                if offered.undenied().is_some_and(check) {
                    for task in &tasks {
                        self.drop_task(cx, key, task, Reason::InvalidOffers, DENIED);
                    }
                } else {
                    self.refuse_group(cx, key, &tasks, &text);
                }
                return;
            }
        };
        let info = framework.info.clone();
        let launch_executor = valid.new_executor.is_some();
        if let Some(resources) = valid.new_executor {
            offered.take(&resources);
            self.add_executor(key, offered.agent, executor.clone(), resources);
        }
        for (task, resources) in tasks.iter().zip(valid.tasks) {
            offered.take(&resources);
            self.add_task(cx, key, offered.agent, task, resources);
        }
        let message = internal::RunTaskGroup { framework: info, executor, tasks, launch_executor };
        self.send_to_agent(cx, offered.agent, Message::RunTaskGroup(message));
    }

    fn refuse_group(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        tasks: &[v1::TaskInfo],
        text: &str,
    ) {
        for task in tasks {
            let reason = Reason::TaskGroupInvalid;
            self.tell(cx, key, task, v1::TaskState::TaskError, reason, text.to_owned());
        }
    }

    fn add_executor(
        &mut self,
        key: FrameworkId,
        agent: AgentId,
        info: v1::ExecutorInfo,
        resources: Resources,
    ) {
        self.hold(key, agent, &resources);
        self.put_executor(key, agent, Executor { info, resources });
    }

    fn add_task(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        agent: AgentId,
        info: &v1::TaskInfo,
        resources: Resources,
    ) {
        let id = info.task_id.value.clone();
        self.hold(key, agent, &resources);
        let Some(framework) = self.framework_mut(key) else { return };
        let wire = v1::Task {
            name: info.name.clone(),
            task_id: info.task_id.clone(),
            framework_id: framework.id.as_str().into(),
            executor_id: info.executor.as_ref().map(|e| e.executor_id.clone()),
            agent_id: info.agent_id.clone(),
            state: v1::TaskState::TaskStaging as i32,
            resources: resources.to_wire(),
            limits: info.limits.clone(),
            labels: info.labels.clone(),
            discovery: info.discovery.clone().map(Box::new),
            container: info.container.clone().map(Box::new),
            health_check: info.health_check.clone().map(Box::new),
            kill_policy: info.kill_policy,
            user: info.command.as_ref().and_then(|c| c.user.clone()),
            ..Default::default()
        };
        let task = Arc::new(Task { wire, agent, resources, launched: Some(cx.now.mono) });
        framework.tasks.insert(id.clone(), task.clone());
        self.announce(cx, || Announcement::TaskAdded { task: Box::new(task.wire.clone()) });
        if let Some(agent) = self.agent_mut(agent) {
            agent.tasks.insert((key, id));
        }
    }
}

/// Fills what a framework may leave out.
fn normalize(task: &mut v1::TaskInfo, framework_id: &str, role: &str) {
    allocate(&mut task.resources, role);
    if let Some(executor) = &mut task.executor {
        allocate(&mut executor.resources, role);
        if executor.framework_id.is_none() {
            executor.framework_id = Some(framework_id.into());
        }
    }
    if let Some(check) = &mut task.health_check
        && check.r#type.is_none()
    {
        use v1::health_check::Type;
        let inferred = match (&check.command, &check.http) {
            (Some(_), None) => Some(Type::Command),
            (None, Some(_)) => Some(Type::Http),
            _ => None,
        };
        check.r#type = inferred.map(|t| t as i32);
    }
}

/// An operation on what is offered for a role.
fn allocated(mut operation: v1::offer::Operation, role: &str) -> v1::offer::Operation {
    let one = std::slice::from_mut;
    if let Some(reserve) = &mut operation.reserve {
        allocate(&mut reserve.source, role);
        allocate(&mut reserve.resources, role);
    }
    if let Some(unreserve) = &mut operation.unreserve {
        allocate(&mut unreserve.resources, role);
    }
    if let Some(create) = &mut operation.create {
        allocate(&mut create.volumes, role);
    }
    if let Some(destroy) = &mut operation.destroy {
        allocate(&mut destroy.volumes, role);
    }
    if let Some(grow) = &mut operation.grow_volume {
        allocate(one(&mut grow.volume), role);
        allocate(one(&mut grow.addition), role);
    }
    if let Some(shrink) = &mut operation.shrink_volume {
        allocate(one(&mut shrink.volume), role);
    }
    operation
}

fn has_feedback(agent: &Agent) -> bool {
    let wanted = v1::agent_info::capability::Type::AgentOperationFeedback;
    agent.capabilities.iter().any(|c| c.r#type() == wanted)
}

fn allocate(resources: &mut [v1::Resource], role: &str) {
    for resource in resources.iter_mut().filter(|r| r.allocation_info.is_none()) {
        resource.allocation_info =
            Some(v1::resource::AllocationInfo { role: Some(role.to_owned()) });
    }
}
