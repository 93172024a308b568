//! Runs the cluster simulator over many seeds, or one.

use sim::{Options, Report, World};
use std::fmt;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const HELP: &str = "\
sim: the cluster simulator

  --seeds N    run N seeds (default 100), every tenth twice to see that a seed decides everything
  --first N    the first of them (default 1)
  --seed N     run one seed
  --masters N  with so many masters: an hour of 50 agents and 10 frameworks a seed (default 1: seeds draw smaller ones)
  --trace      print the history of that seed
";

fn main() -> ExitCode {
    match arguments() {
        Ok(Some(arguments)) => run(&arguments),
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("sim: {text}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    first: u64,
    seeds: u64,
    masters: usize,
    trace: bool,
}

fn arguments() -> Result<Option<Arguments>, String> {
    let mut arguments = Arguments { first: 1, seeds: 100, masters: 1, trace: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            value.parse::<u64>().map_err(|_| format!("{word} needs a number, got '{value}'"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--first" => arguments.first = number()?,
            "--seed" => (arguments.first, arguments.seeds) = (number()?, 1),
            "--masters" => match usize::try_from(number()?) {
                Ok(masters @ 1..=9) => arguments.masters = masters,
                _ => return Err("--masters: expected 1 to 9".to_owned()),
            },
            "--trace" => arguments.trace = true,
            "--help" => return Ok(None),
            _ => return Err(format!("unknown argument '{word}'; --help lists them")),
        }
    }
    Ok(Some(arguments))
}

fn options(arguments: &Arguments, seed: u64) -> Options {
    match arguments.masters {
        1 => Options::from_seed(seed),
        masters => Options::of_masters(seed, masters),
    }
}

fn run(arguments: &Arguments) -> ExitCode {
    let next = AtomicU64::new(arguments.first);
    let last = arguments.first + arguments.seeds;
    let failed = AtomicU64::new(0);
    let sums = Mutex::new(Sums::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    match World::new(options(arguments, seed), arguments.trace).run() {
                        Ok(report) => {
                            if let Ok(mut sums) = sums.lock() {
                                sums.add(&report);
                            }
                            let again = seed.is_multiple_of(10) && !arguments.trace;
                            if again
                                && World::new(options(arguments, seed), false).run().ok()
                                    != Some(report)
                            {
                                eprintln!("seed {seed} did something else the second time");
                                failed.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        Err(failure) => {
                            eprintln!("{failure}");
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.load(Ordering::Relaxed);
    let sums = sums.into_inner().unwrap_or_default();
    let of = if arguments.masters > 1 { sums.of_masters() } else { String::new() };
    println!("{} seeds from {}: {sums}{of}, {failed} failed", arguments.seeds, arguments.first);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What all runs did together.
#[derive(Default)]
struct Sums {
    tasks: usize,
    borrowed: usize,
    preempted: usize,
    in_executors: usize,
    recalled_beside_shares: usize,
    faults: u64,
    events: u64,
    leaderships: u64,
    registry: usize,
    longest: Duration,
}

impl Sums {
    fn add(&mut self, report: &Report) {
        self.tasks += report.tasks;
        self.borrowed += report.borrowed;
        self.preempted += report.preempted;
        self.in_executors += report.in_executors;
        self.recalled_beside_shares += usize::from(report.recalled_beside_shares);
        self.faults += report.faults;
        self.events += report.events;
        self.leaderships += report.leaderships;
        self.registry += report.registry;
        self.longest = self.longest.max(report.converged);
    }

    fn of_masters(&self) -> String {
        format!(
            ", {} leaderships, {} reads and writes of registries, converged after {} s at the latest",
            self.leaderships,
            self.registry,
            self.longest.as_secs()
        )
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} tasks ({} with what was lent, {} of them preempted; {} in executors of their framework), recalls beside shares in percent in {} seeds, {} faults, {} events",
            self.tasks,
            self.borrowed,
            self.preempted,
            self.in_executors,
            self.recalled_beside_shares,
            self.faults,
            self.events
        )
    }
}
