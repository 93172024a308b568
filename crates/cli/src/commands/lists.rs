//! `proffer agents`, `frameworks`, `tasks`, `offers`, `roles` and `flags`: what there is.

use super::known::{frameworks as known_frameworks, meant};
use super::{amounts, items, number, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use crate::text_table::TextTable;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

pub(crate) fn commands() -> [Command; 6] {
    let framework = || {
        Arg::new("framework")
            .long("framework")
            .value_name("ID|NAME")
            .help("Only of this framework: id, end of the id, or name")
    };
    [
        Command::new("agents")
            .about("Lists agents: what they have, what of it is used and offered"),
        Command::new("frameworks")
            .about("Lists frameworks: roles, tasks, what they use and are offered"),
        Command::new("tasks").about("Lists tasks that have not ended").args([
            framework(),
            Arg::new("all").long("all").action(ArgAction::SetTrue).help("Those that ended as well"),
        ]),
        Command::new("offers").about("Lists offers that are out").arg(framework()),
        Command::new("roles")
            .about("Lists roles: weight, guarantee, limit, what they have and are offered"),
        Command::new("flags").about("Lists the flags that the master runs with"),
    ]
}

pub(crate) async fn agents(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let answer = client.get("/slaves").await?;
    let mut table = TextTable::new([
        "ID",
        "HOST",
        "STATE",
        "CPUS USED",
        "OFFERED",
        "TOTAL",
        "MEM USED",
        "OFFERED",
        "TOTAL",
        "ATTRIBUTES",
    ]);
    for slave in items(&answer["slaves"]) {
        let three = |name: &str| {
            ["used_resources", "offered_resources", "resources"].map(|of| number(&slave[of][name]))
        };
        let attributes = slave["attributes"].as_object().into_iter().flatten();
        let attributes = attributes.map(|(name, value)| {
            format!("{name}:{}", value.as_str().map_or_else(|| number(value), str::to_owned))
        });
        let state = match (slave["active"] == true, slave["deactivated"] == true) {
            (_, true) => match slave["drain_info"]["state"].as_str() {
                Some(drain) => drain.to_lowercase(),
                None => "deactivated".to_owned(),
            },
            (true, _) => "active".to_owned(),
            _ => "disconnected".to_owned(),
        };
        let row = [text(slave, "id").to_owned(), text(slave, "hostname").to_owned(), state];
        let numbers = three("cpus").into_iter().chain(three("mem"));
        table.row(row.into_iter().chain(numbers).chain([attributes.collect::<Vec<_>>().join(";")]));
    }
    for slave in items(&answer["recovered_slaves"]) {
        let row = [text(slave, "id"), text(slave, "hostname"), "not back yet"].map(str::to_owned);
        table.row(row.into_iter().chain(std::iter::repeat_n(String::new(), 7)));
    }
    finished(matches, &answer, &table, "There is no agent.\n")
}

pub(crate) async fn frameworks(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let answer = client.get("/frameworks").await?;
    let mut table =
        TextTable::new(["ID", "NAME", "ROLES", "STATE", "TASKS", "OFFERS", "USED", "OFFERED"]);
    for framework in items(&answer["frameworks"]) {
        table.row([
            text(framework, "id").to_owned(),
            text(framework, "name").to_owned(),
            roles_of(framework),
            if framework["active"] == true { "active" } else { "disconnected" }.to_owned(),
            items(&framework["tasks"]).len().to_string(),
            items(&framework["offers"]).len().to_string(),
            amounts(&framework["used_resources"]),
            amounts(&framework["offered_resources"]),
        ]);
    }
    finished(matches, &answer, &table, "No framework is subscribed.\n")
}

/// Its roles; those that it suppressed are marked.
fn roles_of(framework: &Value) -> String {
    let suppressed = items(&framework["suppressed_roles"]);
    let roles = items(&framework["roles"]).iter().chain(framework.get("role"));
    let shown = roles.map(|role| {
        let note = if suppressed.contains(role) { " (suppressed)" } else { "" };
        format!("{}{note}", role.as_str().unwrap_or_default())
    });
    shown.collect::<Vec<_>>().join(",")
}

pub(crate) async fn tasks(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let mut list = Vec::new();
    let query = match framework(client, matches).await? {
        Some(id) => format!("/tasks?limit=1000000000&framework_id={}", escaped(&id)),
        None => "/tasks?limit=1000000000".to_owned(),
    };
    let answer = client.get(&query).await?;
    let ended = |task: &Value| {
        let state = wire::v1::TaskState::from_str_name(text(task, "state"));
        state.is_some_and(master_core::is_terminal)
    };
    for task in items(&answer["tasks"]).iter().filter(|t| matches.get_flag("all") || !ended(t)) {
        list.push(task.clone());
    }
    let mut table =
        TextTable::new(["ID", "NAME", "STATE", "ROLE", "RESOURCES", "AGENT", "FRAMEWORK"]);
    for task in &list {
        table.row([
            text(task, "id").to_owned(),
            text(task, "name").to_owned(),
            text(task, "state").to_owned(),
            text(task, "role").to_owned(),
            amounts(&task["resources"]),
            text(task, "slave_id").to_owned(),
            text(task, "framework_id").to_owned(),
        ]);
    }
    finished(matches, &json!({"tasks": list}), &table, "There is no task.\n")
}

pub(crate) async fn offers(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let query = match framework(client, matches).await? {
        Some(id) => format!("/frameworks?framework_id={}", escaped(&id)),
        None => "/frameworks".to_owned(),
    };
    let answer = client.get(&query).await?;
    let mut list = Vec::new();
    let mut table = TextTable::new(["ID", "FRAMEWORK", "ROLE", "RESOURCES", "AGENT"]);
    for framework in items(&answer["frameworks"]) {
        for offer in items(&framework["offers"]) {
            list.push(offer.clone());
            table.row([
                text(offer, "id").to_owned(),
                text(framework, "name").to_owned(),
                text(&offer["allocation_info"], "role").to_owned(),
                amounts(&offer["resources"]),
                text(offer, "slave_id").to_owned(),
            ]);
        }
    }
    let none = "No offer is out; `proffer why` says why.\n";
    finished(matches, &json!({"offers": list}), &table, none)
}

pub(crate) async fn roles(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let answer = client.get("/roles").await?;
    let mut table = TextTable::new([
        "ROLE",
        "WEIGHT",
        "FRAMEWORKS",
        "GUARANTEE",
        "LIMIT",
        "USED",
        "OFFERED",
        "RESERVED",
    ]);
    for role in items(&answer["roles"]) {
        table.row([
            text(role, "name").to_owned(),
            number(&role["weight"]),
            items(&role["frameworks"]).len().to_string(),
            amounts(&role["quota"]["guarantee"]),
            amounts(&role["quota"]["limit"]),
            amounts(&role["allocated"]),
            amounts(&role["offered"]),
            amounts(&role["reserved"]),
        ]);
    }
    finished(matches, &answer, &table, "No role is known.\n")
}

pub(crate) async fn flags(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let answer = client.get("/flags").await?;
    let mut table = TextTable::new(["FLAG", "VALUE"]);
    for (name, value) in answer["flags"].as_object().into_iter().flatten() {
        table.row([format!("--{name}"), value.as_str().unwrap_or_default().to_owned()]);
    }
    finished(matches, &answer, &table, "The master tells no flags.\n")
}

/// Id of the framework that is asked for.
async fn framework(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<Option<String>, Failure> {
    let Some(word) = matches.get_one::<String>("framework") else { return Ok(None) };
    let known = known_frameworks(client).await?;
    match meant("framework", word, &known)?.as_slice() {
        [one] => Ok(Some(one.id.clone())),
        several => {
            let ids: Vec<&str> = several.iter().map(|k| k.id.as_str()).collect();
            let text =
                format!("'{word}' names {} frameworks; give one of {}", ids.len(), ids.join(", "));
            Err(Failure::usage(text))
        }
    }
}

fn finished(
    matches: &ArgMatches,
    answer: &Value,
    table: &TextTable,
    none: &str,
) -> Result<String, Failure> {
    Ok(match (wants_json(matches), table.is_empty()) {
        (true, _) => pretty(answer),
        (false, true) => none.to_owned(),
        (false, false) => table.to_string(),
    })
}
