//! The name that somebody probably meant.

/// The candidate that is nearest to `name`, if it is near.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = name.chars().count().max(3) / 2;
    let candidates = candidates.into_iter().map(|c| (distance(name, c), c));
    candidates.filter(|(d, _)| *d <= far).min_by_key(|(d, _)| *d).map(|(_, c)| c)
}

/// Edits that turn one name into another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = last[j] + usize::from(x != *y);
            row.push(change.min(last[j + 1] + 1).min(row[j] + 1));
        }
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_is_near_is_meant() {
        assert_eq!(nearest("mastre", ["master", "agent"]), Some("master"));
        assert_eq!(nearest("webs", ["web", "db"]), Some("web"));
        assert_eq!(nearest("xyzzy", ["master", "agent"]), None);
        assert_eq!(nearest("web", []), None);
    }
}
