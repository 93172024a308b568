//! Directories of executors and frameworks of former runs, which are removed in their time.

use agent_core::contract::Input;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    // Links don't count: what they lead to is not ours.
    let is_directory = |e: &std::fs::DirEntry| e.file_type().is_ok_and(|t| t.is_dir());
    entries.filter(is_directory).map(|e| e.path()).collect()
}

/// Finds them below a work directory, inner ones first.
pub(crate) fn directories(work_dir: &Path, now: SystemTime) -> Vec<Input> {
    let mut found = Vec::new();
    for agent in children(&work_dir.join("slaves")) {
        for framework in children(&agent.join("frameworks")) {
            found.extend(children(&framework.join("executors")));
            found.push(framework);
        }
    }
    let input = |path: PathBuf| {
        let changed = path.metadata().and_then(|m| m.modified()).ok()?;
        let age = now.duration_since(changed).unwrap_or_default();
        Some(Input::DirectoryFound { path: path.into_os_string().into_string().ok()?, age })
    };
    found.into_iter().filter_map(input).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frameworks_and_executors_are_found_with_their_age() {
        let work_dir = testkit::cluster::temporary_directory();
        let framework = work_dir.join("slaves/s/frameworks/f");
        let executor = framework.join("executors/e");
        std::fs::create_dir_all(executor.join("runs/r")).expect("directories");
        std::os::unix::fs::symlink("/", framework.join("executors/link")).expect("a link");
        let later = SystemTime::now() + std::time::Duration::from_secs(3600);
        let found = directories(&work_dir, later);
        let paths: Vec<(PathBuf, u64)> = found
            .into_iter()
            .map(|input| match input {
                Input::DirectoryFound { path, age } => (path.into(), age.as_secs() / 3600),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(paths, [(executor, 1), (framework, 1)]);
        std::fs::remove_dir_all(work_dir).expect("removed");
    }
}
