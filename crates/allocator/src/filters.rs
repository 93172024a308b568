//! Refusals on one agent: what frameworks do not want offered again for a while.
//!
//! Agents are many, and each is refused by many who refuse the same. So the first refusal of each seat takes few bits:
//! one that says that there is one, and in the order of seats until when it holds, in as many bits as the times on this
//! agent lie apart. What is refused is kept once. Further refusals of a seat, of something else, are kept in full.

use crate::packed::{Packed, bits_of};
use crate::tree::Seat;
use base::Time;
use resources::Resources;
use std::borrow::Cow;

/// Nanoseconds of a tick, the unit of expiry: about 17 ms.
const TICK_BITS: u32 = 24;

/// Counts how often filters of any seat were voided.
pub(crate) type Voidings = u64;

#[derive(Debug, Clone, Copy)]
struct Filter {
    seat: Seat,
    /// Tick from which on it does not hold.
    until: u32,
    /// Index of what is refused.
    what: u32,
}

/// All refusals on an agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    /// Seats that refuse something, one bit each.
    seats: Vec<u64>,
    /// The first refusal of each of these: ticks since `base` in the lower bits, index of what is refused above.
    firsts: Packed,
    base: u32,
    /// Tick before which none ends.
    next: u32,
    until_bits: usize,
    what_bits: usize,
    /// The others, in the order of seats.
    others: Vec<Filter>,
    refused: Vec<Resources>,
    /// What was voided later is void here.
    as_of: Voidings,
}

fn tick_of(time: Time) -> u32 {
    u32::try_from((time.0 >> TICK_BITS).saturating_add(1)).unwrap_or(u32::MAX)
}

