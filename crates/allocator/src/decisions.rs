//! What cycles decided, counted by framework, role and reason: written down where it is decided, taken away by whoever
//! keeps a history of it.

use crate::hierarchical::Hierarchical;
use crate::tree::Seat;
use crate::{FrameworkId, Reason};
use base::Time;

/// What cycles decided of a framework in a role, since this was last asked; agents count once for each decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decisions {
    /// Of whom.
    pub framework: FrameworkId,
    /// In which of its roles.
    pub role: String,
    /// How often something was offered.
    pub offered: u32,
    /// How often nothing was, by reason.
    pub reasons: Vec<(Reason, u32)>,
}

const UNTIL: Time = Time(0);
/// Every reason, at its number.
const REASONS: [Reason; 19] = [
    Reason::Next,
    Reason::Inactive,
    Reason::Suppressed,
    Reason::AgentInactive,
    Reason::NotListed,
    Reason::Taken,
    Reason::Overlap,
    Reason::AgentCapability,
    Reason::Gpus,
    Reason::Region,
    Reason::Constraint,
    Reason::Reserved,
    Reason::Limit,
    Reason::Headroom,
    Reason::Satisfied,
    Reason::Lent,
    Reason::BelowMinimum,
    Reason::Refused { until: UNTIL },
    Reason::BackedOff { until: UNTIL },
];

fn number(reason: Reason) -> usize {
    match reason {
        Reason::Next => 0,
        Reason::Inactive => 1,
        Reason::Suppressed => 2,
        Reason::AgentInactive => 3,
        Reason::NotListed => 4,
        Reason::Taken => 5,
        Reason::Overlap => 6,
        Reason::AgentCapability => 7,
        Reason::Gpus => 8,
        Reason::Region => 9,
        Reason::Constraint => 10,
        Reason::Reserved => 11,
        Reason::Limit => 12,
        Reason::Headroom => 13,
        Reason::Satisfied => 14,
        Reason::Lent => 15,
        Reason::BelowMinimum => 16,
        Reason::Refused { .. } => 17,
        Reason::BackedOff { .. } => 18,
    }
}

/// The counts of one seat; [`Reason::Next`] is what was offered.
type Counts = [u32; REASONS.len()];

/// What is written down during cycles.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder {
    seats: Vec<Counts>,
    /// What kept an agent from everybody.
    all: Counts,
    /// Roles that were passed over as a whole because of their limits.
    limited: Vec<u32>,
    /// Agents that were offered to those whose turn it was.
    served: u32,
    since: Time,
}

fn count(counts: &mut u32) {
    *counts = counts.saturating_add(1);
}

impl Recorder {
    pub(crate) fn note(&mut self, seat: Seat, reason: Reason) {
        if let Some(counts) = self.seats.get_mut(seat as usize) {
            count(&mut counts[number(reason)]);
        }
    }

    /// There are so many seats now.
    pub(crate) fn grow(&mut self, seats: usize) {
        if self.seats.len() < seats {
            self.seats.resize(seats, Counts::default());
        }
    }

    pub(crate) fn note_all(&mut self, reason: Reason) {
        count(&mut self.all[number(reason)]);
    }

    pub(crate) fn note_role(&mut self, role: u32) {
        if self.limited.len() <= role as usize {
            self.limited.resize(role as usize + 1, 0);
        }
        count(&mut self.limited[role as usize]);
    }

    pub(crate) fn note_served(&mut self) {
        count(&mut self.served);
    }
}

impl Hierarchical {
    /// What was decided since this was last asked.
    pub(crate) fn decided(&mut self, now: Time) -> Vec<Decisions> {
        let taken = Recorder { since: now, ..Recorder::default() };
        let recorder = std::mem::replace(&mut self.recorder, taken);
        self.recorder.grow(recorder.seats.len());
        let mut decided = Vec::new();
        for (id, framework) in &self.frameworks {
            for role in &framework.options.roles {
                let known = self.tree.known_role(role);
                let known = known.and_then(|r| Some((r, self.tree.known_seat(*id, r)?)));
                let Some((number_of_role, seat)) = known else { continue };
                let mut counts = recorder.seats.get(seat as usize).copied().unwrap_or_default();
                let limited = recorder.limited.get(number_of_role as usize).copied().unwrap_or(0);
                counts[number(Reason::Limit)] += limited;
                // Where others took everything before its turn came nothing was written down.
                let rest = recorder.served.saturating_sub(counts.iter().sum());
                if !framework.active {
                    counts[number(Reason::Inactive)] += rest;
                } else if framework.options.suppressed.contains(role) {
                    counts[number(Reason::Suppressed)] += rest;
                } else if self.standings[seat as usize].joined <= recorder.since {
                    counts[number(Reason::Taken)] += rest;
                }
                for (of_seat, of_all) in counts.iter_mut().zip(recorder.all) {
                    *of_seat += of_all;
                }
                if counts.iter().all(|n| *n == 0) {
                    continue;
                }
                let reasons = REASONS.into_iter().zip(counts).skip(1).filter(|(_, n)| *n > 0);
                decided.push(Decisions {
                    framework: *id,
                    role: role.clone(),
                    offered: counts[number(Reason::Next)],
                    reasons: reasons.collect(),
                });
            }
        }
        decided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_at_its_number() {
        for (at, reason) in REASONS.into_iter().enumerate() {
            assert_eq!(number(reason), at);
        }
    }
}
