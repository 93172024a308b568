//! `proffer local` and `proffer run`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use testkit::wait;

pub(crate) struct Local {
    child: Child,
    pub(crate) port: u16,
}

impl Local {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_proffer"))
            .args(["local", "--port=0", "--resources=cpus:2;mem:1024;disk:1024"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let first = lines.next().expect("a line").expect("text");
        let port = first.split_once("http://127.0.0.1:").and_then(|(_, rest)| rest.split_once(' '));
        let port = port.and_then(|(port, _)| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("a URL with a port: {first}"));
        let second = lines.next().expect("a line").expect("text");
        assert!(second.contains("proffer run"), "{second}");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_proffer"))
            .args(["run", &format!("--master=127.0.0.1:{}", self.port)])
            .args(arguments)
            .output()
            .expect("it runs")
    }

    pub(crate) fn interrupt(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
        let status = wait::until("the cluster stops", Duration::from_secs(20), || {
            self.child.try_wait().expect("a child")
        });
        assert!(status.success(), "{status}");
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_task_runs_and_its_end_decides_the_exit_status() {
    let local = Local::start(&[]);
    let output = local.run(&["--name=hello", "echo hello"]);
    assert_eq!(text(&output), "hello\n", "stdout is the task's alone");
    let lines: Vec<String> = told(&output).lines().map(str::to_owned).collect();
    assert!(output.status.success(), "{lines:?}");
    assert!(lines[0].starts_with("Framework registered with "), "{lines:?}");
    assert!(lines[1].starts_with("task hello submitted to agent "), "{lines:?}");
    assert_eq!(lines[2], "Received status update TASK_STARTING for task hello");
    assert_eq!(lines[3], "Received status update TASK_RUNNING for task hello");
    assert_eq!(
        lines[4],
        "Received status update TASK_FINISHED for task hello: Command exited with status 0"
    );

    let output = local.run(&["--", "sh", "-c", "echo wrong >&2; printf half; exit 3"]);
    assert_eq!(text(&output), "half");
    assert!(told(&output).contains("\nwrong\n"), "{}", told(&output));
    assert!(!output.status.success());
    assert!(told(&output).contains("TASK_FAILED"), "{}", told(&output));

    let output =
        local.run(&["--instances=3", "--name=many", "--env={\"A\":\"b\"}", "test $A = b; echo $A"]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(told(&output).matches("TASK_FINISHED").count(), 3);
    let mut lines: Vec<String> = text(&output).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["[many-1] b", "[many-2] b", "[many-3] b"]);

    let group = r#"--task_group={"tasks":[
        {"name":"a","task_id":{"value":"a"},"agent_id":{"value":""},"command":{"value":"echo in a pod"},
         "resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}]},
        {"name":"b","task_id":{"value":"b"},"agent_id":{"value":""},"command":{"value":"true"},
         "resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}]}]}"#;
    let output = local.run(&[group]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(told(&output).matches("TASK_FINISHED").count(), 2);
    assert_eq!(text(&output), "[a] in a pod\n");

    let output = local.run(&["--kill_after=10ms", "sleep 100"]);
    assert!(!output.status.success());
    assert!(told(&output).contains("TASK_KILLED"), "{}", told(&output));
}

#[test]
fn under_the_peers_name_the_exit_status_tells_as_well() {
    use std::os::unix::process::CommandExt as _;
    let local = Local::start(&[]);
    let execute = |words: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_proffer"))
            .arg0("mesos-execute")
            .arg(format!("--master=127.0.0.1:{}", local.port))
            .args(words)
            .output()
            .expect("it runs")
            .status
            .code()
    };
    assert_eq!(execute(&["--name=two", "--command=true", "--instances=2"]), Some(0));
    assert_eq!(execute(&["--name=bad", "--command=exit 3"]), Some(1));
    assert_eq!(execute(&["--name=a/b", "--command=true"]), Some(1), "TASK_ERROR");
    assert_eq!(execute(&["--command=true"]), Some(2), "no name");
    assert_eq!(execute(&["--task_group={\"tasks\":[]}"]), Some(2), "nothing to run");
}

#[test]
fn who_stops_reading_does_not_stop_the_task() {
    let local = Local::start(&[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_proffer"))
        .args(["run", &format!("--master=127.0.0.1:{}", local.port), "echo nobody reads this"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn detached_tasks_run_on_until_they_are_torn_down() {
    let local = Local::start(&[]);
    let output = local.run(&["--detach", "--name=on", "echo running; exec sleep 1000"]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(text(&output), "on\n", "the id, for scripts");
    let told = told(&output);
    let framework =
        told.split_once("`proffer teardown ").and_then(|(_, rest)| rest.split_once('`'));
    let (framework, _) = framework.unwrap_or_else(|| panic!("what ends it: {told}"));
    let master = format!("127.0.0.1:{}", local.port);
    let ask = |words: &[&str]| super::commands::done(&master, words);
    assert!(ask(&["frameworks"]).contains("disconnected      1 "), "{}", ask(&["frameworks"]));
    wait::until("what it says", Duration::from_secs(30), || {
        (ask(&["logs", "--framework", framework, "on"]) == "running\n").then_some(())
    });
    assert!(ask(&["tasks"]).contains("TASK_RUNNING"));
    ask(&["teardown", framework, "--yes"]);
    wait::until("the end", Duration::from_secs(30), || {
        ask(&["tasks"]).starts_with("There is no task").then_some(())
    });
    let output = local.run(&["--detach", "--name=a/b", "true"]);
    assert_eq!(output.status.code(), Some(1), "it never ran well");
}

#[test]
fn what_fits_no_offer_is_told() {
    let local = Local::start(&[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_proffer"))
        .args(["run", &format!("--master=127.0.0.1:{}", local.port)])
        .args(["--name=huge", "--resources=cpus:1000", "true"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("its errors")).lines();
    let first = lines.next().expect("a line").expect("text");
    assert!(first.starts_with("Framework registered with "), "{first}");
    let line = lines.next().expect("a line").expect("text");
    assert!(line.starts_with("waiting for a larger offer: agent "), "{line}");
    assert!(line.contains("task huge needs 'cpus:1000'"), "{line}");
    child.kill().expect("killed");
    child.wait().expect("gone");
}

#[test]
fn an_interrupt_stops_the_cluster_and_its_tasks() {
    let directory = testkit::cluster::temporary_directory();
    let work_dir = format!("--work_dir={}", directory.join("work").display());
    let mut local = Local::start(&[&work_dir]);
    let file = directory.join("pid");
    let mut task = Command::new(env!("CARGO_BIN_EXE_proffer"))
        .args([
            "run",
            &format!("--master=127.0.0.1:{}", local.port),
            &format!("echo $$ > {}; exec sleep 1000", file.display()),
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    let pid = wait::until("the task runs", Duration::from_secs(20), || {
        std::fs::read_to_string(&file).ok().filter(|t| t.ends_with('\n'))
    });
    local.interrupt();
    wait::until("the task is gone", Duration::from_secs(20), || {
        (!std::path::Path::new("/proc").join(pid.trim()).exists()).then_some(())
    });
    assert!(directory.join("work").exists(), "a work directory that was given is kept");
    let _ = task.kill();
    let _ = task.wait();
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let check = |arguments: &[&str], why: &str| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_proffer")).args(arguments).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(why), "{arguments:?}: {text}");
    };
    check(&["mastre"], "unknown command 'mastre'");
    check(&["master"], "--work_dir is needed");
    check(&["master", "--prot=1"], "did you mean --port?");
    check(&["agent", "--work_dir=/tmp"], "--master is needed");
    let tls = "--master=etcds://h/m?cacert=/no/ca.pem";
    check(&["agent", "--work_dir=/tmp", tls], "--master: /no/ca.pem: ");
    let in_memory = ["master", "--registry=in_memory"];
    for (flag, why) in [
        ("--agent_ping_timeout=1ms", "--agent_ping_timeout: expected 1secs to 900secs, got '1ms'"),
        ("--max_agent_ping_timeouts=0", "--max_agent_ping_timeouts: expected at least 1"),
        ("--roles=a b", "--roles: Role component 'a b' is invalid"),
        ("--offer_timeout=0ns", "--offer_timeout: expected more than 0"),
    ] {
        check(&[&in_memory[..], &[flag]].concat(), why);
    }
    check(&["master", "--work_dir=/dev/null"], "registry.redb: I/O error: ");
    check(&["run", "--master=127.0.0.1:1", "true"], "failed to reach a master at 127.0.0.1:1");
    check(&["run"], "nothing to run");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = format!("--port={}", taken.local_addr().expect("an address").port());
    check(
        &["master", "--registry=in_memory", "--ip=127.0.0.1", &port],
        "another master? try --port=0",
    );
}
