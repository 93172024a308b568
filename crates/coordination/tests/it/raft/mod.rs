//! Masters that replicate the registry among themselves.

mod doubt;
mod members;

use crate::contract::{self, change, content, leads, master, next, write};
use bytes::Bytes;
use coordination::{Backend, Member, Peers, RAFT_PATH, Replicas, Secret, Standing, Timeouts, join};
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;
use testkit::cluster::{free_ports, temporary_directory};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One test at a time: a machine that is too busy for signs of life elects anew.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The masters of a test: directories, addresses, and what answers there.
struct Masters {
    directory: PathBuf,
    addresses: Vec<String>,
}

struct Running {
    member: Member,
    server: JoinHandle<()>,
}

impl Running {
    /// Ends as a process that is killed: nothing answers any more.
    async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
        self.member.leave().await;
    }
}

impl Drop for Masters {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Masters {
    fn new(count: usize) -> Self {
        let ports = free_ports(count);
        let addresses = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Self { directory: temporary_directory(), addresses }
    }

    fn directory(&self, number: usize) -> PathBuf {
        self.directory.join(number.to_string())
    }

    fn backend(&self, number: usize, peers: &[usize]) -> Backend {
        Backend::Raft(self.replicas(number, peers))
    }

    fn replicas(&self, number: usize, peers: &[usize]) -> Replicas {
        Replicas {
            directory: self.directory(number),
            me: self.addresses[number].clone(),
            peers: peers.iter().map(|n| self.addresses[*n].clone()).collect(),
            secret: None,
            timeouts: Timeouts::default(),
        }
    }

    async fn start(&self, number: usize, peers: &[usize]) -> Running {
        self.start_with(number, self.replicas(number, peers)).await
    }

    async fn start_with(&self, number: usize, replicas: Replicas) -> Running {
        let member = join(&Backend::Raft(replicas), master(1)).await.expect("joined");
        let peers = member.peers().expect("a group");
        let listener = TcpListener::bind(&self.addresses[number]).await.expect("a free port");
        let server = tokio::spawn(serve(listener, peers));
        Running { member, server }
    }

