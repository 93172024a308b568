//! A real registry of images on loopback (Debian's `docker-registry`), filled over its own protocol.

use crate::cluster::{free_ports, temporary_directory};
use crate::http::{Answer, Connection};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Media type of OCI's manifests.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of Docker's manifests.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A registry; it ends and its files go when it is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    /// `127.0.0.1:<port>`.
    pub address: String,
    /// Where its files are.
    pub directory: PathBuf,
    /// `Authorization` of pushes, if they need one.
    pub authorization: Option<String>,
}

impl Registry {
    /// Starts a registry; `settings` are lines of its configuration, such as its `auth`, in which `DIR` stands for its
    /// directory. None, and a line that says so, where the program is not installed.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn start(settings: &str, files: &[(&str, &str)]) -> Option<Self> {
        let found = Command::new("docker-registry").arg("--version").output();
        if !found.is_ok_and(|out| out.status.success()) {
            eprintln!("skipped: there is no docker-registry (apt-get install docker-registry)");
            return None;
        }
        let directory = temporary_directory();
        let address = format!("127.0.0.1:{}", free_ports(1)[0]);
        for (name, content) in files {
            std::fs::write(directory.join(name), content).expect("a file");
        }
        let shown = directory.display().to_string();
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {shown}/blobs\n\
             http:\n  addr: {address}\n{}\n",
            settings.replace("DIR", &shown)
        );
        let path = directory.join("config.yml");
        std::fs::write(&path, config).expect("a configuration");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .env_clear()
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.join("log")).expect("a log"))
            .spawn()
            .expect("docker-registry starts");
        let registry = Self { child, address, directory, authorization: None };
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(&registry.address).is_err() {
            assert!(Instant::now() < deadline, "the registry does not answer: see {shown}/log");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(registry)
    }

    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let mut connection = Connection::open(&self.address).expect("the registry answers");
        let mut headers = vec![("Content-Type", kind)];
        if let Some(authorization) = &self.authorization {
            headers.push(("Authorization", authorization));
        }
        connection.request(method, path, &headers, body).expect("the registry answers")
    }

    /// Puts a blob into a repository; its digest.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let begun =
            self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), "text/plain", b"");
        assert_eq!(begun.status, 202, "{}", begun.text());
        let location = begun.header("location").expect("a location").to_owned();
        let path = location
            .split_once("://")
            .map_or(location.as_str(), |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]);
        let digest = sha256(bytes);
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}digest={}", digest.replace(':', "%3A"));
        let ended = self.request("PUT", &path, "application/octet-stream", bytes);
        assert_eq!(ended.status, 201, "{}", ended.text());
        digest
    }

    /// Puts a manifest into a repository under a tag; its digest.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        kind: &str,
        manifest: &Value,
    ) -> String {
        let bytes = manifest.to_string().into_bytes();
        let answer =
            self.request("PUT", &format!("/v2/{repository}/manifests/{tag}"), kind, &bytes);
        assert_eq!(answer.status, 201, "{}", answer.text());
        sha256(&bytes)
    }

    /// Puts an image into a repository under a tag: layers as they are, with the digests that
    /// they have when unpacked, and the `config` field of its description. The manifest's digest.
    pub fn push_image(
        &self,
        repository: &str,
        tag: &str,
        layers: &[(Vec<u8>, String)],
        run: &Value,
    ) -> String {
        let diff_ids: Vec<&String> = layers.iter().map(|(_, diff_id)| diff_id).collect();
        let config = json!({"architecture": architecture(), "os": "linux", "config": run,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string().into_bytes();
        let layers = layers.iter().map(|(bytes, _)| {
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": bytes.len(),
                "digest": self.push_blob(repository, bytes)})
        });
        let layers: Vec<Value> = layers.collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": layers,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(),
                "digest": self.push_blob(repository, &config)}});
        self.push_manifest(repository, tag, OCI_MANIFEST, &manifest)
    }

    /// The file in which the registry keeps a blob.
    #[must_use]
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.directory
            .join("blobs/docker/registry/v2/blobs/sha256")
            .join(&hex[..2])
            .join(hex)
            .join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// This host's architecture, as images call it.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `sha256:…` of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
