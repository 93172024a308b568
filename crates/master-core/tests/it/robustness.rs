//! Any input in any state: no panic, and the books agree after each step.

use super::*;
use base::Rng;

#[test]
fn random_inputs_never_break_the_books() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut w = world_with(
            Config { offer_timeout: Some(Duration::from_secs(30)), ..config() },
            Vec::new(),
        );
        let mut open: Vec<Value> = Vec::new();
        let mut tasks = 0;
        for _ in 0..150 {
            let stream = Token(1 + rng.below(2));
            let connection = Token(1000 + rng.below(3));
            let effects = match rng.below(15) {
                0 => {
                    let mut info = framework_info(&[
                        ["PARTITION_AWARE", "TASK_KILLING_STATE"][rng.below(2) as usize]
                    ]);
                    info["roles"] = json!(vec![["*", "a"][rng.below(2) as usize]]);
                    info["failover_timeout"] = json!(rng.below(100) as f64);
                    info["checkpoint"] = json!(rng.chance(1, 2));
                    if rng.chance(1, 2) {
                        info["id"] = json!({"value": "m-0000"});
                    }
                    w.subscribe(stream, info)
                }
                1 => w.step(Input::StreamClosed { stream }),
                2 | 3 => {
                    let mut register =
                        registration(["cpus:4;mem:1024", "cpus:2;mem:512"][rng.below(2) as usize]);
                    register.info.hostname = format!("host{}", connection.0);
                    if rng.chance(1, 3) {
                        register.info.id = Some(format!("m-S{}", rng.below(3)).into());
                    }
                    w.register(connection, register)
                }
                4 => w.step(Input::AgentClosed { connection }),
                5 | 6 if !open.is_empty() => {
                    let offer = open.swap_remove(rng.below(open.len() as u64) as usize);
                    tasks += 1;
                    let resource = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
                    let task = json!({"name": "t", "task_id": {"value": format!("t{tasks}")}, "agent_id": offer["agent_id"],
                        "command": {"value": "true"}, "resources": [resource("cpus", 1.0), resource("mem", 64.0)]});
                    let operations = json!([{"type": "LAUNCH", "launch": {"task_infos": [task]}}]);
                    w.call(json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]], "operations": operations}})).2
                }
                7 => w.call(json!({"type": "RECONCILE", "reconcile": {"tasks": []}})).2,
                8 => {
                    w.call(
                        json!({"type": (["REVIVE", "SUPPRESS", "TEARDOWN"][rng.below(3) as usize])}),
                    )
                    .2
                }
                9 => {
                    let state =
                        ["TASK_RUNNING", "TASK_FINISHED", "TASK_FAILED"][rng.below(3) as usize];
                    w.update(
                        &format!("t{}", rng.below(tasks + 1)),
                        state,
                        &[rng.below(200) as u8; 16],
                    )
                }
                11 => {
                    let token = Token(9000 + rng.below(1000));
                    let call = shares::random(&mut rng);
                    w.step(Input::Operator { token, call })
                }
                12 => {
                    let hosts = (1000..1003).filter(|_| rng.chance(2, 3));
                    let hosts = hosts.map(|host| format!("host{host}")).collect();
                    w.step(Input::Whitelist { hosts: rng.chance(1, 2).then_some(hosts) })
                }
                13 => {
                    w.now.wall.0 = rng.below(2_000_000_000) * 1_000_000_000;
                    w.step(Input::Wake)
                }
                10 => w.agent_says(agent_to_master::Message::Pong(internal::Pong {})),
                _ => w.wait(rng.below(60)),
            };
            for stream in [Token(1), Token(2)] {
                for event in events(&effects, stream).iter().filter(|e| e["type"] == "OFFERS") {
                    open.extend(event["offers"]["offers"].as_array().cloned().unwrap_or_default());
                }
            }
        }
    }
}
