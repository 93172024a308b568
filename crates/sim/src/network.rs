//! Streams between masters and everybody else: in order within one direction, delayed, cut, or broken.

use base::{Time, Token};
use std::collections::BTreeMap;

/// Who is at the other end of a stream to a master.
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
    /// At this end: the master, and the term of its leadership.
    master: usize,
    term: u64,
    to_master: Time,
    from_master: Time,
}

/// All open streams and what stands between them.
#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<Token, Link>,
    next: u64,
    cut_up: BTreeMap<(Peer, usize), Time>,
    cut_down: BTreeMap<(Peer, usize), Time>,
}

impl Network {
    /// A name that was never used.
    pub(crate) fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    pub(crate) fn open(&mut self, token: Token, peer: Peer, master: usize, term: u64) {
        let (to_master, from_master) = (Time(0), Time(0));
        self.links.insert(token, Link { peer, master, term, to_master, from_master });
    }

    /// Forgets a stream; what is in flight on it is lost. Who had it, and with which master.
    pub(crate) fn close(&mut self, token: Token) -> Option<(Peer, usize)> {
        self.links.remove(&token).map(|l| (l.peer, l.master))
    }

    pub(crate) fn is_open(&self, token: Token) -> bool {
        self.links.contains_key(&token)
    }

    pub(crate) fn of(&self, peer: Peer) -> Vec<Token> {
        self.links.iter().filter(|(_, l)| l.peer == peer).map(|(t, _)| *t).collect()
    }

    /// All streams with a master.
    pub(crate) fn with(&self, master: usize) -> Vec<Token> {
        self.links.iter().filter(|(_, l)| l.master == master).map(|(t, _)| *t).collect()
    }

    /// The master of a stream, while it is open.
    pub(crate) fn master(&self, token: Token) -> Option<usize> {
        self.links.get(&token).map(|l| l.master)
    }

    /// The term in which a stream was opened, while it is open.
    pub(crate) fn term(&self, token: Token) -> Option<u64> {
        self.links.get(&token).map(|l| l.term)
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
        let mended = cut.get(&(link.peer, link.master)).copied().unwrap_or_default();
        *last = at.max(mended).max(Time(last.0 + 1));
        Some((link.peer, *last))
    }

    /// Stops messages between a peer and a master until `until`.
    pub(crate) fn cut(&mut self, peer: Peer, master: usize, direction: Direction, until: Time) {
        match direction {
            Direction::ToMaster => self.cut_up.insert((peer, master), until),
            Direction::FromMaster => self.cut_down.insert((peer, master), until),
        };
    }

    /// Until when new connections of this peer with this master fail.
    pub(crate) fn unreachable_until(&self, peer: Peer, master: usize) -> Time {
        let of = |cut: &BTreeMap<(Peer, usize), Time>| {
            cut.get(&(peer, master)).copied().unwrap_or_default()
        };
        of(&self.cut_up).max(of(&self.cut_down))
    }
}
