//! Where URIs come from, and what becomes of them.

use super::*;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

/// `dir/file` with `packed` in it, as the output of `tar czf`.
fn archive(directory: &Path) -> Vec<u8> {
    std::fs::create_dir_all(directory.join("dir")).expect("a directory");
    std::fs::write(directory.join("dir/file"), "packed").expect("a file");
    let made =
        std::process::Command::new("tar").arg("-cz").arg("dir").current_dir(directory).output();
    made.expect("tar runs").stdout
}

#[test]
fn http_brings_files_programs_and_archives() {
    let mut world = World::new(&[]);
    let packed = archive(&world.cluster.directory().join("packed"));
    let server = Server::http(move |path| match path {
        "/d/plain?x=1" => Reply::text("plain"),
        "/moved/program" => Reply::Redirect("/program".to_owned()),
        "/program" => Reply::text("#!/bin/sh\necho run"),
        "/a.tgz" => Reply::Body(200, packed.clone()),
        "/with%20space" => Reply::text("space"),
        "/cut" => Reply::Cut(100, "short"),
        "/loop" => Reply::Redirect("/loop".to_owned()),
        _ => Reply::Body(404, b"not here".to_vec()),
    });
    let uri = |path: &str| server.uri(path);
    let stdout = world.finishes(
        "all",
        "cat 'plain?x=1' dir/file sub/deep/renamed kept.tgz.copy; ./program",
        &json!([
            {"value": uri("d/plain?x=1")},
            {"value": uri("moved/program"), "executable": true},
            {"value": uri("a.tgz")},
            {"value": format!("  {}", uri("with space")), "output_file": "sub/deep/renamed"},
            {"value": uri("d/plain?x=1"), "extract": false, "output_file": "kept.tgz.copy"},
        ]),
    );
    assert_eq!(stdout, "plainpackedspaceplainrun\n", "stdout is the task's alone");
    let sandbox = world.sandbox("all");
    assert!(sandbox.join("a.tgz").exists(), "the archive stays beside its content");
    let mode = sandbox.join("plain?x=1").metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let stderr = world.stderr("all");
    for line in [
        format!("Fetching URI '{}'", uri("a.tgz")),
        format!("Fetching '{}' directly into the sandbox directory", uri("a.tgz")),
        "Downloading resource from 'http://".to_owned(),
        "Extracted '".to_owned(),
        "Copying instead of extracting resource from URI with 'extract' flag".to_owned(),
        "Successfully fetched all URIs into '".to_owned(),
    ] {
        assert!(stderr.contains(&line), "{line}: {stderr}");
    }

    let stderr = world.is_not_fetched("404", &json!([{"value": uri("none")}]));
    let why = format!(
        "Failed to fetch '{}': Error downloading resource, received HTTP return code 404",
        uri("none")
    );
    assert!(stderr.contains(&why), "{stderr}");
    let stderr = world.is_not_fetched("cut", &json!([{"value": uri("cut")}]));
    assert!(stderr.contains("Error downloading resource: "), "{stderr}");
    let stderr = world.is_not_fetched("loop", &json!([{"value": uri("loop")}]));
    assert!(stderr.contains("redirects"), "{stderr}");
    let nobody = "http://127.0.0.1:1/x";
    let stderr = world.is_not_fetched("nobody", &json!([{"value": nobody}]));
    assert!(stderr.contains("failed to connect to 127.0.0.1:1"), "{stderr}");
    let status = world.run("bad", "true", &json!([{"value": "lala://nopath"}]));
    let text =
        "Failed to launch container: Could not fetch: Malformed URI (missing path): lala://nopath";
    assert_eq!((&status["state"], &status["message"]), (&json!("TASK_FAILED"), &json!(text)));
    let outside = json!([{"value": "/etc/hosts", "output_file": "/tmp/x"}]);
    let status = world.run("outside", "true", &outside);
    let text = "Failed to launch container: Could not fetch: URI output file must be within the sandbox directory";
    assert_eq!(status["message"], text);
    assert_eq!(world.metric("containerizer/fetcher/task_fetches_succeeded"), 1.0);
    assert_eq!(world.metric("containerizer/fetcher/task_fetches_failed"), 6.0);
    assert_eq!(world.metric("slave/container_launch_errors"), 6.0);
}

