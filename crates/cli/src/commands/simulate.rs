//! `proffer simulate`: who would get what with other settings or agents, without touching the cluster.

use super::{items, pretty, text, wants_json};
use crate::daemon::allocator_config;
use crate::flags::{self, MASTER};
use crate::operator_client::{Failure, OperatorClient};
use crate::text_table::TextTable;
use clap::{Arg, ArgAction, ArgMatches, Command};
use detector::MasterName;
use resources::{Quantities, from_milli};
use serde_json::{Map, Value, json};
use sim::what_if::{Amounts, Change, Demand, Outcome, Snapshot, apply, replay};
use std::collections::BTreeSet;

const EXAMPLES: &str = "\
NOW is what tasks use. FULL is what there would be if every framework that wants offers took everything it is offered
(with --task: task after task) until nothing is left for anybody, with the settings as they are; CHANGED is the same
with the changes. The policy is the master's own; what frameworks take is assumed.

Examples:
  proffer simulate --set-weight web=2
  proffer simulate --set-quota 'batch:guarantee=cpus=10,mem=4096:limit=cpus=40' --task 'cpus:1;mem:512'
  proffer simulate --save today.json
  proffer simulate --state today.json --add-agents 10 --from-empty
";

/// What is not replayed, and why.
const LEFT_OUT: &str = "refusals, turns and leases, since they pass: whoever is subscribed and not \
suppressed is taken to want what it is offered";

/// Flags of a master that its policy depends on.
const POLICY_FLAGS: [&str; 10] = [
    "allocation_interval",
    "min_allocatable_resources",
    "fair_sharing_excluded_resource_names",
    "filter_gpu_resources",
    "domain",
    "role_sorter",
    "framework_sorter",
    "max_time_to_offer",
    "lending",
    "lending_min_idle",
];

pub(crate) fn command() -> Command {
    let one = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let many = |name, value, help| one(name, value, help).action(ArgAction::Append);
    Command::new("simulate")
        .about("What if: shares under other settings or agents, without touching the cluster")
        .after_help(EXAMPLES)
        .args([
            one(
                "state",
                "FILE|URL",
                "The cluster: what --save wrote, a plain /state, or http://host:port [the master]",
            ),
            one("save", "FILE", "Write what the master told to a file, for --state"),
            many(
                "set-quota",
                "QUOTA",
                "ROLE:guarantee=cpus=10,mem=1024:limit=cpus=20, or ROLE:none; replaces both",
            ),
            many("set-weight", "ROLE=WEIGHT", "Weight of a role"),
            many(
                "set-share",
                "SHARE",
                "ROLE:cpus=20%,mem=1024, or ROLE:none; as if its schedule was active",
            ),
            many(
                "add-agents",
                "N[:RESOURCES]",
                "More agents, like most others or with RESOURCES, as 3:cpus:8;mem:16384",
            ),
            many("remove-agent", "ID|HOST", "An agent that goes, with its tasks"),
            one(
                "task",
                "RESOURCES",
                "What one task takes of an offer, as cpus:1;mem:512 [everything offered]",
            ),
            Arg::new("from-empty")
                .long("from-empty")
                .action(ArgAction::SetTrue)
                .help("FULL and CHANGED begin without the tasks that run now"),
        ])
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let changes = changes(matches).map_err(Failure::Usage)?;
    let demand = match matches.get_one::<String>("task") {
        None => Demand::Everything,
        Some(text) => {
            let size = Quantities::parse(text).ok().filter(|q| !q.is_empty());
            Demand::Task(size.ok_or_else(|| {
                Failure::usage(format!("--task: expected name:number;name:number, got '{text}'"))
            })?)
        }
    };
    let told = told(client, matches.get_one::<String>("state").map(String::as_str)).await?;
    if let Some(path) = matches.get_one::<String>("save") {
        std::fs::write(path, pretty(&told))
            .map_err(|e| Failure::failed(format!("--save: cannot write {path}: {e}")))?;
    }
    let mut snapshot = Snapshot::parse(&told).map_err(Failure::Failed)?;
    let config = config(&told["flags"]).map_err(Failure::Failed)?;
    if told["flags"].is_null() {
        let text = "'flags' is missing: flags of the master are taken as not given";
        snapshot.notes.push(text.to_owned());
    }
    let now = replay(&snapshot, &config, &Demand::Nothing);
    if matches.get_flag("from-empty") {
        snapshot.agents.iter_mut().for_each(|a| a.used.clear());
    }
    let mut columns = vec![
        Column { name: "now", snapshot: snapshot.clone(), outcome: now },
        Column {
            name: "full",
            outcome: replay(&snapshot, &config, &demand),
            snapshot: snapshot.clone(),
        },
    ];
    if !changes.is_empty() {
        let snapshot = apply(snapshot, &changes).map_err(Failure::Failed)?;
        let outcome = replay(&snapshot, &config, &demand);
        columns.push(Column { name: "changed", snapshot, outcome });
    }
    Ok(if wants_json(matches) { pretty(&as_json(&columns)) } else { shown(&columns) })
}

