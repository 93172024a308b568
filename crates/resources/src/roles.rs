//! Role names (spec/master.md 4.1).

use crate::ResourceError;

/// Most components of a role's name.
const LEVELS_MAX: usize = 128;
/// Most bytes of a role's name.
const LENGTH_MAX: usize = 4096;

/// Checks a role's name.
///
/// # Errors
/// The rule that it breaks.
pub fn validate_role(role: &str) -> Result<(), ResourceError> {
    let refuse = |text: String| Err(ResourceError(text));
    if role == "*" {
        return Ok(());
    }
    if role.is_empty() {
        return refuse("Role names cannot be the empty string".to_owned());
    }
    // Each level costs something wherever the role is looked at.
    let levels = role.split('/').count();
    if levels > LEVELS_MAX || role.len() > LENGTH_MAX {
        let begin: String = role.chars().take(40).collect();
        return refuse(format!(
            "Role '{begin}…' is too long: it has {levels} levels and {} bytes, expected at most {LEVELS_MAX} and {LENGTH_MAX}",
            role.len()
        ));
    }
    if role.starts_with('/') {
        return refuse(format!("Role '{role}' cannot start with a slash"));
    }
    if role.ends_with('/') {
        return refuse(format!("Role '{role}' cannot end with a slash"));
    }
    for component in role.split('/') {
        if component.is_empty() {
            return refuse(format!("Role '{role}' cannot contain two adjacent slashes"));
        }
        if matches!(component, "." | ".." | "*") {
            return refuse(format!("Role '{role}' cannot include '{component}' as a component"));
        }
        if component.starts_with('-') {
            return refuse(format!(
                "Role component '{component}' is invalid because it starts with a dash"
            ));
        }
        if component.bytes().any(|b| matches!(b, 0x09..=0x0D | 0x20 | 0x7F)) {
            return refuse(format!(
                "Role component '{component}' is invalid because it contains backspace or whitespace"
            ));
        }
    }
    Ok(())
}

/// Whether `role` is `ancestor` or lies below it.
#[must_use]
pub fn is_descendant_or_self(role: &str, ancestor: &str) -> bool {
    role.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The roles above `role`, nearest first.
pub fn ancestors(role: &str) -> impl Iterator<Item = &str> {
    role.rmatch_indices('/').map(|(at, _)| &role[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_without_end_are_refused_in_few_words() {
        let deep = |levels: usize| vec!["a"; levels].join("/");
        assert_eq!(validate_role(&deep(128)), Ok(()));
        for role in [deep(129), deep(100_000), "ü".repeat(3000)] {
            let error = validate_role(&role).expect_err("too long").to_string();
            assert!(error.contains("is too long: it has") && error.len() < 250, "{error}");
        }
    }
}
