//! What-if: a snapshot in, shares out.

use allocator::{Config, Sorter};
use resources::Quantities;
use serde_json::{Value, json};
use sim::what_if::{Change, Demand, Outcome, Snapshot, apply, replay};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn config() -> Config {
    Config {
        allocation_interval: Duration::from_secs(1),
        coalesce: Duration::from_millis(10),
        min_allocatable: Quantities::parse_alternatives("cpus:0.01|mem:32").expect("valid"),
        fair_sharing_excluded: BTreeSet::new(),
        filter_gpu_resources: true,
        domain: None,
        weights: BTreeMap::new(),
        role_sorter: Sorter::Drf,
        framework_sorter: Sorter::Drf,
        max_time_to_offer: Duration::from_secs(30),
        lending: false,
        lending_min_idle: Duration::from_secs(60),
    }
}

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

fn used(name: &str, value: f64, role: &str) -> Value {
    let mut resource = scalar(name, value);
    resource["allocation_info"] = json!({"role": role});
    resource
}

fn agent(number: usize, more: &[Value]) -> Value {
    let capabilities = ["MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT"];
    let mut total = vec![scalar("cpus", 4.0), scalar("mem", 4096.0)];
    total.extend_from_slice(more);
    json!({
        "agent_info": {"id": {"value": format!("c-S{number}")}, "hostname": format!("h{number}")},
        "active": true, "version": "1.11.0", "total_resources": total,
        "capabilities": capabilities.map(|c| json!({"type": c})),
    })
}

fn framework(name: &str, role: &str) -> Value {
    json!({
        "framework_info": {"user": "u", "name": name, "id": {"value": format!("c-{name}")}, "roles": [role],
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}]},
        "active": true, "connected": true, "recovered": false,
    })
}

fn task(framework: &str, agent: usize, resources: &[Value], state: &str) -> Value {
    json!({
        "name": "t", "task_id": {"value": "t"}, "framework_id": {"value": format!("c-{framework}")},
        "agent_id": {"value": format!("c-S{agent}")}, "state": state, "resources": resources,
    })
}

fn told(agents: Vec<Value>, frameworks: Vec<Value>, tasks: Vec<Value>) -> Value {
    json!({
        "get_state": {
            "get_agents": {"agents": agents}, "get_frameworks": {"frameworks": frameworks},
            "get_tasks": {"tasks": tasks}, "get_executors": {"executors": []},
        },
        "quota": {"configs": []}, "weights": [], "suppressed": {},
    })
}

fn six_agents() -> Value {
    let agents = (0..6).map(|n| agent(n, &[])).collect();
    let tasks = vec![
        task("a", 0, &[used("cpus", 2.0, "web"), used("mem", 512.0, "web")], "TASK_RUNNING"),
        task("a", 0, &[used("cpus", 2.0, "web")], "TASK_FINISHED"),
    ];
    told(agents, vec![framework("a", "web"), framework("b", "batch")], tasks)
}

fn parse(told: &Value) -> Snapshot {
    Snapshot::parse(told).expect("a snapshot")
}

fn one_cpu() -> Demand {
    Demand::Task(Quantities::parse("cpus:1;mem:256").expect("valid"))
}

fn cpus(outcome: &Outcome, role: &str) -> f64 {
    resources::from_milli(outcome.of_role(role).get("cpus").copied().unwrap_or(0))
}

fn changed(snapshot: &Snapshot, changes: &[Result<Change, String>]) -> Snapshot {
    let changes: Vec<Change> = changes.iter().map(|c| c.clone().expect("a change")).collect();
    apply(snapshot.clone(), &changes).expect("it fits")
}

#[test]
fn what_is_used_now_is_counted_and_ended_tasks_are_not() {
    let outcome = replay(&parse(&six_agents()), &config(), &Demand::Nothing);
    assert_eq!((cpus(&outcome, "web"), cpus(&outcome, "batch")), (2.0, 0.0));
    assert_eq!((outcome.total["cpus"], outcome.idle["cpus"]), (24_000, 22_000));
    assert_eq!((outcome.agents, outcome.idle_agents), (6, 6));
    let share = outcome.dominant_share(&outcome.of_role("web"));
    assert!((share - 2.0 / 24.0).abs() < 1e-9, "{share}");
}

