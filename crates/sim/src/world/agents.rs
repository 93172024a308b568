//! Agents in the world: their effects, containers and disks.

use super::*;
use crate::executor::{self, Executor};

impl World {
    pub(super) fn agent_start(&mut self, agent: usize) {
        let seed = self.rng.next_u64();
        let node = &mut self.agents[agent];
        node.life += 1;
        node.wake = None;
        node.disk_free = self.now;
        let life = node.life;
        node.core = Some(Agent::new(node.config(seed)));
        node.disk = agent_core::compact(std::mem::take(&mut node.disk));
        let input =
            agent::Input::Recovered { records: node.disk.clone(), containers: node.found() };
        self.trace.line(self.now, &format!("agent {agent} starts"));
        self.step_agent(agent, input);
        let delay = self.random(REDIAL_MAX);
        self.after(delay, Event::AgentDial { agent, life });
    }

    pub(super) fn agent_crash(&mut self, agent: usize) {
        self.trace.line(self.now, &format!("agent {agent} dies"));
        self.agents[agent].die();
        for stream in self.network.of(Peer::Agent(agent)) {
            self.break_stream(stream);
        }
        self.agents[agent].master = None;
        self.executors_lose_agent(agent);
        let delay = self.random(Duration::from_secs(30));
        self.after(delay, Event::AgentStart { agent });
    }

    /// A process that ends by itself ends after its writes.
    fn finish_writes(&mut self, agent: usize) {
        let now = self.agents[agent].life;
        let is_its = |_: &(Time, u64), event: &mut Event| matches!(event, Event::AgentStore { agent: of, life, .. } if *of == agent && *life == now);
        for (_, event) in self.agenda.extract_if(.., is_its) {
            if let Event::AgentStore { record, .. } = event {
                self.agents[agent].disk.push(*record);
            }
        }
    }

    pub(super) fn agent_dial(&mut self, agent: usize) {
        let node = &self.agents[agent];
        if node.master.is_some() || node.core.is_none() {
            return;
        }
        let life = node.life;
        let Some(master) = self.find(Peer::Agent(agent)) else {
            let delay = self.random(REDIAL_MAX);
            self.after(delay, Event::AgentDial { agent, life });
            return;
        };
        let connection = self.network.token();
        self.network.open(connection, Peer::Agent(agent), master, self.masters[master].term());
        self.agents[agent].master = Some(connection);
        self.step_agent(agent, agent::Input::MasterConnected { connection });
    }

    pub(super) fn step_agent(&mut self, agent: usize, input: agent::Input) {
        let node = &mut self.agents[agent];
        let now = node.now(self.now);
        let Some(core) = &mut node.core else { return };
        let mut out = Vec::new();
        core.step(now, input, &mut out);
        let wake = core.next_wake();
        let life = node.life;
        for effect in out {
            self.agent_effect(agent, effect);
        }
        let node = &mut self.agents[agent];
        if node.life == life
            && let Some(at) = wake.filter(|at| node.wake.is_none_or(|w| *at < w || w <= self.now))
        {
            let at = at.max(Time(self.now.0 + 1));
            node.wake = Some(at);
            self.at(at, Event::AgentInput { agent, life, input: Box::new(agent::Input::Wake) });
        }
    }

    pub(super) fn agent_effect(&mut self, agent: usize, effect: agent::Effect) {
        let life = self.agents[agent].life;
        match effect {
            agent::Effect::SendToMaster { connection, message } => {
                let at = self.now + self.delay();
                if let Some((_, at)) = self.network.arrival(connection, Direction::ToMaster, at) {
                    let ip = format!("10.0.0.{}", agent + 1);
                    let input = Box::new(master::Input::FromAgent { connection, ip, message });
                    self.at(at, Event::ToMaster { stream: connection, input });
                }
            }
            agent::Effect::CloseMaster { connection } => self.break_stream(connection),
            agent::Effect::Store { id, record, sync: _ } => {
                let done = self.now.max(self.agents[agent].disk_free)
                    + self.random(self.options.write_max);
                self.agents[agent].disk_free = done;
                let input = Box::new(agent::Input::Stored { id, result: Ok(()) });
                self.at(done, Event::AgentStore { agent, life, input, record });
            }
            agent::Effect::StartContainer { spec } => self.start_container(agent, *spec),
            agent::Effect::CancelStart { container_id } => self.cancel_start(agent, container_id),
            agent::Effect::UpdateContainer { container_id, resources, limits: _ } => {
                self.agents[agent].update_container(&container_id, &resources);
            }
            agent::Effect::SignalContainer { container_id, signal } => {
                self.signal(agent, container_id, signal)
            }
            agent::Effect::DestroyContainer { container_id } => {
                self.cancel_start(agent, container_id.clone());
                self.signal(agent, container_id, 9);
            }
            agent::Effect::ForgetContainer { container_id } => {
                self.agents[agent].forget(&container_id);
            }
            agent::Effect::SyncVolumes { operation, make, remove } => {
                let event = Event::AgentVolumes { agent, life, operation, make, remove };
                let done = self.now.max(self.agents[agent].disk_free)
                    + self.random(self.options.write_max);
                self.agents[agent].disk_free = done;
                self.at(done, event);
            }
            agent::Effect::Exit { message, .. } => {
                self.trace.line(self.now, &format!("agent {agent} exits: {message}"));
                self.finish_writes(agent);
                self.agent_crash(agent);
                if message.contains("marked gone") {
                    // Its machine begins anew.
                    self.agents[agent].wipe();
                }
            }
            agent::Effect::Probe { id, .. } => {
                let result = Ok(agent::ProbeAnswer::Connected(self.rng.chance(3, 4)));
                let input = Box::new(agent::Input::Probed { id, result });
                let delay = self.random(Duration::from_secs(2));
                self.after(delay, Event::AgentInput { agent, life, input });
            }
            // The answer comes all the same: a core takes what comes too late.
            agent::Effect::StopProbe { .. } => {}
            agent::Effect::Respond { token, status, body: _ } => {
                self.executor_answered(token, status);
            }
            agent::Effect::SendEvent { stream, event } => self.tell_executor(stream, Some(event)),
            agent::Effect::CloseStream { stream } => self.tell_executor(stream, None),
            // A stream is taken as open, nobody asks for the end of a container, and there is neither file system nor
            // load.
            agent::Effect::AcceptStream { .. }
            | agent::Effect::RespondEnd { .. }
            | agent::Effect::Measure { .. }
            | agent::Effect::MeasureDisk
            | agent::Effect::RemoveDirectory { .. }
            | agent::Effect::Touch { .. }
            | agent::Effect::ShowVolume { .. }
            | agent::Effect::HideVolume { .. }
            | agent::Effect::Link { .. } => {}
        }
    }

