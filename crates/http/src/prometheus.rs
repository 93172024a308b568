//! Metrics in the text format of Prometheus (version 0.0.4), made of those of `/metrics/snapshot` and more.
//!
//! Names are those of the snapshot: `slave/tasks_running` becomes `mesos_slave_tasks_running`. What names of frameworks
//! and roles are parts of becomes one metric with labels. As that format wants it, times are in seconds, what only grows
//! has the suffix `_total`, and nothing else has.

mod process;
mod table;

use crate::{Response, respond};
use base::Histogram;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub use table::{HOST, Kind, Metric, Table, counter, gauge, histogram, sometimes, timer};

/// Content type of the format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// What follows the name of a role, which may have slashes itself.
const AFTER_ROLE: &[&str] = &["/resources/", "/shares/", "/active", "/suppressed"];

/// Names and values.
pub type Labels = Vec<(&'static str, String)>;

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: String,
    samples: BTreeMap<Labels, Sample>,
}

#[derive(Debug)]
enum Sample {
    Number(f64),
    Times(Box<Histogram>),
}

/// All metrics of a moment.
#[derive(Debug, Default)]
pub struct Exposition(BTreeMap<String, Family>);

impl Exposition {
    /// Those of a snapshot, with what a table knows of them, and those of the process. Timers are left out: they are
    /// told as histograms.
    #[must_use]
    pub fn of(snapshot: &Map<String, Value>, table: &Table) -> Self {
        let mut all = Self::default();
        process::add(&mut all);
        for (name, value) in snapshot {
            let Some(value) = value.as_f64() else { continue };
            let (kind, help) = match table.find(name) {
                Some(Metric { kind: Kind::Timer | Kind::Histogram, .. }) => continue,
                Some(metric) => (metric.kind, metric.help),
                None => (Kind::Gauge, "A figure of /metrics/snapshot."),
            };
            let (pattern, labels) = labelled(name);
            all.add(&pattern, kind, help, labels, value);
        }
        all
    }

    /// Adds a metric under a name of Mesos' style. `_secs` is taken for times.
    pub fn add(&mut self, name: &str, kind: Kind, help: &str, labels: Labels, value: f64) {
        self.put(metric(name, kind), kind, help, labels, Sample::Number(value));
    }

    /// Adds a metric under a name that is Prometheus' own.
    pub fn add_plain(&mut self, name: &str, kind: Kind, help: &str, labels: Labels, value: f64) {
        self.put(name.to_owned(), kind, help, labels, Sample::Number(value));
    }

    /// Adds times under a name of Mesos' style, without a unit.
    pub fn add_histogram(&mut self, name: &str, help: &str, labels: Labels, times: &Histogram) {
        let name = metric(&format!("{name}_secs"), Kind::Gauge);
        self.put(name, Kind::Histogram, help, labels, Sample::Times(Box::new(times.clone())));
    }

    /// The same, with the help of a table's row.
    pub fn add_times(&mut self, table: &Table, name: &str, times: &Histogram) {
        let help = table.find(name).map_or("How long something takes.", |metric| metric.help);
        self.add_histogram(name, help, Labels::new(), times);
    }

    fn put(&mut self, name: String, kind: Kind, help: &str, labels: Labels, sample: Sample) {
        let family = || Family { kind, help: help.to_owned(), samples: BTreeMap::new() };
        self.0.entry(name).or_insert_with(family).samples.insert(labels, sample);
    }

    /// The answer to a request for them.
    #[must_use]
    pub fn answer(&self) -> Response {
        respond::content(CONTENT_TYPE, self.text().into_bytes())
    }

    /// In the text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (name, Family { kind, help, samples }) in &self.0 {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Timer | Kind::Histogram => "histogram",
            };
            let help = escaped(help, false);
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, sample) in samples {
                match sample {
                    Sample::Number(value) => line(&mut out, name, "", labels, None, *value),
                    Sample::Times(times) => spread(&mut out, name, labels, times),
                }
            }
        }
        out
    }
}

/// A histogram: what is in its buckets, all of it, and how often.
#[expect(clippy::cast_precision_loss, reason = "what Prometheus counts with")]
fn spread(out: &mut String, name: &str, labels: &Labels, times: &Histogram) {
    for (bound, count) in times.cumulative() {
        let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
        line(out, name, "_bucket", labels, Some(&bound), count as f64);
    }
    line(out, name, "_sum", labels, None, times.sum().as_secs_f64());
    line(out, name, "_count", labels, None, times.count() as f64);
}

fn line(
    out: &mut String,
    name: &str,
    part: &str,
    labels: &Labels,
    bound: Option<&str>,
    value: f64,
) {
    let _ = write!(out, "{name}{part}");
    let labels = labels.iter().map(|(label, value)| (*label, value.as_str()));
    let mut before = '{';
    for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        let _ = write!(out, "{before}{label}=\"{}\"", escaped(value, true));
        before = ',';
    }
    let end = if before == '{' { "" } else { "}" };
    let _ = writeln!(out, "{end} {value}");
}

