//! Scheduler calls on a subscribed framework: checks in the order of spec/master.md 1.1, then one function per call.

use crate::acknowledged::Status;
use crate::inverse_offers::Answer;
use crate::master::{Cx, Master};
use crate::state::Framework;
use crate::validate;
use allocator::{AgentId, FrameworkId};
use base::Token;
use std::collections::BTreeSet;
use std::time::Duration;
use wire::internal::master_to_agent::Message;
use wire::v1::scheduler::call::{self, Type};
use wire::v1::scheduler::{Call, Event, event};
use wire::{internal, v1};

/// How long refused resources stay refused when the framework does not say.
const REFUSE_DEFAULT: Duration = Duration::from_secs(5);

/// A filter's time (spec/master.md 1.2).
pub(crate) fn refuse(filters: Option<&v1::Filters>) -> Duration {
    let seconds = filters.map_or(REFUSE_DEFAULT.as_secs_f64(), v1::Filters::refuse_seconds);
    if seconds < 0.0 || seconds.is_nan() {
        return REFUSE_DEFAULT;
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// An agent that heard of an acknowledgement keeps it within this time.
const ACKNOWLEDGEMENT_KEPT: Duration = Duration::from_secs(60);

impl Master {
    pub(crate) fn on_call(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        stream_id: Option<&str>,
        call: Call,
        principal: Option<&str>,
    ) {
        if self.state.elected.is_none() {
            cx.respond(token, 503, "Master has not finished recovery");
            return;
        }
        if let Err(text) = validate::call::check(&call) {
            cx.respond(token, 400, format!("Failed to validate scheduler::Call: {text}"));
            return;
        }
        let id = call.framework_id.as_ref().map_or("", |id| id.value.as_str());
        let Some(framework) = self.framework_keys.get(id).and_then(|key| self.framework(*key))
        else {
            cx.respond(token, 400, "Framework cannot be found");
            return;
        };
        if let Some(refusal) = refuse_caller(framework, stream_id, principal) {
            cx.respond(token, refusal.0, refusal.1);
            return;
        }
        let key = framework.key;
        self.count_call(key, call.r#type());
        match call.r#type() {
            Type::Unknown | Type::Subscribe => return cx.respond(token, 501, "Unknown call type"),
            Type::UpdateFramework => {
                let update = call.update_framework.unwrap_or_default();
                return match self.update_framework(cx, key, update) {
                    Ok(()) => cx.respond(token, 200, ""),
                    Err(text) => cx.respond(token, 400, text),
                };
            }
            _ => cx.respond(token, 202, ""),
        }
        self.carry_out(cx, key, call);
    }

    fn carry_out(&mut self, cx: &mut Cx<'_>, key: FrameworkId, call: Call) {
        match call.r#type() {
            Type::Teardown => self.remove_framework(cx, key),
            Type::Accept => self.accept(cx, key, call.accept.unwrap_or_default()),
            Type::Decline => {
                let decline = call.decline.unwrap_or_default();
                let time = refuse(decline.filters.as_ref());
                for id in decline.offer_ids {
                    // Only its own offers: the peer does not look, and lets anybody decline anything.
                    let own = self.offers.get(&id.value).filter(|o| o.framework == key);
                    if let Some(made) = own.map(|offer| offer.made) {
                        self.note_answered(cx.now, made);
                        self.count_of(key, "offers/declined");
                        self.pass(cx, &id.value, Some(time));
                    }
                }
            }
            Type::Revive => self.revive(key, call.revive.map(|r| r.roles).unwrap_or_default()),
            Type::Suppress => {
                self.suppress(key, call.suppress.map(|s| s.roles).unwrap_or_default())
            }
            Type::Kill => self.kill(cx, key, call.kill.unwrap_or_default()),
            Type::Shutdown => self.shutdown_executor(cx, key, &call.shutdown.unwrap_or_default()),
            Type::Acknowledge => self.acknowledge(cx, key, call.acknowledge.unwrap_or_default()),
            Type::Reconcile => self.reconcile(cx, key, &call.reconcile.unwrap_or_default()),
            Type::ReconcileOperations => {
                self.reconcile_operations(cx, key, call.reconcile_operations.unwrap_or_default());
            }
            Type::Message => self.message(cx, key, call.message.unwrap_or_default()),
            Type::AcknowledgeOperationStatus => {
                let acknowledge = call.acknowledge_operation_status.unwrap_or_default();
                self.on_operation_acknowledged(cx, &acknowledge);
            }
            Type::AcceptInverseOffers => {
                let accept = call.accept_inverse_offers.unwrap_or_default();
                let time = refuse(accept.filters.as_ref());
                self.answer_inverse(cx, key, &accept.inverse_offer_ids, Answer::Accept, time);
            }
            Type::DeclineInverseOffers => {
                let decline = call.decline_inverse_offers.unwrap_or_default();
                let time = refuse(decline.filters.as_ref());
                self.answer_inverse(cx, key, &decline.inverse_offer_ids, Answer::Decline, time);
            }
            // Whatever exactly it wants: it does want something.
            Type::Request => self.allocator.request(key),
            Type::UpdateFramework | Type::Subscribe | Type::Unknown => {}
        }
    }

    fn count_call(&mut self, key: FrameworkId, kind: Type) {
        self.count_of(key, "calls");
        self.count_of(key, &format!("calls/{}", kind.as_str_name().to_lowercase()));
        let name = match kind {
            Type::Accept => "launch_tasks",
            Type::Decline => "decline_offers",
            Type::Revive => "revive_offers",
            Type::Suppress => "suppress_offers",
            Type::Kill => "kill_task",
            Type::Acknowledge => "status_update_acknowledgement",
            Type::AcknowledgeOperationStatus => "operation_status_update_acknowledgement",
            Type::Reconcile => "reconcile_tasks",
            Type::ReconcileOperations => "reconcile_operations",
            Type::Message => "framework_to_executor",
            Type::Request => "resource_request",
            Type::Teardown => "unregister_framework",
            _ => return,
        };
        self.count(&format!("master/messages_{name}"));
    }

    /// The roles that are meant; None if one is not the framework's.
    fn meant(&self, key: FrameworkId, roles: Vec<String>) -> Option<BTreeSet<String>> {
        let framework = self.framework(key)?;
        let own = framework.roles();
        let meant: BTreeSet<String> = roles.into_iter().collect();
        meant.is_subset(&own).then_some(if meant.is_empty() { own } else { meant })
    }

    fn revive(&mut self, key: FrameworkId, roles: Vec<String>) {
        let Some(roles) = self.meant(key, roles) else { return };
        if let Some(framework) = self.framework_mut(key) {
            framework.suppressed.retain(|role| !roles.contains(role));
        }
        self.warnings.forget_answers_of(key);
        self.allocator.revive(key, &roles);
    }

    fn suppress(&mut self, key: FrameworkId, roles: Vec<String>) {
        let Some(roles) = self.meant(key, roles) else { return };
        if let Some(framework) = self.framework_mut(key) {
            framework.suppressed.extend(roles.iter().cloned());
        }
        self.allocator.suppress(key, &roles);
    }

    fn shutdown_executor(&self, cx: &mut Cx<'_>, key: FrameworkId, shutdown: &call::Shutdown) {
        let Some(framework) = self.framework(key) else { return };
        if let Some(agent) = self.agent_keys.get(&shutdown.agent_id.value) {
            let message = internal::ShutdownExecutor {
                framework_id: framework.id.as_str().into(),
                executor_id: shutdown.executor_id.clone(),
            };
            self.send_to_agent(cx, *agent, Message::ShutdownExecutor(message));
        }
    }

    fn message(&mut self, cx: &mut Cx<'_>, key: FrameworkId, message: call::Message) {
        let Some(id) = self.framework(key).map(|f| f.id.clone()) else { return };
        let agent = self.agent_keys.get(&message.agent_id.value).copied();
        let Some(agent) = agent.filter(|a| self.agent(*a).is_some_and(|a| a.is_connected())) else {
            self.count("master/invalid_framework_to_executor_messages");
            return;
        };
        self.count("master/valid_framework_to_executor_messages");
        let message = internal::FrameworkMessage {
            framework_id: id.as_str().into(),
            executor_id: message.executor_id,
            data: message.data,
        };
        self.send_to_agent(cx, agent, Message::FrameworkMessage(message));
    }

    /// From an executor to its framework.
    pub(crate) fn on_executor_message(
        &mut self,
        cx: &mut Cx<'_>,
        agent_id: &str,
        message: internal::ExecutorMessage,
    ) {
        let key = self.framework_keys.get(&message.framework_id.value).copied();
        let Some(key) = key.filter(|k| self.framework(*k).is_some_and(Framework::is_connected))
        else {
            self.count("master/invalid_executor_to_framework_messages");
            return;
        };
        self.count("master/valid_executor_to_framework_messages");
        let message = event::Message {
            agent_id: agent_id.into(),
            executor_id: message.executor_id,
            data: message.data,
        };
        let event =
            Event { message: Some(message), ..crate::frameworks::event(event::Type::Message) };
        self.send_event(cx, key, event);
    }

    fn acknowledge(&mut self, cx: &mut Cx<'_>, key: FrameworkId, acknowledge: call::Acknowledge) {
        let id = acknowledge.agent_id.value.as_str();
        let agent = self.agent_keys.get(id).copied();
        let connected = agent.filter(|a| self.agent(*a).is_some_and(|a| a.is_connected()));
        let may_return =
            self.state.unreachable.contains_key(id) || self.state.recovered_agents.contains_key(id);
        if agent.is_some() || may_return {
            // A connection that is broken may be seen so only after all pings.
            let pings = self.config.agent_ping_timeout * (self.config.max_agent_ping_timeouts + 1);
            let kept = connected.map(|_| pings + ACKNOWLEDGEMENT_KEPT);
            if let Some(told) = Status::new(key, &acknowledge.task_id.value, &acknowledge.uuid) {
                self.acknowledged.note(cx.now.mono, id, kept, told);
            }
        }
        let Some(agent) = connected else {
            // It tells the status again when it is back, and then hears of this.
            self.count("master/invalid_status_update_acknowledgements");
            return;
        };
        self.count("master/valid_status_update_acknowledgements");
        self.settle(cx, key, agent, acknowledge.task_id, acknowledge.uuid);
    }

    /// Hands an acknowledgement on to its agent; a task whose end it is goes to the completed ones.
    pub(crate) fn settle(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        agent: AgentId,
        task_id: v1::TaskId,
        uuid: Vec<u8>,
    ) {
        let Some(framework) = self.framework(key) else { return };
        let id = framework.id.clone();
        let ended = framework.tasks.get(&task_id.value).is_some_and(|t| {
            t.wire.status_update_uuid() == uuid && crate::is_terminal(t.wire.status_update_state())
        });
        if ended {
            self.complete_task(key, &task_id.value);
        }
        let message =
            internal::AcknowledgeStatus { framework_id: id.as_str().into(), task_id, uuid };
        self.send_to_agent(cx, agent, Message::AcknowledgeStatus(message));
    }
}

/// Whether the caller is who it should be: status and text if not.
fn refuse_caller(
    framework: &Framework,
    stream_id: Option<&str>,
    principal: Option<&str>,
) -> Option<(u16, String)> {
    if let Some(principal) = principal
        && framework.info.principal.as_deref() != Some(principal)
    {
        let text = format!(
            "Authenticated principal '{principal}' does not match principal of the framework"
        );
        return Some((400, text));
    }
    if framework.stream.is_none() {
        return Some((403, "Framework is not subscribed".to_owned()));
    }
    match stream_id {
        None => Some((
            400,
            "All non-subscribe calls should include the 'Mesos-Stream-Id' header".to_owned(),
        )),
        Some(id) if id != framework.stream_id => Some((
            400,
            format!(
                "The stream ID '{id}' included in this request didn't match the stream ID currently associated with framework ID {}",
                framework.id
            ),
        )),
        Some(_) => None,
    }
}
