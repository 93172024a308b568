//! Several masters in the world: their places, their leases, what they ask each other for, and how they are found.

use super::*;
use crate::coordination::{Turn, Write};

/// What stands between masters.
#[derive(Debug)]
pub(super) struct Between {
    /// Until when nothing goes out from a master, or comes to it.
    out_cut: Vec<Time>,
    in_cut: Vec<Time>,
    /// When the last message of a master arrived, and the last one to it: they are in order.
    last_out: Vec<Time>,
    last_in: Vec<Time>,
    /// Until when there is no majority.
    pub(super) nobody_until: Time,
    /// Until when writes take seconds.
    pub(super) slow_until: Time,
    /// The next write fails.
    pub(super) fails: bool,
}

impl Between {
    pub(super) fn new(masters: usize) -> Self {
        let never = || vec![Time(0); masters];
        Self {
            out_cut: never(),
            in_cut: never(),
            last_out: never(),
            last_in: never(),
            nobody_until: Time(0),
            slow_until: Time(0),
            fails: false,
        }
    }
}

impl World {
    /// Whether there is more than one master.
    pub(crate) fn has_coordination(&self) -> bool {
        self.masters.len() > 1
    }

    /// The master that leads, if any does.
    pub(crate) fn leader(&self) -> Option<&MasterNode> {
        self.masters.iter().filter(|m| m.leads()).max_by_key(|m| m.term())
    }

    /// What arrives at a process that is stopped, or must not act, waits there.
    pub(super) fn unless_stalled(&mut self, event: Event) -> Option<Event> {
        if !self.has_coordination() {
            return Some(event);
        }
        let (master, is_own) = match &event {
            Event::MasterInput { master, life, .. } if *life == self.masters[*master].life => {
                (Some(*master), false)
            }
            Event::ToMaster { stream, .. } | Event::Request { stream, .. } => {
                (self.network.master(*stream), false)
            }
            Event::MasterBeat { master, life } | Event::MasterHears { master, life, .. }
                if *life == self.masters[*master].life =>
            {
                (Some(*master), true)
            }
            _ => (None, false),
        };
        let Some(master) = master else { return Some(event) };
        let node = &self.masters[master];
        if node.is_paused || !is_own && node.must_wait(self.now) {
            self.stalled[master].push(event);
            return None;
        }
        Some(event)
    }

    /// Leaderships so far.
    pub(crate) fn led(&self) -> u64 {
        self.service.term
    }

    fn release(&mut self, master: usize) {
        let events = std::mem::take(&mut self.stalled[master]);
        for (i, event) in events.into_iter().enumerate() {
            self.after(Duration::from_nanos(1 + i as u64), event);
        }
    }

    pub(super) fn master_pause(&mut self, master: usize, time: Duration) {
        self.trace.line(self.now, &format!("master {master} is stopped for {time:?}"));
        self.masters[master].is_paused = true;
        let life = self.masters[master].life;
        self.after(time, Event::MasterResumes { master, life });
    }

    /// Everything that came meanwhile is there at once; which of it is seen first is a matter of luck.
    pub(super) fn master_resumes(&mut self, master: usize) {
        self.trace.line(self.now, &format!("master {master} goes on"));
        self.masters[master].is_paused = false;
        let is_own =
            |event: &Event| matches!(event, Event::MasterBeat { .. } | Event::MasterHears { .. });
        let own_first = self.rng.chance(1, 2);
        self.stalled[master].sort_by_key(|event| is_own(event) != own_first);
        self.release(master);
    }

    pub(super) fn master_beat(&mut self, master: usize) {
        let node = &mut self.masters[master];
        let (life, now) = (node.life, node.local(self.now));
        let next = node.really(self.options.pace.beat);
        let Some(member) = &mut node.member else { return };
        let turn = member.on_beat(now);
        self.after(next, Event::MasterBeat { master, life });
        self.turn(master, turn);
    }

    pub(super) fn master_hears(&mut self, master: usize, answer: Answer) {
        let node = &mut self.masters[master];
        let now = node.local(self.now);
        let Some(member) = &mut node.member else { return };
        let turn = member.on_answer(now, answer);
        self.turn(master, turn);
        if !self.masters[master].must_wait(self.now) {
            self.release(master);
        }
    }

    fn turn(&mut self, master: usize, turn: Turn) {
        let life = self.masters[master].life;
        let term = self.masters[master].term();
        if turn.taken {
            self.trace.line(self.now, &format!("master {master} takes over as the {term}th"));
            self.history.taken(self.now, term);
        }
        for ask in turn.asks {
            self.ask(master, ask);
        }
        for (id, result) in turn.written {
            self.history.written(self.now, term, id, result.is_ok());
            let input = Box::new(master::Input::Written { id, result });
            self.after(Duration::ZERO, Event::MasterInput { master, life, input });
        }
        if let Some(registry) = turn.elected {
            self.history.read(self.now, term, &registry);
            self.elected(master, registry);
        }
        if let Some(why) = turn.over {
            self.trace.line(self.now, &format!("master {master} ends: {why}"));
            self.master_crash(master);
        }
    }

