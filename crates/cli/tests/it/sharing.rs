//! Roles, weights, quota and reservations over the older endpoints (spec/master.md 5.2; section 8: roles, weights,
//! quota, reservation endpoints, consumption metrics).

use serde_json::{Value, json};
use testkit::framework::command_task;
use testkit::http::{self, Answer};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

fn cluster() -> Cluster {
    Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1))
}

fn get(cluster: &Cluster, path: &str) -> Value {
    let answer = http::get(&cluster.master(), path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn role(cluster: &Cluster, name: &str) -> Value {
    let roles = get(cluster, "/roles");
    let all = roles["roles"].as_array().expect("roles");
    all.iter().find(|r| r["name"] == name).cloned().unwrap_or_else(|| panic!("{name}: {roles}"))
}

fn names(cluster: &Cluster) -> Vec<String> {
    let roles = get(cluster, "/roles");
    let all = roles["roles"].as_array().expect("roles").iter();
    all.map(|r| r["name"].as_str().expect("a name").to_owned()).collect()
}

fn reserved(role: &str, cpus: f64) -> Value {
    json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus},
        "reservations": [{"type": "DYNAMIC", "role": role}]})
}

fn reserve(cluster: &Cluster, resource: &Value) -> Answer {
    let slaves = get(cluster, "/slaves");
    let id = slaves["slaves"][0]["id"].as_str().expect("an id");
    http::send(
        &cluster.master(),
        "POST",
        "/reserve",
        &format!("slaveId={id}&resources=[{resource}]"),
    )
}

#[test]
fn roles_are_known_by_weight_quota_reservation_or_framework_with_all_above_them() {
    let cluster = cluster();
    assert_eq!(names(&cluster), [] as [&str; 0]);
    let set = http::send(&cluster.master(), "PUT", "/weights", r#"[{"role":"a/b","weight":2.5}]"#);
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(names(&cluster), ["a", "a/b"]);
    assert_eq!(role(&cluster, "a/b")["weight"], 2.5);
    assert_eq!(role(&cluster, "a")["weight"], 1.0);

    let quota = json!({"role": "q", "guarantee": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}]});
    assert_eq!(http::send(&cluster.master(), "POST", "/quota", &quota.to_string()).status, 200);
    let answer = reserve(&cluster, &reserved("r/s", 1.0));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let options = FrameworkOptions { roles: vec!["f/g".to_owned()], ..FrameworkOptions::default() };
    let framework = Framework::subscribe(&cluster.master(), &options);
    assert_eq!(names(&cluster), ["a", "a/b", "f", "f/g", "q", "r", "r/s"]);
    assert_eq!(role(&cluster, "f/g")["frameworks"], json!([framework.id]));
    assert_eq!(role(&cluster, "r")["reserved"]["cpus"], 1.0, "of all below it");

    assert_eq!(http::send(&cluster.master(), "DELETE", "/quota/q", "").status, 200);
    assert!(!names(&cluster).contains(&"q".to_owned()));
}

#[test]
fn the_quota_of_a_role_says_what_is_consumed_of_it() {
    let cluster = cluster();
    let call = json!({"type": "UPDATE_QUOTA", "update_quota": {"quota_configs": [{"role": "q",
        "guarantees": {"cpus": {"value": 2.0}}, "limits": {"cpus": {"value": 3.0}, "mem": {"value": 512.0}}}]}});
    let answer = http::post_json(&cluster.master(), "/api/v1", &[], &call);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(reserve(&cluster, &reserved("q/r", 1.0)).status, 202);
    let options = FrameworkOptions { roles: vec!["q".to_owned()], ..FrameworkOptions::default() };
    let mut framework = Framework::subscribe(&cluster.master(), &options);
    let offer = framework.offers().remove(0);
    let cpus = offer["resources"].as_array().expect("a list").iter().find(|r| r["name"] == "cpus");
    assert_eq!(cpus.expect("cpus")["scalar"]["value"], 2.0, "the reservation counts: {offer}");
    framework.launch(&offer, &[command_task(&offer, "t", "sleep 60", 0.5, 64.0)]);
    framework.until_state("t", "TASK_RUNNING");
    let role = role(&cluster, "q");
    assert_eq!(
        role["quota"],
        json!({"role": "q", "guarantee": {"cpus": 2.0}, "limit": {"cpus": 3.0, "mem": 512.0},
            "consumed": {"cpus": 1.5, "mem": 64.0}})
    );
    assert_eq!(role["allocated"], json!({"cpus": 0.5, "mem": 64.0}));
    let metrics = get(&cluster, "/metrics/snapshot");
    assert_eq!(metrics["allocator/mesos/quota/roles/q/resources/cpus/guarantee"], 2.0);
    assert_eq!(metrics["allocator/mesos/quota/roles/q/resources/cpus/limit"], 3.0);
    assert_eq!(metrics["allocator/mesos/quota/roles/q/resources/cpus/consumed"], 1.5);
    assert_eq!(metrics["allocator/mesos/quota/roles/q/resources/mem/consumed"], 64.0);
    assert_eq!(metrics["allocator/mesos/quota/roles//resources/cpus/consumed"], 1.5, "of all");
    let rest = framework.offers().remove(0);
    let metrics = get(&cluster, "/metrics/snapshot");
    let name = "allocator/mesos/quota/roles/q/resources/cpus/offered_or_allocated";
    assert_eq!(metrics[name], 3.0, "{rest}");
}

