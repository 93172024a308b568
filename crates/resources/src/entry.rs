//! One resource: what it is (its identity) and how much of it.

use crate::value::Value;
use std::fmt;
use std::sync::Arc;
use wire::v1;
use wire::v1::resource::ReservationInfo;
use wire::v1::resource::disk_info::Source;

/// Everything about a resource but its amount: only equal identities are added to each other (spec/master.md 3.2).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Identity {
    /// `cpus`, `mem`, …
    pub name: String,
    /// Role to which it is allocated: set in offers and tasks.
    pub allocated_to: Option<String>,
    /// Stack of reservations; empty: unreserved.
    pub reservations: Vec<v1::resource::ReservationInfo>,
    /// Disk source, persistence and volume.
    pub disk: Option<Box<v1::resource::DiskInfo>>,
    /// May be taken back at any time.
    pub revocable: bool,
    /// May be used by several tasks at a time.
    pub shared: bool,
    /// Its resource provider.
    pub provider: Option<String>,
}

/// A resource. Cheap to clone: the identity is shared.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is.
    pub identity: Arc<Identity>,
    /// How much.
    pub value: Value,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.same_identity(other)
    }
}

impl Entry {
    /// A scalar that may be taken back at any time.
    #[must_use]
    pub fn revocable_scalar(name: &str, milli: crate::Milli) -> Self {
        let identity = Identity { name: name.to_owned(), revocable: true, ..Identity::default() };
        Self { identity: Arc::new(identity), value: Value::Scalar(milli) }
    }

    /// Whether it can be merged with `other` as far as identity goes.
    #[must_use]
    pub fn same_identity(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
            || (self.identity.is_like(&other.identity)
                && std::mem::discriminant(&self.value) == std::mem::discriminant(&other.value))
    }

    /// Whether two of these become one: persistent volumes and whole disks stay apart.
    #[must_use]
    pub fn is_mergeable(&self) -> bool {
        use v1::resource::disk_info::source::Type;
        let Some(disk) = &self.identity.disk else { return true };
        let source = disk.source.as_ref().map(v1::resource::disk_info::Source::r#type);
        let identified = disk.source.as_ref().is_some_and(|s| s.id.is_some());
        disk.persistence.is_none()
            && !matches!(source, Some(Type::Mount | Type::Block))
            && !(matches!(source, Some(Type::Raw)) && identified)
    }

    /// Whether its newest reservation can be undone.
    #[must_use]
    pub fn is_dynamically_reserved(&self) -> bool {
        let newest = self.identity.reservations.last();
        newest.is_some_and(|r| r.r#type() == v1::resource::reservation_info::Type::Dynamic)
    }

    /// Whether it counts for quota when it is allocated: a scalar that is neither reserved nor revocable.
    #[must_use]
    pub fn is_quota_charged(&self) -> bool {
        matches!(self.value, Value::Scalar(_))
            && self.identity.reservations.is_empty()
            && !self.identity.revocable
    }

    /// Whether it is a persistent volume.
    #[must_use]
    pub fn is_volume(&self) -> bool {
        self.identity.disk.as_ref().is_some_and(|d| d.persistence.is_some())
    }

    /// The role it is reserved to; None: unreserved.
    #[must_use]
    pub fn reserved_to(&self) -> Option<&str> {
        self.identity.reservations.last().map(v1::resource::ReservationInfo::role)
    }
}

impl Identity {
    /// Whether it is nothing but a name.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.allocated_to.is_none()
            && self.reservations.is_empty()
            && self.disk.is_none()
            && !self.revocable
            && !self.shared
            && self.provider.is_none()
    }

    /// Equality of identities: the volume's mount, the persistence's principal and the order of labels don't count.
    fn is_like(&self, other: &Self) -> bool {
        fn disk(identity: &Identity) -> Option<(Option<&str>, Option<&Source>)> {
            let disk = identity.disk.as_ref()?;
            Some((disk.persistence.as_ref().map(|p| p.id.as_str()), disk.source.as_ref()))
        }
        // What differs most often comes first.
        self.name == other.name
            && self.revocable == other.revocable
            && self.shared == other.shared
            && disk(self) == disk(other)
            && self.allocated_to == other.allocated_to
            && self.provider == other.provider
            && are_alike(&self.reservations, &other.reservations)
    }
}

/// Whether stacks of reservations are the same but for the order of their labels.
fn are_alike(one: &[ReservationInfo], other: &[ReservationInfo]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(a, b)| {
            a.r#type == b.r#type
                && a.role == b.role
                && a.principal == b.principal
                && match (&a.labels, &b.labels) {
                    (Some(a), Some(b)) => are_same_labels(&a.labels, &b.labels),
                    (a, b) => a == b,
                }
        })
}

fn are_same_labels(mut one: &[v1::Label], mut other: &[v1::Label]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    // Most are in the same order.
    while let (Some((a, rest)), Some((b, others))) = (one.split_first(), other.split_first()) {
        if a != b {
            break;
        }
        (one, other) = (rest, others);
    }
    fn sorted(labels: &[v1::Label]) -> Vec<(&str, Option<&str>)> {
        let mut pairs: Vec<_> =
            labels.iter().map(|l| (l.key.as_str(), l.value.as_deref())).collect();
        pairs.sort_unstable();
        pairs
    }
    one.is_empty() || one.len() > 1 && sorted(one) == sorted(other)
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = &*self.identity;
        f.write_str(&identity.name)?;
        if let Some(role) = &identity.allocated_to {
            write!(f, "(allocated: {role})")?;
        }
        if !identity.reservations.is_empty() {
            let text = |r: &v1::resource::ReservationInfo| {
                let mut parts = vec![r.r#type().as_str_name().to_owned(), r.role().to_owned()];
                parts.extend(r.principal.clone());
                if let Some(labels) = &r.labels {
                    let pairs: Vec<_> = labels
                        .labels
                        .iter()
                        .map(|l| match &l.value {
                            Some(value) => format!("{}: {value}", l.key),
                            None => l.key.clone(),
                        })
                        .collect();
                    parts.push(format!("{{{}}}", pairs.join(", ")));
                }
                format!("({})", parts.join(","))
            };
            let all: Vec<String> = identity.reservations.iter().map(text).collect();
            write!(f, "(reservations: [{}])", all.join(","))?;
        }
        if let Some(disk) = &identity.disk {
            let mut parts = Vec::new();
            if let Some(source) = &disk.source {
                let root = source.path.as_ref().and_then(|p| p.root.clone());
                let root = root.or_else(|| source.mount.as_ref().and_then(|m| m.root.clone()));
                parts.push(format!(
                    "{}:{}",
                    source.r#type().as_str_name(),
                    root.unwrap_or_default()
                ));
            }
            if let Some(persistence) = &disk.persistence {
                let path = disk.volume.as_ref().map_or("", |v| v.container_path.as_str());
                parts.push(format!("{}:{path}", persistence.id));
            }
            write!(f, "[{}]", parts.join(","))?;
        }
        if identity.revocable {
            f.write_str("{REV}")?;
        }
        if identity.shared {
            f.write_str("<SHARED>")?;
        }
        write!(f, ":{}", self.value)
    }
}
