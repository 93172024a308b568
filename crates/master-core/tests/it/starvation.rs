//! A framework that wants more, and whose role is below its fair share, is offered every agent in time, whatever the
//! others do.

use crate::*;
use base::Rng;

const LONGEST: Duration = Duration::from_secs(30);
/// The promise is kept by then: what is left is for messages and for a machine that is busy, which there are none of here.
const KEPT: Duration = Duration::from_secs(24);

/// How one of the others behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    /// Declines without a filter.
    Declines,
    /// Answers nothing.
    Sits,
    /// Declines after a long while.
    IsSlow,
    /// Declines for ever, and revives.
    Revives,
    /// Declines, suppresses and revives.
    Flaps,
    /// Goes and comes as another framework.
    ComesAnew,
    /// Uses all of it for a second.
    Flashes,
    /// Uses so little of it for two seconds that it stays below its fair share: the one that must not starve.
    IsHonest,
}
use Conduct::*;

const OTHERS: [Conduct; 7] = [Declines, Sits, IsSlow, Revives, Flaps, ComesAnew, Flashes];

#[derive(Debug)]
enum Event {
    Join(usize),
    Answer { peer: usize, life: u64, offer: Value },
    End { task: String, agent: usize, framework: String },
}

struct Peer {
    conduct: Conduct,
    role: String,
    life: u64,
    stream: Token,
    id: String,
}

struct Run {
    w: World,
    rng: Rng,
    agenda: BTreeMap<(Time, u64), Event>,
    serial: u64,
    peers: Vec<Peer>,
    agents: usize,
    /// Until when the honest one must be offered which agent.
    deadlines: BTreeMap<String, Time>,
    /// Offers that the honest one had.
    offers: u64,
}

impl Run {
    fn after(&mut self, delay: Duration, event: Event) {
        self.serial += 1;
        self.agenda.insert((self.w.now.mono + delay, self.serial), event);
    }

