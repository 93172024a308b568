//! The maintenance schedule and the machines that are down, as a value: what each change makes of them, or why it is
//! refused.

use super::machines::{Machine, check, shown};
use std::collections::{BTreeMap, BTreeSet};
use wire::v1::maintenance::Schedule;
use wire::{internal, v1};

/// What operators plan for machines. A machine with a window is DRAINING until it is brought down, and UP again
/// afterwards, without the window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Maintenance {
    schedule: Schedule,
    windows: BTreeMap<Machine, (v1::MachineId, v1::Unavailability)>,
    down: BTreeSet<Machine>,
}

impl Maintenance {
    /// The schedule as it was given, without the machines that were brought up since.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Whether a machine is down.
    #[must_use]
    pub fn is_down(&self, machine: &Machine) -> bool {
        self.down.contains(machine)
    }

    /// When a machine will be away.
    #[must_use]
    pub fn unavailability(&self, machine: &Machine) -> Option<&v1::Unavailability> {
        self.windows.get(machine).map(|(_, unavailability)| unavailability)
    }

    /// All machines of the schedule, as operators name them.
    pub fn machines(&self) -> impl Iterator<Item = (&Machine, &v1::MachineId)> {
        self.windows.iter().map(|(machine, (id, _))| (machine, id))
    }

    /// With another schedule.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn with_schedule(&self, schedule: Schedule) -> Result<Self, String> {
        let windows = windows(&schedule)?;
        for machine in &self.down {
            if let Some((id, _)) =
                self.windows.get(machine).filter(|_| !windows.contains_key(machine))
            {
                return Err(format!(
                    "{} is deactivated and cannot be removed from the schedule; bring it up, which removes it, or keep it in a window",
                    shown(id)
                ));
            }
        }
        Ok(Self { schedule, windows, down: self.down.clone() })
    }

    /// With these machines down. `is_known`: whether agents of a machine are registered.
    ///
    /// # Errors
    /// The first machine that can't be brought down.
    pub fn with_down(
        &self,
        ids: &[v1::MachineId],
        is_known: impl Fn(&Machine) -> bool,
    ) -> Result<Self, String> {
        let mut next = self.clone();
        for (id, machine) in named(ids)? {
            if !self.windows.contains_key(&machine) && !is_known(&machine) {
                return Err(format!("{}; {SCHEDULE_IT}", unscheduled(id)));
            }
            let refused =
                format!("{} is not in DRAINING mode and cannot be brought down", shown(id));
            if !self.windows.contains_key(&machine) {
                return Err(format!("{refused}; {SCHEDULE_IT}"));
            }
            if !next.down.insert(machine) {
                return Err(format!("{refused}; it is DOWN already"));
            }
        }
        Ok(next)
    }

    /// With these machines up again, and out of the schedule.
    ///
    /// # Errors
    /// The first machine that is not down.
    pub fn with_up(
        &self,
        ids: &[v1::MachineId],
        is_known: impl Fn(&Machine) -> bool,
    ) -> Result<Self, String> {
        let mut next = self.clone();
        for (id, machine) in named(ids)? {
            if !self.windows.contains_key(&machine) && !is_known(&machine) {
                return Err(unscheduled(id));
            }
            if !next.down.remove(&machine) {
                return Err(format!(
                    "{} is not in DOWN mode and cannot be brought up; to end a window before its machines are down, set a schedule without them",
                    shown(id)
                ));
            }
            next.windows.remove(&machine);
        }
        let left = &next.windows;
        for window in &mut next.schedule.windows {
            window.machine_ids.retain(|id| left.contains_key(&Machine::named(id)));
        }
        next.schedule.windows.retain(|window| !window.machine_ids.is_empty());
        Ok(next)
    }

    /// As the registry keeps it; None when there is nothing to keep.
    pub(super) fn to_registry(&self) -> Option<internal::RegistryMaintenance> {
        let down = self.windows.iter().filter(|(machine, _)| self.is_down(machine));
        let down = down.map(|(_, (id, _))| id.clone()).collect();
        let kept = internal::RegistryMaintenance { schedule: self.schedule.clone(), down };
        (!self.windows.is_empty()).then_some(kept)
    }

    pub(super) fn from_registry(kept: internal::RegistryMaintenance) -> Result<Self, String> {
        let planned = Self::default().with_schedule(kept.schedule)?;
        if kept.down.is_empty() { Ok(planned) } else { planned.with_down(&kept.down, |_| false) }
    }
}

const SCHEDULE_IT: &str = "give it a window with UPDATE_MAINTENANCE_SCHEDULE first";

fn unscheduled(id: &v1::MachineId) -> String {
    format!("{} is not part of a maintenance schedule", shown(id))
}

fn twice(id: &v1::MachineId) -> String {
    format!("{} appears more than once in the schedule", shown(id))
}

/// Windows by machine.
fn windows(
    schedule: &Schedule,
) -> Result<BTreeMap<Machine, (v1::MachineId, v1::Unavailability)>, String> {
    let mut windows = BTreeMap::new();
    for window in &schedule.windows {
        if window.machine_ids.is_empty() {
            return Err("List of machines in the maintenance window is empty".to_owned());
        }
        if window.unavailability.duration.is_some_and(|d| d.nanoseconds < 0) {
            return Err("Unavailability 'duration' is negative".to_owned());
        }
        for id in &window.machine_ids {
            check(id)?;
            let entry = (id.clone(), window.unavailability);
            if windows.insert(Machine::named(id), entry).is_some() {
                return Err(twice(id));
            }
        }
    }
    Ok(windows)
}

/// The machines of a list.
fn named(ids: &[v1::MachineId]) -> Result<Vec<(&v1::MachineId, Machine)>, String> {
    if ids.is_empty() {
        return Err("List of machines is empty".to_owned());
    }
    let mut seen = BTreeSet::new();
    for id in ids {
        check(id)?;
        if !seen.insert(Machine::named(id)) {
            return Err(twice(id));
        }
    }
    Ok(ids.iter().map(|id| (id, Machine::named(id))).collect())
}
