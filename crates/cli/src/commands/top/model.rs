//! What `proffer top` knows of the cluster: the master's events, and what agents measure.

use resources::{Resources, from_milli};
use serde_json::Value;
use std::collections::BTreeMap;
use wire::v1;
use wire::v1::TaskState;
use wire::v1::master::{Event, event, response};

/// Resources of one owner.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Amounts {
    pub(super) cpus: f64,
    pub(super) mem: f64,
    pub(super) disk: f64,
    pub(super) gpus: f64,
}

impl Amounts {
    fn of(resources: &Resources) -> Self {
        let of = |name: &str| from_milli(resources.scalar(name));
        Self { cpus: of("cpus"), mem: of("mem"), disk: of("disk"), gpus: of("gpus") }
    }

    fn of_json(value: &Value) -> Self {
        let of = |name: &str| value[name].as_f64().unwrap_or(0.0);
        Self { cpus: of("cpus"), mem: of("mem"), disk: of("disk"), gpus: of("gpus") }
    }

    fn add(&mut self, other: Self) {
        self.cpus += other.cpus;
        self.mem += other.mem;
        self.disk += other.disk;
        self.gpus += other.gpus;
    }
}

/// What a container really uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Use {
    /// Processors, since the sample before; None at first.
    pub(super) cpus: Option<f64>,
    /// Megabytes.
    pub(super) mem: f64,
}

#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub(super) host: String,
    /// Where it answers.
    pub(super) address: String,
    pub(super) total: Amounts,
}

#[derive(Debug, Clone)]
pub(super) struct Framework {
    pub(super) name: String,
    pub(super) active: bool,
    pub(super) roles: String,
}

#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) framework: String,
    pub(super) agent: String,
    /// The executor that it shares or has for itself.
    pub(super) executor: String,
    pub(super) role: String,
    pub(super) state: TaskState,
    pub(super) held: Amounts,
}

/// What `/roles` tells of a role.
#[derive(Debug, Clone, Default)]
pub(super) struct Role {
    pub(super) weight: f64,
    pub(super) guarantee: String,
    pub(super) limit: String,
    pub(super) used: Amounts,
    pub(super) offered: Amounts,
}

/// One measurement of a container.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: f64,
    cpu_seconds: f64,
}

/// Framework and executor, which name a container.
type Container = (String, String);

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) agents: BTreeMap<String, Agent>,
    pub(super) frameworks: BTreeMap<String, Framework>,
    /// By framework and id.
    pub(super) tasks: BTreeMap<(String, String), Task>,
    pub(super) roles: BTreeMap<String, Role>,
    samples: BTreeMap<Container, Sample>,
    uses: BTreeMap<Container, Use>,
    /// Number of open tasks of each container.
    containers: BTreeMap<Container, usize>,
}