#[test]
fn shares_follow_weights() {
    let snapshot = parse(&six_agents());
    let current = replay(&snapshot, &config(), &one_cpu());
    assert_eq!((cpus(&current, "web"), cpus(&current, "batch")), (12.0, 12.0));
    let changed = changed(&snapshot, &[Change::weight("web=2")]);
    let outcome = replay(&changed, &config(), &one_cpu());
    assert_eq!((cpus(&outcome, "web"), cpus(&outcome, "batch")), (16.0, 8.0));
    assert_eq!(outcome.idle.get("cpus"), None);
    let everything = replay(&snapshot, &config(), &Demand::Everything);
    assert_eq!(cpus(&everything, "web") + cpus(&everything, "batch"), 24.0);
}

#[test]
fn a_limit_leaves_things_idle_and_says_so() {
    let snapshot = parse(&six_agents());
    let quotas = [Change::quota("web:limit=cpus=3"), Change::quota("batch:limit=cpus=5")];
    let outcome = replay(&changed(&snapshot, &quotas), &config(), &one_cpu());
    assert_eq!((cpus(&outcome, "web"), cpus(&outcome, "batch")), (3.0, 5.0));
    assert_eq!(outcome.idle["cpus"], 16_000);
    let reasons: Vec<_> = outcome.reasons.iter().map(|r| (r.why.describe().0, r.agents)).collect();
    let rest = [("LIMIT", 5), ("LIMIT", 5), ("TASK_TOO_LARGE", 1), ("TASK_TOO_LARGE", 1)];
    assert_eq!(reasons, rest);
    let large = Demand::Task(Quantities::parse("cpus:3;mem:256").expect("valid"));
    let outcome = replay(&snapshot, &config(), &large);
    let reasons: Vec<_> = outcome.reasons.iter().map(|r| (r.why.describe().0, r.agents)).collect();
    assert_eq!(reasons, [("TASK_TOO_LARGE", 6), ("TASK_TOO_LARGE", 6)]);
}

#[test]
fn guarantees_are_met_or_said_to_be_short() {
    let snapshot = parse(&six_agents());
    let met = changed(&snapshot, &[Change::quota("web:guarantee=cpus=20")]);
    let outcome = replay(&met, &config(), &one_cpu());
    assert_eq!((cpus(&outcome, "web"), cpus(&outcome, "batch")), (20.0, 4.0));
    let [guarantee] = outcome.guarantees.as_slice() else { panic!("{:?}", outcome.guarantees) };
    assert_eq!((guarantee.guaranteed, guarantee.has, guarantee.is_wanted), (20_000, 20_000, true));

    let short = changed(
        &snapshot,
        &[Change::quota("web:guarantee=cpus=30"), Change::share("ops:cpus=10%")],
    );
    let outcome = replay(&short, &config(), &one_cpu());
    let of = |role: &str| outcome.guarantees.iter().find(|g| g.role == role).expect("a guarantee");
    assert!(of("web").has < of("web").guaranteed);
    assert_eq!((of("ops").guaranteed, of("ops").has, of("ops").is_wanted), (2_400, 0, false));
}

#[test]
fn agents_come_and_go() {
    let snapshot = parse(&six_agents());
    let more = changed(&snapshot, &[Change::add_agents("2")]);
    assert_eq!(replay(&more, &config(), &one_cpu()).total["cpus"], 32_000);
    let larger = changed(&snapshot, &[Change::add_agents("1:cpus:64;mem:65536")]);
    assert_eq!(replay(&larger, &config(), &one_cpu()).total["cpus"], 88_000);
    for word in ["c-S0", "S0", "h0"] {
        let fewer = changed(&snapshot, &[Ok(Change::RemoveAgent(word.to_owned()))]);
        let outcome = replay(&fewer, &config(), &Demand::Nothing);
        assert_eq!((outcome.total["cpus"], cpus(&outcome, "web")), (20_000, 0.0), "{word}");
    }
    let error = apply(snapshot, &[Change::RemoveAgent("S9".to_owned())]).expect_err("unknown");
    assert_eq!(error, "there is no agent 'S9' to remove");
}

#[test]
fn reservations_are_only_for_their_role() {
    let mut reserved = scalar("gpus", 2.0);
    reserved["reservations"] = json!([{"type": "DYNAMIC", "role": "ml"}]);
    let told = told(vec![agent(0, &[reserved])], vec![framework("a", "web")], vec![]);
    let outcome = replay(&parse(&told), &config(), &Demand::Everything);
    assert_eq!(outcome.idle.get("gpus"), Some(&2_000));
}

