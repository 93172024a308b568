//! The driver's programs and libraries, for images that ask for them: they have to fit the driver of this machine, so no
//! image can bring them.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Programs of the driver that are of use in a container.
const PROGRAMS: [&str; 5] = [
    "nvidia-smi",
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
];

/// Whether a library is the driver's.
fn is_of_driver(name: &str) -> bool {
    let starts = ["libnvidia-", "libcuda.so", "libnvcuvid.so", "libnvoptix.so"];
    let is_library = name.contains(".so");
    is_library && (starts.iter().any(|s| name.starts_with(s)) || name.contains("_nvidia.so"))
}

/// Copies what there is to `<directory>/bin` and `<directory>/lib64`, unless that was done before.
pub(super) fn collect(
    directory: &Path,
    programs: &[PathBuf],
    libraries: &[PathBuf],
) -> Result<(), String> {
    let fault =
        |e: io::Error| format!("cannot copy NVIDIA's driver to {}: {e}", directory.display());
    if directory.exists() {
        return Ok(());
    }
    let new = directory.with_extension("new");
    let _ = std::fs::remove_dir_all(&new);
    for name in ["bin", "lib", "lib64"] {
        std::fs::create_dir_all(new.join(name)).map_err(fault)?;
    }
    for name in PROGRAMS {
        let found = programs.iter().map(|place| place.join(name)).find(|path| path.is_file());
        if let Some(path) = found {
            std::fs::copy(path, new.join("bin").join(name)).map_err(fault)?;
        }
    }
    for place in libraries {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            if name.to_str().is_some_and(is_of_driver) {
                copy(&entry.path(), &new.join("lib64").join(name)).map_err(fault)?;
            }
        }
    }
    std::fs::rename(&new, directory).map_err(fault)
}

/// Links that stay in their directory stay links.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.symlink_metadata().is_ok() {
        return Ok(());
    }
    match std::fs::read_link(from) {
        Ok(target) if target.components().count() == 1 => symlink(target, to),
        _ if from.is_file() => std::fs::copy(from, to).map(drop),
        _ => Ok(()),
    }
}
