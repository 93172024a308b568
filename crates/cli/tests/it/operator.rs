//! The v1 operator API as its clients see it.

use serde_json::{Value, json};
use testkit::framework::command_task;
use testkit::http::{self, Connection, Records};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

fn ask(address: &str, call: &Value) -> Value {
    let answer = http::post_json(address, "/api/v1", &[], call);
    assert_eq!(answer.status, 200, "{call}: {}", answer.text());
    answer.json()
}

fn subscribe(address: &str) -> Records {
    subscribe_to(address, &json!({"type": "SUBSCRIBE"}))
}

fn subscribe_to(address: &str, call: &Value) -> Records {
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let (answer, records) = Connection::open(address)
        .and_then(|c| c.stream("/api/v1", &headers, call.to_string().as_bytes()))
        .expect("a stream");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("mesos-stream-id"), None);
    records
}

fn next(records: &mut Records) -> Value {
    let record = records.next_record().expect("an event").expect("an event");
    serde_json::from_slice(&record).expect("JSON")
}

#[test]
fn an_operator_sees_the_whole_state_and_then_every_change_once() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut early = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = early.offers().remove(0);
    early.launch(&offer, &[command_task(&offer, "before", "sleep 60", 0.1, 32.0)]);
    early.until_state("before", "TASK_RUNNING");
    let rest = early.offers().remove(0);
    early.decline(&rest, 1000.0);

    let mut events = subscribe(&cluster.master());
    let first = next(&mut events);
    assert_eq!(first["type"], "SUBSCRIBED");
    assert_eq!(first["subscribed"]["heartbeat_interval_seconds"], 15.0);
    let state = &first["subscribed"]["get_state"];
    assert_eq!(state["get_agents"]["agents"].as_array().map(Vec::len), Some(1));
    assert_eq!(state["get_tasks"]["tasks"][0]["task_id"]["value"], "before");
    assert_eq!(next(&mut events)["type"], "HEARTBEAT");

    let mut late = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let added = next(&mut events);
    assert_eq!(added["type"], "FRAMEWORK_ADDED");
    let info = &added["framework_added"]["framework"]["framework_info"];
    assert_eq!(info["id"]["value"], late.id);
    let offer = late.offers().remove(0);
    late.launch(&offer, &[command_task(&offer, "after", "true", 0.1, 32.0)]);
    late.until_end("after");
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "TASK_FINISHED") {
        let event = next(&mut events);
        seen.push(match event["type"].as_str().expect("a type") {
            "TASK_ADDED" => {
                assert_eq!(event["task_added"]["task"]["task_id"]["value"], "after");
                "TASK_ADDED".to_owned()
            }
            "TASK_UPDATED" => {
                let updated = &event["task_updated"];
                assert_eq!(updated["framework_id"]["value"], late.id);
                updated["status"]["state"].as_str().expect("a state").to_owned()
            }
            other => other.to_owned(),
        });
    }
    assert_eq!(seen, ["TASK_ADDED", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);
    ask_teardown(&cluster, &late.id);
    let removed = next(&mut events);
    assert_eq!(removed["type"], "FRAMEWORK_REMOVED");
    assert_eq!(removed["framework_removed"]["framework_info"]["id"]["value"], late.id);
}

