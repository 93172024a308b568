//! Offer overlap: to how many frameworks at a time the same resources may be offered, from disjoint offers (1) to
//! shared state (all), after Schwarzkopf et al., Omega, EuroSys 2013.
//!
//! An offer in a role with more than one is soft: it takes nothing, and the first one who accepts wins.

use crate::agent::Agent;
use crate::hierarchical::Hierarchical;
use crate::tree::{Seat, Tree, bump};
use crate::{AgentId, FrameworkId, Loser};
use resources::{Milli, Resources};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// To how many frameworks at a time the same resources may be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overlap(u32);

impl Overlap {
    /// Disjoint offers.
    pub const DISJOINT: Self = Self(1);
    /// Everything free is offered to everybody.
    pub const ALL: Self = Self(u32::MAX);

    /// To `frameworks` at a time; None for 0.
    #[must_use]
    pub fn of(frameworks: u32) -> Option<Self> {
        (frameworks > 0).then_some(Self(frameworks))
    }

    /// Whether an offer takes what it offers.
    #[must_use]
    pub fn is_disjoint(self) -> bool {
        self == Self::DISJOINT
    }

    /// Whether so many others leave no room for one more.
    fn is_reached_by(self, others: usize) -> bool {
        u32::try_from(others).is_ok_and(|others| others >= self.0)
    }
}

impl Default for Overlap {
    fn default() -> Self {
        Self::DISJOINT
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL { f.write_str("all") } else { write!(f, "{}", self.0) }
    }
}

impl FromStr for Overlap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::ALL);
        }
        let number = text.parse().ok().and_then(Self::of);
        number.ok_or_else(|| format!("offer overlap '{text}': expected a number from 1 or 'all'"))
    }
}

/// The overlap of roles: a role's own, else that of the nearest role above it that has one, else that of `*`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlaps {
    of: BTreeMap<u32, Overlap>,
    default: Overlap,
    /// Whether any is not disjoint.
    any: bool,
    /// What counts for quota of what seats are offered softly.
    shown: BTreeMap<Seat, BTreeMap<String, Milli>>,
}

impl Overlaps {
    pub(crate) fn of(&self, tree: &Tree, role: u32) -> Overlap {
        if !self.any {
            return Overlap::DISJOINT;
        }
        tree.chain(role).find_map(|role| self.of.get(&role).copied()).unwrap_or(self.default)
    }

    pub(crate) fn shown(&self, seat: Seat) -> Option<&BTreeMap<String, Milli>> {
        self.shown.get(&seat)
    }

    fn note_shown(&mut self, seat: Seat, resources: &Resources, sign: i64) {
        let of_seat = self.shown.entry(seat).or_default();
        for entry in resources.iter().filter(|e| e.is_quota_charged()) {
            if let resources::Value::Scalar(milli) = entry.value {
                bump(of_seat.entry(entry.identity.name.clone()).or_default(), sign * milli);
            }
        }
        of_seat.retain(|_, milli| *milli != 0);
        if of_seat.is_empty() {
            self.shown.remove(&seat);
        }
    }
}

/// What one framework is offered softly for a role on an agent.
#[derive(Debug, Clone)]
struct Soft {
    seat: Seat,
    /// Without allocation info.
    resources: Resources,
    /// For its share it counts as one part of so many: so many see the same, and one will have it.
    parts: u32,
}

/// All soft offers on an agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Softs {
    /// In order of seats.
    of: Vec<Soft>,
}

impl Softs {
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    fn at(&self, seat: Seat) -> Result<usize, usize> {
        self.of.binary_search_by_key(&seat, |soft| soft.seat)
    }

    fn own(&self, seat: Seat) -> Option<&Resources> {
        self.at(seat).ok().map(|at| &self.of[at].resources)
    }

