//! Metrics in the text format of Prometheus (version 0.0.4), made of those of `/metrics/snapshot` and more.
//!
//! Names are those of the snapshot: `slave/tasks_running` becomes `mesos_slave_tasks_running`. What names of frameworks
//! and roles are parts of becomes one metric with labels. As that format wants it, times are in seconds, what only grows
//! has the suffix `_total`, and nothing else has.

use crate::{Response, respond};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Content type of the format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// What follows the name of a role, which may have slashes itself.
const AFTER_ROLE: &[&str] = &["/resources/", "/shares/", "/active", "/suppressed"];

/// What a metric does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It grows from zero on.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// Names and values.
pub type Labels = Vec<(&'static str, String)>;

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: String,
    samples: BTreeMap<Labels, f64>,
}

/// All metrics of a moment.
#[derive(Debug, Default)]
pub struct Exposition(BTreeMap<String, Family>);

impl Exposition {
    /// Those of a snapshot; `is_counter` tells by name which of them only grow.
    #[must_use]
    pub fn of(snapshot: &Map<String, Value>, is_counter: impl Fn(&str) -> bool) -> Self {
        let mut all = Self::default();
        for (name, value) in snapshot {
            let Some(value) = value.as_f64() else { continue };
            let (mut pattern, mut labels) = labelled(name);
            let mut kind = if is_counter(name) { Kind::Counter } else { Kind::Gauge };
            let timer = pattern.rsplit_once('/').and_then(|(timer, statistic)| {
                Some((timer.strip_suffix("_ms")?.to_owned(), statistic.to_owned()))
            });
            match timer {
                Some((stem, statistic)) if statistic == "count" => {
                    kind = Kind::Counter;
                    pattern = format!("{stem}_samples");
                }
                Some((stem, statistic)) => {
                    labels.push(("statistic", statistic));
                    pattern = format!("{stem}_ms");
                }
                None if pattern.ends_with("_ms") => labels.push(("statistic", "last".to_owned())),
                None => {}
            }
            let help = format!("{pattern} of /metrics/snapshot.");
            all.add(&pattern, kind, &help, labels, value);
        }
        all
    }

    /// Adds a metric under a name of Mesos' style. `_secs` and `_ms` are taken for times.
    pub fn add(&mut self, name: &str, kind: Kind, help: &str, labels: Labels, value: f64) {
        let (name, value) = match name.strip_suffix("_ms") {
            Some(stem) => (format!("{stem}_secs"), value / 1000.0),
            None => (name.to_owned(), value),
        };
        let family = || Family { kind, help: help.to_owned(), samples: BTreeMap::new() };
        let family = self.0.entry(metric(&name, kind)).or_insert_with(family);
        family.samples.insert(labels, value);
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
            };
            let help = escaped(help, false);
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                out.push_str(name);
                for (number, (label, value)) in labels.iter().enumerate() {
                    let before = if number == 0 { '{' } else { ',' };
                    let _ = write!(out, "{before}{label}=\"{}\"", escaped(value, true));
                }
                let end = if labels.is_empty() { "" } else { "}" };
                let _ = writeln!(out, "{end} {value}");
            }
        }
        out
    }
}

/// Takes out of a name what is chosen by users.
fn labelled(name: &str) -> (String, Labels) {
    let mut labels = Labels::new();
    let mut rest = name.to_owned();
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
        Kind::Gauge => stem,
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
        let is_counter = |name: &str| name.contains("finished");
        let snapshot = snapshot.as_object().expect("an object");
        let text = Exposition::of(snapshot, is_counter).text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples.join("\n"), want);
    }

    #[test]
    fn names_have_units_and_say_what_grows() {
        check(
            json!({"slave/cpus_total": 4, "slave/tasks_finished": 2, "slave/uptime_secs": 1.5}),
            "mesos_slave_cpus 4\nmesos_slave_tasks_finished_total 2\nmesos_slave_uptime_seconds 1.5",
        );
        check(
            json!({"cycle_ms": 20.0, "cycle_ms/p99": 40.0, "cycle_ms/count": 7, "other/count": 1}),
            "mesos_cycle_samples_total 7\nmesos_cycle_seconds{statistic=\"last\"} 0.02\n\
             mesos_cycle_seconds{statistic=\"p99\"} 0.04\nmesos_other_count 1",
        );
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
