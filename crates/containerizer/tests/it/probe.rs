//! Looking at containers over their network.

use crate::Host;
use crate::download::serve;
use containerizer::{Containerizer as _, ProbeAnswer, Target};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

impl Host {
    async fn http(&self, uri: String) -> Result<ProbeAnswer, String> {
        self.mesos.probe("none", Target::Http { uri }).await
    }

    async fn tcp(&self, container_id: &str, port: u32) -> Result<ProbeAnswer, String> {
        let target = Target::Tcp { host: "127.0.0.1".to_owned(), port };
        self.mesos.probe(container_id, target).await
    }
}

#[tokio::test]
async fn a_connection_tells_whether_somebody_listens() {
    let host = Host::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = u32::from(listener.local_addr().expect("an address").port());
    assert_eq!(host.tcp("none", port).await, Ok(ProbeAnswer::Connected(true)));
    // The port of a client is nobody else's, and nobody listens there.
    let client = std::net::TcpStream::connect(("127.0.0.1", port as u16)).expect("a connection");
    let port = u32::from(client.local_addr().expect("an address").port());
    assert_eq!(host.tcp("none", port).await, Ok(ProbeAnswer::Connected(false)));
    let error = "65536 is not the number of a port".to_owned();
    assert_eq!(host.tcp("none", 65_536).await, Err(error));
}

#[tokio::test]
async fn the_status_is_that_after_redirects_and_the_body_has_to_come() {
    let host = Host::new();
    let (address, server) = serve(vec![
        "HTTP/1.1 302 x\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n".into(),
        "HTTP/1.1 418 x\r\ncontent-length: 2\r\n\r\nno".into(),
        "HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\n".into(),
    ]);
    let uri = format!("http://{address}/x");
    assert_eq!(host.http(uri.clone()).await, Ok(ProbeAnswer::Status(418)));
    let error = host.http(uri.clone()).await.expect_err("half a body");
    assert!(error.starts_with("failed to read from 127.0.0.1:"), "{error}");
    server.join().expect("no panic");
    let error = host.http(uri).await.expect_err("nobody there");
    assert!(error.contains("failed to connect to 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn certificates_are_not_checked() {
    let host = Host::new();
    let (key, certificate) = (host.directory.join("key"), host.directory.join("certificate"));
    let mut make = Command::new("openssl");
    make.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=nobody",
        "-days",
        "1",
        "-keyout",
    ]);
    make.arg(&key).arg("-out").arg(&certificate).stderr(Stdio::null());
    if !make.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no openssl");
        return;
    }
    let port = testkit::cluster::free_ports(1)[0];
    let mut serve = Command::new("openssl");
    serve.args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}"), "-key"]);
    serve.arg(&key).arg("-cert").arg(&certificate);
    serve.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = serve.spawn().expect("a server");
    let mut answer = Err(String::new());
    for _ in 0..500 {
        answer = host.http(format!("https://127.0.0.1:{port}/")).await;
        if answer.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = server.kill();
    let _ = server.wait();
    assert_eq!(answer, Ok(ProbeAnswer::Status(200)));
}

/// A server in a network of its own answers at the address that is nobody's here.
#[tokio::test]
async fn a_container_with_a_network_of_its_own_is_looked_at_from_inside() {
    let mut host = Host::new();
    let tools = Command::new("unshare").args(["-n", "busybox", "ip", "link"]).output();
    if !tools.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network can be made here (root, unshare and busybox are needed)");
        return;
    }
    let port = testkit::cluster::free_ports(1)[0];
    let serve =
        format!("busybox ip link set lo up && echo ready && exec busybox nc -ll -p {port} -e true");
    let command = format!("exec unshare -n sh -c '{serve}'");
    host.start("inside", &command).await;
    host.wait_for_stdout("inside", "ready").await;
    let port = u32::from(port);
    let mut answer = Err(String::new());
    for _ in 0..500 {
        answer = host.tcp("inside", port).await;
        if answer == Ok(ProbeAnswer::Connected(true)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(answer, Ok(ProbeAnswer::Connected(true)));
    assert_eq!(host.tcp("none", port).await, Ok(ProbeAnswer::Connected(false)));
    host.mesos.destroy("inside");
    host.exit().await;
}
