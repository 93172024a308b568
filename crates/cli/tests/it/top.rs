//! `proffer top` in a terminal.

use super::commands::{done, json};
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

const ROWS: u16 = 30;
const COLUMNS: u16 = 120;
const PATIENCE: Duration = Duration::from_secs(60);

/// A program in a terminal of its own.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    pieces: Receiver<Vec<u8>>,
    screen: vt100::Parser,
}

impl Terminal {
    /// None: there is no `script`.
    fn run(command: &str, master: &str) -> Option<Self> {
        let mut script = Command::new("script");
        script.args(["-qec", command, "/dev/null"]).env("PROFFER_MASTER", master);
        script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().ok()?;
        let keys = child.stdin.take().expect("keys");
        let mut screen = child.stdout.take().expect("a screen");
        let (tell, pieces) = channel();
        std::thread::spawn(move || {
            let mut piece = vec![0; 65536];
            while let Ok(length @ 1..) = screen.read(&mut piece) {
                if tell.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Some(Self { child, keys, pieces, screen: vt100::Parser::new(ROWS, COLUMNS, 0) })
    }

    /// Waits until a text is on the screen.
    #[track_caller]
    fn until(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.screen.screen().contents().contains(text) {
            match self.pieces.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(piece) => self.screen.process(&piece),
                Err(error) => {
                    panic!("no {text:?} ({error}) in:\n{}", self.screen.screen().contents())
                }
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("typed");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn top_shows_the_cluster_follows_it_and_leaves_the_terminal_as_it_was() {
    let mut cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let master = cluster.master();
    let options = FrameworkOptions {
        name: "site".to_owned(),
        roles: vec!["web".to_owned()],
        failover_timeout: 600.0,
        checkpoint: true,
        ..FrameworkOptions::default()
    };
    let mut framework = Framework::subscribe(&master, &options);
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
    let command = format!(
        "stty rows {ROWS} cols {COLUMNS}; {program} top; echo =$?=; stty -a | grep -wo -e icanon -e echo | xargs"
    );
    let Some(mut terminal) = Terminal::run(&command, &master) else {
        eprintln!("skipped: there is no script (package bsdutils)");
        return;
    };
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
