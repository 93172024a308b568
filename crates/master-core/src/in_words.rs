//! Reasons why a framework is not offered an agent in words, and what to do about them.

use crate::frameworks::options;
use crate::master::{Master, Timer};
use crate::schedule::utc;
use crate::state::{Agent, Framework, Offer, Task};
use crate::why::{describe, in_short};
use allocator::Reason;
use base::{Now, Time, WallTime};
use resources::{Quantities, Resources, from_milli};
use std::sync::Arc;
use wire::v1::framework_info::capability::Type as Capability;
use wire::v1::{self, DrainState};

/// What a reason is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) now: Now,
    pub(crate) framework: &'a Framework,
    pub(crate) role: &'a str,
    pub(crate) agent: &'a Agent,
}

/// Whose tasks use something.
struct User<'a> {
    framework: &'a Framework,
    tasks: Vec<&'a Task>,
}

/// What of resources would be offered to a framework for a role, if they were free.
fn usable(resources: &Resources, framework: &Framework, role: &str) -> Resources {
    let takes_revocable = framework.has(Capability::RevocableResources);
    let usable = resources.unallocated().allocatable_to(role);
    usable.filter(|e| takes_revocable || !e.identity.revocable)
}

fn whose(holder: &Framework, asking: &Framework) -> String {
    if holder.key == asking.key {
        return "this framework itself".to_owned();
    }
    format!("framework '{}'", holder.info.name)
}

/// Of two reasons that are in the way of as much, the one that is easier to change comes first: what holds for the
/// framework or its role everywhere, then what ends by itself, then what is so on one agent.
pub(crate) fn rank(reason: Reason) -> u8 {
    match reason {
        Reason::Next => 0,
        Reason::Inactive | Reason::Suppressed => 1,
        Reason::Limit | Reason::Satisfied => 2,
        Reason::Refused { .. } | Reason::BackedOff { .. } => 3,
        Reason::Overlap | Reason::Taken | Reason::Lent => 4,
        Reason::Headroom => 5,
        Reason::BelowMinimum | Reason::Constraint => 6,
        Reason::Reserved | Reason::Gpus | Reason::Region => 7,
        Reason::AgentCapability | Reason::NotListed | Reason::AgentInactive => 8,
    }
}

impl Master {
    pub(crate) fn in_words(&self, about: &About<'_>, reason: Reason) -> String {
        let About { now, framework, role, agent } = *about;
        let now = now.mono;
        match reason {
            Reason::Next => "it is offered in the next cycle".to_owned(),
            Reason::Inactive => self.who_is_away(now, framework, role),
            Reason::Suppressed => format!("the framework suppressed offers for role '{role}'"),
            Reason::AgentInactive => self.out_of_use(agent).0.to_owned(),
            Reason::NotListed => format!("host '{}' is not on the whitelist", agent.info.hostname),
            Reason::Taken => self.who_took(about),
            Reason::Overlap => self.who_sees(about),
            Reason::AgentCapability => {
                "the agent does not know roles as the framework uses them".to_owned()
            }
            Reason::Gpus => "the agent has GPUs, and the framework can't use them".to_owned(),
            Reason::Region => "the agent is in another region than the master".to_owned(),
            Reason::Constraint => format!(
                "the framework's offer constraints for role '{role}' exclude host '{}'",
                agent.info.hostname
            ),
            Reason::Reserved => {
                "what is free there is reserved for other roles, revocable or shared".to_owned()
            }
            Reason::Limit if self.awaited.is_some() => format!(
                "role '{role}', or one above it, may have all that its limits allow: what runs on {} agents that are not back after the master's start is not known",
                self.state.recovered_agents.len()
            ),
            Reason::Limit => {
                format!("role '{role}', or one above it, has all that its limits allow")
            }
            Reason::Lent => self.who_borrowed(role, agent),
            Reason::Headroom => "what is free is kept for the guarantees of other roles".to_owned(),
            Reason::Satisfied => format!("role '{role}' has what it is guaranteed"),
            Reason::BelowMinimum => {
                "what is left there is less than the least that is offered".to_owned()
            }
            Reason::Refused { until } => {
                format!("the framework declined it, for another {}", in_short(until.since(now)))
            }
            Reason::BackedOff { until } => format!(
                "the framework used nothing of many offers, so that others come first for another {}",
                in_short(until.since(now))
            ),
        }
    }

