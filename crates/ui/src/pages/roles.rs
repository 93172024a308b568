//! Roles: how much each may have, is promised, and has.

use crate::amounts::{Amounts, NAMES};
use crate::format::{self, Tone, count};
use crate::frame::{Page, Section};
use crate::list::Wanted;
use crate::parts::{
    Column, Piece, TITLES, agent_link, amount, badge, bar, bars, facts, framework_link, heading,
    keys, link, nothing, number, pager, search, sortable, table, text, time,
};
use crate::query::{Query, encode};
use crate::route::Route;
use maud::{Markup, html};
use resources::Milli;

/// Agents with reservations that a role's page shows.
const AGENTS_MAX: usize = 50;

/// A role in a list, with everything below it.
#[derive(Debug, Clone, Default)]
pub struct RoleRow<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its weight.
    pub weight: f64,
    /// Frameworks that are subscribed to it.
    pub frameworks: usize,
    /// What is used.
    pub used: Amounts,
    /// What is offered.
    pub offered: Amounts,
    /// What is reserved to it.
    pub reserved: Amounts,
    /// What is lent of its reservations.
    pub lent: Amounts,
    /// What it is promised now, by quota and share.
    pub guarantee: Amounts,
    /// What it may have at most; None: no limit.
    pub limit: [Option<Milli>; 4],
    /// Whether it has a share of the cluster.
    pub has_share: bool,
}

impl RoleRow<'_> {
    fn has_quota(&self) -> bool {
        !self.guarantee.is_empty() || self.limit.iter().any(Option::is_some)
    }
}

const COLUMNS: &[Column] = &[
    text("name", "Role"),
    number("weight", "Weight"),
    number("frameworks", "Frameworks"),
    number("share", "Share"),
    bars("cpus", "CPUs"),
    bars("mem", "Memory"),
    bars("reserved", "Reserved"),
    bars("lent", "Lent"),
    text("", "Quota"),
];

/// Makes the list of roles.
#[must_use]
pub fn roles(all: Vec<RoleRow<'_>>, total: Amounts, query: &Query) -> Page {
    let wanted = Wanted::of(query, &keys(COLUMNS), "name");
    let chosen = all.into_iter().filter(|role| wanted.matches(&[role.name]));
    let share = |role: &RoleRow<'_>| (role.used + role.offered).dominant_share(total);
    let paged = wanted.page(chosen.collect(), |a, b| {
        let order = match wanted.sort {
            "weight" => a.weight.total_cmp(&b.weight),
            "frameworks" => a.frameworks.cmp(&b.frameworks),
            "share" => share(a).total_cmp(&share(b)),
            "cpus" => a.used.0[0].cmp(&b.used.0[0]),
            "mem" => a.used.0[1].cmp(&b.used.0[1]),
            "reserved" => {
                a.reserved.dominant_share(total).total_cmp(&b.reserved.dominant_share(total))
            }
            "lent" => a.lent.dominant_share(total).total_cmp(&b.lent.dominant_share(total)),
            // A role comes right before those below it.
            _ => a.name.split('/').cmp(b.name.split('/')),
        };
        order.then_with(|| a.name.cmp(b.name))
    });
    let rows = html! {
        @for role in &paged.rows {
            @let depth = if wanted.sort == "name" { role.name.matches('/').count().min(6) } else { 0 };
            tr {
                th scope="row" class=(format!("depth{depth}")) { (link(&Route::Role(role.name.to_owned()), role.name)) }
                td.number { (role.weight) }
                td.number { (count(role.frameworks as u64)) }
                td.number { (format::share(share(role))) }
                td { (meter(role, 0, total)) }
                td { (meter(role, 1, total)) }
                td { (some(role.reserved)) }
                td { (some(role.lent)) }
                td {
                    @if role.has_share { (badge(Tone::Busy, "share")) " " }
                    @if role.has_quota() { (quota_text(role)) }
                    @else { span.none { "–" } }
                }
            }
        }
    };
    let main = html! {
        (heading("Cluster", "Roles", html! {}))
        (search(query, "Name", &[]))
        @if paged.found == 0 { (nothing("No role is like this.")) } @else {
            (sortable("Roles", COLUMNS, query, &wanted, &rows))
            (pager(query, &paged, "roles"))
            (legend())
        }
    };
    Page::new("Roles", Section::Roles, main)
}

fn some(amounts: Amounts) -> Markup {
    html! {
        @if amounts.is_empty() { span.none { "–" } } @else { (crate::parts::in_line(amounts)) }
    }
}

fn quota_text(role: &RoleRow<'_>) -> Markup {
    let limits = NAMES
        .iter()
        .zip(role.limit)
        .filter_map(|(name, limit)| Some(format!("≤ {} {name}", format::amount(name, limit?))));
    let promised = NAMES.iter().zip(role.guarantee.0).filter(|(_, milli)| *milli > 0);
    let promised =
        promised.map(|(name, milli)| format!("≥ {} {name}", format::amount(name, milli)));
    let all = promised.chain(limits).collect::<Vec<_>>().join(", ");
    html! { span.quota { (all) } }
}

