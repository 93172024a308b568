//! Agents.

use super::frameworks::ExecutorRow;
use super::tasks::{About, TaskRow, short_table};
use crate::amounts::Amounts;
use crate::format::{Tone, count};
use crate::frame::{Page, Section};
use crate::list::Wanted;
use crate::parts::{
    Choice, Column, TITLES, amount, badge, bars, facts, framework_link, heading, id, in_line, keys,
    link, nothing, number, pager, search, sortable, table, text, time, usage,
};
use crate::query::Query;
use crate::route::{Place, Route};
use maud::{Markup, html};
use wire::v1;

/// Tasks that an agent's page shows.
const TASKS_MAX: usize = 25;

/// What an agent is to its master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentState {
    /// It is connected and offered.
    Active,
    /// It is connected, and operators took it out of use.
    Deactivated,
    /// Its tasks are ended for an operator.
    Draining,
    /// It has been drained.
    Drained,
    /// Its connection is lost.
    Disconnected,
}

impl AgentState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            AgentState::Active => "active",
            AgentState::Deactivated => "deactivated",
            AgentState::Draining => "draining",
            AgentState::Drained => "drained",
            AgentState::Disconnected => "disconnected",
        }
    }

    pub(crate) fn tone(self) -> Tone {
        match self {
            AgentState::Active => Tone::Good,
            AgentState::Draining => Tone::Busy,
            AgentState::Deactivated | AgentState::Drained => Tone::Quiet,
            AgentState::Disconnected => Tone::Bad,
        }
    }
}

/// An agent in a list.
#[derive(Debug, Clone, Copy)]
pub struct AgentRow<'a> {
    /// Its id.
    pub id: &'a str,
    /// Name of its host.
    pub host: &'a str,
    /// What it is to its master.
    pub state: AgentState,
    /// All it has.
    pub total: Amounts,
    /// What is used of it.
    pub used: Amounts,
    /// What is offered of it.
    pub offered: Amounts,
    /// Its tasks.
    pub tasks: usize,
    /// When it first registered.
    pub registered: f64,
}

const COLUMNS: &[Column] = &[
    text("host", "Host"),
    text("id", "Id"),
    text("state", "State"),
    number("tasks", "Tasks"),
    bars("cpus", "CPUs"),
    bars("mem", "Memory"),
    bars("disk", "Disk"),
    text("registered", "Registered"),
];

/// Makes the list of agents; `away` more are unreachable or expected back.
#[must_use]
pub fn agents(all: Vec<AgentRow<'_>>, away: usize, now: f64, query: &Query) -> Page {
    let wanted = Wanted::of(query, &keys(COLUMNS), "host");
    let state = query.get("state");
    let has_gpus = all.iter().any(|agent| agent.total.0[3] > 0);
    let number_of_all = all.len();
    let chosen = all.into_iter().filter(|agent| {
        state.is_none_or(|state| state == agent.state.name())
            && wanted.matches(&[agent.host, agent.id])
    });
    let busy = |agent: &AgentRow<'_>, at: usize| {
        let mut one = Amounts::default();
        one.0[at] = agent.used.0[at];
        one.dominant_share(agent.total)
    };
    let paged = wanted.page(chosen.collect(), |a, b| {
        let order = match wanted.sort {
            "id" => a.id.cmp(b.id),
            "state" => a.state.cmp(&b.state),
            "tasks" => a.tasks.cmp(&b.tasks),
            "cpus" => busy(a, 0).total_cmp(&busy(b, 0)),
            "mem" => busy(a, 1).total_cmp(&busy(b, 1)),
            "disk" => busy(a, 2).total_cmp(&busy(b, 2)),
            "registered" => a.registered.total_cmp(&b.registered),
            _ => a.host.cmp(b.host),
        };
        order.then_with(|| a.host.cmp(b.host)).then_with(|| a.id.cmp(b.id))
    });
    let rows = html! {
        @for agent in &paged.rows {
            tr {
                th scope="row" { (link(&Route::Agent(agent.id.to_owned()), agent.host)) }
                td { (id(agent.id)) }
                td { (badge(agent.state.tone(), agent.state.name())) }
                td.number { (count(agent.tasks as u64)) }
                td { (usage(0, agent.used, agent.offered, agent.total)) }
                td { (usage(1, agent.used, agent.offered, agent.total)) }
                td { (usage(2, agent.used, agent.offered, agent.total)) }
                td { (time(now, agent.registered)) }
                @if has_gpus { td { (usage(3, agent.used, agent.offered, agent.total)) } }
            }
        }
    };
    let states = ["", "active", "deactivated", "draining", "drained", "disconnected"];
    let states = states.map(|s| (s.to_owned(), if s.is_empty() { "all" } else { s }.to_owned()));
    let mut columns = COLUMNS.to_vec();
    columns.extend(has_gpus.then_some(bars("", "GPUs")));
    let main = html! {
        (heading("Cluster", "Agents", html! {
            @if away > 0 { a href=(Route::Maintenance.href()) { (badge(Tone::Warn, format!("{} more are away", count(away as u64)))) } }
        }))
        (search(query, "Host or id", &[Choice { name: "state", label: "State", values: states.to_vec() }]))
        @if number_of_all == 0 {
            (nothing("No agent is registered. Start one with: proffer agent --master=…"))
        } @else {
            (sortable("Agents", &columns, query, &wanted, &rows))
            (pager(query, &paged, "agents"))
        }
    };
    Page::new("Agents", Section::Agents, main)
}

