//! Where this host has its cgroups: version 1, version 2, or both side by side (hybrid).
//!
//! Each controller is in one hierarchy at a time. In version 1 each has a mount of its own, or shares one with others
//! (`cpu,cpuacct`); in version 2 all are in one tree. Hybrid hosts have mounts of version 1 and a tree of version 2
//! beside them, with the controllers that version 1 leaves, often none; processes can be told apart and killed there
//! all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Version of the kernel's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One tree.
    V2,
}

/// The root of the hierarchy that a controller is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Interface of its files.
    pub version: Version,
    /// Where it is mounted.
    pub mount: PathBuf,
}

/// All hierarchies of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Mounts of version 1 by controller; named hierarchies (`systemd`) are among them.
    v1: BTreeMap<String, PathBuf>,
    /// The tree of version 2.
    unified: Option<PathBuf>,
    /// Controllers that it has.
    controllers: BTreeSet<String>,
}

/// What version 2 has in every cgroup, without a controller that it names: devices are controlled by programs.
pub(super) const IMPLICIT: [&str; 2] = ["devices", "perf_event"];

impl Hierarchies {
    /// Finds them below a directory, by default `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// When there is none: names the directory and the flag.
    pub fn detect(root: &Path) -> Result<Self, String> {
        let mut found = Self::default();
        if !found.take_unified(root) {
            let entries = std::fs::read_dir(root).map_err(|e| {
                format!("cannot read {}: {e}; see --cgroups_hierarchy", root.display())
            })?;
            for entry in entries.flatten() {
                // A link such as `cpu` leads to the mount of `cpu,cpuacct`.
                let Ok(mount) = entry.path().canonicalize() else { continue };
                if !found.take_unified(&mount) && mount.join("tasks").exists() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let names = name.split(',').map(|n| (n.to_owned(), mount.clone()));
                    found.v1.extend(names);
                }
            }
        }
        if found.v1.is_empty() && found.unified.is_none() {
            return Err(format!(
                "no cgroups are mounted at or below {}; mount them, or see --cgroups_hierarchy",
                root.display()
            ));
        }
        Ok(found)
    }

    fn take_unified(&mut self, mount: &Path) -> bool {
        let Ok(list) = std::fs::read_to_string(mount.join("cgroup.controllers")) else {
            return false;
        };
        self.controllers = list.split_whitespace().map(str::to_owned).collect();
        self.unified = Some(mount.to_owned());
        true
    }

    /// Where a controller of the kernel is, if anywhere.
    #[must_use]
    pub fn place(&self, controller: &str) -> Option<Place> {
        if let Some(mount) = self.v1.get(controller) {
            return Some(Place { version: Version::V1, mount: mount.clone() });
        }
        let is_there =
            |_: &Place| IMPLICIT.contains(&controller) || self.controllers.contains(controller);
        self.unified().filter(is_there)
    }

    /// The tree of version 2, with or without controllers.
    #[must_use]
    pub fn unified(&self) -> Option<Place> {
        let mount = self.unified.clone()?;
        Some(Place { version: Version::V2, mount })
    }

    /// What to call it: `v1`, `v2` or `hybrid`.
    #[must_use]
    pub fn layout(&self) -> &'static str {
        match (self.v1.is_empty(), self.unified.is_some()) {
            (true, _) => "v2",
            (false, false) => "v1",
            (false, true) => "hybrid",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A directory with these files and links that is removed in the end.
    struct Fixture(PathBuf);

    impl Fixture {
        fn new(name: &str, files: &[(&str, &str)], links: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir()
                .join(format!("proffer-hierarchy-{}-{name}", std::process::id()));
            for (path, content) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
                std::fs::write(path, content).expect("written");
            }
            std::fs::create_dir_all(&root).expect("made");
            for (link, target) in links {
                symlink(target, root.join(link)).expect("linked");
            }
            Self(root.canonicalize().expect("it is there"))
        }

        fn detect(&self) -> Hierarchies {
            Hierarchies::detect(&self.0).expect("found")
        }

        fn at(&self, version: Version, directory: &str) -> Option<Place> {
            Some(Place { version, mount: self.0.join(directory) })
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn version_1_has_a_mount_for_each_controller_or_for_several() {
        let files = [("cpu,cpuacct/tasks", ""), ("memory/tasks", ""), ("systemd/tasks", "")];
        let links = [("cpu", "cpu,cpuacct"), ("cpuacct", "cpu,cpuacct")];
        let host = Fixture::new("v1", &files, &links);
        let found = host.detect();
        assert_eq!(found.layout(), "v1");
        assert_eq!(found.place("cpuacct"), host.at(Version::V1, "cpu,cpuacct"));
        assert_eq!(found.place("memory"), host.at(Version::V1, "memory"));
        assert_eq!((found.place("pids"), found.unified()), (None, None));
    }

    #[test]
    fn version_2_has_one_tree() {
        let host = Fixture::new("v2", &[("cgroup.controllers", "cpu memory pids\n")], &[]);
        let found = host.detect();
        assert_eq!(found.layout(), "v2");
        assert_eq!(found.place("memory"), host.at(Version::V2, ""));
        assert_eq!(found.place("io"), None);
        assert_eq!(found.unified(), host.at(Version::V2, ""));
    }

    #[test]
    fn on_a_hybrid_host_a_controller_is_where_it_is() {
        let files = [("cpu/tasks", ""), ("unified/cgroup.controllers", "memory\n")];
        let host = Fixture::new("hybrid", &files, &[]);
        let found = host.detect();
        assert_eq!(found.layout(), "hybrid");
        assert_eq!(found.place("cpu"), host.at(Version::V1, "cpu"));
        assert_eq!(found.place("memory"), host.at(Version::V2, "unified"));
        assert_eq!(found.unified(), host.at(Version::V2, "unified"));
    }

    #[test]
    fn a_host_without_cgroups_is_told_so() {
        let host = Fixture::new("none", &[("other/file", "")], &[]);
        let error = Hierarchies::detect(&host.0).expect_err("nothing there");
        assert!(error.starts_with("no cgroups are mounted at or below "), "{error}");
        assert!(error.ends_with("--cgroups_hierarchy"), "{error}");
    }
}
