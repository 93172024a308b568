//! A task; an executor.

use super::frameworks::ExecutorRow;
use super::tasks::{About, Kind, TaskRow, health, short_table};
use crate::amounts::Amounts;
use crate::format::{self, Tone, duration, words};
use crate::frame::{Page, Section};
use crate::parts::{
    TITLES, agent_link, amount, badge, facts, framework_link, heading, labels, link, nothing,
    table, task_badge, text, time, utc_time,
};
use crate::route::{Place, Route};
use maud::{Markup, html};
use wire::v1;

/// A task.
#[derive(Debug)]
pub struct Task<'a> {
    /// As in lists.
    pub row: TaskRow<'a>,
    /// All its resources in words.
    pub resources: String,
    /// Whether its sandbox can be read, otherwise why not.
    pub sandbox: Result<(), String>,
}

/// Makes the page of a task.
#[must_use]
pub fn task(model: &Task<'_>, now: f64) -> Page {
    let row = &model.row;
    let task = row.wire;
    let name = if task.name.is_empty() { &task.task_id.value } else { &task.name };
    let executor = task.executor_id.as_ref().filter(|_| row.kind == Kind::Active).map(|id| {
        let place = Place::executor(&task.framework_id.value, &task.agent_id.value, &id.value);
        link(&Route::Place(place), &id.value)
    });
    let limits = task.limits.iter().map(|(name, limit)| format!("{name} {}", limit.value));
    let limits = limits.collect::<Vec<_>>().join(", ");
    let amounts = Amounts::of(row.resources);
    let status = task.statuses.iter().rev().find_map(|status| status.container_status.as_ref());
    let main = html! {
        (heading("Task", name, html! {
            (task_badge(task.state())) (health(task))
            @match row.kind {
                Kind::Unreachable => { (badge(Tone::Warn, "agent unreachable")) },
                Kind::Active | Kind::Completed => {},
            }
        }))
        (facts(&[
            ("Id", Some(html! { code { (task.task_id.value) } })),
            ("Framework", Some(framework_link(&task.framework_id.value, row.framework))),
            ("Agent", Some(agent_link(&task.agent_id.value, row.host))),
            ("Executor", executor),
            ("Role", (!row.role().is_empty()).then(|| link(&Route::Role(row.role().to_owned()), row.role()))),
            ("User", task.user.as_ref().map(|user| html! { (user) })),
            ("Launched", Some(time(now, row.started()))),
            ("Changed", Some(time(now, row.updated()))),
            ("Limits", (!limits.is_empty()).then(|| html! { (limits) })),
            ("Grace period", task.kill_policy.and_then(|p| p.grace_period).map(|d| html! { (duration(seconds(d.nanoseconds))) })),
            ("Labels", labels(task.labels.as_ref())),
            ("Resources", Some(html! { code.wrap { (model.resources) } })),
        ]))
        dl.amounts {
            @for (at, title) in TITLES.into_iter().enumerate() {
                @if amounts.0[at] > 0 { div { dt { (title) } dd { (amount(at, amounts)) } } }
            }
        }
        (sandbox(&row.place(), &model.sandbox))
        section.panel {
            h2 { "History" }
            (history(&task.statuses, now))
        }
        @if task.container.is_some() || status.is_some() {
            section.panel { h2 { "Container" } (container(task.container.as_deref(), status)) }
        }
        @if let Some(check) = &task.health_check { section.panel { h2 { "Health check" } (health_check(check)) } }
        @if let Some(discovery) = &task.discovery { section.panel { h2 { "Discovery" } (discovery_facts(discovery)) } }
    };
    Page::new(name, Section::Tasks, main)
}

#[expect(clippy::cast_precision_loss, reason = "shown in seconds")]
fn seconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// The way into a sandbox, with the end of what it prints.
fn sandbox(place: &Place, readable: &Result<(), String>) -> Markup {
    let files = Route::Files(place.clone()).href();
    let read = Route::Read(place.clone()).href();
    html! {
        section.panel #sandbox {
            h2 { @if readable.is_ok() { a href=(files) { "Sandbox" } } @else { "Sandbox" } }
            @match readable {
                Err(why) => { (nothing(why)) },
                Ok(()) => {
                    p { a href=(files) { "Browse files" } }
                    div.columns {
                        @for name in ["stdout", "stderr"] {
                            div {
                                h3 { a href=(format!("{files}?path={name}")) { (name) } }
                                pre.log.short #(name) tabindex="0" data-keep data-follow=(format!("{read}?path={name}")) data-tail="8192"
                                    aria-label=(format!("The end of {name}")) {}
                            }
                        }
                    }
                },
            }
        }
    }
}

