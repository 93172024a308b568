//! What guarantees still need. What is guaranteed below a role is a part of what is guaranteed to it, unless it is
//! more: a role needs what it lacks itself, or what those below it need together, whichever is greater.
//!
//! Kept up to date with every change, so that a decision costs a walk up the tree whatever the number of guarantees.

use crate::quota::{add, amount};
use crate::tree::{Scalars, Tree};
use resources::Milli;
use std::collections::BTreeMap;

/// A role with a guarantee.
#[derive(Debug, Clone, Default)]
struct Need {
    /// The nearest role above it with a guarantee.
    above: Option<u32>,
    guarantee: Scalars,
    need: Scalars,
    /// What the nearest roles below it with guarantees need.
    below: Scalars,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Needs {
    of: BTreeMap<u32, Need>,
    /// By role: whether it needs anything.
    needy: Vec<bool>,
    /// What all roles need.
    all: Scalars,
    /// To how many roles some of it is guaranteed.
    guaranteed: Vec<usize>,
}

impl Needs {
    /// Changes what is guaranteed to a role, by number of the scalar; empty: nothing. `consumed` tells how much of a
    /// scalar a role has by now.
    pub(crate) fn set(
        &mut self,
        tree: &Tree,
        role: u32,
        guarantee: Scalars,
        consumed: impl Fn(u32, usize) -> Milli,
    ) {
        self.adopt(tree, role);
        let is_over = guarantee.is_empty();
        let Some(of) = self.of.get_mut(&role) else { return };
        let old = std::mem::replace(&mut of.guarantee, guarantee);
        for at in 0..tree.scalars_known() {
            let was = usize::from(amount(Some(&old), at) > 0);
            let is = usize::from(amount(Some(&of.guarantee), at) > 0);
            if self.guaranteed.len() <= at {
                self.guaranteed.resize(at + 1, 0);
            }
            self.guaranteed[at] = self.guaranteed[at] + is - was;
        }
        for role in tree.chain(role) {
            (0..tree.scalars_known()).for_each(|at| self.consume(role, at, consumed(role, at)));
        }
        if is_over {
            self.orphan(role);
        }
    }

    /// Makes a place for a role, between those below it and the one above it.
    fn adopt(&mut self, tree: &Tree, role: u32) {
        if self.of.contains_key(&role) {
            return;
        }
        let above = tree.chain(role).skip(1).find(|above| self.of.contains_key(above));
        let mut below = Scalars::new();
        // The number of a role is greater than that of the one above it.
        for (number, need) in self.of.range_mut(role + 1..) {
            if need.above == above && tree.chain(*number).any(|above| above == role) {
                need.above = Some(role);
                need.need.iter().enumerate().for_each(|(at, milli)| add(&mut below, at, *milli));
            }
        }
        let there = above.and_then(|above| self.of.get_mut(&above));
        let there = there.map_or(&mut self.all, |above| &mut above.below);
        below.iter().enumerate().for_each(|(at, milli)| add(there, at, -milli));
        self.of.insert(role, Need { above, below, ..Need::default() });
    }

    /// Takes away the place of a role that is guaranteed nothing: it needs what those below it need.
    fn orphan(&mut self, role: u32) {
        let Some(gone) = self.of.remove(&role) else { return };
        if let Some(needy) = self.needy.get_mut(role as usize) {
            *needy = false;
        }
        let below = self.of.range_mut(role + 1..).map(|(_, need)| need);
        below.filter(|n| n.above == Some(role)).for_each(|n| n.above = gone.above);
    }

    /// A role has so much of a scalar by now. Those below it must be up to date.
    pub(crate) fn consume(&mut self, role: u32, at: usize, consumed: Milli) {
        let Some(of) = self.of.get_mut(&role) else { return };
        let lack = amount(Some(&of.guarantee), at).saturating_sub(consumed).max(0);
        let need = lack.max(amount(Some(&of.below), at));
        let more = need.wrapping_sub(amount(Some(&of.need), at));
        if more == 0 {
            return;
        }
        add(&mut of.need, at, more);
        if self.needy.len() <= role as usize {
            self.needy.resize(role as usize + 1, false);
        }
        self.needy[role as usize] = of.need.iter().any(|milli| *milli > 0);
        let above = of.above.and_then(|above| self.of.get_mut(&above));
        add(above.map_or(&mut self.all, |above| &mut above.below), at, more);
    }

    pub(crate) fn is_guaranteed(&self, at: usize) -> bool {
        self.guaranteed.get(at).is_some_and(|roles| *roles > 0)
    }

    pub(crate) fn all(&self, at: usize) -> Milli {
        amount(Some(&self.all), at)
    }

    /// By how much all needs shrink at most when a role, not those below it, gets of a scalar.
    pub(crate) fn of(&self, tree: &Tree, role: u32, at: usize) -> Milli {
        let mut found = tree.chain(role).find_map(|role| self.of.get(&role));
        let (mut need, mut others) = (0, 0);
        while let Some(here) = found {
            others = amount(Some(&here.below), at).saturating_sub(need).saturating_add(others);
            need = amount(Some(&here.need), at);
            found = here.above.and_then(|above| self.of.get(&above));
        }
        need.saturating_sub(others)
    }

    /// Whether all needs would shrink if a role got of some scalar.
    pub(crate) fn any_of(&self, tree: &Tree, role: u32) -> bool {
        let is_needy = |role: u32| self.needy.get(role as usize).copied().unwrap_or(false);
        tree.chain(role).any(is_needy)
            && (0..self.guaranteed.len())
                .any(|at| self.is_guaranteed(at) && self.of(tree, role, at) > 0)
    }

    /// Whether any role needs anything.
    pub(crate) fn any(&self) -> bool {
        self.all.iter().any(|milli| *milli > 0)
    }

    /// What each role needs, for checks.
    pub(crate) fn by_role(&self) -> BTreeMap<u32, &[Milli]> {
        fn trimmed(scalars: &Scalars) -> &[Milli] {
            let end = scalars.iter().rposition(|milli| *milli != 0).map_or(0, |last| last + 1);
            &scalars[..end]
        }
        self.of.iter().map(|(role, need)| (*role, trimmed(&need.need))).collect()
    }
}
