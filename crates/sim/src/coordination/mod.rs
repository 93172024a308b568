//! Several masters in virtual time: which of them leads, and the registry they share, as `crates/coordination` shows
//! both to a master's process. No backend in particular is modelled but what all of them promise: a place that is lost
//! when it is not confirmed for some time, a registry that only the newest leader can write to, and answers that come
//! late or never.
//!
//! ```text
//!   master's process                        what masters agree on
//!   Member: its place, its lease,  ──Ask──►  Service: places, term,
//!           writes on their way   ◄─Answer─           registry
//! ```

mod history;
mod member;
mod service;

pub(crate) use history::History;
pub(crate) use member::{Member, Turn};
pub(crate) use service::{Answer, Ask, Service};

use base::WriteId;
use master_core::registry::RegistryOp;
use std::time::Duration;

/// A section of the registry and a key in it.
pub(crate) type Key = (String, String);

/// A change of the registry that a master's core asked for.
pub(crate) type Write = (WriteId, Vec<RegistryOp>);

/// Times of masters among each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Time between two signs of life of a master.
    pub beat: Duration,
    /// Time without an answer, by its own clock, after which a leader must not act any more.
    pub lease: Duration,
    /// Time without a sign of life after which a place is lost, at least, by the clock of those who grant it.
    pub session: Duration,
}

impl Pace {
    /// Close together, as among masters that replicate the registry themselves.
    pub const QUICK: Self = Self {
        beat: Duration::from_millis(400),
        lease: Duration::from_millis(2000),
        session: Duration::from_millis(2200),
    };
    /// Far apart, as with sessions of ten seconds.
    pub const SLOW: Self = Self {
        beat: Duration::from_millis(2500),
        lease: Duration::from_secs(5),
        session: Duration::from_secs(10),
    };
}
