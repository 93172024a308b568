//! Disks of an agent that its `--resources` declare (spec/agent.md 1.2): they must be there before anything is offered
//! of them.

use crate::garbage::mount_points;
use resources::{Entry, Resources};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use wire::v1::resource::disk_info::Source;
use wire::v1::resource::disk_info::source::Type;

/// Makes the roots of PATH disks, and looks whether the roots of MOUNT disks are mount points. A relative root is below
/// `work_dir`.
///
/// # Errors
/// The disk that is not there, and what to do.
pub fn check(resources: &Resources, work_dir: &Path) -> Result<(), String> {
    let mut mounted = BTreeSet::new();
    for entry in resources.iter() {
        let source = entry.identity.disk.as_ref().and_then(|disk| disk.source.as_ref());
        let Some(source) = source else { continue };
        let root = root(source, work_dir)
            .ok_or_else(|| format!("'{entry}': the disk has no 'root'; name its directory"));
        match source.r#type() {
            Type::Path => {
                let root = root?;
                std::fs::create_dir_all(&root).map_err(|e| {
                    format!("'{entry}': cannot make the directory {}: {e}", root.display())
                })?;
            }
            Type::Mount => {
                let root = mount_point(entry, &root?)?;
                if root == Path::new("/") {
                    return Err(format!(
                        "'{entry}': what all of this host is on is no disk of its own"
                    ));
                }
                if !mounted.insert(root) {
                    return Err(format!(
                        "'{entry}': another MOUNT disk has the same root; a mount is one disk"
                    ));
                }
            }
            other @ (Type::Block | Type::Raw | Type::Unknown) => {
                return Err(format!(
                    "'{entry}': disks of type {} can't be declared; expected PATH or MOUNT",
                    other.as_str_name()
                ));
            }
        }
    }
    Ok(())
}

fn root(source: &Source, work_dir: &Path) -> Option<PathBuf> {
    let path = source.path.as_ref().and_then(|path| path.root.as_deref());
    let root = path.or_else(|| source.mount.as_ref().and_then(|mount| mount.root.as_deref()));
    root.filter(|root| !root.is_empty()).map(|root| work_dir.join(root))
}

fn mount_point(entry: &Entry, root: &Path) -> Result<PathBuf, String> {
    let real = root
        .canonicalize()
        .map_err(|e| format!("'{entry}': cannot find the mount {}: {e}", root.display()))?;
    if mount_points().contains(&real) {
        return Ok(real);
    }
    Err(format!(
        "'{entry}': nothing is mounted at {}; mount the disk first, or declare a PATH disk",
        real.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_of(kind: &str, more: &str) -> Result<(), String> {
        let text = format!(
            r#"[{{"name":"disk","type":"SCALAR","scalar":{{"value":5}},
                "disk":{{"source":{{"type":"{kind}"{more}}}}}}}]"#
        );
        let resources = Resources::parse(&text, "*").expect("resources");
        let work_dir = std::env::temp_dir().join(format!("disks-{}", std::process::id()));
        let checked = check(&resources, &work_dir);
        if kind == "PATH" && checked.is_ok() {
            assert!(work_dir.join("data/a").is_dir(), "it was made");
        }
        let _ = std::fs::remove_dir_all(&work_dir);
        checked
    }

    #[track_caller]
    fn refused(kind: &str, more: &str, why: &str) {
        let error = check_of(kind, more).expect_err("no disk");
        assert!(error.contains(why) && error.starts_with("'disk["), "{error}");
    }

    #[test]
    fn disks_that_are_not_there_are_refused() {
        assert_eq!(check_of("PATH", r#","path":{"root":"data/a"}"#), Ok(()));
        assert_eq!(check_of("MOUNT", r#","mount":{"root":"/proc"}"#), Ok(()));
        refused("PATH", "", "has no 'root'");
        refused("PATH", r#","path":{"root":"/proc/no/a"}"#, "cannot make the directory /proc/no");
        refused("MOUNT", "", "has no 'root'");
        refused("MOUNT", r#","mount":{"root":""}"#, "has no 'root'");
        refused("MOUNT", r#","mount":{"root":"/"}"#, "no disk of its own");
        refused("MOUNT", r#","mount":{"root":"/no/such"}"#, "cannot find the mount /no/such");
        refused("MOUNT", r#","mount":{"root":"/proc/self/fd"}"#, "nothing is mounted at");
        refused("RAW", "", "disks of type RAW can't be declared");
        refused("BLOCK", "", "disks of type BLOCK can't be declared");
    }

    #[test]
    fn a_mount_is_one_disk() {
        let one = r#"{"name":"disk","type":"SCALAR","scalar":{"value":5},
            "disk":{"source":{"type":"MOUNT","mount":{"root":"/proc"}}}}"#;
        let resources = Resources::parse(&format!("[{one},{one}]"), "*").expect("resources");
        let error = check(&resources, Path::new("/")).expect_err("two disks");
        assert!(error.contains("another MOUNT disk has the same root"), "{error}");
    }
}
