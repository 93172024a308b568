//! Fetching that takes too long: killed, timed out, stalled, left by its agent.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Waits until the server answers, and nothing more comes.
fn wait_for_request(server: &Server) {
    wait::until("it is asked", Duration::from_secs(20), || {
        (server.count("GET /hang") == 1).then_some(())
    });
}

#[track_caller]
fn wait_for_leaving(server: &Server) {
    wait::until("the connection is closed", Duration::from_secs(20), || {
        (*server.left.lock().expect("no panic") == 1).then_some(())
    });
}

#[test]
fn a_kill_ends_the_download_at_once() {
    let mut world = World::new(&[]);
    let server = Server::http(|_| Reply::Hang);
    world.launch("t", "true", &json!([{"value": server.uri("hang")}]));
    wait_for_request(&server);
    assert_eq!(world.fetchers().len(), 1);
    let kill = json!({"type": "KILL", "kill": {"task_id": {"value": "t"}}});
    assert_eq!(world.framework.call(&kill).status, 202);
    let statuses = world.framework.until_end("t");
    assert_eq!(statuses.len(), 1, "it was never running: {statuses:?}");
    let reason = &statuses[0]["reason"];
    assert_eq!(
        (&statuses[0]["state"], reason),
        (&json!("TASK_KILLED"), &json!("REASON_TASK_KILLED_DURING_LAUNCH"))
    );
    assert_eq!(world.fetchers(), Vec::<String>::new());
    wait_for_leaving(&server);
}

#[test]
fn the_time_to_register_counts_while_fetching() {
    let mut world = World::new(&["--executor_registration_timeout=1secs"]);
    let server = Server::http(|_| Reply::Hang);
    let status = world.run("t", "true", &json!([{"value": server.uri("hang")}]));
    assert_eq!(status["state"], "TASK_FAILED");
    assert_eq!(status["reason"], "REASON_CONTAINER_LAUNCH_FAILED");
    let message = "Executor did not register within 1secs; Failed to launch container: Container destroyed during fetching";
    assert_eq!(status["message"], message);
    assert_eq!(world.fetchers(), Vec::<String>::new());
}

#[test]
fn a_download_that_stalls_is_given_up() {
    let mut world = World::new(&["--fetcher_stall_timeout=1secs"]);
    let server = Server::http(|_| Reply::Hang);
    let stderr = world.is_not_fetched("t", &json!([{"value": server.uri("hang")}]));
    assert!(stderr.contains("Error downloading resource"), "{stderr}");
    assert_eq!(world.fetchers(), Vec::<String>::new());
}

#[test]
fn an_agent_that_is_killed_takes_its_downloads_along_and_begins_again() {
    let mut world = World::new(&[]);
    static FINE: AtomicBool = AtomicBool::new(false);
    let server =
        Server::http(
            |_| {
                if FINE.load(Ordering::Relaxed) { Reply::text("fine") } else { Reply::Hang }
            },
        );
    world.launch("t", "cat hang", &json!([{"value": server.uri("hang")}]));
    wait_for_request(&server);
    world.cluster.kill_agent(0);
    wait_for_leaving(&server);
    world.wait_for_fetchers(0);
    FINE.store(true, Ordering::Relaxed);
    world.cluster.start_agent(0);
    let status = world.framework.until_end("t").pop().expect("a status");
    assert_eq!(status["state"], "TASK_FINISHED", "{status}");
    assert_eq!(world.file("t", "stdout"), "fine");
}

#[test]
fn a_pod_whose_task_can_not_be_fetched_fails_and_other_tasks_of_the_node_run_on() {
    let mut world = World::new(&[]);
    world.launch("other", "sleep 1000", &json!([]));
    world.framework.until_state("other", "TASK_RUNNING");
    let offer = world.framework.offers().remove(0);
    let mut bad = command_task(&offer, "bad", "true", 0.1, 32.0);
    bad["command"]["uris"] = json!([{"value": "/no/such/file"}]);
    let good = command_task(&offer, "good", "sleep 1000", 0.1, 32.0);
    let executor = json!({"type": "DEFAULT", "executor_id": {"value": "pod"},
        "framework_id": {"value": world.framework.id},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
            {"name": "disk", "type": "SCALAR", "scalar": {"value": 32}}]});
    let operation = json!({"type": "LAUNCH_GROUP", "launch_group": {"executor": executor,
        "task_group": {"tasks": [good, bad]}}});
    let answer = world.framework.call(&json!({"type": "ACCEPT", "accept": {
        "offer_ids": [offer["id"]], "operations": [operation]}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let status = world.framework.until_end("bad").pop().expect("a status");
    assert_eq!(status["reason"], "REASON_CONTAINER_LAUNCH_FAILED", "{status}");
    let status = world.framework.until_end("good").pop().expect("a status");
    assert_eq!(status["state"], "TASK_KILLED", "{status}");
    let kill = json!({"type": "KILL", "kill": {"task_id": {"value": "other"}}});
    world.framework.call(&kill);
    let status = world.framework.until_end("other").pop().expect("a status");
    assert_eq!(status["state"], "TASK_KILLED", "{status}");
}
