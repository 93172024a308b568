//! What a simulated framework makes of its offers: tasks, groups of them, reservations, or nothing.

use crate::checks::health_check;
use crate::executor;
use crate::framework::{Framework, Request, Task};
use crate::lending;
use crate::operations;
use crate::plan::Plan;
use base::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::v1::{self, scheduler};

impl Framework {
    /// Makes or undoes a reservation with a volume.
    fn reserve_or_not(&mut self, offer: &v1::Offer) -> Option<Request> {
        let (number, index) = (self.operations.len(), self.index);
        let mut operations = operations::on(offer, &format!("f{index}-v{number}"));
        if operations.is_empty() {
            return None;
        }
        for (at, operation) in operations.iter_mut().enumerate() {
            let id = format!("f{index}-o{}", number + at);
            self.operations.insert(id.clone(), false);
            operation.id = Some(v1::OperationId { value: id });
        }
        let mut call = self.call(scheduler::call::Type::Accept);
        call.accept = Some(scheduler::call::Accept {
            offer_ids: vec![offer.id.clone()],
            operations,
            filters: Some(v1::Filters { refuse_seconds: Some(0.0) }),
        });
        Some(Request { call, tasks: Vec::new() })
    }

    pub(crate) fn answer_all(&mut self, rng: &mut Rng) -> Vec<Request> {
        let kept = std::mem::take(&mut self.kept);
        let mut together: BTreeMap<&str, Vec<&v1::Offer>> = BTreeMap::new();
        for offer in &kept {
            let key = if self.has_pods { &offer.agent_id.value } else { &offer.id.value };
            together.entry(key).or_default().push(offer);
        }
        together.values().map(|offers| self.answer(offers, rng)).collect()
    }

    /// Launches on offers of one agent or declines them.
    fn answer(&mut self, offers: &[&v1::Offer], rng: &mut Rng) -> Request {
        let offer_ids = || offers.iter().map(|offer| offer.id.clone()).collect();
        if let [offer] = offers
            && !self.calm
            && !self.is_eager
            && rng.chance(1, self.leisure.0)
            && let Some(request) = self.reserve_or_not(offer)
        {
            return request;
        }
        let mut room: Vec<_> = offers.iter().flat_map(|offer| lending::classes(offer)).collect();
        // An executor is the first that needs a place.
        let executors = usize::from(self.has_pods || self.has_executors);
        room.retain(|class| lending::fit(class) > executors);
        let disk = offers.iter().find_map(|offer| lending::one(offer, "disk").pop());
        if self.has_pods && disk.is_none() {
            room.clear();
        }
        let left = self.wanted.saturating_sub(self.tasks.len());
        let hoards = self.hoards.is_some();
        let is_picky = !self.is_eager && rng.chance(1, 4);
        if self.calm || room.is_empty() || left == 0 || hoards || is_picky {
            let refuse_seconds = if self.calm || left == 0 {
                100_000.0
            } else if hoards || self.is_eager {
                1.0
            } else {
                [0.0, 1.0, 10.0][rng.below(3) as usize]
            };
            let mut call = self.call(scheduler::call::Type::Decline);
            call.decline = Some(scheduler::call::Decline {
                offer_ids: offer_ids(),
                filters: Some(v1::Filters { refuse_seconds: Some(refuse_seconds) }),
            });
            return Request { call, tasks: Vec::new() };
        }
        let picked = room.swap_remove(rng.below(room.len() as u64) as usize);
        let fit = lending::fit(&picked) - executors;
        let count = (1 + rng.below(4) as usize).min(fit).min(left);
        let agent_id = &offers[0].agent_id;
        let mut tokens: Vec<v1::Resource> = if executors > 0 && count > 0 {
            offers.iter().flat_map(|offer| lending::one(offer, "tokens")).collect()
        } else {
            Vec::new()
        };
        let mut task_infos: Vec<v1::TaskInfo> = Vec::new();
        for _ in 0..count {
            let name = format!("f{}-t{}", self.index, self.tasks.len());
            let longest = self.longest_task.as_millis() as u64;
            let is_long = longest > 60_000 && rng.chance(1, 4);
            let plan = Plan {
                runs: Duration::from_millis(rng.below(if is_long { longest } else { 60_000 })),
                code: if rng.chance(1, 4) { 1 + rng.below(100) as i32 } else { 0 },
                stubborn: rng.chance(1, 4),
                // Some take longer than an executor may take to register.
                fetches: Duration::from_millis(if rng.chance(1, 8) {
                    rng.below(90_000)
                } else {
                    0
                }),
                fetchable: rng.chance(4, 5),
            };
            let mut resources = lending::of_task(&picked, 0.5, 64.0);
            resources.extend(tokens.pop_if(|_| rng.chance(1, 2)));
            let is_checked = !self.has_executors && rng.chance(1, 4);
            let health_check = is_checked.then(|| health_check(rng));
            let task = Task {
                agent: agent_id.value.clone(),
                plan,
                settled: false,
                kill_asked: false,
                state: None,
                revocable: resources.iter().any(|r| r.revocable.is_some()),
                is_preempted: false,
                group: Vec::new(),
                has_run: false,
                is_checked: health_check.is_some(),
                end: None,
                updates: BTreeSet::new(),
                acknowledged: BTreeSet::new(),
            };
            self.tasks.insert(name.clone(), task);
            let mut info = task_info(agent_id, &name, plan, resources);
            if self.has_executors {
                info.data = info.command.take().and_then(|c| c.value).map(String::into_bytes);
                info.executor = Some(self.own_executor(&picked));
            }
            task_infos.push(v1::TaskInfo { health_check, ..info });
        }
        let names: Vec<String> = task_infos.iter().map(|t| t.task_id.value.clone()).collect();
        let operation = if self.has_pods {
            for name in &names {
                if let Some(task) = self.tasks.get_mut(name) {
                    task.group.clone_from(&names);
                }
            }
            let mut resources = lending::of_task(&picked, 0.1, 32.0);
            resources.extend(disk);
            self.launch_group(task_infos, resources)
        } else {
            v1::offer::Operation {
                r#type: Some(v1::offer::operation::Type::Launch as i32),
                launch: Some(v1::offer::operation::Launch { task_infos }),
                ..Default::default()
            }
        };
        let mut call = self.call(scheduler::call::Type::Accept);
        call.accept = Some(scheduler::call::Accept {
            offer_ids: offer_ids(),
            operations: vec![operation],
            filters: Some(v1::Filters { refuse_seconds: Some(0.0) }),
        });
        Request { call, tasks: names }
    }

