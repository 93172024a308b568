//! Pulls from a real registry, straight and through a proxy that breaks connections.

use super::{Directory, Host, Mounted, Tar, gzipped, image, is_root, provision};
use containerizer::images::Credentials;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use testkit::registry::{DOCKER_MANIFEST, OCI_MANIFEST, Registry, architecture, sha256};

/// Passes requests on and notes them; answers to blobs are cut short as long as `cuts` lasts.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    fn before(registry: &Registry, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (asked, cuts) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (upstream, log, left) = (registry.address.clone(), asked.clone(), cuts.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (upstream, log, left) = (upstream.clone(), log.clone(), left.clone());
                std::thread::spawn(move || {
                    pass(stream.expect("a connection"), &upstream, &log, &left, bytes)
                });
            }
        });
        Self { address, asked, cuts }
    }

    /// What was asked for since the last time: method, path and range.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("a lock"))
    }
}

fn pass(
    mut client: TcpStream,
    upstream: &str,
    log: &Mutex<Vec<String>>,
    cuts: &AtomicUsize,
    bytes: usize,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read_exact(&mut byte).is_err() {
            return;
        }
        head.extend(byte);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let range = text.lines().find_map(|l| l.strip_prefix("range: ")).unwrap_or_default();
    log.lock().expect("a lock").push(format!("{path} {range}").trim().to_owned());
    let mut server = TcpStream::connect(upstream).expect("the registry");
    server
        .write_all(text.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes())
        .expect("written");
    let cut = path.contains("/blobs/")
        && cuts
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
    let mut limited = server.take(if cut { bytes as u64 } else { u64::MAX });
    let _ = std::io::copy(&mut limited, &mut client);
}

fn read(provisioned: &Mounted, name: &str) -> String {
    std::fs::read_to_string(provisioned.rootfs.join(name)).expect(name)
}

/// A layer that does not compress.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed;
    let next = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 33) as u8 % 90)
    };
    (0..length).map(next).collect()
}

