//! `proffer reference`: pages of the documentation that are made from the code.

use crate::flags::{AGENT, Kind, MASTER, Row, Support, Table};
use crate::operator_client::Failure;
use clap::{Arg, ArgMatches, Command};
use http_api::endpoints::Endpoint;
use std::fmt::Write as _;

/// Name of each page.
const PAGES: [&str; 3] = ["master-flags", "agent-flags", "endpoints"];

pub(crate) fn command() -> Command {
    let page = Arg::new("page").required(true).value_parser(PAGES).help("The page");
    Command::new("reference")
        .about("Prints a page of the documentation that is made from the program")
        .hide(true)
        .arg(page)
}

pub(crate) fn run(matches: &ArgMatches) -> Result<String, Failure> {
    Ok(match matches.get_one::<String>("page").map(String::as_str) {
        Some("master-flags") => flags("master", &MASTER),
        Some("agent-flags") => flags("agent", &AGENT),
        _ => endpoints(),
    })
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}

fn flags(program: &str, table: &Table) -> String {
    let mut out = format!(
        "# Flags of the {program}\n\nEach flag is also a variable: `MESOS_` and its name in upper case. A flag that is not \
         here is an error that names the nearest one.\n\n| flag | value | default | what it does |\n|---|---|---|---|\n"
    );
    let mut rows: Vec<&Row> = table.rows().collect();
    rows.sort_by_key(|row| row.name);
    for row in rows.iter().filter(|row| matches!(row.support, Support::Yes)) {
        let kind = match row.kind {
            Kind::Bool => "yes or no",
            Kind::Text => "text",
            Kind::Path => "path",
            Kind::Number => "number",
            Kind::Duration => "duration",
        };
        let default = row.default.map(|d| format!("`{}`", cell(d))).unwrap_or_default();
        let alias = row.alias.map(|name| format!(", also `--{name}`")).unwrap_or_default();
        let _ =
            writeln!(out, "| `--{}`{alias} | {kind} | {default} | {} |", row.name, cell(row.help));
    }
    out.push_str(
        "\n## Known and refused\n\nThese are Mesos' too. They are accepted with the values named here, which change \
         nothing; every other value is an error.\n\n| flag | values | why |\n|---|---|---|\n",
    );
    for row in rows {
        match row.support {
            Support::Yes => {}
            Support::Never(why) => {
                let _ = writeln!(out, "| `--{}` | none | {} |", row.name, cell(why));
            }
            Support::Only(values) => {
                let mut values: Vec<&str> = values.to_vec();
                values.extend(row.default.filter(|default| !values.contains(default)));
                let values: Vec<String> = values.iter().map(|v| format!("`{}`", cell(v))).collect();
                let values = if values.is_empty() { "none".to_owned() } else { values.join(", ") };
                let _ = writeln!(out, "| `--{}` | {values} | not supported yet |", row.name);
            }
        }
    }
    out
}

fn endpoints() -> String {
    let mut out = "# Endpoints\n\nEverything is on the daemon's one port. Where no method is named any will do. With \
                   `jsonp=NAME` the JSON of a path that is read is wrapped into a call.\n"
        .to_owned();
    let daemons = [
        (
            "Master",
            "Each path also answers below `/master`. A master that does not lead redirects (307) all but a few.",
            master::ENDPOINTS,
        ),
        ("Agent", "Each path also answers below `/slave(1)`.", agent::ENDPOINTS),
    ];
    for (title, text, endpoints) in daemons {
        let _ = write!(
            out,
            "\n## {title}\n\n{text}\n\n| path | methods | what it tells or does | in Mesos |\n|---|---|---|---|\n"
        );
        for Endpoint { path, methods, mesos, what } in endpoints.iter().copied().flatten() {
            let mesos = if *mesos { "yes" } else { "no" };
            let _ = writeln!(out, "| `{path}` | {methods} | {} | {mesos} |", cell(what));
        }
    }
    out
}
