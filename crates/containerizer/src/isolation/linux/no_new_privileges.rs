//! `linux/nnp`: no program that a container executes gives it more than it has, set-user-id or not.

use crate::ContainerSpec;
use crate::isolation::{Isolator, Preparation};

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct NoNewPrivileges;

impl Isolator for NoNewPrivileges {
    fn name(&self) -> &'static str {
        "linux/nnp"
    }

    fn prepare(&self, _spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        preparation.setup.privileges.no_new = true;
        Ok(())
    }
}
