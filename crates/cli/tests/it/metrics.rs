//! `/metrics` of both daemons, as Prometheus reads them.

use crate::tasks::{LIMIT, Runner, cluster, framework, nodes};
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
                &["mesos_master_tasks_running 1", "mesos_master_uptime_seconds "][..],
            ),
            (
                cluster.agent(0),
                &[
                    "mesos_slave_tasks_running 1",
                    "mesos_slave_tasks_finished_total 0",
                    "mesos_slave_cpus 4",
                    "mesos_container_cpus_user_time_seconds_total{container_id=",
                    "mesos_container_mem_rss_bytes{container_id=",
                    "executor_id=\"t\",framework_id=",
                ],
            ),
        ] {
            let text = wait::until("all of it", LIMIT, || {
                let answer = http::get(&address, "/metrics");
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                assert_eq!(answer.header("content-type"), Some(kind));
                let text = answer.text();
                wanted.iter().all(|line| text.contains(line)).then_some(text)
            });
            if let Some(faults) = promtool(&text) {
                assert_eq!(faults, "", "{address}");
            }
        }
        task.runs_on();
        framework.kill_and_wait("t");
    }
}
