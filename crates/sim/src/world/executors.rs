//! Executors of frameworks' own in the world: their connections to the agent, what they say and hear.

use super::*;
use crate::executor::{Action, IDLE};
use wire::v1::{self, TaskState, executor};

/// What happens to an executor; void when its container has ended.
#[derive(Debug)]
pub(super) enum ExecutorEvent {
    /// It connects to its agent.
    Dial,
    /// It hears something.
    Hears { event: Box<executor::Event> },
    /// Its stream is closed by the agent.
    Closed { stream: Token },
    /// What it says arrives.
    Says { call: Box<executor::Call> },
    /// One of its tasks ends.
    TaskEnds { task: String, state: TaskState },
    /// It ends if it had nothing to do for long enough.
    Rests,
}

impl World {
    fn executor_after(
        &mut self,
        delay: Duration,
        agent: usize,
        container: &str,
        event: ExecutorEvent,
    ) {
        let container = container.to_owned();
        self.after(delay, Event::Executor { agent, container, event });
    }

    fn executor_at(&mut self, at: Time, agent: usize, container: &str, event: ExecutorEvent) {
        self.at(at, Event::Executor { agent, container: container.to_owned(), event });
    }

    /// The process of an executor runs.
    pub(super) fn executor_started(&mut self, agent: usize, container: &str) {
        let delay = self.random(Duration::from_secs(1));
        self.executor_after(delay, agent, container, ExecutorEvent::Dial);
    }

    pub(super) fn executor_event(&mut self, agent: usize, container: &str, event: ExecutorEvent) {
        let node = &mut self.agents[agent];
        let Some(executor) = node.executors.get_mut(container) else { return };
        match event {
            ExecutorEvent::Dial if executor.stream.is_some() => {}
            ExecutorEvent::Dial if node.core.is_none() => {
                if executor.checkpoint {
                    self.executor_started(agent, container);
                } else {
                    self.executor_exits(agent, container);
                }
            }
            ExecutorEvent::Dial => {
                let stream = self.network.token();
                executor.stream = Some(stream);
                if executor.is_idle() {
                    executor.idle_since.get_or_insert(self.now);
                }
                let call = Box::new(executor.subscribe());
                self.executor_calls.insert(stream, (agent, container.to_owned(), Vec::new()));
                self.executor_after(IDLE, agent, container, ExecutorEvent::Rests);
                self.step_agent(agent, agent::Input::ExecutorSubscribe { stream, call });
            }
            ExecutorEvent::Hears { event } => {
                let actions = executor.on_event(*event, self.now, &mut self.rng);
                if executor.idle_since == Some(self.now) {
                    self.executor_after(IDLE, agent, container, ExecutorEvent::Rests);
                }
                for action in actions {
                    self.executor_action(agent, container, action);
                }
                self.executor_complains(agent, container);
            }
            ExecutorEvent::Closed { stream } if executor.stream == Some(stream) => {
                executor.stream = None;
                self.executor_started(agent, container);
            }
            ExecutorEvent::Closed { .. } => {}
            // What is said while the agent is away is said again when it is back.
            ExecutorEvent::Says { .. } if node.core.is_none() => {}
            ExecutorEvent::Says { call } => {
                let token = self.network.token();
                let uuid = call.update.as_ref().map(|u| u.status.uuid().to_vec());
                let uuid = uuid.unwrap_or_default();
                self.executor_calls.insert(token, (agent, container.to_owned(), uuid));
                self.step_agent(agent, agent::Input::ExecutorCall { token, call });
            }
            ExecutorEvent::TaskEnds { task, state } => {
                if let Some(status) = executor.end(&task, state, &mut self.rng) {
                    self.executor_says(agent, container, status);
                }
            }
            ExecutorEvent::Rests => {
                if executor.idle_since.is_some_and(|since| since + IDLE <= self.now) {
                    self.executor_exits(agent, container);
                }
            }
        }
    }

    fn executor_action(&mut self, agent: usize, container: &str, action: Action) {
        match action {
            Action::Say(status) => self.executor_says(agent, container, *status),
            Action::End { task, after, state } => {
                let event = ExecutorEvent::TaskEnds { task, state };
                self.executor_after(after, agent, container, event);
            }
            Action::Exit => self.executor_exits(agent, container),
        }
    }

    fn executor_says(&mut self, agent: usize, container: &str, status: v1::TaskStatus) {
        let delay = self.random(Duration::from_millis(5));
        let now = self.now;
        let Some(executor) = self.agents[agent].executors.get_mut(container) else { return };
        // Without a stream it comes with the next subscription.
        let (call, at) = executor.say(status, now, delay);
        if executor.stream.is_some() {
            let call = Box::new(call);
            self.executor_at(at, agent, container, ExecutorEvent::Says { call });
        }
    }

    fn executor_exits(&mut self, agent: usize, container: &str) {
        let delay = self.random(Duration::from_millis(5));
        self.after(
            delay,
            Event::ContainerEnd { agent, container: container.to_owned(), status: 0 },
        );
    }

    fn executor_complains(&mut self, agent: usize, container: &str) {
        let executor = self.agents[agent].executors.get(container);
        if let Some(complaint) = executor.and_then(|e| e.complaint.clone()) {
            self.promise = self.promise.clone().and(Err(format!("agent {agent}: {complaint}")));
        }
    }

    /// The agent answers a call; a refused update is said again, a refused subscription asked for again.
    pub(super) fn executor_answered(&mut self, token: Token, status: u16) {
        let Some((agent, container, uuid)) = self.executor_calls.remove(&token) else { return };
        let Some(executor) = self.agents[agent].executors.get_mut(&container) else { return };
        if executor.stream == Some(token) {
            executor.stream = None;
            self.executor_started(agent, &container);
        } else if status != 202 && executor.is_open(&uuid) {
            // It is told again, with all others, when it subscribes anew.
            let stream = executor.stream.take();
            self.executor_started(agent, &container);
            if let Some(stream) = stream {
                self.step_agent(agent, agent::Input::ExecutorClosed { stream });
            }
        }
    }

    /// Something of the agent's arrives at an executor, in order.
    pub(super) fn tell_executor(&mut self, stream: Token, event: Option<Box<executor::Event>>) {
        let Some((agent, container, _)) = self.executor_calls.get(&stream).cloned() else { return };
        let delay = self.random(Duration::from_millis(5));
        let now = self.now;
        let Some(executor) = self.agents[agent].executors.get_mut(&container) else { return };
        executor.told = (now + delay).max(Time(executor.told.0 + 1));
        let at = executor.told;
        let event = match event {
            Some(event) => ExecutorEvent::Hears { event },
            None => ExecutorEvent::Closed { stream },
        };
        self.executor_at(at, agent, &container, event);
    }

    /// The agent's process is gone: executors notice.
    pub(super) fn executors_lose_agent(&mut self, agent: usize) {
        self.executor_calls.retain(|_, (of, ..)| *of != agent);
        let executors = self.agents[agent].executors.iter_mut();
        let lost = executors.filter_map(|(container, e)| e.stream.take().map(|_| container));
        let lost: Vec<String> = lost.cloned().collect();
        for container in lost {
            self.executor_started(agent, &container);
        }
    }
}