fn changes(matches: &ArgMatches) -> Result<Vec<Change>, String> {
    type Parse = fn(&str) -> Result<Change, String>;
    let kinds: [(&str, Parse); 5] = [
        ("remove-agent", |text| Ok(Change::RemoveAgent(text.to_owned()))),
        ("add-agents", Change::add_agents),
        ("set-quota", Change::quota),
        ("set-weight", Change::weight),
        ("set-share", Change::share),
    ];
    let mut out = Vec::new();
    for (name, parse) in kinds {
        for text in matches.get_many::<String>(name).into_iter().flatten() {
            out.push(parse(text).map_err(|e| format!("--{name}: {e}"))?);
        }
    }
    Ok(out)
}

/// What is known of the cluster.
async fn told(client: &OperatorClient, state: Option<&str>) -> Result<Value, Failure> {
    let fault = |text: String| Failure::usage(format!("--state: {text}"));
    match state {
        None => ask(client).await,
        Some(url) if url.starts_with("http://") => {
            let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
            let master = MasterName::parse(host).map_err(|e| fault(e.to_string()))?;
            ask(&OperatorClient::new(master)).await
        }
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|e| {
                fault(format!("cannot read {path}: {e}; expected a file or http://host:port"))
            })?;
            serde_json::from_slice(&bytes).map_err(|e| fault(format!("{path} is not JSON: {e}")))
        }
    }
}

async fn ask(client: &OperatorClient) -> Result<Value, Failure> {
    let state = client.call(&json!({"type": "GET_STATE"})).await?;
    let frameworks = client.get("/frameworks").await?;
    let suppressed = items(&frameworks["frameworks"]).iter();
    let suppressed: Map<String, Value> = suppressed
        .filter(|f| f["suppressed_roles"].is_array())
        .map(|f| (text(f, "id").to_owned(), f["suppressed_roles"].clone()))
        .collect();
    Ok(json!({
        "get_state": state["get_state"],
        "suppressed": suppressed,
        "flags": client.get("/flags").await?["flags"],
        "quota": client.get("/quota").await?,
        "weights": client.get("/weights").await?,
        // Only Proffer's masters have these.
        "shares": client.get("/shares").await.unwrap_or_default(),
        "overlaps": client.get("/offer-overlap").await.unwrap_or_default(),
    }))
}

fn config(flags: &Value) -> Result<allocator::Config, String> {
    let word = |name: &&str| Some(format!("--{name}={}", flags[*name].as_str()?));
    let words: Vec<String> = POLICY_FLAGS.iter().filter_map(word).collect();
    let flags = flags::parse(&MASTER, &words, []).and_then(|flags| allocator_config(&flags));
    flags.map_err(|e| format!("flags of the master: {e}"))
}

/// One of the cases that are compared.
struct Column {
    name: &'static str,
    snapshot: Snapshot,
    outcome: Outcome,
}

impl Column {
    fn of_role(&self, role: &str) -> Amounts {
        self.outcome.of_role(role)
    }

    fn of_seat(&self, framework: usize, role: &str) -> Amounts {
        self.outcome.held.get(&(framework, role.to_owned())).cloned().unwrap_or_default()
    }

