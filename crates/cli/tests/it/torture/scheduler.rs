//! The framework: launches, acknowledges when it likes, and writes down what it was told.

use super::{Dice, starts};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::framework::{TERMINAL, amount, command_task, text};
use testkit::{Framework, FrameworkOptions};

/// Short tasks that are under way at once.
const SHORT: usize = 8;
/// An update that came this long after the answer to its acknowledgement was not on its way before.
const TRANSIT: Duration = Duration::from_millis(100);
/// Tasks of each pod and of each executor.
const EACH: usize = 5;
/// What a task does before it ends: it tells of its start and waits at the gate, which is a FIFO nobody writes to.
const LONG: &str = "echo $$ >> {dir}/{id}; read x < {dir}/fifo; exit 0";

/// What shall run all the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) commands: usize,
    /// Pods of five tasks each.
    pub(super) pods: usize,
    /// Executors of five tasks each.
    pub(super) executors: usize,
    /// A master that comes back does not know what was acknowledged: updates may be told again.
    pub(super) is_master_killed: bool,
}

#[derive(Debug)]
struct Update {
    uuid: String,
    state: String,
    message: String,
    /// When the master said that it takes the acknowledgement.
    acknowledged: Option<Instant>,
    /// It was sent; a master that died at that moment may have taken it.
    tried: bool,
}

/// What was told of one task.
#[derive(Debug, Default)]
struct Record {
    updates: Vec<Update>,
    /// The last word, and why.
    end: Option<(String, String)>,
}

/// What was told of all tasks.
#[derive(Debug)]
pub(super) struct Book {
    directory: PathBuf,
    plan: Plan,
    tasks: BTreeMap<String, Record>,
    faults: Vec<String>,
    repeated: usize,
    /// The gate is open.
    is_open: bool,
}

pub(super) struct Scheduler {
    master: String,
    framework: Framework,
    plan: Plan,
    pub(super) book: Book,
    dice: Dice,
    /// Updates to be acknowledged: when, and what.
    due: Vec<(Instant, Value)>,
    launched: usize,
}

impl Book {
    fn on_update(&mut self, at: Instant, status: &Value) {
        let id = text(&status["task_id"]["value"]);
        let (state, uuid) = (text(&status["state"]), text(&status["uuid"]));
        if !self.is_open && id.starts_with("long") && TERMINAL.contains(&state.as_str()) {
            panic!("{status}");
        }
        let record = self.tasks.entry(id.clone()).or_default();
        let ends = TERMINAL.contains(&state.as_str());
        if ends {
            let why = format!("{}: {}", text(&status["reason"]), text(&status["message"]));
            record.end.get_or_insert((state.clone(), why));
        }
        if uuid.is_empty() {
            return;
        }
        if let Some(known) = record.updates.iter().find(|u| u.uuid == uuid) {
            self.repeated += 1;
            if known.acknowledged.is_some_and(|then| at > then + TRANSIT)
                && !self.plan.is_master_killed
            {
                self.faults.push(format!("{id}: {state} came again after its acknowledgement"));
            }
            return;
        }
        if let Some(before) = record.updates.last().filter(|u| !u.tried) {
            self.faults
                .push(format!("{id}: {state} came before {} was acknowledged", before.state));
        }
        let message = text(&status["message"]);
        record.updates.push(Update { uuid, state, message, acknowledged: None, tried: false });
    }

    fn is_running(&self, id: &str) -> bool {
        self.tasks.get(id).is_some_and(|r| r.updates.iter().any(|u| u.state == "TASK_RUNNING"))
    }

    fn has_ended(&self, id: &str) -> bool {
        self.tasks.get(id).is_some_and(|r| r.end.is_some())
    }

    /// Every task has its whole history.
    pub(super) fn check(&self) {
        let mut faults = self.faults.clone();
        let mut never = 0;
        for (id, record) in &self.tasks {
            let count = starts(&self.directory, id);
            let Some((end, reason)) = &record.end else {
                faults.push(format!("{id} has no end: {record:?}"));
                continue;
            };
            if end != "TASK_FINISHED" {
                // Whoever says that a task was never started must be right, and long ones all were.
                never += 1;
                // A call that is sent again to a new master may be refused as invalid.
                let is_refused = self.plan.is_master_killed && end == "TASK_ERROR";
                let is_lost = end == "TASK_LOST" || end == "TASK_DROPPED";
                let is_true = (is_lost || is_refused) && count == 0;
                if !is_true || id.starts_with("long") {
                    faults.push(format!(
                        "{id} ended with {end} {reason}, {count} starts: {record:?}"
                    ));
                }
                continue;
            }
            if count != 1 {
                faults.push(format!("{id} was started {count} times"));
            }
            let states: Vec<&str> = record.updates.iter().map(|u| u.state.as_str()).collect();
            if id.contains("-e") {
                let numbers: Vec<String> =
                    record.updates.iter().map(|u| u.message.clone()).collect();
                let expected: Vec<String> = (0..numbers.len()).map(|n| n.to_string()).collect();
                if numbers != expected {
                    faults.push(format!("{id}: updates are missing or out of order: {numbers:?}"));
                }
            } else if states != ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"] {
                faults.push(format!("{id}: its history is {states:?}"));
            }
        }
        println!(
            "{} tasks, {never} never started, {} updates told again before their acknowledgement came",
            self.tasks.len(),
            self.repeated
        );
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }
}

