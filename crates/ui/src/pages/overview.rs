//! The cluster at a glance.

use super::agents::AgentRow;
use super::roles::{RoleRow, shares};
use super::tasks::{About, TaskRow, short_table};
use crate::amounts::{Amounts, NAMES};
use crate::format::{self, Tone, count};
use crate::frame::{Page, Section};
use crate::parts::{
    Piece, TITLES, agent_link, badge, bar, bars, link, nothing, number, table, text, usage,
};
use crate::plot::{self, Curve, Sample};
use crate::route::Route;
use maud::{Markup, html};

/// Agents of which each has a cell of its own.
const CELLS_MAX: usize = 400;
/// Roles that are shown.
const ROLES_MAX: usize = 8;
/// Agents that are shown of the busiest.
const BUSIEST_MAX: usize = 5;

/// Numbers of things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Agents that are offered.
    pub agents_active: usize,
    /// Registered agents without a connection.
    pub agents_disconnected: usize,
    /// Agents that operators took out of use.
    pub agents_deactivated: usize,
    /// Agents that are gone for longer than they may.
    pub agents_unreachable: usize,
    /// Agents that have not come back since this master leads.
    pub agents_expected: usize,
    /// Frameworks with an open connection.
    pub frameworks_connected: usize,
    /// All frameworks.
    pub frameworks: usize,
    /// Tasks that are launched and do not run yet.
    pub tasks_starting: usize,
    /// Tasks that run.
    pub tasks_running: usize,
    /// Tasks that are told to end.
    pub tasks_killing: usize,
    /// Tasks on unreachable agents.
    pub tasks_unreachable: usize,
    /// Tasks that ended well, since this master leads.
    pub tasks_finished: u64,
    /// Tasks that failed or were lost, since this master leads.
    pub tasks_failed: u64,
    /// Offers that are open.
    pub offers: usize,
}

/// What is known of the cluster.
#[derive(Debug, Default)]
pub struct Overview<'a> {
    /// When the data were taken.
    pub now: f64,
    /// Numbers of things.
    pub counts: Counts,
    /// All resources of registered agents.
    pub total: Amounts,
    /// What is used.
    pub used: Amounts,
    /// What is offered.
    pub offered: Amounts,
    /// What is reserved.
    pub reserved: Amounts,
    /// What is lent of reservations and guarantees.
    pub lent: Amounts,
    /// The last hour.
    pub samples: &'a [Sample],
    /// All roles.
    pub roles: Vec<RoleRow<'a>>,
    /// All agents.
    pub agents: Vec<AgentRow<'a>>,
    /// Tasks that failed, newest first.
    pub failed: Vec<TaskRow<'a>>,
}

/// Makes the page.
#[must_use]
pub fn overview(model: Overview<'_>) -> Page {
    let main = html! {
        h1.hidden { "Overview" }
        (numbers(&model.counts))
        section.cards aria-label="Resources" {
            @for (at, title) in TITLES.into_iter().enumerate() {
                // Few clusters have GPUs.
                @if at < 3 || model.total.0[at] > 0 { (resource(&model, at, title)) }
            }
            (task_plot(&model))
        }
        div.columns {
            section.panel {
                h2 { (link(&Route::Roles, "Roles")) }
                (roles(&model))
            }
            section.panel {
                h2 { (link(&Route::Agents, "Agents")) }
                (agents(&model))
                (busiest(&model.agents))
            }
        }
        section.panel {
            h2 { a href="/ui/tasks?state=failed" { "Latest failures" } }
            @if model.failed.is_empty() { (nothing("No task failed that this master knows of.")) }
            @else { (short_table("Latest failures", &model.failed, model.now, About::Cluster)) }
        }
    };
    Page::new("Overview", Section::Overview, main)
}

