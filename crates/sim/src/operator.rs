//! An operator who promises parts of the cluster to roles, and takes the promises back.

use base::Rng;
use master_core::ShareConfig;
use master_core::contract::OperatorCall;
use master_core::schedule::Schedule;

/// Roles of frameworks, one above them, and one that nobody has.
const ROLES: [&str; 4] = ["a", "b", "a/c", "idle"];

/// What the operator asks for next.
pub(crate) fn next(rng: &mut Rng) -> OperatorCall {
    let role = ROLES[rng.below(4) as usize].to_owned();
    if rng.chance(1, 4) {
        return OperatorCall::RemoveShare { role };
    }
    let mut config = ShareConfig { role, ..ShareConfig::default() };
    for name in ["cpus", "mem"] {
        let milli = i64::try_from(1 + rng.below(60_000)).unwrap_or(1);
        match rng.below(3) {
            0 => config.percent.insert(name.to_owned(), milli),
            1 => config.amounts.insert(name.to_owned(), milli / 10),
            _ => None,
        };
    }
    if rng.chance(1, 2) {
        // The world begins at midnight, on a Thursday.
        let (from, minutes) = (rng.below(12), 1 + rng.below(3));
        let text = format!("thu 00:{from:02}-00:{:02} UTC", from + minutes);
        config.schedules.extend(Schedule::parse(&text));
    }
    OperatorCall::SetShare { config, force: rng.chance(1, 4) }
}
