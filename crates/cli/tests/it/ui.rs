//! The web UI as a browser gets it, over HTTP alone; `ui_browser` has it in Chromium.

use crate::running::framework;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::framework::{Framework, FrameworkOptions, command_task, text};
use testkit::http::{Answer, Connection};
use testkit::{Cluster, ClusterOptions, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_proffer");
pub(crate) const EVIL: &str = "<script>document.title='evil'</script>";

#[track_caller]
fn get(master: &str, path: &str) -> Answer {
    let mut connection = Connection::open(master).expect("a connection");
    connection.request("GET", path, &[], &[]).expect("an answer")
}

/// A page that is there, whole, with headers that keep scripts out.
#[track_caller]
fn page(master: &str, path: &str) -> String {
    let answer = get(master, path);
    let text = answer.text();
    assert_eq!(answer.status, 200, "{path}: {text}");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'; script-src 'self'"), "{path}: {policy}");
    assert!(text.starts_with("<!DOCTYPE html>") && text.ends_with("</html>"), "{path}: {text}");
    text
}

/// A task that prints a line every second.
pub(crate) fn launch(framework: &mut Framework, id: &str, name: &str, command: &str) -> Value {
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, id, command, 0.5, 64.0);
    task["name"] = json!(name);
    framework.launch(&offer, &[task]);
    framework.until_state(id, "TASK_RUNNING");
    offer
}

#[test]
fn every_page_shows_what_runs_and_names_with_html_are_text() {
    let cluster = Cluster::start(ClusterOptions::new(PROGRAM, 1));
    let master = cluster.master();
    let mut framework = Framework::subscribe(
        &master,
        &FrameworkOptions {
            name: EVIL.to_owned(),
            roles: vec!["eng/ads".to_owned()],
            ..FrameworkOptions::default()
        },
    );
    let offer = launch(&mut framework, "task 1+2", EVIL, "echo hello; exec sleep 1000");
    let agent = text(&offer["agent_id"]["value"]);
    let id = framework.id.clone();
    let paths = [
        "/".to_owned(),
        "/master/".to_owned(),
        "/ui/agents".to_owned(),
        format!("/ui/agents/{agent}"),
        "/ui/frameworks?state=all".to_owned(),
        format!("/ui/frameworks/{id}"),
        "/ui/tasks".to_owned(),
        format!("/ui/tasks?agent={agent}&framework={id}&q=%3Cscript%3E"),
        format!("/ui/frameworks/{id}/tasks/task%201%2B2"),
        format!("/ui/frameworks/{id}/executors/{agent}/task%201%2B2"),
        "/ui/roles".to_owned(),
        "/ui/roles/eng%2Fads".to_owned(),
        "/ui/offers".to_owned(),
        "/ui/maintenance".to_owned(),
        "/ui/masters".to_owned(),
        "/ui/search?q=script".to_owned(),
    ];
    for path in &paths {
        let text = wait::until("a page of the last second", Duration::from_secs(30), || {
            let answer = get(&master, path);
            (answer.status == 200).then(|| page(&master, path))
        });
        assert!(!text.contains("<script>"), "{path}: {text}");
    }
    let tasks = page(&master, "/ui/tasks");
    assert!(tasks.contains("&lt;script&gt;") && tasks.contains(">running<"), "{tasks}");
    let of_framework = page(&master, &format!("/ui/frameworks/{id}"));
    assert!(of_framework.contains("for role 'eng/ads'"), "why it gets no offers: {of_framework}");
    let mut connection = Connection::open(&master).expect("a connection");
    let part = connection.request("GET", "/ui/tasks", &[("x-proffer-part", "content")], &[]);
    let part = part.expect("an answer").text();
    assert!(part.starts_with("<nav id=\"nav\"") && part.contains("&lt;script&gt;"), "{part}");
}

