//! Containers that listen on ports of the host, theirs or not.

use super::*;
use containerizer::isolation::PortsOptions;
use v1::task_status::Reason;

fn host(directory: PathBuf, change: impl FnOnce(&mut PortsOptions)) -> Host {
    let names = "posix/cpu,network/ports";
    let selection = Selection::new(names, Some(Launcher::Posix), cgroups::Options::default());
    let mut ports =
        PortsOptions { interval: Duration::from_millis(20), is_enforced: true, range: None };
    change(&mut ports);
    Host::with_options(directory, |options| {
        options.isolation = selection.expect("isolators");
        options.settings = Settings { ports, ..Settings::default() };
    })
}

/// A port on which nobody listens at this moment.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A container that listens on a port, in a process that has left its parents.
fn listener(host: &Host, id: &str, port: u16, given: Option<u16>) -> ContainerSpec {
    let script = format!(
        "import socket,time; s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); \
         s.bind((\"127.0.0.1\",{port})); s.listen(); print(\"listens\",flush=True); time.sleep(1000)"
    );
    let mut spec = host.spec(id, &format!("(setsid python3 -c '{script}' &); sleep 1000"));
    let range = |port: u16| json!({"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": port, "end": port}]}});
    let given = given.map(|port| wire::json::from_value(&range(port)).expect("a resource"));
    spec.resources = given.into_iter().collect();
    spec
}

/// Waits until the host was looked at some times.
async fn some_rounds() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn who_listens_on_a_port_that_is_not_its_own_is_ended_and_told_why() {
    let mut host = host(testkit::cluster::temporary_directory(), |_| {});
    let (own, foreign) = (free_port(), free_port());
    host.mesos.start(listener(&host, "good", own, Some(own))).await.expect("it starts");
    host.wait_for_stdout("good", "listens").await;
    host.mesos.start(listener(&host, "bad", foreign, Some(own))).await.expect("it starts");
    let exited = tokio::time::timeout(Duration::from_secs(30), host.exits.recv()).await;
    let exited = exited.expect("an end in time").expect("an end");
    assert_eq!(exited.container_id, "bad");
    let limitation = exited.limitation.expect("a reason");
    assert_eq!(limitation.reason, Reason::ContainerLimitation);
    let want = format!("Container bad is listening on unallocated port(s): [{foreign}-{foreign}]");
    assert_eq!(limitation.message, want);
    let ranges = limitation.resources[0].ranges.clone().expect("ranges").range;
    assert_eq!(ranges, [v1::value::Range { begin: foreign.into(), end: foreign.into() }]);
    some_rounds().await;
    // Ports may come later; what it has no more it must not use.
    let resources = listener(&host, "good", own, None).resources;
    host.mesos.update("good", resources, BTreeMap::new());
    assert_eq!(host.exit().await.0, "good");
}

#[tokio::test]
async fn tasks_of_a_pod_may_use_each_others_ports_and_only_a_range_may_matter() {
    let mut ports = Vec::new();
    let mut host = host(testkit::cluster::temporary_directory(), |options| {
        ports = vec![free_port(), free_port()];
        ports.sort_unstable();
        options.range = Some(vec![(ports[0].into(), ports[0].into())]);
    });
    let outside = listener(&host, "outside", ports[1], None);
    host.mesos.start(outside).await.expect("it starts");
    let pod = crate::pods::pod(&[]);
    let mut mate = host.spec("mate", "sleep 1000");
    mate.resources = listener(&host, "", 0, Some(ports[0])).resources;
    mate.pod = Some(pod.clone());
    host.mesos.start(mate).await.expect("it starts");
    let mut uses = listener(&host, "uses", ports[0], None);
    uses.pod = Some(pod);
    host.mesos.start(uses).await.expect("it starts");
    host.wait_for_stdout("uses", "listens").await;
    host.wait_for_stdout("outside", "listens").await;
    some_rounds().await;
    assert!(host.exits.try_recv().is_err());
    host.mesos.destroy("mate");
    assert_eq!(host.exit().await.0, "mate");
    // What was given to nobody who is left is nobody's.
    assert_eq!(host.exit().await.0, "uses");
    host.mesos.destroy("outside");
    assert_eq!(host.exit().await.0, "outside");
}

#[tokio::test]
async fn a_container_of_a_former_agent_keeps_its_ports() {
    let directory = testkit::cluster::temporary_directory();
    let (own, foreign) = (free_port(), free_port());
    let former = host(directory.clone(), |options| options.is_enforced = false);
    former.mesos.start(listener(&former, "good", own, Some(own))).await.expect("it starts");
    former.mesos.start(listener(&former, "bad", foreign, Some(own))).await.expect("it starts");
    former.wait_for_stdout("good", "listens").await;
    former.wait_for_stdout("bad", "listens").await;
    some_rounds().await;
    let mut next = host(directory, |_| {});
    assert_eq!(next.mesos.recover().await.expect("recovery").len(), 2);
    assert_eq!(next.exit().await.0, "bad", "the former agent only told of it");
    some_rounds().await;
    assert!(next.exits.try_recv().is_err());
    next.mesos.destroy("good");
    assert_eq!(next.exit().await.0, "good");
}
