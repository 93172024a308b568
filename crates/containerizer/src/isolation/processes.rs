//! The machine's processes, by parent.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// All processes, read when somebody asks, at most once.
#[derive(Debug, Default)]
pub struct Processes(OnceLock<BTreeMap<u32, Vec<u32>>>);

impl Processes {
    /// All descendants of a process.
    #[must_use]
    pub fn below(&self, ancestor: u32) -> Vec<u32> {
        let children = self.0.get_or_init(read);
        let mut found = Vec::new();
        let mut open = vec![ancestor];
        while let Some(pid) = open.pop() {
            let below = children.get(&pid).into_iter().flatten();
            found.extend(below.clone());
            open.extend(below);
        }
        found
    }
}

fn read() -> BTreeMap<u32, Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name, which is in parentheses and may hold anything: state, parent.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
        let parent = fields.and_then(|f| f.split_whitespace().nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    children
}
