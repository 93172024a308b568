//! `gpu/nvidia`: whole GPUs of NVIDIA's. A container opens those that it was given and no others, has their nodes if it has
//! a root file system, and the driver's programs and libraries if its image asks for them (spec/agent.md 6.3).

mod allotment;
mod driver;
mod nvml;

use super::{Attributes, Isolator, Preparation, Running, Source, Step, Target};
use crate::{ContainerSpec, MesosOptions};
use allotment::Allotments;
use resources::Resources;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use wire::v1;

/// Name of the isolator.
pub(super) const NAME: &str = "gpu/nvidia";
/// Major number of the devices of GPUs.
const MAJOR: u32 = 195;
/// Devices that every program needs that uses a GPU, and one that may be there.
const CONTROL: [&str; 2] = ["nvidiactl", "nvidia-uvm"];
const OPTIONAL: &str = "nvidia-uvm-tools";
/// Where a container sees the driver.
const INSIDE: &str = "/usr/local/nvidia";
/// Variable and label with which images ask for the driver.
const VARIABLE: &str = "NVIDIA_VISIBLE_DEVICES";
const LABEL: &str = "com.nvidia.volumes.needed";

/// Settings, and where things are on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuOptions {
    /// NVIDIA's management library.
    pub library: PathBuf,
    /// `--nvidia_gpu_devices`: which GPUs, as the library counts them; None: all.
    pub indices: Option<Vec<u32>>,
    /// Directory of devices.
    pub devices: PathBuf,
    /// Directories of the driver's programs.
    pub programs: Vec<PathBuf>,
    /// Directories of the driver's libraries.
    pub libraries: Vec<PathBuf>,
}

impl Default for GpuOptions {
    fn default() -> Self {
        let paths = |all: &[&str]| all.iter().map(PathBuf::from).collect();
        Self {
            library: PathBuf::from("libnvidia-ml.so.1"),
            indices: None,
            devices: PathBuf::from("/dev"),
            programs: paths(&["/usr/bin", "/usr/local/bin", "/usr/sbin"]),
            libraries: paths(&["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib"]),
        }
    }
}

impl GpuOptions {
    /// How many GPUs an agent has: `given` is what `--resources` says of them.
    ///
    /// # Errors
    /// When there is no driver, or the flags do not fit each other or the machine.
    pub fn count(&self, given: Option<f64>) -> Result<usize, String> {
        let found = nvml::find(&self.library).map_err(|e| format!("isolator '{NAME}': {e}"))?;
        let there = found.minors.len();
        let flag = "--nvidia_gpu_devices";
        let (given, indices) = match (given, &self.indices) {
            (None, None) => return Ok(there),
            (Some(0.0), None) => return Ok(0),
            (Some(given), Some(indices)) => (given, indices),
            (None, Some(_)) => return Err(format!("{flag} needs 'gpus' in --resources")),
            (Some(_), None) => return Err(format!("'gpus' in --resources needs {flag}")),
        };
        let distinct: BTreeSet<&u32> = indices.iter().collect();
        if distinct.len() < indices.len() {
            return Err(format!("{flag} names a GPU twice"));
        }
        if given != indices.len() as f64 {
            let count = indices.len();
            return Err(format!("{flag} names {count} GPUs, and --resources says gpus:{given}"));
        }
        match indices.iter().find(|index| **index as usize >= there) {
            Some(index) => {
                Err(format!("{flag}: there is no GPU {index}; this machine has {there}"))
            }
            None => Ok(indices.len()),
        }
    }
}

/// Whether an image asks for the driver: variables of its description, and names of its labels.
pub(crate) fn is_asked_for<'a>(
    variable: impl Fn(&str) -> Option<&'a str>,
    mut labels: impl Iterator<Item = &'a str>,
) -> bool {
    match variable(VARIABLE) {
        Some("" | "void") => false,
        Some(_) => true,
        None => labels.any(|label| label == LABEL),
    }
}

