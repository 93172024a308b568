//! One decision: what of an agent's free resources a framework is offered for a role, or the first reason why nothing.

use crate::agent::Agent;
use crate::filters::Voidings;
use crate::hierarchical::Hierarchical;
use crate::loans::Amounts;
use crate::quota::Quotas;
use crate::tree::Tree;
use crate::{Config, FrameworkOptions, Reason};
use resources::{Entry, Milli, Quantities, Resources, is_descendant_or_self};
use std::borrow::Cow;
use std::collections::BTreeMap;
use wire::v1::framework_info::capability::Type as Capability;

/// What the policy must know of a framework in a role.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent capabilities")]
pub(crate) struct Wants {
    /// When its filters were voided last.
    pub(crate) voided: Voidings,
    is_multi_role: bool,
    takes_gpus: bool,
    takes_remote: bool,
    takes_revocable: bool,
    takes_shared: bool,
    takes_refined: bool,
    is_below: bool,
    is_constrained: bool,
    /// Alternatives; None: those of the cluster.
    min_allocatable: Option<Vec<Quantities>>,
}

impl Wants {
    pub(crate) fn new(options: &FrameworkOptions, role: &str, voided: Voidings) -> Self {
        let has = |capability| options.capabilities.contains(&capability);
        Self {
            voided,
            is_multi_role: has(Capability::MultiRole),
            takes_gpus: has(Capability::GpuResources),
            takes_remote: has(Capability::RegionAware),
            takes_revocable: has(Capability::RevocableResources),
            takes_shared: has(Capability::SharedResources),
            takes_refined: has(Capability::ReservationRefinement),
            is_below: role.contains('/'),
            is_constrained: options.constraints.roles().any(|r| r == role),
            min_allocatable: options.min_allocatable.get(role).cloned(),
        }
    }
}

/// Everything a decision depends on besides who and where.
pub(crate) struct Circumstances<'a> {
    pub(crate) config: &'a Config,
    pub(crate) tree: &'a Tree,
    pub(crate) quotas: &'a Quotas,
    /// Only what is guaranteed, and what may go with it.
    pub(crate) is_first_stage: bool,
    /// As if nothing was lent.
    pub(crate) ignores_loans: bool,
    /// What the seat is offered softly, which its limits must cover as well.
    pub(crate) shown: Option<&'a BTreeMap<String, Milli>>,
    /// What others wait for of what was lent, so that it is not given to this one when it comes back.
    pub(crate) awaited: Option<&'a Amounts>,
    /// Known to be as much as the least that is offered.
    pub(crate) enough: Option<&'a Resources>,
    /// As if these were not in the way; none but for questions.
    pub(crate) overlooked: &'a [Reason],
}

impl Hierarchical {
    /// Those of the second stage, with these books of quota.
    pub(crate) fn circumstances<'a>(&'a self, quotas: &'a Quotas) -> Circumstances<'a> {
        Circumstances {
            config: &self.config,
            tree: &self.tree,
            quotas,
            is_first_stage: false,
            ignores_loans: false,
            shown: None,
            awaited: None,
            enough: None,
            overlooked: &[],
        }
    }
}

