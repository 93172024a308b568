//! The kernel, the clock, the limits of processes.

use super::{Finding, Role, fail, ok, warn};
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::Path;

/// Kernel that agents need: processes are watched by descriptors that do not block.
const KERNEL_MIN: (u32, u32) = (5, 10);
/// Open files: a connection for each agent or framework, several for each container.
const FILES: u64 = 65_536;
/// Fewer of them are too few for anything.
const FILES_MIN: u64 = 1024;
/// Namespaces that containers may have of their own.
const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

pub(super) fn all(role: Role) -> Vec<Finding> {
    let mut all = vec![kernel(role), clock(), open_files(role)];
    if role == Role::Agent {
        all.extend([namespaces(), overlay()]);
    }
    all
}

fn kernel(role: Role) -> Finding {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = text.trim();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if role == Role::Agent && version < KERNEL_MIN {
        let (major, minor) = KERNEL_MIN;
        return fail("kernel", text, format!("agents need Linux {major}.{minor} or newer"));
    }
    ok("kernel", text)
}

fn clock() -> Finding {
    match agent::clock::read() {
        Some(clock) if clock.is_kept => {
            ok("clock", format!("is kept right, to {} ms", clock.error_max / 1000))
        }
        Some(_) => warn(
            "clock",
            "nothing keeps it right",
            "run chrony or systemd-timesyncd: times in statuses and logs, maintenance and schedules go by it",
        ),
        None => warn("clock", "the kernel does not tell", "see that NTP runs on the host"),
    }
}

fn open_files(role: Role) -> Finding {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let advice =
        format!("raise it: LimitNOFILE= of the unit, or `ulimit -Hn {FILES}` before the start");
    let needs = match role {
        Role::Master => "each agent, framework and reader takes one",
        Role::Agent => "each container takes some",
    };
    match most {
        u64::MAX => ok("open files", "no limit"),
        most if most < FILES_MIN => fail("open files", format!("at most {most}: {needs}"), advice),
        most if most < FILES => warn("open files", format!("at most {most}: {needs}"), advice),
        most => ok("open files", format!("at most {most}")),
    }
}

fn namespaces() -> Finding {
    let place = Path::new("/proc/self/ns");
    let missing: Vec<&str> =
        NAMESPACES.into_iter().filter(|name| !place.join(name).exists()).collect();
    if missing.is_empty() {
        return ok("namespaces", NAMESPACES.join(", "));
    }
    let advice = "isolators that need them can't be used: take a kernel that has them";
    warn("namespaces", format!("the kernel has no {}", missing.join(", ")), advice)
}

fn overlay() -> Finding {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let module = format!("/lib/modules/{}/kernel/fs/overlayfs", release.trim());
    if known.lines().any(|line| line.ends_with("\toverlay")) {
        return ok("overlayfs", "there");
    }
    if Path::new(&module).exists() {
        return warn(
            "overlayfs",
            "its module is not loaded",
            "`modprobe overlay`, before images are used",
        );
    }
    let advice =
        "images are copied or bound instead: starts take longer; see --image_provisioner_backend";
    warn("overlayfs", "the kernel has none", advice)
}
