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
    /// What all roles need.
    all: Scalars,
    /// Whether anything of it is guaranteed to anybody.
    guaranteed: Vec<bool>,
}

impl Needs {
    /// Guarantees of roles, by number of the scalar. Nothing counts as consumed until [`Needs::consume`] says so.
    pub(crate) fn new(tree: &Tree, guarantees: BTreeMap<u32, Scalars>) -> Self {
        let mut needs = Self::default();
        for (role, guarantee) in &guarantees {
            let above = tree.chain(*role).skip(1).find(|above| guarantees.contains_key(above));
            needs.of.insert(*role, Need { above, ..Need::default() });
            for (at, _) in guarantee.iter().enumerate().filter(|(_, milli)| **milli > 0) {
                if needs.guaranteed.len() <= at {
                    needs.guaranteed.resize(at + 1, false);
                }
                needs.guaranteed[at] = true;
            }
        }
        for (role, guarantee) in guarantees {
            if let Some(need) = needs.of.get_mut(&role) {
                need.guarantee = guarantee;
            }
        }
        needs
    }

    /// A role has so much of a scalar by now. Those below it must be up to date.
    pub(crate) fn consume(&mut self, role: u32, at: usize, consumed: Milli) {
        let Some(of) = self.of.get_mut(&role) else { return };
        let lack = (amount(Some(&of.guarantee), at) - consumed).max(0);
        let need = lack.max(amount(Some(&of.below), at));
        let more = need - amount(Some(&of.need), at);
        if more == 0 {
            return;
        }
        add(&mut of.need, at, more);
        let above = of.above.and_then(|above| self.of.get_mut(&above));
        add(above.map_or(&mut self.all, |above| &mut above.below), at, more);
    }

    pub(crate) fn is_guaranteed(&self, at: usize) -> bool {
        self.guaranteed.get(at).copied().unwrap_or(false)
    }

    pub(crate) fn all(&self, at: usize) -> Milli {
        amount(Some(&self.all), at)
    }

    /// By how much all needs shrink at most when a role, not those below it, gets of a scalar.
    pub(crate) fn of(&self, tree: &Tree, role: u32, at: usize) -> Milli {
        let mut found = tree.chain(role).find_map(|role| self.of.get(&role));
        let (mut need, mut others) = (0, 0);
        while let Some(here) = found {
            others += amount(Some(&here.below), at) - need;
            need = amount(Some(&here.need), at);
            found = here.above.and_then(|above| self.of.get(&above));
        }
        need - others
    }

    /// Whether all needs would shrink if a role got of some scalar.
    pub(crate) fn any_of(&self, tree: &Tree, role: u32) -> bool {
        let scalars = self.guaranteed.iter().enumerate();
        scalars.filter(|(_, any)| **any).any(|(at, _)| self.of(tree, role, at) > 0)
    }
}