/// A device that containers with GPUs open.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    name: String,
    major: u32,
    minor: u32,
}

/// Devices that a container may open, and others that it may not: major and minor numbers.
#[derive(Debug, Default)]
pub(super) struct Access {
    pub(super) opened: Vec<(u32, u32)>,
    pub(super) closed: Vec<(u32, u32)>,
}

/// The machine's GPUs, and who has them: what isolators and containerizers share.
#[derive(Debug)]
pub struct Gpus {
    allotments: Allotments,
    /// What they are called elsewhere, by their minor numbers.
    uuids: BTreeMap<u32, String>,
    control: Vec<Device>,
    options: GpuOptions,
    /// Where the driver's files are collected.
    driver: PathBuf,
}

impl Gpus {
    pub(super) fn new(options: &MesosOptions) -> Result<Arc<Self>, String> {
        for needed in ["cgroups/devices", "filesystem/linux"] {
            if !options.isolation.has(needed) {
                return Err(format!("isolator '{NAME}' needs '{needed}' in --isolation"));
            }
        }
        let settings = options.settings.gpus.clone();
        let found = nvml::find(&settings.library).map_err(|e| format!("isolator '{NAME}': {e}"))?;
        let chosen = match &settings.indices {
            None => found.minors.clone(),
            Some(indices) => {
                indices.iter().filter_map(|i| found.minors.get(*i as usize).copied()).collect()
            }
        };
        let fault = |e| format!("isolator '{NAME}': {e}");
        let control = control(&settings.devices).map_err(fault)?;
        let runtime = &options.runtime_dir;
        let name = format!("isolators/gpu/nvidia_{}", found.version.replace('/', "_"));
        let containers = runtime.join("containers");
        let uuids = found.minors.into_iter().zip(found.uuids).collect();
        Ok(Arc::new(Self {
            uuids,
            allotments: Allotments::new(chosen.into_iter().collect(), containers),
            control,
            options: settings,
            driver: runtime.join(name),
        }))
    }

    /// Gives a container of another containerizer as many as it asks for; what they are called.
    pub(crate) fn give(
        &self,
        container_id: &str,
        resources: &[v1::Resource],
    ) -> Result<Vec<String>, String> {
        let minors = self.allotments.give(container_id, whole(resources)?)?;
        Ok(minors.iter().filter_map(|minor| self.uuids.get(minor).cloned()).collect())
    }

    /// Such a container was found running with these.
    pub(crate) fn keep(&self, container_id: &str, uuids: &[String]) {
        let own = self.uuids.iter().filter(|(_, uuid)| uuids.contains(uuid));
        self.allotments.keep(container_id, own.map(|(minor, _)| *minor).collect());
    }

    /// Such a container has ended.
    pub(crate) fn release(&self, container_id: &str) {
        self.allotments.release(container_id);
    }

    /// What a container may open of the machine's devices for GPUs.
    pub(super) fn access(&self, container_id: &str) -> Access {
        let own = self.allotments.of(container_id);
        let others = self.allotments.all().difference(&own);
        Access {
            opened: self.devices(&own).into_iter().map(|d| (d.major, d.minor)).collect(),
            closed: others.map(|minor| (MAJOR, *minor)).collect(),
        }
    }

    fn devices(&self, minors: &BTreeSet<u32>) -> Vec<Device> {
        if minors.is_empty() {
            return Vec::new();
        }
        let gpu =
            |minor: &u32| Device { name: format!("nvidia{minor}"), major: MAJOR, minor: *minor };
        self.control.iter().cloned().chain(minors.iter().map(gpu)).collect()
    }

