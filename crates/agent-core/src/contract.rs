//! What happens to an agent ([`Input`]) and what it asks for ([`Effect`]).

mod config;
mod effect;

pub use config::Config;
pub use effect::Effect;

use base::{Token, WriteId};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::{internal, v1};

/// Everything that can happen to an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The store and the containerizer have been read. First input of every run.
    Recovered {
        /// Records in the order in which they were stored.
        records: Vec<internal::AgentRecord>,
        /// Containers found by the containerizer, with what is known of each.
        containers: Vec<FoundContainer>,
    },
    /// A connection to a leading master is open.
    MasterConnected {
        /// The connection.
        connection: Token,
    },
    /// It is closed.
    MasterClosed {
        /// The connection.
        connection: Token,
    },
    /// A message from the master.
    FromMaster {
        /// The connection it came on.
        connection: Token,
        /// The message.
        message: Box<internal::master_to_agent::Message>,
    },
    /// A decoded executor SUBSCRIBE. Answered by [`Effect::AcceptStream`] (200) or [`Effect::Respond`].
    ExecutorSubscribe {
        /// The request, and the event stream if it is accepted.
        stream: Token,
        /// The call; its required fields are present.
        call: Box<v1::executor::Call>,
    },
    /// Any other decoded executor call. Answered by exactly one [`Effect::Respond`].
    ExecutorCall {
        /// The request.
        token: Token,
        /// The call; its required fields are present.
        call: Box<v1::executor::Call>,
    },
    /// A call about a container. Answered by exactly one [`Effect::Respond`] or [`Effect::RespondEnd`].
    ContainerCall {
        /// The request.
        token: Token,
        /// The call, which is valid.
        call: ContainerCall,
    },
    /// An executor's event stream is closed.
    ExecutorClosed {
        /// The stream.
        stream: Token,
    },
    /// Completion of [`Effect::Store`].
    Stored {
        /// The write.
        id: WriteId,
        /// The error's text if it failed.
        result: Result<(), String>,
    },
    /// How a container looks from outside, if there is something to be told. Comes before [`Input::Recovered`] or
    /// [`Input::ContainerStarted`], and only of containers that run: their ends are told.
    ContainerAppeared {
        /// The container.
        container_id: String,
        /// How it looks.
        appearance: Appearance,
    },
    /// Completion of [`Effect::StartContainer`].
    ContainerStarted {
        /// The container.
        container_id: String,
        /// Process id of the supervisor (what the peer reports as `executor_pid`), or why it could not be started.
        result: Result<u32, StartError>,
    },
    /// A container ended: its last process is gone.
    ContainerExited {
        /// The container.
        container_id: String,
        /// Raw wait status of its main process; None when its supervisor was killed.
        status: Option<i32>,
        /// What it was ended for by its isolation, if it was.
        limitation: Option<Box<Limitation>>,
    },
    /// Completion of [`Effect::SyncVolumes`].
    VolumesSynced {
        /// As in the effect.
        operation: Vec<u8>,
        /// What could not be done.
        result: Result<(), String>,
    },
    /// Completion of [`Effect::Probe`].
    Probed {
        /// As in the effect.
        id: u64,
        /// What was learnt, or why nothing.
        result: Result<ProbeAnswer, String>,
    },
    /// A directory of an executor or framework was found after [`Input::Recovered`]. What belongs to nothing that lives
    /// is removed in its time.
    DirectoryFound {
        /// Absolute path.
        path: String,
        /// Since when it is unchanged.
        age: Duration,
    },
    /// Completion of [`Effect::RemoveDirectory`].
    DirectoryRemoved {
        /// What could not be removed, and why.
        result: Result<(), String>,
    },
    /// Completion of [`Effect::MeasureDisk`]; also comes unasked when the disk is full.
    DiskMeasured {
        /// How full it is.
        disk: DiskUse,
    },
    /// Completion of [`Effect::Measure`].
    Measured {
        /// As in the effect.
        purpose: Purpose,
        /// None: the host does not tell.
        measured: Option<Measured>,
    },
    /// The process was asked to stop for good (SIGUSR1): unregister and shut down everything.
    Unregister,
    /// The time asked for by `next_wake` has come (or not).
    Wake,
}

