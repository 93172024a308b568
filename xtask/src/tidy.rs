//! Rules about the text of the repository.

use crate::run::{Failure, output, program};

/// Longest Rust file without a reason given in [`LONG`].
const LINES_MAX: usize = 900;

/// Files that may be longer, with the reason.
const LONG: &[(&str, &str)] = &[];

pub(crate) fn check() -> Result<(), Failure> {
    let files =
        output(program("git", &["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    let mut faults = Vec::new();
    for file in files.lines().filter(|f| f.ends_with(".rs")) {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        let lines = text.lines().count();
        if lines > LINES_MAX && !LONG.iter().any(|(name, _)| *name == file) {
            faults.push(format!("{file}: {lines} lines; split it by concept"));
        }
        if !text.starts_with("//!") && (file.ends_with("/lib.rs") || file.ends_with("/main.rs")) {
            faults.push(format!("{file}: must begin with what the crate is (//!)"));
        }
        for (number, line) in
            text.lines().enumerate().filter(|_| !file.starts_with("xtask/src/tidy"))
        {
            for word in ["todo!(", "unimplemented!(", "TODO", "FIXME", "#[ignore"] {
                if line.contains(word) {
                    faults.push(format!("{file}:{}: {word} is not left behind", number + 1));
                }
            }
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("not tidy:\n  {}", faults.join("\n  "))))
}
