//! Rules for lists of resources beyond those of one resource (spec/master.md 3.4 and 1.6).

use super::ids;
use resources::{Entry, Resources};
use std::collections::BTreeSet;
use wire::v1;

/// Reads a list and checks disks, reservations and revocability.
pub(crate) fn read(list: &[v1::Resource]) -> Result<Resources, String> {
    let resources = Resources::from_wire(list).map_err(|e| e.to_string())?;
    for entry in resources.iter() {
        check_disk(entry)?;
        if entry.is_dynamically_reserved() && entry.identity.revocable {
            return Err(format!(
                "Dynamically reserved resource {entry} cannot be created from revocable resources"
            ));
        }
    }
    Ok(resources)
}

fn check_disk(entry: &Entry) -> Result<(), String> {
    let Some(disk) = &entry.identity.disk else { return Ok(()) };
    let Some(persistence) = &disk.persistence else {
        return Err(match (&disk.volume, &disk.source) {
            (Some(_), _) => "Non-persistent volume not supported".to_owned(),
            (None, None) => "DiskInfo is set but empty".to_owned(),
            (None, Some(_)) => return Ok(()),
        });
    };
    if entry.identity.revocable {
        return Err("Persistent volumes cannot be created from revocable resources".to_owned());
    }
    if entry.reserved_to().is_none() {
        return Err("Persistent volumes cannot be created from unreserved resources".to_owned());
    }
    let Some(volume) = &disk.volume else {
        return Err("Expecting 'volume' to be set for persistent volume".to_owned());
    };
    if volume.host_path.is_some() {
        return Err("Expecting 'host_path' to be unset for persistent volume".to_owned());
    }
    ids::check(&persistence.id)
        .map_err(|e| format!("Invalid persistence ID for persistent volume: {e}"))
}

/// Every entry is a persistent volume that can be written.
pub(crate) fn check_volumes(resources: &Resources) -> Result<(), String> {
    for entry in resources.iter() {
        let Some(disk) = &entry.identity.disk else {
            return Err(format!("Resource {entry} does not have DiskInfo"));
        };
        if disk.persistence.is_none() {
            return Err("'persistence' is not set in DiskInfo".to_owned());
        }
        let Some(volume) = &disk.volume else {
            return Err("Expecting 'volume' to be set for persistent volume".to_owned());
        };
        if volume.mode() == v1::volume::Mode::Ro {
            return Err("Read-only persistent volume not supported".to_owned());
        }
    }
    Ok(())
}

/// No two volumes of a role have one id.
pub(crate) fn check_unique_persistence<'a>(
    volumes: impl Iterator<Item = &'a Entry>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for entry in volumes {
        let persistence = entry.identity.disk.as_ref().and_then(|d| d.persistence.as_ref());
        let Some(persistence) = persistence else { continue };
        if !seen.insert((entry.reserved_to(), persistence.id.as_str())) {
            return Err(format!("Persistence ID '{}' is not unique", persistence.id));
        }
    }
    Ok(())
}

/// At least one, and all of one resource provider or all of the agent itself.
pub(crate) fn check_single_provider(resources: &Resources) -> Result<(), String> {
    let providers: BTreeSet<Option<&str>> =
        resources.iter().map(|e| e.identity.provider.as_deref()).collect();
    match providers.len() {
        0 => return Err("There are no resources; at least one is needed".to_owned()),
        1 => return Ok(()),
        _ => {}
    }
    if providers.contains(&None) {
        return Err("Some resources have a resource provider and some do not".to_owned());
    }
    let ids: Vec<&str> = providers.into_iter().flatten().collect();
    Err(format!("The resources have multiple resource providers: {}", ids.join(", ")))
}

/// All are allocated, and to one role.
pub(crate) fn check_single_role(resources: &Resources) -> Result<(), String> {
    let roles = resources.allocation_roles();
    if roles.contains(&None) {
        return Err("The resources are not allocated to a role".to_owned());
    }
    let mut roles = roles.into_iter().flatten();
    match (roles.next(), roles.next()) {
        (Some(one), Some(other)) => Err(format!(
            "The resources have multiple allocation roles ('{other}' and '{one}') but only one allocation role is allowed"
        )),
        _ => Ok(()),
    }
}
