//! An agent as the policy sees it.

use crate::filters::Filters;
use crate::loans::{Amounts, loans};
use crate::overlap::Softs;
use crate::turns::Turns;
use crate::{AgentOptions, FrameworkId};
use base::Time;
use resources::{Entry, Resources, Value};
use std::collections::BTreeMap;
use wire::v1::agent_info::capability::Type as Capability;

#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) options: AgentOptions,
    /// Without allocation info.
    pub(crate) total: Resources,
    /// Without allocation info.
    pub(crate) free: Resources,
    /// With allocation info.
    pub(crate) held: BTreeMap<FrameworkId, Resources>,
    /// Offered without being taken from what is free.
    pub(crate) softs: Softs,
    /// What of it is held as revocable resources that the agent itself does not offer as such.
    pub(crate) lent: Amounts,
    /// More is held than there is, loans aside: the agent came back with less.
    pub(crate) overcommitted: bool,
    pub(crate) active: bool,
    pub(crate) filters: Filters,
    pub(crate) turns: Turns,
    /// Time for which the policy remembers to look at the filters.
    pub(crate) watched: Option<Time>,
    pub(crate) traits: Traits,
}

/// What decides who may have the agent at all.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct Traits {
    pub(crate) is_multi_role: bool,
    pub(crate) is_hierarchical: bool,
    pub(crate) has_gpus: bool,
    /// In another region than the master.
    pub(crate) is_remote: bool,
    /// All of its resources are for everybody: none is reserved, revocable or shared.
    pub(crate) is_plain: bool,
}

impl Traits {
    pub(crate) fn of(options: &AgentOptions, total: &Resources, region: Option<&str>) -> Self {
        let has = |capability| options.capabilities.contains(&capability);
        let domain = options.domain.as_ref().and_then(|d| d.fault_domain.as_ref());
        let theirs = domain.map(|d| d.region.name.as_str());
        Self {
            is_multi_role: has(Capability::MultiRole),
            is_hierarchical: has(Capability::HierarchicalRole),
            has_gpus: total.scalar("gpus") > 0,
            is_remote: region.zip(theirs).is_some_and(|(mine, theirs)| mine != theirs),
            is_plain: total.iter().all(|e| {
                let i = &e.identity;
                i.reservations.is_empty() && !i.revocable && !i.shared
            }),
        }
    }
}

impl Agent {
    /// What is used beyond the total may be used of any part of it, so nothing is offered until that is over.
    pub(crate) fn is_candidate(&self) -> bool {
        self.active && !self.overcommitted && !self.free.is_empty()
    }

    /// Counts anew what is free and what is lent. A shared volume is there for the next as well.
    pub(crate) fn recount(&mut self, unallocate: &mut impl FnMut(&Resources) -> Resources) {
        let mut held = Resources::new();
        for resources in self.held.values() {
            held += &unallocate(&resources.nonshared());
        }
        self.lent = loans(&self.total, &held);
        let is_loan = |e: &Entry| e.identity.revocable && matches!(e.value, Value::Scalar(_));
        self.overcommitted = !self.total.contains(&held.filter(|e| !is_loan(e)));
        self.free = self.total.clone();
        self.free -= &held;
    }
}
