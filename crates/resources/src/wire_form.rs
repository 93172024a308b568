//! Resources on the wire, in the formats before and after reservation refinement (spec/master.md 3.3), and in the
//! short form of the v0 endpoints.

use crate::ResourceError;
use crate::collection::Resources;
use crate::entry::{Entry, Identity};
use crate::text::static_reservation;
use crate::validate::value_of;
use crate::value::{Value, from_milli};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::v1;
use wire::v1::resource::reservation_info::Type as ReservationType;

/// A value in the short form.
#[derive(Debug, Clone, PartialEq)]
pub enum SummaryValue {
    /// A scalar.
    Number(f64),
    /// Ranges or a set: `[1-5, 8-9]`.
    Text(String),
}

impl Resources {
    /// Reads a list in any of the three formats.
    ///
    /// # Errors
    /// As [`Resources::validate`].
    pub fn from_wire(resources: &[v1::Resource]) -> Result<Self, ResourceError> {
        Self::validate(resources)?;
        Ok(resources.iter().map(entry).collect())
    }

    /// The format after refinement: `reservations` is the whole truth.
    #[must_use]
    pub fn to_wire(&self) -> Vec<v1::Resource> {
        self.iter().map(resource).collect()
    }

    /// The format before refinement: `role` and `reservation`. Refined reservations can't be expressed and are left
    /// out.
    #[must_use]
    pub fn to_wire_pre(&self) -> Vec<v1::Resource> {
        let simple = self.iter().filter(|e| e.identity.reservations.len() < 2);
        simple
            .map(|e| {
                let mut resource = resource(e);
                old_fields(&mut resource);
                resource.reservations.clear();
                resource
            })
            .collect()
    }

    /// The format of operator endpoints: both.
    #[must_use]
    pub fn to_wire_endpoint(&self) -> Vec<v1::Resource> {
        self.iter()
            .map(|e| {
                let mut resource = resource(e);
                if resource.reservations.len() < 2 {
                    old_fields(&mut resource);
                }
                resource
            })
            .collect()
    }

    /// Names and sums as the v0 endpoints print them: cpus, gpus, mem and disk always, revocable ones apart.
    #[must_use]
    pub fn summary(&self) -> Vec<(String, SummaryValue)> {
        let always = ["cpus", "gpus", "mem", "disk"];
        let mut sums: BTreeMap<String, Value> = BTreeMap::new();
        for entry in self.iter() {
            let identity = &entry.identity;
            let suffix = if identity.revocable { "_revocable" } else { "" };
            let name = format!("{}{suffix}", identity.name);
            sums.entry(name)
                .and_modify(|sum| sum.add(&entry.value))
                .or_insert_with(|| entry.value.clone());
        }
        let mut out: Vec<(String, SummaryValue)> = Vec::new();
        for name in always {
            let value = sums.remove(name).unwrap_or(Value::Scalar(0));
            out.push((name.to_owned(), summary_value(&value)));
        }
        out.extend(sums.iter().map(|(name, value)| (name.clone(), summary_value(value))));
        out
    }
}

fn summary_value(value: &Value) -> SummaryValue {
    match value {
        Value::Scalar(milli) => SummaryValue::Number(from_milli(*milli)),
        other => SummaryValue::Text(other.to_string()),
    }
}

pub(crate) fn entry(resource: &v1::Resource) -> Entry {
    let reservations = if !resource.reservations.is_empty() {
        resource.reservations.clone()
    } else {
        match (resource.role.as_deref().filter(|r| *r != "*"), &resource.reservation) {
            (None, _) => Vec::new(),
            (Some(role), None) => vec![static_reservation(role)],
            (Some(role), Some(reservation)) => vec![v1::resource::ReservationInfo {
                r#type: Some(ReservationType::Dynamic as i32),
                role: Some(role.to_owned()),
                ..reservation.clone()
            }],
        }
    };
    let identity = Identity {
        name: resource.name.clone(),
        allocated_to: resource.allocation_info.as_ref().and_then(|a| a.role.clone()),
        reservations,
        disk: resource.disk.clone(),
        revocable: resource.revocable.is_some(),
        shared: resource.shared.is_some(),
        provider: resource.provider_id.as_ref().map(|p| p.value.clone()),
    };
    Entry { identity: Arc::new(identity), value: value_of(resource) }
}

fn resource(entry: &Entry) -> v1::Resource {
    let identity = &*entry.identity;
    let mut resource = v1::Resource {
        name: identity.name.clone(),
        allocation_info: identity
            .allocated_to
            .as_ref()
            .map(|role| v1::resource::AllocationInfo { role: Some(role.clone()) }),
        reservations: identity.reservations.clone(),
        disk: identity.disk.clone(),
        revocable: identity.revocable.then(Default::default),
        shared: identity.shared.then(Default::default),
        provider_id: identity.provider.as_deref().map(Into::into),
        ..Default::default()
    };
    match &entry.value {
        Value::Scalar(milli) => {
            resource.r#type = v1::value::Type::Scalar as i32;
            resource.scalar = Some(v1::value::Scalar { value: from_milli(*milli) });
        }
        Value::Ranges(ranges) => {
            resource.r#type = v1::value::Type::Ranges as i32;
            let range = ranges
                .iter()
                .map(|(begin, end)| v1::value::Range { begin: *begin, end: *end })
                .collect();
            resource.ranges = Some(v1::value::Ranges { range });
        }
        Value::Set(items) => {
            resource.r#type = v1::value::Type::Set as i32;
            resource.set = Some(v1::value::Set { item: items.iter().cloned().collect() });
        }
    }
    resource
}

/// Fills `role` and `reservation` from a stack of at most one.
fn old_fields(resource: &mut v1::Resource) {
    let Some(reservation) = resource.reservations.first().cloned() else {
        resource.role = Some("*".to_owned());
        return;
    };
    resource.role.clone_from(&reservation.role);
    if reservation.r#type() == ReservationType::Dynamic {
        resource.reservation =
            Some(v1::resource::ReservationInfo { r#type: None, role: None, ..reservation });
    }
}
