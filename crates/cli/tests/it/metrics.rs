//! `/metrics` of both daemons, as Prometheus reads them.

mod prometheus;

use crate::tasks::{LIMIT, Runner, cluster, framework, nodes};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};
use testkit::{http, wait};

/// What Prometheus' own tool says of a text: nothing, if it is well-formed and has good names.
fn promtool(text: &str) -> Option<String> {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        eprintln!("skipped: there is no promtool (apt-get install prometheus)");
        return None;
    };
    tool.stdin.take().expect("its input").write_all(text.as_bytes()).expect("written");
    let out = tool.wait_with_output().expect("promtool runs");
    Some(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

#[test]
fn what_is_measured_can_be_read_by_prometheus() {
    for flags in nodes() {
        let cluster = cluster(&[flags, &["--cgroups_cpu_enable_pids_and_tids_count"]].concat());
        let mut framework = framework(&cluster);
        let task = Runner::launch(&cluster, &mut framework, "t");
        for (address, wanted) in [
            (
                cluster.master(),
                &[
                    "mesos_master_tasks_running 1",
                    "mesos_master_uptime_seconds ",
                    "mesos_master_offer_wait_seconds_bucket{le=\"0.0001\"} ",
                    "mesos_master_offer_wait_seconds_count 1",
                    "mesos_master_offer_held_seconds_count 1",
                    "mesos_master_task_launch_seconds_count 1",
                    "mesos_allocator_mesos_allocation_run_seconds_bucket{le=\"+Inf\"} ",
                    "mesos_registrar_state_store_seconds_sum ",
                    "mesos_http_request_duration_seconds_count{call=\"ACCEPT\",endpoint=\"/api/v1/scheduler\"} 1",
                    "mesos_http_requests_total{call=\"ACCEPT\",endpoint=\"/api/v1/scheduler\",status=\"202\"} 1",
                    "mesos_build_info{mesos_version=",
                    "process_cpu_seconds_total ",
                    "process_open_fds ",
                    "process_start_time_seconds 1",
                ][..],
            ),
            (
                cluster.agent(0),
                &[
                    "mesos_slave_tasks_running 1",
                    "mesos_slave_tasks_finished_total 0",
                    "mesos_slave_cpus 4",
                    "mesos_slave_task_launch_seconds_count 1",
                    "mesos_slave_container_launch_seconds_count 1",
                    "mesos_slave_store_write_seconds_bucket{le=\"0.01\"} ",
                    "mesos_container_cpus_user_time_seconds_total{container_id=",
                    "mesos_container_mem_rss_bytes{container_id=",
                    "executor_id=\"t\",framework_id=",
                    "process_resident_memory_bytes ",
                ],
            ),
        ] {
            let text = wait::until("all of it", LIMIT, || {
                let answer = http::get(&address, "/metrics");
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                assert_eq!(answer.header("content-type"), Some(kind));
                let text = answer.text();
                let missing = wanted.iter().find(|line| !text.contains(**line));
                missing
                    .inspect(|line| eprintln!("{address} has no {line}"))
                    .is_none()
                    .then_some(text)
            });
            if let Some(faults) = promtool(&text) {
                assert_eq!(faults, "", "{address}");
            }
        }
        task.runs_on();
        framework.kill_and_wait("t");
    }
}

/// The tables that documents are made of are those of what is measured.
#[test]
fn tables_of_metrics_are_complete() {
    let cluster = cluster(&[]);
    let mut framework = framework(&cluster);
    let task = Runner::launch(&cluster, &mut framework, "t");
    task.runs_on();
    framework.kill_and_wait("t");
    for (address, table) in
        [(cluster.master(), master::metrics()), (cluster.agent(0), agent::metrics())]
    {
        let snapshot = http::get(&address, "/metrics/snapshot").json();
        let Value::Object(snapshot) = snapshot else { panic!("no object: {snapshot}") };
        let missing: Vec<&str> =
            table.always().filter(|name| !snapshot.contains_key(*name)).collect();
        assert_eq!(missing, Vec::<&str>::new(), "not measured by {address}");
        let unknown: Vec<&String> =
            snapshot.keys().filter(|name| table.find(name).is_none()).collect();
        assert_eq!(unknown, Vec::<&String>::new(), "not in the table of {address}");
    }
}

/// `PROFFER_WRITE_DOCS=1` writes the tables into the document.
#[test]
fn the_document_of_metrics_is_that_of_the_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("docs/metrics.md");
    let mut wanted = text.clone();
    for (name, table) in [("master", master::metrics()), ("agent", agent::metrics())] {
        let (begin, end) =
            (format!("<!-- table of the {name} -->\n"), format!("<!-- end of the {name} -->"));
        let from = wanted.find(&begin).expect("a table begins") + begin.len();
        let to = wanted.find(&end).expect("a table ends");
        wanted.replace_range(from..to, &table.markdown());
    }
    if std::env::var_os("PROFFER_WRITE_DOCS").is_some() {
        std::fs::write(path, &wanted).expect("written");
        return;
    }
    assert!(text == wanted, "docs/metrics.md is old: run this test with PROFFER_WRITE_DOCS=1");
}
