//! `proffer simulate`: what it says, and whether it comes true.

use crate::commands::{cluster, done, json, refused};
use serde_json::Value;
use std::time::{Duration, Instant};
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

#[test]
fn what_if_is_answered_without_touching_the_cluster() {
    let cluster = cluster(4);
    let master = cluster.master();
    let options = |name: &str, role: &str| FrameworkOptions {
        name: name.to_owned(),
        roles: vec![role.to_owned()],
        ..FrameworkOptions::default()
    };
    let mut web = Framework::subscribe(&master, &options("site", "web"));
    let offer = web.offers().remove(0);
    web.launch(&offer, &[command_task(&offer, "t", "sleep 1000", 1.0, 64.0)]);
    web.until_state("t", "TASK_RUNNING");
    let _batch = Framework::subscribe(&master, &options("jobs", "batch"));
    let file = cluster.directory().join("saved.json");
    let file = file.to_str().expect("a path");
    let task = ["--task", "cpus:1;mem:512"];
    let ask = |more: &[&str]| {
        let words = [&["simulate", "--json"][..], &task, more].concat();
        json(&done(&master, &words))
    };
    let answer = ask(&["--set-weight", "web=3", "--save", file]);
    assert_eq!(cpus(&answer, "now", "web"), 1.0, "{answer}");
    assert_eq!(
        (cpus(&answer, "full", "web"), cpus(&answer, "full", "batch")),
        (8.0, 8.0),
        "{answer}"
    );
    assert_eq!((cpus(&answer, "changed", "web"), cpus(&answer, "changed", "batch")), (12.0, 4.0));
    assert_eq!(done(&master, &["weight", "list"]), "All roles have weight 1.\n");

    let out = done(
        "127.0.0.1:1",
        &[
            "simulate",
            "--state",
            file,
            "--set-quota",
            "batch:limit=cpus=2",
            "--set-quota",
            "web:limit=cpus=12",
            "--set-share",
            "web:cpus=50%",
            "--add-agents",
            "1",
            "--task",
            "cpus:1;mem:512",
        ],
    );
    assert!(out.starts_with("now: 4 agents with cpus 16, "), "{out}");
    assert!(out.contains("\nchanged: 5 agents with cpus 20, "), "{out}");
    assert!(out.contains("cpus 10 met"), "{out}");
    assert!(out.contains("ROLE   SHARE NOW   FULL  CHANGED  CPUS NOW  FULL  CHANGED"), "{out}");
    assert!(out.contains("\nLIMIT "), "{out}");
    assert!(!out.contains("Note:"), "{out}");
    assert!(out.contains("Left out: refusals, turns and leases"), "{out}");

    let state = cluster.directory().join("state.json");
    let plain = testkit::http::get(&master, "/state").text();
    std::fs::write(&state, plain).expect("written");
    let out = done("127.0.0.1:1", &["simulate", "--state", state.to_str().expect("a path")]);
    assert!(out.contains("Note: 'quota' is missing: quotas are taken as not set."), "{out}");
    let url = format!("http://{master}/state");
    assert_eq!(
        done("127.0.0.1:1", &["simulate", "--state", &url]).lines().next(),
        out.lines().next()
    );

    refused(
        &master,
        &["simulate", "--set-quota", "web"],
        2,
        "--set-quota: 'web': expected ROLE:guarantee=",
    );
    refused(&master, &["simulate", "--task", "x"], 2, "--task: expected name:number");
    refused(&master, &["simulate", "--remove-agent", "S9"], 1, "there is no agent 'S9' to remove");
    refused(
        &master,
        &["simulate", "--state", "/nowhere"],
        2,
        "expected a file or http://host:port",
    );
}

fn cpus(answer: &Value, case: &str, role: &str) -> f64 {
    answer[case]["roles"][role]["held"]["cpus"].as_f64().unwrap_or(0.0)
}

/// Launches a task of one cpu from each offer that holds one, until nobody is offered more.
fn take_everything(frameworks: &mut [Framework]) {
    let mut count = 0;
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_secs(3) {
        for framework in frameworks.iter_mut() {
            let wait = Duration::from_millis(20);
            let Some((_, event)) = framework.event_within(wait, &["OFFERS"], |_| true) else {
                continue;
            };
            for offer in event["offers"]["offers"].as_array().into_iter().flatten() {
                let resources = offer["resources"].as_array().into_iter().flatten();
                let cpus: f64 = resources
                    .filter(|r| r["name"] == "cpus")
                    .filter_map(|r| r["scalar"]["value"].as_f64())
                    .sum();
                if cpus < 1.0 {
                    framework.decline(offer, 1000.0);
                    continue;
                }
                let id = format!("{}-{count}", framework.id);
                framework.launch(offer, &[command_task(offer, &id, "sleep 1000", 1.0, 64.0)]);
                (count, last) = (count + 1, Instant::now());
            }
        }
    }
}

#[test]
fn what_is_said_comes_true() {
    // On one agent one offer is out at a time: what comes does not depend on who answers faster.
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.resources = "cpus:16;mem:16384;disk:10000".to_owned();
    let cluster = Cluster::start(options);
    let master = cluster.master();
    let mut frameworks = ["web", "batch", "ops"].map(|role| {
        let options = FrameworkOptions {
            name: role.to_owned(),
            roles: vec![role.to_owned()],
            ..FrameworkOptions::default()
        };
        Framework::subscribe(&master, &options)
    });
    let words = [
        "simulate",
        "--json",
        "--task",
        "cpus:1;mem:64",
        "--set-weight",
        "web=3",
        "--set-quota",
        "ops:guarantee=cpus=2:limit=cpus=3",
    ];
    let said = json(&done(&master, &words));
    done(&master, &["weight", "set", "web=3"]);
    done(&master, &["quota", "set", "ops", "--guarantee", "cpus=2", "--limit", "cpus=3"]);
    take_everything(&mut frameworks);
    let roles = json(&done(&master, &["roles", "--json"]));
    let mut sum = 0.0;
    for role in ["web", "batch", "ops"] {
        let all = roles["roles"].as_array().into_iter().flatten();
        let came = all.filter(|r| r["name"] == role).find_map(|r| r["allocated"]["cpus"].as_f64());
        let (said, came) = (cpus(&said, "changed", role), came.unwrap_or(0.0));
        // Shares are compared by task: one more or less.
        assert!((said - came).abs() <= 1.0, "{role}: {said} said, {came} came");
        sum += came;
    }
    assert_eq!(sum, 16.0, "{roles}");
}
