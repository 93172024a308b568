//! Terminals of tasks, and sessions, over the agent's API: who reads, who types, and what survives.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::framework::command_task;
use testkit::http::{Connection, Records};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, wait};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running task.
struct Running {
    cluster: Cluster,
    framework: Framework,
    container: Value,
}

/// Starts a task with a terminal, or without.
fn running(command: &str, has_terminal: bool) -> Running {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    options.agent_flags.push("--http_heartbeat_interval=100ms".to_owned());
    let cluster = Cluster::start(options);
    let options = FrameworkOptions {
        checkpoint: true,
        failover_timeout: 600.0,
        ..FrameworkOptions::default()
    };
    let mut framework = Framework::subscribe(&cluster.master(), &options);
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, "t", command, 0.1, 32.0);
    if has_terminal {
        let size = json!({"rows": 24, "columns": 80});
        task["container"] = json!({"type": "MESOS", "tty_info": {"window_size": size}});
    }
    framework.launch(&offer, &[task]);
    let status = framework.until_state("t", "TASK_RUNNING");
    let container = status["container_status"]["container_id"].clone();
    Running { cluster, framework, container }
}

const JSON: [(&str, &str); 2] =
    [("Content-Type", "application/json"), ("Accept", "application/json")];

impl Running {
    /// Asks, once the agent has recovered: status and text, and the stream if there is one.
    fn stream(&self, call: &Value, headers: &[(&str, &str)]) -> (u16, String, Output) {
        let body = call.to_string();
        wait::until("an agent that has recovered", PATIENCE, || {
            let connection = Connection::open(&self.cluster.agent(0)).ok()?;
            let (answer, records) = connection.stream("/api/v1", headers, body.as_bytes()).ok()?;
            let output = Output { records, got: String::new(), heartbeats: 0 };
            (answer.status != 503).then(|| (answer.status, answer.text(), output))
        })
    }

    fn attach(&self, container: &Value) -> (u16, String, Output) {
        let call = json!({"type": "ATTACH_CONTAINER_OUTPUT",
            "attach_container_output": {"container_id": container}});
        self.stream(&call, &JSON)
    }

    fn output(&self) -> Output {
        let (status, text, output) = self.attach(&self.container);
        assert_eq!(status, 200, "{text}");
        output
    }

    /// A session in the task.
    fn session(&self, id: &str, command: &str) -> (Value, Output) {
        let container = json!({"value": id, "parent": self.container});
        let call = json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION",
            "launch_nested_container_session":
                {"container_id": container, "command": {"value": command}}});
        let (status, text, output) = self.stream(&call, &JSON);
        assert_eq!(status, 200, "{text}");
        (container, output)
    }

    fn input(&self, container: &Value) -> Input {
        let mut stream = TcpStream::connect(self.cluster.agent(0)).expect("the agent");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = "POST /api/v1 HTTP/1.1\r\nhost: agent\r\ncontent-type: application/recordio\r\n\
                    message-content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        let mut input = Input(stream);
        input.send(json!({"type": "CONTAINER_ID", "container_id": container}));
        input
    }
}

/// What comes out of a container.
struct Output {
    records: Records,
    got: String,
    heartbeats: u32,
}

impl Output {
    /// The next piece; false at the end.
    fn next(&mut self) -> bool {
        let Some(record) = self.records.next_record().expect("a record") else { return false };
        let piece: Value = serde_json::from_slice(&record).expect("JSON");
        if piece["type"] == "CONTROL" {
            assert_eq!(piece["control"]["heartbeat"]["interval"]["nanoseconds"], 100_000_000);
            self.heartbeats += 1;
            return true;
        }
        let data = piece["data"]["data"].as_str().expect("data");
        self.got += &String::from_utf8_lossy(&decode(data));
        true
    }

    #[track_caller]
    fn until(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.got.contains(text) {
            assert!(self.next(), "it ended after: {}", self.got);
            assert!(begun.elapsed() < PATIENCE, "no {text:?} in {}", self.got);
        }
    }
}