#[test]
fn what_is_kept_for_an_idle_role_is_lent_if_the_master_lends() {
    let mut reserved = scalar("cpus", 4.0);
    reserved["reservations"] = json!([{"type": "DYNAMIC", "role": "ml"}]);
    let mut borrower = framework("a", "web");
    let capabilities = borrower["framework_info"]["capabilities"].as_array_mut().expect("a list");
    capabilities.push(json!({"type": "REVOCABLE_RESOURCES"}));
    let mut told = told(vec![agent(0, &[reserved])], vec![borrower], vec![]);
    let lending = Config { lending: true, ..config() };
    let everything = Demand::Everything;
    assert_eq!(cpus(&replay(&parse(&told), &config(), &everything), "web"), 4.0);
    let outcome = replay(&parse(&told), &lending, &everything);
    assert_eq!((cpus(&outcome, "web"), outcome.idle.get("cpus")), (8.0, None));
    assert_eq!(cpus(&replay(&parse(&told), &lending, &one_cpu()), "web"), 4.0);
    // The owner is back: what it lent is the owner's again.
    let frameworks = &mut told["get_state"]["get_frameworks"]["frameworks"];
    frameworks.as_array_mut().expect("a list").push(framework("b", "ml"));
    let mut lent = used("cpus", 3.0, "web");
    lent["revocable"] = json!({});
    told["get_state"]["get_tasks"]["tasks"] = json!([task("a", 0, &[lent], "TASK_RUNNING")]);
    let now = replay(&parse(&told), &lending, &Demand::Nothing);
    assert_eq!((cpus(&now, "web"), now.idle["cpus"]), (3.0, 5_000));
    let outcome = replay(&parse(&told), &lending, &everything);
    let (web, ml) = (cpus(&outcome, "web"), cpus(&outcome, "ml"));
    assert!(ml >= 4.0 && web + ml == 8.0, "{web} {ml}");
}

#[test]
fn suppressed_roles_take_nothing() {
    let mut told = six_agents();
    told["suppressed"] = json!({"c-b": ["batch"]});
    let outcome = replay(&parse(&told), &config(), &Demand::Everything);
    assert_eq!((cpus(&outcome, "web"), cpus(&outcome, "batch")), (24.0, 0.0));
}

#[test]
fn settings_of_the_snapshot_count() {
    let mut told = six_agents();
    told["quota"] = json!({"configs": [{"role": "web", "limits": {"cpus": {"value": 3.0}}}]});
    told["weights"] = json!([{"role": "batch", "weight": 3.0}]);
    told["shares"] = json!({"shares": [
        {"role": "batch", "percent": {"cpus": 50.0}, "amounts": {}, "active": true},
        {"role": "web", "percent": {"cpus": 90.0}, "amounts": {}, "active": false},
    ]});
    let snapshot = parse(&told);
    assert_eq!(snapshot.settings.weights["batch"], 3.0);
    assert_eq!(snapshot.notes, Vec::<String>::new());
    let outcome = replay(&snapshot, &config(), &one_cpu());
    assert_eq!((cpus(&outcome, "web"), cpus(&outcome, "batch")), (3.0, 21.0));
    let [share] = outcome.guarantees.as_slice() else { panic!("{:?}", outcome.guarantees) };
    assert_eq!((share.role.as_str(), share.guaranteed), ("batch", 12_000));
    let freed = changed(&snapshot, &[Change::quota("web:none")]);
    assert!(cpus(&replay(&freed, &config(), &one_cpu()), "web") > 3.0);
}

