//! What an agent asks for.

use super::*;

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
