//! What this host has (spec/agent.md 1.3).

use resources::{ResourceError, Resources};
use std::path::Path;

/// The resources that were given, completed by what is detected for names that were not.
///
/// # Errors
/// When the text is not resources.
pub fn resources(
    text: &str,
    default_role: &str,
    work_dir: &Path,
) -> Result<Resources, ResourceError> {
    let mut all = Resources::parse(text, default_role)?;
    // An entry with value 0 counts as given, but is empty.
    let given = |name: &str| {
        all.names().contains(name)
            || text.split([';', '\n']).any(|part| part.trim_start().starts_with(name))
    };
    let missing: Vec<String> = [
        ("cpus", cpus()),
        ("mem", memory()),
        ("disk", disk(work_dir)),
        ("ports", "[31000-32000]".to_owned()),
    ]
    .into_iter()
    .filter(|(name, _)| !given(name))
    .map(|(name, value)| format!("{name}:{value}"))
    .collect();
    all += &Resources::parse(&missing.join(";"), default_role)?;
    Ok(all)
}

fn cpus() -> String {
    std::thread::available_parallelism().map_or(1, usize::from).to_string()
}

fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:"))
        .and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    let megabytes = total.map_or(2048, |kib| kib / 1024);
    (if megabytes >= 2048 { megabytes - 1024 } else { megabytes / 2 }).to_string()
}

fn disk(work_dir: &Path) -> String {
    let mut directory = work_dir;
    let stat = loop {
        match (rustix::fs::statvfs(directory), directory.parent()) {
            (Ok(stat), _) => break Some(stat),
            (Err(_), Some(parent)) => directory = parent,
            (Err(_), None) => break None,
        }
    };
    let megabytes = stat.map_or(15 * 1024, |s| s.f_blocks.saturating_mul(s.f_frsize) >> 20);
    (if megabytes >= 10 * 1024 { megabytes - 5 * 1024 } else { megabytes / 2 }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_not_detected() {
        let all = resources("cpus:3;mem:5;disk:0", "*", Path::new("/no/such/directory"))
            .expect("resources");
        assert_eq!(all.to_string(), "cpus:3; mem:5; ports:[31000-32000]");
        let all = resources("", "web", Path::new("/")).expect("resources");
        assert!(all.scalar("cpus") > 0 && all.scalar("mem") > 0 && all.scalar("disk") > 0);
        assert!(all.unreserved().is_empty());
    }
}