    fn random(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.rng.below(high - low + 1))
    }

    fn input(&mut self, input: Input) {
        let mut queue = vec![input];
        while let Some(input) = queue.pop() {
            let mut effects = Vec::new();
            self.w.master.step(self.w.now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::WriteRegistry { id, .. } => {
                        queue.push(Input::Written { id, result: Ok(()) });
                    }
                    Effect::SendEvent { stream, event } => self.on_event(stream, &event),
                    Effect::SendToAgent { connection, message } => {
                        if let master_to_agent::Message::Ping(_) = *message {
                            let message =
                                Box::new(agent_to_master::Message::Pong(internal::Pong {}));
                            let ip = "10.0.0.1".into();
                            queue.push(Input::FromAgent { connection, ip, message });
                        }
                    }
                    Effect::Respond { response, .. } if response.status >= 300 => {
                        panic!("{response:?}")
                    }
                    _ => {}
                }
            }
        }
    }

    fn on_event(&mut self, stream: Token, event: &scheduler::Event) {
        let Some(peer) = self.peers.iter().position(|p| p.stream == stream) else { return };
        if let Some(subscribed) = &event.subscribed {
            self.peers[peer].id.clone_from(&subscribed.framework_id.value);
        }
        let offers = wire::json::to_value(event)["offers"]["offers"].as_array().cloned();
        for offer in offers.unwrap_or_default() {
            let delay = match self.peers[peer].conduct {
                Sits => continue,
                IsSlow => self.random(1, 20_000),
                IsHonest => {
                    self.offers += 1;
                    let agent = offer["agent_id"]["value"].as_str().unwrap_or_default().to_owned();
                    // It has it: until it has answered nothing is due.
                    self.deadlines.remove(&agent);
                    self.random(500, 1000)
                }
                _ => self.random(10, 300),
            };
            let life = self.peers[peer].life;
            self.after(delay, Event::Answer { peer, life, offer });
        }
    }

    fn call(&mut self, peer: usize, mut call: Value) {
        let Peer { id, stream, .. } = &self.peers[peer];
        call["framework_id"] = json!({"value": id});
        self.w.next += 1;
        let input = Input::SchedulerCall {
            token: Token(self.w.next),
            stream_id: Some(format!("stream-{}", stream.0)),
            call: Box::new(message(call)),
            principal: None,
        };
        self.input(input);
    }

    fn join(&mut self, peer: usize) {
        self.w.next += 1;
        let stream = Token(self.w.next + 1_000_000);
        self.peers[peer].stream = stream;
        self.peers[peer].life += 1;
        if self.peers[peer].conduct == IsHonest {
            let until = self.w.now.mono + KEPT;
            self.deadlines = (0..self.agents).map(|a| (format!("m-S{a}"), until)).collect();
        }
        let mut info = framework_info(&[]);
        info["roles"] = json!([self.peers[peer].role]);
        let call = message(json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}));
        let stream_id = format!("stream-{}", stream.0);
        let call = Box::new(call);
        self.input(Input::Subscribe { stream, stream_id, call, principal: None });
    }

    fn answer(&mut self, peer: usize, offer: &Value) {
        let decline = |seconds: f64| {
            json!({"type": "DECLINE", "decline": {"offer_ids": [offer["id"]],
            "filters": {"refuse_seconds": seconds}}})
        };
        match self.peers[peer].conduct {
            Sits | IsSlow | Declines => self.call(peer, decline(0.0)),
            Revives => {
                self.call(peer, decline(1e6));
                self.call(peer, json!({"type": "REVIVE"}));
            }
            Flaps => {
                self.call(peer, decline(1e6));
                self.call(peer, json!({"type": "SUPPRESS"}));
                self.call(peer, json!({"type": "REVIVE"}));
            }
            ComesAnew => {
                self.call(peer, json!({"type": "TEARDOWN"}));
                self.join(peer);
            }
            Flashes => self.launch(peer, offer, None, Duration::from_secs(1)),
            IsHonest => self.launch(peer, offer, Some(0.005), Duration::from_secs(2)),
        }
    }

    /// A task of so many cpus, or of all.
    fn launch(&mut self, peer: usize, offer: &Value, cpus: Option<f64>, runs: Duration) {
        let role = self.peers[peer].role.clone();
        let all = offer["resources"].as_array().cloned().unwrap_or_default();
        let resources = match cpus {
            None => all,
            Some(cpus) => vec![
                json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}, "allocation_info": {"role": role}}),
                json!({"name": "mem", "type": "SCALAR", "scalar": {"value": 1.0}, "allocation_info": {"role": role}}),
            ],
        };
        self.serial += 1;
        let task = format!("t{}", self.serial);
        let agent = offer["agent_id"]["value"].as_str().unwrap_or_default().to_owned();
        let info = json!({"name": "t", "task_id": {"value": task}, "agent_id": {"value": agent},
            "command": {"value": "true"}, "resources": resources});
        let operations = json!([{"type": "LAUNCH", "launch": {"task_infos": [info]}}]);
        self.call(
            peer,
            json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
            "operations": operations, "filters": {"refuse_seconds": 0.0}}}),
        );
        if self.peers[peer].conduct == IsHonest {
            self.deadlines.insert(agent.clone(), self.w.now.mono + KEPT);
        }
        let agent = agent.trim_start_matches("m-S").parse().expect("a number");
        let framework = self.peers[peer].id.clone();
        self.after(runs, Event::End { task, agent, framework });
    }

    fn end(&mut self, task: &str, agent: usize, framework: String) {
        let status = json!({"task_id": {"value": task}, "state": "TASK_FINISHED",
            "source": "SOURCE_EXECUTOR", "agent_id": {"value": format!("m-S{agent}")}});
        let mut status: v1::TaskStatus = wire::json::from_value(&status).expect("a status");
        let uuid = format!("{task:0>16}").into_bytes();
        status.uuid = Some(uuid.clone());
        let update = internal::StatusUpdate {
            framework_id: framework.as_str().into(),
            status,
            latest_state: None,
        };
        let message = Box::new(agent_to_master::Message::StatusUpdate(update));
        let connection = Token(AGENT.0 + agent as u64);
        self.input(Input::FromAgent { connection, ip: "10.0.0.1".into(), message });
        let acknowledge = wire::json::to_value(&scheduler::call::Acknowledge {
            agent_id: format!("m-S{agent}").as_str().into(),
            task_id: v1::TaskId { value: task.into() },
            uuid,
        });
        if let Some(peer) = self.peers.iter().position(|p| p.id == framework) {
            self.call(peer, json!({"type": "ACKNOWLEDGE", "acknowledge": acknowledge}));
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Join(peer) => self.join(peer),
            Event::Answer { peer, life, offer } if self.peers[peer].life == life => {
                self.answer(peer, &offer)
            }
            Event::Answer { .. } => {}
            Event::End { task, agent, framework } => self.end(&task, agent, framework),
        }
    }

    /// Runs until `end`, or until something that is due did not come: what.
    fn run(&mut self, end: Time) -> Result<(), String> {
        while self.w.now.mono < end {
            let now = self.w.now.mono;
            if let Some((agent, _)) = self.deadlines.iter().find(|(_, until)| **until < now) {
                return Err(format!("{agent} was not offered in time, at {now}"));
            }
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let wake = self.w.master.next_wake();
            if wake.is_some_and(|wake| next.is_none_or(|next| wake < next)) {
                self.w.now.mono = now.max(wake.unwrap_or(now));
                self.input(Input::Wake);
            } else if let Some(((at, _), event)) = self.agenda.pop_first() {
                self.w.now.mono = now.max(at);
                self.step(event);
            }
        }
        self.w.master.check()
    }
}

