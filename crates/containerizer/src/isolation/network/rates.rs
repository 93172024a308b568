//! How fast containers send and receive: a token bucket at either end of each of their interfaces. What a container sends
//! waits in its own network, so that its programs see that it can't go out; what it receives waits at the other end, on the
//! host.

use super::namespace;
use super::netlink::{self, Netlink, Rate};
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use wire::v1;

/// Resource with which a container asks for a rate: megabits a second, in either direction.
const RESOURCE: &str = "network_bandwidth";
/// Bytes of the unit of that resource.
const MEGABIT: f64 = 125_000.0;
/// Shortest burst: enough for one packet that is cut late.
const BURST_MIN: u64 = 64 << 10;

/// Rates of a container; None: as fast as it can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// What it sends.
    pub egress: Option<Rate>,
    /// What it receives.
    pub ingress: Option<Rate>,
}

impl Rate {
    /// So many bytes a second; without a burst that is given, a hundredth of a second's.
    #[must_use]
    pub fn new(bytes: u64, burst: Option<u64>) -> Self {
        Self { bytes, burst: burst.unwrap_or(bytes / 100).max(BURST_MIN) }
    }
}

/// Bytes a second that a container with these resources asks for, if it does.
pub(super) fn asked(resources: &[v1::Resource]) -> Option<u64> {
    let asked = resources.iter().filter(|resource| resource.name == RESOURCE);
    let asked = asked.filter_map(|resource| resource.scalar.map(|scalar| scalar.value));
    let asked = asked.reduce(|sum, more| sum + more).filter(|asked| *asked > 0.0)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let bytes = (asked * MEGABIT) as u64;
    Some(bytes)
}

impl Rates {
    /// Those of containers that asked for so much together, or for nothing.
    pub(super) fn of(asked: Option<u64>, default: Self) -> Self {
        let rate = asked.map(|bytes| Rate::new(bytes, None));
        Self { egress: rate.or(default.egress), ingress: rate.or(default.ingress) }
    }

    /// Has an interface of a network namespace keep to them, which has kept to others before.
    pub(super) fn apply(
        self,
        former: Self,
        namespace: &Path,
        interface: &str,
    ) -> Result<(), String> {
        if self == former {
            return Ok(());
        }
        let fault = |e| format!("cannot limit how fast {interface} sends: {e}");
        let name = interface.to_owned();
        let inside = namespace::inside(namespace, move || {
            let netlink = Netlink::open()?;
            let index = netlink::index(&name)?;
            set(&netlink, index, self.egress, former.egress)?;
            Ok((index, netlink.other_end(index)?))
        });
        let (index, other) = inside.map_err(fault)?;
        if self.ingress == former.ingress {
            return Ok(());
        }
        let fault = |e| format!("cannot limit how fast {interface} receives: {e}");
        let netlink = Netlink::open().map_err(fault)?;
        // Each end must be the other one's.
        let is_back = |other: &u32| netlink.other_end(*other).is_ok_and(|back| back == Some(index));
        let other = other.filter(is_back).ok_or_else(|| {
            format!("cannot limit how fast {interface} receives: it has no other end on the host")
        })?;
        set(&netlink, other, self.ingress, former.ingress).map_err(fault)
    }

    /// As it is kept for the next agent.
    pub(super) fn to_json(self) -> Value {
        let rate = |rate: Option<Rate>| rate.map(|rate| json!([rate.bytes, rate.burst]));
        json!({"egress": rate(self.egress), "ingress": rate(self.ingress)})
    }

    pub(super) fn from_json(value: &Value) -> Self {
        let rate = |key| {
            let rate: &Value = &value[key];
            Some(Rate { bytes: rate[0].as_u64()?, burst: rate[1].as_u64()? })
        };
        Self { egress: rate("egress"), ingress: rate("ingress") }
    }
}

fn set(netlink: &Netlink, index: u32, rate: Option<Rate>, former: Option<Rate>) -> io::Result<()> {
    match rate {
        Some(rate) => netlink.limit(index, rate),
        None if former.is_some() => netlink.unlimit(index),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_comes_before_the_default() {
        let default = Rates { egress: Some(Rate::new(7 << 20, Some(1 << 20))), ingress: None };
        assert_eq!(Rates::of(asked(&[]), default), default);
        let resource = |name: &str, value: f64| -> v1::Resource {
            let json = json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
            wire::json::from_value(&json).expect("a resource")
        };
        let resources = [resource("cpus", 1.0), resource(RESOURCE, 80.0), resource(RESOURCE, 0.5)];
        let rate = Some(Rate { bytes: 10_062_500, burst: 100_625 });
        assert_eq!(Rates::of(asked(&resources), default), Rates { egress: rate, ingress: rate });
        assert_eq!(Rate::new(1000, None).burst, BURST_MIN);
        assert_eq!(Rates::from_json(&default.to_json()), default);
    }
}
