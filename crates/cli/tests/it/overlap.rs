//! Offer overlap with real processes: two frameworks race for an agent.

use serde_json::{Value, json};
use testkit::framework::{command_task, text};
use testkit::http;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

fn get(cluster: &Cluster, path: &str) -> Value {
    let answer = http::get(&cluster.master(), path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn cpus(offer: &Value) -> f64 {
    let resources = offer["resources"].as_array().expect("resources").iter();
    resources.filter(|r| r["name"] == "cpus").filter_map(|r| r["scalar"]["value"].as_f64()).sum()
}

fn framework(cluster: &Cluster, capabilities: &[&str]) -> Framework {
    let mut options =
        FrameworkOptions { roles: vec!["race".to_owned()], ..FrameworkOptions::default() };
    options.capabilities.extend(capabilities.iter().map(|c| (*c).to_owned()));
    Framework::subscribe(&cluster.master(), &options)
}

#[test]
fn the_first_accept_wins_and_the_loser_is_told() {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.master_flags.push("--offer_overlap=race=2,*=1".to_owned());
    let cluster = Cluster::start(options);
    let (mut one, mut two) = (framework(&cluster, &[]), framework(&cluster, &["PARTITION_AWARE"]));
    let (mine, theirs) = (one.offers().remove(0), two.offers().remove(0));
    assert_eq!(mine["resources"], theirs["resources"], "both are offered the same");

    let total = get(&cluster, "/slaves")["slaves"][0]["resources"]["cpus"].clone();
    let slaves = get(&cluster, "/slaves");
    assert_eq!(slaves["slaves"][0]["offered_resources"]["cpus"], total, "it counts once");
    let roles = get(&cluster, "/roles");
    let role = roles["roles"].as_array().expect("roles").iter().find(|r| r["name"] == "race");
    let role = role.expect("the role");
    assert_eq!((&role["offer_overlap"], &role["offered"]["cpus"]), (&json!(2), &total));

    two.launch(&theirs, &[command_task(&theirs, "t", "sleep 60", 1.0, 32.0)]);
    let (_, event) = one.event(&["RESCIND"], |_| true);
    assert_eq!(event["rescind"]["offer_id"], mine["id"]);
    two.until_state("t", "TASK_RUNNING");
    one.launch(&mine, &[command_task(&mine, "late", "sleep 60", 1.0, 32.0)]);
    let status = one.update(Some("late")).1;
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("TASK_LOST"), &json!("REASON_INVALID_OFFERS"))
    );
    assert!(text(&status["message"]).ends_with("is no longer valid"), "{status}");

    let rest = one.offers().remove(0);
    assert_eq!(cpus(&rest), cpus(&mine) - 1.0, "what the winner left is offered to both");
    assert_eq!(two.offers().remove(0)["resources"], rest["resources"]);
    one.launch(&rest, &[command_task(&rest, "again", "true", 1.0, 32.0)]);
    assert_eq!(one.until_end("again").last().expect("a status")["state"], "TASK_FINISHED");
    let metrics = get(&cluster, "/metrics/snapshot");
    assert_eq!(metrics["master/soft_offers_claimed"], 2);
}

fn proffer(cluster: &Cluster, words: &[&str]) -> (bool, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_proffer"));
    let out = command.args(words).args(["--master", &cluster.master()]).output().expect("a run");
    let text = if out.status.success() { out.stdout } else { out.stderr };
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_command_line_sets_lists_and_removes_overlaps() {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 0));
    let (done, text) = proffer(&cluster, &["overlap", "set", "race/fast", "all"]);
    assert!(done && text.contains("race/fast  all"), "{text}");
    let (done, text) = proffer(&cluster, &["overlap", "set", "race", "0"]);
    assert!(!done && text.contains("'0'"), "{text}");
    let (done, text) = proffer(&cluster, &["overlap", "set", "a//b", "2"]);
    assert!(!done && text.contains("'a//b'"), "{text}");
    let (_, text) = proffer(&cluster, &["overlap", "list", "--json"]);
    let list: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(list["overlaps"][1], json!({"role": "race/fast", "overlap": "all"}));
    let (done, text) = proffer(&cluster, &["overlap", "remove", "race/fast"]);
    assert!(done && !text.contains("race"), "{text}");
    let (done, text) = proffer(&cluster, &["overlap", "remove", "nope"]);
    assert!(!done && text.contains("none was set for any role"), "{text}");
    proffer(&cluster, &["overlap", "set", "race", "2"]);
    let (done, text) = proffer(&cluster, &["overlap", "remove", "nope"]);
    assert!(
        !done && text.contains("No overlap was set for role 'nope'; one was set for: race"),
        "{text}"
    );
}

#[test]
fn operators_set_and_read_overlaps() {
    let mut cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let shown = |cluster: &Cluster| get(cluster, "/master/offer-overlap")["overlaps"].clone();
    let default = json!({"role": "*", "overlap": 1});
    assert_eq!(shown(&cluster), json!([default]));
    let put = |cluster: &Cluster, body: Value| {
        let answer = http::send(&cluster.master(), "PUT", "/offer-overlap", &body.to_string());
        (answer.status, answer.text())
    };
    assert_eq!(put(&cluster, json!({"role": "race", "overlap": "all"})).0, 200);
    let (status, text) = put(&cluster, json!({"role": "a//b", "overlap": 2}));
    assert_eq!(status, 400);
    assert!(text.contains("'role'"), "{text}");
    assert_eq!(put(&cluster, json!({"role": "race", "overlap": 0})).0, 400);
    assert_eq!(shown(&cluster), json!([default, {"role": "race", "overlap": "all"}]));
    cluster.kill_master();
    cluster.start_master();
    cluster.wait_for_agents(1);
    assert_eq!(shown(&cluster).as_array().map(Vec::len), Some(2), "it is in the registry");
    let mut all: Vec<Framework> = (0..3).map(|_| framework(&cluster, &[])).collect();
    assert!(all.iter_mut().all(|f| f.offers().len() == 1), "each is offered the agent");
    assert_eq!(http::send(&cluster.master(), "DELETE", "/offer-overlap?role=race", "").status, 200);
    assert_eq!(shown(&cluster), json!([default]));
    assert_eq!(http::send(&cluster.master(), "POST", "/offer-overlap", "{}").status, 405);
}
