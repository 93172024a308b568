//! Cgroups: what containers may use of cpus, memory, process ids and devices, and which processes are theirs.
//!
//! One isolator stands for all names `cgroups/…` and for the linux launcher. Each container has a directory
//! `<root>/<container id>` in each hierarchy that is used; in one of them, the tracker's, its processes are found and
//! killed whatever they did to hide: a process leaves its parent and its session at will, but not its cgroup. The tracker
//! is in the tree of version 2 where there is one and it can kill (`cgroup.kill`), else in the freezer of version 1.
//!
//! A directory is made before the process that joins it, with the agent's work directory written on the tracker's (an
//! extended attribute), so that an agent that recovers finds what is its own, and leaves alone what is another's.

mod cpu;
mod cpuset;
mod device_program;
mod devices;
mod foreign;
mod group;
mod hierarchy;
mod inside;
mod io;
mod isolator;
mod memory;
mod net;
mod options;
mod owner;
mod perf;
mod pids;
mod pressure;

pub(crate) use foreign::Foreign;
use hierarchy::IMPLICIT;
pub use hierarchy::{Hierarchies, Place, Version};
pub use net::NetworkClasses;
pub use options::Options;
pub use perf::PerfOptions;
pub use pids::PidsLimit;

use super::gpu::{Access, Gpus};
use super::{
    Attributes, Isolator, Preparation, Processes, Running, Source, Step, Target, filesystem,
};
use crate::{ContainerSpec, Limitation};
use group::Group;
use inside::INSIDE;
use resources::Resources;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wire::v1::{self, ResourceStatistics};

/// What a container may use.
struct Wanted<'a> {
    resources: Resources,
    limits: &'a BTreeMap<String, f64>,
    /// Devices beside those that everybody may open.
    devices: Access,
}

impl<'a> Wanted<'a> {
    fn new(resources: &[v1::Resource], limits: &'a BTreeMap<String, f64>) -> Result<Self, String> {
        let resources = Resources::from_wire(resources).map_err(|e| e.to_string())?;
        Ok(Self { resources, limits, devices: Access::default() })
    }
}

/// One concern of the kernel. Its cgroup is there whenever it is asked.
trait Controller: Send + Sync + std::fmt::Debug {
    /// The kernel's controllers that it needs in version 1, and in version 2 unless [`Self::kernel_v2`] says otherwise.
    fn kernel(&self) -> &'static [&'static str];
    fn kernel_v2(&self) -> &'static [&'static str] {
        self.kernel()
    }
    /// Whether the host has what the settings ask for, seen at the cgroup of all containers.
    fn check(&self, _groups: &Groups) -> Result<(), String> {
        Ok(())
    }
    /// Makes a new cgroup such that processes can join it.
    fn initialize(&self, _group: &Group) -> Result<(), String> {
        Ok(())
    }
    /// Adds what the container's process shall do for it.
    fn prepare(
        &self,
        _groups: &Groups,
        _wanted: &Wanted<'_>,
        _out: &mut Preparation,
    ) -> Result<(), String> {
        Ok(())
    }
    /// Sets limits, for the first time or again.
    fn apply(&self, groups: &Groups, wanted: &Wanted<'_>, is_new: bool) -> Result<(), String>;
    /// Lets the processes in a cgroup that is used already open these devices ([`Wanted::devices`]).
    fn open_devices(&self, _groups: &Groups, _wanted: &Wanted<'_>) -> Result<(), String> {
        Ok(())
    }
    fn usage(&self, groups: &Groups, out: &mut ResourceStatistics) -> Result<(), String>;
    /// What tells what the container sends from what others do.
    fn network_class(&self, _groups: &Groups) -> Option<u32> {
        None
    }
    /// Looks after a container that a former process of the agent started.
    fn adopt(&self, _groups: &Groups) {}
    /// Lets go what it holds of a container that has ended.
    fn forget(&self, _groups: &Groups) {}
    /// Why the container was ended, if it was for this; `saw_oom`: its supervisor was told that memory was short.
    fn limitation(&self, _groups: &Groups, _saw_oom: bool) -> Option<Limitation> {
        None
    }
}

