//! Directories, ports and names.

use super::reach::{Service, ask};
use super::{Finding, Role, fail, ok, warn};
use crate::flags::Flags;
use crate::host;
use rustix::fs::{StatVfsMountFlags, statfs, statvfs};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

const GIB: u64 = 1 << 30;
/// File systems by the number that the kernel gives them, which do not fit.
const NOT_LASTING: [(i64, &str); 2] = [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];
const REMOTE: [(i64, &str); 3] = [(0x6969, "nfs"), (0xff53_4d42, "cifs"), (0xfe53_4d42, "smb2")];

pub(super) fn all(role: Option<Role>, flags: &Flags) -> Vec<Finding> {
    let mut all = Vec::new();
    if role.is_some()
        && let Some(path) = flags.text("work_dir")
    {
        all.extend(directory("work_dir", path, role));
    }
    if role == Some(Role::Agent)
        && let Some(path) = flags.text("runtime_dir")
    {
        all.extend(writable("runtime_dir", Path::new(path)));
    }
    match role {
        Some(role) => all.push(port(role, flags)),
        None => all.extend([(Role::Master, 5050), (Role::Agent, 5051)].map(|(role, port)| {
            is_free(role, SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
        })),
    }
    all.push(name(role.is_some(), flags));
    all.push(user());
    all
}

/// The nearest directory that is there.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Whether something can be made in or for a directory; nothing to say if so.
fn writable(name: &'static str, path: &Path) -> Option<Finding> {
    let place = existing(path);
    let probe = place.join(format!(".proffer-doctor-{}", std::process::id()));
    let made = std::fs::write(&probe, b"x");
    let _ = std::fs::remove_file(&probe);
    let error = made.err()?;
    let advice = format!("let this user write in {}, or see --{name}", place.display());
    Some(fail(name, format!("{}: {error}", path.display()), advice))
}

fn directory(name: &'static str, path: &str, role: Option<Role>) -> Vec<Finding> {
    let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    if let Some(finding) = writable(name, &path) {
        return vec![finding];
    }
    let (place, mut all) = (existing(&path), Vec::new());
    if let Ok(system) = statfs(&place) {
        #[allow(clippy::unnecessary_cast, reason = "its type is another one on other processors")]
        let number = system.f_type as i64;
        let is = |list: &[(i64, &'static str)]| {
            list.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
        };
        if let Some(kind) = is(&NOT_LASTING) {
            let advice = "take a disk: after a reboot nothing would be known of what was";
            all.push(warn(name, format!("{} is {kind}", place.display()), advice));
        }
        if let Some(kind) = is(&REMOTE) {
            let advice =
                "take a disk of this host: locks and durable writes are slow or missing there";
            all.push(warn(name, format!("{} is {kind}", place.display()), advice));
        }
    }
    let Ok(volume) = statvfs(&place) else { return all };
    if role == Some(Role::Agent) && volume.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        let advice = "mount it without noexec: what tasks fetch can't be executed";
        all.push(warn(name, format!("{} is mounted with noexec", place.display()), advice));
    }
    let (free, total) = (volume.f_bavail * volume.f_frsize, volume.f_blocks * volume.f_frsize);
    let percent = (free * 100).checked_div(total).unwrap_or(100);
    let inodes = (volume.f_favail * 100).checked_div(volume.f_files).unwrap_or(100);
    let shown =
        format!("{}: {} GiB free of {} ({percent} %)", path.display(), free / GIB, total / GIB);
    all.push(match (percent.min(inodes), free) {
        (0, _) | (_, 0..0x0400_0000) => fail(name, shown, "make room: nothing can be stored"),
        (1..10, _) if inodes < percent => warn(
            name,
            format!("{shown}, and {inodes} % of its files"),
            "remove files that nobody needs",
        ),
        (1..10, _) => {
            warn(name, shown, "make room: sandboxes are removed earlier than --gc_delay says")
        }
        _ => ok(name, shown),
    });
    all
}

fn port(role: Role, flags: &Flags) -> Finding {
    match host::address(flags) {
        Ok(address) if address.listen.port() == 0 => ok("port", "any that is free"),
        Ok(address) => is_free(role, address.listen),
        Err(text) => fail("port", text, "correct it"),
    }
}

fn is_free(role: Role, address: SocketAddr) -> Finding {
    let Err(error) = TcpListener::bind(address) else {
        return ok("port", format!("{address} is free for {}", role.one()));
    };
    let near = if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    };
    if let Ok(Service::Proffer { version, .. }) = ask(&near.to_string()) {
        return ok(
            "port",
            format!("{address} is that of a Proffer or Mesos that runs ({version})"),
        );
    }
    let advice =
        format!("`ss -ltnp 'sport = :{}'` says who has it; or see --ip and --port", address.port());
    fail("port", format!("{address} for {}: {error}", role.one()), advice)
}

/// Whether others find this host under the name that it announces.
fn name(is_given: bool, flags: &Flags) -> Finding {
    let address = match host::address(flags) {
        Ok(address) => address,
        Err(text) => return fail("name", text, "correct it"),
    };
    let shown = format!("{} ({})", address.hostname, address.ip);
    let is_loopback = address.ip.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    let listens_on_loopback = address.listen.ip().is_loopback();
    if is_loopback && !listens_on_loopback {
        let advice = "others can't reach that: give --ip or --advertise_ip, or a line with the host's name and address in /etc/hosts or DNS";
        let found = format!("this host would be announced as {shown}");
        return if is_given { fail("name", found, advice) } else { warn("name", found, advice) };
    }
    if address.hostname == address.ip
        && !flags.is_given("hostname")
        && flags.text("hostname_lookup") != Some("false")
    {
        let advice = "let the host's name resolve to its address, or give --hostname: links to it show the address";
        return warn(
            "name",
            format!("the host's name does not resolve; it is announced as {shown}"),
            advice,
        );
    }
    ok("name", shown)
}

/// Whether this user has a name: tasks without one run as who runs the agent.
fn user() -> Finding {
    let own = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(own)).then(|| name.to_owned())
    });
    match name {
        Some(name) => ok("user", name),
        None => warn(
            "user",
            format!("number {own} has no name in /etc/passwd"),
            "add one, unless users come from elsewhere (LDAP)",
        ),
    }
}
