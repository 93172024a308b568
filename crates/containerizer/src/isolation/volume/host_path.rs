//! `volume/host_path`: a file or directory of the host in a container.

use super::{Kind, attributes, of_kind, refuse_shared, target};
use crate::isolation::filesystem::needs_mount_namespaces;
use crate::isolation::{Attributes, Isolator, Preparation, Root, Source, Step};
use crate::{ContainerSpec, MesosOptions};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use wire::v1;
use wire::v1::mount_propagation::Mode;

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct HostPath {
    /// Below these, what is missing is made.
    force_creation: Vec<PathBuf>,
}

impl HostPath {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        needs_mount_namespaces(options)?;
        Ok(Self { force_creation: options.settings.host_path_force_creation.clone() })
    }

    fn ensure(&self, path: &Path) -> Result<(), String> {
        if path.exists() {
            return Ok(());
        }
        let plain = |c| matches!(c, Component::Normal(_) | Component::RootDir);
        let may_make = path.components().all(plain)
            && self.force_creation.iter().any(|allowed| path.starts_with(allowed));
        if !may_make {
            return Err(format!(
                "the volume's host path {} does not exist, and --host_path_volume_force_creation \
                 does not allow to make it",
                path.display()
            ));
        }
        std::fs::create_dir_all(path)
            .map_err(|e| format!("cannot make the volume's host path {}: {e}", path.display()))
    }

    fn step(
        &self,
        volume: &v1::Volume,
        images: &BTreeMap<String, Root>,
        preparation: &Preparation,
    ) -> Result<Option<Step>, String> {
        let named = volume.source.as_ref().and_then(|s| s.host_path.as_ref());
        let path = named.map_or(volume.host_path.as_deref().unwrap_or(""), |n| &n.path);
        if !path.starts_with('/') {
            return Err(format!("the volume's host path '{path}' must be absolute"));
        }
        self.ensure(Path::new(path))?;
        let propagation = named.and_then(|n| n.mount_propagation.as_ref()).map(|p| p.mode());
        let shared = propagation == Some(Mode::Bidirectional);
        if shared {
            check_shared(Path::new(path))?;
        }
        let (target, attributes) = (target(volume, preparation)?, attributes(volume));
        let is_there = !target.in_sandbox && preparation.rootfs.is_none() && target.path == path;
        if is_there && !shared && attributes == Attributes::default() {
            return Ok(None);
        }
        let source = match images.get(path) {
            Some(root) => Source::Root(root.clone()),
            None => Source::Host(PathBuf::from(path)),
        };
        let recursive = true;
        Ok(Some(Step::Bind { source, target, recursive, attributes, shared, optional: false }))
    }
}

impl Isolator for HostPath {
    fn name(&self) -> &'static str {
        "volume/host_path"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        for volume in of_kind(spec, Kind::HostPath) {
            refuse_shared(spec)?;
            let step = self.step(volume, &spec.image_volumes, preparation)?;
            preparation.setup.steps.extend(step);
        }
        Ok(())
    }
}

/// Whether what is mounted at a path can appear elsewhere: the mount that it is on must be shared.
fn check_shared(path: &Path) -> Result<(), String> {
    let fault = |e: std::io::Error| format!("cannot look at {}: {e}", path.display());
    let path = path.canonicalize().map_err(fault)?;
    let table = std::fs::read_to_string("/proc/self/mountinfo").map_err(fault)?;
    // id, parent, device, root, place, options, any number of fields, a dash. What comes later lies on top.
    let around = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let place = PathBuf::from(unescaped(fields.get(4)?));
        let extra = fields.get(6..)?.iter().take_while(|field| **field != "-");
        let shared = extra.clone().any(|field| field.starts_with("shared:"));
        path.starts_with(&place).then_some((place.as_os_str().len(), shared))
    });
    match around.max_by_key(|(length, _)| *length) {
        Some((_, true)) => Ok(()),
        _ => Err(format!(
            "BIDIRECTIONAL mount propagation needs {} to be on a shared mount of the host",
            path.display()
        )),
    }
}

/// The kernel writes blanks in paths as octal numbers.
fn unescaped(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (code, blank)| text.replace(code, blank))
}
