//! Masters that meet in ZooKeeper.

use crate::contract::{self, change, content, follows, leads, master, next, with, write};
use coordination::{Backend, Registry, RegistryError, Standing, join};
use detector::{Detector, MasterName, Url};
use std::time::Duration;
use testkit::zookeeper::Ensemble;
use zookeeper_client::{Acls, Client, CreateMode};

const SESSION: Duration = Duration::from_secs(2);

fn backend(ensemble: &Ensemble, credentials: &str, path: &str) -> Backend {
    contract::meeting(&ensemble.url(credentials, path), SESSION, None)
}

async fn client(ensemble: &Ensemble) -> Client {
    let url = Url::parse(&ensemble.url("", "x")).expect("a URL");
    Client::connector().connect(&url.servers).await.expect("a session")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let Some(ensemble) = Ensemble::start(1) else { return };
    let backend = backend(&ensemble, "user:secret@", "a/b");
    contract::keeps_what_is_written(&backend).await;
    contract::keeps_it_for_the_next_one(&backend).await;
    contract::one_leads_at_a_time(&backend).await;
    contract::one_address_leads_once(&backend).await;
    contract::takes_writes_of_any_size(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_of_one_master_goes_along_and_is_never_mixed_with_another() {
    let Some(ensemble) = Ensemble::start(1) else { return };
    let backend =
        |path: &str, former| contract::meeting(&ensemble.url("", path), SESSION, Some(former));
    contract::takes_over_what_was_embedded(backend).await;
    contract::goes_to_and_from_a_group(backend).await;
    contract::is_not_taken_from_who_leads(backend).await;
    contract::is_recognized(backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_find_the_leader_by_its_znode_and_detectors_follow_it() {
    let Some(ensemble) = Ensemble::start(1) else { return };
    let backend = backend(&ensemble, "", "mesos");
    let name = MasterName::parse(&ensemble.url("", "mesos")).expect("a name");
    let detector = Detector::new(name, SESSION);
    let mut first = join(&backend, master(1)).await.expect("joined");
    let _registry = leads(&mut first).await;
    assert_eq!(detector.addresses().await.expect("a leader"), ["127.0.0.1:1"]);

    let client = client(&ensemble).await;
    let mut children = client.list_children("/mesos").await.expect("children");
    children.sort();
    assert_eq!(children, ["json.info_0000000000", "log_replicas"]);
    let (data, stat) = client.get_data("/mesos/json.info_0000000000").await.expect("data");
    assert!(stat.ephemeral_owner != 0);
    let info: serde_json::Value = serde_json::from_slice(&data).expect("JSON");
    assert_eq!((&info["id"], &info["port"]), (&"master-1".into(), &1.into()));
    assert_eq!(info["address"]["ip"], "127.0.0.1");

    let mut second = join(&backend, master(2)).await.expect("joined");
    follows(&mut second).await;
    first.leave().await;
    let _registry = leads(&mut second).await;
    detector.other_than("127.0.0.1:1").await;
    assert_eq!(detector.addresses().await.expect("a leader"), ["127.0.0.1:2"]);
    second.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_znode_is_deleted_is_over() {
    let Some(ensemble) = Ensemble::start(1) else { return };
    let backend = backend(&ensemble, "", "mesos");
    let mut first = join(&backend, master(1)).await.expect("joined");
    let _registry = leads(&mut first).await;
    let mut second = join(&backend, master(2)).await.expect("joined");
    follows(&mut second).await;
    let client = client(&ensemble).await;
    let mut names = client.list_children("/mesos").await.expect("children");
    names.retain(|name| name.starts_with("json.info_"));
    names.sort();
    assert_eq!(names.len(), 2);
    // That of the standby first.
    for name in names.iter().rev() {
        client.delete(&format!("/mesos/{name}"), None).await.expect("deleted");
    }
    let Standing::Over(why) = next(&mut first).await else { panic!("it goes on") };
    assert!(why.contains("Lost candidacy as a leader"), "{why}");
    // The standby has come back under another number.
    leads(&mut second).await;
    second.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_can_not_reach_the_ensemble_gives_up_before_another_may_lead() {
    let Some(mut ensemble) = Ensemble::start(1) else { return };
    let backend = backend(&ensemble, "", "mesos");
    let mut member = join(&backend, master(1)).await.expect("joined");
    let (registry, _) = content(leads(&mut member).await).await;
    ensemble.kill(0);
    let begun = std::time::Instant::now();
    let Standing::Over(why) = next(&mut member).await else { panic!("it goes on") };
    assert!(why.contains("Lost leadership"), "{why}");
    assert!(begun.elapsed() < SESSION, "the session lasts longer than its leadership");
    let (_, written) = write(registry, vec![change("a", Some("1"))]).await;
    written.expect_err("no server");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_absence_of_the_ensemble_changes_nothing_and_no_write_is_lost() {
    let Some(mut ensemble) = Ensemble::start(3) else { return };
    let backend = contract::meeting(&ensemble.url("", "mesos"), Duration::from_secs(10), None);
    let mut member = join(&backend, master(1)).await.expect("joined");
    let registry = leads(&mut member).await;
    let writes = tokio::spawn(with(registry, |registry| {
        (0..400)
            .map(|n| registry.write(&[&[change(&format!("k{n}"), Some("v"))]]))
            .collect::<Result<Vec<()>, RegistryError>>()
    }));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let leader = ensemble.leader().expect("a leader");
    ensemble.kill(leader);
    let (registry, written) = writes.await.expect("no panic");
    written.expect("all of them written");
    let (_registry, all) = content(registry).await;
    assert_eq!(all.len(), 400);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), member.next()).await.is_err(),
        "it leads as before"
    );
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_the_end_and_names_no_secret() {
    let Some(ensemble) = Ensemble::start(1) else { return };
    let mut member =
        join(&backend(&ensemble, "user:secret@", "mesos"), master(1)).await.expect("joined");
    let _registry: Box<dyn Registry> = leads(&mut member).await;
    let mut other =
        join(&backend(&ensemble, "user:wrong@", "mesos"), master(2)).await.expect("joined");
    let Standing::Over(why) = next(&mut other).await else { panic!("it goes on") };
    assert!(why.contains("does not let this master in"), "{why}");
    assert!(!why.contains("wrong"), "{why}");
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_garbage_among_the_candidates_nobody_leads_until_it_is_removed() {
    let Some(ensemble) = Ensemble::start(1) else { return };
    let client = client(&ensemble).await;
    let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
    client.create("/mesos", b"", &open).await.expect("made");
    client.create("/mesos/json.info_0000000000", b"{", &open).await.expect("made");
    let mut member = join(&backend(&ensemble, "", "mesos"), master(1)).await.expect("joined");
    let Standing::Nobody = next(&mut member).await else { panic!("somebody leads") };
    client.delete("/mesos/json.info_0000000000", None).await.expect("deleted");
    // The sequence begins with what was there.
    leads(&mut member).await;
    member.leave().await;
}
