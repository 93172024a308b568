//! `proffer volume`: persistent volumes of agents.

use super::known::{Known, one_agent};
use super::reserve::{change, of_agent, reserved};
use super::{items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient};
use crate::text_table::TextTable;
use clap::{Arg, ArgAction, ArgMatches, Command};
use resources::{Entry, Identity, Resources, Value as Amount, from_milli, to_milli};
use serde_json::{Value, json};
use wire::v1;
use wire::v1::resource::disk_info::{Persistence, Source};

const EXAMPLES: &str = "\
Examples:
  proffer reserve S0 db 'disk:1024'                    a volume is made of reserved disk
  proffer volume create S0 db data 512 --path data
  proffer volume list
  proffer volume grow S0 data 256
  proffer volume destroy S0 data                       with all that is in it
";

pub(crate) fn command() -> Command {
    let agent = || {
        Arg::new("agent")
            .value_name("AGENT")
            .required(true)
            .help("The agent: id, end of the id, or host")
    };
    let id = || Arg::new("id").value_name("ID").required(true).help("Id of the volume");
    let size = |help: &'static str| Arg::new("size").value_name("MB").required(true).help(help);
    let role = || {
        Arg::new("role").value_name("ROLE").required(true).help("Whose reserved disk it is made of")
    };
    let of_role = || role().long("role").required(false).help("Its role, if several have that id");
    let path = Arg::new("path")
        .long("path")
        .value_name("PATH")
        .help("Where a container sees it in its sandbox [its id]");
    let shared = Arg::new("shared")
        .long("shared")
        .action(ArgAction::SetTrue)
        .help("Several tasks may use it at a time");
    Command::new("volume")
        .about("Persistent volumes: list, create, destroy, grow, shrink")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .subcommand(Command::new("list").about("Lists all volumes"))
        .subcommand(
            Command::new("create")
                .about("Makes a volume of reserved disk")
                .args([agent(), role(), id(), size("Its size"), path, shared])
                .after_help(EXAMPLES),
        )
        .subcommand(Command::new("destroy").about("Removes a volume and what is in it").args([
            agent(),
            id(),
            of_role(),
        ]))
        .subcommand(Command::new("grow").about("Adds reserved disk to a volume").args([
            agent(),
            id(),
            size("By how much"),
            of_role(),
        ]))
        .subcommand(Command::new("shrink").about("Takes disk from a volume").args([
            agent(),
            id(),
            size("By how much"),
            of_role(),
        ]))
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    if let Some((verb, arguments)) = matches.subcommand().filter(|(verb, _)| *verb != "list") {
        let word = arguments.get_one::<String>("agent").cloned().unwrap_or_default();
        let agent = one_agent(client, &word).await?;
        let there = reserved(client, &agent.id).await?;
        act(client, verb, arguments, &agent, &there).await?;
    }
    let answer = client.get("/slaves").await?;
    let mut table = TextTable::new(["ID", "ROLE", "MB", "AGENT", "HOST", "PATH", "SHARED"]);
    let mut all = Vec::new();
    for slave in items(&answer["slaves"]) {
        for entry in of_agent(slave)?.iter().filter(|e| e.is_volume()) {
            let one: Resources = std::iter::once(entry.clone()).collect();
            let resource: Value = one.to_wire().iter().map(wire::json::to_value).collect();
            all.push(json!({"agent_id": slave["id"], "hostname": slave["hostname"], "volume": resource[0]}));
            table.row(row(slave, entry));
        }
    }
    if wants_json(matches) {
        return Ok(pretty(&json!({"volumes": all})));
    }
    Ok(if table.is_empty() { "There is no volume.\n".to_owned() } else { table.to_string() })
}

fn row(slave: &Value, entry: &Entry) -> [String; 7] {
    let disk = entry.identity.disk.clone().unwrap_or_default();
    let volume = disk.volume.unwrap_or_default();
    [
        id_of(entry).unwrap_or_default().to_owned(),
        entry.reserved_to().unwrap_or_default().to_owned(),
        megabytes(entry).to_string(),
        text(slave, "id").to_owned(),
        text(slave, "hostname").to_owned(),
        volume.container_path,
        if entry.identity.shared { "yes" } else { "no" }.to_owned(),
    ]
}

fn megabytes(entry: &Entry) -> f64 {
    match entry.value {
        Amount::Scalar(milli) => from_milli(milli),
        _ => 0.0,
    }
}

fn id_of(entry: &Entry) -> Option<&str> {
    Some(&entry.identity.disk.as_ref()?.persistence.as_ref()?.id)
}

fn wire_of(entry: Entry) -> v1::Resource {
    let one: Resources = std::iter::once(entry).collect();
    one.to_wire().pop().unwrap_or_default()
}

