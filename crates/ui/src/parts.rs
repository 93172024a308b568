//! Pieces that pages are made of.

use crate::amounts::{Amounts, NAMES};
use crate::format::{self, Tone, ago, count, utc};
use crate::list::{Paged, Wanted};
use crate::query::Query;
use crate::route::{Place, Route};
use maud::{Markup, Render, html};
use resources::Milli;
use wire::v1;

/// Titles of resources, in the order of their names.
pub(crate) const TITLES: [&str; 4] = ["CPUs", "Memory", "Disk", "GPUs"];

/// A word with the colour of a tone.
pub(crate) fn badge(tone: Tone, text: impl Render) -> Markup {
    html! { span.badge.(tone.class()) { (text) } }
}

/// The state of a task.
pub(crate) fn task_badge(state: v1::TaskState) -> Markup {
    badge(format::task_tone(state), format::task_state(state))
}

/// How long ago something was, with the time itself; nothing for times that are not known.
pub(crate) fn time(now: f64, at: f64) -> Markup {
    html! {
        @if at > 0.0 {
            time datetime=(utc(at).replacen(' ', "T", 1)) title=(utc(at)) data-at=(format!("{at:.3}")) { (ago(now, at)) }
        } @else { span.none { "–" } }
    }
}

/// A time as such.
pub(crate) fn utc_time(at: f64) -> Markup {
    html! { time datetime=(utc(at).replacen(' ', "T", 1)) { (utc(at)) } }
}

/// A link in the application.
pub(crate) fn link(route: &Route, text: impl Render) -> Markup {
    html! { a href=(route.href()) { (text) } }
}

/// An id that is too long for a table: all of it is in the title and can be searched.
pub(crate) fn id(text: &str) -> Markup {
    let is_long = text.chars().count() > 24;
    html! {
        @if is_long { code.id title=(text) { (tail(text)) } } @else { code.id { (text) } }
    }
}

/// The end of an id, where ids of one cluster differ.
fn tail(id: &str) -> String {
    let skipped = id.chars().count().saturating_sub(20);
    format!("…{}", id.chars().skip(skipped).collect::<String>())
}

/// A link to a framework with its name.
pub(crate) fn framework_link(id: &str, name: &str) -> Markup {
    let text = if name.is_empty() { id } else { name };
    html! { a href=(Route::Framework(id.to_owned()).href()) title=(id) { (text) } }
}

/// A link to an agent with the name of its host.
pub(crate) fn agent_link(id: &str, host: &str) -> Markup {
    let text = if host.is_empty() { id } else { host };
    html! { a href=(Route::Agent(id.to_owned()).href()) title=(id) { (text) } }
}

/// Links to the output of something that has a sandbox.
pub(crate) fn output_links(place: &Place) -> Markup {
    let files = Route::Files(place.clone()).href();
    html! {
        span.links {
            a href=(format!("{files}?path=stdout")) title="stdout" { "out" }
            a href=(format!("{files}?path=stderr")) title="stderr" { "err" }
            a href=(files) title="all files of the sandbox" { "files" }
        }
    }
}

/// A part of a bar.
pub(crate) struct Piece {
    pub(crate) class: &'static str,
    pub(crate) name: &'static str,
    pub(crate) milli: Milli,
}

/// A bar of a whole with its parts one after the other, and marks on it.
#[expect(clippy::cast_precision_loss, reason = "a drawing")]
pub(crate) fn bar(name: &str, pieces: &[Piece], whole: Milli, marks: &[Piece]) -> Markup {
    let of = |milli: Milli| if whole > 0 { milli as f64 / whole as f64 * 100.0 } else { 0.0 };
    let all = pieces.iter().chain(marks).filter(|piece| piece.milli > 0);
    let all = all.map(|piece| format!("{} {}", format::amount(name, piece.milli), piece.name));
    let all = all.collect::<Vec<_>>().join(", ");
    let label = match all.as_str() {
        "" => format!("{name}: nothing of {}", format::amount(name, whole)),
        all => format!("{name}: {all}, of {}", format::amount(name, whole)),
    };
    let mut from = 0.0;
    let placed = pieces.iter().map(|piece| {
        let width = of(piece.milli).clamp(0.0, 100.0 - from);
        let at = (from, width);
        from += width;
        (piece.class, at)
    });
    let placed: Vec<_> = placed.collect();
    html! {
        svg.bar viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label=(label) {
            title { (label) }
            rect.track width="100" height="10" {}
            @for (class, (x, width)) in placed {
                @if width > 0.0 {
                    rect.(class) x=(format!("{x:.2}")) width=(format!("{width:.2}")) height="10" {}
                }
            }
            @for mark in marks {
                @if mark.milli > 0 {
                    rect.mark.(mark.class) x=(format!("{:.2}", (of(mark.milli) - 0.4).clamp(0.0, 99.2))) width="0.8" height="10" {}
                }
            }
        }
    }
}

