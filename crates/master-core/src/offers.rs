//! Offers: making, rescinding, discarding.

use crate::frameworks::event;
use crate::master::{Cx, Master, Timer};
use crate::state::{Offer, State};
use allocator::{AgentId, Allocation, FrameworkId};
use resources::Resources;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wire::v1;
use wire::v1::framework_info::capability::Type as Capability;
use wire::v1::scheduler::{Event, event};

impl Master {
    /// Runs one cycle of the allocator and sends what comes of it.
    pub(crate) fn make_offers(&mut self, cx: &mut Cx<'_>) {
        self.count("allocator/mesos/allocation_runs");
        let allocations = self.allocator.allocate(cx.now, &mut self.rng);
        self.plan_history(cx);
        let mut events: BTreeMap<FrameworkId, Vec<v1::Offer>> = BTreeMap::new();
        for allocation in allocations {
            let framework = allocation.framework;
            if let Some(offer) = self.make_offer(cx, allocation) {
                events.entry(framework).or_default().push(offer);
            }
        }
        for (framework, offers) in events {
            self.add_of(framework, "offers/sent", offers.len() as u64);
            let offers = Some(event::Offers { offers });
            self.send_event(cx, framework, Event { offers, ..event(event::Type::Offers) });
        }
        self.call_back(cx);
        self.warn_of_maintenance(cx);
    }

    fn make_offer(&mut self, cx: &Cx<'_>, allocation: Allocation) -> Option<v1::Offer> {
        let usable = self.framework(allocation.framework).is_some_and(|f| f.is_connected())
            && self.agent(allocation.agent).is_some_and(|a| self.state.is_active(a));
        let id = self.next_offer_id();
        let Allocation { framework, role, agent, resources, soft } = allocation;
        let made = cx.now.mono;
        let offer = Offer { id: id.clone(), framework, agent, role, resources, soft, made };
        if !usable {
            self.give_back(cx, &offer, None);
            return None;
        }
        let offer = Arc::new(offer);
        self.index_soft(&offer, true);
        if let Some(timeout) = self.config.offer_timeout {
            self.timers.set(Timer::Offer(id.clone()), cx.now.mono + timeout);
        }
        self.lease_out(&offer);
        self.note_offered(cx.now, agent);
        self.history.offered(cx.now.wall, offer.framework, &offer.role);
        self.offers.insert(id.clone(), offer.clone());
        self.offers_on.entry(agent).or_default().insert(id.clone());
        if self.state.scheduled.contains_key(&agent) {
            self.warnings.look_at([agent]);
        }
        if let Some(framework) = self.framework_mut(framework) {
            framework.offers.insert(id, offer.clone());
        }
        self.state.offer_to_wire(&offer)
    }

    /// Takes an offer out of the books; its resources stay allocated until somebody gives them back.
    pub(crate) fn take_offer(&mut self, id: &str) -> Option<Arc<Offer>> {
        let offer = self.offers.remove(id)?;
        if let Some(ids) = self.offers_on.get_mut(&offer.agent) {
            ids.remove(id);
            if ids.is_empty() {
                self.offers_on.remove(&offer.agent);
            }
        }
        self.index_soft(&offer, false);
        self.timers.cancel(&Timer::Offer(id.to_owned()));
        if let Some(framework) = self.framework_mut(offer.framework) {
            framework.offers.remove(id);
        }
        Some(offer)
    }

    /// Ends an offer; its resources are free again.
    pub(crate) fn discard(&mut self, cx: &Cx<'_>, id: &str, refuse: Option<Duration>) {
        if let Some(offer) = self.take_offer(id) {
            self.history.ended(cx.now.wall, offer.framework, &offer.role);
            self.give_back(cx, &offer, refuse);
        }
    }

    /// Ends an offer that its framework did not use: others come first for a while.
    pub(crate) fn pass(&mut self, cx: &Cx<'_>, id: &str, refuse: Option<Duration>) {
        let Some(offer) = self.offers.get(id).cloned() else { return };
        self.discard(cx, id, refuse);
        self.pass_turn(cx, offer.framework, &offer.role, offer.agent, refuse);
    }

