//! A framework whose scheduler thinks: the service-time model of Schwarzkopf et al., Omega, EuroSys 2013, section 4.
//!
//! It decides about one job at a time, on the offers that it has when it begins, which takes so long for the job and so
//! long for each of its tasks. Then it accepts what it needs, wherever it fits, and declines the rest. What it loses it
//! decides about again.

use base::{Rng, Time};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use wire::v1;
use wire::v1::scheduler::call;
use wire::v1::scheduler::{Call, Event, event};

/// What each task needs.
pub(super) const TASK_CPUS: f64 = 1.0;
pub(super) const TASK_MEM: f64 = 1024.0;

/// Decision time of each task, as in the paper.
const PER_TASK: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
struct Job {
    arrived: Time,
    /// Tasks that are not placed.
    tasks: usize,
}

#[derive(Debug, Clone)]
struct Offer {
    id: String,
    agent: String,
    /// Tasks that fit.
    fits: usize,
}

/// What came of the ACCEPTs so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Accepts {
    pub(super) sent: usize,
    pub(super) lost: usize,
}

#[derive(Debug)]
pub(super) struct Scheduler {
    index: usize,
    id: String,
    per_job: Duration,
    /// Commits to the newest offers of the agents it decided for.
    fresh: bool,
    queue: VecDeque<Job>,
    offers: BTreeMap<String, Offer>,
    /// What it decides about, while it does.
    plan: Option<(Job, Vec<Offer>)>,
    suppressed: bool,
    /// Tasks that were sent off: arrival of their job, and the number of the ACCEPT.
    sent: BTreeMap<String, (Time, usize)>,
    next_task: usize,
    lost: Option<usize>,
    pub(super) accepts: Accepts,
}

fn scalar(resources: &[v1::Resource], name: &str) -> f64 {
    let of_name = resources.iter().filter(|r| r.name == name);
    of_name.filter_map(|r| r.scalar.as_ref()).map(|s| s.value).sum()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small number that is not negative"
)]
fn fits(resources: &[v1::Resource]) -> usize {
    let (cpus, mem) = (scalar(resources, "cpus"), scalar(resources, "mem"));
    (cpus / TASK_CPUS + 1e-6).min(mem / TASK_MEM + 1e-6) as usize
}

impl Scheduler {
    pub(super) fn new(index: usize, per_job: Duration, fresh: bool) -> Self {
        Self {
            index,
            id: String::new(),
            per_job,
            fresh,
            queue: VecDeque::new(),
            offers: BTreeMap::new(),
            plan: None,
            suppressed: false,
            sent: BTreeMap::new(),
            next_task: 0,
            lost: None,
            accepts: Accepts::default(),
        }
    }

    pub(super) fn subscribe(&self) -> Call {
        let framework_info = v1::FrameworkInfo {
            user: "root".to_owned(),
            name: format!("framework {}", self.index),
            failover_timeout: Some(86400.0),
            roles: vec!["study".to_owned()],
            capabilities: vec![v1::framework_info::Capability {
                r#type: Some(v1::framework_info::capability::Type::MultiRole as i32),
            }],
            ..Default::default()
        };
        Call {
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(call::Subscribe { framework_info, ..Default::default() }),
            ..Default::default()
        }
    }

    fn call(&self, kind: call::Type) -> Call {
        let framework_id = Some(v1::FrameworkId { value: self.id.clone() });
        Call { framework_id, r#type: Some(kind as i32), ..Default::default() }
    }

    fn decline(&self, offer_ids: Vec<v1::OfferId>) -> Call {
        let filters = Some(v1::Filters { refuse_seconds: Some(0.0) });
        let decline = Some(call::Decline { offer_ids, filters });
        Call { decline, ..self.call(call::Type::Decline) }
    }

    /// A job has come.
    pub(super) fn arrive(&mut self, now: Time, tasks: usize) -> Vec<Call> {
        self.queue.push_back(Job { arrived: now, tasks });
        if std::mem::take(&mut self.suppressed) {
            let revive = Some(call::Revive::default());
            return vec![Call { revive, ..self.call(call::Type::Revive) }];
        }
        Vec::new()
    }

    pub(super) fn on_event(&mut self, event: &Event) -> Vec<Call> {
        match event.r#type() {
            event::Type::Subscribed => {
                let subscribed = event.subscribed.as_ref();
                self.id = subscribed.map(|s| s.framework_id.value.clone()).unwrap_or_default();
            }
            event::Type::Offers => {
                for offer in event.offers.iter().flat_map(|o| &o.offers) {
                    let (id, agent) = (offer.id.value.clone(), offer.agent_id.value.clone());
                    let offer = Offer { id: id.clone(), agent, fits: fits(&offer.resources) };
                    self.offers.insert(id, offer);
                }
            }
            event::Type::Rescind => {
                let id = event.rescind.as_ref().map(|r| r.offer_id.value.as_str());
                self.offers.remove(id.unwrap_or_default());
            }
            event::Type::Update => {
                if let Some(update) = &event.update {
                    self.on_update(&update.status);
                }
            }
            _ => {}
        }
        self.rest()
    }

