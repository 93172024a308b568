//! Reservations and volumes are made and removed while the agent is killed: master, agent and disk agree in the end.

use super::{Dice, cluster};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use testkit::{Cluster, http, wait};

const KILLS: usize = 40;
const VOLUMES: u64 = 5;
/// What is done to a volume, in a circle.
const STEPS: [(&str, &str); 4] = [
    ("/reserve", "resources"),
    ("/create-volumes", "volumes"),
    ("/destroy-volumes", "volumes"),
    ("/unreserve", "resources"),
];

fn disk(volume: u64, step: usize) -> Value {
    let role = format!("role{volume}");
    let mut disk = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 16.0},
        "reservations": [{"type": "DYNAMIC", "role": role}]});
    if STEPS[step].1 == "volumes" {
        disk["disk"] = json!({"persistence": {"id": "v"},
            "volume": {"container_path": "data", "mode": "RW"}});
    }
    disk
}

/// All reservations and volumes that somebody knows, as texts.
fn known(state: &Value) -> BTreeSet<String> {
    let roles = state["reserved_resources_full"].as_object().cloned().unwrap_or_default();
    let all = roles.values().filter_map(Value::as_array).flatten();
    // A reserved disk and a volume on it, by their role.
    all.map(|r| {
        let role = r["reservations"][0]["role"].as_str().or(r["role"].as_str()).unwrap_or_default();
        format!("{role}{}", if r["disk"].is_null() { "" } else { " volume" })
    })
    .collect()
}

fn on_disk(cluster: &Cluster) -> BTreeSet<String> {
    let roles = std::fs::read_dir(cluster.directory().join("agent0/volumes/roles"));
    let roles = roles.into_iter().flatten().flatten().filter(|role| role.path().join("v").is_dir());
    roles.map(|role| format!("{} volume", role.file_name().to_string_lossy())).collect()
}

fn of_master(cluster: &Cluster) -> Value {
    http::get(&cluster.master(), "/slaves").json()["slaves"][0].clone()
}

#[test]
fn reservations_and_volumes_are_whole_after_any_kill() {
    let mut dice = Dice::cast();
    let mut cluster = cluster();
    let id = of_master(&cluster)["id"].as_str().expect("an id").to_owned();
    // For each volume the step that comes next.
    let mut next = [0_usize; VOLUMES as usize];
    let mut taken = 0;
    for _ in 0..KILLS {
        let end = Instant::now() + dice.life();
        while Instant::now() < end {
            let volume = dice.below(VOLUMES);
            let step = next[usize::try_from(volume).expect("small")];
            let (path, list) = STEPS[step];
            let body = format!("slaveId={id}&{list}={}", json!([disk(volume, step)]));
            let answer = http::send(&cluster.master(), "POST", path, &body);
            // Refused while the agent is away, or when the step before it was lost with the agent.
            if answer.status == 202 {
                taken += 1;
                next[usize::try_from(volume).expect("small")] = (step + 1) % STEPS.len();
            } else if answer.status == 400 {
                let at = known(&of_master(&cluster));
                let role = format!("role{volume}");
                let step = if at.contains(&format!("{role} volume")) {
                    2
                } else if at.contains(&role) {
                    1 + 2 * usize::from(dice.below(2) == 0)
                } else {
                    0
                };
                next[usize::try_from(volume).expect("small")] = step;
            }
        }
        cluster.kill_agent(0);
        cluster.start_agent(0);
    }
    // The master may have heard the end of nobody yet.
    let agent = cluster.agent(0);
    let listens = || http::Connection::open(&agent).ok().map(drop);
    wait::until("the agent listens", Duration::from_secs(20), listens);
    cluster.wait_for_agents(1);
    println!("{taken} operations were taken between {KILLS} kills");
    wait::until("master, agent and disk agree", Duration::from_secs(20), || {
        let master = known(&of_master(&cluster));
        let agent = known(&http::get(&cluster.agent(0), "/state").json());
        let volumes: BTreeSet<String> =
            agent.iter().filter(|r| r.ends_with("volume")).cloned().collect();
        (master == agent && volumes == on_disk(&cluster)).then_some(())
    });
    assert!(taken > 20, "something was done");
    let operations = json!({"type": "GET_OPERATIONS"});
    wait::until("no operation is left", Duration::from_secs(20), || {
        let answer = http::post_json(&cluster.agent(0), "/api/v1", &[], &operations).json();
        let left = answer["get_operations"]["operations"].as_array().map_or(0, Vec::len);
        (left == 0).then_some(())
    });
}
