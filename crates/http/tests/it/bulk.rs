//! Large answers: shared by those who wait for the same, in pieces, and never cut off unseen.

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http_api::Response;
use http_api::bulk::{Bulk, Kind};
use http_body_util::BodyExt as _;
use std::io::{self, Read as _, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

fn kind(call: &str, accept: Option<&'static str>) -> Kind {
    let mut headers = HeaderMap::new();
    if let Some(accept) = accept {
        headers.insert(ACCEPT_ENCODING, accept.parse().expect("a value"));
    }
    Kind::new(call.as_bytes().to_vec(), "application/json", &headers)
}

async fn bytes(response: Response) -> io::Result<Vec<u8>> {
    Ok(response.into_body().collect().await?.to_bytes().to_vec())
}

/// Lines that do not fit into one piece.
fn lines(out: &mut dyn Write) -> io::Result<()> {
    (0..200_000).try_for_each(|n| writeln!(out, "line {n}"))
}

fn all_lines() -> Vec<u8> {
    let mut out = Vec::new();
    lines(&mut out).expect("memory takes all");
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_the_same_before_it_is_begun_shares_the_answer() {
    let bulk = Bulk::start().expect("a thread");
    let (go, wait) = mpsc::channel::<()>();
    bulk.work(move |_| {
        let _ = wait.recv();
    });
    let made = Arc::new(AtomicUsize::new(0));
    let ask = |call: &'static str| {
        let (bulk, made) = (bulk.clone(), made.clone());
        tokio::spawn(async move {
            let make = move |out: &mut dyn Write| {
                made.fetch_add(1, Ordering::SeqCst);
                lines(out)
            };
            bytes(bulk.answer(kind(call, None), make).await).await.expect("all of it")
        })
    };
    let answers: Vec<_> = ["/a", "/a", "/b", "/a"].into_iter().map(ask).collect();
    // The two that join are counted; only then may it begin.
    while bulk.joined() < 2 {
        tokio::task::yield_now().await;
    }
    go.send(()).expect("it waits");
    for answer in answers {
        assert!(answer.await.expect("an answer") == all_lines());
    }
    assert_eq!(made.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_answer_is_whole_and_a_large_one_is_compressed_if_wanted() {
    let bulk = Bulk::start().expect("a thread");
    let small = bulk.answer(kind("small", Some("gzip")), |out| out.write_all(b"{}")).await;
    assert_eq!(small.headers()[CONTENT_TYPE], "application/json");
    assert!(!small.headers().contains_key(CONTENT_ENCODING));
    assert_eq!(http_body::Body::size_hint(small.body()).exact(), Some(2));
    assert_eq!(bytes(small).await.expect("all of it"), b"{}");

    let large = bulk.answer(kind("large", Some("gzip")), |out| lines(out)).await;
    assert_eq!(large.headers()[CONTENT_ENCODING], "gzip");
    let packed = bytes(large).await.expect("all of it");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).expect("gzip");
    assert!(unpacked == all_lines() && packed.len() < unpacked.len() / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_made_is_an_error_and_the_next_answer_is_made() {
    let bulk = Bulk::start().expect("a thread");
    let none = bulk.answer(kind("none", None), |_| Err(io::Error::other("no"))).await;
    assert_eq!(none.status(), 500);
    let none = bulk.answer(kind("fault", None), |_| panic!("a fault")).await;
    assert_eq!(none.status(), 500);
    let half =
        bulk.answer(kind("half", None), |out| lines(out).and(Err(io::Error::other("no")))).await;
    assert_eq!(half.status(), 200);
    bytes(half).await.expect_err("a part is not taken for the whole");
    let half = bulk.answer(kind("half", None), |out| lines(out).map(|()| panic!("a fault"))).await;
    bytes(half).await.expect_err("a part is not taken for the whole");
    let next = bulk.answer(kind("next", None), |out| lines(out)).await;
    assert!(bytes(next).await.expect("all of it") == all_lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_more_is_made_for_whom_nobody_reads() {
    let bulk = Bulk::start().expect("a thread");
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    let endless = bulk.answer(kind("endless", None), move |out| {
        let piece = vec![b' '; 1 << 20];
        loop {
            counted.fetch_add(piece.len(), Ordering::SeqCst);
            out.write_all(&piece)?;
        }
    });
    drop(endless.await);
    // The thread is free again.
    let next = bulk.answer(kind("next", None), |out| out.write_all(b"1")).await;
    assert_eq!(bytes(next).await.expect("all of it"), b"1");
    assert!(written.load(Ordering::SeqCst) >= 1 << 20);
}
