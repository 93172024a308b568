//! What happens to an agent ([`Input`]) and what it asks for ([`Effect`]).

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

/// Everything an agent can ask for. Carried out in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a message to the master.
    SendToMaster {
        /// The connection.
        connection: Token,
        /// The message.
        message: Box<internal::agent_to_master::Message>,
    },
    /// Close the connection to the master and look for the leader again.
    CloseMaster {
        /// The connection.
        connection: Token,
    },
    /// Make a record durable; answered by [`Input::Stored`]. Records are kept in order.
    Store {
        /// The write.
        id: WriteId,
        /// The record.
        record: Box<internal::AgentRecord>,
        /// Whether it must survive a crash of the machine before the answer (else: of the process).
        sync: bool,
    },
    /// Answer the SUBSCRIBE of an executor with 200 and an event stream.
    AcceptStream {
        /// The request that becomes a stream.
        stream: Token,
    },
    /// Answer a request of an executor.
    Respond {
        /// The request.
        token: Token,
        /// HTTP status code.
        status: u16,
        /// Text for the client.
        body: String,
    },
    /// Answer a request with the end of a container.
    RespondEnd {
        /// The request.
        token: Token,
        /// How it ended.
        end: ContainerEnd,
    },
    /// Send an event to an executor.
    SendEvent {
        /// Its stream.
        stream: Token,
        /// The event.
        event: Box<v1::executor::Event>,
    },
    /// Close an executor's stream after the events sent before.
    CloseStream {
        /// Its stream.
        stream: Token,
    },
    /// Start a container; answered by [`Input::ContainerStarted`], later [`Input::ContainerExited`].
    StartContainer {
        /// What to start.
        spec: Box<ContainerSpec>,
    },
    /// Give up the start of a container if that can be done, as long as its URIs are fetched: [`Input::ContainerStarted`]
    /// comes with an error. Nothing happens to one that has got further.
    CancelStart {
        /// The container.
        container_id: String,
    },
    /// Change what a running container may use.
    UpdateContainer {
        /// The container.
        container_id: String,
        /// What it asked for.
        resources: Vec<v1::Resource>,
        /// What it may take beyond that, by name of the resource.
        limits: BTreeMap<String, f64>,
    },
    /// Show a persistent volume in the sandbox of a running container, before what follows. If that can't be done, the
    /// container is destroyed for it.
    ShowVolume {
        /// The container.
        container_id: String,
        /// Its sandbox.
        directory: String,
        /// The volume.
        volume: MountedVolume,
    },
    /// Take a volume away from a running container: nothing in it uses it any more.
    HideVolume {
        /// The container.
        container_id: String,
        /// Its sandbox.
        directory: String,
        /// The volume.
        volume: MountedVolume,
    },
    /// Send a signal to all processes of a container.
    SignalContainer {
        /// The container.
        container_id: String,
        /// Signal number.
        signal: i32,
    },
    /// Kill all processes of a container (SIGKILL); answered by [`Input::ContainerExited`] unless it is gone already.
    DestroyContainer {
        /// The container.
        container_id: String,
    },
    /// The container's end has been recorded: what the containerizer keeps of it may go. The sandbox stays.
    ForgetContainer {
        /// The container.
        container_id: String,
    },
    /// Make and remove directories of persistent volumes; answered by [`Input::VolumesSynced`] when that is durable.
    SyncVolumes {
        /// Uuid of the operation; empty after a restart.
        operation: Vec<u8>,
        /// Directories that shall be there; what is in them stays.
        make: Vec<String>,
        /// Directories that shall be gone with their content.
        remove: Vec<RemovedVolume>,
    },
    /// Look at something over the network of a container; answered by [`Input::Probed`] unless it is stopped.
    Probe {
        /// Tells it from others.
        id: u64,
        /// The container.
        container_id: String,
        /// What to look at.
        target: Target,
    },
    /// Nobody waits for a probe any more.
    StopProbe {
        /// Which one.
        id: u64,
    },
    /// Find out how busy the node is; answered by [`Input::Measured`].
    Measure {
        /// What for.
        purpose: Purpose,
    },
    /// Remove a directory tree below the work directory (garbage collection); answered by [`Input::DirectoryRemoved`].
    /// What is made at this path afterwards stays.
    RemoveDirectory {
        /// Absolute path.
        path: String,
    },
    /// Let a directory count as changed now, if it is there.
    Touch {
        /// Absolute path.
        path: String,
    },
    /// Find out how full the disk with the work directory is; answered by [`Input::DiskMeasured`].
    MeasureDisk,
    /// Make a symbolic link (replacing one of the same name), and the directories on the way to it.
    Link {
        /// Absolute path of a directory. Tasks may have put links into it: none leads out of it.
        directory: String,
        /// Path of the link in it.
        path: String,
        /// What it points to.
        target: String,
    },
    /// Stop the process: everything is shut down, or it can't go on. The text goes to the operator.
    Exit {
        /// Exit status.
        status: i32,
        /// Why.
        message: String,
    },
}

/// Settings of an agent: its flags, parsed.
#[derive(Debug, Clone)]
pub struct Config {
    /// `hostname`, `port`, `resources` (total, post-refinement), `attributes`, `domain`; `id` unset.
    pub info: v1::AgentInfo,
    /// IP address that is announced.
    pub ip: String,
    /// `--work_dir`, absolute.
    pub work_dir: String,
    /// What tells this boot of the machine from others.
    pub boot_id: String,
    /// `--executor_registration_timeout`.
    pub executor_registration_timeout: Duration,
    /// `--executor_reregistration_timeout`.
    pub executor_reregistration_timeout: Duration,
    /// `--executor_shutdown_grace_period`.
    pub executor_shutdown_grace_period: Duration,
    /// `--docker_stop_timeout`.
    pub docker_stop_timeout: Duration,
    /// `--recovery_timeout`.
    pub recovery_timeout: Duration,
    /// `--recover`.
    pub recover: Recover,
    /// When directories are removed.
    pub gc: crate::GarbageCollection,
    /// `--max_completed_executors_per_framework`.
    pub max_completed_executors_per_framework: usize,
    /// `--executor_environment_variables`; None: what the peer passes by default (see agent.md 2.2).
    pub executor_environment: Option<BTreeMap<String, String>>,
    /// `PATH` and other variables of the agent itself that tasks inherit.
    pub inherited_environment: BTreeMap<String, String>,
    /// `--default_container_info`: of executors and command tasks that have none.
    pub default_container_info: Option<v1::ContainerInfo>,
    /// `--switch_user`.
    pub switch_user: bool,
    /// What of limits the isolation can enforce.
    pub limitable: crate::Limitable,
    /// What is lent beyond what there is, and when it has to be given back.
    pub oversubscription: crate::Oversubscription,
    /// Whether tasks die with the agent (a `local` cluster).
    pub local: bool,
    /// Seed of the agent's generator.
    pub seed: u64,
    /// Every flag's name and value, for `/flags` and `/state`.
    pub flags: BTreeMap<String, String>,
}
