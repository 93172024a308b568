//! Addresses of pages.

use ui::{Place, Route, relative_path};

#[test]
fn every_page_has_an_address_that_leads_to_it() {
    let odd = "a/b c?d#e%2F<é>";
    let places = [Place::task(odd, "t"), Place::executor(odd, "a", odd)];
    let of_places = places.iter().flat_map(|place| {
        [Route::Place, Route::Files, Route::Read, Route::Download].map(|make| make(place.clone()))
    });
    let pages = [
        Route::Overview,
        Route::Agents,
        Route::Agent(odd.to_owned()),
        Route::Frameworks,
        Route::Framework(odd.to_owned()),
        Route::Tasks,
        Route::Roles,
        Route::Role("eng/ads".to_owned()),
        Route::Offers,
        Route::Maintenance,
        Route::Masters,
        Route::Search,
        Route::Events,
        Route::Leader,
        Route::Asset("app.js".to_owned()),
    ];
    for route in pages.into_iter().chain(of_places) {
        assert_eq!(Route::parse(&route.href()), Some(route));
    }
}

#[test]
fn a_slash_at_the_end_changes_nothing() {
    for (path, route) in
        [("", Route::Overview), ("/ui/", Route::Overview), ("/ui/agents/", Route::Agents)]
    {
        assert_eq!(Route::parse(path), Some(route), "{path}");
    }
}

#[test]
fn other_paths_are_not_of_the_ui() {
    for path in [
        "/state",
        "/ui/nothing",
        "/ui/agents/a/b",
        "/frameworks",
        "/ui/frameworks/f/tasks/t/x",
        "/x/ui/agents",
    ] {
        assert_eq!(Route::parse(path), None, "{path}");
    }
}

#[test]
fn paths_out_of_a_sandbox_are_refused() {
    for path in ["..", "a/../b", "../../etc/passwd", "/..", "a/..", "a\0b"] {
        assert!(relative_path(path).is_err(), "{path:?}");
    }
    for (path, simple) in
        [("", ""), ("/", ""), ("a//b/./c/", "a/b/c"), ("...", "..."), ("/etc/passwd", "etc/passwd")]
    {
        assert_eq!(relative_path(path).as_deref(), Ok(simple), "{path:?}");
    }
}
