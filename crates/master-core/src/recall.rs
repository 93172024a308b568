//! Lent resources are wanted back: offers of them are rescinded, then the frameworks of the youngest tasks that use them
//! are told by inverse offers, and after a grace period the tasks are killed (spec/agent.md 7.4 for how they end).
//!
//! A task that uses nothing revocable, nor runs in an executor that does, is never killed for it.

use crate::borrowers::{Unit, choose, helps, take, tasks_of, uses_revocable};
use crate::lending::revocable;
use crate::master::{Cx, Master, Timer};
use crate::quota::Amounts;
use crate::state::{Framework, Task};
use allocator::{AgentId, FrameworkId, Recall};
use resources::Resources;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::internal::master_to_agent::Message;
use wire::v1::framework_info::capability::Type as Capability;
use wire::{internal, v1};

/// Grace period of a task that names none (spec/agent.md 3.2).
const KILL_GRACE: Duration = Duration::from_secs(3);
/// Time between reminders of what should have ended.
const REPEAT_MIN: Duration = Duration::from_secs(1);

/// What a framework was told about some of its tasks on an agent.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) framework: FrameworkId,
    pub(crate) agent: AgentId,
    pub(crate) tasks: BTreeSet<String>,
    /// Executors that have to go with them.
    pub(crate) executors: BTreeSet<String>,
    /// When the tasks are killed, in nanoseconds since 1970.
    until: i64,
    /// What is told of the end of the tasks, once they are killed.
    killed_for: Option<String>,
}

impl Notice {
    /// Whether it tells that this ends.
    pub(crate) fn covers(&self, unit: &Unit) -> bool {
        self.framework == unit.framework
            && match &unit.executor {
                Some(id) => self.executors.contains(id),
                None => unit.tasks.iter().all(|id| self.tasks.contains(id)),
            }
    }
}

impl Master {
    /// What is wanted back of what is lent, as of the last cycle.
    #[must_use]
    pub fn recalls(&self) -> &BTreeMap<AgentId, Recall> {
        self.allocator.recalls()
    }

    /// After a cycle: sees to it that what is wanted back comes back.
    pub(crate) fn call_back(&mut self, cx: &mut Cx<'_>) {
        if self.allocator.recalls().is_empty() && self.notices.is_empty() {
            return;
        }
        let recalls = self.allocator.recalls().clone();
        self.forget_notices(cx, &recalls);
        for (agent, recall) in recalls {
            let mut wanted = recall.wanted;
            self.rescind_lent(cx, agent, &mut wanted);
            self.spare_needless(cx, agent, &wanted);
            for id in self.notices_on(agent) {
                take(&mut wanted, &self.still_held(&id));
            }
            if !wanted.is_empty() {
                self.give_notice(cx, agent, &wanted);
            }
        }
    }

    /// Offers give back at once what they have, the youngest first.
    fn rescind_lent(&mut self, cx: &mut Cx<'_>, agent: AgentId, wanted: &mut Amounts) {
        let offers = self.offered_on(agent);
        let mut offers: Vec<_> = offers.filter(|o| uses_revocable(&o.resources)).cloned().collect();
        offers.sort_by_key(|o| std::cmp::Reverse(o.made));
        for offer in offers {
            let amounts = revocable(&offer.resources);
            if helps(wanted, &amounts) {
                take(wanted, &amounts);
                self.count("master/offers_recalled");
                self.rescind(cx, &offer.id);
            }
        }
    }

    fn notices_on(&self, agent: AgentId) -> Vec<String> {
        let notices = self.notices.iter().filter(|(_, n)| n.agent == agent);
        notices.map(|(id, _)| id.clone()).collect()
    }

    /// What will come back by a notice.
    fn still_held(&self, id: &str) -> Amounts {
        let mut amounts = Amounts::new();
        let mut add = |resources: &Resources| {
            for (name, milli) in revocable(resources) {
                *amounts.entry(name).or_default() += milli;
            }
        };
        let Some(notice) = self.notices.get(id) else { return amounts };
        let Some(framework) = self.framework(notice.framework) else { return amounts };
        for task in notice.tasks.iter().filter_map(|id| framework.tasks.get(id)) {
            if task.agent == notice.agent && task.holds_resources() {
                add(&task.resources);
            }
        }
        for id in &notice.executors {
            if let Some(executor) = framework.executors.get(&(notice.agent, id.clone())) {
                add(&executor.resources);
            }
        }
        amounts
    }

