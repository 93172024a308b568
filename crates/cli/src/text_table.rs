//! Tables for people: aligned columns.

use std::fmt;

/// Rows under a head. Columns in which all values are numbers stand at the right.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextTable {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub(crate) fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        Self { head: head.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    /// Adds a row; an empty value is shown as `-`.
    pub(crate) fn row(&mut self, values: impl IntoIterator<Item = String>) {
        let shown = |v: String| if v.is_empty() { "-".to_owned() } else { v };
        let row: Vec<String> = values.into_iter().map(shown).collect();
        assert_eq!(row.len(), self.head.len(), "a value for each column");
        self.rows.push(row);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn is_number(text: &str) -> bool {
    let text = text.trim_end_matches('%').trim_end();
    text == "-" || text.parse::<f64>().is_ok()
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = |at: usize| self.rows.iter().map(move |row| row[at].as_str());
        let widths: Vec<usize> = (0..self.head.len())
            .map(|at| column(at).chain([self.head[at].as_str()]).map(|v| v.chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        let right: Vec<bool> = (0..self.head.len())
            .map(|at| !self.is_empty() && column(at).all(is_number) && column(at).any(|v| v != "-"))
            .collect();
        for row in std::iter::once(&self.head).chain(&self.rows) {
            let mut line = String::new();
            for ((value, width), right) in row.iter().zip(&widths).zip(&right) {
                let space = " ".repeat(width - value.chars().count());
                let (before, after) = if *right { (&*space, "") } else { ("", &*space) };
                line.push_str(&format!("{before}{value}{after}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_at_the_right() {
        let mut table = TextTable::new(["ROLE", "CPUS", "NOTE"]);
        table.row(["web".to_owned(), "10.5".to_owned(), "a".to_owned()]);
        table.row(["analytics".to_owned(), String::new(), String::new()]);
        let lines = ["ROLE       CPUS  NOTE", "web        10.5  a", "analytics     -  -", ""];
        assert_eq!(table.to_string(), lines.join("\n"));
    }
}
