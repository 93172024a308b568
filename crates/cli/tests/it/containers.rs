//! Containers that are started through the agent's API, for real.

use serde_json::{Value, json};
use std::time::Duration;
use testkit::framework::{command_task, text};
use testkit::http::Connection;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http, wait};

/// Asks the agent, which may just be starting.
fn call(cluster: &Cluster, call: &Value) -> (u16, String) {
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    let body = call.to_string();
    wait::until("an agent that has recovered", Duration::from_secs(20), || {
        let mut connection = Connection::open(&cluster.agent(0)).ok()?;
        let answer = connection.request("POST", "/api/v1", &headers, body.as_bytes()).ok()?;
        (answer.status != 503).then(|| (answer.status, answer.text()))
    })
}

fn about(kind: &str, id: &Value) -> Value {
    json!({"type": kind, kind.to_lowercase(): {"container_id": id}})
}

#[test]
fn containers_inside_a_task_and_standalone_ones_outlive_the_agent() {
    let mut cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let options = FrameworkOptions {
        checkpoint: true,
        failover_timeout: 600.0,
        ..FrameworkOptions::default()
    };
    let mut framework = Framework::subscribe(&cluster.master(), &options);
    let offer = framework.offers().remove(0);
    framework.launch(&offer, &[command_task(&offer, "t", "sleep 1000", 0.1, 32.0)]);
    let status = framework.until_state("t", "TASK_RUNNING");
    let task = text(&status["container_status"]["container_id"]["value"]);

    let child = json!({"value": "child", "parent": {"value": task}});
    let launch = |id: &Value, command: &str| {
        let mut launch = about("LAUNCH_CONTAINER", id);
        launch["launch_container"]["command"] = json!({"value": command});
        launch
    };
    let gate = cluster.directory().join("gate");
    let waits = format!("while [ ! -e {} ]; do sleep 0.02; done; exit 3", gate.display());
    assert_eq!(call(&cluster, &launch(&child, &waits)), (200, String::new()));
    assert_eq!(call(&cluster, &launch(&child, &waits)), (202, String::new()));
    let alone = json!({"value": "alone"});
    assert_eq!(call(&cluster, &launch(&alone, "echo $MESOS_SANDBOX; sleep 1000")).0, 200);
    let lost = json!({"value": "child", "parent": {"value": "nobody"}});
    let answer = call(&cluster, &launch(&lost, "true"));
    assert_eq!(answer, (400, "Parent container nobody does not exist".to_owned()));

    // Operators select executors' containers; what is inside them, or alone, is not shown this way.
    let selected = |query: &str| {
        let answer = http::get(&cluster.agent(0), &format!("/containers{query}"));
        match answer.status {
            200 => Ok(answer.json().as_array().map_or(0, Vec::len)),
            status => Err((status, answer.text())),
        }
    };
    let own = framework.id.clone();
    let with = |more: &str| format!("?framework_id={own}&{more}");
    for (query, count) in [
        (String::new(), 1),
        (format!("?container_id={task}"), 1),
        ("?container_id=alone&show_standalone=true".to_owned(), 0),
        (with("show_nested=true"), 1),
        (with("executor_id=t"), 1),
        (with("executor_id=u"), 0),
        ("?framework_id=other".to_owned(), 0),
    ] {
        assert_eq!(selected(&query), Ok(count), "{query}");
    }
    for query in ["?executor_id=t".to_owned(), with(&format!("container_id={task}"))] {
        let (status, text) = selected(&query).expect_err("not supported");
        assert_eq!(status, 400);
        assert!(text.starts_with("Supported query parameters are container_id only"), "{text}");
    }

    cluster.kill_agent(0);
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    std::fs::write(&gate, "").expect("the gate opens");
    let (code, body) = call(&cluster, &about("WAIT_NESTED_CONTAINER", &child));
    assert_eq!(code, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let want =
        json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"exit_status": 3 << 8}});
    assert_eq!(answer, want);
    assert_eq!(call(&cluster, &about("REMOVE_CONTAINER", &child)).0, 200);
    assert_eq!(call(&cluster, &about("WAIT_CONTAINER", &child)).0, 404);

    let mut kill = about("KILL_CONTAINER", &alone);
    kill["kill_container"]["signal"] = json!(15);
    assert_eq!(call(&cluster, &kill).0, 200);
    let (_, body) = call(&cluster, &about("WAIT_CONTAINER", &alone));
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(answer["wait_container"], json!({"exit_status": 15}));
    assert_eq!(call(&cluster, &about("REMOVE_CONTAINER", &alone)).0, 200);
    assert_eq!(call(&cluster, &about("KILL_CONTAINER", &alone)).0, 404);
}

/// A task that runs, and what `proffer exec` says of it.
struct Shell {
    cluster: Cluster,
    _framework: Framework,
    sandbox: String,
}

fn shell() -> Shell {
    let cluster = Cluster::start(ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, "t", "sleep 1000", 0.1, 32.0);
    task["command"]["environment"] = json!({"variables": [{"name": "WHO", "value": "task"}]});
    framework.launch(&offer, &[task]);
    let status = framework.until_state("t", "TASK_RUNNING");
    let sandbox = text(&status["container_status"]["container_id"]["value"]);
    Shell { cluster, _framework: framework, sandbox }
}

#[test]
fn exec_runs_a_command_inside_a_task_with_its_input_output_and_exit_status() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let shell = shell();
    let mut exec = Command::new(env!("CARGO_BIN_EXE_proffer"));
    exec.arg("exec").arg(format!("--master={}", shell.cluster.master())).args(["-i", "t", "--"]);
    exec.args(["sh", "-c", "pwd; echo $WHO; cat; echo error >&2; exit 4"]);
    let mut child = exec
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("proffer exec");
    child.stdin.take().expect("an input").write_all(b"typed\n").expect("written");
    let output = child.wait_with_output().expect("an end");
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].ends_with(&format!("/runs/{}", shell.sandbox)), "{out} {errors}");
    assert_eq!(lines[1..], ["task", "typed"]);
    assert_eq!((errors.as_ref(), output.status.code()), ("error\n", Some(4)));

    let mut missing = Command::new(env!("CARGO_BIN_EXE_proffer"));
    missing
        .arg("exec")
        .arg(format!("--master={}", shell.cluster.master()))
        .args(["nobody", "true"]);
    let output = missing.output().expect("proffer exec");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no task 'nobody' runs"), "{errors}");
}

#[test]
fn exec_gives_the_command_a_terminal_of_the_size_of_this_one() {
    use std::process::{Command, Stdio};
    let shell = shell();
    let program = env!("CARGO_BIN_EXE_proffer");
    let master = shell.cluster.master();
    let exec = format!(
        "stty rows 33 cols 77; {program} exec --master={master} -it t sh -c 'stty size; tty; exit 5'; \
         echo status $?; stty -a"
    );
    let mut script = Command::new("script");
    script.args(["-qec", &exec, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut script) = script.spawn() else {
        eprintln!("skipped: there is no script (package bsdutils)");
        return;
    };
    // At the end of its own input it would type an end of file into the terminal.
    let _open = script.stdin.take();
    let output = script.wait_with_output().expect("an end");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("33 77\r\n/dev/pts/"), "{out}");
    assert!(out.contains("status 5"), "{out}");
    assert!(
        out.contains(" icanon") && !out.contains("-icanon"),
        "the terminal is as it was: {out}"
    );
}