/// The cgroups of a container by the kernel's controller.
#[derive(Debug, Default)]
struct Groups(Vec<(&'static str, Group)>);

impl Groups {
    fn get(&self, controller: &str) -> Result<&Group, String> {
        let found = self.0.iter().find(|(name, _)| *name == controller).map(|(_, group)| group);
        found.ok_or_else(|| format!("the container has no cgroup of '{controller}'"))
    }

    /// Each directory once.
    fn distinct(&self) -> BTreeSet<&Group> {
        self.0.iter().map(|(_, group)| group).collect()
    }
}

/// The isolator.
#[derive(Debug)]
pub(super) struct Cgroups {
    controllers: Vec<Box<dyn Controller>>,
    /// Where the controllers of the kernel are.
    places: Vec<(&'static str, Place)>,
    tracker: Place,
    root: PathBuf,
    destroy_timeout: Duration,
    /// Written on what this agent made.
    owner: PathBuf,
    /// `v1`, `v2` or `hybrid`.
    pub(super) layout: &'static str,
    containers: Mutex<BTreeMap<String, Member>>,
    /// GPUs of containers, if that is wanted.
    pub(super) gpus: Option<Arc<Gpus>>,
}

/// Where the cgroups of a container are.
#[derive(Debug, Clone)]
struct Member {
    /// Directory below the mounts.
    relative: PathBuf,
    /// The container inside which it runs.
    parent: Option<String>,
    /// Whether it has limits of its own; else it uses what the one around it may use, and only its tracker is its own.
    is_limited: bool,
}

/// Whether this is the name of one of these isolators.
pub(crate) fn is_name(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The names that there are, and what makes them.
fn controller(name: &str, options: &Options) -> Result<Box<dyn Controller>, String> {
    Ok(match name {
        "cgroups/cpu" => Box::new(cpu::Cpu::new(options)),
        "cgroups/mem" => Box::new(memory::Memory::new(options)),
        "cgroups/pids" => Box::new(pids::Pids::new(options)),
        "cgroups/blkio" => Box::new(io::Io),
        "cgroups/devices" => Box::new(devices::Devices::new(options)?),
        "cgroups/cpuset" => Box::new(cpuset::Cpuset),
        "cgroups/hugetlb" => Box::new(cpuset::Hugetlb),
        "cgroups/net_cls" => Box::new(net::Classes::new(options)),
        "cgroups/net_prio" => Box::new(net::Priorities),
        "cgroups/perf_event" => Box::new(perf::Perf::new(options)?),
        other => return Err(format!("there is no isolator '{other}'")),
    })
}

/// All names, in the order in which they act.
pub(super) const NAMES: [&str; 10] = [
    "cgroups/cpu",
    "cgroups/cpuset",
    "cgroups/mem",
    "cgroups/pids",
    "cgroups/blkio",
    "cgroups/devices",
    "cgroups/hugetlb",
    "cgroups/net_cls",
    "cgroups/net_prio",
    "cgroups/perf_event",
];

/// Which of all names this host has something for.
pub(super) fn supported(options: &Options) -> Vec<&'static str> {
    let Ok(hierarchies) = Hierarchies::detect(&options.hierarchy) else { return Vec::new() };
    let has = |name: &&str| {
        controller(name, options).is_ok_and(|c| place(&hierarchies, c.as_ref()).is_ok())
    };
    NAMES.into_iter().filter(has).collect()
}

/// Where a controller's cgroups are.
fn place(
    hierarchies: &Hierarchies,
    controller: &dyn Controller,
) -> Result<Vec<(&'static str, Place)>, String> {
    let all = |names: &'static [&'static str], version| {
        let at = |name: &&'static str| {
            let place = hierarchies.place(name).filter(|place| place.version == version)?;
            Some((*name, place))
        };
        names.iter().map(at).collect::<Option<Vec<_>>>()
    };
    all(controller.kernel(), Version::V1)
        .or_else(|| all(controller.kernel_v2(), Version::V2))
        .ok_or_else(|| {
            let names = controller.kernel().join(",");
            format!("the kernel's '{names}' is not mounted ({} cgroups)", hierarchies.layout())
        })
}

impl Cgroups {
    /// Makes the cgroup of all containers in each hierarchy that is used.
    pub(super) fn new(names: &[&str], options: &Options, owner: &Path) -> Result<Self, String> {
        let hierarchies = Hierarchies::detect(&options.hierarchy)?;
        let mut controllers = Vec::new();
        let mut places = Vec::new();
        for name in names {
            let made = controller(name, options)?;
            places.extend(
                place(&hierarchies, made.as_ref())
                    .map_err(|e| format!("isolator '{name}': {e}"))?,
            );
            controllers.push(made);
        }
        let root = PathBuf::from(options.root.trim_matches('/'));
        let plain = |c| matches!(c, std::path::Component::Normal(_));
        if root.as_os_str().is_empty() || !root.components().all(plain) {
            return Err(format!("--cgroups_root: expected a name, got '{}'", options.root));
        }
        let tracker = tracker(&hierarchies, &root)?;
        let cgroups = Self {
            controllers,
            places,
            tracker,
            root,
            destroy_timeout: options.destroy_timeout,
            owner: owner.to_owned(),
            layout: hierarchies.layout(),
            containers: Mutex::default(),
            gpus: None,
        };
        cgroups.make_root()?;
        let groups = cgroups.groups(&cgroups.root);
        for controller in &cgroups.controllers {
            controller.check(&groups)?;
        }
        Ok(cgroups)
    }

    fn make_root(&self) -> Result<(), String> {
        let mut mounts = BTreeMap::from([(self.tracker.mount.as_path(), &self.tracker)]);
        mounts.extend(self.places.iter().map(|(_, place)| (place.mount.as_path(), place)));
        for place in mounts.into_values() {
            let mut at = PathBuf::new();
            for component in self.root.components() {
                if place.version == Version::V2 {
                    self.enable(place, &at)?;
                }
                at.push(component);
                let group = Group::at(place, &at);
                group.create()?;
                self.initialize(&group)?;
            }
            if place.version == Version::V2 {
                self.enable(place, &at)?;
            }
        }
        Ok(())
    }

    /// Has the cgroups below one of version 2 be controlled.
    fn enable(&self, place: &Place, relative: &Path) -> Result<(), String> {
        let group = Group::at(place, relative);
        let enabled = group.read("cgroup.subtree_control")?;
        for (name, at) in &self.places {
            let is_there = enabled.split_whitespace().any(|enabled| enabled == *name);
            if at.mount == place.mount && !IMPLICIT.contains(name) && !is_there {
                group.write("cgroup.subtree_control", format!("+{name}"))?;
            }
        }
        Ok(())
    }

    fn initialize(&self, group: &Group) -> Result<(), String> {
        self.controllers.iter().try_for_each(|controller| controller.initialize(group))
    }

    fn wanted<'a>(
        &self,
        container_id: &str,
        resources: &[v1::Resource],
        limits: &'a BTreeMap<String, f64>,
    ) -> Result<Wanted<'a>, String> {
        let devices = self.gpus.as_ref().map(|gpus| gpus.access(container_id));
        Ok(Wanted { devices: devices.unwrap_or_default(), ..Wanted::new(resources, limits)? })
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self, relative: &Path) -> Groups {
        Groups(self.places.iter().map(|(name, p)| (*name, Group::at(p, relative))).collect())
    }

    fn tracker(&self, relative: &Path) -> Group {
        Group::at(&self.tracker, relative)
    }

    /// The cgroups of a container that has its own.
    fn own(&self, container_id: &str) -> Option<Groups> {
        let containers = self.containers();
        let member = containers.get(container_id).filter(|member| member.is_limited)?;
        Some(self.groups(&member.relative))
    }

    /// Takes up one that is found or made, inside its parent if it is known.
    fn add(&self, container_id: &str, parent: Option<&str>, is_limited: bool) -> Member {
        let mut containers = self.containers();
        let around = parent.and_then(|parent| Some((parent, containers.get(parent)?)));
        let member = match around {
            None => {
                Member { relative: self.root.join(container_id), parent: None, is_limited: true }
            }
            Some((parent, around)) => Member {
                relative: around.relative.join(INSIDE).join(container_id),
                parent: Some(parent.to_owned()),
                is_limited,
            },
        };
        containers.insert(container_id.to_owned(), member.clone());
        member
    }

    /// The cgroups that limit a container: its own, or those of the one around all around it.
    fn limiting(&self, member: &Member) -> Groups {
        let containers = self.containers();
        let mut at = member;
        while !at.is_limited
            && let Some(around) = at.parent.as_ref().and_then(|parent| containers.get(parent))
        {
            at = around;
        }
        self.groups(&at.relative)
    }

    fn make_tracker(&self, member: &Member) -> Result<Group, String> {
        let tracker = self.tracker(&member.relative);
        if member.parent.is_some() {
            let inside = member.relative.parent().unwrap_or(&self.root);
            self.tracker(inside).create()?;
        }
        tracker.create()?;
        owner::write(&tracker.path, &self.owner)?;
        if member.parent.is_some() && member.is_limited {
            inside::mark_limited(&tracker.path)?;
        }
        Ok(tracker)
    }

    fn make(
        &self,
        relative: &Path,
        tracker: &Group,
        user: Option<(u32, u32)>,
    ) -> Result<(), String> {
        for group in self.groups(relative).distinct() {
            if group.path != tracker.path {
                group.create()?;
            }
            self.initialize(group)?;
            // In version 1 a container divides what is its own among cgroups that it makes.
            if let Some(user) = user.filter(|_| !group.is_v2) {
                filesystem::give(&group.path, user)?;
            }
        }
        Ok(())
    }
}

