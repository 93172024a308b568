//! `cargo xtask package`: Debian packages of the program.
//!
//! `proffer` has the program, units, configuration, completions and manual pages. `proffer-mesos` only has links under the
//! names of Mesos' programs, so that nobody gets these who has Mesos beside.

#[cfg(test)]
mod tests;

use crate::run::{Failure, cargo, output, program, run};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

const MAINTAINER: &str = "The Proffer authors <proffer@localhost>";
/// Names under which the program behaves as that of Mesos.
const NAMES: [&str; 5] =
    ["mesos-master", "mesos-agent", "mesos-slave", "mesos-local", "mesos-execute"];
const SHELLS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/proffer"),
    ("zsh", "usr/share/zsh/vendor-completions/_proffer"),
    ("fish", "usr/share/fish/vendor_completions.d/proffer.fish"),
];

/// What is packed.
#[derive(Debug)]
struct Options {
    /// The program; None: it is built.
    binary: Option<PathBuf>,
    /// Where packages are put.
    out: PathBuf,
    /// How they are compressed, as `dpkg-deb -Z` has it.
    compression: &'static str,
}

/// `--binary=PATH`, `--out=DIRECTORY`, `--fast`.
pub(crate) fn package(arguments: &[&str]) -> Result<(), Failure> {
    let mut options = Options { binary: None, out: "target/package".into(), compression: "xz" };
    for argument in arguments {
        match argument.split_once('=') {
            Some(("--binary", path)) => options.binary = Some(path.into()),
            Some(("--out", path)) => options.out = path.into(),
            None if *argument == "--fast" => options.compression = "gzip",
            _ => {
                let text = "expected --binary=PATH, --out=DIRECTORY or --fast";
                return Err(Failure::new(format!("{text}, got '{argument}'")));
            }
        }
    }
    for package in make(&root()?, &options)? {
        println!("{}", package.display());
    }
    Ok(())
}

/// The root of the repository.
fn root() -> Result<PathBuf, Failure> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Path::to_owned).ok_or_else(|| Failure::new("xtask is nowhere"))
}

fn make(root: &Path, options: &Options) -> Result<Vec<PathBuf>, Failure> {
    let architecture = output(program("dpkg", &["--print-architecture"])).map_err(|e| {
        Failure::new(format!("{e}\n(Debian packages are made where dpkg is: apt-get install dpkg)"))
    })?;
    let architecture = architecture.trim();
    let binary = match &options.binary {
        Some(path) => path.clone(),
        None => {
            run(cargo(&["build", "--release", "--locked", "--package", "proffer"]))?;
            root.join("target/release/proffer")
        }
    };
    let version = version(root);
    fs::create_dir_all(&options.out)?;
    let stage = options.out.join("stage");
    let mut made = Vec::new();
    for (name, fill) in [
        ("proffer", proffer as fn(&Path, &Path, &Path, &Control<'_>) -> Result<(), Failure>),
        ("proffer-mesos", names),
    ] {
        let _ = fs::remove_dir_all(&stage);
        let control = Control { name, version: &version, architecture };
        fill(root, &stage, &binary, &control)?;
        let package = options.out.join(format!("{name}_{version}_{architecture}.deb"));
        let compression = format!("-Z{}", options.compression);
        let mut build = program("dpkg-deb", &["--root-owner-group", &compression, "--build"]);
        build.arg(&stage).arg(&package);
        output(build)?;
        made.push(package);
    }
    fs::remove_dir_all(&stage)?;
    Ok(made)
}

/// That of the crates, and how many commits there are: each is newer than those before.
fn version(root: &Path) -> String {
    let mut count = program("git", &["rev-list", "--count", "HEAD"]);
    count.current_dir(root);
    match output(count) {
        Ok(count) => format!("{}+{}", env!("CARGO_PKG_VERSION"), count.trim()),
        Err(_) => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

struct Control<'a> {
    name: &'a str,
    version: &'a str,
    architecture: &'a str,
}

impl Control<'_> {
    fn write(&self, stage: &Path, relations: &str, description: &str) -> Result<(), Failure> {
        let Self { name, version, architecture } = self;
        let text = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
             Section: admin\nPriority: optional\n{relations}Description: {description}\n"
        );
        put(stage, "DEBIAN/control", &text, 0o644)
    }
}

fn put(stage: &Path, path: &str, text: &str, mode: u32) -> Result<(), Failure> {
    let path = stage.join(path);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// All files below a directory, as paths from there.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = PathBuf::from(entry.file_name());
        if entry.path().is_dir() {
            all.extend(files(&entry.path())?.into_iter().map(|path| name.join(path)));
        } else {
            all.push(name);
        }
    }
    Ok(all)
}

