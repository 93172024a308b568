//! `proffer events`: what happens in the cluster, as it happens.

use super::known;
use super::lists::{limit_arg, limit_of};
use super::times::now;
use super::{counted, note, say, wants_json};
use crate::operator_client::{Failure, OperatorClient};
use clap::{Arg, ArgAction, ArgMatches, Command};
use client::{ClientError, Events};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::v1;
use wire::v1::master::call::Subscribe;
use wire::v1::master::{Event, event};

const EXAMPLES: &str = "\
Every change is a line; with --json an event of the v1 operator API. When the master fails the new leader is followed:
what changed in between is not told. HEARTBEAT, and SUBSCRIBED with the whole state, are shown when --type names them.

Examples:
  proffer events
  proffer events --framework marathon --type TASK_ADDED,TASK_UPDATED
  proffer events --json | jq -c .task_updated.status.state
  proffer events --type TASK_UPDATED --limit 1
";

/// Times between attempts to reach a master.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

pub(crate) fn command() -> Command {
    let types = types().into_iter().map(|kind| kind.as_str_name());
    Command::new("events")
        .about("What happens in the cluster, as it happens")
        .after_help(EXAMPLES)
        .args([
            Arg::new("type")
                .long("type")
                .value_name("TYPE")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .value_parser(clap::builder::PossibleValuesParser::new(types))
                .ignore_case(true)
                .help("Only events of these types"),
            Arg::new("framework")
                .long("framework")
                .value_name("ID|NAME")
                .help("Only of this framework: id, end of the id, or name; it may come later"),
            limit_arg().help("Ends after so many events"),
        ])
}

fn types() -> Vec<event::Type> {
    let all = (1..64).filter_map(|n| event::Type::try_from(n).ok());
    all.filter(|kind| *kind != event::Type::Unknown).collect()
}

/// Which events are shown, and what is known for showing them.
struct Shown {
    types: Vec<event::Type>,
    framework: Option<String>,
    /// Names of frameworks by their ids.
    names: BTreeMap<String, String>,
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let given = matches.get_many::<String>("type").into_iter().flatten();
    let types = given.filter_map(|name| event::Type::from_str_name(&name.to_uppercase())).collect();
    let framework = matches.get_one::<String>("framework").cloned();
    let mut shown = Shown { types, framework, names: BTreeMap::new() };
    let mut left = limit_of(matches);
    let wanted = shown.asked();
    for known in known::frameworks(client).await? {
        shown.names.insert(known.id, known.name);
    }
    let failed = |e: ClientError| Failure::failed(e.to_string());
    let mut events = client.subscribe(&wanted).await.map_err(failed)?;
    loop {
        let event = match events.next().await {
            Ok(Some(event)) => event,
            Ok(None) => {
                events = again(client, &wanted, &events, "it closed the stream").await?;
                continue;
            }
            Err(error) => {
                events = again(client, &wanted, &events, &error.to_string()).await?;
                continue;
            }
        };
        shown.learn(&event);
        if !shown.wants(&event) {
            continue;
        }
        let line = match wants_json(matches) {
            true => wire::json::to_value(&event).to_string(),
            false => format!("{}  {}", now().strftime("%H:%M:%S"), shown.line(&event)),
        };
        say(&format!("{}\n", line.replace('\n', " ")))?;
        left -= 1;
        if left == 0 {
            return Ok(String::new());
        }
    }
}