    /// What of `free` a seat may be offered: nothing that it is offered already, nor what is offered to as many others
    /// as the overlap allows.
    pub(crate) fn visible<'a>(
        &self,
        seat: Seat,
        overlap: Overlap,
        free: &'a Resources,
    ) -> Cow<'a, Resources> {
        if self.is_empty() {
            return Cow::Borrowed(free);
        }
        let own = self.own(seat);
        let others = self.of.len() - usize::from(own.is_some());
        let mut left = free.clone();
        if overlap.is_disjoint() || overlap.is_reached_by(others) {
            // A shared volume is there for the next as well.
            left -= &self.union().nonshared();
            left -= &own.map(Resources::shared).unwrap_or_default();
        } else if let Some(own) = own {
            left -= own;
        }
        Cow::Owned(left)
    }

    /// All but a seat's, if it has what is `offered` softly.
    pub(crate) fn without(&self, seat: Seat, offered: &Resources) -> Option<Self> {
        self.own(seat).filter(|own| own.contains(offered))?;
        let mut others = self.clone();
        others.of.retain(|soft| soft.seat != seat);
        Some(others)
    }

    /// What is offered to anybody.
    pub(crate) fn union(&self) -> Resources {
        let mut union = Resources::new();
        for soft in &self.of {
            let mut more = soft.resources.clone();
            more -= &union;
            union += &more;
        }
        union
    }

    /// Whether a seat is offered all of `free`.
    pub(crate) fn has_all(&self, seat: Seat, free: &Resources) -> bool {
        self.own(seat).is_some_and(|own| own.contains(free))
    }

    /// Notes an offer that counts as one part of `parts`.
    pub(crate) fn add(&mut self, seat: Seat, resources: &Resources, parts: u32) {
        match self.at(seat) {
            Ok(at) => self.of[at].resources += resources,
            Err(at) => self.of.insert(at, Soft { seat, resources: resources.clone(), parts }),
        }
    }

    /// What counts for shares, for checks.
    pub(crate) fn counted(&self) -> impl Iterator<Item = (&str, Milli)> {
        let scalars = self.of.iter().flat_map(|soft| {
            soft.resources.iter().map(move |entry| (entry, Milli::from(soft.parts)))
        });
        scalars.filter_map(|(entry, parts)| match entry.value {
            resources::Value::Scalar(milli) => Some((&*entry.identity.name, milli / parts)),
            _ => None,
        })
    }

    /// Bytes on the heap, about.
    pub(crate) fn bytes(&self) -> usize {
        let entries = self.of.iter().map(|soft| soft.resources.iter().count() * 48);
        self.of.capacity() * size_of::<Soft>() + entries.sum::<usize>()
    }

    /// Whether every seat's offers are all free.
    pub(crate) fn fit(&self, agent: &Agent) -> bool {
        self.of.iter().all(|soft| agent.has_free(&soft.resources))
    }
}

impl Hierarchical {
    pub(crate) fn put_overlap(&mut self, role: &str, overlap: Option<Overlap>) {
        if role == "*" {
            self.overlaps.default = overlap.unwrap_or_default();
        }
        let number = self.tree.role(role);
        match overlap {
            Some(overlap) => self.overlaps.of.insert(number, overlap),
            None => self.overlaps.of.remove(&number),
        };
        self.overlaps.any = self.overlaps.of.values().any(|overlap| !overlap.is_disjoint());
        self.all_dirty = true;
    }

    /// One part of how many a soft offer counts as.
    pub(crate) fn parts(&self, role: u32, overlap: Overlap) -> u32 {
        let seats = u32::try_from(self.tree.active_seats(role)).unwrap_or(u32::MAX);
        overlap.0.min(seats).max(1)
    }

