//! Those that the flags name: masters, ZooKeeper, etcd.

use super::{Finding, Role, fail, ok, warn};
use crate::flags::Flags;
use crate::host;
use detector::MasterName;
use master::Backend;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, SystemTime};

/// Time for a connection and for an answer.
const LIMIT: Duration = Duration::from_secs(3);
/// Longest answer.
const ANSWER_MAX: u64 = 64 << 10;
/// Difference of clocks above which something is wrong.
const SKEW_MAX: Duration = Duration::from_secs(5);

/// What is at an address.
#[derive(Debug)]
pub(super) enum Service {
    /// A master or an agent.
    Proffer {
        /// The version of its interfaces.
        version: String,
        /// Its clock.
        date: Option<SystemTime>,
    },
    /// Something else.
    Other,
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks `host:port` what it is.
pub(super) fn ask(address: &str) -> io::Result<Service> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "GET /version HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    // Something else may say nothing, and keep the connection.
    let _ = stream.take(ANSWER_MAX).read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let version = serde_json::from_str::<serde_json::Value>(body.trim())
        .ok()
        .and_then(|json| json["version"].as_str().map(str::to_owned));
    let Some(version) = version else { return Ok(Service::Other) };
    let date = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_date = name.eq_ignore_ascii_case("date");
        let at = is_date.then(|| jiff::fmt::rfc2822::parse(value.trim()).ok()).flatten()?;
        let seconds = u64::try_from(at.timestamp().as_second()).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    });
    Ok(Service::Proffer { version, date })
}

pub(super) fn all(role: Role, flags: &Flags) -> Vec<Finding> {
    match role {
        Role::Master => meeting(flags),
        Role::Agent => masters(flags),
    }
}

/// Where masters meet.
fn meeting(flags: &Flags) -> Vec<Finding> {
    let Ok(address) = host::address(flags) else { return Vec::new() };
    match crate::coordination::backend(flags, &address) {
        Ok(Backend::Meeting(meeting)) => {
            vec![servers(&meeting.url.to_string(), &meeting.url.servers)]
        }
        Ok(Backend::Raft(replicas)) => {
            let others = replicas.peers.iter().filter(|peer| **peer != replicas.me);
            others
                .map(|peer| {
                    master(peer, "it may not run yet; else see its log and the network between")
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Where the agent's masters are.
fn masters(flags: &Flags) -> Vec<Finding> {
    let Some(name) = flags.text("master") else { return Vec::new() };
    match MasterName::parse(name) {
        Err(error) => vec![fail("master", format!("--master: {error}"), "correct it")],
        Ok(MasterName::Meeting(url)) => vec![servers(&url.to_string(), &url.servers)],
        Ok(MasterName::File(path)) => match std::fs::read_to_string(&path) {
            Err(error) => {
                let found = format!("{}: {error}", path.display());
                vec![fail(
                    "master",
                    found,
                    "write host:port of the masters into it, or see --master",
                )]
            }
            Ok(text) => enough(text.split([',', '\n']).map(str::trim).filter(|t| !t.is_empty())),
        },
        Ok(MasterName::Addresses(addresses)) => enough(addresses.iter().map(String::as_str)),
    }
}

/// One master that answers is enough: a failure for none of them, else warnings.
fn enough<'a>(addresses: impl Iterator<Item = &'a str>) -> Vec<Finding> {
    let advice = "start it, or see --master, and firewalls between: agents dial masters, nobody dials agents";
    let mut all: Vec<Finding> = addresses.map(|address| master(address, advice)).collect();
    if all.iter().all(|finding| finding.state != super::State::Ok && finding.name == "master") {
        all.iter_mut().for_each(|finding| finding.state = super::State::Fail);
    }
    all
}

fn master(address: &str, advice: &str) -> Finding {
    match ask(address) {
        Ok(Service::Proffer { version, date }) => {
            let now = SystemTime::now();
            let skew = date.map(|date| {
                now.duration_since(date).or_else(|_| date.duration_since(now)).unwrap_or_default()
            });
            match skew.filter(|skew| *skew > SKEW_MAX) {
                Some(skew) => warn(
                    "clock",
                    format!("differs from that of {address} by {} s", skew.as_secs()),
                    "run chrony or systemd-timesyncd on both",
                ),
                None => ok("master", format!("{address} answers ({version})")),
            }
        }
        Ok(Service::Other) => {
            let found = format!("{address}: what listens there is no master");
            warn("master", found, "see the port; masters have 5050 unless told otherwise")
        }
        Err(error) => warn("master", format!("{address}: {error}"), advice),
    }
}

/// Servers of ZooKeeper or etcd: one that is reached is enough.
fn servers(shown: &str, list: &str) -> Finding {
    let all: Vec<(&str, io::Result<TcpStream>)> =
        list.split(',').map(|server| (server.trim(), connect(server.trim()))).collect();
    let missing: Vec<String> = all
        .iter()
        .filter_map(|(server, reached)| Some(format!("{server}: {}", reached.as_ref().err()?)))
        .collect();
    let advice = "see that it runs, and the network between";
    match missing.len() {
        0 => ok("meeting", format!("{shown}: all servers are reached")),
        n if n < all.len() => warn("meeting", missing.join("; "), advice),
        _ => fail("meeting", missing.join("; "), advice),
    }
}
