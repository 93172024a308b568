//! The documentation as a book: every page is in its table of contents, every link leads somewhere, and mdBook builds it.

use crate::run::{Failure, program, run};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Version of mdBook.
const MDBOOK: &str = "0.5.4";
const PAGES: &str = "docs";
const CONTENTS: &str = "docs/SUMMARY.md";

/// Checks the pages and builds the book in `target/book`.
pub(crate) fn book(skip_external: bool) -> Result<(), Failure> {
    check()?;
    if skip_external {
        eprintln!("skipped by --skip-external: building the book by mdBook");
        return Ok(());
    }
    let directory = std::env::current_dir()?.join("target/external/mdbook");
    let mdbook = directory.join(format!("{MDBOOK}/bin/mdbook"));
    if !mdbook.is_file() {
        let root = directory.join(MDBOOK);
        let mut install =
            crate::run::cargo(&["install", "--locked", "--quiet", "--no-default-features"]);
        install.args(["--features", "search", "--version", MDBOOK, "mdbook", "--root"]).arg(root);
        run(install)?;
    }
    run(program(&mdbook, &["build"]))
}

/// Every page is in the table of contents, and every link leads to a file and a heading.
pub(crate) fn check() -> Result<(), Failure> {
    let mut pages = vec![PathBuf::from("README.md")];
    find(Path::new(PAGES), &mut pages)?;
    let contents = std::fs::read_to_string(CONTENTS)?;
    let listed: BTreeSet<PathBuf> =
        links(&contents).map(|link| Path::new(PAGES).join(link.target)).collect();
    let mut faults = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page)?;
        if page.starts_with(PAGES) && page != Path::new(CONTENTS) && !listed.contains(page) {
            faults.push(format!("{}: is not in {CONTENTS}", page.display()));
        }
        for link in links(&text) {
            if let Err(why) = follow(page, &text, &link) {
                faults.push(format!("{}:{}: {why}", page.display(), link.line));
            }
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("the documentation:\n  {}", faults.join("\n  "))))
}

fn find(directory: &Path, pages: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, pages)?;
        } else if path.extension().is_some_and(|kind| kind == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

struct Link<'a> {
    line: usize,
    target: &'a str,
}

/// Lines outside of blocks of code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((number + 1, line))
    })
}

/// Links and pictures to places that are not on the network.
fn links(text: &str) -> impl Iterator<Item = Link<'_>> {
    prose(text).flat_map(|(line, text)| {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.filter(|target| !target.contains("://")).map(move |target| Link { line, target })
    })
}

fn follow(page: &Path, text: &str, link: &Link<'_>) -> Result<(), String> {
    let (file, heading) = match link.target.split_once('#') {
        Some((file, heading)) => (file, Some(heading)),
        None => (link.target, None),
    };
    let target = plain(&page.parent().unwrap_or(Path::new("")).join(file));
    if page.starts_with(PAGES) && !target.starts_with(PAGES) && !file.is_empty() {
        return Err(format!("{} leads out of the book", link.target));
    }
    if !file.is_empty() && !target.exists() {
        return Err(format!("{}: there is no {}", link.target, target.display()));
    }
    let Some(heading) = heading else { return Ok(()) };
    let other;
    let text = if file.is_empty() {
        text
    } else {
        other = std::fs::read_to_string(&target).map_err(|e| format!("{}: {e}", link.target))?;
        &other
    };
    let found = prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .any(|(_, line)| anchor(line.trim_start_matches('#').trim()) == heading);
    if found { Ok(()) } else { Err(format!("{}: there is no such heading", link.target)) }
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// What a heading is reached by.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}
