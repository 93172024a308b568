//! Machines as users name them: by an agent that runs there, as the schedule has them, or in full as `host@ip`.

use super::known::{Known, meant};
use super::{items, text};
use crate::operator_client::{Failure, OperatorClient};
use serde_json::{Value, json};

/// A machine and its agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) hostname: String,
    pub(crate) ip: String,
    pub(crate) agents: Vec<String>,
}

impl Machine {
    /// As the wire has it: what is empty is not there.
    pub(crate) fn id(&self) -> Value {
        let parts = [("hostname", &self.hostname), ("ip", &self.ip)];
        let parts = parts.into_iter().filter(|(_, v)| !v.is_empty());
        Value::Object(parts.map(|(name, v)| (name.to_owned(), json!(v))).collect())
    }

    pub(crate) fn is(&self, id: &Value) -> bool {
        self.hostname.eq_ignore_ascii_case(text(id, "hostname")) && self.ip == text(id, "ip")
    }

    fn named(id: &Value) -> Self {
        let part = |name: &str| text(id, name).to_owned();
        Self { hostname: part("hostname"), ip: part("ip"), agents: Vec::new() }
    }
}

/// Machines of agents that are registered, and those of the schedule.
pub(crate) async fn known(
    client: &OperatorClient,
    schedule: &Value,
) -> Result<Vec<Machine>, Failure> {
    let agents = client.get("/slaves").await?;
    let mut all: Vec<Machine> = Vec::new();
    let planned = items(&schedule["windows"]).iter().flat_map(|w| items(&w["machine_ids"]));
    all.extend(planned.map(Machine::named));
    for agent in items(&agents["slaves"]) {
        let id = text(agent, "id").to_owned();
        let place = json!({"hostname": agent["hostname"], "ip": address(text(agent, "pid"))});
        match all.iter_mut().find(|machine| machine.is(&place)) {
            Some(machine) => machine.agents.push(id),
            None => all.push(Machine { agents: vec![id], ..Machine::named(&place) }),
        }
    }
    Ok(all)
}

/// The IP address in `slave(1)@10.0.0.1:5051`.
fn address(pid: &str) -> &str {
    let place = pid.split_once('@').map_or(pid, |(_, place)| place);
    place.rsplit_once(':').map_or(place, |(ip, _)| ip)
}

/// The machines that words name: each must mean one.
pub(crate) fn named<'a>(
    words: impl Iterator<Item = &'a String>,
    known: &[Machine],
) -> Result<Vec<Machine>, Failure> {
    let mut all: Vec<Machine> = Vec::new();
    for word in words {
        let machine = one(word, known)?;
        if !all.contains(&machine) {
            all.push(machine);
        }
    }
    Ok(all)
}

fn one(word: &str, known: &[Machine]) -> Result<Machine, Failure> {
    if let Some((hostname, ip)) = word.split_once('@') {
        let id = json!({"hostname": hostname, "ip": ip});
        let found = known.iter().find(|machine| machine.is(&id)).cloned();
        return Ok(found.unwrap_or_else(|| Machine::named(&id)));
    }
    let of = |is: &dyn Fn(&&Machine) -> bool| known.iter().filter(is).collect::<Vec<_>>();
    let by_name = of(&|m| m.hostname.eq_ignore_ascii_case(word));
    let by_ip = of(&|m| m.ip == word);
    let found = if by_name.is_empty() { by_ip } else { by_name };
    match found[..] {
        [one] => Ok(one.clone()),
        [] => of_agent(word, known),
        _ => {
            let all: Vec<String> =
                found.iter().map(|m| format!("{}@{}", m.hostname, m.ip)).collect();
            let text =
                format!("'{word}' means {} machines; give one of {}", all.len(), all.join(", "));
            Err(Failure::usage(text))
        }
    }
}

fn of_agent(word: &str, known: &[Machine]) -> Result<Machine, Failure> {
    let agents: Vec<Known> = known
        .iter()
        .flat_map(|m| m.agents.iter().map(|id| Known { id: id.clone(), name: m.hostname.clone() }))
        .collect();
    let found = meant("agent", word, &agents).map_err(|failure| match failure {
        Failure::Failed(text) => Failure::failed(format!(
            "no machine is known as '{word}': {text}; name one without agents in full, as host@ip"
        )),
        usage @ Failure::Usage(_) => usage,
    })?;
    let id = found.first().map(|k| &k.id);
    let machine = known.iter().find(|m| id.is_some_and(|id| m.agents.contains(id)));
    machine.cloned().ok_or_else(|| Failure::failed(format!("no machine is known as '{word}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machines() -> Vec<Machine> {
        let one = |hostname: &str, ip: &str, agents: &[&str]| Machine {
            hostname: hostname.to_owned(),
            ip: ip.to_owned(),
            agents: agents.iter().map(|a| (*a).to_owned()).collect(),
        };
        vec![
            one("h1", "10.0.0.1", &["c-S0"]),
            one("h2", "10.0.0.2", &["c-S1", "c-S2"]),
            one("h2", "10.0.0.3", &[]),
        ]
    }

    fn ips(words: &[&str]) -> Result<Vec<String>, Failure> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        Ok(named(words.iter(), &machines())?.into_iter().map(|m| m.ip).collect())
    }

    #[test]
    fn a_machine_has_many_names() {
        for word in ["h1", "H1", "10.0.0.1", "S0", "c-S0", "h1@10.0.0.1"] {
            assert_eq!(ips(&[word]), Ok(vec!["10.0.0.1".to_owned()]), "{word}");
        }
        assert_eq!(ips(&["S1", "S2"]), Ok(vec!["10.0.0.2".to_owned()]));
        assert_eq!(ips(&["new@10.9.9.9"]), Ok(vec!["10.9.9.9".to_owned()]));
        let several = ips(&["h2"]).expect_err("two machines");
        assert_eq!(
            several,
            Failure::usage("'h2' means 2 machines; give one of h2@10.0.0.2, h2@10.0.0.3")
        );
        let Err(Failure::Failed(text)) = ips(&["h3"]) else { panic!("h3 is unknown") };
        assert!(
            text.contains("did you mean 'h1'?") || text.contains("did you mean 'h2'?"),
            "{text}"
        );
        assert!(text.contains("host@ip"), "{text}");
        assert_eq!(address("slave(1)@10.0.0.1:5051"), "10.0.0.1");
    }
}
