//! Directories of former runs, which are removed in their time.

use agent_core::contract::Input;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    // Links don't count: what they lead to is not ours.
    let is_directory = |e: &DirEntry| e.file_type().is_ok_and(|t| t.is_dir());
    entries.filter(is_directory).map(|e| e.path()).collect()
}

/// Where directories lie below another one, from the outside to the inside.
const LEVELS: [&str; 5] = ["slaves", "frameworks", "executors", "runs", "containers"];

/// Finds those of agents, frameworks, executors, their runs and tasks of pods, inner ones first. A directory is as young
/// as the youngest in it.
pub(crate) fn directories(work_dir: &Path, now: SystemTime) -> Vec<Input> {
    let mut found = Vec::new();
    look(work_dir, &LEVELS, now, &mut found);
    found
}

fn look(
    directory: &Path,
    levels: &[&str],
    now: SystemTime,
    out: &mut Vec<Input>,
) -> Option<Duration> {
    let (level, inner) = levels.split_first()?;
    let mut youngest = None;
    for path in children(&directory.join(level)) {
        let inside = look(&path, inner, now, out);
        let Ok(changed) = path.metadata().and_then(|m| m.modified()) else { continue };
        let own = now.duration_since(changed).unwrap_or_default();
        let age = inside.map_or(own, |inside| own.min(inside));
        youngest = Some(youngest.map_or(age, |youngest: Duration| youngest.min(age)));
        if let Ok(path) = path.into_os_string().into_string() {
            out.push(Input::DirectoryFound { path, age });
        }
    }
    youngest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_found_and_as_young_as_the_youngest_in_them() {
        let work_dir = testkit::cluster::temporary_directory();
        let framework = work_dir.join("slaves/s/frameworks/f");
        let executor = framework.join("executors/e");
        let (run, empty) = (executor.join("runs/r"), framework.join("executors/empty"));
        let nested = run.join("containers/c");
        std::fs::create_dir_all(&nested).expect("directories");
        std::fs::create_dir_all(&empty).expect("directories");
        std::os::unix::fs::symlink("/", framework.join("executors/link")).expect("a link");
        let later = SystemTime::now() + Duration::from_secs(3600);
        let touch = |path: &Path, at| {
            std::fs::File::open(path).and_then(|f| f.set_modified(at)).expect("touched");
        };
        let agent = work_dir.join("slaves/s");
        for path in [&nested, &executor, &framework, &agent] {
            touch(path, later - Duration::from_secs(100));
        }
        touch(&run, later - Duration::from_secs(7));
        touch(&empty, later - Duration::from_secs(50));
        let mut found: Vec<(PathBuf, u64)> = directories(&work_dir, later)
            .into_iter()
            .map(|input| match input {
                Input::DirectoryFound { path, age } => (path.into(), age.as_secs()),
                other => panic!("{other:?}"),
            })
            .collect();
        found.sort();
        let expected =
            [(agent, 7), (framework, 7), (executor, 7), (run, 7), (nested, 100), (empty, 50)];
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(found, expected);
        std::fs::remove_dir_all(work_dir).expect("removed");
    }
}
