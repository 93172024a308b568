//! Whose turn it is on an agent: who let an offer of it end unused comes after the others for a while, so that nobody
//! who wants the agent waits longer than `--max_time_to_offer`, whatever the others do.
//!
//! A round on an agent begins when an offer of it ends unused. Those whose offers end unused in it come last, those who
//! joined later come before them in the order in which they joined, and everybody else comes first, by share. So each
//! one that was there when somebody began to wait has one turn at most before it, and who comes anew has none. When
//! everybody who wants the agent had a turn the round is over, and shares decide.
//!
//! Who uses what it is offered, but for short times only, has no share when the next offer is made, and would be first
//! again and again. So from time to time roles below their fair share come first that were not served for long.

use crate::AgentId;
use crate::tree::Seat;
use base::Time;
use std::time::Duration;

/// Rounds in a row without using anything until a framework is backed off in a role.
const ROUNDS: u32 = 10;
/// Shortest time between two rounds that count.
const ROUND: Duration = Duration::from_secs(1);
/// Over how many moments the search for those who are overdue is spread.
const SPREAD: u32 = 16;
/// A framework is backed off for this many times `--max_time_to_offer` at most.
const FACTOR_MAX: u32 = 8;

/// When a seat has its turn: the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// By share.
    First,
    /// It joined while the round went on; those who joined before come before.
    Joined(Time),
    /// It had its turn and used something.
    Had,
    /// It had its turn and used nothing.
    Last,
}

/// What is known of 64 seats, one bit each.
#[derive(Debug, Clone, Copy, Default)]
struct Seats {
    /// Whose offer ended unused.
    passed: u64,
    /// Who was offered something in the round.
    had: u64,
    /// Who was offered something since the last time when nobody was overdue.
    served: u64,
}

/// The round on one agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    since: Option<Time>,
    /// First offer after the last time when nobody was overdue.
    serving: Option<Time>,
    /// By 64th seat, together since they are asked together.
    seats: Vec<Seats>,
}

fn bit(seat: Seat) -> u64 {
    1 << (seat % 64)
}

impl Turns {
    fn of(&self, seat: Seat) -> Seats {
        self.seats.get(seat as usize / 64).copied().unwrap_or_default()
    }

    fn of_mut(&mut self, seat: Seat) -> &mut Seats {
        let at = seat as usize / 64;
        if self.seats.len() <= at {
            self.seats.reserve_exact(at + 1 - self.seats.len());
            self.seats.resize(at + 1, Seats::default());
        }
        &mut self.seats[at]
    }

    fn clear_round(&mut self) {
        for seats in &mut self.seats {
            (seats.passed, seats.had) = (0, 0);
        }
    }

    /// An offer to this seat ended unused.
    pub(crate) fn pass(&mut self, seat: Seat, now: Time, length: Duration) {
        if self.since(now, length).is_none() {
            self.since = Some(now);
            self.clear_round();
        }
        self.of_mut(seat).passed |= bit(seat);
    }

    /// This seat has its turn in the round that goes on, if one does.
    pub(crate) fn take(&mut self, seat: Seat, now: Time, length: Duration) {
        if self.since(now, length).is_some() {
            self.of_mut(seat).had |= bit(seat);
        }
    }

    /// Everybody had a turn.
    pub(crate) fn end_round(&mut self) {
        self.since = None;
        self.clear_round();
    }

    /// This seat got something.
    pub(crate) fn serve(&mut self, seat: Seat, now: Time) {
        self.serving.get_or_insert(now);
        self.of_mut(seat).served |= bit(seat);
    }

    /// When the time began in which some were served and others may not have been, if that is long ago. To look for those
    /// is work: agents (by number) do it at different times.
    pub(crate) fn overdue(&self, agent: AgentId, now: Time, length: Duration) -> Option<Time> {
        let spread = length / 8 / SPREAD * (agent.0 % SPREAD);
        self.serving.filter(|since| !length.is_zero() && *since + length / 4 + spread <= now)
    }

    /// Whether this seat was not served since `since`, and competed then.
    pub(crate) fn is_overdue(&self, seat: Seat, since: Time, joined: Time) -> bool {
        joined <= since && self.of(seat).served & bit(seat) == 0
    }

    /// Nobody is overdue.
    pub(crate) fn settle(&mut self) {
        self.serving = None;
        for seats in &mut self.seats {
            seats.served = 0;
        }
    }

    /// When the round began that goes on now.
    pub(crate) fn since(&self, now: Time, length: Duration) -> Option<Time> {
        self.since.filter(|since| *since + length > now)
    }

    /// Whose turn it is in the round that began at `since`.
    pub(crate) fn turn(&self, seat: Seat, since: Time, joined: Time) -> Turn {
        let seats = self.of(seat);
        if seats.passed & bit(seat) != 0 {
            Turn::Last
        } else if seats.had & bit(seat) != 0 {
            Turn::Had
        } else if joined > since {
            Turn::Joined(joined)
        } else {
            Turn::First
        }
    }

    /// What these did is forgotten.
    pub(crate) fn forget(&mut self, seats: &[Seat]) {
        for seat in seats {
            if let Some(seats) = self.seats.get_mut(*seat as usize / 64) {
                let others = !bit(*seat);
                seats.passed &= others;
                seats.had &= others;
                seats.served &= others;
            }
        }
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.seats.capacity() * size_of::<Seats>()
    }
}

/// How a framework behaves in a role.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// When it began to compete.
    pub(crate) joined: Time,
    /// Rounds in a row in which it used nothing.
    rounds: u32,
    /// When the last of them was.
    last: Option<Time>,
    /// Until then it comes last everywhere.
    until: Option<Time>,
}

impl Standing {
    /// An offer ended unused. Whether the framework is backed off from now on.
    pub(crate) fn pass(&mut self, now: Time, length: Duration) -> bool {
        if self.last.is_some_and(|last| last + ROUND > now) {
            return false;
        }
        self.last = Some(now);
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds < ROUNDS {
            return false;
        }
        let was = self.backed_off(now).is_some();
        let factor = 1_u32 << (self.rounds / ROUNDS).min(FACTOR_MAX.ilog2());
        self.until = Some(now + length * factor);
        !was
    }

    /// It used something, or says that it wants offers.
    pub(crate) fn forgive(&mut self) {
        *self = Self { joined: self.joined, ..Self::default() };
    }

    /// Until when it comes last everywhere.
    pub(crate) fn backed_off(&self, now: Time) -> Option<Time> {
        self.until.filter(|until| *until > now)
    }
}
