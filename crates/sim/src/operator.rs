//! An operator who promises parts of the cluster to roles, limits and weighs them, and changes their mind.

use base::Rng;
use master_core::ShareConfig;
use master_core::contract::OperatorCall;
use master_core::schedule::Schedule;
use wire::v1;

/// Roles of frameworks, one above them, and one that nobody has.
const ROLES: [&str; 4] = ["a", "b", "a/c", "idle"];

/// What the operator asks for next.
pub(crate) fn next(rng: &mut Rng) -> OperatorCall {
    let role = ROLES[rng.below(4) as usize].to_owned();
    match rng.below(5) {
        0 => {
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let weight = (1 + rng.below(5)) as f64;
            OperatorCall::UpdateWeights { infos: vec![v1::WeightInfo { role: Some(role), weight }] }
        }
        1 | 2 => quota(role, rng),
        _ => share(role, rng),
    }
}

/// Guarantees within limits, one of them, or neither.
fn quota(role: String, rng: &mut Rng) -> OperatorCall {
    let mut config = v1::quota::QuotaConfig { role, ..Default::default() };
    for (name, most) in [("cpus", 12), ("mem", 12_000)] {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let mut some = |most: u64| v1::value::Scalar { value: rng.below(most + 1) as f64 };
        let limit = some(most);
        let guarantee = some(most / 4);
        if rng.chance(1, 2) {
            config.limits.insert(name.to_owned(), limit);
        }
        if rng.chance(1, 2) && guarantee.value <= limit.value {
            config.guarantees.insert(name.to_owned(), guarantee);
        }
    }
    OperatorCall::UpdateQuota { force: rng.chance(1, 4), configs: vec![config] }
}

fn share(role: String, rng: &mut Rng) -> OperatorCall {
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
