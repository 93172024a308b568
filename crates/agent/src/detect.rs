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
    // What is given as 0 is not detected, although there is nothing of it.
    let (mut all, given) = Resources::parse_named(text, default_role)?;
    let missing: Vec<String> = [
        ("cpus", cpus()),
        ("mem", memory()),
        ("disk", disk(work_dir)),
        ("ports", "[31000-32000]".to_owned()),
    ]
    .into_iter()
    .filter(|(name, _)| !given.contains(*name))
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
        let json = r#"[{"name":"ports","type":"RANGES","ranges":{"range":[]}},
            {"name":"mem","type":"SCALAR","scalar":{"value":0}}]"#;
        let all = resources(json, "*", Path::new("/")).expect("resources");
        assert_eq!((all.quantity("ports"), all.scalar("mem")), (0, 0));
        assert!(all.scalar("cpus") > 0 && all.scalar("disk") > 0);
        let all = resources("memory_bytes:5;disks:2;cpus_of_old:1", "*", Path::new("/"));
        let all = all.expect("resources");
        assert!(all.scalar("mem") > 0 && all.scalar("disk") > 0 && all.scalar("cpus") > 0, "{all}");
        let all = resources("", "web", Path::new("/")).expect("resources");
        assert!(all.scalar("cpus") > 0 && all.scalar("mem") > 0 && all.scalar("disk") > 0);
        assert!(all.unreserved().is_empty());
    }
}