/// How full the disk with the work directory is, in units of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUse {
    /// What is used.
    pub used: u64,
    /// All.
    pub total: u64,
}

/// What is done with what an earlier run left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recover {
    /// Go on with it.
    Reconnect,
    /// End it all, and stop.
    Cleanup,
}

/// How a container looks from outside.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Appearance {
    /// The networks that it has, with its addresses in them; empty: the host's.
    pub networks: Vec<v1::NetworkInfo>,
    /// What tells what it sends from what others do: its `net_cls` class.
    pub network_class: Option<u32>,
    /// What the framework is told of it as the `data` of TASK_RUNNING; empty: nothing.
    pub description: Vec<u8>,
}

/// A limit that a container was ended for.
#[derive(Debug, Clone, PartialEq)]
pub struct Limitation {
    /// Which one.
    pub reason: v1::task_status::Reason,
    /// What the framework is told.
    pub message: String,
    /// How much it used.
    pub resources: Vec<v1::Resource>,
}

/// A call of the agent's API about a container (spec/agent.md 8.2).
#[derive(Debug, Clone, PartialEq)]
pub enum ContainerCall {
    /// Start one: inside another one if its id names that.
    Launch {
        /// The container.
        container_id: v1::ContainerId,
        /// What it runs.
        command: Box<v1::CommandInfo>,
        /// Its description.
        container: Option<Box<v1::ContainerInfo>>,
        /// What it asks for.
        resources: Vec<v1::Resource>,
        /// What it may take beyond that.
        limits: BTreeMap<String, v1::value::Scalar>,
        /// For a session: somebody has its standard streams, and it has the environment of the container around it. It is
        /// not kept over a restart.
        streams: Option<Streams>,
    },
    /// Learn how one ended, when it has.
    Wait {
        /// The container.
        container_id: v1::ContainerId,
    },
    /// Send one a signal.
    Kill {
        /// The container.
        container_id: v1::ContainerId,
        /// Signal number.
        signal: i32,
    },
    /// Drop one that has ended, with its sandbox.
    Remove {
        /// The container.
        container_id: v1::ContainerId,
    },
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerEnd {
    /// Raw wait status of its main process, if known.
    pub status: Option<i32>,
    /// What it was ended for by its isolation, if it was.
    pub limitation: Option<Box<Limitation>>,
}

impl ContainerEnd {
    pub(crate) fn of(status: Option<i32>, limitation: Option<&Limitation>) -> Self {
        Self { status, limitation: limitation.cloned().map(Box::new) }
    }
}

/// Why a container was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// There is no sandbox for its user.
    Sandbox(String),
    /// Its sandbox is there, though it must not be: it may have run before.
    MayHaveRun,
    /// Anything else.
    Launch(String),
}

/// What a check looks at over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Whether somebody listens.
    Tcp {
        /// IP address.
        host: String,
        /// Port, as the framework gave it.
        port: u32,
    },
    /// What status a GET is answered with, after redirects; certificates are not checked.
    Http {
        /// `http://` or `https://`, as the framework gave it.
        uri: String,
    },
}

/// What a check learnt over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// Of [`Target::Tcp`]: whether somebody listens.
    Connected(bool),
    /// Of [`Target::Http`]: the status, once the body has come.
    Status(u16),
}

/// What a measurement of the node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// How much may be used beyond what there is.
    Estimate,
    /// Whether somebody has to go.
    Correct,
}

/// How busy the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Load average of five minutes, in thousandths.
    pub load_5: resources::Milli,
    /// Load average of fifteen minutes, in thousandths.
    pub load_15: resources::Milli,
    /// Time that all cpus together were busy since the node was started.
    pub busy: Duration,
}

/// A container that was there when the agent started.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundContainer {
    /// The container.
    pub container_id: String,
    /// What became of it.
    pub state: FoundState,
}