impl Model {
    pub(super) fn apply(&mut self, event: Event) {
        match event.r#type() {
            event::Type::Subscribed => {
                let state = event.subscribed.and_then(|s| s.get_state).unwrap_or_default();
                self.begin(state);
            }
            event::Type::TaskAdded => {
                if let Some(added) = event.task_added {
                    self.add_task(&added.task);
                }
            }
            event::Type::TaskUpdated => {
                let Some(updated) = event.task_updated else { return };
                let key =
                    (updated.framework_id.value.clone(), updated.status.task_id.value.clone());
                let state = updated.state();
                if master_core::is_terminal(state) {
                    self.remove_task(&key);
                } else if let Some(task) = self.tasks.get_mut(&key) {
                    task.state = state;
                }
            }
            event::Type::AgentAdded => {
                if let Some(added) = event.agent_added {
                    self.add_agent(&added.agent);
                }
            }
            event::Type::AgentRemoved => {
                if let Some(removed) = event.agent_removed {
                    self.agents.remove(&removed.agent_id.value);
                }
            }
            event::Type::FrameworkAdded => {
                if let Some(added) = event.framework_added {
                    self.add_framework(&added.framework);
                }
            }
            event::Type::FrameworkUpdated => {
                if let Some(updated) = event.framework_updated {
                    self.add_framework(&updated.framework);
                }
            }
            event::Type::FrameworkRemoved => {
                let id = event.framework_removed.and_then(|r| r.framework_info.id);
                let id = id.map(|id| id.value).unwrap_or_default();
                self.frameworks.remove(&id);
                let gone: Vec<_> =
                    self.tasks.keys().filter(|(framework, _)| *framework == id).cloned().collect();
                gone.iter().for_each(|key| self.remove_task(key));
            }
            event::Type::Heartbeat | event::Type::Unknown => {}
        }
    }

    /// A new snapshot takes the place of everything but what was measured.
    fn begin(&mut self, state: response::GetState) {
        self.agents.clear();
        self.frameworks.clear();
        self.tasks.clear();
        self.containers.clear();
        state.get_agents.iter().flat_map(|g| &g.agents).for_each(|a| self.add_agent(a));
        let frameworks = state.get_frameworks.iter().flat_map(|g| &g.frameworks);
        frameworks.for_each(|f| self.add_framework(f));
        state.get_tasks.iter().flat_map(|g| &g.tasks).for_each(|t| self.add_task(t));
    }

    fn add_agent(&mut self, agent: &response::get_agents::Agent) {
        let info = &agent.agent_info;
        let Some(id) = &info.id else { return };
        let total = Resources::from_wire(&agent.total_resources).unwrap_or_default();
        let address = agent.pid().split_once('@').map_or("", |(_, address)| address);
        let agent = Agent {
            host: info.hostname.clone(),
            address: address.to_owned(),
            total: Amounts::of(&total),
        };
        self.agents.insert(id.value.clone(), agent);
    }

    fn add_framework(&mut self, framework: &response::get_frameworks::Framework) {
        let info = &framework.framework_info;
        let Some(id) = &info.id else { return };
        let roles = match info.roles.is_empty() {
            true => info.role().to_owned(),
            false => info.roles.join(","),
        };
        let framework = Framework { name: info.name.clone(), active: framework.active, roles };
        self.frameworks.insert(id.value.clone(), framework);
    }

    fn add_task(&mut self, wire: &v1::Task) {
        let state = wire.state();
        if master_core::is_terminal(state) {
            return;
        }
        let resources = Resources::from_wire(&wire.resources).unwrap_or_default();
        let role = resources.allocation_roles().into_iter().flatten().next().unwrap_or("*");
        let id = wire.task_id.value.clone();
        let executor = wire.executor_id.as_ref().map(|e| e.value.clone());
        let task = Task {
            framework: wire.framework_id.value.clone(),
            agent: wire.agent_id.value.clone(),
            executor: executor.filter(|e| !e.is_empty()).unwrap_or_else(|| id.clone()),
            role: role.to_owned(),
            state,
            held: Amounts::of(&resources),
            id: id.clone(),
        };
        let key = (task.framework.clone(), id);
        self.remove_task(&key);
        *self.containers.entry(container(&task)).or_default() += 1;
        self.tasks.insert(key, task);
    }

    fn remove_task(&mut self, key: &(String, String)) {
        let Some(task) = self.tasks.remove(key) else { return };
        let container = container(&task);
        let left = self.containers.get_mut(&container).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            self.containers.remove(&container);
            self.samples.remove(&container);
            self.uses.remove(&container);
        }
    }

    /// What `/roles` answered.
    pub(super) fn learn_roles(&mut self, answer: &Value) {
        let roles = super::super::items(&answer["roles"]).iter().map(|role| {
            let amounts = |value: &Value| super::super::amounts(value);
            let known = Role {
                weight: role["weight"].as_f64().unwrap_or(1.0),
                guarantee: amounts(&role["quota"]["guarantee"]),
                limit: amounts(&role["quota"]["limit"]),
                used: Amounts::of_json(&role["allocated"]),
                offered: Amounts::of_json(&role["offered"]),
            };
            (super::super::text(role, "name").to_owned(), known)
        });
        self.roles = roles.collect();
    }

    /// What an agent's `/monitor/statistics` answered.
    pub(super) fn learn_use(&mut self, answer: &Value) {
        for entry in super::super::items(answer) {
            let name = |field: &str| super::super::text(entry, field).to_owned();
            let container = (name("framework_id"), name("executor_id"));
            if !self.containers.contains_key(&container) {
                continue;
            }
            let number = |field: &str| entry["statistics"][field].as_f64().unwrap_or(0.0);
            let cpu_seconds = number("cpus_user_time_secs") + number("cpus_system_time_secs");
            let sample = Sample { at: number("timestamp"), cpu_seconds };
            let before = self.samples.get(&container).filter(|before| sample.at > before.at);
            let cpus =
                before.map(|b| (sample.cpu_seconds - b.cpu_seconds).max(0.0) / (sample.at - b.at));
            let mem = number("mem_rss_bytes") / f64::from(1 << 20);
            self.uses.insert(container.clone(), Use { cpus, mem });
            self.samples.insert(container, sample);
        }
    }

    /// What a task uses; None when nobody measured it, or its executor runs others as well.
    pub(super) fn use_of(&self, task: &Task) -> Option<Use> {
        let container = container(task);
        self.uses.get(&container).copied().filter(|_| self.containers.get(&container) == Some(&1))
    }

    /// What tasks of an agent or a framework hold, and their number.
    pub(super) fn held_by(&self, of: fn(&Task) -> &str) -> BTreeMap<&str, (Amounts, usize)> {
        let mut all: BTreeMap<&str, (Amounts, usize)> = BTreeMap::new();
        for task in self.tasks.values().filter(|t| t.state != TaskState::TaskUnreachable) {
            let (held, count) = all.entry(of(task)).or_default();
            held.add(task.held);
            *count += 1;
        }
        all
    }

    pub(super) fn total(&self) -> Amounts {
        let mut total = Amounts::default();
        self.agents.values().for_each(|agent| total.add(agent.total));
        total
    }

    pub(super) fn held(&self) -> Amounts {
        let mut held = Amounts::default();
        let tasks = self.tasks.values().filter(|t| t.state != TaskState::TaskUnreachable);
        tasks.for_each(|task| held.add(task.held));
        held
    }

    /// What is offered, as far as it was asked for.
    pub(super) fn offered(&self) -> Amounts {
        let mut offered = Amounts::default();
        // What is below a role counts in it.
        let tops = self.roles.iter().filter(|(name, _)| !name.contains('/'));
        tops.for_each(|(_, role)| offered.add(role.offered));
        offered
    }

    /// Agents that have something to measure: where they answer.
    pub(super) fn measured(&self) -> Vec<String> {
        let mut agents: Vec<&str> = self.tasks.values().map(|task| task.agent.as_str()).collect();
        agents.sort_unstable();
        agents.dedup();
        let addresses = agents.iter().filter_map(|id| Some(self.agents.get(*id)?.address.clone()));
        addresses.filter(|address| !address.is_empty()).collect()
    }
}

