//! Offer constraints, predicate by predicate (spec/master.md 4.6; section 8, offer constraints).

use super::*;

fn attribute(name: &str, kind: &str, value: serde_json::Value) -> wire::v1::Attribute {
    let field = kind.to_lowercase();
    let json = serde_json::json!({"name": name, "type": kind, field: {"value": value}});
    wire::json::from_value(&json).expect("an attribute")
}

fn text(name: &str, value: &str) -> wire::v1::Attribute {
    attribute(name, "TEXT", value.into())
}

/// Whether an agent with these attributes is offered for role `a`.
#[track_caller]
fn offered(groups: &serde_json::Value, attributes: &[wire::v1::Attribute]) -> bool {
    let json = serde_json::json!({"role_constraints": {"a": {"groups": groups}}});
    let constraints = wire::json::from_value(&json).expect("constraints");
    let constraints = allocator::validate_constraints(&constraints).expect("valid constraints");
    let mut c = cluster();
    let options =
        FrameworkOptions { roles: set(&["a", "b"]), constraints, ..FrameworkOptions::default() };
    c.allocator.add_framework(FrameworkId(1), options, true);
    c.allocator.suppress(FrameworkId(1), &set(&["b"]));
    let agent = AgentOptions { attributes: attributes.to_vec(), ..super::options(1) };
    c.allocator.add_agent(AgentId(1), agent, resources("cpus:1;mem:64"), &BTreeMap::new());
    !c.run().is_empty()
}

fn one(predicate: &str, value: serde_json::Value) -> serde_json::Value {
    serde_json::json!({"selector": {"attribute_name": "rack"}, "predicate": {predicate: value}})
}

fn group(constraints: &[serde_json::Value]) -> serde_json::Value {
    serde_json::json!({"attribute_constraints": constraints})
}

#[test]
fn each_predicate_on_present_absent_and_other_attributes() {
    use serde_json::json;
    let present = [text("rack", "r1")];
    let number = [attribute("rack", "SCALAR", 1.0.into())];
    // Predicate; with the text r1, without the attribute, with a number.
    let table = [
        (one("exists", json!({})), [true, false, true]),
        (one("not_exists", json!({})), [false, true, false]),
        (one("text_equals", json!({"value": "r1"})), [true, false, true]),
        (one("text_equals", json!({"value": "r2"})), [false, false, true]),
        (one("text_not_equals", json!({"value": "r1"})), [false, true, true]),
        (one("text_not_equals", json!({"value": "r2"})), [true, true, true]),
        (one("text_matches", json!({"regex": "r[0-9]"})), [true, false, true]),
        (one("text_matches", json!({"regex": "r"})), [false, false, true]),
        (one("text_not_matches", json!({"regex": "r[0-9]"})), [false, true, true]),
        (one("text_not_matches", json!({"regex": "r"})), [true, true, true]),
    ];
    for (constraint, expected) in table {
        let groups = json!([group(std::slice::from_ref(&constraint))]);
        let got = [&present[..], &[], &number].map(|attributes| offered(&groups, attributes));
        assert_eq!(got, expected, "{constraint}");
    }
}

#[test]
fn of_two_attributes_with_one_name_the_first_counts() {
    let groups =
        serde_json::json!([group(&[one("text_equals", serde_json::json!({"value": "r1"}))])]);
    assert!(offered(&groups, &[text("rack", "r1"), text("rack", "r2")]));
    assert!(!offered(&groups, &[text("rack", "r2"), text("rack", "r1")]));
}

#[test]
fn all_of_a_group_and_one_of_the_groups() {
    use serde_json::json;
    let starts = one("text_matches", json!({"regex": "r.*"}));
    let is_two = one("text_equals", json!({"value": "r2"}));
    let both = json!([group(&[starts.clone(), is_two.clone()])]);
    let either = json!([group(&[is_two]), group(&[one("not_exists", json!({}))])]);
    assert_eq!(
        (offered(&both, &[text("rack", "r2")]), offered(&both, &[text("rack", "r1")])),
        (true, false)
    );
    assert!(offered(&either, &[text("rack", "r2")]) && offered(&either, &[]));
    assert!(!offered(&either, &[text("rack", "r1")]));
}

#[test]
fn a_role_without_constraints_is_not_constrained() {
    let json = r#"{"role_constraints":{"a":{"groups":[{"attribute_constraints":[
        {"selector":{"attribute_name":"x"},"predicate":{"exists":{}}}]}]}}}"#;
    let constraints = wire::json::from_slice(json.as_bytes()).expect("constraints");
    let constraints = allocator::validate_constraints(&constraints).expect("valid");
    let mut c = cluster();
    let options =
        FrameworkOptions { roles: set(&["a", "b"]), constraints, ..FrameworkOptions::default() };
    c.allocator.add_framework(FrameworkId(1), options, true);
    c.agent(1, "cpus:1;mem:64");
    assert_eq!(c.run(), ["1 b 1 cpus:1; mem:64"]);
    assert!(allocator::validate_constraints(&Default::default()).is_ok(), "none is no constraint");
}

#[test]
fn a_regular_expression_that_is_too_large_is_refused() {
    let json = serde_json::json!({"role_constraints": {"a": {"groups": [group(&[
        one("text_matches", serde_json::json!({"regex": "(x{1000}){1000}"}))])]}}});
    let constraints = wire::json::from_value(&json).expect("constraints");
    let error = allocator::validate_constraints(&constraints).expect_err("too large");
    assert!(error.contains("is too complex: program size is larger than maximum of"), "{error}");
}

#[test]
fn each_role_has_constraints_of_its_own() {
    let on = |rack: &str| {
        let equals = one("text_equals", serde_json::json!({"value": rack}));
        serde_json::json!({"groups": [group(&[equals])]})
    };
    let json = serde_json::json!({"role_constraints": {"a": on("r1"), "b": on("r2")}});
    let constraints = wire::json::from_value(&json).expect("constraints");
    let constraints = allocator::validate_constraints(&constraints).expect("valid");
    let mut c = cluster();
    let options =
        FrameworkOptions { roles: set(&["a", "b"]), constraints, ..FrameworkOptions::default() };
    c.allocator.add_framework(FrameworkId(1), options, true);
    for (id, rack) in [(1, "r1"), (2, "r2"), (3, "r3")] {
        let agent = AgentOptions { attributes: vec![text("rack", rack)], ..super::options(id) };
        c.allocator.add_agent(AgentId(id), agent, resources("cpus:1;mem:64"), &BTreeMap::new());
    }
    let mut lines = c.run();
    lines.sort();
    assert_eq!(lines, ["1 a 1 cpus:1; mem:64", "1 b 2 cpus:1; mem:64"]);
}