#[test]
fn an_operator_gets_the_events_that_it_asked_for() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut one = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let subscription = |wanted: Value| json!({"type": "SUBSCRIBE", "subscribe": wanted});
    let mut of_kind = subscribe_to(
        &cluster.master(),
        &subscription(
            json!({"event_types": ["TASK_ADDED", "FRAMEWORK_REMOVED"], "include_state": false}),
        ),
    );
    let of_framework = json!({"framework_ids": [{"value": one.id}]});
    let mut of_framework = subscribe_to(&cluster.master(), &subscription(of_framework));
    let first = next(&mut of_kind);
    assert_eq!(first["type"], "SUBSCRIBED");
    assert_eq!(first["subscribed"], json!({"heartbeat_interval_seconds": 15.0}));
    assert_eq!(next(&mut of_kind)["type"], "HEARTBEAT");
    let first = next(&mut of_framework);
    assert_eq!(
        first["subscribed"]["get_state"]["get_agents"]["agents"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(next(&mut of_framework)["type"], "HEARTBEAT");

    let other = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = one.offers().remove(0);
    one.launch(&offer, &[command_task(&offer, "task", "true", 0.1, 32.0)]);
    one.until_end("task");
    ask_teardown(&cluster, &other.id);
    ask_teardown(&cluster, &one.id);
    let name = |event: Value| event["type"].as_str().expect("a type").to_owned();
    let kinds: Vec<String> = (0..3).map(|_| name(next(&mut of_kind))).collect();
    assert_eq!(kinds, ["TASK_ADDED", "FRAMEWORK_REMOVED", "FRAMEWORK_REMOVED"]);
    let kinds: Vec<String> = (0..5).map(|_| name(next(&mut of_framework))).collect();
    let updates = ["TASK_UPDATED"; 3];
    assert_eq!(kinds[0], "TASK_ADDED");
    assert_eq!(kinds[1..4], updates);
    assert_eq!(kinds[4], "FRAMEWORK_REMOVED");

    let call = subscription(json!({"event_types": ["UNKNOWN"]}));
    assert_eq!(http::post_json(&cluster.master(), "/api/v1", &[], &call).status, 400);
}

#[test]
fn a_hundred_event_streams_of_which_half_are_never_read_disturb_nobody() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let _unread: Vec<Records> = (0..50).map(|_| subscribe(&cluster.master())).collect();
    let mut read: Vec<Records> = (0..50).map(|_| subscribe(&cluster.master())).collect();
    for stream in &mut read {
        assert_eq!(next(stream)["type"], "SUBSCRIBED");
        assert_eq!(next(stream)["type"], "HEARTBEAT");
    }
    let offer = framework.offers().remove(0);
    framework.launch(&offer, &[command_task(&offer, "task", "true", 0.1, 32.0)]);
    framework.until_end("task");
    for stream in &mut read {
        let added = std::iter::from_fn(|| Some(next(stream))).find(|e| e["type"] == "TASK_ADDED");
        assert_eq!(added.expect("it comes")["task_added"]["task"]["task_id"]["value"], "task");
    }
}

#[test]
fn the_peers_command_line_finds_what_it_asks_for() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    let tasks: Vec<Value> =
        (0..3).map(|n| command_task(&offer, &format!("t{n}"), "sleep 1000", 0.1, 32.0)).collect();
    framework.launch(&offer, &tasks);
    (0..3).for_each(|n| drop(framework.until_state(&format!("t{n}"), "TASK_RUNNING")));
    let get = |path: &str| http::get(&cluster.master(), path).json();
    assert_eq!(get("/slaves")["slaves"][0]["hostname"], "localhost");
    assert_eq!(get("/master/frameworks/")["frameworks"][0]["id"], framework.id);
    assert_eq!(get("/tasks?order=asc&limit=-1")["tasks"].as_array().map(Vec::len), Some(3));
    // How it finds the container of a task, for `task exec`.
    let task = &get("/tasks?task_id=t1")["tasks"][0];
    assert!(task["statuses"][0]["container_status"]["container_id"]["value"].is_string(), "{task}");
    assert!(get("/slaves")["slaves"][0]["pid"].as_str().is_some_and(|pid| pid.contains('@')));
    assert_eq!(http::get(&cluster.master(), "/redirect/").status, 404);
    assert_eq!(http::get(&cluster.master(), "/nothing/").status, 404);
}

fn ask_teardown(cluster: &Cluster, id: &str) {
    let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": id}}});
    assert_eq!(http::post_json(&cluster.master(), "/api/v1", &[], &call).status, 200);
}

#[test]
fn reads_answer_in_both_encodings() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let calls = [
        "GET_HEALTH",
        "GET_FLAGS",
        "GET_VERSION",
        "GET_LOGGING_LEVEL",
        "GET_STATE",
        "GET_AGENTS",
        "GET_FRAMEWORKS",
        "GET_EXECUTORS",
        "GET_OPERATIONS",
        "GET_TASKS",
        "GET_ROLES",
        "GET_WEIGHTS",
        "GET_MASTER",
        "GET_MAINTENANCE_STATUS",
        "GET_MAINTENANCE_SCHEDULE",
        "GET_QUOTA",
    ];
    for call in calls {
        let answer = ask(&cluster.master(), &json!({"type": call}));
        assert_eq!(answer["type"], call, "{answer}");
        let accept = [("Accept", "application/x-protobuf"), ("Content-Type", "application/json")];
        let body = json!({"type": call}).to_string();
        let answer = Connection::open(&cluster.master())
            .and_then(|mut c| c.request("POST", "/api/v1", &accept, body.as_bytes()))
            .expect("an answer");
        assert_eq!(answer.status, 200, "{call}");
        assert_eq!(answer.header("content-type"), Some("application/x-protobuf"), "{call}");
        // Field 1, a varint: the type.
        assert_eq!(answer.body.first(), Some(&8), "{call}");
    }
    for call in ["GET_STATE", "GET_AGENT", "GET_CONTAINERS", "GET_TASKS", "GET_OPERATIONS"] {
        assert_eq!(ask(&cluster.agent(0), &json!({"type": call}))["type"], call);
    }
}