    /// A seat is offered more (sign 1) or less (sign -1) softly.
    pub(crate) fn show(
        &mut self,
        seat: Seat,
        on: AgentId,
        resources: &Resources,
        parts: u32,
        sign: i64,
    ) {
        let Some(agent) = self.agents.get_mut(&on) else { return };
        let softs = &mut agent.softs;
        let old = softs.at(seat).ok().map(|at| softs.of[at].clone());
        if sign > 0 {
            softs.add(seat, resources, parts);
        } else if let Ok(at) = softs.at(seat) {
            softs.of[at].resources -= resources;
            if softs.of[at].resources.is_empty() {
                softs.of.remove(at);
            }
        }
        let new = softs.at(seat).ok().map(|at| softs.of[at].clone());
        if let Some(old) = old {
            self.book_soft(&old, -1);
        }
        if let Some(new) = new {
            self.book_soft(&new, 1);
        }
        if sign > 0 {
            self.tree.count(seat);
        } else {
            self.quotas.note_change();
        }
    }

    /// The sums of what is shown, counted anew.
    pub(crate) fn check_shown(&self) -> Result<(), String> {
        let mut counted = Overlaps::default();
        for soft in self.agents.values().flat_map(|a| &a.softs.of) {
            counted.note_shown(soft.seat, &soft.resources, 1);
        }
        if counted.shown != self.overlaps.shown {
            let known = &self.overlaps.shown;
            return Err(format!("{:?} is offered softly, the books say {known:?}", counted.shown));
        }
        Ok(())
    }

    /// Ends a soft offer: the seat and the resources without allocation info, if there is such an offer.
    pub(crate) fn hide(
        &mut self,
        framework: FrameworkId,
        on: AgentId,
        resources: &Resources,
    ) -> Option<Resources> {
        let role = resources.iter().next()?.identity.allocated_to.clone()?;
        let seat = self.tree.known_seat(framework, self.tree.known_role(&role)?)?;
        let plain = self.interner.unallocate(resources);
        let known = self.agents.get(&on)?.softs.own(seat)?;
        if !known.contains(&plain) {
            return None;
        }
        self.show(seat, on, &plain, 1, -1);
        self.dirty.insert(on);
        Some(plain)
    }

    /// Turns a soft offer into a held one, as far as limits and the guarantees of others allow.
    pub(crate) fn win(
        &mut self,
        framework: FrameworkId,
        on: AgentId,
        resources: &Resources,
    ) -> Resources {
        let Some(plain) = self.hide(framework, on, resources) else { return Resources::new() };
        let role = resources.iter().find_map(|e| e.identity.allocated_to.as_deref());
        let role = role.unwrap_or_default();
        let fits = self.agents.get(&on).is_some_and(|a| !a.overcommitted && a.has_free(&plain));
        if !fits {
            return Resources::new();
        }
        let mut granted = resources.clone();
        if !self.quotas.is_empty() {
            let number = self.tree.role(role);
            granted = resources.capped(|name| self.quotas.room(&self.tree, number, name));
        }
        self.hold(framework, on, &granted, 1);
        granted
    }

    /// Soft offers that are no longer all free, of agents on which that may be so.
    pub(crate) fn find_losers(&mut self) -> Vec<Loser> {
        let mut losers = Vec::new();
        for id in std::mem::take(&mut self.suspects) {
            let Some(agent) = self.agents.get(&id) else { continue };
            for soft in agent.softs.of.iter().filter(|s| !agent.has_free(&s.resources)) {
                let role = self.tree.role_name(self.tree.role_of(soft.seat)).to_owned();
                let framework = self.tree.framework_of(soft.seat);
                losers.push(Loser { framework, role, agent: id });
            }
        }
        losers
    }

    /// Forgets all soft offers on an agent that goes.
    pub(crate) fn hide_all(&mut self, on: AgentId) {
        let Some(agent) = self.agents.get_mut(&on) else { return };
        for soft in std::mem::take(&mut agent.softs).of {
            self.book_soft(&soft, -1);
        }
    }

    /// The books of soft offers: shares, and what counts for quota.
    fn book_soft(&mut self, soft: &Soft, sign: i64) {
        self.tree.change_part(soft.seat, &soft.resources, soft.parts, sign);
        self.overlaps.note_shown(soft.seat, &soft.resources, sign);
    }
}
