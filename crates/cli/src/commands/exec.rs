//! `proffer exec`: a command inside the container of a running task, as if it ran in this terminal.

use super::found;
use super::remote::{self, Raw, Remote, shell_status, window_size};
use crate::operator_client::{Failure, OperatorClient};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

const EXAMPLES: &str = "\
The exit status is that of the command; 128 and the signal's number when a signal ended it.

Examples:
  proffer exec web-1 -- ls -l             what is in its sandbox
  proffer exec -it web-1 sh               a shell
  echo data | proffer exec -i web-1 -- sh -c 'cat >file'
";

pub(crate) fn command() -> Command {
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).long(name).short(short).action(ArgAction::SetTrue).help(help)
    };
    Command::new("exec")
        .about("Runs a command inside the container of a running task")
        .after_help(EXAMPLES)
        .args([
            flag("interactive", 'i', "The command reads what is typed or piped here"),
            flag("tty", 't', "The command has a terminal"),
        ])
        .args(found::args())
        .args([Arg::new("command")
            .value_name("COMMAND")
            .required(true)
            .num_args(1..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .help("Program and arguments")])
}

/// Ends the process with the command's exit status.
pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let words: Vec<String> =
        matches.get_many::<String>("command").into_iter().flatten().cloned().collect();
    let task = remote::find(client, matches).await?;
    let container = json!({"value": unique()?, "parent": task.container});
    let session = Session {
        remote: Remote { container, ..task },
        is_interactive: matches.get_flag("interactive"),
        has_terminal: matches.get_flag("tty"),
    };
    let ended = tokio::task::spawn_blocking(move || session.run(&words)).await;
    let status = ended.map_err(|e| Failure::failed(e.to_string()))??;
    std::process::exit(status);
}

fn unique() -> Result<String, Failure> {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    let uuid = read.map_err(|e| Failure::failed(format!("cannot make an id: {e}")))?;
    Ok(uuid.trim().to_owned())
}

struct Session {
    remote: Remote,
    is_interactive: bool,
    has_terminal: bool,
}

impl Session {
    fn run(self, words: &[String]) -> Result<i32, Failure> {
        let remote = self.remote;
        let size = window_size().filter(|_| self.has_terminal);
        let mut launch = json!({"container_id": remote.container,
            "command": {"shell": false, "value": words[0], "arguments": words}});
        if self.has_terminal {
            let mut tty = json!({});
            if let Some((rows, columns)) = size {
                tty["window_size"] = json!({"rows": rows, "columns": columns});
            }
            launch["container"] = json!({"type": "MESOS", "tty_info": tty});
        }
        let call = json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION",
            "launch_nested_container_session": launch});
        let mut output = remote.stream(&call)?;
        let waiting = {
            let remote = remote.clone();
            std::thread::spawn(move || remote.exit_status())
        };
        let raw = (self.has_terminal && self.is_interactive).then(Raw::begin).flatten();
        let input = remote.input().map_err(|e| remote.failed(&e))?;
        if self.is_interactive {
            let input = input.clone();
            std::thread::spawn(move || input.copy());
        } else if !self.has_terminal {
            input.end();
        }
        if self.has_terminal {
            input.follow_size(size);
        }
        let shown = remote::show(&mut output);
        drop(raw);
        shown.map_err(|e| remote.failed(&e))?;
        let status = waiting.join().unwrap_or(None);
        let remove = json!({"type": "REMOVE_CONTAINER",
            "remove_container": {"container_id": remote.container}});
        let _ = remote.ask(&remove, "application/json");
        let status = status.ok_or_else(|| Failure::failed("how the command ended is not known"))?;
        Ok(shell_status(status))
    }
}
