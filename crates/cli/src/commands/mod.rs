//! The commands of operators: each asks the master, and answers with a table or JSON.
//!
//! A command is a file with `command()`, its words, and `run()`, which gives what is printed.

mod attach;
mod colour;
mod completion;
mod drain;
mod events;
mod exec;
mod files;
mod found;
mod ids;
mod kill;
mod known;
mod lists;
pub(crate) mod logs;
mod machines;
mod maintenance;
mod masters;
mod one;
mod overlap;
mod progress;
mod quota;
mod reference;
mod remote;
mod reserve;
mod sandbox;
mod share;
mod simulate;
mod status;
mod tasks;
mod teardown;
mod times;
mod top;
mod version;
mod volume;
mod weight;
mod why;

use crate::operator_client::{Failure, OperatorClient, master_name};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;
use std::io::Write as _;
use std::process::ExitCode;

/// Commands by what they are for, as `proffer help` shows them.
fn groups() -> Vec<(&'static str, Vec<Command>)> {
    let [agents, frameworks, offers, roles, flags] = lists::commands();
    let [ls, cat, cp] = files::commands();
    let [drain, deactivate, reactivate] = drain::commands();
    vec![
        (
            "The cluster",
            vec![
                status::command(),
                top::command(),
                agents,
                frameworks,
                roles,
                offers,
                masters::command(),
                events::command(),
                flags,
            ],
        ),
        (
            "Tasks",
            vec![
                tasks::command(),
                logs::command(),
                ls,
                cat,
                cp,
                exec::command(),
                attach::command(),
                kill::command(),
            ],
        ),
        (
            "Sharing",
            vec![
                why::command(),
                simulate::command(),
                quota::command(),
                weight::command(),
                share::command(),
                overlap::command(),
                reserve::reserve_command(),
                reserve::unreserve_command(),
                reserve::reservations_command(),
                volume::command(),
            ],
        ),
        (
            "Operations",
            vec![drain, deactivate, reactivate, maintenance::command(), teardown::command()],
        ),
        (
            "This program",
            vec![completion::command(), version::command(), ids::command(), reference::command()],
        ),
    ]
}

/// Commands whose answer is not the master's: what others wrote, or what is for programs.
const WITHOUT_JSON: [&str; 7] = ["attach", "cat", "completion", "exec", "ids", "logs", "reference"];

/// All commands.
fn all() -> Vec<Command> {
    groups().into_iter().flat_map(|(_, commands)| commands).collect()
}

async fn dispatch(
    name: &str,
    client: &OperatorClient,
    matches: &ArgMatches,
) -> Result<String, Failure> {
    match name {
        "agents" => lists::agents(client, matches).await,
        "attach" => attach::run(client, matches).await,
        "cat" => files::cat(client, matches).await,
        "completion" => completion::run(matches),
        "cp" => files::cp(client, matches).await,
        "deactivate" => drain::deactivate(client, matches).await,
        "drain" => drain::drain(client, matches).await,
        "events" => events::run(client, matches).await,
        "exec" => exec::run(client, matches).await,
        "flags" => lists::flags(client, matches).await,
        "frameworks" => lists::frameworks(client, matches).await,
        "ids" => ids::run(client, matches).await,
        "kill" => kill::run(client, matches).await,
        "logs" => logs::run(client, matches).await,
        "ls" => files::ls(client, matches).await,
        "maintenance" => maintenance::run(client, matches).await,
        "masters" => masters::run(client, matches).await,
        "offers" => lists::offers(client, matches).await,
        "overlap" => overlap::run(client, matches).await,
        "quota" => quota::run(client, matches).await,
        "reference" => reference::run(matches),
        "reactivate" => drain::reactivate(client, matches).await,
        "reservations" => reserve::reservations(client, matches).await,
        "reserve" => reserve::reserve(client, matches).await,
        "roles" => lists::roles(client, matches).await,
        "share" => share::run(client, matches).await,
        "simulate" => simulate::run(client, matches).await,
        "status" => status::run(client, matches).await,
        "tasks" => tasks::run(client, matches).await,
        "teardown" => teardown::run(client, matches).await,
        "top" => top::run(client, matches).await,
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

/// A line of the help of the program.
pub(crate) fn help_line(name: &str, about: &str) -> String {
    format!("  {name:<13}{about}\n")
}

/// Groups of commands with the lines of their help.
pub(crate) fn help() -> Vec<(&'static str, String)> {
    let line = |command: &Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        help_line(command.get_name(), &about)
    };
    let lines = |commands: Vec<Command>| -> String {
        commands.iter().filter(|c| !c.is_hide_set()).map(line).collect()
    };
    groups().into_iter().map(|(title, commands)| (title, lines(commands))).collect()
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
    if name == "version" {
        return Ok(version::run(matches));
    }
    if wants_json(matches) && WITHOUT_JSON.contains(&name) {
        return Err(Failure::usage(format!("`proffer {name}` has no JSON to print")));
    }
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
pub(crate) fn print(text: &str) -> ExitCode {
    match say(text) {
        Err(Failure::Failed(text) | Failure::Usage(text)) => fail(&text, 1),
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// What it means that something could not be written: who reads may leave early, which ends the process in peace.
fn unwritten(error: std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    Failure::failed(format!("cannot write: {error}"))
}

/// Prints a piece of an answer before the whole is there.
fn say(text: &str) -> Result<(), Failure> {
    let mut text = harmless(text);
    if colour::is_wanted() {
        text = colour::painted(&text);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(unwritten)
}

/// Tells how something goes, beside the answer.
fn note(text: &str) {
    eprintln!("proffer: {}", harmless(text));
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

/// `1 task`, `2 tasks`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
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
        let shown: String = help().into_iter().map(|(_, lines)| lines).collect();
        let hidden = |c: &Command| c.is_hide_set();
        for command in all().iter().filter(|c| !hidden(c)) {
            assert!(
                shown.contains(&format!("  {} ", command.get_name())),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn names_do_not_command_the_terminal() {
        assert_eq!(harmless("ROLE\nü\u{1b}[2J\u{9b}x\t1\n"), "ROLE\nü\\u{1b}[2J\\u{9b}x\t1\n");
    }
}
