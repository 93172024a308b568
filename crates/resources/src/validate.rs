//! Rules for resources that come over the wire (spec/master.md 3.5).

use crate::collection::Resources;
use crate::value::{Value, to_milli};
use crate::wire_form::entry;
use crate::{ResourceError, is_descendant_or_self, validate_role};
use std::collections::BTreeSet;
use wire::v1;
use wire::v1::resource::reservation_info::Type as ReservationType;

/// Most bytes of the labels and principals of all reservations of a resource.
const LABELS_MAX: usize = 64 << 10;
/// Most letters of a resource in a text about it.
const SHOWN_MAX: usize = 1_000;

impl Resources {
    /// Checks a list of resources in any of the three formats.
    ///
    /// # Errors
    /// ``Resource '<r>' is invalid: <why>`` for the first one that breaks a rule.
    pub fn validate(resources: &[v1::Resource]) -> Result<(), ResourceError> {
        for resource in resources {
            one(resource).map_err(|why| {
                ResourceError(format!("Resource '{}' is invalid: {why}", shown(resource)))
            })?;
        }
        Ok(())
    }
}

fn shown(resource: &v1::Resource) -> String {
    let text = entry(resource).to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn one(resource: &v1::Resource) -> Result<(), String> {
    if resource.name.is_empty() {
        return Err("Empty resource name".to_owned());
    }
    let kind = v1::value::Type::try_from(resource.r#type)
        .map_err(|_| "Invalid resource type".to_owned())?;
    value(resource, kind)?;
    if resource.name == "gpus" && resource.scalar.is_some_and(|s| to_milli(s.value) % 1000 != 0) {
        return Err("The 'gpus' resource must be an unsigned integer".to_owned());
    }
    disk(resource)?;
    reservations(resource)?;
    if resource.shared.is_some() {
        if resource.name != "disk" {
            return Err(format!("Resource {} cannot be shared", resource.name));
        }
        if resource.disk.as_ref().is_none_or(|d| d.persistence.is_none()) {
            return Err("Only persistent volumes can be shared".to_owned());
        }
    }
    Ok(())
}

fn value(resource: &v1::Resource, kind: v1::value::Type) -> Result<(), String> {
    match kind {
        v1::value::Type::Scalar => {
            let Some(scalar) = &resource.scalar else {
                return Err("Invalid scalar resource".to_owned());
            };
            if resource.ranges.is_some() || resource.set.is_some() {
                return Err("Invalid scalar resource".to_owned());
            }
            let small = scalar.value != 0.0 && to_milli(scalar.value) == 0;
            if scalar.value < 0.0 || !scalar.value.is_finite() || small || scalar.value > 9.2e15 {
                return Err("Invalid scalar resource: value <= 0".to_owned());
            }
        }
        v1::value::Type::Ranges => {
            let Some(ranges) = &resource.ranges else {
                return Err("Invalid ranges resource".to_owned());
            };
            if resource.scalar.is_some() || resource.set.is_some() {
                return Err("Invalid ranges resource".to_owned());
            }
            if ranges.range.iter().any(|r| r.begin > r.end) {
                return Err("Invalid ranges resource: begin > end".to_owned());
            }
            let mut sorted: Vec<_> = ranges.range.iter().map(|r| (r.begin, r.end)).collect();
            sorted.sort_unstable();
            if sorted.windows(2).any(|w| w[1].0 <= w[0].1) {
                return Err("Invalid ranges resource: overlapping ranges".to_owned());
            }
        }
        v1::value::Type::Set => {
            let Some(set) = &resource.set else { return Err("Invalid set resource".to_owned()) };
            if resource.scalar.is_some() || resource.ranges.is_some() {
                return Err("Invalid set resource".to_owned());
            }
            if set.item.iter().collect::<BTreeSet<_>>().len() < set.item.len() {
                return Err("Invalid set resource: duplicated elements".to_owned());
            }
        }
        v1::value::Type::Text => return Err("Unsupported resource type".to_owned()),
    }
    Ok(())
}

fn disk(resource: &v1::Resource) -> Result<(), String> {
    use v1::resource::disk_info::source::Type;
    let Some(disk) = &resource.disk else { return Ok(()) };
    if resource.name != "disk" {
        return Err(format!("DiskInfo should not be set for {} resource", resource.name));
    }
    if let Some(source) = &disk.source {
        let kind = source.r#type();
        if source.mount.is_some() && kind != Type::Mount {
            return Err(format!("Mount should not be set for {} disk source", kind.as_str_name()));
        }
        if source.path.is_some() && kind != Type::Path {
            return Err(format!("Path should not be set for {} disk source", kind.as_str_name()));
        }
    }
    Ok(())
}

fn reservations(resource: &v1::Resource) -> Result<(), String> {
    // Each is kept, sent and compared wherever its resources are.
    let all = resource.reservations.iter().chain(&resource.reservation);
    let bytes: usize = all.map(words_of).sum();
    if bytes > LABELS_MAX {
        return Err(format!(
            "Invalid reservation: labels and principals have {bytes} bytes, expected at most {LABELS_MAX}"
        ));
    }
    if let Some(role) = &resource.role {
        validate_role(role).map_err(|e| e.to_string())?;
    }
    if !resource.reservations.is_empty() {
        if resource.role.is_some() || resource.reservation.is_some() {
            let single =
                resource.reservations.len() == 1 && resource.role == resource.reservations[0].role;
            if !single {
                return Err("Invalid resource format: Cannot set both 'Resource.reservations' and 'Resource.role'".to_owned());
            }
        }
        return stack(&resource.reservations);
    }
    if let Some(reservation) = &resource.reservation {
        if reservation.r#type.is_some() {
            return Err(
                "'Resource.ReservationInfo.type' must not be set for the 'Resource.reservation' field".to_owned()
            );
        }
        if reservation.role.is_some() {
            return Err(
                "'Resource.ReservationInfo.role' must not be set for the 'Resource.reservation' field".to_owned()
            );
        }
        if resource.role.as_deref().unwrap_or("*") == "*" {
            return Err("Invalid reservation: role \"*\" cannot be dynamically reserved".to_owned());
        }
    }
    Ok(())
}

/// Bytes of a reservation's labels and principal.
fn words_of(reservation: &v1::resource::ReservationInfo) -> usize {
    let labels = reservation.labels.iter().flat_map(|labels| &labels.labels);
    let labels = labels.map(|l| l.key.len() + l.value.as_ref().map_or(0, String::len) + 2);
    labels.sum::<usize>() + reservation.principal.as_ref().map_or(0, String::len)
}

fn stack(reservations: &[v1::resource::ReservationInfo]) -> Result<(), String> {
    let mut above: Option<&str> = None;
    for reservation in reservations {
        if reservation.r#type.is_none() || reservation.r#type() == ReservationType::Unknown {
            return Err("Invalid reservation: 'Resource.ReservationInfo.type' field must be set."
                .to_owned());
        }
        let Some(role) = reservation.role.as_deref() else {
            return Err("Invalid reservation: 'Resource.ReservationInfo.role' field must be set."
                .to_owned());
        };
        validate_role(role).map_err(|e| format!("Invalid reservation: {e}"))?;
        if role == "*" {
            return Err("Invalid reservation: role \"*\" cannot be reserved".to_owned());
        }
        if let Some(ancestor) = above {
            if reservation.r#type() == ReservationType::Static {
                return Err("Invalid refined reservation: A refined reservation cannot be STATIC"
                    .to_owned());
            }
            if role == ancestor || !is_descendant_or_self(role, ancestor) {
                return Err(format!(
                    "Invalid refined reservation: role '{role}' is not a refinement of '{ancestor}'"
                ));
            }
        }
        above = Some(role);
    }
    Ok(())
}

/// The amount of a valid resource.
pub(crate) fn value_of(resource: &v1::Resource) -> Value {
    if let Some(ranges) = &resource.ranges {
        Value::Ranges(crate::value::coalesce(
            ranges.range.iter().map(|r| (r.begin, r.end)).collect(),
        ))
    } else if let Some(set) = &resource.set {
        Value::Set(set.item.iter().cloned().collect())
    } else {
        Value::Scalar(resource.scalar.map_or(0, |s| to_milli(s.value)))
    }
}
