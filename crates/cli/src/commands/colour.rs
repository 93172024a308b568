//! Colours of words that say how things are, on terminals only.

use std::io::IsTerminal as _;

const GOOD: &str = "\u{1b}[32m";
const WAITS: &str = "\u{1b}[33m";
const BAD: &str = "\u{1b}[31m";
const END: &str = "\u{1b}[0m";

/// Whether what is printed goes to a terminal that shows colours and a user who wants them (see no-color.org).
pub(super) fn is_wanted() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_none_or(|term| term != "dumb")
}

fn of(word: &str) -> Option<&'static str> {
    Some(match word {
        "TASK_RUNNING" | "TASK_FINISHED" | "active" => GOOD,
        "TASK_STAGING" | "TASK_STARTING" | "TASK_KILLING" | "TASK_KILLED" | "TASK_UNREACHABLE"
        | "draining" | "drained" | "deactivated" => WAITS,
        "TASK_FAILED"
        | "TASK_ERROR"
        | "TASK_LOST"
        | "TASK_DROPPED"
        | "TASK_GONE"
        | "TASK_GONE_BY_OPERATOR"
        | "disconnected" => BAD,
        _ => return None,
    })
}

/// The same with colours.
pub(super) fn painted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c: char| c.is_whitespace()) {
        let word = piece.trim_end();
        match of(word) {
            Some(colour) => {
                out.push_str(&format!("{colour}{word}{END}{}", &piece[word.len()..]));
            }
            None => out.push_str(piece),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_are_painted_and_nothing_else_changes() {
        assert_eq!(
            painted("a  TASK_RUNNING  b\nTASK_FAILED\n"),
            "a  \u{1b}[32mTASK_RUNNING\u{1b}[0m  b\n\u{1b}[31mTASK_FAILED\u{1b}[0m\n"
        );
        for plain in ["\"TASK_RUNNING\"\n", "inactive x", "", "\n\n"] {
            assert_eq!(painted(plain), plain);
        }
    }
}