#[test]
fn https_is_checked_against_the_authorities_of_this_host() {
    let directory = testkit::cluster::temporary_directory();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let trusted = directory.join("trusted.pem");
    std::fs::write(&trusted, made.cert.pem()).expect("a file");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.expect("a key"))
        .expect("a certificate with its key");
    let server = Server::https(config, |_| Reply::text("secret"));
    let uri = server.address.replace("127.0.0.1", "https://localhost");
    let path = trusted.display().to_string();
    let mut world = World::with(&[], &[("SSL_CERT_FILE", &path), ("LIBPROCESS_SSL_ENABLED", "x")]);
    let stdout = world.finishes("t", "cat file", &json!([{"value": format!("{uri}/file")}]));
    assert_eq!(stdout, "secret");
    drop(world);

    let (tunnel, connects) = server::tunnel();
    let environment =
        [("SSL_CERT_FILE", path.as_str()), ("https_proxy", &format!("http://me:secret@{tunnel}"))];
    let mut world = World::with(&[], &environment);
    let stdout = world.finishes("t", "cat file", &json!([{"value": format!("{uri}/file")}]));
    assert_eq!(stdout, "secret");
    let asked = connects.lock().expect("no panic").join("\n");
    let host = uri.trim_start_matches("https://");
    assert!(asked.contains(&format!("CONNECT {host} HTTP/1.1")), "{asked}");
    assert!(asked.contains("Proxy-Authorization: Basic bWU6c2VjcmV0"), "{asked}");
    // The name is not the certificate's.
    let uri = json!([{"value": format!("https://{}/file", server.address)}]);
    let stderr = world.is_not_fetched("ip", &uri);
    assert!(stderr.contains("certificate"), "{stderr}");
    let _ = std::fs::remove_dir_all(directory);
}

#[test]
fn http_goes_through_a_proxy() {
    let proxy = Server::http(|_| Reply::text("by proxy"));
    let direct = Server::http(|_| Reply::text("direct"));
    let name = format!("http://{}", proxy.address);
    let environment = [("http_proxy", name.as_str()), ("no_proxy", "127.0.0.1")];
    let mut world = World::with(&[], &environment);
    let uris = json!([{"value": "http://some.invalid:81/a/file"}, {"value": direct.uri("other")}]);
    assert_eq!(world.finishes("t", "cat file other", &uris), "by proxydirect");
    assert_eq!(proxy.count("GET http://some.invalid:81/a/file"), 1);
}