/// Puts all files below a directory of the repository below one of the package.
fn copy(from: &Path, stage: &Path, to: &str) -> Result<(), Failure> {
    for path in files(from)? {
        let text = fs::read_to_string(from.join(&path))?;
        put(stage, &format!("{to}/{}", path.display()), &text, 0o644)?;
    }
    Ok(())
}

fn proffer(root: &Path, stage: &Path, binary: &Path, control: &Control<'_>) -> Result<(), Failure> {
    let deploy = root.join("deploy");
    let to = stage.join("usr/bin");
    fs::create_dir_all(&to)?;
    fs::copy(binary, to.join("proffer"))
        .map_err(|e| Failure::new(format!("cannot read {}: {e}", binary.display())))?;
    fs::set_permissions(to.join("proffer"), fs::Permissions::from_mode(0o755))?;
    copy(&deploy.join("systemd"), stage, "usr/lib/systemd/system")?;
    copy(&deploy.join("debian/etc"), stage, "etc")?;
    for name in ["examples", "prometheus", "grafana"] {
        copy(&deploy.join(name), stage, &format!("usr/share/doc/proffer/{name}"))?;
    }
    let licence = "Proffer is licensed under the Apache License, Version 2.0:\n\
                   /usr/share/common-licenses/Apache-2.0\n";
    put(stage, "usr/share/doc/proffer/copyright", licence, 0o644)?;
    for (shell, path) in SHELLS {
        put(stage, path, &output(program(binary, &["completion", shell]))?, 0o644)?;
    }
    for (name, words) in [
        ("proffer", &["help"][..]),
        ("proffer-master", &["master", "--help"]),
        ("proffer-agent", &["agent", "--help"]),
    ] {
        let text = manual(name, &output(program(binary, words))?, control.version);
        let path = format!("usr/share/man/man1/{name}.1");
        put(stage, &path, &text, 0o644)?;
        output(program("gzip", &["-9n", &stage.join(&path).display().to_string()]))?;
    }
    for script in ["postinst", "prerm", "postrm"] {
        let text = fs::read_to_string(deploy.join("debian").join(script))?;
        put(stage, &format!("DEBIAN/{script}"), &text, 0o755)?;
    }
    let configuration: String = files(&deploy.join("debian/etc"))?
        .iter()
        .map(|path| format!("/etc/{}\n", path.display()))
        .collect();
    put(stage, "DEBIAN/conffiles", &configuration, 0o644)?;
    let libc = libc_version(&fs::read(binary)?);
    let relations = format!(
        "Depends: libc6 (>= {libc}), libgcc-s1, passwd\nRecommends: ca-certificates\nSuggests: prometheus, proffer-mesos\n"
    );
    control.write(
        stage,
        &relations,
        "kernel for the datacenter: master, agent and commands\n \
         Turns many machines into one pool of resources, which independent schedulers\n \
         share through offers. Speaks the public interfaces of Apache Mesos.",
    )
}

/// Links under the names of Mesos' programs.
fn names(_: &Path, stage: &Path, _: &Path, control: &Control<'_>) -> Result<(), Failure> {
    let directory = stage.join("usr/bin");
    fs::create_dir_all(&directory)?;
    for name in NAMES {
        symlink("proffer", directory.join(name))?;
    }
    let relations =
        format!("Depends: proffer (= {})\nConflicts: mesos\nReplaces: mesos\n", control.version);
    control.write(
        stage,
        &relations,
        "Proffer under the names of Mesos' programs\n \
         Links such as mesos-master and mesos-agent, for scripts that call them.",
    )
}

/// The newest version of the C library that a program names.
fn libc_version(binary: &[u8]) -> String {
    let mark = b"GLIBC_";
    let number = |bytes: &[u8]| -> Option<(u32, u32)> {
        let end = bytes.iter().position(|b| !b.is_ascii_digit() && *b != b'.')?;
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut parts = text.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    let at = binary.windows(mark.len()).enumerate().filter(|(_, window)| window == mark);
    let newest = at.filter_map(|(at, _)| number(&binary[at + mark.len()..])).max();
    let (major, minor) = newest.unwrap_or((2, 17));
    format!("{major}.{minor}")
}

/// A manual page that is the text of `--help`.
fn manual(name: &str, help: &str, version: &str) -> String {
    let text: String = help
        .lines()
        .map(|line| {
            let line = line.replace('\\', "\\e").replace('-', "\\-");
            // These begin requests.
            if line.starts_with(['.', '\'']) { format!("\\&{line}\n") } else { format!("{line}\n") }
        })
        .collect();
    let title = name.to_uppercase();
    format!(
        ".TH {title} 1 \"\" \"Proffer {version}\"\n.SH NAME\n{} \\- kernel for the datacenter\n.SH DESCRIPTION\n.nf\n{text}.fi\n",
        name.replace('-', "\\-")
    )
}
