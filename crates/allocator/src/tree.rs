//! The tree of roles, ordered by dominant share (Ghodsi et al., Dominant Resource Fairness, NSDI 2011): who has how
//! much, and who is next.
//!
//! A framework in a role has a seat. Orders are kept up to date with every change, so that finding the next one costs
//! nothing; a change costs a place in one ordered set for each level of the tree.

mod places;

use crate::{FrameworkId, Sorter};
use resources::{Milli, Resources, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Number of a framework in a role.
pub(crate) type Seat = u32;

/// Scalars by the number of their name.
pub(crate) type Scalars = Vec<Milli>;

/// What one holder has.
#[derive(Debug, Clone, Default)]
struct Holding {
    scalars: Scalars,
    /// Number of allocations: breaks ties between equal shares.
    count: u64,
}

/// Place among siblings: bits of the share (finite and not negative, so that they order as it does), count, name.
type Place = (u64, u64, Arc<str>, Child);

/// What is below a role: another one, or its own frameworks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Child {
    Own,
    Role(u32),
}

#[derive(Debug, Clone)]
struct Role {
    name: Arc<str>,
    weight: f64,
    parent: Option<u32>,
    /// Of the role and everything below it.
    tree: Holding,
    /// Of the role itself.
    own: Holding,
    /// Active seats here and below.
    active: usize,
    seats: BTreeMap<FrameworkId, Seat>,
    /// Active seats of the role, least share first.
    order: BTreeSet<(u64, u64, Seat)>,
    /// Children with active seats, least share first; the role's own frameworks compete as one of them.
    children: BTreeSet<Place>,
    /// Where it is in its parent's `children`.
    place: Option<Place>,
    /// Where its own frameworks are in `children`.
    own_place: Option<Place>,
}

impl Role {
    /// Whether a child that is there, and stays, is the only one: its place does not matter, and need not be kept up to
    /// date.
    fn is_alone(&self, stays: bool) -> bool {
        stays && self.children.len() == 1
    }
}

#[derive(Debug, Clone)]
struct SeatState {
    framework: FrameworkId,
    role: u32,
    holding: Holding,
    active: bool,
    place: Option<(u64, u64)>,
}

/// The tree; role 0 is its root.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    names: Vec<String>,
    excluded: BTreeSet<String>,
    weights: BTreeMap<String, f64>,
    total: Scalars,
    roles: Vec<Role>,
    numbers: BTreeMap<String, u32>,
    seats: Vec<SeatState>,
    /// Seats that nobody has any more.
    vacant: Vec<Seat>,
    role_sorter: Sorter,
    framework_sorter: Sorter,
    /// The total changed: every place is another.
    stale: bool,
    /// What was asked last, which is often the same, and its scalars.
    last: (Resources, Vec<(usize, Milli)>),
    /// Stands for a role's own frameworks among its children.
    own_name: Arc<str>,
}

/// Adds to a sum over many agents. Beyond what can be counted it is wrong, but only for as long as there is so much.
pub(crate) fn bump(sum: &mut Milli, milli: Milli) {
    *sum = sum.wrapping_add(milli);
}

fn apply(scalars: &mut Scalars, changes: &[(usize, Milli)], sign: i64) {
    for (at, milli) in changes {
        if scalars.len() <= *at {
            scalars.resize(at + 1, 0);
        }
        bump(&mut scalars[*at], sign * milli);
    }
}

impl Tree {
    pub(crate) fn new(
        excluded: BTreeSet<String>,
        weights: BTreeMap<String, f64>,
        sorters: (Sorter, Sorter),
    ) -> Self {
        let mut tree = Self {
            names: Vec::new(),
            excluded,
            weights,
            total: Scalars::new(),
            roles: Vec::new(),
            numbers: BTreeMap::new(),
            seats: Vec::new(),
            vacant: Vec::new(),
            role_sorter: sorters.0,
            framework_sorter: sorters.1,
            stale: false,
            last: (Resources::new(), Vec::new()),
            own_name: Arc::from("."),
        };
        tree.make_role("", None);
        tree
    }

    fn make_role(&mut self, name: &str, parent: Option<u32>) -> u32 {
        let number = u32::try_from(self.roles.len()).unwrap_or(u32::MAX);
        self.roles.push(Role {
            name: name.into(),
            weight: self.weights.get(name).copied().unwrap_or(1.0),
            parent,
            tree: Holding::default(),
            own: Holding::default(),
            active: 0,
            seats: BTreeMap::new(),
            order: BTreeSet::new(),
            children: BTreeSet::new(),
            place: None,
            own_place: None,
        });
        number
    }

