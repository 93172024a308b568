//! `proffer completion`: what a shell needs to complete words.

use super::program;
use crate::flags::{AGENT, Kind, LOCAL, MASTER, RUN, Table};
use crate::operator_client::Failure;
use clap::{Arg, ArgAction, ArgMatches, Command};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  source <(proffer completion bash)
  proffer completion zsh > ~/.zfunc/_proffer
  proffer completion fish > ~/.config/fish/completions/proffer.fish
";

pub(crate) fn command() -> Command {
    let shell =
        Arg::new("shell").required(true).value_parser(["bash", "zsh", "fish"]).help("The shell");
    Command::new("completion")
        .about("Prints what a shell needs to complete words")
        .after_help(EXAMPLES)
        .arg(shell)
}

pub(crate) fn run(matches: &ArgMatches) -> Result<String, Failure> {
    let shell = matches.get_one::<String>("shell").map_or("", String::as_str);
    let shell: Shell = shell.parse().map_err(Failure::Usage)?;
    let programs = [("local", &LOCAL), ("master", &MASTER), ("agent", &AGENT), ("run", &RUN)];
    let programs = programs.map(|(name, table)| of_table(name, table));
    let plain = ["version", "help"].map(Command::new);
    let mut whole = program().subcommands(programs).subcommands(plain);
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut whole, "proffer", &mut out);
    String::from_utf8(out).map_err(|e| Failure::failed(e.to_string()))
}

fn of_table(name: &'static str, table: &'static Table) -> Command {
    // `--master` is there for all commands.
    let rows = table.rows().filter(|row| !matches!(row.name, "help" | "master"));
    let args = rows.map(|row| {
        let arg = Arg::new(row.name).long(row.name).help(row.help);
        if row.kind == Kind::Bool { arg.action(ArgAction::SetTrue) } else { arg }
    });
    Command::new(name).about(table.about).args(args)
}
