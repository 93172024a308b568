//! Why a framework gets no offers: asked of the policy that decides it, never 'no reason'.

use crate::history::Period;
use crate::master::{Master, Timer};
use crate::schedule::utc;
use crate::state::{Agent, Framework};
use allocator::Reason;
use base::{Now, Time, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Agents that one question looks at; the core has other things to do.
const AGENTS_MAX: usize = 2000;

/// What is asked; what is not given means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// Id of a framework.
    pub framework: Option<String>,
    /// A role.
    pub role: Option<String>,
    /// Id of an agent.
    pub agent: Option<String>,
}

/// Why a framework gets nothing, or not more, for one of its roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its id.
    pub framework_id: String,
    /// Its name.
    pub framework: String,
    /// The role.
    pub role: String,
    /// Offers that it holds for the role now.
    pub offers: usize,
    /// Agents that were looked at.
    pub agents: usize,
    /// What is in the way, most frequent first.
    pub reasons: Vec<Cause>,
    /// How long the first of them is in the way, as far as is known.
    pub lasts: Option<Duration>,
    /// When it was last offered something for the role, to the minute, as far as is known.
    pub last_offer: Option<WallTime>,
    /// What was decided in the past: hours, then minutes.
    pub history: Vec<Period>,
}

/// Something that is in the way on some agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Its name.
    pub reason: &'static str,
    /// On how many agents.
    pub agents: usize,
    /// Id of one of them.
    pub example: String,
    /// In words, for that one.
    pub message: String,
    /// The smallest change that would help.
    pub advice: &'static str,
    /// Since when, to the minute, as far as is known.
    pub since: Option<WallTime>,
}

/// A time as people say it.
#[must_use]
pub fn in_short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Name of a reason, and the smallest change that would help.
#[must_use]
pub fn describe(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Next => ("NEXT", "nothing: it is offered in its turn"),
        Reason::Inactive => ("INACTIVE", "subscribe the framework, with this role"),
        Reason::Suppressed => ("SUPPRESSED", "let the framework send REVIVE for the role"),
        Reason::AgentInactive => ("AGENT_INACTIVE", "bring the agent back"),
        Reason::NotListed => ("NOT_LISTED", "add the agent's host to --whitelist"),
        Reason::Taken => {
            ("TAKEN", "end tasks there, let the holder decline, or set --offer_timeout")
        }
        Reason::Overlap => ("OVERLAP", "raise the offer overlap of the role, or decline sooner"),
        Reason::AgentCapability => ("AGENT_CAPABILITY", "upgrade the agent"),
        Reason::Gpus => (
            "GPUS",
            "give the framework the GPU_RESOURCES capability, or set --no-filter_gpu_resources",
        ),
        Reason::Region => ("REGION", "give the framework the REGION_AWARE capability"),
        Reason::Constraint => ("CONSTRAINT", "relax the framework's offer constraints"),
        Reason::Reserved => {
            ("RESERVED", "unreserve, or give the framework the role's capabilities")
        }
        Reason::Limit => ("LIMIT", "raise the quota limit of the role"),
        Reason::Lent => (
            "LENT",
            "nothing if it is kept for the role: it comes back; else end revocable tasks there",
        ),
        Reason::Headroom => (
            "HEADROOM",
            "give the role a guarantee (quota or share), or lower the guarantees of others",
        ),
        Reason::Satisfied => ("SATISFIED", "raise the guarantee of the role"),
        Reason::BelowMinimum => {
            ("BELOW_MINIMUM", "lower min_allocatable_resources of the framework or the master")
        }
        Reason::Refused { .. } => {
            ("REFUSED", "let the framework send REVIVE, or refuse for less long")
        }
        Reason::BackedOff { .. } => {
            ("BACKED_OFF", "let the framework send REVIVE when it wants offers, and SUPPRESS else")
        }
    }
}

