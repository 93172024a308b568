//! `linux/seccomp`: which system calls a container may make, by a profile in the form of Docker's.

mod filter;
mod profile;

use crate::isolation::filesystem::needs_root;
use crate::isolation::{Isolator, Preparation};
use crate::rooted::{self, Within};
use crate::{ContainerSpec, MesosOptions};
use profile::Profile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Seccomp {
    directory: PathBuf,
    default: Option<Profile>,
    /// Filters of the default profile by bounding capabilities.
    compiled: Mutex<BTreeMap<u64, Vec<Vec<u8>>>>,
}

impl Seccomp {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        needs_root()?;
        let settings = &options.settings;
        let directory =
            settings.seccomp_config_dir.clone().ok_or("it needs --seccomp_config_dir")?;
        let default = settings.seccomp_profile_name.as_deref().map(|name| read(&directory, name));
        let default = default.transpose()?;
        if let Some(profile) = &default {
            filter::compile(profile, u64::MAX)?;
        }
        Ok(Self { directory, default, compiled: Mutex::default() })
    }

    fn compile_default(&self, profile: &Profile, bounding: u64) -> Result<Vec<Vec<u8>>, String> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filters) = compiled.get(&bounding) {
            return Ok(filters.clone());
        }
        let filters = filter::compile(profile, bounding)?;
        // Frameworks choose the key: no more of them than there are usual ones.
        if compiled.len() < 64 {
            compiled.insert(bounding, filters.clone());
        }
        Ok(filters)
    }
}

impl Isolator for Seccomp {
    fn name(&self) -> &'static str {
        "linux/seccomp"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        let linux = spec.container.as_ref().and_then(|c| c.linux_info.as_ref());
        let wanted = linux.and_then(|l| l.seccomp.as_ref());
        let privileges = &mut preparation.setup.privileges;
        let bounding = privileges.bounding.unwrap_or(u64::MAX);
        let unconfined = wanted.is_some_and(|wanted| wanted.unconfined());
        privileges.filters = match (wanted, wanted.and_then(|w| w.profile_name.as_deref())) {
            (_, Some(_)) if unconfined => {
                return Err(
                    "'linux_info.seccomp' has a 'profile_name' and is 'unconfined'".to_owned()
                );
            }
            (_, Some(name)) => filter::compile(&read(&self.directory, name)?, bounding)?,
            (Some(_), None) if unconfined => Vec::new(),
            (Some(_), None) => {
                return Err(
                    "'linux_info.seccomp' needs a 'profile_name', or 'unconfined'".to_owned()
                );
            }
            (None, None) => match &self.default {
                Some(profile) => self.compile_default(profile, bounding)?,
                None => Vec::new(),
            },
        };
        Ok(())
    }
}

/// Reads a profile. Frameworks name them, so none outside the directory is read.
fn read(directory: &Path, name: &str) -> Result<Profile, String> {
    let fault = |e: &dyn std::fmt::Display| {
        format!("cannot read the seccomp profile '{name}' in {}: {e}", directory.display())
    };
    let text = rooted::read(directory, Path::new(name), Within::Bounds).map_err(|e| fault(&e))?;
    Profile::parse(&text).map_err(|e| fault(&e))
}
