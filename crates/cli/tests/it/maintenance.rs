//! Agents and machines that are taken out of use, and back, with real processes.

use super::commands::{done, json, refused};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::framework::{amount, command_task, text};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http, wait};

const LONG: Duration = Duration::from_secs(60);

fn cluster(agents: usize) -> Cluster {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), agents);
    options.master_flags.push("--allocation_interval=200ms".to_owned());
    Cluster::start(options)
}

fn framework(cluster: &Cluster, id: Option<String>) -> Framework {
    let mut options = FrameworkOptions {
        id,
        failover_timeout: 3600.0,
        checkpoint: true,
        ..FrameworkOptions::default()
    };
    options.capabilities.push("PARTITION_AWARE".to_owned());
    wait::until("a subscription", LONG, || Framework::try_subscribe(&cluster.master(), &options))
}

/// A task that does not obey, on the agent of a new offer.
fn launch(framework: &mut Framework) -> Value {
    let offer = framework.offers().remove(0);
    let command = "trap '' TERM; sleep 600 & wait; wait; wait";
    framework.launch(&offer, &[command_task(&offer, "t", command, 0.1, 32.0)]);
    framework.until_state("t", "TASK_RUNNING");
    offer
}

/// A command that runs beside the test.
fn begin(master: &str, words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_proffer"))
        .args(words)
        .env("PROFFER_MASTER", master)
        .env("XDG_CONFIG_HOME", "/nowhere")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

#[track_caller]
fn ended(child: Child) -> (String, String) {
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    (out, err)
}

fn agents(cluster: &Cluster) -> Vec<Value> {
    let slaves = http::get(&cluster.master(), "/slaves").json();
    slaves["slaves"].as_array().cloned().unwrap_or_default()
}

#[test]
fn an_agent_is_drained_and_stays_so_over_restarts_until_it_is_wanted_again() {
    let mut cluster = cluster(1);
    let mut first = framework(&cluster, None);
    launch(&mut first);
    let drain = begin(&cluster.master(), &["drain", "S0", "--grace", "2s", "--wait"]);
    let end = first.until_end("t").pop().expect("a status");
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("TASK_KILLED"), &json!("REASON_AGENT_DRAINING")),
        "{end}"
    );
    let (out, err) = ended(drain);
    assert!(out.contains("is drained. `proffer reactivate "), "{out}");
    assert!(err.contains(": DRAINED: no task runs"), "{err}");
    assert!(done(&cluster.master(), &["agents"]).contains(" drained "));
    let agent = agents(&cluster).remove(0);
    assert_eq!((&agent["active"], &agent["deactivated"]), (&json!(false), &json!(true)));
    let config =
        json!({"max_grace_period": {"nanoseconds": 2_000_000_000_i64}, "mark_gone": false});
    assert_eq!(agent["drain_info"], json!({"state": "DRAINED", "config": config}));
    assert!(agent["estimated_drain_start_time_seconds"].as_f64().is_some_and(|t| t > 1.0e9));
    let all = http::post_json(&cluster.master(), "/api/v1", &[], &json!({"type": "GET_AGENTS"}));
    let shown = all.json()["get_agents"]["agents"][0].clone();
    assert_eq!(shown["drain_info"]["state"], "DRAINED", "{shown}");
    assert_eq!(shown["deactivated"], true);

    cluster.kill_master();
    cluster.kill_agent(0);
    cluster.start_master();
    cluster.start_agent(0);
    let mut again = framework(&cluster, Some(first.id.clone()));
    wait::until("the agent is back, drained", LONG, || {
        let agent = agents(&cluster).into_iter().next()?;
        (agent["drain_info"]["state"] == "DRAINED").then_some(())
    });
    assert!(again.event_within(Duration::from_secs(2), &["OFFERS"], |_| true).is_none());
    assert!(done(&cluster.master(), &["reactivate", "localhost"]).contains("is in use again"));
    assert_eq!(amount(&again.offers()[0], "cpus"), 4.0);
    refused(&cluster.master(), &["reactivate", "S0"], 1, "Agent is not deactivated");
}

#[test]
fn an_agent_that_will_not_come_back_is_gone_when_nothing_is_left() {
    let mut cluster = cluster(1);
    let mut framework = framework(&cluster, None);
    launch(&mut framework);
    let words = ["drain", "localhost", "--grace", "1s", "--mark-gone", "--wait"];
    let drain = begin(&cluster.master(), &words);
    let end = framework.until_end("t").pop().expect("a status");
    assert_eq!(end["state"], "TASK_GONE_BY_OPERATOR", "{end}");
    let (out, _) = ended(drain);
    assert!(out.contains("is drained and gone."), "{out}");
    wait::until("the agent's end", LONG, || cluster.ended_agent(0));
    assert!(agents(&cluster).is_empty());
    let gone = text(&end["agent_id"]["value"]);
    refused(&cluster.master(), &["drain", &gone], 1, "Unknown agent: it was marked gone");
}