#[test]
fn ftp_and_the_hadoop_client() {
    let hadoop = testkit::cluster::temporary_directory();
    let client = hadoop.join("bin/hadoop");
    std::fs::create_dir(hadoop.join("bin")).expect("a directory");
    let script = r#"#!/bin/sh
echo "WARN something" >&2
[ -n "$HADOOP_HOME" ] || exit 9
case "$1 $2" in
"version ") echo Hadoop for tests ;;
"fs -copyToLocal") [ "$3" != s3a://bucket/none ] && echo "from $3" > "$4" ;;
"fs -du") echo "12 $3" ;;
*) exit 1 ;;
esac
"#;
    std::fs::write(&client, script).expect("a script");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&client, executable).expect("permissions");
    let mut world = World::new(&[&format!("--hadoop_home={}", hadoop.display())]);
    let ftp = server::ftp(b"by ftp\n");
    let stdout = world.finishes(
        "t",
        "cat file sub/renamed b",
        &json!([
            {"value": format!("ftp://me:secret@{ftp}/dir/file")},
            {"value": "hdfs://host/a", "output_file": "sub/renamed"},
            {"value": "s3a://bucket/b", "cache": true},
        ]),
    );
    assert_eq!(stdout, "by ftp\nfrom hdfs://host/a\nfrom s3a://bucket/b\n");
    assert_eq!(
        world.metric("containerizer/fetcher/cache_size_used_bytes"),
        0.0,
        "12 bytes were announced"
    );
    let stderr = world.is_not_fetched("none", &json!([{"value": "s3a://bucket/none"}]));
    assert!(stderr.contains("HDFS copyToLocal failed"), "{stderr}");
    let stderr = world
        .is_not_fetched("login", &json!([{"value": format!("ftp://me:wrong@{ftp}/dir/file")}]));
    assert!(stderr.contains("530"), "{stderr}");
    drop(world);

    let mut world = World::with(&["--hadoop_home=/no/such/directory"], &[]);
    let stderr = world.is_not_fetched("t", &json!([{"value": "hdfs://host/a"}]));
    let why = "Hadoop client is not available: '/no/such/directory/bin/hadoop'";
    assert!(stderr.contains(why), "{stderr}");
    let _ = std::fs::remove_dir_all(hadoop);
}

#[test]
fn files_of_this_host_are_read_and_made_as_the_tasks_user() {
    let home = testkit::cluster::temporary_directory();
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    std::fs::write(home.join("open"), "open").expect("a file");
    std::fs::write(home.join("closed"), "closed").expect("a file");
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(home.join("closed"), closed).expect("permissions");
    let mut world = World::new(&[&format!("--frameworks_home={}", home.display())]);
    let shown = home.display();
    let uris = json!([
        {"value": "open"},
        {"value": format!("file://{shown}/open"), "output_file": "b"},
        {"value": format!("file://localhost{shown}/open"), "output_file": "c"},
        {"value": format!("{shown}/open"), "output_file": "d/e"},
    ]);
    assert_eq!(world.finishes("t", "cat open b c d/e", &uris), "openopenopenopen");
    let stderr = world.is_not_fetched("none", &json!([{"value": "none"}]));
    assert!(stderr.contains(&format!("Failed to copy '{shown}/none': No such file")), "{stderr}");
    let stderr = world.is_not_fetched("dir", &json!([{"value": format!("{shown}/")}]));
    assert!(stderr.contains("`source` was a directory"), "{stderr}");
    let stderr = world.is_not_fetched("null", &json!([{"value": "/dev/zero"}]));
    assert!(stderr.contains("no regular file"), "{stderr}");
    if is_root() {
        // The user need not be able to go where the sandbox is.
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(world.cluster.directory(), private).expect("permissions");
        world.launch_as(
            Some("nobody"),
            "user",
            "id -un; cat d/open",
            &json!([
                {"value": format!("{shown}/open"), "output_file": "d/open"},
                {"value": format!("{shown}/open"), "cache": true},
            ]),
        );
        let status = world.framework.until_end("user").pop().expect("a status");
        assert_eq!(status["state"], "TASK_FINISHED", "{status}\n{}", world.stderr("user"));
        assert_eq!(world.file("user", "stdout"), "nobody\nopen");
        for name in ["stdout", "stderr", "d", "d/open"] {
            let owner = world.sandbox("user").join(name).metadata().expect("a file").uid();
            assert_ne!(owner, 0, "{name}");
        }
        let uris = json!([{"value": format!("file://{shown}/closed")}]);
        world.launch_as(Some("nobody"), "closed", "true", &uris);
        let status = world.framework.until_end("closed").pop().expect("a status");
        assert_eq!(status["reason"], "REASON_CONTAINER_LAUNCH_FAILED");
        let stderr = world.stderr("closed");
        assert!(stderr.contains("Permission denied"), "{stderr}");
    }
    let _ = std::fs::remove_dir_all(home);
}
