//! What clients that poll the whole state cost those who launch tasks: one real agent starts tasks one at a time, while a
//! process that plays agents keeps many tasks at the master, first alone, then with pollers.

#[path = "../connections/agents.rs"]
mod agents;

use agents::{Agents, Size};
use serde_json::json;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::http::Connection;
use testkit::measure::{Arguments, Quantiles, accept_to_running, memory_kib, round};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, wait};

const HELP: &str = "\
polling: what clients that poll the whole state cost those who launch tasks

  --program PATH   the proffer program
  --agents N       agents that are played (default 1563)
  --tasks N        tasks on each of them, at most 64 (default 64)
  --pollers N      clients that ask again as soon as they have an answer (default 10)
  --path PATH      what they ask for (default /state)
  --rounds N       tasks that are launched (default 1000)
  --json           one line of JSON
";
/// Longest time for anything.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments = Arguments::given();
    let path = arguments.value("--path").unwrap_or_else(|| "/state".to_owned());
    let pollers = arguments.number("--pollers", 10);
    if let Some(address) = arguments.value("--poll") {
        poll(&address, &path, pollers);
        return ExitCode::SUCCESS;
    }
    let Some(program) = arguments.value("--program") else {
        print!("{HELP}");
        return ExitCode::FAILURE;
    };
    let size =
        Size { agents: arguments.number("--agents", 1563), tasks: arguments.number("--tasks", 64) };
    let rounds = arguments.number("--rounds", 1000);
    let figures = measure(&program, size, pollers, &path, rounds);
    if arguments.has("--json") {
        println!("{figures}");
        return ExitCode::SUCCESS;
    }
    let tasks = size.agents * size.tasks;
    println!(
        "{tasks} tasks on {} agents, {pollers} pollers of {path}, {rounds} rounds",
        size.agents
    );
    for (name, figure) in figures.as_object().into_iter().flatten() {
        println!("  {name}: {figure}");
    }
    ExitCode::SUCCESS
}

fn measure(
    program: &str,
    size: Size,
    pollers: usize,
    path: &str,
    rounds: usize,
) -> serde_json::Value {
    agents::allow_files();
    let mut options = ClusterOptions::new(program, 1);
    // What a task leaves comes back in an offer of its own, and nobody waits for these.
    options.resources = "cpus:1000;mem:1000000".to_owned();
    let mut cluster = Cluster::start(options);
    let agents = Agents::start(vec![cluster.master()], size);
    let active = |cluster: &Cluster| cluster.metric(0, "master/slaves_active").unwrap_or_default();
    wait::until("all agents", LIMIT, || {
        (active(&cluster) as usize == size.agents + 1).then_some(())
    });
    let killed = Instant::now();
    cluster.kill_master_number(0);
    cluster.start_master_number(0);
    let tasks = |cluster: &Cluster| cluster.metric(0, "master/tasks_running").unwrap_or_default();
    wait::until("all agents again", LIMIT, || agents.registered_since(killed));
    wait::until("all tasks", LIMIT, || {
        (tasks(&cluster) as usize == size.agents * size.tasks
            && active(&cluster) as usize == size.agents + 1)
            .then_some(())
    });
    let address = cluster.master();
    let mut framework = Framework::subscribe(&address, &FrameworkOptions::default());
    let launch = |framework: &mut Framework, name: &str| {
        Quantiles::of(accept_to_running(framework, name, rounds, |_| {}))
    };
    let _warm = Quantiles::of(accept_to_running(&mut framework, "warm", 50, |_| {}));
    let alone = launch(&mut framework, "alone");
    let memory = |cluster: &Cluster| {
        memory_kib(cluster.master_number_pid(0).expect("it runs")).expect("it runs").0
    };
    let before = memory(&cluster);
    let polled = Pollers::start(&address, path, pollers);
    let begun = Instant::now();
    let beside = launch(&mut framework, "beside");
    let seconds = begun.elapsed().as_secs_f64();
    let after = memory(&cluster);
    let (answers, bytes) = polled.stop();
    let shown = |q: &Quantiles| json!({"p50": round(q.at(50)), "p99": round(q.at(99)), "max": round(q.at(100))});
    #[expect(clippy::cast_precision_loss, reason = "counts and bytes")]
    let rate = |n: u64| round(n as f64 / seconds);
    json!({
        "alone_ms": shown(&alone),
        "beside_pollers_ms": shown(&beside),
        "answers_per_second": rate(answers),
        "mib_per_answer": round(bytes as f64 / answers.max(1) as f64 / f64::from(1 << 20)),
        "master_mib": [before / 1024, after / 1024],
    })
}

/// Clients that ask and throw away what they get, in a process of their own that gets what nobody else wants: they
/// would be on other machines.
struct Pollers(Child);

impl Pollers {
    fn start(address: &str, path: &str, count: usize) -> Self {
        let program = std::env::current_exe().expect("this program");
        let count = count.to_string();
        let words = ["--poll", address, "--path", path, "--pollers", &count];
        // Of util-linux; what it starts gives way to everybody at once, where a high `nice` keeps a core for milliseconds.
        let mut child = Command::new("chrt");
        child
            .args(["--idle", "0"])
            .arg(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Self(child.spawn().expect("it starts"))
    }

    /// How many answers came, and how many bytes.
    fn stop(mut self) -> (u64, u64) {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let counts = text.trim().split_once(' ');
        let counts = counts.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        counts.unwrap_or_else(|| panic!("pollers: {} '{text}'", output.status))
    }
}

/// What the process of [`Pollers`] does until its input ends.
fn poll(address: &str, path: &str, count: usize) {
    let counts: Arc<Mutex<(u64, u64)>> = Arc::default();
    for _ in 0..count {
        let (address, path, counts) = (address.to_owned(), path.to_owned(), counts.clone());
        std::thread::spawn(move || {
            loop {
                let mut bytes = 0;
                let count = |piece: Vec<u8>| bytes += piece.len() as u64;
                let answer = Connection::open(&address)
                    .and_then(|mut c| c.read("GET", &path, &[], b"", count));
                let answer = answer.expect("an answer");
                if answer.status != 200 {
                    eprintln!("{path}: status {}", answer.status);
                    std::process::exit(1);
                }
                let mut counts = counts.lock().expect("no panic");
                *counts = (counts.0 + 1, counts.1 + bytes);
            }
        });
    }
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    let (answers, bytes) = *counts.lock().expect("no panic");
    println!("{answers} {bytes}");
}
