//! Queries and percent-encoding.

use ui::Query;
use ui::query::{decode, encode};

#[test]
fn what_is_encoded_is_decoded_to_the_same() {
    for text in ["", "a b", "a/b?c=d&e#f", "ä€😀", "100%", "%41", "+", "\"'<>\\"] {
        assert_eq!(decode(&encode(text), false), text);
        assert_eq!(decode(&encode(text), true), text);
        assert!(encode(text).bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
    }
}

#[test]
fn what_is_no_utf8_is_replaced_and_half_an_escape_is_text() {
    assert_eq!(decode("%ff%fe", true), "\u{fffd}\u{fffd}");
    assert_eq!(decode("%", true), "%");
    assert_eq!(decode("%4", true), "%4");
    assert_eq!(decode("%zz%é", true), "%zz%é");
    let query = Query::parse("q=%ff%00&=&&page&%ff=1");
    assert_eq!(query.get("q"), Some("\u{fffd}\0"));
    assert_eq!(query.get("page"), None);
}

#[test]
fn long_queries_are_cut() {
    let text = format!("q={}&{}", "é".repeat(100_000), "x=1&".repeat(100_000));
    let query = Query::parse(&text);
    assert!(query.get("q").is_some_and(|q| q.len() <= 4096));
    assert!(query.with("a", Some("b")).len() < 40_000);
}

#[test]
fn a_change_of_a_list_begins_at_its_first_page() {
    let query = Query::parse("q=a+b&page=3&sort=name");
    assert_eq!(query.with("sort", Some("-name")), "?q=a%20b&sort=-name");
    assert_eq!(query.with("page", Some("4")), "?q=a%20b&sort=name&page=4");
    assert_eq!(query.with("q", None), "?sort=name");
}
