//! `proffer doctor`: whether this host has what a master or an agent needs, and what to do where it has not.

mod containers;
mod machine;
mod places;
mod reach;

use crate::flags::{self, AGENT, Flags, MASTER, Table};
use crate::logging::Logging;
use crate::{daemon, host};
use serde_json::{Value, json};
use std::process::ExitCode;

const HELP: &str = "\
Checks whether this host has what a master or an agent needs.

usage: proffer doctor [master|agent] [flags of that program] [--json]

With `master` or `agent`, also whether the flags, variables and the file of --config fit, and whether those are reached
that they name. Without, only what the host itself has. Exit status 1: something fails.

Examples:
  proffer doctor
  proffer doctor agent --config=/etc/proffer/agent.toml
  proffer doctor master --coordination=raft --peers=m1:5050,m2:5050,m3:5050 --work_dir=/var/lib/proffer/master
";

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ok,
    /// It works, but not as well as it could.
    Warn,
    /// It does not work.
    Fail,
}

/// What a check found.
#[derive(Debug)]
pub(super) struct Finding {
    name: &'static str,
    state: State,
    found: String,
    /// What to do.
    advice: Option<String>,
}

pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Finding {
    Finding { name, state: State::Ok, found: found.into(), advice: None }
}

pub(super) fn warn(
    name: &'static str,
    found: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding { name, state: State::Warn, found: found.into(), advice: Some(advice.into()) }
}

pub(super) fn fail(
    name: &'static str,
    found: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding { name, state: State::Fail, found: found.into(), advice: Some(advice.into()) }
}

/// For whom the host is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    Agent,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Agent => "agent",
        }
    }

    /// With its article.
    pub(super) fn one(self) -> &'static str {
        match self {
            Role::Master => "a master",
            Role::Agent => "an agent",
        }
    }

    fn table(self) -> &'static Table {
        match self {
            Role::Master => &MASTER,
            Role::Agent => &AGENT,
        }
    }
}

/// Runs with the words after `doctor`.
pub(crate) fn run(words: &[String]) -> ExitCode {
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let is_json = words.iter().any(|word| word == "--json");
    let words: Vec<String> = words.iter().filter(|word| *word != "--json").cloned().collect();
    let (role, words) = match words.split_first() {
        None => (None, &words[..]),
        Some((word, rest)) if word == "master" => (Some(Role::Master), rest),
        Some((word, rest)) if word == "agent" => (Some(Role::Agent), rest),
        Some((word, _)) => {
            eprintln!("proffer: doctor: expected master or agent and its flags, got '{word}'");
            return ExitCode::from(2);
        }
    };
    let findings = examine(role, words);
    let failed = findings.iter().filter(|f| f.state == State::Fail).count();
    if is_json {
        println!("{:#}", as_json(role, &findings, failed));
    } else {
        print!("{}", as_text(&findings, failed));
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn examine(role: Option<Role>, words: &[String]) -> Vec<Finding> {
    let mut all = Vec::new();
    let kind = role.unwrap_or(Role::Agent);
    let table = kind.table();
    let flags = match role {
        None => flags::parse(table, &[], []),
        Some(_) => flags::parse(table, words, std::env::vars()),
    };
    let flags = flags.or_else(|text| {
        all.push(fail("flags", text, "correct it; what follows looks at the defaults"));
        flags::parse(table, &[], [])
    });
    let Ok(flags) = flags else { return all };
    if role.is_some() && all.is_empty() {
        all.push(settings(kind, &flags));
    }
    all.extend(machine::all(kind));
    all.extend(places::all(role, &flags));
    if kind == Role::Agent {
        all.extend(containers::all(role.is_some(), &flags));
    }
    if let Some(role) = role {
        all.extend(reach::all(role, &flags));
    }
    all
}

/// Whether the program would take these flags.
fn settings(role: Role, flags: &Flags) -> Finding {
    if let Some(word) = flags.words.first() {
        let text = format!("unexpected argument '{word}'");
        return fail("flags", text, "flags begin with --");
    }
    let logging = Logging::none();
    let made = host::address(flags).and_then(|address| match role {
        Role::Master => daemon::master_config(flags, &address, logging).map(drop),
        Role::Agent => daemon::agent_config(flags, &address, logging, None).map(drop),
    });
    match made {
        Err(text) => fail("flags", text, "correct it; `--help` tells what is expected"),
        Ok(()) if !flags.warnings.is_empty() => {
            warn("flags", flags.warnings.join("; "), "use the newer name")
        }
        Ok(()) => ok("flags", format!("{} takes them", role.one())),
    }
}

fn as_json(role: Option<Role>, findings: &[Finding], failed: usize) -> Value {
    let one = |finding: &Finding| {
        let state = match finding.state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        };
        json!({"check": finding.name, "state": state, "found": finding.found, "advice": finding.advice})
    };
    let checks: Vec<Value> = findings.iter().map(one).collect();
    json!({"role": role.map(Role::name), "failed": failed, "checks": checks})
}

fn as_text(findings: &[Finding], failed: usize) -> String {
    let mut out = String::new();
    for Finding { name, state, found, advice } in findings {
        let state = match state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        out.push_str(&format!("{state}  {name:<12} {found}\n"));
        if let Some(advice) = advice {
            out.push_str(&format!("{:19}-> {advice}\n", ""));
        }
    }
    let warned = findings.iter().filter(|f| f.state == State::Warn).count();
    out.push_str(&match (failed, warned) {
        (0, 0) => "All is well.\n".to_owned(),
        (0, n) => format!("Nothing fails; warnings: {n}.\n"),
        (failed, n) => format!("Fails: {failed}, warnings: {n}.\n"),
    });
    out
}
