//! Rules that are broken on purpose, to see that the simulator notices.

use crate::World;
use crate::framework::is_terminal;
use wire::internal::master_to_agent::Message;

/// A rule of recalls that is broken on the way from the master to its agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Where a task is to give back what it borrowed, another one is killed for it that borrowed nothing.
    KillsWhoBorrowsNothing,
    /// Nobody is killed for what is wanted back, so that its owner waits for as long as the tasks run.
    KillsNobody,
}

impl World {
    /// What arrives in place of a message of the master; None: nothing.
    pub(crate) fn sabotaged(&self, agent: usize, message: Message) -> Option<Message> {
        match self.options.sabotage {
            None => Some(message),
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