/// What of an agent is reserved to a role.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// The role.
    pub role: String,
    /// How much.
    pub amounts: Amounts,
}

/// An agent.
#[derive(Debug)]
pub struct Agent<'a> {
    /// As in lists.
    pub row: AgentRow<'a>,
    /// Its description.
    pub info: &'a v1::AgentInfo,
    /// `host:port` of its own interface.
    pub address: String,
    /// Version of the interfaces it speaks.
    pub version: &'a str,
    /// Its capabilities.
    pub capabilities: &'a [v1::agent_info::Capability],
    /// When it came back.
    pub reregistered: Option<f64>,
    /// All of its resources in words.
    pub resources: String,
    /// What is reserved.
    pub reserved: Vec<Reserved>,
    /// What operators wanted of it and how far that is, in words.
    pub out_of_use: Option<String>,
    /// When its machine will be away: from, and until if that is known.
    pub away: Option<(f64, Option<f64>)>,
    /// Operations that are not finished, in words.
    pub operations: Vec<String>,
    /// Its executors.
    pub executors: Vec<ExecutorRow<'a>>,
    /// Frameworks with something on it: id, name, what they use.
    pub frameworks: Vec<(&'a str, &'a str, Amounts)>,
    /// Its tasks, those that have not ended.
    pub tasks: Vec<TaskRow<'a>>,
}

