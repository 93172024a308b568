//! Leases: an offer that its framework does not answer ends when others wait for it, the sooner the more of them. While
//! nobody waits, it is kept for as long as its framework likes.
//!
//! Those before somebody who begins to wait have one lease each at most (see the allocator's turns). With `n` others
//! each lease is 0.6 T / (n + 1), where T is four fifths of `--max_time_to_offer`; the one that runs when the wait begins
//! adds half of that. So T is kept, with a tenth of it for noticing; the fifth is for messages and a busy machine.

use crate::master::{Cx, Master, Timer};
use crate::state::Offer;
use base::Time;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Nobody can answer sooner.
const SHORTEST: Duration = Duration::from_millis(100);
/// Frameworks that one sweep asks about, over all its offers: about a millisecond of work.
const ASKED: usize = 20_000;
/// Time between two sweeps.
const PAUSE: Duration = Duration::from_millis(50);

/// When to look at which offer.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    due: BTreeMap<(Time, u64), Weak<Offer>>,
    next: u64,
}

impl Leases {
    fn add(&mut self, at: Time, offer: &Arc<Offer>) {
        self.next += 1;
        self.due.insert((at, self.next), Arc::downgrade(offer));
    }
}

impl Master {
    /// How long an offer may be kept while `others` wait for it.
    fn lease(&self, others: usize) -> Duration {
        let parts = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        (self.config.allocator.aimed_time_to_offer() * 3 / 5 / parts).max(SHORTEST)
    }

    /// Puts a new offer on lease.
    pub(crate) fn lease_out(&mut self, offer: &Arc<Offer>) {
        if self.config.allocator.max_time_to_offer.is_zero() {
            return;
        }
        // All roles of a framework have a turn of their own.
        let roles = self.framework(offer.framework).map_or(0, |f| f.info.roles.len());
        let at = offer.made + self.lease(self.state.frameworks.len() + roles);
        self.leases.add(at, offer);
        self.plan_sweep(Time(0));
    }

    fn plan_sweep(&mut self, earliest: Time) {
        let Some(((at, _), _)) = self.leases.due.first_key_value() else { return };
        let at = (*at).max(earliest);
        if self.timers.get(&Timer::Lease).is_none_or(|known| at < known) {
            self.timers.set(Timer::Lease, at);
        }
    }

    /// Looks at offers whose time has come, as many as a sweep may.
    pub(crate) fn sweep_leases(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let mut left = ASKED;
        while left > 0
            && let Some(entry) = self.leases.due.first_entry()
            && entry.key().0 <= now
        {
            let offer = entry.remove().upgrade();
            if let Some(offer) = offer.filter(|o| self.offers.contains_key(&o.id)) {
                left = left.saturating_sub(self.state.frameworks.len());
                self.check_lease(cx, &offer);
            }
        }
        self.plan_sweep(now + PAUSE);
    }

    fn check_lease(&mut self, cx: &mut Cx<'_>, offer: &Arc<Offer>) {
        let Offer { framework, role, agent, resources, .. } = &**offer;
        let waiting = self.allocator.waiting(cx.now, *framework, role, *agent, resources);
        let end = offer.made + self.lease(waiting);
        if waiting > 0 && end <= cx.now.mono {
            self.count("master/offers_rescinded_by_lease");
            self.time_out(cx, &offer.id);
            return;
        }
        // Others may begin to wait at any time.
        let notice = cx.now.mono + (self.config.allocator.aimed_time_to_offer() / 10).max(SHORTEST);
        let at = if waiting > 0 { end.min(notice) } else { notice };
        self.leases.add(at, offer);
    }
}
