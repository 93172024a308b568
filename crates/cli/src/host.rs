//! What this host is called, and randomness for seeds.

use crate::flags::Flags;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};

/// Where a daemon listens, and what it announces.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) listen: SocketAddr,
    pub(crate) hostname: String,
    pub(crate) ip: String,
    /// Announced port; 0: the one that is listened on.
    pub(crate) port: u16,
}

/// From `--ip`, `--port`, `--hostname`, `--advertise_ip`, `--advertise_port`.
pub(crate) fn address(flags: &Flags) -> Result<Address, String> {
    let ip: Ipv4Addr = match flags.text("ip") {
        None => Ipv4Addr::UNSPECIFIED,
        Some(text) => {
            text.parse().map_err(|_| format!("--ip: expected an IPv4 address, got '{text}'"))?
        }
    };
    let port: u16 = flags.number("port")?;
    let system =
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let announced = match flags.text("advertise_ip") {
        Some(text) => text
            .parse()
            .map_err(|_| format!("--advertise_ip: expected an IPv4 address, got '{text}'"))?,
        None if ip.is_unspecified() => resolve(&system).unwrap_or(Ipv4Addr::LOCALHOST),
        None => ip,
    };
    let lookup = flags.text("hostname_lookup") != Some("false");
    let hostname = match flags.text("hostname") {
        Some(name) => name.to_owned(),
        None if announced.is_loopback() && lookup => "localhost".to_owned(),
        None if lookup && resolve(&system) == Some(announced) => system,
        None => announced.to_string(),
    };
    let advertised =
        if flags.is_given("advertise_port") { flags.number("advertise_port")? } else { port };
    Ok(Address {
        listen: SocketAddr::new(IpAddr::V4(ip), port),
        hostname,
        ip: announced.to_string(),
        port: advertised,
    })
}

fn resolve(name: &str) -> Option<Ipv4Addr> {
    (name, 0).to_socket_addrs().ok()?.find_map(|a| match a.ip() {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    })
}

/// Random bits from the system.
pub(crate) fn seed() -> Result<u64, String> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(|e| format!("no randomness to be had from /dev/urandom: {e}"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// What the kernel calls the time since it was started.
pub(crate) fn boot_id() -> Result<String, String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(PATH).map_err(|e| format!("cannot read {PATH}: {e}"))?;
    Ok(text.trim().to_owned())
}

/// Whether this process may change its user.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// Lets this process open as many files as the system allows; gives the limit of before, which is for tasks: programs
/// that use `select` can't live with a higher one.
pub(crate) fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: now.maximum, ..now };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    now.current
}
