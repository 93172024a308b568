//! What masters agree on: the order of their places, the term of the newest leadership, and the registry.

use super::{Key, Write};
use base::{Rng, Time};
use master_core::registry::RegistryOp;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a master asks for.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// Keeps its place, or takes one. `sent`: when, by the clock of the master.
    Beat { sent: Time },
    /// From now on nobody else writes.
    Take,
    /// The whole registry.
    Read,
    /// Makes changes, each of them whole; `number` counts the calls of a term, so that one that comes twice is made once.
    Write { term: u64, number: u64, writes: Vec<Write> },
}

/// What it is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Its place is kept; `first`: whose place is the first.
    Kept { sent: Time, first: usize },
    /// It had a place and has lost it.
    Lost,
    /// It writes, under this term.
    Taken { term: u64 },
    /// The registry.
    Content { registry: Vec<(Key, Vec<u8>)> },
    /// The changes are made, or another master has taken over.
    Written { number: u64, result: Result<(), String> },
}

#[derive(Debug)]
struct Place {
    master: usize,
    /// Which of its processes has it.
    life: u32,
    expires: Time,
}

#[derive(Debug, Default)]
pub(crate) struct Service {
    /// In the order in which they were taken: the first one leads.
    places: Vec<Place>,
    /// Processes that lost their place: they are told.
    lost: Vec<(usize, u32)>,
    pub(crate) term: u64,
    /// Who writes.
    writer: Option<(usize, u32)>,
    /// The last call of this term that was carried out.
    made: u64,
    pub(crate) registry: BTreeMap<Key, Vec<u8>>,
    /// Broken on purpose: whoever led may write.
    pub(crate) unfenced: bool,
    /// Broken on purpose: so many changes are said to be made and are not.
    pub(crate) forgets: u32,
}

impl Service {
    /// Carries out what a process of a master asks for; None: it is none of those who may. A place lasts for at least
    /// `session`.
    pub(crate) fn on_ask(
        &mut self,
        now: Time,
        (master, life): (usize, u32),
        ask: Ask,
        session: Duration,
        rng: &mut Rng,
    ) -> Option<Answer> {
        self.expire(now);
        let answer = match ask {
            Ask::Beat { .. } if self.lost.contains(&(master, life)) => {
                self.lost.retain(|lost| *lost != (master, life));
                Answer::Lost
            }
            Ask::Beat { sent } => {
                let half = u64::try_from(session.as_nanos() / 2).unwrap_or(u64::MAX);
                let expires = now + session + Duration::from_nanos(rng.below(half));
                match self.places.iter_mut().find(|p| (p.master, p.life) == (master, life)) {
                    Some(place) => place.expires = place.expires.max(expires),
                    None => self.places.push(Place { master, life, expires }),
                }
                Answer::Kept { sent, first: self.places[0].master }
            }
            Ask::Take => {
                let first = self.places.first().map(|p| (p.master, p.life));
                if first != Some((master, life)) {
                    return None;
                }
                if self.writer != first {
                    self.writer = first;
                    self.term += 1;
                    self.made = 0;
                }
                Answer::Taken { term: self.term }
            }
            Ask::Read => {
                let registry = self.registry.iter().map(|(k, v)| (k.clone(), v.clone()));
                Answer::Content { registry: registry.collect() }
            }
            Ask::Write { term, number, writes } => {
                if term != self.term && !self.unfenced {
                    let text = "another master has taken over the registry".to_owned();
                    return Some(Answer::Written { number, result: Err(text) });
                }
                if term != self.term || number > self.made {
                    self.made = if term == self.term { number } else { self.made };
                    self.make(&writes);
                }
                Answer::Written { number, result: Ok(()) }
            }
        };
        Some(answer)
    }

    /// Places whose time is over go; who waits next leads.
    fn expire(&mut self, now: Time) {
        let (kept, over): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.places).into_iter().partition(|p| p.expires > now);
        self.places = kept;
        self.lost.extend(over.into_iter().map(|p| (p.master, p.life)));
    }

    pub(crate) fn make(&mut self, writes: &[Write]) {
        for op in writes.iter().flat_map(|(_, ops)| ops) {
            if self.forgets > 0 {
                self.forgets -= 1;
                continue;
            }
            match op.clone() {
                RegistryOp::Put { section, key, value } => {
                    self.registry.insert((section, key), value)
                }
                RegistryOp::Delete { section, key } => self.registry.remove(&(section, key)),
            };
        }
    }
}
