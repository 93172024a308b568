//! `proffer top` in a terminal.

use super::commands::{done, json};
use super::task_commands::site;
use super::terminal::Terminal;
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

#[test]
fn top_shows_the_cluster_follows_it_and_leaves_the_terminal_as_it_was() {
    let mut cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let master = cluster.master();
    let mut framework = site(&cluster);
    let mut start = |id: &str, command: &str| {
        let offer = framework.offers().remove(0);
        framework.launch(&offer, &[command_task(&offer, id, command, 0.5, 64.0)]);
        framework.until_state(id, "TASK_RUNNING");
    };
    start("busy-loop", "while :; do :; done");
    start("sleeper", "exec sleep 1000");

    let seen = json(&done(&master, &["top", "--json"]));
    assert_eq!(seen["tasks"][0]["id"], "busy-loop", "the one that works comes first: {seen}");
    assert!(seen["tasks"][0]["cpus_used"].as_f64() > seen["tasks"][1]["cpus_used"].as_f64());
    assert_eq!(seen["agents"][0]["cpus"], 1.0, "{seen}");
    let out = done(&master, &["top"]);
    assert!(out.contains("TASK ") && out.contains("busy-loop") && out.contains("site"), "{out}");

    let program = env!("CARGO_BIN_EXE_proffer");
    // Whether the terminal takes lines again and shows what is typed.
    let command = format!("{program} top; echo =$?=; stty -a | grep -wo -e icanon -e echo | xargs");
    let Some(mut terminal) = Terminal::run(&command, &master) else { return };
    terminal.until("1 agent   1 framework   2 tasks");
    terminal.until("busy-loop");
    terminal.until("sleeper");
    assert!(terminal.screen.screen().alternate_screen());
    terminal.press("/leep");
    terminal.until("/leep");
    terminal.press("\r");
    terminal.until("only 'leep'; Esc shows all");
    assert!(!terminal.screen.screen().contents().contains("busy-loop"));
    terminal.press("\u{1b}");
    terminal.until("busy-loop");
    terminal.press("2");
    terminal.until("HOST");
    terminal.until("localhost");
    terminal.press("1");
    start("later", "exec sleep 1000");
    terminal.until("later");
    cluster.kill_master();
    terminal.until("no master");
    cluster.start_master();
    terminal.until(&format!("master {master}   1 agent"));
    terminal.press("q");
    terminal.until("=0=");
    terminal.until("icanon echo");
    assert!(!terminal.screen.screen().alternate_screen());

    let mut terminal = Terminal::run(&command, &master).expect("script");
    terminal.until("busy-loop");
    terminal.press("\u{3}");
    terminal.until("=0=");
    terminal.until("icanon echo");
    assert!(!terminal.screen.screen().alternate_screen());
}

/// Whether anything on the screen is in colour.
fn has_colour(terminal: &Terminal) -> bool {
    let screen = terminal.screen.screen();
    let (rows, columns) = screen.size();
    let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let mut cells = cells.filter_map(|(row, column)| screen.cell(row, column));
    cells.any(|cell| cell.fgcolor() != vt100::Color::Default)
}

#[test]
fn terminals_have_colours_and_are_asked_before_anything_is_torn_down() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let master = cluster.master();
    let options = FrameworkOptions { name: "site".to_owned(), ..FrameworkOptions::default() };
    let mut framework = Framework::subscribe(&master, &options);
    let offer = framework.offers().remove(0);
    framework.launch(&offer, &[command_task(&offer, "t", "exec sleep 1000", 0.5, 64.0)]);
    framework.until_state("t", "TASK_RUNNING");
    let program = env!("CARGO_BIN_EXE_proffer");
    let list = format!("{program} tasks; echo =$?=");
    let Some(mut terminal) = Terminal::run(&list, &master) else { return };
    terminal.until("=0=");
    terminal.until("TASK_RUNNING");
    assert!(has_colour(&terminal));
    let mut terminal = Terminal::run(&format!("NO_COLOR=1 {list}"), &master).expect("script");
    terminal.until("=0=");
    terminal.until("TASK_RUNNING");
    assert!(!has_colour(&terminal));

    let teardown = format!("{program} teardown site; echo =$?=");
    let mut terminal = Terminal::run(&teardown, &master).expect("script");
    terminal.until("with 1 task? [y/N]");
    terminal.press("\r");
    terminal.until("nothing was torn down");
    terminal.until("=1=");
    let mut terminal = Terminal::run(&teardown, &master).expect("script");
    terminal.until("with 1 task? [y/N]");
    terminal.press("y\r");
    terminal.until("Torn down: framework 'site'");
    terminal.until("=0=");
}