    /// A framework used nothing of what it was offered.
    pub(crate) fn pass_turn(
        &mut self,
        cx: &Cx<'_>,
        framework: FrameworkId,
        role: &str,
        agent: AgentId,
        refuse: Option<Duration>,
    ) {
        if self.allocator.pass(cx.now, framework, role, agent, refuse) {
            self.count("master/frameworks_backed_off");
            self.count_of(framework, "backed_off");
        }
    }

    /// An offer is too old: ends it and tells its framework.
    pub(crate) fn time_out(&mut self, cx: &mut Cx<'_>, id: &str) {
        let Some(framework) = self.offers.get(id).map(|o| o.framework) else { return };
        self.pass(cx, id, None);
        self.tell_rescinded(cx, framework, id);
    }

    /// Ends an offer and tells its framework.
    pub(crate) fn rescind(&mut self, cx: &mut Cx<'_>, id: &str) {
        self.rescind_for(cx, id, None);
    }

    /// Ends an offer and tells its framework, which does not get the same again for a while.
    pub(crate) fn rescind_for(&mut self, cx: &mut Cx<'_>, id: &str, refuse: Option<Duration>) {
        let Some(framework) = self.offers.get(id).map(|o| o.framework) else { return };
        self.discard(cx, id, refuse);
        self.tell_rescinded(cx, framework, id);
    }

    fn tell_rescinded(&mut self, cx: &mut Cx<'_>, framework: FrameworkId, id: &str) {
        self.count_of(framework, "offers/rescinded");
        let rescind = Some(event::Rescind { offer_id: id.into() });
        self.send_event(cx, framework, Event { rescind, ..event(event::Type::Rescind) });
    }

    /// Open offers on an agent, by id.
    pub(crate) fn offered_on(&self, agent: AgentId) -> impl Iterator<Item = &Arc<Offer>> {
        self.offers_on.get(&agent).into_iter().flatten().filter_map(|id| self.offers.get(id))
    }

    pub(crate) fn rescind_on(&mut self, cx: &mut Cx<'_>, agent: AgentId) {
        for id in self.offers_on.get(&agent).cloned().unwrap_or_default() {
            self.rescind(cx, &id);
        }
    }

    /// Rescinds the offers on an agent that have any of these volumes.
    pub(crate) fn rescind_containing(
        &mut self,
        cx: &mut Cx<'_>,
        agent: AgentId,
        volumes: &Resources,
    ) {
        let volumes = volumes.unallocated();
        let has = |offered: &Resources| {
            let offered = offered.unallocated();
            volumes.iter().any(|v| offered.iter().any(|o| o == v))
        };
        let offers = self.offered_on(agent).filter(|o| has(&o.resources));
        for id in offers.map(|o| o.id.clone()).collect::<Vec<_>>() {
            self.rescind(cx, &id);
        }
    }

    /// Ends all offers of a framework without telling it.
    pub(crate) fn discard_offers_of(&mut self, cx: &Cx<'_>, framework: FrameworkId) {
        let offers: Vec<String> =
            self.framework(framework).map_or_else(Vec::new, |f| f.offers.keys().cloned().collect());
        for id in offers {
            self.discard(cx, &id, None);
        }
    }
}

impl State {
    /// An offer as its framework sees it.
    #[must_use]
    pub fn offer_to_wire(&self, offer: &Offer) -> Option<v1::Offer> {
        let framework = self.frameworks.get(&offer.framework)?;
        let agent = self.agents.get(&offer.agent)?;
        let multi_role = framework.has(Capability::MultiRole);
        let shown =
            if multi_role { offer.resources.clone() } else { offer.resources.unallocated() };
        let shown = shown.filter(|e| e.identity.name != "ephemeral_ports");
        let resources = if framework.has(Capability::ReservationRefinement) {
            shown.to_wire()
        } else {
            shown.to_wire_pre()
        };
        let executors = agent.executors_of(offer.framework);
        Some(v1::Offer {
            id: offer.id.as_str().into(),
            framework_id: framework.id.as_str().into(),
            agent_id: agent.id.as_str().into(),
            hostname: agent.info.hostname.clone(),
            url: Some(agent.url()),
            domain: agent.info.domain.clone(),
            resources,
            attributes: agent.info.attributes.clone(),
            executor_ids: executors.map(Into::into).collect(),
            unavailability: self.scheduled.get(&offer.agent).map(|s| s.unavailability),
            allocation_info: multi_role
                .then(|| v1::resource::AllocationInfo { role: Some(offer.role.clone()) }),
        })
    }
}
