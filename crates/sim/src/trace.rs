//! The history of a run: a hash of every line, and the last lines for people.

use base::Time;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Lines kept for a failure report.
const KEPT: usize = 400;

#[derive(Debug)]
pub(crate) struct Trace {
    print: bool,
    hasher: DefaultHasher,
    lines: u64,
    last: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(print: bool) -> Self {
        Self { print, hasher: DefaultHasher::new(), lines: 0, last: VecDeque::new() }
    }

    pub(crate) fn line(&mut self, now: Time, text: &str) {
        let line = format!("{now} {text}");
        line.hash(&mut self.hasher);
        self.lines += 1;
        if self.print {
            println!("{line}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Equal for two runs that did the same.
    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    pub(crate) fn last(&self) -> impl Iterator<Item = &String> {
        self.last.iter()
    }
}