impl Circumstances<'_> {
    /// Why an agent is not for a framework at all, whatever is free there.
    #[inline]
    pub(crate) fn unfit(
        &self,
        wants: &Wants,
        options: &FrameworkOptions,
        role: u32,
        agent: &Agent,
    ) -> Option<Reason> {
        let traits = agent.traits;
        let is_counted = |reason| !self.overlooked.contains(&reason);
        let has_all = !wants.is_multi_role || traits.is_multi_role;
        let has_all = has_all && (!wants.is_below || traits.is_hierarchical);
        if !has_all && is_counted(Reason::AgentCapability) {
            return Some(Reason::AgentCapability);
        }
        let keeps_gpus = traits.has_gpus && !wants.takes_gpus && self.config.filter_gpu_resources;
        if keeps_gpus && is_counted(Reason::Gpus) {
            return Some(Reason::Gpus);
        }
        if traits.is_remote && !wants.takes_remote && is_counted(Reason::Region) {
            return Some(Reason::Region);
        }
        let is_excluded = wants.is_constrained
            && is_counted(Reason::Constraint)
            && !options.constraints.allow(self.tree.role_name(role), &agent.options);
        is_excluded.then_some(Reason::Constraint)
    }

    /// What of `free` on `agent` is to be offered; None: all of it.
    pub(crate) fn decide(
        &self,
        wants: &Wants,
        options: &FrameworkOptions,
        role: u32,
        agent: &Agent,
        free: &Resources,
    ) -> Result<Option<Resources>, Reason> {
        if let Some(reason) = self.unfit(wants, options, role, agent) {
            return Err(reason);
        }
        let name = self.tree.role_name(role);
        let is_counted = |reason| !self.overlooked.contains(&reason);
        let least: &[Quantities] = if is_counted(Reason::BelowMinimum) {
            wants.min_allocatable.as_ref().unwrap_or(&self.config.min_allocatable)
        } else {
            &[]
        };
        let mut part = None;
        if !agent.traits.is_plain {
            part = Some(free.allocatable_to(name).filter(|e| wants.takes(e)));
        }
        if part.as_ref().unwrap_or(free).is_empty() {
            return Err(wants.lacking(Reason::Reserved, name, agent, free, least));
        }
        let mut before_loans = None;
        if !agent.lent.is_empty() && !self.ignores_loans {
            let usable = part.as_ref().unwrap_or(free);
            if let Cow::Owned(rest) = agent.unlent(free, usable, self.awaited) {
                before_loans = Some(part.replace(rest));
            }
        }
        if !self.quotas.is_empty() {
            let usable = part.as_ref().unwrap_or(free);
            let within = self.within_quota(role, usable)?;
            // What is kept back is in the way, not what is left without it.
            if !is_enough(&within, least) && is_enough(usable, least) {
                return Err(self.kept_by(role, usable));
            }
            part = Some(within);
        }
        let usable = part.as_ref().unwrap_or(free);
        let is_known = wants.min_allocatable.is_none()
            && self.enough.is_some_and(|enough| usable.is_copy_of(enough));
        if !is_known && !is_enough(usable, least) {
            return Err(match before_loans {
                Some(usable) => self.lent_or_kept(role, usable.as_ref().unwrap_or(free), least),
                None => wants.lacking(Reason::BelowMinimum, name, agent, free, least),
            });
        }
        Ok(part)
    }

    /// Why what is lent of `usable` is missing: without the loan it may be kept back all the same.
    fn lent_or_kept(&self, role: u32, usable: &Resources, least: &[Quantities]) -> Reason {
        if self.quotas.is_empty() {
            return Reason::Lent;
        }
        match self.within_quota(role, usable) {
            Err(reason) => reason,
            Ok(within) if !is_enough(&within, least) => self.kept_by(role, usable),
            Ok(_) => Reason::Lent,
        }
    }

    /// What of a scalar the seat is offered softly.
    fn shown(&self, name: &str) -> Milli {
        self.shown.and_then(|shown| shown.get(name)).copied().unwrap_or(0)
    }

    /// How much more of a scalar the limits of a role allow; None: any amount.
    fn limit_room(&self, role: u32, name: &str) -> Option<Milli> {
        if self.overlooked.contains(&Reason::Limit) {
            return None;
        }
        let room = self.quotas.limit_room(self.tree, role, name);
        room.map(|room| (room - self.shown(name)).max(0))
    }

    /// How much of a scalar is free beyond what guarantees need; None: none needs it.
    fn spare(&self, name: &str) -> Option<Milli> {
        if self.overlooked.contains(&Reason::Headroom) {
            return None;
        }
        self.quotas.spare(self.tree, name).map(|spare| (spare - self.shown(name)).max(0))
    }

    /// What keeps scalars from a role: its limits, or the guarantees of others.
    fn kept_by(&self, role: u32, usable: &Resources) -> Reason {
        let is_limited = usable.iter().filter(|e| e.is_quota_charged()).any(|e| {
            let name = &e.identity.name;
            let spare = self.spare(name).unwrap_or(Milli::MAX);
            let room = self.limit_room(role, name);
            room.is_some_and(|room| room < usable.scalar(name) && room <= spare)
        });
        if is_limited { Reason::Limit } else { Reason::Headroom }
    }

    /// Whether quota may have made less of a decision on `free`.
    pub(crate) fn holds_back(
        &self,
        decided: &Result<Option<Resources>, Reason>,
        free: &Resources,
    ) -> bool {
        !self.quotas.is_empty()
            && match decided {
                Ok(part) => part.as_ref().is_some_and(|part| part != free),
                Err(reason) => matches!(
                    reason,
                    Reason::Limit
                        | Reason::Headroom
                        | Reason::Lent
                        | Reason::BelowMinimum
                        | Reason::Taken
                ),
            }
    }

    fn within_quota(&self, role: u32, usable: &Resources) -> Result<Resources, Reason> {
        let limit = |name: &str| self.limit_room(role, name);
        let lack = |name: &str| {
            if self.is_first_stage { self.quotas.lack(self.tree, role, name) } else { 0 }
        };
        if self.is_first_stage {
            let helps = |e: &Entry| {
                let name = &e.identity.name;
                e.is_quota_charged() && lack(name) > 0 && limit(name) != Some(0)
            };
            if !usable.iter().any(helps) {
                return Err(Reason::Satisfied);
            }
        }
        let spare = |name: &str| self.spare(name).map(|s| s.saturating_add(lack(name)));
        let least = |a: Option<Milli>, b: Option<Milli>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
        let capped = usable.capped(|name| least(limit(name), spare(name)));
        let has_scalars = |r: &Resources| r.iter().any(Entry::is_quota_charged);
        if has_scalars(usable) && !has_scalars(&capped) {
            let is_all = capped.iter().all(|e| e.identity.reservations.is_empty());
            if is_all {
                return Err(self.kept_by(role, usable));
            }
        }
        Ok(capped)
    }
}

