//! What a new leader finds in the registry: what it must know, and what it can't read.

use crate::*;

type Entry = ((String, String), Vec<u8>);

fn entry(section: &str, key: &str, value: &[u8]) -> Entry {
    ((section.to_owned(), key.to_owned()), value.to_vec())
}

/// What a master does that is elected with this registry.
fn elected(registry: Vec<Entry>) -> (Master, Vec<Effect>) {
    let mut master = Master::new(config(), allocator::hierarchical(config().allocator));
    let mut out = Vec::new();
    master.step(Now::at_secs(1), Input::Elected { registry }, &mut out);
    (master, out)
}

/// Why a master does not lead with this registry.
#[track_caller]
fn refused(registry: Vec<Entry>) -> String {
    let (master, effects) = elected(registry);
    assert!(master.view().elected.is_none(), "it leads");
    match &effects[..] {
        [Effect::Abort { message }] => message.clone(),
        other => panic!("{other:?}"),
    }
}

/// The capabilities that the registry needs.
fn minimum(w: &World) -> Vec<&str> {
    let keys = w.registry.keys().filter(|(section, _)| section == "minimum_capabilities");
    keys.map(|(_, key)| key.as_str()).collect()
}

#[test]
fn it_names_what_a_master_must_know_as_long_as_that_is_needed() {
    let mut w = world();
    w.agent();
    assert!(minimum(&w).is_empty());
    let quota = |limits: Value| {
        let config = json!({"role": "web", "limits": limits});
        let configs = vec![wire::json::from_value(&config).expect("a config")];
        OperatorCall::UpdateQuota { force: true, configs }
    };
    assert_eq!(w.operator(quota(json!({"cpus": {"value": 1.0}}))).0, 200);
    assert_eq!(minimum(&w), ["QUOTA_V2"]);
    let away = OperatorCall::DeactivateAgent { agent_id: "m-S0".into() };
    assert_eq!(w.operator(away).0, 200);
    assert_eq!(minimum(&w), ["AGENT_DRAINING", "QUOTA_V2"]);

    // The next leader goes on with it.
    let kept: Vec<Entry> = w.registry.clone().into_iter().collect();
    let mut next = world_with(config(), kept);
    assert_eq!(next.operator(quota(json!({}))).0, 200);
    assert_eq!(minimum(&next), ["AGENT_DRAINING"]);

    let back = OperatorCall::ReactivateAgent { agent_id: "m-S0".into() };
    assert_eq!(w.operator(back).0, 200);
    assert_eq!(minimum(&w), ["QUOTA_V2"]);
}

#[test]
fn a_registry_of_before_minimum_capabilities_gets_them_at_once() {
    let mut w = world();
    let config_of = json!({"role": "web", "limits": {"cpus": {"value": 1.0}}});
    let configs = vec![wire::json::from_value(&config_of).expect("a config")];
    assert_eq!(w.operator(OperatorCall::UpdateQuota { force: true, configs }).0, 200);
    w.registry.remove(&("minimum_capabilities".to_owned(), "QUOTA_V2".to_owned()));
    let next = world_with(config(), w.registry.into_iter().collect());
    assert_eq!(minimum(&next), ["QUOTA_V2"]);
}

#[test]
fn a_master_that_lacks_a_capability_does_not_lead() {
    let why = refused(vec![
        // What it can't read is no reason: it may be of the newer version.
        entry("agents", "m-S0", b"garbage"),
        entry("minimum_capabilities", "QUOTA_V2", b""),
        entry("minimum_capabilities", "QUOTA_V3", b""),
    ]);
    assert!(
        why.contains("needs the capability QUOTA_V3, which this master does not have"),
        "{why}"
    );
}

#[test]
fn a_damaged_entry_is_named_and_nobody_leads_without_it() {
    for section in [
        "agents",
        "unreachable",
        "gone",
        "deactivated",
        "maintenance",
        "quota",
        "weights",
        "shares",
        "offer_overlap",
    ] {
        let why = refused(vec![entry(section, "x", b"\xff\xff\xff garbage")]);
        let named = format!("the entry {section}/x of the registry is not understood: ");
        assert!(why.starts_with(&named), "{why}");
        assert!(why.ends_with("restore a copy of the registry, or remove this entry"), "{why}");
    }
}

#[test]
fn what_newer_versions_keep_besides_is_left_as_it_is() {
    let (master, effects) = elected(vec![entry("colours", "x", b"?"), entry("tides", "y", b"")]);
    assert!(master.view().elected.is_some());
    let [Effect::Log { text }] = &effects[..] else { panic!("{effects:?}") };
    assert!(text.ends_with("are left as they are: colours, tides"), "{text}");
}
