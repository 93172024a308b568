//! The lists of `proffer top`: what their lines say, and in which order.

use super::model::{Agent, Amounts, Framework, Model, Task};
use crate::commands::harmless;
use serde_json::{Value, json};
use std::cmp::Ordering;

/// Which list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Tasks,
    Agents,
    Frameworks,
    Roles,
}

pub(super) const LISTS: [List; 4] = [List::Tasks, List::Agents, List::Frameworks, List::Roles];

impl List {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Tasks => "Tasks",
            Self::Agents => "Agents",
            Self::Frameworks => "Frameworks",
            Self::Roles => "Roles",
        }
    }

    pub(super) fn head(self) -> &'static [&'static str] {
        match self {
            Self::Tasks => {
                &["TASK", "CPU", "OF", "MEM", "OF", "STATE", "ROLE", "FRAMEWORK", "HOST"]
            }
            Self::Agents => &["AGENT", "CPUS", "OF", "MEM", "OF", "TASKS", "HOST"],
            Self::Frameworks => &["FRAMEWORK", "CPUS", "MEM", "TASKS", "ROLES", "STATE", "ID"],
            Self::Roles => {
                &["ROLE", "CPUS", "MEM", "OFFERED CPUS", "MEM", "WEIGHT", "GUARANTEE", "LIMIT"]
            }
        }
    }

    /// Columns as JSON names them.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Tasks => &[
                "id",
                "cpus_used",
                "cpus",
                "mem_used",
                "mem",
                "state",
                "role",
                "framework",
                "host",
            ],
            Self::Agents => &["id", "cpus", "cpus_total", "mem", "mem_total", "tasks", "host"],
            Self::Frameworks => &["name", "cpus", "mem", "tasks", "roles", "state", "id"],
            Self::Roles => &[
                "name",
                "cpus",
                "mem",
                "cpus_offered",
                "mem_offered",
                "weight",
                "guarantee",
                "limit",
            ],
        }
    }

    /// Columns that the list can be sorted by, the first one at first.
    pub(super) fn sorts(self) -> &'static [usize] {
        match self {
            Self::Tasks => &[1, 3, 2, 4, 0, 5, 6, 7, 8],
            Self::Agents => &[1, 3, 5, 0, 6],
            Self::Frameworks => &[1, 2, 3, 0],
            Self::Roles => &[1, 2, 3, 0],
        }
    }
}

/// What a line says, and what it is sorted by.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Text(String),
    /// Nothing is known.
    None,
    Number(f64, usize),
}

impl Cell {
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) => harmless(text).replace(['\n', '\t'], " "),
            Self::None => "-".to_owned(),
            Self::Number(number, digits) => format!("{number:.digits$}"),
        }
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::None => Value::Null,
            Self::Number(number, _) => json!(number),
        }
    }

    pub(super) fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_))
    }

    /// Texts from a to z, numbers from large to small, what is not known last.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(a, _), Self::Number(b, _)) => b.total_cmp(a),
            (Self::None, Self::None) => Ordering::Equal,
            (Self::None, _) => Ordering::Greater,
            (_, Self::None) => Ordering::Less,
            (Self::Text(_), _) => Ordering::Less,
            (_, Self::Text(_)) => Ordering::Greater,
        }
    }
}

fn cpus(number: f64) -> Cell {
    Cell::Number(number, 2)
}

fn mem(number: f64) -> Cell {
    Cell::Number(number, 0)
}

fn number(count: usize) -> Cell {
    Cell::Number(count as f64, 0)
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

/// How a list is shown.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) list: List,
    /// Which of the list's sorts.
    pub(super) sort: usize,
    pub(super) reverse: bool,
    /// Only lines that have this somewhere.
    pub(super) filter: String,
}

impl Wish {
    pub(super) fn of(list: List) -> Self {
        Self { list, sort: 0, reverse: false, filter: String::new() }
    }

    /// The column that decides the order.
    pub(super) fn column(&self) -> usize {
        let sorts = self.list.sorts();
        sorts[self.sort % sorts.len()]
    }
}