fn numbers(counts: &Counts) -> Markup {
    let shown = |n: usize| count(n as u64);
    let asides = |all: &[(usize, Tone, &str)]| {
        html! {
            @for (n, tone, what) in all {
                @if *n > 0 { (badge(*tone, format!("{} {what}", shown(*n)))) }
            }
        }
    };
    let tiles = [
        (
            Route::Agents.href(),
            "Agents",
            counts.agents_active,
            asides(&[
                (counts.agents_disconnected, Tone::Warn, "disconnected"),
                (counts.agents_deactivated, Tone::Busy, "out of use"),
                (counts.agents_unreachable, Tone::Bad, "unreachable"),
                (counts.agents_expected, Tone::Warn, "expected back"),
            ]),
        ),
        (
            Route::Frameworks.href(),
            "Frameworks",
            counts.frameworks,
            asides(&[(
                counts.frameworks - counts.frameworks_connected.min(counts.frameworks),
                Tone::Warn,
                "disconnected",
            )]),
        ),
        (
            Route::Tasks.href(),
            "Tasks running",
            counts.tasks_running,
            asides(&[
                (counts.tasks_starting, Tone::Busy, "starting"),
                (counts.tasks_killing, Tone::Busy, "ending"),
                (counts.tasks_unreachable, Tone::Bad, "unreachable"),
            ]),
        ),
        (
            "/ui/tasks?state=failed".to_owned(),
            "Tasks failed",
            usize::try_from(counts.tasks_failed).unwrap_or(usize::MAX),
            html! { span.note title="Since this master leads" { (count(counts.tasks_finished)) " finished" } },
        ),
        (Route::Offers.href(), "Open offers", counts.offers, html! {}),
    ];
    html! {
        section.tiles aria-label="Numbers" {
            @for (href, title, n, beside) in tiles {
                a.tile href=(href) {
                    span.name { (title) }
                    strong { (shown(n)) }
                    span.beside { (beside) }
                }
            }
        }
    }
}

