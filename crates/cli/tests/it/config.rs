//! Flags from files, and the examples of `deploy/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::cluster::{free_ports, temporary_directory};
use testkit::{http, wait};

fn proffer(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_proffer")).args(words).output().expect("it runs")
}

#[test]
fn a_master_runs_by_its_file() {
    let directory = temporary_directory();
    let port = free_ports(1)[0];
    let file = directory.join("master.toml");
    let text = "# A master.\nip = \"127.0.0.1\"\nport = 1\nregistry = \"in_memory\"\ncluster = \"of a file\"\n";
    std::fs::write(&file, text).expect("written");
    let mut master = Command::new(env!("CARGO_BIN_EXE_proffer"))
        .args(["master", "--config"])
        .arg(&file)
        .env("PROFFER_PORT", port.to_string())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let address = format!("127.0.0.1:{port}");
    let flags = wait::until("the master answers", std::time::Duration::from_secs(30), || {
        let mut connection = http::Connection::open(&address).ok()?;
        let answer = connection.request("GET", "/flags", &[], b"").ok()?;
        (answer.status == 200).then(|| answer.json())
    });
    let _ = master.kill();
    let _ = master.wait();
    assert_eq!(flags["flags"]["cluster"], "of a file");
    assert_eq!(flags["flags"]["port"], port.to_string(), "a variable wins");
    std::fs::write(&file, "clutser = \"x\"\n").expect("written");
    let out = proffer(&["master", &format!("--config={}", file.display())]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("did you mean 'cluster'?"), "{said}");
    let _ = std::fs::remove_dir_all(directory);
}

/// All files below a directory with this end.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").flatten();
    let mut all = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            all.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            all.push(path);
        }
    }
    all
}

/// What an example says is taken by the program that it is for: the doctor finds no fault with the flags.
#[test]
fn examples_are_taken() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let examples = files(&directory, ".toml");
    assert!(examples.len() >= 8, "{examples:?}");
    for path in examples {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let role = if name.starts_with("agent") { "agent" } else { "master" };
        let out = proffer(&["doctor", role, &format!("--config={}", path.display()), "--json"]);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let answer: serde_json::Value = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{}: {e}: {text}", path.display()));
        let flags =
            answer["checks"].as_array().expect("checks").iter().find(|c| c["check"] == "flags");
        let flags = flags.expect("flags are looked at");
        assert_eq!(flags["state"], "ok", "{}: {}", path.display(), flags["found"]);
    }
}
