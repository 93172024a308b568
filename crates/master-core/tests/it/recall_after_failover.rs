//! A new master recalls what is lent as the old one did: everything that is missing at once.

use crate::*;

const BORROWER: Token = Token(2);
const GRACE: Duration = Duration::from_secs(3);
/// Milliseconds until the owner has its own: a grace period, as tasks end when they are told, and a cycle.
const BOUND: u64 = 4000;

fn settings(id: &str) -> Config {
    let mut settings = config();
    settings.info.id = id.into();
    settings.preemption_grace_period = GRACE;
    settings.allocator.lending_min_idle = Duration::from_secs(1);
    settings.agent_ping_timeout = Duration::from_secs(100_000);
    settings
}

fn subscribe(w: &mut World, stream: Token, role: &str, id: Option<&str>) -> Vec<Effect> {
    let mut info = framework_info(&["REVOCABLE_RESOURCES", "PARTITION_AWARE"]);
    info["name"] = json!(role);
    info["roles"] = json!([role]);
    info["checkpoint"] = json!(true);
    info["failover_timeout"] = json!(10_000.0);
    if let Some(id) = id {
        info["id"] = json!({"value": id});
    }
    w.subscribe(stream, info)
}

fn agent() -> internal::Register {
    registration("cpus(own):3;mem(own):300;cpus:1;mem:100")
}

/// A master that lends an agent to tasks with so many cpus, and what the agent says of itself then.
fn lent(cpus: &[f64]) -> (World, internal::Register) {
    let mut w = world_with(settings("m"), Vec::new());
    subscribe(&mut w, BORROWER, "batch", None);
    let mut effects = w.register(AGENT, agent());
    effects.extend(w.wait(3));
    let events = events(&effects, BORROWER);
    let offers = events.iter().filter(|e| e["type"] == "OFFERS");
    let mut offers =
        offers.flat_map(|e| e["offers"]["offers"].as_array().cloned().unwrap_or_default());
    let offer = offers.rfind(|o| o.to_string().contains("revocable")).expect("a loan");
    let tasks: Vec<Value> = cpus
        .iter()
        .enumerate()
        .map(|(n, cpus)| {
            json!({"name": n.to_string(), "task_id": {"value": n.to_string()},
                "agent_id": offer["agent_id"], "command": {"value": "true"},
                "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus},
                    "revocable": {}}]})
        })
        .collect();
    w.raw_call(
        json!({"type": "ACCEPT", "framework_id": {"value": "m-0000"}, "accept": {
            "offer_ids": [offer["id"]], "filters": {"refuse_seconds": 100_000.0},
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}]}}),
        Some("stream-2"),
    );
    let mut register = agent();
    register.info.id = Some("m-S0".into());
    let borrower = w.master.view().framework("m-0000").expect("it").clone();
    assert_eq!(borrower.tasks.len(), cpus.len());
    register.frameworks = vec![borrower.info.clone()];
    register.tasks = borrower.tasks.values().map(|t| t.wire.clone()).collect();
    (w, register)
}

/// Thousandths of reserved cpus in the owner's offers.
fn owned(w: &World) -> i64 {
    let view = w.master.view();
    let owner = view.frameworks.values().find(|f| f.info.name == "own");
    let offers = owner.into_iter().flat_map(|f| f.offers.values());
    offers.map(|o| o.resources.filter(|e| e.reserved_to() == Some("own")).scalar("cpus")).sum()
}

/// Ends tasks that are to be killed, until the owner has its 3 cpus: after how many milliseconds.
fn until_owned(w: &mut World, mut effects: Vec<Effect>) -> u64 {
    let mut waited = 0;
    loop {
        let mut more = Vec::new();
        for message in to_agent(&effects) {
            let master_to_agent::Message::KillTask(kill) = message else { continue };
            let status = json!({"task_id": {"value": kill.task_id.value}, "state": "TASK_GONE",
                "source": "SOURCE_EXECUTOR", "agent_id": {"value": "m-S0"}});
            let status: v1::TaskStatus = wire::json::from_value(&status).expect("a status");
            let update = internal::StatusUpdate {
                framework_id: kill.framework_id.clone(),
                status,
                latest_state: None,
            };
            more.extend(w.agent_says(agent_to_master::Message::StatusUpdate(update)));
        }
        if owned(w) == 3000 {
            return waited;
        }
        assert!(waited < 20_000, "the owner has {}", owned(w));
        if more.is_empty() {
            waited += 100;
            more = pass(w, 100);
        }
        effects = more;
    }
}

const TASKS: [f64; 4] = [0.7, 0.7, 0.7, 0.8];

/// Time passes, and every wake-up on the way is taken.
fn pass(w: &mut World, millis: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    for _ in 0..millis / 100 {
        w.pass(Duration::from_millis(100));
        while w.master.next_wake().is_some_and(|at| at <= w.now.mono) {
            effects.extend(w.step(Input::Wake));
        }
    }
    effects
}

#[test]
fn without_a_failover_one_grace_period_is_enough() {
    let (mut w, _) = lent(&TASKS);
    let effects = subscribe(&mut w, STREAM, "own", None);
    assert!(until_owned(&mut w, effects) <= BOUND);
}

/// Whoever is back first, and whoever else waits for what is not reserved.
#[test]
fn after_a_failover_it_takes_no_longer() {
    let mut rng = base::Rng::new(7);
    for round in 0..100 {
        let mut left = 26 + rng.below(4);
        let max = 1 + rng.below(15);
        let mut cpus = Vec::new();
        while left > 0 {
            let part = (1 + rng.below(max)).min(left);
            left -= part;
            cpus.push(f64::from(u32::try_from(part).expect("few")) / 10.0);
        }
        let (old, register) = lent(&cpus);
        let mut w = world_with(settings("n"), old.registry.into_iter().collect());
        w.wait(rng.below(3));
        let borrower = rng.below(3);
        if rng.chance(1, 2) {
            subscribe(&mut w, Token(3), "other", None);
        }
        if borrower == 0 {
            subscribe(&mut w, BORROWER, "batch", Some("m-0000"));
        }
        let is_early = rng.chance(1, 2);
        if is_early {
            subscribe(&mut w, STREAM, "own", None);
        }
        let mut effects = w.register(AGENT, register);
        if !is_early {
            pass(&mut w, 100 * rng.below(25));
            if borrower == 1 {
                subscribe(&mut w, BORROWER, "batch", Some("m-0000"));
            }
            effects = subscribe(&mut w, STREAM, "own", None);
        }
        let waited = until_owned(&mut w, effects);
        assert!(waited <= BOUND, "round {round}, tasks with {cpus:?} cpus: {waited} ms");
    }
}
