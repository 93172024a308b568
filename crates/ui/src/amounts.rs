//! The four resources that every page shows.

use resources::{Milli, Resources, Value};
use std::collections::BTreeMap;
use std::ops::{Add, AddAssign};

/// Thousandths of cpus, MiB of memory, MiB of disk, and gpus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts(pub [Milli; 4]);

/// Names of resources, in the order of [`Amounts`].
pub(crate) const NAMES: [&str; 4] = ["cpus", "mem", "disk", "gpus"];

impl Amounts {
    /// All scalars of these names.
    #[must_use]
    pub fn of(resources: &Resources) -> Self {
        let mut sum = Self::default();
        for entry in resources.iter() {
            if let Value::Scalar(milli) = entry.value {
                sum.grow(&entry.identity.name, milli);
            }
        }
        sum
    }

    /// Amounts by name; other names are left out.
    #[must_use]
    pub fn of_map(amounts: &BTreeMap<String, Milli>) -> Self {
        let mut sum = Self::default();
        for (name, milli) in amounts {
            sum.grow(name, *milli);
        }
        sum
    }

    /// Adds an amount of one resource.
    pub fn grow(&mut self, name: &str, milli: Milli) {
        if let Some(at) = NAMES.iter().position(|known| *known == name) {
            self.0[at] = self.0[at].saturating_add(milli);
        }
    }

    /// What is left without `other`, nothing below zero.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        let mut left = self;
        for (left, other) in left.0.iter_mut().zip(other.0) {
            *left = left.saturating_sub(other).max(0);
        }
        left
    }

    /// The greatest part of a resource of `whole` that this is, from 0 to 1 and above.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share is shown with two digits")]
    pub fn dominant_share(self, whole: Self) -> f64 {
        let shares = self.0.into_iter().zip(whole.0);
        let shares = shares.filter(|(_, whole)| *whole > 0);
        shares.map(|(part, whole)| part as f64 / whole as f64).fold(0.0, f64::max)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, other: Self) {
        for (sum, other) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(other);
        }
    }
}

impl Add for Amounts {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}
