//! Cgroups of containers inside other containers: `<container>/mesos/<own name>`. One has limits of its own if it asks for
//! that (`share_cgroups`), within those of the container around it.

use super::hierarchy::Version;
use super::{Cgroups, Group, Member, owner};
use crate::ContainerSpec;
use std::collections::BTreeMap;
use std::path::Path;

/// Directory of the cgroups of containers inside another, in that one's.
pub(super) const INSIDE: &str = "mesos";
/// In version 2 no process may be where cgroups below have limits: those of the container around go here.
const LEAF: &str = "leaf";
/// How often it is looked for processes that were forked while others were moved.
const MOVES: u32 = 100;

/// Whether a container has limits of its own.
pub(super) fn wants_limits(spec: &ContainerSpec) -> bool {
    let linux = spec.container.as_ref().and_then(|container| container.linux_info.as_ref());
    spec.parent.is_none() || linux.is_some_and(|linux| linux.share_cgroups == Some(false))
}

/// Whether the container that a tracker was made for has limits of its own.
pub(super) fn is_limited(tracker: &Path) -> bool {
    owner::has_mark(tracker)
}

/// Notes that on its tracker, for agents to come.
pub(super) fn mark_limited(tracker: &Path) -> Result<(), String> {
    owner::mark(tracker)
}

impl Cgroups {
    /// Makes the cgroup of the container around one fit for limits of what is inside.
    pub(super) fn divide(&self, member: &Member) -> Result<(), String> {
        let Some(inside) = member.relative.parent() else { return Ok(()) };
        let Some(around) = inside.parent() else { return Ok(()) };
        let places = self.places.iter().map(|(_, place)| (place.mount.as_path(), place));
        for place in places.collect::<BTreeMap<_, _>>().into_values() {
            let group = Group::at(place, inside);
            if place.version == Version::V1 {
                group.create()?;
                self.initialize(&group)?;
                continue;
            }
            if self.enable(place, around).is_err() {
                clear(&Group::at(place, around))?;
                self.enable(place, around)?;
            }
            group.create()?;
            self.enable(place, inside)?;
        }
        Ok(())
    }
}

/// Moves all processes of a cgroup of version 2 to one below it.
fn clear(group: &Group) -> Result<(), String> {
    let leaf = Group { path: group.path.join(LEAF), is_v2: true };
    leaf.create()?;
    for _ in 0..MOVES {
        let processes = group.read("cgroup.procs")?;
        if processes.trim().is_empty() {
            return Ok(());
        }
        for process in processes.lines() {
            // It may have ended.
            let _ = leaf.write("cgroup.procs", process);
        }
    }
    Err(format!("the cgroup {} does not get empty", group.path.display()))
}
