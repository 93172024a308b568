//! One network for all tasks of a pod.

use super::*;
use containerizer::Pod;

const ANSWER: &str = r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.0.0.9/24"}]}'; exit 0"#;

impl Networked {
    /// A task of a pod that is on a network.
    fn of_pod(&self, id: &str, command: &str) -> ContainerSpec {
        let mut spec = self.spec(id, command, &["net"]);
        let mut container = spec.container.take().expect("one");
        container.hostname = Some("pod-host".to_owned());
        spec.pod = Some(Pod { container: Some(container), ..crate::pods::pod(&[]) });
        spec
    }
}

#[tokio::test]
async fn tasks_share_the_network_of_their_pod_until_the_last_one_has_ended() {
    let Some(mut networked) = Networked::new("posix/cpu") else { return };
    networked.configure(&json!({"name": "net", "cniVersion": "0.4.0", "type": "fake"}));
    networked.plugin("fake", ANSWER);
    let serve = "exec python3 -c 'import socket\ns=socket.socket(); s.bind((\"127.0.0.1\",8080)); s.listen(); \
                 print(\"ready\",flush=True)\nwhile True: s.accept()[0].sendall(b\"hello\")'";
    let started = networked.start(networked.of_pod("a", serve)).await.expect("it starts");
    assert_eq!(ip(started.appearance), "10.0.0.9");
    networked.host.wait_for_stdout("a", "ready").await;
    let ask = "hostname; exec python3 -c 'import socket; \
               print(socket.create_connection((\"127.0.0.1\",8080)).recv(9).decode())'";
    let out = networked.output(networked.of_pod("b", ask)).await;
    assert_eq!(out, "pod-host\nhello\n");
    // The next agent knows who is in it.
    networked.restart();
    networked.recover().await;
    assert_eq!(networked.output(networked.of_pod("c", ask)).await, "pod-host\nhello\n");
    // One with a network of its own is not.
    let own = networked.spec("d", ask, &["net"]);
    let own = ContainerSpec { pod: networked.of_pod("d", "").pod, ..own };
    networked.start(own).await.expect("it starts");
    let (ended, status) = networked.host.exit().await;
    assert_eq!((ended.as_str(), status), ("d", Some(1 << 8)), "nobody listens there");
    let calls = networked.calls();
    assert!(!calls.contains(&"DEL pod eth0".to_owned()), "{calls:?}");
    networked.host.mesos.destroy("a");
    networked.host.exit().await;
    let calls = networked.calls();
    let want = ["ADD pod eth0", "CHECK pod eth0", "ADD d eth0", "DEL d eth0", "DEL pod eth0"];
    assert_eq!(calls, want);
    networked.assert_nothing_left();
}
