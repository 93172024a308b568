//! Containers and images that mean harm.

use super::*;
use std::os::unix::fs::symlink;

/// Processes whose environment has this sandbox, seen from the host.
fn processes_of(sandbox: &Path) -> usize {
    let mark = sandbox.display().to_string();
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let environments = entries.filter_map(|e| std::fs::read(e.path().join("environ")).ok());
    environments.filter(|e| String::from_utf8_lossy(e).contains(&mark)).count()
}

const DEAF: &str = "trap '' TERM HUP INT; (setsid setsid sh -c 'trap \"\" TERM; echo daemon; while :; do sleep 0.1; done' &) ; echo ready; while :; do sleep 0.1; done";

#[tokio::test]
async fn what_ignores_signals_and_what_is_forked_twice_goes_with_the_container() {
    for isolation in ["filesystem/linux", LINUX] {
        let Some(mut host) = host(isolation) else { return };
        host.start("a", DEAF).await;
        host.wait_for_stdout("a", "ready").await;
        host.wait_for_stdout("a", "daemon").await;
        host.mesos.signal("a", 15);
        assert!(processes_of(&host.sandbox("a")) >= 2);
        host.mesos.destroy("a");
        assert_eq!(host.exit().await, ("a".to_owned(), Some(9)), "{isolation}");
        assert_eq!(processes_of(&host.sandbox("a")), 0, "{isolation}");
        // The end of the main process takes daemons along.
        host.start(
            "b",
            "(setsid setsid sh -c 'echo daemon; exec sleep 1000' &); sleep 0.2; exit 3",
        )
        .await;
        assert_eq!(host.exit().await, ("b".to_owned(), Some(3 << 8)), "{isolation}");
        assert_eq!(processes_of(&host.sandbox("b")), 0, "{isolation}");
        host.assert_no_mounts();
    }
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_namespace_along() {
    let Some(mut host) = host(LINUX) else { return };
    let supervisor = host.start("a", DEAF).await;
    host.wait_for_stdout("a", "daemon").await;
    let killed = Command::new("kill").args(["-9", &supervisor.to_string()]).status();
    assert!(killed.expect("kill runs").success());
    assert_eq!(host.exit().await, ("a".to_owned(), None));
    assert_eq!(processes_of(&host.sandbox("a")), 0);
    host.assert_no_mounts();
}

#[tokio::test]
async fn nobody_inside_can_end_or_look_at_the_init() {
    let Some(mut host) = host(LINUX) else { return };
    let script = "kill -9 1; kill -15 1; kill -19 1; sleep 0.1; echo still here; cat /proc/1/environ | wc -c; \
                  echo x > /proc/1/exe || echo kept";
    let mut spec = host.spec("a", script);
    spec.user = Some("nobody".to_owned());
    let (status, seen, _) = host.run(spec).await;
    assert_eq!((status, seen.as_str()), (Some(0), "still here\n0\nkept\n"));
}

#[tokio::test]
async fn links_of_an_image_do_not_lead_mounts_out_of_it() {
    let Some(mut host) = host(LINUX) else { return };
    let victim = host.directory.join("victim");
    std::fs::create_dir(&victim).expect("a directory");
    let root = host.rootfs();
    let climb = "../../../../../../../../../..";
    symlink(&victim, root.join("absolute")).expect("a link");
    symlink(format!("{climb}{}", victim.display()), root.join("climbing")).expect("a link");
    symlink(victim.join("file"), root.join("dangling")).expect("a link");
    let source = host.directory.join("source");
    std::fs::create_dir(&source).expect("a directory");
    std::fs::write(source.join("x"), "").expect("a file");
    for (number, path) in
        ["/absolute/new", "/climbing/new", "/absolute", "/climbing"].iter().enumerate()
    {
        let mut spec = host.spec_in_rootfs(&format!("c{number}"), &format!("ls {path}"));
        spec.container = container(v1::ContainerInfo {
            volumes: vec![v1::Volume {
                mode: v1::volume::Mode::Rw as i32,
                container_path: (*path).to_owned(),
                host_path: Some(source.display().to_string()),
                ..Default::default()
            }],
            ..Default::default()
        });
        // Inside the image the links lead to a path of the image, which is made if it can be.
        match host.mesos.start(spec).await {
            Ok(_) => drop(host.exit().await),
            Err(StartError::Launch(text)) => assert!(text.contains("cannot mount on"), "{text}"),
            Err(other) => panic!("{other:?}"),
        }
        assert!(victim.read_dir().expect("a directory").next().is_none(), "{path}");
        host.assert_no_mounts();
    }
}

#[tokio::test]
async fn system_directories_of_an_image_that_are_links_are_refused() {
    let Some(host) = host(LINUX) else { return };
    for name in ["proc", "sys", "dev"] {
        let root = host.rootfs();
        std::fs::remove_dir(root.join(name)).expect("removed");
        symlink("/etc", root.join(name)).expect("a link");
        let text = host.refusal(host.spec_in_rootfs("a", "true")).await;
        assert!(text.starts_with(&format!("cannot mount on /{name}")), "{text}");
        std::fs::remove_file(root.join(name)).expect("removed");
        std::fs::create_dir(root.join(name)).expect("made again");
    }
}

#[tokio::test]
async fn links_of_a_sandbox_do_not_lead_out_of_it() {
    let Some(host) = host(LINUX) else { return };
    let victim = host.directory.join("victim");
    std::fs::create_dir(&victim).expect("a directory");
    let sandbox = host.sandbox("a");
    std::fs::create_dir_all(&sandbox).expect("a sandbox");
    symlink(&victim, sandbox.join("out")).expect("a link");
    let volume = |path: &str| {
        container(v1::ContainerInfo {
            volumes: vec![v1::Volume {
                mode: v1::volume::Mode::Rw as i32,
                container_path: path.to_owned(),
                host_path: Some("/etc".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        })
    };
    for path in ["out/new", "out", "../new"] {
        let mut spec = host.spec("a", "true");
        spec.container = volume(path);
        let text = host.refusal(spec).await;
        assert!(text.contains(&format!("cannot mount on {path} in the sandbox")), "{text}");
    }
    let mut spec = host.spec("a", "true");
    spec.container = container(v1::ContainerInfo {
        volumes: vec![v1::Volume {
            mode: v1::volume::Mode::Rw as i32,
            container_path: "/mnt".to_owned(),
            host_path: Some("out/new".to_owned()),
            ..Default::default()
        }],
        ..Default::default()
    });
    let text = host.refusal(spec).await;
    assert!(text.contains("cannot use 'out/new' inside"), "{text}");
    // Nor does the file for its output.
    std::fs::remove_file(sandbox.join("stdout")).expect("removed");
    symlink(victim.join("stolen"), sandbox.join("stdout")).expect("a link");
    let text = host.refusal(host.spec("a", "echo x")).await;
    assert!(text.contains("/stdout"), "{text}");
    assert!(victim.read_dir().expect("a directory").next().is_none());
}

#[test]
fn links_that_the_agent_makes_stay_in_their_directory() {
    let directory = testkit::cluster::temporary_directory();
    let (sandbox, victim) = (directory.join("sandbox"), directory.join("victim"));
    std::fs::create_dir(&sandbox).expect("a directory");
    std::fs::create_dir(&victim).expect("a directory");
    symlink(&victim, sandbox.join("out")).expect("a link");
    let link = |path: &str| containerizer::link(&sandbox, path.as_ref(), Path::new("/volume"));
    for path in ["out/new", "../victim/new", "/etc/new"] {
        assert!(link(path).is_err(), "{path}");
    }
    assert!(victim.read_dir().expect("a directory").next().is_none());
    link("deep/new").expect("a link");
    // Who comes later replaces a link, also one that leads out.
    link("out").expect("a link");
    let target = |path: &str| std::fs::read_link(sandbox.join(path)).expect("a link");
    assert_eq!([target("deep/new"), target("out")], [Path::new("/volume"), Path::new("/volume")]);
}