fn run(seed: u64, conducts: &[Conduct], longest: Duration) -> (u64, Result<(), String>) {
    let mut rng = Rng::new(seed);
    // What it is offered elsewhere counts for its share; it shall be below its fair share all the time.
    let agents = if conducts.contains(&Flashes) { 1 } else { 1 + rng.below(3) as usize };
    let is_one_role = rng.chance(1, 3);
    let peer = |(at, conduct): (usize, &Conduct)| Peer {
        conduct: *conduct,
        role: if is_one_role { "all".to_owned() } else { format!("role{at}") },
        life: 0,
        stream: Token(0),
        id: String::new(),
    };
    let mut config = config();
    config.allocator.coalesce = Duration::from_millis(2);
    config.allocator.max_time_to_offer = longest;
    let mut run = Run {
        w: world_with(config, Vec::new()),
        agenda: BTreeMap::new(),
        serial: 0,
        peers: conducts.iter().enumerate().map(peer).collect(),
        agents,
        deadlines: BTreeMap::new(),
        offers: 0,
        rng,
    };
    for agent in 0..agents {
        let mut register = registration("cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
        register.info.port = Some(6000 + agent as i32);
        let message = Box::new(agent_to_master::Message::Register(register));
        let connection = Token(AGENT.0 + agent as u64);
        run.input(Input::FromAgent { connection, ip: "10.0.0.1".into(), message });
    }
    for peer in 0..run.peers.len() {
        let delay = run.random(0, if run.peers[peer].conduct == IsHonest { 30_000 } else { 5_000 });
        run.after(delay, Event::Join(peer));
    }
    let end = run.w.now.mono + Duration::from_secs(80);
    let result = run.run(end);
    (run.offers, result)
}

#[test]
fn nobody_starves_whatever_the_others_do() {
    for seed in 0..8 {
        let mut rng = Rng::new(seed ^ 0xFA1);
        let others = 1 + rng.below(12);
        let mut conducts: Vec<Conduct> =
            (0..others).map(|_| OTHERS[rng.below(7) as usize]).collect();
        conducts.insert(rng.below(others + 1) as usize, IsHonest);
        let (_, result) = run(seed, &conducts, LONGEST);
        assert_eq!(result, Ok(()), "seed {seed}, {conducts:?}");
    }
}

#[test]
fn nobody_starves_among_many_of_the_same_kind() {
    for conduct in OTHERS {
        let conducts: Vec<Conduct> = [vec![conduct; 6], vec![IsHonest]].concat();
        let (offers, result) = run(7, &conducts, LONGEST);
        assert_eq!(result, Ok(()), "{conduct:?}, {offers} offers");
    }
}

#[test]
fn without_a_bound_others_starve_it() {
    for seed in [7, 8] {
        let (_, result) = run(seed, &[Sits, Sits, IsHonest], Duration::ZERO);
        assert!(result.is_err());
    }
}
