//! No role is offered more than its limits allow, with everything below it.

use super::guarantees::consumed;
use master_core::State;
use resources::to_milli;
use std::collections::BTreeMap;

/// Looks at the offers that were made at `now`, the time of the master's last step. What runs already may be more than
/// a limit that was forced, or that a returning agent's tasks exceed; then nothing more is offered.
///
/// # Errors
/// The first offer beyond a limit.
pub fn check(state: &State, now: base::Time) -> Result<(), String> {
    let frameworks = state.frameworks.values();
    let offers = frameworks.flat_map(|f| f.offers.values()).filter(|o| o.made == now && !o.soft);
    let mut known: BTreeMap<(String, String), i64> = BTreeMap::new();
    for offer in offers {
        let roles = std::iter::once(offer.role.as_str()).chain(resources::ancestors(&offer.role));
        for role in roles {
            let Some(quota) = state.quotas.get(role) else { continue };
            for (name, limit) in &quota.limits {
                let charged = offer.resources.filter(|e| e.is_quota_charged());
                let limit = to_milli(limit.value);
                if charged.scalar(name) == 0 {
                    continue;
                }
                let used = *known
                    .entry((role.to_owned(), name.clone()))
                    .or_insert_with(|| consumed(state, role, name));
                if used > limit {
                    let id = &offer.id;
                    return Err(format!(
                        "with offer {id} role {role} has {used} milli-{name}, its limit is {limit}"
                    ));
                }
            }
        }
    }
    Ok(())
}
