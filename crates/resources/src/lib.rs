//! Resource algebra in fixed point: scalars, ranges, sets, reservations.
#![forbid(unsafe_code)]

/// A collection of resources; equal entries are merged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {}

/// Amounts by resource name, without any metadata.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quantities {}
