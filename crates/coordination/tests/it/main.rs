//! One contract for every backend, and what each of them has beyond it.

mod alone;
mod contract;
mod raft;
mod zookeeper;