fn history(statuses: &[v1::TaskStatus], now: f64) -> Markup {
    let columns = [
        text("", "When"),
        text("", "State"),
        text("", "Said by"),
        text("", "Reason"),
        text("", "Message"),
        text("", "Lasted"),
    ];
    let ends = statuses.iter().skip(1).map(|status| Some(status.timestamp())).chain([None]);
    let rows: Vec<_> = statuses.iter().zip(ends).collect();
    html! {
        @if statuses.is_empty() { (nothing("Nothing was said of it yet.")) } @else {
            (table("History", &columns, &html! {
                @for (status, end) in rows.into_iter().rev() {
                    tr {
                        td { (time(now, status.timestamp())) " " span.note { (utc_time(status.timestamp())) } }
                        td { (task_badge(status.state())) }
                        td { @if status.source.is_some() { (words(status.source().as_str_name(), "SOURCE_")) } }
                        td { @if status.reason.is_some() { (words(status.reason().as_str_name(), "REASON_")) } }
                        td.prose { (status.message()) }
                        td { @if let Some(end) = end { (duration(end - status.timestamp())) } }
                    }
                }
            }))
        }
    }
}

fn container(info: Option<&v1::ContainerInfo>, status: Option<&v1::ContainerStatus>) -> Markup {
    let docker = info.and_then(|info| info.docker.as_ref());
    let mesos = info.and_then(|info| info.mesos.as_ref()).and_then(|mesos| mesos.image.as_ref());
    let image = docker
        .map(|docker| docker.image.clone())
        .or_else(|| mesos?.docker.as_ref().map(|d| d.name.clone()));
    let networks = status.map(|s| s.network_infos.as_slice()).unwrap_or_default();
    let addresses = networks.iter().flat_map(|n| &n.ip_addresses).map(|a| a.ip_address());
    let addresses = addresses.collect::<Vec<_>>().join(", ");
    let names = networks.iter().filter_map(|n| n.name.as_deref()).collect::<Vec<_>>().join(", ");
    let of_docker =
        docker.iter().flat_map(|d| &d.port_mappings).map(|p| (p.host_port, p.container_port));
    let of_networks =
        networks.iter().flat_map(|n| &n.port_mappings).map(|p| (p.host_port, p.container_port));
    let ports = of_docker.chain(of_networks).map(|(host, own)| format!("{host} → {own}"));
    let ports = ports.collect::<Vec<_>>().join(", ");
    let volumes = info.map(|info| info.volumes.as_slice()).unwrap_or_default();
    let some = |text: String| (!text.is_empty()).then(|| html! { (text) });
    let ids = status.and_then(|s| s.container_id.as_ref()).map(|id| {
        let parents = std::iter::successors(id.parent.as_deref(), |id| id.parent.as_deref());
        let all = std::iter::once(id).chain(parents).map(|id| id.value.as_str());
        let mut all: Vec<_> = all.collect();
        all.reverse();
        all.join(" / ")
    });
    html! {
        (facts(&[
            ("Id", ids.map(|id| html! { code { (id) } })),
            ("Kind", info.map(|info| html! { (info.r#type().as_str_name().to_lowercase()) })),
            ("Image", image.map(|image| html! { code { (image) } })),
            ("Host name", info.and_then(|info| info.hostname.as_ref()).map(|name| html! { (name) })),
            ("Addresses", some(addresses)),
            ("Networks", some(names)),
            ("Ports", some(ports)),
            ("Process", status.and_then(|s| s.executor_pid).map(|pid| html! { (pid) })),
            ("Volumes", (!volumes.is_empty()).then(|| html! {
                @for volume in volumes { code.label { (volume.container_path) @if let Some(host) = &volume.host_path { " ← " (host) } } " " }
            })),
        ]))
    }
}

fn health_check(check: &v1::HealthCheck) -> Markup {
    let what = match check.r#type() {
        v1::health_check::Type::Http => check.http.as_ref().map(|http| {
            format!("{}://…:{}{}", http.scheme.as_deref().unwrap_or("http"), http.port, http.path())
        }),
        v1::health_check::Type::Tcp => check.tcp.as_ref().map(|tcp| format!("port {}", tcp.port)),
        v1::health_check::Type::Command => {
            check.command.as_ref().map(|command| command.value().to_owned())
        }
        v1::health_check::Type::Unknown => None,
    };
    facts(&[
        ("Kind", Some(html! { (check.r#type().as_str_name().to_lowercase()) })),
        ("What", what.map(|what| html! { code.wrap { (what) } })),
        ("Every", Some(html! { (duration(check.interval_seconds())) })),
        ("Timeout", Some(html! { (duration(check.timeout_seconds())) })),
        ("Failures in a row", Some(html! { (check.consecutive_failures()) })),
        ("Grace period", Some(html! { (duration(check.grace_period_seconds())) })),
    ])
}

fn discovery_facts(discovery: &v1::DiscoveryInfo) -> Markup {
    let ports = discovery.ports.iter().flat_map(|ports| &ports.ports);
    let ports = ports.map(|port| format!("{} {} {}", port.number, port.protocol(), port.name()));
    let ports = ports.collect::<Vec<_>>().join(", ");
    facts(&[
        ("Name", discovery.name.as_ref().map(|name| html! { (name) })),
        ("Visibility", Some(html! { (discovery.visibility().as_str_name().to_lowercase()) })),
        ("Ports", (!ports.is_empty()).then(|| html! { (ports) })),
        ("Labels", labels(discovery.labels.as_ref())),
    ])
}

/// An executor.
#[derive(Debug)]
pub struct Executor<'a> {
    /// As in lists; None: it has ended.
    pub row: Option<ExecutorRow<'a>>,
    /// What has its sandbox.
    pub place: Place,
    /// Name of its framework.
    pub framework_name: &'a str,
    /// Id of its agent.
    pub agent: &'a str,
    /// Name of its agent's host.
    pub host: &'a str,
    /// Its tasks, also those that have ended.
    pub tasks: Vec<TaskRow<'a>>,
    /// Whether its sandbox can be read, otherwise why not.
    pub sandbox: Result<(), String>,
}

/// Makes the page of an executor.
#[must_use]
pub fn executor(model: &Executor<'_>, now: f64) -> Page {
    let info = model.row.map(|row| row.info);
    let command =
        info.and_then(|info| info.command.as_ref()).and_then(|command| command.value.as_ref());
    let name = info.and_then(|info| info.name.as_ref()).filter(|name| !name.is_empty());
    let amounts = model.row.map(|row| row.amounts).unwrap_or_default();
    let main = html! {
        (heading("Executor", model.place.id(), html! {
            @if model.row.is_some() { (badge(Tone::Good, "active")) } @else { (badge(Tone::Quiet, "ended")) }
        }))
        (facts(&[
            ("Name", name.map(|name| html! { (name) })),
            ("Framework", Some(framework_link(model.place.framework(), model.framework_name))),
            ("Agent", Some(agent_link(model.agent, model.host))),
            ("Kind", info.and_then(|info| info.r#type.map(|_| html! { (info.r#type().as_str_name().to_lowercase()) }))),
            ("Command", command.map(|command| html! { code.wrap { (command) } })),
            ("Resources", model.row.map(|_| html! { (crate::parts::in_line(amounts)) })),
            ("Labels", info.and_then(|info| labels(info.labels.as_ref()))),
        ]))
        (sandbox(&model.place, &model.sandbox))
        section.panel {
            h2 { "Tasks " span.count { (format::count(model.tasks.len() as u64)) } }
            @if model.tasks.is_empty() { (nothing("It has no tasks that are known.")) }
            @else { (short_table("Tasks", &model.tasks, now, About::Framework)) }
        }
    };
    Page::new(model.place.id(), Section::Tasks, main)
}