fn time_of(tick: u32) -> Time {
    Time(u64::from(tick) << TICK_BITS)
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Filters {
    /// Refuses everything contained in `resources` until `until`. What is void must have been dropped.
    pub(crate) fn add(&mut self, seat: Seat, resources: &Resources, until: Time) {
        if self.refused.len() > usize::from(u16::MAX) {
            // Nobody refuses so many different things; the oldest give way.
            self.clear();
        }
        let known = self.refused.iter().position(|r| r == resources);
        let what = known.unwrap_or_else(|| {
            self.refused.push(resources.clone());
            self.refused.len() - 1
        });
        let new = Filter { seat, until: tick_of(until), what: index(what) };
        if !self.fits(new) {
            let mut all: Vec<Filter> = self.all().collect();
            let at = all.partition_point(|f| f.seat < seat);
            put(&mut all, at, new);
            return self.keep(all);
        }
        self.next = self.next.min(new.until);
        let rank = self.rank(seat);
        if !self.is_marked(seat) {
            self.mark(seat);
            self.firsts.insert(rank, self.pack(new));
            return;
        }
        let first = self.first(seat, rank);
        if first.what == new.what {
            let until = first.until.max(new.until);
            return self.firsts.set(rank, self.pack(Filter { until, ..new }));
        }
        let at = self.others.partition_point(|f| f.seat < seat);
        if self.others.len() == self.others.capacity() {
            self.others.reserve_exact(4 + self.others.len() / 8);
        }
        put(&mut self.others, at, new);
    }

    /// Whether there are bits enough for it.
    fn fits(&self, filter: Filter) -> bool {
        let since = filter.until.checked_sub(self.base);
        since.is_some_and(|since| u64::from(since) >> self.until_bits == 0)
            && u64::from(filter.what) >> self.what_bits == 0
    }

    fn pack(&self, filter: Filter) -> u64 {
        u64::from(filter.what) << self.until_bits | u64::from(filter.until - self.base)
    }

    /// The first refusal of a seat that has one, the `rank`th of those who do.
    fn first(&self, seat: Seat, rank: usize) -> Filter {
        let packed = self.firsts.get(rank);
        let low = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let since = packed & ((1 << self.until_bits) - 1);
        Filter { seat, until: self.base + low(since), what: low(packed >> self.until_bits) }
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

    /// How many marked seats come before this one.
    fn rank(&self, seat: Seat) -> usize {
        let word = (seat as usize / 64).min(self.seats.len());
        let before: u32 = self.seats[..word].iter().map(|bits| bits.count_ones()).sum();
        let here = self.seats.get(word).map_or(0, |bits| bits & ((1 << (seat % 64)) - 1));
        (before + here.count_ones()) as usize
    }

    /// Seats that refuse something, in order.
    fn marked(&self) -> impl Iterator<Item = Seat> {
        (0..).zip(&self.seats).flat_map(|(word, bits)| {
            let bits = std::iter::successors(Some(*bits), |bits| Some(bits & bits.wrapping_sub(1)));
            bits.take_while(|bits| *bits != 0).map(move |bits| word * 64 + bits.trailing_zeros())
        })
    }

    fn of_seat(&self, seat: Seat) -> impl Iterator<Item = Filter> {
        let first = self.is_marked(seat).then(|| self.first(seat, self.rank(seat)));
        let at = self.others.partition_point(|f| f.seat < seat);
        let others = if first.is_some() { &self.others[at..] } else { &[] };
        first.into_iter().chain(others.iter().take_while(move |f| f.seat == seat).copied())
    }

    /// All of them, in the order of seats.
    fn all(&self) -> impl Iterator<Item = Filter> {
        let mut others = self.others.as_slice();
        self.marked().enumerate().flat_map(move |(rank, seat)| {
            let of_seat = others.iter().take_while(|f| f.seat == seat).count();
            let (more, rest) = others.split_at(of_seat);
            others = rest;
            std::iter::once(self.first(seat, rank)).chain(more.iter().copied())
        })
    }

    /// Until when an offer of `resources` is refused by a seat, whose filters were voided last at `voided`; None: it is
    /// not.
    pub(crate) fn refuse(
        &self,
        seat: Seat,
        voided: Voidings,
        resources: &Resources,
    ) -> Option<Time> {
        if !self.is_marked(seat) || voided > self.as_of {
            return None;
        }
        let refuses = |f: &Filter| self.refused[f.what as usize].contains(resources);
        self.of_seat(seat).filter(refuses).map(|f| time_of(f.until)).max()
    }

    /// All seats that refuse an offer of `resources`, one bit each. What is void must have been dropped.
    pub(crate) fn refusers(&self, resources: &Resources) -> Cow<'_, [u64]> {
        let of_that: Vec<bool> = self.refused.iter().map(|r| r.contains(resources)).collect();
        if of_that.iter().all(|refused| *refused) {
            return Cow::Borrowed(&self.seats);
        }
        let mut seats = vec![0; self.seats.len()];
        if of_that.contains(&true) {
            for filter in self.all().filter(|f| of_that[f.what as usize]) {
                seats[filter.seat as usize / 64] |= 1 << (filter.seat % 64);
            }
        }
        Cow::Owned(seats)
    }

    /// Drops what is void, after `voidings` in all: that of seats that were voided since this was last done.
    pub(crate) fn drop_void(&mut self, voidings: Voidings, voided: impl Fn(Seat) -> Voidings) {
        let as_of = std::mem::replace(&mut self.as_of, voidings);
        if as_of == voidings || self.marked().all(|seat| voided(seat) <= as_of) {
            return;
        }
        self.keep(self.all().filter(|f| voided(f.seat) <= as_of).collect());
    }

    /// Drops what has expired; whether there was something.
    pub(crate) fn expire(&mut self, now: Time) -> bool {
        let now = u32::try_from(now.0 >> TICK_BITS).unwrap_or(u32::MAX);
        if !self.others.is_empty() || self.refused.len() > 1 {
            let valid: Vec<Filter> = self.all().filter(|f| f.until > now).collect();
            let dropped = valid.len() < self.len();
            self.keep(valid);
            return dropped;
        }
        // In place, since this is how it is mostly.
        let mut expired = Vec::new();
        let mut next = None;
        for filter in self.marked().enumerate().map(|(rank, seat)| self.first(seat, rank)) {
            if filter.until <= now {
                expired.push(filter.seat);
            } else {
                next = Some(next.map_or(filter.until, |next: u32| next.min(filter.until)));
            }
        }
        self.next = next.unwrap_or(0);
        for seat in &expired {
            self.firsts.remove(self.rank(*seat));
            self.seats[*seat as usize / 64] &= !(1 << (seat % 64));
        }
        if next.is_none() {
            self.keep(Vec::new());
        }
        !expired.is_empty()
    }

    /// Keeps these and no others; they are in the order of seats.
    fn keep(&mut self, mut filters: Vec<Filter>) {
        self.collect(&mut filters);
        let untils = || filters.iter().map(|f| f.until);
        self.base = untils().min().unwrap_or(0);
        self.next = self.base;
        let longest = u64::from(untils().max().unwrap_or(0) - self.base);
        // With some room for those to come.
        self.until_bits = bits_of(longest + longest / 8);
        self.what_bits = bits_of(self.refused.len().saturating_sub(1) as u64);
        self.seats.fill(0);
        self.others.clear();
        let mut firsts = Vec::with_capacity(filters.len());
        for filter in filters {
            if self.is_marked(filter.seat) {
                self.others.push(filter);
            } else {
                self.mark(filter.seat);
                firsts.push(self.pack(filter));
            }
        }
        self.others.shrink_to_fit();
        self.firsts = Packed::new(self.until_bits + self.what_bits, firsts.into_iter());
    }

    /// Forgets what none of these refuses.
    fn collect(&mut self, filters: &mut [Filter]) {
        let mut places = vec![None; self.refused.len()];
        let mut kept = Vec::new();
        for filter in filters {
            let place = &mut places[filter.what as usize];
            let at = *place.get_or_insert_with(|| {
                kept.push(std::mem::take(&mut self.refused[filter.what as usize]));
                kept.len() - 1
            });
            filter.what = index(at);
        }
        self.refused = kept;
    }

    /// When the next one may expire.
    pub(crate) fn next(&self) -> Option<Time> {
        (self.len() > 0).then(|| time_of(self.next))
    }

    fn len(&self) -> usize {
        self.others.len() + self.seats.iter().map(|bits| bits.count_ones() as usize).sum::<usize>()
    }

    /// When one that is added now would expire.
    pub(crate) fn expiry(until: Time) -> Time {
        time_of(tick_of(until))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { as_of: self.as_of, ..Self::default() };
    }

    /// Seats that refuse something, once for each refusal, with `voided` as for [`Self::refuse`].
    pub(crate) fn valid(&self, voided: impl Fn(Seat) -> Voidings) -> impl Iterator<Item = Seat> {
        self.all().map(|f| f.seat).filter(move |seat| voided(*seat) <= self.as_of)
    }

    /// Bytes on the heap, about.
    pub(crate) fn bytes(&self) -> usize {
        self.seats.capacity() * size_of::<u64>()
            + self.firsts.bytes()
            + self.others.capacity() * size_of::<Filter>()
            + self.refused.iter().map(|r| 8 + r.iter().count() * 64 / r.copies()).sum::<usize>()
    }
}

/// Puts a filter at its place, which is `at` or later, among those in the order of seats. Of equal refusals the longest
/// counts.
fn put(filters: &mut Vec<Filter>, at: usize, new: Filter) {
    let of_seat = filters[at..].iter_mut().take_while(|f| f.seat == new.seat);
    for known in of_seat {
        if known.what == new.what {
            known.until = known.until.max(new.until);
            return;
        }
    }
    filters.insert(at, new);
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Rng;
    use std::time::Duration;

    fn at(seconds: u64) -> Time {
        Time(0) + Duration::from_secs(seconds)
    }

    /// Any refusals, expiries and voidings leave what a plain list of all refusals says.
    #[test]
    fn a_refusal_holds_until_its_end_or_until_it_is_voided() {
        let sizes = ["cpus:1", "cpus:2", "cpus:2;mem:64"];
        let sizes = sizes.map(|text| Resources::parse(text, "*").expect("resources"));
        for seed in 0..40 {
            let mut rng = Rng::new(seed);
            let longest = [20, 300, 400_000][rng.below(3) as usize];
            let mut filters = Filters::default();
            let mut plain: Vec<(Seat, usize, Time)> = Vec::new();
            let (mut voidings, mut voided) = (0, [0; 200]);
            for now in 1..300 {
                let seat = rng.below(200) as Seat;
                let of = |seat: Seat| voided[seat as usize];
                match rng.below(8) {
                    0 => {
                        voidings += 1;
                        voided[seat as usize] = voidings;
                        plain.retain(|(of, ..)| *of != seat);
                    }
                    1 => {
                        let before = plain.len();
                        plain.retain(|(.., until)| *until > at(now));
                        filters.drop_void(voidings, of);
                        assert_eq!(filters.expire(at(now)), plain.len() < before);
                        let next = plain.iter().map(|(.., until)| *until).min();
                        assert_eq!(filters.next(), next);
                    }
                    _ => {
                        let what = rng.below(3) as usize;
                        let until = Filters::expiry(at(now + 1 + rng.below(longest)));
                        filters.drop_void(voidings, of);
                        filters.add(seat, &sizes[what], Time(until.0 - 1));
                        match plain.iter_mut().find(|(s, w, _)| (*s, *w) == (seat, what)) {
                            Some((.., known)) => *known = until.max(*known),
                            None => plain.push((seat, what, until)),
                        }
                    }
                }
                let of = |seat: Seat| voided[seat as usize];
                let mut expected: Vec<Seat> = plain.iter().map(|(seat, ..)| *seat).collect();
                expected.sort_unstable();
                assert_eq!(filters.valid(of).collect::<Vec<_>>(), expected);
                for offered in sizes.iter().filter(|_| now % 16 == 0) {
                    let refused = |seat| {
                        let of_seat = plain
                            .iter()
                            .filter(|(s, what, _)| *s == seat && sizes[*what].contains(offered));
                        of_seat.map(|(.., until)| *until).max()
                    };
                    let mut valid = filters.clone();
                    valid.drop_void(voidings, of);
                    let all = valid.refusers(offered).into_owned();
                    for seat in 0..200 {
                        assert_eq!(filters.refuse(seat, of(seat), offered), refused(seat));
                        let bits = all.get(seat as usize / 64).copied().unwrap_or(0);
                        assert_eq!(bits & 1 << (seat % 64) != 0, refused(seat).is_some());
                    }
                }
            }
        }
    }

    #[test]
    fn a_thousand_refusals_take_little_more_than_two_bytes_each() {
        let all = Resources::parse("cpus:2;mem:1024", "*").expect("resources");
        let mut filters = Filters::default();
        for seat in 0..1000 {
            filters.add(seat, &all, at(100_000 + u64::from(seat)));
        }
        assert!(filters.bytes() < 2500, "{}", filters.bytes());
    }
}
