//! `cgroups/net_cls` and `cgroups/net_prio`: what the host's traffic control and firewall tell containers by. Version 1 only.

use super::{Controller, Groups, Options, Wanted};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wire::v1::ResourceStatistics;

/// Holds the class of what a cgroup sends: primary handle above, secondary below.
const FILE: &str = "net_cls.classid";

/// Which classes containers get, one each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkClasses {
    /// `--cgroups_net_cls_primary_handle`.
    primary: u16,
    /// `--cgroups_net_cls_secondary_handles`.
    secondary: RangeInclusive<u16>,
}

impl NetworkClasses {
    /// Reads handles such as `0x0012` and `0x0001,0xffff`, which is the default.
    ///
    /// # Errors
    /// Names the flag and what it expects.
    pub fn parse(primary: &str, secondary: Option<&str>) -> Result<Self, String> {
        let number = |text: &str| match text.trim().strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16).ok(),
            None => text.trim().parse().ok(),
        };
        let primary = number(primary).ok_or_else(|| {
            format!("--cgroups_net_cls_primary_handle: expected a handle such as 0x0012, got '{primary}'")
        })?;
        let range = |text: &str| {
            let (first, last) = text.split_once(',')?;
            let range = number(first)?..=number(last)?;
            (*range.start() > 0 && !range.is_empty()).then_some(range)
        };
        let secondary = secondary.unwrap_or("0x0001,0xffff");
        let secondary = range(secondary).ok_or_else(|| {
            format!("--cgroups_net_cls_secondary_handles: expected the first and the last such as 0x0001,0xffff, got '{secondary}'")
        })?;
        Ok(Self { primary, secondary })
    }

    fn class(&self, secondary: u16) -> u32 {
        u32::from(self.primary) << 16 | u32::from(secondary)
    }

    /// The first that nobody has.
    fn free(&self, taken: &BTreeMap<PathBuf, u32>) -> Option<u32> {
        let mut classes = self.secondary.clone().map(|secondary| self.class(secondary));
        classes.find(|class| !taken.values().any(|other| other == class))
    }
}

#[derive(Debug)]
pub(super) struct Classes {
    classes: Option<NetworkClasses>,
    /// By cgroup.
    taken: Mutex<BTreeMap<PathBuf, u32>>,
}

impl Classes {
    pub(super) fn new(options: &Options) -> Self {
        Self { classes: options.network_classes.clone(), taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<PathBuf, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Controller for Classes {
    fn kernel(&self) -> &'static [&'static str] {
        &["net_cls"]
    }

    fn apply(&self, groups: &Groups, _wanted: &Wanted<'_>, is_new: bool) -> Result<(), String> {
        let (Some(classes), true) = (&self.classes, is_new) else { return Ok(()) };
        let group = groups.get("net_cls")?;
        let mut taken = self.taken();
        let class = classes
            .free(&taken)
            .ok_or("every handle of --cgroups_net_cls_secondary_handles belongs to a container")?;
        group.write(FILE, class)?;
        taken.insert(group.path.clone(), class);
        Ok(())
    }

    /// The kernel kept it.
    fn adopt(&self, groups: &Groups) {
        let Ok(group) = groups.get("net_cls") else { return };
        let class = group.number(FILE).and_then(|class| u32::try_from(class).ok());
        if let Some(class) = class.filter(|class| *class > 0) {
            self.taken().insert(group.path.clone(), class);
        }
    }

    fn network_class(&self, groups: &Groups) -> Option<u32> {
        self.taken().get(&groups.get("net_cls").ok()?.path).copied()
    }

    fn usage(&self, _groups: &Groups, _out: &mut ResourceStatistics) -> Result<(), String> {
        Ok(())
    }

    fn forget(&self, groups: &Groups) {
        if let Ok(group) = groups.get("net_cls") {
            self.taken().remove(&group.path);
        }
    }
}

/// Operators set in it what they like.
#[derive(Debug)]
pub(super) struct Priorities;

impl Controller for Priorities {
    fn kernel(&self) -> &'static [&'static str] {
        &["net_prio"]
    }

    fn apply(&self, _groups: &Groups, _wanted: &Wanted<'_>, _is_new: bool) -> Result<(), String> {
        Ok(())
    }

    fn usage(&self, _groups: &Groups, _out: &mut ResourceStatistics) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_and_given_once() {
        let classes = NetworkClasses::parse("0x0012", Some("0x0001,0x0002")).expect("handles");
        let mut taken = BTreeMap::new();
        for (number, want) in [Some(0x0012_0001), Some(0x0012_0002), None].into_iter().enumerate() {
            let free = classes.free(&taken);
            assert_eq!(free, want);
            free.map(|class| taken.insert(PathBuf::from(number.to_string()), class));
        }
        taken.remove(&PathBuf::from("0"));
        assert_eq!(classes.free(&taken), Some(0x0012_0001));
        let all = NetworkClasses::parse("18", None).expect("handles");
        assert_eq!((all.primary, all.secondary), (18, 1..=0xffff));
        for (primary, secondary) in [
            ("0x10000", None),
            ("x", None),
            ("1", Some("1")),
            ("1", Some("0,5")),
            ("1", Some("5,1")),
        ] {
            let error = NetworkClasses::parse(primary, secondary).expect_err("refused");
            assert!(error.starts_with("--cgroups_net_cls_"), "{error}");
        }
    }
}