impl Reason {
    /// Whether it says that too little is there.
    pub(crate) fn is_lack(self) -> bool {
        matches!(
            self,
            Self::Taken | Self::Overlap | Self::Reserved | Self::Lent | Self::BelowMinimum
        )
    }
}

/// Whether something of it is worth an offer: one of the alternatives, or anything if there are none.
pub(crate) fn is_enough(usable: &Resources, least: &[Quantities]) -> bool {
    let has = |least: &Quantities| least.iter().all(|(name, milli)| usable.quantity(name) >= milli);
    !usable.is_empty() && (least.is_empty() || least.iter().any(has))
}

impl Wants {
    pub(crate) fn takes_revocable(&self) -> bool {
        self.takes_revocable
    }

    /// Why too little of `free` is there: somebody has the rest, or there never was enough.
    fn lacking(
        &self,
        reason: Reason,
        role: &str,
        agent: &Agent,
        free: &Resources,
        least: &[Quantities],
    ) -> Reason {
        if agent.held.is_empty() && *free == agent.free {
            return reason;
        }
        let is_usable = |e: &&Entry| {
            self.takes(e) && e.reserved_to().is_none_or(|owner| is_descendant_or_self(role, owner))
        };
        let mut usable = agent.total.iter().filter(is_usable);
        let amount = |name: &str| -> Milli {
            let of_name = agent.total.iter().filter(is_usable).filter(|e| e.identity.name == name);
            of_name.map(|e| e.value.quantity()).sum()
        };
        let has = |least: &Quantities| least.iter().all(|(name, milli)| amount(name) >= milli);
        let was_enough =
            if least.is_empty() { usable.next().is_some() } else { least.iter().any(has) };
        if was_enough { Reason::Taken } else { reason }
    }

    fn takes(&self, entry: &Entry) -> bool {
        let identity = &entry.identity;
        (self.takes_revocable || !identity.revocable)
            && (self.takes_shared || !identity.shared)
            && (self.takes_refined || identity.reservations.len() < 2)
    }
}
