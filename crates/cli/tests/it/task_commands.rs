//! What the commands show of tasks, and what they do to them, through the real program.

use super::commands::{cluster, done, json, refused};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use testkit::framework::{command_task, text};
use testkit::{Cluster, Framework, FrameworkOptions, http, wait};

const PATIENCE: Duration = Duration::from_secs(60);

fn program(master: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proffer"));
    command.args(words).env("PROFFER_MASTER", master).env("XDG_CONFIG_HOME", "/nowhere");
    command
}

/// A framework that outlives its connection.
pub(super) fn site(cluster: &Cluster) -> Framework {
    let options = FrameworkOptions {
        name: "site".to_owned(),
        roles: vec!["web".to_owned()],
        failover_timeout: 600.0,
        checkpoint: true,
        ..FrameworkOptions::default()
    };
    Framework::subscribe(&cluster.master(), &options)
}

fn start(framework: &mut Framework, id: &str, command: &str) -> Value {
    let offer = framework.offers().remove(0);
    framework.launch(&offer, &[command_task(&offer, id, command, 0.1, 32.0)]);
    framework.until_state(id, "TASK_RUNNING")
}

/// A pod with a task `inner` that speaks.
fn start_pod(framework: &mut Framework) {
    let offer = framework.offers().remove(0);
    let mut executor = json!({"type": "DEFAULT", "executor_id": {"value": "pod"},
        "framework_id": {"value": framework.id},
        "resources": command_task(&offer, "", "", 0.1, 32.0)["resources"]});
    let disk = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 1},
        "allocation_info": offer["allocation_info"]});
    executor["resources"].as_array_mut().expect("resources").push(disk);
    let task = command_task(&offer, "inner", "echo from inside; sleep 1000", 0.1, 32.0);
    let group = json!({"executor": executor, "task_group": {"tasks": [task]}});
    let answer = framework.call(&json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
        "filters": {"refuse_seconds": 0.0},
        "operations": [{"type": "LAUNCH_GROUP", "launch_group": group}]}}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    framework.until_state("inner", "TASK_RUNNING");
}

/// Waits until a task has said something.
fn until_said(master: &str, task: &str, what: &str) {
    wait::until(what, PATIENCE, || done(master, &["logs", task]).contains(what).then_some(()));
}

#[test]
fn tasks_are_found_shown_read_and_ended() {
    let cluster = cluster(1);
    let master = cluster.master();
    let mut framework = site(&cluster);
    start(
        &mut framework,
        "web-1",
        "mkdir logs; printf 'a\\nb\\nc\\n' >logs/access; ln -s /etc/passwd out; ln -s logs/access \
         in; head -c 200000 /dev/urandom >noise; chmod 750 noise; echo wrong >&2; echo right; \
         exec sleep 1000",
    );
    start(&mut framework, "web-2", "sleep 1000");
    start(&mut framework, "short", "for i in 1 2 3; do echo line $i; done; printf end");
    framework.until_end("short");
    start_pod(&mut framework);
    until_said(&master, "web-1", "right");
    until_said(&master, "inner", "from inside");
    found(&master, &framework.id);
    logs(&master, &cluster);
    files(&master, &cluster);
    details(&master, &framework.id);
    completed_words(&master);
    killed(&master, &mut framework);
    torn_down(&master, &framework.id);
}

