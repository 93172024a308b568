//! `proffer attach`: the terminal of a running task, in this terminal.

use super::found;
use super::remote::{self, Raw, Remote, shell_status};
use crate::operator_client::{Failure, OperatorClient};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

const EXAMPLES: &str = "\
What the task says from now on is shown here, and what is typed here is typed there. Ctrl-P Ctrl-Q leaves the task, which
runs on. The exit status is that of the task if it ends meanwhile.

Only tasks that were launched with a terminal ('container.tty_info') can be attached to; for others there is 'proffer
exec', and what they say is in 'stdout' and 'stderr' of their sandboxes.

Examples:
  proffer attach build-1                  type to a task
  proffer attach --no-stdin build-1       only look on
";

/// Time for the news of the task's end to come after the end of what it says.
const NEWS: Duration = Duration::from_secs(5);

pub(crate) fn command() -> Command {
    Command::new("attach")
        .about("Attaches this terminal to that of a running task")
        .after_help(EXAMPLES)
        .args([Arg::new("no-stdin")
            .long("no-stdin")
            .action(ArgAction::SetTrue)
            .help("Nothing that is typed here is typed there")])
        .args(found::args())
}

/// What happens first.
enum News {
    /// Nothing comes out of the task any more.
    Silence(Result<(), Failure>),
    /// Its raw exit status.
    Ended(i32),
    /// The wish to leave was typed.
    Left,
}

/// Ends the process with the task's exit status.
pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let task = remote::find(client, matches).await?;
    let types = !matches.get_flag("no-stdin");
    let ended = tokio::task::spawn_blocking(move || attach(&task, types)).await;
    let status = ended.map_err(|e| Failure::failed(e.to_string()))??;
    // Threads that read what is typed do not end by themselves.
    std::process::exit(status);
}

fn attach(task: &Remote, types: bool) -> Result<i32, Failure> {
    let call = json!({"type": "ATTACH_CONTAINER_OUTPUT",
        "attach_container_output": {"container_id": task.container}});
    let mut output = task.stream(&call)?;
    let (tell, news) = channel();
    {
        let (task, tell) = (task.clone(), tell.clone());
        std::thread::spawn(move || {
            let _ = task.exit_status().map(|status| tell.send(News::Ended(status)));
        });
    }
    let raw = types.then(Raw::begin).flatten();
    if types {
        type_to(task, &tell)?;
    }
    {
        let task = task.clone();
        std::thread::spawn(move || {
            let shown = remote::show(&mut output).map_err(|e| task.failed(&e));
            tell.send(News::Silence(shown))
        });
    }
    let end = wait(&news);
    drop(raw);
    end
}

/// Sends what is typed, and the size of this terminal.
fn type_to(task: &Remote, tell: &Sender<News>) -> Result<(), Failure> {
    let input = task.input().map_err(|e| task.failed(&e))?;
    input.follow_size(None);
    let (typing, tell) = (input.clone(), tell.clone());
    std::thread::spawn(move || {
        if typing.copy_until_left() {
            let _ = tell.send(News::Left);
        }
    });
    std::thread::spawn(move || {
        if let Some(text) = input.refusal() {
            eprint!("proffer: what is typed here goes nowhere: {text}\r\n");
        }
    });
    Ok(())
}

fn wait(news: &Receiver<News>) -> Result<i32, Failure> {
    let lost = || {
        Failure::failed(
            "nothing comes from the task any more: the agent left, or this terminal was too slow; \
             the task runs on",
        )
    };
    let mut ended = None;
    let mut is_silent = false;
    loop {
        let next = match ended.is_some() || is_silent {
            true => news.recv_timeout(NEWS),
            false => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(News::Left) => return Ok(0),
            Ok(News::Ended(status)) => ended = Some(status),
            Ok(News::Silence(shown)) => {
                shown?;
                is_silent = true;
            }
            Err(_) => return ended.map(shell_status).ok_or_else(lost),
        }
        if let (Some(status), true) = (ended, is_silent) {
            return Ok(shell_status(status));
        }
    }
}