/// Subscribes again, with whichever master leads then.
async fn again(
    client: &OperatorClient,
    wanted: &Subscribe,
    lost: &Events,
    why: &str,
) -> Result<Events, Failure> {
    note(&format!("lost the master at {}: {why}; looking for the one that leads", lost.master()));
    let mut pause = PAUSE_MIN;
    loop {
        match client.subscribe(wanted).await {
            Ok(events) => {
                let what =
                    if events.master() == lost.master() { "again" } else { "the new leader" };
                note(&format!("following {what}: {}", events.master()));
                return Ok(events);
            }
            // A master that has not finished its recovery says so, and one that does not lead yet.
            Err(ClientError::Refused { status, text }) if status < 500 && status != 307 => {
                return Err(Failure::failed(format!("refused with status {status}: {text}")));
            }
            Err(_) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

impl Shown {
    /// What the master is asked for: with what is shown, the names of frameworks.
    fn asked(&self) -> Subscribe {
        let mut types = self.types.clone();
        if !types.is_empty() {
            types.extend([event::Type::FrameworkAdded, event::Type::FrameworkUpdated]);
        }
        Subscribe {
            event_types: types.into_iter().map(|kind| kind as i32).collect(),
            framework_ids: Vec::new(),
            include_state: Some(self.types.contains(&event::Type::Subscribed)),
        }
    }

    /// Keeps the names of frameworks.
    fn learn(&mut self, event: &Event) {
        let mut keep = |info: &v1::FrameworkInfo| {
            if let Some(id) = &info.id {
                self.names.insert(id.value.clone(), info.name.clone());
            }
        };
        if let Some(state) = event.subscribed.as_ref().and_then(|s| s.get_state.as_ref()) {
            let known = state.get_frameworks.iter().flat_map(|g| &g.frameworks);
            known.for_each(|framework| keep(&framework.framework_info));
        }
        let (added, updated) = (&event.framework_added, &event.framework_updated);
        added.iter().for_each(|e| keep(&e.framework.framework_info));
        updated.iter().for_each(|e| keep(&e.framework.framework_info));
    }

    fn wants(&self, event: &Event) -> bool {
        let kind = event.r#type();
        let is_asked = match self.types.is_empty() {
            true => !matches!(kind, event::Type::Heartbeat | event::Type::Subscribed),
            false => self.types.contains(&kind),
        };
        is_asked && self.framework.as_ref().is_none_or(|word| self.concerns(event, word))
    }

    /// Whether an event is about the framework that a word means.
    fn concerns(&self, event: &Event, word: &str) -> bool {
        let Some(id) = framework_of(event) else { return false };
        id == word
            || self.names.get(id).is_some_and(|name| name == word)
            || id.strip_suffix(word).is_some_and(|rest| rest.ends_with('-'))
    }

    fn framework(&self, id: &str) -> String {
        match self.names.get(id) {
            Some(name) if !name.is_empty() => format!("{name} ({id})"),
            _ => id.to_owned(),
        }
    }

    /// An event for people.
    fn line(&self, event: &Event) -> String {
        let name = event.r#type().as_str_name();
        if let Some(added) = &event.task_added {
            let task = &added.task;
            let framework = self.framework(&task.framework_id.value);
            let (id, agent) = (&task.task_id.value, &task.agent_id.value);
            return format!("{name}  task {id} of {framework} on agent {agent}");
        }
        if let Some(updated) = &event.task_updated {
            let status = &updated.status;
            let framework = self.framework(&updated.framework_id.value);
            let message = status.message.as_ref().map(|text| format!(": {text}"));
            let (id, state) = (&status.task_id.value, status.state().as_str_name());
            let message = message.unwrap_or_default();
            return format!("{name}  {state}  task {id} of {framework}{message}");
        }
        if let Some(added) = &event.agent_added {
            let info = &added.agent.agent_info;
            let id = info.id.as_ref().map_or("", |id| id.value.as_str());
            return format!("{name}  agent {id} at {}", info.hostname);
        }
        if let Some(removed) = &event.agent_removed {
            return format!("{name}  agent {}", removed.agent_id.value);
        }
        if let Some(subscribed) = &event.subscribed {
            return format!("{name}  {}", counts(subscribed));
        }
        match framework_of(event) {
            Some(id) => format!("{name}  framework {}", self.framework(id)),
            None => name.to_owned(),
        }
    }
}

fn framework_of(event: &Event) -> Option<&str> {
    if let Some(added) = &event.task_added {
        return Some(&added.task.framework_id.value);
    }
    if let Some(updated) = &event.task_updated {
        return Some(&updated.framework_id.value);
    }
    let added = event.framework_added.as_ref().map(|e| &e.framework.framework_info);
    let updated = event.framework_updated.as_ref().map(|e| &e.framework.framework_info);
    let removed = event.framework_removed.as_ref().map(|e| &e.framework_info);
    let info = added.or(updated).or(removed)?;
    info.id.as_ref().map(|id| id.value.as_str())
}

/// What a state has in numbers.
fn counts(subscribed: &event::Subscribed) -> String {
    let state = subscribed.get_state.as_ref();
    let agents = state.and_then(|s| s.get_agents.as_ref()).map_or(0, |g| g.agents.len());
    let frameworks =
        state.and_then(|s| s.get_frameworks.as_ref()).map_or(0, |g| g.frameworks.len());
    let tasks = state.and_then(|s| s.get_tasks.as_ref()).map_or(0, |g| g.tasks.len());
    let (agents, frameworks) = (counted(agents, "agent"), counted(frameworks, "framework"));
    format!("{agents}, {frameworks}, {}", counted(tasks, "task"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(value: Value) -> Event {
        wire::json::from_value(&value).expect("an event")
    }

    fn shown(types: &[event::Type], framework: Option<&str>) -> Shown {
        let mut shown = Shown {
            types: types.to_vec(),
            framework: framework.map(str::to_owned),
            names: BTreeMap::new(),
        };
        let info = json!({"user": "root", "name": "site", "id": {"value": "m-0001"}});
        let framework =
            json!({"framework_info": info, "active": true, "connected": true, "recovered": false});
        shown.learn(&event(
            json!({"type": "FRAMEWORK_ADDED", "framework_added": {"framework": framework}}),
        ));
        shown
    }

    fn update(framework: &str) -> Event {
        event(json!({"type": "TASK_UPDATED", "task_updated": {"framework_id": {"value": framework},
            "state": "TASK_FAILED", "status": {"task_id": {"value": "t"}, "state": "TASK_FAILED",
                "message": "it broke"}}}))
    }

    #[test]
    fn an_event_is_a_line() {
        let line = shown(&[], None).line(&update("m-0001"));
        assert_eq!(line, "TASK_UPDATED  TASK_FAILED  task t of site (m-0001): it broke");
        assert_eq!(shown(&[], None).line(&event(json!({"type": "HEARTBEAT"}))), "HEARTBEAT");
        let subscribed = event(json!({"type": "SUBSCRIBED", "subscribed": {}}));
        let line = shown(&[], None).line(&subscribed);
        assert_eq!(line, "SUBSCRIBED  0 agents, 0 frameworks, 0 tasks");
    }

    #[test]
    fn types_and_a_framework_choose_events() {
        let heartbeat = event(json!({"type": "HEARTBEAT"}));
        assert!(!shown(&[], None).wants(&heartbeat));
        assert!(shown(&[event::Type::Heartbeat], None).wants(&heartbeat));
        assert!(!shown(&[event::Type::TaskAdded], None).wants(&update("m-0001")));
        for word in ["site", "m-0001", "0001"] {
            assert!(shown(&[], Some(word)).wants(&update("m-0001")), "{word}");
        }
        for word in ["other", "1", "m-0002"] {
            assert!(!shown(&[], Some(word)).wants(&update("m-0001")), "{word}");
        }
        assert!(!shown(&[], Some("site")).wants(&heartbeat));
    }
}