    fn share(&self, amounts: &Amounts) -> String {
        format!("{:.1}%", self.outcome.dominant_share(amounts) * 100.0)
    }

    /// Guarantees of a role: whether there is what it is guaranteed.
    fn guarantee(&self, role: &str) -> String {
        let of = self.outcome.guarantees.iter().filter(|g| g.role == role);
        let parts = of.map(|g| {
            let (has, all) = (from_milli(g.has), from_milli(g.guaranteed));
            match (g.has >= g.guaranteed, g.is_wanted) {
                (true, _) => format!("{} {all} met", g.name),
                (false, true) => format!("{} {has} of {all}", g.name),
                (false, false) => format!("{} {has} of {all}, nobody asks", g.name),
            }
        });
        parts.collect::<Vec<_>>().join("; ")
    }
}

/// All roles that anything is known of.
fn roles(columns: &[Column]) -> BTreeSet<String> {
    let mut roles = BTreeSet::new();
    for Column { snapshot, outcome, .. } in columns {
        let settings = &snapshot.settings;
        roles.extend(snapshot.frameworks.iter().flat_map(|f| f.options.roles.iter().cloned()));
        roles.extend(outcome.held.keys().map(|(_, role)| role.clone()));
        roles.extend(settings.quotas.keys().chain(settings.weights.keys()).cloned());
        roles.extend(settings.shares.keys().cloned());
    }
    let above: Vec<String> =
        roles.iter().flat_map(|r| resources::ancestors(r)).map(str::to_owned).collect();
    roles.extend(above);
    roles
}

/// Frameworks in their roles.
fn seats(columns: &[Column]) -> BTreeSet<(usize, String)> {
    let subscribed = columns[0].snapshot.frameworks.iter().enumerate();
    let subscribed =
        subscribed.flat_map(|(n, f)| f.options.roles.iter().map(move |r| (n, r.clone())));
    subscribed.chain(columns.iter().flat_map(|c| c.outcome.held.keys().cloned())).collect()
}

fn numbers(amounts: &Amounts) -> Value {
    amounts
        .iter()
        .map(|(name, milli)| (name.clone(), json!(from_milli(*milli))))
        .collect::<Map<_, _>>()
        .into()
}