    /// Waits until a master knows all of them, and who leads.
    async fn is_told(&self, running: &Option<Running>) {
        let peers = running.as_ref().and_then(|r| r.member.peers()).expect("it runs");
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let knows = || {
            let members = peers.members();
            members.len() == self.addresses.len() && members.iter().any(|m| m.leads)
        };
        while !knows() {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", peers.members());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Answers calls of other masters.
async fn serve(listener: TcpListener, peers: Peers) {
    // Connections end with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        let peers = peers.clone();
        let answer = move |request: hyper::Request<hyper::body::Incoming>| {
            let peers = peers.clone();
            async move {
                let kind = request.uri().path().trim_start_matches(RAFT_PATH).to_owned();
                let body = request.into_body().collect().await.map(|b| b.to_bytes());
                let (status, answer) = match peers.answer(&kind, &body.unwrap_or_default()).await {
                    Ok(answer) => (200, answer),
                    Err(why) => (403, why.into_bytes()),
                };
                let mut response = hyper::Response::new(Full::new(Bytes::from(answer)));
                *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
                Ok::<_, Infallible>(response)
            }
        };
        connections.spawn(async move {
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service_fn(answer))
                .await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_master_keeps_the_contract() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(1);
    let backend = masters.backend(0, &[0]);
    contract::keeps_what_is_written(&backend).await;
    contract::keeps_it_for_the_next_one(&backend).await;
    contract::takes_writes_of_any_size(&backend).await;
}

/// The first of several that leads: its number, and its registry.
async fn elected(running: &mut [Option<Running>]) -> (usize, Box<dyn coordination::Registry>) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        assert!(tokio::time::Instant::now() < deadline, "nobody leads");
        for (number, running) in running.iter_mut().enumerate() {
            let Some(running) = running else { continue };
            let told = tokio::time::timeout(Duration::from_millis(20), running.member.next()).await;
            match told {
                Ok(Standing::Leads(registry)) => return (number, registry),
                Ok(Standing::Over(why)) => panic!("{number}: {why}"),
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_masters_one_leads_and_nothing_is_lost_when_it_ends() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(3);
    let mut running = Vec::new();
    for number in 0..3 {
        running.push(Some(masters.start(number, &[0, 1, 2]).await));
    }
    let (first, registry) = elected(&mut running).await;
    let (registry, written) = write(registry, vec![change("a", Some("1"))]).await;
    written.expect("written");
    let other = (first + 1) % 3;
    masters.is_told(&running[other]).await;

    drop(registry);
    running[first].take().expect("it runs").stop().await;
    let begun = std::time::Instant::now();
    let (second, registry) = elected(&mut running).await;
    eprintln!("another master leads after {:?}", begun.elapsed());
    assert_ne!(second, first);
    let (registry, all) = content(registry).await;
    assert_eq!(all, [("a".to_owned(), "1".to_owned())]);
    let (registry, written) = write(registry, vec![change("b", Some("2"))]).await;
    written.expect("two of three are a majority");

    // It comes back and hears what it has missed; without the others nobody leads.
    running[first] = Some(masters.start(first, &[0, 1, 2]).await);
    masters.is_told(&running[first]).await;
    goes_on(running[second].as_mut().expect("it runs")).await;
    let third = 3 - first - second;
    running[third].take().expect("it runs").stop().await;
    running[first].take().expect("it runs").stop().await;
    let Standing::Over(why) = next(&mut running[second].as_mut().expect("it runs").member).await
    else {
        panic!("it goes on alone")
    };
    assert!(why.contains("Lost leadership"), "{why}");
    let (registry, written) = write(registry, vec![change("c", Some("3"))]).await;
    written.expect_err("no majority");
    drop(registry);
    running[second].take().expect("it runs").stop().await;

    // Alone a master elects nobody, and does not send others to a leader that is gone.
    running[first] = Some(masters.start(first, &[0, 1, 2]).await);
    let alone = running[first].as_mut().expect("it runs");
    let told = tokio::time::timeout(Duration::from_secs(4), async {
        loop {
            match alone.member.next().await {
                Standing::Follows(_) => {}
                other => return other,
            }
        }
    });
    assert!(matches!(told.await, Err(_) | Ok(Standing::Nobody)), "nobody leads");
    running[first].take().expect("it runs").stop().await;

    for (number, running) in running.iter_mut().enumerate() {
        *running = Some(masters.start(number, &[0, 1, 2]).await);
    }
    let (_, registry) = elected(&mut running).await;
    let (_registry, all) = content(registry).await;
    let mut expected = vec![("a", "1"), ("b", "2"), ("c", "3")];
    // What was not answered may have been kept or not.
    expected.truncate(all.len().max(2));
    let all: Vec<(&str, &str)> = all.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(all, expected);
    for running in running.into_iter().flatten() {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_was_alone_keeps_its_registry_and_grows_to_three_and_five() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(5);
    let mut alone =
        join(&Backend::Embedded(masters.directory(0)), master(1)).await.expect("joined");
    let (registry, written) = write(leads(&mut alone).await, vec![change("old", Some("1"))]).await;
    written.expect("written");
    drop(registry);
    alone.leave().await;

    let refused = join(&masters.backend(0, &[0, 1, 2]), master(1)).await.expect_err("unsafe");
    assert!(refused.to_string().contains("then add the others to it"), "{refused}");

    let mut first = masters.start(0, &[0]).await;
    let (registry, all) = content(leads(&mut first.member).await).await;
    assert_eq!(all, [("old".to_owned(), "1".to_owned())]);
    let (registry, written) = write(registry, vec![change("new", Some("2"))]).await;
    written.expect("written");
    let peers = first.member.peers().expect("a group");
    let nobody = ["127.0.0.1:1".to_owned()];
    let absent = peers.add(&nobody).await.expect_err("nobody answers there");
    assert!(absent.to_string().contains("127.0.0.1:1 is not added: "), "{absent}");
    assert_eq!(peers.members().len(), 1);

    let mut running = vec![Some(first)];
    for number in 1..3 {
        running.push(Some(masters.start(number, &[]).await));
    }
    peers.add(&masters.addresses[1..3]).await.expect("added");
    let votes: Vec<String> =
        peers.members().into_iter().filter(|m| m.votes).map(|m| m.address).collect();
    assert_eq!(votes.len(), 3, "{votes:?}");
    let (registry, written) = write(registry, vec![change("more", Some("3"))]).await;
    written.expect("written");
    drop(registry);
    for number in 3..5 {
        running.push(Some(masters.start(number, &[]).await));
    }
    peers.add(&masters.addresses[3..]).await.expect("added");
    assert_eq!(peers.members().iter().filter(|m| m.votes).count(), 5);

    running[0].take().expect("it runs").stop().await;
    let (second, registry) = elected(&mut running).await;
    let (_, all) = content(registry).await;
    assert_eq!(all.len(), 3, "{all:?}");
    let peers = running[second].as_ref().expect("it runs").member.peers().expect("a group");
    let refused = peers.remove(&[masters.addresses[second].clone()]).await.expect_err("it leads");
    assert!(refused.to_string().contains("leads; stop it"), "{refused}");
    peers.remove(&[masters.addresses[0].clone()]).await.expect("removed");
    assert_eq!(peers.members().iter().filter(|m| m.votes).count(), 4);
    for running in running.into_iter().flatten() {
        running.stop().await;
    }
}

/// What the leader of `running` says within a while: nothing new.
async fn goes_on(running: &mut Running) {
    let told = tokio::time::timeout(Duration::from_secs(4), running.member.next()).await;
    assert!(told.is_err(), "it leads as before: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_was_away_does_not_move_the_leadership() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(3);
    let mut running = Vec::new();
    for number in 0..3 {
        running.push(Some(masters.start(number, &[0, 1, 2]).await));
    }
    let (first, mut registry) = elected(&mut running).await;
    let standby = (first + 1) % 3;
    for round in 0..3 {
        // Nobody hears it, and it hears nobody: it would like to lead.
        let away = running[standby].as_mut().expect("it runs");
        away.server.abort();
        let _ = (&mut away.server).await;
        let key = format!("k{round}");
        let (back, written) = write(registry, vec![change(&key, Some("1"))]).await;
        written.expect("two of three are a majority");
        registry = back;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let peers = away.member.peers().expect("a group");
        let listener = TcpListener::bind(&masters.addresses[standby]).await.expect("a free port");
        away.server = tokio::spawn(serve(listener, peers));
        if round == 1 {
            running[standby].take().expect("it runs").stop().await;
            running[standby] = Some(masters.start(standby, &[0, 1, 2]).await);
        }
        goes_on(running[first].as_mut().expect("it runs")).await;
    }
    let (_registry, all) = content(registry).await;
    assert_eq!(all.len(), 3);
    for running in running.into_iter().flatten() {
        running.stop().await;
    }
}

/// Why a master is over.
async fn over(running: &mut Running) -> String {
    loop {
        match next(&mut running.member).await {
            Standing::Over(why) => return why,
            Standing::Nobody | Standing::Follows(_) => {}
            Standing::Leads(_) => panic!("it leads"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_whose_disk_was_lost_does_not_vote_anew_and_is_added_again() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(3);
    let mut running = Vec::new();
    for number in 0..3 {
        running.push(Some(masters.start(number, &[0, 1, 2]).await));
    }
    let (first, registry) = elected(&mut running).await;
    let (registry, written) = write(registry, vec![change("a", Some("1"))]).await;
    written.expect("written");
    let lost = (first + 1) % 3;
    running[lost].take().expect("it runs").stop().await;
    std::fs::remove_dir_all(masters.directory(lost)).expect("removed");

    let mut wiped = masters.start(lost, &[0, 1, 2]).await;
    let why = over(&mut wiped).await;
    assert!(why.contains("with another disk") && why.contains("proffer masters remove"), "{why}");
    wiped.stop().await;
    // Without --peers it waits, and takes no part either.
    let waiting = masters.start(lost, &[]).await;
    let peers = running[first].as_ref().and_then(|r| r.member.peers()).expect("it runs");
    let address = masters.addresses[lost].clone();
    let refused = peers.add(std::slice::from_ref(&address)).await.expect_err("it is a member");
    assert!(refused.to_string().contains("is a master of this cluster already"), "{refused}");
    goes_on(running[first].as_mut().expect("it runs")).await;
    peers.remove(std::slice::from_ref(&address)).await.expect("removed");
    peers.add(std::slice::from_ref(&address)).await.expect("added");
    assert_eq!(peers.members().iter().filter(|m| m.votes).count(), 3);
    let (_registry, written) = write(registry, vec![change("b", Some("2"))]).await;
    written.expect("written");
    waiting.stop().await;
    for running in running.into_iter().flatten() {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_of_another_cluster_or_without_the_secret_take_no_part() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(2);
    let secret = |text: &str| Some(Secret(text.as_bytes().to_vec()));
    let with = |number, peers: &[usize], text: &str| Replicas {
        secret: secret(text),
        ..masters.replicas(number, peers)
    };
    let mut first = masters.start_with(0, with(0, &[0], "a secret of masters")).await;
    let registry = leads(&mut first.member).await;
    let peers = first.member.peers().expect("a group");
    let second = [masters.addresses[1].clone()];
    let refused = |why: coordination::MembersError, text: &str| {
        assert!(why.to_string().contains(text), "{why}");
    };

    let other = masters.start_with(1, with(1, &[], "another secret")).await;
    refused(peers.add(&second).await.expect_err("no secret"), "--peers_secret must name the same");
    other.stop().await;
    // A cluster of its own.
    let mut other = masters.start_with(1, with(1, &[1], "a secret of masters")).await;
    let theirs = leads(&mut other.member).await;
    refused(peers.add(&second).await.expect_err("a cluster"), "of another cluster");
    drop(theirs);
    other.stop().await;
    // With what that one has left it is not added, with nothing it is.
    let other = masters.start_with(1, with(1, &[], "a secret of masters")).await;
    refused(peers.add(&second).await.expect_err("a cluster"), "of another cluster");
    other.stop().await;
    std::fs::remove_dir_all(masters.directory(1)).expect("removed");
    let other = masters.start_with(1, with(1, &[], "a secret of masters")).await;
    peers.add(&second).await.expect("added");
    let (registry, written) = write(registry, vec![change("a", Some("1"))]).await;
    written.expect("written");
    drop(registry);
    other.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_masters_that_were_told_of_different_peers_do_not_begin() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(3);
    let first = masters.start(0, &[0, 1, 2]).await;
    let mut second = masters.start(1, &[0, 1]).await;
    let why = over(&mut second).await;
    assert!(why.contains("--peers differ"), "{why}");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_what_is_replicated_is_not_taken_for_the_registry_of_one_master() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(1);
    let mut first = masters.start(0, &[0]).await;
    let (registry, written) =
        write(leads(&mut first.member).await, vec![change("a", Some("1"))]).await;
    written.expect("written");
    drop(registry);
    first.stop().await;
    // Others may have more of it: neither alone nor elsewhere is gone on with it.
    let elsewhere = contract::meeting(
        "etcd://127.0.0.1:1/m",
        Duration::from_secs(2),
        Some(masters.directory(0)),
    );
    for backend in [Backend::Embedded(masters.directory(0)), elsewhere] {
        let refused = join(&backend, master(1)).await.expect_err("a part").to_string();
        assert!(refused.contains("holds a part of a registry that masters replicate"), "{refused}");
    }
}

/// Masters are removed one by one; what is left at the end is all of the registry, and nobody else's part is.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_master_of_a_group_goes_on_alone_with_all_of_the_registry() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(3);
    let mut running = Vec::new();
    for number in 0..3 {
        running.push(Some(masters.start(number, &[0, 1, 2]).await));
    }
    let (last, registry) = elected(&mut running).await;
    let (mut registry, written) = write(registry, vec![change("a", Some("1"))]).await;
    written.expect("written");
    let peers = running[last].as_ref().expect("it runs").member.peers().expect("a group");
    let others: Vec<usize> = (0..3).filter(|number| *number != last).collect();
    for number in &others {
        peers.remove(&[masters.addresses[*number].clone()]).await.expect("removed");
        running[*number].take().expect("it runs").stop().await;
        let written;
        (registry, written) = write(registry, vec![change(&format!("b{number}"), Some("2"))]).await;
        written.expect("written");
    }
    drop(registry);
    running[last].take().expect("it runs").stop().await;

    let alone = |number: usize| {
        let port = masters.addresses[number].rsplit(':').next().expect("a port");
        (Backend::Embedded(masters.directory(number)), master(port.parse().expect("a port")))
    };
    for number in others {
        let (backend, me) = alone(number);
        let refused = join(&backend, me).await.expect_err("a part").to_string();
        assert!(refused.contains("others may have more of it"), "{refused}");
    }
    let (backend, me) = alone(last);
    let mut member = join(&backend, me.clone()).await.expect("joined");
    let (registry, all) = content(leads(&mut member).await).await;
    assert_eq!(all.len(), 3, "{all:?}");
    let (registry, written) = write(registry, vec![change("c", Some("3"))]).await;
    written.expect("written");
    drop(registry);
    member.leave().await;

    // Nothing of the group is left: the file is that of one master, and may begin another group.
    let mut again = masters.start(last, &[last]).await;
    let (registry, all) = content(leads(&mut again.member).await).await;
    assert_eq!(all.len(), 4, "{all:?}");
    drop(registry);
    again.stop().await;
}
