//! What the documentation says is so.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn page(name: &str) -> String {
    let made = Command::new(env!("CARGO_BIN_EXE_proffer")).args(["reference", name]).output();
    String::from_utf8(made.expect("it runs").stdout).expect("text")
}

#[test]
fn pages_made_from_the_program_are_up_to_date() {
    for name in ["master-flags", "agent-flags", "endpoints"] {
        let kept = std::fs::read_to_string(docs().join(format!("reference/{name}.md")));
        assert!(
            kept.is_ok_and(|kept| kept == page(name)),
            "docs/reference/{name}.md is not what the program says: write it anew by `cargo run -- reference {name} > \
             docs/reference/{name}.md`"
        );
    }
}

/// Commands of blocks of type `console`: each begins with a `$` and goes on to the next one.
fn commands(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            found.push(command.to_owned());
        } else if let Some(last) = found.last_mut().filter(|_| inside) {
            last.push('\n');
            last.push_str(line);
        }
    }
    found
}

/// Each `curl` of the documentation is run against a cluster with a framework `$FRAMEWORK`, whose task `$TASK` runs on
/// the agent `$AGENT`, which is at `$AGENT_ADDRESS`.
#[test]
fn examples_with_curl_work() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    framework.launch(&offer, &[command_task(&offer, "web-1", "echo hello; sleep 600", 0.1, 32.0)]);
    framework.until_state("web-1", "TASK_RUNNING");
    let rest = framework.offers().remove(0);
    framework.decline(&rest, 1000.0);
    let agents = http::get(&cluster.master(), "/slaves").json();
    let agent = agents["slaves"][0]["id"].as_str().expect("an agent").to_owned();
    let mut count = 0;
    for file in std::fs::read_dir(docs()).expect("docs").flatten() {
        let Ok(text) = std::fs::read_to_string(file.path()) else { continue };
        for command in commands(&text) {
            assert!(command.starts_with("curl "), "{command}: only curl is run");
            let script = command
                .replacen("curl ", "curl --fail-with-body --silent --show-error --max-time 30 ", 1)
                .replace("localhost:5050", &cluster.master())
                .replace("localhost:5051", &cluster.agent(0));
            let ran = Command::new("sh")
                .args(["-c", &script])
                .envs([("AGENT", &agent), ("FRAMEWORK", &framework.id)])
                .env("AGENT_ADDRESS", cluster.agent(0))
                .env("TASK", "web-1")
                .output()
                .expect("a shell");
            let said = String::from_utf8_lossy(&ran.stdout);
            let errors = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{}: {command}: {said}{errors}", file.path().display());
            count += 1;
        }
    }
    assert!(count >= 20, "only {count} examples");
}

#[test]
fn every_endpoint_that_is_listed_is_there() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    for (address, prefix) in [(cluster.master(), "/master"), (cluster.agent(0), "/slave(1)")] {
        let help = http::get(&address, "/help");
        assert_eq!(help.status, 200);
        let lines = help.text();
        let paths: Vec<&str> = lines
            .lines()
            .filter_map(|line| line.split_whitespace().last())
            .filter(|word| word.starts_with('/'))
            .collect();
        assert!(paths.len() > 10, "{lines}");
        for path in paths {
            for path in [path.to_owned(), format!("{prefix}{path}")] {
                let answer = http::get(&address, &path);
                let not_found = answer.status == 404 && answer.text() == "Not found";
                assert!(!not_found, "{path}");
            }
        }
    }
}

#[test]
fn the_registry_and_constraints_can_be_looked_at() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let registry = http::get(&cluster.master(), "/registrar(1)/registry").json();
    assert_eq!(registry["slaves"]["slaves"].as_array().map(Vec::len), Some(1));
    assert!(registry["master"]["info"]["id"].is_string());
    assert_eq!(registry["unreachable"]["slaves"], Value::Array(Vec::new()));
    let constraints = http::get(&cluster.master(), "/allocator/offer_constraints_debug").json();
    let shown = &constraints["frameworks"][&framework.id];
    assert_eq!(shown["suppressed_roles"], Value::Array(Vec::new()));
    assert!(shown["excluded_by_attribute_constraints"].is_object());
    let stats = http::get(&cluster.agent(0), "/system/stats.json").json();
    assert!(stats["avg_load_1min"].is_number() && stats["cpus_total"].is_number());
}
