//! The accept loop, streams and files over real sockets.

mod bulk;

use http_api::files::{self, Attached};
use http_api::link::Dialed;
use http_api::server::{Handler, Limits, serve};
use http_api::{Request, Response, link, negotiate, respond, stream};
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

struct Echo;

impl Handler for Echo {
    async fn handle(self: Arc<Self>, request: Request, _peer: SocketAddr) -> Response {
        match request.uri().path() {
            "/call" => match negotiate::call::<wire::v1::TaskId>(request, 1000).await {
                Ok(id) => respond::text(202, id.value),
                Err(refusal) => *refusal,
            },
            "/stream" => {
                let Some(encoding) = negotiate::accepted(request.headers()) else {
                    return respond::text(406, "");
                };
                let (sender, response, _closed) = stream::event_stream(encoding);
                sender.send(&wire::v1::TaskId::from("first")).expect("open");
                sender.send(&wire::v1::TaskId::from("last")).expect("open");
                response
            }
            "/large" => respond::content("application/json", vec![b'1'; 5000]),
            link::PATH => match link::accept(request, "me") {
                (response, None) => response,
                (response, Some(link)) => {
                    tokio::spawn(async move {
                        let (sender, mut receiver) = link.await.expect("a link");
                        while let Ok(Some(id)) = receiver.next::<wire::v1::TaskId>().await {
                            sender.send(&id);
                        }
                    });
                    response
                }
            },
            _ => respond::text(404, ""),
        }
    }
}

/// A master that follows. It takes one for the leader that is not there, until an agent that waits says so.
struct Follower {
    gone: String,
    leader: String,
}

impl Handler for Follower {
    async fn handle(self: Arc<Self>, request: Request, _peer: SocketAddr) -> Response {
        let unreachable = link::Patience::of(&request).and_then(|patience| patience.unreachable);
        let leader =
            if unreachable.as_ref() == Some(&self.gone) { &self.leader } else { &self.gone };
        let mut response = respond::text(307, "");
        let location = format!("//{leader}{}", link::PATH).parse().expect("a header");
        response.headers_mut().insert("Location", location);
        response
    }
}

async fn start(limits: Limits) -> (String, watch::Sender<bool>) {
    start_as(Echo, limits).await
}

async fn start_as(handler: impl Handler, limits: Limits) -> (String, watch::Sender<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve(listener, Arc::new(handler), limits, stopped));
    (address, stop)
}

