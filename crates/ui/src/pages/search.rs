//! Whatever has a name or id like what is searched.

use crate::frame::{Page, Section};
use crate::parts::{heading, nothing};
use crate::query::{Query, encode};
use maud::html;

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its page.
    pub href: String,
    /// Its name.
    pub name: String,
    /// Its id, or what it is.
    pub beside: String,
}

/// Makes the page; `kinds` are the kinds of things with what was found of each and how many there are.
#[must_use]
pub fn search(kinds: &[(&str, &str, Vec<Found>, usize)], query: &Query) -> Page {
    let wanted = query.get("q").unwrap_or_default();
    let is_nothing = kinds.iter().all(|(.., found, _)| found.is_empty());
    let main = html! {
        (heading("Search", wanted, html! {}))
        @if is_nothing { (nothing("Nothing has a name or an id like this.")) }
        @for (kind, list, found, number) in kinds {
            @if !found.is_empty() {
                section.panel {
                    h2 { (kind) " " span.count { (crate::format::count(*number as u64)) } }
                    ul.found {
                        @for one in found { li { a href=(one.href) { (one.name) } " " span.note { (one.beside) } } }
                    }
                    @if *number > found.len() {
                        p.more { a href=(format!("{list}?q={}&state=all", encode(wanted))) { "All" } }
                    }
                }
            }
        }
    };
    Page::new("Search", Section::Elsewhere, main)
}
