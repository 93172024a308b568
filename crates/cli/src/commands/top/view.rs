//! The picture of `proffer top`.

use super::model::Model;
use super::rows::{LISTS, List, Wish, rows};
use crate::commands::{counted, harmless};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table};

/// What is shown of the model, and how.
#[derive(Debug)]
pub(super) struct View {
    pub(super) wish: Wish,
    /// The line that is chosen.
    pub(super) at: usize,
    /// The first line that is seen.
    first: usize,
    /// Lines that are seen.
    pub(super) height: usize,
    /// A filter is being typed.
    pub(super) is_typing: bool,
    pub(super) shows_help: bool,
    pub(super) has_colours: bool,
    /// The master that tells what happens.
    pub(super) master: String,
    /// Why nothing is told now.
    pub(super) lost: Option<String>,
}

const HELP: &str = "\
1 2 3 4, Tab   tasks, agents, frameworks, roles
↑ ↓ PgUp PgDn  move     Home End  to the ends
s r            sorts by the next column, the other way round
/              shows only lines with a text; Esc: all again
q, Ctrl-C      ends

CPU and MEM of a task are what it uses, measured by its agent;
OF is what it holds. Other lists show what is held.";

impl View {
    pub(super) fn new(master: String, has_colours: bool) -> Self {
        Self {
            wish: Wish::of(List::Tasks),
            at: 0,
            first: 0,
            height: 1,
            is_typing: false,
            shows_help: false,
            has_colours,
            master,
            lost: None,
        }
    }

    fn style(&self, colour: Color) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, model: &Model) {
        let bars = bars(model);
        let height = u16::try_from(bars.len()).unwrap_or(0);
        let [head, bar_area, tabs, list, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(height),
            Constraint::Length(1),
            Constraint::Min(2),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.head(model), head);
        for (bar, area) in bars.iter().zip(bar_area.rows()) {
            frame.render_widget(self.bar(bar, area.width), area);
        }
        frame.render_widget(self.tabs(), tabs);
        self.list(frame, model, list);
        frame.render_widget(self.foot(), foot);
        if self.shows_help {
            let area = frame.area();
            let (width, height) = (66.min(area.width), 11.min(area.height));
            let area = Rect {
                x: area.width.saturating_sub(width) / 2,
                y: 3.min(area.height - height),
                width,
                height,
            };
            frame.render_widget(Clear, area);
            frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title("Keys")), area);
        }
    }

    fn head(&self, model: &Model) -> Line<'static> {
        if let Some(lost) = &self.lost {
            let text = harmless(&format!("no master: {lost}; looking for the one that leads"));
            return Line::from(Span::styled(
                text,
                self.style(Color::Red).add_modifier(Modifier::BOLD),
            ));
        }
        let text = format!(
            "master {}   {}   {}   {}",
            self.master,
            counted(model.agents.len(), "agent"),
            counted(model.frameworks.len(), "framework"),
            counted(model.tasks.len(), "task"),
        );
        Line::from(Span::styled(text, Style::new().add_modifier(Modifier::BOLD)))
    }

    fn bar(&self, bar: &Bar, width: u16) -> Line<'static> {
        let label = format!("{:<5}", bar.name);
        let figures = bar.figures();
        let room = usize::from(width).saturating_sub(label.len() + figures.chars().count() + 4);
        let part = |amount: f64| {
            // A share of a line is small.
            (amount / bar.total.max(f64::MIN_POSITIVE) * room as f64)
                .round()
                .clamp(0.0, room as f64) as usize
        };
        let used = part(bar.used);
        let offered = part(bar.offered).min(room - used);
        Line::from(vec![
            Span::raw(format!("{label}[")),
            Span::styled("|".repeat(used), self.style(Color::Green)),
            Span::styled(":".repeat(offered), self.style(Color::Yellow)),
            Span::raw(" ".repeat(room - used - offered)),
            Span::raw(format!("] {figures}")),
        ])
    }

    fn tabs(&self) -> Line<'static> {
        let tab = |(number, list): (usize, &List)| {
            let style = match *list == self.wish.list {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => Style::new(),
            };
            [Span::styled(format!(" {} {} ", number + 1, list.title()), style), Span::raw(" ")]
        };
        Line::from(LISTS.iter().enumerate().flat_map(tab).collect::<Vec<_>>())
    }

    fn list(&mut self, frame: &mut Frame<'_>, model: &Model, area: Rect) {
        let rows = rows(model, &self.wish);
        // One line is the head's.
        self.height = usize::from(area.height).saturating_sub(1).max(1);
        self.at = self.at.min(rows.len().saturating_sub(1));
        self.first = self.first.clamp((self.at + 1).saturating_sub(self.height), self.at);
        let list = self.wish.list;
        let sorted = self.wish.column();
        let seen = &rows[self.first..rows.len().min(self.first + self.height)];
        let width = |column: usize| {
            let cells = seen.iter().map(|row| row[column].shown().chars().count());
            let head = list.head()[column].chars().count() + 1;
            u16::try_from(cells.chain([head]).max().unwrap_or(0).min(40)).unwrap_or(40)
        };
        let widths: Vec<Constraint> =
            (0..list.head().len()).map(|column| Constraint::Length(width(column))).collect();
        let head = list.head().iter().enumerate().map(|(column, name)| {
            let mark = match (column == sorted, self.wish.reverse) {
                (true, false) => "▾",
                (true, true) => "▴",
                _ => "",
            };
            format!("{name}{mark}")
        });
        let head = Row::new(head).style(Style::new().add_modifier(Modifier::BOLD));
        let lines = seen.iter().enumerate().map(|(n, row)| {
            let cells = row.iter().enumerate().map(|(column, cell)| match cell.is_number() {
                true => format!("{:>width$}", cell.shown(), width = usize::from(width(column)) - 1),
                false => cell.shown(),
            });
            let style = match self.first + n == self.at {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => Style::new(),
            };
            Row::new(cells).style(style)
        });
        let lines: Vec<Row<'_>> = lines.collect();
        frame.render_widget(Table::new(lines, widths).header(head), area);
    }

    fn foot(&self) -> Line<'static> {
        let filter = &self.wish.filter;
        Line::from(match (self.is_typing, filter.is_empty()) {
            (true, _) => format!("/{filter}█"),
            (false, true) => "h help   q end   / filter   s sort   Tab next list".to_owned(),
            (false, false) => format!("only '{}'; Esc shows all", harmless(filter)),
        })
    }
}

