//! Tools for tests and benchmarks that look at Proffer from outside: a blocking HTTP client, a framework that
//! speaks the v1 scheduler API in JSON, and clusters of real processes.
//!
//! It uses nothing of Proffer's own crates, so that it sees what any client sees.
#![forbid(unsafe_code)]

pub mod browser;
pub mod cgroups;
pub mod cluster;
pub mod docker;
pub mod etcd;
pub mod framework;
pub mod hosts;
pub mod http;
pub mod measure;
pub mod process;
pub mod registry;
pub mod wait;
pub mod zookeeper;

pub use browser::Browser;
pub use cluster::{Cluster, ClusterOptions};
pub use framework::{Framework, FrameworkOptions};
