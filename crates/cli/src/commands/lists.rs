//! `proffer agents`, `frameworks`, `offers`, `roles` and `flags`: what there is, or everything about one of them.

use super::{amounts, found, items, number, one, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use crate::text_table::TextTable;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

const AGENTS: &str = "\
Examples:
  proffer agents                          all of them
  proffer agents --state draining         those that are being drained
  proffer agents S3                       everything about one: id, end of the id, or host
";
const FRAMEWORKS: &str = "\
Examples:
  proffer frameworks --role web
  proffer frameworks --all                those that are torn down as well
  proffer frameworks marathon             everything about one: id, end of the id, or name
";
const OFFERS: &str = "\
Examples:
  proffer offers --framework marathon
  proffer offers --agent S3 --json
";
const ROLES: &str = "\
Examples:
  proffer roles
  proffer roles web                       everything about one
";

/// Only of a framework.
pub(super) fn framework_arg() -> Arg {
    Arg::new("framework")
        .long("framework")
        .value_name("ID|NAME")
        .help("Only of this framework: id, end of the id, or name")
}

/// Only on an agent.
pub(super) fn agent_arg() -> Arg {
    Arg::new("agent")
        .long("agent")
        .value_name("ID|HOST")
        .help("Only on this agent: id, end of the id, or host")
}

pub(super) fn role_arg() -> Arg {
    Arg::new("role").long("role").value_name("ROLE").help("Only of this role")
}

pub(super) fn limit_arg() -> Arg {
    Arg::new("limit")
        .long("limit")
        .value_name("N")
        .value_parser(value_parser!(u32).range(1..))
        .help("No more than so many")
}

/// The number given with `--limit`.
pub(super) fn limit_of(matches: &ArgMatches) -> usize {
    let limit = matches.get_one::<u32>("limit").and_then(|n| usize::try_from(*n).ok());
    limit.unwrap_or(usize::MAX)
}

pub(super) fn word<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

pub(crate) fn commands() -> [Command; 5] {
    let named =
        |name: &'static str, help: &'static str| Arg::new(name).value_name("NAME").help(help);
    let state = |help: &'static str| Arg::new("state").long("state").value_name("STATE").help(help);
    [
        Command::new("agents")
            .about("Agents: what they have, what of it is used and offered")
            .after_help(AGENTS)
            .args([
                named("agent", "Everything about this agent: id, end of the id, or host"),
                state("Only those that are active, disconnected, deactivated, draining or drained"),
                limit_arg(),
            ]),
        Command::new("frameworks")
            .about("Frameworks: roles, tasks, what they use and are offered")
            .after_help(FRAMEWORKS)
            .args([
                named("framework", "Everything about this framework: id, end of the id, or name"),
                state("Only those that are active, disconnected or completed"),
                role_arg(),
                limit_arg(),
                Arg::new("all")
                    .long("all")
                    .action(ArgAction::SetTrue)
                    .help("Those that are torn down as well"),
            ]),
        Command::new("offers").about("Offers that are out").after_help(OFFERS).args([
            framework_arg(),
            agent_arg(),
            role_arg(),
            limit_arg(),
        ]),
        Command::new("roles")
            .about("Roles: weight, guarantee, limit, what they have and are offered")
            .after_help(ROLES)
            .arg(named("role", "Everything about this role")),
        Command::new("flags").about("The flags that the master runs with"),
    ]
}

/// What an agent is doing, in a word.
pub(super) fn state_of_agent(slave: &Value) -> String {
    match (slave["active"] == true, slave["deactivated"] == true) {
        (_, true) => match slave["drain_info"]["state"].as_str() {
            Some(drain) => drain.to_lowercase(),
            None => "deactivated".to_owned(),
        },
        (true, _) => "active".to_owned(),
        _ => "disconnected".to_owned(),
    }
}

/// A state that is asked for must be one that there is.
fn checked_state<'a>(matches: &'a ArgMatches, known: &[&str]) -> Result<Option<&'a str>, Failure> {
    let state = word(matches, "state");
    match state.filter(|state| !known.contains(state)) {
        Some(state) => {
            let all = known.join(", ");
            Err(Failure::usage(format!("--state: '{state}': expected one of {all}")))
        }
        None => Ok(state),
    }
}

pub(crate) async fn agents(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    if let Some(word) = word(matches, "agent") {
        return one::agent(client, word, wants_json(matches)).await;
    }
    let known = ["active", "disconnected", "deactivated", "draining", "drained"];
    let state = checked_state(matches, &known)?;
    let mut answer = client.get("/slaves").await?;
    if let Value::Array(slaves) = &mut answer["slaves"] {
        slaves.retain(|slave| state.is_none_or(|state| state_of_agent(slave) == state));
        slaves.truncate(limit_of(matches));
    }
    if state.is_some() || matches.contains_id("limit") {
        answer["recovered_slaves"] = json!([]);
    }
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
        let state = state_of_agent(slave);
        let row = [text(slave, "id").to_owned(), text(slave, "hostname").to_owned(), state];
        let numbers = three("cpus").into_iter().chain(three("mem"));
        table.row(row.into_iter().chain(numbers).chain([attributes(slave)]));
    }
    for slave in items(&answer["recovered_slaves"]) {
        let row = [text(slave, "id"), text(slave, "hostname"), "not back yet"].map(str::to_owned);
        table.row(row.into_iter().chain(std::iter::repeat_n(String::new(), 7)));
    }
    finished(matches, &answer, &table, "There is no agent.\n")
}

