//! `namespaces/ipc`: System V objects and POSIX queues of a container are its own, and so is `/dev/shm` if it asks for
//! that or has a root file system.

use crate::isolation::filesystem::needs_mount_namespaces;
use crate::isolation::{Attributes, Isolator, Preparation, Source, Step, Target};
use crate::{ContainerSpec, MesosOptions};
use wire::v1::linux_info::IpcMode;

const SHM: &str = "/dev/shm";
const MEGABYTE: u64 = 1 << 20;

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Ipc {
    default_shm_size: Option<u64>,
    /// Whether containers may use the objects of the host.
    may_share: bool,
}

impl Ipc {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        needs_mount_namespaces(options)?;
        let settings = &options.settings;
        Ok(Self {
            default_shm_size: settings.default_shm_size,
            may_share: !settings.disallow_sharing_ipc,
        })
    }

    /// A `/dev/shm` of its own.
    fn private(&self, size: Option<u64>, preparation: &mut Preparation) {
        preparation.setup.own(libc::CLONE_NEWIPC);
        preparation.setup.replace(SHM, Step::memory(SHM, size.or(self.default_shm_size)));
    }
}

impl Isolator for Ipc {
    fn name(&self) -> &'static str {
        "namespaces/ipc"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        let linux = spec.container.as_ref().and_then(|c| c.linux_info.as_ref());
        let mode = linux.and_then(|linux| linux.ipc_mode.map(|_| linux.ipc_mode()));
        let size = linux.and_then(|linux| linux.shm_size);
        if size.is_some() && mode != Some(IpcMode::Private) {
            return Err("'linux_info.shm_size' needs 'ipc_mode' to be PRIVATE".to_owned());
        }
        if spec.shares_everything() {
            return Ok(());
        }
        let has_rootfs = preparation.rootfs.is_some();
        match (mode, spec.parent.is_some()) {
            (Some(IpcMode::Private), _) => {
                self.private(size.map(|megabytes| u64::from(megabytes) * MEGABYTE), preparation);
            }
            // A root file system has a /dev/shm of its own; else that of the host is shared.
            (None, false) => preparation.setup.own(libc::CLONE_NEWIPC),
            (None, true) => {}
            (Some(IpcMode::ShareParent), false) => {
                if !self.may_share {
                    return Err("'linux_info.ipc_mode' SHARE_PARENT of a container that is not \
                                nested is refused by --disallow_sharing_agent_ipc_namespace"
                        .to_owned());
                }
                if has_rootfs {
                    let host = Source::Host(SHM.into());
                    let step = Step::bind(host, Target::made(SHM), Attributes::default());
                    preparation.setup.replace(SHM, step);
                }
            }
            (Some(IpcMode::ShareParent), true) => {
                let parent = Source::Parent(SHM.to_owned());
                let step = Step::bind(parent, Target::made(SHM), Attributes::default());
                preparation.setup.replace(SHM, step);
            }
            (Some(IpcMode::Unknown), _) => {
                return Err("'linux_info.ipc_mode' must be PRIVATE or SHARE_PARENT".to_owned());
            }
        }
        Ok(())
    }
}
