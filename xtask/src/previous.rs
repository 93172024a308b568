//! The program of the last version that has landed: tests of upgrades run it beside this one.

use crate::run::{Failure, cargo, output, program, run};
use std::path::{Path, PathBuf};

/// The commit of that version. Whoever lands a version writes its commit here.
const COMMIT: &str = include_str!("../previous");

/// Builds it, unless it is there already, and gives the environment for the tests.
pub(crate) fn prepare(skip: bool) -> Result<Option<(&'static str, PathBuf)>, Failure> {
    let commit = COMMIT.trim();
    if skip {
        eprintln!("skipped by --skip-external: upgrades from the version of commit {commit}");
        return Ok(None);
    }
    let root = std::env::current_dir()?;
    let built = root.join("target/previous").join(commit).join("proffer");
    if !built.exists() {
        let source = root.join("target/previous/source");
        if !checked_out(&source, commit)? {
            eprintln!(
                "skipped: upgrades: this clone has no commit {commit} and can't fetch it (a shallow clone?)"
            );
            return Ok(None);
        }
        build(&root.join("target/previous/build"), &source, &built)?;
        remove(&source)?;
    }
    Ok(Some(("PROFFER_TEST_PREVIOUS", built)))
}

/// Builds it and says where it is.
pub(crate) fn show() -> Result<(), Failure> {
    if let Some((name, path)) = prepare(false)? {
        println!("{name}={}", path.display());
    }
    Ok(())
}

/// The files of that commit; false where they can't be had.
fn checked_out(source: &Path, commit: &str) -> Result<bool, Failure> {
    let object = format!("{commit}^{{commit}}");
    let is_here = || output(program("git", &["cat-file", "-e", &object])).is_ok();
    if !is_here() {
        let fetch = ["fetch", "--quiet", "--depth=1", "origin", commit];
        if output(program("git", &fetch)).is_err() || !is_here() {
            return Ok(false);
        }
    }
    remove(source)?;
    let add = ["worktree", "add", "--quiet", "--force", "--detach"];
    let mut command = program("git", &add);
    command.arg(source).arg(commit);
    run(command)?;
    Ok(true)
}

fn remove(source: &Path) -> Result<(), Failure> {
    if source.exists() {
        std::fs::remove_dir_all(source)?;
    }
    run(program("git", &["worktree", "prune"]))
}

/// Builds in a directory of its own, which goes when it is done: in that of this version cargo takes crates of the one
/// for those of the other, because they have the same names and places.
fn build(directory: &Path, source: &Path, built: &Path) -> Result<(), Failure> {
    let mut command = cargo(&["build", "--locked", "--package", "proffer", "--bin", "proffer"]);
    command.current_dir(source).env("CARGO_TARGET_DIR", directory);
    run(command)?;
    if let Some(directory) = built.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let unfinished = built.with_extension("unfinished");
    std::fs::copy(directory.join("debug/proffer"), &unfinished)?;
    std::fs::rename(unfinished, built)?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
