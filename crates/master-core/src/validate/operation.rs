//! Offer operations: reservations and volumes (spec/master.md 1.6).

use super::resources::{
    check_single_provider, check_single_role, check_unique_persistence, check_volumes, read,
};
use crate::state::{Agent, Framework};
use resources::{Entry, Resources};
use std::collections::BTreeMap;
use wire::v1;
use wire::v1::agent_info::capability::Type as Capability;
use wire::v1::offer::Operation;
use wire::v1::offer::operation::{self, Type};
use wire::v1::resource::disk_info::source::Type as Source;
use wire::v1::resource::reservation_info::Type as ReservationType;

/// On whose behalf an operation is done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Actor<'a> {
    Framework(&'a Framework),
    Operator { principal: Option<&'a str> },
}

impl Actor<'_> {
    fn principal(&self) -> Option<&str> {
        match self {
            Actor::Framework(framework) => framework.info.principal.as_deref(),
            Actor::Operator { principal } => *principal,
        }
    }
}

/// Checks an operation other than launches; `used`: what tasks and executors use on the agent.
pub(crate) fn check(
    operation: &Operation,
    actor: Actor<'_>,
    agent: &Agent,
    used: &BTreeMap<allocator::FrameworkId, Resources>,
) -> Result<(), String> {
    match operation.r#type() {
        Type::Reserve => check_reserve(present(operation.reserve.as_ref())?, actor, agent),
        Type::Unreserve => check_unreserve(present(operation.unreserve.as_ref())?),
        Type::Create => check_create(present(operation.create.as_ref())?, actor, agent),
        Type::Destroy => check_destroy(present(operation.destroy.as_ref())?, agent, used),
        Type::GrowVolume => check_grow(present(operation.grow_volume.as_ref())?, agent),
        Type::ShrinkVolume => check_shrink(present(operation.shrink_volume.as_ref())?, agent),
        Type::CreateDisk => check_disk_source(&present(operation.create_disk.as_ref())?.source),
        Type::DestroyDisk => check_disk_source(&present(operation.destroy_disk.as_ref())?.source),
        Type::Unknown | Type::Launch | Type::LaunchGroup => Ok(()),
    }
}

fn present<T>(message: Option<&T>) -> Result<&T, String> {
    message.ok_or_else(|| "the operation's own message is not set".to_owned())
}

