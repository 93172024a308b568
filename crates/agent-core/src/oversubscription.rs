//! Oversubscription (spec/agent.md 7.4): what is offered beyond what there is, because not all of it is used, and what
//! happens to those who use it when the node gets too busy.

use crate::agent::{Agent, Cx, Timer};
use crate::contract::{Effect, Measured, Purpose};
use crate::preemption::uses_revocable;
use crate::state::ExecutorKind;
use base::Time;
use resources::{Entry, Milli, Resources, Value};
use std::time::Duration;
use wire::internal;
use wire::internal::agent_to_master::Message;

/// Step of an estimate: small changes of use are not worth offers that are made anew.
const STEP: Milli = 500;
/// Load averages are made anew every five seconds; to look more often shows nothing new.
const CORRECTION_MIN: Duration = Duration::from_secs(5);
/// A shorter interval measures noise.
const ESTIMATE_MIN: Duration = Duration::from_secs(1);
/// What frameworks are told, as by the peer.
const MESSAGE: &str = "Container preempted by QoS correction";

/// How much may be used beyond what there is (`--resource_estimator`).
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Estimator {
    /// Nothing.
    #[default]
    None,
    /// Always this much.
    Fixed(Resources),
    /// The cpus that are in use by tasks but not busy.
    Load,
}

/// When tasks that use revocable resources have to go (`--qos_controller`): above any of these loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadThresholds {
    /// Load average of five minutes, in thousandths.
    pub five: Option<Milli>,
    /// Load average of fifteen minutes, in thousandths.
    pub fifteen: Option<Milli>,
}

/// Settings of oversubscription.
#[derive(Debug, Clone, PartialEq)]
pub struct Oversubscription {
    /// `--resource_estimator`.
    pub estimator: Estimator,
    /// `--oversubscribed_resources_interval`.
    pub interval: Duration,
    /// `--qos_controller`.
    pub thresholds: Option<LoadThresholds>,
    /// `--qos_correction_interval_min`.
    pub correction_interval: Duration,
}

impl Default for Oversubscription {
    fn default() -> Self {
        Self {
            estimator: Estimator::None,
            interval: Duration::from_secs(15),
            thresholds: None,
            correction_interval: Duration::ZERO,
        }
    }
}

/// Busy time of all cpus when it was last looked at.
pub(crate) type Busy = (Time, Duration);

impl Agent {
    /// The agent knows what runs: it begins to look.
    pub(crate) fn begin_oversubscription(&mut self, cx: &Cx<'_>) {
        let settings = &self.config.oversubscription;
        match &settings.estimator {
            Estimator::None => {}
            Estimator::Fixed(resources) => self.oversubscribed = resources.clone(),
            Estimator::Load => self.await_estimate(cx),
        }
        self.await_correction(cx);
    }

    fn await_estimate(&mut self, cx: &Cx<'_>) {
        let interval = self.config.oversubscription.interval.max(ESTIMATE_MIN);
        self.timers.set(Timer::Estimate, cx.now.mono + interval);
    }

    fn await_correction(&mut self, cx: &Cx<'_>) {
        let settings = &self.config.oversubscription;
        if settings.thresholds.is_some() {
            let interval = settings.correction_interval.max(CORRECTION_MIN);
            self.timers.set(Timer::Correct, cx.now.mono + interval);
        }
    }

    pub(crate) fn on_measured(
        &mut self,
        cx: &mut Cx<'_>,
        purpose: Purpose,
        measured: Option<Measured>,
    ) {
        match purpose {
            Purpose::Estimate => {
                self.await_estimate(cx);
                if let Some(measured) = measured {
                    self.estimate(cx, measured.busy);
                }
            }
            Purpose::Correct => {
                self.await_correction(cx);
                if let Some(measured) = measured {
                    self.correct(cx, &measured);
                }
            }
        }
    }

    /// Cpus that live tasks and executors have, in thousandths: for good, and revocable.
    fn cpus_in_use(&self) -> (Milli, Milli) {
        let (mut firm, mut revocable) = (0, 0);
        for executor in self.state.frameworks.values().flat_map(|f| f.executors.values()) {
            let tasks = executor.tasks.values().filter(|t| !t.is_terminal());
            let mut resources: Vec<_> = tasks.flat_map(|t| t.info.resources.clone()).collect();
            // A command executor is no process of its own, so that the master does not count it either.
            let counts = executor.kind != ExecutorKind::Command;
            if counts && !executor.tasks.values().all(|task| task.is_terminal()) {
                resources.extend(executor.info.resources.clone());
            }
            let resources = Resources::from_wire(&resources).unwrap_or_default();
            firm += resources.nonrevocable().quantity("cpus");
            revocable += resources.revocable().quantity("cpus");
        }
        (firm, revocable)
    }

    /// Cpus that tasks have for good and leave idle may be used by others meanwhile.
    fn estimate(&mut self, cx: &mut Cx<'_>, busy: Duration) {
        let Some((since, before)) = self.busy.replace((cx.now.mono, busy)) else { return };
        let elapsed = cx.now.mono.since(since).as_millis().max(1);
        let busy = busy.saturating_sub(before).as_millis() * 1000 / elapsed;
        let (firm, revocable) = self.cpus_in_use();
        // Those who have revocable cpus are taken to keep them busy.
        let busy = (Milli::try_from(busy).unwrap_or(Milli::MAX) - revocable).max(0);
        let idle = (firm - busy).max(0) / STEP * STEP;
        let mut estimate = Resources::new();
        if idle > 0 {
            estimate.add(Entry::revocable_scalar("cpus", idle));
        }
        if estimate != self.oversubscribed {
            self.oversubscribed = estimate;
            self.send_oversubscribed(cx);
        }
    }

    fn send_oversubscribed(&mut self, cx: &mut Cx<'_>) {
        let Some(connection) = self.connection.filter(|_| self.state.registered) else { return };
        let update = internal::UpdateAgent { oversubscribed: self.oversubscribed.to_wire() };
        let message = Box::new(Message::UpdateAgent(update));
        cx.out.push(Effect::SendToMaster { connection, message });
    }

    fn correct(&mut self, cx: &mut Cx<'_>, measured: &Measured) {
        let Some(limits) = self.config.oversubscription.thresholds else { return };
        let over = |load: Milli, limit: Option<Milli>| limit.is_some_and(|limit| load > limit);
        if !over(measured.load_5, limits.five) && !over(measured.load_15, limits.fifteen) {
            return;
        }
        let mut victims = Vec::new();
        for (framework, known) in &self.state.frameworks {
            let executors = known.executors.iter().filter(|(_, e)| uses_revocable(e));
            victims.extend(executors.map(|(executor, _)| (framework.clone(), executor.clone())));
        }
        for (framework, executor) in victims {
            self.preempt_executor(cx, &framework, &executor, MESSAGE);
        }
    }
}

/// Scalars as revocable resources.
///
/// # Errors
/// The first resource that can't be given on loan.
pub fn as_revocable(resources: &Resources) -> Result<Resources, String> {
    let mut out = Resources::new();
    for entry in resources.iter() {
        let Value::Scalar(milli) = entry.value else {
            return Err(format!("expected scalars such as cpus:2;mem:512, got {entry}"));
        };
        if !entry.identity.reservations.is_empty() || entry.identity.disk.is_some() {
            return Err(format!("expected resources without role and disk, got {entry}"));
        }
        out.add(Entry::revocable_scalar(&entry.identity.name, milli));
    }
    Ok(out)
}
