//! Launch latency and rate of a real cluster, seen by an outside client.
//!
//! `--program PATH [--json] [--agents N] [--tasks N] [--rounds N]`

use serde_json::json;
use std::time::Instant;
use testkit::framework::{TERMINAL, amount, command_task, text};
use testkit::measure::{Arguments, Quantiles, accept_to_running, round};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

fn main() {
    let arguments = Arguments::given();
    let number = |name, default| arguments.number(name, default);
    let Some(program) = arguments.value("--program") else {
        println!("launch: skipped, `cargo xtask bench launch` runs it");
        return;
    };
    let (agents, tasks, rounds) =
        (number("--agents", 4), number("--tasks", 10_000), number("--rounds", 300));

    let latencies = latency(&program, rounds);
    let rate = rate(&program, agents, tasks);
    if arguments.has("--json") {
        println!(
            "{}",
            json!({"accept_to_running_ms": {"p50": round(latencies.at(50)), "p99": round(latencies.at(99))},
                "tasks_per_second": round(rate), "rounds": rounds, "tasks": tasks, "agents": agents})
        );
    } else {
        println!("ACCEPT to TASK_RUNNING, {rounds} command tasks one at a time:");
        println!(
            "  p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            latencies.at(50),
            latencies.at(99),
            latencies.at(100)
        );
        println!(
            "{tasks} short tasks of 0.1 cpus on {agents} agents of 4 cpus: {rate:.0} tasks per second"
        );
    }
}

fn latency(program: &str, rounds: usize) -> Quantiles {
    let cluster = Cluster::start(ClusterOptions::new(program, 1));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    Quantiles::of(accept_to_running(&mut framework, "latency", rounds, |_| {}))
}

/// Short tasks per second, as many at a time as fit.
fn rate(program: &str, agents: usize, tasks: usize) -> f64 {
    let cluster = Cluster::start(ClusterOptions::new(program, agents));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let (mut launched, mut finished) = (0, 0);
    let start = Instant::now();
    while finished < tasks {
        let (_, event) = framework.event(&["OFFERS", "UPDATE"], |_| true);
        if event["type"] == "UPDATE" {
            let status = &event["update"]["status"];
            framework.acknowledge(status);
            let state = text(&status["state"]);
            if TERMINAL.contains(&state.as_str()) {
                assert_eq!(state, "TASK_FINISHED", "{status}");
                finished += 1;
            }
            continue;
        }
        for offer in event["offers"]["offers"].as_array().into_iter().flatten() {
            let fit = (amount(offer, "cpus") / 0.1 + 1e-6).min(amount(offer, "mem") / 32.0 + 1e-6)
                as usize;
            let count = fit.min(tasks - launched);
            let infos: Vec<_> = (launched..launched + count)
                .map(|n| command_task(offer, &format!("rate-{n}"), "true", 0.1, 32.0))
                .collect();
            launched += count;
            if infos.is_empty() {
                framework.decline(offer, 60.0);
            } else {
                framework.launch(offer, &infos);
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of tasks")]
    let rate = tasks as f64 / start.elapsed().as_secs_f64();
    rate
}