    /// Why a framework does not compete for a role at all.
    fn who_is_away(&self, now: Time, framework: &Framework, role: &str) -> String {
        if framework.recovered {
            return "the framework is known from its agents only: it has not subscribed to this master"
                .to_owned();
        }
        let Some(since) = framework.disconnected else {
            return format!("the framework is not subscribed to role '{role}'");
        };
        let whole = WallTime(since.0 - since.0 % 1_000_000_000);
        let since = format!("the framework is disconnected since {}", utc(whole));
        match self.timers.get(&Timer::Failover(framework.key)) {
            Some(at) => format!(
                "{since}, and is removed in {}, when its failover_timeout ends",
                in_short(at.since(now))
            ),
            None => since,
        }
    }

    /// Who has what is lent of an agent.
    fn who_borrowed(&self, role: &str, agent: &Agent) -> String {
        let has_revocable = |f: &&Arc<Framework>| {
            let offers = f.offers.values().filter(|o| o.agent == agent.key).map(|o| &o.resources);
            let tasks = f.tasks.values().filter(|t| t.agent == agent.key && t.holds_resources());
            let tasks = tasks.map(|t| &t.resources);
            let executors = f.executors.iter().filter(|((on, _), _)| *on == agent.key);
            let executors = executors.map(|(_, executor)| &executor.resources);
            let mut all = offers.chain(tasks).chain(executors);
            all.any(|r| r.iter().any(|e| e.identity.revocable))
        };
        let names = self.state.frameworks.values().filter(has_revocable);
        let names: Vec<String> = names.map(|f| format!("'{}'", f.info.name)).collect();
        let to = format!("it is lent as revocable resources to framework {}", names.join(", "));
        let recall = self.allocator.recalls().get(&agent.key);
        if recall.is_none_or(|recall| !recall.roles.contains(role)) {
            return format!("{to}, and nothing of it is kept for role '{role}'");
        }
        let most = in_short(self.config.preemption_grace_period * 2);
        format!("{to}, and comes back within {most}")
    }

    /// Soft offers of an agent, oldest first.
    pub(crate) fn soft_offers(&self, agent: &Agent) -> Vec<&Offer> {
        let offers = self.offers.values().filter(|o| o.agent == agent.key && o.soft);
        let mut offers: Vec<&Offer> = offers.map(AsRef::as_ref).collect();
        offers.sort_by_key(|o| o.made);
        offers
    }

    /// To whom what is free is offered softly.
    fn who_sees(&self, &About { now, framework, role, agent }: &About<'_>) -> String {
        let mut offers = self.soft_offers(agent);
        offers.retain(|o| o.framework != framework.key);
        let Some(oldest) = offers.first() else {
            return format!("the offer overlap of role '{role}' allows no more offers of it");
        };
        let since = in_short(now.mono.since(oldest.made));
        let name = self.framework(oldest.framework).map_or("", |f| f.info.name.as_str());
        let to = match offers.len() {
            1 => format!("to framework '{name}' for role '{}'", oldest.role),
            n => format!("to {n} frameworks, first '{name}' for role '{}'", oldest.role),
        };
        let own = if oldest.role == role {
            format!("as many as the overlap of role '{role}' allows")
        } else {
            format!("and offers for role '{role}' share less: they wait for that")
        };
        format!("what is free there is offered {to} since {since}, {own}")
    }

    /// The oldest offer that has of an agent what a framework could be offered.
    pub(crate) fn taking(
        &self,
        framework: &Framework,
        role: &str,
        agent: &Agent,
    ) -> Option<&Offer> {
        let offers = self.offers.values().map(AsRef::as_ref).filter(|o| o.agent == agent.key);
        let offers = offers.filter(|o| !o.soft || o.framework == framework.key);
        let is_usable = |o: &&Offer| !usable(&o.resources, framework, role).is_empty();
        offers.filter(is_usable).min_by_key(|o| o.made)
    }

    /// Who has on an agent what a framework could be offered.
    fn who_took(&self, &About { now, framework, role, agent }: &About<'_>) -> String {
        let Some(oldest) = self.taking(framework, role, agent) else {
            let mut users = self.users(framework, role, agent);
            users.sort_by_key(|user| std::cmp::Reverse(user.tasks.len()));
            let Some(most) = users.first() else {
                return "all of it is used".to_owned();
            };
            let tasks = match most.tasks.len() {
                0 => "executors".to_owned(),
                1 => "1 task".to_owned(),
                n => format!("{n} tasks"),
            };
            let whose = whose(most.framework, framework);
            let others = match users.len() {
                1 => String::new(),
                2 => " and those of another framework".to_owned(),
                n => format!(" and those of {} other frameworks", n - 1),
            };
            return format!("what it could be offered there is used by {tasks} of {whose}{others}");
        };
        let whose = self
            .framework(oldest.framework)
            .map_or_else(|| "a framework".to_owned(), |holder| whose(holder, framework));
        let since = in_short(now.mono.since(oldest.made));
        format!("what it could be offered there is offered to {whose} since {since}")
    }