/// See [`FoundContainer`].
#[derive(Debug, Clone, PartialEq)]
pub enum FoundState {
    /// It runs under this supervisor; its end will be reported by [`Input::ContainerExited`].
    Running {
        /// Process id of the supervisor.
        pid: u32,
    },
    /// Its main process was never started: whoever was to do that died before.
    Unstarted,
    /// It ended while nobody looked.
    Exited {
        /// Raw wait status of the main process; None when its supervisor was killed.
        status: Option<i32>,
        /// What it was ended for, if it was.
        limitation: Option<Box<Limitation>>,
    },
}

/// What the containerizer shall start. Paths are absolute.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    /// Unique name (random UUID).
    pub container_id: String,
    /// The running container inside which this one runs: it shares its namespaces, root and cgroup, and ends with it.
    pub parent: Option<String>,
    /// The pod that it belongs to, if it is right below that.
    pub pod: Option<Box<Pod>>,
    /// Sandbox: created with mode 0750, holds `stdout` and `stderr`.
    pub directory: String,
    /// Where the process starts; None: in the sandbox.
    pub working_directory: Option<String>,
    /// Directory whose `stderr` takes all output; None: the sandbox, with `stdout` apart.
    pub output: Option<String>,
    /// Its standard streams, instead of files in its sandbox.
    pub streams: Option<Streams>,
    /// Link to be pointed at `directory` (`…/runs/latest`), if any.
    pub latest_link: Option<String>,
    /// Command: `shell`, `value`, `arguments` as in CommandInfo. URIs and container info are checked by the containerizer.
    pub command: v1::CommandInfo,
    /// Whole environment of the process.
    pub environment: BTreeMap<String, String>,
    /// User to run as; None: the agent's own.
    pub user: Option<String>,
    /// Container description of the task or executor, if any.
    pub container: Option<v1::ContainerInfo>,
    /// Resources for isolation: what it asked for.
    pub resources: Vec<v1::Resource>,
    /// What it may take beyond that, by name of the resource; infinity: no limit.
    pub limits: BTreeMap<String, f64>,
    /// Persistent volumes that appear in the sandbox.
    pub volumes: Vec<MountedVolume>,
    /// For how long the container waits for an agent that is gone, before it is shut down.
    pub recovery_timeout: Duration,
    /// Time from SIGTERM to SIGKILL of that shutdown.
    pub shutdown_grace_period: Duration,
    /// It may have been started before, for all that is known: not if its sandbox is there.
    pub unless_sandbox: bool,
}

/// What the containers of a pod have in common. It is there as long as one of them is, until [`Effect::DestroyContainer`] of
/// its name; [`Effect::UpdateContainer`] changes what all of them together may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// Its name, as unique as those of containers.
    pub id: String,
    /// Its description, if any: that of its executor.
    pub container: Option<v1::ContainerInfo>,
    /// What they and the executor asked for.
    pub resources: Vec<v1::Resource>,
    /// What they may take beyond that, by name of the resource; infinity: no limit.
    pub limits: BTreeMap<String, f64>,
    /// The executor's persistent volumes. They are part of its sandbox: tasks see them by volumes that show that.
    pub volumes: Vec<MountedVolume>,
    /// Whose these volumes are; None: the agent's.
    pub user: Option<String>,
}

/// Files that a container has as its standard streams, absolute: named pipes, or a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub input: String,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
    /// Whether all three are one terminal, which it takes as its own.
    pub is_terminal: bool,
}

/// A persistent volume in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedVolume {
    /// Where it is, absolute.
    pub path: String,
    /// Where the container sees it: relative to the sandbox.
    pub container_path: String,
    /// Whether only this container uses it: then it belongs to the container's user.
    pub exclusive: bool,
    /// Whether the container may not write to it.
    pub read_only: bool,
}

/// A persistent volume that is destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedVolume {
    /// Where it is, absolute.
    pub path: String,
    /// Whether the directory itself stays (it is where a disk is mounted).
    pub keeps_root: bool,
}
