//! The text and JSON forms of `--resources` (spec/master.md 3.6).

use crate::collection::Resources;
use crate::entry::{Entry, Identity};
use crate::value::{Value, coalesce, to_milli};
use crate::{ResourceError, validate_role};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::v1;

/// A value in text form.
pub(crate) enum Parsed {
    Value(Value),
    Text(String),
}

impl Resources {
    /// Parses `name(role):value;…` or a JSON array of Resource. Names without a role get `default_role`.
    ///
    /// # Errors
    /// The part that is not a resource, and why.
    pub fn parse(text: &str, default_role: &str) -> Result<Self, ResourceError> {
        let text = text.trim();
        if text.starts_with('[') {
            return Self::parse_json(text, default_role);
        }
        let parts = text.split([';', '\n']).map(str::trim).filter(|p| !p.is_empty());
        let out = parts.map(|part| parse_entry(part, default_role)).collect::<Result<Self, _>>()?;
        check_kinds(&out)?;
        Ok(out)
    }

    fn parse_json(text: &str, default_role: &str) -> Result<Self, ResourceError> {
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
        let out = Self::from_wire(&wire_form)?;
        for entry in out.iter() {
            let identity = &entry.identity;
            let dynamic = v1::resource::reservation_info::Type::Dynamic;
            if identity.revocable || identity.disk.as_ref().is_some_and(|d| d.persistence.is_some())
            {
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
        check_kinds(&out)?;
        Ok(out)
    }
}

fn check_kinds(resources: &Resources) -> Result<(), ResourceError> {
    let mut kinds = BTreeMap::new();
    for entry in resources.iter() {
        let kind = std::mem::discriminant(&entry.value);
        let name = &entry.identity.name;
        if *kinds.entry(name).or_insert(kind) != kind {
            return Err(ResourceError(format!(
                "Resources with the same name ('{name}') but different types"
            )));
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
    let value = match parse_value(value)? {
        Parsed::Value(value) => value,
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

pub(crate) fn parse_value(text: &str) -> Result<Parsed, ResourceError> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let bad = || ResourceError(format!("Failed to parse value '{text}'"));
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(bad)?;
        let mut ranges = Vec::new();
        for range in inner.split(',').filter(|r| !r.is_empty()) {
            let (begin, end) = range.split_once('-').ok_or_else(bad)?;
            let (begin, end) = (begin.parse().map_err(|_| bad())?, end.parse().map_err(|_| bad())?);
            if begin > end {
                return Err(bad());
            }
            ranges.push((begin, end));
        }
        return Ok(Parsed::Value(Value::Ranges(coalesce(ranges))));
    }
    if let Some(inner) = text.strip_prefix('{') {
        let inner = inner.strip_suffix('}').ok_or_else(bad)?;
        let items = inner.split(',').filter(|i| !i.is_empty()).map(str::to_owned).collect();
        return Ok(Parsed::Value(Value::Set(items)));
    }
    let looks_like_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match text.parse::<f64>() {
        Ok(number) if looks_like_number && number.is_finite() => {
            if (number != 0.0 && to_milli(number) == 0) || number > 9.2e15 {
                return Err(bad());
            }
            Ok(Parsed::Value(Value::Scalar(to_milli(number))))
        }
        _ => Ok(Parsed::Text(text)),
    }
}
