//! A profile: JSON in the form of Docker's, older and newer.

use serde::Deserialize;

/// What is done with system calls.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    /// What is done with those that are not named.
    pub(super) default_action: String,
    #[serde(default)]
    pub(super) default_errno_ret: Option<u32>,
    #[serde(default)]
    pub(super) syscalls: Vec<Group>,
}

/// System calls with which the same is done.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    #[serde(default)]
    pub(super) names: Vec<String>,
    /// Instead of `names`, in old profiles.
    #[serde(default)]
    pub(super) name: Option<String>,
    pub(super) action: String,
    #[serde(default)]
    pub(super) errno_ret: Option<u32>,
    #[serde(default)]
    pub(super) args: Option<Vec<Argument>>,
    #[serde(default)]
    pub(super) includes: Option<Conditions>,
    #[serde(default)]
    pub(super) excludes: Option<Conditions>,
}

/// What an argument must be for a group to hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Argument {
    pub(super) index: u8,
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: u64,
    pub(super) op: String,
}

/// For which containers and hosts a group is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conditions {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// Names of processors in profiles, and here.
const ARCHES: [(&str, &str); 4] =
    [("amd64", "x86_64"), ("arm64", "aarch64"), ("riscv64", "riscv64"), ("s390x", "s390x")];

impl Profile {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let profile: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        match profile.syscalls.iter().find(|g| g.names.is_empty() && g.name.is_none()) {
            Some(group) => Err(format!("a group with action {} has no 'names'", group.action)),
            None => Ok(profile),
        }
    }
}

impl Group {
    /// Whether it holds for a container that can have these capabilities.
    pub(super) fn holds(&self, bounding: u64) -> Result<bool, String> {
        let included = self.includes.as_ref().map_or(Ok(true), |c| c.all(bounding))?;
        let excluded = self.excludes.as_ref().map_or(Ok(false), |c| c.any(bounding))?;
        Ok(included && !excluded)
    }
}

impl Conditions {
    /// Whether everything that is said is so.
    fn all(&self, bounding: u64) -> Result<bool, String> {
        let caps = self.caps()?.is_none_or(|caps| caps.iter().all(|bit| bounding & bit != 0));
        Ok(caps && self.arch().unwrap_or(true) && self.kernel()?.unwrap_or(true))
    }

    /// Whether anything that is said is so.
    fn any(&self, bounding: u64) -> Result<bool, String> {
        let caps = self.caps()?.is_some_and(|caps| caps.iter().any(|bit| bounding & bit != 0));
        Ok(caps || self.arch().unwrap_or(false) || self.kernel()?.unwrap_or(false))
    }

    fn caps(&self) -> Result<Option<Vec<u64>>, String> {
        let bit = |name: &String| {
            crate::isolation::linux::capabilities::bit(name)
                .ok_or_else(|| format!("capability '{name}' is not known"))
        };
        self.caps.as_ref().map(|caps| caps.iter().map(bit).collect()).transpose()
    }

    fn arch(&self) -> Option<bool> {
        let own = |name: &String| ARCHES.contains(&(name.as_str(), std::env::consts::ARCH));
        self.arches.as_ref().map(|arches| arches.is_empty() || arches.iter().any(own))
    }

    fn kernel(&self) -> Result<Option<bool>, String> {
        let Some(wanted) = &self.min_kernel else { return Ok(None) };
        let wanted =
            version(wanted).ok_or_else(|| format!("'minKernel' {wanted} is no version"))?;
        let own = rustix::system::uname();
        Ok(Some(own.release().to_str().ok().and_then(version).is_some_and(|own| own >= wanted)))
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
