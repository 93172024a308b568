//! Who uses revocable resources on an agent, and who of them has to go when some are wanted back.
//!
//! Each task that uses some goes alone, whatever runs beside it in its group or executor. An executor that holds some
//! itself goes with all its tasks: what it uses, they use.

use crate::lending::revocable;
use crate::master::Master;
use crate::quota::Amounts;
use crate::recall::Notice;
use crate::state::{Framework, Task};
use allocator::{AgentId, FrameworkId};
use resources::Resources;
use std::collections::BTreeSet;

/// What ends as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) framework: FrameworkId,
    /// When it was started, in seconds.
    started: f64,
    pub(crate) tasks: Vec<String>,
    pub(crate) executor: Option<String>,
    /// What comes back when it ends.
    amounts: Amounts,
}

pub(crate) fn uses_revocable(resources: &Resources) -> bool {
    resources.iter().any(|e| e.identity.revocable)
}

pub(crate) fn take(from: &mut Amounts, amounts: &Amounts) {
    for (name, milli) in from.iter_mut() {
        *milli -= amounts.get(name).copied().unwrap_or(0);
    }
    from.retain(|_, milli| *milli > 0);
}

pub(crate) fn helps(wanted: &Amounts, amounts: &Amounts) -> bool {
    wanted.keys().any(|name| amounts.contains_key(name))
}

/// The youngest that give back what is wanted, no more than are needed for it; all that help if they are not enough.
pub(crate) fn choose(wanted: &Amounts, mut units: Vec<Unit>) -> Vec<Unit> {
    units.sort_by(|a, b| b.started.total_cmp(&a.started).then_with(|| b.tasks.cmp(&a.tasks)));
    let suffices = |chosen: &[Unit]| {
        let mut missing = wanted.clone();
        chosen.iter().for_each(|unit| take(&mut missing, &unit.amounts));
        missing.is_empty()
    };
    if let Some(one) = units.iter().find(|unit| suffices(std::slice::from_ref(unit))) {
        return vec![one.clone()];
    }
    let mut chosen: Vec<Unit> = Vec::new();
    let mut missing = wanted.clone();
    for unit in units {
        if helps(&missing, &unit.amounts) {
            take(&mut missing, &unit.amounts);
            chosen.push(unit);
        }
    }
    // What came later may have made an earlier one needless.
    let mut at = chosen.len();
    while missing.is_empty() && at > 0 {
        at -= 1;
        let unit = chosen.remove(at);
        if !suffices(&chosen) {
            chosen.insert(at, unit);
        }
    }
    chosen
}

impl Master {
    /// Who could give back something of this on an agent, and was not told yet.
    pub(crate) fn units(&self, agent: AgentId, wanted: &Amounts) -> Vec<Unit> {
        let notices = || self.notices.values().filter(|n| n.agent == agent);
        let mut units = self.borrowers(agent);
        units.retain(|unit| helps(wanted, &unit.amounts) && !notices().any(|n| n.covers(unit)));
        units
    }

    /// Those of a notice that still hold something.
    pub(crate) fn units_of(&self, notice: &Notice) -> Vec<Unit> {
        let mut units = self.borrowers(notice.agent);
        units.retain(|unit| notice.covers(unit));
        units
    }

    /// What could end on an agent to give something back.
    fn borrowers(&self, agent: AgentId) -> Vec<Unit> {
        let mut units = Vec::new();
        let Some(here) = self.agent(agent) else { return units };
        let of: BTreeSet<FrameworkId> =
            here.tasks.iter().chain(&here.executors).map(|(framework, _)| *framework).collect();
        for framework in of.iter().filter_map(|of| self.framework(*of)) {
            let tasks = here.tasks_of(framework.key).filter_map(|id| framework.tasks.get(id));
            for task in tasks.filter(|t| t.holds_resources()) {
                let executor = task.wire.executor_id.as_ref().map(|id| id.value.as_str());
                let is_whole = executor.is_some_and(|id| has_own(framework, agent, id));
                if is_whole || !uses_revocable(&task.resources) {
                    continue;
                }
                units.push(Unit {
                    framework: framework.key,
                    started: started(task),
                    tasks: vec![task.id().to_owned()],
                    executor: None,
                    amounts: revocable(&task.resources),
                });
            }
            for ((on, id), executor) in framework.executors.range((agent, String::new())..) {
                if *on != agent {
                    break;
                }
                if !has_own(framework, agent, id) {
                    continue;
                }
                let tasks: Vec<&Task> = tasks_of(framework, agent, id).collect();
                let mut all = executor.resources.clone();
                tasks.iter().for_each(|t| all += &t.resources);
                units.push(Unit {
                    framework: framework.key,
                    started: tasks.iter().map(|t| started(t)).fold(0.0, f64::max),
                    tasks: tasks.iter().map(|t| t.id().to_owned()).collect(),
                    executor: Some(id.clone()),
                    amounts: revocable(&all),
                });
            }
        }
        units
    }
}

/// When a task was started, in seconds: not yet is later than anything.
fn started(task: &Task) -> f64 {
    let first = task.wire.statuses.first().and_then(|status| status.timestamp);
    first.unwrap_or(f64::MAX)
}

/// Live tasks of an executor that is not the task's own.
pub(crate) fn tasks_of<'a>(
    framework: &'a Framework,
    agent: AgentId,
    executor: &'a str,
) -> impl Iterator<Item = &'a Task> {
    let is_of =
        move |task: &&Task| task.wire.executor_id.as_ref().is_some_and(|id| id.value == executor);
    let tasks = framework.tasks.values().map(AsRef::as_ref).filter(move |t| t.agent == agent);
    tasks.filter(|t| t.holds_resources()).filter(is_of)
}

/// Whether an executor holds revocable resources itself.
fn has_own(framework: &Framework, agent: AgentId, executor: &str) -> bool {
    let known = framework.executors.get(&(agent, executor.to_owned()));
    known.is_some_and(|e| uses_revocable(&e.resources))
}
