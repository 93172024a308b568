//! Offer constraints: which agents a role of a framework wants offers from (spec/master.md 4.6).

use crate::AgentOptions;
use regex::{Regex, RegexBuilder};
use std::collections::BTreeMap;
use wire::v1;
use wire::v1::scheduler::attribute_constraint::{Predicate, Selector, predicate, selector};
use wire::v1::scheduler::{AttributeConstraint, OfferConstraints};

/// Largest compiled regular expression, in bytes.
const REGEX_SIZE_MAX: usize = 1 << 20;

/// Constraints that were checked, with their regular expressions compiled.
#[derive(Debug, Clone, Default)]
pub struct Constraints {
    /// Role to groups (any of) of constraints (all of).
    roles: BTreeMap<String, Vec<Vec<(Selector, Test)>>>,
}

#[derive(Debug, Clone)]
enum Test {
    Exists,
    NotExists,
    Equals(String),
    NotEquals(String),
    Matches(Regex),
    NotMatches(Regex),
}

/// Checks and compiles constraints.
///
/// # Errors
/// What is wrong, in the peer's words.
pub fn validate_constraints(constraints: &OfferConstraints) -> Result<Constraints, String> {
    let mut roles = BTreeMap::new();
    for (role, of_role) in &constraints.role_constraints {
        if of_role.groups.is_empty() {
            return Err(format!(
                "'OfferConstraints::role_constraints' has an empty 'RoleConstraints::groups' for role {role}"
            ));
        }
        let mut groups = Vec::new();
        for group in &of_role.groups {
            if group.attribute_constraints.is_empty() {
                return Err(format!(
                    "'OfferConstraints::role_constraints' has an empty 'RoleConstraints::Group::attribute_constraints' for role {role}"
                ));
            }
            let tests: Result<Vec<_>, String> =
                group.attribute_constraints.iter().map(compile).collect();
            groups.push(tests.map_err(|why| {
                format!("A role {role} has an invalid 'AttributeConstraint': {why}")
            })?);
        }
        roles.insert(role.clone(), groups);
    }
    Ok(Constraints { roles })
}

fn compile(constraint: &AttributeConstraint) -> Result<(Selector, Test), String> {
    let one = "Exactly one of 'AttributeConstraint::Selector::name' or 'AttributeConstraint::Selector::pseudoattribute_type' must be set";
    let selector = constraint.selector.clone();
    match &selector.selector {
        None => return Err(one.to_owned()),
        Some(selector::Selector::PseudoattributeType(kind)) => {
            let known = selector::PseudoattributeType::try_from(*kind);
            if !known.is_ok_and(|k| k != selector::PseudoattributeType::Unknown) {
                return Err("Unknown pseudoattribute type".to_owned());
            }
        }
        Some(selector::Selector::AttributeName(_)) => {}
    }
    let Predicate { predicate } = constraint.predicate.clone();
    let test = match predicate {
        None => return Err("Unknown predicate type".to_owned()),
        Some(predicate::Predicate::Exists(_)) => Test::Exists,
        Some(predicate::Predicate::NotExists(_)) => Test::NotExists,
        Some(predicate::Predicate::TextEquals(p)) => Test::Equals(p.value),
        Some(predicate::Predicate::TextNotEquals(p)) => Test::NotEquals(p.value),
        Some(predicate::Predicate::TextMatches(p)) => Test::Matches(regex(&p.regex)?),
        Some(predicate::Predicate::TextNotMatches(p)) => Test::NotMatches(regex(&p.regex)?),
    };
    Ok((selector, test))
}

/// The whole text must match.
fn regex(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(REGEX_SIZE_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => format!(
            "Regex '{pattern}' is too complex: program size is larger than maximum of {limit} allowed"
        ),
        other => format!("Failed to construct regex from pattern '{pattern}': {other}"),
    })
}

impl Constraints {
    /// Whether a role wants offers from an agent; roles without constraints want all.
    #[must_use]
    pub fn allow(&self, role: &str, agent: &AgentOptions) -> bool {
        let Some(groups) = self.roles.get(role) else { return true };
        groups.iter().any(|group| group.iter().all(|(selector, test)| holds(selector, test, agent)))
    }

    /// Roles that have constraints.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }
}

/// What a selector finds on an agent.
enum Found<'a> {
    Nothing,
    Text(&'a str),
    /// An attribute that is not a text: it satisfies every test of text.
    Other,
}

fn holds(selector: &Selector, test: &Test, agent: &AgentOptions) -> bool {
    let found = find(selector, agent);
    match (test, found) {
        (Test::Exists, found) => !matches!(found, Found::Nothing),
        (Test::NotExists, found) => matches!(found, Found::Nothing),
        (_, Found::Other) => true,
        (Test::Equals(_) | Test::Matches(_), Found::Nothing) => false,
        (Test::NotEquals(_) | Test::NotMatches(_), Found::Nothing) => true,
        (Test::Equals(value), Found::Text(text)) => text == value,
        (Test::NotEquals(value), Found::Text(text)) => text != value,
        (Test::Matches(regex), Found::Text(text)) => regex.is_match(text),
        (Test::NotMatches(regex), Found::Text(text)) => !regex.is_match(text),
    }
}

fn find<'a>(selector: &Selector, agent: &'a AgentOptions) -> Found<'a> {
    use selector::PseudoattributeType::{Hostname, Region, Unknown, Zone};
    let fault_domain = agent.domain.as_ref().and_then(|d| d.fault_domain.as_ref());
    let text = |found: Option<&'a str>| found.map_or(Found::Nothing, Found::Text);
    match &selector.selector {
        Some(selector::Selector::PseudoattributeType(kind)) => {
            match selector::PseudoattributeType::try_from(*kind).unwrap_or(Unknown) {
                Hostname => Found::Text(&agent.hostname),
                Region => text(fault_domain.map(|d| d.region.name.as_str())),
                Zone => text(fault_domain.map(|d| d.zone.name.as_str())),
                Unknown => Found::Nothing,
            }
        }
        Some(selector::Selector::AttributeName(name)) => {
            match agent.attributes.iter().find(|a: &&v1::Attribute| a.name == *name) {
                None => Found::Nothing,
                Some(attribute) => {
                    attribute.text.as_ref().map_or(Found::Other, |t| Found::Text(&t.value))
                }
            }
        }
        None => Found::Nothing,
    }
}
