//! The commands of operators, as their users see them.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

/// What a command printed, and its exit status.
struct Ran {
    out: String,
    err: String,
    code: Option<i32>,
}

fn proffer(master: &str, words: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_proffer"))
        .args(words)
        .env("PROFFER_MASTER", master)
        .env("XDG_CONFIG_HOME", "/nowhere")
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { out: text(&output.stdout), err: text(&output.stderr), code: output.status.code() }
}

#[track_caller]
pub(crate) fn done(master: &str, words: &[&str]) -> String {
    let ran = proffer(master, words);
    assert_eq!(ran.code, Some(0), "{words:?}: {}{}", ran.out, ran.err);
    ran.out
}

#[track_caller]
pub(crate) fn refused(master: &str, words: &[&str], code: i32, why: &str) {
    let ran = proffer(master, words);
    assert!(
        ran.code == Some(code) && ran.err.contains(why),
        "{words:?}: {:?} {}",
        ran.code,
        ran.err
    );
}

pub(crate) fn cluster(agents: usize) -> Cluster {
    Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), agents))
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"))
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    refused("127.0.0.1:1", &["status"], 1, "failed to reach a master at 127.0.0.1:1");
    refused("h:x", &["status"], 2, "PROFFER_MASTER: Failed to parse 'h:x'; expected host:port");
    refused(
        "h:x",
        &["status", "--master=zk://h"],
        2,
        "--master: Failed to parse: Expecting a (chroot) path",
    );
    refused(
        "h:x",
        &["status", "--master=etcds://h/m?cacert=/no/ca.pem"],
        2,
        "--master: /no/ca.pem: ",
    );
    refused("h:1", &["status", "--jsno"], 2, "--json");
    refused("h:1", &["weight"], 2, "set");
    refused("h:1", &["weight", "set", "web"], 2, "'web': expected ROLE=WEIGHT");
    refused("h:1", &["statsu"], 1, "did you mean 'status'?");
    assert!(done("h:1", &["why", "--help"]).contains("Examples:"));
    assert!(done("h:1", &["help"]).contains("\n  why "));
}

