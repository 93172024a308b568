//! Flags of isolation: which isolators, which launcher, and what cgroups are to do.

use crate::flags::Flags;
use agent::isolation::cgroups::{Options, PidsLimit};
use agent::isolation::{Launcher, Selection};
use agent_core::Limitable;
use wire::v1;

pub(crate) fn selection(flags: &Flags) -> Result<Selection, String> {
    let launcher = match flags.text("launcher") {
        None => None,
        Some("posix") => Some(Launcher::Posix),
        Some("linux") => Some(Launcher::Linux),
        Some(other) => return Err(format!("--launcher: expected posix or linux, got '{other}'")),
    };
    let pids_limit = PidsLimit::parse(flags.text("cgroups_pids_limit").unwrap_or_default())
        .map_err(|e| format!("--cgroups_pids_limit: {e}"))?;
    let allowed = flags.message::<v1::DeviceWhitelist>("allowed_devices")?.unwrap_or_default();
    let options = Options {
        hierarchy: flags.text("cgroups_hierarchy").unwrap_or_default().into(),
        root: flags.text("cgroups_root").unwrap_or_default().to_owned(),
        enable_cfs: flags.is_set("cgroups_enable_cfs"),
        limit_swap: flags.is_set("cgroups_limit_swap"),
        count_threads: flags.is_set("cgroups_cpu_enable_pids_and_tids_count"),
        revocable_cpu_low_priority: flags.is_set("revocable_cpu_low_priority"),
        pids_limit,
        allowed_devices: allowed.allowed_devices,
        destroy_timeout: flags.duration("cgroups_destroy_timeout")?,
    };
    let isolation = flags.text("isolation").unwrap_or_default();
    let selection = Selection::new(isolation, launcher, options);
    selection.map_err(|e| format!("--isolation: {e}"))
}

/// What of tasks' limits these isolators enforce.
pub(crate) fn limitable(selection: &Selection) -> Limitable {
    Limitable {
        cpus: selection.has("cgroups/cpu"),
        mem: selection.has("cgroups/mem"),
        cpus_by_request: selection.cgroups().enable_cfs,
    }
}
