//! `--otlp_endpoint`: a launch as spans of master and agent, told to a small collector.

use crate::tasks::{LIMIT, Runner};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use testkit::framework::command_task;
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http, wait};

/// Takes spans: the service that told each, and the span.
#[derive(Clone)]
struct Collector {
    address: String,
    spans: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let collector = Self { address, spans: Arc::default() };
        let this = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let this = this.clone();
                std::thread::spawn(move || this.take(stream));
            }
        });
        collector
    }

    fn take(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let (mut length, mut line) = (0, String::new());
        let mut first = String::new();
        reader.read_line(&mut first).ok()?;
        while reader.read_line(&mut line).ok()? > 2 {
            if let Some(("content-length", value)) = line.to_lowercase().trim().split_once(": ") {
                length = value.parse().ok()?;
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        assert!(first.starts_with("POST /v1/traces HTTP/1.1"), "{first}");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        for resource in body["resourceSpans"].as_array()? {
            let attributes = resource["resource"]["attributes"].as_array()?;
            let service = attributes.iter().find(|a| a["key"] == "service.name")?;
            let service = service["value"]["stringValue"].as_str()?.to_owned();
            for span in
                resource["scopeSpans"].as_array()?.iter().flat_map(|s| s["spans"].as_array())
            {
                let mut spans = self.spans.lock().expect("unlocked");
                spans.extend(span.iter().map(|span| (service.clone(), span.clone())));
            }
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        reader.into_inner().write_all(answer.as_bytes()).ok()
    }

    fn all(&self) -> Vec<(String, Value)> {
        self.spans.lock().expect("unlocked").clone()
    }
}

fn cluster(endpoint: &str) -> Cluster {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    let flag = vec![format!("--otlp_endpoint={endpoint}")];
    (options.master_flags, options.agent_flags) = (flag.clone(), flag);
    options.agent_flags.push("--launcher=posix".to_owned());
    Cluster::start(options)
}

fn nanos(span: &Value, field: &str) -> u64 {
    span[field].as_str().and_then(|text| text.parse().ok()).expect("nanoseconds")
}

#[test]
fn a_launch_is_one_trace_through_master_and_agent() {
    let collector = Collector::start();
    let cluster = cluster(&format!("http://{}", collector.address));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let file = cluster.directory().join("wanted");
    std::fs::write(&file, "x").expect("written");
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, "t", "sleep 1000", 1.0, 64.0);
    task["command"]["uris"] = serde_json::json!([{"value": file}]);
    framework.launch(&offer, &[task]);
    wait::until("it runs", LIMIT, || {
        let (_, status) = framework.update(Some("t"));
        (status["state"] == "TASK_RUNNING").then_some(())
    });
    let wanted = [
        ("proffer-master", "launch"),
        ("proffer-master", "accept"),
        ("proffer-master", "validate"),
        ("proffer-master", "update"),
        ("proffer-agent", "run"),
        ("proffer-agent", "store"),
        ("proffer-agent", "container"),
        ("proffer-agent", "prepare"),
        ("proffer-agent", "fetch"),
        ("proffer-agent", "supervisor"),
        ("proffer-agent", "status"),
    ];
    let spans = wait::until("all spans", LIMIT, || {
        let all = collector.all();
        let has = |(service, name): &(&str, &str)| {
            all.iter().any(|(of, span)| of == service && span["name"] == **name)
        };
        let missing: Vec<_> = wanted.iter().filter(|one| !has(one)).collect();
        if missing.is_empty() { Some(all) } else { None }
    });
    let traces: std::collections::BTreeSet<&str> =
        spans.iter().filter_map(|(_, span)| span["traceId"].as_str()).collect();
    assert_eq!(traces.len(), 1, "{spans:#?}");
    let by_id: BTreeMap<&str, &Value> =
        spans.iter().filter_map(|(_, span)| Some((span["spanId"].as_str()?, span))).collect();
    assert_eq!(by_id.len(), spans.len(), "ids are unique");
    for (_, span) in &spans {
        let (start, end) = (nanos(span, "startTimeUnixNano"), nanos(span, "endTimeUnixNano"));
        assert!(start <= end && start > 0, "{span}");
        let Some(parent) = span["parentSpanId"].as_str() else {
            assert_eq!(span["name"], "launch");
            continue;
        };
        let parent =
            by_id.get(parent).unwrap_or_else(|| panic!("nobody knows the parent of {span}"));
        // Of one machine, and so of one clock.
        let within = nanos(parent, "startTimeUnixNano") <= start;
        assert!(within, "{span} begins before {parent}");
    }
    let metrics = http::get(&cluster.master(), "/metrics/snapshot").json();
    assert!(metrics["otlp/spans_sent"].as_f64() >= Some(3.0), "{metrics}");
    assert_eq!(metrics["otlp/spans_dropped"], 0);
}

#[test]
fn a_collector_that_is_away_costs_nothing_but_spans() {
    let nobody = testkit::cluster::free_ports(1)[0];
    let cluster = cluster(&format!("http://127.0.0.1:{nobody}"));
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let task = Runner::launch(&cluster, &mut framework, "t");
    task.runs_on();
    for address in [cluster.master(), cluster.agent(0)] {
        wait::until("they are counted", LIMIT, || {
            let metrics = http::get(&address, "/metrics/snapshot").json();
            (metrics["otlp/spans_dropped"].as_f64() > Some(0.0)).then_some(())
        });
    }
    framework.kill_and_wait("t");
}
