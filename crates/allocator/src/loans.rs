//! What of an agent is lent: held as revocable resources beyond those that the agent itself offers as such.
//!
//! Loans need no books of their own: they follow from what is held and what there is, so they are right after a restart
//! of the master as well. Scalars of one name are alike: a loan may come out of any reservation.

use crate::FrameworkId;
use crate::agent::Agent;
use resources::{Entry, Milli, Resources, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Thousandths by name.
pub(crate) type Amounts = BTreeMap<String, Milli>;

/// The amount of a scalar that may be lent, or stands back for what is lent.
pub(crate) fn firm(entry: &Entry) -> Option<Milli> {
    let identity = &entry.identity;
    match entry.value {
        Value::Scalar(milli)
            if !identity.revocable
                && !identity.shared
                && identity.disk.is_none()
                && identity.provider.is_none()
                && identity.name != "disk" =>
        {
            Some(milli)
        }
        _ => None,
    }
}

/// Sum of the scalars of a name that may be lent.
pub(crate) fn firm_of(resources: &Resources, name: &str) -> Milli {
    resources.iter().filter(|e| e.identity.name == name).filter_map(firm).sum()
}

/// What of `held` is a loan, where there is `total`; both without allocation info.
pub(crate) fn loans(total: &Resources, held: &Resources) -> Amounts {
    let mut lent = Amounts::new();
    for entry in held.iter().filter(|e| e.identity.revocable) {
        let Value::Scalar(milli) = entry.value else { continue };
        let own = total.iter().filter(|mine| mine.same_identity(entry));
        let own: Milli = own.map(|mine| mine.value.quantity()).sum();
        if milli > own {
            *lent.entry(entry.identity.name.clone()).or_default() += milli - own;
        }
    }
    lent
}

impl Agent {
    /// What a framework has borrowed of it.
    pub(crate) fn borrowed(&self, framework: FrameworkId) -> Amounts {
        let held = self.held.get(&framework).filter(|_| !self.lent.is_empty());
        held.map_or_else(Amounts::new, |held| loans(&self.total, &held.unallocated()))
    }

    /// What of `usable`, a part of `free`, is there although some of `free` is lent, and some of what came back is
    /// `awaited` by others: reserved resources before others.
    pub(crate) fn unlent<'a>(
        &self,
        free: &Resources,
        usable: &'a Resources,
        awaited: Option<&Amounts>,
    ) -> Cow<'a, Resources> {
        let awaited = |name: &str| awaited.and_then(|a| a.get(name)).copied().unwrap_or(0);
        let left = self.lent.iter().map(|(name, lent)| {
            let there = firm_of(free, name) - lent;
            (name.as_str(), there - awaited(name))
        });
        let mut left: BTreeMap<&str, Milli> = left.collect();
        let is_short = |(name, left): (&&str, &Milli)| firm_of(usable, name) > (*left).max(0);
        if !left.iter().any(is_short) {
            return Cow::Borrowed(usable);
        }
        let (reserved, others): (Vec<&Entry>, Vec<&Entry>) =
            usable.iter().partition(|e| !e.identity.reservations.is_empty());
        let mut out = Resources::new();
        for entry in reserved.into_iter().chain(others) {
            let known = left.get_mut(&*entry.identity.name);
            match firm(entry).zip(known) {
                None => out.add(entry.clone()),
                Some((milli, left)) => {
                    let part = milli.min(*left).max(0);
                    *left -= part;
                    let identity = entry.identity.clone();
                    out.add(Entry { identity, value: Value::Scalar(part) });
                }
            }
        }
        Cow::Owned(out)
    }

    /// Whether all of this is free, and not lent.
    pub(crate) fn has_free(&self, resources: &Resources) -> bool {
        let mut lent = self.lent.iter();
        self.free.contains(resources)
            && lent.all(|(name, lent)| {
                let needed = firm_of(resources, name);
                needed == 0 || needed <= firm_of(&self.free, name) - lent
            })
    }
}
