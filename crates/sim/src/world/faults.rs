//! What goes wrong in the world.

use super::*;

impl World {
    pub(super) fn fault(&mut self) {
        let (Some(every), false) =
            (self.options.fault_every, self.frameworks.iter().all(|f| f.calm))
        else {
            return;
        };
        let pause = self.random(every * 2);
        self.after(pause, Event::Fault);
        let fault = self.options.faults[self.rng.below(self.options.faults.len() as u64) as usize];
        let agent = self.rng.below(self.agents.len() as u64) as usize;
        let framework = self.rng.below(self.frameworks.len() as u64) as usize;
        let master = self.whose_fault();
        let time = |world: &mut Self, seconds: u64| world.random(Duration::from_secs(seconds));
        self.faults += 1;
        self.trace.line(self.now, &format!("fault {fault:?}"));
        match fault {
            Fault::AgentCrash if self.agents[agent].core.is_some() => self.agent_crash(agent),
            Fault::MasterCrash if self.masters[master].core.is_some() => self.master_crash(master),
            Fault::AgentCrash | Fault::MasterCrash => {}
            Fault::AllMastersCrash => {
                for master in 0..self.masters.len() {
                    if self.masters[master].core.is_some() {
                        self.master_crash(master);
                    }
                }
            }
            Fault::MasterPause => {
                let longest = [1, 10, 100][self.rng.below(3) as usize];
                let time = time(self, longest);
                if self.masters[master].core.is_some() && !self.masters[master].is_paused {
                    self.master_pause(master, time);
                }
            }
            Fault::MasterCut => self.cut_master(master, true, true),
            Fault::MasterCutHalf => {
                let out = self.rng.chance(1, 2);
                self.cut_master(master, out, !out);
            }
            Fault::NoMajority => self.between.nobody_until = self.now + time(self, 60),
            Fault::SlowRegistry => self.between.slow_until = self.now + time(self, 60),
            Fault::FailedWrite => self.between.fails = true,
            Fault::ClockJump => self.masters[master].skew = time(self, 6 * 3600),
            Fault::FrameworkReset => self.reset(Peer::Framework(framework)),
            Fault::LinkReset => self.reset(Peer::Agent(agent)),
            Fault::Partition => self.cut(agent, &[Direction::ToMaster, Direction::FromMaster]),
            Fault::PartitionUp => self.cut(agent, &[Direction::ToMaster]),
            Fault::PartitionDown => self.cut(agent, &[Direction::FromMaster]),
        }
    }

    /// The leader more often than others.
    fn whose_fault(&mut self) -> usize {
        let count = self.masters.len();
        if count == 1 {
            return 0;
        }
        let leader = self.masters.iter().position(MasterNode::leads);
        let any = self.rng.below(count as u64) as usize;
        leader.filter(|_| self.rng.chance(2, 3)).unwrap_or(any)
    }

    pub(super) fn reset(&mut self, peer: Peer) {
        for stream in self.network.of(peer) {
            self.break_stream(stream);
        }
    }

    pub(super) fn cut(&mut self, agent: usize, directions: &[Direction]) {
        let longest = [5, 60, 200][self.rng.below(3) as usize];
        let until = self.now + self.random(Duration::from_secs(longest));
        // From all of them, or from the leader only.
        let only = self.whose_fault();
        let is_one = self.has_coordination() && self.rng.chance(1, 2);
        let masters = if is_one { only..only + 1 } else { 0..self.masters.len() };
        for master in masters {
            for direction in directions {
                self.network.cut(Peer::Agent(agent), master, *direction, until);
            }
        }
    }
}