#[test]
fn a_plain_state_is_enough_with_notes_on_what_is_missing() {
    let told = json!({
        "slaves": [{
            "id": "c-S0", "hostname": "h0", "active": true,
            "attributes": {"rack": "r1", "generation": 3.0},
            "resources": {"cpus": 8.0, "mem": 1024.0, "disk": 0.0, "gpus": 0.0, "ports": "[31000-31009]"},
            "unreserved_resources": {"cpus": 6.0, "mem": 1024.0, "disk": 0.0, "gpus": 0.0, "ports": "[31000-31009]"},
            "reserved_resources": {"web": {"cpus": 2.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0}},
            "capabilities": ["MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT"],
        }],
        "frameworks": [{
            "id": "c-a", "name": "a", "active": true, "roles": ["web"], "capabilities": ["MULTI_ROLE"],
            "tasks": [
                {"slave_id": "c-S0", "role": "web", "state": "TASK_RUNNING",
                    "resources": {"cpus": 3.0, "mem": 100.0, "disk": 0.0, "gpus": 0.0, "ports": "[31000-31001]"}},
                {"slave_id": "c-S0", "role": "web", "state": "TASK_LOST", "resources": {"cpus": 3.0}},
            ],
            "executors": [{"slave_id": "c-S0", "role": "web", "resources": {"cpus": 0.5, "mem": 32.0}}],
        }, {"id": "c-b", "name": "b", "active": true, "role": "batch", "capabilities": []}],
    });
    let snapshot = parse(&told);
    assert!(
        snapshot.notes.iter().any(|n| n.contains("'quota' is missing")),
        "{:?}",
        snapshot.notes
    );
    let now = replay(&snapshot, &config(), &Demand::Nothing);
    assert_eq!((cpus(&now, "web"), now.idle["cpus"]), (3.5, 4_500));
    // What is reserved was used first, so the rest is there for all.
    let small = Demand::Task(Quantities::parse("cpus:1;mem:32").expect("valid"));
    let full = replay(&snapshot, &config(), &small);
    assert_eq!((cpus(&full, "web"), cpus(&full, "batch")), (3.5, 4.0), "{full:?}");
}

#[test]
fn what_is_wrong_is_named() {
    let refused = |told: &Value, why: &str| {
        let error = Snapshot::parse(told).expect_err("refused");
        assert!(error.contains(why), "{error}");
    };
    refused(&json!({}), "neither 'get_state' nor 'slaves'");
    refused(&json!({"slaves": [{"hostname": "h"}]}), "slaves[0].id: expected a text");
    refused(
        &json!({"slaves": [{"id": "a", "hostname": "h", "resources": {"cpus": []}}]}),
        "slaves[0].resources.cpus",
    );
    let mut told = six_agents();
    told["get_state"]["get_tasks"]["tasks"][0]["task_id"] = json!({});
    refused(&told, "get_state.get_tasks.tasks[0].task_id.value");
    told = six_agents();
    told["weights"] = json!([{"role": "web", "weight": 0}]);
    refused(&told, "weights: expected role and weight");

    let wrong = |change: Result<Change, String>, why: &str| {
        let error = change.expect_err("refused");
        assert!(error.contains(why), "{error}");
    };
    wrong(Change::quota("web"), "'web': expected ROLE:guarantee=");
    wrong(Change::quota("a//b:none"), "'a//b' is no role");
    wrong(Change::quota("web:max=cpus=1"), "'max': expected ROLE:guarantee=");
    wrong(Change::quota("web:limit=cpus"), "'cpus': expected cpus=10");
    wrong(Change::quota("web:limit=cpus=-1"), "'cpus=-1': expected cpus=10");
    wrong(
        Change::quota("web:guarantee=cpus=2:limit=cpus=1"),
        "the guarantee of cpus is above its limit",
    );
    wrong(Change::weight("web"), "expected ROLE=WEIGHT");
    wrong(Change::weight("web=-2"), "expected ROLE=WEIGHT");
    wrong(Change::share("web:cpus=120%"), "expected cpus=20% or cpus=10");
    wrong(Change::add_agents("x"), "expected N or N:cpus:8;mem:16384");
    wrong(Change::add_agents("0"), "expected N or N:cpus:8;mem:16384");
    wrong(Change::add_agents("1:cpus"), "cpus");
    let empty = parse(&crate::what_if::told(vec![], vec![], vec![]));
    wrong(
        apply(empty, &[Change::add_agents("1").expect("valid")])
            .map(|_| Change::RemoveAgent(String::new())),
        "no agent to copy",
    );
}

#[test]
fn agents_that_are_deactivated_are_offered_to_nobody() {
    let mut told = six_agents();
    for number in 0..4 {
        told["get_state"]["get_agents"]["agents"][number]["deactivated"] = json!(true);
    }
    told["flags"] = json!({"whitelist": "file:///etc/hosts.offered"});
    let snapshot = parse(&told);
    assert_eq!(snapshot.notes, ["the whitelist of hosts is not replayed: all count as listed"]);
    let outcome = replay(&snapshot, &config(), &Demand::Everything);
    // Two agents, and what ran before.
    assert_eq!(cpus(&outcome, "web") + cpus(&outcome, "batch"), 10.0);
    let reasons: Vec<_> = outcome.reasons.iter().map(|r| (r.why.describe().0, r.agents)).collect();
    assert_eq!(reasons, [("AGENT_INACTIVE", 4), ("AGENT_INACTIVE", 4)]);
}
