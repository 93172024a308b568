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
        self.faults += 1;
        self.trace.line(self.now, &format!("fault {fault:?}"));
        match fault {
            Fault::AgentCrash if self.agents[agent].core.is_some() => self.agent_crash(agent),
            Fault::MasterCrash if self.master.core.is_some() => self.master_crash(),
            Fault::AgentCrash | Fault::MasterCrash => {}
            Fault::FrameworkReset => self.reset(Peer::Framework(framework)),
            Fault::LinkReset => self.reset(Peer::Agent(agent)),
            Fault::Partition => self.cut(agent, &[Direction::ToMaster, Direction::FromMaster]),
            Fault::PartitionUp => self.cut(agent, &[Direction::ToMaster]),
            Fault::PartitionDown => self.cut(agent, &[Direction::FromMaster]),
        }
    }

    pub(super) fn reset(&mut self, peer: Peer) {
        for stream in self.network.of(peer) {
            self.break_stream(stream);
        }
    }

    pub(super) fn cut(&mut self, agent: usize, directions: &[Direction]) {
        let longest = [5, 60, 200][self.rng.below(3) as usize];
        let until = self.now + self.random(Duration::from_secs(longest));
        for direction in directions {
            self.network.cut(Peer::Agent(agent), *direction, until);
        }
    }
}
