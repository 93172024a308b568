//! Ways to make one root file system of layers (spec/agent.md 6.6).

use super::whiteout::Form;
use super::{copy, mounts};
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

    /// Makes a root file system of layers, the lowest first, at `rootfs`; `scratch` is for what it needs beside. Devices
    /// in images are without effect.
    pub(crate) fn provision(
        self,
        layers: &[PathBuf],
        rootfs: &Path,
        scratch: &Path,
    ) -> Result<(), String> {
        let fault =
            |e: io::Error| format!("cannot make the root file system {}: {e}", rootfs.display());
        std::fs::create_dir_all(rootfs).map_err(fault)?;
        match self {
            Self::Overlay => overlay(layers, rootfs, scratch).map_err(fault)?,
            Self::Bind => match layers {
                [layer] => mounts::bind(layer, rootfs, true).map_err(fault)?,
                _ => {
                    let count = layers.len();
                    return Err(format!(
                        "the image has {count} layers, and --image_provisioner_backend=bind can show only one"
                    ));
                }
            },
            Self::Copy => {
                copy::copy(layers, rootfs)?;
                mounts::bind(rootfs, rootfs, false).map_err(fault)?;
            }
        }
        mounts::make_private(rootfs).map_err(fault)
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
        .and_then(|()| overlay(&[lower], &rootfs, &trial.join("scratch")))
        .and_then(|()| Ok(rustix::mount::unmount(&rootfs, UnmountFlags::DETACH)?));
    let _ = std::fs::remove_dir_all(&trial);
    tried.map_err(|e| format!("overlayfs does not work in {}: {e}", directory.display()))
}

fn overlay(layers: &[PathBuf], rootfs: &Path, scratch: &Path) -> io::Result<()> {
    let (upper, work) = (scratch.join("upperdir"), scratch.join("workdir"));
    for directory in [&upper, &work] {
        std::fs::create_dir_all(directory)?;
    }
    // The root of the tree has the owner and the mode of the upper directory.
    if let Some(top) = layers.last() {
        copy::dress_like(top, &upper)?;
    }
    let open = |path: &PathBuf| -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(path, flags, Mode::empty())?)
    };
    // Descriptors are short, whatever the paths are: all options have to fit a page, and nothing in them is special.
    let shown = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let (upper, work) = (open(&upper)?, open(&work)?);
    let layers = layers.iter().rev().map(open).collect::<io::Result<Vec<_>>>()?;
    let lower: Vec<String> = layers.iter().map(shown).collect();
    let (lower, upper, work) = (lower.join(":"), shown(&upper), shown(&work));
    let mount = |more: &str| -> io::Result<()> {
        let options =
            CString::new(format!("lowerdir={lower},upperdir={upper},workdir={work}{more}"))?;
        let options = Some(options.as_c_str());
        Ok(rustix::mount::mount("overlay", rootfs, "overlay", MountFlags::NODEV, options)?)
    };
    // What the container writes goes with it: the disk need not have it at the end. Kernels before 5.10 can't.
    mount(",volatile").or_else(|_| mount(""))
}
