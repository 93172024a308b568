//! A leader that is cut off: in doubt at first, over then.

use super::{ALONE, Masters, Running, elected, goes_on, serve};
use crate::contract::{change, next, write};
use coordination::Standing;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;

async fn soon(running: &Running, is_doubtful: bool) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while running.member.is_doubtful() != is_doubtful {
        assert!(Instant::now() < deadline, "doubtful: {}", !is_doubtful);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_no_majority_answers_goes_on_when_it_does_again_and_ends_when_it_does_not() {
    let _alone = ALONE.lock().await;
    let masters = Masters::new(3);
    let mut running = Vec::new();
    for number in 0..3 {
        running.push(Some(masters.start(number, &[0, 1, 2]).await));
    }
    let (leader, registry) = elected(&mut running).await;
    // Nobody else can be elected without the leader.
    running[(leader + 2) % 3].take().expect("it runs").stop().await;
    let mut first = running[leader].take().expect("it runs");
    let mut other = running[(leader + 1) % 3].take().expect("it runs");

    other.server.abort();
    let _ = (&mut other.server).await;
    soon(&first, true).await;
    let listener = TcpListener::bind(&masters.addresses[(leader + 1) % 3]).await;
    let peers = other.member.peers().expect("a group");
    other.server = tokio::spawn(serve(listener.expect("a free port"), peers));
    soon(&first, false).await;
    goes_on(&mut first).await;
    let (registry, written) = write(registry, vec![change("a", Some("1"))]).await;
    written.expect("it leads");

    other.server.abort();
    soon(&first, true).await;
    let Standing::Over(why) = next(&mut first.member).await else { panic!("it goes on") };
    assert!(why.contains("no majority of masters answers"), "{why}");
    assert!(first.member.is_doubtful());
    drop(registry);
    first.stop().await;
    other.stop().await;
}
