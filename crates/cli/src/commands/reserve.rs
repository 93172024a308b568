//! `proffer reserve`, `unreserve` and `reservations`: resources of agents that are kept for roles.

use super::known::{Known, one_agent};
use super::{items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient, escaped};
use crate::text_table::TextTable;
use clap::{Arg, ArgAction, ArgMatches, Command};
use resources::{Entry, Resources, Value as Amount};
use serde_json::{Value, json};
use wire::v1;
use wire::v1::resource::reservation_info::Type;

const EXAMPLES: &str = "\
Examples:
  proffer reserve S0 ads 'cpus:2;mem:512' --label team=search
  proffer unreserve S0 ads 'cpus:1'
  proffer unreserve S0 ads              everything that was reserved dynamically
  proffer reservations --role ads
";

fn agent() -> Arg {
    Arg::new("agent")
        .value_name("AGENT")
        .required(true)
        .help("The agent: id, end of the id, or host")
}

fn role() -> Arg {
    Arg::new("role").value_name("ROLE").required(true).help("The role")
}

fn label() -> Arg {
    Arg::new("label").long("label").value_name("KEY=VALUE").action(ArgAction::Append)
}

pub(crate) fn reserve_command() -> Command {
    let resources = Arg::new("resources")
        .value_name("RESOURCES")
        .required(true)
        .help("What is reserved, as cpus:2;mem:512;ports:[31000-31009]");
    Command::new("reserve")
        .about("Keeps free resources of an agent for a role")
        .after_help(EXAMPLES)
        .args([
            agent(),
            role(),
            resources,
            label().help("A label of the reservation; may be repeated"),
        ])
}

pub(crate) fn unreserve_command() -> Command {
    let resources = Arg::new("resources")
        .value_name("RESOURCES")
        .help("What is given back, as cpus:1 [all that was reserved dynamically for the role]");
    Command::new("unreserve")
        .about("Gives reserved resources of an agent back to all")
        .after_help(EXAMPLES)
        .args([agent(), role(), resources, label().help("Only reservations with this label")])
}

pub(crate) fn reservations_command() -> Command {
    Command::new("reservations")
        .about("Lists what is reserved on agents")
        .after_help(EXAMPLES)
        .args([
            agent().long("agent").required(false),
            role().long("role").required(false).help("Only those of this role"),
        ])
}

pub(crate) async fn reserve(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let (agent, role) = place(client, matches).await?;
    let wanted = parse(matches)?.unwrap_or_default();
    let labels: Vec<v1::Label> = labels(matches)?;
    let reservation = v1::resource::ReservationInfo {
        r#type: Some(Type::Dynamic as i32),
        role: Some(role.clone()),
        labels: (!labels.is_empty()).then_some(v1::Labels { labels }),
        ..Default::default()
    };
    let mut resources = wanted.to_wire();
    resources.iter_mut().for_each(|r| r.reservations = vec![reservation.clone()]);
    change(client, &agent, "RESERVE_RESOURCES", "reserve_resources", "resources", &resources)
        .await?;
    list(client, matches, Some(&agent), Some(&role)).await
}

pub(crate) async fn unreserve(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let (agent, role) = place(client, matches).await?;
    let labels = labels(matches)?;
    let has = |entry: &Entry| {
        let reservation = entry.identity.reservations.last();
        let own = reservation.and_then(|r| r.labels.as_ref()).map_or(&[][..], |l| &l.labels);
        labels.iter().all(|label| own.contains(label))
    };
    let reserved = reserved(client, &agent.id).await?;
    let candidates = reserved.filter(|e| {
        e.reserved_to() == Some(role.as_str())
            && e.is_dynamically_reserved()
            && !e.is_volume()
            && has(e)
    });
    let back = match parse(matches)? {
        None => candidates.clone(),
        Some(wanted) => part(&candidates, &wanted).map_err(|name| {
            let there = candidates.filter(|e| e.identity.name == name);
            Failure::failed(format!(
                "role '{role}' has not so much {name} reserved on agent {}: there is '{there}'; `proffer reservations` lists all",
                agent.id
            ))
        })?,
    };
    if back.is_empty() {
        let text =
            format!("nothing is reserved dynamically for role '{role}' on agent {}", agent.id);
        return Err(Failure::failed(text));
    }
    let back = back.to_wire();
    change(client, &agent, "UNRESERVE_RESOURCES", "unreserve_resources", "resources", &back)
        .await?;
    list(client, matches, Some(&agent), Some(&role)).await
}

pub(crate) async fn reservations(
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    let role = matches.get_one::<String>("role").map(String::as_str);
    let agent = match matches.get_one::<String>("agent") {
        None => None,
        Some(word) => Some(one_agent(client, word).await?),
    };
    list(client, matches, agent.as_ref(), role).await
}

async fn place(client: &OperatorClient, matches: &ArgMatches) -> Result<(Known, String), Failure> {
    let word = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let role = word("role");
    resources::validate_role(&role)
        .map_err(|e| Failure::usage(format!("'{role}' is no role: {e}")))?;
    Ok((one_agent(client, &word("agent")).await?, role))
}

fn parse(matches: &ArgMatches) -> Result<Option<Resources>, Failure> {
    let Some(text) = matches.get_one::<String>("resources") else { return Ok(None) };
    let parsed = Resources::parse(text, "*").map_err(|e| Failure::usage(e.to_string()))?;
    if parsed.is_empty() || parsed.iter().any(|e| !e.identity.is_plain()) {
        let text = format!("'{text}': expected resources without a role, as cpus:2;mem:512");
        return Err(Failure::usage(text));
    }
    Ok(Some(parsed))
}

