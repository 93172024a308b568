//! Containers that send and receive no faster than they may, measured.

use super::bridge::Bridged;
use super::*;
use containerizer::isolation::Running;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

/// Megabits a second, as a container asks for them.
const MEGABITS: f64 = 16.0;
/// The same in bytes.
const BYTES: f64 = 2_000_000.0;
/// What is sent: three seconds' worth.
const AMOUNT: usize = 6_000_000;

fn bandwidth(megabits: f64) -> Vec<v1::Resource> {
    let resource =
        json!({"name": "network_bandwidth", "type": "SCALAR", "scalar": {"value": megabits}});
    vec![wire::json::from_value(&resource).expect("a resource")]
}

/// Interfaces of the host that are limited.
fn limits() -> usize {
    let queues = Command::new("tc").args(["qdisc", "show"]).output().expect("tc runs").stdout;
    String::from_utf8_lossy(&queues).matches("qdisc tbf").count()
}

/// Seconds in which the container sends so many bytes to the host, and receives as many from it.
async fn measure(host: &Host, id: &str, listener: &TcpListener) -> [f64; 2] {
    let begin = format!("begin-{}", listener.local_addr().expect("an address").port());
    std::fs::write(host.sandbox(id).join("begin"), &begin).expect("a word to begin");
    let listener = listener.try_clone().expect("a listener");
    let measured = tokio::task::spawn_blocking(move || {
        let timed = |what: fn(TcpStream)| {
            let (stream, _) = listener.accept().expect("a connection");
            let begun = Instant::now();
            what(stream);
            begun.elapsed().as_secs_f64()
        };
        let sent = timed(|mut stream| {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).expect("bytes");
            assert_eq!(rest.len(), AMOUNT);
        });
        let received = timed(|mut stream| {
            stream.write_all(&vec![1; AMOUNT]).expect("written");
            stream.shutdown(std::net::Shutdown::Write).expect("an end");
            // The container says when it has all of it.
            assert_eq!(stream.read(&mut [0; 1]).expect("a word"), 1);
        });
        [sent, received]
    });
    measured.await.expect("no panic")
}

#[tokio::test]
async fn what_is_sent_and_received_keeps_to_the_rate_that_was_asked_for() {
    let Some(mut bridged) = Bridged::new("posix/cpu", 5) else { return };
    let before = limits();
    // Each time that it is told to, it sends and receives.
    let script = format!(
        "import socket,os,time\n\
         while True:\n \
          while not os.path.exists('begin'): time.sleep(0.01)\n \
          port=int(open('begin').read().split('-')[1]); os.remove('begin')\n \
          s=socket.create_connection(('{}.1',port)); s.sendall(b'x'*{AMOUNT}); s.close()\n \
          s=socket.create_connection(('{}.1',port)); n=0\n \
          while n<{AMOUNT}: n+=len(s.recv(65536))\n \
          s.sendall(b'.'); s.close()\n",
        bridged.net, bridged.net
    );
    let path = bridged.networked.directory.join("transfer.py");
    std::fs::write(&path, script).expect("a script");
    let command = format!("exec python3 {}", path.display());
    let mut spec = bridged.networked.spec("a", &command, &["net"]);
    spec.resources = bandwidth(MEGABITS);
    let pid = bridged.networked.start(spec).await.expect("it starts").pid;
    let listener = TcpListener::bind((format!("{}.1", bridged.net), 0)).expect("a listener");
    let host = &mut bridged.networked.host;

    let least = (AMOUNT as f64) / BYTES * 0.8;
    for seconds in measure(host, "a", &listener).await {
        assert!(seconds > least && seconds < 4.0 * least, "{AMOUNT} bytes took {seconds} s");
    }
    let running = [Running { container_id: "a".to_owned(), supervisor: pid }];
    let used = host.mesos.usage(&running).remove(0);
    assert_eq!(
        (used.net_tx_rate_limit, used.net_rx_rate_limit),
        (Some(2_000_000), Some(2_000_000))
    );
    assert!(used.net_tx_bytes > Some(AMOUNT as u64), "{used:?}");
    assert!(used.net_rx_bytes > Some(AMOUNT as u64), "{used:?}");

    // Faster by another request, and without one as fast as it can.
    for (resources, most) in [(bandwidth(100.0 * MEGABITS), least / 2.0), (Vec::new(), least / 2.0)]
    {
        let limit = (!resources.is_empty()).then_some(200_000_000);
        host.mesos.update("a", resources, BTreeMap::new());
        let changed = || host.mesos.usage(&running)[0].net_tx_rate_limit == limit;
        for _ in 0..2000 {
            if changed() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(changed());
        for seconds in measure(host, "a", &listener).await {
            assert!(seconds < most, "{AMOUNT} bytes took {seconds} s");
        }
    }
    host.mesos.destroy("a");
    host.exit().await;
    bridged.assert_nothing_left();
    assert_eq!(limits(), before, "a limit is left");
}

#[tokio::test]
async fn an_interface_without_another_end_can_not_be_limited() {
    let Some(networked) = Networked::new("posix/cpu") else { return };
    networked.configure(&json!({"name": "net", "cniVersion": "0.4.0", "type": "fake"}));
    networked.plugin(
        "fake",
        "[ $CNI_COMMAND = DEL ] && exit 0\n\
         nsenter --net=$CNI_NETNS ip link add eth0 type bridge >&2 && echo '{\"cniVersion\": \"0.4.0\"}'",
    );
    let mut spec = networked.spec("a", "true", &["net"]);
    spec.resources = bandwidth(1.0);
    let text = networked.refusal(spec).await;
    let want = "network/cni: cannot limit how fast eth0 receives: it has no other end on the host";
    assert_eq!(text, want);
    networked.assert_nothing_left();
}
