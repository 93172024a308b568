//! The pages of the master's web UI: what is to be shown in, HTML out.
//!
//! Nothing here reads a socket, a file or a clock. A [`Route`] says which page a request wants, the caller fills the
//! page's model from what it knows, [`Page`] makes HTML of it. All text is escaped by the templates; ids are
//! percent-encoded in addresses ([`Route::href`]). Lists are searched, sorted and cut to one page before anything is
//! written ([`list`]), so that what is sent does not grow with the cluster.
#![forbid(unsafe_code)]

mod amounts;
pub mod assets;
pub mod format;
mod frame;
pub mod list;
pub mod pages;
mod parts;
mod plot;
pub mod query;
mod route;

pub use amounts::Amounts;
pub use frame::{Frame, Page, Section, security_policy};
pub use plot::Sample;
pub use query::Query;
pub use route::{BadPath, Place, Route, relative_path};
