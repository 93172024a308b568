//! Lists of tasks.

use crate::amounts::Amounts;
use crate::format::{self, task_state};
use crate::frame::{Page, Section};
use crate::list::Wanted;
use crate::parts::{
    Choice, Column, agent_link, amount, chips, framework_link, heading, keys, link, nothing,
    number, output_links, pager, search, sortable, table, task_badge, text, time,
};
use crate::query::Query;
use crate::route::{Place, Route};
use maud::{Markup, html};
use resources::Resources;
use wire::v1;

/// How a task is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has not ended, or its end is not acknowledged.
    Active,
    /// Its agent is unreachable.
    Unreachable,
    /// It has ended.
    Completed,
}

/// A task in a list.
#[derive(Debug, Clone, Copy)]
pub struct TaskRow<'a> {
    /// What everybody may know of it.
    pub wire: &'a v1::Task,
    /// What it uses.
    pub resources: &'a Resources,
    /// Name of its framework.
    pub framework: &'a str,
    /// Name of its agent's host; empty when the agent is gone.
    pub host: &'a str,
    /// How it is known.
    pub kind: Kind,
}

impl TaskRow<'_> {
    /// When it was launched, as far as is known.
    pub(crate) fn started(&self) -> f64 {
        self.wire.statuses.first().map_or(0.0, v1::TaskStatus::timestamp)
    }

    /// When its state last changed.
    pub(crate) fn updated(&self) -> f64 {
        self.wire.statuses.last().map_or(0.0, v1::TaskStatus::timestamp)
    }

    pub(crate) fn role(&self) -> &str {
        let allocated = self.wire.resources.iter().find_map(|r| r.allocation_info.as_ref());
        allocated.map_or("", |info| info.role())
    }

    pub(crate) fn place(&self) -> Place {
        Place::task(&self.wire.framework_id.value, &self.wire.task_id.value)
    }

    fn is_in(&self, state: &str) -> bool {
        use v1::TaskState as S;
        match state {
            "" | "all" => true,
            "active" => self.kind == Kind::Active,
            "unreachable" => self.kind == Kind::Unreachable,
            "completed" => self.kind == Kind::Completed,
            "failed" => matches!(
                self.wire.state(),
                S::TaskFailed
                    | S::TaskLost
                    | S::TaskError
                    | S::TaskDropped
                    | S::TaskGone
                    | S::TaskGoneByOperator
            ),
            other => self
                .wire
                .state()
                .as_str_name()
                .strip_prefix("TASK_")
                .is_some_and(|name| name.eq_ignore_ascii_case(other)),
        }
    }
}

const COLUMNS: &[Column] = &[
    text("name", "Task"),
    text("state", "State"),
    text("framework", "Framework"),
    text("host", "Agent"),
    text("role", "Role"),
    number("cpus", "CPUs"),
    number("mem", "Memory"),
    text("started", "Launched"),
    text("updated", "Changed"),
    text("", "Sandbox"),
];

