//! Developer tasks: `cargo xtask <task>`. `cargo xtask help` lists them.
#![forbid(unsafe_code)]

mod bench;
mod book;
mod external;
mod layers;
mod overlap;
mod package;
mod previous;
mod run;
mod tidy;
mod virtual_machine;

use run::{Failure, cargo};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <task>

  test [--skip-external]   install what tests need, then run all tests
  ci [--skip-external]     everything that continuous integration checks: format, clippy, layers, tidiness, docs, test
  test-cgroups2            tests of containers with cgroups of version 2, in a virtual machine; skipped without qemu
  package [ARGS]           Debian packages in target/package (--binary=PATH, --out=DIRECTORY, --fast: packed less)
  previous                 builds the last version that has landed, for tests of upgrades; says where it is
  book                     checks the links of the documentation and builds it in target/book by mdBook
  check-layers             crates use only what the design lets them use
  tidy                     licence, length of files, forbidden words
  sim [ARGS]               the cluster simulator (--seeds N, --seed N, --masters N, --trace); see docs/testing.md
  sim overlap [ARGS]       the study of offer overlap; draws docs/offer-overlap.svg (--think MS, --load PERCENT, --seeds N: only figures)
  bench launch [--json]    launch latency and rate of a real cluster
  bench containers         how fast containers start, alone and beside many; runc and crun beside it (--isolation LIST)
  bench allocator          allocation cycles of large clusters
  bench failover           what a new leader does to have 50,000 agents with 500,000 tasks back (--agents N, --tasks N, --json)
  bench peer [NAME…]       the workloads of the peer's benchmarks (--list, --quick, --all, --json)
  help                     this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match task(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn task(arguments: &[&str]) -> Result<(), Failure> {
    match arguments {
        ["test", rest @ ..] => test(skip_external(rest)?),
        ["ci", rest @ ..] => ci(skip_external(rest)?),
        ["test-cgroups2", rest @ ..] => virtual_machine::test(skip_external(rest)?),
        ["package", rest @ ..] => package::package(rest),
        ["previous"] => previous::show(),
        ["check-layers"] => layers::check(),
        ["book", rest @ ..] => book::book(skip_external(rest)?),
        ["tidy"] => tidy::check(),
        ["sim", "overlap", rest @ ..] => overlap::study(rest),
        ["sim", rest @ ..] => sim(rest),
        ["bench", rest @ ..] => bench::bench(rest),
        ["help" | "--help"] | [] => {
            print!("{HELP}");
            Ok(())
        }
        [unknown, ..] => {
            Err(Failure::new(format!("unknown task '{unknown}'; 'cargo xtask help' lists them")))
        }
    }
}

fn skip_external(arguments: &[&str]) -> Result<bool, Failure> {
    match arguments {
        [] => Ok(false),
        ["--skip-external"] => Ok(true),
        _ => Err(Failure::new(format!(
            "expected nothing or --skip-external, got '{}'",
            arguments.join(" ")
        ))),
    }
}

fn test(skip_external: bool) -> Result<(), Failure> {
    let mut environment = external::prepare(skip_external)?;
    environment.extend(previous::prepare(skip_external)?);
    let mut command = cargo(&["test", "--workspace", "--locked", "--lib", "--bins", "--tests"]);
    command.envs(environment);
    run::run(command)
}

fn ci(skip_external: bool) -> Result<(), Failure> {
    run::run(cargo(&["fmt", "--all", "--check"]))?;
    layers::check()?;
    tidy::check()?;
    book::book(skip_external)?;
    run::run(cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    let mut doc =
        cargo(&["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run::run(doc)?;
    test(skip_external)?;
    virtual_machine::test(skip_external)?;
    sim(&["--seeds", "100"])?;
    sim(&["--masters", "3", "--seeds", "16"])
}

fn sim(arguments: &[&str]) -> Result<(), Failure> {
    let mut command =
        cargo(&["run", "--release", "--locked", "--package", "proffer-sim", "--bin", "sim", "--"]);
    command.args(arguments);
    run::run(command)
}
