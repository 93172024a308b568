//! `proffer top`: the cluster live, in a terminal.

mod model;
mod rows;
mod usage;
mod view;

use super::{colour, pretty, wants_json};
use crate::operator_client::{Failure, OperatorClient};
use crate::text_table::TextTable;
use clap::{Arg, ArgAction, ArgMatches, Command};
use client::Events;
use model::Model;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rows::{LISTS, List, Wish, rows};
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::Instant;
use view::View;
use wire::v1::master::call::Subscribe;

const EXAMPLES: &str = "\
Tasks are sorted by what they use, as their agents measure it. It follows the master's events, and a new leader when the
master fails. Keys: h shows them, q ends. Without a terminal, or with --once, it prints what it sees and ends.

Examples:
  proffer top
  proffer top --once | head -20
  proffer top --once --json | jq .tasks[0]
";

/// Time between two pictures, at least.
const PICTURE: Duration = Duration::from_millis(200);
/// Time between two questions about roles.
const ROLES: Duration = Duration::from_secs(3);
/// Time between two samples of one look.
const SAMPLES: Duration = Duration::from_secs(1);
/// Time between attempts to reach a master.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) fn command() -> Command {
    Command::new("top")
        .about("The cluster live: use, tasks, agents, frameworks, roles")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("once").long("once").action(ArgAction::SetTrue).help("Print it once, and end"),
        )
}

pub(crate) async fn run(client: &OperatorClient, matches: &ArgMatches) -> Result<String, Failure> {
    let failed = |e: client::ClientError| Failure::failed(e.to_string());
    let events = client.subscribe(&Subscribe::default()).await.map_err(failed)?;
    let is_seen = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if matches.get_flag("once") || wants_json(matches) || !is_seen {
        return once(client, events, wants_json(matches)).await;
    }
    let terminal = ratatui::try_init();
    let mut terminal =
        terminal.map_err(|e| Failure::failed(format!("cannot use the terminal: {e}")))?;
    let shown = follow(client, events, &mut terminal).await;
    // A panic restores it as well.
    ratatui::restore();
    shown.map(|()| String::new())
}

/// Asks the roles again and again.
fn ask_roles(client: &OperatorClient) -> Receiver<Value> {
    let (tell, answers) = channel(1);
    let client = client.clone();
    tokio::spawn(async move {
        while !tell.is_closed() {
            if let Ok(answer) = client.get("/roles").await
                && tell.send(answer).await.is_err()
            {
                return;
            }
            tokio::time::sleep(ROLES).await;
        }
    });
    answers
}

