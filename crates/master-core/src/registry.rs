//! The part of a master's state that can't be rebuilt from its agents and frameworks, as sections of keys. A section that
//! older masters must not take no notice of needs a capability (`minimum.rs`).

use wire::v1::master_info::capability::Type;

/// What this master can do.
pub const CAPABILITIES: [Type; 3] = [Type::AgentUpdate, Type::AgentDraining, Type::QuotaV2];

/// Section of capabilities without which nobody may lead: names of [`CAPABILITIES`], without values.
pub const MINIMUM_CAPABILITIES: &str = "minimum_capabilities";

/// Section of admitted agents: agent id to `internal::RegistryAgent`.
pub const AGENTS: &str = "agents";
/// Section of unreachable agents: agent id to `internal::RegistryAgentGone`.
pub const UNREACHABLE: &str = "unreachable";
/// Section of agents marked gone: agent id to `internal::RegistryAgentGone`.
pub const GONE: &str = "gone";
/// Section of agents that operators took out of use: agent id to `internal::RegistryDeactivated`.
pub const DEACTIVATED: &str = "deactivated";
/// Section of maintenance: `schedule` to `internal::RegistryMaintenance`.
pub const MAINTENANCE: &str = "maintenance";

/// Section of quotas: role to `v1::quota::QuotaConfig`.
pub const QUOTA: &str = "quota";
/// Section of weights that operators set: role to `v1::WeightInfo`.
pub const WEIGHTS: &str = "weights";
/// Section of shares: role to `internal::RegistryShare`.
pub const SHARES: &str = "shares";

/// Section of overlaps that operators set: role to the number of frameworks, or `all`, as text.
pub const OFFER_OVERLAP: &str = "offer_overlap";

/// An entry's value as a message.
pub(crate) fn read<M: wire::Message>(value: &[u8]) -> Result<M, String> {
    wire::protobuf::from_slice(value).map_err(|e| e.to_string())
}

/// One change of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryOp {
    /// Sets a key.
    Put {
        /// Section.
        section: String,
        /// Key in it.
        key: String,
        /// New value.
        value: Vec<u8>,
    },
    /// Removes a key; no error if it is not there.
    Delete {
        /// Section.
        section: String,
        /// Key in it.
        key: String,
    },
}