fn resource(model: &Overview<'_>, at: usize, title: &str) -> Markup {
    let name = NAMES[at];
    let (total, used, offered) = (model.total.0[at], model.used.0[at], model.offered.0[at]);
    let idle = total.saturating_sub(used).saturating_sub(offered).max(0);
    let pieces = [
        Piece { class: "used", name: "allocated", milli: used },
        Piece { class: "offered", name: "offered", milli: offered },
    ];
    let shown = |milli| format::amount(name, milli);
    let parts = [
        ("used", "allocated", used),
        ("offered", "offered", offered),
        ("idle", "idle", idle),
        ("reserved", "reserved", model.reserved.0[at]),
        ("lent", "lent", model.lent.0[at]),
    ];
    html! {
        article.card {
            header {
                h2 { (title) }
                p { strong { (format::percent(used, total)) } span.note { " of " (shown(total)) } }
            }
            (bar(name, &pieces, total, &[]))
            dl.legend {
                @for (class, what, milli) in parts {
                    div {
                        dt { span.key.(class) {} (what) }
                        dd { (shown(milli)) }
                    }
                }
            }
            (plot::resource(title, at, model.samples, model.now))
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a drawing"
)]
fn task_plot(model: &Overview<'_>) -> Markup {
    let running = |sample: &Sample| sample.running as f64;
    let counts = &model.counts;
    let parts = [
        ("starting", counts.tasks_starting as u64),
        ("ending", counts.tasks_killing as u64),
        ("unreachable", counts.tasks_unreachable as u64),
        ("finished", counts.tasks_finished),
        ("failed", counts.tasks_failed),
    ];
    let curve = Curve { class: "tasks", value: &running };
    html! {
        article.card {
            header {
                h2 { "Tasks" }
                p { strong { (count(model.counts.tasks_running as u64)) } span.note { " running" } }
            }
            dl.legend {
                @for (what, n) in parts { div { dt { (what) } dd { (count(n)) } } }
            }
            (plot::plot("Running tasks", model.samples, model.now, &[curve], |top| count(top as u64)))
        }
    }
}

fn roles(model: &Overview<'_>) -> Markup {
    let mut rows: Vec<&RoleRow<'_>> = model.roles.iter().collect();
    rows.sort_by(|a, b| {
        let share = |row: &RoleRow<'_>| (row.used + row.offered).dominant_share(model.total);
        share(b).total_cmp(&share(a)).then_with(|| a.name.cmp(b.name))
    });
    let more = rows.len().saturating_sub(ROLES_MAX);
    rows.truncate(ROLES_MAX);
    html! {
        @if rows.is_empty() { (nothing("No role is in use.")) } @else {
            (shares(&rows, model.total))
            @if more > 0 { p.more { (link(&Route::Roles, format!("{more} more"))) } }
        }
    }
}

/// A cell for each agent, or how many agents are how busy.
fn agents(model: &Overview<'_>) -> Markup {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10")]
    let tenth = |agent: &AgentRow<'_>| (busy(agent) * 10.0).ceil().clamp(0.0, 10.0) as usize;
    if model.agents.is_empty() {
        return nothing("No agent is registered. Start one with: proffer agent --master=…");
    }
    if model.agents.len() > CELLS_MAX {
        let mut tenths = [0_usize; 11];
        for agent in &model.agents {
            tenths[tenth(agent)] += 1;
        }
        let most = tenths.iter().copied().max().unwrap_or(1).max(1);
        return html! {
            p.note { "How many agents are how busy: the greatest share of a resource that is allocated or offered." }
            div.histogram {
                @for (at, n) in tenths.into_iter().enumerate() {
                    @let label = if at == 0 { "idle".to_owned() } else { format!("≤{}%", at * 10) };
                    div title=(format!("{} agents {label}", count(n as u64))) {
                        span.n { (count(n as u64)) }
                        svg viewBox="0 0 10 60" preserveAspectRatio="none" aria-hidden="true" {
                            @let height = n * 60 / most;
                            rect.(format!("heat h{at}")) width="10" y=(60 - height) height=(height) {}
                        }
                        span.label { (label) }
                    }
                }
            }
        };
    }
    let mut cells: Vec<&AgentRow<'_>> = model.agents.iter().collect();
    cells.sort_by(|a, b| a.host.cmp(b.host).then_with(|| a.id.cmp(b.id)));
    html! {
        p.note { "A cell for each agent: the greatest share of a resource that is allocated or offered." }
        div.cells {
            @for agent in cells {
                @let title = format!("{}: {}, {}", agent.host, format::share(busy(agent)), agent.state.name());
                a.(format!("heat h{} {}", tenth(agent), agent.state.tone().class()))
                    href=(Route::Agent(agent.id.to_owned()).href()) title=(title) aria-label=(title) {}
            }
        }
        p.scale aria-hidden="true" {
            "idle" @for at in 0..11 { span.(format!("heat h{at}")) {} } "full"
        }
    }
}

/// What an agent has the least left of: the part that is allocated or offered.
fn busy(agent: &AgentRow<'_>) -> f64 {
    (agent.used + agent.offered).dominant_share(agent.total)
}

fn busiest(agents: &[AgentRow<'_>]) -> Markup {
    let mut agents: Vec<&AgentRow<'_>> = agents.iter().collect();
    let order = |a: &&AgentRow<'_>, b: &&AgentRow<'_>| {
        busy(b).total_cmp(&busy(a)).then_with(|| a.host.cmp(b.host)).then_with(|| a.id.cmp(b.id))
    };
    if agents.len() > BUSIEST_MAX {
        agents.select_nth_unstable_by(BUSIEST_MAX, order);
        agents.truncate(BUSIEST_MAX);
    }
    agents.sort_by(order);
    let columns = [text("", "Busiest"), number("", "Tasks"), bars("", "CPUs"), bars("", "Memory")];
    html! {
        @if !agents.is_empty() {
            div.busiest {
                (table("The busiest agents", &columns, &html! {
                    @for agent in agents {
                        tr {
                            th scope="row" { (agent_link(agent.id, agent.host)) }
                            td.number { (count(agent.tasks as u64)) }
                            td { (usage(0, agent.used, agent.offered, agent.total)) }
                            td { (usage(1, agent.used, agent.offered, agent.total)) }
                        }
                    }
                }))
            }
        }
    }
}