/// Where a container with a root file system sees its cgroups.
const SHOWN: &str = "/sys/fs/cgroup";

impl Cgroups {
    /// Shows a container its cgroups, and nobody else's.
    fn show(&self, groups: &Groups, tracker: &Group, preparation: &mut Preparation) {
        // Limits belong to root, so that another user can do no harm in a cgroup that it owns.
        let is_owned = preparation.owner.is_some_and(|(uid, _)| uid != 0);
        let bind = |group: &Group, path: &str| {
            let is_writable = is_owned && !group.is_v2;
            let attributes =
                if is_writable { Attributes::DATA } else { Attributes::READ_ONLY_DATA };
            Step::bind(Source::Host(group.path.clone()), Target::made(path), attributes)
        };
        if self.layout == "v2" {
            preparation.setup.replace(SHOWN, bind(tracker, SHOWN));
            return;
        }
        let of_v1 = groups.0.iter().filter(|(_, group)| !group.is_v2);
        let shown = of_v1.map(|(controller, group)| bind(group, &format!("{SHOWN}/{controller}")));
        let unified = tracker.is_v2.then(|| bind(tracker, &format!("{SHOWN}/unified")));
        preparation.setup.steps.extend(shown.chain(unified));
    }
}

/// Where processes are told apart: in the tree of version 2 if it can kill, or if there is no freezer.
fn tracker(hierarchies: &Hierarchies, root: &Path) -> Result<Place, String> {
    let freezer = hierarchies.place("freezer").filter(|place| place.version == Version::V1);
    let unified = hierarchies.unified().filter(|place| {
        // The root of the tree can't be killed and does not have the file.
        let first = root.iter().next().unwrap_or_default();
        let group = Group::at(place, Path::new(first));
        freezer.is_none() || group.create().is_ok() && group.has("cgroup.kill")
    });
    unified.or(freezer).ok_or_else(|| {
        "the kernel's controller 'freezer' is not mounted, nor cgroups of version 2".to_owned()
    })
}

/// Memory of the machine in bytes; 0: unknown.
pub(crate) fn host_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
