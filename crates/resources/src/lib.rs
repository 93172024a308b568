//! Resource algebra in fixed point: scalars, ranges and sets with reservations, disks and allocation
//! (spec/master.md section 3).
//!
//! [`Resources`] is a collection in which entries of equal identity are merged. Amounts are integers in thousandths;
//! doubles exist only on the wire.
#![forbid(unsafe_code)]

mod attributes;
mod collection;
mod counted;
mod entry;
mod index;
mod operation;
mod quantities;
mod roles;
mod sum;
mod text;
mod validate;
mod value;
mod wire_form;

pub use attributes::{attributes_summary, parse_attributes};
pub use collection::Resources;
pub use entry::{Entry, Identity};
pub use operation::Conversion;
pub use quantities::Quantities;
pub use roles::{ancestors, is_descendant_or_self, validate_role};
pub use value::{Milli, Value, from_milli, to_milli};
pub use wire_form::SummaryValue;

use std::fmt;

/// Why something is not a resource, in the words of the peer where it has words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceError(pub String);

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ResourceError {}
