//! Masters that come and go while others lead.

use super::{ALONE, Masters, elected, goes_on};
use crate::contract::{change, content, leads, master, write};
use coordination::{Backend, Replicas, join};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_many_megabytes_reaches_masters_that_are_added() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(3);
    let mut first = masters.start(0, &[0]).await;
    let mut registry = leads(&mut first.member).await;
    let text = "x".repeat(200 << 10);
    for n in 0..80 {
        let written;
        (registry, written) = write(registry, vec![change(&format!("k{n}"), Some(&text))]).await;
        written.expect("written");
    }
    let mut running = vec![Some(first)];
    for number in 1..3 {
        running.push(Some(masters.start(number, &[]).await));
    }
    let peers = running[0].as_ref().and_then(|r| r.member.peers()).expect("it runs");
    peers.add(&masters.addresses[1..]).await.expect("added");
    drop(registry);
    running[0].take().expect("it runs").stop().await;
    let (_, registry) = elected(&mut running).await;
    let (_registry, all) = content(registry).await;
    assert_eq!(all.len(), 80);
    for running in running.into_iter().flatten() {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_masters_all_are_added_or_none() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(2);
    let mut first = masters.start(0, &[0]).await;
    let registry = leads(&mut first.member).await;
    let second = masters.start(1, &[]).await;
    let peers = first.member.peers().expect("a group");
    for nobody in ["127.0.0.1:1", "nowhere.invalid:5050"] {
        let both = [masters.addresses[1].clone(), nobody.to_owned()];
        let refused = peers.add(&both).await.expect_err("nobody answers there");
        assert!(refused.to_string().contains(&format!("{nobody} is not added: ")), "{refused}");
        assert_eq!(peers.members().len(), 1, "{:?}", peers.members());
    }
    peers.add(&masters.addresses[1..]).await.expect("added");
    drop(registry);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_master_is_removed_when_those_that_stay_would_be_without_a_majority() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(3);
    let mut running = Vec::new();
    for number in 0..3 {
        running.push(Some(masters.start(number, &[0, 1, 2]).await));
    }
    let (leader, registry) = elected(&mut running).await;
    let (other, dead) = ((leader + 1) % 3, (leader + 2) % 3);
    running[dead].take().expect("it runs").stop().await;
    let peers = running[leader].as_ref().and_then(|r| r.member.peers()).expect("it runs");
    let addresses = |number: usize| [masters.addresses[number].clone()];
    let refused = peers.remove(&addresses(other)).await.expect_err("one of two would answer");
    let text = format!("{} does not answer", masters.addresses[dead]);
    assert!(refused.to_string().contains(&text), "{refused}");
    goes_on(running[leader].as_mut().expect("it runs")).await;
    let (registry, written) = write(registry, vec![change("a", Some("1"))]).await;
    written.expect("two of three are a majority");

    peers.remove(&addresses(dead)).await.expect("two of two answer");
    peers.remove(&addresses(other)).await.expect("the leader is left");
    let (_registry, written) = write(registry, vec![change("b", Some("2"))]).await;
    written.expect("written");
    for running in running.into_iter().flatten() {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_does_not_start_under_another_address() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(2);
    let mut first = masters.start(0, &[0]).await;
    let registry = leads(&mut first.member).await;
    let added = masters.start(1, &[]).await;
    let peers = first.member.peers().expect("a group");
    peers.add(&masters.addresses[1..]).await.expect("added");
    peers.remove(&masters.addresses[1..]).await.expect("removed");
    drop(registry);
    first.stop().await;
    added.stop().await;
    for number in 0..2 {
        let me = "localhost:1".to_owned();
        let elsewhere = Replicas { me, ..masters.replicas(number, &[]) };
        let refused = join(&Backend::Raft(elsewhere), master(1)).await.expect_err("elsewhere");
        let text = format!("know as {}, and this one is localhost:1", masters.addresses[number]);
        assert!(refused.to_string().contains(&text), "{refused}");
    }
}
