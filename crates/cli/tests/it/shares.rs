//! Shares as operators set them and frameworks feel them (docs/sharing.md).

use crate::commands::{done, refused};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};
use testkit::http;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

#[test]
fn a_body_that_is_too_large_is_told_so() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 0));
    for (method, path) in [("PUT", "/shares"), ("PUT", "/weights"), ("POST", "/quota")] {
        let mut stream = TcpStream::connect(cluster.master()).expect("a connection");
        // It is refused before any of it is sent.
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: m\r\nContent-Length: 4194305\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("a request");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 413", "{path}");
    }
}

fn put(cluster: &Cluster, body: &Value) {
    let answer = http::send(&cluster.master(), "PUT", "/shares", &body.to_string());
    assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{body}");
}

fn shares(cluster: &Cluster) -> Vec<Value> {
    let answer = http::get(&cluster.master(), "/master/shares");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["shares"].as_array().expect("a list").clone()
}

fn of_role(role: &str) -> FrameworkOptions {
    FrameworkOptions { roles: vec![role.to_owned()], ..FrameworkOptions::default() }
}

fn cpus(offer: &Value) -> f64 {
    let all = offer["resources"].as_array().expect("resources");
    let cpus = all.iter().find(|r| r["name"] == "cpus");
    cpus.and_then(|r| r["scalar"]["value"].as_f64()).unwrap_or(0.0)
}

/// A schedule that holds all of the day after the next one only.
fn another_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    // The epoch began on a Thursday.
    let days = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    let today = usize::try_from(now.as_secs() / 86400 % 7).expect("small");
    format!("{} 00:00-24:00 UTC", days[(today + 2) % 7])
}

#[test]
fn a_share_is_kept_for_its_role_and_survives_the_master() {
    let mut cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    put(&cluster, &json!({"role": "ads", "percent": {"cpus": 75}, "schedule": "always"}));
    let mut others = Framework::subscribe(&cluster.master(), &of_role("web"));
    assert_eq!(cpus(&others.offers()[0]), 1.0);
    let mut owner = Framework::subscribe(&cluster.master(), &of_role("ads/x"));
    assert_eq!(cpus(&owner.offers()[0]), 3.0);

    let expected = json!({"role": "ads", "percent": {"cpus": 75.0}, "amounts": {},
        "schedule": ["always"], "active": true, "next_change": null, "guarantee": {"cpus": 3.0}});
    assert_eq!(shares(&cluster), std::slice::from_ref(&expected));
    let roles = http::get(&cluster.master(), "/roles").json();
    let ads = roles["roles"].as_array().and_then(|r| r.iter().find(|r| r["name"] == "ads"));
    assert_eq!(ads.expect("the role")["share"], expected);
    let metrics = http::get(&cluster.master(), "/metrics/snapshot").json();
    assert_eq!(metrics["allocator/shares/roles/ads/active"], 1);
    assert_eq!(metrics["allocator/shares/roles/ads/resources/cpus/guarantee"], 3.0);

    cluster.kill_master();
    cluster.start_master();
    cluster.wait_for_agents(1);
    assert_eq!(shares(&cluster), [expected]);
    let mut others = Framework::subscribe(&cluster.master(), &of_role("web"));
    assert_eq!(cpus(&others.offers()[0]), 1.0);
    assert_eq!(http::send(&cluster.master(), "DELETE", "/shares?role=ads", "").status, 200);
    assert_eq!(cpus(&others.offers()[0]), 3.0);
    assert!(shares(&cluster).is_empty());
}

#[test]
fn a_share_of_another_day_is_shown_and_holds_nothing_back() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let schedule = another_day();
    put(&cluster, &json!({"role": "ads", "amounts": {"cpus": 2}, "schedule": [schedule]}));
    let mut others = Framework::subscribe(&cluster.master(), &of_role("web"));
    assert_eq!(cpus(&others.offers()[0]), 4.0);
    let share = shares(&cluster).remove(0);
    assert_eq!((&share["active"], &share["guarantee"]), (&json!(false), &json!({})));
    assert_eq!(share["schedule"], json!([schedule]));
    let next = share["next_change"].as_f64().expect("a time");
    assert_eq!(next % 86400.0, 0.0, "midnight");
}

#[test]
fn requests_that_make_no_sense_are_refused_with_what_to_do() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    for (method, path, body, status, expected) in [
        ("PUT", "/shares", "{", 400, "Invalid share: the body is no JSON"),
        (
            "POST",
            "/shares",
            r#"{"role":"a"}"#,
            400,
            "Invalid share: expected 'percent' or 'amounts'",
        ),
        (
            "POST",
            "/master/shares",
            r#"{"role":"a","percent":{"cpus":10},"schedule":["monday"]}"#,
            400,
            "Invalid share: 'schedule': schedule 'monday': expected 'always', or days",
        ),
        (
            "PUT",
            "/shares",
            r#"{"role":"a","amounts":{"gpus":1}}"#,
            400,
            "Invalid share: total guarantees 'gpus:1' exceed cluster capacity",
        ),
        ("DELETE", "/shares", "", 400, "Expecting 'role=<name>' in the query"),
        ("DELETE", "/shares?role=a", "", 404, "Role 'a' has no share"),
        ("PATCH", "/shares", "", 405, ""),
    ] {
        let answer = http::send(&cluster.master(), method, path, body);
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text());
        assert!(answer.text().starts_with(expected), "{body}: {}", answer.text());
    }
    assert!(shares(&cluster).is_empty());
}

#[test]
fn the_command_sets_lists_and_removes_shares() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let master = cluster.master();
    let list = done(&master, &["share", "list"]);
    assert_eq!(list, "No role has a share.\n");
    let when = ["--when", "mon-sun 00:00-24:00 europe/berlin"];
    let out = done(&master, &[&["share", "set", "ads", "cpus=25%", "mem=512"], &when[..]].concat());
    let lines = [
        "ROLE  SHARE             WHEN                             NOW    GUARANTEED NOW",
        "ads   cpus=25% mem=512  daily 00:00-24:00 Europe/Berlin  holds  cpus=1 mem=512",
        "",
    ];
    assert_eq!(out, lines.join("\n"));
    let mut others = Framework::subscribe(&master, &of_role("web"));
    assert_eq!(cpus(&others.offers()[0]), 3.0);
    refused(
        &master,
        &["share", "set", "db", "cpus=80%"],
        1,
        "shares of 'cpus' add up to 105 percent",
    );
    refused(&master, &["share", "set", "db", "cpus=80%"], 1, "(use --force to bypass this check)");
    refused(&master, &["share", "set", "db", "cpus"], 2, "'cpus': expected a percentage");
    refused(&master, &["share", "set", "db", "cpus=1%", "cpus=2%"], 2, "'cpus' is given twice");
    let wrong = ["share", "set", "db", "cpus=1", "--when", "mon 8-20 UTC"];
    refused(&master, &wrong, 2, "--when: schedule 'mon 8-20 UTC': '8-20' are no hours");
    let forced = done(&master, &["share", "set", "db/x", "cpus=80%", "--force", "--json"]);
    let forced: Value = serde_json::from_str(&forced).expect("JSON");
    assert_eq!(forced["shares"][1]["guarantee"]["cpus"], 3.2);
    refused(&master, &["share", "remove", "web"], 1, "Role 'web' has no share");
    done(&master, &["share", "remove", "db/x"]);
    assert_eq!(done(&master, &["share", "remove", "ads"]), "No role has a share.\n");
}
