//! Maintenance of machines (spec/master.md 1.11): when they will be away, who is told, and machines that are down.

mod change;
mod inverse_offers;
mod machines;
mod schedule;

pub(crate) use inverse_offers::Warnings;
pub use machines::Machine;
pub use schedule::Maintenance;

use allocator::FrameworkId;
use std::collections::BTreeMap;
use wire::v1;
use wire::v1::allocator::InverseOfferStatus;

/// A registered agent on a machine that has a maintenance window.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduled {
    /// The machine.
    pub machine: Machine,
    /// When it will be away.
    pub unavailability: v1::Unavailability,
    /// What frameworks said to inverse offers since that was set.
    pub answers: BTreeMap<FrameworkId, InverseOfferStatus>,
}
