//! Text forms, printed forms, roles, attributes.

use resources::{Quantities, Resources, parse_attributes, validate_role};

#[track_caller]
fn prints(text: &str, printed: &str) {
    assert_eq!(Resources::parse(text, "*").expect("resources").to_string(), printed);
}

#[test]
fn resources_print_in_the_peers_form() {
    prints("cpus:4;mem:4096;ports:[31000-32000]", "cpus:4; mem:4096; ports:[31000-32000]");
    prints("cpus:1.5; cpus:0.25;ports:[1-2,3-4, 9-9]", "cpus:1.75; ports:[1-4, 9-9]");
    prints("cpus(web):2;x:{b,a}", "cpus(reservations: [(STATIC,web)]):2; x:{a, b}");
    prints("cpus:0", "{}");
    prints("", "{}");
    prints(r#"[{"name":"mem","type":"SCALAR","scalar":{"value":0.001}}]"#, "mem:0.001");
}

#[test]
fn what_is_no_resource_is_refused() {
    for bad in [
        "cpus",
        "cpus:x",
        "cpus:-1",
        "cpus:0.0001",
        "cpus:Infinity",
        "cpus(a:1",
        ":1",
        "cpus(-a):1",
        "cpus:[2-1]",
        "cpus:[1-2",
        "gpus:1.5",
        "a:1;a:[1-2]",
        "x:{a,a}",
        "cpus:1e16",
        "cpus(a):9e15;cpus(b):9e15",
        "[1]",
        r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"revocable":{}}]"#,
    ] {
        assert!(Resources::parse(bad, "*").is_err(), "{bad}");
    }
}

#[test]
fn a_value_that_is_refused_is_named_with_what_was_expected() {
    let refused = |text: &str| Resources::parse(text, "*").expect_err("bad").to_string();
    let small = refused("mem:5;cpus:0.0001");
    assert!(small.contains("'cpus:0.0001'") && small.contains("0.0005"), "{small}");
    assert!(refused("ports:[5-1]").ends_with("the range '5-1' ends before it begins"));
    assert!(refused("ports:[1-").contains("'ports:[1-': expected ranges of whole numbers"));
    assert!(refused("cpus(a):9e15;cpus(b):9e15").contains("'cpus'"));
}

#[test]
fn names_that_are_given_as_nothing_are_given() {
    let (all, names) = Resources::parse_named("cpus:0;ports:[];mem:5", "*").expect("resources");
    assert_eq!(all.to_string(), "mem:5");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["cpus", "mem", "ports"]);
}

#[test]
fn roles_are_checked() {
    for good in ["*", "a", "a/b", "a.b", "a-b", "ä"] {
        assert_eq!(validate_role(good), Ok(()), "{good}");
    }
    for bad in ["", "/a", "a/", "a//b", ".", "a/..", "a/*", "-a", "a b", "a\tb"] {
        assert!(validate_role(bad).is_err(), "{bad}");
    }
    assert_eq!(
        validate_role("a/").expect_err("bad").to_string(),
        "Role 'a/' cannot end with a slash"
    );
}

#[test]
fn attributes_have_the_type_their_text_looks_like() {
    let attributes = parse_attributes("rack:r1;level:3;range:[1-2];path:a:b").expect("attributes");
    let texts: Vec<String> = attributes.iter().map(wire::json::to_string).collect();
    assert_eq!(
        texts,
        [
            r#"{"name":"rack","type":"TEXT","text":{"value":"r1"}}"#,
            r#"{"name":"level","type":"SCALAR","scalar":{"value":3.0}}"#,
            r#"{"name":"range","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]}}"#,
            r#"{"name":"path","type":"TEXT","text":{"value":"a:b"}}"#,
        ]
    );
    let numbers = parse_attributes("part:2.34567;tiny:0.0001;serial:12345678901234567890");
    let numbers: Vec<f64> =
        numbers.expect("attributes").iter().filter_map(|a| Some(a.scalar?.value)).collect();
    assert_eq!(numbers, [2.34567, 0.0001, 12_345_678_901_234_567_890.0], "no amounts: as given");
    assert!(parse_attributes("x:1e-320").is_err());
    assert!(parse_attributes("x:{a}").is_err());
    assert!(parse_attributes("novalue").is_err());
}

#[test]
fn quantities_are_alternatives_of_sums() {
    let alternatives =
        Quantities::parse_alternatives("cpus:0.01|mem:32;disk:1").expect("quantities");
    let have = Resources::parse("mem:32;disk:2", "*").expect("resources").quantities();
    assert_eq!(alternatives.iter().map(|q| have.contains(q)).collect::<Vec<_>>(), [false, true]);
    assert!(Quantities::parse("cpus").is_err());
    assert!(Quantities::parse("cpus:-1").is_err());
}

#[test]
fn arbitrary_text_never_panics() {
    let time = std::time::Duration::from_secs(2);
    bolero::check!(name = "resources_text").with_test_time(time).for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(resources) = Resources::parse(&text, "*") {
            Resources::from_wire(&resources.to_wire()).expect("what was parsed is valid");
        }
        let _ = parse_attributes(&text);
        let _ = Quantities::parse_alternatives(&text);
    });
}