impl Master {
    /// Answers a question; nothing if there is no such framework, role or agent.
    #[must_use]
    pub fn why(&self, now: Now, question: &Question) -> Vec<Answer> {
        let wanted = |asked: &Option<String>, is: &str| asked.as_ref().is_none_or(|a| a == is);
        let agents: Vec<&Agent> = self
            .state
            .agents
            .values()
            .filter(|a| wanted(&question.agent, &a.id))
            .take(AGENTS_MAX)
            .map(AsRef::as_ref)
            .collect();
        if agents.is_empty() && question.agent.is_some() {
            return Vec::new();
        }
        let frameworks = self.state.frameworks.values();
        let frameworks = frameworks.filter(|f| wanted(&question.framework, &f.id));
        let mut answers = Vec::new();
        for framework in frameworks {
            for role in framework.roles().into_iter().filter(|r| wanted(&question.role, r)) {
                answers.push(self.why_of(now, framework, role, &agents));
            }
        }
        answers
    }

    fn why_of(&self, now: Now, framework: &Framework, role: String, agents: &[&Agent]) -> Answer {
        let mut causes: BTreeMap<&'static str, Cause> = BTreeMap::new();
        // Who comes last could have had what others are offered.
        let last = self.allocator.backed_off(now.mono, framework.key, &role).map(|until| {
            let offers = self.offers.values().filter(|o| o.framework != framework.key);
            (until, offers.map(|o| o.agent).collect::<BTreeSet<_>>())
        });
        for agent in agents {
            let mut reason = self.allocator.why(framework.key, &role, agent.key);
            if let Some((until, contested)) = &last
                && reason == Reason::Taken
                && contested.contains(&agent.key)
            {
                reason = Reason::BackedOff { until: *until };
            }
            let (name, advice) = describe(reason);
            let cause = causes.entry(name).or_insert_with(|| Cause {
                reason: name,
                agents: 0,
                example: agent.id.clone(),
                message: self.in_words(now.mono, reason, framework, &role, agent),
                advice,
                since: None,
            });
            cause.agents += 1;
        }
        let mut reasons: Vec<Cause> = causes.into_values().collect();
        reasons.sort_by_key(|c| std::cmp::Reverse(c.agents));
        let series = self.history.of(framework.key, &role);
        for cause in &mut reasons {
            cause.since = series.and_then(|s| s.since(cause.reason, cause.agents));
        }
        let since = reasons.first().and_then(|cause| cause.since);
        Answer {
            lasts: since.map(|at| Duration::from_nanos(now.wall.0.saturating_sub(at.0))),
            last_offer: series.and_then(|s| s.last_offer),
            history: series.map(|s| s.periods()).unwrap_or_default(),
            framework_id: framework.id.clone(),
            framework: framework.info.name.clone(),
            offers: framework.offers.values().filter(|o| o.role == role).count(),
            role,
            agents: agents.len(),
            reasons,
        }
    }

    fn in_words(
        &self,
        now: Time,
        reason: Reason,
        framework: &Framework,
        role: &str,
        agent: &Agent,
    ) -> String {
        match reason {
            Reason::Next => "it is offered in the next cycle".to_owned(),
            Reason::Inactive => self.who_is_away(now, framework, role),
            Reason::Suppressed => format!("the framework suppressed offers for role '{role}'"),
            Reason::AgentInactive => {
                "the agent is not connected, or uses more than it has".to_owned()
            }
            Reason::NotListed => format!("host '{}' is not on the whitelist", agent.info.hostname),
            Reason::Taken => self.who_took(now, framework, agent),
            Reason::Overlap => format!(
                "what is free there is offered to as many frameworks as the overlap of role '{role}' allows"
            ),
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

    /// Who has everything on an agent.
    fn who_took(&self, now: Time, framework: &Framework, agent: &Agent) -> String {
        let offers: Vec<_> = self.offers.values().filter(|o| o.agent == agent.key).collect();
        let Some(oldest) =
            offers.iter().min_by_key(|o| (!o.soft || o.framework != framework.key, o.made))
        else {
            return "all of it is used by tasks".to_owned();
        };
        let whose = if oldest.framework == framework.key {
            "this framework itself".to_owned()
        } else {
            let name = self.framework(oldest.framework).map_or("", |f| f.info.name.as_str());
            format!("framework '{name}'")
        };
        format!(
            "what is free there is offered to {whose} since {}",
            in_short(now.since(oldest.made))
        )
    }
}
