//! What `/version` says of this build: the commit and its time, so that the same source gives the same program.

use std::path::Path;
use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // A new commit or another branch, and nothing else, makes another build.
    if let Some(directory) = git(&["rev-parse", "--absolute-git-dir"]) {
        for file in ["HEAD", "logs/HEAD"] {
            let path = Path::new(&directory).join(file);
            if path.exists() {
                println!("cargo:rerun-if-changed={}", path.display());
            }
        }
    }
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let time = given.or_else(|| git(&["show", "-s", "--format=%ct", "HEAD"]));
    let set = |name: &str, value: Option<String>| {
        println!("cargo:rustc-env=PROFFER_{name}={}", value.unwrap_or_default());
    };
    set("BUILD_TIME", time);
    set("GIT_SHA", git(&["rev-parse", "HEAD"]));
    set("GIT_BRANCH", git(&["rev-parse", "--abbrev-ref", "HEAD"]).filter(|b| b != "HEAD"));
    set("GIT_TAG", git(&["describe", "--exact-match", "--tags"]));
    set("BUILD_USER", std::env::var("USER").ok().or_else(|| std::env::var("LOGNAME").ok()));
}
