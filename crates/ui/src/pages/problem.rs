//! What is shown instead of a page.

use crate::frame::{Page, Section};
use crate::parts::heading;
use maud::html;

/// Makes a page that says what is wrong and what to do. With `retry` it looks again by itself.
#[must_use]
pub fn problem(title: &str, text: &str, retry: bool) -> Page {
    let main = html! {
        div.problem data-retry=[retry.then_some("yes")] {
            (heading("", title, html! {}))
            p { (text) }
            p { a.button href="/" { "To the overview" } }
        }
    };
    Page { is_live: retry, ..Page::new(title, Section::Elsewhere, main) }
}
