//! Machines as operators name them.

use crate::state::Agent;
use std::fmt;
use std::net::Ipv4Addr;
use wire::v1;

/// A machine: the host name and IP address of its agents. One that is named by only one of them is the machine of no
/// agent (spec/master.md 1.11).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// In lower case.
    hostname: Option<String>,
    ip: Option<String>,
}

impl Machine {
    /// The machine that an id names.
    #[must_use]
    pub fn named(id: &v1::MachineId) -> Self {
        Self { hostname: id.hostname.as_ref().map(|h| h.to_lowercase()), ip: id.ip.clone() }
    }

    /// The machine of an agent with this host name that connects from this address.
    #[must_use]
    pub fn at(hostname: &str, ip: &str) -> Self {
        Self { hostname: Some(hostname.to_lowercase()), ip: Some(ip.to_owned()) }
    }

    /// The machine on which an agent runs.
    #[must_use]
    pub fn of(agent: &Agent) -> Self {
        Self::at(&agent.info.hostname, &agent.ip)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.hostname, &self.ip) {
            (Some(hostname), Some(ip)) => write!(f, "{hostname} ({ip})"),
            (Some(hostname), None) => write!(f, "{hostname}"),
            (None, ip) => write!(f, "({})", ip.as_deref().unwrap_or_default()),
        }
    }
}

/// A machine in the words of errors: as JSON.
pub(super) fn shown(id: &v1::MachineId) -> String {
    format!("Machine '{}'", wire::json::to_value(id))
}

/// Whether an id can name a machine.
pub(super) fn check(id: &v1::MachineId) -> Result<(), String> {
    if id.hostname().is_empty() && id.ip().is_empty() {
        return Err("Both 'hostname' and 'ip' for a machine are empty".to_owned());
    }
    if !id.ip().is_empty() && id.ip().parse::<Ipv4Addr>().is_err() {
        return Err(format!(
            "Failed to parse the 'ip' of {}: expected an IPv4 address such as 10.1.0.7",
            shown(id)
        ));
    }
    Ok(())
}