impl Scheduler {
    pub(super) fn new(master: &str, directory: &Path, plan: Plan, dice: Dice) -> Self {
        let made = std::process::Command::new("mkfifo").arg(directory.join("fifo")).status();
        assert!(made.expect("mkfifo runs").success());
        let framework = Framework::subscribe(master, &options(None));
        let book = Book {
            directory: directory.to_owned(),
            plan,
            tasks: BTreeMap::new(),
            faults: Vec::new(),
            repeated: 0,
            is_open: false,
        };
        Self {
            master: master.to_owned(),
            framework,
            plan,
            book,
            dice,
            due: Vec::new(),
            launched: 0,
        }
    }

    /// Launches the long tasks, then short ones until it shall stop; ends when all tasks have.
    pub(super) fn run(&mut self, stop: &AtomicBool, running: &AtomicBool) {
        let long = self.launch_long();
        let mut deadline = None;
        let mut reconciled = Instant::now();
        loop {
            self.turn(stop.load(Ordering::Relaxed));
            if long.iter().all(|id| self.book.is_running(id)) {
                running.store(true, Ordering::Relaxed);
            }
            if !stop.load(Ordering::Relaxed) {
                continue;
            }
            self.open_gate();
            if self.plan.is_master_killed && Instant::now() > reconciled + Duration::from_secs(1) {
                reconciled = Instant::now();
                self.reconcile();
            }
            let all = self.book.tasks.values().all(|r| r.end.is_some());
            let idle = self.due.is_empty();
            if all && idle && long.iter().all(|id| self.book.has_ended(id)) {
                return;
            }
            let deadline = *deadline.get_or_insert(Instant::now() + Duration::from_secs(30));
            if Instant::now() > deadline {
                return;
            }
        }
    }

    fn open_gate(&mut self) {
        self.book.is_open = true;
        let _ = std::fs::write(self.book.directory.join("gate"), "");
        // Whoever reads sees the end of the file; whoever comes later waits for the next time.
        let fifo = self.book.directory.join("fifo");
        let _ = std::fs::File::options().read(true).write(true).open(fifo);
    }

    /// One event, and what is due.
    fn turn(&mut self, is_ending: bool) {
        let event = self.framework.event_within(
            Duration::from_millis(5),
            &["OFFERS", "UPDATE", "RESCIND", "FAILURE"],
            |_| true,
        );
        if let Some((at, event)) = event {
            match event["type"].as_str().unwrap_or_default() {
                "UPDATE" => {
                    let status = event["update"]["status"].clone();
                    self.book.on_update(at, &status);
                    let later = if self.dice.below(4) == 0 { self.dice.below(600) } else { 0 };
                    self.due.push((Instant::now() + Duration::from_millis(later), status));
                }
                "OFFERS" => {
                    let offers = event["offers"]["offers"].as_array().cloned().unwrap_or_default();
                    offers.iter().for_each(|offer| self.launch_short(offer, is_ending));
                }
                _ => {}
            }
        } else if self.plan.is_master_killed && self.framework.is_closed() {
            self.come_back();
        }
        let now = Instant::now();
        let due: Vec<Value> =
            self.due.extract_if(.., |(at, _)| *at <= now).map(|(_, s)| s).collect();
        due.iter().for_each(|status| self.acknowledge(status));
    }

