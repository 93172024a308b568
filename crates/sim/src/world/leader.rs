//! A master in the world: its effects, its end, and streams that break.

use super::*;

impl World {
    pub(super) fn master_start(&mut self, master: usize) {
        if self.masters[master].core.is_some() {
            return;
        }
        let (id, seed) = (self.rng.uuid(), self.rng.next_u64());
        self.trace.line(self.now, &format!("master {master} starts"));
        let pace = self.has_coordination().then_some(self.options.pace);
        let heedless = self.options.sabotage == Some(Sabotage::ActsWithoutLease);
        self.masters[master].start(id, seed, pace, heedless);
        let life = self.masters[master].life;
        let delay = self.random(self.options.write_max);
        if pace.is_some() {
            self.after(delay, Event::MasterBeat { master, life });
            return;
        }
        let registry = self.registry().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let input = Box::new(master::Input::Elected { registry });
        self.after(delay, Event::MasterInput { master, life, input });
    }

    /// What is in the registry.
    pub(crate) fn registry(&self) -> &BTreeMap<(String, String), Vec<u8>> {
        &self.service.registry
    }

    /// A write of the only master is durable.
    pub(super) fn registry_written(
        &mut self,
        id: base::WriteId,
        ops: Vec<master_core::registry::RegistryOp>,
    ) {
        self.service.make(&[(id, ops)]);
        self.step_master(0, master::Input::Written { id, result: Ok(()) });
    }

    pub(super) fn step_master(&mut self, master: usize, input: master::Input) {
        let now = self.masters[master].tick(self.now);
        let node = &mut self.masters[master];
        let life = node.life;
        let Some(core) = &mut node.core else { return };
        let mut out = Vec::new();
        core.step(now, input, &mut out);
        let wake = core.next_wake();
        let state = core.state();
        // In a large cluster what is wrong is seen soon enough all the same.
        let looks = !self.options.steady || self.serial.is_multiple_of(64);
        if looks && (!state.shares.is_empty() || !state.quotas.is_empty()) {
            let kept = || invariants::guarantees::check(state, now.mono);
            let within = || invariants::limits::check(state, now.mono);
            self.promise = self.promise.clone().and_then(|()| kept()).and_then(|()| within());
        }
        if self.options.maintain_every.is_some() {
            let kept = invariants::maintenance::check(state, now.mono);
            self.promise = self.promise.clone().and(kept);
        }
        if looks && self.options.lending {
            let is_faultless = self.options.fault_every.is_none() || self.options.faults.is_empty();
            let is_whole = is_faultless && self.options.maintain_every.is_none();
            let recalls = self.recalls.check(core, self.now, is_whole);
            let mut shares = state.shares.values();
            self.recalled_beside_shares |= !core.recalls().is_empty()
                && shares.any(|share| share.active && !share.config.percent.is_empty());
            self.promise = self.promise.clone().and(recalls);
        }
        for effect in out {
            if self.masters[master].life == life {
                self.master_effect(master, effect);
            }
        }
        let node = &mut self.masters[master];
        if node.life == life
            && let Some(at) = wake.filter(|at| node.wake.is_none_or(|w| *at < w || w <= self.now))
        {
            let at = at.max(Time(self.now.0 + 1));
            node.wake = Some(at);
            let input = Box::new(master::Input::Wake);
            self.at(at, Event::MasterInput { master, life, input });
        }
    }

    /// Somebody else hears what this master has to say.
    fn speaks(&mut self, master: usize) {
        if self.has_coordination() {
            let spoken = self.leadership.speaks(self.masters[master].term());
            self.promise = self.promise.clone().and(spoken);
        }
    }

    pub(super) fn master_effect(&mut self, master: usize, effect: master::Effect) {
        match effect {
            master::Effect::Respond { token, response } => {
                self.speaks(master);
                let node = &mut self.masters[master];
                node.acknowledgements.answered(token, response.status);
                if let Some(core) = &node.core {
                    self.policy.answered(master, token, response.status, core.state());
                }
                if let Some((framework, tasks, _)) = self.requests.remove(&token) {
                    let delay = self.delay();
                    self.after(delay, Event::Answer { framework, tasks, status: response.status });
                }
            }
            master::Effect::SendEvent { stream, event } => {
                self.speaks(master);
                let sent = self.masters[master].acknowledgements.sent(&event);
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
                self.speaks(master);
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
            master::Effect::WriteRegistry { id, ops } if self.has_coordination() => {
                self.ask_to_write(master, (id, ops));
            }
            master::Effect::WriteRegistry { id, ops } => {
                let node = &self.masters[master];
                let (life, free) = (node.life, node.disk_free);
                let done = self.now.max(free) + self.random(self.options.write_max);
                self.masters[master].disk_free = done;
                self.at(done, Event::MasterApply { life, id, ops });
            }
            // No simulated operator listens.
            master::Effect::Announce { .. } => {}
            master::Effect::Log { text } => {
                self.trace.line(self.now, &format!("master {master}: {text}"));
            }
            master::Effect::Abort { message } => {
                self.trace.line(self.now, &format!("master {master} aborts: {message}"));
                self.master_crash(master);
            }
        }
    }

    pub(super) fn master_crash(&mut self, master: usize) {
        self.trace.line(self.now, &format!("master {master} dies"));
        self.masters[master].die();
        for stream in self.network.with(master) {
            self.break_stream(stream);
        }
        self.policy.ended(master);
        for (_, (framework, tasks, _)) in
            self.requests.extract_if(.., |_, (_, _, of)| *of == master)
        {
            self.frameworks[framework].settle(&tasks);
        }
        for event in std::mem::take(&mut self.stalled[master]) {
            if let Event::Request { framework, request, .. } = event {
                self.frameworks[framework].settle(&request.tasks);
            }
        }
        let delay = self.random(Duration::from_secs(20));
        self.after(delay, Event::MasterStart { master });
    }

    /// A stream to or from a master breaks: both ends notice, later, each for itself.
    pub(super) fn break_stream(&mut self, stream: Token) {
        let Some((peer, master)) = self.network.close(stream) else { return };
        let life = self.masters[master].life;
        let delay = self.delay();
        match peer {
            Peer::Agent(agent) => {
                let input = Box::new(master::Input::AgentClosed { connection: stream });
                self.after(delay, Event::MasterInput { master, life, input });
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
                self.after(delay, Event::MasterInput { master, life, input });
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
        self.operate(call);
        let delay = self.random(2 * every);
        self.after(delay, Event::Share);
    }

    /// An operator asks the leader, if there is one.
    pub(super) fn operate(&mut self, call: master::OperatorCall) {
        self.trace.line(self.now, &format!("operator asks for {call:?}"));
        let leader = self.masters.iter().position(|m| m.leads() && !m.is_paused);
        if let Some(master) = leader.filter(|m| !self.masters[*m].must_wait(self.now)) {
            let token = self.network.token();
            self.policy.asks(master, token, &call);
            self.step_master(master, master::Input::Operator { token, call });
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        self.frameworks.iter().all(|f| f.calm)
    }
}
