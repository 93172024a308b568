//! A machine: the agent's core, its disk, and containers that outlive the agent.

use crate::executor::{self, Executor};
use crate::plan::Plan;
use agent_core::Agent;
use agent_core::contract::{Config, ContainerSpec, FoundContainer, FoundState, StartError};
use base::{Time, Token, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::{internal, v1};

#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) plan: Plan,
    /// The container around it.
    pub(crate) parent: Option<String>,
    pub(crate) pid: u32,
    pub(crate) status: Option<i32>,
    /// Milli-cpus, to see that a node is never overcommitted.
    pub(crate) cpus_milli: u64,
    pub(crate) dying: bool,
}

#[derive(Debug)]
pub(crate) struct AgentNode {
    pub(crate) index: usize,
    pub(crate) core: Option<Agent>,
    /// Counts starts of the process; what belongs to an older life is void.
    pub(crate) life: u32,
    pub(crate) wake: Option<Time>,
    pub(crate) disk: Vec<internal::AgentRecord>,
    /// Records that were left when it was made short.
    disk_kept: usize,
    /// When the last write on the disk is done: writes are in order.
    pub(crate) disk_free: Time,
    pub(crate) containers: BTreeMap<String, Container>,
    /// What the containers of executors run.
    pub(crate) executors: BTreeMap<String, Executor>,
    /// Containers whose URIs are being fetched.
    pub(crate) fetching: BTreeMap<String, ContainerSpec>,
    /// Those whose agent died meanwhile.
    unstarted: BTreeSet<String>,
    /// Containers that were ever started: each has a sandbox.
    sandboxes: BTreeSet<String>,
    /// Directories of persistent volumes.
    pub(crate) volumes: BTreeSet<String>,
    pub(crate) master: Option<Token>,
    /// How far this machine's wall clock is ahead.
    skew: Duration,
    /// Half of it is reserved to a role.
    is_reserved: bool,
    next_pid: u32,
}

/// `--work_dir` of every simulated agent.
pub(crate) const WORK_DIR: &str = "/var/lib/mesos";
/// Records of an agent that are more than what was kept of them.
const RECORDS_MAX: usize = 1000;
/// Milli-cpus of every simulated machine.
pub(crate) const CPUS_MILLI: u64 = 4000;

impl AgentNode {
    pub(crate) fn new(index: usize, skew: Duration, is_reserved: bool) -> Self {
        Self {
            index,
            core: None,
            life: 0,
            wake: None,
            disk: Vec::new(),
            disk_kept: 0,
            disk_free: Time(0),
            containers: BTreeMap::new(),
            executors: BTreeMap::new(),
            fetching: BTreeMap::new(),
            unstarted: BTreeSet::new(),
            sandboxes: BTreeSet::new(),
            volumes: BTreeSet::new(),
            master: None,
            skew,
            is_reserved,
            next_pid: 100,
        }
    }

    pub(crate) fn now(&self, now: Time) -> base::Now {
        base::Now { mono: now, wall: WallTime((now + self.skew).0) }
    }

