//! What containers are made with: cgroups, Docker, plugins, privileges.

use super::{Finding, fail, ok, warn};
use crate::flags::Flags;
use crate::host;
use agent::isolation::Launcher;
use agent::isolation::cgroups::Hierarchies;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Controllers that isolators use most.
const CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "cpuset", "freezer"];
const LIMIT: Duration = Duration::from_secs(3);

pub(super) fn all(is_given: bool, flags: &Flags) -> Vec<Finding> {
    let mut all = vec![privileges(), cgroups(flags)];
    if is_given {
        all.extend(isolation(flags));
        all.extend(plugins(flags));
    }
    let wants_docker = flags
        .text("containerizers")
        .unwrap_or_default()
        .split(',')
        .any(|name| name.trim() == "docker");
    if is_given && wants_docker {
        all.push(docker(flags.text("docker_socket").unwrap_or_default()));
    }
    all
}

fn privileges() -> Finding {
    if host::is_root() {
        return ok("privileges", "root");
    }
    let advice = "run agents as root: without, tasks run as this user, and cgroups, namespaces and images can't be used";
    warn("privileges", "this user is not root", advice)
}

fn cgroups(flags: &Flags) -> Finding {
    let root = flags.text("cgroups_hierarchy").unwrap_or_default();
    let found = match Hierarchies::detect(Path::new(root)) {
        Ok(found) => found,
        Err(text) => return warn("cgroups", text, "without them containers have no limits"),
    };
    // Version 2 freezes and kills without a controller.
    let is_there = |name: &&str| {
        found.place(name).is_some() || (*name == "freezer" && found.unified().is_some())
    };
    let (there, missing): (Vec<&str>, Vec<&str>) = CONTROLLERS.into_iter().partition(is_there);
    let shown = format!("{}, with {}", found.layout(), there.join(", "));
    if missing.is_empty() {
        return ok("cgroups", shown);
    }
    let advice = format!(
        "isolators that need {} can't be used: mount it, delegate it (Delegate=yes of the unit around), or see the kernel's command line",
        missing.join(", ")
    );
    warn("cgroups", shown, advice)
}

fn isolation(flags: &Flags) -> Option<Finding> {
    let selection = crate::isolation::selection(flags).ok()?;
    let names: Vec<&str> = selection.names().collect();
    let has_cgroups = match selection.launcher() {
        Launcher::Linux => selection.check_cgroups(),
        Launcher::Posix => Ok(()),
    };
    Some(match has_cgroups {
        Ok(()) => ok("isolation", names.join(", ")),
        Err(text) => fail("isolation", text, "see --isolation; auto takes all that works here"),
    })
}

/// Plugins of networks.
fn plugins(flags: &Flags) -> Option<Finding> {
    let isolation = flags.text("isolation").unwrap_or_default();
    if !isolation.split(',').any(|name| name.trim() == "network/cni") {
        return None;
    }
    let directories = flags.text("network_cni_plugins_dir").unwrap_or_default();
    let missing: Vec<&str> = directories
        .split(':')
        .filter(|path| !path.is_empty() && !Path::new(path).is_dir())
        .collect();
    if !missing.is_empty() {
        let found = format!("there is no {}", missing.join(", "));
        return Some(fail(
            "networks",
            found,
            "install CNI plugins, or see --network_cni_plugins_dir",
        ));
    }
    let forward = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
    if forward.trim() == "0" {
        let advice =
            "`sysctl -w net.ipv4.ip_forward=1`: containers behind a bridge reach nobody outside";
        return Some(warn("networks", "the kernel forwards no packets", advice));
    }
    Some(ok("networks", directories))
}

fn docker(path: &str) -> Finding {
    let path = path.strip_prefix("unix://").unwrap_or(path);
    let version = || -> std::io::Result<Option<String>> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"GET /version HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        let _ = stream.take(64 << 10).read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let (from, to) = (answer.find('{'), answer.rfind('}'));
        let json = from.zip(to).and_then(|(from, to)| answer.get(from..=to));
        let json = json.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        Ok(json.and_then(|json| json["Version"].as_str().map(str::to_owned)))
    };
    let advice = "start the Docker Engine, let this user use its socket, or see --docker_socket and --containerizers";
    match version() {
        Ok(Some(version)) => ok("docker", format!("{path} answers ({version})")),
        Ok(None) => fail("docker", format!("{path}: no Docker Engine answers"), advice),
        Err(error) => fail("docker", format!("{path}: {error}"), advice),
    }
}
