//! `network/ports`: looks again and again at which ports containers in the host's network listen, and ends those that
//! listen where they may not if that is asked for (spec/agent.md 6.3).

mod sockets;

use crate::isolation::rounds;
use crate::isolation::{Isolator, Preparation, Processes, Running};
use crate::supervisor::Files;
use crate::{ContainerSpec, Limitation, MesosOptions, limitation};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use wire::v1;
use wire::v1::task_status::Reason;

/// Name of a file in a container's runtime directory: the pod, and the ports that it was given.
const FILE: &str = "ports";

/// Settings: flags of the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct PortsOptions {
    /// `--container_ports_watch_interval`.
    pub interval: Duration,
    /// `--enforce_container_ports`.
    pub is_enforced: bool,
    /// Only these matter: `--container_ports_isolated_range`, or by `--check_agent_port_range_only` those of the agent.
    pub range: Option<Vec<(u64, u64)>>,
}

impl PortsOptions {
    /// Ports among resources.
    #[must_use]
    pub fn ports(resources: &[v1::Resource]) -> Vec<(u64, u64)> {
        let ports = resources.iter().filter(|resource| resource.name == "ports");
        let ranges = ports.filter_map(|resource| resource.ranges.as_ref());
        ranges.flat_map(|ranges| &ranges.range).map(|range| (range.begin, range.end)).collect()
    }
}

impl Default for PortsOptions {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), is_enforced: false, range: None }
    }
}

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Ports(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: PortsOptions,
    /// Runtime directories of containers.
    runtime: PathBuf,
    containers: Mutex<BTreeMap<String, Container>>,
}

/// A container in the host's network.
#[derive(Debug, Clone, Default, PartialEq)]
struct Container {
    /// Those whose ports it may use too: of its pod, or of the container around it.
    group: String,
    given: Vec<(u64, u64)>,
    /// Ports of which it was said that they are not its own.
    told: BTreeSet<u16>,
}

impl Ports {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            options: options.settings.ports.clone(),
            runtime: options.runtime_dir.join("containers"),
            containers: Mutex::default(),
        });
        rounds::spawn("ports", &shared, watch)?;
        Ok(Self(shared))
    }

    fn keep(&self, container_id: &str, group: &str, given: Vec<(u64, u64)>) -> Result<(), String> {
        let path = self.0.runtime.join(container_id).join(FILE);
        let ranges: Vec<String> = given.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        std::fs::write(&path, format!("{group} {}", ranges.join(",")))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        let container = Container { group: group.to_owned(), given, ..Container::default() };
        self.0.containers().insert(container_id.to_owned(), container);
        Ok(())
    }

    /// What a former run of the agent kept of a container.
    fn find(&self, container_id: &str) -> Option<Container> {
        let text = std::fs::read_to_string(self.0.runtime.join(container_id).join(FILE)).ok()?;
        let (group, ranges) = text.split_once(' ')?;
        let range = |range: &str| {
            let (from, to) = range.split_once('-')?;
            Some((from.parse().ok()?, to.parse().ok()?))
        };
        let given = ranges.split(',').filter_map(range).collect();
        Some(Container { group: group.to_owned(), given, ..Container::default() })
    }
}

impl Isolator for Ports {
    fn name(&self) -> &'static str {
        "network/ports"
    }

    fn recover(&self, running: &[Running], _ended: &[String]) -> Result<(), String> {
        for Running { container_id, .. } in running {
            // One of before this isolator was chosen may use what it uses.
            if let Some(found) = self.find(container_id) {
                self.0.containers().insert(container_id.clone(), found);
            }
        }
        Ok(())
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        let setup = &preparation.setup;
        let around = setup.parent.is_some_and(|p| p.namespaces & libc::CLONE_NEWNET != 0);
        // In a network of its own everything is its own.
        if setup.network.is_some() || around {
            return Ok(());
        }
        let group = match (&spec.parent, &spec.pod) {
            (Some(parent), _) => {
                let containers = self.0.containers();
                containers.get(parent).map_or_else(|| parent.clone(), |c| c.group.clone())
            }
            (None, Some(pod)) => pod.id.clone(),
            (None, None) => spec.container_id.clone(),
        };
        self.keep(&spec.container_id, &group, PortsOptions::ports(&spec.resources))
    }

    fn update(
        &self,
        container_id: &str,
        resources: &[v1::Resource],
        _limits: &BTreeMap<String, f64>,
    ) -> Result<(), String> {
        let known = self.0.containers().get(container_id).map(|c| c.group.clone());
        known
            .map_or(Ok(()), |group| self.keep(container_id, &group, PortsOptions::ports(resources)))
    }

    fn cleanup(&self, container_id: &str) -> Result<(), String> {
        self.0.containers().remove(container_id);
        Ok(())
    }
}

