//! Refusals on one agent: what frameworks do not want offered again for a while.
//!
//! A refusal is twelve bytes: most frameworks refuse the same resources, which are kept once.

use crate::tree::Seat;
use base::Time;
use resources::Resources;

/// Nanoseconds of a tick, the unit of expiry: about 17 ms.
const TICK_BITS: u32 = 24;

#[derive(Debug, Clone, Copy)]
struct Filter {
    seat: Seat,
    /// Tick from which on it does not hold.
    until: u32,
    /// Of the seat when it refused; another one voids the filter.
    epoch: u16,
    /// Index of what is refused.
    what: u16,
}

/// All refusals on an agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    /// In order of seats.
    filters: Vec<Filter>,
    /// Seats that have a filter, one bit each: most are asked about one that has none.
    seats: Vec<u64>,
    refused: Vec<Resources>,
}

fn tick_of(time: Time) -> u32 {
    u32::try_from((time.0 >> TICK_BITS).saturating_add(1)).unwrap_or(u32::MAX)
}

impl Filters {
    /// Refuses everything contained in `resources` until `until`.
    pub(crate) fn add(&mut self, seat: Seat, epoch: u16, resources: &Resources, until: Time) {
        let known = self.refused.iter().position(|r| r == resources);
        let what = known.unwrap_or_else(|| {
            if self.refused.len() >= usize::from(u16::MAX) {
                // Nobody refuses so many different things; the oldest give way.
                *self = Self::default();
            }
            self.refused.push(resources.clone());
            self.refused.len() - 1
        });
        let what = u16::try_from(what).unwrap_or(u16::MAX);
        let filter = Filter { seat, until: tick_of(until), epoch, what };
        self.mark(seat);
        let at = self.filters.partition_point(|f| f.seat < seat);
        // Of equal refusals the longest counts.
        let of_seat = self.filters[at..].iter_mut().take_while(|f| f.seat == seat);
        for known in of_seat {
            if known.what == what || known.epoch != epoch {
                let until = if known.epoch == epoch { known.until } else { 0 };
                *known = Filter { until: filter.until.max(until), ..filter };
                return;
            }
        }
        if self.filters.len() == self.filters.capacity() {
            // Agents are many: an eighth is enough to grow by.
            self.filters.reserve_exact(4 + self.filters.len() / 8);
        }
        self.filters.insert(at, filter);
    }

    fn mark(&mut self, seat: Seat) {
        let at = seat as usize / 64;
        if self.seats.len() <= at {
            self.seats.reserve_exact(at + 1 - self.seats.len());
            self.seats.resize(at + 1, 0);
        }
        self.seats[at] |= 1 << (seat % 64);
    }

    fn is_marked(&self, seat: Seat) -> bool {
        self.seats.get(seat as usize / 64).is_some_and(|bits| bits & 1 << (seat % 64) != 0)
    }

    /// Until when an offer of `resources` is refused; None: it is not.
    pub(crate) fn refuse(&self, seat: Seat, epoch: u16, resources: &Resources) -> Option<Time> {
        if !self.is_marked(seat) {
            return None;
        }
        let at = self.filters.partition_point(|f| f.seat < seat);
        let of_seat = self.filters[at..].iter().take_while(|f| f.seat == seat);
        let mut valid = of_seat.filter(|f| f.epoch == epoch);
        let found = valid.find(|f| self.refused[usize::from(f.what)].contains(resources))?;
        Some(Time(u64::from(found.until) << TICK_BITS))
    }

    /// All seats that refuse an offer of `resources`, one bit each.
    pub(crate) fn refusers(&self, resources: &Resources, epochs: impl Fn(Seat) -> u16) -> Vec<u64> {
        let of_that: Vec<bool> = self.refused.iter().map(|r| r.contains(resources)).collect();
        let words = self.filters.last().map_or(0, |last| last.seat as usize / 64 + 1);
        let mut seats = vec![0; words];
        for filter in self.filters.iter().filter(|f| of_that[usize::from(f.what)]) {
            if filter.epoch == epochs(filter.seat) {
                seats[filter.seat as usize / 64] |= 1 << (filter.seat % 64);
            }
        }
        seats
    }

    /// Drops what has expired or is void; whether something was dropped.
    pub(crate) fn expire(&mut self, now: Time, epochs: impl Fn(Seat) -> u16) -> bool {
        let before = self.filters.len();
        let now = u32::try_from(now.0 >> TICK_BITS).unwrap_or(u32::MAX);
        self.filters.retain(|f| f.until > now && f.epoch == epochs(f.seat));
        let dropped = self.filters.len() < before;
        if dropped {
            self.collect();
        }
        dropped
    }

    /// Forgets what nobody refuses any more.
    fn collect(&mut self) {
        let mut places = vec![None; self.refused.len()];
        let mut kept = Vec::new();
        for filter in &mut self.filters {
            let place = &mut places[usize::from(filter.what)];
            let at = *place.get_or_insert_with(|| {
                kept.push(std::mem::take(&mut self.refused[usize::from(filter.what)]));
                kept.len() - 1
            });
            filter.what = u16::try_from(at).unwrap_or(u16::MAX);
        }
        self.refused = kept;
        self.filters.shrink_to_fit();
        self.seats.fill(0);
        for at in 0..self.filters.len() {
            self.mark(self.filters[at].seat);
        }
    }

    /// When the next one expires.
    pub(crate) fn next(&self) -> Option<Time> {
        self.filters.iter().map(|f| f.until).min().map(|tick| Time(u64::from(tick) << TICK_BITS))
    }

    /// When one that is added now would expire.
    pub(crate) fn expiry(until: Time) -> Time {
        Time(u64::from(tick_of(until)) << TICK_BITS)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Seats that refuse something, once for each refusal.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (Seat, u16)> {
        self.filters.iter().map(|f| (f.seat, f.epoch))
    }

    /// Bytes on the heap, about.
    pub(crate) fn bytes(&self) -> usize {
        self.filters.capacity() * size_of::<Filter>()
            + self.seats.capacity() * size_of::<u64>()
            + self.refused.iter().map(|r| 8 + r.iter().count() * 64 / r.copies()).sum::<usize>()
    }
}
