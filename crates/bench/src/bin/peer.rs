//! Runs the workloads of the peer's benchmarks, on one thread, and prints what they take.

use bench::{Case, Figures, Lap, Scale, Watch};
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const HELP: &str = "\
peer: the workloads of the peer's benchmarks

  NAME…          only these workloads (default: all)
  --quick        the smallest of the peer's sizes of each
  --all          all of the peer's sizes (hours)
  --only A=B,C   only sizes in which A is B or C, such as agents=10000,50000; repeat it for
                 sizes in which all hold
  --list         print names and sizes, run nothing
  --json         one line of JSON for each size

Each size is run up to five times, or for ten seconds; figures are medians of the runs, in processor time of the one
thread that does it.
";

/// Runs of each size, at most.
const RUNS: usize = 5;
/// Time after which a size is not run again.
const ENOUGH: Duration = Duration::from_secs(10);

struct Arguments {
    names: Vec<String>,
    scale: Scale,
    only: Vec<(String, String)>,
    list: bool,
    json: bool,
}

fn main() -> ExitCode {
    match arguments() {
        Ok(Some(arguments)) => run(&arguments),
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("peer: {text}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<Arguments>, String> {
    let mut arguments = Arguments {
        names: Vec::new(),
        scale: Scale::Usual,
        only: Vec::new(),
        list: false,
        json: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match &*word {
            "--quick" => arguments.scale = Scale::Quick,
            "--all" => arguments.scale = Scale::All,
            "--only" => {
                let pair = words.next().unwrap_or_default();
                let (name, value) = pair
                    .split_once('=')
                    .ok_or("--only needs a pair such as agents=10000".to_owned())?;
                arguments.only.push((name.to_owned(), value.to_owned()));
            }
            "--list" => arguments.list = true,
            "--json" => arguments.json = true,
            "--help" => return Ok(None),
            flag if flag.starts_with('-') => {
                return Err(format!("unknown argument '{flag}'; --help lists them"));
            }
            name => arguments.names.push(name.to_owned()),
        }
    }
    Ok(Some(arguments))
}

fn run(arguments: &Arguments) -> ExitCode {
    let all = bench::cases(arguments.scale);
    if let Some(unknown) = arguments.names.iter().find(|n| !all.iter().any(|c| c.name == **n)) {
        eprintln!("peer: no workload '{unknown}'; --list lists them");
        return ExitCode::FAILURE;
    }
    let has = |case: &Case, name: &str, value: &str| {
        let is_one = |of: &str| value.split(',').any(|one| one == of);
        case.size.iter().any(|(n, v)| *n == name && is_one(v))
    };
    let wanted = |case: &Case| {
        (arguments.names.is_empty() || arguments.names.iter().any(|n| n == case.name))
            && arguments.only.iter().all(|(name, value)| has(case, name, value))
    };
    for case in all.iter().filter(|case| wanted(case)) {
        if arguments.list {
            println!("{} {}", case.name, size(case));
        } else {
            measure(case, arguments.json);
        }
    }
    ExitCode::SUCCESS
}

fn size(case: &Case) -> String {
    let words: Vec<String> = case.size.iter().map(|(n, v)| format!("{n}={v}")).collect();
    words.join(" ")
}

fn measure(case: &Case, json: bool) {
    let start = Instant::now();
    let (mut runs, mut counts) = (Vec::new(), Vec::new());
    while runs.is_empty() || runs.len() < RUNS && start.elapsed() < ENOUGH {
        let mut watch = Watch::default();
        case.run(&mut watch);
        let (laps, counted) = watch.into_parts();
        runs.push(laps);
        counts = counted;
    }
    let figures = Figures::of_runs(&runs);
    if json {
        print_json(case, runs.len(), &figures, &counts);
    } else {
        print_text(case, runs.len(), &figures, &counts);
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn print_text(case: &Case, runs: usize, figures: &[(Lap, Figures)], counts: &[(&str, u64)]) {
    println!("{} {} (runs={runs})", case.name, size(case));
    for (lap, figures) in figures {
        let Figures { rounds, first, median, last, longest } = figures;
        let name = lap.what;
        let median = ms(*median);
        if lap.operations > 1 {
            let each = median * 1e3 / f64::from(u32::try_from(lap.operations).unwrap_or(u32::MAX));
            println!("  {name:<32}{median:>11.3} ms   {} times, {each:.3} us each", lap.operations);
        } else if *rounds > 1 {
            let (first, last, longest) = (ms(*first), ms(*last), ms(*longest));
            println!(
                "  {name:<32}{median:>11.3} ms   first {first:.3}, last {last:.3}, longest {longest:.3}, {rounds} rounds"
            );
        } else {
            println!("  {name:<32}{median:>11.3} ms");
        }
    }
    for (what, count) in counts {
        println!("  {what:<32}{count:>7}");
    }
}

fn print_json(case: &Case, runs: usize, figures: &[(Lap, Figures)], counts: &[(&str, u64)]) {
    let size: Map<String, Value> =
        case.size.iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect();
    let laps: Map<String, Value> = figures
        .iter()
        .map(|(lap, figures)| {
            let Figures { rounds, first, median, last, longest } = figures;
            let value = json!({
                "operations": lap.operations,
                "rounds": rounds,
                "first_ms": ms(*first),
                "median_ms": ms(*median),
                "last_ms": ms(*last),
                "longest_ms": ms(*longest),
            });
            (lap.what.to_owned(), value)
        })
        .collect();
    let counts: Map<String, Value> =
        counts.iter().map(|(what, count)| ((*what).to_owned(), json!(count))).collect();
    let line = json!({
        "workload": case.name,
        "size": size,
        "runs": runs,
        "laps": laps,
        "counts": counts,
    });
    println!("{line}");
}
