//! Runs the study of offer overlap; prints one line of JSON for each point.

use allocator::Overlap;
use sim::study::{Figures, Study};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const HELP: &str = "\
overlap: what offer overlap does to conflicts, waiting, use and fairness

  --seeds N                 runs of each point, put together (default 2)
  --max_time_to_offer SECS  take offers back from those who sit on them (default 0: never)
  --think MS                only this time to decide about a job
  --load PERCENT            only this load
";

/// Where a point is: overlap, milliseconds of think time, load in percent, whether schedulers commit to newest offers.
type Point = (Overlap, u64, u64, bool);

/// What is asked for.
struct Arguments {
    seeds: u64,
    max_time_to_offer: Duration,
    /// Milliseconds.
    thinks: Vec<u64>,
    /// In percent.
    loads: Vec<u64>,
}

fn main() -> ExitCode {
    match arguments() {
        Ok(Some(arguments)) => {
            run(&arguments);
            ExitCode::SUCCESS
        }
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("overlap: {text}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Option<Arguments>, String> {
    let mut arguments = Arguments {
        seeds: 2,
        max_time_to_offer: Duration::ZERO,
        thinks: vec![0, 100, 1_000, 3_000, 10_000],
        loads: vec![50, 80, 120],
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            value.parse::<u64>().map_err(|_| format!("{word} needs a number, got '{value}'"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--max_time_to_offer" => arguments.max_time_to_offer = Duration::from_secs(number()?),
            "--think" => arguments.thinks = vec![number()?],
            "--load" => arguments.loads = vec![number()?],
            "--help" => return Ok(None),
            _ => return Err(format!("unknown argument '{word}'; --help lists them")),
        }
    }
    Ok(Some(arguments))
}

fn run(arguments: &Arguments) {
    let Arguments { seeds, max_time_to_offer, thinks, loads } = arguments;
    let overlaps = ["1", "2", "4", "all"].map(|text| text.parse().unwrap_or_default());
    let mut points: Vec<Point> = Vec::new();
    for load in loads {
        for think in thinks {
            for fresh in [false, true] {
                points.extend(overlaps.map(|overlap| (overlap, *think, *load, fresh)));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let lines: Mutex<BTreeMap<usize, String>> = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((overlap, think, load, fresh)) = points.get(at).copied() else {
                        return;
                    };
                    let runs = (1..=*seeds).map(|seed| {
                        let think = Duration::from_millis(think);
                        let load = load as f64 / 100.0;
                        let max_time_to_offer = *max_time_to_offer;
                        Study { seed, overlap, think, load, fresh, max_time_to_offer }.run()
                    });
                    let runs: Vec<Figures> = runs.collect();
                    if let Ok(mut lines) = lines.lock() {
                        lines.insert(at, line((overlap, think, load, fresh), &runs));
                    }
                }
            });
        }
    });
    for line in lines.into_inner().into_iter().flat_map(BTreeMap::into_values) {
        println!("{line}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn line((overlap, think, load, fresh): Point, runs: &[Figures]) -> String {
    let mean = |of: &dyn Fn(&Figures) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    let accepts: usize = runs.iter().map(|r| r.accepts).sum();
    let lost: usize = runs.iter().map(|r| r.lost).sum();
    let waited = |class: usize| {
        let mut all: Vec<f64> =
            runs.iter().flat_map(|r| &r.placement[class]).map(Duration::as_secs_f64).collect();
        all.sort_unstable_by(f64::total_cmp);
        let part = |percent: usize| all.get(all.len() * percent / 100).copied().unwrap_or(0.0);
        format!("{:.3},\"p99\":{:.3},\"tasks\":{}", part(50), part(99), all.len())
    };
    format!(
        "{{\"overlap\":\"{overlap}\",\"think_s\":{},\"load\":{},\"fresh\":{fresh},\"accepts\":{accepts},\"lost\":{lost},\
         \"conflict_rate\":{:.4},\"fast\":{{\"p50\":{}}},\"slow\":{{\"p50\":{}}},\
         \"utilisation\":{:.4},\"fairness\":{:.4},\"fast_part\":{:.4}}}",
        think as f64 / 1000.0,
        percent(load),
        lost as f64 / accepts.max(1) as f64,
        waited(0),
        waited(1),
        mean(&|r| r.utilisation),
        mean(&|r| r.fairness),
        mean(&|r| r.fast_part),
    )
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn percent(load: u64) -> f64 {
    load as f64 / 100.0
}
