//! A Prometheus server that scrapes a cluster with the rules of `deploy/`, asked what the dashboard asks.

use crate::tasks::{LIMIT, Runner, cluster, framework};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use testkit::cluster::{free_ports, temporary_directory};
use testkit::{http, wait};

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Runs `promtool`; false: it is not installed.
fn promtool(arguments: &[&str], path: &Path) -> bool {
    let Ok(out) = Command::new("promtool").args(arguments).arg(path).output() else {
        eprintln!("skipped: there is no promtool (apt-get install prometheus)");
        return false;
    };
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{}: {said}", path.display());
    true
}

/// A server that ends with the test.
struct Server {
    process: Child,
    address: String,
    directory: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    /// One that scrapes every second; None: it is not installed.
    fn start(master: &str, agent: &str) -> Option<Self> {
        let directory = temporary_directory();
        let job = |name: &str, target: &str| json!({"job_name": name, "static_configs": [{"targets": [target]}]});
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [deploy("prometheus/rules.yml").canonicalize().expect("rules")],
            "scrape_configs": [job("proffer-master", master), job("proffer-agent", agent)],
        });
        let file = directory.join("prometheus.yml");
        std::fs::write(&file, config.to_string()).expect("written");
        let address = format!("127.0.0.1:{}", free_ports(1)[0]);
        let started = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            eprintln!("skipped: there is no prometheus (apt-get install prometheus)");
            return None;
        };
        Some(Self { process, address, directory })
    }

    /// The answer to a question, without failures.
    fn ask(&self, query: &str) -> Vec<Value> {
        let path = format!("/api/v1/query?query={}", encode(query));
        let answer = http::get(&self.address, &path);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{query}: {text}");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }
}

fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric();
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// What the dashboard asks, with its variables filled in.
fn questions() -> Vec<String> {
    let text = read(&deploy("grafana/proffer.json"));
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let fill = |text: &str| text.replace("$__rate_interval", "1m").replace("$__range", "1h");
    targets.filter_map(|target| target["expr"].as_str()).map(fill).collect()
}

/// Names of metrics in a question.
fn names(question: &str) -> impl Iterator<Item = &str> {
    let words = question.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| {
        ["mesos_", "process_"].iter().any(|prefix| word.starts_with(prefix))
            && *word != "mesos_version"
    })
}

#[test]
fn prometheus_answers_what_the_dashboard_and_the_rules_ask() {
    let rules = deploy("prometheus/rules.yml");
    if !promtool(&["check", "rules"], &rules) {
        return;
    }
    promtool(&["check", "config"], &deploy("prometheus/prometheus.yml"));
    let cluster = cluster(&[]);
    let mut framework = framework(&cluster);
    let task = Runner::launch(&cluster, &mut framework, "t");
    task.runs_on();
    framework.kill_and_wait("t");
    let Some(server) = Server::start(&cluster.master(), &cluster.agent(0)) else { return };
    wait::until("both daemons are scraped", LIMIT, || {
        let mut connection = http::Connection::open(&server.address).ok()?;
        let up = connection.request("GET", "/api/v1/query?query=sum(up)", &[], b"").ok()?;
        up.text().contains("\"2\"").then_some(())
    });
    let text = read(&rules);
    let questions = questions();
    assert!(questions.len() > 40, "{}", questions.len());
    let expressions = text.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let all: Vec<&str> = questions.iter().map(String::as_str).chain(expressions).collect();
    let unknown: BTreeSet<&str> = all
        .iter()
        .flat_map(|question| names(question))
        .filter(|name| server.ask(&format!("count({name})")).is_empty())
        .collect();
    assert_eq!(unknown, BTreeSet::new(), "metrics that nobody measures");
    for question in &all {
        server.ask(question);
    }
    wait::until("two scrapes", LIMIT, || {
        let launched = server.ask("sum(increase(mesos_http_requests_total[1m]))");
        (!launched.is_empty()).then_some(())
    });
    let value = |question: &str| {
        let answer = server.ask(question);
        answer.first().and_then(|sample| sample["value"][1].as_str()).map(str::to_owned)
    };
    assert_eq!(value("sum(mesos_master_elected)").as_deref(), Some("1"));
    assert_eq!(value("mesos_master_task_launch_seconds_count").as_deref(), Some("1"));
    let killed = "sum(mesos_master_task_ends_total{state=\"task_killed\"})";
    assert_eq!(value(killed).as_deref(), Some("1"));
    let firing = "count(ALERTS{alertstate=\"firing\"})";
    assert_eq!(
        value(firing),
        None,
        "a healthy cluster raises no alarm: {:?}",
        server.ask("ALERTS")
    );
}