    fn start_container(&mut self, agent: usize, spec: agent::ContainerSpec) {
        let node = &mut self.agents[agent];
        let (life, container_id) = (node.life, spec.container_id.clone());
        match node.prepare(&spec) {
            Err(error) => self.answer_start(agent, container_id, Err(error)),
            Ok(plan) => {
                node.fetching.insert(container_id.clone(), spec);
                if plan.fetches.is_zero() {
                    self.fetched(agent, &container_id);
                } else {
                    let event = Event::Fetched { agent, life, container: container_id };
                    self.after(plan.fetches, event);
                }
            }
        }
    }

    pub(super) fn fetched(&mut self, agent: usize, container: &str) {
        let node = &mut self.agents[agent];
        let Some(spec) = node.fetching.remove(container) else { return };
        let plan = spec.command.value.as_deref().and_then(executor::plan_of);
        let plan = plan.filter(|(plan, _)| plan.fetchable || plan.fetches.is_zero());
        let Some((plan, is_executor)) = plan else {
            let error = agent::StartError::Launch("Failed to fetch all URIs".to_owned());
            self.answer_start(agent, container.to_owned(), Err(error));
            return;
        };
        let result = node.start_container(&spec, plan);
        if result.is_ok() && is_executor {
            let process = Executor::new(&spec.environment, plan.stubborn);
            node.executors.insert(container.to_owned(), process);
            self.executor_started(agent, container);
        } else if result.is_ok() {
            let status = plan.status();
            let event = Event::ContainerEnd { agent, container: container.to_owned(), status };
            self.after(plan.runs + Duration::from_millis(1), event);
        }
        self.answer_start(agent, container.to_owned(), result);
    }

    /// Ends the start of a container whose URIs are being fetched.
    fn cancel_start(&mut self, agent: usize, container_id: String) {
        if self.agents[agent].fetching.remove(&container_id).is_some() {
            let text = "Container destroyed during fetching".to_owned();
            let error = agent::StartError::Launch(text);
            self.answer_start(agent, container_id, Err(error));
        }
    }

    fn answer_start(
        &mut self,
        agent: usize,
        container_id: String,
        result: Result<u32, agent::StartError>,
    ) {
        let life = self.agents[agent].life;
        let input = Box::new(agent::Input::ContainerStarted { container_id, result });
        self.after(Duration::from_micros(900), Event::AgentInput { agent, life, input });
    }

    pub(super) fn volumes_synced(
        &mut self,
        agent: usize,
        life: u32,
        operation: Vec<u8>,
        make: Vec<String>,
        remove: &[agent::RemovedVolume],
    ) {
        if self.agents[agent].life != life {
            return;
        }
        let volumes = &mut self.agents[agent].volumes;
        volumes.extend(make);
        volumes.retain(|path| !remove.iter().any(|r| r.path == *path));
        let input = Box::new(agent::Input::VolumesSynced { operation, result: Ok(()) });
        self.after(Duration::from_micros(10), Event::AgentInput { agent, life, input });
    }

    pub(super) fn signal(&mut self, agent: usize, container: String, signal: i32) {
        if let Some(status) = self.agents[agent].signal(&container, signal) {
            let delay = self.random(Duration::from_millis(20));
            self.after(delay, Event::ContainerEnd { agent, container, status });
        }
    }

    pub(super) fn container_end(&mut self, agent: usize, id: String, status: i32) {
        let runs = |c: &crate::agent_node::Container| c.status.is_none();
        if self.agents[agent].containers.get(&id).is_some_and(runs) {
            // What is inside ends first.
            for child in self.agents[agent].inside(&id) {
                self.container_end(agent, child, 9);
            }
        }
        let node = &mut self.agents[agent];
        let life = node.life;
        let Some(container) = node.containers.get_mut(&id).filter(|c| c.status.is_none()) else {
            return;
        };
        container.status = Some(status);
        node.executors.remove(&id);
        let input = Box::new(agent::Input::ContainerExited {
            container_id: id,
            status: Some(status),
            limitation: None,
        });
        self.after(Duration::from_micros(300), Event::AgentInput { agent, life, input });
    }
}
