//! Root file systems: each container has its own, and nothing is left of them.

use super::{Host, Tar, image, is_root};
use crate::until;
use containerizer::images::GcConfig;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;
use testkit::registry::{architecture, sha256};

/// A directory with an archive of one image, of several layers that change each other.
fn archives() -> PathBuf {
    let directory = testkit::cluster::temporary_directory();
    let layers = [
        Tar::new()
            .entry(tar::EntryType::Directory, b"./", b"", |h| h.set_mode(0o711))
            .file("kept", "1")
            .file("gone", "1")
            .bytes(),
        Tar::new()
            .entry(tar::EntryType::Directory, b"./", b"", |h| h.set_mode(0o751))
            .file(".wh.gone", "")
            .device("disk", tar::EntryType::Block, 8, 0)
            .bytes(),
    ];
    write(&directory, "app", &layers);
    write(&directory, "single", &layers[..1]);
    directory
}

fn write(directory: &std::path::Path, name: &str, layers: &[Vec<u8>]) {
    let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    let config = json!({"architecture": architecture(), "rootfs": {"diff_ids": diff_ids}});
    let names: Vec<String> = (0..layers.len()).map(|n| n.to_string()).collect();
    let manifest = json!([{"Config": "config.json", "Layers": names}]);
    let mut archive = Tar::new()
        .file("config.json", &config.to_string())
        .file("manifest.json", &manifest.to_string());
    for (name, layer) in names.iter().zip(layers) {
        archive = archive.entry(tar::EntryType::Regular, name.as_bytes(), layer, |_| {});
    }
    std::fs::write(directory.join(format!("{name}.tar")), archive.bytes()).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_container_writes_is_for_no_other() {
    use std::os::unix::fs::PermissionsExt as _;
    if !is_root() {
        return;
    }
    let archives = archives();
    for backend in [None, Some("overlay"), Some("copy")] {
        let host = Host::with(archives.to_str().expect("text"), |o| {
            o.backend = backend.map(str::to_owned)
        });
        let mut roots = Vec::new();
        for name in ["a", "b", "b"] {
            roots.push(host.provision(name, &image("app")).await.expect("a root").rootfs);
        }
        for (number, root) in roots.iter().enumerate() {
            let mode = std::fs::metadata(root).expect("a root").permissions().mode();
            assert_eq!(mode & 0o7777, 0o751);
            assert!(!root.join("gone").exists() && !root.join("own").exists());
            assert_eq!(std::fs::read_to_string(root.join("kept")).expect("a file"), "1");
            std::fs::write(root.join("own"), number.to_string()).expect("written");
            std::fs::write(root.join("kept"), number.to_string()).expect("written");
            // Devices of images are without effect.
            let error = std::fs::File::open(root.join("disk")).expect_err("no device");
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        }
        assert_eq!(host.directory.mounts().len(), 3, "{:?}", host.directory.mounts());
        host.destroy("b");
        host.destroy("b");
        assert_eq!(std::fs::read_to_string(roots[0].join("own")).expect("a file"), "0");
        host.destroy("a");
        assert_eq!(host.directory.mounts(), [""; 0]);
        assert_eq!(host.directory.count("work/provisioner/containers"), 0);
        assert_eq!(host.layers(), 2);
    }
    std::fs::remove_dir_all(archives).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn bind_shows_one_layer_read_only() {
    if !is_root() {
        return;
    }
    let archives = archives();
    let host =
        Host::with(archives.to_str().expect("text"), |o| o.backend = Some("bind".to_owned()));
    let error = host.provision("a", &image("app")).await.expect_err("two layers");
    assert_eq!(
        error,
        "the image has 2 layers, and --image_provisioner_backend=bind can show only one"
    );
    let root = host.provision("a", &image("single")).await.expect("a root").rootfs;
    assert_eq!(std::fs::read_to_string(root.join("gone")).expect("a file"), "1");
    let error = std::fs::write(root.join("kept"), "2").expect_err("read-only");
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    host.destroy("a");
    let layers: Vec<_> =
        std::fs::read_dir(host.directory.join("store/layers")).expect("it").flatten().collect();
    assert!(layers.iter().any(|layer| layer.path().join("rootfs/kept").exists()));
    for wrong in ["aufs", "zfs"] {
        let mut options = Host::options(&host.directory.0, "/");
        options.backend = Some(wrong.to_owned());
        let error = containerizer::images::Provisioner::new(&options).expect_err("refused");
        assert!(error.starts_with(&format!("--image_provisioner_backend={wrong}: ")), "{error}");
    }
    std::fs::remove_dir_all(archives).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_removes_what_no_container_has_and_nobody_wants() {
    if !is_root() {
        return;
    }
    let archives = archives();
    let registry = archives.to_str().expect("text");
    let own = Tar::new().file("own", "own").bytes();
    write(&archives, "other", &[own]);
    let host = Host::new(registry);
    for (container, name) in [("a", "app"), ("b", "single"), ("c", "other")] {
        host.provision(container, &image(name)).await.expect("a root");
    }
    let root = host.provision("d", &image("app")).await.expect("a root").rootfs;
    for container in ["a", "b", "c"] {
        host.destroy(container);
    }
    host.provisioner.prune(&[image("other")]).await.expect("pruned");
    // The layers of the container that runs stay, though its image is known no more.
    assert_eq!(
        (
            host.layers(),
            host.directory.count("store/images"),
            host.directory.count("store/configs")
        ),
        (3, 1, 1)
    );
    assert_eq!(std::fs::read_to_string(root.join("kept")).expect("a file"), "1");
    host.destroy("d");
    host.provisioner.prune(&[]).await.expect("pruned");
    assert_eq!((host.layers(), host.directory.count("store/images"), host.staged()), (0, 0, 0));
    host.provision("a", &image("app")).await.expect("a root");

    // What another agent uses is not known here.
    let mut options = Host::options(&host.directory.0, registry);
    options.work_dir = host.directory.join("other");
    let other = containerizer::images::Provisioner::new(&options).expect("a provisioner");
    for provisioner in [&other, &host.provisioner] {
        let error = provisioner.prune(&[]).await.expect_err("shared");
        assert!(error.contains("give each agent its own --docker_store_dir"), "{error}");
    }
    drop(other);
    host.provisioner.prune(&[]).await.expect("pruned");
    assert_eq!(host.layers(), 2);
    std::fs::remove_dir_all(archives).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_agent_keeps_what_runs_and_removes_the_rest() {
    if !is_root() {
        return;
    }
    let archives = archives();
    let registry = archives.to_str().expect("text");
    let first = Host::new(registry);
    let kept = first.provision("runs", &image("app")).await.expect("a root").rootfs;
    first.provision("ended", &image("single")).await.expect("a root");
    let Host { provisioner, directory } = first;
    // As if it was killed: nothing of it is tidied up.
    drop(provisioner);
    for half in [
        "store/staging/x/rootfs.overlay/y",
        "work/provisioner/containers/half-made/backends",
        "work/provisioner/removed/7/backends",
    ] {
        std::fs::create_dir_all(directory.join(half)).expect("a directory");
    }
    std::fs::write(directory.join("store/images/torn.json"), "{").expect("written");
    let next = Host::at(directory, registry, |_| {});
    next.provisioner.recover(&BTreeSet::from(["runs".to_owned()])).expect("recovered");
    assert_eq!(next.directory.mounts(), [kept.display().to_string()]);
    assert_eq!(std::fs::read_to_string(kept.join("kept")).expect("a file"), "1");
    assert_eq!(next.directory.count("work/provisioner/containers"), 1);
    assert_eq!((next.directory.count("store/images"), next.staged()), (2, 0));
    // A second root file system of the same container does not meet the first.
    let second = next.provision("runs", &image("app")).await.expect("a root").rootfs;
    assert_ne!(second, kept);
    next.destroy("runs");
    assert_eq!(next.directory.mounts(), [""; 0]);
    assert_eq!(next.directory.count("work/provisioner/containers"), 0);
    until("their removal", || next.directory.count("work/provisioner/removed") == 0).await;
    std::fs::remove_dir_all(archives).expect("removed");
}

/// A disk that is fuller than allowed, which it always is with all of it as headroom.
#[tokio::test(flavor = "multi_thread")]
async fn images_that_nobody_uses_go_when_the_disk_gets_full() {
    if !is_root() {
        return;
    }
    let archives = archives();
    let registry = archives.to_str().expect("text").to_owned();
    let config = |headroom: f64| GcConfig {
        headroom,
        interval: std::time::Duration::from_millis(20),
        excluded: vec![image("single")],
    };
    let roomy = Host::with(&registry, |options| options.gc = Some(config(0.0)));
    let full = Host::with(&registry, |options| options.gc = Some(config(1.0)));
    for host in [&roomy, &full] {
        for name in ["app", "single"] {
            host.provision(name, &image(name)).await.expect("a root");
        }
        host.provisioner.watch_disk();
    }
    let all = roomy.layers();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!((roomy.layers(), full.layers()), (all, all), "a container has them");
    for host in [&roomy, &full] {
        host.destroy("app");
        host.destroy("single");
    }
    until("one that nobody uses is removed", || full.layers() < all).await;
    assert_eq!(full.directory.count("store/images"), 1, "what is excluded stays");
    assert_eq!(roomy.layers(), all, "there is room");
    std::fs::remove_dir_all(archives).expect("removed");
}