#[test]
fn a_deactivated_agent_keeps_its_tasks() {
    let cluster = cluster(1);
    let mut framework = framework(&cluster, None);
    launch(&mut framework);
    let shown = json(&done(&cluster.master(), &["deactivate", "S0", "--json"]));
    assert_eq!(shown["deactivated"], true, "{shown}");
    assert!(done(&cluster.master(), &["agents"]).contains(" deactivated "));
    assert!(done(&cluster.master(), &["tasks"]).contains("TASK_RUNNING"));
    done(&cluster.master(), &["reactivate", "S0"]);
    let state = done(&cluster.master(), &["agents"]);
    assert!(state.contains(" active "), "{state}");
    framework.kill_and_wait("t");
}

#[test]
fn a_drain_that_takes_long_is_told_and_goes_on() {
    let cluster = cluster(1);
    let mut framework = framework(&cluster, None);
    launch(&mut framework);
    let words = ["drain", "S0", "--grace", "1h", "--wait", "--timeout", "1s"];
    refused(
        &cluster.master(),
        &words,
        1,
        "the drain is not over yet and goes on: DRAINING: 1 task runs",
    );
    refused(&cluster.master(), &["reactivate", "S0"], 1, "still in the DRAINING state");
    // Asked for again with less patience.
    let drain = begin(&cluster.master(), &["drain", "S0", "--grace", "0s", "--wait"]);
    framework.until_end("t");
    ended(drain);
}

#[test]
fn frameworks_are_told_of_maintenance_and_machines_go_down_and_come_up() {
    let mut cluster = cluster(1);
    let master = cluster.master();
    assert_eq!(done(&master, &["maintenance", "show"]), "No maintenance is scheduled.\n");
    let mut framework = framework(&cluster, None);
    launch(&mut framework);
    let words = ["maintenance", "schedule", "localhost", "--start", "+2h", "--duration", "4h"];
    let table = done(&master, &words);
    assert!(table.contains("localhost  127.0.0.1  DRAINING"), "{table}");
    assert!(table.contains("4hrs"), "{table}");
    let told = framework.event(&["INVERSE_OFFERS"], |_| true).1;
    let told = &told["inverse_offers"]["inverse_offers"][0];
    assert_eq!(told["unavailability"]["duration"]["nanoseconds"], 14_400_000_000_000_i64);
    let offered =
        framework.event(&["OFFERS"], |e| e["offers"]["offers"][0]["unavailability"].is_object());
    drop(offered);
    let answer = framework.call(&json!({"type": "ACCEPT_INVERSE_OFFERS", "accept_inverse_offers":
        {"inverse_offer_ids": [told["id"]], "filters": {"refuse_seconds": 1000.0}}}));
    assert_eq!(answer.status, 202);
    let table = done(&master, &["maintenance"]);
    assert!(table.contains("1 ACCEPT"), "{table}");
    let status = json!({"type": "GET_MAINTENANCE_STATUS"});
    let status = http::post_json(&master, "/api/v1", &[], &status).json();
    let machine = &status["get_maintenance_status"]["status"]["draining_machines"][0];
    assert_eq!(machine["statuses"][0]["status"], "ACCEPT", "{status}");
    refused(
        &master,
        &["drain", "S0"],
        1,
        "is part of a maintenance schedule under Machine localhost (127.0.0.1)",
    );

    // The schedule outlives the master; answers do not.
    cluster.kill_master();
    cluster.start_master();
    let mut framework = self::framework(&cluster, Some(framework.id.clone()));
    framework.event(&["INVERSE_OFFERS"], |_| true);
    let table = done(&master, &["maintenance", "down", "localhost"]);
    assert!(table.contains("DOWN"), "{table}");
    let end = framework.until_end("t").pop().expect("a status");
    assert_eq!(end["state"], "TASK_LOST", "{end}");
    assert!(wait::until("the agent's end", LONG, || cluster.ended_agent(0)).success());
    refused(&master, &["maintenance", "down", "localhost"], 1, "it is DOWN already");
    refused(
        &master,
        &["maintenance", "clear", "localhost"],
        1,
        "bring it up with `proffer maintenance up`",
    );
    cluster.start_agent(0);
    assert!(wait::until("the agent's end", LONG, || cluster.ended_agent(0)).success());
    let log = std::fs::read_to_string(cluster.directory().join("agent0.log")).expect("a log");
    assert!(log.contains("Machine is `DOWN`"), "{log}");

    let table = done(&master, &["maintenance", "up", "127.0.0.1"]);
    assert_eq!(table, "No maintenance is scheduled.\n");
    cluster.start_agent(0);
    framework.event(&["OFFERS"], |e| e["offers"]["offers"][0].get("unavailability").is_none());
}

