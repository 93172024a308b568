//! The agent's side of fetching, with scripts in the place of the program that fetches.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

/// Reads the request.
const REQUEST: &str = "n=$(head -c 4 | od -An -tu4)\nhead -c $n >/dev/null\n";

impl Host {
    /// Every fetch runs this script from now on. It is given the cache's directory as `$cache`.
    fn fetch_by(&self, script: &str) {
        let path = self.directory.join("fetcher");
        let cache = self.directory.join("cache");
        let text = format!("#!/bin/sh\ncache={}\n{REQUEST}{script}\n", cache.display());
        std::fs::write(path.with_extension("new"), text).expect("a script");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path.with_extension("new"), executable).expect("permissions");
        std::fs::rename(path.with_extension("new"), path).expect("in place");
    }

    fn fetching(&self, id: &str, uri: &str) -> ContainerSpec {
        let mut spec = self.spec(id, "cat stderr");
        let value = uri.to_owned();
        let cache = Some(true);
        spec.command.uris.push(wire::v1::command_info::Uri { value, cache, ..Default::default() });
        spec
    }

    fn stderr(&self, id: &str) -> String {
        std::fs::read_to_string(self.sandbox(id).join("stderr")).unwrap_or_default()
    }

    async fn wait_for_stderr(&self, id: &str, line: &str) {
        until(&format!("'{line}' on stderr"), || self.stderr(id).lines().any(|l| l == line)).await;
    }

    fn figures(&self) -> (u64, u64, u64) {
        let figures = self.mesos.fetcher_figures();
        (figures.succeeded, figures.failed, figures.cache_used)
    }
}

/// Talks about item 0, and downloads `x` to where it is told.
const THROUGH_THE_CACHE: &str = r#"
echo ask 0
read -r word rest
if [ $word = measure ]; then
    echo size 0 10
    read -r word rest
fi
echo "$word $rest" >&2
if [ $word = put ]; then
    sleep 0.3
    echo once >> "$cache.log"
    printf x > "$cache/$rest"
    echo kept 0
fi
cat "$cache/$rest" >&2
echo placed 0
"#;

#[tokio::test]
async fn one_download_serves_all_who_want_it_and_the_container_starts_afterwards() {
    let mut host = Host::new();
    host.fetch_by(THROUGH_THE_CACHE);
    let start = |id| host.mesos.start(host.fetching(id, "http://h/some.file"));
    let started = tokio::join!(start("a"), start("b"), start("c"));
    assert!(started.0.is_ok() && started.1.is_ok() && started.2.is_ok(), "{started:?}");
    for _ in 0..3 {
        assert_eq!(host.exit().await.1, Some(0));
    }
    let log = std::fs::read_to_string(host.directory.join("cache.log")).expect("a log");
    assert_eq!(log, "once\n");
    let logs = ["a", "b", "c"].map(|id| host.stderr(id));
    let count = |text: &str| logs.iter().filter(|log| *log == text).count();
    let counts = (count("put c1-some.file\nx"), count("get c1-some.file\nx"));
    assert_eq!(counts, (1, 2), "{logs:?}");
    assert!(host.stdout("a").ends_with("c1-some.file\nx"), "the command came afterwards");
    assert_eq!(host.figures(), (3, 0, 1), "what is smaller than announced takes less");
}

#[tokio::test]
async fn a_failure_fails_the_start_with_the_peers_words() {
    let host = Host::new();
    host.fetch_by("echo why >&2; exit 1");
    let error = host.mesos.start(host.fetching("a", "/a")).await.expect_err("it failed");
    let text = "Failed to fetch all URIs for container 'a': exited with status 1";
    assert_eq!(error, StartError::Launch(text.to_owned()));
    assert_eq!(host.stderr("a"), "why\n");
    host.fetch_by("kill -9 $$");
    let error = host.mesos.start(host.fetching("b", "/a")).await.expect_err("it failed");
    let text = "Failed to fetch all URIs for container 'b': terminated with signal Killed";
    assert_eq!(error, StartError::Launch(text.to_owned()));
    assert_eq!(host.figures(), (0, 2, 0));
    host.start("c", "true").await;
    assert_eq!(host.figures(), (1, 2, 0), "nothing to fetch counts as fetched");
}

#[tokio::test]
async fn a_failed_download_sends_those_who_wait_past_the_cache() {
    let mut host = Host::new();
    host.fetch_by("echo ask 0; read -r answer; echo size 0 10; read -r answer; echo $answer >&2; read -r stop < \"$cache.fifo\"; exit 1");
    let fifo = host.directory.join("cache.fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
    assert!(made.success());
    let first = host.mesos.clone();
    let spec = host.fetching("a", "http://h/f");
    let first = tokio::spawn(async move { first.start(spec).await });
    host.wait_for_stderr("a", "put c1-f").await;
    host.fetch_by("echo ask 0; echo asked >&2; read -r answer; echo $answer >&2");
    let second = host.mesos.clone();
    let spec = host.fetching("b", "http://h/f");
    let second = tokio::spawn(async move { second.start(spec).await });
    host.wait_for_stderr("b", "asked").await;
    std::fs::write(fifo, "stop\n").expect("the first one reads");
    first.await.expect("no panic").expect_err("it failed");
    second.await.expect("no panic").expect("it goes on");
    assert_eq!(host.exit().await.0, "b");
    assert!(host.stderr("b").contains("direct Could not download to fetcher cache: http://h/f"));
}

#[tokio::test]
async fn what_is_cancelled_leaves_nothing_running_and_another_takes_the_download_over() {
    let mut host = Host::new();
    host.fetch_by("echo ask 0; read -r a; echo size 0 10; read -r a; sleep 1000 & echo $! >&2; echo $$ >&2; echo ready >&2; wait");
    let first = host.mesos.clone();
    let spec = host.fetching("a", "http://h/f");
    let first = tokio::spawn(async move { first.start(spec).await });
    host.wait_for_stderr("a", "ready").await;
    let pids: Vec<String> = host.stderr("a").lines().take(2).map(str::to_owned).collect();
    host.fetch_by(THROUGH_THE_CACHE);
    let second = host.mesos.clone();
    let spec = host.fetching("b", "http://h/f");
    let second = tokio::spawn(async move { second.start(spec).await });
    host.mesos.cancel("a");
    let error = first.await.expect("no panic").expect_err("it was cancelled");
    assert_eq!(error, StartError::Launch("Container destroyed during fetching".to_owned()));
    second.await.expect("no panic").expect("it starts");
    assert_eq!(host.exit().await.0, "b");
    assert!(host.stderr("b").starts_with("put c2-f\n"), "{}", host.stderr("b"));
    for pid in pids {
        until(&format!("the end of {pid}"), || !is_alive(&pid)).await;
    }
}

#[tokio::test]
async fn an_end_that_is_asked_for_first_counts() {
    let host = Host::new();
    host.fetch_by("sleep 1000");
    for (id, end) in [("a", Mesos::cancel as fn(&Mesos, &str)), ("b", Mesos::destroy)] {
        host.mesos.announce(&host.fetching(id, "/a"));
        end(&host.mesos, id);
        let error = host.mesos.start(host.fetching(id, "/a")).await.expect_err("it was ended");
        assert_eq!(error, StartError::Launch("Container destroyed during fetching".to_owned()));
    }
}
