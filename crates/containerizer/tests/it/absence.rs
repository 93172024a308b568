//! Containers whose agent is gone.

use super::*;

/// Says when it is asked to end, and does not.
const DEAF: &str = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done";

/// An agent that starts a container and is gone.
fn former_agent(directory: PathBuf, recovery: Duration, grace: Duration) -> u32 {
    let agent = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async move {
            let host = Host::at(directory);
            let mut spec = host.spec("a", DEAF);
            spec.recovery_timeout = recovery;
            spec.shutdown_grace_period = grace;
            let supervisor = host.mesos.start(spec).await.expect("it starts").pid;
            host.wait_for_stdout("a", "ready").await;
            supervisor
        })
    });
    agent.join().expect("no panic")
}

async fn wait_for_death(supervisor: u32) {
    until("the supervisor's end", || !is_alive(&supervisor.to_string())).await;
}

#[tokio::test]
async fn a_container_that_does_not_wait_for_an_agent_is_asked_to_end_and_then_killed() {
    let host = Host::new();
    let supervisor =
        former_agent(host.directory.clone(), Duration::ZERO, Duration::from_millis(300));
    host.wait_for_stdout("a", "asked").await;
    wait_for_death(supervisor).await;
    let found = host.mesos.recover().await.expect("recovery");
    assert_eq!(found[0].status, Some(9), "{found:?}");
}

#[tokio::test]
async fn a_container_waits_for_its_agent_and_goes_on_when_that_is_back() {
    let mut host = Host::new();
    let wait = Duration::from_secs(2);
    let supervisor = former_agent(host.directory.clone(), wait, Duration::ZERO);
    let found = host.mesos.recover().await.expect("recovery");
    assert_eq!(found[0].pid, Some(supervisor), "{found:?}");
    host.mesos.attend("a");
    tokio::time::sleep(wait * 3 / 2).await;
    assert!(is_alive(&supervisor.to_string()), "it knows that the agent is back");
    host.mesos.destroy("a");
    assert_eq!(host.exit().await, ("a".to_owned(), Some(9)));

    let directory = host.directory.join("another");
    let begin = std::time::Instant::now();
    let supervisor = former_agent(directory, wait, Duration::ZERO);
    wait_for_death(supervisor).await;
    assert!(begin.elapsed() >= wait, "{:?}", begin.elapsed());
}
