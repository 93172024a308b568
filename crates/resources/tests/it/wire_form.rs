//! Formats before and after reservation refinement.

use resources::Resources;
use serde_json::json;

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

fn labelled(labels: &[(&str, &str)], cpus: f64) -> wire::v1::Resource {
    let labels: Vec<_> = labels.iter().map(|(k, v)| json!({"key": k, "value": v})).collect();
    let reservation = json!({"type": "DYNAMIC", "role": "web", "labels": {"labels": labels}});
    let resource = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus},
        "reservations": [reservation]});
    wire::json::from_value(&resource).expect("a resource")
}

#[test]
fn the_order_of_labels_does_not_matter() {
    let of = |labels: &[(&str, &str)]| Resources::from_wire(&[labelled(labels, 1.0)]).expect("it");
    let one = of(&[("a", "1"), ("b", "2"), ("c", "3")]);
    assert_eq!(one, of(&[("c", "3"), ("a", "1"), ("b", "2")]));
    for other in [
        of(&[("a", "1"), ("b", "2")]),
        of(&[("a", "1"), ("c", "3"), ("c", "3")]),
        of(&[("a", "1"), ("b", "2"), ("c", "4")]),
    ] {
        assert!(!one.contains(&other) && !other.contains(&one), "{other}");
    }
    // Where there are many, they are looked for in another way.
    let many = |turned: bool| -> Resources {
        let each = (0..100).map(|i| {
            let key = format!("key{i}");
            let mut labels = [("a", "1"), (key.as_str(), "2")];
            if turned {
                labels.reverse();
            }
            labelled(&labels, 1.0)
        });
        Resources::from_wire(&each.collect::<Vec<_>>()).expect("resources")
    };
    assert_eq!(many(false), many(true));
    let mut rest = many(false);
    rest -= &many(true);
    assert!(rest.is_empty(), "{rest}");
}

#[test]
fn labels_without_end_are_refused_in_few_words() {
    let long = "x".repeat(65_500);
    let check = |resource: wire::v1::Resource| Resources::validate(&[resource]);
    assert_eq!(check(labelled(&[("key", &long)], 1.0)), Ok(()));
    let longer = "x".repeat(70_000);
    let mut old = labelled(&[("key", &longer)], 1.0);
    let error = check(old.clone()).expect_err("too long").to_string();
    assert!(
        error.len() < 1_300
            && error.ends_with("labels and principals have 70005 bytes, expected at most 65536"),
        "{error}"
    );
    let reservation = old.reservations.remove(0);
    old.role.clone_from(&reservation.role);
    old.reservation =
        Some(wire::v1::resource::ReservationInfo { r#type: None, role: None, ..reservation });
    assert!(check(old).is_err(), "in the older format as well");
}
