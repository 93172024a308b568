//! Namespaces of containers that share the file system of the host.

use super::*;
use v1::linux_info::IpcMode;

fn namespace(name: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace").display().to_string()
}

#[tokio::test]
async fn each_container_has_namespaces_of_its_own() {
    let Some(mut host) = host(LINUX) else { return };
    let script = "for n in mnt pid ipc net uts; do readlink /proc/self/ns/$n; done; \
                  echo $$; ls /proc | grep -c '^[0-9]'; cat /proc/1/comm";
    let seen = host.output(host.spec("a", script)).await;
    let lines: Vec<&str> = seen.lines().collect();
    for (line, name) in lines.iter().zip(["mnt", "pid", "ipc"]) {
        assert_ne!(*line, namespace(name), "{name}");
    }
    assert_eq!(lines[3..5], [namespace("net"), namespace("uts")]);
    // The shell is the second process; the other two are of the line itself.
    assert_eq!(lines[5..], ["2", "4", "proffer-supervi"]);
}

#[tokio::test]
async fn a_container_may_share_the_processes_of_the_host_unless_that_is_disallowed() {
    let share = linux(v1::LinuxInfo { share_pid_namespace: Some(true), ..Default::default() });
    let Some(mut host) = host(LINUX) else { return };
    let mut spec = host.spec("a", "readlink /proc/self/ns/pid");
    spec.container = share.clone();
    assert_eq!(host.output(spec).await.trim(), namespace("pid"));
    let settings =
        Settings { disallow_sharing_pid: true, disallow_sharing_ipc: true, ..Settings::default() };
    let Some(strict) = host_with(LINUX, settings) else { return };
    let mut spec = strict.spec("a", "true");
    spec.container = share;
    let text = strict.refusal(spec).await;
    assert!(text.contains("--disallow_sharing_agent_pid_namespace"), "{text}");
    let mut spec = strict.spec("b", "true");
    spec.container =
        linux(v1::LinuxInfo { ipc_mode: Some(IpcMode::ShareParent as i32), ..Default::default() });
    let text = strict.refusal(spec).await;
    assert!(text.contains("--disallow_sharing_agent_ipc_namespace"), "{text}");
}

#[tokio::test]
async fn shared_memory_is_that_of_the_host_or_of_its_own_size() {
    let Some(mut host) = host(LINUX) else { return };
    let marker = format!("/dev/shm/proffer-test-{}", std::process::id());
    std::fs::write(&marker, "").expect("a file");
    let script = format!(
        "test -e {marker} && echo of the host; readlink /proc/self/ns/ipc; stat -f -c '%b %S' /dev/shm"
    );
    let ipc = |mode: IpcMode, size| {
        linux(v1::LinuxInfo { ipc_mode: Some(mode as i32), shm_size: size, ..Default::default() })
    };
    let mut spec = host.spec("private", &script);
    spec.container = ipc(IpcMode::Private, Some(3));
    let seen = host.output(spec).await;
    assert!(!seen.contains("of the host") && !seen.contains(&namespace("ipc")), "{seen}");
    assert_eq!(seen.lines().last(), Some("768 4096"));
    let mut spec = host.spec("shared", &script);
    spec.container = ipc(IpcMode::ShareParent, None);
    let seen = host.output(spec).await;
    assert!(seen.starts_with("of the host\n") && seen.contains(&namespace("ipc")), "{seen}");
    let mut spec = host.spec_in_rootfs("root", &script);
    spec.container = ipc(IpcMode::ShareParent, None);
    assert!(host.output(spec).await.starts_with("of the host\n"));
    let mut spec = host.spec("wrong", "true");
    spec.container = ipc(IpcMode::ShareParent, Some(3));
    let text = host.refusal(spec).await;
    assert!(text.contains("'linux_info.shm_size' needs 'ipc_mode' to be PRIVATE"), "{text}");
    std::fs::remove_file(&marker).expect("removed");
}

#[tokio::test]
async fn mounts_of_a_container_stay_in_it() {
    let Some(mut host) = host("filesystem/linux") else { return };
    let spec = host.spec("a", "mkdir m && mount -t tmpfs none m && touch m/x && ls m");
    assert_eq!(host.output(spec).await, "x\n");
    assert!(!host.sandbox("a").join("m/x").exists());
}

#[tokio::test]
async fn status_and_signals_pass_the_init() {
    let Some(mut host) = host(LINUX) else { return };
    assert_eq!(host.run(host.spec("a", "exit 7")).await.0, Some(7 << 8));
    assert_eq!(host.run(host.spec("b", "kill -9 $$")).await.0, Some(9));
    host.start("c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done").await;
    host.wait_for_stdout("c", "ready").await;
    host.mesos.signal("c", 15);
    assert_eq!(host.exit().await, ("c".to_owned(), Some(5 << 8)));
    // Without a handler it dies of the signal, which the first process of a namespace would not.
    host.start("d", "echo ready; exec sleep 1000").await;
    host.wait_for_stdout("d", "ready").await;
    host.mesos.signal("d", 15);
    assert_eq!(host.exit().await, ("d".to_owned(), Some(15)));
    let missing = host.spec("e", "/no/such/program");
    let mut missing = ContainerSpec { rootfs: None, ..missing };
    missing.command.shell = Some(false);
    let (status, _, stderr) = host.run(missing).await;
    assert_eq!(status, Some(1 << 8));
    assert!(stderr.starts_with("Failed to execute '/no/such/program': No such file"), "{stderr}");
}

#[tokio::test]
async fn a_container_goes_on_without_its_agent_and_is_found_again() {
    let Some(host) = host(LINUX) else { return };
    let directory = host.directory.clone();
    let spec =
        host.spec_in_rootfs("a", "echo ready; while [ ! -e gate ]; do sleep 0.02; done; exit 4");
    let started = std::thread::spawn({
        let directory = directory.clone();
        move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async move {
                let host = Host::isolated(directory, LINUX, Settings::default());
                let pid = host.mesos.start(spec).await.expect("it starts").pid;
                host.wait_for_stdout("a", "ready").await;
                pid
            })
        }
    });
    let supervisor = started.join().expect("no panic");
    let mut next = Host::isolated(directory, LINUX, Settings::default());
    let found = next.mesos.recover().await.expect("recovery");
    assert_eq!(found.iter().map(|f| f.pid).collect::<Vec<_>>(), [Some(supervisor)]);
    std::fs::write(next.sandbox("a").join("gate"), "").expect("the gate opens");
    assert_eq!(next.exit().await, ("a".to_owned(), Some(4 << 8)));
    next.assert_no_mounts();
}