/// Base64.
fn decode(text: &str) -> Vec<u8> {
    let message: wire::v1::agent::process_io::Data =
        wire::json::from_value(&json!({"type": "STDOUT", "data": text})).expect("data");
    message.data.expect("data")
}

/// What goes into a container.
struct Input(TcpStream);

impl Input {
    fn send(&mut self, attach: Value) {
        let call = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": attach});
        let call = call.to_string();
        let record = format!("{}\n{call}", call.len());
        let chunk = format!("{:x}\r\n{record}\r\n", record.len());
        // It may have been refused meanwhile.
        let _ = self.0.write_all(chunk.as_bytes());
    }

    fn piece(&mut self, piece: Value) {
        self.send(json!({"type": "PROCESS_IO", "process_io": piece}));
    }

    fn type_text(&mut self, text: &str) {
        let data = wire::v1::agent::process_io::Data {
            r#type: Some(wire::v1::agent::process_io::data::Type::Stdin as i32),
            data: Some(text.as_bytes().to_vec()),
        };
        let data: Value = serde_json::from_slice(&wire::json::to_vec(&data)).expect("JSON");
        self.piece(json!({"type": "DATA", "data": data}));
    }

    fn resize(&mut self, rows: u32, columns: u32) {
        let size = json!({"window_size": {"rows": rows, "columns": columns}});
        self.piece(json!({"type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": size}}));
    }

    /// Waits for the answer: status and text.
    fn answer(mut self, ends: bool) -> (u16, String) {
        if ends {
            self.0.write_all(b"0\r\n\r\n").expect("sent");
        }
        let mut answer = BufReader::new(self.0);
        let mut line = String::new();
        answer.read_line(&mut line).expect("an answer");
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let mut length = 0;
        while line.trim() != "" {
            line.clear();
            answer.read_line(&mut line).expect("a header");
            let lower = line.to_ascii_lowercase();
            let given = lower.strip_prefix("content-length:").and_then(|n| n.trim().parse().ok());
            length = given.unwrap_or(length);
        }
        let mut text = vec![0; length];
        answer.read_exact(&mut text).expect("a body");
        (status, String::from_utf8_lossy(&text).into_owned())
    }
}

#[test]
fn the_terminal_of_a_task_takes_input_shows_output_and_outlives_the_agent() {
    let mut task = running("while read line; do echo \"<$line>\"; stty size; done", true);
    let mut output = task.output();
    let mut input = task.input(&task.container);
    input.type_text("first\n");
    output.until("<first>\r\n24 80");
    input.resize(33, 77);
    input.type_text("second\n");
    output.until("<second>\r\n33 77");
    // One types, everybody may read.
    let mut second = task.output();
    let refused = task.input(&task.container).answer(false);
    assert_eq!(refused, (409, "Multiple input connections are not allowed".to_owned()));
    input.piece(json!({"type": "CONTROL", "control": {"type": "HEARTBEAT",
        "heartbeat": {"interval": {"nanoseconds": 1_000_000_000}}}}));
    input.type_text("third\n");
    second.until("<third>");
    output.until("<third>");
    assert!(!second.got.contains("first"), "only what comes from now on: {}", second.got);
    assert_eq!(input.answer(true).0, 200);
    while output.heartbeats < 3 {
        assert!(output.next(), "it ended");
    }

    // The agent dies and comes back; the task never notices.
    task.cluster.kill_agent(0);
    task.cluster.start_agent(0);
    task.cluster.wait_for_agents(1);
    let mut output = task.output();
    let mut input = task.input(&task.container);
    input.type_text("again\n");
    output.until("<again>\r\n33 77");
    // Who types learns of the end.
    input.type_text("\u{4}");
    while output.next() {}
    assert_eq!(input.answer(false), (200, String::new()));
    let ends = task.framework.until_end("t");
    assert_eq!(ends.last().expect("an end")["state"], "TASK_FINISHED");
}

