//! Containers as they are seen from outside: their networks, and what is told of them when they run.

use crate::agent::Agent;
use crate::contract::Appearance;
use crate::state::{LaunchedState, State};
use std::sync::Arc;
use wire::v1;
use wire::v1::network_info::{IpAddress, Protocol};

impl State {
    /// What is told of the cgroups of a container, if anything is.
    #[must_use]
    pub fn cgroups_of(&self, container_id: &str) -> Option<v1::CgroupInfo> {
        let classid = Some(*self.network_classes.get(container_id)?);
        let net_cls = Some(v1::cgroup_info::NetCls { classid });
        Some(v1::CgroupInfo { net_cls })
    }
}

impl Agent {
    pub(crate) fn on_container_appeared(&mut self, container_id: String, appearance: Appearance) {
        let launched = self.state.launched.get(&container_id);
        let starts = launched.is_some_and(|l| matches!(l.state, LaunchedState::Starting { .. }));
        // Of one whose end was told before there would be no other end by which this is forgotten.
        if self.state.recovered && !starts && !self.containers.contains_key(&container_id) {
            return;
        }
        let Appearance { networks, network_class, description } = appearance;
        if let Some(class) = network_class {
            self.state.network_classes.insert(container_id.clone(), class);
        }
        if !networks.is_empty() {
            self.state.networks.insert(container_id.clone(), Arc::from(networks));
        }
        if !description.is_empty() {
            self.descriptions.insert(container_id, description);
        }
    }

    /// Its end was told, or it is of no concern any more.
    pub(crate) fn forget_appearance(&mut self, container_id: &str) {
        self.state.networks.remove(container_id);
        self.state.network_classes.remove(container_id);
        self.descriptions.remove(container_id);
    }

    /// What is told of a container in the status with which its task runs.
    pub(crate) fn take_description(&mut self, container_id: Option<&str>) -> Option<Vec<u8>> {
        self.descriptions.remove(container_id?)
    }

    /// The networks of a container: without one of its own it has the agent's address.
    pub(crate) fn networks_of(&self, container_id: &str) -> Vec<v1::NetworkInfo> {
        if let Some(networks) = self.state.networks.get(container_id) {
            return networks.to_vec();
        }
        let address = IpAddress {
            protocol: Some(Protocol::IPv4 as i32),
            ip_address: Some(self.config.ip.clone()),
        };
        vec![v1::NetworkInfo { ip_addresses: vec![address], ..Default::default() }]
    }
}
