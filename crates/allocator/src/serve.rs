//! Serving one agent: whose turn it is, and what is left for the next.

use crate::agent::Agent;
use crate::decide::Circumstances;
use crate::decisions::Recorder;
use crate::hierarchical::Hierarchical;
use crate::limited::Mask;
use crate::overlap::{Overlap, Softs};
use crate::quota::Quotas;
use crate::refusals::Refusals;
use crate::tree::Seat;
use crate::turns::{Turn, Turns};
use crate::{AgentId, FrameworkId, Reason, Recall};
use base::{Rng, Time};
use resources::Resources;
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::time::Duration;

/// What one framework is offered on one agent.
pub(crate) struct Served {
    pub(crate) seat: Seat,
    pub(crate) resources: Resources,
    pub(crate) overlap: Overlap,
}

/// One agent while it is offered.
pub(crate) struct Serving<'a> {
    policy: &'a Hierarchical,
    id: AgentId,
    agent: &'a Agent,
    is_first_stage: bool,
    /// What is served here counts for quota at once; the other books follow when all is served.
    quotas: &'a mut Quotas,
    /// What is left of what was free; None: all of it.
    left: Option<Resources>,
    refusals: Refusals<'a>,
    softs: Cow<'a, Softs>,
    /// Those of what is left that count for quota, if there is nothing else to it.
    scalars: Option<Mask>,
    pub(crate) served: Vec<Served>,
    /// All that is free is enough for an offer, unless somebody wants more.
    pub(crate) has_enough: bool,
    /// Quota kept something from somebody.
    pub(crate) is_held_back: bool,
    /// Nobody is overdue.
    pub(crate) is_settled: bool,
    /// Everybody who wants something of the agent had a turn.
    pub(crate) is_round_over: bool,
    /// Somebody whose turn it is would be offered what is out softly, if it were not.
    is_awaited: bool,
    recorder: &'a mut Recorder,
    /// What is wanted back of the agent, without what those who want it got here.
    recall: Option<Recall>,
}

impl<'a> Serving<'a> {
    #[inline]
    pub(crate) fn new(
        policy: &'a Hierarchical,
        id: AgentId,
        agent: &'a Agent,
        quotas: &'a mut Quotas,
        is_first_stage: bool,
        recorder: &'a mut Recorder,
    ) -> Self {
        let is_simple = agent.traits.is_plain && agent.softs.is_empty() && agent.lent.is_empty();
        let scalars = quotas.scalars(&policy.tree, &agent.free).filter(|_| is_simple);
        Self {
            policy,
            id,
            agent,
            scalars,
            is_first_stage,
            quotas,
            left: None,
            refusals: Refusals::new(&agent.filters),
            softs: Cow::Borrowed(&agent.softs),
            served: Vec::new(),
            has_enough: false,
            is_held_back: false,
            is_settled: false,
            is_round_over: false,
            is_awaited: false,
            recorder,
            recall: policy.lending.recalls.get(&id).cloned(),
        }
    }

    /// Role after role, framework after framework, least share first; but who let an offer of the agent go unused comes
    /// after the others.
    pub(crate) fn serve(&mut self, now: Time, rng: &mut Rng) {
        let policy = self.policy;
        let round = self.agent.turns.since(now, policy.config.aimed_time_to_offer());
        let turn = |seat| policy.turn(&self.agent.turns, round, seat, now);
        if self.serve_overdue(now, rng, turn).is_break() {
            return;
        }
        let overdue = self.served.len();
        let mut joined: Vec<(Time, Seat, u32)> = Vec::new();
        let mut is_last_left = false;
        let is_over = self.visit(
            rng,
            |_| true,
            |serving, seat, role| match turn(seat) {
                _ if serving.served[..overdue].iter().any(|s| s.seat == seat) => {
                    ControlFlow::Continue(())
                }
                Turn::First => serving.offer(seat, role),
                Turn::Joined(at) => {
                    joined.push((at, seat, role));
                    ControlFlow::Continue(())
                }
                Turn::Had | Turn::Last => {
                    is_last_left = true;
                    ControlFlow::Continue(())
                }
            },
        );
        if is_over {
            return;
        }
        joined.sort_by_key(|(at, ..)| *at);
        for (_, seat, role) in joined {
            if self.offer(seat, role).is_break() {
                return;
            }
        }
        if is_last_left {
            self.is_round_over = !self.is_awaited && self.served.is_empty();
            self.visit(
                rng,
                |_| true,
                |serving, seat, role| match turn(seat) {
                    // Soft offers of those who had their turn end one by one; none is made anew before the last has ended.
                    Turn::Had | Turn::Last if serving.is_awaited && serving.is_soft(role) => {
                        serving.pass_over(seat, Reason::Overlap)
                    }
                    Turn::Had | Turn::Last => serving.offer(seat, role),
                    _ => ControlFlow::Continue(()),
                },
            );
        }
    }

