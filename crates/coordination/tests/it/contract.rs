//! What every backend keeps to.

use coordination::{Backend, Change, Member, Registry, RegistryError, Standing, join};
use std::time::Duration;
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