#[test]
fn what_can_not_be_attached_to_is_refused() {
    let task = running("sleep 1000", false);
    let disabled = "I/O switchboard server was disabled for this container";
    let (status, text, _) = task.attach(&task.container);
    assert_eq!((status, text.as_str()), (500, disabled));
    assert_eq!(task.input(&task.container).answer(false), (500, disabled.to_owned()));
    let nobody = json!({"value": "nobody"});
    let (status, text, _) = task.attach(&nobody);
    assert_eq!((status, text.as_str()), (404, "Container nobody cannot be found"));
    assert_eq!(task.input(&nobody).answer(false).0, 404);

    let mut input = task.input(&task.container);
    input.0.shutdown(std::net::Shutdown::Write).expect("the end");
    let _ = input.0.read(&mut [0; 1]);
    let (container, _output) = task.session("s", "cat");
    let mut input = task.input(&container);
    input.piece(json!({"type": "DATA", "data": {"type": "STDOUT", "data": ""}}));
    let (status, text) = input.answer(false);
    assert_eq!((status, text.contains("STDIN")), (400, true), "{text}");
    let mut input = task.input(&container);
    input.resize(10, 10);
    let (status, text) = input.answer(false);
    assert_eq!((status, text.contains("window size")), (400, true), "{text}");
}

#[test]
fn readers_of_a_session_get_what_comes_out_whatever_others_do() {
    let task = running("sleep 1000", false);
    let (container, mut owner) = task.session("s", "read go; seq 1 400000; read end; echo bye");
    // This one never reads.
    let (status, _, _stuck) = task.attach(&container);
    assert_eq!(status, 200);
    let (status, _, mut second) = task.attach(&container);
    assert_eq!(status, 200);
    while second.heartbeats < 2 {
        assert!(second.next(), "it ended");
    }
    let mut input = task.input(&container);
    input.type_text("go\n");
    std::thread::scope(|scope| {
        scope.spawn(|| owner.until("\n400000\n"));
        second.until("\n400000\n");
    });
    let refused = task.input(&container).answer(false);
    assert_eq!(refused.0, 409);
    input.type_text("end\n");
    owner.until("bye");
    while owner.next() {}
    while second.next() {}
    let lines: String = (1..=400_000).map(|n| format!("{n}\n")).collect();
    assert!(owner.got == format!("{lines}bye\n"), "everything in order");
    assert!(second.got == owner.got, "the second reader too");
    assert_eq!(input.answer(false).0, 200);
}

#[test]
fn the_forms_of_streams() {
    let task = running("sleep 1000", false);
    let session = |id: &str| {
        let container = json!({"value": id, "parent": task.container});
        json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session":
            {"container_id": container, "command": {"value": "echo out"}}})
    };
    let content = ("Content-Type", "application/json");
    let ask = |id: &str, headers: &[(&str, &str)]| {
        let headers: Vec<_> = [content].into_iter().chain(headers.iter().copied()).collect();
        let connection = Connection::open(&task.cluster.agent(0)).expect("the agent");
        let body = session(id).to_string();
        let (answer, mut records) =
            connection.stream("/api/v1", &headers, body.as_bytes()).expect("an answer");
        let header = |name| answer.header(name).unwrap_or_default().to_owned();
        let first = match answer.status {
            200 => records.next_record().expect("a stream").unwrap_or_default(),
            _ => Vec::new(),
        };
        (answer.status, header("content-type"), header("message-content-type"), first)
    };
    let json = |(status, kind, of_records, first): (u16, String, String, Vec<u8>)| {
        (status, kind, of_records, serde_json::from_slice::<Value>(&first).is_ok())
    };
    let (plain, recordio) = ("application/json".to_owned(), "application/recordio".to_owned());
    assert_eq!(json(ask("a", &[])), (200, plain.clone(), String::new(), true));
    let accept = ("Accept", "application/recordio");
    assert_eq!(json(ask("b", &[accept])), (200, recordio.clone(), plain.clone(), true));
    let protobuf = ("Message-Accept", "application/x-protobuf");
    let (status, kind, of_records, first) = ask("c", &[accept, protobuf]);
    let protobuf = "application/x-protobuf".to_owned();
    assert_eq!((status, kind, of_records), (200, recordio, protobuf.clone()));
    wire::protobuf::from_slice::<wire::v1::agent::ProcessIo>(&first).expect("a piece");
    let (status, kind, of_records, first) = ask("d", &[("Accept", &protobuf)]);
    assert_eq!((status, kind, of_records), (200, protobuf, String::new()));
    wire::protobuf::from_slice::<wire::v1::agent::ProcessIo>(&first).expect("a piece");
    assert_eq!(ask("e", &[accept, ("Message-Accept", "text/plain")]).0, 406);
    assert_eq!(ask("f", &[("Message-Accept", "application/json")]).0, 406);
    assert_eq!(ask("g", &[("Message-Content-Type", "application/json")]).0, 415);
    assert_eq!(ask("h", &[("Accept", "text/html")]).0, 406);
}