/// Makes the page of an agent.
#[must_use]
pub fn agent(mut model: Agent<'_>, now: f64) -> Page {
    let row = model.row;
    let capabilities = model.capabilities.iter().map(|c| c.r#type().as_str_name());
    let capabilities = capabilities.map(|name| name.to_lowercase()).collect::<Vec<_>>().join(", ");
    let number_of_tasks = model.tasks.len();
    model.tasks.sort_by(|a, b| b.updated().total_cmp(&a.updated()));
    model.tasks.truncate(TASKS_MAX);
    let tasks_href = format!("/ui/tasks?agent={}", crate::query::encode(row.id));
    let main = html! {
        (heading("Agent", row.host, html! { (badge(row.state.tone(), row.state.name())) }))
        @if let Some(text) = &model.out_of_use { p.notice { (text) } }
        @if let Some((from, until)) = model.away {
            p.notice { "Its machine will be away: " (time(now, from))
                @if let Some(until) = until { ", back " (time(now, until)) } "." }
        }
        (facts(&[
            ("Id", Some(html! { code { (row.id) } })),
            ("Address", Some(html! { code { (model.address) } })),
            ("Registered", Some(time(now, row.registered))),
            ("Came back", model.reregistered.map(|at| time(now, at))),
            ("Version", Some(html! { (model.version) })),
            ("Attributes", attributes(&model.info.attributes)),
            ("Fault domain", domain(model.info.domain.as_ref())),
            ("Capabilities", (!capabilities.is_empty()).then(|| html! { (capabilities) })),
            ("Resources", Some(html! { code.wrap { (model.resources) } })),
        ]))
        section.meters aria-label="Resources" {
            @for (at, title) in TITLES.into_iter().enumerate() {
                @if row.total.0[at] > 0 {
                    div { h3 { (title) } (usage(at, row.used, row.offered, row.total)) }
                }
            }
        }
        div.columns {
            section.panel {
                h2 { "Frameworks" }
                @if model.frameworks.is_empty() { (nothing("No framework uses it.")) } @else {
                    (table("Frameworks", &[text("", "Framework"), number("", "CPUs"), number("", "Memory"), number("", "Disk")], &html! {
                        @for (id, name, used) in &model.frameworks {
                            tr {
                                th scope="row" { (framework_link(id, name)) }
                                td.number { (amount(0, *used)) } td.number { (amount(1, *used)) } td.number { (amount(2, *used)) }
                            }
                        }
                    }))
                }
            }
            section.panel {
                h2 { "Reservations" }
                @if model.reserved.is_empty() { (nothing("Nothing of it is reserved.")) } @else {
                    (table("Reservations", &[text("", "Role"), number("", "CPUs"), number("", "Memory"), number("", "Disk")], &html! {
                        @for Reserved { role, amounts } in &model.reserved {
                            tr {
                                th scope="row" { (link(&Route::Role(role.clone()), role)) }
                                td.number { (amount(0, *amounts)) } td.number { (amount(1, *amounts)) } td.number { (amount(2, *amounts)) }
                            }
                        }
                    }))
                }
                @if !model.operations.is_empty() {
                    h3 { "Operations that are not finished" }
                    ul { @for operation in &model.operations { li { (operation) } } }
                }
            }
        }
        @if !model.executors.is_empty() {
            section.panel { h2 { "Executors" } (executor_table(&model.executors, true)) }
        }
        section.panel {
            h2 { a href=(tasks_href) { "Tasks" } " " span.count { (count(number_of_tasks as u64)) } }
            @if model.tasks.is_empty() { (nothing("No task runs on it.")) } @else {
                (short_table("Tasks", &model.tasks, now, About::Agent))
                @if number_of_tasks > TASKS_MAX {
                    p.more { a href=(tasks_href) { "All " (count(number_of_tasks as u64)) } }
                }
            }
        }
    };
    Page::new(row.host, Section::Agents, main)
}

/// A table of executors, of one framework or of one agent.
pub(crate) fn executor_table(executors: &[ExecutorRow<'_>], is_of_agent: bool) -> Markup {
    let where_ = if is_of_agent { "Framework" } else { "Agent" };
    let columns = [
        text("", "Executor"),
        text("", where_),
        number("", "Tasks"),
        text("", "Resources"),
        text("", "Sandbox"),
    ];
    table(
        "Executors",
        &columns,
        &html! {
            @for executor in executors {
                @let place = Place::executor(executor.framework, executor.agent, &executor.info.executor_id.value);
                tr {
                    th scope="row" { (link(&Route::Place(place.clone()), &executor.info.executor_id.value)) }
                    td {
                        @if is_of_agent { (framework_link(executor.framework, executor.framework_name)) }
                        @else { (crate::parts::agent_link(executor.agent, executor.host)) }
                    }
                    td.number { (count(executor.tasks as u64)) }
                    td { (in_line(executor.amounts)) }
                    td { (crate::parts::output_links(&place)) }
                }
            }
        },
    )
}

fn attributes(attributes: &[v1::Attribute]) -> Option<Markup> {
    let value = |attribute: &v1::Attribute| {
        let text = attribute.text.as_ref().map(|t| t.value.clone());
        let scalar = attribute.scalar.as_ref().map(|s| s.value.to_string());
        let ranges = attribute.ranges.as_ref().map(|ranges| {
            let all = ranges.range.iter().map(|r| format!("{}-{}", r.begin, r.end));
            format!("[{}]", all.collect::<Vec<_>>().join(","))
        });
        let set = attribute.set.as_ref().map(|set| format!("{{{}}}", set.item.join(",")));
        text.or(scalar).or(ranges).or(set).unwrap_or_default()
    };
    (!attributes.is_empty()).then(|| {
        html! { @for a in attributes { code.label { (a.name) ":" (value(a)) } " " } }
    })
}

fn domain(domain: Option<&v1::DomainInfo>) -> Option<Markup> {
    let at = domain?.fault_domain.as_ref()?;
    Some(html! { (at.region.name) " / " (at.zone.name) })
}