#[test]
fn a_configuration_file_names_the_master() {
    let cluster = cluster(0);
    let home = cluster.directory().join("home");
    std::fs::create_dir_all(home.join("proffer")).expect("a directory");
    let ask = |text: &str| {
        std::fs::write(home.join("proffer/config.toml"), text).expect("written");
        Command::new(env!("CARGO_BIN_EXE_proffer"))
            .arg("status")
            .env("XDG_CONFIG_HOME", &home)
            .env_remove("PROFFER_MASTER")
            .env_remove("MESOS_MASTER")
            .output()
            .expect("it runs")
    };
    let output = ask(&format!("# where it is\nmaster = \"{}\"\n", cluster.master()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = ask("master: here");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("config.toml: line 1: expected master = \"host:port\""), "{text}");
    assert_eq!(output.status.code(), Some(2));
}

/// A master that does not lead: redirects to that address, or to itself.
fn follower(leader: Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let own = listener.local_addr().expect("an address").to_string();
    let leader = leader.unwrap_or_else(|| own.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = BufReader::new(stream.try_clone().expect("a socket"));
            let (mut line, mut length) = (String::new(), 0);
            while request.read_line(&mut line).is_ok_and(|n| n > 2) {
                let header = line.to_lowercase();
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                line.clear();
            }
            request.read_exact(&mut vec![0; length]).expect("the body");
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: //{leader}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    own
}

#[test]
fn the_leading_master_is_found() {
    let cluster = cluster(0);
    let follower_of = follower(Some(cluster.master()));
    assert!(done(&follower_of, &["status"]).contains("agents      0 active of 0"));
    let list = format!("127.0.0.1:1,{follower_of}");
    assert!(done(&list, &["weight", "set", "web=2"]).contains("web"), "calls follow as well");
    refused(&follower(None), &["status"], 1, "masters redirect to each other");
}

#[test]
fn status_and_weights() {
    let cluster = cluster(2);
    let master = cluster.master();
    let out = done(&master, &["status"]);
    assert!(out.contains("agents      2 active of 2\n"), "{out}");
    assert!(out.contains("cpus        0 used of 8 (0 %), 0 offered\n"), "{out}");
    assert_eq!(json(&done(&master, &["status", "--json"]))["resources"]["mem"]["total"], 8192.0);

    assert_eq!(done(&master, &["weight", "list"]), "All roles have weight 1.\n");
    let out = done(&master, &["weight", "set", "web=2", "batch/night=0.5"]);
    assert_eq!(out, "ROLE         WEIGHT\nbatch/night     0.5\nweb               2\n");
    refused(&master, &["weight", "set", "a//b=1"], 1, "a//b");
    assert_eq!(json(&done(&master, &["weight", "list", "--json"]))[1]["weight"], 2.0);
}

#[test]
fn why_answers_in_a_sentence_and_a_table() {
    let cluster = cluster(1);
    let master = cluster.master();
    assert!(done(&master, &["why"]).starts_with("Nobody waits"));
    let options =
        |name: &str| FrameworkOptions { name: name.to_owned(), ..FrameworkOptions::default() };
    let mut holder = Framework::subscribe(&master, &options("holder"));
    let offer = holder.offers().remove(0);
    let waiting = Framework::subscribe(&master, &options("waiting"));
    let out = done(&master, &["why"]);
    let first = out.lines().next().expect("a line");
    assert!(
        first.starts_with("'waiting' holds no offer for role '*'; on 1 of 1 agents (for "),
        "{out}"
    );
    assert!(out.contains("\nTAKEN  "), "{out}");
    assert!(out.contains("is offered to framework 'holder' since"), "{out}");
    assert!(out.contains("\nWhat would change it:\n  TAKEN: "), "{out}");
    let number = &waiting.id[waiting.id.len() - 4..];
    for words in
        [["--framework", "waiting"], ["--framework", number], ["--agent", "S0"], ["--role", "*"]]
    {
        let out = done(&master, &["why", words[0], words[1]]);
        assert!(out.contains("'waiting' holds no offer"), "{words:?}: {out}");
    }
    let answer =
        json(&done(&master, &["why", "--framework=waiting", "--agent=localhost", "--json"]));
    assert_eq!(answer["why"][0]["reasons"][0]["reason"], "TAKEN", "{answer}");
    refused(&master, &["why", "--framework", "wating"], 1, "did you mean 'waiting'?");
    refused(&master, &["why", "--agent", "localhots"], 1, "did you mean 'localhost'?");
    let out = done(&master, &["why", "--role", "nobodys"]);
    assert!(out.starts_with("No framework is subscribed to role 'nobodys'"), "{out}");
    done(&master, &["weight", "set", "somebody=2"]);
    let out = done(&master, &["why", "--role", "sombody"]);
    assert!(out.ends_with("\nDid you mean role 'somebody'?\n"), "{out}");
    let out = done(&master, &["why", "--role", "*", "--history"]);
    assert!(out.starts_with("2 frameworks and roles meet the same in 2 of 2 cases"), "{out}");
    assert!(
        out.contains(
            "
Nothing was decided"
        ) || out.contains("BY REASON"),
        "{out}"
    );
    holder.decline(&offer, 0.0);
}

#[test]
fn quotas_are_set_listed_and_removed() {
    let cluster = cluster(1);
    let master = cluster.master();
    assert_eq!(done(&master, &["quota", "list"]), "No role has a quota.\n");
    let out = done(
        &master,
        &["quota", "set", "ads", "--guarantee", "cpus=2,mem=512", "--limit", "cpus=3"],
    );
    let lines = ["ROLE  GUARANTEE        LIMIT   CONSUMED", "ads   cpus 2, mem 512  cpus 3  -", ""];
    assert_eq!(out, lines.join("\n"));
    // What is not given stays.
    let out = done(&master, &["quota", "set", "ads", "--limit", "none"]);
    assert!(out.contains("ads   cpus 2, mem 512  -      -"), "{out}");
    let set = |more: &[&'static str]| [&["quota", "set"][..], more].concat();
    refused(
        &master,
        &set(&["ads", "--guarantee", "cpus=9"]),
        1,
        "(use --force to bypass this check)",
    );
    done(&master, &set(&["ads", "--guarantee", "cpus=9", "--force"]));
    let answer = json(&done(&master, &["quota", "list", "--json"]));
    assert_eq!(answer["quotas"][0]["guarantee"], serde_json::json!({"cpus": 9.0}));
    refused(
        &master,
        &set(&["ads", "--guarantee", "cpus=3", "--limit", "cpus=2"]),
        1,
        "is not contained within",
    );
    refused(&master, &set(&["ads", "--limit", "cpus"]), 2, "--limit: 'cpus': expected NAME=AMOUNT");
    refused(&master, &set(&["ads"]), 2, "nothing to set");
    refused(&master, &set(&["a b", "--limit", "cpus=1"]), 1, "a b");
    assert_eq!(done(&master, &["quota", "remove", "ads"]), "No role has a quota.\n");
    refused(&master, &["quota", "remove", "ads"], 1, "Role 'ads' has no quota set");
}

#[test]
fn reservations_are_made_listed_and_given_back() {
    let cluster = cluster(2);
    let master = cluster.master();
    assert_eq!(done(&master, &["reservations"]), "Nothing is reserved.\n");
    let resources = "cpus:2;mem:512;ports:[31000-31009]";
    let out = done(&master, &["reserve", "S0", "ads", resources, "--label", "team=search"]);
    assert!(out.contains("  localhost  ads   cpus:2; mem:512; ports:[31000-31009]  dynamic  -          team=search"), "{out}");
    done(&master, &["reserve", "S1", "batch", "cpus:1"]);
    let out = done(&master, &["reservations", "--role", "batch"]);
    assert!(out.contains("cpus:1") && !out.contains("ads"), "{out}");
    let out = done(&master, &["reservations", "--agent", "S0", "--json"]);
    assert_eq!(json(&out)["reservations"][0]["role"], "ads", "{out}");

    // Labels are found by themselves.
    let out = done(&master, &["unreserve", "S0", "ads", "cpus:0.5;ports:[31000-31004]"]);
    assert!(out.contains("cpus:1.5; mem:512; ports:[31005-31009]"), "{out}");
    refused(
        &master,
        &["unreserve", "S0", "ads", "cpus:2"],
        1,
        "not so much cpus reserved on agent",
    );
    refused(
        &master,
        &["unreserve", "S0", "ads", "--label", "team=web"],
        1,
        "nothing is reserved dynamically",
    );
    let out = done(&master, &["unreserve", "S0", "ads"]);
    assert_eq!(out, "Nothing is reserved.\n");
    refused(
        &master,
        &["unreserve", "S0", "ads"],
        1,
        "nothing is reserved dynamically for role 'ads'",
    );

    refused(&master, &["reserve", "S0", "ads", "cpus:100"], 1, "cpus");
    refused(&master, &["reserve", "S0", "ads", "cpus"], 2, "expected 'name(role):value'");
    refused(
        &master,
        &["reserve", "S0", "ads", "cpus(web):1"],
        2,
        "expected resources without a role",
    );
    refused(&master, &["reserve", "S0", "a//b", "cpus:1"], 2, "'a//b' is no role");
    refused(
        &master,
        &["reserve", "S0", "ads", "cpus:1", "--label", "x"],
        2,
        "--label: expected KEY=VALUE",
    );
    refused(&master, &["reserve", "S7", "ads", "cpus:1"], 1, "there is no agent 'S7'");
    refused(
        &master,
        &["reserve", "localhost", "ads", "cpus:1"],
        2,
        "'localhost' means 2 agents; give one of ",
    );
}

#[test]
fn volumes_are_made_of_reserved_disk() {
    let cluster = cluster(1);
    let master = cluster.master();
    assert_eq!(done(&master, &["volume", "list"]), "There is no volume.\n");
    let create = ["volume", "create", "S0", "db", "data", "512"];
    refused(&master, &create, 1, "role 'db' has 0 MB of reserved disk free on agent");
    done(&master, &["reserve", "S0", "db", "disk:1024"]);
    let out = done(&master, &[&create[..], &["--path", "var"]].concat());
    assert!(out.contains("data  db    512  ") && out.contains("  localhost  var   no"), "{out}");
    refused(&master, &create, 1, "data");
    let out = done(&master, &["volume", "grow", "S0", "data", "256"]);
    assert!(out.contains("data  db    768  "), "{out}");
    refused(
        &master,
        &["volume", "grow", "S0", "data", "512"],
        1,
        "has 256 MB of reserved disk free",
    );
    let out = done(&master, &["volume", "shrink", "S0", "data", "128"]);
    assert!(out.contains("data  db    640  "), "{out}");
    done(&master, &["volume", "create", "S0", "db", "more", "100", "--shared"]);
    let volumes = json(&done(&master, &["volume", "list", "--json"]));
    let volumes = volumes["volumes"].as_array().expect("a list");
    let more =
        volumes.iter().map(|v| &v["volume"]).find(|v| v["disk"]["persistence"]["id"] == "more");
    let more = more.expect("the volume");
    assert!(more.get("shared").is_some(), "{more}");
    let out = done(&master, &["reservations"]);
    assert!(out.contains("disk:640 (volume data)"), "{out}");
    refused(&master, &["volume", "destroy", "S0", "dta"], 1, "there is no volume 'dta' on agent");
    refused(&master, &["volume", "create", "S0", "db", "x", "-1"], 2, "");
    refused(
        &master,
        &["volume", "create", "S0", "db", "x", "zero"],
        2,
        "MB: expected a number above 0, got 'zero'",
    );
    done(&master, &["volume", "destroy", "S0", "more"]);
    assert_eq!(done(&master, &["volume", "destroy", "S0", "data"]), "There is no volume.\n");
    assert_eq!(done(&master, &["unreserve", "S0", "db"]), "Nothing is reserved.\n");
}

#[test]
fn what_there_is_is_listed() {
    let cluster = cluster(1);
    let master = cluster.master();
    assert_eq!(done(&master, &["frameworks"]), "No framework is subscribed.\n");
    assert_eq!(done(&master, &["tasks"]), "There is no task.\n");
    assert_eq!(done(&master, &["offers"]), "No offer is out; `proffer why` says why.\n");
    let mut framework = Framework::subscribe(
        &master,
        &FrameworkOptions {
            name: "site".to_owned(),
            roles: vec!["web".to_owned()],
            ..FrameworkOptions::default()
        },
    );
    let offer = framework.offers().remove(0);
    framework.launch(&offer, &[command_task(&offer, "long", "sleep 1000", 0.5, 64.0)]);
    framework.until_state("long", "TASK_RUNNING");
    let offer = framework.offers().remove(0);
    framework.launch(&offer, &[command_task(&offer, "short", "true", 0.5, 64.0)]);
    framework.until_end("short");
    let rest = framework.offers().remove(0);

    let out = done(&master, &["agents"]);
    let mut lines = out.lines();
    let head = "STATE   CPUS USED  OFFERED  TOTAL  MEM USED  OFFERED  TOTAL  ATTRIBUTES";
    assert!(lines.next().is_some_and(|l| l.ends_with(head)), "{out}");
    assert!(lines.next().is_some_and(|l| l.ends_with("number:0")), "{out}");
    let out = done(&master, &["frameworks"]);
    assert!(out.contains("  site  web    active  "), "{out}");
    let out = done(&master, &["tasks"]);
    assert!(
        out.contains("TASK_RUNNING  web   cpus 0.5, mem 64  ") && !out.contains("short"),
        "{out}"
    );
    let out = done(&master, &["tasks", "--all", "--framework", "site"]);
    assert!(out.contains("TASK_FINISHED"), "{out}");
    let out = done(&master, &["offers", "--framework", "site", "--json"]);
    assert_eq!(json(&out)["offers"][0]["id"], rest["id"]["value"], "{out}");
    assert!(done(&master, &["offers"]).contains("  site       web   cpus 3"), "{out}");
    let out = done(&master, &["roles"]);
    assert!(out.contains("\nweb        1           1  "), "{out}");
    refused(&master, &["tasks", "--framework", "sites"], 1, "did you mean 'site'?");
    let flags = json(&done(&master, &["flags", "--json"]));
    assert_eq!(flags["flags"]["port"], master.rsplit(':').next().expect("a port"), "{flags}");
    assert!(done(&master, &["flags"]).contains("\n--port  "));
}

#[test]
fn shells_complete_words() {
    for (shell, word) in [
        ("bash", "complete -F _proffer"),
        ("zsh", "#compdef proffer"),
        ("fish", "complete -c proffer"),
    ] {
        let out = done("h:1", &["completion", shell]);
        assert!(
            out.contains(word) && out.contains("simulate") && out.contains("work_dir"),
            "{shell}"
        );
    }
    let zsh = done("h:1", &["completion", "zsh"]);
    assert!(
        zsh.contains(":_proffer_tasks' ") && zsh.contains("'--framework=[Only of this"),
        "{zsh}"
    );
    let of_an_offer = zsh.lines().find(|line| line.contains("'--task=[What one task takes"));
    assert!(of_an_offer.is_some_and(|line| line.contains(":_default'")), "{of_an_offer:?}");
    refused("h:1", &["completion", "tcsh"], 2, "bash, zsh, fish");
}
