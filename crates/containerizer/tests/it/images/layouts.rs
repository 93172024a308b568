//! Images in directories in the layout of the OCI, and archives that the Hadoop client gets.

use super::archives::{check, config, layer};
use super::{Directory, Host, Tar, gzipped, image, is_root};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use testkit::registry::sha256;

/// Puts an image of one layer into a directory; its place in an index.
fn put(directory: &Path, content: &str, name: Option<&str>) -> Value {
    let layer = layer(content);
    let (packed, _) = gzipped(layer.clone());
    let config = config(&[&layer]);
    let manifest =
        json!({"schemaVersion": 2, "config": {"digest": sha256(config.as_bytes()), "size": 1},
            "layers": [{"digest": sha256(&packed), "size": packed.len()}]})
        .to_string();
    std::fs::create_dir_all(directory.join("blobs/sha256")).expect("a directory");
    for blob in [packed.as_slice(), config.as_bytes(), manifest.as_bytes()] {
        let path = directory.join("blobs").join(sha256(blob).replace(':', "/"));
        std::fs::write(path, blob).expect("a blob");
    }
    let mut entry = json!({"digest": sha256(manifest.as_bytes()), "size": manifest.len()});
    if let Some(name) = name {
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    }
    entry
}

fn index(directory: &Path, entries: &[&Value]) {
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#)
        .expect("a file");
    std::fs::write(directory.join("index.json"), index).expect("an index");
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_have_images_by_tag_and_by_digest() {
    if !is_root() {
        return;
    }
    let images = Directory::new();
    // One of several by its tag or digest, as tools make them: the directory has the name without the tag.
    let several = images.join("team/app");
    let one = put(&several, "one", Some("1"));
    let two = put(&several, "two", Some("team/app:2"));
    index(&several, &[&one, &two]);
    check(&images.0, "team/app:1", &["one"]).await;
    check(&images.0, "team/app:2", &["two"]).await;
    let digest = one["digest"].as_str().expect("a digest");
    check(&images.0, &format!("team/app@{digest}"), &["one"]).await;

    // The only one, whatever it is called, where the directory has the whole name.
    let only = images.join("only:latest");
    let entry = put(&only, "only", None);
    index(&only, &[&entry]);
    check(&images.0, "only", &["only"]).await;
    check(&images.0, "only:latest", &["only"]).await;

    let host = Host::new(images.0.to_str().expect("text"));
    let refused = async |name: &str| host.provision("c", &image(name)).await.expect_err(name);
    let text = format!("the image in {}: there is no team/app:3 in it", several.display());
    assert!(refused("team/app:3").await.contains(&text));
    assert!(refused("team").await.contains("no directory with the image"));
    // A directory of that name that has one image has not every image.
    index(&several, &[&one]);
    assert!(refused("team/app:4").await.contains("there is no team/app:4 in it"));
    // No link leads out of it.
    let blob = several.join("blobs").join(digest.replace(':', "/"));
    let outside = images.join("outside");
    std::fs::rename(&blob, &outside).expect("renamed");
    std::os::unix::fs::symlink(&outside, &blob).expect("a link");
    let error = refused("team/app:1").await;
    assert!(error.contains("there is no blobs/sha256/"), "{error}");
    std::fs::remove_file(&blob).expect("removed");
    std::fs::write(&blob, "{}").expect("written");
    let error = refused("team/app:1").await;
    assert!(error.contains(&format!("{digest} in it is corrupt")), "{error}");
    assert_eq!((host.layers(), host.staged()), (0, 0));
}

const CLIENT: &str = r#"#!/bin/sh
[ "$1 $2" = "fs -copyToLocal" ] || exit 9
from=${3#hdfs://host:9000/images/}
[ "$from" != "$3" ] || exit 8
echo "WARN something" >&2
exec cp "$HADOOP_HOME/files/$from" "$4"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_hadoop_client_gets_archives() {
    if !is_root() {
        return;
    }
    let home = Directory::new();
    std::fs::create_dir_all(home.join("files/team")).expect("a directory");
    std::fs::create_dir(home.join("bin")).expect("a directory");
    std::fs::write(home.join("bin/hadoop"), CLIENT).expect("a script");
    std::fs::set_permissions(home.join("bin/hadoop"), std::fs::Permissions::from_mode(0o755))
        .expect("permissions");
    let content = layer("a");
    let manifest = json!([{"Config": "config.json", "Layers": ["a/layer.tar"]}]).to_string();
    let regular = tar::EntryType::Regular;
    let archive = Tar::new()
        .entry(regular, b"a/layer.tar", &content, |_| {})
        .entry(regular, b"config.json", config(&[&content]).as_bytes(), |_| {})
        .entry(regular, b"manifest.json", manifest.as_bytes(), |_| {})
        .bytes();
    for name in ["team/app:1", "late:latest"] {
        std::fs::write(home.join("files").join(format!("{name}.tar")), &archive).expect("written");
    }
    let with = |directory: &str| {
        let directory = directory.to_owned();
        Host::with("hdfs://host:9000/images/", move |options| {
            options.hadoop_home = Some(directory.clone());
        })
    };
    let host = with(home.0.to_str().expect("text"));
    for name in ["team/app:1", "late"] {
        let found = host.provision("c", &image(name)).await.expect("a root");
        assert_eq!(std::fs::read_to_string(found.rootfs.join("a")).expect("a file"), "a");
    }
    let error = host.provision("c", &image("none:1")).await.expect_err("none");
    let begin = "the Hadoop client does not get hdfs://host:9000/images/none:1.tar: exit status: 1";
    assert!(error.contains(begin) && error.contains("No such file"), "{error}");
    assert_eq!((host.layers(), host.staged()), (1, 0));
    let error = with("/no/such").provision("c", &image("app")).await.expect_err("no client");
    assert!(error.contains("the Hadoop client '/no/such/bin/hadoop' can't be executed"), "{error}");
}
