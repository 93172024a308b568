//! How soon agents are back after the leading master is killed, with real masters that replicate the registry, real
//! connections, and one process that plays all agents.

mod agents;

use agents::{Agents, Size};
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use testkit::measure::{Arguments, Quantiles, memory_kib, round};
use testkit::{Cluster, ClusterOptions, wait};

const HELP: &str = "\
connections: how soon agents are back after the leading master is killed

  --program PATH   the proffer program
  --agents N       agents, each with a connection (default 5000)
  --tasks N        tasks on each agent (default 10)
  --runs N         leaders that are killed, one after the other, and started again (default 3)
  --json           one line of JSON

Agents connect as the real one does: at once, then after pauses of 50 ms to 5 s, and send their registration again when
it is not answered within a second.
";
/// Longest time for anything.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments = Arguments::given();
    let Some(program) = arguments.value("--program") else {
        print!("{HELP}");
        return ExitCode::FAILURE;
    };
    let size =
        Size { agents: arguments.number("--agents", 5000), tasks: arguments.number("--tasks", 10) };
    let runs = arguments.number("--runs", 3);
    agents::allow_files();
    let figures = measure(&program, size, runs);
    if arguments.has("--json") {
        println!("{figures}");
        return ExitCode::SUCCESS;
    }
    println!(
        "{} agents with {} tasks each, three masters, {runs} leaders killed",
        size.agents, size.tasks
    );
    for (name, figure) in figures.as_object().into_iter().flatten() {
        println!("  {name}: {figure}");
    }
    ExitCode::SUCCESS
}

fn measure(program: &str, size: Size, runs: usize) -> serde_json::Value {
    let mut options = ClusterOptions::new(program, 0);
    let addresses = options.replicate(3);
    let mut cluster = Cluster::start(options);
    let memory = |cluster: &Cluster, master| {
        let pid = cluster.master_number_pid(master).expect("it runs");
        memory_kib(pid).expect("it runs").0
    };
    let first = cluster.leader();
    let empty = memory(&cluster, first);
    let agents_begun = Instant::now();
    let agents = Agents::start(addresses, size);
    // Agents say themselves when they are registered: to ask the master would be work for it.
    let registered =
        |since: Instant| wait::until("all agents", LIMIT, || agents.registered_since(since));
    registered(agents_begun);
    #[expect(clippy::cast_precision_loss, reason = "kilobytes, counts")]
    let per_agent =
        memory(&cluster, first).saturating_sub(empty) as f64 / size.agents.max(1) as f64;
    let mut elected = Vec::new();
    let mut back: [Vec<f64>; 4] = Default::default();
    let mut cpu = Vec::new();
    for _ in 0..runs {
        let leader = cluster.leader();
        let killed = Instant::now();
        cluster.kill_master_number(leader);
        let next = cluster.leader_besides(Some(leader));
        elected.push(millis(killed.elapsed()));
        let pid = cluster.master_number_pid(next).expect("it runs");
        let before = processor_time(pid);
        let times = registered(killed);
        for (figures, percent) in back.iter_mut().zip([0, 50, 99, 100]) {
            figures.push(millis(times[(times.len() - 1) * percent / 100]));
        }
        cpu.push(millis(processor_time(pid).saturating_sub(before)));
        // Where leadership moves once more, it is the last that counts.
        let last = cluster.leader_besides(Some(leader));
        let tasks = cluster.metric(last, "master/tasks_running").unwrap_or_default();
        assert_eq!(tasks as usize, size.agents * size.tasks, "all tasks are known");
        for master in (0..3).filter(|master| *master != last) {
            if master == leader || cluster.ended_master_number(master).is_some() {
                cluster.start_master_number(master);
            }
            wait::until("the others follow", LIMIT, || {
                cluster.metric(master, "master/elected").filter(|elected| *elected == 0.0)
            });
        }
    }
    let [first_back, half_back, most_back, all_back] = back;
    json!({
        "leader_after_ms": times(elected),
        "first_agent_after_ms": times(first_back),
        "half_of_the_agents_after_ms": times(half_back),
        "99_percent_of_the_agents_after_ms": times(most_back),
        "all_agents_after_ms": times(all_back),
        "processor_ms_of_new_leader_from_election": times(cpu),
        "kib_per_idle_agent": round(per_agent),
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn times(figures: Vec<f64>) -> serde_json::Value {
    let figures = Quantiles::of(figures);
    json!({"p50": round(figures.at(50)), "max": round(figures.at(100))})
}

/// What a process has taken so far.
fn processor_time(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}
