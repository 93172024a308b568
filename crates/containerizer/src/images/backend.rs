//! Ways to make one root file system of layers (spec/agent.md 6.6).

use super::copy;
use super::whiteout::Form;
use crate::isolation::{Attributes, Root};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// File systems on which the peer does not put overlayfs, by the number that statfs gives.
const NO_OVERLAY: [(u64, &str); 5] = [
    (0x6175_6673, "aufs"),
    (0x9123_683e, "btrfs"),
    (0xf15f, "ecryptfs"),
    (0x2fc1_2fc1, "zfs"),
    (0x794c_7630, "overlay"),
];

/// How layers become one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Overlayfs: layers are shared, what the container writes is in a directory of its own.
    Overlay,
    /// The one layer of an image, read-only.
    Bind,
    /// A copy of everything.
    Copy,
}

impl Backend {
    /// The backend that the flag names, or the best that works in `directory`.
    pub(crate) fn choose(flag: Option<&str>, directory: &Path) -> Result<Self, String> {
        let named = |name: &str, why: &str| format!("--image_provisioner_backend={name}: {why}");
        match flag {
            None => match probe(directory) {
                Ok(()) => Ok(Self::Overlay),
                Err(error) => {
                    tracing::info!(%error, "images are copied for each container: there is no overlayfs");
                    Ok(Self::Copy)
                }
            },
            Some("overlay") => {
                probe(directory).map(|()| Self::Overlay).map_err(|e| named("overlay", &e))
            }
            Some("bind") => Ok(Self::Bind),
            Some("copy") => Ok(Self::Copy),
            Some("aufs") => {
                Err(named("aufs", "it is not supported: use overlay, which kernels have instead"))
            }
            Some(other) => Err(named(other, "expected overlay, bind or copy")),
        }
    }

    /// Its name, as a part of paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Bind => "bind",
            Self::Copy => "copy",
        }
    }

    /// The form that layers must have.
    pub(crate) fn form(self) -> Form {
        match self {
            Self::Overlay => Form::Overlay,
            Self::Bind | Self::Copy => Form::Plain,
        }
    }

    /// Makes ready what a root file system is mounted of: layers, the lowest first, `rootfs` for the tree itself, and
    /// `scratch` for what is beside. Devices in images are without effect.
    pub(crate) fn provision(
        self,
        mut layers: Vec<PathBuf>,
        rootfs: &Path,
        scratch: &Path,
    ) -> Result<Root, String> {
        let fault =
            |e: io::Error| format!("cannot make the root file system {}: {e}", rootfs.display());
        std::fs::create_dir_all(rootfs).map_err(fault)?;
        match (self, layers.as_slice()) {
            (Self::Overlay, _) => {
                let (upper, work) = beside(layers.last(), scratch).map_err(fault)?;
                layers.reverse();
                Ok(Root::Layers { lower: layers, upper, work })
            }
            (Self::Bind, [layer]) => {
                let attributes = Attributes(Attributes::NO_DEV.0 | Attributes::READ_ONLY.0);
                Ok(Root::Directory { path: layer.clone(), attributes })
            }
            (Self::Bind, _) => Err(format!(
                "the image has {} layers, and --image_provisioner_backend=bind can show only one",
                layers.len()
            )),
            (Self::Copy, _) => {
                copy::copy(&layers, rootfs)?;
                Ok(Root::Directory { path: rootfs.to_owned(), attributes: Attributes::NO_DEV })
            }
        }
    }
}

/// Whether overlayfs works in a directory: it is tried.
fn probe(directory: &Path) -> Result<(), String> {
    let kind = rustix::fs::statfs(directory).map_err(|e| e.to_string())?.f_type as u64;
    if let Some((_, name)) = NO_OVERLAY.iter().find(|(number, _)| *number == kind) {
        return Err(format!(
            "{} is on {name}, on which overlayfs is not used",
            directory.display()
        ));
    }
    let trial = directory.join(format!(".probe-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&trial);
    let (lower, rootfs) = (trial.join("lower"), trial.join("rootfs"));
    let tried = std::fs::create_dir_all(&lower)
        .and_then(|()| std::fs::create_dir_all(&rootfs))
        .and_then(|()| beside(None, &trial.join("scratch")))
        .and_then(|(upper, work)| overlay(&lower, &upper, &work, &rootfs))
        .and_then(|()| Ok(rustix::mount::unmount(&rootfs, UnmountFlags::DETACH)?));
    let _ = std::fs::remove_dir_all(&trial);
    tried.map_err(|e| format!("overlayfs does not work in {}: {e}", directory.display()))
}

/// Makes the directories that overlayfs writes to. The root of the tree has the owner and the mode of the first.
fn beside(top: Option<&PathBuf>, scratch: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (upper, work) = (scratch.join("upperdir"), scratch.join("workdir"));
    for directory in [&upper, &work] {
        std::fs::create_dir_all(directory)?;
    }
    if let Some(top) = top {
        copy::dress_like(top, &upper)?;
    }
    Ok((upper, work))
}

fn overlay(lower: &Path, upper: &Path, work: &Path, rootfs: &Path) -> io::Result<()> {
    // Descriptors have no character that is special in options.
    let open = |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let [lower, upper, work] = [open(lower)?, open(upper)?, open(work)?];
    let shown = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let (lower, upper, work) = (shown(&lower), shown(&upper), shown(&work));
    let options = CString::new(format!("lowerdir={lower},upperdir={upper},workdir={work}"))?;
    let options = Some(options.as_c_str());
    Ok(rustix::mount::mount("overlay", rootfs, "overlay", MountFlags::NODEV, options)?)
}
