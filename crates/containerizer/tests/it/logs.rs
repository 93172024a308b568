//! Logs that are rotated.

use super::*;
use containerizer::Logs;
use std::time::Instant;

fn logs(parameters: &[(&str, &str)]) -> Option<Logs> {
    let pairs = parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Some(Logs::new(&pairs.collect()).expect("parameters"))
}

fn host(parameters: &[(&str, &str)]) -> Host {
    let directory = testkit::cluster::temporary_directory();
    Host::with_options(directory, |options| options.logs = logs(parameters))
}

fn read(host: &Host, id: &str, name: &str) -> Option<String> {
    std::fs::read_to_string(host.sandbox(id).join(name)).ok()
}

#[tokio::test]
async fn full_files_are_put_aside_and_nothing_between_is_lost() {
    let mut host = host(&[("max_stdout_size", "64KB"), ("logrotate_stdout_options", "rotate 2")]);
    host.start("a", "seq 1 100000; echo end >&2").await;
    assert_eq!(host.exit().await.1, Some(0));
    let files: Vec<String> =
        ["stdout.2", "stdout.1", "stdout"].map(|name| read(&host, "a", name).expect(name)).into();
    assert!(files.iter().all(|f| f.len() <= 65536 && f.len() > 4096), "limits are kept");
    assert_eq!(read(&host, "a", "stdout.3"), None);
    let all: Vec<usize> =
        files.concat().lines().skip(1).map(|l| l.parse().expect("a number")).collect();
    assert_eq!(all.last(), Some(&100_000));
    assert!(all.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no line is missing");
    assert_eq!(read(&host, "a", "stderr").as_deref(), Some("end\n"));
    std::fs::remove_dir_all(&host.directory).expect("removed");
}

#[tokio::test]
async fn a_container_says_how_long_its_own_logs_become() {
    let mut host = host(&[("environment_variable_prefix", "LOG_")]);
    let spec = |size: &str| {
        let mut spec = host.spec("a", "seq 1 100000");
        spec.environment.insert("LOG_MAX_STDOUT_SIZE".into(), size.into());
        spec.environment.insert("LOG_LOGROTATE_STDOUT_OPTIONS".into(), "rotate 1".into());
        spec
    };
    let refused = host.mesos.start(spec("much")).await.expect_err("not a size");
    let StartError::Launch(text) = refused else { panic!("{refused:?}") };
    assert!(text.starts_with("variable LOG_MAX_STDOUT_SIZE: expected a number"), "{text}");
    let spec = spec("8KB");
    host.mesos.start(spec).await.expect("it starts");
    assert_eq!(host.exit().await.1, Some(0));
    assert!(read(&host, "a", "stdout").is_some_and(|f| f.len() <= 8192 && f.ends_with("100000\n")));
    assert!(read(&host, "a", "stdout.1").is_some_and(|f| f.len() <= 8192));
    std::fs::remove_dir_all(&host.directory).expect("removed");
}

#[tokio::test]
async fn a_flood_takes_neither_disk_nor_memory() {
    const FLOOD: u64 = 500 << 20;
    let mut host = host(&[("max_stdout_size", "1MB"), ("logrotate_stdout_options", "rotate 1")]);
    let begun = Instant::now();
    let supervisor = host.start("a", &format!("head -c {FLOOD} /dev/zero; cat /dev/null")).await;
    let mut peak = 0;
    let ended = loop {
        let rollup = std::fs::read_to_string(format!("/proc/{supervisor}/smaps_rollup"));
        let rollup = rollup.unwrap_or_default();
        let private = rollup.lines().filter(|l| l.starts_with("Private_"));
        let kib = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
        peak = peak.max(private.filter_map(kib).sum());
        if let Ok(ended) = host.exits.try_recv() {
            break ended;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the flood does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let rate = (FLOOD >> 20) as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} MiB/s through a supervisor of {peak} KiB");
    assert_eq!(ended.status, Some(0));
    assert!(peak < 1536, "the supervisor has {peak} KiB");
    let sizes = ["stdout", "stdout.1"]
        .map(|name| std::fs::metadata(host.sandbox("a").join(name)).expect("a file").len());
    assert!(sizes.iter().all(|size| *size <= 1 << 20), "{sizes:?}");
    std::fs::remove_dir_all(&host.directory).expect("removed");
}
