//! Rules about the text of the repository.

use crate::run::{Failure, output, program};
use std::path::Path;

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
        if is_orphan(Path::new(file)) {
            faults.push(format!("{file}: no module names it, so that it is never compiled"));
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

/// Whether a file of a crate belongs to no module.
fn is_orphan(file: &Path) -> bool {
    let name = file.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
    let Some(directory) = file.parent() else { return false };
    let place = directory.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if matches!(name, "main" | "lib" | "build") || matches!(place, "bin" | "benches" | "examples") {
        return false;
    }
    let (name, above) = match name {
        "mod" => (place, directory.parent().unwrap_or(directory)),
        name => (name, directory),
    };
    let parents = ["mod.rs", "lib.rs", "main.rs"].map(|parent| above.join(parent));
    let declared = format!("mod {name};");
    let named =
        |parent: &Path| std::fs::read_to_string(parent).is_ok_and(|t| t.contains(&declared));
    !parents.iter().any(|p| named(p)) && !named(&above.with_extension("rs"))
}
