//! The HTTP client, against servers that say what a test tells them to.

use containerizer::download::{Client, Fault};
use http::{HeaderMap, HeaderValue, Uri};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

/// What was asked, and the connections that stay open.
pub(crate) type Served = (Vec<String>, Vec<TcpStream>);

/// Gives each connection the next answer.
pub(crate) fn serve(answers: Vec<String>) -> (String, JoinHandle<Served>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let host = address.clone();
    let thread = std::thread::spawn(move || {
        let mut kept = Vec::new();
        let answer = |answer: String| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let asked = head(&mut stream);
            stream.write_all(answer.replace("HOST", &host).as_bytes()).expect("written");
            if answer.contains("STALL") {
                kept.push(stream);
            }
            asked
        };
        let asked = answers.into_iter().map(answer).collect();
        (asked, kept)
    });
    (address, thread)
}

fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        bytes.extend(byte);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn client() -> Client {
    Client::new(Duration::from_millis(300))
}

#[tokio::test]
async fn credentials_go_to_the_first_server_only() {
    let (address, server) = serve(vec![
        "HTTP/1.1 307 x\r\nlocation: http://HOST/elsewhere?a=b\r\ncontent-length: 0\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into(),
    ]);
    let mut headers = HeaderMap::new();
    headers.insert("range", HeaderValue::from_static("bytes=1-"));
    let uri: Uri = format!("http://me:secret@{address}/x").parse().expect("a URI");
    let answer = client().follow(&uri, &headers).await.expect("an answer");
    assert_eq!(answer.uri.to_string(), format!("http://{address}/elsewhere?a=b"));
    assert_eq!(answer.bytes(2).await.expect("a body"), b"ok");
    let (asked, _) = server.join().expect("no panic");
    assert!(asked[0].starts_with("GET /x HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains("authorization: Basic bWU6c2VjcmV0\r\n"), "{asked:?}");
    assert!(asked[1].starts_with("GET /elsewhere?a=b HTTP/1.1\r\n"), "{asked:?}");
    assert!(!asked[1].contains("authorization"), "{asked:?}");
    assert!(asked.iter().all(|a| a.contains("range: bytes=1-\r\n")), "{asked:?}");
}

#[tokio::test]
async fn endless_redirects_and_what_is_not_http_are_refused() {
    let again = "HTTP/1.1 302 x\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n";
    let (address, server) = serve(vec![again.into(); 11]);
    let uri: Uri = format!("http://{address}/x").parse().expect("a URI");
    let error = client().follow(&uri, &HeaderMap::new()).await.expect_err("endless");
    assert_eq!(error.to_string(), format!("follow http://{address}/x: more than 10 redirects"));
    server.join().expect("no panic");

    let (address, server) = serve(vec!["SSH-2.0 hello\r\n".into()]);
    let uri: Uri = format!("http://{address}/x").parse().expect("a URI");
    let error = client().get(&uri, &HeaderMap::new()).await.expect_err("not HTTP");
    assert!(matches!(error, Fault::Broken { .. }), "{error}");
    server.join().expect("no panic");
}

#[tokio::test]
async fn a_body_that_is_short_long_or_late_is_an_error() {
    let (address, server) = serve(vec![
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort".into(),
        "HTTP/1.1 200 OK\r\n\r\nmuch too long".into(),
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nSTALL".into(),
    ]);
    let uri: Uri = format!("http://{address}/x").parse().expect("a URI");
    let client = client();
    let get = async || client.get(&uri, &HeaderMap::new()).await.expect("an answer");
    let error = get().await.bytes(100).await.expect_err("short");
    assert!(matches!(error, Fault::Broken { .. }), "{error}");
    let error = get().await.bytes(12).await.expect_err("long");
    assert_eq!(
        error.to_string(),
        format!("read from {address}: the answer is longer than 12 bytes")
    );
    let error = get().await.bytes(100).await.expect_err("late");
    assert_eq!(error.to_string(), format!("read from {address}: nothing came for 0.3 seconds"));
    server.join().expect("no panic");
}

#[tokio::test]
async fn proxies_of_the_environment_are_asked() {
    let (address, server) = serve(vec![
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into(),
        "HTTP/1.1 403 No\r\n\r\n".into(),
    ]);
    let proxy = format!("http://me:secret@{address}");
    let client = Client::in_environment(Duration::from_secs(5), |name| {
        (name == "all_proxy").then(|| proxy.clone())
    });
    let get = async |uri: &str| client.get(&uri.parse().expect("a URI"), &HeaderMap::new()).await;
    let answer = get("http://nowhere.invalid/x?y").await.expect("an answer");
    assert_eq!(answer.bytes(2).await.expect("a body"), b"ok");
    let error = get("https://nowhere.invalid/x").await.expect_err("the proxy refuses");
    let text = "connect to nowhere.invalid:443: the proxy refuses: HTTP/1.1 403 No";
    assert_eq!(error.to_string(), text);
    let (asked, _) = server.join().expect("no panic");
    assert!(asked[0].starts_with("GET http://nowhere.invalid:80/x?y HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains("host: nowhere.invalid\r\n"), "{asked:?}");
    assert!(asked[1].starts_with("CONNECT nowhere.invalid:443 HTTP/1.1\r\n"), "{asked:?}");
    let credentials = "proxy-authorization: basic bwu6c2vjcmv0\r\n";
    assert!(asked.iter().all(|a| a.to_lowercase().contains(credentials)), "{asked:?}");
}
