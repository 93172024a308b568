//! What `proffer run` and `mesos-execute` shall run, as their flags say.

use super::Voice;
use crate::flags::Flags;
use crate::host;
use resources::Resources;
use std::collections::BTreeMap;
use wire::v1;

/// Seconds that detached tasks survive without a scheduler: as good as for ever.
const DETACHED: f64 = 100.0 * 365.0 * 86_400.0;

/// What shall run.
pub(super) struct Wanted {
    pub(super) tasks: Vec<v1::TaskInfo>,
    /// All of `tasks` together on one agent.
    pub(super) group: bool,
    /// Number of tasks.
    pub(super) count: usize,
}

impl Wanted {
    fn new(tasks: Vec<v1::TaskInfo>, group: bool) -> Self {
        Self { count: tasks.len(), tasks, group }
    }
}

pub(super) fn framework(flags: &Flags, role: &str) -> v1::FrameworkInfo {
    use v1::framework_info::capability::Type;
    let is_detached = flags.is_set("detach");
    let mut capabilities = vec![Type::ReservationRefinement, Type::TaskKillingState];
    if flags.is_set("partition_aware") {
        capabilities.push(Type::PartitionAware);
    }
    v1::FrameworkInfo {
        user: std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
        name: "mesos-execute instance".to_owned(),
        role: Some(role.to_owned()),
        checkpoint: Some(flags.is_set("checkpoint") || is_detached),
        failover_timeout: is_detached.then_some(DETACHED),
        principal: flags.text("principal").map(str::to_owned),
        capabilities: capabilities
            .into_iter()
            .map(|t| v1::framework_info::Capability { r#type: Some(t as i32) })
            .collect(),
        ..Default::default()
    }
}

pub(super) fn wanted(flags: &Flags, voice: Voice) -> Result<Wanted, String> {
    if let Some(group) = flags.message::<v1::TaskGroupInfo>("task_group")? {
        for name in ["task", "name", "command", "docker_image", "env"] {
            if flags.is_given(name) {
                return Err(format!("--{name} can't be given together with --task_group"));
            }
        }
        if group.tasks.is_empty() {
            return Err("--task_group: expected at least one task in 'tasks'".to_owned());
        }
        return Ok(Wanted::new(group.tasks, true));
    }
    if let Some(task) = flags.message::<v1::TaskInfo>("task")? {
        return Ok(Wanted::new(vec![task], false));
    }
    let container = container(flags)?;
    let command = command(flags, container.as_ref())?;
    let name = match (flags.text("name"), voice) {
        (Some(name), _) => name.to_owned(),
        (None, Voice::Mesos) => return Err("Missing required option --name".to_owned()),
        (None, Voice::Proffer) => format!("task-{:08x}", host::seed()? >> 32),
    };
    let resources = Resources::parse(flags.text("resources").unwrap_or_default(), "*");
    let resources = resources.map_err(|e| format!("--resources: {e}"))?.to_wire();
    let instances: usize = flags.number("instances")?;
    if instances == 0 {
        return Err("--instances: expected at least 1".to_owned());
    }
    let task = |id: String| v1::TaskInfo {
        name: name.clone(),
        task_id: id.into(),
        resources: resources.clone(),
        command: Some(command.clone()),
        container: container.clone(),
        ..Default::default()
    };
    let ids =
        (1..=instances).map(|n| if instances == 1 { name.clone() } else { format!("{name}-{n}") });
    Ok(Wanted::new(ids.map(task).collect(), false))
}

/// The container that flags describe, if they do.
fn container(flags: &Flags) -> Result<Option<v1::ContainerInfo>, String> {
    use v1::container_info::docker_info::Network;
    use v1::container_info::{DockerInfo, MesosInfo, Type};
    let (image, networks) = (flags.text("docker_image"), flags.text("networks"));
    let networks = networks.into_iter().flat_map(|text| text.split(',')).map(str::trim);
    let networks: Vec<&str> = networks.filter(|name| !name.is_empty()).collect();
    let network_infos = networks
        .iter()
        .map(|name| v1::NetworkInfo { name: Some((*name).to_owned()), ..Default::default() });
    // A list is no message: it is read as a field of one.
    let volumes = flags.text("volumes").map(|text| {
        let whole = format!("{{\"type\": \"MESOS\", \"volumes\": {text}}}");
        wire::json::from_slice::<v1::ContainerInfo>(whole.as_bytes())
            .map_err(|e| format!("--volumes: {e}"))
    });
    let container = v1::ContainerInfo {
        volumes: volumes.transpose()?.unwrap_or_default().volumes,
        network_infos: network_infos.collect(),
        ..Default::default()
    };
    match flags.text("containerizer") {
        Some("mesos") | None => {
            if image.is_none() && networks.is_empty() && container.volumes.is_empty() {
                return Ok(None);
            }
            let image = image.map(|name| v1::Image {
                r#type: v1::image::Type::Docker as i32,
                docker: Some(v1::image::Docker { name: name.to_owned(), ..Default::default() }),
                ..Default::default()
            });
            let mesos = image.map(|image| MesosInfo { image: Some(image) });
            Ok(Some(v1::ContainerInfo { r#type: Type::Mesos as i32, mesos, ..container }))
        }
        Some("docker") => {
            let image = image.ok_or("--containerizer=docker needs --docker_image")?.to_owned();
            if networks.len() > 1 {
                return Err("--networks: a container of Docker's has one network".to_owned());
            }
            let network = networks.first().map(|_| Network::User as i32);
            let docker = Some(DockerInfo { image, network, ..Default::default() });
            Ok(Some(v1::ContainerInfo { r#type: Type::Docker as i32, docker, ..container }))
        }
        Some(other) => Err(format!("--containerizer: expected mesos or docker, got '{other}'")),
    }
}

fn command(
    flags: &Flags,
    container: Option<&v1::ContainerInfo>,
) -> Result<v1::CommandInfo, String> {
    let has_image = container.is_some_and(|c| c.docker.is_some() || c.mesos.is_some());
    let is_docker = container.is_some_and(|c| c.docker.is_some());
    let mut command = match (flags.text("command"), flags.words.as_slice()) {
        (Some(_), [_, ..]) => {
            return Err("give the command once: as --command or as the last words".to_owned());
        }
        (Some(text), []) if flags.is_set("shell") => {
            v1::CommandInfo { value: Some(text.to_owned()), ..Default::default() }
        }
        (Some(text), []) => v1::CommandInfo {
            shell: Some(false),
            value: Some(text.to_owned()),
            arguments: if is_docker { Vec::new() } else { vec![text.to_owned()] },
            ..Default::default()
        },
        (None, [one]) if flags.is_set("shell") => {
            v1::CommandInfo { value: Some(one.clone()), ..Default::default() }
        }
        (None, words @ [program, ..]) => v1::CommandInfo {
            shell: Some(false),
            value: Some(program.clone()),
            // Docker's images want the program once.
            arguments: words[usize::from(is_docker)..].to_vec(),
            ..Default::default()
        },
        (None, []) if has_image => v1::CommandInfo { shell: Some(false), ..Default::default() },
        (None, []) => {
            return Err("nothing to run: give a command, --task or --task_group".to_owned());
        }
    };
    if let Some(text) = flags.text("env") {
        let map: BTreeMap<String, String> = serde_json::from_str(text)
            .map_err(|e| format!("--env: expected a JSON object of strings: {e}"))?;
        let variable = |(name, value)| v1::environment::Variable {
            name,
            value: Some(value),
            ..Default::default()
        };
        command.environment =
            Some(v1::Environment { variables: map.into_iter().map(variable).collect() });
    }
    Ok(command)
}