/// Makes the list of tasks. Without a state in the query it is those that have not ended.
#[must_use]
pub fn tasks(all: Vec<TaskRow<'_>>, roles: &[&str], now: f64, query: &Query) -> Page {
    let wanted = Wanted::of(query, &keys(COLUMNS), "-updated");
    let state = query.get("state").unwrap_or("active");
    let (framework, agent, role) = (query.get("framework"), query.get("agent"), query.get("role"));
    let of_all = |kind| all.iter().filter(|task| task.kind == kind).count();
    let kinds = [
        ("active", "Active", of_all(Kind::Active)),
        ("unreachable", "Unreachable", of_all(Kind::Unreachable)),
        ("completed", "Completed", of_all(Kind::Completed)),
        ("all", "All", all.len()),
    ];
    let chosen = all.into_iter().filter(|task| {
        task.is_in(state)
            && framework.is_none_or(|id| task.wire.framework_id.value == id)
            && agent.is_none_or(|id| task.wire.agent_id.value == id)
            && role.is_none_or(|role| task.role() == role)
            && wanted.matches(&[
                &task.wire.name,
                &task.wire.task_id.value,
                task.framework,
                task.host,
            ])
    });
    let of = |task: &TaskRow<'_>, at: usize| Amounts::of(task.resources).0[at];
    let paged = wanted.page(chosen.collect(), |a, b| {
        let order = match wanted.sort {
            "name" => a.wire.name.cmp(&b.wire.name),
            "state" => task_state(a.wire.state()).cmp(&task_state(b.wire.state())),
            "framework" => a.framework.cmp(b.framework),
            "host" => a.host.cmp(b.host),
            "role" => a.role().cmp(b.role()),
            "cpus" => of(a, 0).cmp(&of(b, 0)),
            "mem" => of(a, 1).cmp(&of(b, 1)),
            "started" => a.started().total_cmp(&b.started()),
            _ => a.updated().total_cmp(&b.updated()),
        };
        order.then_with(|| a.wire.task_id.value.cmp(&b.wire.task_id.value))
    });
    let rows = html! { @for task in &paged.rows { (row(task, now)) } };
    let states = [
        "active",
        "staging",
        "starting",
        "running",
        "killing",
        "unreachable",
        "completed",
        "finished",
        "failed",
        "killed",
        "lost",
        "error",
        "all",
    ];
    let states = states.map(|s| (s.to_owned(), s.to_owned())).to_vec();
    let mut of_roles = vec![(String::new(), "all".to_owned())];
    of_roles.extend(roles.iter().map(|role| ((*role).to_owned(), (*role).to_owned())));
    let main = html! {
        (heading("Cluster", "Tasks", html! {}))
        nav.tabs aria-label="Kinds of tasks" {
            @for (key, title, number) in kinds {
                a href=(query.with("state", Some(key))) aria-current=[(state == key).then_some("true")] {
                    (title) " " span.count { (format::count(number as u64)) }
                }
            }
        }
        (search(query, "Name, id, framework or host", &[Choice { name: "state", label: "State", values: states }, Choice { name: "role", label: "Role", values: of_roles }]))
        (chips(query, &[("framework", "Framework"), ("agent", "Agent"), ("role", "Role")]))
        @if paged.found == 0 { (nothing("No task is like this.")) } @else {
            (sortable("Tasks", COLUMNS, query, &wanted, &rows))
            (pager(query, &paged, "tasks"))
        }
    };
    Page::new("Tasks", Section::Tasks, main)
}

fn row(task: &TaskRow<'_>, now: f64) -> Markup {
    let amounts = Amounts::of(task.resources);
    html! {
        tr {
            th scope="row" { (name(task)) }
            td { (task_badge(task.wire.state())) (health(task.wire)) }
            td { (framework_link(&task.wire.framework_id.value, task.framework)) }
            td { (agent_link(&task.wire.agent_id.value, task.host)) }
            td { @if !task.role().is_empty() { (link(&Route::Role(task.role().to_owned()), task.role())) } }
            td.number { (amount(0, amounts)) }
            td.number { (amount(1, amounts)) }
            td { (time(now, task.started())) }
            td { (time(now, task.updated())) }
            td { (output_links(&task.place())) }
        }
    }
}

/// Its name, and its id where that says more.
fn name(task: &TaskRow<'_>) -> Markup {
    let (name, id) = (&task.wire.name, &task.wire.task_id.value);
    html! {
        a href=(task.place().href()) title=(id) { @if name.is_empty() { (id) } @else { (name) } }
        @if !name.is_empty() && name != id { " " code.id { (id) } }
    }
}

/// What its health check says, while it runs.
pub(crate) fn health(task: &v1::Task) -> Markup {
    let healthy = task.statuses.last().and_then(|status| status.healthy);
    let healthy = healthy.filter(|_| task.state() == v1::TaskState::TaskRunning);
    html! {
        @match healthy {
            Some(true) => { " " span.health.good title="healthy" { "✓" } },
            Some(false) => { " " span.health.bad title="unhealthy" { "✗ unhealthy" } },
            None => {},
        }
    }
}

/// What a page is about, so that its tasks need not say it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Cluster,
    Framework,
    Agent,
}

/// A few tasks on another page.
pub(crate) fn short_table(caption: &str, tasks: &[TaskRow<'_>], now: f64, about: About) -> Markup {
    let (framework, agent) = (text("", "Framework"), text("", "Agent"));
    let mut columns = vec![text("", "Task"), text("", "State")];
    columns.extend((about != About::Framework).then_some(framework));
    columns.extend((about != About::Agent).then_some(agent));
    columns.extend([text("", "Changed"), text("", "Message"), text("", "Sandbox")]);
    table(
        caption,
        &columns,
        &html! {
            @for task in tasks {
                @let message = task.wire.statuses.last().map_or("", v1::TaskStatus::message);
                tr {
                    th scope="row" { (name(task)) }
                    td { (task_badge(task.wire.state())) (health(task.wire)) }
                    @if about != About::Framework { td { (framework_link(&task.wire.framework_id.value, task.framework)) } }
                    @if about != About::Agent { td { (agent_link(&task.wire.agent_id.value, task.host)) } }
                    td { (time(now, task.updated())) }
                    td.message title=(message) { (message) }
                    td { (output_links(&task.place())) }
                }
            }
        },
    )
}
