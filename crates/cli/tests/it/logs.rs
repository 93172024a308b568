//! What is logged: nothing while nothing happens, lines of JSON, more of a module while somebody asks for it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::cluster::{free_ports, temporary_directory};
use testkit::{Framework, FrameworkOptions, http, wait};

const LIMIT: Duration = Duration::from_secs(60);
/// Time in which an idle cluster is watched.
const IDLE: Duration = Duration::from_secs(20);

/// A master and an agent that log to files.
struct Logged {
    directory: PathBuf,
    ports: Vec<u16>,
    processes: Vec<Child>,
}

impl Drop for Logged {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Logged {
    fn start(flags: &[&str]) -> Self {
        let (directory, ports) = (temporary_directory(), free_ports(2));
        let path = |name: &str| directory.join(name).display().to_string();
        let run = |words: &[String]| {
            let program = Command::new(env!("CARGO_BIN_EXE_proffer"))
                .args(words)
                .args(flags)
                .arg(format!("--log_dir={}", path("logs")))
                .arg("--ip=127.0.0.1")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            program.expect("it starts")
        };
        let master = run(&[
            "master".to_owned(),
            format!("--port={}", ports[0]),
            format!("--work_dir={}", path("master")),
        ]);
        let agent = run(&[
            "agent".to_owned(),
            format!("--port={}", ports[1]),
            format!("--master=127.0.0.1:{}", ports[0]),
            format!("--work_dir={}", path("agent")),
            format!("--runtime_dir={}", path("run")),
            format!("--fetcher_cache_dir={}", path("fetch")),
            "--resources=cpus:2;mem:1024;disk:1024".to_owned(),
            "--launcher=posix".to_owned(),
        ]);
        let cluster = Self { directory, ports, processes: vec![master, agent] };
        wait::until("the agent is registered", LIMIT, || {
            let mut connection = http::Connection::open(&cluster.address(0)).ok()?;
            let answer = connection.request("GET", "/metrics/snapshot", &[], b"").ok()?;
            (answer.json()["master/slaves_active"] == 1).then_some(())
        });
        cluster
    }

    fn address(&self, daemon: usize) -> String {
        format!("127.0.0.1:{}", self.ports[daemon])
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join("logs").join(name)
    }
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn an_idle_cluster_logs_nothing() {
    let cluster = Logged::start(&[]);
    let options = FrameworkOptions::default();
    let mut framework = Framework::subscribe(&cluster.address(0), &options);
    let offers = framework.offers();
    let before = ["master.log", "agent.log"].map(|name| lines(&cluster.log(name)));
    assert!(before.iter().all(|lines| !lines.is_empty()), "{before:?}");
    // Pings, heartbeats, cycles, scrapes: all that goes on by itself.
    std::thread::sleep(IDLE);
    let _ = http::get(&cluster.address(0), "/metrics");
    let after = ["master.log", "agent.log"].map(|name| lines(&cluster.log(name)));
    let new: Vec<&String> =
        before.iter().zip(&after).flat_map(|(before, after)| &after[before.len()..]).collect();
    assert_eq!(new, Vec::<&String>::new());
    drop((offers, framework));
}

#[test]
fn lines_can_be_json_and_tell_more_of_a_module_for_a_while() {
    let cluster = Logged::start(&["--log_format=json"]);
    let objects = |name: &str| -> Vec<Value> {
        let parse =
            |line: &String| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        lines(&cluster.log(name)).iter().map(parse).collect()
    };
    for (name, said) in [("master.log", "master started"), ("agent.log", "agent started")] {
        let all = objects(name);
        let line = all.iter().find(|line| line["message"] == said).expect("the first line");
        assert_eq!(line["level"], "INFO", "{line}");
        assert!(line["timestamp"].is_string() && line["address"].is_string(), "{line}");
    }
    let toggle = |query: &str| http::get(&cluster.address(0), &format!("/logging/toggle{query}"));
    let debug = || objects("master.log").iter().filter(|line| line["level"] == "DEBUG").count();
    assert_eq!((toggle("").text().as_str(), debug()), ("0\n", 0));
    assert_eq!(toggle("?filter=http_api%3Dnonsense&duration=1mins").status, 400);
    assert_eq!(toggle("?filter=http_api%3Ddebug&duration=1mins").status, 200);
    assert_eq!(toggle("").text(), "0\nfilter=http_api=debug\n");
    wait::until("requests are told of", LIMIT, || {
        let _ = http::get(&cluster.address(0), "/health");
        let lines = objects("master.log");
        lines.iter().any(|line| line["path"] == "/health" && line["status"] == 200).then_some(())
    });
    let others = objects("master.log");
    let others = others.iter().filter(|line| line["level"] == "DEBUG");
    let others: Vec<&Value> = others
        .filter(|line| !line["target"].as_str().is_some_and(|t| t.starts_with("http_api")))
        .collect();
    assert_eq!(others, Vec::<&Value>::new(), "other modules say no more than before");
    assert_eq!(toggle("?filter=http_api%3Ddebug&duration=1secs").status, 200);
    wait::until("the time is over", LIMIT, || (toggle("").text() == "0\n").then_some(()));
    // The file that is shown is the one that is written.
    let shown = http::get(&cluster.address(0), "/files/read?path=/master/log&offset=0&length=100");
    assert!(shown.text().contains("timestamp"), "{}", shown.text());
}

#[test]
fn files_of_logs_are_rotated() {
    let cluster = Logged::start(&["--log_max_size=2KB", "--log_max_files=2"]);
    let toggle = "/logging/toggle?filter=http_api%3Ddebug&duration=10mins";
    assert_eq!(http::get(&cluster.address(0), toggle).status, 200);
    wait::until("the log was full twice", LIMIT, || {
        (0..20).for_each(|_| drop(http::get(&cluster.address(0), "/health")));
        cluster.log("master.log.2").exists().then_some(())
    });
    let size = |name: &str| std::fs::metadata(cluster.log(name)).map_or(0, |file| file.len());
    assert!(size("master.log") <= 2048 && size("master.log.1") <= 2048);
    assert!(!cluster.log("master.log.3").exists());
}
