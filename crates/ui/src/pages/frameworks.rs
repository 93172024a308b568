//! Frameworks.

use super::agents::executor_table;
use super::offers::{OfferRow, offer_table};
use super::tasks::{About, TaskRow, short_table};
use super::why::{self, Why};
use crate::amounts::Amounts;
use crate::format::{self, Tone, count, duration};
use crate::frame::{Page, Section};
use crate::list::Wanted;
use crate::parts::{
    Column, TITLES, amount, badge, facts, heading, id, keys, labels, link, nothing, number, pager,
    search, sortable, text, time, usage,
};
use crate::query::{Query, encode};
use crate::route::Route;
use maud::{Markup, html};
use wire::v1;

/// Tasks that a framework's page shows.
const TASKS_MAX: usize = 25;
/// Offers that a framework's page shows.
const OFFERS_MAX: usize = 25;

/// What a framework is to its master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameworkState {
    /// Its event stream is open.
    Connected,
    /// Its event stream is closed.
    Disconnected,
    /// It has tasks, and has not subscribed since this master leads.
    Recovered,
    /// It has ended.
    Completed,
}

impl FrameworkState {
    fn name(self) -> &'static str {
        match self {
            FrameworkState::Connected => "connected",
            FrameworkState::Disconnected => "disconnected",
            FrameworkState::Recovered => "expected back",
            FrameworkState::Completed => "completed",
        }
    }

    fn tone(self) -> Tone {
        match self {
            FrameworkState::Connected => Tone::Good,
            FrameworkState::Disconnected => Tone::Bad,
            FrameworkState::Recovered => Tone::Warn,
            FrameworkState::Completed => Tone::Quiet,
        }
    }
}

/// A framework in a list.
#[derive(Debug, Clone)]
pub struct FrameworkRow<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its description.
    pub info: &'a v1::FrameworkInfo,
    /// What it is to its master.
    pub state: FrameworkState,
    /// Roles it is subscribed to.
    pub roles: Vec<String>,
    /// What it uses.
    pub used: Amounts,
    /// What it is offered.
    pub offered: Amounts,
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Its open offers.
    pub offers: usize,
    /// When it first subscribed.
    pub registered: f64,
}

const COLUMNS: &[Column] = &[
    text("name", "Name"),
    text("id", "Id"),
    text("state", "State"),
    text("roles", "Roles"),
    number("tasks", "Tasks"),
    number("offers", "Offers"),
    number("cpus", "CPUs"),
    number("mem", "Memory"),
    number("share", "Share"),
    text("user", "User"),
    text("registered", "Registered"),
];

