//! The cache.

use super::*;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

fn files(world: &World) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![world.cluster.directory().join("agent0-fetch")];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    names
}

const USED: &str = "containerizer/fetcher/cache_size_used_bytes";

#[test]
fn a_uri_is_downloaded_once_for_all_who_want_it_cached() {
    let mut world = World::new(&["--fetcher_cache_size=30B"]);
    let server = Server::http(|path| match path {
        "/slow" => Reply::Late(Duration::from_millis(700), b"0123456789".to_vec()),
        "/empty" => Reply::Body(200, Vec::new()),
        "/large" => Reply::Body(200, vec![b'x'; 100]),
        _ => Reply::text("0123456789"),
    });
    let cached = |path: &str| json!([{"value": server.uri(path), "cache": true}]);
    for id in ["a", "b", "c"] {
        world.launch(id, "cat slow", &cached("slow"));
    }
    for id in ["a", "b", "c"] {
        let status = world.framework.until_end(id).pop().expect("a status");
        assert_eq!(status["state"], "TASK_FINISHED", "{status}\n{}", world.stderr(id));
        assert_eq!(world.file(id, "stdout"), "0123456789");
        assert!(world.stderr(id).contains("from cache"), "{}", world.stderr(id));
    }
    assert_eq!((server.count("HEAD /slow"), server.count("GET /slow")), (1, 1));
    assert_eq!(world.metric("containerizer/fetcher/cache_size_total_bytes"), 30.0);
    assert_eq!(world.metric(USED), 10.0);
    assert_eq!(files(&world), ["c1-slow"]);

    // Room for three: the least recently used one goes.
    for id in ["x", "y"] {
        world.finishes(id, "true", &cached(id));
    }
    world.finishes("again", "cat slow", &cached("slow"));
    world.finishes("z", "true", &cached("z"));
    assert_eq!(files(&world), ["c1-slow", "c3-y", "c4-z"]);
    assert_eq!((world.metric(USED), server.count("GET /slow")), (30.0, 1));

    // What does not fit, or has no size, goes past it.
    for (id, length) in [("large", 100), ("empty", 0)] {
        let stdout = world.finishes(id, &format!("cat {id}"), &cached(id));
        assert_eq!(stdout.len(), length);
        assert!(
            world.stderr(id).contains("Reverting to fetching directly"),
            "{}",
            world.stderr(id)
        );
    }
    assert_eq!(files(&world).len(), 3);

    // A file that is gone is fetched anew.
    let find = || {
        let mut open = vec![world.cluster.directory().join("agent0-fetch")];
        while let Some(path) = open.pop() {
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                match entry.file_name().to_str() {
                    Some("c1-slow") => return entry.path(),
                    _ => open.push(entry.path()),
                }
            }
        }
        panic!("it is not there");
    };
    let path = find();
    if is_root() {
        let owner = path.parent().and_then(|p| p.metadata().ok()).map(|m| m.mode() & 0o777);
        assert_eq!(owner, Some(0o700), "a user's files are nobody else's");
    }
    std::fs::remove_file(path).expect("it was there");
    world.finishes("gone", "cat slow", &cached("slow"));
    assert_eq!(server.count("GET /slow"), 2);

    world.cluster.kill_agent(0);
    world.cluster.start_agent(0);
    wait::until("it is emptied at the start", Duration::from_secs(20), || {
        files(&world).is_empty().then_some(())
    });
}

#[test]
fn of_a_cached_archive_only_its_content_appears_and_each_user_has_files_of_its_own() {
    let mut world = World::new(&[]);
    let gz = {
        let path = world.cluster.directory().join("text");
        std::fs::write(&path, "unpacked").expect("a file");
        let output = std::process::Command::new("gzip").arg("-c").arg(path).output();
        output.expect("gzip runs").stdout
    };
    let server = Server::http(move |path| match path {
        "/text.gz" => Reply::Body(200, gz.clone()),
        _ => Reply::text("#!/bin/sh\necho run"),
    });
    let uris = json!([
        {"value": server.uri("text.gz"), "cache": true},
        {"value": server.uri("program"), "cache": true, "executable": true, "output_file": "bin/p"},
        {"value": server.uri("program"), "cache": true, "output_file": "copy"},
    ]);
    assert_eq!(
        world.finishes("a", "cat text; bin/p; ls", &uris),
        "unpackedrun\nbin\ncopy\nstderr\nstdout\ntext\n"
    );
    assert_eq!(server.count("GET /program"), 1, "twice in one task is once");
    if is_root() {
        world.launch_as(Some("nobody"), "b", "cat text; bin/p", &uris);
        let status = world.framework.until_end("b").pop().expect("a status");
        assert_eq!(status["state"], "TASK_FINISHED", "{status}\n{}", world.stderr("b"));
        assert_eq!(server.count("GET /program"), 2);
        assert_eq!(files(&world).len(), 4);
    }
}

#[test]
fn a_failed_or_killed_download_does_not_spoil_the_next() {
    let mut world = World::new(&[]);
    static FINE: AtomicBool = AtomicBool::new(false);
    let server = Server::http(|path| match path {
        _ if FINE.load(Ordering::Relaxed) => Reply::text("fine"),
        "/cut" => Reply::Cut(100, "short"),
        _ => Reply::Hang,
    });
    let cached = |path: &str| json!([{"value": server.uri(path), "cache": true}]);
    world.is_not_fetched("cut", &cached("cut"));
    world.launch("killed", "true", &cached("hang"));
    wait::until("it is downloaded", Duration::from_secs(20), || {
        (server.count("GET /hang") == 1).then_some(())
    });
    FINE.store(true, Ordering::Relaxed);
    // This one waits for the first one's download, and takes it over.
    world.launch("waits", "cat hang", &cached("hang"));
    world.framework.call(&json!({"type": "KILL", "kill": {"task_id": {"value": "killed"}}}));
    let status = world.framework.until_end("killed").pop().expect("a status");
    assert_eq!(status["state"], "TASK_KILLED", "{status}");
    let status = world.framework.until_end("waits").pop().expect("a status");
    assert_eq!(status["state"], "TASK_FINISHED", "{status}");
    assert_eq!(world.file("waits", "stdout"), "fine");
    assert_eq!(world.finishes("again", "cat cut", &cached("cut")), "fine");
    assert_eq!(world.metric(USED), 8.0);
}
