//! Disks that are full, or that can't be written any more.

use super::{Node, says};
use crate::tasks::{LIMIT, cluster, nodes};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::{Cluster, wait};

/// A file system of its own on a small loop device, unmounted at the end.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

fn run(program: &str, words: &[&str]) -> bool {
    let mut command = Command::new(program);
    let done = command.args(words).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

impl Disk {
    /// None: this host has none for us; says so.
    fn new(image: PathBuf, mount: PathBuf, size: u64) -> Option<Self> {
        let file = std::fs::File::create(&image).expect("a file");
        file.set_len(size).expect("its length");
        std::fs::create_dir_all(&mount).expect("a directory");
        let disk = Self { image, mount };
        // Nothing of it is kept for root, who is who runs tasks here.
        let is_made = run("mkfs.ext4", &["-q", "-F", "-m", "0", &disk.image.display().to_string()]);
        if is_made && disk.mount() {
            return Some(disk);
        }
        eprintln!("skipped: no loop device can be mounted here");
        None
    }

    fn mount(&self) -> bool {
        let (image, mount) = (self.image.display().to_string(), self.mount.display().to_string());
        run("mount", &["-o", "loop,errors=remount-ro", &image, &mount])
    }

    /// The kernel finds an error in it: from then on nothing can be written.
    fn fail(&self) -> bool {
        let table = std::fs::read_to_string("/proc/self/mounts").expect("a table of mounts");
        let mount = self.mount.display().to_string();
        let line = table.lines().find(|line| line.split(' ').nth(1) == Some(&mount));
        let device = line.and_then(|line| line.split(' ').next()).expect("a device");
        let device = Path::new(device).file_name().expect("a name");
        // As far as it came until now it was written.
        run("sync", &["-f", &mount]);
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        let is_done = std::fs::write(trigger, "1").is_ok();
        if !is_done {
            eprintln!("skipped: this kernel makes no errors on demand");
        }
        is_done
    }

    /// Mounts a copy in its place, with its errors corrected: the kernel keeps what failed for as long as some mount
    /// namespace knows it.
    fn repair(&mut self) {
        assert!(run("umount", &["-l", &self.mount.display().to_string()]));
        let copy = self.image.with_extension("repaired");
        std::fs::copy(&self.image, &copy).expect("a copy");
        self.image = copy;
        let _ = run("e2fsck", &["-f", "-y", &self.image.display().to_string()]);
        assert!(self.mount(), "it can be mounted again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l", &self.mount.display().to_string()]);
    }
}

/// A cluster whose agent has its work directory on a disk of its own.
fn cluster_on_disk(flags: &[&str], more: &[&str], size: u64) -> Option<(Cluster, Disk)> {
    let mut cluster = cluster(&[flags, more].concat());
    cluster.kill_agent(0);
    let (image, mount) = (cluster.directory().join("disk"), cluster.directory().join("agent0"));
    let disk = Disk::new(image, mount, size)?;
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    Some((cluster, disk))
}

#[test]
fn who_fills_the_disk_is_reported_and_room_is_made() {
    for flags in nodes() {
        let more = ["--disk_watch_interval=200ms"];
        let Some((cluster, _disk)) = cluster_on_disk(flags, &more, 24 << 20) else { return };
        let mut node = Node::of(cluster);
        // Not a byte is left for anybody else, and the file stays until somebody may remove it.
        let fill = "head -c 100000000 /dev/zero > big; while echo x >> more; do :; done; exit 4";
        let end = node.run("filler", fill, |_| {});
        says(&end, "TASK_FAILED", "", "Command exited with status 4");
        let probe = node.file("agent0/probe");
        wait::until("its sandbox goes", LIMIT, || {
            let has_room = std::fs::write(&probe, vec![0; 2 << 20]).is_ok();
            let _ = std::fs::remove_file(&probe);
            has_room.then_some(())
        });
        node.is_as_before();
        node.restart_agent();
        node.is_as_before();
    }
}

#[test]
fn on_a_disk_that_fails_tasks_run_on_and_after_its_repair_the_agent_does() {
    for flags in nodes() {
        let Some((cluster, mut disk)) = cluster_on_disk(flags, &[], 24 << 20) else { return };
        let mut node = Node::of(cluster);
        if !disk.fail() {
            return;
        }
        let log = node.file("agent0.log");
        let told = |count: usize| {
            wait::until("the agent says why it ends", LIMIT, || {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                (text.matches("Read-only file system").count() >= count).then_some(text)
            })
        };
        let offer = node.framework.offers().remove(0);
        let task = testkit::framework::command_task(&offer, "late", "true", 0.1, 32.0);
        node.framework.launch(&offer, &[task]);
        let text = told(1);
        assert!(!text.contains("panicked"), "{text}");
        node.neighbour.runs_on();
        node.cluster.kill_agent(0);
        node.cluster.start_agent(0);
        let text = told(2);
        assert!(text.contains("--work_dir") && !text.contains("panicked"), "{text}");
        node.neighbour.runs_on();
        node.cluster.kill_agent(0);
        node.neighbour.end();
        let runtime = node.file("agent0-run");
        wait::until("nobody uses the disk", LIMIT, || {
            testkit::measure::processes_of(&runtime).is_empty().then_some(())
        });
        disk.repair();
        node.cluster.start_agent(0);
        let end = node.framework.until_end("neighbour").pop().expect("a status");
        says(&end, "TASK_FAILED", "", "Command terminated with signal Killed");
        let end = node.framework.until_end("late").pop().expect("a status");
        says(&end, "TASK_LOST", "REASON_RECONCILIATION", "");
        let end = node.run("next", "exit 0", |_| {});
        says(&end, "TASK_FINISHED", "", "");
    }
}