fn post(address: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> testkit::http::Answer {
    let mut connection = testkit::http::Connection::open(address).expect("a connection");
    connection.request("POST", path, headers, body).expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_refused_as_the_table_says() {
    let (address, _stop) = start(Limits::default()).await;
    let json = [("Content-Type", "application/json")];
    let check = |headers: &[(&str, &str)], body: &[u8], status: u16, text: &str| {
        let answer = post(&address, "/call", headers, body);
        assert_eq!(
            (answer.status, answer.text().starts_with(text)),
            (status, true),
            "{}",
            answer.text()
        );
    };
    check(&json, br#"{"value":"x"}"#, 202, "x");
    check(&[], b"{}", 400, "Expecting 'Content-Type' to be present");
    check(
        &[("Content-Type", "application/json; charset=utf-8")],
        b"{}",
        415,
        "Expecting 'Content-Type' of",
    );
    check(&json, b"{", 400, "Failed to parse body into JSON");
    check(
        &json,
        b"{}",
        400,
        "Failed to convert JSON into Call protobuf: value: required field is missing",
    );
    check(
        &[("Content-Type", "application/x-protobuf")],
        b"\xff",
        400,
        "Failed to parse body into Call protobuf",
    );
    check(&json, &[b'x'; 2000], 413, "The body is larger than 1000 bytes");
    assert_eq!(testkit::http::get(&address, "/call").header("allow"), Some("POST"));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_speak_what_is_accepted() {
    let (address, _stop) = start(Limits::default()).await;
    for (accept, first) in [
        ("application/json", &br#"{"value":"first"}"#[..]),
        ("text/html, application/x-protobuf", b"\x0a\x05first"),
    ] {
        let connection = testkit::http::Connection::open(&address).expect("a connection");
        let (answer, mut records) =
            connection.stream("/stream", &[("Accept", accept)], b"").expect("a stream");
        assert_eq!(answer.status, 200);
        assert_eq!(records.next_record().expect("a record").as_deref(), Some(first));
        records.next_record().expect("a record").expect("the last event");
        assert_eq!(records.next_record().expect("an end"), None);
    }
    assert_eq!(post(&address, "/stream", &[("Accept", "text/html")], b"").status, 406);
    assert_eq!(post(&address, "/stream", &[("Accept", "application/*;q=0")], b"").status, 406);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_compressed_when_that_is_accepted() {
    let (address, _stop) = start(Limits::default()).await;
    let plain = post(&address, "/large", &[], b"");
    assert_eq!((plain.header("content-encoding"), plain.body.len()), (None, 5000));
    let packed = post(&address, "/large", &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed_and_disturb_nobody() {
    let (address, _stop) =
        start(Limits { connections: 300, head: Duration::from_millis(300), ..Limits::default() })
            .await;
    let silent: Vec<TcpStream> =
        (0..250).map(|_| TcpStream::connect(&address).expect("a connection")).collect();
    assert_eq!(testkit::http::get(&address, "/").status, 404);
    for mut socket in silent {
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
    }
    assert_eq!(testkit::http::get(&address, "/").status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_carries_messages_both_ways() {
    let (address, _stop) = start(Limits::default()).await;
    assert_eq!(link::leading(&address).await.expect("an answer").as_deref(), Some("me"));
    let Dialed { sender, mut receiver, master } = link::dial(&address).await.expect("a link");
    assert_eq!(master.as_deref(), Some("me"));
    for name in ["a", "b"] {
        assert!(sender.send(&wire::v1::TaskId::from(name)));
        let echo: wire::v1::TaskId = receiver.next().await.expect("a frame").expect("an echo");
        assert_eq!(echo.value, name);
    }
    drop(sender);
    assert_eq!(receiver.next::<wire::v1::TaskId>().await.expect("an end"), None);
    assert_eq!(testkit::http::get(&address, link::PATH).status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dials_tells_a_follower_that_its_leader_is_not_there() {
    let (leader, _stop) = start(Limits::default()).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let gone = closed.local_addr().expect("an address").to_string();
    drop(closed);
    let follower = Follower { gone: gone.clone(), leader };
    let (follower, _stop) = start_as(follower, Limits::default()).await;
    let dialed = link::dial(&follower).await.expect("a link");
    assert_eq!(dialed.master.as_deref(), Some("me"));
    link::leading(&follower).await.expect_err("nobody waits for this answer");
    // One that knows no better is believed once.
    let (stubborn, _stop) =
        start_as(Follower { leader: gone.clone(), gone }, Limits::default()).await;
    let error = link::dial(&stubborn).await.expect_err("no leader");
    assert!(error.to_string().contains("is said to lead"), "{error}");
}

#[test]
fn files_are_confined_to_what_is_attached() {
    let root = testkit::cluster::temporary_directory();
    let inside = root.join("sandbox");
    std::fs::create_dir_all(inside.join("sub")).expect("directories");
    std::fs::write(inside.join("stdout"), "0123456789").expect("a file");
    std::fs::write(root.join("secret"), "secret").expect("a file");
    std::os::unix::fs::symlink(root.join("secret"), inside.join("out")).expect("a link");
    std::os::unix::fs::symlink("stdout", inside.join("in")).expect("a link");
    let attached = Attached::from([("/box".to_owned(), inside.clone())]);
    let status = |name: &str, query: &str| {
        files::answer(name, query, &attached).expect("a name").status().as_u16()
    };
    assert_eq!(status("read", "path=/box/stdout&offset=0"), 200);
    assert_eq!(status("read", "path=/box/in&offset=0"), 200);
    assert_eq!(status("read", "path=/box/out&offset=0"), 400);
    assert_eq!(status("read", "path=/box/../secret"), 400);
    assert_eq!(status("read", "path=/box/sub/%2e%2e/%2e%2e/secret"), 400);
    assert_eq!(status("read", "path=/boxes/stdout"), 404);
    assert_eq!(status("read", "path=/etc/passwd"), 404);
    assert_eq!(status("read", "path=//box/stdout"), 404);
    assert_eq!(status("read", ""), 400);
    assert_eq!(status("read", "path=/box/stdout&offset=-2"), 400);
    assert_eq!(status("read", "path=/box"), 400);
    assert_eq!(status("download", "path=/box/out"), 400);
    assert_eq!(status("browse", "path=/box"), 200);
    assert_eq!(status("browse", "path=/box/.."), 400);
    let body =
        |query: &str| match files::answer("read", query, &attached).expect("a name").into_body() {
            http_api::Body::Whole(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            other => panic!("{other:?}"),
        };
    assert_eq!(body("path=/box/stdout"), r#"{"data":"","offset":10}"#);
    assert_eq!(body("path=/box/stdout&offset=8&length=9"), r#"{"data":"89","offset":8}"#);
    assert_eq!(body("path=/box/stdout&offset=80"), r#"{"data":"","offset":80}"#);
}

/// A pipe that nobody writes to would hold up the reader for ever.
#[test]
fn what_is_not_a_regular_file_is_refused() {
    let root = testkit::cluster::temporary_directory();
    let made = std::process::Command::new("mkfifo").arg(root.join("pipe")).status();
    assert!(made.expect("mkfifo").success());
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket");
    let attached = Attached::from([("/box".to_owned(), root)]);
    for (name, file, status) in [
        ("read", "pipe", 400),
        ("download", "pipe", 400),
        ("read", "socket", 404),
        ("download", "", 400),
    ] {
        let query = format!("path=/box/{file}&offset=0");
        let answer = files::answer(name, &query, &attached).expect("a name");
        assert_eq!(answer.status().as_u16(), status, "{name} {file}");
    }
    let piece = files::piece(&attached, "/box/pipe", 0, None).expect_err("no file");
    assert_eq!(piece.status().as_u16(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beyond_the_limit_is_refused_before_anything_comes() {
    use std::io::{Read as _, Write as _};
    let (address, _stop) = start(Limits::default()).await;
    let head = format!(
        "POST /call HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 40
    );
    let answer = tokio::task::spawn_blocking(move || {
        let mut socket = std::net::TcpStream::connect(address).expect("a connection");
        socket.write_all(head.as_bytes()).expect("sent");
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    });
    assert_eq!(answer.await.expect("an answer"), "HTTP/1.1 413");
}

#[tokio::test]
async fn a_file_of_any_length_is_downloaded_as_it_is_read() {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    let root = testkit::cluster::temporary_directory();
    let file = std::fs::File::create(root.join("log")).expect("a file");
    let attached = Attached::from([("/box".to_owned(), root.clone())]);
    let download = || {
        let answer = files::answer("download", "path=/box/log", &attached).expect("a name");
        assert_eq!(answer.status().as_u16(), 200);
        answer.into_body()
    };
    let content: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    std::fs::write(root.join("log"), &content).expect("written");
    let all = download().collect().await.expect("all of it").to_bytes();
    assert_eq!(all, content);
    // Nobody has all of a large one in memory.
    file.set_len(5 << 30).expect("a long file");
    let mut body = download();
    assert_eq!(body.size_hint().exact(), Some(5 << 30));
    let piece = body.frame().await.expect("a piece").expect("read").into_data().expect("data");
    assert!(piece.len() <= 1 << 20 && content.starts_with(&piece), "{}", piece.len());
    // What is not there any more is missed.
    file.set_len(0).expect("cut");
    let mut last = Ok(());
    while let Some(frame) = body.frame().await {
        last = frame.map(drop);
    }
    assert_eq!(last.expect_err("too short").kind(), std::io::ErrorKind::UnexpectedEof);
    file.set_len(0).expect("cut");
    assert!(download().is_end_stream());
}
