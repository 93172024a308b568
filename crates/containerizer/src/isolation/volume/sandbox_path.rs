//! `volume/sandbox_path`: a directory of a sandbox elsewhere in the container, or one of the sandbox around it, as the
//! tasks of a pod share them.

use super::{Kind, attributes, of_kind, refuse_shared, target};
use crate::isolation::{Attributes, Isolator, Preparation, Source, Step};
use crate::rooted::{self, Within};
use crate::{ContainerSpec, MesosOptions, MountedVolume, User};
use rustix::fs::{AtFlags, Gid, OFlags, Uid};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use wire::v1;
use wire::v1::volume::source::sandbox_path::Type;

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct SandboxPath {
    /// Else they are links.
    mounts: bool,
    work_dir: PathBuf,
}

impl SandboxPath {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Self {
        Self {
            mounts: options.isolation.has("filesystem/linux"),
            work_dir: options.work_dir.clone(),
        }
    }

    /// The directory in which the volume is, and its path there: a sandbox, or a persistent volume of the pod.
    fn source<'a>(
        &self,
        spec: &'a ContainerSpec,
        volume: &v1::Volume,
    ) -> Result<(PathBuf, String, Option<&'a MountedVolume>), String> {
        let named = volume.source.as_ref().and_then(|s| s.sandbox_path.as_ref());
        let (kind, path) = match named {
            Some(named) => (named.r#type(), named.path.clone()),
            None => (Type::Self_, volume.host_path.clone().unwrap_or_default()),
        };
        if path.starts_with('/') {
            return Err(format!("the volume's path '{path}' in the sandbox must be relative"));
        }
        match kind {
            Type::Self_ if !volume.container_path.starts_with('/') => Err(format!(
                "a volume of the sandbox itself needs an absolute container_path, not '{}'",
                volume.container_path
            )),
            Type::Self_ => Ok((PathBuf::from(&spec.directory), path, None)),
            Type::Parent => match self.sandbox_around(Path::new(&spec.directory)) {
                Some(around) => Ok(match of_pod(spec, &path) {
                    Some((shown, rest)) => (PathBuf::from(&shown.path), rest, Some(shown)),
                    None => (around.to_owned(), path, None),
                }),
                None => Err("a SANDBOX_PATH volume of type PARENT needs a container inside \
                             another one"
                    .to_owned()),
            },
            Type::Unknown => Err("'source.sandbox_path.type' must be SELF or PARENT".to_owned()),
        }
    }

    /// Sandboxes lie in `containers` of the one around them.
    fn sandbox_around<'a>(&self, directory: &'a Path) -> Option<&'a Path> {
        let containers = directory.parent()?;
        let around = containers.parent()?;
        (containers.ends_with("containers") && around != self.work_dir).then_some(around)
    }
}

/// The pod's persistent volume in which a path of its sandbox lies, and the path in it.
fn of_pod<'a>(spec: &'a ContainerSpec, path: &str) -> Option<(&'a MountedVolume, String)> {
    spec.pod.as_ref()?.volumes.iter().find_map(|volume| {
        let rest = Path::new(path).strip_prefix(&volume.container_path).ok()?;
        Some((volume, rest.display().to_string()))
    })
}

/// Who has the sandbox of the pod: its user or, if only an image knows that one, the container's.
fn owner_of_pod(spec: &ContainerSpec, container: Option<(u32, u32)>) -> Option<(u32, u32)> {
    let user = spec.pod.as_ref().and_then(|pod| pod.user.as_deref());
    let known = user.and_then(|name| User::named(name, None).ok());
    known.map(|user| (user.uid, user.gid)).or(container)
}

impl Isolator for SandboxPath {
    fn name(&self) -> &'static str {
        "volume/sandbox_path"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        for volume in of_kind(spec, Kind::SandboxPath) {
            refuse_shared(spec)?;
            let (base, path, persistent) = self.source(spec, volume)?;
            let mut owner = None;
            if spec.pod.is_some() && base != Path::new(&spec.directory) {
                owner = owner_of_pod(spec, preparation.owner);
                if let (Some(owner), Some(volume)) = (owner, persistent.filter(|v| v.exclusive)) {
                    crate::isolation::give(Path::new(&volume.path), owner)?;
                }
                make(&base, &path, owner)
                    .map_err(|e| format!("cannot use '{path}' of {}: {e}", base.display()))?;
            }
            if self.mounts {
                let target = target(volume, preparation)?;
                let source = Source::Within { base, path };
                let attributes = match persistent {
                    Some(persistent) if persistent.read_only => Attributes::writable(false),
                    _ => attributes(volume),
                };
                preparation.setup.steps.push(Step::bind(source, target, attributes));
                continue;
            }
            let shown = &volume.container_path;
            if shown.starts_with('/') {
                return Err(format!(
                    "the volume's absolute container_path '{shown}' needs 'filesystem/linux' in \
                     --isolation"
                ));
            }
            make(&base, &path, owner)
                .and_then(|()| rooted::directory(Path::new(&spec.directory)))
                .and_then(|own| rooted::link(&own, Path::new(shown), &base.join(&path)))
                .map_err(|e| format!("cannot link '{path}' of {}: {e}", base.display()))?;
        }
        Ok(())
    }
}

/// Makes a directory in another, if it is not there: that owner's, or else the other's.
fn make(base: &Path, path: &str, owner: Option<(u32, u32)>) -> io::Result<()> {
    let around = rooted::directory(base)?;
    let flags = OFlags::PATH;
    match rooted::open(&around, Path::new(path), Within::Bounds, flags) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other.map(drop),
    }
    let made = rooted::make_directory(&around, Path::new(path), Within::Bounds)?;
    let of_base = std::fs::metadata(base)?;
    let (uid, gid) = owner.unwrap_or((of_base.uid(), of_base.gid()));
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(rustix::fs::chownat(&made, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?)
}
