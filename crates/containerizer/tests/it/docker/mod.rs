//! Containers of Docker's: the contract on a real engine, and what becomes of them with one that hangs.

mod contract;
mod fake;
mod gpus;
mod hung;
mod misbehaviour;
mod networks;
mod pressure;
mod real;
mod secrets;

use crate::until;
use containerizer::docker::{Docker, DockerOptions};
use containerizer::images::Credentials;
use containerizer::isolation::{Gpus, Running};
use containerizer::{
    ContainerSpec, Containerizer, Exited, Fetcher, FetcherOptions, Found, StartError, Started,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;
use wire::v1;

/// The containerizer of one agent, and its directories.
struct Node {
    directory: PathBuf,
    /// Its tasks end with it, as those of an agent that is killed.
    runtime: Option<Runtime>,
    options: DockerOptions,
    docker: Arc<Docker>,
    exits: UnboundedReceiver<Exited>,
}

impl Node {
    async fn new(socket: &Path, directory: &Path) -> Self {
        Self::with(DockerOptions {
            socket: socket.to_owned(),
            cgroups: PathBuf::from("/sys/fs/cgroup"),
            runtime_dir: directory.join("run"),
            sandbox_directory: "/mnt/mesos/sandbox".to_owned(),
            config: Credentials::default(),
            remove_delay: Duration::from_secs(3600),
            kill_orphans: true,
            name_servers: Vec::new(),
            quota: false,
        })
        .await
    }

    async fn with(options: DockerOptions) -> Self {
        Self::with_gpus(options, None).await
    }

    async fn with_gpus(options: DockerOptions, gpus: Option<Arc<Gpus>>) -> Self {
        let directory = options.runtime_dir.parent().expect("a directory around it").to_owned();
        let fetcher = FetcherOptions::new(directory.join("fetcher"), directory.join("cache"));
        let fetcher = Arc::new(Fetcher::new(fetcher));
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let made = runtime.spawn({
            let options = options.clone();
            async move { Docker::new(&options, fetcher, gpus).await }
        });
        let (docker, exits) = made.await.expect("no panic").expect("a containerizer");
        Self { directory, runtime: Some(runtime), options, docker, exits }
    }

    /// The agent is killed and started again.
    async fn restarted(mut self) -> Self {
        let runtime = self.runtime.take().expect("it runs");
        let killed = move || runtime.shutdown_timeout(Duration::from_secs(5));
        tokio::task::spawn_blocking(killed).await.expect("it ends");
        Self::with(self.options.clone()).await
    }

    async fn within<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.as_ref().expect("it runs").spawn(work).await.expect("no panic")
    }

    async fn try_start(&self, spec: ContainerSpec) -> Result<Started, StartError> {
        let docker = self.docker.clone();
        self.within(async move { docker.start(spec).await }).await
    }

    async fn run(&self, spec: ContainerSpec) -> Started {
        self.try_start(spec).await.expect("it starts")
    }

    async fn recover(&self) -> Vec<Found> {
        self.try_recover().await.expect("recovery")
    }

    async fn try_recover(&self) -> Result<Vec<Found>, String> {
        let docker = self.docker.clone();
        self.within(async move { docker.recover().await }).await
    }

    async fn usage(&self, id: &str) -> v1::ResourceStatistics {
        let running = [Running { container_id: id.to_owned(), supervisor: 0 }];
        let docker = self.docker.clone();
        let asked =
            async move { tokio::task::spawn_blocking(move || docker.usage(&running)).await };
        self.within(asked).await.expect("no panic").remove(0)
    }

    async fn tell(&self, what: impl FnOnce(&Docker) + Send + 'static) {
        let docker = self.docker.clone();
        self.within(async move { what(&docker) }).await;
    }

    fn sandbox(&self, id: &str) -> PathBuf {
        self.directory.join("sandboxes").join(id)
    }

    fn spec(&self, id: &str, command: &str) -> ContainerSpec {
        ContainerSpec {
            container_id: id.to_owned(),
            parent: None,
            pod: None,
            directory: self.sandbox(id).to_str().expect("text").to_owned(),
            working_directory: None,
            latest_link: None,
            output: None,
            streams: None,
            rootfs: None,
            image_volumes: BTreeMap::new(),
            image_user: None,
            image_wants_nvidia: false,
            command: v1::CommandInfo { value: Some(command.to_owned()), ..Default::default() },
            environment: BTreeMap::from([("MESOS_ALLOCATION_ROLE".to_owned(), "*".to_owned())]),
            user: None,
            container: Some(v1::ContainerInfo {
                r#type: v1::container_info::Type::Docker as i32,
                docker: Some(v1::container_info::DockerInfo {
                    image: testkit::docker::IMAGE.to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            resources: vec![scalar("cpus", 0.1), scalar("mem", 64.0)],
            limits: BTreeMap::new(),
            volumes: Vec::new(),
            recovery_timeout: Duration::from_secs(600),
            shutdown_grace_period: Duration::from_secs(5),
            unless_sandbox: false,
        }
    }

    async fn start(&self, id: &str, command: &str) -> Started {
        self.run(self.spec(id, command)).await
    }

    async fn refused(&self, spec: ContainerSpec) -> String {
        match self.try_start(spec).await {
            Err(StartError::Launch(text)) => text,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    async fn exit(&mut self) -> (String, Option<i32>) {
        let exited = tokio::time::timeout(Duration::from_secs(60), self.exits.recv()).await;
        let exited = exited.expect("an end in time").expect("an end");
        (exited.container_id, exited.status)
    }

    fn output(&self, id: &str, name: &str) -> String {
        std::fs::read_to_string(self.sandbox(id).join(name)).unwrap_or_default()
    }

    async fn wait_for_line(&self, id: &str, line: &str) {
        let output = || self.output(id, "stdout");
        until(&format!("'{line}' on stdout"), || output().lines().any(|l| l == line)).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn docker_of(spec: &mut ContainerSpec) -> &mut v1::container_info::DockerInfo {
    let container = spec.container.as_mut().expect("it was made with one");
    container.docker.as_mut().expect("it was made with one")
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    let scalar = Some(v1::value::Scalar { value });
    v1::Resource { name: name.to_owned(), scalar, ..Default::default() }
}