async fn act(
    client: &OperatorClient,
    verb: &str,
    matches: &ArgMatches,
    agent: &Known,
    there: &Resources,
) -> Result<(), Failure> {
    let size = match matches.try_get_one::<String>("size").ok().flatten() {
        None => 0,
        Some(text) => text
            .parse::<f64>()
            .ok()
            .filter(|mb| *mb > 0.0 && mb.is_finite())
            .map(to_milli)
            .ok_or_else(|| {
                Failure::usage(format!("MB: expected a number above 0, got '{text}'"))
            })?,
    };
    if verb == "create" {
        let volume = wire_of(new_volume(matches, agent, there, size)?);
        return change(client, agent, "CREATE_VOLUMES", "create_volumes", "volumes", &[volume])
            .await;
    }
    let entry = existing(matches, agent, there)?;
    let volume = wire_of(entry.clone());
    let (agent_id, shown) = (json!({"value": agent.id}), wire::json::to_value(&volume));
    match verb {
        "grow" => {
            let role = entry.reserved_to().unwrap_or_default();
            let source = entry.identity.disk.as_ref().and_then(|d| d.source.clone());
            let free = free_disk(there, role, size, |of| *of == source, agent)?;
            let addition = wire_of(Entry { identity: free.identity, value: Amount::Scalar(size) });
            let addition = wire::json::to_value(&addition);
            let call = json!({"type": "GROW_VOLUME",
                "grow_volume": {"agent_id": agent_id, "volume": shown, "addition": addition}});
            client.call(&call).await.map(drop)
        }
        "shrink" => {
            let call = json!({"type": "SHRINK_VOLUME", "shrink_volume":
                {"agent_id": agent_id, "volume": shown, "subtract": {"value": from_milli(size)}}});
            client.call(&call).await.map(drop)
        }
        _ => {
            change(client, agent, "DESTROY_VOLUMES", "destroy_volumes", "volumes", &[volume]).await
        }
    }
}

fn new_volume(
    matches: &ArgMatches,
    agent: &Known,
    there: &Resources,
    size: i64,
) -> Result<Entry, Failure> {
    let word = |name: &str| matches.get_one::<String>(name).cloned();
    let (role, id) = (word("role").unwrap_or_default(), word("id").unwrap_or_default());
    let free = free_disk(there, &role, size, |_| true, agent)?;
    let reservation = free.identity.reservations.last();
    let disk = v1::resource::DiskInfo {
        persistence: Some(Persistence {
            principal: reservation.and_then(|r| r.principal.clone()),
            id: id.clone(),
        }),
        volume: Some(v1::Volume {
            mode: v1::volume::Mode::Rw as i32,
            container_path: word("path").unwrap_or(id),
            ..Default::default()
        }),
        source: free.identity.disk.as_ref().and_then(|d| d.source.clone()),
    };
    let identity = Identity {
        disk: Some(Box::new(disk)),
        shared: matches.get_flag("shared"),
        ..(*free.identity).clone()
    };
    Ok(Entry { identity: identity.into(), value: Amount::Scalar(size) })
}

/// Reserved disk of a role that is no volume and holds so much.
fn free_disk(
    there: &Resources,
    role: &str,
    size: i64,
    is_source: impl Fn(&Option<Source>) -> bool,
    agent: &Known,
) -> Result<Entry, Failure> {
    let is_free = |e: &&Entry| {
        let source = e.identity.disk.as_ref().and_then(|d| d.source.clone());
        e.identity.name == "disk"
            && e.reserved_to() == Some(role)
            && !e.is_volume()
            && is_source(&source)
    };
    let holds = |e: &&Entry| matches!(e.value, Amount::Scalar(milli) if milli >= size);
    let mut free = there.iter().filter(is_free);
    free.find(holds).cloned().ok_or_else(|| {
        let most = there.iter().filter(is_free).map(megabytes).fold(0.0, f64::max);
        let lack = from_milli(size) - most;
        Failure::failed(format!(
            "role '{role}' has {most} MB of reserved disk free on agent {}, not {}; `proffer reserve {} {role} disk:{lack}` reserves more",
            agent.id,
            from_milli(size),
            agent.id,
        ))
    })
}

fn existing(matches: &ArgMatches, agent: &Known, there: &Resources) -> Result<Entry, Failure> {
    let id = matches.get_one::<String>("id").map_or("", String::as_str);
    let role = matches.get_one::<String>("role").map(String::as_str);
    let is = |e: &&Entry| id_of(e) == Some(id) && role.is_none_or(|r| e.reserved_to() == Some(r));
    let found: Vec<&Entry> = there.iter().filter(is).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Failure::failed(format!(
            "there is no volume '{id}' on agent {}; `proffer volume list` lists all",
            agent.id
        ))),
        _ => Err(Failure::usage(format!("several roles have a volume '{id}' there: give --role"))),
    }
}
