//! What is measured: one table for each daemon, from which come zeroes, kinds, help texts and `docs/metrics.md`.

use super::{labelled, metric};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a metric does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It grows from zero on.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How long something takes: `<name>_ms` with statistics in a snapshot, a histogram for Prometheus.
    Timer,
    /// How long something takes; only for Prometheus.
    Histogram,
}

/// A row: one metric, or several that are alike.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name in `/metrics/snapshot`; `{a,b}` stands for either, `<…>` for what users or the cluster choose.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Whether it is always there.
    pub always: bool,
    /// What it tells, and its unit.
    pub help: &'static str,
}

/// What masters and agents have alike.
pub const HOST: &[Metric] = &[
    sometimes(counter(
        "otlp/spans_{sent,dropped}",
        "Spans for `--otlp_endpoint`: sent, and dropped since they could not be.",
    )),
    gauge("system/cpus_total", "Processors of this host."),
    gauge("system/load_{1min,5min,15min}", "Load of this host."),
    gauge("system/mem_{total,free}_bytes", "Memory of this host."),
];

/// A counter.
#[must_use]
pub const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, always: true, help }
}

/// A gauge.
#[must_use]
pub const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, always: true, help }
}

/// A timer, which is there after the first time.
#[must_use]
pub const fn timer(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Timer, always: false, help }
}

/// A histogram, for Prometheus only.
#[must_use]
pub const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, always: true, help }
}

/// The same, but not always there.
#[must_use]
pub const fn sometimes(metric: Metric) -> Metric {
    Metric { always: false, ..metric }
}

/// All rows, for looking up.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Metric>,
    exact: BTreeMap<String, Metric>,
    patterns: Vec<(String, Metric)>,
}

impl Table {
    /// Of rows in the order in which documents show them.
    #[must_use]
    pub fn new(rows: &[&[Metric]]) -> Self {
        let rows: Vec<Metric> = rows.iter().copied().flatten().copied().collect();
        let (mut exact, mut patterns) = (BTreeMap::new(), Vec::new());
        for row in &rows {
            for name in alternatives(row.name) {
                if name.contains('<') {
                    patterns.push((name, *row));
                } else {
                    exact.insert(name, *row);
                }
            }
        }
        Self { rows, exact, patterns }
    }

    /// What is known of a name of a snapshot.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Metric> {
        let timer = || {
            let (stem, _) = name.split_once("_ms")?;
            self.exact.get(stem).filter(|metric| metric.kind == Kind::Timer)
        };
        let pattern = || self.patterns.iter().find(|(p, _)| fits(p, name)).map(|(_, m)| m);
        self.exact.get(name).or_else(timer).or_else(pattern)
    }

    /// Counters begin at zero.
    pub fn zeroes(&self, out: &mut Map<String, Value>) {
        let counters = self.exact.iter().filter(|(_, m)| m.kind == Kind::Counter && m.always);
        out.extend(counters.map(|(name, _)| (name.clone(), json!(0))));
    }

    /// Names of a snapshot that are always there.
    pub fn always(&self) -> impl Iterator<Item = &str> {
        let shown = |m: &Metric| m.always && m.kind != Kind::Histogram;
        self.exact.iter().filter(move |(_, m)| shown(m)).map(|(name, _)| name.as_str())
    }

    /// A table for documents.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::from(
            "| `/metrics/snapshot` | `/metrics` | kind | what it tells |\n|---|---|---|---|\n",
        );
        for row in &self.rows {
            let names = alternatives(row.name);
            let (kind, shown) = match row.kind {
                Kind::Counter => ("counter", row.name.to_owned()),
                Kind::Gauge => ("gauge", row.name.to_owned()),
                Kind::Timer => ("timer", format!("{}_ms", row.name)),
                Kind::Histogram => ("histogram", String::new()),
            };
            let first = names.first().map_or("", String::as_str);
            let series = series(first, row.kind);
            let more = if names.len() > 1 { ", …" } else { "" };
            let shown = if shown.is_empty() { "–".to_owned() } else { format!("`{shown}`") };
            let help =
                if row.always || row.kind == Kind::Timer { "" } else { " (not always there)" };
            let _ = writeln!(out, "| {shown} | `{series}`{more} | {kind} | {}{help} |", row.help);
        }
        out
    }
}

/// A name as Prometheus gets it, with the names of its labels.
fn series(name: &str, kind: Kind) -> String {
    let (pattern, labels) = labelled(name);
    let name = match kind {
        Kind::Timer | Kind::Histogram => metric(&format!("{pattern}_secs"), Kind::Gauge),
        Kind::Counter | Kind::Gauge => metric(&pattern, kind),
    };
    let labels: Vec<&str> = labels.iter().map(|(label, _)| *label).collect();
    // What is left of placeholders is a part of the name.
    let name = name.replace("__", "_");
    if labels.is_empty() { name } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// All names that a pattern with `{a,b}` stands for.
fn alternatives(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let Some((inside, after)) = rest.split_once('}') else { return vec![pattern.to_owned()] };
    let tails = alternatives(after);
    let each = inside.split(',').map(str::trim);
    each.flat_map(|one| tails.iter().map(move |tail| format!("{before}{one}{tail}"))).collect()
}

/// Whether a name is one that a pattern with `<…>` means.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('<') else { return pattern == name };
    let Some((what, after)) = rest.split_once('>') else { return pattern == name };
    let Some(name) = name.strip_prefix(before) else { return false };
    // Names of roles have slashes, and that of the root is empty.
    let end = if what == "role" { name.len() } else { name.find('/').unwrap_or(name.len()) };
    let mut ends = (0..=end).filter(|at| name.is_char_boundary(*at));
    ends.any(|at| fits(after, &name[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new(&[&[
            counter("m/{a,b}_count", "A count."),
            timer("m/cycle", "A time."),
            sometimes(gauge("m/roles/<role>/active", "A gauge.")),
            histogram("m/wait", "Another time."),
        ]])
    }

    #[test]
    fn rows_are_found_by_each_of_their_names() {
        let table = table();
        let help = |name: &str| table.find(name).map(|m| m.help);
        assert_eq!((help("m/a_count"), help("m/c_count")), (Some("A count."), None));
        assert_eq!(
            (help("m/cycle_ms"), help("m/cycle_ms/p99")),
            (Some("A time."), Some("A time."))
        );
        assert_eq!(
            (help("m/roles//active"), help("m/roles/a/b/active")),
            (Some("A gauge."), Some("A gauge."))
        );
        assert_eq!(help("m/roles/a/active/more"), None);
        assert_eq!(table.always().collect::<Vec<_>>(), ["m/a_count", "m/b_count"]);
    }

    #[test]
    fn documents_show_both_names() {
        let text = table().markdown();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| `m/{a,b}_count` | `mesos_m_a_count_total`, … | counter | A count. |",
                "| `m/cycle_ms` | `mesos_m_cycle_seconds` | timer | A time. |",
                "| `m/roles/<role>/active` | `mesos_m_roles_active{role}` | gauge | A gauge. (not always there) |",
                "| – | `mesos_m_wait_seconds` | histogram | Another time. |",
            ]
        );
    }
}
