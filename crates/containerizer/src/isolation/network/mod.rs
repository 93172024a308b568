//! Networks of containers: `network/cni`.

mod cni;
mod namespace;
mod statistics;

pub(super) use cni::Cni;
pub use cni::{CniOptions, Resolver};
