//! `proffer status`: the cluster in a few lines.

use super::{items, pretty, text, wants_json};
use crate::operator_client::{Failure, OperatorClient};
use clap::{ArgMatches, Command};
use serde_json::{Value, json};

pub(crate) fn command() -> Command {
    Command::new("status").about("The cluster in a few lines: leader, agents, frameworks, use")
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let state = client.get("/state-summary").await?;
    let version = client.get("/version").await?;
    let summary = summary(&state, text(&version, "version"));
    Ok(if wants_json(matches) { pretty(&summary) } else { shown(&summary) })
}

fn summary(state: &Value, version: &str) -> Value {
    let sum = |part: &str, name: &str| -> f64 {
        items(&state["slaves"]).iter().filter_map(|s| s[part][name].as_f64()).sum()
    };
    let count =
        |list: &str, field: &str| items(&state[list]).iter().filter(|v| v[field] == true).count();
    let tasks = |name: &str| -> u64 {
        items(&state["frameworks"]).iter().filter_map(|f| f[name].as_u64()).sum()
    };
    let resource = |name: &str| {
        let part = |part: &str| sum(part, name);
        json!({"total": part("resources"), "used": part("used_resources"), "offered": part("offered_resources")})
    };
    json!({
        "cluster": state["cluster"],
        "leader": state["hostname"],
        "version": version,
        "agents": {"known": items(&state["slaves"]).len(), "active": count("slaves", "active")},
        "frameworks": {"known": items(&state["frameworks"]).len(), "active": count("frameworks", "active")},
        "tasks": {"running": tasks("TASK_RUNNING"), "staging": tasks("TASK_STAGING") + tasks("TASK_STARTING")},
        "resources": {"cpus": resource("cpus"), "mem": resource("mem"), "disk": resource("disk"), "gpus": resource("gpus")},
    })
}

fn shown(summary: &Value) -> String {
    let cluster =
        summary["cluster"].as_str().map(|c| format!("cluster '{c}', ")).unwrap_or_default();
    let mut out = format!(
        "{cluster}leader {}, version {}\nagents      {} active of {}\nframeworks  {} active of {}\ntasks       {} running, {} starting\n",
        text(summary, "leader"),
        text(summary, "version"),
        summary["agents"]["active"],
        summary["agents"]["known"],
        summary["frameworks"]["active"],
        summary["frameworks"]["known"],
        summary["tasks"]["running"],
        summary["tasks"]["staging"],
    );
    for name in ["cpus", "mem", "disk", "gpus"] {
        let of = |part: &str| summary["resources"][name][part].as_f64().unwrap_or(0.0);
        let (total, used, offered) = (of("total"), of("used"), of("offered"));
        if total > 0.0 {
            let percent = used / total * 100.0;
            out.push_str(&format!(
                "{name:<12}{used} used of {total} ({percent:.0} %), {offered} offered\n"
            ));
        }
    }
    out
}
