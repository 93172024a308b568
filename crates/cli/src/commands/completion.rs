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
    let mut whole = program().subcommands(programs).subcommands([doctor(), Command::new("help")]);
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut whole, "proffer", &mut out);
    let script = String::from_utf8(out).map_err(|e| Failure::failed(e.to_string()))?;
    Ok(match shell {
        Shell::Zsh => in_zsh(&script),
        Shell::Fish => format!("{script}{}", in_fish()),
        _ => format!("{script}{}", in_bash()),
    })
}

fn doctor() -> Command {
    let program = Arg::new("program").value_parser(["master", "agent"]);
    Command::new("doctor").about("Checks whether this host has what it needs").arg(program)
}

/// What the words of commands name, for `proffer ids`.
const NAMED: [(&str, &[&str]); 4] = [
    ("tasks", &["tasks", "logs", "ls", "cat", "exec", "attach", "kill"]),
    ("agents", &["agents", "drain", "deactivate", "reactivate", "reserve", "unreserve"]),
    ("frameworks", &["frameworks", "teardown"]),
    ("roles", &["roles"]),
];
/// What the values of flags name.
const FLAGS: [(&str, &str); 3] =
    [("framework", "frameworks"), ("agent", "agents"), ("role", "roles")];

/// Names are taken one by one: bash would carry out commands in a list of words.
fn in_bash() -> String {
    let line = |words: &str, kind: &str| format!("        {words}) kind={kind} ;;\n");
    let flags: String = FLAGS.map(|(flag, kind)| line(&format!("--{flag}"), kind)).concat();
    let named: String = NAMED.map(|(kind, commands)| line(&commands.join("|"), kind)).concat();
    format!(
        "
_proffer_named() {{
    local word=\"${{COMP_WORDS[COMP_CWORD]}}\" before=\"${{COMP_WORDS[COMP_CWORD-1]}}\" kind=\"\" name
    _proffer \"$@\"
    [[ $word == -* || $COMP_CWORD -lt 2 ]] && return 0
    case \"$before\" in
{flags}        --*) ;;
        *) case \"${{COMP_WORDS[1]}}\" in
{named}        esac ;;
    esac
    [[ -n $kind ]] || return 0
    while IFS= read -r name; do
        COMPREPLY+=(\"$name\")
    done < <(\"${{COMP_WORDS[0]}}\" ids \"$kind\" \"$word\" 2>/dev/null)
}}
complete -F _proffer_named -o bashdefault -o default proffer
"
    )
}

fn in_fish() -> String {
    let ids = |kind: &str| format!("-f -a '(proffer ids {kind} (commandline -ct) 2>/dev/null)'\n");
    let flags = FLAGS.map(|(flag, kind)| format!("complete -c proffer -l {flag} -r {}", ids(kind)));
    let named = NAMED.map(|(kind, commands)| {
        let commands = commands.join(" ");
        format!("complete -c proffer -n '__fish_seen_subcommand_from {commands}' {}", ids(kind))
    });
    format!("{}{}", flags.concat(), named.concat())
}

/// The script says of each word how it is completed: those that name something get a function for it.
fn in_zsh(script: &str) -> String {
    let words = [("task", "tasks"), FLAGS[0], FLAGS[1], FLAGS[2]];
    let kind_of = |line: &str| {
        let line = line.trim_start().trim_start_matches('\'');
        let (known, end): (&[_], _) = match line.strip_prefix("--") {
            Some(_) => (&FLAGS, "=["),
            None => (&words, " --"),
        };
        let line = line.trim_start_matches("--").trim_start_matches(':');
        let is = |name: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(end));
        known.iter().find(|(name, _)| is(name)).map(|(_, kind)| *kind)
    };
    let functions: String = words
        .iter()
        .map(|(_, kind)| format!("_proffer_{kind}() {{ _proffer_ids {kind} }}\n"))
        .collect();
    let ids = "_proffer_ids() {\n    local -a names\n    \
               names=(${(f)\"$(proffer ids $1 \"$PREFIX\" 2>/dev/null)\"})\n    compadd -a names\n}\n";
    let mut out = String::with_capacity(script.len() + 1000);
    for (number, line) in script.lines().enumerate() {
        match (line.strip_suffix(":_default' \\"), kind_of(line)) {
            (Some(start), Some(kind)) => out.push_str(&format!("{start}:_proffer_{kind}' \\\n")),
            _ => out.push_str(&format!("{line}\n")),
        }
        // The first line says what the file is for.
        if number == 0 {
            out.push_str(&format!("\n{ids}{functions}"));
        }
    }
    out
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