fn legend() -> Markup {
    html! {
        dl.legend.inline {
            @for (class, what) in [("used", "allocated"), ("offered", "offered"), ("guarantee", "guaranteed"), ("limit", "limit")] {
                div { dt { span.key.(class) {} (what) } }
            }
        }
    }
}

/// What a role has of a resource of the cluster, with marks for what it is promised and may have.
fn meter(role: &RoleRow<'_>, at: usize, total: Amounts) -> Markup {
    let name = NAMES[at];
    let pieces = [
        Piece { class: "used", name: "allocated", milli: role.used.0[at] },
        Piece { class: "offered", name: "offered", milli: role.offered.0[at] },
    ];
    let marks = [
        Piece { class: "guarantee", name: "guaranteed", milli: role.guarantee.0[at] },
        Piece { class: "limit", name: "limit", milli: role.limit[at].unwrap_or(0) },
    ];
    html! {
        span.usage { (bar(name, &pieces, total.0[at], &marks)) span.of { (format::amount(name, role.used.0[at])) } }
    }
}

/// A few roles with their shares, on another page.
pub(crate) fn shares(roles: &[&RoleRow<'_>], total: Amounts) -> Markup {
    let columns = [text("", "Role"), number("", "Share"), bars("", "CPUs"), bars("", "Memory")];
    html! {
        (table("Shares of roles", &columns, &html! {
            @for role in roles {
                tr {
                    th scope="row" { (link(&Route::Role(role.name.to_owned()), role.name)) }
                    td.number { (format::share((role.used + role.offered).dominant_share(total))) }
                    td { (meter(role, 0, total)) }
                    td { (meter(role, 1, total)) }
                }
            }
        }))
        (legend())
    }
}

/// A role.
#[derive(Debug, Default)]
pub struct Role<'a> {
    /// As in lists.
    pub row: RoleRow<'a>,
    /// Its share in words: how much, when, whether it holds now.
    pub share: Option<String>,
    /// When its share begins or ends to hold.
    pub next_change: Option<f64>,
    /// How many frameworks at a time are offered the same, in words.
    pub overlap: Option<String>,
    /// Frameworks that are subscribed to it: id, name.
    pub frameworks: Vec<(&'a str, &'a str)>,
    /// What is reserved to it on agents: id, host, how much.
    pub reserved: Vec<(&'a str, &'a str, Amounts)>,
}

/// Makes the page of a role.
#[must_use]
pub fn role(model: &Role<'_>, total: Amounts, now: f64) -> Page {
    let row = &model.row;
    let columns = [
        text("", "Resource"),
        bars("", "Of the cluster"),
        number("", "Allocated"),
        number("", "Offered"),
        number("", "Reserved"),
        number("", "Lent"),
        number("", "Guaranteed"),
        number("", "Limit"),
    ];
    let main = html! {
        (heading("Role", row.name, html! { @if model.share.is_some() { (badge(Tone::Busy, "share")) } }))
        (facts(&[
            ("Weight", Some(html! { (row.weight) })),
            ("Share", model.share.as_ref().map(|share| html! { (share) })),
            ("Next change", model.next_change.map(|at| time(now, at))),
            ("Offer overlap", model.overlap.as_ref().map(|overlap| html! { (overlap) })),
            ("Tasks", Some(html! { a href=(format!("/ui/tasks?role={}", encode(row.name))) { "show" } })),
        ]))
        section.panel {
            h2 { "Resources" }
            (table("Resources", &columns, &html! {
                @for (at, title) in TITLES.into_iter().enumerate() {
                    @if total.0[at] > 0 {
                        tr {
                            th scope="row" { (title) }
                            td { (meter(row, at, total)) }
                            td.number { (amount(at, row.used)) } td.number { (amount(at, row.offered)) }
                            td.number { (amount(at, row.reserved)) } td.number { (amount(at, row.lent)) }
                            td.number { (amount(at, row.guarantee)) }
                            td.number {
                                @if let Some(limit) = row.limit[at] { (format::amount(NAMES[at], limit)) } @else { span.none { "none" } }
                            }
                        }
                    }
                }
            }))
            (legend())
        }
        div.columns {
            section.panel {
                h2 { "Frameworks" }
                @if model.frameworks.is_empty() { (nothing("No framework is subscribed to it.")) } @else {
                    ul.found { @for (id, name) in &model.frameworks { li { (framework_link(id, name)) } } }
                }
            }
            section.panel {
                h2 { "Reservations" }
                @if model.reserved.is_empty() { (nothing("Nothing is reserved to it.")) } @else {
                    (table("Reservations", &[text("", "Agent"), number("", "CPUs"), number("", "Memory"), number("", "Disk")], &html! {
                        @for (id, host, amounts) in model.reserved.iter().take(AGENTS_MAX) {
                            tr {
                                th scope="row" { (agent_link(id, host)) }
                                @for at in 0..3 { td.number { (amount(at, *amounts)) } }
                            }
                        }
                    }))
                    @if model.reserved.len() > AGENTS_MAX {
                        p.note { "and on " (count((model.reserved.len() - AGENTS_MAX) as u64)) " more agents" }
                    }
                }
            }
        }
    };
    Page::new(row.name, Section::Roles, main)
}
