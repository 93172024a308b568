//! Lists: whatever is asked for, a short page that exists.

use ui::Query;
use ui::list::{Paged, Wanted};

fn page(query: &str, rows: usize) -> Paged<usize> {
    let query = Query::parse(query);
    let wanted = Wanted::of(&query, &["n"], "n");
    // Not in order: 7 and 1,000 have no common divisor.
    wanted.page((0..rows).map(|n| n * 7 % rows.max(1)).collect(), usize::cmp)
}

#[track_caller]
fn check(query: &str, rows: usize, want: &[usize], at: (usize, usize)) {
    let paged = page(query, rows);
    assert_eq!(paged.rows, want);
    assert_eq!((paged.page, paged.pages), at);
    assert_eq!(paged.found, rows);
}

#[test]
fn pages_are_cut_in_order() {
    check("size=3", 1000, &[0, 1, 2], (1, 334));
    check("size=3&page=2", 1000, &[3, 4, 5], (2, 334));
    check("size=3&sort=-n", 1000, &[999, 998, 997], (1, 334));
    check("size=3&page=334", 1000, &[999], (334, 334));
}

#[test]
fn pages_that_are_not_there_are_the_last_one() {
    for page in ["335", "18446744073709551615", "99999999999999999999999", "-1", "x"] {
        check(&format!("size=3&page={page}"), 1000, &[999], (334, 334));
    }
    check("size=3&page=0", 1000, &[0, 1, 2], (1, 334));
    check("page=7", 0, &[], (1, 1));
}

#[test]
fn sizes_are_bounded() {
    assert_eq!(page("size=1000000", 1000).rows.len(), 500);
    assert_eq!(page("size=99999999999999999999999", 1000).rows.len(), 500);
    assert_eq!(page("size=0", 1000).rows.len(), 1);
    assert_eq!(page("", 1000).rows.len(), 50);
}

#[test]
fn only_known_columns_sort() {
    let query = Query::parse("sort=-secret");
    let wanted = Wanted::of(&query, &["name", "age"], "-age");
    assert_eq!((wanted.sort, wanted.descending), ("age", true));
    let query = Query::parse("sort=name");
    let wanted = Wanted::of(&query, &["name", "age"], "-age");
    assert_eq!((wanted.sort, wanted.descending), ("name", false));
}

#[test]
fn searches_do_not_mind_the_size_of_letters() {
    let query = Query::parse("q=++WeB+");
    let wanted = Wanted::of(&query, &[], "");
    assert!(wanted.matches(&["x", "my-web-1"]));
    assert!(wanted.matches(&["MYWEB"]));
    assert!(!wanted.matches(&["we", "eb", ""]));
    let query = Query::parse("q=%C3%84");
    let wanted = Wanted::of(&query, &[], "");
    assert!(wanted.matches(&["ärger"]));
    assert!(Wanted::of(&Query::default(), &[], "").matches(&[""]));
}
