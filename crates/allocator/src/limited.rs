//! Roles that have all that their limits allow, so that most of them are passed over without a look at the agent.

use crate::tree::Tree;

/// Scalars, one bit each by number. Those beyond the first 64 are never noted.
pub(crate) type Mask = u64;

/// Only ever says of scalars that they are used up, when they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limited {
    /// Of which scalars a role's own limit is reached.
    of: Vec<Mask>,
}

/// The bit of a scalar.
pub(crate) fn bit(at: usize) -> Option<Mask> {
    u32::try_from(at).ok().and_then(|at| 1_u64.checked_shl(at))
}

impl Limited {
    /// Notes whether a role has all of a scalar that its own limit allows.
    pub(crate) fn note(&mut self, role: u32, at: usize, is_reached: bool) {
        let Some(bit) = bit(at) else { return };
        let role = role as usize;
        if self.of.len() <= role {
            if !is_reached {
                return;
            }
            self.of.resize(role + 1, 0);
        }
        if is_reached { self.of[role] |= bit } else { self.of[role] &= !bit }
    }

    /// Forgets a role's limits.
    pub(crate) fn forget(&mut self, role: u32) {
        if let Some(of) = self.of.get_mut(role as usize) {
            *of = 0;
        }
    }

    /// Of which scalars a role may have no more, for its own limits or for those of roles above it.
    pub(crate) fn of(&self, tree: &Tree, role: u32) -> Mask {
        tree.chain(role).filter_map(|role| self.of.get(role as usize)).fold(0, |all, of| all | of)
    }
}