/// How much of a resource is used and offered, in a cell of a table: a bar and two numbers.
pub(crate) fn usage(at: usize, used: Amounts, offered: Amounts, whole: Amounts) -> Markup {
    let name = NAMES[at];
    let pieces = [
        Piece { class: "used", name: "allocated", milli: used.0[at] },
        Piece { class: "offered", name: "offered", milli: offered.0[at] },
    ];
    html! {
        span.usage {
            (bar(name, &pieces, whole.0[at], &[]))
            span.of {
                (format::amount(name, used.0[at])) span.whole { " / " (format::amount(name, whole.0[at])) }
            }
        }
    }
}

/// An amount in a cell; nothing is a dash.
pub(crate) fn amount(at: usize, amounts: Amounts) -> Markup {
    html! {
        @if amounts.0[at] == 0 { span.none { "–" } }
        @else { (format::amount(NAMES[at], amounts.0[at])) }
    }
}

/// Amounts in one line: `2 cpus, 512 MiB mem`.
pub(crate) fn in_line(amounts: Amounts) -> String {
    let all = NAMES.iter().zip(amounts.0).filter(|(_, milli)| *milli > 0);
    let all = all.map(|(name, milli)| format!("{} {name}", format::amount(name, milli)));
    match all.collect::<Vec<_>>() {
        none if none.is_empty() => "nothing".to_owned(),
        some => some.join(", "),
    }
}

/// Heading of a page: what it is about, its name, its state, facts beside it.
pub(crate) fn heading(kind: &str, name: &str, beside: impl Render) -> Markup {
    html! {
        header.title {
            p.kind { (kind) }
            h1 { (name) }
            div.beside { (beside) }
        }
    }
}

/// Facts with their names. What is empty is left out.
pub(crate) fn facts(facts: &[(&str, Option<Markup>)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts {
                @if let Some(value) = value {
                    div { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// What it is called in queries; empty: it can't be sorted by.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) kind: Cells,
}

impl Column {
    /// Class of its heading.
    fn class(&self) -> Option<&'static str> {
        (self.kind == Cells::Numbers).then_some("number")
    }
}

/// What is in the cells of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cells {
    Text,
    /// Numbers, one below the other.
    Numbers,
    /// Bars with numbers.
    Bars,
}

/// A column of text.
pub(crate) const fn text(key: &'static str, title: &'static str) -> Column {
    Column { key, title, kind: Cells::Text }
}

/// A column of numbers, greatest first when it is chosen.
pub(crate) const fn number(key: &'static str, title: &'static str) -> Column {
    Column { key, title, kind: Cells::Numbers }
}

/// A column of bars, greatest first when it is chosen.
pub(crate) const fn bars(key: &'static str, title: &'static str) -> Column {
    Column { key, title, kind: Cells::Bars }
}

/// The names that can be sorted by.
pub(crate) fn keys(columns: &[Column]) -> Vec<&'static str> {
    columns.iter().map(|column| column.key).filter(|key| !key.is_empty()).collect()
}

/// A table whose columns can be sorted by. `rows` are whole `tr`.
pub(crate) fn sortable(
    caption: &str,
    columns: &[Column],
    query: &Query,
    wanted: &Wanted<'_>,
    rows: &Markup,
) -> Markup {
    let heads = html! {
        @for column in columns {
            @let is_chosen = column.key == wanted.sort && !column.key.is_empty();
            @let order = if wanted.descending { "descending" } else { "ascending" };
            th scope="col" class=[column.class()] aria-sort=[is_chosen.then_some(order)] {
                @if column.key.is_empty() { (column.title) } @else {
                    @let descending = if is_chosen { !wanted.descending } else { column.kind != Cells::Text };
                    @let to = format!("{}{}", if descending { "-" } else { "" }, column.key);
                    a href=(query.with("sort", Some(&to))) { (column.title) }
                }
            }
        }
    };
    scrolling(caption, &heads, rows)
}

/// A table that is as it is.
pub(crate) fn table(caption: &str, columns: &[Column], rows: &Markup) -> Markup {
    let heads = html! {
        @for column in columns {
            th scope="col" class=[column.class()] { (column.title) }
        }
    };
    scrolling(caption, &heads, rows)
}

/// A table that scrolls by itself where it is too wide.
fn scrolling(caption: &str, heads: &Markup, rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption.hidden { (caption) }
                thead { tr { (heads) } }
                tbody { (rows) }
            }
        }
    }
}

