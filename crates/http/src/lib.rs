//! What both daemons share over HTTP: the accept loop with its limits, negotiation of encodings, event streams, the
//! files endpoints, and the link between agent and master.
#![forbid(unsafe_code)]

pub mod body;
pub mod bulk;
pub mod calls;
pub mod endpoints;
pub mod files;
pub mod intake;
pub mod link;
pub mod logging;
pub mod negotiate;
pub mod otlp;
pub mod peer;
pub mod prometheus;
pub mod respond;
pub mod server;
mod stall;
pub mod stream;
pub mod v0;
pub mod version;

pub use body::Body;

/// A request as it comes from the accept loop.
pub type Request = http::Request<hyper::body::Incoming>;
/// An answer.
pub type Response = http::Response<Body>;