fn in_words(amounts: &Amounts) -> String {
    let parts = amounts.iter().filter(|(_, milli)| **milli != 0);
    let parts: Vec<String> =
        parts.map(|(n, milli)| format!("{n} {}", from_milli(*milli))).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

fn as_json(columns: &[Column]) -> Value {
    let cases = columns.iter().map(|column| {
        let Column { snapshot, outcome, .. } = column;
        let of = |amounts: &Amounts| {
            json!({"held": numbers(amounts), "dominant_share": outcome.dominant_share(amounts)})
        };
        let roles: Map<String, Value> =
            roles(columns).iter().map(|r| (r.clone(), of(&column.of_role(r)))).collect();
        let frameworks = seats(columns).into_iter().map(|(place, role)| {
            let framework = &snapshot.frameworks[place];
            let mut out = of(&column.of_seat(place, &role));
            out["framework_id"] = json!(framework.id);
            out["framework"] = json!(framework.name);
            out["role"] = json!(role);
            out
        });
        let guarantees = outcome.guarantees.iter().map(|g| {
            json!({"role": g.role, "name": g.name, "guaranteed": from_milli(g.guaranteed), "has": from_milli(g.has),
                "met": g.has >= g.guaranteed, "wanted": g.is_wanted})
        });
        let reasons = outcome.reasons.iter().map(|idle| {
            let (reason, advice) = idle.why.describe();
            let framework = &snapshot.frameworks[idle.framework];
            json!({"reason": reason, "advice": advice, "agents": idle.agents, "role": idle.role,
                "framework_id": framework.id, "framework": framework.name})
        });
        let case = json!({
            "agents": outcome.agents,
            "total": numbers(&outcome.total),
            "roles": roles,
            "frameworks": frameworks.collect::<Value>(),
            "guarantees": guarantees.collect::<Value>(),
            "idle": {"resources": numbers(&outcome.idle), "agents": outcome.idle_agents, "reasons": reasons.collect::<Value>()},
            "cycles": outcome.cycles,
        });
        (column.name.to_owned(), case)
    });
    let mut out: Map<String, Value> = cases.collect();
    out.insert("left_out".to_owned(), json!(LEFT_OUT));
    out.insert("notes".to_owned(), json!(columns[0].snapshot.notes));
    out.into()
}

fn shown(columns: &[Column]) -> String {
    let mut out = String::new();
    for column in columns.iter().filter(|c| c.name != "full") {
        let Outcome { agents, total, .. } = &column.outcome;
        out.push_str(&format!("{}: {agents} agents with {}\n", column.name, in_words(total)));
    }
    let kinds: Vec<&str> = ["cpus", "mem", "gpus"]
        .into_iter()
        .filter(|name| columns.iter().any(|c| c.outcome.total.get(*name).is_some_and(|t| *t > 0)))
        .collect();
    let cells = |of: &dyn Fn(&Column) -> Amounts| {
        let shares = columns.iter().map(|c| c.share(&of(c)));
        let amount =
            |c: &Column, kind: &str| from_milli(of(c).get(kind).copied().unwrap_or(0)).to_string();
        let amounts = kinds.iter().flat_map(|kind| columns.iter().map(move |c| amount(c, kind)));
        shares.chain(amounts).collect::<Vec<String>>()
    };
    let heads: Vec<String> = std::iter::once("SHARE".to_owned())
        .chain(kinds.iter().map(|k| k.to_uppercase()))
        .flat_map(|kind| {
            columns.iter().enumerate().map(move |(n, c)| {
                let case = c.name.to_uppercase();
                if n == 0 { format!("{kind} {case}") } else { case }
            })
        })
        .collect();
    let table = |first: &[&'static str], last: &[&'static str]| {
        let heads = heads.iter().map(String::as_str);
        TextTable::new(first.iter().copied().chain(heads).chain(last.iter().copied()))
    };
    let mut by_role = table(&["ROLE"], &["GUARANTEE"]);
    let last = &columns[columns.len() - 1];
    for role in roles(columns) {
        let values = cells(&|c| c.of_role(&role));
        by_role.row([role.clone()].into_iter().chain(values).chain([last.guarantee(&role)]));
    }
    let mut by_framework = table(&["FRAMEWORK", "ROLE"], &[]);
    for (place, role) in seats(columns) {
        let values = cells(&|c| c.of_seat(place, &role));
        let name = columns[0].snapshot.frameworks[place].name.clone();
        by_framework.row([name, role.clone()].into_iter().chain(values));
    }
    out.push_str(&format!("\n{by_role}\n"));
    if !by_framework.is_empty() {
        out.push_str(&format!("{by_framework}\n"));
    }
    for column in columns.iter().filter(|c| c.name != "now") {
        out.push_str(&idle(column));
    }
    out.push_str(&format!("Left out: {LEFT_OUT}.\n"));
    for note in &columns[0].snapshot.notes {
        out.push_str(&format!("Note: {note}.\n"));
    }
    out
}

/// What stays idle, and why.
fn idle(column: &Column) -> String {
    let Column { name, outcome, snapshot } = column;
    if outcome.idle.values().all(|milli| *milli == 0) {
        return format!("{name}: nothing stays idle.\n");
    }
    let mut out = format!(
        "{name}: {} stay idle, on {} agents.\n",
        in_words(&outcome.idle),
        outcome.idle_agents
    );
    let mut table = TextTable::new(["REASON", "AGENTS", "FRAMEWORK", "ROLE", "WHAT WOULD HELP"]);
    for idle in &outcome.reasons {
        let (reason, advice) = idle.why.describe();
        table.row([
            reason.to_owned(),
            idle.agents.to_string(),
            snapshot.frameworks[idle.framework].name.clone(),
            idle.role.clone(),
            advice.to_owned(),
        ]);
    }
    if table.is_empty() {
        out.push_str("No framework is subscribed.\n\n");
    } else {
        out.push_str(&format!("{table}\n"));
    }
    out
}
