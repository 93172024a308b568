//! Runs the cluster simulator over many seeds, or one.

use sim::{Options, Report, World};
use std::fmt;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const HELP: &str = "\
sim: the cluster simulator

  --seeds N    run N seeds (default 100), every tenth twice to see that a seed decides everything
  --first N    the first of them (default 1)
  --seed N     run one seed
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
    trace: bool,
}

fn arguments() -> Result<Option<Arguments>, String> {
    let mut arguments = Arguments { first: 1, seeds: 100, trace: false };
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
            "--trace" => arguments.trace = true,
            "--help" => return Ok(None),
            _ => return Err(format!("unknown argument '{word}'; --help lists them")),
        }
    }
    Ok(Some(arguments))
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
                    match World::new(Options::from_seed(seed), arguments.trace).run() {
                        Ok(report) => {
                            if let Ok(mut sums) = sums.lock() {
                                sums.add(&report);
                            }
                            let again = seed.is_multiple_of(10) && !arguments.trace;
                            if again
                                && World::new(Options::from_seed(seed), false).run().ok()
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
    println!("{} seeds from {}: {sums}, {failed} failed", arguments.seeds, arguments.first);
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
