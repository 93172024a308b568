//! A registry that wants tokens of another server.

use super::{Host, Tar, gzipped, image, is_root};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use containerizer::images::Credentials;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use testkit::registry::{Registry, sha256};

/// A key and its certificate, made on the spot; None where there is no openssl.
fn key(directory: &Path) -> Option<(Vec<u8>, PathBuf)> {
    let (key, certificate, der) =
        (directory.join("key.pem"), directory.join("cert.pem"), directory.join("key.der"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=test", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    if !made.is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: there is no openssl");
        return None;
    }
    let converted = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"])
        .arg(&key)
        .arg("-out")
        .arg(&der)
        .output()
        .expect("openssl runs");
    assert!(converted.status.success());
    Some((std::fs::read(der).expect("a key"), certificate))
}

/// A token that allows one action, as the registry understands it.
struct Issuer {
    key: Vec<u8>,
    certificate: String,
}

impl Issuer {
    fn token(&self, repository: &str, actions: &[&str]) -> String {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("now")
            .as_secs();
        let head = json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]});
        let claims = json!({"iss": "issuer", "aud": "service", "sub": "me", "iat": now, "nbf": now - 5, "exp": now + 300,
            "jti": "1", "access": [{"type": "repository", "name": repository, "actions": actions}]});
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&head), part(&claims));
        let random = ring::rand::SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key, &random)
            .expect("a key");
        let signature = key.sign(&random, text.as_bytes()).expect("a signature");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_with_the_password_and_used() {
    if !is_root() {
        return;
    }
    let directory = super::Directory::new();
    let Some((key, certificate)) = key(&directory.0) else { return };
    let pem = std::fs::read_to_string(&certificate).expect("a certificate");
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let issuer = Arc::new(Issuer { key, certificate: body });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let realm = format!("http://{}/token?fixed=1", listener.local_addr().expect("an address"));
    let settings = format!(
        "auth:\n  token:\n    realm: {realm}\n    service: service\n    issuer: issuer\n    rootcertbundle: {}",
        certificate.display()
    );
    let Some(mut registry) = Registry::start(&settings, &[]) else { return };
    registry.authorization =
        Some(format!("Bearer {}", issuer.token("team/app", &["push", "pull"])));
    registry.push_image(
        "team/app",
        "latest",
        &[gzipped(Tar::new().file("a", "a").bytes())],
        &json!({}),
    );

    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                head.extend(byte);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let right = format!("authorization: Basic {}\r\n", STANDARD.encode("me:secret"));
            let answer = if head.contains(&right) {
                let body = json!({"token": issuer.token("team/app", &["pull"])}).to_string();
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            } else {
                "HTTP/1.1 401 no\r\ncontent-length: 0\r\n\r\n".to_owned()
            };
            log.lock().expect("a lock").push(head.lines().next().unwrap_or_default().to_owned());
            stream.write_all(answer.as_bytes()).expect("written");
        }
    });

    let url = format!("http://{}", registry.address);
    let host = Host::new(&url);
    let error = host.provision("c", &image("team/app")).await.expect_err("nobody");
    assert!(error.contains("does not give a token of http://127.0.0.1"), "{error}");
    let config =
        format!(r#"{{"{}": {{"username": "me", "password": "secret"}}}}"#, registry.address);
    let credentials = Credentials::parse(config.as_bytes()).expect("credentials");
    let host = Host::with(&url, |options| options.docker_config = credentials.clone());
    asked.lock().expect("a lock").clear();
    host.provision("c", &image("team/app")).await.expect("a root");
    let line = "GET /token?fixed=1&service=service&scope=repository%3Ateam%2Fapp%3Apull HTTP/1.1";
    assert_eq!(*asked.lock().expect("a lock"), [line], "one token serves all requests");
}

/// A registry of one image that takes each token `uses` times, and breaks off its layer after `piece` bytes.
fn short_lived(
    blobs: Vec<(String, Vec<u8>)>,
    layer: String,
    piece: usize,
    uses: usize,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let log = Arc::new(Mutex::new(Vec::new()));
    let (asked, shown) = (log.clone(), address.clone());
    std::thread::spawn(move || {
        let (mut token, mut left) = (0, 0);
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                head.extend(byte);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let note = |text: String| asked.lock().expect("a lock").push(text);
            let mut answer = |status: &str, headers: &str, length: usize, body: &[u8]| {
                let head = format!(
                    "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all(&[head.as_bytes(), body].concat());
            };
            if path.starts_with("/token") {
                (token, left) = (token + 1, uses);
                note(format!("token {token}"));
                let body = json!({"token": format!("t{token}"), "expires_in": 1}).to_string();
                answer("200 OK", "", body.len(), body.as_bytes());
                continue;
            }
            if left == 0 || !head.contains(&format!("authorization: Bearer t{token}\r\n")) {
                let realm = format!("Bearer realm=\"http://{shown}/token\",service=\"s\"");
                answer("401 Unauthorized", &format!("www-authenticate: {realm}\r\n"), 0, b"");
                continue;
            }
            left -= 1;
            let found = blobs.iter().find(|(name, _)| path.ends_with(name.as_str()));
            let (name, bytes) = found.expect("something that there is");
            let start = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
            let start =
                start.map_or(0, |range| range.trim_end_matches('-').parse().expect("a start"));
            note(format!("{} from {start}", if *name == layer { "layer" } else { "other" }));
            let end = if *name == layer { bytes.len().min(start + piece) } else { bytes.len() };
            let length = bytes.len();
            let range = format!("content-range: bytes {start}-{}/{length}\r\n", length - 1);
            match start {
                0 => answer("200 OK", "", bytes.len(), &bytes[..end]),
                _ => answer("206 Partial Content", &range, bytes.len() - start, &bytes[start..end]),
            }
        }
    });
    (address, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_in_the_middle_of_a_pull_is_renewed() {
    if !is_root() {
        return;
    }
    // Not packed, so that it is as long as it looks.
    let layer = Tar::new().file("a", &"a".repeat(10_000)).bytes();
    let config = json!({"os": "linux", "rootfs": {"diff_ids": [sha256(&layer)]}}).to_string();
    let manifest =
        json!({"schemaVersion": 2, "config": {"digest": sha256(config.as_bytes()), "size": config.len()},
            "layers": [{"digest": sha256(&layer), "size": layer.len()}]})
        .to_string();
    let name = sha256(&layer);
    let blobs = vec![
        ("manifests/latest".to_owned(), manifest.into_bytes()),
        (sha256(config.as_bytes()), config.into_bytes()),
        (name.clone(), layer),
    ];
    let (address, asked) = short_lived(blobs, name, 5_000, 2);
    let host = Host::new(&format!("http://{address}"));
    let found = host.provision("c", &image("app")).await.expect("a root");
    assert_eq!(std::fs::read(found.rootfs.join("a")).expect("a file"), vec![b'a'; 10_000]);
    let expected = [
        "token 1",
        "other from 0",
        "other from 0",
        "token 2",
        "layer from 0",
        "layer from 5000",
        "token 3",
        "layer from 10000",
    ];
    assert_eq!(*asked.lock().expect("a lock"), expected);
}
