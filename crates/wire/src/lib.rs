//! Messages of every public interface and of the master-agent connection.
#![forbid(unsafe_code)]

/// Generated message types, one module per protobuf package.
#[allow(missing_docs, clippy::all, unreachable_pub, rustdoc::all)]
mod packages {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

pub use packages::google;
pub use packages::mesos::v1;
pub use packages::proffer::internal;
