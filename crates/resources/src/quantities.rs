//! Amounts by name only.

use crate::ResourceError;
use crate::value::{Milli, to_milli};
use std::collections::BTreeMap;

/// Amounts by resource name in thousandths, without any metadata. Absent means zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quantities {
    amounts: BTreeMap<String, Milli>,
}

impl Quantities {
    /// Adds an amount.
    pub fn add(&mut self, name: &str, milli: Milli) {
        if milli != 0 {
            let amount = self.amounts.entry(name.to_owned()).or_default();
            *amount = amount.saturating_add(milli);
        }
    }

    /// The amount of this name.
    #[must_use]
    pub fn amount(&self, name: &str) -> Milli {
        self.amounts.get(name).copied().unwrap_or(0)
    }

    /// Names and amounts, in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Milli)> {
        self.amounts.iter().map(|(name, milli)| (name.as_str(), *milli))
    }

    /// Whether there is at least as much of everything as in `other`.
    #[must_use]
    pub fn contains(&self, other: &Quantities) -> bool {
        other.iter().all(|(name, milli)| self.amount(name) >= milli)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.amounts.is_empty()
    }

    /// Parses `name:number;name:number`.
    ///
    /// # Errors
    /// The part that is not of this form.
    pub fn parse(text: &str) -> Result<Self, ResourceError> {
        let mut quantities = Self::default();
        for part in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, number) = part
                .split_once(':')
                .ok_or_else(|| ResourceError(format!("expected 'name:number', got '{part}'")))?;
            let number: f64 = number
                .trim()
                .parse()
                .ok()
                .filter(|n: &f64| n.is_finite() && *n >= 0.0)
                .ok_or_else(|| {
                    ResourceError(format!("expected a number that is not negative in '{part}'"))
                })?;
            quantities.add(name.trim(), to_milli(number));
        }
        Ok(quantities)
    }

    /// Parses alternatives: quantities joined by `|`.
    ///
    /// # Errors
    /// As [`Quantities::parse`].
    pub fn parse_alternatives(text: &str) -> Result<Vec<Self>, ResourceError> {
        text.split('|').map(str::trim).filter(|p| !p.is_empty()).map(Self::parse).collect()
    }
}
