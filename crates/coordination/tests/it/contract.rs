//! What every backend keeps to.

use coordination::{
    Backend, Change, Meeting, Member, Registry, RegistryError, Replicas, Standing, Timeouts, join,
};
use detector::Url;
use std::path::PathBuf;
use std::time::Duration;
use testkit::cluster::{free_ports, temporary_directory};
use wire::v1;

/// Longest time for a change of standing.
const SOON: Duration = Duration::from_secs(30);

pub(crate) fn change(key: &str, value: Option<&str>) -> Change {
    let value = value.map(|v| v.as_bytes().to_vec());
    Change { key: ("s".to_owned(), key.to_owned()), value }
}

/// A master of that id; its address tells it from others.
pub(crate) fn master(id: u16) -> v1::MasterInfo {
    v1::MasterInfo {
        id: format!("master-{id}"),
        port: u32::from(id),
        hostname: Some("localhost".to_owned()),
        pid: Some(format!("master@127.0.0.1:{id}")),
        address: Some(v1::Address {
            ip: Some("127.0.0.1".to_owned()),
            hostname: Some("localhost".to_owned()),
            port: i32::from(id),
        }),
        ..Default::default()
    }
}

pub(crate) async fn next(member: &mut Member) -> Standing {
    tokio::time::timeout(SOON, member.next()).await.expect("a change of standing")
}

/// Masters that meet at this URL.
pub(crate) fn meeting(url: &str, session_timeout: Duration, former: Option<PathBuf>) -> Backend {
    let url = Url::parse(url).expect("a URL");
    Backend::Meeting(Meeting { url, session_timeout, timeouts: Timeouts::default(), former })
}

/// Waits until this member leads.
pub(crate) async fn leads(member: &mut Member) -> Box<dyn Registry> {
    loop {
        match next(member).await {
            Standing::Leads(registry) => return registry,
            Standing::Over(why) => panic!("{why}"),
            Standing::Nobody | Standing::Follows(_) => {}
        }
    }
}

