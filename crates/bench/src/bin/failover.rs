//! What a new leader has to do until all frameworks and all agents, with what they run, are back: processor time of the
//! one thread that does it.

use bench::Watch;
use serde_json::json;
use sim::failover::{Failover, Size};
use std::process::ExitCode;
use std::time::Duration;

const HELP: &str = "\
failover: the work of a new leader until everything is back

  --agents N       agents (default 50000)
  --tasks N        tasks on each agent (default 10)
  --frameworks N   frameworks, over which tasks are spread (default 100)
  --wanting N      frameworks that want offers, and keep them (default 1)
  --maintenance    all machines have a maintenance window, and no framework answers inverse offers
  --roles N        roles, over which frameworks are spread (default 10)
  --over SECONDS   time over which agents come back (default 10)
  --runs N         runs, of which the median counts (default 5)
  --json           one line of JSON

Messages are decoded and encoded as on the wire; sockets, and the registry's store, are not in it. Half of the frameworks
come before the agents, the others in the middle; those that want no offers suppress theirs.
";

/// Agents that are measured at a time: what they send is made outside of the measured time.
const CHUNK: usize = 1000;

struct Arguments {
    size: Size,
    runs: usize,
    json: bool,
}

fn main() -> ExitCode {
    match arguments() {
        Ok(Some(arguments)) => match measure(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                eprintln!("failover: {text}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("failover: {text}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<Arguments>, String> {
    let over = Duration::from_secs(10);
    let size = Size {
        agents: 50_000,
        tasks: 10,
        frameworks: 100,
        roles: 10,
        wanting: 1,
        maintenance: false,
        over,
    };
    let mut arguments = Arguments { size, runs: 5, json: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().unwrap_or_default();
            let number = value.parse::<usize>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| format!("{word}: expected a number above 0, got '{value}'"))
        };
        let size = &mut arguments.size;
        match word.as_str() {
            "--agents" => size.agents = number()?,
            "--tasks" => size.tasks = number()?,
            "--frameworks" => size.frameworks = number()?,
            "--roles" => size.roles = number()?,
            "--wanting" => size.wanting = number()?,
            "--maintenance" => size.maintenance = true,
            "--over" => size.over = Duration::from_secs(number()? as u64),
            "--runs" => arguments.runs = number()?,
            "--json" => arguments.json = true,
            "--help" => return Ok(None),
            _ => return Err(format!("unknown argument '{word}'; --help lists them")),
        }
    }
    Ok(Some(arguments))
}

/// Processor time of the parts of one run, in seconds.
#[derive(Debug, Clone, Copy)]
struct Run {
    election: f64,
    frameworks: f64,
    agents: f64,
    after: f64,
    sent: (u64, u64),
    offers: u64,
    received: u64,
}

fn run(size: Size) -> Result<Run, String> {
    let mut failover = Failover::new(size);
    let mut watch = Watch::default();
    let registry = failover.registry();
    watch.lap("election", || failover.elect(registry));
    let half = size.frameworks / 2;
    let first = failover.subscriptions(0..half);
    watch.lap("frameworks", || failover.subscribe(first));
    let mut received = 0;
    for begin in (0..size.agents).step_by(CHUNK) {
        if begin <= size.agents / 2 && size.agents / 2 < begin + CHUNK {
            let others = failover.subscriptions(half..size.frameworks);
            watch.lap("frameworks", || failover.subscribe(others));
        }
        let messages = failover.registrations(begin..size.agents.min(begin + CHUNK));
        received += messages.iter().map(|(_, message)| message.len() as u64).sum::<u64>();
        watch.lap("agents", || failover.take_back(messages));
    }
    watch.lap("after", || failover.pass(Duration::from_secs(2)));
    failover.check()?;
    let (laps, _) = watch.into_parts();
    let sum = |what: &str| {
        let laps = laps.iter().filter(|lap| lap.what == what);
        laps.flat_map(|lap| &lap.times).sum::<Duration>().as_secs_f64()
    };
    Ok(Run {
        election: sum("election"),
        frameworks: sum("frameworks"),
        agents: sum("agents"),
        after: sum("after"),
        sent: failover.sent,
        offers: failover.offers,
        received,
    })
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let size = arguments.size;
    let runs: Vec<Run> = (0..arguments.runs).map(|_| run(size)).collect::<Result<_, _>>()?;
    let median = |of: fn(&Run) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let all = |run: &Run| run.election + run.frameworks + run.agents + run.after;
    let figures = [
        ("election", median(|r| r.election)),
        ("frameworks", median(|r| r.frameworks)),
        ("agents", median(|r| r.agents)),
        ("two seconds after", median(|r| r.after)),
        ("all", median(all)),
    ];
    let Run { sent, offers, received, .. } = runs[0];
    let Size { agents, tasks, frameworks, roles, wanting, maintenance, over } = size;
    if arguments.json {
        let cpu: serde_json::Map<_, _> =
            figures.iter().map(|(name, time)| ((*name).to_owned(), json!(time))).collect();
        println!(
            "{}",
            json!({
                "agents": agents, "tasks": agents * tasks, "frameworks": frameworks, "roles": roles,
                "wanting": wanting, "maintenance": maintenance,
                "over_seconds": over.as_secs(), "runs": runs.len(), "cpu_seconds": cpu,
                "bytes_received": received, "messages_sent": sent.0, "bytes_sent": sent.1, "offers": offers,
            })
        );
        return Ok(());
    }
    println!(
        "{agents} agents, {} tasks, {frameworks} frameworks ({wanting} want offers), {roles} roles, over {} s; median of {} runs, seconds of CPU",
        agents * tasks,
        over.as_secs(),
        runs.len()
    );
    for (name, time) in figures {
        println!("  {name:<20}{time:>9.3}");
    }
    println!(
        "  received {received} bytes; sent {} messages, {} bytes, {offers} offers",
        sent.0, sent.1
    );
    Ok(())
}
