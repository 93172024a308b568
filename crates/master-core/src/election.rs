//! The beginning of a master's leadership: what the registry says, and agents that are waited for (spec/master.md 1.9).

use crate::master::{Cx, Master, Timer};
use crate::registry::{AGENTS, GONE, UNREACHABLE};
use wire::internal;

impl Master {
    /// This master leads from now on.
    pub(crate) fn on_elected(
        &mut self,
        cx: &mut Cx<'_>,
        registry: Vec<((String, String), Vec<u8>)>,
    ) {
        if self.state.elected.is_some() {
            return;
        }
        self.state.elected = Some(cx.now.wall);
        for role in self.config.offer_overlap.clone().into_keys() {
            self.put_overlap(&role, None);
        }
        for ((section, key), value) in registry {
            self.recover_policy(cx, &section, &key, &value);
            self.recover_overlap(&section, &key, &value);
            if section == AGENTS {
                if let Ok(agent) = wire::protobuf::from_slice::<internal::RegistryAgent>(&value) {
                    self.state.recovered_agents.insert(key, agent.info);
                }
            } else if let Ok(entry) =
                wire::protobuf::from_slice::<internal::RegistryAgentGone>(&value)
            {
                let map = if section == UNREACHABLE {
                    &mut self.state.unreachable
                } else {
                    &mut self.state.gone
                };
                if section == UNREACHABLE || section == GONE {
                    map.insert(key, entry.since);
                }
            }
        }
        if !self.state.recovered_agents.is_empty() {
            self.timers.set(Timer::Recovered, cx.now.mono + self.config.agent_reregister_timeout);
        }
        self.refresh_shares(cx);
        let has_guarantees = !self.state.quotas.is_empty() || !self.state.shares.is_empty();
        if has_guarantees && !self.state.recovered_agents.is_empty() {
            self.hold_offers(cx);
        }
        self.timers.set(Timer::Gc, cx.now.mono + self.config.registry_gc_interval);
    }

    /// While few agents are back, what is guaranteed to one role would be given to others (spec/master.md 4.4).
    pub(crate) fn hold_offers(&mut self, cx: &Cx<'_>) {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a number of agents"
        )]
        let wanted = (self.state.recovered_agents.len() as f64
            * self.config.allocator_agent_recovery_factor)
            .max(0.0) as usize;
        if wanted > 0 {
            self.allocator.pause();
            self.awaited = Some(wanted);
            let timeout = self.config.allocator_recovery_timeout;
            self.timers.set(Timer::AllocatorRecovery, cx.now.mono + timeout);
        }
    }

    /// Ends [`Master::hold_offers`] when enough agents are here.
    pub(crate) fn count_awaited(&mut self) {
        if self.awaited.is_some_and(|wanted| self.state.agents.len() >= wanted) {
            self.awaited = None;
            self.timers.cancel(&Timer::AllocatorRecovery);
            self.allocator.resume();
        }
    }
}
