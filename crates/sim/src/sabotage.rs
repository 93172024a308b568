//! Rules that are broken on purpose, to see that the simulator notices.

use crate::World;
use crate::framework::is_terminal;
use wire::internal;
use wire::internal::master_to_agent::Message;
use wire::v1::TaskState;

/// A rule of recalls that is broken on the way from the master to its agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Where a task is to give back what it borrowed, another one is killed for it that borrowed nothing.
    KillsWhoBorrowsNothing,
    /// Nobody is killed for what is wanted back, so that its owner waits for as long as the tasks run.
    KillsNobody,
    /// Among several masters: whoever led may write to the registry.
    NoFence,
    /// A leader goes on when its place is not confirmed any more.
    ActsWithoutLease,
    /// Some writes of the registry are said to be made and are not.
    ForgetsWrites,
    /// A master that begins to lead does not know which agents are out of use.
    ForgetsDrains,
    /// A master that begins to lead kills a task of an agent that comes back.
    KillsAtFailover,
    /// What is acknowledged never gets to agents once another master has led.
    LosesAcknowledgements,
}

impl World {
    /// What arrives in place of a message of the master; None: nothing.
    pub(crate) fn sabotaged(&self, agent: usize, message: Message) -> Option<Message> {
        match self.options.sabotage {
            None
            | Some(
                Sabotage::NoFence
                | Sabotage::ActsWithoutLease
                | Sabotage::ForgetsWrites
                | Sabotage::ForgetsDrains,
            ) => Some(message),
            Some(Sabotage::KillsAtFailover) => Some(self.kills(agent, message)),
            Some(Sabotage::LosesAcknowledgements) => {
                let is_lost = matches!(message, Message::AcknowledgeStatus(_)) && self.led() > 1;
                (!is_lost).then_some(message)
            }
            Some(Sabotage::KillsNobody) => {
                let is_end = match &message {
                    Message::KillTask(kill) => kill.preemption.is_some(),
                    Message::ShutdownExecutor(_) => true,
                    _ => false,
                };
                (!is_end).then_some(message)
            }
            Some(Sabotage::KillsWhoBorrowsNothing) => Some(self.for_another(agent, message)),
        }
    }

    /// A ping of a later leader becomes the kill of something that runs.
    fn kills(&self, agent: usize, message: Message) -> Message {
        let core = self.agents[agent].core.as_ref();
        let id = core.and_then(|core| core.view().id.clone());
        let of = |f: &crate::framework::Framework| {
            let mut tasks = f.tasks.iter();
            let runs = |state: TaskState| state == TaskState::TaskRunning;
            let found =
                tasks.find(|(_, t)| Some(&t.agent) == id.as_ref() && t.state.is_some_and(runs));
            found.map(|(task, _)| (f.id.clone().unwrap_or_default(), task.clone()))
        };
        let found = self.frameworks.iter().find_map(of);
        match (found, &message) {
            (Some((framework, task)), Message::Ping(_)) if self.led() > 1 => {
                Message::KillTask(internal::KillTask {
                    framework_id: framework.as_str().into(),
                    task_id: task.as_str().into(),
                    ..Default::default()
                })
            }
            _ => message,
        }
    }

    /// A preemption hits another task of the framework on the agent, that borrows nothing, if there is one.
    fn for_another(&self, agent: usize, mut message: Message) -> Message {
        if let Message::KillTask(kill) = &mut message
            && kill.preemption.is_some()
        {
            let id = self.agents[agent].core.as_ref().and_then(|core| core.view().id.clone());
            let framework = Some(kill.framework_id.value.as_str());
            let mut frameworks = self.frameworks.iter();
            let known = frameworks.find(|f| f.id.as_deref() == framework);
            let mut tasks = known.into_iter().flat_map(|f| &f.tasks);
            let other = tasks.find(|(_, task)| {
                Some(&task.agent) == id.as_ref()
                    && !task.revocable
                    && task.state.is_some_and(|state| !is_terminal(state))
            });
            if let Some((other, _)) = other {
                kill.task_id.value.clone_from(other);
            }
        }
        message
    }
}
