//! One contract for every backend, and what each of them has beyond it.

mod alone;
mod contract;
mod disks;
mod etcd;
mod etcd_tls;
mod raft;
mod zookeeper;
