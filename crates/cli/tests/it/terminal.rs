//! Programs in terminals, whose screens are read.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub(crate) const ROWS: u16 = 30;
pub(crate) const COLUMNS: u16 = 120;
const PATIENCE: Duration = Duration::from_secs(60);

/// A program in a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    keys: ChildStdin,
    pieces: Receiver<Vec<u8>>,
    pub(crate) screen: vt100::Parser,
}

impl Terminal {
    /// Runs a command of a shell, with a master to ask. None, and said: there is no `script`.
    pub(crate) fn run(command: &str, master: &str) -> Option<Self> {
        let mut script = Command::new("script");
        let command = format!("stty rows {ROWS} cols {COLUMNS}; {command}");
        script.args(["-qec", &command, "/dev/null"]).env("PROFFER_MASTER", master);
        script
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let Ok(mut child) = script.spawn() else {
            eprintln!("skipped: there is no script (package bsdutils)");
            return None;
        };
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
    pub(crate) fn until(&mut self, text: &str) {
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

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("typed");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
