//! Networks of containers: `network/cni`.

mod cni;
mod namespace;
mod netlink;
mod rates;
mod statistics;

pub(super) use cni::Cni;
pub use cni::{CniOptions, Resolver};
pub use netlink::Rate;
pub use rates::Rates;
