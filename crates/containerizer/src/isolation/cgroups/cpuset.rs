//! `cgroups/cpuset` and `cgroups/hugetlb`: cgroups of their own, in which operators set what they like.

use super::{Controller, Group, Groups, Wanted};
use wire::v1::ResourceStatistics;

/// Files that are empty in a new cgroup of version 1, which nobody can join then.
const SETS: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

#[derive(Debug)]
pub(super) struct Cpuset;

impl Controller for Cpuset {
    fn kernel(&self) -> &'static [&'static str] {
        &["cpuset"]
    }

    fn initialize(&self, group: &Group) -> Result<(), String> {
        if group.is_v2 || !group.has(SETS[0]) {
            return Ok(());
        }
        let Some(parent) = group.path.parent() else { return Ok(()) };
        let parent = Group { path: parent.to_owned(), is_v2: false };
        for file in SETS {
            if group.read(file)?.trim().is_empty() {
                group.write(file, parent.read(file)?.trim())?;
            }
        }
        Ok(())
    }

    fn apply(&self, _groups: &Groups, _wanted: &Wanted<'_>, _is_new: bool) -> Result<(), String> {
        Ok(())
    }

    fn usage(&self, _groups: &Groups, _out: &mut ResourceStatistics) -> Result<(), String> {
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Hugetlb;

impl Controller for Hugetlb {
    fn kernel(&self) -> &'static [&'static str] {
        &["hugetlb"]
    }

    fn apply(&self, _groups: &Groups, _wanted: &Wanted<'_>, _is_new: bool) -> Result<(), String> {
        Ok(())
    }

    fn usage(&self, _groups: &Groups, _out: &mut ResourceStatistics) -> Result<(), String> {
        Ok(())
    }
}
