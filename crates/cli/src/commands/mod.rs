//! The commands of operators: each asks the master, and answers with a table or JSON.
//!
//! A command is a file with `command()`, its words, and `run()`, which gives what is printed.

mod attach;
mod completion;
mod drain;
mod exec;
mod known;
mod lists;
mod machines;
mod maintenance;
mod masters;
mod overlap;
mod quota;
mod remote;
mod reserve;
mod share;
mod simulate;
mod status;
mod times;
mod volume;
mod weight;
mod why;

use crate::operator_client::{Failure, OperatorClient, master_name};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;
use std::io::Write as _;
use std::process::ExitCode;

/// Name of each command, and what it needs to know.
fn all() -> Vec<Command> {
    let lists = lists::commands();
    let drains = drain::commands();
    let more = [
        maintenance::command(),
        why::command(),
        exec::command(),
        attach::command(),
        simulate::command(),
        quota::command(),
        weight::command(),
        share::command(),
        masters::command(),
        overlap::command(),
        reserve::reserve_command(),
        reserve::unreserve_command(),
        reserve::reservations_command(),
        volume::command(),
        completion::command(),
    ];
    [status::command()].into_iter().chain(lists).chain(drains).chain(more).collect()
}

async fn dispatch(
    name: &str,
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    match name {
        "agents" => lists::agents(client, matches).await,
        "attach" => attach::run(client, matches).await,
        "completion" => completion::run(matches),
        "deactivate" => drain::deactivate(client, matches).await,
        "drain" => drain::drain(client, matches).await,
        "exec" => exec::run(client, matches).await,
        "flags" => lists::flags(client, matches).await,
        "frameworks" => lists::frameworks(client, matches).await,
        "offers" => lists::offers(client, matches).await,
        "maintenance" => maintenance::run(client, matches).await,
        "masters" => masters::run(client, matches).await,
        "overlap" => overlap::run(client, matches).await,
        "quota" => quota::run(client, matches).await,
        "reservations" => reserve::reservations(client, matches).await,
        "reactivate" => drain::reactivate(client, matches).await,
        "reserve" => reserve::reserve(client, matches).await,
        "roles" => lists::roles(client, matches).await,
        "share" => share::run(client, matches).await,
        "simulate" => simulate::run(client, matches).await,
        "status" => status::run(client, matches).await,
        "tasks" => lists::tasks(client, matches).await,
        "unreserve" => reserve::unreserve(client, matches).await,
        "volume" => volume::run(client, matches).await,
        "weight" => weight::run(client, matches).await,
        "why" => why::run(client, matches).await,
        other => Err(Failure::usage(format!("unknown command '{other}'"))),
    }
}

/// The whole program as far as it is made of these commands.
fn program() -> Command {
    let master = Arg::new("master")
        .long("master")
        .value_name("HOST:PORT")
        .global(true)
        .display_order(1000)
        .help("Where the master is [PROFFER_MASTER, MESOS_MASTER, ~/.config/proffer/config.toml, 127.0.0.1:5050]");
    let json = Arg::new("json")
        .long("json")
        .global(true)
        .display_order(1000)
        .action(ArgAction::SetTrue)
        .help("Print JSON instead of a table");
    Command::new("proffer")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .args([master, json])
        .subcommands(all())
}

/// Name and purpose of each command, for the help of the program.
pub(crate) fn help() -> String {
    let line = |command: &Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        format!("  {:<13}{about}\n", command.get_name())
    };
    all().iter().map(line).collect()
}

/// Whether a word names one of these commands.
pub(crate) fn is_command(word: &str) -> bool {
    names().iter().any(|name| name == word)
}

pub(crate) fn names() -> Vec<String> {
    all().iter().map(|c| c.get_name().to_owned()).collect()
}

/// Runs a command: `words` begin with its name. Exit status 0: done; 1: not done; 2: wrong words.
pub(crate) fn run(words: Vec<String>) -> ExitCode {
    let matches =
        match program().try_get_matches_from(["proffer".to_owned()].into_iter().chain(words)) {
            Ok(matches) => matches,
            Err(error) if error.use_stderr() => {
                eprint!("{error}");
                return ExitCode::from(2);
            }
            Err(help) => return print(&help.to_string()),
        };
    match answer(&matches) {
        Ok(text) => print(&text),
        Err(Failure::Usage(text)) => fail(&text, 2),
        Err(Failure::Failed(text)) => fail(&text, 1),
    }
}

fn answer(matches: &ArgMatches) -> Result<String, Failure> {
    let (name, matches) = matches.subcommand().ok_or_else(|| Failure::usage("no command"))?;
    let master = matches.get_one::<String>("master").map(String::as_str);
    let master = master_name(master).map_err(Failure::Usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::failed(format!("cannot start: {e}")))?;
    runtime.block_on(async { dispatch(name, &OperatorClient::new(master), matches).await })
}

fn fail(text: &str, code: u8) -> ExitCode {
    eprintln!("proffer: {}", harmless(text));
    ExitCode::from(code)
}

/// Text of others without what would command a terminal.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Prints to a reader that may leave early (`… | head`).
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(harmless(text).as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(&format!("cannot write: {error}"), 1)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Whether JSON is wanted.
fn wants_json(matches: &ArgMatches) -> bool {
    matches.get_flag("json")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A number as people write it: `4`, not `4.0`; empty when it is none.
fn number(value: &Value) -> String {
    value.as_f64().map(|n| n.to_string()).unwrap_or_default()
}

/// Amounts by name in short: `cpus 10, mem 1024`.
fn amounts(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    let pairs = pairs.filter_map(|(name, amount)| {
        Some(format!("{name} {}", amount.as_f64().filter(|a| *a != 0.0)?))
    });
    pairs.collect::<Vec<_>>().join(", ")
}

/// Text of a field, empty when it has none.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Items of a list, none when it is no list.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_commands_are_sound() {
        program().debug_assert();
        assert!(is_command("status") && !is_command("mastre"));
        assert!(all().iter().all(|c| c.get_about().is_some()));
    }

    #[test]
    fn names_do_not_command_the_terminal() {
        assert_eq!(harmless("ROLE\nü\u{1b}[2J\u{9b}x\t1\n"), "ROLE\nü\\u{1b}[2J\\u{9b}x\t1\n");
    }
}
