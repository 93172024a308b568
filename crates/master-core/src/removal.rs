//! The end of a framework (spec/master.md 1.8).

use crate::announce::Announcement;
use crate::contract::Effect;
use crate::master::{Cx, Master, Timer};
use crate::tasks::{keep_status, master_status, push_bounded};
use allocator::FrameworkId;
use resources::Resources;
use std::sync::Arc;
use wire::internal;
use wire::internal::master_to_agent::Message;
use wire::v1;
use wire::v1::TaskState;
use wire::v1::task_status::Reason;

impl Master {
    pub(crate) fn remove_framework(&mut self, cx: &mut Cx<'_>, key: FrameworkId) {
        let stream = self.framework(key).and_then(|f| f.stream);
        self.disconnect(cx, key);
        self.timers.cancel(&Timer::Failover(key));
        if let Some(stream) = stream {
            cx.out.push(Effect::CloseStream { stream });
        }
        let Some(id) = self.framework(key).map(|f| f.id.clone()) else { return };
        for agent in self.state.agents.keys() {
            let message = internal::ShutdownFramework { framework_id: id.as_str().into() };
            self.send_to_agent(cx, *agent, Message::ShutdownFramework(message));
        }
        let executors: Vec<_> =
            self.framework(key).map_or_else(Vec::new, |f| f.executors.keys().cloned().collect());
        for (agent, executor) in executors {
            self.remove_executor(cx, key, agent, &executor);
        }
        let Some(framework) = self.state.frameworks.remove(&key) else { return };
        let mut framework = Arc::unwrap_or_clone(framework);
        let keep = self.config.max_completed_tasks_per_framework;
        let tasks = std::mem::take(&mut framework.tasks).into_values();
        for mut task in tasks.chain(std::mem::take(&mut framework.unreachable_tasks)) {
            if task.holds_resources() {
                self.free(cx, key, task.agent, &task.resources);
            }
            self.take_off(task.agent, key, task.id());
            if !crate::is_terminal(task.wire.state()) {
                let message = format!("Framework {id} removed");
                let status = v1::TaskStatus {
                    task_id: task.wire.task_id.clone(),
                    agent_id: Some(task.wire.agent_id.clone()),
                    ..master_status(cx, TaskState::TaskKilled, Reason::FrameworkRemoved, message)
                };
                self.count_end(key, TaskState::TaskKilled, &status);
                let task = Arc::make_mut(&mut task);
                task.wire.state = TaskState::TaskKilled as i32;
                keep_status(&mut task.wire, &status);
            }
            push_bounded(&mut framework.completed_tasks, task, keep);
        }
        framework.used = Resources::new();
        framework.unregistered = Some(cx.now.wall);
        let info = v1::FrameworkInfo { id: Some(id.as_str().into()), ..framework.info.clone() };
        self.announce(cx, || Announcement::FrameworkRemoved { info: Box::new(info) });
        self.state.forget_answers(key);
        self.allocator.remove_framework(key);
        self.history.forget(key);
        self.framework_keys.remove(&id);
        self.state.completed_frameworks.push_back(Arc::new(framework));
        while self.state.completed_frameworks.len() > self.config.max_completed_frameworks {
            self.state.completed_frameworks.pop_front();
        }
    }
}