    /// Drops notices that are fulfilled, and those on agents from which nothing is wanted any more.
    fn forget_notices(&mut self, cx: &mut Cx<'_>, recalls: &BTreeMap<AgentId, Recall>) {
        let is_over = |(id, notice): &(&String, &Notice)| {
            let is_wanted = recalls.contains_key(&notice.agent) || notice.killed_for.is_some();
            !is_wanted || self.still_held(id).is_empty()
        };
        let over: Vec<String> =
            self.notices.iter().filter(is_over).map(|(id, _)| id.clone()).collect();
        for id in over {
            self.withdraw_notice(cx, &id);
        }
    }

    /// Withdraws notices without which enough comes back.
    fn spare_needless(&mut self, cx: &mut Cx<'_>, agent: AgentId, wanted: &Amounts) {
        for id in self.notices_on(agent) {
            if self.notices.get(&id).is_some_and(|n| n.killed_for.is_some()) {
                continue;
            }
            let mut missing = wanted.clone();
            for other in self.notices_on(agent).iter().filter(|other| **other != id) {
                take(&mut missing, &self.still_held(other));
            }
            if missing.is_empty() {
                self.withdraw_notice(cx, &id);
            }
        }
    }

    fn withdraw_notice(&mut self, cx: &mut Cx<'_>, id: &str) {
        let Some(notice) = self.notices.remove(id) else { return };
        self.timers.cancel(&Timer::Preempt(id.to_owned()));
        self.rescind_inverse(cx, notice.framework, id);
    }

    /// Tells the frameworks of those who have to give back so much.
    fn give_notice(&mut self, cx: &mut Cx<'_>, agent: AgentId, wanted: &Amounts) {
        let grace = self.config.preemption_grace_period;
        let until = u128::from(cx.now.wall.0) + grace.as_nanos();
        let until = i64::try_from(until).unwrap_or(i64::MAX);
        let mut notices: BTreeMap<FrameworkId, Notice> = BTreeMap::new();
        for unit in choose(wanted, self.units(agent, wanted)) {
            let notice = notices.entry(unit.framework).or_insert_with(|| Notice {
                framework: unit.framework,
                agent,
                tasks: BTreeSet::new(),
                executors: BTreeSet::new(),
                until,
                killed_for: None,
            });
            notice.tasks.extend(unit.tasks);
            notice.executors.extend(unit.executor);
        }
        for (framework, notice) in notices {
            let id = self.next_offer_id();
            let offer = self.recalling(&id, &notice);
            self.notices.insert(id.clone(), notice);
            self.timers.set(Timer::Preempt(id), cx.now.mono + grace);
            self.send_inverse_offers(cx, framework, vec![offer]);
        }
    }

    /// A framework that was away hears again what it is to give back.
    pub(crate) fn repeat_notices(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        let open = |notice: &Notice| notice.framework == framework && notice.killed_for.is_none();
        let notices = self.notices.iter().filter(|(_, notice)| open(notice));
        let offers: Vec<_> = notices.map(|(id, notice)| self.recalling(id, notice)).collect();
        if !offers.is_empty() {
            self.send_inverse_offers(cx, framework, offers);
        }
    }

    /// The inverse offer of a notice.
    fn recalling(&self, id: &str, notice: &Notice) -> v1::InverseOffer {
        let mut wanted = Resources::new();
        let framework = self.framework(notice.framework);
        if let Some(framework) = framework {
            let tasks = notice.tasks.iter().filter_map(|id| framework.tasks.get(id));
            for task in tasks {
                wanted += &task.resources.revocable();
            }
            for id in &notice.executors {
                if let Some(executor) = framework.executors.get(&(notice.agent, id.clone())) {
                    wanted += &executor.resources.revocable();
                }
            }
            if !framework.has(Capability::MultiRole) {
                wanted = wanted.unallocated();
            }
        }
        let start = v1::TimeInfo { nanoseconds: notice.until };
        let unavailability = v1::Unavailability { start, duration: None };
        let (framework, agent) = (notice.framework, notice.agent);
        self.inverse_offer(id, framework, agent, unavailability, wanted.to_wire())
    }