/// What stands where there would be a list.
pub(crate) fn nothing(text: &str) -> Markup {
    html! { p.nothing { (text) } }
}

/// A choice of what a list shows.
pub(crate) struct Choice<'a> {
    /// What it is called in queries.
    pub(crate) name: &'a str,
    pub(crate) label: &'a str,
    /// Values with their titles.
    pub(crate) values: Vec<(String, String)>,
}

/// The search of a list, and choices of what it shows.
pub(crate) fn search(query: &Query, placeholder: &str, choices: &[Choice<'_>]) -> Markup {
    let mut own = vec!["q", "page"];
    own.extend(choices.iter().map(|choice| choice.name));
    html! {
        form.tools method="get" role="search" {
            @for (name, value) in query.besides(&own) {
                input type="hidden" name=(name) value=(value);
            }
            label.hidden for="search" { (placeholder) }
            input #search type="search" name="q" value=(query.get("q").unwrap_or_default())
                placeholder=(placeholder) autocomplete="off" spellcheck="false";
            @for Choice { name, label, values } in choices {
                label {
                    span { (label) }
                    select name=(name) {
                        @for (value, title) in values {
                            option value=(value) selected[query.get(name).unwrap_or_default() == value] { (title) }
                        }
                    }
                }
            }
            button type="submit" { "Show" }
        }
    }
}

/// What a list is narrowed to, each with a link that ends it.
pub(crate) fn chips(query: &Query, names: &[(&str, &str)]) -> Markup {
    let set: Vec<_> =
        names.iter().filter_map(|(n, title)| Some((n, title, query.get(n)?))).collect();
    html! {
        @if !set.is_empty() {
            p.chips {
                @for (name, title, value) in set {
                    a.chip href=(query.with(name, None)) title="Show all again" {
                        span { (title) ": " (value) } span aria-hidden="true" { "×" }
                    }
                }
            }
        }
    }
}

/// Where one is in a list, and the way to its other pages.
pub(crate) fn pager<T>(query: &Query, paged: &Paged<T>, what: &str) -> Markup {
    let from = (paged.page - 1) * paged.size;
    let what = if paged.found == 1 { what.trim_end_matches('s') } else { what };
    let to = |page: usize| query.with("page", Some(&page.to_string()));
    html! {
        nav.pager aria-label="Pages of the list" {
            span {
                @if paged.found == 0 { "No " (what) }
                @else if paged.pages == 1 { (count(paged.found as u64)) " " (what) }
                @else {
                    (count(from as u64 + 1)) "–" (count((from + paged.rows.len()) as u64))
                    " of " (count(paged.found as u64)) " " (what)
                }
            }
            @if paged.pages > 1 {
                span.steps {
                    @if paged.page > 1 {
                        a href=(to(1)) { "First" }
                        a href=(to(paged.page - 1)) rel="prev" { "Previous" }
                    }
                    span { "page " (count(paged.page as u64)) " of " (count(paged.pages as u64)) }
                    @if paged.page < paged.pages {
                        a href=(to(paged.page + 1)) rel="next" { "Next" }
                        a href=(to(paged.pages)) { "Last" }
                    }
                }
            }
        }
    }
}

/// Labels of a framework or task.
pub(crate) fn labels(labels: Option<&v1::Labels>) -> Option<Markup> {
    let labels = &labels?.labels;
    (!labels.is_empty()).then(|| {
        html! {
            @for label in labels { code.label { (label.key) "=" (label.value()) } " " }
        }
    })
}