/// What is typed, and that the size of the terminal has changed.
fn read_keys() -> Receiver<Event> {
    let (tell, keys) = channel(64);
    std::thread::spawn(move || {
        while let Ok(event) = ratatui::crossterm::event::read() {
            if tell.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

async fn follow(
    client: &OperatorClient,
    events: Events,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<(), Failure> {
    let mut view = View::new(events.master().to_owned(), colour::is_wanted());
    let mut model = Model::default();
    let mut events = Some(events);
    let mut roles = ask_roles(client);
    let (asked, mut uses) = usage::measure();
    let mut keys = read_keys();
    let stop = crate::daemon::stopped();
    tokio::pin!(stop);
    let mut draw_at = Instant::now();
    // When it is looked up again which agents there are to be asked.
    let mut learn_at = draw_at;
    let mut is_stale = true;
    let mut again_at = Instant::now();
    loop {
        tokio::select! {
            event = next(&mut events), if events.is_some() => match event {
                Ok(event) => model.apply(event),
                Err(why) => {
                    view.lost = Some(why);
                    events = None;
                    again_at = Instant::now();
                }
            },
            () = tokio::time::sleep_until(again_at), if events.is_none() => {
                match client.subscribe(&Subscribe::default()).await {
                    Ok(found) => {
                        view.master = found.master().to_owned();
                        view.lost = None;
                        events = Some(found);
                    }
                    Err(error) => view.lost = Some(error.to_string()),
                }
                again_at = Instant::now() + PAUSE;
            },
            Some(answer) = roles.recv() => model.learn_roles(&answer),
            Some(answer) = uses.recv() => model.learn_use(&answer),
            key = keys.recv() => match key {
                Some(Event::Key(key)) if on_key(&mut view, key) => return Ok(()),
                Some(_) => draw_at = Instant::now(),
                None => return Ok(()),
            },
            () = tokio::time::sleep_until(draw_at), if is_stale => {
                let drawn = terminal.draw(|frame| view.draw(frame, &model));
                drawn.map_err(|e| Failure::failed(format!("cannot draw: {e}")))?;
                if learn_at <= Instant::now() {
                    asked.send_replace(model.measured());
                    learn_at = Instant::now() + SAMPLES;
                }
                draw_at = Instant::now() + PICTURE;
                is_stale = false;
                continue;
            },
            () = &mut stop => return Ok(()),
        }
        is_stale = true;
    }
}

/// The next event; Err: why there is none.
async fn next(events: &mut Option<Events>) -> Result<wire::v1::master::Event, String> {
    let Some(events) = events else { return Err("no master is followed".to_owned()) };
    match events.next().await {
        Ok(Some(event)) => Ok(event),
        Ok(None) => Err(format!("{} closed the stream", events.master())),
        Err(error) => Err(error.to_string()),
    }
}

/// What a key does; whether it ends the program.
fn on_key(view: &mut View, key: KeyEvent) -> bool {
    if key.kind == KeyEventKind::Release {
        return false;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return true;
    }
    if view.is_typing {
        match key.code {
            KeyCode::Enter => view.is_typing = false,
            KeyCode::Esc => {
                view.is_typing = false;
                view.wish.filter.clear();
            }
            KeyCode::Backspace => {
                view.wish.filter.pop();
            }
            KeyCode::Char(c) => view.wish.filter.push(c),
            _ => {}
        }
        return false;
    }
    let was_help = std::mem::take(&mut view.shows_help);
    match key.code {
        KeyCode::Char('q') => return true,
        KeyCode::Char('h' | '?') => view.shows_help = !was_help,
        KeyCode::Esc => view.wish.filter.clear(),
        KeyCode::Char('/') => view.is_typing = true,
        KeyCode::Char('s') => view.wish.sort += 1,
        KeyCode::Char('r') => view.wish.reverse = !view.wish.reverse,
        KeyCode::Char(digit @ '1'..='4') => choose(view, digit as usize - '1' as usize),
        KeyCode::Tab => choose(view, at(view.wish.list) + 1),
        KeyCode::BackTab => choose(view, at(view.wish.list) + LISTS.len() - 1),
        KeyCode::Up | KeyCode::Char('k') => view.at = view.at.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => view.at += 1,
        KeyCode::PageUp => view.at = view.at.saturating_sub(view.height),
        KeyCode::PageDown => view.at += view.height,
        KeyCode::Home => view.at = 0,
        // The picture knows how many lines there are.
        KeyCode::End => view.at = usize::MAX >> 1,
        _ => {}
    }
    false
}

fn at(list: List) -> usize {
    LISTS.iter().position(|l| *l == list).unwrap_or(0)
}

fn choose(view: &mut View, number: usize) {
    view.wish = Wish::of(LISTS[number % LISTS.len()]);
    view.at = 0;
}

/// What is seen at one time.
async fn once(
    client: &OperatorClient,
    mut events: Events,
    wants_json: bool,
) -> Result<String, Failure> {
    let mut model = Model::default();
    let first = events.next().await.map_err(|e| Failure::failed(e.to_string()))?;
    first.into_iter().for_each(|event| model.apply(event));
    model.learn_roles(&client.get("/roles").await?);
    let agents = model.measured();
    for sample in 0..2 {
        if sample > 0 && !agents.is_empty() {
            tokio::time::sleep(SAMPLES).await;
        }
        for answer in usage::sample(&agents).await {
            model.learn_use(&answer);
        }
    }
    if wants_json {
        return Ok(pretty(&as_json(&model, events.master())));
    }
    let mut out = String::new();
    for list in LISTS.iter().rev() {
        let mut table = TextTable::new(list.head().iter().copied());
        for row in rows(&model, &Wish::of(*list)) {
            table.row(row.iter().map(rows::Cell::shown));
        }
        if !table.is_empty() {
            out.push_str(&format!("{table}\n"));
        }
    }
    Ok(if out.is_empty() { "There is nothing in the cluster.\n".to_owned() } else { out })
}

fn as_json(model: &Model, master: &str) -> Value {
    let list = |list: List| -> Value {
        let one = |row: &Vec<rows::Cell>| -> Value {
            let names = list.names().iter().map(|name| (*name).to_owned());
            Value::Object(names.zip(row.iter().map(rows::Cell::json)).collect())
        };
        rows(model, &Wish::of(list)).iter().map(one).collect()
    };
    json!({
        "master": master,
        "tasks": list(List::Tasks),
        "agents": list(List::Agents),
        "frameworks": list(List::Frameworks),
        "roles": list(List::Roles),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, code: KeyCode) -> bool {
        on_key(view, KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_choose_sort_filter_and_end() {
        let mut view = View::new("m".to_owned(), false);
        press(&mut view, KeyCode::Char('2'));
        assert_eq!(view.wish.list, List::Agents);
        press(&mut view, KeyCode::BackTab);
        assert_eq!(view.wish.list, List::Tasks);
        let before = view.wish.column();
        press(&mut view, KeyCode::Char('s'));
        assert_ne!(view.wish.column(), before);
        press(&mut view, KeyCode::Char('/'));
        for c in "qx".chars() {
            assert!(!press(&mut view, KeyCode::Char(c)), "it is typed");
        }
        press(&mut view, KeyCode::Backspace);
        press(&mut view, KeyCode::Enter);
        assert_eq!(view.wish.filter, "q");
        press(&mut view, KeyCode::Esc);
        assert_eq!(view.wish.filter, "");
        press(&mut view, KeyCode::Up);
        press(&mut view, KeyCode::Down);
        assert_eq!(view.at, 1);
        assert!(press(&mut view, KeyCode::Char('q')));
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(on_key(&mut view, ctrl_c));
    }
}
