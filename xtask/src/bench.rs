//! Benchmarks; the figures go to docs/benchmarks.md with the commit they come from.

use crate::run::{Failure, cargo, run};

pub(crate) fn bench(arguments: &[&str]) -> Result<(), Failure> {
    match arguments {
        [name @ ("launch" | "containers"), rest @ ..] => cluster("proffer-testkit", name, rest),
        [name @ ("connections" | "polling"), rest @ ..] => cluster("proffer-bench", name, rest),
        ["allocator", rest @ ..] => {
            let package = ["bench", "--locked", "--package", "proffer-allocator"];
            let mut command = cargo(&package);
            command.args(["--bench", "allocator", "--"]);
            command.args(rest);
            run(command)
        }
        [name @ ("peer" | "failover"), rest @ ..] => {
            let package = ["run", "--release", "--locked", "--package", "proffer-bench"];
            let mut command = cargo(&package);
            command.args(["--bin", name, "--"]).args(rest);
            run(command)
        }
        _ => Err(Failure::new(
            "expected 'bench launch', 'bench containers', 'bench connections', 'bench polling', 'bench allocator', 'bench failover' \
             or 'bench peer'",
        )),
    }
}

/// A benchmark of real processes.
fn cluster(package: &str, name: &str, arguments: &[&str]) -> Result<(), Failure> {
    run(cargo(&["build", "--release", "--locked", "--package", "proffer"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| "target".into(), std::path::PathBuf::from);
    let program = std::env::current_dir()?.join(target).join("release/proffer");
    let mut command = cargo(&["bench", "--locked", "--package", package, "--bench", name, "--"]);
    command.arg("--program").arg(program).args(arguments);
    run(command)
}
