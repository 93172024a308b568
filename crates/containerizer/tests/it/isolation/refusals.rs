//! What is asked for and not provided is refused, and says by whom it would be.

use super::*;

#[tokio::test]
async fn each_wish_names_the_isolator_that_it_needs() {
    let host = Host::new();
    let volume = |volume: v1::Volume| {
        let volume = v1::Volume { container_path: "v".to_owned(), mode: 1, ..volume };
        container(v1::ContainerInfo { volumes: vec![volume], ..Default::default() })
    };
    let secret = v1::volume::Source {
        r#type: Some(v1::volume::source::Type::Secret as i32),
        secret: Some(v1::Secret::default()),
        ..Default::default()
    };
    let capabilities = || Some(v1::CapabilityInfo::default());
    let cases = [
        (
            linux(v1::LinuxInfo { effective_capabilities: capabilities(), ..Default::default() }),
            "'ContainerInfo.linux_info.effective_capabilities' needs 'linux/capabilities' in --isolation",
        ),
        (
            linux(v1::LinuxInfo {
                seccomp: Some(v1::SeccompInfo::default()),
                ..Default::default()
            }),
            "'ContainerInfo.linux_info.seccomp' needs 'linux/seccomp' in --isolation",
        ),
        (
            linux(v1::LinuxInfo { ipc_mode: Some(1), ..Default::default() }),
            "'ContainerInfo.linux_info.ipc_mode' needs 'namespaces/ipc' in --isolation",
        ),
        (
            container(v1::ContainerInfo {
                rlimit_info: Some(v1::RLimitInfo::default()),
                ..Default::default()
            }),
            "'ContainerInfo.rlimit_info' needs 'posix/rlimits' in --isolation",
        ),
        (
            volume(v1::Volume { host_path: Some("/x".to_owned()), ..Default::default() }),
            "the volume at 'v' needs 'volume/host_path' in --isolation",
        ),
        (
            volume(v1::Volume { host_path: Some("x".to_owned()), ..Default::default() }),
            "the volume at 'v' needs 'volume/sandbox_path' in --isolation",
        ),
        (
            volume(v1::Volume { source: Some(secret), ..Default::default() }),
            "the volume at 'v' needs 'volume/secret' in --isolation",
        ),
        (
            volume(v1::Volume::default()),
            "the volume at 'v': exactly one of 'host_path', 'image' and 'source' must be set",
        ),
    ];
    for (container, text) in cases {
        let mut spec = host.spec("a", "true");
        spec.container = container;
        assert_eq!(host.refusal(spec).await, text);
    }
    let mut spec = host.spec("a", "true");
    spec.rootfs = Some(Root::directory("/"));
    let text = "a root file system of its own needs 'filesystem/linux' in --isolation";
    assert_eq!(host.refusal(spec).await, text);
}

#[tokio::test]
async fn images_are_refused_by_an_agent_that_knows_none() {
    let Some(host) = host(LINUX) else { return };
    let mut spec = host.spec("a", "true");
    let volume = v1::Volume {
        container_path: "v".to_owned(),
        mode: 1,
        image: Some(v1::Image::default()),
        ..Default::default()
    };
    spec.container = container(v1::ContainerInfo { volumes: vec![volume], ..Default::default() });
    let text = host.refusal(spec).await;
    assert_eq!(
        text,
        "the container has an image, and this agent knows none: --image_providers is not set"
    );
}

#[test]
fn isolators_that_need_others_say_so() {
    if !is_root() {
        eprintln!("skipped: without root another fault is found first");
        return;
    }
    let directory = testkit::cluster::temporary_directory();
    for (isolation, text) in [
        ("namespaces/pid", "isolator 'namespaces/pid': it needs 'filesystem/linux' in --isolation"),
        ("volume/secret", "isolator 'volume/secret': it needs 'filesystem/linux' in --isolation"),
        ("linux/seccomp", "isolator 'linux/seccomp': it needs --seccomp_config_dir"),
    ] {
        let isolation = select(isolation);
        let options = MesosOptions { isolation, ..options(&directory) };
        let error = Mesos::new(&options).expect_err("refused");
        assert_eq!(error.to_string(), text);
    }
}