fn zipped(layer: Vec<u8>) -> (Vec<u8>, String) {
    (zstd::encode_all(layer.as_slice(), 1).expect("it compresses"), sha256(&layer))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_by_tag_by_digest_and_from_a_list() {
    if !is_root() {
        return;
    }
    let Some(registry) = Registry::start("", &[]) else { return };
    let layers = [
        gzipped(Tar::new().directory("etc").file("etc/a", "lower").file("etc/b", "lower").bytes()),
        zipped(Tar::new().file("etc/.wh.a", "").file("etc/c", "upper").bytes()),
        (
            Tar::new().file("plain", "plain").bytes(),
            sha256(&Tar::new().file("plain", "plain").bytes()),
        ),
    ];
    let run = json!({"Env": ["A=b"], "Entrypoint": ["/e"], "Cmd": ["c"], "WorkingDir": "/etc", "User": "u"});
    let digest = registry.push_image("test/app", "v1", &layers, &run);
    let host = Host::new(&format!("http://{}", registry.address));
    for (number, name) in
        ["test/app:v1".to_owned(), format!("{}/test/app@{digest}", registry.address)]
            .into_iter()
            .enumerate()
    {
        let found = host.provision(&format!("c{number}"), &image(&name)).await.expect("a root");
        assert_eq!(
            (read(&found, "etc/b"), read(&found, "etc/c"), read(&found, "plain")),
            ("lower".into(), "upper".into(), "plain".into())
        );
        assert!(!found.rootfs.join("etc/a").exists());
        assert_eq!(found.config.env, ["A=b"]);
        assert_eq!(
            (found.config.entrypoint, found.config.cmd),
            (vec!["/e".to_owned()], vec!["c".to_owned()])
        );
        assert_eq!(
            (found.config.working_dir.as_deref(), found.config.user.as_deref()),
            (Some("/etc"), Some("u"))
        );
    }
    assert_eq!((host.layers(), host.staged()), (3, 0));

    // The same as Docker's tools push it, in a list.
    let bytes = std::fs::read(registry.blob_file(&digest)).expect("a manifest");
    let mut manifest: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    manifest["mediaType"] = json!(DOCKER_MANIFEST);
    manifest["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
    for layer in manifest["layers"].as_array_mut().expect("layers") {
        layer["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
    }
    let docker = registry.push_manifest("test/app", "docker", DOCKER_MANIFEST, &manifest);
    let entry = |digest: &str, kind: &str, architecture: &str| {
        json!({"digest": digest, "mediaType": kind,
        "size": 1, "platform": {"os": "linux", "architecture": architecture}})
    };
    let list = |kind: &str, architecture: &str| {
        json!({"schemaVersion": 2, "mediaType": kind,
        "manifests": [entry(&digest, OCI_MANIFEST, "vax"), entry(&docker, DOCKER_MANIFEST, architecture)]})
    };
    for (tag, kind) in [
        ("list", "application/vnd.docker.distribution.manifest.list.v2+json"),
        ("index", "application/vnd.oci.image.index.v1+json"),
    ] {
        registry.push_manifest("test/app", tag, kind, &list(kind, architecture()));
        let found = host.provision(tag, &image(&format!("test/app:{tag}"))).await.expect("a root");
        assert_eq!(read(&found, "etc/c"), "upper");
    }
    let kind = "application/vnd.oci.image.index.v1+json";
    registry.push_manifest("test/app", "foreign", kind, &list(kind, "alpha"));
    let error = host.provision("f", &image("test/app:foreign")).await.expect_err("foreign");
    assert!(error.contains("is for linux/vax, linux/alpha, not for this host's"), "{error}");
    let error = host.provision("n", &image("test/app:none")).await.expect_err("none");
    assert!(
        error.contains(
            "does not give the manifest of test/app:none: 404 Not Found (manifest unknown)"
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_download_goes_on_where_it_stopped() {
    if !is_root() {
        return;
    }
    let Some(registry) = Registry::start("", &[]) else { return };
    let layer = gzipped(Tar::new().file("noise", &noise(1, 400_000)).bytes());
    let blob = sha256(&layer.0);
    registry.push_image("app", "latest", &[layer], &json!({}));
    let proxy = Proxy::before(&registry, 100_000);
    let host = Host::new(&format!("http://{}", proxy.address));
    // The config comes whole: it is smaller than what passes.
    proxy.cuts.store(4, Ordering::SeqCst);
    let found = host.provision("c", &image("app")).await.expect("a root");
    assert_eq!(read(&found, "noise"), noise(1, 400_000));
    let asked = proxy.asked();
    let ranges: Vec<&String> = asked.iter().filter(|a| a.contains(&blob)).collect();
    assert!(ranges.len() >= 4 && ranges[1..].iter().all(|a| a.contains("bytes=")), "{asked:?}");
    assert_eq!(host.directory.count("store/partial"), 0);

    // And so it does after the agent was killed.
    let directory = Directory::new();
    let partial = directory.join("store/partial");
    std::fs::create_dir_all(&partial).expect("a directory");
    let bytes = std::fs::read(registry.blob_file(&blob)).expect("a blob");
    std::fs::write(partial.join(blob.replace(':', "-")), &bytes[..1000]).expect("written");
    let host = Host::at(directory, &format!("http://{}", proxy.address), |_| {});
    host.provision("c", &image("app")).await.expect("a root");
    assert!(proxy.asked().contains(&format!("/v2/app/blobs/{blob} bytes=1000-")));

    // What was left behind is not trusted.
    let directory = Directory::new();
    let partial = directory.join("store/partial");
    std::fs::create_dir_all(&partial).expect("a directory");
    std::fs::write(partial.join(blob.replace(':', "-")), vec![b'x'; 1000]).expect("written");
    let host = Host::at(directory, &format!("http://{}", proxy.address), |_| {});
    host.provision("c", &image("app")).await.expect("a root");
    let asked = proxy.asked();
    assert!(asked.contains(&format!("/v2/app/blobs/{blob}")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_never_gets_further_is_given_up() {
    if !is_root() {
        return;
    }
    let Some(registry) = Registry::start("", &[]) else { return };
    registry.push_image(
        "app",
        "latest",
        &[gzipped(Tar::new().file("noise", &noise(2, 5000)).bytes())],
        &json!({}),
    );
    let proxy = Proxy::before(&registry, 0);
    let host = Host::new(&format!("http://{}", proxy.address));
    proxy.cuts.store(1000, Ordering::SeqCst);
    let error = host.provision("c", &image("app")).await.expect_err("nothing comes");
    assert!(error.contains(&format!("failed to read from {}", proxy.address)), "{error}");
    host.destroy("c");
    // It is not remembered.
    proxy.cuts.store(0, Ordering::SeqCst);
    host.provision("c", &image("app")).await.expect("a root");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_want_is_fetched_once() {
    if !is_root() {
        return;
    }
    let Some(registry) = Registry::start("", &[]) else { return };
    let shared = gzipped(Tar::new().file("shared", &noise(3, 300_000)).bytes());
    registry.push_image("one", "latest", std::slice::from_ref(&shared), &json!({"Env": ["ONE=1"]}));
    registry.push_image(
        "two",
        "latest",
        &[shared.clone(), gzipped(Tar::new().file("own", "own").bytes())],
        &json!({}),
    );
    let proxy = Proxy::before(&registry, 0);
    let host = Host::new(&format!("http://{}", proxy.address));
    let mut all = tokio::task::JoinSet::new();
    for number in 0..10 {
        let provisioner = host.provisioner.clone();
        let name = if number % 2 == 0 { "one" } else { "two" };
        all.spawn(async move {
            provision(&provisioner, &format!("c{number}"), &image(name)).await.expect("a root")
        });
    }
    while let Some(found) = all.join_next().await {
        assert_eq!(read(&found.expect("no panic"), "shared"), noise(3, 300_000));
    }
    let mut asked = proxy.asked();
    asked.sort();
    let before = asked.len();
    asked.dedup();
    assert_eq!((before, asked.len()), (6, 6), "{asked:?}");
    let blobs = asked.iter().filter(|a| a.ends_with(&sha256(&shared.0)));
    assert_eq!(blobs.count(), 1, "{asked:?}");
    host.provision("again", &image("one")).await.expect("a root");
    assert_eq!(proxy.asked(), [""; 0]);
    let forced = wire::v1::Image { cached: Some(false), ..image("one") };
    host.provision("forced", &forced).await.expect("a root");
    assert_eq!(proxy.asked(), ["/v2/one/manifests/latest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_nobody_waits_for_ends_and_images_stay_while_there_is_one() {
    if !is_root() {
        return;
    }
    // Accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = Host::new(&format!("http://{}", silent.local_addr().expect("an address")));
    let provisioner = host.provisioner.clone();
    let pull = tokio::spawn(async move { provisioner.pull(&image("app")).await.map(|_| ()) });
    let accepted = tokio::task::spawn_blocking(move || {
        let (mut connection, _) = silent.accept().expect("a connection");
        let mut begin = [0; 11];
        connection.read_exact(&mut begin).expect("a request");
        assert_eq!(&begin, b"GET /v2/app");
        connection
    });
    let mut connection = accepted.await.expect("no panic");
    let error = host.provisioner.prune(&[]).await.expect_err("a pull is under way");
    assert_eq!(error, "Cannot prune and pull at the same time");
    pull.abort();
    assert!(pull.await.expect_err("it was given up").is_cancelled());
    let closed = tokio::task::spawn_blocking(move || connection.read_to_end(&mut Vec::new()));
    closed.await.expect("no panic").expect("the connection is closed");
    host.provisioner.prune(&[]).await.expect("pruned");
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_content_is_refused_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let Some(registry) = Registry::start("", &[]) else { return };
    let layer = gzipped(Tar::new().file("a", &noise(4, 10_000)).bytes());
    let blob = sha256(&layer.0);
    let wrong = sha256(b"something else");
    registry.push_image("wrong", "latest", &[(layer.0.clone(), wrong.clone())], &json!({}));
    let digest = registry.push_image("app", "latest", std::slice::from_ref(&layer), &json!({}));
    let host = Host::new(&format!("http://{}", registry.address));
    let pull = async |name: &str| host.provision("c", &image(name)).await.expect_err("corrupt");
    let error = pull("wrong").await;
    assert!(error.contains(&format!("the layer {wrong} has the digest {}", layer.1)), "{error}");

    let mut bytes = layer.0.clone();
    bytes[5000] ^= 1;
    std::fs::write(registry.blob_file(&blob), &bytes).expect("written");
    let error = pull("app").await;
    assert!(error.contains(&format!("as {blob} is {}: it is corrupt", sha256(&bytes))), "{error}");
    bytes.push(0);
    std::fs::write(registry.blob_file(&blob), &bytes).expect("written");
    let error = pull("app").await;
    assert!(error.contains("longer than") || error.contains("corrupt"), "{error}");

    let manifest = registry.blob_file(&digest);
    let text = std::fs::read_to_string(&manifest).expect("a manifest");
    std::fs::write(&manifest, text.replace("schemaVersion", "schemaversion")).expect("written");
    let error = pull(&format!("app@{digest}")).await;
    assert!(
        error.contains(&format!("is not {digest}: it is corrupt")) || error.contains("500"),
        "{error}"
    );
    assert_eq!((host.layers(), host.staged()), (0, 0));
}

const HTPASSWD: &str = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_may_want_a_password_from_the_flag_or_from_the_image() {
    if !is_root() {
        return;
    }
    let settings = "auth:\n  htpasswd:\n    realm: test\n    path: DIR/htpasswd";
    let Some(mut registry) = Registry::start(settings, &[("htpasswd", HTPASSWD)]) else { return };
    registry.authorization = Some("Basic bWU6c2VjcmV0".to_owned());
    registry.push_image("app", "latest", &[gzipped(Tar::new().file("a", "a").bytes())], &json!({}));
    let url = format!("http://{}", registry.address);
    let host = Host::new(&url);
    let error = host.provision("c", &image("app")).await.expect_err("no password");
    assert!(
        error.contains("wants a user and a password: does --docker_config have an entry for"),
        "{error}"
    );
    let config =
        |auth: &str| format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, registry.address);
    let credentials = Credentials::parse(config("bWU6d3Jvbmc=").as_bytes()).expect("credentials");
    let wrong = Host::with(&url, |options| options.docker_config = credentials.clone());
    let error = wrong.provision("c", &image("app")).await.expect_err("a wrong password");
    assert!(error.contains("401 Unauthorized") && !error.contains("wrong"), "{error}");
    let credentials = Credentials::parse(config("bWU6c2VjcmV0").as_bytes()).expect("credentials");
    let right = Host::with(&url, |options| options.docker_config = credentials.clone());
    right.provision("c", &image("app")).await.expect("a root");

    let mut own = image("app");
    let data = config("bWU6c2VjcmV0").into_bytes();
    let secret = |data: Vec<u8>| wire::v1::Secret {
        r#type: Some(wire::v1::secret::Type::Value as i32),
        value: Some(wire::v1::secret::Value { data }),
        ..Default::default()
    };
    own.docker.as_mut().expect("docker").config = Some(secret(data));
    host.provision("c", &own).await.expect("a root");
    own.docker.as_mut().expect("docker").config = Some(secret(b"{".to_vec()));
    let error = host.provision("d", &own).await.expect_err("malformed");
    assert!(error.starts_with("'Image.Docker.config' is not understood"), "{error}");
}

#[tokio::test]
async fn what_can_not_be_pulled_is_refused_by_name() {
    if !is_root() {
        return;
    }
    let host = Host::new("http://127.0.0.1:1");
    let refused =
        async |image: &wire::v1::Image| host.provision("c", image).await.expect_err("refused");
    let appc = wire::v1::Image { r#type: wire::v1::image::Type::Appc as i32, ..Default::default() };
    assert_eq!(refused(&appc).await, "images of the type APPC are not supported: use DOCKER");
    let error = refused(&image("../x")).await;
    assert!(error.starts_with("the image's name '../x' has a malformed registry"), "{error}");
    let error = refused(&image("x")).await;
    assert!(
        error.starts_with("cannot pull the image x: failed to connect to 127.0.0.1:1"),
        "{error}"
    );
    for wrong in ["s3://x", "relative", "https://h/path"] {
        let error =
            containerizer::images::Provisioner::new(&Host::options(&host.directory.0, wrong));
        let error = error.expect_err("refused");
        assert!(error.starts_with(&format!("--docker_registry='{wrong}': ")), "{error}");
    }
}