/// `rack:r2;zone:a`.
pub(super) fn attributes(slave: &Value) -> String {
    let attributes = slave["attributes"].as_object().into_iter().flatten();
    let attributes = attributes.map(|(name, value)| {
        format!("{name}:{}", value.as_str().map_or_else(|| number(value), str::to_owned))
    });
    attributes.collect::<Vec<_>>().join(";")
}

/// Lists of frameworks in an answer, and whether those are torn down.
const LISTS: [(&str, bool); 2] = [("frameworks", false), ("completed_frameworks", true)];

pub(crate) async fn frameworks(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    if let Some(word) = word(matches, "framework") {
        return one::framework(client, word, wants_json(matches)).await;
    }
    let state = checked_state(matches, &["active", "disconnected", "completed"])?;
    let role = word(matches, "role");
    let mut answer = client.get("/frameworks?tasks=false").await?;
    let all = matches.get_flag("all") || state == Some("completed");
    if !all {
        answer["completed_frameworks"] = json!([]);
    }
    let mut left = limit_of(matches);
    for (list, is_over) in LISTS {
        let Value::Array(frameworks) = &mut answer[list] else { continue };
        let is = |framework: &Value| {
            state.is_none_or(|s| state_of_framework(framework, is_over) == s)
                && role.is_none_or(|role| own_roles(framework).any(|own| own == role))
        };
        frameworks.retain(is);
        frameworks.truncate(left);
        left -= frameworks.len();
    }
    let mut table =
        TextTable::new(["ID", "NAME", "ROLES", "STATE", "TASKS", "OFFERS", "USED", "OFFERED"]);
    let all =
        LISTS.iter().flat_map(|(list, over)| items(&answer[*list]).iter().map(|f| (f, *over)));
    for (framework, is_over) in all {
        table.row([
            text(framework, "id").to_owned(),
            text(framework, "name").to_owned(),
            roles_of(framework),
            state_of_framework(framework, is_over).to_owned(),
            open_tasks(framework).to_string(),
            items(&framework["offers"]).len().to_string(),
            amounts(&framework["used_resources"]),
            amounts(&framework["offered_resources"]),
        ]);
    }
    finished(matches, &answer, &table, "No framework is subscribed.\n")
}

/// Number of its tasks that have not ended.
pub(super) fn open_tasks(framework: &Value) -> u64 {
    let open = ["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"];
    open.iter().filter_map(|state| framework[*state].as_u64()).sum()
}

pub(super) fn state_of_framework(framework: &Value, is_over: bool) -> &'static str {
    match framework["active"] == true {
        _ if is_over => "completed",
        true => "active",
        false => "disconnected",
    }
}

fn own_roles(framework: &Value) -> impl Iterator<Item = &Value> {
    items(&framework["roles"]).iter().chain(framework.get("role"))
}

/// Its roles; those that it suppressed are marked.
pub(super) fn roles_of(framework: &Value) -> String {
    let suppressed = items(&framework["suppressed_roles"]);
    let shown = own_roles(framework).map(|role| {
        let note = if suppressed.contains(role) { " (suppressed)" } else { "" };
        format!("{}{note}", role.as_str().unwrap_or_default())
    });
    shown.collect::<Vec<_>>().join(",")
}

pub(crate) async fn offers(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let mut query = "/frameworks?tasks=false".to_owned();
    if let Some(id) = found::framework(client, matches).await? {
        query.push_str(&format!("&framework_id={}", escaped(&id)));
    }
    let agent = found::agent(client, matches).await?;
    let role = word(matches, "role");
    let answer = client.get(&query).await?;
    let mut list = Vec::new();
    let mut table = TextTable::new(["ID", "FRAMEWORK", "ROLE", "RESOURCES", "AGENT"]);
    let frameworks = items(&answer["frameworks"]).iter();
    let offers = frameworks.flat_map(|f| items(&f["offers"]).iter().map(move |o| (f, o)));
    let wanted = offers.filter(|(_, offer)| {
        agent.as_ref().is_none_or(|id| text(offer, "slave_id") == id)
            && role.is_none_or(|role| text(&offer["allocation_info"], "role") == role)
    });
    for (framework, offer) in wanted.take(limit_of(matches)) {
        list.push(offer.clone());
        table.row([
            text(offer, "id").to_owned(),
            text(framework, "name").to_owned(),
            text(&offer["allocation_info"], "role").to_owned(),
            amounts(&offer["resources"]),
            text(offer, "slave_id").to_owned(),
        ]);
    }
    let none = "No offer is out; `proffer why` says why.\n";
    finished(matches, &json!({"offers": list}), &table, none)
}

pub(crate) async fn roles(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    if let Some(word) = word(matches, "role") {
        return one::role(client, word, wants_json(matches)).await;
    }
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

pub(super) fn finished(
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