    /// A task that lost the race is decided about again, before the jobs that came later.
    fn on_update(&mut self, status: &v1::TaskStatus) {
        let Some((arrived, accept)) = self.sent.remove(&status.task_id.value) else { return };
        if status.state() != v1::TaskState::TaskLost {
            return;
        }
        if self.lost != Some(accept) {
            self.lost = Some(accept);
            self.accepts.lost += 1;
        }
        match self.queue.front_mut().filter(|job| job.arrived == arrived) {
            Some(job) => job.tasks += 1,
            None => self.queue.push_front(Job { arrived, tasks: 1 }),
        }
    }

    /// With nothing to do it gives everything back and wants no more.
    fn rest(&mut self) -> Vec<Call> {
        if self.plan.is_some() || !self.queue.is_empty() || self.id.is_empty() {
            return Vec::new();
        }
        let mut calls = Vec::new();
        if !std::mem::replace(&mut self.suppressed, true) {
            let suppress = Some(call::Suppress::default());
            calls.push(Call { suppress, ..self.call(call::Type::Suppress) });
        }
        let ids = std::mem::take(&mut self.offers).into_keys();
        let ids: Vec<v1::OfferId> = ids.map(|value| v1::OfferId { value }).collect();
        if !ids.is_empty() {
            calls.push(self.decline(ids));
        }
        calls
    }

    /// Begins to decide, if there is something to decide about: how long it takes.
    pub(super) fn begin(&mut self) -> Option<Duration> {
        if self.plan.is_some() || self.offers.is_empty() {
            return None;
        }
        let job = self.queue.pop_front()?;
        self.plan = Some((job, self.offers.values().cloned().collect()));
        Some(self.per_job + PER_TASK * u32::try_from(job.tasks).unwrap_or(u32::MAX))
    }

    /// The decision is made.
    pub(super) fn decide(&mut self, rng: &mut Rng) -> Vec<Call> {
        let Some((mut job, plan)) = self.plan.take() else { return Vec::new() };
        let mut agents: BTreeMap<&str, Vec<&Offer>> = BTreeMap::new();
        for offer in &plan {
            agents.entry(&offer.agent).or_default().push(offer);
        }
        let mut agents: Vec<(&str, Vec<&Offer>)> = agents.into_iter().collect();
        rng.shuffle(&mut agents);
        let (mut calls, mut unused) = (Vec::new(), Vec::new());
        for (agent, mut offers) in agents {
            let planned = offers.iter().map(|o| o.fits).sum::<usize>().min(job.tasks);
            let newest: Vec<Offer>;
            if self.fresh {
                newest = self.offers.values().filter(|o| o.agent == agent).cloned().collect();
                offers = newest.iter().collect();
            }
            let tasks = offers.iter().map(|o| o.fits).sum::<usize>().min(planned);
            job.tasks -= tasks;
            if planned > 0 && tasks == 0 {
                self.accepts.sent += 1;
                self.accepts.lost += 1;
            }
            let ids = offers.iter().map(|o| v1::OfferId::from(o.id.as_str()));
            if tasks > 0 {
                calls.push(self.accept(agent, ids.collect(), tasks, job.arrived));
            } else {
                unused.extend(ids.filter(|id| self.offers.contains_key(&id.value)));
            }
            for offer in offers {
                self.offers.remove(&offer.id);
            }
        }
        for offer in &plan {
            self.offers.remove(&offer.id);
        }
        if !unused.is_empty() {
            calls.push(self.decline(unused));
        }
        if job.tasks > 0 {
            self.queue.push_front(job);
        }
        calls.extend(self.rest());
        calls
    }

    fn accept(
        &mut self,
        agent: &str,
        offer_ids: Vec<v1::OfferId>,
        tasks: usize,
        arrived: Time,
    ) -> Call {
        self.accepts.sent += 1;
        let resource = |name: &str, value: f64| v1::Resource {
            name: name.to_owned(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value }),
            ..Default::default()
        };
        let task_infos = (0..tasks)
            .map(|_| {
                let name = format!("f{}-t{}", self.index, self.next_task);
                self.next_task += 1;
                self.sent.insert(name.clone(), (arrived, self.accepts.sent));
                v1::TaskInfo {
                    name: name.clone(),
                    task_id: v1::TaskId { value: name },
                    agent_id: agent.into(),
                    resources: vec![resource("cpus", TASK_CPUS), resource("mem", TASK_MEM)],
                    command: Some(v1::CommandInfo {
                        value: Some("true".to_owned()),
                        ..Default::default()
                    }),
                    ..Default::default()
                }
            })
            .collect();
        let launch = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch as i32),
            launch: Some(v1::offer::operation::Launch { task_infos }),
            ..Default::default()
        };
        let filters = Some(v1::Filters { refuse_seconds: Some(0.0) });
        let accept = Some(call::Accept { offer_ids, operations: vec![launch], filters });
        Call { accept, ..self.call(call::Type::Accept) }
    }

    /// When the job of a task arrived that an agent starts now.
    pub(super) fn arrival_of(&self, task: &str) -> Option<Time> {
        self.sent.get(task).map(|(arrived, _)| *arrived)
    }
}