fn contains(ranges: &[(u64, u64)], port: u16) -> bool {
    ranges.iter().any(|(from, to)| (*from..=*to).contains(&u64::from(port)))
}

/// Ports as ranges.
fn ranges(ports: &BTreeSet<u16>) -> Vec<v1::value::Range> {
    let mut ranges: Vec<v1::value::Range> = Vec::new();
    for port in ports.iter().copied().map(u64::from) {
        match ranges.last_mut() {
            Some(last) if last.end + 1 == port => last.end = port,
            _ => ranges.push(v1::value::Range { begin: port, end: port }),
        }
    }
    ranges
}

impl Shared {
    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Container>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all containers once.
    fn look(&self) {
        let known = self.containers().clone();
        if known.is_empty() {
            return;
        }
        let matters =
            |port: &u16| self.options.range.as_ref().is_none_or(|range| contains(range, *port));
        let listening = sockets::listening();
        let listening: BTreeMap<u64, u16> =
            listening.into_iter().filter(|(_, port)| matters(port)).collect();
        if listening.is_empty() {
            return;
        }
        let processes = Processes::default();
        for (container_id, container) in &known {
            let files = Files(self.runtime.join(container_id));
            let Some(supervisor) = files.supervisor() else { continue };
            let pids = processes.below(supervisor);
            let inodes = pids.into_iter().flat_map(sockets::of);
            let used = inodes.filter_map(|inode| listening.get(&inode).copied());
            let mates = known.values().filter(|mate| mate.group == container.group);
            let given: Vec<(u64, u64)> = mates.flat_map(|mate| mate.given.clone()).collect();
            let foreign: BTreeSet<u16> = used.filter(|port| !contains(&given, *port)).collect();
            if foreign != container.told {
                self.found(container_id, &files, foreign);
            }
        }
    }

    /// A container listens on other ports than its own than it did before.
    fn found(&self, container_id: &str, files: &Files, foreign: BTreeSet<u16>) {
        let mut containers = self.containers();
        let Some(container) = containers.get_mut(container_id) else { return };
        container.told.clone_from(&foreign);
        if foreign.is_empty() {
            return;
        }
        let range = ranges(&foreign);
        let shown = range.iter().map(|range| format!("{}-{}", range.begin, range.end));
        let shown: Vec<String> = shown.collect();
        let message = format!(
            "Container {container_id} is listening on unallocated port(s): [{}]",
            shown.join(", ")
        );
        tracing::warn!(container = %container_id, is_ended = self.options.is_enforced, "{message}");
        if !self.options.is_enforced {
            return;
        }
        let resource = v1::Resource {
            name: "ports".to_owned(),
            r#type: v1::value::Type::Ranges as i32,
            ranges: Some(v1::value::Ranges { range }),
            ..Default::default()
        };
        let reason = Reason::ContainerLimitation;
        // Known to the next run of the agent before the container ends.
        limitation::keep(files, &Limitation { reason, message, resources: vec![resource] });
        files.command("kill\n");
    }
}

/// Looks within each interval once, for as long as somebody wants to know.
fn watch(shared: &Weak<Shared>) {
    while let Some(strong) = shared.upgrade() {
        let interval = strong.options.interval;
        drop(strong);
        if !rounds::sleep(interval, shared) {
            return;
        }
        if let Some(strong) = shared.upgrade() {
            strong.look();
        }
    }
}
