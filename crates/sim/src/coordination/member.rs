//! A master's part in the coordination, as its process has it: its place, its lease, and writes on their way.

use super::{Answer, Ask, Pace, Write};
use base::{Time, WriteId};
use std::time::Duration;

/// Longest time for which a write is tried again while nobody answers; then it is not known whether it was made.
const WRITE_MAX: Duration = Duration::from_secs(20);

/// What a process is, in its own eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Nobody,
    Follows(usize),
    /// Its place is the first, and it has asked to be the only one who writes.
    Takes,
    /// Nobody else writes, but what the registry says is not known yet.
    Reads,
    Leads,
}

/// What becomes of a process by an answer or by time.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// To be sent.
    pub(crate) asks: Vec<Ask>,
    /// It leads, and the registry says this.
    pub(crate) elected: Option<Vec<(super::Key, Vec<u8>)>>,
    /// Writes that ended.
    pub(crate) written: Vec<(WriteId, Result<(), String>)>,
    /// It has become the only one who writes.
    pub(crate) taken: bool,
    /// It must end.
    pub(crate) over: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Member {
    me: usize,
    pace: Pace,
    standing: Standing,
    /// When, by its own clock, the last sign of life was sent that was answered.
    confirmed: Time,
    pub(crate) term: u64,
    /// Writes that wait for those on their way.
    waiting: Vec<Write>,
    /// Those on their way, and since when.
    sent: Option<(Vec<Write>, Time)>,
    number: u64,
    /// Broken on purpose: it never asks itself whether it may still act.
    pub(crate) heedless: bool,
}

impl Member {
    pub(crate) fn new(me: usize, pace: Pace, heedless: bool) -> Self {
        Self {
            me,
            pace,
            standing: Standing::Nobody,
            confirmed: Time(0),
            term: 0,
            waiting: Vec::new(),
            sent: None,
            number: 0,
            heedless,
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.standing == Standing::Leads
    }

    /// Where it sends those who look for the leader.
    pub(crate) fn follows(&self) -> Option<usize> {
        match self.standing {
            Standing::Follows(leader) => Some(leader),
            _ => None,
        }
    }

    /// Whether nobody else can lead yet, for all it knows. Who leads without that waits until it knows more.
    pub(crate) fn may_act(&self, now: Time) -> bool {
        self.heedless || !self.leads() || now.since(self.confirmed) <= self.pace.lease
    }

    fn is_bound(&self) -> bool {
        matches!(self.standing, Standing::Takes | Standing::Reads | Standing::Leads)
    }

    /// To be called from time to time, by its own clock.
    pub(crate) fn on_beat(&mut self, now: Time) -> Turn {
        let mut turn = Turn::default();
        if self.is_bound() && !self.heedless && now.since(self.confirmed) > self.pace.lease {
            turn.over = Some("Lost leadership: its place was not confirmed in time".to_owned());
            return turn;
        }
        turn.asks.push(Ask::Beat { sent: now });
        match self.standing {
            Standing::Takes => turn.asks.push(Ask::Take),
            Standing::Reads => turn.asks.push(Ask::Read),
            _ => {}
        }
        let is_late = |(_, since): &(Vec<Write>, Time)| now.since(*since) > WRITE_MAX;
        if self.sent.as_ref().is_some_and(is_late)
            && let Some((writes, _)) = self.sent.take()
        {
            let result = Err("nobody answers; it may have been made".to_owned());
            turn.written.extend(writes.into_iter().map(|(id, _)| (id, result.clone())));
        }
        turn.asks.extend(self.sent_again());
        turn
    }

    fn sent_again(&self) -> Option<Ask> {
        let (writes, _) = self.sent.as_ref()?;
        Some(Ask::Write { term: self.term, number: self.number, writes: writes.clone() })
    }

    pub(crate) fn on_answer(&mut self, now: Time, answer: Answer) -> Turn {
        let mut turn = Turn::default();
        match answer {
            Answer::Kept { sent, first } => {
                self.confirmed = self.confirmed.max(sent);
                if first == self.me && !self.is_bound() {
                    self.standing = Standing::Takes;
                    turn.asks.push(Ask::Take);
                } else if first != self.me && self.is_bound() {
                    turn.over =
                        (!self.heedless).then(|| format!("Conceded leadership to master {first}"));
                } else if first != self.me {
                    self.standing = Standing::Follows(first);
                }
            }
            Answer::Lost if self.is_bound() && !self.heedless => {
                turn.over = Some("Lost leadership: its place has expired".to_owned());
            }
            Answer::Lost if self.is_bound() => {}
            Answer::Lost => self.standing = Standing::Nobody,
            Answer::Taken { term } if self.standing == Standing::Takes => {
                self.term = term;
                self.standing = Standing::Reads;
                turn.taken = true;
                turn.asks.push(Ask::Read);
            }
            Answer::Content { registry } if self.standing == Standing::Reads => {
                self.standing = Standing::Leads;
                turn.elected = Some(registry);
            }
            // The second answer to what was asked twice.
            Answer::Taken { .. } | Answer::Content { .. } => {}
            Answer::Written { number, result } if number == self.number => {
                if let Some((writes, _)) = self.sent.take() {
                    turn.written.extend(writes.into_iter().map(|(id, _)| (id, result.clone())));
                }
                turn.asks.extend(self.send(now));
            }
            Answer::Written { .. } => {}
        }
        turn
    }

    /// The core wants a change: what is to be sent for it now.
    pub(crate) fn write(&mut self, now: Time, write: Write) -> Option<Ask> {
        self.waiting.push(write);
        self.send(now)
    }

    /// Everything that waits goes in one call, when no other is on its way.
    fn send(&mut self, now: Time) -> Option<Ask> {
        if self.sent.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.number += 1;
        self.sent = Some((std::mem::take(&mut self.waiting), now));
        self.sent_again()
    }
}