fn found(master: &str, framework: &str) {
    let out = done(master, &["tasks"]);
    for id in ["web-1", "web-2", "inner"] {
        assert!(out.contains(&format!("\n{id} ")), "{out}");
    }
    assert!(!out.contains("short"), "it has ended: {out}");
    assert_eq!(done(master, &["tasks", "--limit", "2"]).lines().count(), 3);
    assert!(done(master, &["tasks", "--all"]).contains("TASK_FINISHED"));
    let out = done(master, &["tasks", "--state", "finished,failed"]);
    assert!(out.contains("short") && out.lines().count() == 2, "{out}");
    for (words, count) in [
        (["--role", "web"], 3),
        (["--role", "other"], 0),
        (["--agent", "S0"], 3),
        (["--framework", "site"], 3),
    ] {
        let list = json(&done(master, &["tasks", words[0], words[1], "--json"]));
        assert_eq!(list["tasks"].as_array().map(Vec::len), Some(count), "{words:?}");
    }
    refused(master, &["tasks", "--state", "runing"], 2, "did you mean 'running'?");
    // What the master is asked directly: the peer's way of asking for all.
    let all = http::get(master, "/tasks?order=asc&limit=-1").json();
    assert_eq!(all["tasks"].as_array().map(Vec::len), Some(4));
    assert_eq!(all["tasks"][0]["id"], "web-1");
    assert!(all["tasks"][0]["statuses"][0].get("message").is_none(), "{all}");

    assert_eq!(json(&done(master, &["tasks", "web-1", "--json"]))["framework_id"], framework);
    assert!(done(master, &["tasks", "sho"]).contains("state      TASK_FINISHED"));
    refused(master, &["tasks", "web"], 2, "'web' means several tasks; give more of the id");
    refused(master, &["logs", "web"], 2, "  web-2, TASK_RUNNING of framework ");
    refused(master, &["tasks", "nobody"], 1, "there is no task 'nobody'; `proffer tasks --all`");
    refused(master, &["kill", "short"], 1, "no task 'short' runs");
    refused(master, &["logs", "web-1", "--framework", "sit"], 1, "did you mean 'site'?");
}

