//! What this containerizer can't do: refused by name, before anything is started. What a container asks for is never
//! just left out.

use crate::ContainerSpec;
use crate::isolation::Selection;
use crate::isolation::volume::{self, Kind};
use wire::v1;
use wire::v1::linux_info::IpcMode;

/// Whether the container needs something that is not there, or that no isolator provides that was chosen.
pub(crate) fn check(spec: &ContainerSpec, isolation: &Selection) -> Result<(), String> {
    if spec.rootfs.is_some() && !isolation.has("filesystem/linux") {
        return Err(
            "a root file system of its own needs 'filesystem/linux' in --isolation".to_owned()
        );
    }
    let Some(container) = &spec.container else { return Ok(()) };
    if container.r#type() == v1::container_info::Type::Docker {
        return Err("containers of type DOCKER need 'docker' in --containerizers".to_owned());
    }
    for volume in &container.volumes {
        check_volume(volume, isolation)?;
    }
    let mut wanted = Vec::new();
    if container.rlimit_info.is_some() {
        wanted.push(("rlimit_info", "posix/rlimits"));
    }
    if let Some(linux) = &container.linux_info {
        wanted.extend(of_linux(linux));
    }
    let missing = wanted.iter().find(|(_, isolator)| !isolation.has(isolator));
    missing.map_or(Ok(()), |(field, isolator)| {
        Err(format!("'ContainerInfo.{field}' needs '{isolator}' in --isolation"))
    })
}

fn of_linux(linux: &v1::LinuxInfo) -> Vec<(&'static str, &'static str)> {
    let capabilities = [
        (linux.capability_info.is_some(), "linux_info.capability_info"),
        (linux.effective_capabilities.is_some(), "linux_info.effective_capabilities"),
        (linux.bounding_capabilities.is_some(), "linux_info.bounding_capabilities"),
    ];
    let capabilities = capabilities.into_iter().filter(|(is_set, _)| *is_set);
    let mut wanted: Vec<_> = capabilities.map(|(_, field)| (field, "linux/capabilities")).collect();
    // Without the isolators nothing is confined, and everything shared, as some ask for.
    if linux.seccomp.as_ref().is_some_and(|seccomp| !seccomp.unconfined()) {
        wanted.push(("linux_info.seccomp", "linux/seccomp"));
    }
    if linux.ipc_mode.is_some() && linux.ipc_mode() != IpcMode::ShareParent {
        wanted.push(("linux_info.ipc_mode", "namespaces/ipc"));
    }
    if linux.shm_size.is_some() {
        wanted.push(("linux_info.shm_size", "namespaces/ipc"));
    }
    wanted
}

fn check_volume(volume: &v1::Volume, isolation: &Selection) -> Result<(), String> {
    let kind = volume::kind(volume)?;
    if matches!(kind, Kind::Docker | Kind::Csi) {
        return Err(format!(
            "the volume at '{}' needs '{}', which is not supported yet",
            volume.container_path,
            kind.isolator()
        ));
    }
    let legacy = isolation.has("filesystem/shared") && volume.host_path.is_some();
    if legacy || isolation.has(kind.isolator()) {
        return Ok(());
    }
    Err(format!(
        "the volume at '{}' needs '{}' in --isolation",
        volume.container_path,
        kind.isolator()
    ))
}
