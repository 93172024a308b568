//! Reservations and volumes that simulated frameworks make.

use wire::v1;
use wire::v1::offer::Operation;
use wire::v1::offer::operation::{self, Type};

/// Undoes what is reserved in an offer; if nothing is, reserves a part and makes a volume of its disk.
pub(crate) fn on(offer: &v1::Offer, volume: &str) -> Vec<Operation> {
    let reserved = offer.resources.iter().filter(|r| r.reservation.is_some()).cloned();
    let (volumes, plain): (Vec<_>, Vec<_>) =
        reserved.partition(|r| r.disk.as_ref().is_some_and(|d| d.persistence.is_some()));
    if !volumes.is_empty() {
        return vec![Operation {
            destroy: Some(operation::Destroy { volumes }),
            ..of(Type::Destroy)
        }];
    }
    if !plain.is_empty() {
        return vec![Operation {
            unreserve: Some(operation::Unreserve { resources: plain }),
            ..of(Type::Unreserve)
        }];
    }
    let role = offer.allocation_info.as_ref().and_then(|a| a.role.clone());
    let wanted = [("cpus", 0.5), ("mem", 64.0), ("disk", 10.0)];
    let has = |name: &str, amount: f64| {
        let free = offer.resources.iter().filter(|r| r.name == name && r.role() == "*");
        let free = free.filter(|r| r.revocable.is_none());
        free.filter_map(|r| r.scalar.as_ref()).any(|s| s.value >= amount)
    };
    if !wanted.iter().all(|(name, amount)| has(name, *amount)) {
        return Vec::new();
    }
    let resources: Vec<v1::Resource> = wanted
        .iter()
        .map(|(name, amount)| v1::Resource {
            name: (*name).to_owned(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value: *amount }),
            role: role.clone(),
            reservation: Some(v1::resource::ReservationInfo::default()),
            allocation_info: Some(v1::resource::AllocationInfo { role: role.clone() }),
            ..Default::default()
        })
        .collect();
    let disk = v1::resource::DiskInfo {
        persistence: Some(v1::resource::disk_info::Persistence {
            id: volume.to_owned(),
            ..Default::default()
        }),
        volume: Some(v1::Volume {
            mode: v1::volume::Mode::Rw as i32,
            container_path: "data".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let volumes = vec![v1::Resource { disk: Some(Box::new(disk)), ..resources[2].clone() }];
    vec![
        Operation {
            reserve: Some(operation::Reserve { resources, source: Vec::new() }),
            ..of(Type::Reserve)
        },
        Operation { create: Some(operation::Create { volumes }), ..of(Type::Create) },
    ]
}

fn of(kind: Type) -> Operation {
    Operation { r#type: Some(kind as i32), ..Default::default() }
}
