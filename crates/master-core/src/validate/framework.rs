//! FrameworkInfo, at subscription and update.

use super::ids;
use crate::state::roles_of;
use resources::validate_role;
use std::collections::BTreeSet;
use wire::v1;
use wire::v1::framework_info::capability::Type;
use wire::v1::scheduler::OfferConstraints;

/// Rules that need nothing else.
pub(crate) fn check(info: &v1::FrameworkInfo) -> Result<(), String> {
    check_roles(info)?;
    if let Some(id) = info.id.as_ref().filter(|id| !id.value.is_empty()) {
        ids::check(&id.value)?;
    }
    for filters in info.offer_filters.values() {
        for quantities in filters.min_allocatable_resources.iter().flat_map(|m| &m.quantities) {
            if quantities.quantities.is_empty() {
                return Err("Resource quantities must contain at least one quantity".to_owned());
            }
            for (name, scalar) in &quantities.quantities {
                if !scalar.value.is_finite() || scalar.value < 0.0 || scalar.value.is_subnormal() {
                    return Err(format!(
                        "Invalid resource quantity for '{name}': {}",
                        scalar.value
                    ));
                }
            }
        }
    }
    let timeout = info.failover_timeout();
    if !timeout.is_finite() || timeout.abs() > 9.2e9 {
        return Err(format!("The framework failover_timeout ({timeout}) is invalid"));
    }
    Ok(())
}

fn check_roles(info: &v1::FrameworkInfo) -> Result<(), String> {
    let multi = info.capabilities.iter().any(|c| c.r#type() == Type::MultiRole);
    if !multi {
        if !info.roles.is_empty() {
            return Err("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".to_owned());
        }
        return validate_role(info.role())
            .map_err(|e| format!("'FrameworkInfo.role' is not a valid role: {e}"));
    }
    if info.role.is_some() {
        return Err(
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
                .to_owned(),
        );
    }
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<&str> =
        info.roles.iter().filter(|r| !seen.insert(*r)).map(String::as_str).collect();
    if !twice.is_empty() {
        let twice: Vec<&str> = twice.into_iter().collect();
        return Err(format!(
            "'FrameworkInfo.roles' contains duplicate items: {{{}}}",
            twice.join(", ")
        ));
    }
    info.roles
        .iter()
        .try_for_each(|role| validate_role(role))
        .map_err(|e| format!("'FrameworkInfo.roles' contains invalid role: {e}"))
}

/// Suppressed roles and constraints must be of roles that are subscribed to.
pub(crate) fn check_roles_of_subscription(
    info: &v1::FrameworkInfo,
    suppressed: &BTreeSet<String>,
    constraints: Option<&OfferConstraints>,
) -> Result<(), String> {
    let roles = roles_of(info);
    if !suppressed.is_subset(&roles) {
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        return Err(format!(
            "Suppressed roles {{{}}} are not contained in the set of roles {{{}}}",
            list(suppressed),
            list(&roles)
        ));
    }
    let Some(constraints) = constraints else { return Ok(()) };
    if let Some(role) = constraints.role_constraints.keys().find(|role| !roles.contains(*role)) {
        return Err(format!(
            "Offer constraints specify `role_constraints` for a role '{role}'not contained in the set of roles"
        ));
    }
    allocator::validate_constraints(constraints)
        .map(|_| ())
        .map_err(|e| format!("Offer constraints are not valid: {e}"))
}

/// What an update may not change.
pub(crate) fn check_update(old: &v1::FrameworkInfo, new: &v1::FrameworkInfo) -> Result<(), String> {
    if old.principal != new.principal {
        return Err("Changing framework's principal is not allowed.".to_owned());
    }
    if old.user != new.user {
        return Err(format!(
            "Updating 'FrameworkInfo.user' is unsupported; attempted to update from '{}' to '{}'",
            old.user, new.user
        ));
    }
    if old.checkpoint() != new.checkpoint() {
        return Err(format!(
            "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '{}' to '{}'",
            old.checkpoint(),
            new.checkpoint()
        ));
    }
    Ok(())
}