#[test]
fn the_logging_level_is_raised_for_a_while() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    for address in [cluster.master(), cluster.agent(0)] {
        assert_eq!(http::get(&address, "/logging/toggle").text(), "0\n");
        assert_eq!(http::get(&address, "/logging/toggle?level=1&duration=10mins").status, 200);
        let level = ask(&address, &json!({"type": "GET_LOGGING_LEVEL"}));
        assert_eq!(level["get_logging_level"]["level"], 1, "{level}");
        assert_eq!(http::get(&address, "/logging/toggle?level=1").status, 400);
    }
}

#[test]
fn why_says_who_holds_what_a_framework_waits_for() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut holder = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = holder.offers().remove(0);
    let mut waiting = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let why = |id: &str| {
        let answer = http::get(&cluster.master(), &format!("/why?framework={id}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["why"][0].clone()
    };
    let answer = why(&waiting.id);
    assert_eq!(answer["reasons"][0]["reason"], "TAKEN", "{answer}");
    let message = answer["reasons"][0]["message"].as_str().expect("a text");
    assert!(
        message
            .starts_with("what it could be offered there is offered to framework 'testkit' since "),
        "{message}"
    );
    assert!(answer["summary"].as_str().expect("a text").contains("holds no offer"), "{answer}");

    holder.decline(&offer, 1000.0);
    // Declined by the one, it goes to the other.
    let waiting_offer = waiting.offers().remove(0);
    let answer = why(&holder.id);
    assert_eq!(answer["reasons"][0]["reason"], "TAKEN", "{answer}");
    waiting.decline(&waiting_offer, 1000.0);
    let answer = why(&waiting.id);
    assert_eq!(answer["reasons"][0]["reason"], "REFUSED", "{answer}");
    let answer = http::get(&cluster.master(), "/why");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(http::get(&cluster.master(), "/why?framework=nobody").status, 404);
}

#[test]
fn an_agents_estimate_is_offered_as_revocable_resources() {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.agent_flags = vec!["--resource_estimator=fixed:cpus:2".to_owned()];
    let cluster = Cluster::start(options);
    let subscription = FrameworkOptions {
        capabilities: vec!["MULTI_ROLE".to_owned(), "REVOCABLE_RESOURCES".to_owned()],
        ..FrameworkOptions::default()
    };
    let mut framework = Framework::subscribe(&cluster.master(), &subscription);
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, "lent", "true", 0.5, 32.0);
    let cpus = task["resources"].as_array_mut().expect("a list").iter_mut();
    cpus.filter(|r| r["name"] == "cpus").for_each(|r| r["revocable"] = json!({}));
    framework.launch(&offer, &[task]);
    let last = framework.until_end("lent").pop().expect("a status");
    assert_eq!(last["state"], "TASK_FINISHED", "{last}");
    let slaves = http::get(&cluster.master(), "/slaves").json();
    let total = &slaves["slaves"][0]["resources"];
    assert_eq!((&total["cpus"], &total["cpus_revocable"]), (&json!(4.0), &json!(2.0)));
}

#[test]
fn what_can_not_be_answered_as_asked_is_refused_first() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    for address in [cluster.master(), cluster.agent(0)] {
        assert_eq!(http::get(&address, "/metrics/snapshot?timeout=5secs").status, 200);
        assert_eq!(http::get(&address, "/metrics/snapshot?timeout=soon").status, 400);
    }
    let call = json!({"type": "RECONCILE_OPERATIONS", "framework_id": {"value": "nobody"},
        "reconcile_operations": {"operations": []}});
    let ask = |accept| {
        let headers = [("Content-Type", "application/json"), ("Accept", accept)];
        let body = call.to_string();
        let mut connection = Connection::open(&cluster.master()).expect("a connection");
        let answer = connection.request("POST", "/api/v1/scheduler", &headers, body.as_bytes());
        answer.expect("an answer").status
    };
    assert_eq!((ask("text/html"), ask("application/json")), (406, 400));
}

#[test]
fn why_says_that_a_framework_has_no_roles() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let options = FrameworkOptions { roles: Vec::new(), ..FrameworkOptions::default() };
    let framework = Framework::subscribe(&cluster.master(), &options);
    for (query, expected) in [
        (format!("framework={}", framework.id), "is subscribed to no role"),
        (format!("framework={}&role=web", framework.id), "is not subscribed to role 'web'"),
    ] {
        let answer = http::get(&cluster.master(), &format!("/why?{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains(expected), "{}", answer.text());
    }
}
