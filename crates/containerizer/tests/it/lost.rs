//! Containers whose supervisor is killed or stopped: nothing of them runs on.

use super::*;

/// A process in the main session, one in a session of its own, one that nobody is the parent of, and one that has nothing
/// but the main session. Each writes its id.
const FAMILY: &str = "sh -c 'echo $$; exec sleep 1000' &
    setsid sh -c 'echo $$; exec sleep 1000' &
    (setsid sh -c 'echo $$; exec sleep 1000' &)
    env -i /bin/sh -c 'echo $$; exec /bin/sleep 1000' &
    echo $$; exec sleep 1000";

impl Host {
    async fn start_family(&self, id: &str) -> (u32, Vec<String>) {
        let supervisor = self.start(id, FAMILY).await;
        until("five lines", || self.stdout(id).lines().count() == 5).await;
        let pids: Vec<String> = self.stdout(id).lines().map(str::to_owned).collect();
        assert_eq!(pids.len(), 5);
        assert!(pids.iter().all(|pid| is_alive(pid)));
        (supervisor, pids)
    }
}

fn signal(pid: u32, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

fn assert_dead(pids: &[String]) {
    assert!(pids.iter().all(|pid| !is_alive(pid)), "{pids:?}");
}

#[tokio::test]
async fn a_killed_supervisor_takes_everything_along() {
    let mut host = Host::new();
    let (other, others) = host.start_family("other").await;
    let (supervisor, pids) = host.start_family("a").await;
    signal(supervisor, "-9");
    assert_eq!(host.exit().await, ("a".to_owned(), None));
    assert_dead(&pids);
    assert!(is_alive(&other.to_string()) && others.iter().all(|pid| is_alive(pid)));

    // The same when it is a later agent that looks after it.
    let mut next = Host::at(host.directory.clone());
    next.mesos.recover().await.expect("recovery");
    signal(other, "-9");
    assert_eq!(next.exit().await, ("other".to_owned(), None));
    assert_dead(&others);
}

/// An agent that starts containers and is gone.
fn former_agent(directory: PathBuf, ids: [&'static str; 3]) -> [(u32, Vec<String>); 3] {
    let agent = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async move {
            let host = Host::at(directory);
            let [a, b, c] = ids;
            [host.start_family(a).await, host.start_family(b).await, host.start_family(c).await]
        })
    });
    agent.join().expect("no panic")
}

#[tokio::test]
async fn what_lost_its_supervisor_or_its_files_while_no_agent_was_there_is_ended_at_recovery() {
    let host = Host::new();
    let run = host.directory.join("run");
    let [(killed, first), (_, second), (kept, third)] =
        former_agent(host.directory.clone(), ["killed", "wiped", "kept"]);
    signal(killed, "-9");
    until("it is gone", || !is_alive(&killed.to_string())).await;
    std::fs::remove_dir_all(run.join("containers/wiped")).expect("removed");

    let mut next = Host::at(host.directory.clone());
    let mut found = next.mesos.recover().await.expect("recovery");
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    let seen: Vec<_> = found.iter().map(|f| (f.container_id.as_str(), f.pid, f.status)).collect();
    assert_eq!(seen, [("kept", Some(kept), None), ("killed", None, None)]);
    assert_dead(&first);
    assert_dead(&second);
    assert!(third.iter().all(|pid| is_alive(pid)));
    next.mesos.destroy("kept");
    assert_eq!(next.exit().await, ("kept".to_owned(), Some(9)));
    assert_dead(&third);
}

#[tokio::test]
async fn a_stopped_supervisor_does_not_keep_its_container_alive() {
    let mut host = Host::new();
    let (supervisor, pids) = host.start_family("a").await;
    signal(supervisor, "-STOP");
    host.mesos.destroy("a");
    assert_eq!(host.exit().await, ("a".to_owned(), None));
    assert_dead(&pids);
}
