//! Lists: searched, sorted, and cut to one page.

use crate::query::Query;
use std::cmp::Ordering;

/// Rows of a page if the query does not say.
const SIZE: usize = 50;
/// Most rows of a page.
const SIZE_MAX: usize = 500;

/// What a query asks of a list. Whatever it says, the page that comes of it exists and is short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// What rows must contain, in small letters.
    pub search: String,
    /// Name of the column to sort by.
    pub sort: &'a str,
    /// Greatest first.
    pub descending: bool,
    /// From 1.
    page: usize,
    size: usize,
}

/// One page of a list.
#[derive(Debug)]
pub struct Paged<T> {
    /// Rows of this page, in order.
    pub rows: Vec<T>,
    /// Rows of all pages.
    pub found: usize,
    /// This page, from 1.
    pub page: usize,
    /// The number of pages, 1 at least.
    pub pages: usize,
    /// Rows of a whole page.
    pub size: usize,
}

impl<'a> Wanted<'a> {
    /// What `sort` (with `-` before it for the greatest first), `page`, `size` and `q` of a query ask for; `columns` are
    /// the names that can be sorted by, `default` is how it is sorted otherwise.
    #[must_use]
    pub fn of(query: &Query, columns: &[&'a str], default: &'a str) -> Self {
        let sort = query.get("sort").unwrap_or(default);
        let (name, descending) = match sort.strip_prefix('-') {
            Some(name) => (name, true),
            None => (sort, false),
        };
        let found = columns.iter().find(|column| **column == name);
        let (sort, descending) = match (found, default.strip_prefix('-')) {
            (Some(name), _) => (*name, descending),
            (None, Some(default)) => (default, true),
            (None, None) => (default, false),
        };
        let number = |name| query.get(name).map(|text| text.parse::<usize>().unwrap_or(usize::MAX));
        Self {
            search: query.get("q").unwrap_or_default().trim().to_lowercase(),
            sort,
            descending,
            page: number("page").unwrap_or(1),
            size: number("size").unwrap_or(SIZE).clamp(1, SIZE_MAX),
        }
    }

    /// Whether one of a row's texts contains what is searched.
    #[must_use]
    pub fn matches(&self, texts: &[&str]) -> bool {
        self.search.is_empty() || texts.iter().any(|text| contains(text, &self.search))
    }

    /// The page that is asked for, the last one if there are not so many. `compare` orders the smallest first.
    #[must_use]
    pub fn page<T>(
        &self,
        mut rows: Vec<T>,
        mut compare: impl FnMut(&T, &T) -> Ordering,
    ) -> Paged<T> {
        let (found, size) = (rows.len(), self.size);
        let pages = found.div_ceil(size).max(1);
        let page = self.page.clamp(1, pages);
        let mut order = |a: &T, b: &T| match self.descending {
            true => compare(b, a),
            false => compare(a, b),
        };
        let (from, to) = ((page - 1) * size, (page * size).min(found));
        // Only rows of this page are put in order; a list may have a hundred thousand.
        if to < found {
            rows.select_nth_unstable_by(to, &mut order);
            rows.truncate(to);
        }
        if from > 0 && from < rows.len() {
            rows.select_nth_unstable_by(from, &mut order);
        }
        rows.drain(..from.min(rows.len()));
        rows.sort_by(order);
        Paged { rows, found, page, pages, size }
    }
}

/// Whether a text contains another, which is in small letters, whatever the letters of the first.
fn contains(text: &str, small: &str) -> bool {
    if !text.is_ascii() {
        return text.to_lowercase().contains(small);
    }
    let (text, small) = (text.as_bytes(), small.as_bytes());
    text.len() >= small.len()
        && text.windows(small.len()).any(|window| window.eq_ignore_ascii_case(small))
}