    /// A grace period is over: tasks are killed, and what outlives that is shut down.
    pub(crate) fn preempt(&mut self, cx: &mut Cx<'_>, id: &str) {
        let Some(notice) = self.notices.get(id).cloned() else { return };
        if notice.killed_for.is_some() {
            self.shut_down_preempted(cx, id, &notice);
            return;
        }
        let Some(recall) = self.allocator.recalls().get(&notice.agent) else {
            self.withdraw_notice(cx, id);
            return;
        };
        // A part may have come back by itself meanwhile.
        let mut missing = recall.wanted.clone();
        for other in self.notices_on(notice.agent).iter().filter(|other| *other != id) {
            if self.notices.get(other).is_some_and(|n| n.killed_for.is_some()) {
                take(&mut missing, &self.still_held(other));
            }
        }
        let needed = choose(&missing, self.units_of(&notice));
        if needed.is_empty() {
            self.withdraw_notice(cx, id);
            return;
        }
        let tasks: BTreeSet<String> = needed.iter().flat_map(|u| u.tasks.clone()).collect();
        let executors = needed.into_iter().filter_map(|unit| unit.executor).collect();
        let roles: Vec<String> = recall.roles.iter().map(|role| format!("'{role}'")).collect();
        let message = format!("Preempted: role {} wants back what was lent", roles.join(", "));
        let Some(framework) = self.framework(notice.framework) else { return };
        let most = self.config.preemption_grace_period;
        let mut kills = Vec::new();
        for task in tasks.iter().filter_map(|id| framework.tasks.get(id)) {
            if task.holds_resources() {
                kills.push(kill_of(framework, task, most, &message));
            }
        }
        if let Some(notice) = self.notices.get_mut(id) {
            notice.killed_for = Some(message);
            notice.executors = executors;
            notice.tasks = kills.iter().map(|kill| kill.task_id.value.clone()).collect();
        }
        for kill in kills {
            self.count("master/tasks_preempted");
            self.count_of(notice.framework, "tasks_preempted");
            if let Some(agent) = self.agent_mut(notice.agent) {
                agent.killed.insert((notice.framework, kill.task_id.value.clone()));
            }
            self.send_to_agent(cx, notice.agent, Message::KillTask(kill));
        }
        self.timers.set(Timer::Preempt(id.to_owned()), cx.now.mono + most);
    }

    /// What did not end in time: executors are shut down, unless they run tasks that must not end; then the agent says of
    /// the others that they are gone. Said again and again, as the agent may be away.
    fn shut_down_preempted(&mut self, cx: &mut Cx<'_>, id: &str, notice: &Notice) {
        let Some(framework) = self.framework(notice.framework) else { return };
        let mut executors: BTreeSet<&str> = notice.executors.iter().map(String::as_str).collect();
        let mut messages = Vec::new();
        for task in notice.tasks.iter().filter_map(|id| framework.tasks.get(id)) {
            let executor = task.wire.executor_id.as_ref().map(|id| id.value.as_str());
            let is_here = task.agent == notice.agent && task.holds_resources();
            let Some(executor) = executor.filter(|id| is_here && !executors.contains(id)) else {
                continue;
            };
            let mut mates = tasks_of(framework, notice.agent, executor);
            if mates.all(|t| uses_revocable(&t.resources)) {
                executors.insert(executor);
            } else {
                messages.push(Message::KillTask(internal::KillTask {
                    framework_id: framework.id.as_str().into(),
                    task_id: task.id().into(),
                    kill_policy: None,
                    preemption: notice.killed_for.clone(),
                    at_once: Some(true),
                    asked_by: None,
                }));
            }
        }
        messages.extend(executors.into_iter().map(|id| {
            Message::ShutdownExecutor(internal::ShutdownExecutor {
                framework_id: framework.id.as_str().into(),
                executor_id: id.into(),
            })
        }));
        for message in messages {
            self.send_to_agent(cx, notice.agent, message);
        }
        let again = cx.now.mono + self.config.preemption_grace_period.max(REPEAT_MIN);
        self.timers.set(Timer::Preempt(id.to_owned()), again);
    }

    /// What the end of a task is told to be for, if it was killed to give back what it borrowed.
    pub(crate) fn preempted_for(
        &self,
        framework: FrameworkId,
        agent: AgentId,
        task: &str,
    ) -> Option<String> {
        let mut notices = self.notices.values();
        let has =
            |n: &&Notice| n.framework == framework && n.agent == agent && n.tasks.contains(task);
        notices.find(has)?.killed_for.clone()
    }
}

/// A kill that does not take longer than `most`.
fn kill_of(
    framework: &Framework,
    task: &Task,
    most: Duration,
    message: &str,
) -> internal::KillTask {
    let policy = task.wire.kill_policy.as_ref().and_then(|p| p.grace_period.as_ref());
    let grace = policy
        .map_or(KILL_GRACE, |g| Duration::from_nanos(u64::try_from(g.nanoseconds).unwrap_or(0)));
    let nanoseconds = i64::try_from(grace.min(most).as_nanos()).unwrap_or(i64::MAX);
    let grace_period = Some(v1::DurationInfo { nanoseconds });
    internal::KillTask {
        framework_id: framework.id.as_str().into(),
        task_id: task.id().into(),
        kill_policy: Some(v1::KillPolicy { grace_period }),
        preemption: Some(message.to_owned()),
        at_once: None,
        asked_by: None,
    }
}