    /// Number of a role, made at first use.
    pub(crate) fn role(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let parent = match name.rsplit_once('/') {
            Some((above, _)) => self.role(above),
            None => 0,
        };
        let number = self.make_role(name, Some(parent));
        self.numbers.insert(name.to_owned(), number);
        number
    }

    pub(crate) fn role_name(&self, role: u32) -> &str {
        &self.roles[role as usize].name
    }

    pub(crate) fn known_role(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// A role and those above it, nearest first.
    pub(crate) fn chain(&self, role: u32) -> impl Iterator<Item = u32> {
        let parent = |role: &u32| self.roles[*role as usize].parent.filter(|p| *p != 0);
        std::iter::successors(Some(role), parent)
    }

    /// The seat of a framework in a role, made at first use.
    pub(crate) fn seat(&mut self, framework: FrameworkId, role: u32) -> Seat {
        if let Some(seat) = self.roles[role as usize].seats.get(&framework) {
            return *seat;
        }
        let state =
            SeatState { framework, role, holding: Holding::default(), active: false, place: None };
        let seat = if let Some(seat) = self.vacant.pop() {
            self.seats[seat as usize] = state;
            seat
        } else {
            self.seats.push(state);
            Seat::try_from(self.seats.len() - 1).unwrap_or(Seat::MAX)
        };
        self.roles[role as usize].seats.insert(framework, seat);
        seat
    }

    /// Gives up the seat of a framework that is gone and holds nothing; it is for the next one.
    pub(crate) fn vacate(&mut self, seat: Seat) {
        let state = &self.seats[seat as usize];
        if state.active || state.holding.scalars.iter().any(|milli| *milli != 0) {
            return;
        }
        let (framework, role) = (state.framework, state.role);
        if self.roles[role as usize].seats.remove(&framework).is_some() {
            self.vacant.push(seat);
        }
    }

    pub(crate) fn known_seat(&self, framework: FrameworkId, role: u32) -> Option<Seat> {
        self.roles[role as usize].seats.get(&framework).copied()
    }

    /// Part of the cluster that is a role's own, without those below it, by the weights of all that compete now.
    pub(crate) fn fair_shares(&self) -> Vec<f64> {
        let mut with_those_below = vec![0.0; self.roles.len()];
        let mut own = with_those_below.clone();
        with_those_below[0] = 1.0;
        // The number of a role is greater than that of the one above it.
        for (number, node) in self.roles.iter().enumerate() {
            let weight = |child: &Child| match child {
                Child::Own => node.weight,
                Child::Role(number) => self.roles[*number as usize].weight,
            };
            let total: f64 = node.children.iter().map(|(.., child)| weight(child)).sum();
            for (.., child) in &node.children {
                let part = with_those_below[number] * weight(child) / total;
                match child {
                    Child::Own => own[number] = part,
                    Child::Role(below) => with_those_below[*below as usize] = part,
                }
            }
        }
        own
    }

    /// Dominant share of a role itself, without those below it.
    pub(crate) fn own_share(&self, role: u32) -> f64 {
        self.share(&self.roles[role as usize].own.scalars)
    }

    /// How many frameworks compete in a role.
    pub(crate) fn active_seats(&self, role: u32) -> usize {
        self.roles[role as usize].order.len()
    }

    /// How many seats compete in a role and below it.
    pub(crate) fn active_below(&self, role: u32) -> usize {
        self.roles[role as usize].active
    }

    /// Competing seats of a role and those below it.
    pub(crate) fn seats_below(&self, role: u32) -> Vec<Seat> {
        let mut seats = Vec::new();
        let mut roles = vec![role];
        while let Some(role) = roles.pop() {
            let role = &self.roles[role as usize];
            seats.extend(role.order.iter().map(|(.., seat)| *seat));
            roles.extend(role.children.iter().filter_map(|(.., child)| match child {
                Child::Role(below) => Some(*below),
                Child::Own => None,
            }));
        }
        seats
    }

    pub(crate) fn framework_of(&self, seat: Seat) -> FrameworkId {
        self.seats[seat as usize].framework
    }

    pub(crate) fn role_of(&self, seat: Seat) -> u32 {
        self.seats[seat as usize].role
    }

    /// Seats that compete, with their frameworks and roles.
    pub(crate) fn competitors(&self) -> impl Iterator<Item = (Seat, FrameworkId, u32)> {
        let seats = (0..).zip(&self.seats).filter(|(_, s)| s.active);
        seats.map(|(seat, s)| (seat, s.framework, s.role))
    }

    /// Number of the name of a scalar, made at first use.
    pub(crate) fn scalar(&mut self, name: &str) -> usize {
        self.names.iter().position(|n| n == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    pub(crate) fn known_scalar(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    /// How many numbers there are.
    pub(crate) fn scalar_name(&self, at: usize) -> &str {
        &self.names[at]
    }

    pub(crate) fn scalars_known(&self) -> usize {
        self.names.len()
    }

    fn scalars(&mut self, resources: &Resources) -> Vec<(usize, Milli)> {
        if self.last.0.is_copy_of(resources) {
            return self.last.1.clone();
        }
        let mut out = Vec::with_capacity(4);
        for entry in resources.iter() {
            let Value::Scalar(milli) = entry.value else { continue };
            let number = self.scalar(&entry.identity.name);
            if self.excluded.is_empty() || !self.excluded.contains(&entry.identity.name) {
                out.push((number, milli));
            }
        }
        self.last = (resources.clone(), out.clone());
        out
    }

    /// The cluster has more (sign 1) or less (sign -1).
    pub(crate) fn change_total(&mut self, resources: &Resources, sign: i64) {
        for role in resources.iter().filter_map(resources::Entry::reserved_to) {
            self.role(role);
        }
        let changes = self.scalars(resources);
        apply(&mut self.total, &changes, sign);
        self.stale = true;
    }

    #[expect(clippy::cast_precision_loss, reason = "a share is approximate by nature")]
    fn share(&self, scalars: &[Milli]) -> f64 {
        let mut share = 0.0_f64;
        for (have, total) in scalars.iter().zip(&self.total).filter(|(_, total)| **total > 0) {
            share = share.max((*have).max(0) as f64 / *total as f64);
        }
        share
    }

    /// A framework got (sign 1) or gave back (sign -1) resources.
    pub(crate) fn change(&mut self, seat: Seat, resources: &Resources, sign: i64) {
        let changes = self.scalars(resources);
        self.change_by(seat, &changes, sign, u64::from(sign > 0));
    }

    /// The same for one part of so many of the resources, which are offered to several at a time.
    pub(crate) fn change_part(&mut self, seat: Seat, resources: &Resources, parts: u32, sign: i64) {
        let mut changes = self.scalars(resources);
        for (_, milli) in &mut changes {
            *milli /= Milli::from(parts);
        }
        self.change_by(seat, &changes, sign, 0);
    }

    /// A framework was offered something.
    pub(crate) fn count(&mut self, seat: Seat) {
        self.change_by(seat, &[], 1, 1);
    }

    fn change_by(&mut self, seat: Seat, changes: &[(usize, Milli)], sign: i64, counts: u64) {
        let state = &mut self.seats[seat as usize];
        let role = state.role;
        apply(&mut state.holding.scalars, changes, sign);
        state.holding.count += counts;
        let own = &mut self.roles[role as usize].own;
        apply(&mut own.scalars, changes, sign);
        own.count += counts;
        let mut at = Some(role);
        while let Some(number) = at {
            let node = &mut self.roles[number as usize];
            apply(&mut node.tree.scalars, changes, sign);
            node.tree.count += counts;
            at = node.parent.filter(|p| *p != 0);
        }
        if !self.stale {
            self.place_seat(seat);
            self.place_own(role);
            self.place_up(role);
        }
    }

    /// Lets a framework compete in a role, or not; whether that is a change.
    pub(crate) fn set_active(&mut self, seat: Seat, active: bool) -> bool {
        let state = &mut self.seats[seat as usize];
        if state.active == active {
            return false;
        }
        state.active = active;
        let role = state.role;
        let mut at = Some(role);
        while let Some(number) = at {
            let node = &mut self.roles[number as usize];
            node.active = if active { node.active + 1 } else { node.active - 1 };
            at = node.parent;
        }
        self.place_seat(seat);
        self.place_own(role);
        self.place_up(role);
        true
    }

    /// Changes a role's weight.
    pub(crate) fn set_weight(&mut self, role: &str, weight: f64) {
        self.weights.insert(role.to_owned(), weight);
        let number = self.role(role);
        self.roles[number as usize].weight = weight;
        self.stale = true;
    }

    /// Sum of what all frameworks hold, by name; for checks.
    pub(crate) fn held(&self) -> BTreeMap<&str, Milli> {
        let mut sums: BTreeMap<&str, Milli> = BTreeMap::new();
        for seat in &self.seats {
            let scalars = seat.holding.scalars.iter().enumerate();
            for (at, milli) in scalars.filter(|(_, m)| **m != 0) {
                bump(sums.entry(&self.names[at]).or_default(), *milli);
            }
        }
        sums.retain(|_, milli| *milli != 0);
        sums
    }
}
