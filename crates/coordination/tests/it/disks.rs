//! Disks that are full.

use crate::contract::{change, content, leads, master, write};
use coordination::{Backend, Replicas, Standing, Timeouts, join};
use std::path::PathBuf;
use std::process::Command;
use testkit::cluster::{free_ports, temporary_directory};

/// A directory with a small disk of its own, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None, and a line that says so, where it can't be mounted.
    fn mount() -> Option<Self> {
        let directory = temporary_directory();
        let options = ["-t", "tmpfs", "-o", "size=6m", "none"];
        let mounted = Command::new("mount").args(options).arg(&directory).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(directory));
        }
        eprintln!("skipped: cannot mount a tmpfs here");
        let _ = std::fs::remove_dir(directory);
        None
    }

    /// Nothing more fits.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("rest")).expect("a file");
        while std::io::Write::write(&mut file, &[0; 4096]).is_ok_and(|written| written > 0) {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("rest")).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// What was written before is there when there is room again; nothing that failed is.
async fn keeps_what_was_written(disk: &SmallDisk, backend: &Backend) {
    let mut member = join(backend, master(1)).await.expect("joined");
    let (mut registry, written) =
        write(leads(&mut member).await, vec![change("kept", Some("1"))]).await;
    written.expect("written");
    disk.fill();
    let large = "x".repeat(100_000);
    let mut failed = None;
    for n in 0..40 {
        let (back, written) =
            write(registry, vec![change(&format!("k{n:02}"), Some(&large))]).await;
        registry = back;
        if let Err(error) = written {
            failed = Some((n, error.to_string()));
            break;
        }
    }
    let (made, error) = failed.expect("the disk is full");
    assert!(error.contains("registry.redb"), "{error}");
    let (registry, written) = write(registry, vec![change("later", Some("1"))]).await;
    let is_later = written.is_ok();
    drop(registry);
    member.leave().await;
    disk.free();
    let mut member = join(backend, master(1)).await.expect("it opens again");
    let (_, all) = content(leads(&mut member).await).await;
    let has = |key: &str| all.iter().any(|(k, _)| k == key);
    assert!(has("kept") && (0..made).all(|n| has(&format!("k{n:02}"))), "{:?}", all.len());
    assert!(!is_later || has("later"));
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_the_write_and_keeps_what_was_written() {
    let Some(disk) = SmallDisk::mount() else { return };
    keeps_what_was_written(&disk, &Backend::Embedded(disk.0.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_replicates_and_has_a_full_disk_is_over_and_keeps_what_was_written() {
    let Some(disk) = SmallDisk::mount() else { return };
    let me = format!("127.0.0.1:{}", free_ports(1)[0]);
    let backend = Backend::Raft(Replicas {
        directory: disk.0.clone(),
        me: me.clone(),
        peers: vec![me],
        secret: None,
        timeouts: Timeouts::default(),
    });
    keeps_what_was_written(&disk, &backend).await;
    let mut member = join(&backend, master(1)).await.expect("joined");
    let registry = leads(&mut member).await;
    disk.fill();
    let large = "x".repeat(3_000_000);
    let (_registry, written) = write(registry, vec![change("large", Some(&large))]).await;
    written.expect_err("the disk is full");
    let Standing::Over(why) = crate::contract::next(&mut member).await else {
        panic!("it goes on")
    };
    assert!(why.contains("replicated registry has failed"), "{why}");
    member.leave().await;
}
