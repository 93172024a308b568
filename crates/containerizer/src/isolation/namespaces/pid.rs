//! `namespaces/pid`: a container sees its own processes only. The first of them is an init that reaps what others leave;
//! when the main process ends, or the init is killed, the kernel kills all of them.

use crate::isolation::filesystem::needs_mount_namespaces;
use crate::isolation::{Attributes, Isolator, Preparation, Step};
use crate::{ContainerSpec, MesosOptions};

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Pid {
    /// Whether containers may see the processes of the host.
    may_share: bool,
}

impl Pid {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        needs_mount_namespaces(options)?;
        Ok(Self { may_share: !options.settings.disallow_sharing_pid })
    }
}

impl Isolator for Pid {
    fn name(&self) -> &'static str {
        "namespaces/pid"
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        if spec.shares_everything() {
            return Ok(());
        }
        let linux = spec.container.as_ref().and_then(|c| c.linux_info.as_ref());
        let shares = linux.is_some_and(|linux| linux.share_pid_namespace());
        if shares && spec.parent.is_none() {
            return match self.may_share {
                true => Ok(()),
                false => Err("'linux_info.share_pid_namespace' of a container that is not nested \
                              is refused by --disallow_sharing_agent_pid_namespace"
                    .to_owned()),
            };
        }
        if !shares {
            preparation.setup.own(libc::CLONE_NEWPID);
        }
        if preparation.rootfs.is_none() {
            preparation.setup.steps.push(Step::Mount {
                kind: "proc",
                options: String::new(),
                attributes: Attributes::DATA,
                path: "/proc".to_owned(),
            });
        }
        Ok(())
    }
}
