//! Another version of the agent, with another supervisor program, beside containers of the one before.

use super::*;

#[tokio::test]
async fn containers_of_an_older_program_go_on_beside_those_of_a_newer_one() {
    let mut host = Host::new();
    host.start("old", "echo ready; read line < /dev/null; sleep 1000").await;
    host.start("ends", "sleep 0.2; exit 5").await;
    host.wait_for_stdout("old", "ready").await;
    // The running program has another name and other bytes than the one that is installed now.
    let programs = || {
        let found = std::fs::read_dir(host.directory.join("run/bin")).expect("programs").flatten();
        found.map(|e| e.path()).collect::<Vec<_>>()
    };
    let now = programs().remove(0);
    let before = now.with_file_name("proffer-supervisor-0000000000000000");
    std::fs::rename(&now, &before).expect("renamed");
    assert_eq!(host.exit().await, ("ends".to_owned(), Some(5 << 8)));

    let mut newer = Host::at(host.directory.clone());
    assert!(now.exists() && before.exists());
    let mut found = newer.mesos.recover().await.expect("found");
    found.sort_by(|a, b| a.container_id.cmp(&b.container_id));
    let seen: Vec<_> =
        found.iter().map(|f| (f.container_id.as_str(), f.pid.is_some(), f.status)).collect();
    assert_eq!(seen, [("ends", false, Some(5 << 8)), ("old", true, None)]);
    newer.start("new", "exit 6").await;
    assert_eq!(newer.exit().await, ("new".to_owned(), Some(6 << 8)));
    newer.mesos.signal("old", 15);
    assert_eq!(newer.exit().await, ("old".to_owned(), Some(15)));
    std::fs::remove_dir_all(&host.directory).expect("removed");
}
