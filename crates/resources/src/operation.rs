//! Offer operations as conversions: what an operation takes, and what it makes of it (spec/master.md 1.4).

use crate::ResourceError;
use crate::collection::Resources;
use crate::entry::{Entry, Identity};
use crate::value::{Value, to_milli};
use std::sync::Arc;
use wire::v1;
use wire::v1::offer::Operation;
use wire::v1::offer::operation::Type;
use wire::v1::resource::disk_info::Source;

/// What an operation does to resources.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conversion {
    /// What it takes.
    pub consumed: Resources,
    /// What it puts in its place.
    pub converted: Resources,
}

impl Conversion {
    /// The conversion of a RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME or SHRINK_VOLUME; None for other operations.
    ///
    /// # Errors
    /// When the resources are not valid or not such that the operation can be done with them.
    pub fn of(operation: &Operation) -> Result<Option<Self>, ResourceError> {
        let read = |list: &[v1::Resource]| Resources::from_wire(list);
        Ok(Some(match operation.r#type() {
            Type::Reserve => {
                let Some(reserve) = &operation.reserve else { return Ok(None) };
                let converted = read(&reserve.resources)?;
                let consumed = if reserve.source.is_empty() {
                    converted.map_identity(|i| drop(i.reservations.pop()))
                } else {
                    read(&reserve.source)?
                };
                Self { consumed, converted }
            }
            Type::Unreserve => {
                let Some(unreserve) = &operation.unreserve else { return Ok(None) };
                let consumed = read(&unreserve.resources)?;
                let converted = consumed.map_identity(|i| drop(i.reservations.pop()));
                Self { consumed, converted }
            }
            Type::Create => {
                let Some(create) = &operation.create else { return Ok(None) };
                let converted = read(&create.volumes)?;
                Self { consumed: converted.map_identity(strip_volume), converted }
            }
            Type::Destroy => {
                let Some(destroy) = &operation.destroy else { return Ok(None) };
                let consumed = read(&destroy.volumes)?;
                Self { converted: consumed.map_identity(strip_volume), consumed }
            }
            Type::GrowVolume => {
                let Some(grow) = &operation.grow_volume else { return Ok(None) };
                Self::grow(&grow.volume, &grow.addition)?
            }
            Type::ShrinkVolume => {
                let Some(shrink) = &operation.shrink_volume else { return Ok(None) };
                Self::shrink(&shrink.volume, to_milli(shrink.subtract.value))?
            }
            _ => return Ok(None),
        }))
    }

    fn grow(volume: &v1::Resource, addition: &v1::Resource) -> Result<Self, ResourceError> {
        let volume = Resources::from_wire(std::slice::from_ref(volume))?;
        let addition = Resources::from_wire(std::slice::from_ref(addition))?;
        let mut consumed = volume.clone();
        consumed += &addition;
        let converted = volume
            .iter()
            .map(|entry| {
                let mut value = entry.value.clone();
                for more in addition.iter() {
                    value.add(&more.value);
                }
                Entry { identity: entry.identity.clone(), value }
            })
            .collect();
        Ok(Self { consumed, converted })
    }

    fn shrink(volume: &v1::Resource, subtract: i64) -> Result<Self, ResourceError> {
        let consumed = Resources::from_wire(std::slice::from_ref(volume))?;
        let mut converted = Resources::new();
        for entry in consumed.iter() {
            let freed = Value::Scalar(subtract);
            let mut left = entry.value.clone();
            left.subtract(&freed);
            let mut identity = (*entry.identity).clone();
            strip_volume(&mut identity);
            converted.add(Entry { identity: entry.identity.clone(), value: left });
            converted.add(Entry { identity: Arc::new(identity), value: freed });
        }
        Ok(Self { consumed, converted })
    }

    /// Volumes that are made, destroyed or resized.
    #[must_use]
    pub fn touched(&self) -> Resources {
        let mut volumes = self.consumed.volumes();
        volumes += &self.converted.volumes();
        volumes
    }

    /// The same conversion of resources that are allocated to nobody.
    #[must_use]
    pub fn unallocated(&self) -> Self {
        Self { consumed: self.consumed.unallocated(), converted: self.converted.unallocated() }
    }
}

impl Resources {
    /// What becomes of these resources.
    ///
    /// # Errors
    /// `<these> does not contain <consumed>`.
    pub fn convert(&self, conversion: &Conversion) -> Result<Resources, ResourceError> {
        if !self.contains(&conversion.consumed) {
            return Err(ResourceError(format!("{self} does not contain {}", conversion.consumed)));
        }
        let mut result = self.clone();
        result -= &conversion.consumed;
        result += &conversion.converted;
        Ok(result)
    }

    /// Puts reservations and volumes that were made before on top of what an agent has by its flags (spec/agent.md 7.1):
    /// each takes the place of what it was made of.
    ///
    /// # Errors
    /// When there is not what it was made of.
    pub fn with_checkpointed(&self, checkpointed: &Resources) -> Result<Resources, ResourceError> {
        let made_of = checkpointed.map_identity(|identity| {
            let dynamic = v1::resource::reservation_info::Type::Dynamic;
            identity.reservations.retain(|r| r.r#type() != dynamic);
            strip_volume(identity);
        });
        let conversion = Conversion { consumed: made_of, converted: checkpointed.clone() };
        self.convert(&conversion)
            .map_err(|error| ResourceError(format!("Incompatible agent resources: {error}")))
    }

    /// What an agent has to remember of its resources: dynamic reservations and persistent volumes of its own.
    #[must_use]
    pub fn to_checkpoint(&self) -> Resources {
        self.filter(|e| {
            e.identity.provider.is_none() && (e.is_dynamically_reserved() || e.is_volume())
        })
    }

    /// Persistent volumes.
    #[must_use]
    pub fn volumes(&self) -> Resources {
        self.filter(Entry::is_volume)
    }

    /// The same resources with plain disk in the place of volumes.
    #[must_use]
    pub fn without_volumes(&self) -> Resources {
        self.map_identity(strip_volume)
    }

    /// Shared resources.
    #[must_use]
    pub fn shared(&self) -> Resources {
        self.filter(|e| e.identity.shared)
    }

    /// Resources that only one can have at a time.
    #[must_use]
    pub fn nonshared(&self) -> Resources {
        self.filter(|e| !e.identity.shared)
    }

    /// The same, each shared resource once, however often it is there and wherever it is mounted.
    #[must_use]
    pub fn each_once(&self) -> Resources {
        let mut once = Resources::new();
        for entry in self.iter() {
            let is_known = |known: &Entry| known.identity.shared && known == entry;
            if !once.iter().any(is_known) {
                once.add(entry.clone());
            }
        }
        once
    }

    /// The same resources without reservations.
    #[must_use]
    pub fn to_unreserved(&self) -> Resources {
        self.map_identity(|identity| identity.reservations.clear())
    }
}

/// Makes plain disk of a volume.
fn strip_volume(identity: &mut Identity) {
    identity.shared = false;
    let source: Option<Source> = identity.disk.take().and_then(|disk| disk.source);
    let disk = |source| v1::resource::DiskInfo { source: Some(source), ..Default::default() };
    identity.disk = source.map(|source| Box::new(disk(source)));
}