/// Makes the list of frameworks.
#[must_use]
pub fn frameworks(all: Vec<FrameworkRow<'_>>, total: Amounts, now: f64, query: &Query) -> Page {
    let wanted = Wanted::of(query, &keys(COLUMNS), "name");
    let state = query.get("state").unwrap_or("active");
    let is_in = |row: &FrameworkRow<'_>| match state {
        "all" => true,
        "active" => row.state != FrameworkState::Completed,
        other => row.state.name() == other,
    };
    let number_of = |completed| {
        all.iter().filter(|row| (row.state == FrameworkState::Completed) == completed).count()
    };
    let (active, completed) = (number_of(false), number_of(true));
    let chosen = all.into_iter().filter(|row| {
        let roles = row.roles.join(" ");
        is_in(row) && wanted.matches(&[&row.info.name, row.id, &roles, &row.info.user])
    });
    let paged = wanted.page(chosen.collect(), |a, b| {
        let order = match wanted.sort {
            "id" => a.id.cmp(b.id),
            "state" => a.state.cmp(&b.state),
            "roles" => a.roles.cmp(&b.roles),
            "tasks" => a.tasks.cmp(&b.tasks),
            "offers" => a.offers.cmp(&b.offers),
            "cpus" => a.used.0[0].cmp(&b.used.0[0]),
            "mem" => a.used.0[1].cmp(&b.used.0[1]),
            "share" => a.used.dominant_share(total).total_cmp(&b.used.dominant_share(total)),
            "user" => a.info.user.cmp(&b.info.user),
            "registered" => a.registered.total_cmp(&b.registered),
            _ => a.info.name.cmp(&b.info.name),
        };
        order.then_with(|| a.id.cmp(b.id))
    });
    let rows = html! {
        @for row in &paged.rows {
            tr {
                th scope="row" { (link(&Route::Framework(row.id.to_owned()), name_of(row))) }
                td { (id(row.id)) }
                td { (badge(row.state.tone(), row.state.name())) }
                td { (roles(&row.roles, None)) }
                td.number { (count(row.tasks as u64)) }
                td.number { (count(row.offers as u64)) }
                td.number { (amount(0, row.used)) }
                td.number { (amount(1, row.used)) }
                td.number { (format::share(row.used.dominant_share(total))) }
                td { (row.info.user) }
                td { (time(now, row.registered)) }
            }
        }
    };
    let main = html! {
        (heading("Cluster", "Frameworks", html! {}))
        nav.tabs aria-label="Kinds of frameworks" {
            @for (key, title, number) in [("active", "Active", active), ("completed", "Completed", completed), ("all", "All", active + completed)] {
                a href=(query.with("state", Some(key))) aria-current=[(state == key).then_some("true")] {
                    (title) " " span.count { (count(number as u64)) }
                }
            }
        }
        (search(query, "Name, id, role or user", &[]))
        @if paged.found == 0 { (nothing("No framework is like this.")) } @else {
            (sortable("Frameworks", COLUMNS, query, &wanted, &rows))
            (pager(query, &paged, "frameworks"))
        }
    };
    Page::new("Frameworks", Section::Frameworks, main)
}

fn name_of<'a>(row: &'a FrameworkRow<'_>) -> &'a str {
    if row.info.name.is_empty() { row.id } else { &row.info.name }
}

/// Links to roles; those in `suppressed` are marked.
fn roles(roles: &[String], suppressed: Option<&[String]>) -> Markup {
    html! {
        @for role in roles {
            (link(&Route::Role(role.clone()), role))
            @if suppressed.is_some_and(|all| all.contains(role)) {
                " " span.note title="The framework wants no offers for this role" { "(suppressed)" }
            }
            " "
        }
    }
}

/// An executor that holds resources of its own.
#[derive(Debug, Clone, Copy)]
pub struct ExecutorRow<'a> {
    /// Id of its framework.
    pub framework: &'a str,
    /// Name of its framework.
    pub framework_name: &'a str,
    /// Id of its agent.
    pub agent: &'a str,
    /// Name of its agent's host.
    pub host: &'a str,
    /// Its description.
    pub info: &'a v1::ExecutorInfo,
    /// What it uses.
    pub amounts: Amounts,
    /// Its tasks.
    pub tasks: usize,
}

/// A framework.
#[derive(Debug)]
pub struct Framework<'a> {
    /// As in lists.
    pub row: FrameworkRow<'a>,
    /// When it last subscribed.
    pub reregistered: f64,
    /// Since when its event stream is closed.
    pub disconnected: Option<f64>,
    /// When it ended.
    pub unregistered: Option<f64>,
    /// Roles for which it wants no offers.
    pub suppressed: Vec<String>,
    /// Whether it has offer constraints.
    pub is_constrained: bool,
    /// Why it gets no offers, for each role.
    pub why: Vec<Why>,
    /// Its open offers.
    pub offers: Vec<OfferRow<'a>>,
    /// Its executors.
    pub executors: Vec<ExecutorRow<'a>>,
    /// All its tasks that are known.
    pub tasks: Vec<TaskRow<'a>>,
    /// Counts of its calls and events, by name.
    pub counters: Vec<(&'a str, u64)>,
}

