//! `filesystem/shared`: containers share the file system of the host, but some of its directories are private. Superseded
//! by `filesystem/linux`; kept for those who name it.

use super::{needs_mounts_by_descriptor, needs_root};
use crate::ContainerSpec;
use crate::isolation::{Attributes, Isolator, Preparation, Source, Step, Target};
use crate::rooted;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Shared;

impl Shared {
    pub(in crate::isolation) fn new() -> Result<Self, String> {
        needs_root()?;
        needs_mounts_by_descriptor()?;
        Ok(Self)
    }
}

impl Isolator for Shared {
    fn name(&self) -> &'static str {
        "filesystem/shared"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        super::posix::link_volumes(spec, preparation)?;
        let Some(container) = &spec.container else { return Ok(()) };
        let mut seen = vec![PathBuf::from(&spec.directory)];
        for volume in &container.volumes {
            let Some(host_path) = &volume.host_path else { continue };
            let shown = Path::new(&volume.container_path);
            let Ok(covered) = shown.metadata() else {
                return Err(format!(
                    "the volume's container_path '{}' does not exist on the host",
                    shown.display()
                ));
            };
            if let Some(other) = seen.iter().find(|o| o.starts_with(shown) || shown.starts_with(o))
            {
                return Err(format!(
                    "the volume's container_path '{}' and {} lie in each other",
                    shown.display(),
                    other.display()
                ));
            }
            seen.push(shown.to_owned());
            let source = match host_path.starts_with('/') {
                true => Source::Host(PathBuf::from(host_path)),
                false => private(Path::new(&spec.directory), host_path, &covered)
                    .map_err(|e| format!("cannot make the volume '{host_path}': {e}"))?,
            };
            let target =
                Target { in_sandbox: false, path: volume.container_path.clone(), made: false };
            preparation.setup.own(libc::CLONE_NEWNS);
            preparation.setup.steps.push(Step::bind(source, target, Attributes::default()));
        }
        Ok(())
    }
}

/// Makes a directory in the sandbox that stands for one of the host, with its owner and permissions.
fn private(sandbox: &Path, path: &str, covered: &std::fs::Metadata) -> std::io::Result<Source> {
    if !Path::new(path).components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(std::io::Error::other("it must be without '.' and '..'"));
    }
    rooted::make_directory(&rooted::directory(sandbox)?, Path::new(path), rooted::Within::Bounds)?;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    let base = rooted::directory(sandbox)?;
    let made =
        std::fs::File::from(rooted::open(&base, path.as_ref(), rooted::Within::Bounds, flags)?);
    made.set_permissions(covered.permissions())?;
    std::os::unix::fs::fchown(&made, Some(covered.uid()), Some(covered.gid()))?;
    Ok(Source::Within { base: sandbox.to_owned(), path: path.to_owned() })
}
