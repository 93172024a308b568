//! `linux/capabilities`: which parts of root's power a container has (effective), and can have at all (bounding). Flags of
//! the agent hold where the framework says nothing, and bound what it may say.

use crate::isolation::filesystem::needs_root;
use crate::isolation::{Isolator, Preparation};
use crate::{ContainerSpec, MesosOptions};
use wire::v1::CapabilityInfo;
use wire::v1::capability_info::Capability;

/// Capabilities of the wire are numbers of the kernel plus this.
const FIRST: i32 = 1000;

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Capabilities {
    effective: Option<u64>,
    bounding: Option<u64>,
}

impl Capabilities {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        needs_root()?;
        let settings = &options.settings;
        let read = |info: &Option<CapabilityInfo>, flag: &str| {
            info.as_ref().map(|info| bits(info).map_err(|e| format!("{flag}: {e}"))).transpose()
        };
        let effective = read(&settings.effective_capabilities, "--effective_capabilities")?;
        let bounding = read(&settings.bounding_capabilities, "--bounding_capabilities")?;
        if let (Some(effective), Some(bounding)) = (effective, bounding) {
            let beyond = effective & !bounding;
            if beyond != 0 {
                return Err(format!(
                    "--effective_capabilities has {}, which --bounding_capabilities has not",
                    names(beyond)
                ));
            }
        }
        Ok(Self { effective, bounding })
    }
}

impl Isolator for Capabilities {
    fn name(&self) -> &'static str {
        "linux/capabilities"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        let linux = spec.container.as_ref().and_then(|c| c.linux_info.as_ref());
        let old = linux.and_then(|l| l.capability_info.as_ref());
        let new = linux.and_then(|l| l.effective_capabilities.as_ref());
        if old.is_some() && new.is_some() {
            return Err("only one of 'linux_info.capability_info' and \
                        'linux_info.effective_capabilities' can be set"
                .to_owned());
        }
        let effective = old.or(new).map(bits).transpose()?.or(self.effective);
        let bounding =
            linux.and_then(|l| l.bounding_capabilities.as_ref()).map(bits).transpose()?;
        if let (Some(wanted), Some(allowed)) = (bounding, self.bounding) {
            within(
                wanted,
                allowed,
                "'linux_info.bounding_capabilities'",
                "--bounding_capabilities",
            )?;
        }
        let bounding = bounding.or(self.bounding).or(effective);
        if let (Some(wanted), Some(allowed)) = (effective, bounding) {
            within(wanted, allowed, "effective capabilities", "the bounding capabilities")?;
        }
        preparation.setup.privileges.effective = effective;
        preparation.setup.privileges.bounding = bounding;
        Ok(())
    }
}

fn within(wanted: u64, allowed: u64, what: &str, bounds: &str) -> Result<(), String> {
    match wanted & !allowed {
        0 => Ok(()),
        beyond => Err(format!("{what}: {} is not among {bounds}", names(beyond))),
    }
}

fn bits(info: &CapabilityInfo) -> Result<u64, String> {
    info.capabilities.iter().try_fold(0, |bits, capability| {
        let number = u32::try_from(capability - FIRST).ok().filter(|number| *number < 64);
        let known = Capability::try_from(*capability).is_ok();
        match number.filter(|_| known) {
            Some(number) => Ok(bits | 1 << number),
            None => Err(format!("capability {capability} is not known")),
        }
    })
}

/// The capability of the kernel with this name (`CAP_CHOWN`), as a bit.
pub(super) fn bit(name: &str) -> Option<u64> {
    let capability = Capability::from_str_name(name.strip_prefix("CAP_")?)?;
    Some(1 << u32::try_from(capability as i32 - FIRST).ok()?)
}

fn names(bits: u64) -> String {
    let numbers = (0..64).filter(|number| bits & 1 << number != 0);
    let name = |number: i32| Capability::try_from(FIRST + number).map(|c| c.as_str_name());
    numbers.filter_map(|number| name(number).ok()).collect::<Vec<_>>().join(", ")
}
