//! Cgroups of containers that somebody else makes: they are only looked at.

use super::group::Group;
use super::hierarchy::{Hierarchies, Version};
use super::pressure::Pressure;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wire::v1::ResourceStatistics;

/// How often such containers were short of memory.
#[derive(Debug)]
pub(crate) struct Foreign {
    hierarchies: Option<Hierarchies>,
    pressure: Pressure,
    /// Where the memory of each container is.
    memory: Mutex<BTreeMap<String, Group>>,
}

impl Foreign {
    /// Without cgroups at `root` nothing is told.
    pub(crate) fn new(root: &Path) -> Self {
        let hierarchies = Hierarchies::detect(root).ok();
        Self { hierarchies, pressure: Pressure::default(), memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<String, Group>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to count for a container, by a process of it.
    pub(crate) fn watch(&self, container_id: &str, pid: u32) {
        let table = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let group = self.hierarchies.as_ref().and_then(|all| memory_of(&table, all));
        if let Some(group) = group {
            self.pressure.watch(&group);
            self.memory().insert(container_id.to_owned(), group);
        }
    }

    /// Adds what was counted.
    pub(crate) fn tell(&self, container_id: &str, out: &mut ResourceStatistics) {
        let Some(group) = self.memory().get(container_id).cloned() else { return };
        if let Some([low, medium, critical]) = self.pressure.counts(&group) {
            out.mem_low_pressure_counter = Some(low);
            out.mem_medium_pressure_counter = Some(medium);
            out.mem_critical_pressure_counter = Some(critical);
        }
    }

    /// The container has ended.
    pub(crate) fn forget(&self, container_id: &str) {
        if let Some(group) = self.memory().remove(container_id) {
            self.pressure.forget(&group);
        }
    }
}

/// The cgroup of a process in which its memory is counted, by its `/proc/<pid>/cgroup`; None if that is the host's, or
/// can't be seen from here.
fn memory_of(table: &str, hierarchies: &Hierarchies) -> Option<Group> {
    let place = hierarchies.place("memory")?;
    let path = table.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let is_it = match place.version {
            Version::V1 => controllers.split(',').any(|name| name == "memory"),
            Version::V2 => controllers.is_empty(),
        };
        is_it.then_some(path)
    })?;
    let relative = path.trim_start_matches('/');
    let is_below = !relative.is_empty() && !relative.split('/').any(|part| part == "..");
    is_below.then(|| Group::at(&place, Path::new(relative)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_process_is_where_the_kernel_says() {
        let root = std::env::temp_dir().join(format!("proffer-foreign-{}", std::process::id()));
        for name in ["memory", "cpu"] {
            std::fs::create_dir_all(root.join(name)).expect("a directory");
            std::fs::write(root.join(name).join("tasks"), "").expect("a file");
        }
        let found = Hierarchies::detect(&root).expect("hierarchies");
        let path = |table: &str| memory_of(table, &found).map(|group| group.path);
        let mount = root.canonicalize().expect("a directory").join("memory");
        let table = "9:cpu:/docker/a\n8:memory:/docker/a\n0::/b\n";
        assert_eq!(path(table), Some(mount.join("docker/a")));
        assert_eq!(path("8:memory,x:/c:d\n"), Some(mount.join("c:d")));
        for none in ["", "8:memory:/\n", "8:memory:/../other\n", "0::/a\n"] {
            assert_eq!(path(none), None, "{none}");
        }
        std::fs::remove_dir_all(root).expect("removed");
    }
}
