//! Why a framework gets no offers: asked of the policy that decides it, never 'no reason'.

use crate::history::{Period, Series};
use crate::in_words::{About, rank};
use crate::master::Master;
use crate::state::{Agent, Framework};
use allocator::{AgentId, FrameworkId, Reason};
use base::{Now, Time, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Agents that one question looks at; the core has other things to do.
const AGENTS_MAX: usize = 2000;
/// Agents for which is found out what else would be in the way, for each framework, role and reason.
const ASKED_MAX: usize = 8;

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
    /// What is in the way: first what could be changed alone, then what is most frequent.
    pub reasons: Vec<Cause>,
    /// How long the first of them is in the way, as far as is known.
    pub lasts: Option<Duration>,
    /// When it was last offered something for the role, as far as is known.
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
    /// The smallest change that would help; several, if one alone would not.
    pub advice: String,
    /// What would be in the way there if this were not.
    pub besides: Vec<&'static str>,
    /// Since when, as far as is known.
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
        let mut of: BTreeMap<&'static str, Vec<(Reason, &Agent)>> = BTreeMap::new();
        // Who comes last could have had what others are offered.
        let last = self.allocator.backed_off(now.mono, framework.key, &role).map(|until| {
            let offers = self.offers.values().filter(|o| o.framework != framework.key);
            (until, offers.map(|o| o.agent).collect::<BTreeSet<_>>())
        });
        let mut asked = 0;
        for agent in agents {
            let mut reason = self.allocator.why(framework.key, &role, agent.key);
            if reason == Reason::Headroom && asked < ASKED_MAX && self.is_offered(agent) {
                asked += 1;
                // An offer ends sooner than a guarantee.
                let (key, over) = (framework.key, [Reason::Taken]);
                let then = self.allocator.why_without(key, &role, agent.key, &over);
                if then == Reason::Next {
                    reason = Reason::Taken;
                }
            }
            if let Some((until, contested)) = &last
                && reason == Reason::Taken
                && contested.contains(&agent.key)
            {
                reason = Reason::BackedOff { until: *until };
            }
            of.entry(describe(reason).0).or_default().push((reason, agent));
        }
        let series = self.history.of(framework.key, &role);
        let causes =
            of.into_iter().map(|(name, of)| self.cause(now, framework, &role, (name, &of), series));
        let mut causes: Vec<(u8, Cause)> = causes.collect();
        // What helps alone comes before what does not; in a tie what holds everywhere before what holds on some agents.
        causes.sort_by_key(|(rank, c)| (c.besides.len(), std::cmp::Reverse(c.agents), *rank));
        let reasons: Vec<Cause> = causes.into_iter().map(|(_, cause)| cause).collect();
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

    /// Whether something of an agent is offered to anybody so that others have to wait.
    fn is_offered(&self, agent: &Agent) -> bool {
        self.offers.values().any(|o| o.agent == agent.key && !o.soft)
    }

    /// A reason in words, for that one of the agents where least else is in the way.
    fn cause(
        &self,
        now: Now,
        framework: &Framework,
        role: &str,
        (name, agents): (&'static str, &[(Reason, &Agent)]),
        series: Option<&Series>,
    ) -> (u8, Cause) {
        let asked = agents.iter().take(ASKED_MAX);
        let besides = asked.map(|(reason, agent)| {
            (self.besides(framework.key, role, agent.key, *reason), *reason, *agent)
        });
        let Some((besides, reason, agent)) = besides.min_by_key(|(besides, ..)| besides.len())
        else {
            unreachable!("a reason is somewhere");
        };
        let about = About { now, framework, role, agent };
        let advice = std::iter::once(&reason).chain(&besides).map(|r| self.advice(&about, *r));
        let cause = Cause {
            reason: name,
            agents: agents.len(),
            example: agent.id.clone(),
            message: self.in_words(&about, reason),
            advice: advice.collect::<Vec<_>>().join("; besides, "),
            besides: besides.iter().map(|r| describe(*r).0).collect(),
            since: self.since(&about, reason, agents.len(), series),
        };
        (rank(reason), cause)
    }

    /// What would be in the way of a framework on an agent if a reason were not.
    fn besides(
        &self,
        framework: FrameworkId,
        role: &str,
        agent: AgentId,
        reason: Reason,
    ) -> Vec<Reason> {
        let first = match reason {
            Reason::BackedOff { .. } => Reason::Taken,
            reason => reason,
        };
        let mut all = vec![first];
        loop {
            let next = self.allocator.why_without(framework, role, agent, &all);
            if next == Reason::Next || all.contains(&next) {
                return all.split_off(1);
            }
            all.push(next);
        }
    }

    /// Since when a reason is in the way: never before the framework subscribed or had its last offer.
    fn since(
        &self,
        about: &About<'_>,
        reason: Reason,
        agents: usize,
        series: Option<&Series>,
    ) -> Option<WallTime> {
        let About { now, framework, role, agent } = *about;
        if reason == Reason::Next {
            return None;
        }
        if reason == Reason::Inactive {
            return framework.disconnected;
        }
        let wall = |at: Time| {
            let ago = u64::try_from(now.mono.since(at).as_nanos()).unwrap_or(u64::MAX);
            WallTime(now.wall.0.saturating_sub(ago))
        };
        let offer = match reason {
            Reason::Taken => self.taking(framework, role, agent),
            Reason::Overlap => self.soft_offers(agent).into_iter().next(),
            _ => None,
        };
        let own = offer.map(|offer| wall(offer.made));
        let subscribed = (!framework.recovered).then_some(framework.reregistered);
        let offered = series.and_then(Series::last_used);
        let offered = offered.filter(|_| own.is_none() || agents > 1);
        let known = series.and_then(|s| s.since(describe(reason).0, agents));
        let known = known.filter(|_| own.is_none());
        [own, subscribed, offered, known].into_iter().flatten().max()
    }
}
