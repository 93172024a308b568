//! An agent that is started with another description than before (spec/agent.md 1.7, `--reconfiguration_policy=equal`).

use crate::agent::{Agent, Cx, Waiting};
use crate::contract::Effect;
use resources::{Resources, SummaryValue, attributes_summary};
use wire::internal::AgentRecord;
use wire::internal::agent_record::Record;
use wire::{internal, v1};

impl Agent {
    /// Compares the agent's description with that of its records. If they differ it becomes a new agent after a reboot,
    /// which is added to the records; else it can't go on: false.
    pub(crate) fn reconfigure(&mut self, cx: &mut Cx<'_>, records: &mut Vec<AgentRecord>) -> bool {
        let (mut before, mut booted) = (None, None);
        for record in records.iter().filter_map(|r| r.record.as_ref()) {
            match record {
                Record::Agent(info) => before = Some(info),
                Record::Boot(boot) => {
                    booted = Some(boot.boot_id.as_str());
                    before = before.filter(|_| !boot.anew());
                }
                _ => {}
            }
        }
        let changes = before.map(|info| changes(info, &self.config.info)).unwrap_or_default();
        let boot_id = self.config.boot_id.clone();
        if booted == Some(&boot_id) && changes.is_empty() {
            return true;
        }
        self.rebooted = booted.is_some_and(|booted| booted != boot_id);
        if !changes.is_empty() && !self.rebooted {
            let message = format!(
                "{}; --reconfiguration_policy=equal wants an agent to be what it was: start it with its former flags, or remove {}/meta to start a new agent, without the tasks, reservations and volumes of this one",
                changes.join("; "),
                self.config.work_dir
            );
            cx.out.push(Effect::Exit { status: 1, message });
            return false;
        }
        let anew = !changes.is_empty();
        let boot = Record::Boot(internal::BootRecord { boot_id, anew: Some(anew) });
        if anew {
            records.push(AgentRecord { record: Some(boot.clone()) });
        }
        self.store(cx, boot, true, Waiting::Nothing);
        true
    }
}

/// What is not as it was, in words.
fn changes(before: &v1::AgentInfo, now: &v1::AgentInfo) -> Vec<String> {
    let mut changes = Vec::new();
    let mut compare = |flag: &str, before: String, now: String| {
        if before != now {
            changes.push(format!("{flag} was '{before}' and is '{now}'"));
        }
    };
    compare("--hostname", before.hostname.clone(), now.hostname.clone());
    compare("--port", before.port().to_string(), now.port().to_string());
    let resources = |info: &v1::AgentInfo| {
        let mut parts: Vec<String> = Resources::from_wire(&info.resources)
            .unwrap_or_default()
            .to_string()
            .split("; ")
            .map(str::to_owned)
            .collect();
        parts.sort();
        parts.join(";")
    };
    compare("--resources", resources(before), resources(now));
    compare("--attributes", attributes(before), attributes(now));
    compare("--domain", domain(before), domain(now));
    changes
}

fn attributes(info: &v1::AgentInfo) -> String {
    let text = |(name, value): (String, SummaryValue)| match value {
        SummaryValue::Number(number) => format!("{name}:{number}"),
        SummaryValue::Text(text) => format!("{name}:{text}"),
    };
    let mut all: Vec<String> = attributes_summary(&info.attributes).into_iter().map(text).collect();
    all.sort();
    all.join(";")
}

fn domain(info: &v1::AgentInfo) -> String {
    let domain = info.domain.as_ref().and_then(|d| d.fault_domain.as_ref());
    domain.map_or_else(String::new, |d| format!("{}/{}", d.region.name, d.zone.name))
}
