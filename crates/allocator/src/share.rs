//! Shares: guarantees that follow the size of the cluster.

use crate::Quota;
use crate::quota::amount;
use crate::tree::{Scalars, Tree};
use resources::Milli;
use std::collections::BTreeMap;

/// What a role is promised of one scalar resource while its share is active: the greater of the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Thousandths of a percent of what all agents have of it, revocable resources aside.
    pub percent: u32,
    /// Thousandths of a unit.
    pub amount: Milli,
}

impl Share {
    /// What is promised when all agents together have `total`; less than a thousandth of a unit is dropped.
    #[must_use]
    pub fn of(self, total: Milli) -> Milli {
        let part = i128::from(total.max(0)) * i128::from(self.percent) / 100_000;
        self.amount.max(Milli::try_from(part).unwrap_or(Milli::MAX))
    }
}

/// Shares of all roles, and the quotas that they become together with those that were set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shares {
    pub(crate) of: BTreeMap<u32, BTreeMap<String, Share>>,
    /// Scalars of all agents, revocable ones aside.
    pub(crate) total: Scalars,
}

impl Shares {
    /// Adds what shares promise to the guarantees of quotas. What no limit lets a role have is not promised to it.
    pub(crate) fn apply(&self, tree: &Tree, quotas: &mut BTreeMap<u32, Quota>) {
        for (role, shares) in &self.of {
            for (name, share) in shares {
                let at = tree.known_scalar(name);
                let promised = share.of(at.map_or(0, |at| amount(Some(&self.total), at)));
                let limits = tree.chain(*role).filter_map(|r| quotas.get(&r)?.limits.get(name));
                let promised = limits.copied().min().map_or(promised, |limit| promised.min(limit));
                let guarantees = &mut quotas.entry(*role).or_default().guarantees;
                let guarantee = guarantees.entry(name.clone()).or_default();
                *guarantee = promised.max(*guarantee);
            }
        }
    }
}