#[test]
fn windows_are_moved_and_cleared_and_mistakes_are_told() {
    let cluster = cluster(1);
    let master = cluster.master();
    let plan =
        |words: &[&str]| json(&done(&master, &[&["maintenance"], words, &["--json"]].concat()));
    plan(&["schedule", "S0", "n7@10.1.0.7", "--start", "2026-11-22T03:00Z", "--duration", "30m"]);
    let planned = plan(&["schedule", "n7", "--start", "2026-11-23T03:00Z"]);
    let windows = planned["schedule"]["windows"].as_array().expect("windows");
    assert_eq!(windows.len(), 2, "{planned}");
    assert_eq!(windows[1]["machine_ids"], json!([{"hostname": "n7", "ip": "10.1.0.7"}]));
    assert_eq!(windows[1]["unavailability"]["start"]["nanoseconds"], 1_795_402_800_000_000_000_i64);
    assert_eq!(planned["status"]["draining_machines"].as_array().map(Vec::len), Some(2));
    assert_eq!(plan(&["down", "n7"])["status"]["down_machines"].as_array().map(Vec::len), Some(1));
    let left = plan(&["clear"]);
    assert_eq!(left["schedule"]["windows"].as_array().map(Vec::len), Some(1), "n7 is down");
    plan(&["up", "n7"]);
    refused(
        &master,
        &["maintenance", "up", "localhost"],
        1,
        "is not in DOWN mode and cannot be brought up",
    );
    refused(
        &master,
        &["maintenance", "down", "localhost"],
        1,
        "with `proffer maintenance schedule` first",
    );
    refused(&master, &["maintenance", "clear", "localhost"], 1, "has no window");
    refused(&master, &["maintenance", "down", "lokalhost"], 1, "did you mean 'localhost'?");
    refused(
        &master,
        &["maintenance", "schedule", "S0", "--start", "soon"],
        2,
        "--start: 'soon': expected now",
    );
    refused(
        &master,
        &["maintenance", "schedule", "S0", "--duration", "4"],
        2,
        "--duration: '4': expected",
    );
    refused(&master, &["maintenance", "schedule", "x@::1"], 1, "expected an IPv4 address");
    refused(&master, &["drain", "S9"], 1, "there is no agent 'S9'");
    refused(
        &master,
        &["drain", "S0", "--grace", "soon"],
        2,
        "--grace: 'soon': expected a time as 90s",
    );

    let send = |method: &str, path: &str, body: &str| {
        let answer = http::send(&master, method, path, body);
        (answer.status, answer.text())
    };
    for (method, path, body, status, why) in [
        ("GET", "/machine/down", "", 405, ""),
        ("PUT", "/maintenance/schedule", "{}", 405, ""),
        ("POST", "/maintenance/status", "{}", 405, ""),
        ("POST", "/maintenance/schedule", "[]", 400, "Failed to parse the schedule: "),
        (
            "POST",
            "/maintenance/schedule",
            "{\"windows\":[{}]}",
            400,
            "Failed to parse the schedule: ",
        ),
        ("POST", "/machine/down", "{}", 400, "Failed to parse the list of machines: "),
        ("POST", "/machine/up", "[]", 400, "List of machines is empty"),
        ("POST", "/master/maintenance/schedule", "{}", 200, ""),
    ] {
        let (code, text) = send(method, path, body);
        assert!(code == status && text.starts_with(why), "{method} {path}: {code} {text}");
    }
    for call in [
        "DRAIN_AGENT",
        "DEACTIVATE_AGENT",
        "REACTIVATE_AGENT",
        "UPDATE_MAINTENANCE_SCHEDULE",
        "START_MAINTENANCE",
    ] {
        let answer = http::post_json(&master, "/api/v1", &[], &json!({"type": call}));
        let expected = format!("Expecting '{}' to be present", call.to_lowercase());
        assert!(answer.status == 400 && answer.text().ends_with(&expected), "{}", answer.text());
    }
}

#[test]
fn the_next_leader_goes_on_with_a_drain_and_the_schedule() {
    let mut cluster = super::failover::start_replicated(1);
    let mut first = framework(&cluster, None);
    launch(&mut first);
    let words = ["maintenance", "schedule", "n7@10.1.0.7", "--start", "+1h"];
    done(&cluster.master(), &words);
    done(&cluster.master(), &["maintenance", "down", "n7"]);
    // Longer than the test: the task is there when the next master leads.
    done(&cluster.master(), &["drain", "S0", "--grace", "1h"]);
    let leader = cluster.leader();
    cluster.kill_master_number(leader);
    let master = cluster.master();
    let table = done(&master, &["maintenance"]);
    assert!(table.contains("n7       10.1.0.7  DOWN"), "{table}");
    let mut again = framework(&cluster, Some(first.id.clone()));
    let state = wait::until("the agent is back", LONG, || {
        let agent = agents(&cluster).into_iter().next()?;
        Some(text(&agent["drain_info"]["state"]))
    });
    assert_eq!(state, "DRAINING");
    let drain = begin(&master, &["drain", "localhost", "--grace", "1s", "--wait"]);
    let end = again.until_end("t").pop().expect("a status");
    assert_eq!(end["reason"], "REASON_AGENT_DRAINING", "{end}");
    ended(drain);
    done(&master, &["reactivate", "localhost"]);
    assert_eq!(amount(&again.offers()[0], "cpus"), 4.0);
    assert_eq!(done(&master, &["maintenance", "up", "n7"]), "No maintenance is scheduled.\n");
}