fn logs(master: &str, cluster: &Cluster) {
    let output = program(master, &["logs", "web-1"]).output().expect("it runs");
    let [out, err] =
        [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    assert_eq!(out, "right\n");
    assert!(err.contains("wrong\n"), "{err}");
    let lines = |words: &[&str]| done(master, &[&["logs", "--stdout", "short"], words].concat());
    assert_eq!(lines(&[]), "line 1\nline 2\nline 3\nend");
    assert_eq!(lines(&["--tail", "2"]), "line 3\nend");
    assert_eq!(lines(&["--tail", "0"]), "");
    assert_eq!(lines(&["--tail", "99"]), lines(&[]));
    assert_eq!(lines(&["-f"]), lines(&[]), "what has ended is followed to its end");
    assert_eq!(done(master, &["logs", "--stderr", "short"]), "");
    assert_eq!(done(master, &["logs", "inner"]), "from inside\n");
    // A sandbox that is gone.
    let sandbox = sandbox_of(cluster, "short");
    let aside = cluster.directory().join("aside");
    std::fs::rename(&sandbox, &aside).expect("moved away");
    refused(master, &["logs", "short"], 1, "or was removed after its end");
    std::fs::rename(&aside, &sandbox).expect("moved back");
}

/// Where a task's sandbox is on this machine.
fn sandbox_of(cluster: &Cluster, task: &str) -> std::path::PathBuf {
    let debug = http::get(&cluster.agent(0), "/files/debug").json();
    let name = format!("/executors/{task}/runs/latest");
    let found = debug.as_object().expect("paths").iter().find(|(path, _)| path.ends_with(&name));
    text(found.expect("the sandbox").1).into()
}

fn files(master: &str, cluster: &Cluster) {
    let out = done(master, &["ls", "web-1"]);
    assert!(out.contains("  logs/\n") && out.contains("-rwxr-x---"), "{out}");
    let list = json(&done(master, &["ls", "web-1", "logs", "--json"]));
    assert_eq!(list["files"][0]["name"], "access", "{list}");
    assert_eq!(list["files"][0]["size"], 6, "{list}");
    assert_eq!(json(&done(master, &["ls", "web-1", "logs/access", "--json"])), list);
    assert_eq!(done(master, &["ls", "web-2", "stdout"]).lines().count(), 2);
    refused(
        master,
        &["ls", "web-1", "nope"],
        1,
        "there is no 'nope' in the sandbox of task 'web-1'",
    );
    assert_eq!(done(master, &["cat", "web-1", "logs/access"]), "a\nb\nc\n");
    for path in ["../../../../etc/passwd", "out", "logs/../stdout"] {
        refused(master, &["cat", "web-1", path], 1, "inaccessible");
    }
    refused(master, &["cat", "web-1", "logs"], 1, "'logs': Cannot read a directory.");

    let to = cluster.directory().join("copies");
    std::fs::create_dir_all(&to).expect("a directory");
    let target = to.to_str().expect("text");
    assert!(done(master, &["cp", "web-1:noise", target]).starts_with("1 file, 200000 bytes: "));
    let original = std::fs::read(sandbox_of(cluster, "web-1").join("noise")).expect("noise");
    assert!(std::fs::read(to.join("noise")).expect("a copy") == original);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(to.join("noise")).expect("a copy").permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    let whole = to.join("whole");
    let output = program(master, &["cp", "web-1:", whole.to_str().expect("text")]).output();
    let errors = String::from_utf8_lossy(&output.expect("it runs").stderr).into_owned();
    assert!(errors.contains("'out' is no file and was left out"), "{errors}");
    assert_eq!(std::fs::read(whole.join("logs/access")).expect("a copy"), b"a\nb\nc\n");
    assert_eq!(std::fs::read(whole.join("in")).expect("a copy"), b"a\nb\nc\n");
    assert!(!whole.join("out").exists() && !whole.join("out.part").exists());
    assert!(done(master, &["cp", "inner:stdout", target]).starts_with("1 file, 12 bytes"));
    refused(master, &["cp", "web-1", target], 2, "'web-1': expected TASK:PATH");
    refused(master, &["cp", target, "web-1:x"], 2, "nothing can be copied into a sandbox");
    refused(master, &["cp", "web-1:noise", "/nowhere/at/all"], 1, "cannot write /nowhere/at/all");

    // Who reads may leave early.
    let head = format!("{} cat web-1 noise | head -c 1 | wc -c", env!("CARGO_BIN_EXE_proffer"));
    let output = Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {head}")])
        .env("PROFFER_MASTER", master)
        .output()
        .expect("bash");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

fn details(master: &str, framework: &str) {
    let out = done(master, &["tasks", "web-1"]);
    assert!(out.contains("\nagent      ") && out.contains("TASK_RUNNING"), "{out}");
    let out = done(master, &["agents", "S0"]);
    assert!(out.contains("\nstate       active\n") && out.contains("\nweb-1 "), "{out}");
    assert!(json(&done(master, &["agents", "localhost", "--json"]))["pid"].is_string());
    assert!(done(master, &["agents", "--state", "drained"]).starts_with("There is no agent."));
    refused(master, &["agents", "--state", "odd"], 2, "'odd': expected one of active");
    let out = done(master, &["frameworks", "site"]);
    assert!(out.contains("\ntasks             3 open; 1 finished\n"), "{out}");
    assert_eq!(json(&done(master, &["frameworks", "site", "--json"]))["id"], framework);
    assert!(done(master, &["frameworks", "--role", "web"]).contains("site"));
    assert!(done(master, &["frameworks", "--role", "db"]).starts_with("No framework"));
    let out = done(master, &["roles", "web"]);
    assert!(out.contains("\nused ") && out.contains("  site  active "), "{out}");
    refused(master, &["roles", "webs"], 1, "there is no role 'webs'; did you mean 'web'?");
    assert!(done(master, &["version"]).contains("(proffer "));
    assert!(json(&done(master, &["version", "--json"]))["mesos"].is_string());
    refused(master, &["logs", "web-1", "--json"], 2, "has no JSON to print");
}

fn completed_words(master: &str) {
    assert_eq!(done(master, &["ids", "tasks", "web-"]), "web-1\nweb-2\n");
    assert_eq!(done(master, &["ids", "frameworks", "si"]), "site\n");
    assert_eq!(done(master, &["ids", "agents", "loc"]), "localhost\n");
    assert_eq!(done(master, &["ids", "roles"]), "web\n");
    let bash = |words: &str, number: u32| {
        let script = format!(
            "source <({0} completion bash); COMP_WORDS=({0} {words}); COMP_CWORD={number}; \
             _proffer_named {0} \"${{COMP_WORDS[{number}]}}\" x; printf '%s ' \"${{COMPREPLY[@]}}\"",
            env!("CARGO_BIN_EXE_proffer")
        );
        let mut bash = Command::new("bash");
        let output = bash.args(["-c", &script]).env("PROFFER_MASTER", master).output();
        let output = output.expect("bash");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(bash("logs web-", 2), "web-1 web-2 ");
    assert_eq!(bash("tasks --framework s", 3), "site ");
    assert!(bash("eve", 1).contains("events"));
}

fn killed(master: &str, framework: &mut Framework) {
    let out = done(master, &["kill", "web-2", "--grace", "5s"]);
    assert!(out.starts_with("Task web-2 on agent "), "{out}");
    let status = framework.until_end("web-2").pop().expect("an end");
    assert_eq!(status["state"], "TASK_KILLED");
    let message = text(&status["message"]);
    assert!(message.starts_with("Killed by an operator: Command terminated"), "{message}");
    assert!(done(master, &["tasks", "web-2"]).contains("message    Killed by an operator"));
    refused(master, &["kill", "web-2"], 1, "no task 'web-2' runs");
    refused(master, &["kill", "web-1", "--grace", "soon"], 2, "--grace: 'soon': expected a time");
    let task = json(&done(master, &["kill", "web-1", "--wait", "--json"]));
    assert_eq!(task["state"], "TASK_KILLED", "{task}");
    framework.until_end("web-1");
    done(master, &["kill", "inner", "--wait"]);
    framework.until_end("inner");
    let post = |body: &str| http::send(master, "POST", "/kill-task", body);
    let body = json!({"framework_id": framework.id, "task_id": "web-1"}).to_string();
    let answer = post(&body);
    let text = "Task 'web-1' has ended already: TASK_KILLED";
    assert_eq!((answer.status, answer.text().as_str()), (409, text));
    assert_eq!(post("{}").status, 400);
    assert_eq!(http::get(master, "/kill-task").status, 405);
}

fn torn_down(master: &str, framework: &str) {
    refused(master, &["teardown", "site"], 2, "--yes tears it down without");
    let out = done(master, &["teardown", "site", "--yes"]);
    assert_eq!(out, format!("Torn down: framework 'site' ({framework}) with 0 tasks.\n"));
    refused(master, &["teardown", framework, "--yes"], 1, "there is no framework");
    assert_eq!(done(master, &["frameworks"]), "No framework is subscribed.\n");
    assert!(
        done(master, &["frameworks", "--state", "completed"]).contains("  site  web    completed")
    );
    assert!(done(master, &["frameworks", "site"]).contains("state             completed"));
    assert_eq!(done(master, &["cat", "short", "stdout"]), "line 1\nline 2\nline 3\nend");
}

/// A command that goes on, and what it has printed.
pub(crate) struct Following {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

impl Following {
    pub(crate) fn start(master: &str, words: &[&str]) -> Self {
        let mut command = program(master, words);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let lines = lines_of(child.stdout.take().expect("its output"));
        let errors = lines_of(child.stderr.take().expect("its errors"));
        Self { child, lines, errors }
    }

    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("no line ({e})"))
    }

    /// The next line on stderr with a text.
    #[track_caller]
    pub(crate) fn error_with(&self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let error = self.errors.recv_timeout(PATIENCE);
            let line = error.unwrap_or_else(|e| panic!("no {text:?} ({e}) in {seen}"));
            if line.contains(text) {
                return line;
            }
            seen.push_str(&line);
        }
    }

    /// Its exit status.
    pub(crate) fn end(&mut self) -> Option<i32> {
        wait::until("its end", PATIENCE, || self.child.try_wait().expect("a child")).code()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (tell, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
    });
    lines
}

#[test]
fn logs_are_followed_over_the_restarts_of_agent_and_master() {
    let mut cluster = cluster(1);
    let master = cluster.master();
    let mut framework = site(&cluster);
    let stop = cluster.directory().join("stop");
    let command = format!(
        "i=0; while [ ! -e {} ]; do i=$((i+1)); echo tick $i; sleep 0.05; done; echo bye",
        stop.display()
    );
    start(&mut framework, "clock", &command);
    let mut logs = Following::start(&master, &["logs", "-f", "--stdout", "clo"]);
    let mut next = 1;
    let mut ticks = |logs: &Following, count: u32| {
        for _ in 0..count {
            assert_eq!(logs.line(), format!("tick {next}"));
            next += 1;
        }
    };
    ticks(&logs, 5);
    cluster.kill_agent(0);
    logs.error_with("does not answer");
    cluster.start_agent(0);
    logs.error_with("the agent is back");
    ticks(&logs, 40);
    // Without a master the state of the task is not known, but what it says is.
    cluster.kill_master();
    ticks(&logs, 40);
    cluster.start_master();
    cluster.wait_for_agents(1);
    ticks(&logs, 10);
    std::fs::write(&stop, "").expect("written");
    loop {
        let line = logs.line();
        if line == "bye" {
            break;
        }
        assert_eq!(line, format!("tick {next}"));
        next += 1;
    }
    assert_eq!(logs.end(), Some(0));
}

#[test]
fn events_are_lines_and_go_on_with_the_master_that_leads() {
    let mut cluster = super::failover::start_replicated(1);
    let masters: Vec<String> = (0..3).map(|n| cluster.master_number(n)).collect();
    let peers = masters.join(",");
    let leader = cluster.leader();
    let types = "subscribed,framework_added,task_added,task_updated";
    let mut all = Following::start(&peers, &["events", "--type", types]);
    let line = all.line();
    assert!(line.contains("SUBSCRIBED  1 agent, 0 frameworks, 0 tasks"), "{line}");
    let only = ["events", "--json", "--type", "task_updated,SUBSCRIBED", "--limit", "4"];
    let mut updates = Following::start(&peers, &only);
    assert_eq!(json(&updates.line())["type"], "SUBSCRIBED");
    let master = cluster.master_number(leader);
    let until = |text: &str, following: &Following| {
        while !following.line().contains(text) {}
    };
    let mut framework = Framework::subscribe(
        &master,
        &FrameworkOptions { name: "site".to_owned(), ..FrameworkOptions::default() },
    );
    let offer = framework.offers().remove(0);
    framework.launch(&offer, &[command_task(&offer, "t", "true", 0.1, 32.0)]);
    framework.until_end("t");
    until("FRAMEWORK_ADDED  framework site (", &all);
    until("TASK_ADDED  task t of site (", &all);
    until("TASK_UPDATED  TASK_FINISHED  task t of site (", &all);
    let states: Vec<String> =
        (0..3).map(|_| text(&json(&updates.line())["task_updated"]["status"]["state"])).collect();
    assert_eq!(states, ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);
    assert_eq!(updates.end(), Some(0), "--limit ends it");

    cluster.kill_master_number(leader);
    all.error_with("lost the master at ");
    let next = cluster.leader_besides(Some(leader));
    let line = all.error_with("following the new leader: ");
    assert!(line.ends_with(&cluster.master_number(next)), "{line}");
    let options = FrameworkOptions { name: "late".to_owned(), ..FrameworkOptions::default() };
    let _late = wait::until("a framework", PATIENCE, || {
        Framework::try_subscribe(&cluster.master_number(next), &options)
    });
    until("FRAMEWORK_ADDED  framework late (", &all);
    assert_eq!(all.child.try_wait().expect("a child"), None, "it goes on");
}