/// The lines of a list, in order.
pub(super) fn rows(model: &Model, wish: &Wish) -> Vec<Vec<Cell>> {
    let mut rows: Vec<Vec<Cell>> = match wish.list {
        List::Tasks => model.tasks.values().map(|t| task(model, t)).collect(),
        List::Agents => {
            let held = model.held_by(|t| &t.agent);
            let of = |id: &str| held.get(id).copied().unwrap_or_default();
            model.agents.iter().map(|(id, a)| agent(id, a, of(id))).collect()
        }
        List::Frameworks => {
            let held = model.held_by(|t| &t.framework);
            let of = |id: &str| held.get(id).copied().unwrap_or_default();
            model.frameworks.iter().map(|(id, f)| framework(id, f, of(id))).collect()
        }
        List::Roles => model
            .roles
            .iter()
            .map(|(name, role)| {
                vec![
                    text(name),
                    cpus(role.used.cpus),
                    mem(role.used.mem),
                    cpus(role.offered.cpus),
                    mem(role.offered.mem),
                    Cell::Number(role.weight, 1),
                    text(&role.guarantee),
                    text(&role.limit),
                ]
            })
            .collect(),
    };
    if !wish.filter.is_empty() {
        let filter = wish.filter.to_lowercase();
        let has = |cell: &Cell| cell.shown().to_lowercase().contains(&filter);
        rows.retain(|row| row.iter().any(has));
    }
    let column = wish.column();
    rows.sort_by(|a, b| {
        let order = a[column].order(&b[column]);
        if wish.reverse { order.reverse() } else { order }
    });
    rows
}

fn task(model: &Model, task: &Task) -> Vec<Cell> {
    let used = model.use_of(task);
    let name = model.frameworks.get(&task.framework).map(|f| f.name.as_str());
    let host = model.agents.get(&task.agent).map(|a| a.host.as_str());
    vec![
        text(&task.id),
        used.and_then(|u| u.cpus).map_or(Cell::None, cpus),
        cpus(task.held.cpus),
        used.map_or(Cell::None, |u| mem(u.mem)),
        mem(task.held.mem),
        text(task.state.as_str_name().trim_start_matches("TASK_")),
        text(&task.role),
        text(name.unwrap_or(&task.framework)),
        text(host.unwrap_or(&task.agent)),
    ]
}

fn agent(id: &str, agent: &Agent, (held, tasks): (Amounts, usize)) -> Vec<Cell> {
    // The part that differs between agents of one master.
    let short = id.rsplit_once('-').map_or(id, |(_, number)| number);
    vec![
        text(short),
        cpus(held.cpus),
        cpus(agent.total.cpus),
        mem(held.mem),
        mem(agent.total.mem),
        number(tasks),
        text(&agent.host),
    ]
}

fn framework(id: &str, framework: &Framework, (held, tasks): (Amounts, usize)) -> Vec<Cell> {
    vec![
        text(&framework.name),
        cpus(held.cpus),
        mem(held.mem),
        number(tasks),
        text(&framework.roles),
        text(if framework.active { "active" } else { "disconnected" }),
        text(id),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::{model, task};
    use super::*;

    fn first(wish: &Wish) -> Vec<String> {
        let model =
            model(&[task("small", 0.5, ""), task("large", 2.0, ""), task("odd\u{1b}", 1.0, "")]);
        rows(&model, wish).iter().map(|row| row[0].shown()).collect()
    }

    #[test]
    fn lists_are_sorted_and_filtered() {
        let mut wish = Wish { sort: 2, ..Wish::of(List::Tasks) };
        assert_eq!(first(&wish), ["large", "odd\\u{1b}", "small"]);
        wish.reverse = true;
        assert_eq!(first(&wish), ["small", "odd\\u{1b}", "large"]);
        wish.filter = "LARG".to_owned();
        assert_eq!(first(&wish), ["large"]);
        let agents = rows(&model(&[task("t", 1.5, "")]), &Wish::of(List::Agents));
        let shown: Vec<String> = agents[0].iter().map(Cell::shown).collect();
        assert_eq!(shown, ["a", "1.50", "4.00", "64", "1024", "1", "host"]);
        let frameworks = rows(&model(&[task("t", 1.5, "")]), &Wish::of(List::Frameworks));
        let shown: Vec<String> = frameworks[0].iter().map(Cell::shown).collect();
        assert_eq!(shown, ["site", "1.50", "64", "1", "web", "active", "f"]);
    }

    #[test]
    fn every_list_has_a_cell_for_each_column_and_sorts_by_what_it_has() {
        for list in LISTS {
            assert_eq!(list.names().len(), list.head().len());
            assert!(list.sorts().iter().all(|column| *column < list.head().len()));
            for row in rows(&model(&[task("t", 1.0, "")]), &Wish::of(list)) {
                assert_eq!(row.len(), list.head().len(), "{list:?}");
            }
        }
    }
}