/// How much of a resource is used and offered.
struct Bar {
    name: &'static str,
    used: f64,
    offered: f64,
    total: f64,
}

impl Bar {
    fn figures(&self) -> String {
        let percent = self.used / self.total.max(f64::MIN_POSITIVE) * 100.0;
        let digits = if self.name == "cpus" { 1 } else { 0 };
        format!(
            "{:.digits$} used, {:.digits$} offered of {:.digits$} ({percent:.0} %)",
            self.used, self.offered, self.total
        )
    }
}

fn bars(model: &Model) -> Vec<Bar> {
    let (used, offered, total) = (model.held(), model.offered(), model.total());
    let bar = |name, used, offered, total| Bar { name, used, offered, total };
    let all = vec![
        bar("cpus", used.cpus, offered.cpus, total.cpus),
        bar("mem", used.mem, offered.mem, total.mem),
        bar("disk", used.disk, offered.disk, total.disk),
        bar("gpus", used.gpus, offered.gpus, total.gpus),
    ];
    all.into_iter().filter(|bar| bar.total > 0.0 || bar.name == "cpus").collect()
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::{model, task};
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(view: &mut View, model: &Model, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| view.draw(frame, model)).expect("drawn");
        let buffer = terminal.backend().buffer().clone();
        let row =
            |y: u16| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..height).map(|y| row(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn the_cluster_its_bars_and_tasks_are_seen() {
        let model = model(&[task("web-1", 1.0, ""), task("web-2", 2.0, "")]);
        let mut view = View::new("h:5050".to_owned(), false);
        view.wish.sort = 2;
        let lines = screen(&mut view, &model, 100, 8);
        assert_eq!(lines[0], "master h:5050   1 agent   1 framework   2 tasks");
        assert!(lines[1].starts_with("cpus [||||||||||"), "{lines:?}");
        assert!(lines[1].ends_with("] 3.0 used, 0.0 offered of 4.0 (75 %)"), "{lines:?}");
        assert!(lines[2].ends_with("] 128 used, 0 offered of 1024 (12 %)"), "{lines:?}");
        assert_eq!(lines[3], " 1 Tasks   2 Agents   3 Frameworks   4 Roles");
        assert!(lines[4].starts_with("TASK") && lines[4].contains("OF▾"), "{lines:?}");
        assert!(lines[5].starts_with("web-2") && lines[5].contains("2.00"), "{lines:?}");
        assert!(lines[6].starts_with("web-1") && lines[6].ends_with("host"), "{lines:?}");
        view.lost = Some("it is gone".to_owned());
        let lines = screen(&mut view, &model, 100, 8);
        assert_eq!(lines[0], "no master: it is gone; looking for the one that leads");
    }

    #[test]
    fn a_long_list_follows_the_chosen_line_and_small_terminals_do_no_harm() {
        let tasks: Vec<_> = (0..50).map(|n| task(&format!("t{n:02}"), 1.0, "")).collect();
        let model = model(&tasks);
        let mut view = View::new("h".to_owned(), true);
        view.wish.sort = 4;
        view.at = 30;
        let lines = screen(&mut view, &model, 80, 10);
        assert!(lines.iter().any(|line| line.starts_with("t30")), "{lines:?}");
        view.at = 1000;
        let lines = screen(&mut view, &model, 80, 10);
        assert!(lines.iter().any(|line| line.starts_with("t49")), "{lines:?}");
        view.shows_help = true;
        for (width, height) in [(1, 1), (20, 3), (200, 60)] {
            screen(&mut view, &model, width, height);
        }
    }
}
