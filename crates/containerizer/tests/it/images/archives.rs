//! Images in a directory of archives.

use super::{Host, Tar, gzipped, image, is_root};
use serde_json::json;
use std::path::Path;
use tar::EntryType::Symlink;
use testkit::registry::{architecture, sha256};

pub(super) fn layer(content: &str) -> Vec<u8> {
    Tar::new().file(content, content).bytes()
}

pub(super) fn config(layers: &[&[u8]]) -> String {
    let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    json!({"architecture": architecture(), "os": "linux", "config": {"Cmd": ["/x"]}, "rootfs": {"diff_ids": diff_ids}}).to_string()
}

fn add(archive: Tar, name: &str, content: &[u8]) -> Tar {
    archive.entry(tar::EntryType::Regular, name.as_bytes(), content, |_| {})
}

pub(super) async fn check(directory: &Path, name: &str, files: &[&str]) {
    let host = Host::new(directory.to_str().expect("text"));
    let found = host.provision("c", &image(name)).await.expect("a root");
    let mut names: Vec<_> = std::fs::read_dir(&found.rootfs)
        .expect("a root")
        .flatten()
        .map(|e| e.file_name())
        .collect();
    names.sort();
    assert_eq!(names, files, "{name}");
    assert_eq!(found.config.cmd, ["/x"]);
    assert_eq!(host.staged(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_all_ages_are_read() {
    if !is_root() {
        return;
    }
    let directory = testkit::cluster::temporary_directory();
    let (a, b) = (layer("a"), layer("b"));

    // As `docker save` writes it today; the second layer is a link to the first image's.
    let manifest = json!([
        {"Config": "other.json", "RepoTags": ["other:1"], "Layers": ["b/layer.tar"]},
        {"Config": "config.json", "RepoTags": ["saved:1"], "Layers": ["a/layer.tar", "c/layer.tar"]}]);
    let mut archive = Tar::new();
    archive = add(archive, "a/layer.tar", &a);
    archive = add(archive, "b/layer.tar", &b).link(Symlink, "c/layer.tar", "../b/layer.tar");
    archive = add(archive, "config.json", config(&[&a, &b]).as_bytes());
    archive = add(archive, "manifest.json", manifest.to_string().as_bytes());
    std::fs::write(directory.join("saved:1.tar"), archive.bytes()).expect("written");
    check(&directory, "saved:1", &["a", "b"]).await;

    // As the OCI says; layers are packed.
    let (packed, diff_id) = gzipped(a.clone());
    assert_eq!(diff_id, sha256(&a));
    let config_a = config(&[&a]);
    let manifest =
        json!({"schemaVersion": 2, "config": {"digest": sha256(config_a.as_bytes()), "size": 1},
        "layers": [{"digest": sha256(&packed), "size": packed.len()}]})
        .to_string();
    let index = json!({"schemaVersion": 2, "manifests": [{"digest": sha256(manifest.as_bytes()), "size": manifest.len()}]});
    let mut archive = add(Tar::new(), "oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#);
    archive = add(archive, "index.json", index.to_string().as_bytes());
    for blob in [packed.as_slice(), config_a.as_bytes(), manifest.as_bytes()] {
        archive = add(archive, &format!("blobs/{}", sha256(blob).replace(':', "/")), blob);
    }
    std::fs::create_dir(directory.join("team")).expect("a directory");
    std::fs::write(directory.join("team/oci.tar"), archive.bytes()).expect("written");
    check(&directory, "team/oci", &["a"]).await;

    // As it was before there were manifests.
    let mut archive = add(Tar::new(), "repositories", br#"{"old": {"latest": "top"}}"#);
    archive = add(archive, "base/json", br#"{"id": "base"}"#);
    archive = add(archive, "base/layer.tar", &a);
    archive =
        add(archive, "top/json", br#"{"id": "top", "parent": "base", "config": {"Cmd": ["/x"]}}"#);
    archive = add(archive, "top/layer.tar", &b);
    std::fs::write(directory.join("old:latest.tar"), archive.bytes()).expect("written");
    check(&directory, "old", &["a", "b"]).await;

    let host = Host::new(directory.to_str().expect("text"));
    let refused = async |name: &str| host.provision("c", &image(name)).await.expect_err(name);
    let error = refused("missing:1").await;
    assert!(
        error.contains(&format!(
            "there is no archive {}",
            directory.join("missing:1.tar").display()
        )),
        "{error}"
    );
    std::fs::write(directory.join("empty.tar"), Tar::new().bytes()).expect("written");
    assert!(refused("empty").await.contains("is it of `docker save`?"));
    let wrong = json!([{"Config": "config.json", "Layers": ["a"]}]).to_string();
    let mut archive = add(Tar::new(), "manifest.json", wrong.as_bytes());
    archive = add(add(archive, "config.json", config(&[&b]).as_bytes()), "a", &a);
    std::fs::write(directory.join("wrong.tar"), archive.bytes()).expect("written");
    assert!(refused("wrong").await.contains("it is corrupt"));
    assert_eq!((host.layers(), host.staged()), (0, 0));
    std::fs::remove_dir_all(directory).expect("removed");
}
