//! Tasks that shall end: as their framework asks (spec/master.md 1.2), or an operator.

use crate::contract::Effect;
use crate::master::{Cx, Master};
use crate::state::{Framework, is_terminal};
use allocator::FrameworkId;
use base::Token;
use wire::internal::master_to_agent::Message;
use wire::v1::scheduler::call;
use wire::{internal, v1};

/// Who asked, in the messages of a task that an operator killed.
pub(crate) const OPERATOR: &str = "an operator";

impl Master {
    /// As the framework asks. What it does not have is answered with what is known of it.
    pub(crate) fn kill(&mut self, cx: &mut Cx<'_>, key: FrameworkId, kill: call::Kill) {
        let Some(framework) = self.framework(key) else { return };
        let Some(task) = framework.tasks.get(&kill.task_id.value) else {
            let tasks =
                vec![call::reconcile::Task { task_id: kill.task_id, agent_id: kill.agent_id }];
            self.reconcile(cx, key, &call::Reconcile { tasks });
            return;
        };
        if kill.agent_id.as_ref().is_some_and(|id| *id != task.wire.agent_id) {
            return;
        }
        self.ask_to_kill(cx, key, &kill.task_id.value, kill.kill_policy, None);
    }

    /// As an operator asks: the framework is told TASK_KILLED, with a message that says so.
    pub(crate) fn kill_for_operator(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        framework_id: &str,
        task_id: &str,
        policy: Option<v1::KillPolicy>,
    ) {
        let Some(key) = self.framework_keys.get(framework_id).copied() else {
            cx.respond(token, 404, format!("No framework '{framework_id}' is subscribed"));
            return;
        };
        let Some(framework) = self.framework(key) else { return };
        let runs = framework.tasks.get(task_id).is_some_and(|t| !is_terminal(t.wire.state()));
        if !runs {
            let (status, text) = not_killed(framework, task_id);
            cx.respond(token, status, text);
            return;
        }
        let text = format!("an operator kills task '{task_id}' of framework {framework_id}");
        cx.out.push(Effect::Log { text });
        self.ask_to_kill(cx, key, task_id, policy, Some(OPERATOR));
        cx.respond(token, 202, "");
    }

    /// Asks the agent of a task to end it; one that is away now is asked when it is back.
    fn ask_to_kill(
        &mut self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        task_id: &str,
        kill_policy: Option<v1::KillPolicy>,
        asked_by: Option<&str>,
    ) {
        let Some(framework) = self.framework(key) else { return };
        let Some(on) = framework.tasks.get(task_id).map(|task| task.agent) else { return };
        let message = internal::KillTask {
            framework_id: framework.id.as_str().into(),
            task_id: task_id.into(),
            kill_policy,
            preemption: None,
            at_once: None,
            asked_by: asked_by.map(str::to_owned),
        };
        if let Some(agent) = self.agent_mut(on) {
            let task = (key, task_id.to_owned());
            if asked_by.is_some() && !agent.killed.contains(&task) {
                agent.killed_by_operator.insert(task.clone());
            }
            agent.killed.insert(task);
        }
        self.send_to_agent(cx, on, Message::KillTask(message));
    }
}

/// Why a task can't be killed: status and text.
fn not_killed(framework: &Framework, id: &str) -> (u16, String) {
    let ended = framework.completed_tasks.iter().rev().find(|task| task.id() == id);
    if let Some(task) = framework.tasks.get(id).or(ended) {
        let state = task.wire.state().as_str_name();
        return (409, format!("Task '{id}' has ended already: {state}"));
    }
    if framework.unreachable_tasks.iter().any(|task| task.id() == id) {
        return (
            409,
            format!("The agent of task '{id}' is unreachable: ask again when it is back"),
        );
    }
    (404, format!("Framework '{}' has no task '{id}'", framework.id))
}
