//! Formats before and after reservation refinement.

use resources::Resources;

#[test]
fn all_three_formats_are_the_same_resources() {
    let resources = Resources::parse("cpus:2;cpus(web):1;ports:[1-5]", "*").expect("resources");
    for form in [resources.to_wire(), resources.to_wire_pre(), resources.to_wire_endpoint()] {
        assert_eq!(Resources::from_wire(&form).expect("valid"), resources);
    }
    let old: Vec<String> = resources.to_wire_pre().iter().map(wire::json::to_string).collect();
    assert_eq!(old[0], r#"{"name":"cpus","type":"SCALAR","scalar":{"value":2.0},"role":"*"}"#);
    assert_eq!(old[1], r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"role":"web"}"#);
}

#[track_caller]
fn refused(json: &str, why: &str) {
    let resource = wire::json::from_slice(json.as_bytes()).expect("a message");
    let error = Resources::validate(&[resource]).expect_err("invalid").to_string();
    assert!(error.starts_with("Resource '") && error.ends_with(why), "{error}");
    assert!(!error.contains("\"type\""), "as resources are printed: {error}");
}

#[test]
fn invalid_resources_are_refused_with_the_peers_words() {
    refused(r#"{"name":"","type":"SCALAR","scalar":{"value":1}}"#, "Empty resource name");
    refused(r#"{"name":"a","type":"SCALAR"}"#, "Invalid scalar resource");
    refused(
        r#"{"name":"a","type":"SCALAR","scalar":{"value":-1}}"#,
        "Invalid scalar resource: value <= 0",
    );
    refused(
        r#"{"name":"a","type":"SCALAR","scalar":{"value":1e-9}}"#,
        "Invalid scalar resource: value <= 0",
    );
    refused(r#"{"name":"a","type":"TEXT"}"#, "Unsupported resource type");
    refused(
        r#"{"name":"a","type":"RANGES","ranges":{"range":[{"begin":2,"end":1}]}}"#,
        "Invalid ranges resource: begin > end",
    );
    refused(
        r#"{"name":"a","type":"RANGES","ranges":{"range":[{"begin":1,"end":3},{"begin":3,"end":4}]}}"#,
        "Invalid ranges resource: overlapping ranges",
    );
    refused(
        r#"{"name":"a","type":"SET","set":{"item":["x","x"]}}"#,
        "Invalid set resource: duplicated elements",
    );
    refused(
        r#"{"name":"a","type":"SCALAR","scalar":{"value":1},"reservation":{}}"#,
        "Invalid reservation: role \"*\" cannot be dynamically reserved",
    );
    refused(
        r#"{"name":"a","type":"SCALAR","scalar":{"value":1},"reservations":[{"type":"DYNAMIC","role":"a"},{"type":"DYNAMIC","role":"b"}]}"#,
        "Invalid refined reservation: role 'b' is not a refinement of 'a'",
    );
    refused(
        r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1},"shared":{}}"#,
        "Resource cpus cannot be shared",
    );
}

#[test]
fn the_short_form_always_has_the_four_names() {
    use resources::SummaryValue::{Number, Text};
    let resources = Resources::parse("mem:5;ports:[1-2]", "*").expect("resources");
    let want =
        [("cpus", Number(0.0)), ("gpus", Number(0.0)), ("mem", Number(5.0)), ("disk", Number(0.0))];
    let mut want: Vec<_> = want.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    want.push(("ports".to_owned(), Text("[1-2]".to_owned())));
    assert_eq!(resources.summary(), want);
}
