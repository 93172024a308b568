use super::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn spec(command: v1::CommandInfo, container: v1::ContainerInfo) -> ContainerSpec {
    ContainerSpec {
        container_id: "c1".to_owned(),
        parent: None,
        pod: None,
        directory: "/agent/box".to_owned(),
        working_directory: None,
        latest_link: None,
        output: None,
        streams: None,
        rootfs: None,
        image_volumes: BTreeMap::new(),
        image_user: None,
        image_wants_nvidia: false,
        command,
        environment: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
        user: None,
        container: Some(container),
        resources: Vec::new(),
        limits: BTreeMap::new(),
        volumes: Vec::new(),
        recovery_timeout: Duration::ZERO,
        shutdown_grace_period: Duration::ZERO,
        unless_sandbox: false,
    }
}

fn docker(image: &str) -> v1::ContainerInfo {
    v1::ContainerInfo {
        r#type: v1::container_info::Type::Docker as i32,
        docker: Some(v1::container_info::DockerInfo {
            image: image.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn plan(spec: &ContainerSpec) -> Result<Plan, String> {
    let circumstances = Circumstances {
        sandbox_directory: "/mnt/mesos/sandbox".to_owned(),
        name_servers: Vec::new(),
        secrets: "/run/secrets".into(),
        host: Host { quota: false, memory: 1 << 30 },
    };
    Plan::of(spec, &circumstances, &[])
}

#[track_caller]
fn check_command(shell: bool, value: Option<&str>, arguments: &[&str], want: Value) {
    let command = v1::CommandInfo {
        shell: Some(shell),
        value: value.map(str::to_owned),
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        ..Default::default()
    };
    let body = plan(&spec(command, docker("a"))).expect("a plan").body;
    let got = json!([body.get("Entrypoint"), body.get("Cmd")]);
    assert_eq!(got, want);
}

#[test]
fn entrypoints_are_replaced_by_a_shell_only() {
    check_command(true, Some("echo $A"), &["ignored"], json!([["/bin/sh"], ["-c", "echo $A"]]));
    check_command(false, None, &[], json!([null, null]));
    check_command(false, Some("a"), &[], json!([null, ["a"]]));
    check_command(false, Some("a"), &["b", "c"], json!([null, ["a", "b", "c"]]));
    check_command(false, None, &["b"], json!([null, ["b"]]));
    let none = spec(v1::CommandInfo::default(), docker("a"));
    let text = plan(&none).expect_err("nothing to run");
    assert!(text.starts_with("'CommandInfo.value' is not set"), "{text}");
}

#[test]
fn a_plan_holds_everything() {
    let command = v1::CommandInfo { shell: Some(false), ..Default::default() };
    let mut container = docker(
        "registry:5000/app@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    );
    let info = container.docker.as_mut().expect("it was made so");
    info.privileged = Some(true);
    info.force_pull_image = Some(true);
    info.parameters =
        [("env", "A=2"), ("env", "MESOS_SANDBOX=/x"), ("hostname", "h"), ("rm", "true")]
            .map(|(key, value)| v1::Parameter { key: key.to_owned(), value: value.to_owned() })
            .to_vec();
    container.rlimit_info = Some(v1::RLimitInfo {
        rlimits: vec![v1::r_limit_info::RLimit {
            r#type: Some(v1::r_limit_info::r_limit::Type::RlmtNofile as i32),
            hard: Some(20),
            soft: Some(10),
        }],
    });
    let plan = plan(&spec(command, container)).expect("a plan");
    assert!(plan.pull_always && plan.beside.remove);
    let want = json!({
        "Image": "registry:5000/app@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "Hostname": "h",
        "Env": ["MESOS_CONTAINER_NAME=mesos-c1", "A=2", "MESOS_SANDBOX=/x"],
        "HostConfig": {
            "Privileged": true,
            "NetworkMode": "host",
            "Binds": ["/agent/box:/mnt/mesos/sandbox"],
            "Ulimits": [{ "Name": "nofile", "Soft": 10, "Hard": 20 }]
        }
    });
    assert_eq!(Value::Object(plan.body), want);
}

#[test]
fn images_without_a_tag_are_the_latest() {
    let plan = plan(&spec(
        v1::CommandInfo { value: Some("x".to_owned()), ..Default::default() },
        docker("a/b"),
    ));
    assert_eq!(plan.expect("a plan").body["Image"], json!("a/b:latest"));
}

#[test]
fn what_a_container_of_docker_can_not_have_is_refused() {
    let command = v1::CommandInfo { value: Some("x".to_owned()), ..Default::default() };
    let container = v1::ContainerInfo { tty_info: Some(v1::TtyInfo::default()), ..docker("a") };
    let text = "'ContainerInfo.tty_info' is not supported for containers of type DOCKER";
    assert_eq!(plan(&spec(command.clone(), container)), Err(text.to_owned()));
    let container = v1::ContainerInfo { docker: None, ..docker("a") };
    let text = "'ContainerInfo.docker' is not set";
    assert_eq!(plan(&spec(command.clone(), container)), Err(text.to_owned()));
    let container = docker("a b");
    assert!(plan(&spec(command, container)).is_err());
}
