//! The proffer program: master, agent, a local cluster, and running tasks. Started under the name of a Mesos program
//! it behaves as that program.
#![forbid(unsafe_code)]

mod commands;
mod containerizers;
mod coordination;
mod daemon;
mod doctor;
mod flags;
mod host;
mod images;
mod isolation;
mod local;
mod logging;
mod modules;
mod operator_client;
mod oversubscription;
mod run;
mod text_table;

use flags::{AGENT, EXECUTE, Flags, LOCAL, MASTER, RUN, Table};
use std::process::ExitCode;

/// Programs, for the help.
const STARTED: [(&str, &str); 4] = [
    ("local", "Starts a whole cluster in one process, for trying"),
    ("master", "Starts a master"),
    ("agent", "Starts an agent"),
    ("doctor", "Checks whether this host has what a master or an agent needs"),
];

const END: &str = "
`proffer COMMAND --help` explains a command with examples. Commands print a table, or JSON with --json. The master is
that of --master, PROFFER_MASTER, MESOS_MASTER or ~/.config/proffer/config.toml, else the one on this machine.

Started under the name mesos-master, mesos-agent, mesos-slave, mesos-local or mesos-execute it behaves as that program.
";

fn help() -> String {
    let mut out =
        "proffer: a kernel for the datacenter\n\nusage: proffer COMMAND [OPTIONS]\n".to_owned();
    for (title, lines) in commands::help() {
        let run = match title {
            "Tasks" => {
                commands::help_line("run", "Runs a command or tasks, and shows what they say")
            }
            _ => String::new(),
        };
        out.push_str(&format!("\n{title}:\n{run}{lines}"));
    }
    let started: String =
        STARTED.iter().map(|(name, about)| commands::help_line(name, about)).collect();
    out.push_str(&format!("\nOn this host:\n{started}{END}"));
    out
}

/// Commands that are not in [`commands`].
const PROGRAMS: [&str; 6] = ["local", "master", "agent", "run", "doctor", "help"];

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Master,
    Agent,
    Local,
    Run,
    Execute,
}

impl Program {
    fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "mesos-master" | "master" => Self::Master,
            "mesos-agent" | "mesos-slave" | "agent" | "slave" => Self::Agent,
            "mesos-local" | "local" => Self::Local,
            "mesos-execute" | "execute" => Self::Execute,
            "run" => Self::Run,
            _ => return None,
        })
    }

    fn table(self) -> &'static Table {
        match self {
            Self::Master => &MASTER,
            Self::Agent => &AGENT,
            Self::Local => &LOCAL,
            Self::Run => &RUN,
            Self::Execute => &EXECUTE,
        }
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args();
    let called = words.next().unwrap_or_default();
    let called = called.rsplit('/').next().unwrap_or_default().to_owned();
    if called == "mesos-fetcher" {
        // Before anything is started: it changes its user while it has one thread.
        return fetcher::main();
    }
    let mut words: Vec<String> = words.collect();
    let program = if called.starts_with("mesos-") { Program::by_name(&called) } else { None };
    let program = match program {
        Some(program) => program,
        None => match words.first().map(String::as_str) {
            None | Some("help" | "--help" | "-h") => {
                return commands::print(&help());
            }
            Some("--version" | "-V") => return version(),
            Some("doctor") => return doctor::run(&words[1..]),
            Some(name) if commands::is_command(name) => return commands::run(words),
            Some(name) => match Program::by_name(name) {
                Some(program) => {
                    words.remove(0);
                    program
                }
                None => {
                    let names = commands::names();
                    let names = names.iter().map(String::as_str).chain(PROGRAMS);
                    let meant = base::nearest(name, names);
                    let meant = meant.map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
                    return fail(&format!(
                        "unknown command '{name}'{meant} (`proffer help` lists all)"
                    ));
                }
            },
        },
    };
    match flags::parse(program.table(), &words, std::env::vars()) {
        Err(text) if matches!(program, Program::Run | Program::Execute) => run::misused(&text),
        Err(text) => fail(&text),
        Ok(flags) if flags.is_set("help") => {
            print!("{}", program.table().help());
            ExitCode::SUCCESS
        }
        Ok(flags) if flags.is_set("version") => version(),
        Ok(flags) => start(program, &flags),
    }
}

fn start(program: Program, flags: &Flags) -> ExitCode {
    for warning in &flags.warnings {
        eprintln!("warning: {warning}");
    }
    let takes_words = matches!(program, Program::Run | Program::Execute);
    if let Some(word) = flags.words.first().filter(|_| !takes_words) {
        return fail(&format!("unexpected argument '{word}'; flags begin with --"));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}")),
    };
    let result = match program {
        Program::Master => runtime.block_on(daemon::master(flags)),
        Program::Agent => runtime.block_on(daemon::agent(flags)),
        Program::Local => runtime.block_on(local::local(flags)),
        Program::Run => runtime.block_on(run::run(flags, run::Voice::Proffer)),
        Program::Execute => runtime.block_on(run::run(flags, run::Voice::Mesos)),
    };
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(code) => code,
        Err(text) => fail(&text),
    }
}

fn version() -> ExitCode {
    commands::run(vec!["version".to_owned()])
}

fn fail(text: &str) -> ExitCode {
    eprintln!("proffer: {text}");
    ExitCode::FAILURE
}
