//! Packages are made of the program that the workspace's tests have built, and installed into a directory.

use super::*;
use std::process::Command;

/// The program, if it was built; says so if not.
fn built() -> Option<PathBuf> {
    let own = std::env::current_exe().expect("a path");
    let program = own.parent().and_then(Path::parent).expect("a directory").join("proffer");
    let is_there = program.exists();
    if !is_there {
        eprintln!("skipped: {} was not built", program.display());
    }
    is_there.then_some(program)
}

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn has(program: &str) -> bool {
    let has = Command::new(program).arg("--version").output().is_ok();
    if !has {
        eprintln!("skipped: there is no {program}");
    }
    has
}

#[test]
fn packages_can_be_installed_and_removed() {
    let Some(binary) = built().filter(|_| has("dpkg-deb")) else { return };
    let directory =
        Directory(std::env::temp_dir().join(format!("proffer-package-{}", std::process::id())));
    let options =
        Options { binary: Some(binary), out: directory.0.join("out"), compression: "none" };
    let made = make(&root().expect("a root"), &options).expect("packages");
    assert_eq!(made.len(), 2);
    let contents = output(program("dpkg-deb", &["--contents", made[0].to_str().expect("text")]));
    let contents = contents.expect("a package");
    for path in [
        "-rwxr-xr-x root/root",
        "./usr/bin/proffer\n",
        "./usr/lib/systemd/system/proffer-agent.service\n",
        "./etc/proffer/master.toml\n",
        "./etc/default/proffer-agent\n",
        "./usr/share/man/man1/proffer-agent.1.gz\n",
        "./usr/share/bash-completion/completions/proffer\n",
        "./usr/share/doc/proffer/examples/3-masters/master1.toml\n",
    ] {
        assert!(contents.contains(path), "{path} in {contents}");
    }
    let links = output(program("dpkg-deb", &["--contents", made[1].to_str().expect("text")]));
    assert!(links.expect("a package").contains("./usr/bin/mesos-agent -> proffer\n"));
    verify_units(&made[0], &directory.0);
    if output(program("id", &["-u"])).expect("a user").trim() != "0" {
        eprintln!("skipped: packages are installed by root alone");
        return;
    }
    let root = directory.0.join("root");
    fs::create_dir_all(root.join("var/lib/dpkg")).expect("made");
    fs::write(root.join("var/lib/dpkg/status"), "").expect("written");
    let dpkg = |words: &[&str]| {
        let mut dpkg =
            program("dpkg", &["--force-depends", "--force-script-chrootless", "--force-not-root"]);
        dpkg.arg(format!("--root={}", root.display())).args(words);
        output(dpkg).unwrap_or_else(|e| panic!("{e}"))
    };
    dpkg(&["--install", made[0].to_str().expect("text"), made[1].to_str().expect("text")]);
    let said = output(program(root.join("usr/bin/mesos-master"), &["--version"])).expect("it runs");
    assert!(said.contains("proffer"), "{said}");
    assert!(root.join("var/log/proffer").is_dir());
    let config = fs::read_to_string(root.join("etc/proffer/agent.toml")).expect("configuration");
    fs::write(root.join("etc/proffer/agent.toml"), format!("{config}# mine\n")).expect("written");
    dpkg(&["--remove", "proffer-mesos", "proffer"]);
    assert!(!root.join("usr/bin/proffer").exists());
    let config = fs::read_to_string(root.join("etc/proffer/agent.toml")).expect("it is kept");
    assert!(config.ends_with("# mine\n"));
    dpkg(&["--purge", "proffer"]);
    assert!(
        !root.join("etc/proffer/agent.toml").exists() && !root.join("var/log/proffer").exists()
    );
}

/// What systemd says of the units, with the program where they expect it.
fn verify_units(package: &Path, directory: &Path) {
    if !has("systemd-analyze") {
        return;
    }
    let unpacked = directory.join("unpacked");
    let mut extract = program("dpkg-deb", &["--extract"]);
    extract.arg(package).arg(&unpacked);
    output(extract).expect("unpacked");
    for name in ["proffer-master", "proffer-agent"] {
        let path = unpacked.join(format!("usr/lib/systemd/system/{name}.service"));
        let text = fs::read_to_string(&path).expect("a unit");
        let real = format!("ExecStart={}/usr/bin/proffer", unpacked.display());
        let text = text.replace("ExecStart=/usr/bin/proffer", &real);
        // The manual is not installed here.
        let text: String = text
            .lines()
            .filter(|l| !l.starts_with("Documentation="))
            .map(|l| format!("{l}\n"))
            .collect();
        fs::write(&path, text).expect("written");
        let out =
            Command::new("systemd-analyze").arg("verify").arg(&path).output().expect("it runs");
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        let ours: Vec<&str> = said.lines().filter(|line| line.contains(name)).collect();
        assert_eq!(ours, Vec::<&str>::new(), "{said}");
    }
}

#[test]
fn the_newest_version_of_the_c_library_counts() {
    assert_eq!(libc_version(b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0"), "2.34");
    assert_eq!(libc_version(b"nothing"), "2.17");
}

#[test]
fn pages_of_the_manual_have_no_requests_of_others() {
    let page = manual("a-b", ".so x\n  --flag\\\n", "1");
    assert!(page.contains("\n\\&.so x\n  \\-\\-flag\\e\n.fi\n"), "{page}");
}