/// Takes out of a name what is chosen by users.
fn labelled(name: &str) -> (String, Labels) {
    let mut labels = Labels::new();
    let mut rest = name.to_owned();
    // How tasks ended, who said so, and why.
    if let [daemon, state, source, reason] = name.split('/').collect::<Vec<_>>()[..]
        && (state.starts_with("task_") || state.starts_with("<task"))
    {
        let labels = [("reason", reason), ("source", source), ("state", state)];
        let labels = labels.map(|(label, value)| (label, value.to_owned())).to_vec();
        return (format!("{daemon}/task_ends"), labels);
    }
    // What a framework is called, its id, and then what is measured.
    if let Some((before, after)) = name.split_once("/frameworks/")
        && let [name, id, what] = after.splitn(3, '/').collect::<Vec<_>>()[..]
    {
        labels.push(("framework_id", id.to_owned()));
        labels.push(("framework_name", respond::decode(name)));
        rest = format!("{before}/frameworks/{what}");
    }
    let after_role = rest.split_once("/roles/").and_then(|(before, after)| {
        let end = AFTER_ROLE.iter().filter_map(|end| after.rfind(end)).max()?;
        Some((after[..end].to_owned(), format!("{before}/roles{}", &after[end..])))
    });
    if let Some((role, without)) = after_role {
        labels.push(("role", role));
        rest = without;
    }
    (rest, labels)
}

/// A name as the format has it.
fn metric(name: &str, kind: Kind) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut metric: String = ["mesos_", name].concat().chars().map(plain).collect();
    if let Some(stem) = metric.strip_suffix("_secs") {
        metric = format!("{stem}_seconds");
    }
    let stem = metric.trim_end_matches("_total").to_owned();
    match kind {
        Kind::Counter => stem + "_total",
        _ => stem,
    }
}

fn escaped(text: &str, is_quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_quoted { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(snapshot: Value, want: &str) {
        let table = Table::new(&[&[
            counter("slave/tasks_finished", ""),
            counter("a/frameworks/<name>/<id>/finished", ""),
            counter("m/<task_state>/<source>/<reason>", ""),
            timer("cycle", ""),
        ]]);
        let snapshot = snapshot.as_object().expect("an object");
        let text = Exposition::of(snapshot, &table).text();
        let shown = |line: &&str| {
            !["#", "process_", "mesos_build_info"].iter().any(|p| line.starts_with(p))
        };
        let samples: Vec<&str> = text.lines().filter(shown).collect();
        assert_eq!(samples.join("\n"), want);
    }

    #[test]
    fn names_have_units_and_say_what_grows() {
        check(
            json!({"slave/cpus_total": 4, "slave/tasks_finished": 2, "slave/uptime_secs": 1.5}),
            "mesos_slave_cpus 4\nmesos_slave_tasks_finished_total 2\nmesos_slave_uptime_seconds 1.5",
        );
        check(
            json!({"cycle_ms": 20.0, "cycle_ms/p99": 40.0, "other/count": 1}),
            "mesos_other_count 1",
        );
        check(
            json!({"m/task_lost/source_master/reason_unknown": 3}),
            "mesos_m_task_ends_total{reason=\"reason_unknown\",source=\"source_master\",state=\"task_lost\"} 3",
        );
    }

    #[test]
    fn times_are_histograms_in_seconds() {
        let (mut all, mut times) = (Exposition::default(), Histogram::default());
        times.record(std::time::Duration::from_millis(30));
        all.add_histogram("m/wait", "Waiting.", vec![("call", "A".to_owned())], &times);
        let text = all.text();
        for line in [
            "# TYPE mesos_m_wait_seconds histogram",
            "mesos_m_wait_seconds_bucket{call=\"A\",le=\"0.025\"} 0",
            "mesos_m_wait_seconds_bucket{call=\"A\",le=\"0.05\"} 1",
            "mesos_m_wait_seconds_bucket{call=\"A\",le=\"+Inf\"} 1",
            "mesos_m_wait_seconds_sum{call=\"A\"} 0.03",
            "mesos_m_wait_seconds_count{call=\"A\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn names_of_users_are_labels() {
        check(
            json!({"a/frameworks/f/1/finished": 1, "a/frameworks/%22%5C/2/finished": 2}),
            "mesos_a_frameworks_finished_total{framework_id=\"1\",framework_name=\"f\"} 1\n\
             mesos_a_frameworks_finished_total{framework_id=\"2\",framework_name=\"\\\"\\\\\"} 2",
        );
        check(
            json!({"q/roles/a/resources/b/resources/cpus/limit": 1, "q/roles//resources/cpus/limit": 2}),
            "mesos_q_roles_resources_cpus_limit{role=\"\"} 2\n\
             mesos_q_roles_resources_cpus_limit{role=\"a/resources/b\"} 1",
        );
        check(
            json!({"m/frameworks/f/1/roles/x/y/suppressed": 1}),
            "mesos_m_frameworks_roles_suppressed{framework_id=\"1\",framework_name=\"f\",role=\"x/y\"} 1",
        );
    }
}