fn container(task: &Task) -> Container {
    (task.framework.clone(), task.executor.clone())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn event(value: Value) -> Event {
        wire::json::from_value(&value).expect("an event")
    }

    fn scalar(name: &str, value: f64) -> Value {
        json!({"name": name, "type": "SCALAR", "scalar": {"value": value},
            "allocation_info": {"role": "web"}})
    }

    pub(crate) fn task(id: &str, cpus: f64, executor: &str) -> Value {
        let mut task = json!({"name": id, "task_id": {"value": id}, "framework_id": {"value": "f"},
            "agent_id": {"value": "a"}, "state": "TASK_RUNNING",
            "resources": [scalar("cpus", cpus), scalar("mem", 64.0)]});
        if !executor.is_empty() {
            task["executor_id"] = json!({"value": executor});
        }
        task
    }

    /// A cluster of one agent, a framework `site` and these tasks.
    pub(crate) fn model(tasks: &[Value]) -> Model {
        let plain = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
        let agent = json!({"agent_info": {"hostname": "host", "id": {"value": "a"}}, "active": true,
            "version": "1", "pid": "slave(1)@10.0.0.1:5051",
            "total_resources": [plain("cpus", 4.0), plain("mem", 1024.0)]});
        let framework = json!({"framework_info": {"user": "u", "name": "site", "id": {"value": "f"},
            "roles": ["web"]}, "active": true, "connected": true, "recovered": false});
        let state = json!({"get_agents": {"agents": [agent]}, "get_tasks": {"tasks": tasks},
            "get_frameworks": {"frameworks": [framework]}});
        let mut model = Model::default();
        model.apply(event(json!({"type": "SUBSCRIBED", "subscribed": {"get_state": state}})));
        model
    }

    fn statistics(executor: &str, at: f64, cpu: f64) -> Value {
        json!([{"framework_id": "f", "executor_id": executor, "statistics": {"timestamp": at,
            "cpus_user_time_secs": cpu, "cpus_system_time_secs": 0.5, "mem_rss_bytes": 2_097_152}}])
    }

    #[test]
    fn events_add_change_and_remove() {
        let mut model = model(&[task("t", 1.0, "")]);
        assert_eq!((model.total().cpus, model.held().cpus), (4.0, 1.0));
        model.apply(event(
            json!({"type": "TASK_ADDED", "task_added": {"task": task("u", 0.5, "")}}),
        ));
        assert_eq!(
            model.held_by(|t| &t.agent)["a"],
            (Amounts { cpus: 1.5, mem: 128.0, ..Amounts::default() }, 2)
        );
        assert_eq!(model.measured(), ["10.0.0.1:5051"]);
        let update = |state: &str| {
            event(json!({"type": "TASK_UPDATED", "task_updated": {"framework_id": {"value": "f"},
                "state": state, "status": {"task_id": {"value": "t"}, "state": state}}}))
        };
        model.apply(update("TASK_KILLING"));
        let key = ("f".to_owned(), "t".to_owned());
        assert_eq!(model.tasks[&key].state, TaskState::TaskKilling);
        model.apply(update("TASK_KILLED"));
        assert_eq!((model.tasks.len(), model.held().cpus), (1, 0.5));
        model.apply(event(json!({"type": "FRAMEWORK_REMOVED", "framework_removed":
            {"framework_info": {"user": "u", "name": "site", "id": {"value": "f"}}}})));
        assert!(model.tasks.is_empty() && model.frameworks.is_empty());
        assert!(model.containers.is_empty());
        model.apply(event(
            json!({"type": "AGENT_REMOVED", "agent_removed": {"agent_id": {"value": "a"}}}),
        ));
        assert_eq!(model.total(), Amounts::default());
    }

    #[test]
    fn use_is_what_happened_between_two_samples() {
        let mut model = model(&[task("t", 1.0, ""), task("p", 1.0, "pod"), task("q", 1.0, "pod")]);
        let of =
            |model: &Model, id: &str| model.use_of(&model.tasks[&("f".to_owned(), id.to_owned())]);
        assert_eq!(of(&model, "t"), None);
        model.learn_use(&statistics("t", 10.0, 1.0));
        assert_eq!(of(&model, "t"), Some(Use { cpus: None, mem: 2.0 }));
        model.learn_use(&statistics("t", 12.0, 4.0));
        assert_eq!(of(&model, "t"), Some(Use { cpus: Some(1.5), mem: 2.0 }));
        model.learn_use(&statistics("pod", 12.0, 4.0));
        assert_eq!(of(&model, "p"), None, "whose it is of two is not known");
        model.learn_use(&statistics("nobody", 12.0, 4.0));
        assert!(!model.samples.contains_key(&("f".to_owned(), "nobody".to_owned())));
    }
}
