//! Frameworks in the world: what they hear and ask for.

use super::*;

/// Longest time without a heartbeat, of which there is one in 15 seconds, until a framework looks for the leader anew.
const SILENCE_MAX: Duration = Duration::from_secs(45);

impl World {
    pub(super) fn framework_dial(&mut self, framework: usize) {
        if self.frameworks[framework].stream.is_some() {
            return;
        }
        let peer = Peer::Framework(framework);
        let Some(master) = self.find(peer) else {
            let delay = self.random(REDIAL_MAX);
            self.after(delay, Event::FrameworkDial { framework });
            return;
        };
        let stream = self.network.token();
        self.network.open(stream, peer, master, self.masters[master].term());
        self.frameworks[framework].heard = self.now;
        let stream_id = self.rng.uuid();
        self.frameworks[framework].stream = Some(stream);
        self.frameworks[framework].stream_id.clone_from(&stream_id);
        let call = Box::new(self.frameworks[framework].subscribe());
        let input = Box::new(master::Input::Subscribe { stream, stream_id, call, principal: None });
        let at = self.now + self.delay();
        if let Some((_, at)) = self.network.arrival(stream, Direction::ToMaster, at) {
            self.at(at, Event::ToMaster { stream, input });
        }
    }

    pub(super) fn framework_event(&mut self, framework: usize, event: &scheduler::Event) {
        if let Some(update) = &event.update {
            let status = &update.status;
            let (task, state) = (&status.task_id.value, status.state().as_str_name());
            let more =
                (status.reason.map(|_| status.reason().as_str_name()), status.message.as_deref());
            self.trace
                .line(self.now, &format!("framework {framework} hears {state} of {task} {more:?}"));
        }
        for offer in event.inverse_offers.iter().flat_map(|o| &o.inverse_offers) {
            let (id, on) = (&offer.id.value, offer.agent_id.clone().unwrap_or_default().value);
            self.trace
                .line(self.now, &format!("framework {framework} hears inverse offer {id} on {on}"));
        }
        if framework == 0 && event.offers.is_some() {
            self.hunger.ends();
        }
        let requests = self.frameworks[framework].on_event(event, &mut self.rng);
        self.send_requests(framework, requests);
    }

    pub(super) fn framework_tick(&mut self, framework: usize) {
        let silent = self.now.since(self.frameworks[framework].heard);
        if self.has_coordination() && silent > SILENCE_MAX {
            self.reset(Peer::Framework(framework));
        }
        if self.options.steady && !self.frameworks[framework].calm {
            let passed = self.now.since(Time(0)).as_secs();
            let whole = self.options.faulty.as_secs().max(1);
            let wanted = self.options.tasks as u64 * passed / whole;
            self.frameworks[framework].wanted = 1 + usize::try_from(wanted).unwrap_or(0);
        }
        if self.frameworks[framework].stream.is_some() && self.frameworks[framework].id.is_some() {
            let requests = self.frameworks[framework].tick(&mut self.rng);
            self.send_requests(framework, requests);
        }
        let pause = if self.frameworks[framework].calm { 60 } else { 5 };
        self.after(Duration::from_secs(pause), Event::FrameworkTick { framework });
    }

    /// Calls go on connections of their own: each has its own delay, so they overtake each other.
    pub(super) fn send_requests(&mut self, framework: usize, requests: Vec<Request>) {
        let Some(stream) = self.frameworks[framework].stream else {
            for request in requests {
                self.frameworks[framework].settle(&request.tasks);
            }
            return;
        };
        for request in requests {
            let delay = self.delay();
            self.after(delay, Event::Request { framework, stream, request: Box::new(request) });
        }
    }

    /// A call reaches the master, or is lost with the stream it belongs to.
    pub(super) fn request(&mut self, framework: usize, stream: Token, request: Request) {
        let peer = Peer::Framework(framework);
        let master = self.network.master(stream).filter(|master| {
            self.masters[*master].leads()
                && self.network.unreachable_until(peer, *master) <= self.now
        });
        let Some(master) = master else {
            self.frameworks[framework].settle(&request.tasks);
            return;
        };
        let token = self.network.token();
        let call = request.call;
        if !request.tasks.is_empty() {
            self.trace.line(
                self.now,
                &format!("framework {framework} launches {}", request.tasks.join(" ")),
            );
        }
        if let Some(acknowledge) = &call.acknowledge
            && let Some(task) = self.frameworks[framework].tasks.get_mut(&acknowledge.task_id.value)
        {
            task.acknowledged.insert(acknowledge.uuid.clone());
        }
        if let Some(kill) = &call.kill {
            self.trace
                .line(self.now, &format!("framework {framework} kills {}", kill.task_id.value));
        }
        self.masters[master].acknowledgements.asked(token, &call);
        self.requests.insert(token, (framework, request.tasks, master));
        let stream_id = Some(self.frameworks[framework].stream_id.clone());
        let call = Box::new(call);
        let input = master::Input::SchedulerCall { token, stream_id, call, principal: None };
        self.step_master(master, input);
    }
}
