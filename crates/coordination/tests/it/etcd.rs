//! Masters that meet in etcd.

use crate::contract::{self, change, content, follows, leads, master, next, with, write};
use coordination::{Backend, RegistryError, Standing, join};
use detector::etcd::encoded;
use detector::{Detector, MasterName};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::etcd::Servers;
use testkit::process::signal;

const SESSION: Duration = Duration::from_secs(2);

fn backend(servers: &Servers, credentials: &str, path: &str) -> Backend {
    contract::meeting(&servers.url(credentials, path), SESSION, None)
}

fn put(servers: &Servers, key: &str, value: &str) {
    let body = json!({"key": encoded(key), "value": encoded(value)}).to_string();
    assert_eq!(servers.call("kv/put", &body).status, 200);
}

fn delete(servers: &Servers, key: &str) {
    let body = json!({"key": encoded(key)}).to_string();
    assert_eq!(servers.call("kv/deleterange", &body).status, 200);
}

/// Keys below a directory, with the leases to which they are bound.
fn keys(servers: &Servers, directory: &str) -> Vec<(String, i64)> {
    let end = detector::etcd::end_of(directory);
    let body = json!({"key": encoded(directory), "range_end": encoded(end)}).to_string();
    let found: Value = servers.call("kv/range", &body).json();
    let one = |entry: &Value| {
        let key = String::from_utf8(detector::etcd::decoded(&entry["key"])).expect("text");
        (key, detector::etcd::number(&entry["lease"]))
    };
    found["kvs"].as_array().into_iter().flatten().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let Some(servers) = Servers::start(1) else { return };
    let backend = backend(&servers, "", "a/b");
    contract::keeps_what_is_written(&backend).await;
    contract::keeps_it_for_the_next_one(&backend).await;
    contract::one_leads_at_a_time(&backend).await;
    contract::one_address_leads_once(&backend).await;
    contract::takes_writes_of_any_size(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_of_one_master_goes_along_and_is_never_mixed_with_another() {
    let Some(servers) = Servers::start(1) else { return };
    let backend =
        |path: &str, former| contract::meeting(&servers.url("", path), SESSION, Some(former));
    contract::takes_over_what_was_embedded(backend).await;
    contract::goes_to_and_from_a_group(backend).await;
    contract::is_not_taken_from_who_leads(backend).await;
    contract::is_recognized(backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_stand_as_keys_with_leases_and_detectors_follow_the_leader() {
    let Some(servers) = Servers::start(1) else { return };
    let backend = backend(&servers, "", "mesos");
    let name = MasterName::parse(&servers.url("", "mesos")).expect("a name");
    let detector = Detector::new(name, SESSION);
    let mut first = join(&backend, master(1)).await.expect("joined");
    let _registry = leads(&mut first).await;
    assert_eq!(detector.addresses().await.expect("a leader"), ["127.0.0.1:1"]);
    let all = keys(&servers, "/mesos/masters/");
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].0, format!("/mesos/masters/{:016x}", all[0].1));

    let mut second = join(&backend, master(2)).await.expect("joined");
    follows(&mut second).await;
    first.leave().await;
    let _registry = leads(&mut second).await;
    detector.other_than("127.0.0.1:1").await;
    assert_eq!(detector.addresses().await.expect("a leader"), ["127.0.0.1:2"]);
    second.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_key_is_deleted_or_overwritten_is_over_and_writes_nothing() {
    let Some(servers) = Servers::start(1) else { return };
    for overwrite in [false, true] {
        let backend = backend(&servers, "", if overwrite { "m1" } else { "m2" });
        let directory = if overwrite { "/m1/masters/" } else { "/m2/masters/" };
        let mut first = join(&backend, master(1)).await.expect("joined");
        let (registry, _) = content(leads(&mut first).await).await;
        let mut second = join(&backend, master(2)).await.expect("joined");
        follows(&mut second).await;
        let key = keys(&servers, directory)[0].0.clone();
        let own: Vec<_> = keys(&servers, directory).into_iter().map(|(key, _)| key).collect();
        assert!(own.contains(&key) && own.len() == 2, "{own:?}");
        // That of the standby as well: it comes back by itself.
        for key in own {
            if overwrite { put(&servers, &key, "garbage") } else { delete(&servers, &key) }
        }
        let (_, written) = write(registry, vec![change("a", Some("1"))]).await;
        assert!(matches!(written, Err(RegistryError::Deposed { .. })), "{written:?}");
        let Standing::Over(why) = next(&mut first).await else { panic!("it goes on") };
        assert!(why.contains("Lost candidacy as a leader"), "{why}");
        if !overwrite {
            leads(&mut second).await;
        }
        second.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_can_not_reach_etcd_gives_up_before_another_may_lead() {
    let Some(mut servers) = Servers::start(1) else { return };
    let backend = backend(&servers, "", "mesos");
    let mut member = join(&backend, master(1)).await.expect("joined");
    let (registry, _) = content(leads(&mut member).await).await;
    servers.kill(0);
    let begun = Instant::now();
    let Standing::Over(why) = next(&mut member).await else { panic!("it goes on") };
    assert!(why.contains("Lost leadership"), "{why}");
    assert!(begun.elapsed() < SESSION, "the lease lasts longer than its leadership");
    // Etcd is back, the lease may be as well: who was over stays over, the next one leads.
    servers.run(0);
    servers.wait(0);
    member.leave().await;
    let mut next = join(&backend, master(2)).await.expect("joined");
    let (_taken, _) = content(leads(&mut next).await).await;
    let (_, written) = write(registry, vec![change("a", Some("1"))]).await;
    assert!(matches!(written, Err(RegistryError::Deposed { .. })), "{written:?}");
    next.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_end_and_come_back_change_nothing_and_no_write_is_lost() {
    let Some(mut servers) = Servers::start(3) else { return };
    let backend = contract::meeting(&servers.url("", "mesos"), Duration::from_secs(10), None);
    let mut member = join(&backend, master(1)).await.expect("joined");
    let registry = leads(&mut member).await;
    let writes = tokio::spawn(with(registry, |registry| {
        (0..400)
            .map(|n| registry.write(&[&[change(&format!("k{n}"), Some("v"))]]))
            .collect::<Result<Vec<()>, RegistryError>>()
    }));
    for server in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        servers.kill(server);
        servers.run(server);
        servers.wait(server);
    }
    let (registry, written) = writes.await.expect("no panic");
    written.expect("all of them written");
    let (_registry, all) = content(registry).await;
    assert_eq!(all.len(), 400);
    let told = tokio::time::timeout(Duration::from_millis(100), member.next()).await;
    assert!(told.is_err(), "it leads as before: {told:?}");
    member.leave().await;
}

/// Root, and a user who may do everything below `/mesos/`.
fn with_users(servers: &Servers) {
    let rights = json!({"name": "masters", "perm": {
        "permType": 2, "key": encoded("/mesos/"), "range_end": encoded("/mesos0"),
    }});
    for (name, body) in [
        ("auth/user/add", json!({"name": "root", "password": "r"})),
        ("auth/role/add", json!({"name": "root"})),
        ("auth/user/grant", json!({"user": "root", "role": "root"})),
        ("auth/user/add", json!({"name": "user", "password": "secret"})),
        ("auth/role/add", json!({"name": "masters"})),
        ("auth/role/grant", rights),
        ("auth/user/grant", json!({"user": "user", "role": "masters"})),
        ("auth/enable", json!({})),
    ] {
        let answer = servers.call(name, &body.to_string());
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_leads_and_a_wrong_password_is_the_end_and_names_no_secret() {
    let Some(servers) = Servers::start(1) else { return };
    with_users(&servers);
    // Passwords are dear to check: a server that is busy with wrong ones must not cost the lease.
    let backend = |credentials: &str, path: &str| {
        contract::meeting(&servers.url(credentials, path), Duration::from_secs(30), None)
    };
    let mut member = join(&backend("user:secret@", "mesos"), master(1)).await.expect("joined");
    let registry = leads(&mut member).await;
    let (_registry, written) = write(registry, vec![change("a", Some("1"))]).await;
    written.expect("written");
    for (credentials, path, word) in [
        ("user:wrong@", "mesos", "wrong"),
        ("", "mesos", "secret"),
        ("user:secret@", "x", "secret"),
    ] {
        let mut other = join(&backend(credentials, path), master(2)).await.expect("joined");
        let Standing::Over(why) = next(&mut other).await else { panic!("it goes on") };
        assert!(why.contains("does not let this master in"), "{why}");
        assert!(!why.contains(word), "{why}");
        let name = MasterName::parse(&servers.url(credentials, path)).expect("a name");
        Detector::new(name, SESSION).addresses().await.expect_err("not let in");
    }
    let name = MasterName::parse(&servers.url("user:secret@", "mesos")).expect("a name");
    let found = Detector::new(name, SESSION).addresses().await.expect("a leader");
    assert_eq!(found, ["127.0.0.1:1"]);
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_no_master_and_garbage_in_the_registry_is_named() {
    let Some(servers) = Servers::start(1) else { return };
    put(&servers, "/mesos/masters/zzz", "{");
    put(&servers, "/mesos/masters/0000000000000001", "{");
    let mut member = join(&backend(&servers, "", "mesos"), master(1)).await.expect("joined");
    let registry = leads(&mut member).await;
    drop(registry);
    let name = MasterName::parse(&servers.url("", "mesos")).expect("a name");
    let found = Detector::new(name, SESSION).addresses().await.expect("a leader");
    assert_eq!(found, ["127.0.0.1:1"]);
    member.leave().await;
    put(&servers, "/mesos/registry/what", "{");
    let mut member = join(&backend(&servers, "", "mesos"), master(1)).await.expect("joined");
    let over = loop {
        match next(&mut member).await {
            Standing::Over(why) => break why,
            Standing::Nobody | Standing::Follows(_) => {}
            Standing::Leads(_) => panic!("it leads"),
        }
    };
    assert!(over.contains("'/mesos/registry/what' is none of a registry; remove it"), "{over}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_takes_no_longer_than_it_may() {
    let Some(servers) = Servers::start(1) else { return };
    let mut backend = contract::meeting(&servers.url("", "mesos"), Duration::from_secs(60), None);
    let Backend::Meeting(meeting) = &mut backend else { panic!("a meeting") };
    meeting.timeouts.store = Duration::from_millis(500);
    let mut member = join(&backend, master(1)).await.expect("joined");
    let registry = leads(&mut member).await;
    let pid = servers.pid(0).expect("it runs");
    signal(pid, "STOP");
    let (registry, written) = write(registry, vec![change("a", Some("1"))]).await;
    let error = written.expect_err("nobody answers").to_string();
    assert!(error.contains("does not answer within 500ms"), "{error}");
    signal(pid, "CONT");
    // What became of it is not known; what is answered is there, and nothing is half made.
    let (registry, written) = write(registry, vec![change("b", Some("2"))]).await;
    let all = content(registry).await.1;
    assert!(written.is_err() || all.iter().any(|(key, _)| key == "b"), "{all:?}");
    assert!(all.iter().all(|(key, _)| ["a", "b"].contains(&key.as_str())), "{all:?}");
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_passed_over() {
    let Some(servers) = Servers::start(3) else { return };
    let pid = servers.pid(0).expect("it runs");
    signal(pid, "STOP");
    let backend = contract::meeting(&servers.url("", "mesos"), Duration::from_secs(6), None);
    let mut member = join(&backend, master(1)).await.expect("joined");
    let registry = leads(&mut member).await;
    let (_registry, written) = write(registry, vec![change("a", Some("1"))]).await;
    written.expect("two of three are a majority");
    signal(pid, "CONT");
    member.leave().await;
}