    fn elected(&mut self, master: usize, mut registry: Vec<((String, String), Vec<u8>)>) {
        if self.options.sabotage == Some(Sabotage::ForgetsDrains) {
            registry.retain(|((section, _), _)| section != master_core::registry::DEACTIVATED);
        }
        self.trace.line(self.now, &format!("master {master} leads"));
        self.leadership.begins(self.masters[master].term());
        self.step_master(master, master::Input::Elected { registry });
        if let Some(core) = &self.masters[master].core {
            let kept = self.policy.is_kept(core.state());
            self.promise = self.promise.clone().and(kept);
        }
        if self.options.watches {
            let agents = (0..self.agents.len()).map(Peer::Agent);
            let peers: Vec<Peer> =
                agents.chain((0..self.frameworks.len()).map(Peer::Framework)).collect();
            for peer in peers {
                let delay = self.random(Duration::from_secs(5));
                self.after(delay, Event::Notice { peer, master });
            }
        }
    }

    /// The core of a master asks for a change of the registry.
    pub(super) fn ask_to_write(&mut self, master: usize, write: Write) {
        let node = &mut self.masters[master];
        let now = node.local(self.now);
        let Some(member) = &mut node.member else { return };
        self.history.writes(self.now, member.term, &write);
        if let Some(ask) = member.write(now, write) {
            self.ask(master, ask);
        }
    }

    /// Sends something to where masters meet, if it gets there.
    fn ask(&mut self, master: usize, ask: Ask) {
        let mut delay = self.random(self.options.between_masters_max);
        if matches!(ask, Ask::Write { .. }) {
            delay += self.random(self.options.write_max);
            if self.between.slow_until > self.now {
                delay += self.random(Duration::from_secs(6));
            }
        }
        if self.between.out_cut[master] > self.now || self.is_lost() {
            return;
        }
        let life = self.masters[master].life;
        let at = (self.now + delay).max(Time(self.between.last_out[master].0 + 1));
        // Signs of life do not wait behind a slow write.
        if !matches!(ask, Ask::Write { .. }) {
            self.between.last_out[master] = at;
        }
        self.at(at, Event::MasterAsks { master, life, ask: Box::new(ask) });
    }

    fn is_lost(&mut self) -> bool {
        let lost = self.options.lost_between_masters;
        lost > 0 && !self.is_calm() && self.rng.chance(lost, 1000)
    }

    pub(super) fn master_asks(&mut self, master: usize, life: u32, ask: Ask) {
        if self.between.nobody_until > self.now {
            return;
        }
        let session = self.options.pace.session;
        self.service.unfenced = self.options.sabotage == Some(Sabotage::NoFence);
        if self.options.sabotage == Some(Sabotage::ForgetsWrites) && self.rng.chance(1, 200) {
            self.service.forgets = 1;
        }
        let is_failing =
            matches!(ask, Ask::Write { .. }) && std::mem::take(&mut self.between.fails);
        let answer = match ask {
            Ask::Write { number, .. } if is_failing && self.rng.chance(1, 2) => {
                Some(Answer::Written { number, result: Err("no space left".to_owned()) })
            }
            ask => self.service.on_ask(self.now, (master, life), ask, session, &mut self.rng),
        };
        let answer = match answer {
            Some(Answer::Written { number, result: Ok(()) }) if is_failing => {
                Answer::Written { number, result: Err("the connection broke".to_owned()) }
            }
            Some(answer) => answer,
            None => return,
        };
        if self.between.in_cut[master] > self.now || self.is_lost() {
            return;
        }
        let delay = self.random(self.options.between_masters_max);
        let at = (self.now + delay).max(Time(self.between.last_in[master].0 + 1));
        self.between.last_in[master] = at;
        self.at(at, Event::MasterHears { master, life, answer: Box::new(answer) });
    }

    /// A master and the others don't reach each other; agents and frameworks reach all of them.
    pub(super) fn cut_master(&mut self, master: usize, out: bool, into: bool) {
        let longest = [3, 20, 120][self.rng.below(3) as usize];
        let until = self.now + self.random(Duration::from_secs(longest));
        if out {
            self.between.out_cut[master] = until;
        }
        if into {
            self.between.in_cut[master] = until;
        }
    }

    /// The master that takes a new stream, if whoever looks for one asks the right one and reaches it.
    pub(super) fn find(&mut self, peer: Peer) -> Option<usize> {
        let count = self.masters.len();
        let asked = if count == 1 { 0 } else { self.rng.below(count as u64) as usize };
        let reached = |world: &Self, master: usize| {
            let node = &world.masters[master];
            let is_there = node.core.is_some() && !node.is_paused;
            is_there && world.network.unreachable_until(peer, master) <= world.now
        };
        if !reached(self, asked) {
            return None;
        }
        let member = self.masters[asked].member.as_ref();
        let found = member.and_then(|member| member.follows()).unwrap_or(asked);
        (reached(self, found) && self.masters[found].leads()).then_some(found)
    }

    /// An agent or a framework is told that this master leads.
    pub(super) fn notice(&mut self, peer: Peer, master: usize) {
        let stream = match peer {
            Peer::Agent(agent) => self.agents[agent].master,
            Peer::Framework(framework) => self.frameworks[framework].stream,
        };
        if let Some(stream) = stream
            && self.network.master(stream).is_some_and(|known| known != master)
            && self.masters[master].leads()
        {
            self.break_stream(stream);
        }
    }

    /// An agent takes what comes on a stream.
    pub(super) fn obeys(&mut self, agent: usize, stream: Token) {
        if self.has_coordination()
            && self.agents[agent].master == Some(stream)
            && let Some(term) = self.network.term(stream)
        {
            let obeyed = self.leadership.obeyed(agent, term);
            self.promise = self.promise.clone().and(obeyed);
        }
    }
}