/// Waits until this member follows another.
pub(crate) async fn follows(member: &mut Member) -> v1::MasterInfo {
    loop {
        match next(member).await {
            Standing::Follows(leader) => return *leader,
            Standing::Nobody => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Uses a registry where it may block.
pub(crate) async fn with<T: Send + 'static>(
    mut registry: Box<dyn Registry>,
    call: impl FnOnce(&mut dyn Registry) -> T + Send + 'static,
) -> (Box<dyn Registry>, T) {
    let call = move || {
        let answer = call(&mut *registry);
        (registry, answer)
    };
    tokio::task::spawn_blocking(call).await.expect("no panic")
}

pub(crate) async fn write(
    registry: Box<dyn Registry>,
    changes: Vec<Change>,
) -> (Box<dyn Registry>, Result<(), RegistryError>) {
    with(registry, move |registry| registry.write(&[&changes])).await
}

/// Keys and values, without the section.
pub(crate) async fn content(
    registry: Box<dyn Registry>,
) -> (Box<dyn Registry>, Vec<(String, String)>) {
    with(registry, |registry| {
        let all = registry.read().expect("readable");
        all.into_iter().map(|((_, k), v)| (k, String::from_utf8(v).expect("text"))).collect()
    })
    .await
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// One master: its registry is empty at first, keeps writes in order, and any key.
pub(crate) async fn keeps_what_is_written(backend: &Backend) {
    let mut member = join(backend, master(1)).await.expect("joined");
    let registry = leads(&mut member).await;
    let (registry, all) = content(registry).await;
    assert_eq!(all, []);
    let first = vec![change("b", Some("2")), change("a", Some("1")), change("c", Some("3"))];
    let second = vec![change("b", None), change("a", Some("4")), change("x", None)];
    let third = vec![change("b", Some("5")), change("b", Some("6")), change("c", None)];
    let (registry, written) =
        with(registry, move |registry| registry.write(&[&first, &second, &third])).await;
    written.expect("written");
    let (registry, all) = content(registry).await;
    assert_eq!(all, pairs(&[("a", "4"), ("b", "6")]));
    let odd =
        vec![change("", Some("empty")), change("..", Some("dots")), change("a/ü%", Some("x"))];
    let (registry, written) = write(registry, odd).await;
    written.expect("written");
    let (registry, all) = content(registry).await;
    assert_eq!(all, pairs(&[("", "empty"), ("..", "dots"), ("a", "4"), ("a/ü%", "x"), ("b", "6")]));
    let many: Vec<Change> =
        (0..1500).map(|n| change(&format!("n{n:04}"), Some(&"v".repeat(300)))).collect();
    let (registry, written) = write(registry, many).await;
    written.expect("written");
    let (registry, all) = content(registry).await;
    assert_eq!(all.len(), 1505);
    drop(registry);
    member.leave().await;
}

/// After a master has left, the next one finds what was written and goes on.
pub(crate) async fn keeps_it_for_the_next_one(backend: &Backend) {
    let mut member = join(backend, master(2)).await.expect("joined");
    let (registry, all) = content(leads(&mut member).await).await;
    assert_eq!(all.len(), 1505);
    let (registry, written) =
        write(registry, vec![change("a", None), change("b", Some("7")), change("d", Some("8"))])
            .await;
    written.expect("written");
    let (_, all) = content(registry).await;
    assert_eq!(all.len(), 1505);
    assert_eq!(all.iter().filter(|(k, _)| k == "a" || k == "b" || k == "d").count(), 2);
    member.leave().await;
}

/// Of several masters one leads, the others know which, and the next one leads when it leaves.
pub(crate) async fn one_leads_at_a_time(backend: &Backend) {
    let mut first = join(backend, master(1)).await.expect("joined");
    let (registry, _) = content(leads(&mut first).await).await;
    let mut second = join(backend, master(2)).await.expect("joined");
    assert_eq!(follows(&mut second).await, master(1));
    let mut third = join(backend, master(3)).await.expect("joined");
    assert_eq!(follows(&mut third).await, master(1));
    let (registry, written) = write(registry, vec![change("of-first", Some("1"))]).await;
    written.expect("written");
    first.leave().await;
    let told = next(&mut second).await;
    assert!(matches!(told, Standing::Nobody), "it sends to a former leader: {told:?}");
    let (taken, all) = content(leads(&mut second).await).await;
    assert!(all.contains(&("of-first".to_owned(), "1".to_owned())));
    assert_eq!(follows(&mut third).await, master(2));

    // Whoever has led before changes nothing any more.
    let (_, written) = write(registry, vec![change("of-first", Some("2"))]).await;
    written.expect_err("fenced");
    let (taken, written) = write(taken, vec![change("of-second", Some("3"))]).await;
    written.expect("written");
    let (_, all) = content(taken).await;
    assert!(all.contains(&("of-first".to_owned(), "1".to_owned())));
    assert!(all.contains(&("of-second".to_owned(), "3".to_owned())));
    third.leave().await;
    second.leave().await;
}

/// Two masters that say they are at one address are not two leaders, and nobody is sent in a circle.
pub(crate) async fn one_address_leads_once(backend: &Backend) {
    let mut first = join(backend, master(1)).await.expect("joined");
    let registry = leads(&mut first).await;
    let mut twin = join(backend, master(1)).await.expect("joined");
    let told = tokio::time::timeout(Duration::from_secs(3), twin.next()).await;
    assert!(matches!(told, Err(_) | Ok(Standing::Nobody)), "{told:?}");
    let (registry, written) = write(registry, vec![change("twin", Some("1"))]).await;
    written.expect("written");
    drop(registry);
    first.leave().await;
    let (registry, all) = content(leads(&mut twin).await).await;
    assert!(all.contains(&("twin".to_owned(), "1".to_owned())));
    let (_, written) = write(registry, vec![change("twin", None)]).await;
    written.expect("written");
    twin.leave().await;
}

/// Values and writes larger than a transaction are made whole, found by the next one, and removed.
pub(crate) async fn takes_writes_of_any_size(backend: &Backend) {
    let mut member = join(backend, master(1)).await.expect("joined");
    let (registry, all) = content(leads(&mut member).await).await;
    let before = all.len();
    let huge = "x".repeat(3 << 20);
    let mut changes = vec![change("huge", Some(&huge)), change("other", Some(&huge[..700_000]))];
    changes.extend((0..3000).map(|n| change(&format!("many{n:04}"), Some("v"))));
    let (registry, written) = write(registry, changes).await;
    written.expect("written");
    let half = huge[..600_000].to_owned();
    let (registry, written) = with(registry, move |registry| {
        let (a, b) = ([change("half1", Some(&half))], [change("half2", Some(&half))]);
        registry.write(&[&a, &b])
    })
    .await;
    written.expect("two writes are two transactions");
    let endless = vec![change("endless", Some(&"x".repeat(65 << 20)))];
    let (registry, written) = write(registry, endless).await;
    assert!(matches!(written, Err(RegistryError::TooLarge { .. })), "{written:?}");
    drop(registry);
    member.leave().await;

    let mut member = join(backend, master(2)).await.expect("joined");
    let (registry, all) = content(leads(&mut member).await).await;
    assert_eq!(all.len(), before + 3004);
    let length = |key: &str| all.iter().find(|(k, _)| k == key).map(|(_, v)| v.len());
    assert_eq!((length("huge"), length("other")), (Some(3 << 20), Some(700_000)));
    let changes = vec![change("huge", Some("small")), change("other", None)];
    let (registry, written) = write(registry, changes).await;
    written.expect("written");
    let (_, all) = content(registry).await;
    assert_eq!(all.len(), before + 3003);
    assert!(all.contains(&("huge".to_owned(), "small".to_owned())));
    member.leave().await;
}

/// What a master has left in its file when it was alone is taken over once; where there is another registry, it is
/// refused and both are left as they are. `backend` is that of a path and the directory of a master that was alone.
pub(crate) async fn takes_over_what_was_embedded(backend: impl Fn(&str, PathBuf) -> Backend) {
    let alone = || async {
        let directory = temporary_directory();
        let mut member =
            join(&Backend::Embedded(directory.clone()), master(1)).await.expect("joined");
        let registry = leads(&mut member).await;
        let many: Vec<Change> =
            (0..2000).map(|n| change(&format!("old{n}"), Some(&"v".repeat(1000)))).collect();
        let (registry, written) = write(registry, many).await;
        written.expect("written");
        drop(registry);
        member.leave().await;
        directory
    };
    let (first, second) = (alone().await, alone().await);
    let mut member = join(&backend("new", first.clone()), master(1)).await.expect("joined");
    let (registry, all) = content(leads(&mut member).await).await;
    assert_eq!(all.len(), 2000);
    let (registry, written) = write(registry, vec![change("new", Some("1"))]).await;
    written.expect("written");

    let mut other = join(&backend("new", second.clone()), master(2)).await.expect("joined");
    let Standing::Over(why) = next(&mut other).await else { panic!("it goes on") };
    assert!(why.contains("when it was alone") && why.contains("move the file away"), "{why}");
    other.leave().await;
    drop(registry);
    member.leave().await;

    // Nothing is left to be taken over, or refused.
    let mut again = join(&backend("new", first.clone()), master(1)).await.expect("joined");
    let (_, all) = content(leads(&mut again).await).await;
    assert_eq!(all.len(), 2001);
    again.leave().await;
    let mut kept = join(&Backend::Embedded(second.clone()), master(1)).await.expect("joined");
    let (_, all) = content(leads(&mut kept).await).await;
    assert_eq!(all.len(), 2000);
    kept.leave().await;
    for directory in [first, second] {
        std::fs::remove_dir_all(directory).expect("removed");
    }
}

/// What the last master of a group has left goes along, for the master at that address alone; and back, where the mark
/// is left that says where it is now.
pub(crate) async fn goes_to_and_from_a_group(backend: impl Fn(&str, PathBuf) -> Backend) {
    let (directory, port) = (temporary_directory(), free_ports(1)[0]);
    let at = format!("127.0.0.1:{port}");
    let raft = Backend::Raft(Replicas {
        directory: directory.clone(),
        me: at.clone(),
        peers: vec![at],
        secret: None,
        timeouts: Timeouts::default(),
    });
    let writes = |backend: Backend, key: &'static str| async move {
        let mut member = join(&backend, master(port)).await.expect("joined");
        let (registry, written) =
            write(leads(&mut member).await, vec![change(key, Some("1"))]).await;
        written.expect("written");
        let (registry, all) = content(registry).await;
        drop(registry);
        member.leave().await;
        all.into_iter().map(|(key, _)| key).collect::<Vec<String>>()
    };
    assert_eq!(writes(raft.clone(), "a").await, ["a"]);
    let there = backend("left", directory.clone());
    let refused = join(&there, master(1)).await.expect_err("another master").to_string();
    assert!(refused.contains("others may have more of it"), "{refused}");
    assert_eq!(writes(there.clone(), "b").await, ["a", "b"]);

    let Backend::Meeting(meeting) = there.clone() else { panic!("a meeting") };
    let from = Box::new(Meeting { former: None, ..meeting });
    let back = Backend::Moved(from.clone(), Box::new(raft.clone()));
    assert_eq!(writes(back.clone(), "c").await, ["a", "b", "c"]);
    let mut stale = join(&Backend::Meeting(*from), master(2)).await.expect("joined");
    let (registry, found) = with(leads(&mut stale).await, |registry| {
        coordination::moved_to(&registry.read().expect("readable"))
    })
    .await;
    assert_eq!(found, Some(format!("the masters that replicate it with 127.0.0.1:{port}")));
    drop(registry);
    stale.leave().await;
    // A second time there is nothing to be moved, and nothing that came later is lost.
    assert_eq!(writes(back, "d").await, ["a", "b", "c", "d"]);
    assert_eq!(writes(there, "e").await, ["a", "b", "c", "d", "e"]);
    std::fs::remove_dir_all(directory).expect("removed");
}

/// Masters that meet keep their registry, also if another one would take it; so does one that has another one already.
pub(crate) async fn is_not_taken_from_who_leads(backend: impl Fn(&str, PathBuf) -> Backend) {
    let directory = temporary_directory();
    let Backend::Meeting(meeting) = backend("led", directory.join("none")) else {
        panic!("a meeting")
    };
    let from = Box::new(Meeting { former: None, ..meeting });
    let taking =
        Backend::Moved(from.clone(), Box::new(Backend::Embedded(directory.join("taking"))));
    let mut member = join(&Backend::Meeting(*from), master(1)).await.expect("joined");
    let (registry, written) = write(leads(&mut member).await, vec![change("a", Some("1"))]).await;
    written.expect("written");
    let mut thief = join(&taking, master(2)).await.expect("joined");
    let Standing::Over(why) = next(&mut thief).await else { panic!("it leads") };
    assert!(why.contains("master@127.0.0.1:1 leads at"), "{why}");
    thief.leave().await;
    let (registry, written) = write(registry, vec![change("b", Some("1"))]).await;
    written.expect("it leads as before");
    drop(registry);
    member.leave().await;

    let mut own =
        join(&Backend::Embedded(directory.join("taking")), master(2)).await.expect("joined");
    let (registry, written) = write(leads(&mut own).await, vec![change("c", Some("1"))]).await;
    written.expect("written");
    drop(registry);
    own.leave().await;
    let mut thief = join(&taking, master(2)).await.expect("joined");
    let Standing::Over(why) = next(&mut thief).await else { panic!("it leads") };
    assert!(why.contains("and another one here; remove the one"), "{why}");
    thief.leave().await;
    std::fs::remove_dir_all(directory).expect("removed");
}

/// A master that has led with a registry does not go on with another one, or with none, unnoticed.
pub(crate) async fn is_recognized(backend: impl Fn(&str, PathBuf) -> Backend) {
    let directory = temporary_directory();
    let (ours, others) = (directory.join("ours"), directory.join("others"));
    let leads_at = |path: &'static str, directory: PathBuf| {
        let backend = backend(path, directory);
        async move {
            let mut member = join(&backend, master(1)).await.expect("joined");
            let (registry, written) =
                write(leads(&mut member).await, vec![change(path, Some("1"))]).await;
            written.expect("written");
            let (registry, all) = content(registry).await;
            drop(registry);
            member.leave().await;
            assert_eq!(all, pairs(&[(path, "1")]));
        }
    };
    leads_at("ours", ours.clone()).await;
    leads_at("ours", ours.clone()).await;
    leads_at("others", others.clone()).await;
    for path in ["others", "removed"] {
        let mut member = join(&backend(path, ours.clone()), master(1)).await.expect("joined");
        let why = loop {
            match next(&mut member).await {
                Standing::Over(why) => break why,
                Standing::Leads(_) => panic!("it leads at {path}"),
                _ => {}
            }
        };
        assert!(why.contains("is not the one that this master has led with before"), "{why}");
        assert!(why.contains("ours/registry.id"), "{why}");
        member.leave().await;
    }
    // A new master, or one whose operator means it.
    leads_at("ours", directory.join("new")).await;
    std::fs::remove_file(ours.join("registry.id")).expect("it is there");
    leads_at("others", ours).await;
    std::fs::remove_dir_all(directory).expect("removed");
}
