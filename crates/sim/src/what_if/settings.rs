//! What an operator decides about sharing.

use allocator::{Quota, Share};
use std::collections::BTreeMap;

/// Settings of roles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Guarantees and limits.
    pub quotas: BTreeMap<String, Quota>,
    /// Weights; others have 1.
    pub weights: BTreeMap<String, f64>,
    /// Shares that are active.
    pub shares: BTreeMap<String, BTreeMap<String, Share>>,
}
