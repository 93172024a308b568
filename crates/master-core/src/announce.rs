//! What operators' event streams are told (spec/master.md 5.1). Nothing is announced while nobody listens.

use crate::contract::Effect;
use crate::master::{Cx, Master};
use allocator::{AgentId, FrameworkId};
use wire::v1;
use wire::v1::task_status::Reason;

/// A change that operators' event streams are told.
#[derive(Debug, Clone, PartialEq)]
pub enum Announcement {
    /// A task was added to a framework.
    TaskAdded {
        /// The task.
        task: Box<v1::Task>,
    },
    /// A task's state, or the result of one of its checks, is another.
    TaskUpdated {
        /// Its framework.
        framework_id: String,
        /// What was said.
        status: Box<v1::TaskStatus>,
        /// Its state by now.
        state: v1::TaskState,
    },
    /// A new or returning agent.
    AgentAdded {
        /// Its number.
        agent: AgentId,
    },
    /// An agent was removed.
    AgentRemoved {
        /// Its id.
        agent_id: String,
    },
    /// A new framework, or one that became known through its agents.
    FrameworkAdded {
        /// Its number.
        framework: FrameworkId,
    },
    /// A framework subscribed again or changed.
    FrameworkUpdated {
        /// Its number.
        framework: FrameworkId,
    },
    /// A framework ended.
    FrameworkRemoved {
        /// Its last description.
        info: Box<v1::FrameworkInfo>,
    },
}

impl Master {
    /// Whether anybody listens to announcements.
    pub fn observe(&mut self, observed: bool) {
        self.observed = observed;
    }

    pub(crate) fn announce(&self, cx: &mut Cx<'_>, make: impl FnOnce() -> Announcement) {
        if self.observed {
            cx.out.push(Effect::Announce { announcement: make() });
        }
    }

    /// After a status: announces it if it tells something new.
    pub(crate) fn announce_status(
        &self,
        cx: &mut Cx<'_>,
        key: FrameworkId,
        status: &v1::TaskStatus,
        is_new_state: bool,
        state: v1::TaskState,
    ) {
        let is_check = matches!(
            status.reason(),
            Reason::TaskHealthCheckStatusUpdated | Reason::TaskCheckStatusUpdated
        ) && status.reason.is_some();
        if !self.observed || !(is_new_state || is_check) {
            return;
        }
        let Some(framework) = self.framework(key) else { return };
        let framework_id = framework.id.clone();
        let status = Box::new(status.clone());
        self.announce(cx, || Announcement::TaskUpdated { framework_id, status, state });
    }
}