    /// Whose tasks and executors use on an agent what a framework could be offered.
    fn users(&self, framework: &Framework, role: &str, agent: &Agent) -> Vec<User<'_>> {
        let is_usable = |r: &Resources| !usable(r, framework, role).is_empty();
        let mut users = Vec::new();
        for user in self.state.frameworks.values() {
            let tasks = user.tasks.values().map(AsRef::as_ref);
            let tasks = tasks.filter(|t| t.agent == agent.key && t.holds_resources());
            let tasks: Vec<&Task> = tasks.filter(|t| is_usable(&t.resources)).collect();
            let mut executors = user.executors.iter().filter(|((on, _), _)| *on == agent.key);
            if !tasks.is_empty() || executors.any(|(_, e)| is_usable(&e.resources)) {
                users.push(User { framework: user, tasks });
            }
        }
        users
    }

    /// The smallest change that ends a reason.
    pub(crate) fn advice(&self, about: &About<'_>, reason: Reason) -> String {
        let About { framework, role, agent, .. } = *about;
        match reason {
            Reason::Taken => match self.taking(framework, role, agent) {
                Some(offer) if offer.framework == framework.key => {
                    "let it use or decline the offer that it has".to_owned()
                }
                Some(_) => {
                    "let the holder use or decline its offer, or set --offer_timeout".to_owned()
                }
                None => self.what_to_end(about),
            },
            Reason::Limit => {
                format!(
                    "raise the quota limit of role '{role}', or of the one above it that has it"
                )
            }
            Reason::Overlap => {
                format!(
                    "raise the offer overlap of role '{role}', or let the holders decline sooner"
                )
            }
            Reason::Suppressed => format!("let the framework send REVIVE for role '{role}'"),
            Reason::AgentInactive => self.out_of_use(agent).1.to_owned(),
            reason => describe(reason).1.to_owned(),
        }
    }

    /// Why an agent is offered to nobody, and what ends that.
    fn out_of_use(&self, agent: &Agent) -> (&'static str, &'static str) {
        let taken = self.state.deactivated.get(&agent.id);
        match taken.map(|t| t.drain.as_ref().map(v1::DrainInfo::state)) {
            Some(Some(DrainState::Drained)) => ("the agent is drained", "reactivate the agent"),
            Some(Some(_)) => (
                "an operator drains the agent: what runs there ends",
                "reactivate the agent when it is drained",
            ),
            Some(None) => ("an operator deactivated the agent", "reactivate the agent"),
            None if !agent.is_connected() => ("the agent is not connected", "bring the agent back"),
            None => (
                "more of the agent is used than it has",
                "end tasks there, or give the agent what it had",
            ),
        }
    }

    /// The smallest task whose end would bring an offer, and how much there would have to be else.
    fn what_to_end(&self, &About { framework, role, agent, .. }: &About<'_>) -> String {
        let mut own = options(&framework.info, &framework.suppressed, None).min_allocatable;
        let own = own.remove(role);
        let least = own.unwrap_or_else(|| self.config.allocator.min_allocatable.clone());
        let is_enough = |task: &&&Task| {
            let there = usable(&task.resources, framework, role).quantities();
            least.is_empty() || least.iter().any(|least| there.contains(least))
        };
        let users = self.users(framework, role, agent);
        let tasks = users.iter().flat_map(|u| u.tasks.iter().map(move |t| (u.framework, t)));
        let tasks = tasks.filter(|(_, task)| is_enough(task));
        let size = |task: &Task| (task.resources.scalar("cpus"), task.resources.scalar("mem"));
        let end = match (tasks.min_by_key(|(_, task)| size(task)), users.first()) {
            (Some((user, task)), _) => {
                format!("end task '{}' of framework '{}' there", task.id(), user.info.name)
            }
            (None, Some(user)) => {
                format!("end tasks of framework '{}' there", user.framework.info.name)
            }
            (None, None) => "end what uses it there".to_owned(),
        };
        let amounts = |least: &Quantities| {
            let amounts = least.iter().map(|(name, milli)| format!("{name}:{}", from_milli(milli)));
            amounts.collect::<Vec<_>>().join(";")
        };
        let all: Vec<String> = least.iter().map(amounts).filter(|a| !a.is_empty()).collect();
        if all.is_empty() {
            return format!("{end}, or add an agent");
        }
        format!("{end}, or add an agent with {} at least", all.join(" or "))
    }
}
