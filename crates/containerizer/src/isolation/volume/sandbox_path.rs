//! `volume/sandbox_path`: a directory of a sandbox elsewhere in the container, or one of the sandbox around it, as the
//! tasks of a pod share them.

use super::{Kind, attributes, of_kind, refuse_shared, target};
use crate::isolation::{Attributes, Isolator, Preparation, Source, Step};
use crate::rooted;
use crate::{ContainerSpec, MesosOptions, MountedVolume, User};
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

/// Gives a persistent volume of the pod to whom the pod belongs or, if only an image knows that user, to the container's.
fn give(
    spec: &ContainerSpec,
    volume: &MountedVolume,
    owner: Option<(u32, u32)>,
) -> Result<(), String> {
    let user = spec.pod.as_ref().and_then(|pod| pod.user.as_deref());
    let known = user.and_then(|name| User::named(name, None).ok());
    match known.map(|user| (user.uid, user.gid)).or(owner).filter(|_| volume.exclusive) {
        Some(owner) => crate::isolation::give(Path::new(&volume.path), owner),
        None => Ok(()),
    }
}

impl Isolator for SandboxPath {
    fn name(&self) -> &'static str {
        "volume/sandbox_path"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        for volume in of_kind(spec, Kind::SandboxPath) {
            refuse_shared(spec)?;
            let (base, path, persistent) = self.source(spec, volume)?;
            persistent.map_or(Ok(()), |volume| give(spec, volume, preparation.owner))?;
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
            link(&base, &path, Path::new(&spec.directory), shown)
                .map_err(|e| format!("cannot link '{path}' of {} : {e}", base.display()))?;
        }
        Ok(())
    }
}

/// Shows a directory of one sandbox as a link in another. It is made, and its sandbox's owner's, if it is not there.
fn link(base: &Path, path: &str, sandbox: &Path, shown: &str) -> io::Result<()> {
    let around = rooted::directory(base)?;
    let flags = rustix::fs::OFlags::PATH;
    if rooted::open(&around, Path::new(path), rooted::Within::Bounds, flags).is_err() {
        let made = rooted::make_directory(&around, Path::new(path), rooted::Within::Bounds)?;
        let owner = std::fs::metadata(base)?;
        let (uid, gid) =
            (rustix::fs::Uid::from_raw(owner.uid()), rustix::fs::Gid::from_raw(owner.gid()));
        rustix::fs::chownat(&made, "", Some(uid), Some(gid), rustix::fs::AtFlags::EMPTY_PATH)?;
    }
    rooted::link(&rooted::directory(sandbox)?, Path::new(shown), &base.join(path))
}