/// Makes the page of a framework.
#[must_use]
pub fn framework(mut model: Framework<'_>, total: Amounts, now: f64) -> Page {
    let row = &model.row;
    let info = row.info;
    let capabilities = info.capabilities.iter().map(|c| c.r#type().as_str_name().to_lowercase());
    let capabilities = capabilities.collect::<Vec<_>>().join(", ");
    let (number_of_tasks, number_of_offers) = (model.tasks.len(), model.offers.len());
    let tasks_href = |state: &str| format!("/ui/tasks?framework={}&state={state}", encode(row.id));
    model.tasks.sort_by(|a, b| b.updated().total_cmp(&a.updated()));
    model.tasks.truncate(TASKS_MAX);
    model.offers.truncate(OFFERS_MAX);
    let main = html! {
        (heading("Framework", name_of(row), html! {
            (badge(row.state.tone(), row.state.name()))
            @if let Some(url) = info.webui_url.as_deref().filter(|url| is_web(url)) {
                a.button href=(url) rel="noreferrer" { "Its own UI" }
            }
        }))
        (facts(&[
            ("Id", Some(html! { code { (row.id) } })),
            ("Roles", (!row.roles.is_empty()).then(|| roles(&row.roles, Some(&model.suppressed)))),
            ("User", Some(html! { (info.user) })),
            ("Principal", info.principal.as_ref().map(|p| html! { (p) })),
            ("Host", info.hostname.as_ref().map(|host| html! { (host) })),
            ("Subscribed", Some(time(now, row.registered))),
            ("Came back", (model.reregistered > row.registered).then(|| time(now, model.reregistered))),
            ("Disconnected", model.disconnected.map(|at| time(now, at))),
            ("Ended", model.unregistered.map(|at| time(now, at))),
            ("Failover timeout", Some(html! { (duration(info.failover_timeout())) })),
            ("Checkpoints", Some(html! { (if info.checkpoint() { "yes" } else { "no" }) })),
            ("Offer constraints", model.is_constrained.then(|| html! { "yes" })),
            ("Capabilities", (!capabilities.is_empty()).then(|| html! { (capabilities) })),
            ("Labels", labels(info.labels.as_ref())),
        ]))
        section.meters aria-label="Resources" {
            @for (at, title) in TITLES.into_iter().enumerate() {
                @if total.0[at] > 0 { div { h3 { (title) } (usage(at, row.used, row.offered, total)) } }
            }
        }
        @if row.state != FrameworkState::Completed {
            section.panel #why {
                h2 { "Offers" }
                (why::section(&model.why, now))
                @if !model.offers.is_empty() {
                    (offer_table(&model.offers))
                    @if number_of_offers > OFFERS_MAX {
                        p.more { a href=(format!("/ui/offers?framework={}", encode(row.id))) { "All " (count(number_of_offers as u64)) } }
                    }
                }
            }
        }
        @if !model.executors.is_empty() {
            section.panel { h2 { "Executors" } (executor_table(&model.executors, false)) }
        }
        section.panel {
            h2 { a href=(tasks_href("all")) { "Tasks" } " " span.count { (count(number_of_tasks as u64)) } }
            @if model.tasks.is_empty() { (nothing("It has no tasks.")) } @else {
                (short_table("Tasks", &model.tasks, now, About::Framework))
                p.more {
                    a href=(tasks_href("active")) { "Active" } " · " a href=(tasks_href("completed")) { "Completed" } " · "
                    a href=(tasks_href("failed")) { "Failed" } " · " a href=(tasks_href("all")) { "All" }
                }
            }
        }
        @if !model.counters.is_empty() {
            details.panel {
                summary { h2 { "Calls and events" } }
                dl.counters { @for (name, n) in &model.counters { div { dt { (name) } dd { (count(*n)) } } } }
            }
        }
    };
    Page::new(name_of(row), Section::Frameworks, main)
}

/// Whether an address may be a link: anything else could be a script.
fn is_web(url: &str) -> bool {
    let url = url.trim_start().to_ascii_lowercase();
    url.starts_with("http://") || url.starts_with("https://")
}