fn has(agent: &Agent, capability: Capability) -> bool {
    agent.capabilities.iter().any(|c| c.r#type() == capability)
}

/// Agents that know only plain roles and single reservations get nothing else.
fn check_capabilities(agent: &Agent, entry: &Entry, done: [&str; 2]) -> Result<(), String> {
    let [what, verb] = done;
    let role = entry.reserved_to().unwrap_or_default();
    if role.contains('/') && !has(agent, Capability::HierarchicalRole) {
        return Err(format!(
            "{what} {entry} with reservation for hierarchical role '{role}' cannot be {verb} on an agent without HIERARCHICAL_ROLE capability"
        ));
    }
    if entry.identity.reservations.len() > 1 && !has(agent, Capability::ReservationRefinement) {
        return Err(format!(
            "{what} {entry} with reservation refinement cannot be {verb} on an agent without RESERVATION_REFINEMENT capability"
        ));
    }
    Ok(())
}

fn check_reserve(
    reserve: &operation::Reserve,
    actor: Actor<'_>,
    agent: &Agent,
) -> Result<(), String> {
    let resources = read(&reserve.resources).map_err(|e| format!("Invalid resources: {e}"))?;
    let source = read(&reserve.source).map_err(|e| format!("Invalid source: {e}"))?;
    if !reserve.source.is_empty() {
        check_uniform(&source).map_err(|e| format!("Invalid source: {e}"))?;
        check_uniform(&resources).map_err(|e| format!("Invalid resources: {e}"))?;
        let (before, after) = (source.to_unreserved(), resources.to_unreserved());
        if before != after {
            return Err(format!(
                "Source and target resources should refer to identical resource quantities: {before} vs. {after}"
            ));
        }
    }
    if !reserve.source.is_empty() {
        check_exchange(&source, &resources)?;
    }
    check_single_provider(&resources).map_err(|e| format!("Invalid resources: {e}"))?;
    for entry in resources.iter() {
        if !entry.is_dynamically_reserved() {
            return Err(format!("Resource {entry} is not dynamically reserved"));
        }
        check_capabilities(agent, entry, ["Resource", "reserved"])?;
        if let Some(principal) = actor.principal() {
            check_principal(entry, principal)?;
        }
        match actor {
            Actor::Framework(framework) => check_reserver(framework, entry)?,
            Actor::Operator { .. } if entry.identity.allocated_to.is_some() => {
                return Err("A reserve operation was attempted with an allocated resource, but the operator API only allows reservations to be made to unallocated resources".to_owned());
            }
            Actor::Operator { .. } => {}
        }
    }
    match actor {
        Actor::Framework(_) => {
            check_single_role(&resources).map_err(|e| format!("Invalid reservation resources: {e}"))
        }
        Actor::Operator { .. } => Ok(()),
    }
}

/// Only dynamic reservations are taken away and made; what stays below them may be static.
fn check_exchange(source: &Resources, target: &Resources) -> Result<(), String> {
    let (Some(before), Some(after)) = (source.iter().next(), target.iter().next()) else {
        return Ok(());
    };
    let (old, new) = (&before.identity.reservations, &after.identity.reservations);
    let kept = old.iter().zip(new.iter()).take_while(|(a, b)| a == b).count();
    for (field, entry, stack) in [("source", before, old), ("resources", after, new)] {
        if stack[kept..].iter().any(|r| r.r#type() != ReservationType::Dynamic) {
            return Err(format!("Invalid {field}: Resource {entry} is not dynamically reserved"));
        }
    }
    Ok(())
}

fn check_uniform(resources: &Resources) -> Result<(), String> {
    let mut stacks = resources.iter().map(|e| &e.identity.reservations);
    let Some(first) = stacks.next() else { return Err("Resource cannot be empty".to_owned()) };
    if stacks.any(|stack| stack != first) {
        return Err(format!("Mixed reservations are not supported: {resources}"));
    }
    Ok(())
}

fn check_principal(entry: &Entry, principal: &str) -> Result<(), String> {
    let newest = entry.identity.reservations.last().and_then(|r| r.principal.as_deref());
    match newest {
        None => Err(format!(
            "A reserve operation was attempted by principal '{principal}', but there is a reserved resource in the request with no principal set"
        )),
        Some(other) if other != principal => Err(format!(
            "A reserve operation was attempted by authenticated principal '{principal}', which does not match a reserved resource in the request with principal '{other}'"
        )),
        Some(_) => Ok(()),
    }
}

/// A framework reserves for a role of its own what is offered to it for that role.
fn check_reserver(framework: &Framework, entry: &Entry) -> Result<(), String> {
    let Some(allocated) = entry.identity.allocated_to.as_deref() else {
        return Err(format!(
            "A reserve operation was attempted on unallocated resource {entry}, but frameworks can only perform reservations on allocated resources"
        ));
    };
    let reserved = entry.reserved_to().unwrap_or_default();
    if allocated != reserved {
        return Err(format!(
            "A reserve operation was attempted for a resource with role '{reserved}', but the resource was allocated to role '{allocated}'"
        ));
    }
    let roles = framework.roles();
    if !roles.contains(allocated) {
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        return Err(format!(
            "A reserve operation was attempted for a resource allocated to role '{allocated}', but the framework only has roles '{{ {} }}'",
            roles.join(", ")
        ));
    }
    Ok(())
}

fn check_unreserve(unreserve: &operation::Unreserve) -> Result<(), String> {
    let resources = read(&unreserve.resources).map_err(|e| format!("Invalid resources: {e}"))?;
    check_single_provider(&resources).map_err(|e| format!("Invalid resources: {e}"))?;
    for entry in resources.iter() {
        if !entry.is_dynamically_reserved() {
            return Err(format!("Resource {entry} is not dynamically reserved"));
        }
        if entry.is_volume() {
            return Err(format!(
                "A dynamically reserved persistent volume {entry} cannot be unreserved directly. Please destroy the persistent volume first then unreserve the resource"
            ));
        }
    }
    Ok(())
}

fn check_create(create: &operation::Create, actor: Actor<'_>, agent: &Agent) -> Result<(), String> {
    let volumes = read(&create.volumes).map_err(|e| format!("Invalid resources: {e}"))?;
    check_single_provider(&volumes).map_err(|e| format!("Invalid resources: {e}"))?;
    check_volumes(&volumes).map_err(|e| format!("Not a persistent volume: {e}"))?;
    let there = agent.total.volumes();
    check_unique_persistence(there.iter().chain(volumes.iter()))?;
    for entry in volumes.iter() {
        if let Actor::Framework(framework) = actor
            && entry.identity.shared
            && !framework.has(v1::framework_info::capability::Type::SharedResources)
        {
            return Err(format!(
                "Create volume operation for '{entry}' has been attempted by framework '{}' with no SHARED_RESOURCES capability",
                framework.id
            ));
        }
        check_capabilities(agent, entry, ["Volume", "created"])?;
        if let Some(principal) = actor.principal() {
            check_volume_principal(entry, principal)?;
        }
    }
    match actor {
        Actor::Framework(_) => {
            check_single_role(&volumes).map_err(|e| format!("Invalid volume resources: {e}"))
        }
        Actor::Operator { .. } => Ok(()),
    }
}

fn check_volume_principal(entry: &Entry, principal: &str) -> Result<(), String> {
    let persistence = entry.identity.disk.as_ref().and_then(|d| d.persistence.as_ref());
    match persistence.and_then(|p| p.principal.as_deref()) {
        None => Err(format!(
            "Create volume operation attempted by principal '{principal}', but there is a volume in the operation with no principal set in 'disk.persistence'"
        )),
        Some(other) if other != principal => Err(format!(
            "Create volume operation attempted by authenticated principal '{principal}', which does not match a volume in the operation with principal '{other}' set in 'disk.persistence'"
        )),
        Some(_) => Ok(()),
    }
}

fn check_destroy(
    destroy: &operation::Destroy,
    agent: &Agent,
    used: &BTreeMap<allocator::FrameworkId, Resources>,
) -> Result<(), String> {
    let volumes =
        read(&destroy.volumes).map_err(|e| format!("Invalid resources: {e}"))?.unallocated();
    check_single_provider(&volumes).map_err(|e| format!("Invalid resources: {e}"))?;
    check_volumes(&volumes).map_err(|e| format!("Not a persistent volume: {e}"))?;
    for entry in volumes.iter() {
        let volume = Resources::from_iter([entry.clone()]);
        if entry.identity.provider.is_none() && !agent.total.contains(&volume) {
            return Err("Persistent volumes not found".to_owned());
        }
        if used.values().any(|used| used.unallocated().contains(&volume)) {
            return Err("Persistent volumes in use".to_owned());
        }
    }
    Ok(())
}

fn check_grow(grow: &operation::GrowVolume, agent: &Agent) -> Result<(), String> {
    let volume = read(std::slice::from_ref(&grow.volume))
        .map_err(|e| format!("Invalid resource in the 'GrowVolume.volume' field: {e}"))?;
    let addition = read(std::slice::from_ref(&grow.addition))
        .map_err(|e| format!("Invalid resource in the 'GrowVolume.addition' field: {e}"))?;
    if addition.is_empty() {
        return Err("The size of 'GrowVolume.addition' field must be greater than zero".to_owned());
    }
    if volume.iter().any(|e| e.identity.provider.is_some()) {
        return Err("Growing a volume from a resource provider is not supported".to_owned());
    }
    check_volumes(&volume)
        .map_err(|e| format!("Invalid persistent volume in the 'GrowVolume.volume' field: {e}"))?;
    if !volume.shared().is_empty() {
        return Err("Growing a shared persistent volume is not supported".to_owned());
    }
    // The volume without its persistence and the addition are one piece of disk.
    let mut together = volume.without_volumes();
    together += &addition;
    if together.iter().count() != 1 {
        return Err(
            "Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' fields"
                .to_owned(),
        );
    }
    if !has(agent, Capability::ResizeVolume) {
        return Err(format!(
            "Volume {volume} cannot be grown on an agent without RESIZE_VOLUME capability"
        ));
    }
    Ok(())
}

fn check_shrink(shrink: &operation::ShrinkVolume, agent: &Agent) -> Result<(), String> {
    let volume = read(std::slice::from_ref(&shrink.volume))
        .map_err(|e| format!("Invalid resource in the 'ShrinkVolume.volume' field: {e}"))?;
    let subtract = resources::to_milli(shrink.subtract.value);
    if subtract <= 0 {
        return Err("Value of 'ShrinkVolume.subtract' must be greater than zero".to_owned());
    }
    if volume.scalar(&shrink.volume.name) <= subtract {
        return Err("Value of 'ShrinkVolume.subtract' must be smaller than the size of 'ShrinkVolume.volume'".to_owned());
    }
    if volume.iter().any(|e| e.identity.provider.is_some()) {
        return Err("Shrinking a volume from a resource provider is not supported".to_owned());
    }
    let is_mount = |e: &Entry| {
        let source = e.identity.disk.as_ref().and_then(|d| d.source.as_ref());
        source.is_some_and(|s| s.r#type() == Source::Mount)
    };
    if volume.iter().any(is_mount) {
        return Err("Shrinking a volume on a MOUNT disk is not supported".to_owned());
    }
    check_volumes(&volume).map_err(|e| {
        format!("Invalid persistent volume in the 'ShrinkVolume.volume' field: {e}")
    })?;
    if !volume.shared().is_empty() {
        return Err("Shrinking a shared persistent volume is not supported".to_owned());
    }
    if !has(agent, Capability::ResizeVolume) {
        return Err(format!(
            "Volume {volume} cannot be shrunk on an agent without RESIZE_VOLUME capability"
        ));
    }
    Ok(())
}

/// Disks are made and destroyed by resource providers only.
fn check_disk_source(source: &v1::Resource) -> Result<(), String> {
    read(std::slice::from_ref(source)).map_err(|e| format!("Invalid resource: {e}"))?;
    if source.provider_id.is_none() {
        return Err("'source' is not managed by a resource provider".to_owned());
    }
    Err(format!(
        "the agent has no resource provider '{}'",
        source.provider_id.as_ref().map_or("", |p| p.value.as_str())
    ))
}
