//! `filesystem/linux`: a mount namespace for each container, a root file system if it has one, and its persistent
//! volumes as mounts.

use super::{needs_mounts_by_descriptor, needs_root};
use crate::isolation::{Attributes, Isolator, Preparation, Source, Step, Target};
use crate::{ContainerSpec, MesosOptions, around};
use std::path::{Path, PathBuf};

/// What of `/proc` nobody may change.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// What tells of the host, or reaches it.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
/// Devices with which nobody can harm anybody: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] = [
    ("full", 1, 7),
    ("null", 1, 3),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
];
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Linux {
    sandbox_directory: String,
}

impl Linux {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        needs_root()?;
        needs_mounts_by_descriptor()?;
        let sandbox_directory = options.settings.sandbox_directory.clone();
        if !Path::new(&sandbox_directory).is_absolute() {
            return Err("--sandbox_directory must be an absolute path".to_owned());
        }
        Ok(Self { sandbox_directory })
    }

    /// What is below `/proc`, `/sys` and `/dev` of a root file system, and the sandbox in it.
    fn furnish(&self, spec: &ContainerSpec, preparation: &mut Preparation) {
        let steps = &mut preparation.setup.steps;
        let mount = |kind, path: &str, options: &str, attributes| Step::Mount {
            kind,
            options: options.to_owned(),
            attributes,
            path: path.to_owned(),
        };
        let memory = |path: &str, attributes| Step::Memory {
            mode: 0o755,
            attributes,
            path: path.to_owned(),
        };
        steps.push(mount("proc", "/proc", "", Attributes::DATA));
        steps.extend(READ_ONLY.map(|path| Step::Bind {
            source: Source::Container(path.to_owned()),
            target: Target { in_sandbox: false, path: path.to_owned(), made: false },
            recursive: true,
            attributes: Attributes::READ_ONLY_DATA,
            shared: false,
            optional: true,
        }));
        let terminals = "newinstance,ptmxmode=0666,mode=0620,gid=5";
        steps.extend([
            mount("sysfs", "/sys", "", Attributes::READ_ONLY_DATA),
            memory("/sys/fs/cgroup", Attributes::DATA),
            memory("/dev", Attributes::DEVICES),
            mount("devpts", "/dev/pts", terminals, Attributes::DEVICES),
            Step::memory("/dev/shm", None),
        ]);
        steps.extend(DEVICES.map(|(name, major, minor)| Step::Device {
            path: format!("/dev/{name}"),
            mode: libc::S_IFCHR | 0o666,
            number: libc::makedev(major, minor),
        }));
        steps.extend(
            LINKS.map(|(path, to)| Step::Link { to: to.to_owned(), path: path.to_owned() }),
        );
        let sandbox = Source::Host(PathBuf::from(&spec.directory));
        let target = Target::made(&self.sandbox_directory);
        steps.push(Step::bind(sandbox, target, Attributes::default()));
        let linux = spec.container.as_ref().and_then(|c| c.linux_info.as_ref());
        let sees_host = spec.parent.is_none() && linux.is_some_and(|l| l.share_pid_namespace());
        if !sees_host {
            steps.extend(MASKED.map(|path| Step::Mask { path: path.to_owned() }));
        }
        preparation.setup.sandbox = Some(self.sandbox_directory.clone());
        let sandbox = ("MESOS_SANDBOX".to_owned(), self.sandbox_directory.clone());
        preparation.environment.extend([sandbox]);
    }
}

impl Isolator for Linux {
    fn name(&self) -> &'static str {
        "filesystem/linux"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        if spec.shares_everything() {
            if spec.volumes.is_empty() && preparation.rootfs.is_none() {
                let root = preparation.setup.parent.as_ref().and_then(around::root);
                if let Some(root) = root {
                    let directory = spec.working_directory.as_ref().unwrap_or(&spec.directory);
                    let inside = around::inside(&root, &self.sandbox_directory, directory.as_ref());
                    preparation.setup.working_directory = Some(inside);
                    let sandbox = Path::new(&spec.directory);
                    let sandbox = around::inside(&root, &self.sandbox_directory, sandbox);
                    preparation.environment.insert("MESOS_SANDBOX".to_owned(), sandbox);
                }
                return Ok(());
            }
            return Err("a container that shares everything with the one around it has no root \
                        file system and no volumes of its own"
                .to_owned());
        }
        preparation.setup.own(libc::CLONE_NEWNS);
        if preparation.rootfs.is_some() {
            self.furnish(spec, preparation);
        }
        for volume in &spec.volumes {
            if let Some(owner) = preparation.owner.filter(|_| volume.exclusive) {
                super::posix::give(Path::new(&volume.path), owner)?;
            }
            let target =
                Target { in_sandbox: true, path: volume.container_path.clone(), made: true };
            let source = Source::Host(PathBuf::from(&volume.path));
            let attributes = Attributes::writable(!volume.read_only);
            preparation.setup.steps.push(Step::bind(source, target, attributes));
        }
        Ok(())
    }
}
