//! Amounts: scalars in thousandths, coalesced ranges, sets.

use std::collections::BTreeSet;
use std::fmt;

/// An amount in thousandths of a unit.
pub type Milli = i64;

/// The amount of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// A number, in thousandths.
    Scalar(Milli),
    /// Inclusive ranges, in order, neither overlapping nor adjacent.
    Ranges(Vec<(u64, u64)>),
    /// Distinct texts.
    Set(BTreeSet<String>),
}

/// Thousandths from a number on the wire: rounded half away from zero.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "saturates; validation refuses what does not fit"
)]
pub fn to_milli(value: f64) -> Milli {
    (value * 1000.0).round() as Milli
}

/// The number on the wire.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "amounts above 2^53 thousandths lose their last digits on the wire"
)]
pub fn from_milli(milli: Milli) -> f64 {
    milli as f64 / 1000.0
}

impl Value {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Scalar(milli) => *milli <= 0,
            Value::Ranges(ranges) => ranges.is_empty(),
            Value::Set(items) => items.is_empty(),
        }
    }

    /// Adds; values of another kind are ignored (identity keeps them apart).
    pub fn add(&mut self, other: &Value) {
        match (self, other) {
            (Value::Scalar(a), Value::Scalar(b)) => *a = a.saturating_add(*b),
            (Value::Ranges(a), Value::Ranges(b)) => {
                a.extend_from_slice(b);
                *a = coalesce(std::mem::take(a));
            }
            (Value::Set(a), Value::Set(b)) => a.extend(b.iter().cloned()),
            _ => {}
        }
    }

    /// Subtracts what is there; never goes below nothing.
    pub fn subtract(&mut self, other: &Value) {
        match (self, other) {
            (Value::Scalar(a), Value::Scalar(b)) => *a = a.saturating_sub(*b).max(0),
            (Value::Ranges(a), Value::Ranges(b)) => *a = without(a, b),
            (Value::Set(a), Value::Set(b)) => a.retain(|item| !b.contains(item)),
            _ => {}
        }
    }

    /// Whether all of `other` is in this.
    #[must_use]
    pub fn contains(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Scalar(a), Value::Scalar(b)) => a >= b,
            (Value::Ranges(a), Value::Ranges(b)) => b.iter().all(|(begin, end)| {
                let at = a.partition_point(|(_, high)| high < begin);
                a.get(at).is_some_and(|(low, high)| low <= begin && end <= high)
            }),
            (Value::Set(a), Value::Set(b)) => b.is_subset(a),
            _ => false,
        }
    }

    /// How much it is when all detail is dropped: thousandths, whole numbers for each number or item.
    #[must_use]
    pub fn quantity(&self) -> Milli {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(1000);
        match self {
            Value::Scalar(milli) => *milli,
            Value::Ranges(ranges) => ranges
                .iter()
                .fold(0_i64, |sum, (b, e)| sum.saturating_add(count((e - b).saturating_add(1)))),
            Value::Set(items) => count(items.len() as u64),
        }
    }
}

/// Sorts and merges overlapping and adjacent ranges.
pub(crate) fn coalesce(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    // Stable, since that is fast for what is in order but for few: sums have two parts that are.
    ranges.sort();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (begin, end) in ranges {
        match merged.last_mut() {
            Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => merged.push((begin, end)),
        }
    }
    merged
}

/// What is left of ranges when others are cut out; both are in order.
fn without(ranges: &[(u64, u64)], cuts: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = Vec::with_capacity(ranges.len() + cuts.len());
    let mut next = 0;
    for &(mut begin, end) in ranges {
        while cuts.get(next).is_some_and(|cut| cut.1 < begin) {
            next += 1;
        }
        let mut is_over = false;
        for cut in cuts[next..].iter().take_while(|cut| cut.0 <= end) {
            if begin < cut.0 {
                left.push((begin, cut.0 - 1));
            }
            is_over = cut.1 >= end;
            begin = cut.1.saturating_add(1);
        }
        if !is_over {
            left.push((begin, end));
        }
    }
    left
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scalar(milli) => write!(f, "{}", Decimal(*milli)),
            Value::Ranges(ranges) => {
                let parts: Vec<String> = ranges.iter().map(|(b, e)| format!("{b}-{e}")).collect();
                write!(f, "[{}]", parts.join(", "))
            }
            Value::Set(items) => {
                write!(f, "{{{}}}", items.iter().cloned().collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Thousandths as a decimal number without trailing zeros.
pub(crate) struct Decimal(pub(crate) Milli);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        let sign = if self.0 < 0 && whole == 0 { "-" } else { "" };
        write!(f, "{sign}{whole}")?;
        if part == 0 {
            return Ok(());
        }
        let digits = format!("{:03}", part.abs());
        write!(f, ".{}", digits.trim_end_matches('0'))
    }
}
