//! The master in the world: its effects, its end, and streams that break.

use super::*;
use crate::invariants::acknowledgements::Acknowledgements;

impl World {
    pub(super) fn master_start(&mut self) {
        let (id, seed) = (self.rng.uuid(), self.rng.next_u64());
        self.trace.line(self.now, "master starts");
        self.master.start(id, seed);
        let registry = self.master.registry.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let input = Box::new(master::Input::Elected { registry });
        let delay = self.random(self.options.write_max);
        let life = self.master.life;
        self.after(delay, Event::MasterInput { life, input });
    }

    pub(super) fn step_master(&mut self, input: master::Input) {
        let now = MasterNode::now(self.now);
        let Some(core) = &mut self.master.core else { return };
        let mut out = Vec::new();
        core.step(now, input, &mut out);
        let wake = core.next_wake();
        let state = core.state();
        if !state.shares.is_empty() || !state.quotas.is_empty() {
            let kept = || invariants::guarantees::check(state, now.mono);
            let within = || invariants::limits::check(state, now.mono);
            self.promise = self.promise.clone().and_then(|()| kept()).and_then(|()| within());
        }
        if self.options.lending {
            let is_whole = self.options.fault_every.is_none() || self.options.faults.is_empty();
            let recalls = self.recalls.check(core, self.now, is_whole);
            let mut shares = state.shares.values();
            self.recalled_beside_shares |= !core.recalls().is_empty()
                && shares.any(|share| share.active && !share.config.percent.is_empty());
            self.promise = self.promise.clone().and(recalls);
        }
        for effect in out {
            self.master_effect(effect);
        }
        if let Some(at) =
            wake.filter(|at| self.master.wake.is_none_or(|w| *at < w || w <= self.now))
        {
            let at = at.max(Time(self.now.0 + 1));
            self.master.wake = Some(at);
            let life = self.master.life;
            self.at(at, Event::MasterInput { life, input: Box::new(master::Input::Wake) });
        }
    }

    pub(super) fn master_effect(&mut self, effect: master::Effect) {
        match effect {
            master::Effect::Respond { token, response } => {
                self.acknowledgements.answered(token, response.status);
                if let Some((framework, tasks)) = self.requests.remove(&token) {
                    let delay = self.delay();
                    self.after(delay, Event::Answer { framework, tasks, status: response.status });
                }
            }
            master::Effect::SendEvent { stream, event } => {
                let sent = self.acknowledgements.sent(&event);
                self.promise = self.promise.clone().and(sent);
                let at = self.now + self.delay();
                if let Some((Peer::Framework(framework), at)) =
                    self.network.arrival(stream, Direction::FromMaster, at)
                {
                    self.at(at, Event::ToFramework { stream, framework, event });
                }
            }
            master::Effect::CloseStream { stream } => self.break_stream(stream),
            master::Effect::SendToAgent { connection, message } => {
                let at = self.now + self.delay();
                if let Some((Peer::Agent(agent), at)) =
                    self.network.arrival(connection, Direction::FromMaster, at)
                    && let Some(message) = self.sabotaged(agent, *message)
                {
                    let life = self.agents[agent].life;
                    let message = Box::new(message);
                    let input = Box::new(agent::Input::FromMaster { connection, message });
                    self.at(at, Event::ToAgent { stream: connection, agent, life, input });
                }
            }
            master::Effect::CloseAgent { connection } => self.break_stream(connection),
            master::Effect::WriteRegistry { id, ops } => {
                let done =
                    self.now.max(self.master.disk_free) + self.random(self.options.write_max);
                self.master.disk_free = done;
                let input = Box::new(master::Input::Written { id, result: Ok(()) });
                let life = self.master.life;
                self.at(done, Event::MasterApply { life, input, ops });
            }
            // No simulated operator listens.
            master::Effect::Announce { .. } => {}
            master::Effect::Log { text } => self.trace.line(self.now, &format!("master: {text}")),
            master::Effect::Abort { message } => {
                self.trace.line(self.now, &format!("master aborts: {message}"));
                self.master_crash();
            }
        }
    }

    pub(super) fn master_crash(&mut self) {
        self.trace.line(self.now, "master dies");
        self.master.core = None;
        self.master.life += 1;
        for stream in self.network.all() {
            self.break_stream(stream);
        }
        self.acknowledgements = Acknowledgements::default();
        let requests = std::mem::take(&mut self.requests);
        for (_, (framework, tasks)) in requests {
            self.frameworks[framework].settle(&tasks);
        }
        let delay = self.random(Duration::from_secs(20));
        self.after(delay, Event::MasterStart);
    }

    /// A stream to or from the master breaks: both ends notice, later, each for itself.
    pub(super) fn break_stream(&mut self, stream: Token) {
        let Some(peer) = self.network.close(stream) else { return };
        let life = self.master.life;
        let delay = self.delay();
        match peer {
            Peer::Agent(agent) => {
                let input = Box::new(master::Input::AgentClosed { connection: stream });
                self.after(delay, Event::MasterInput { life, input });
                let life = self.agents[agent].life;
                let input = Box::new(agent::Input::MasterClosed { connection: stream });
                let delay = self.delay();
                self.after(delay, Event::AgentInput { agent, life, input });
                if self.agents[agent].master == Some(stream) {
                    self.agents[agent].master = None;
                    let delay = delay + self.random(REDIAL_MAX);
                    self.after(delay, Event::AgentDial { agent, life });
                }
            }
            Peer::Framework(framework) => {
                let input = Box::new(master::Input::StreamClosed { stream });
                self.after(delay, Event::MasterInput { life, input });
                if self.frameworks[framework].stream == Some(stream) {
                    self.frameworks[framework].stream = None;
                    let delay = self.random(REDIAL_MAX);
                    self.after(delay, Event::FrameworkDial { framework });
                }
            }
        }
    }

    pub(super) fn share(&mut self) {
        let Some(every) = self.options.share_every.filter(|_| !self.is_calm()) else { return };
        let call = operator::next(&mut self.rng);
        self.trace.line(self.now, &format!("operator asks for {call:?}"));
        let token = self.network.token();
        self.step_master(master::Input::Operator { token, call });
        let delay = self.random(2 * every);
        self.after(delay, Event::Share);
    }

    pub(super) fn is_calm(&self) -> bool {
        self.frameworks.iter().all(|f| f.calm)
    }
}
