//! Containers inside others: they share what they do not separate.

use super::*;
use v1::linux_info::IpcMode;

const NAMESPACES: &str = "for n in mnt pid ipc; do readlink /proc/self/ns/$n; done";

impl Host {
    fn inside(&self, parent: &str, id: &str, command: &str) -> ContainerSpec {
        let mut spec = self.spec(&format!("{parent}/containers/{id}"), command);
        spec.container_id = id.to_owned();
        spec.parent = Some(parent.to_owned());
        spec
    }

    async fn inner_output(&mut self, parent: &str, spec: ContainerSpec) -> String {
        let (id, sandbox) =
            (spec.container_id.clone(), format!("{parent}/containers/{}", spec.container_id));
        self.mesos.start(spec).await.expect("it starts");
        let ended = self.exit().await;
        let errors = std::fs::read_to_string(self.sandbox(&sandbox).join("stderr"));
        assert_eq!(ended, (id, Some(0)), "{errors:?}");
        self.stdout(&sandbox)
    }
}

#[tokio::test]
async fn one_without_a_description_is_as_the_processes_of_the_other() {
    let Some(mut host) = host(LINUX) else { return };
    let script = format!("{NAMESPACES}; touch /tmp/here; echo ready; exec sleep 1000");
    host.mesos.start(host.spec_in_rootfs("outer", &script)).await.expect("it starts");
    host.wait_for_stdout("outer", "ready").await;
    let outer = host.stdout("outer");
    let script = format!(
        "{NAMESPACES}; echo $MESOS_SANDBOX; ls /tmp; cat /proc/1/comm; kill -0 2 && echo sees it"
    );
    let seen = host.inner_output("outer", host.inside("outer", "inner", &script)).await;
    let same = outer.strip_suffix("ready\n").expect("ready");
    let expected =
        format!("{same}/mnt/mesos/sandbox/containers/inner\nhere\nproffer-supervi\nsees it\n");
    assert_eq!(seen, expected);
    // Where it starts can be the sandbox of the other; users are those that the other knows.
    let mut spec = host.inside("outer", "second", "pwd; id -u; echo $MESOS_SANDBOX");
    spec.working_directory = Some(host.sandbox("outer").display().to_string());
    spec.user = Some("imaged".to_owned());
    assert_eq!(
        host.inner_output("outer", spec).await,
        "/mnt/mesos/sandbox\n4321\n/mnt/mesos/sandbox/containers/second\n"
    );
    host.mesos.destroy("outer");
    assert_eq!(host.exit().await, ("outer".to_owned(), Some(9)));
    host.assert_no_mounts();
}

#[tokio::test]
async fn what_it_leaves_behind_goes_with_it_and_not_with_the_other() {
    let Some(mut host) = host(LINUX) else { return };
    host.mesos
        .start(host.spec_in_rootfs("outer", "echo ready; exec sleep 1000"))
        .await
        .expect("it starts");
    host.wait_for_stdout("outer", "ready").await;
    let daemon = "(setsid setsid sh -c 'echo $$; exec sleep 1000' &); sleep 0.2";
    let pid = host.inner_output("outer", host.inside("outer", "inner", daemon)).await;
    let count = format!("test -e /proc/{} && echo alive || echo dead", pid.trim());
    assert_eq!(host.inner_output("outer", host.inside("outer", "look", &count)).await, "dead\n");
    // One that does not want to end is killed.
    let deaf = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    host.mesos.start(host.inside("outer", "deaf", deaf)).await.expect("it starts");
    host.wait_for_stdout("outer/containers/deaf", "ready").await;
    host.mesos.signal("deaf", 15);
    host.mesos.destroy("deaf");
    assert_eq!(host.exit().await, ("deaf".to_owned(), Some(9)));
    host.mesos.destroy("outer");
    assert_eq!(host.exit().await, ("outer".to_owned(), Some(9)));
    host.assert_no_mounts();
}

#[tokio::test]
async fn one_with_a_description_has_what_that_separates() {
    let Some(mut host) = host(LINUX) else { return };
    let script = format!("{NAMESPACES}; touch /dev/shm/outer; echo ready; exec sleep 1000");
    let mut spec = host.spec_in_rootfs("outer", &script);
    spec.container = linux(v1::LinuxInfo {
        ipc_mode: Some(IpcMode::Private as i32),
        shm_size: Some(1),
        ..Default::default()
    });
    host.mesos.start(spec).await.expect("it starts");
    host.wait_for_stdout("outer", "ready").await;
    let outer: Vec<String> = host.stdout("outer").lines().map(str::to_owned).collect();
    let script = format!("{NAMESPACES}; ls /dev/shm; echo $$; pwd");
    let mut spec = host.inside("outer", "inner", &script);
    spec.rootfs = Some(Root::directory(host.rootfs()));
    spec.container =
        linux(v1::LinuxInfo { ipc_mode: Some(IpcMode::ShareParent as i32), ..Default::default() });
    let seen = host.inner_output("outer", spec).await;
    let lines: Vec<&str> = seen.lines().collect();
    assert_ne!(lines[0], outer[0], "mounts are its own");
    assert_ne!(lines[1], outer[1], "processes are its own");
    assert_eq!(lines[2], outer[2], "objects are those of the other");
    assert_eq!(lines[3..], ["outer", "2", "/mnt/mesos/sandbox"]);
    host.mesos.destroy("outer");
    host.exit().await;
    host.assert_no_mounts();
}