#[test]
fn mistakes_of_operators_change_nothing_and_are_named() {
    let cluster = cluster();
    let slaves = get(&cluster, "/slaves");
    let id = slaves["slaves"][0]["id"].as_str().expect("an id").to_owned();
    let unreserved = json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}]);
    let reserved_cpus = |cpus: f64| json!([reserved("r", cpus)]);
    let cases = [
        (
            "PUT",
            "/weights",
            r#"[{"role":"a","weight":0}]"#.to_owned(),
            400,
            "Weights must be positive",
        ),
        (
            "PUT",
            "/weights",
            r#"[{"role":"a","weight":-1}]"#.to_owned(),
            400,
            "Weights must be positive",
        ),
        ("PUT", "/weights", r#"[{"role":"a","weight":"x"}]"#.to_owned(), 400, "weight"),
        ("PUT", "/weights", r#"[{"weight":1}]"#.to_owned(), 400, "role"),
        ("PUT", "/weights", r#"[{"role":"a//b","weight":1}]"#.to_owned(), 400, "Invalid role"),
        ("POST", "/quota", "{".to_owned(), 400, ""),
        ("POST", "/quota", r#"{"role":"q"}"#.to_owned(), 400, "guarantee"),
        ("DELETE", "/quota/q", String::new(), 400, "has no quota set"),
        ("POST", "/reserve", format!("resources={unreserved}"), 400, "slaveId"),
        ("POST", "/reserve", format!("slaveId={id}"), 400, "resources"),
        ("POST", "/reserve", format!("slaveId={id}&resources={{"), 400, "resources"),
        (
            "POST",
            "/reserve",
            format!("slaveId=x&resources={}", reserved_cpus(1.0)),
            400,
            "No agent found",
        ),
        (
            "POST",
            "/reserve",
            format!("slaveId={id}&resources={unreserved}"),
            400,
            "not dynamically reserved",
        ),
        (
            "POST",
            "/reserve",
            format!("slaveId={id}&resources={}", reserved_cpus(99.0)),
            409,
            "does not contain",
        ),
        (
            "POST",
            "/unreserve",
            format!("slaveId={id}&resources={}", reserved_cpus(1.0)),
            409,
            "does not contain",
        ),
    ];
    for (method, path, body, status, expected) in cases {
        let answer = http::send(&cluster.master(), method, path, &body);
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text());
        assert!(answer.text().contains(expected), "{method} {path} {body}: {}", answer.text());
    }
    assert_eq!(names(&cluster), [] as [&str; 0]);
    assert_eq!(get(&cluster, "/weights"), json!([]));
}

#[test]
fn agents_show_their_reservations_in_full() {
    let cluster = cluster();
    assert_eq!(reserve(&cluster, &reserved("r", 1.5)).status, 202);
    let slave = get(&cluster, "/slaves")["slaves"][0].clone();
    assert_eq!(slave["reserved_resources"]["r"]["cpus"], 1.5);
    assert_eq!(slave["unreserved_resources"]["cpus"], 2.5);
    let full = &slave["reserved_resources_full"]["r"][0];
    assert_eq!(full["reservation"], json!({}), "the older form: {full}");
    assert_eq!((&full["role"], &full["reservations"][0]["type"]), (&json!("r"), &json!("DYNAMIC")));
}
