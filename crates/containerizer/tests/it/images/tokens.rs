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
use testkit::registry::Registry;

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
