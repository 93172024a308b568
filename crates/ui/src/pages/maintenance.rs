//! Machines that will be away or are, and agents that are out of use.

use super::agents::AgentState;
use crate::format::{Tone, count, duration};
use crate::frame::{Page, Section};
use crate::parts::{agent_link, badge, heading, id, nothing, number, table, text, time};
use maud::{Markup, html};

/// Agents of a list that are shown.
const SHOWN_MAX: usize = 200;

/// A machine of the schedule.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name, address, or both.
    pub name: String,
    /// When it will be away, in seconds since 1970.
    pub from: f64,
    /// For how long, if that is known.
    pub lasts: Option<f64>,
    /// Whether it is down.
    pub is_down: bool,
    /// Its registered agents: id, host, tasks.
    pub agents: Vec<(String, String, usize)>,
    /// What frameworks said to it: accepted, declined, no answer yet.
    pub answers: [usize; 3],
}

/// An agent that operators took out of use.
#[derive(Debug, Clone)]
pub struct OutOfUse {
    /// Its id.
    pub id: String,
    /// Name of its host, if it is known.
    pub host: String,
    /// What it is to its master.
    pub state: AgentState,
    /// What was asked for, in words.
    pub wanted: String,
    /// When its drain began.
    pub since: Option<f64>,
    /// Tasks that are left.
    pub tasks: usize,
}

/// Everything about agents that are away or will be.
#[derive(Debug, Default)]
pub struct Maintenance {
    /// Machines of the schedule.
    pub machines: Vec<Machine>,
    /// Agents that are out of use.
    pub out_of_use: Vec<OutOfUse>,
    /// Agents that are unreachable, with when they became so.
    pub unreachable: Vec<(String, f64)>,
    /// Agents that have not come back since this master leads: id, host.
    pub expected: Vec<(String, String)>,
    /// Agents marked gone, with when.
    pub gone: Vec<(String, f64)>,
}

/// Makes the page.
#[must_use]
pub fn maintenance(model: &Maintenance, now: f64) -> Page {
    let main = html! {
        (heading("Cluster", "Maintenance", html! {}))
        section.panel {
            h2 { "Schedule" }
            @if model.machines.is_empty() { (nothing("No machine has a window. Set one with: proffer maintenance schedule")) }
            @else { (schedule(&model.machines, now)) }
        }
        section.panel {
            h2 { "Drained and deactivated agents" }
            @if model.out_of_use.is_empty() { (nothing("All agents are in use. Drain one with: proffer drain")) }
            @else {
                (table("Agents out of use", &[text("", "Agent"), text("", "State"), text("", "Wanted"), text("", "Since"), number("", "Tasks left")], &html! {
                    @for agent in &model.out_of_use {
                        tr {
                            th scope="row" { (agent_link(&agent.id, &agent.host)) }
                            td { (badge(agent.state.tone(), agent.state.name())) }
                            td { (agent.wanted) }
                            td { (time(now, agent.since.unwrap_or(0.0))) }
                            td.number { (count(agent.tasks as u64)) }
                        }
                    }
                }))
            }
        }
        (away("Unreachable agents", "Every agent can be reached.", "Unreachable since", &model.unreachable, now))
        @if !model.expected.is_empty() {
            section.panel {
                h2 { "Agents that are expected back " span.count { (count(model.expected.len() as u64)) } }
                (table("Agents that are expected back", &[text("", "Agent"), text("", "Host")], &html! {
                    @for (agent, host) in model.expected.iter().take(SHOWN_MAX) { tr { th scope="row" { (id(agent)) } td { (host) } } }
                }))
            }
        }
        @if !model.gone.is_empty() { (away("Agents marked gone", "", "Gone since", &model.gone, now)) }
    };
    Page::new("Maintenance", Section::Maintenance, main)
}

fn schedule(machines: &[Machine], now: f64) -> Markup {
    let columns = [
        text("", "Machine"),
        text("", "State"),
        text("", "Begins"),
        text("", "Lasts"),
        text("", "Agents"),
        number("", "Tasks left"),
        text("", "Frameworks"),
    ];
    table(
        "Schedule",
        &columns,
        &html! {
            @for machine in machines {
                tr {
                    th scope="row" { (machine.name) }
                    td {
                        @if machine.is_down { (badge(Tone::Bad, "down")) }
                        @else if machine.from <= now { (badge(Tone::Busy, "window is open")) }
                        @else { (badge(Tone::Warn, "draining")) }
                    }
                    td { (time(now, machine.from)) }
                    td { @if let Some(seconds) = machine.lasts { (duration(seconds)) } @else { "without end" } }
                    td { @for (id, host, _) in &machine.agents { (agent_link(id, host)) " " } }
                    td.number { (count(machine.agents.iter().map(|(_, _, tasks)| *tasks as u64).sum())) }
                    td {
                        @let [accepted, declined, open] = machine.answers;
                        @if accepted > 0 { (badge(Tone::Good, format!("{accepted} accepted"))) " " }
                        @if declined > 0 { (badge(Tone::Bad, format!("{declined} declined"))) " " }
                        @if open > 0 { (badge(Tone::Quiet, format!("{open} open"))) }
                    }
                }
            }
        },
    )
}

fn away(
    title: &str,
    none: &str,
    since: &'static str,
    agents: &[(String, f64)],
    now: f64,
) -> Markup {
    html! {
        section.panel {
            h2 { (title) @if !agents.is_empty() { " " span.count { (count(agents.len() as u64)) } } }
            @if agents.is_empty() { (nothing(none)) } @else {
                (table(title, &[text("", "Agent"), text("", since)], &html! {
                    @for (agent, at) in agents.iter().take(SHOWN_MAX) {
                        tr { th scope="row" { code { (agent) } } td { (time(now, *at)) } }
                    }
                }))
                @if agents.len() > SHOWN_MAX { p.note { "and " (count((agents.len() - SHOWN_MAX) as u64)) " more" } }
            }
        }
    }
}