    fn come_back(&mut self) {
        let id = self.framework.id.clone();
        if let Some(framework) = Framework::try_subscribe(&self.master, &options(Some(id))) {
            self.framework = framework;
        } else {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn acknowledge(&mut self, status: &Value) {
        let uuid = text(&status["uuid"]);
        if uuid.is_empty() {
            return;
        }
        let call = json!({"type": "ACKNOWLEDGE", "acknowledge": {"agent_id": status["agent_id"],
            "task_id": status["task_id"], "uuid": status["uuid"]}});
        let answer = self.framework.try_call(&call);
        let record = self.book.tasks.get_mut(&text(&status["task_id"]["value"]));
        let update = record.and_then(|r| r.updates.iter_mut().find(|u| u.uuid == uuid));
        let Some(update) = update else { return };
        update.tried = true;
        if answer.is_some_and(|a| a.status == 202) {
            update.acknowledged.get_or_insert(Instant::now());
        }
    }

    fn command(&self, id: &str, template: &str) -> String {
        let directory = self.book.directory.display().to_string();
        template.replace("{dir}", &directory).replace("{id}", id)
    }

    fn launch_long(&mut self) -> Vec<String> {
        let offer = self.framework.offers().remove(0);
        let mut names = Vec::new();
        let mut tasks = Vec::new();
        for n in 0..self.plan.commands {
            let id = format!("long-c{n}");
            tasks.push(command_task(&offer, &id, &self.command(&id, LONG), 0.1, 32.0));
            names.push(id);
        }
        let mut resources = command_task(&offer, "", "", 0.1, 32.0)["resources"].clone();
        let mut disk = resources[0].clone();
        disk["name"] = json!("disk");
        resources.as_array_mut().expect("a list").push(disk);
        for n in 0..self.plan.executors {
            let program = std::env::current_exe().expect("this program");
            let (program, directory) = (program.display(), self.book.directory.display());
            let command = format!(
                "TORTURE_EXECUTOR={directory} exec {program} --exact torture::executor_process --nocapture"
            );
            for task in 0..EACH {
                let id = format!("long-e{n}-{task}");
                let mut info = command_task(&offer, &id, "", 0.1, 32.0);
                info["command"] = Value::Null;
                let executor = json!({"executor_id": {"value": format!("e{n}")}, "resources": resources,
                    "framework_id": {"value": self.framework.id}, "command": {"value": command}});
                info["executor"] = executor;
                info.as_object_mut().expect("an object").remove("command");
                tasks.push(info);
                names.push(id);
            }
        }
        let mut operations = vec![json!({"type": "LAUNCH", "launch": {"task_infos": tasks}})];
        for n in 0..self.plan.pods {
            let mut pod = Vec::new();
            for task in 0..EACH {
                let id = format!("long-p{n}-{task}");
                pod.push(command_task(&offer, &id, &self.command(&id, LONG), 0.1, 32.0));
                names.push(id);
            }
            let executor = json!({"type": "DEFAULT", "executor_id": {"value": format!("p{n}")},
                "framework_id": {"value": self.framework.id}, "resources": resources});
            operations.push(json!({"type": "LAUNCH_GROUP",
                "launch_group": {"executor": executor, "task_group": {"tasks": pod}}}));
        }
        let answer = self.framework.call(&json!({"type": "ACCEPT", "accept": {
            "offer_ids": [offer["id"]], "operations": operations, "filters": {"refuse_seconds": 0.0}}}));
        assert_eq!(answer.status, 202, "{}", answer.text());
        names
    }

    /// Keeps short tasks coming.
    fn launch_short(&mut self, offer: &Value, is_ending: bool) {
        let open =
            self.book.tasks.iter().filter(|(id, r)| id.starts_with("short") && r.end.is_none());
        let missing = if is_ending { 0 } else { SHORT.saturating_sub(open.count()) };
        // What a task had that has ended may come alone.
        let fits = (amount(offer, "cpus") / 0.1 + 1e-6).min(amount(offer, "mem") / 32.0) as usize;
        let missing = missing.min(fits);
        let mut tasks = Vec::new();
        for _ in 0..missing {
            let id = format!("short{}", self.launched);
            self.launched += 1;
            let command = self.command(&id, "echo $$ >> {dir}/{id}");
            tasks.push(command_task(offer, &id, &command, 0.1, 32.0));
            self.book.tasks.entry(id).or_default();
        }
        let call = json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}],
            "filters": {"refuse_seconds": 0.05}}});
        // Nobody knows what a master that died did with it; a reconciliation tells in the end.
        let _ = self.framework.try_call(&call);
    }

    /// Asks for the states of tasks that have no end.
    fn reconcile(&mut self) {
        let open = self.book.tasks.iter().filter(|(_, r)| r.end.is_none());
        let tasks: Vec<Value> = open.map(|(id, _)| json!({"task_id": {"value": id}})).collect();
        let _ =
            self.framework.try_call(&json!({"type": "RECONCILE", "reconcile": {"tasks": tasks}}));
    }
}

fn options(id: Option<String>) -> FrameworkOptions {
    FrameworkOptions {
        checkpoint: true,
        failover_timeout: 600.0,
        id,
        ..FrameworkOptions::default()
    }
}
