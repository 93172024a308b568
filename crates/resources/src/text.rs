//! The text and JSON forms of `--resources` (spec/master.md 3.6).

use crate::collection::Resources;
use crate::entry::{Entry, Identity};
use crate::value::{Milli, Value, coalesce, to_milli};
use crate::wire_form::entry;
use crate::{ResourceError, validate_role};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::v1;

/// Most of a scalar: what fits in thousandths.
const MOST: f64 = 9.2e15;

/// A value in text form.
pub(crate) enum Parsed {
    Number(f64),
    Ranges(Vec<(u64, u64)>),
    Set(Vec<String>),
    Text(String),
}

impl Resources {
    /// Parses `name(role):value;…` or a JSON array of Resource. Names without a role get `default_role`.
    ///
    /// # Errors
    /// The part that is not a resource, and why.
    pub fn parse(text: &str, default_role: &str) -> Result<Self, ResourceError> {
        Self::parse_named(text, default_role).map(|(resources, _)| resources)
    }

    /// The same, and the names that the text has, those of which it has 0 among them.
    ///
    /// # Errors
    /// As [`Resources::parse`].
    pub fn parse_named(
        text: &str,
        default_role: &str,
    ) -> Result<(Self, BTreeSet<String>), ResourceError> {
        let text = text.trim();
        let entries = if text.starts_with('[') {
            read_json(text, default_role)?
        } else {
            let parts = text.split([';', '\n']).map(str::trim).filter(|p| !p.is_empty());
            parts.map(|part| parse_entry(part, default_role)).collect::<Result<Vec<_>, _>>()?
        };
        check_together(&entries)?;
        let names = entries.iter().map(|e| e.identity.name.clone()).collect();
        Ok((entries.into_iter().collect(), names))
    }
}

fn read_json(text: &str, default_role: &str) -> Result<Vec<Entry>, ResourceError> {
    let items: Vec<serde_json::Value> = serde_json::from_str(text)
        .map_err(|e| ResourceError(format!("resources are not a JSON array: {e}")))?;
    let mut wire_form = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let mut resource: v1::Resource = wire::json::from_value(item)
            .map_err(|e| ResourceError(format!("resources[{index}].{e}")))?;
        if resource.reservations.is_empty() && resource.role.is_none() {
            resource.role = Some(default_role.to_owned());
        }
        wire_form.push(resource);
    }
    Resources::validate(&wire_form)?;
    let entries: Vec<Entry> = wire_form.iter().map(entry).collect();
    for entry in &entries {
        let identity = &entry.identity;
        let dynamic = v1::resource::reservation_info::Type::Dynamic;
        if identity.revocable || entry.is_volume() {
            return Err(ResourceError(format!(
                "'{entry}': revocable resources and volumes can't be declared"
            )));
        }
        if identity.reservations.iter().any(|r| r.r#type() == dynamic) {
            return Err(ResourceError(format!(
                "'{entry}': dynamic reservations can't be declared"
            )));
        }
    }
    Ok(entries)
}

/// What is of one name is of one type, and can be counted.
fn check_together(entries: &[Entry]) -> Result<(), ResourceError> {
    let mut sums: BTreeMap<&str, (std::mem::Discriminant<Value>, Milli)> = BTreeMap::new();
    for entry in entries {
        let kind = std::mem::discriminant(&entry.value);
        let name = entry.identity.name.as_str();
        let (known, sum) = sums.entry(name).or_insert((kind, 0));
        if *known != kind {
            return Err(ResourceError(format!(
                "Resources with the same name ('{name}') but different types"
            )));
        }
        if let Value::Scalar(milli) = entry.value {
            *sum = sum.checked_add(milli).ok_or_else(|| {
                ResourceError(format!(
                    "there is more of '{name}' than the {MOST:e} that can be counted"
                ))
            })?;
        }
    }
    Ok(())
}

fn parse_entry(part: &str, default_role: &str) -> Result<Entry, ResourceError> {
    let bad = |why: &str| ResourceError(format!("Bad value for resources, '{part}': {why}"));
    let (left, value) = part.split_once(':').ok_or_else(|| bad("expected 'name(role):value'"))?;
    let (name, role) = match left.split_once('(') {
        None => (left.trim(), default_role),
        Some((name, role)) => {
            let role =
                role.trim().strip_suffix(')').ok_or_else(|| bad("expected ')' after the role"))?;
            (name.trim(), role.trim())
        }
    };
    if name.is_empty() {
        return Err(bad("the name is empty"));
    }
    validate_role(role)?;
    let value = match parse_value(value).map_err(|why| bad(&why))? {
        Parsed::Number(number) => scalar(number).ok_or_else(|| {
            bad(&format!("expected 0, or a number from 0.0005 to {MOST:e}; thousandths count"))
        })?,
        Parsed::Ranges(ranges) => Value::Ranges(coalesce(ranges)),
        Parsed::Set(items) => {
            let set: BTreeSet<String> = items.iter().cloned().collect();
            if set.len() < items.len() {
                return Err(bad("Invalid set resource: duplicated elements"));
            }
            Value::Set(set)
        }
        Parsed::Text(_) => return Err(bad("expected a number, [begin-end,…] or {item,…}")),
    };
    if name == "gpus" && !matches!(value, Value::Scalar(milli) if milli % 1000 == 0) {
        return Err(ResourceError("The 'gpus' resource must be an unsigned integer".to_owned()));
    }
    let reservations = if role == "*" { Vec::new() } else { vec![static_reservation(role)] };
    let identity = Identity { name: name.to_owned(), reservations, ..Default::default() };
    Ok(Entry { identity: Arc::new(identity), value })
}

pub(crate) fn static_reservation(role: &str) -> v1::resource::ReservationInfo {
    v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Static as i32),
        role: Some(role.to_owned()),
        ..Default::default()
    }
}

/// The amount of a scalar resource, if it can be counted.
fn scalar(number: f64) -> Option<Value> {
    let milli = to_milli(number);
    (number <= MOST && (milli > 0 || number == 0.0)).then_some(Value::Scalar(milli))
}

/// What a value looks like, or why it is neither this nor that.
pub(crate) fn parse_value(text: &str) -> Result<Parsed, String> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if let Some(inner) = text.strip_prefix('[') {
        let bad = || format!("expected ranges of whole numbers such as [1-2,5-9], got '{text}'");
        let inner = inner.strip_suffix(']').ok_or_else(bad)?;
        let mut ranges = Vec::new();
        for range in inner.split(',').filter(|r| !r.is_empty()) {
            let (begin, end) = range.split_once('-').ok_or_else(bad)?;
            let (begin, end) = (begin.parse().map_err(|_| bad())?, end.parse().map_err(|_| bad())?);
            if begin > end {
                return Err(format!("the range '{range}' ends before it begins"));
            }
            ranges.push((begin, end));
        }
        return Ok(Parsed::Ranges(ranges));
    }
    if let Some(inner) = text.strip_prefix('{') {
        let bad = || format!("expected a set such as {{a,b}}, got '{text}'");
        let inner = inner.strip_suffix('}').ok_or_else(bad)?;
        let items = inner.split(',').filter(|i| !i.is_empty()).map(str::to_owned).collect();
        return Ok(Parsed::Set(items));
    }
    let looks_like_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match text.parse::<f64>() {
        Ok(number) if number.is_subnormal() => Err(format!("'{text}' is too small a number")),
        Ok(number) if looks_like_number && number.is_finite() => Ok(Parsed::Number(number)),
        _ => Ok(Parsed::Text(text)),
    }
}