fn labels(matches: &ArgMatches) -> Result<Vec<v1::Label>, Failure> {
    let one = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok(v1::Label { key: key.to_owned(), value: Some(value.to_owned()) })
        }
        _ => Err(Failure::usage(format!("--label: expected KEY=VALUE, got '{text}'"))),
    };
    matches.get_many::<String>("label").into_iter().flatten().map(one).collect()
}

/// So much of the candidates; the name of what there is too little of.
fn part(candidates: &Resources, wanted: &Resources) -> Result<Resources, String> {
    let mut out = Resources::new();
    for entry in wanted.iter() {
        let name = &entry.identity.name;
        let mut left = entry.value.clone();
        for at in candidates.iter().filter(|e| e.identity.name == *name) {
            let value = match (&left, &at.value) {
                (Amount::Scalar(left), Amount::Scalar(there)) => Amount::Scalar(*left.min(there)),
                (left, there) if there.contains(left) => left.clone(),
                _ => continue,
            };
            left.subtract(&value);
            if !value.is_empty() {
                out.add(Entry { identity: at.identity.clone(), value });
            }
        }
        if !left.is_empty() {
            return Err(name.clone());
        }
    }
    Ok(out)
}

/// A call that changes resources of an agent.
pub(super) async fn change(
    client: &OperatorClient,
    agent: &Known,
    kind: &str,
    field: &str,
    list: &str,
    resources: &[v1::Resource],
) -> Result<(), Failure> {
    let resources: Value = resources.iter().map(wire::json::to_value).collect();
    let call = json!({"type": kind, field: {"agent_id": {"value": agent.id}, list: resources}});
    client.call(&call).await.map(drop)
}

/// What is reserved on an agent, for whomever.
pub(super) async fn reserved(client: &OperatorClient, agent: &str) -> Result<Resources, Failure> {
    let answer = client.get(&format!("/slaves?slave_id={}", escaped(agent))).await?;
    of_agent(&answer["slaves"][0])
}

/// What an agent of `/slaves` says to be reserved.
pub(super) fn of_agent(slave: &Value) -> Result<Resources, Failure> {
    let mut wire_form = Vec::new();
    let by_role = slave["reserved_resources_full"].as_object().into_iter().flatten();
    for value in by_role.flat_map(|(_, list)| items(list)) {
        let resource: v1::Resource = wire::json::from_value(value)
            .map_err(|e| Failure::failed(format!("reserved_resources_full: {e}")))?;
        // The older fields say the same again.
        let old = resource.reservations.is_empty();
        wire_form.push(if old {
            resource
        } else {
            v1::Resource { role: None, reservation: None, ..resource }
        });
    }
    Resources::from_wire(&wire_form).map_err(|e| Failure::failed(e.to_string()))
}

async fn list(
    client: &OperatorClient,
    matches: &ArgMatches,
    agent: Option<&Known>,
    role: Option<&str>,
) -> Result<String, Failure> {
    let path = match agent {
        Some(agent) => format!("/slaves?slave_id={}", escaped(&agent.id)),
        None => "/slaves".to_owned(),
    };
    let answer = client.get(&path).await?;
    let mut table =
        TextTable::new(["AGENT", "HOST", "ROLE", "RESOURCES", "KIND", "PRINCIPAL", "LABELS"]);
    let mut all = Vec::new();
    for slave in items(&answer["slaves"]) {
        let reserved = of_agent(slave)?;
        let of_role = reserved.filter(|e| role.is_none_or(|r| e.reserved_to() == Some(r)));
        for row in rows(&of_role) {
            all.push(json!({
                "agent_id": slave["id"], "hostname": slave["hostname"], "role": row.role,
                "resources": row.resources.to_wire().iter().map(wire::json::to_value).collect::<Value>(),
            }));
            table.row([
                text(slave, "id").to_owned(),
                text(slave, "hostname").to_owned(),
                row.role,
                row.shown,
                row.kind,
                row.principal,
                row.labels,
            ]);
        }
    }
    if wants_json(matches) {
        return Ok(pretty(&json!({"reservations": all})));
    }
    Ok(if table.is_empty() { "Nothing is reserved.\n".to_owned() } else { table.to_string() })
}

struct Row {
    role: String,
    shown: String,
    kind: String,
    principal: String,
    labels: String,
    resources: Resources,
}

/// One for each reservation.
fn rows(reserved: &Resources) -> Vec<Row> {
    let mut out: Vec<(v1::resource::ReservationInfo, Resources)> = Vec::new();
    for entry in reserved.iter() {
        let Some(reservation) = entry.identity.reservations.last() else { continue };
        let at = match out.iter().position(|(of, _)| of == reservation) {
            Some(at) => at,
            None => {
                out.push((reservation.clone(), Resources::new()));
                out.len() - 1
            }
        };
        out[at].1.add(entry.clone());
    }
    let one = |(reservation, resources): (v1::resource::ReservationInfo, Resources)| {
        let labels = reservation.labels.iter().flat_map(|l| &l.labels);
        let labels = labels.map(|l| format!("{}={}", l.key, l.value()));
        let parts = resources.iter().map(|e| {
            match e.identity.disk.as_ref().and_then(|d| d.persistence.as_ref()) {
                Some(volume) => format!("{}:{} (volume {})", e.identity.name, e.value, volume.id),
                None => format!("{}:{}", e.identity.name, e.value),
            }
        });
        Row {
            role: reservation.role().to_owned(),
            shown: parts.collect::<Vec<_>>().join("; "),
            kind: reservation.r#type().as_str_name().to_lowercase(),
            principal: reservation.principal().to_owned(),
            labels: labels.collect::<Vec<_>>().join(" "),
            resources,
        }
    };
    out.into_iter().map(one).collect()
}