    /// An executor for all tasks on an agent that use resources of this kind.
    fn own_executor(&self, class: &[v1::Resource]) -> v1::ExecutorInfo {
        let resources = lending::of_task(class, 0.1, 32.0);
        let kind: Vec<String> = resources
            .iter()
            .map(|r| {
                let (is_lent, is_dynamic) = (r.revocable.is_some(), r.reservation.is_some());
                format!("{}{}{}", r.role(), u8::from(is_lent), u8::from(is_dynamic))
            })
            .collect();
        let id = format!("f{}-x{}", self.index, kind.join("-").replace('/', "."));
        let command = executor::command(self.index % 2 == 1);
        v1::ExecutorInfo {
            executor_id: id.as_str().into(),
            resources,
            framework_id: self.id.as_deref().map(Into::into),
            r#type: Some(v1::executor_info::Type::Custom as i32),
            command: Some(v1::CommandInfo { value: Some(command), ..Default::default() }),
            ..Default::default()
        }
    }

    fn launch_group(
        &self,
        tasks: Vec<v1::TaskInfo>,
        resources: Vec<v1::Resource>,
    ) -> v1::offer::Operation {
        let executor = v1::ExecutorInfo {
            executor_id: format!("f{}-pod{}", self.index, self.tasks.len()).as_str().into(),
            resources,
            framework_id: self.id.as_deref().map(Into::into),
            r#type: Some(v1::executor_info::Type::Default as i32),
            ..Default::default()
        };
        let task_group = v1::TaskGroupInfo { tasks };
        v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::LaunchGroup as i32),
            launch_group: Some(v1::offer::operation::LaunchGroup { executor, task_group }),
            ..Default::default()
        }
    }
}

fn task_info(
    agent_id: &v1::AgentId,
    name: &str,
    plan: Plan,
    resources: Vec<v1::Resource>,
) -> v1::TaskInfo {
    v1::TaskInfo {
        name: name.to_owned(),
        task_id: v1::TaskId { value: name.to_owned() },
        agent_id: agent_id.clone(),
        resources,
        command: Some(v1::CommandInfo { value: Some(plan.command()), ..Default::default() }),
        ..Default::default()
    }
}
