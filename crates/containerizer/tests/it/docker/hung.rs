//! An engine that accepts what it is asked and never answers.

use super::Node;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

/// Tells its version, and has the image; everything else hangs.
async fn serve(listener: UnixListener) {
    let mut open = Vec::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).await.unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        let body = if head.starts_with("GET /version") {
            r#"{"ApiVersion":"1.41"}"#
        } else if head.starts_with("GET /v1.41/images/held") {
            open.push(stream);
            continue;
        } else {
            r#"{"message":"no such thing"}"#
        };
        let status = if head.starts_with("GET /version") { "200 OK" } else { "404 Not Found" };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn an_engine_that_hangs_fails_the_start_and_a_kill_ends_the_wait() {
    use containerizer::Containerizer as _;
    let directory = testkit::cluster::temporary_directory();
    let socket = directory.join("d.sock");
    tokio::spawn(serve(UnixListener::bind(&socket).expect("a socket")));
    let node = Node::new(&socket, &directory).await;
    let mut spec = node.spec("a", "true");
    super::docker_of(&mut spec).image = "held".to_owned();
    let text = node.refused(spec.clone()).await;
    let want = format!(
        "cannot get the image 'held:latest': the Docker engine at {} did not answer within 10 seconds when it was asked to GET /images/held:latest/json",
        socket.display()
    );
    assert_eq!(text, want);
    spec.container_id = "b".to_owned();
    spec.directory = node.sandbox("b").display().to_string();
    let announced = spec.clone();
    node.tell(move |d| d.announce(&announced)).await;
    node.tell(|d| d.cancel("b")).await;
    assert_eq!(node.refused(spec).await, "Container destroyed while pulling image");
    let error = node.refused(node.spec("c", "true")).await;
    assert_eq!(error, "cannot get the image 'proffer-test:latest': no such thing");
}