    /// Roles below their fair share come first that were not served for long while others were.
    fn serve_overdue(
        &mut self,
        now: Time,
        rng: &mut Rng,
        turn: impl Fn(Seat) -> Turn,
    ) -> ControlFlow<()> {
        let (policy, turns) = (self.policy, &self.agent.turns);
        let since = turns.overdue(self.id, now, policy.config.aimed_time_to_offer());
        let Some(since) = since.filter(|_| !self.is_first_stage) else {
            return ControlFlow::Continue(());
        };
        let fair = policy.fair.get_or_init(|| policy.tree.fair_shares());
        let is_below = |role: u32| policy.tree.own_share(role) < fair[role as usize];
        let is_over = self.visit(rng, is_below, |serving, seat, role| {
            let joined = policy.standings[seat as usize].joined;
            let is_overdue = turns.is_overdue(seat, since, joined) && turn(seat) != Turn::Last;
            if is_overdue { serving.offer(seat, role) } else { ControlFlow::Continue(()) }
        });
        self.is_settled = self.served.is_empty();
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Visits seats of those roles in the order of the sorters until one breaks; whether one did.
    fn visit(
        &mut self,
        rng: &mut Rng,
        roles: impl Fn(u32) -> bool,
        mut visit: impl FnMut(&mut Self, Seat, u32) -> ControlFlow<()>,
    ) -> bool {
        let tree = &self.policy.tree;
        let end = tree.visit_roles(rng, &mut |role, rng| {
            if !roles(role) || self.is_first_stage && !self.quotas.lacks(tree, role) {
                return ControlFlow::Continue(());
            }
            if self.scalars.is_some_and(|all| self.quotas.is_limited(tree, role, all)) {
                self.is_held_back = true;
                if !self.is_first_stage {
                    self.recorder.note_role(role);
                }
                return ControlFlow::Continue(());
            }
            tree.visit_seats(role, rng, &mut |seat| visit(self, seat, role))
        });
        end.is_break()
    }

    /// Offers what is left, or a part of it; breaks when nothing is left then.
    fn offer(&mut self, seat: Seat, role: u32) -> ControlFlow<()> {
        let policy = self.policy;
        let free = self.left.as_ref().unwrap_or(&self.agent.free);
        let wants = &policy.wants[seat as usize];
        let refuses = |r: &Resources| self.agent.filters.refuse(seat, wants.voided, r).is_some();
        // Most refusals are of all that is free: they are found before anything is computed.
        if self.refusals.has(seat, free, &policy.wants) {
            return self.pass_over(seat, Reason::Refused { until: Time(0) });
        }
        let overlap = policy.overlaps.of(&policy.tree, role);
        let visible = self.softs.visible(seat, overlap, free);
        let framework = policy.frameworks.get(&policy.tree.framework_of(seat));
        let Some(framework) = framework else { return ControlFlow::Continue(()) };
        let awaited = self.recall.as_ref().map(|r| r.before(policy.tree.role_name(role)));
        let circumstances = Circumstances {
            is_first_stage: self.is_first_stage,
            shown: policy.overlaps.shown(seat),
            awaited: awaited.as_ref(),
            enough: self.has_enough.then_some(&self.agent.free),
            ..policy.circumstances(self.quotas)
        };
        let decide = |free: &Resources| {
            circumstances.decide(wants, &framework.options, role, self.agent, free)
        };
        let decided = if visible.is_empty() {
            let unfit = circumstances.unfit(wants, &framework.options, role, self.agent);
            Err(unfit.unwrap_or(Reason::Overlap))
        } else {
            decide(&visible)
        };
        if let Err(reason) = decided
            && reason.is_lack()
            && !self.softs.is_empty()
        {
            // What is out softly is in the way, not what is left without it.
            let is_asked = overlap.is_disjoint() || !visible.is_empty();
            let is_hidden = is_asked && decide(free).is_ok();
            self.is_awaited |= is_hidden && overlap.is_disjoint();
            if is_hidden || visible.is_empty() {
                return self.pass_over(seat, Reason::Overlap);
            }
        }
        self.is_held_back |= circumstances.holds_back(&decided, &visible);
        let resources = match decided {
            Err(reason) => return self.pass_over(seat, reason),
            Ok(None) if overlap.is_disjoint() && self.softs.is_empty() => {
                let resources = self.left.take().unwrap_or_else(|| self.agent.free.clone());
                self.give(seat, resources, overlap);
                return ControlFlow::Break(());
            }
            Ok(None) => visible.into_owned(),
            Ok(Some(resources)) => resources,
        };
        if refuses(&resources) {
            return self.pass_over(seat, Reason::Refused { until: Time(0) });
        }
        if !overlap.is_disjoint() {
            self.softs.to_mut().add(seat, &resources, 1);
            self.scalars = None;
            self.give(seat, resources, overlap);
            return ControlFlow::Continue(());
        }
        self.quotas.charge(&policy.tree, role, &resources, 1);
        self.quotas.change_free(&policy.tree, &resources, -1);
        let mut rest = free.clone();
        rest -= &resources;
        let is_over = rest.is_empty() || self.agent.traits.is_plain && policy.is_too_little(&rest);
        if self.scalars.is_some() {
            self.scalars = self.quotas.scalars(&policy.tree, &rest);
        }
        self.left = Some(rest);
        self.refusals.forget();
        self.give(seat, resources, overlap);
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn is_soft(&self, role: u32) -> bool {
        !self.policy.overlaps.of(&self.policy.tree, role).is_disjoint()
    }

    fn give(&mut self, seat: Seat, resources: Resources, overlap: Overlap) {
        self.recorder.note(seat, Reason::Next);
        if let Some(recall) = &mut self.recall {
            recall.serve(self.policy.tree.role_name(self.policy.tree.role_of(seat)), &resources);
        }
        self.served.push(Served { seat, resources, overlap });
    }

    fn pass_over(&mut self, seat: Seat, reason: Reason) -> ControlFlow<()> {
        if !self.is_first_stage {
            self.recorder.note(seat, reason);
        }
        ControlFlow::Continue(())
    }
}

impl Hierarchical {
    /// Whose turn it is on an agent whose round began at `round`.
    fn turn(&self, turns: &Turns, round: Option<Time>, seat: Seat, now: Time) -> Turn {
        let standing = &self.standings[seat as usize];
        if standing.backed_off(now).is_some() {
            return Turn::Last;
        }
        round.map_or(Turn::First, |since| turns.turn(seat, since, standing.joined))
    }

    /// Who began to compete since the last cycle, begins now; what it did before is forgotten.
    pub(crate) fn seat_joining(&mut self, now: Time) {
        let mut joining = std::mem::take(&mut self.joining);
        joining.sort_unstable();
        joining.dedup();
        for seat in &joining {
            self.standings[*seat as usize].joined = now;
        }
        if !joining.is_empty() {
            self.agents.values_mut().for_each(|agent| agent.turns.forget(&joining));
        }
    }

    /// An offer ended unused. Whether the framework comes last everywhere from now on.
    pub(crate) fn pass_turn(
        &mut self,
        now: Time,
        framework: FrameworkId,
        role: &str,
        on: AgentId,
        refuse: Option<Duration>,
    ) -> bool {
        let length = self.config.max_time_to_offer;
        if length.is_zero() {
            return false;
        }
        let seat = self.seat(framework, role);
        if let Some(agent) = self.agents.get_mut(&on) {
            agent.turns.pass(seat, now, self.config.aimed_time_to_offer());
        }
        let is_polite = refuse.is_some_and(|refuse| refuse >= length);
        !is_polite && self.standings[seat as usize].pass(now, length)
    }

    /// How many others, other roles of its own among them, could be offered what a framework is offered; none if no
    /// other framework would come before it.
    pub(crate) fn count_waiting(
        &self,
        now: Time,
        holder: FrameworkId,
        role: &str,
        on: AgentId,
        resources: &Resources,
    ) -> usize {
        let Some(agent) = self.agents.get(&on).filter(|a| a.active && !a.overcommitted) else {
            return 0;
        };
        if !self.is_listed(agent) {
            return 0;
        }
        let offered = resources.unallocated();
        let tree = &self.tree;
        let Some(own) = tree.known_role(role).and_then(|role| tree.known_seat(holder, role)) else {
            return 0;
        };
        let soft = agent.softs.without(own, &offered);
        let mut quotas = Cow::Borrowed(&self.quotas);
        if soft.is_none() && !quotas.is_empty() {
            let quotas = quotas.to_mut();
            quotas.charge(tree, tree.role_of(own), resources, -1);
            quotas.change_free(tree, &offered, 1);
        }
        let circumstances = Circumstances { ignores_loans: true, ..self.circumstances(&quotas) };
        let round = agent.turns.since(now, self.config.aimed_time_to_offer());
        let (mut waiting, mut is_before) = (0, false);
        for (seat, framework, role) in tree.competitors().filter(|(seat, ..)| *seat != own) {
            let wants = &self.wants[seat as usize];
            let refuses = |r: &Resources| agent.filters.refuse(seat, wants.voided, r).is_some();
            let Some(known) = self.frameworks.get(&framework).filter(|_| !refuses(&offered)) else {
                continue;
            };
            let overlap = self.overlaps.of(tree, role);
            // What is offered softly may be offered to several at a time.
            if soft.is_some() && !agent.softs.visible(seat, overlap, &offered).is_empty() {
                continue;
            }
            // A disjoint offer waits for all soft ones; each of them has its lease.
            let none = Softs::default();
            let others = match &soft {
                Some(_) if overlap.is_disjoint() => &none,
                Some(others) => others,
                None => &agent.softs,
            };
            let then = others.visible(seat, overlap, &offered);
            let decided = circumstances.decide(wants, &known.options, role, agent, &then);
            let Ok(part) = decided else { continue };
            if !part.is_some_and(|part| refuses(&part)) {
                waiting += 1;
                is_before |=
                    framework != holder && self.turn(&agent.turns, round, seat, now) != Turn::Last;
            }
        }
        if is_before { waiting } else { 0 }
    }
}
