//! Networks of containers, and their ports in that of the host: `network/cni`, `network/ports`.

mod cni;
mod namespace;
mod netlink;
mod ports;
mod rates;
mod round_trips;
mod statistics;

pub(super) use cni::Cni;
pub use cni::{CniOptions, Resolver};
pub use netlink::Rate;
pub(super) use ports::Ports;
pub use ports::PortsOptions;
pub use rates::Rates;
pub use statistics::NetworkStatistics;
