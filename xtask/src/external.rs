//! What tests need from outside: a Python environment with the real clients.

use crate::run::{Failure, output, program, run};
use std::path::{Path, PathBuf};

/// Version of the Python packages that are tested against.
const PYMESOS: &str = "pymesos==0.3.15";
const HTTP_PARSER: &str = "http-parser==0.9.0";

/// Makes everything ready and gives the environment for the tests.
pub(crate) fn prepare(skip: bool) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    if skip {
        eprintln!(
            "skipped by --skip-external: pymesos (scheduler and executor drivers over a real cluster); \
             tests with images, Docker, networks, ZooKeeper, etcd and wrong clocks, the web UI in a browser, where docker-registry, zookeeper, etcd, faketime, chromium, busybox, openssl, \
             dockerd, ip or CNI plugins are missing"
        );
        return Ok(Vec::new());
    }
    containers()?;
    let root = std::env::current_dir()?;
    let python = python_environment(&root.join("target/external")).map_err(|e| {
        Failure::new(format!(
            "{e}\n(needed for the tests with pymesos; --skip-external leaves them out)"
        ))
    })?;
    Ok(vec![("PROFFER_TEST_PYTHON", python)])
}

fn python_environment(directory: &Path) -> Result<PathBuf, Failure> {
    let environment = directory.join("python");
    let python = environment.join("bin/python");
    let stamp = environment.join("ready");
    let wanted = format!("{PYMESOS} {HTTP_PARSER}");
    if std::fs::read_to_string(&stamp).is_ok_and(|t| t == wanted) {
        return Ok(python);
    }
    debian_packages()?;
    let _ = std::fs::remove_dir_all(directory);
    std::fs::create_dir_all(directory)?;
    run(program("python3", &["-m", "venv", path(&environment)]))?;
    let pip = |arguments: &[&str]| {
        let mut command =
            program(&python, &["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        command.args(arguments).current_dir(directory);
        // The build of http-parser calls cython of this environment.
        let old = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(environment.join("bin")).chain(std::env::split_paths(&old));
        command.env("PATH", std::env::join_paths(paths).unwrap_or(old.clone()));
        run(command)
    };
    pip(&["install", "cython<3", "setuptools<81", "wheel"])?;
    // The C file that http-parser ships was generated for Pythons before 3.10: generate it again.
    pip(&["download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", HTTP_PARSER])?;
    let archive = std::fs::read_dir(directory)?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "gz"))
        .ok_or_else(|| Failure::new("pip downloaded no archive of http-parser"))?;
    let source = directory.join("http-parser");
    std::fs::create_dir_all(&source)?;
    run(program("tar", &["-xzf", path(&archive), "-C", path(&source), "--strip-components=1"]))?;
    let _ = std::fs::remove_file(source.join("http_parser/parser.c"));
    run(program(&python, &["-m", "cython", path(&source.join("http_parser/parser.pyx"))]))?;
    pip(&["install", "--no-build-isolation", path(&source)])?;
    pip(&["install", "--no-build-isolation", PYMESOS])?;
    run(program(&python, &["-c", "import pymesos"]))?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}

/// Installs what tests with images, networks, containers of a Docker Engine, ZooKeeper, etcd, metrics and a browser need.
/// Most are for root alone, so that nobody else misses it.
fn containers() -> Result<(), Failure> {
    let missing = |(program_name, argument, _): &&(&str, &str, &str)| {
        output(program(program_name, &[argument])).is_err()
    };
    let wanted = [
        ("docker-registry", "--version", "docker-registry"),
        ("busybox", "true", "busybox-static"),
        ("openssl", "version", "openssl"),
        ("dockerd", "--version", "docker.io"),
        ("promtool", "--version", "prometheus"),
        ("ip", "-V", "iproute2"),
        ("ls", "/usr/share/java/zookeeper.jar", "zookeeper"),
        ("etcd", "--version", "etcd-server"),
        ("faketime", "--version", "faketime"),
        ("chromium", "--version", "chromium"),
        ("chromedriver", "--version", "chromium-driver"),
        ("/usr/lib/cni/bridge", "", "containernetworking-plugins"),
    ];
    let packages: Vec<&str> =
        wanted.iter().filter(missing).map(|(_, _, package)| *package).collect();
    if packages.is_empty() || output(program("id", &["-u"]))?.trim() != "0" {
        return Ok(());
    }
    install(&packages)
}

/// Installs Debian packages.
pub(crate) fn install(packages: &[&str]) -> Result<(), Failure> {
    run(program("apt-get", &["update", "-q"]))?;
    let mut install = program("apt-get", &["install", "-q", "-y", "--no-install-recommends"]);
    install.args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    run(install)
}

/// Installs what the Python environment is built with, where that is missing and we may.
fn debian_packages() -> Result<(), Failure> {
    let python = output(program(
        "python3",
        &["-c", "import venv, ensurepip, sysconfig, os; print(sysconfig.get_paths()['include'])"],
    ));
    let header = python.is_ok_and(|include| Path::new(include.trim()).join("Python.h").exists());
    let compiler = output(program("cc", &["--version"])).is_ok();
    if header && compiler {
        return Ok(());
    }
    let packages = ["python3", "python3-venv", "python3-dev", "gcc", "libc6-dev"];
    let root = output(program("id", &["-u"]))?.trim() == "0";
    if !root {
        return Err(Failure::new(format!(
            "missing Debian packages; as root: apt-get install {}",
            packages.join(" ")
        )));
    }
    install(&packages)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