    /// The settings of this agent's `life`.
    pub(crate) fn config(&self, seed: u64) -> Config {
        let scalar = |name: &str, value: f64, role: &str| v1::Resource {
            name: name.to_owned(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value }),
            role: Some(role.to_owned()),
            ..Default::default()
        };
        #[expect(clippy::cast_precision_loss, reason = "a small constant")]
        let cpus = CPUS_MILLI as f64 / 1000.0;
        let mut resources = vec![scalar("disk", 1000.0, "*")];
        let role = ["a", "b"][self.index % 2];
        for (name, amount) in [("cpus", cpus), ("mem", 4096.0), ("tokens", 4.0)] {
            if self.is_reserved {
                resources.extend(["*", role].map(|role| scalar(name, amount / 2.0, role)));
            } else {
                resources.push(scalar(name, amount, "*"));
            }
        }
        Config {
            info: v1::AgentInfo {
                hostname: format!("host{}", self.index),
                port: Some(5051),
                resources,
                ..Default::default()
            },
            ip: format!("10.0.0.{}", self.index + 1),
            work_dir: WORK_DIR.to_owned(),
            boot_id: "boot".to_owned(),
            executor_registration_timeout: Duration::from_secs(60),
            executor_reregistration_timeout: Duration::from_secs(2),
            executor_shutdown_grace_period: Duration::from_secs(5),
            docker_stop_timeout: Duration::ZERO,
            recovery_timeout: Duration::from_secs(900),
            recover: agent_core::contract::Recover::Reconnect,
            gc: agent_core::GarbageCollection::default(),
            max_completed_executors_per_framework: 150,
            executor_environment: None,
            inherited_environment: BTreeMap::new(),
            default_container_info: None,
            switch_user: false,
            limitable: agent_core::Limitable::default(),
            local: false,
            seed,
            oversubscription: agent_core::Oversubscription::default(),
            flags: BTreeMap::new(),
        }
    }

    /// What the containerizer would find after a restart.
    pub(crate) fn found(&self) -> Vec<FoundContainer> {
        let state = |c: &Container| match c.status {
            Some(status) => FoundState::Exited { status: Some(status), limitation: None },
            None => FoundState::Running { pid: c.pid },
        };
        let unstarted = self.unstarted.iter().map(|id| (id, FoundState::Unstarted));
        let started = self.containers.iter().map(|(id, c)| (id, state(c)));
        started
            .chain(unstarted)
            .map(|(id, state)| FoundContainer { container_id: id.clone(), state })
            .collect()
    }

    /// Writes a record; a long file is made short, as the agent's store does from time to time.
    pub(crate) fn append(&mut self, record: internal::AgentRecord) {
        self.disk.push(record);
        if self.disk.len() > 2 * self.disk_kept + RECORDS_MAX {
            self.disk = agent_core::compact(std::mem::take(&mut self.disk));
            self.disk_kept = self.disk.len();
        }
    }

    /// The agent's process dies, and with it all that it fetches.
    pub(crate) fn die(&mut self) {
        self.core = None;
        self.life += 1;
        self.unstarted.extend(std::mem::take(&mut self.fetching).into_keys());
    }

    /// Nothing is left of what the machine had.
    pub(crate) fn wipe(&mut self) {
        self.disk.clear();
        self.containers.clear();
        self.executors.clear();
        self.unstarted.clear();
        self.volumes.clear();
    }

    /// What is kept of a container goes.
    pub(crate) fn forget(&mut self, container_id: &str) {
        self.containers.remove(container_id);
        self.unstarted.remove(container_id);
    }

    /// Makes ready for a container; what it is going to do, or why not.
    pub(crate) fn prepare(&mut self, spec: &ContainerSpec) -> Result<Plan, StartError> {
        let was_begun = self.unstarted.remove(&spec.container_id);
        let is_new = self.sandboxes.insert(spec.container_id.clone()) || was_begun;
        if spec.unless_sandbox && !is_new {
            return Err(StartError::MayHaveRun);
        }
        assert!(is_new, "container {} is started twice", spec.container_id);
        let command = spec.command.value.as_deref().unwrap_or("");
        let plan = executor::plan_of(command).map(|(plan, _)| plan);
        plan.ok_or_else(|| StartError::Launch(format!("no plan in '{command}'")))
    }

    /// Starts a container; its process id, or why not.
    pub(crate) fn start_container(
        &mut self,
        spec: &ContainerSpec,
        plan: Plan,
    ) -> Result<u32, StartError> {
        let is_alone = |parent: &String| {
            self.containers.get(parent).is_none_or(|around| around.status.is_some())
        };
        if let Some(parent) = spec.parent.as_ref().filter(|parent| is_alone(parent)) {
            return Err(StartError::Launch(format!("the container '{parent}' is not running")));
        }
        let cpus_milli = cpus_milli(&spec.resources);
        self.next_pid += 1;
        let pid = self.next_pid;
        let parent = spec.parent.clone();
        let container = Container { plan, parent, pid, status: None, cpus_milli, dying: false };
        self.containers.insert(spec.container_id.clone(), container);
        Ok(pid)
    }

    pub(crate) fn update_container(&mut self, container_id: &str, resources: &[v1::Resource]) {
        if let Some(container) = self.containers.get_mut(container_id) {
            container.cpus_milli = cpus_milli(resources);
        }
    }

    /// Containers that run directly inside another one.
    pub(crate) fn inside(&self, parent: &str) -> Vec<String> {
        let inside = |c: &Container| c.parent.as_deref() == Some(parent) && c.status.is_none();
        self.containers.iter().filter(|(_, c)| inside(c)).map(|(id, _)| id.clone()).collect()
    }

    /// Wait status with which a signal ends a container; None if it ignores it or is gone.
    pub(crate) fn signal(&mut self, container_id: &str, signal: i32) -> Option<i32> {
        let container = self.containers.get_mut(container_id).filter(|c| c.status.is_none())?;
        if signal == 15 && container.plan.stubborn {
            return None;
        }
        container.dying = true;
        Some(signal)
    }
}

/// The generated command executor has 0.1 cpus besides that are not offered resources.
fn cpus_milli(resources: &[v1::Resource]) -> u64 {
    let cpus = resources.iter().filter(|r| r.name == "cpus").filter_map(|r| r.scalar.as_ref());
    cpus.map(|s| (s.value * 1000.0).round() as u64).sum()
}