#[test]
fn odd_requests_have_proper_answers() {
    let cluster = Cluster::start(ClusterOptions::new(PROGRAM, 1));
    let master = cluster.master();
    for path in [
        "/ui/agents/nobody",
        "/ui/frameworks/%ff%fe",
        "/ui/frameworks/f/tasks/t",
        "/ui/roles/..%2f..",
        "/ui/frameworks/f/executors/a/e",
    ] {
        let answer = get(&master, path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains("Not found"), "{path}: {}", answer.text());
    }
    for path in [
        "/ui/tasks?size=99999999999999999999&page=18446744073709551615&sort=-nothing",
        "/ui/agents?page=-1&size=0&q=%ff%00%",
        "/ui/tasks?state=%3Cscript%3E&role=%00",
    ] {
        assert!(!page(&master, path).contains("<script>"), "{path}");
    }
    let mut connection = Connection::open(&master).expect("a connection");
    let posted = connection.request("POST", "/ui/tasks", &[], b"x").expect("an answer");
    assert_eq!(posted.status, 405);
    let asset = get(&master, "/ui/assets/app.js");
    assert_eq!(asset.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(get(&master, "/ui/assets/..%2f..%2fetc%2fpasswd").status, 404);
    let leader = get(&master, "/ui/leader");
    assert_eq!(leader.header("access-control-allow-origin"), Some("*"));
    assert_eq!(leader.json()["me"], true);
}

#[test]
fn sandboxes_are_read_through_the_master_and_nothing_else_is() {
    let mut cluster = Cluster::start(ClusterOptions::new(PROGRAM, 1));
    let master = cluster.master();
    let mut framework = framework(&master, None);
    let command = "mkdir -p 'a b'; echo '<b>inside</b>' > 'a b/page.html'; ln -s /etc/passwd link; \
                   head -c 200000 /dev/zero | tr '\\0' x > large; echo hello; exec sleep 1000";
    let offer = launch(&mut framework, "t1", "t1", command);
    let base = format!("/ui/frameworks/{}/tasks/t1", framework.id);
    let read = |path: &str| get(&master, &format!("{base}/read?path={path}"));
    wait::until("what it prints", Duration::from_secs(30), || {
        (read("stdout").text().contains("hello")).then_some(())
    });
    let listed = page(&master, &format!("{base}/files"));
    for name in ["stdout", "stderr", "a b/", "large", "link"] {
        assert!(listed.contains(&format!(">{name}<")), "{name}: {listed}");
    }
    assert!(page(&master, &format!("{base}/files?path=a%20b")).contains("page.html"));
    assert!(page(&master, &format!("{base}/files?path=large")).contains("195 KiB"));

    // What a task wrote is never a page of the master.
    let inside = read("a%20b/page.html");
    assert_eq!(inside.text(), "<b>inside</b>\n");
    assert_eq!(inside.header("content-type"), Some("application/octet-stream"));
    assert_eq!(inside.header("x-content-type-options"), Some("nosniff"));
    assert!(inside.header("content-security-policy").is_some_and(|p| p.contains("sandbox")));
    let download = get(&master, &format!("{base}/download?path=large"));
    assert_eq!(download.body, vec![b'x'; 200_000]);
    let name = download.header("content-disposition").unwrap_or_default();
    assert_eq!(name, "attachment; filename*=UTF-8''large");
    let end = get(&master, &format!("{base}/read?path=large&length=10"));
    assert_eq!((end.body.len(), end.header("x-file-offset")), (10, Some("199990")));

    for (path, status) in [
        ("..", 400),
        ("../../../..", 400),
        ("%2e%2e/x", 400),
        ("a%00b", 400),
        ("link", 400),
        ("nothing", 404),
        ("large&offset=-5", 400),
    ] {
        for verb in ["files", "read", "download"] {
            if verb != "read" && path.contains("offset") {
                continue;
            }
            let answer = get(&master, &format!("{base}/{verb}?path={path}"));
            assert_eq!(answer.status, status, "{verb} {path}: {}", answer.text());
            assert!(!answer.text().contains("root:"), "{verb} {path}");
        }
    }
    let agent = text(&offer["agent_id"]["value"]);
    let strange = format!("/ui/frameworks/{}/executors/{agent}/..%2F..%2Fx/files", framework.id);
    assert_eq!(get(&master, &strange).status, 404);

    cluster.kill_agent(0);
    let gone = wait::until("an agent that is gone", Duration::from_secs(30), || {
        Some(get(&master, &format!("{base}/files"))).filter(|answer| answer.status != 200)
    });
    assert!(gone.text().contains("read"), "{}", gone.text());
}

#[test]
fn changes_are_told_at_once_and_signs_of_life_come_without_them() {
    let cluster = Cluster::start(ClusterOptions::new(PROGRAM, 1));
    let master = cluster.master();
    let mut socket = std::net::TcpStream::connect(&master).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    std::io::Write::write_all(&mut socket, b"GET /ui/events HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    let mut told = String::new();
    let mut until = |what: &str| {
        let mut bytes = [0; 4096];
        while !told.contains(what) {
            let read = std::io::Read::read(&mut socket, &mut bytes).expect("an event");
            assert!(read > 0, "the stream ended: {told}");
            told.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        told.clear();
    };
    until("event: hello");
    until("event: beat");
    let _framework = framework(&master, None);
    until("event: change");
}

#[test]
fn pages_show_what_operators_decided() {
    let cluster = Cluster::start(ClusterOptions::new(PROGRAM, 1));
    let master = cluster.master();
    let send = |method: &str, path: &str, body: Value| {
        let mut connection = Connection::open(&master).expect("a connection");
        let headers = [("Content-Type", "application/json")];
        let body = body.to_string();
        let answer = connection.request(method, path, &headers, body.as_bytes());
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    };
    let agent = get(&master, "/slaves").json()["slaves"][0]["id"].clone();
    let machine = json!({"hostname": "elsewhere", "ip": "10.9.9.9"});
    // The year 2100.
    let window = json!({"machine_ids": [machine], "unavailability": {"start": {"nanoseconds": 4_102_444_800_000_000_000_u64}}});
    send("POST", "/maintenance/schedule", json!({ "windows": [window] }));
    send("PUT", "/weights", json!([{"role": "eng/ads", "weight": 3.5}]));
    let call =
        json!({"type": "DEACTIVATE_AGENT", "deactivate_agent": {"agent_id": {"value": agent}}});
    send("POST", "/api/v1", call);
    let shows = |path: &str, texts: &[&str]| {
        wait::until(path, Duration::from_secs(30), || {
            let text = page(&master, path);
            texts.iter().all(|wanted| text.contains(wanted)).then_some(())
        });
    };
    shows("/ui/maintenance", &["elsewhere 10.9.9.9", "without end", "deactivated", "localhost"]);
    shows("/ui/roles?q=ADS", &["eng/ads", ">3.5<", "1 role<"]);
    shows("/ui/agents?state=deactivated", &["1 agent<", ">localhost<"]);
    shows("/ui/agents?state=active", &["No agents"]);
    shows("/", &["1 out of use"]);
}
