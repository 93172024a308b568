//! Streams between the master and everybody else: in order within one direction, delayed, cut, or broken.

use base::{Time, Token};
use std::collections::BTreeMap;

/// Who is at the other end of a stream to the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Agent(usize),
    Framework(usize),
}

/// One direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToMaster,
    FromMaster,
}

#[derive(Debug)]
struct Link {
    peer: Peer,
    to_master: Time,
    from_master: Time,
}

/// All open streams and what stands between them.
#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<Token, Link>,
    next: u64,
    cut_up: BTreeMap<Peer, Time>,
    cut_down: BTreeMap<Peer, Time>,
}

impl Network {
    /// A name that was never used.
    pub(crate) fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    pub(crate) fn open(&mut self, token: Token, peer: Peer) {
        self.links.insert(token, Link { peer, to_master: Time(0), from_master: Time(0) });
    }

    /// Forgets a stream; what is in flight on it is lost.
    pub(crate) fn close(&mut self, token: Token) -> Option<Peer> {
        self.links.remove(&token).map(|l| l.peer)
    }

    pub(crate) fn is_open(&self, token: Token) -> bool {
        self.links.contains_key(&token)
    }

    pub(crate) fn of(&self, peer: Peer) -> Vec<Token> {
        self.links.iter().filter(|(_, l)| l.peer == peer).map(|(t, _)| *t).collect()
    }

    pub(crate) fn all(&self) -> Vec<Token> {
        self.links.keys().copied().collect()
    }

    /// When a message sent at `now` with this delay arrives: after all sent before it, and after the cut is mended.
    /// None: the stream is closed.
    pub(crate) fn arrival(
        &mut self,
        token: Token,
        direction: Direction,
        at: Time,
    ) -> Option<(Peer, Time)> {
        let link = self.links.get_mut(&token)?;
        let (last, cut) = match direction {
            Direction::ToMaster => (&mut link.to_master, &self.cut_up),
            Direction::FromMaster => (&mut link.from_master, &self.cut_down),
        };
        let mended = cut.get(&link.peer).copied().unwrap_or_default();
        *last = at.max(mended).max(Time(last.0 + 1));
        Some((link.peer, *last))
    }

    /// Stops messages of a peer until `until`.
    pub(crate) fn cut(&mut self, peer: Peer, direction: Direction, until: Time) {
        match direction {
            Direction::ToMaster => self.cut_up.insert(peer, until),
            Direction::FromMaster => self.cut_down.insert(peer, until),
        };
    }

    /// Until when new connections of this peer fail.
    pub(crate) fn unreachable_until(&self, peer: Peer) -> Time {
        let of = |cut: &BTreeMap<Peer, Time>| cut.get(&peer).copied().unwrap_or_default();
        of(&self.cut_up).max(of(&self.cut_down))
    }
}
