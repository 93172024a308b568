//! The beginning of a master's leadership: what the registry says, and agents that are waited for (spec/master.md 1.9).

use crate::contract::Effect;
use crate::master::{Cx, Master, Timer, Waiting};
use crate::registry::{
    AGENTS, DEACTIVATED, GONE, MAINTENANCE, MINIMUM_CAPABILITIES, OFFER_OVERLAP, QUOTA, SHARES,
    UNREACHABLE, WEIGHTS, read,
};
use resources::{Milli, Resources};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::{internal, v1};

/// Agents that are waited for after an election.
#[derive(Debug)]
pub(crate) struct Awaited {
    /// So many may stay away.
    agents: usize,
    /// Amounts of the scalars of those that are not back.
    away: BTreeMap<String, Milli>,
}

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
        if let Err(message) = self.recover(cx, registry) {
            self.state.elected = None;
            cx.out.push(Effect::Abort { message });
            return;
        }
        self.forget_strays(cx);
        let mut missing = Vec::new();
        self.minimum.amend(&mut missing);
        if !missing.is_empty() {
            self.write(cx, missing, Waiting::Nothing);
        }
        if !self.state.recovered_agents.is_empty() {
            self.timers.set(Timer::Recovered, cx.now.mono + self.config.agent_reregister_timeout);
        }
        self.refresh_shares(cx);
        self.expect_agents(cx);
        self.timers.set(Timer::Gc, cx.now.mono + self.config.registry_gc_interval);
    }

    /// Takes over what the registry says.
    ///
    /// # Errors
    /// When this master may not lead with it: whoever leads without an entry has lost it.
    fn recover(
        &mut self,
        cx: &mut Cx<'_>,
        registry: Vec<((String, String), Vec<u8>)>,
    ) -> Result<(), String> {
        for ((section, key), _) in &registry {
            self.minimum.recover(section, key)?;
        }
        let mut unknown = BTreeSet::new();
        for ((section, key), value) in registry {
            let recovered = match section.as_str() {
                AGENTS => self.recover_agent(&key, &value),
                UNREACHABLE => read(&value).map(|agent: internal::RegistryAgentGone| {
                    self.state.unreachable.insert(key.clone(), agent.since);
                }),
                GONE => read(&value).map(|agent: internal::RegistryAgentGone| {
                    self.state.gone.insert(key.clone(), agent.since);
                }),
                DEACTIVATED => self.recover_deactivated(&key, &value),
                MAINTENANCE => self.recover_maintenance(&value),
                QUOTA => self.recover_quota(&key, &value),
                WEIGHTS => self.recover_weight(&key, &value),
                SHARES => self.recover_share(cx, &key, &value),
                OFFER_OVERLAP => self.recover_overlap(&key, &value),
                MINIMUM_CAPABILITIES => Ok(()),
                _ => {
                    unknown.insert(section.clone());
                    Ok(())
                }
            };
            recovered.map_err(|why| {
                format!(
                    "the entry {section}/{key} of the registry is not understood: {why}; this master ends rather than \
                     lead without it: restore a copy of the registry, or remove this entry"
                )
            })?;
        }
        if !unknown.is_empty() {
            let names: Vec<String> = unknown.into_iter().collect();
            let text = format!(
                "sections of the registry that this version does not know are left as they are: {}",
                names.join(", ")
            );
            cx.out.push(Effect::Log { text });
        }
        Ok(())
    }

    fn recover_agent(&mut self, id: &str, value: &[u8]) -> Result<(), String> {
        let agent: internal::RegistryAgent = read(value)?;
        self.state.recovered_agents.insert(id.to_owned(), Arc::new(agent));
        Ok(())
    }

    /// What agents run that are not back yet is not known: until enough of them are, limits hold as if roles had all of
    /// it (spec/master.md 4.4 has nobody offered anything for so long).
    fn expect_agents(&mut self, cx: &Cx<'_>) {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a number of agents"
        )]
        let wanted = (self.state.recovered_agents.len() as f64
            * self.config.allocator_agent_recovery_factor)
            .clamp(0.0, self.state.recovered_agents.len() as f64) as usize;
        if wanted == 0 {
            return;
        }
        let mut away = BTreeMap::new();
        for agent in self.state.recovered_agents.values() {
            for (name, milli) in scalars(&agent.info) {
                let sum: &mut Milli = away.entry(name).or_default();
                *sum = sum.wrapping_add(milli);
            }
        }
        self.allocator.expect(away.clone());
        let agents = self.state.recovered_agents.len() - wanted;
        self.awaited = Some(Awaited { agents, away });
        let timeout = self.config.allocator_recovery_timeout;
        self.timers.set(Timer::AllocatorRecovery, cx.now.mono + timeout);
    }

    /// An agent of the registry is back, or is expected no longer.
    pub(crate) fn forget_recovered(&mut self, id: &str) -> bool {
        let Some(agent) = self.state.recovered_agents.remove(id) else { return false };
        if self.awaited.as_ref().is_some_and(|a| self.state.recovered_agents.len() <= a.agents) {
            self.timers.cancel(&Timer::AllocatorRecovery);
            self.expect_nobody();
        } else if let Some(awaited) = &mut self.awaited {
            for (name, milli) in scalars(&agent.info) {
                if let Some(left) = awaited.away.get_mut(&name) {
                    *left = left.wrapping_sub(milli);
                }
            }
            self.allocator.expect(awaited.away.clone());
        }
        true
    }

    /// Ends [`Master::expect_agents`].
    pub(crate) fn expect_nobody(&mut self) {
        self.awaited = None;
        self.allocator.expect(BTreeMap::new());
    }
}

/// Amounts of an agent's scalars.
fn scalars(info: &v1::AgentInfo) -> Vec<(String, Milli)> {
    let resources = Resources::from_wire(&info.resources).unwrap_or_default();
    let amount = |name: &str| (name.to_owned(), resources.scalar(name));
    resources.names().into_iter().map(amount).filter(|(_, milli)| *milli > 0).collect()
}
