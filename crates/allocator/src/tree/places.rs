//! The order in which roles and frameworks are served: places among siblings, kept up to date, and visits in their order.

use super::{Child, Place, Seat, Tree};
use crate::Sorter;
use crate::draw::Draw;
use base::Rng;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

impl Tree {
    pub(super) fn place_seat(&mut self, seat: Seat) {
        let state = &self.seats[seat as usize];
        let share = self.share(&state.holding.scalars).to_bits();
        let new = state.active.then_some((share, state.holding.count));
        let state = &mut self.seats[seat as usize];
        let old = std::mem::replace(&mut state.place, new);
        let order = &mut self.roles[state.role as usize].order;
        if old == new {
            return;
        }
        if let Some((share, count)) = old {
            order.remove(&(share, count, seat));
        }
        if let Some((share, count)) = new {
            order.insert((share, count, seat));
        }
    }

    /// The place of a role's own frameworks among its children.
    pub(super) fn place_own(&mut self, role: u32) {
        let node = &self.roles[role as usize];
        if node.is_alone(node.own_place.is_some() && !node.order.is_empty()) {
            return;
        }
        let new = (!node.order.is_empty()).then(|| self.own_place(role));
        self.make_room(role, new.is_some() && node.own_place.is_none());
        let node = &mut self.roles[role as usize];
        let old = std::mem::replace(&mut node.own_place, new.clone());
        replace(&mut node.children, old, new);
    }

    /// The places of a role and those above it among their siblings.
    pub(super) fn place_up(&mut self, role: u32) {
        let mut number = role;
        while let Some(parent) = self.roles[number as usize].parent {
            let node = &self.roles[number as usize];
            if !self.roles[parent as usize].is_alone(node.place.is_some() && node.active > 0) {
                let new = (node.active > 0).then(|| self.role_place(number));
                self.make_room(parent, new.is_some() && node.place.is_none());
                let old = std::mem::replace(&mut self.roles[number as usize].place, new.clone());
                replace(&mut self.roles[parent as usize].children, old, new);
            }
            number = parent;
        }
    }

    fn own_place(&self, role: u32) -> Place {
        let node = &self.roles[role as usize];
        let share = self.share(&node.own.scalars) / node.weight;
        (share.to_bits(), node.own.count, self.own_name.clone(), Child::Own)
    }

    fn role_place(&self, role: u32) -> Place {
        let node = &self.roles[role as usize];
        let share = self.share(&node.tree.scalars) / node.weight;
        (share.to_bits(), node.tree.count, node.name.clone(), Child::Role(role))
    }

    /// Before another child joins an only one, that is put where it belongs.
    fn make_room(&mut self, parent: u32, another_joins: bool) {
        let children = &self.roles[parent as usize].children;
        if !another_joins || children.len() != 1 {
            return;
        }
        let Some((.., only)) = children.first() else { return };
        match *only {
            Child::Own => {
                let place = self.own_place(parent);
                let node = &mut self.roles[parent as usize];
                node.children = BTreeSet::from([place.clone()]);
                node.own_place = Some(place);
            }
            Child::Role(number) => {
                let place = self.role_place(number);
                self.roles[parent as usize].children = BTreeSet::from([place.clone()]);
                self.roles[number as usize].place = Some(place);
            }
        }
    }

    /// After a change of the total or of weights every place is another.
    pub(crate) fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        for seat in 0..self.seats.len() {
            self.place_seat(Seat::try_from(seat).unwrap_or(Seat::MAX));
        }
        for role in (1..self.roles.len()).rev() {
            let role = u32::try_from(role).unwrap_or(u32::MAX);
            self.place_own(role);
            self.place_up(role);
        }
    }

    /// Visits roles with active frameworks in the order in which they are served: depth first, siblings by the sorter.
    pub(crate) fn visit_roles(
        &self,
        rng: &mut Rng,
        visit: &mut impl FnMut(u32, &mut Rng) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.visit_below(0, rng, visit)
    }

    fn visit_below(
        &self,
        role: u32,
        rng: &mut Rng,
        visit: &mut impl FnMut(u32, &mut Rng) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let children = self.roles[role as usize].children.iter().map(|(.., child)| *child);
        let mut step = |child, rng: &mut Rng| match child {
            Child::Own => visit(role, rng),
            Child::Role(number) => self.visit_below(number, rng, visit),
        };
        match self.role_sorter {
            Sorter::Drf => {
                for child in children {
                    step(child, rng)?;
                }
            }
            Sorter::Random => {
                let weight = |child: &Child| match child {
                    Child::Own => self.roles[role as usize].weight,
                    Child::Role(number) => self.roles[*number as usize].weight,
                };
                let mut draw = Draw::new(children.collect(), weight, rng);
                while let Some(child) = draw.next(rng) {
                    step(child, rng)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Visits the active seats of a role in the order of the sorter.
    pub(crate) fn visit_seats(
        &self,
        role: u32,
        rng: &mut Rng,
        visit: &mut impl FnMut(Seat) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let seats = self.roles[role as usize].order.iter().map(|(.., seat)| *seat);
        match self.framework_sorter {
            Sorter::Drf => {
                for seat in seats {
                    visit(seat)?;
                }
            }
            Sorter::Random => {
                let mut draw = Draw::Equal(seats.collect());
                while let Some(seat) = draw.next(rng) {
                    visit(seat)?;
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn replace(set: &mut BTreeSet<Place>, old: Option<Place>, new: Option<Place>) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        set.remove(&old);
    }
    if let Some(new) = new {
        set.insert(new);
    }
}