#[test]
fn proffer_attach_is_a_terminal_of_the_task() {
    let task = running("while read line; do echo \"<$line>\"; stty size; done; exit 7", true);
    let program = env!("CARGO_BIN_EXE_proffer");
    let master = task.cluster.master();
    let attach = format!("stty rows 31 cols 99; {program} attach --master={master} t; echo =$?=");
    let terminal = |typed: &[(&str, &str)]| {
        let mut script = Command::new("script");
        script.args(["-qec", &attach, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().ok()?;
        let (mut keys, mut screen) =
            (script.stdin.take().expect("keys"), script.stdout.take().expect("a screen"));
        let mut got = Vec::new();
        let mut chunk = [0; 1024];
        for (text, shown) in typed {
            // It is attached when what is typed has an effect.
            keys.write_all(text.as_bytes()).expect("typed");
            while !String::from_utf8_lossy(&got).contains(shown) {
                match screen.read(&mut chunk).expect("a screen") {
                    0 => panic!("no {shown:?} in {}", String::from_utf8_lossy(&got)),
                    length => got.extend_from_slice(&chunk[..length]),
                }
            }
        }
        drop(keys);
        script.wait().expect("an end");
        Some(())
    };
    let Some(()) = terminal(&[("one\r", "<one>\r\n31 99"), ("\x10\x11", "=0=")]) else {
        eprintln!("skipped: there is no script (package bsdutils)");
        return;
    };
    terminal(&[("two\r", "<two>"), ("\x04", "=7=")]);
    let mut missing = Command::new(program);
    missing.args(["attach", &format!("--master={master}"), "nobody"]);
    let output = missing.output().expect("proffer attach");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no task 'nobody' runs"), "{errors}");
}

#[test]
fn a_terminal_that_changes_its_size_tells_the_command() {
    let task = running("sleep 1000", false);
    let program = env!("CARGO_BIN_EXE_proffer");
    let master = task.cluster.master();
    // The size changes under the command's feet.
    let inside = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    let exec = format!(
        "stty rows 20 cols 60; (sleep 2; stty rows 21 cols 61 </dev/tty) & \
         {program} exec --master={master} -it t sh -c \"{inside}\""
    );
    let mut script = Command::new("script");
    script.args(["-qec", &exec, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut script) = script.spawn() else {
        eprintln!("skipped: there is no script (package bsdutils)");
        return;
    };
    let mut keys = script.stdin.take().expect("keys");
    let screen = script.stdout.take().expect("a screen");
    let mut lines = BufReader::new(screen).lines();
    let seen = lines.any(|line| line.expect("text").contains("21 61"));
    assert!(seen, "the new size never came");
    keys.write_all(&[3]).expect("typed");
    drop(lines);
    drop(keys);
    script.wait().expect("an end");
}