    /// Programs and libraries of the driver in a container.
    fn show_driver(&self, spec: &ContainerSpec, out: &mut Preparation) -> Result<(), String> {
        let GpuOptions { programs, libraries, .. } = &self.options;
        driver::collect(&self.driver, programs, libraries)?;
        let source = Source::Host(self.driver.clone());
        out.setup.steps.push(Step::bind(source, Target::made(INSIDE), Attributes::READ_ONLY));
        let places = [
            ("PATH", vec![format!("{INSIDE}/bin")]),
            (
                "LD_LIBRARY_PATH",
                // Libraries of an image that fit several drivers go first.
                vec![
                    "/usr/local/cuda/compat".to_owned(),
                    format!("{INSIDE}/lib"),
                    format!("{INSIDE}/lib64"),
                ],
            ),
        ];
        for (name, more) in places {
            let known = out.environment.get(name).or_else(|| spec.environment.get(name));
            let known = known.map(String::as_str).unwrap_or_default();
            let mut all: Vec<&str> = known.split(':').filter(|place| !place.is_empty()).collect();
            all.extend(
                more.iter()
                    .map(String::as_str)
                    .filter(|more| !known.split(':').any(|k| k == *more)),
            );
            let joined = all.join(":");
            out.environment.insert(name.to_owned(), joined);
        }
        Ok(())
    }
}

/// The devices that control the driver; what is missing of them is made as the driver makes it.
fn control(directory: &Path) -> Result<Vec<Device>, String> {
    let device = |name: &str| {
        let path = directory.join(name);
        let number = std::fs::metadata(&path).map(|found| found.rdev());
        let number = number.map_err(|e| format!("cannot look at {}: {e}", path.display()))?;
        let (major, minor) = (libc::major(number), libc::minor(number));
        Ok::<_, String>(Device { name: name.to_owned(), major, minor })
    };
    if !directory.join(CONTROL[1]).exists() {
        // Without the program the error below says what is missing.
        let _ = Command::new("nvidia-modprobe").args(["-u", "-c", "0"]).status();
    }
    let mut all = CONTROL.iter().map(|name| device(name)).collect::<Result<Vec<_>, _>>()?;
    all.extend(device(OPTIONAL).ok());
    Ok(all)
}

/// How many GPUs are asked for.
fn whole(resources: &[v1::Resource]) -> Result<usize, String> {
    let resources = Resources::from_wire(resources).map_err(|e| e.to_string())?;
    // There are no parts of GPUs.
    Ok(usize::try_from(resources.scalar("gpus") / 1000).unwrap_or(0))
}

/// The isolator.
#[derive(Debug)]
pub(super) struct Nvidia(pub(super) Arc<Gpus>);

impl Isolator for Nvidia {
    fn name(&self) -> &'static str {
        NAME
    }

    fn gpus(&self) -> Option<Arc<Gpus>> {
        Some(self.0.clone())
    }

    fn recover(&self, running: &[Running], _ended: &[String]) -> Result<(), String> {
        self.0.allotments.recover(running);
        Ok(())
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        if spec.shares_everything() {
            return Ok(());
        }
        match (&spec.parent, &spec.pod) {
            (None, _) => self.0.allotments.set(&spec.container_id, whole(&spec.resources)?)?,
            // The pod may have grown by this one.
            (Some(_), Some(pod)) => self.0.allotments.set(&pod.id, whole(&pod.resources)?)?,
            (Some(_), None) => {}
        }
        let devices = self.0.devices(&self.0.allotments.of(&spec.container_id));
        if devices.is_empty() || preparation.rootfs.is_none() {
            return Ok(());
        }
        preparation.setup.steps.extend(devices.iter().map(|device| Step::Device {
            path: format!("/dev/{}", device.name),
            mode: libc::S_IFCHR | 0o666,
            number: libc::makedev(device.major, device.minor),
        }));
        if spec.image_wants_nvidia {
            self.0.show_driver(spec, preparation)?;
        }
        Ok(())
    }

    fn update(
        &self,
        container_id: &str,
        resources: &[v1::Resource],
        _limits: &BTreeMap<String, f64>,
    ) -> Result<(), String> {
        self.0.allotments.set(container_id, whole(resources)?)
    }

    fn cleanup(&self, container_id: &str) -> Result<(), String> {
        self.0.allotments.release(container_id);
        Ok(())
    }
}
