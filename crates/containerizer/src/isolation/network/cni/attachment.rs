//! One container on one network: what is kept of it, so that it can be undone by any later agent, and the calls of its
//! plugins.

use super::config::{Network, program};
use super::plugin::{Call, Plugins};
use super::result::{self, Resolver};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use wire::v1;

/// File in the directory of a network: its configuration, what was asked for, and the interface. Written before ADD.
const CONFIGURATION: &str = "network.conf";
/// The same: the plugins' result. Written after ADD.
const RESULT: &str = "network.info";

/// A container on a network.
#[derive(Debug, Clone)]
pub(super) struct Attachment {
    network: Network,
    /// What was asked for.
    asked: v1::NetworkInfo,
    interface: String,
    directory: PathBuf,
    /// What the plugins made; None: they have not said, or not all of them.
    result: Option<Value>,
}

impl Attachment {
    /// Keeps in a directory below `networks` what ADD will be called with.
    pub(super) fn new(
        networks: &Path,
        network: Network,
        asked: v1::NetworkInfo,
        interface: String,
    ) -> Result<Self, String> {
        let directory = networks.join(&network.name);
        let one = Self { network, asked, interface, directory, result: None };
        let kept = json!({
            "network": one.network.to_json(),
            "asked": wire::json::to_value(&one.asked),
            "interface": one.interface,
        });
        write(&one.directory.join(CONFIGURATION), &kept.to_string())?;
        Ok(one)
    }

    /// What a former agent kept in a directory; None: it had not come to that, so that no plugin was called.
    pub(super) fn find(directory: PathBuf) -> Option<Self> {
        let read = |path: PathBuf| serde_json::from_slice(&std::fs::read(path).ok()?).ok();
        let kept: Value = read(directory.join(CONFIGURATION))?;
        let network = Network::parse(kept["network"].as_object()?.clone()).ok()?;
        let asked = wire::json::from_value(&kept["asked"]).ok()?;
        let interface = kept["interface"].as_str()?.to_owned();
        let result = read(directory.join(RESULT));
        Some(Self { network, asked, interface, directory, result })
    }

    fn call(&self, plugins: &Plugins, n: usize, call: Call<'_>) -> Result<Value, String> {
        let plugin = &self.network.plugins[n];
        let arguments = json!({"network_info": wire::json::to_value(&self.asked)});
        let previous = self.result.as_ref();
        let is_told = call.command == "ADD" || self.network.has_check();
        let previous = previous.filter(|_| is_told);
        let input = self.network.input(plugin, &arguments, &self.capabilities(), previous);
        let answer = plugins.run(program(plugin), call, &input).map(Value::Object);
        answer.map_err(|text| format!("network '{}': {text}", self.network.name))
    }

    /// Values of capabilities, for the plugins that have them.
    fn capabilities(&self) -> Map<String, Value> {
        let mut values = Map::new();
        let mappings = self.asked.port_mappings.iter().map(|mapping| {
            json!({
                "hostPort": mapping.host_port,
                "containerPort": mapping.container_port,
                "protocol": mapping.protocol.as_deref().unwrap_or("tcp").to_lowercase(),
            })
        });
        let mappings: Vec<Value> = mappings.collect();
        if !mappings.is_empty() {
            values.insert("portMappings".to_owned(), mappings.into());
        }
        let wanted = self.asked.ip_addresses.iter().filter_map(|ip| ip.ip_address.clone());
        let wanted: Vec<String> = wanted.collect();
        if !wanted.is_empty() {
            values.insert("ips".to_owned(), wanted.into());
        }
        values
    }

    /// Its interface inside.
    pub(super) fn interface(&self) -> &str {
        &self.interface
    }

    /// Adds the container to the network. When that fails, [`Self::remove`] undoes what was done of it.
    pub(super) fn add(
        &mut self,
        plugins: &Plugins,
        container_id: &str,
        namespace: &Path,
    ) -> Result<(), String> {
        let interface = self.interface.clone();
        let call = Call {
            command: "ADD",
            container_id,
            namespace: Some(namespace),
            interface: &interface,
        };
        for n in 0..self.network.plugins.len() {
            self.result = Some(self.call(plugins, n, call)?);
        }
        let found = self.parsed().map_err(|text| {
            let last = self.network.plugins.last().map(program).unwrap_or_default();
            format!("network '{}': CNI plugin '{last}' failed to ADD: {text}", self.network.name)
        });
        found?;
        let result = self.result.as_ref().map(Value::to_string).unwrap_or_default();
        write(&self.directory.join(RESULT), &result)
    }

    /// Removes it, plugin after plugin, whatever becomes of the others; why not, if it could not be.
    pub(super) fn remove(
        &self,
        plugins: &Plugins,
        container_id: &str,
        namespace: Option<&Path>,
    ) -> Result<(), String> {
        let call = Call { command: "DEL", container_id, namespace, interface: &self.interface };
        let each = (0..self.network.plugins.len()).rev();
        let failed: Vec<String> = each.filter_map(|n| self.call(plugins, n, call).err()).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    /// Asks whether it still is as it was made, where plugins can be asked.
    pub(super) fn check(
        &self,
        plugins: &Plugins,
        container_id: &str,
        namespace: &Path,
    ) -> Result<(), String> {
        if self.result.is_none() || !self.network.has_check() || self.network.disable_check {
            return Ok(());
        }
        let interface = &self.interface;
        let call = Call { command: "CHECK", container_id, namespace: Some(namespace), interface };
        (0..self.network.plugins.len()).try_for_each(|n| self.call(plugins, n, call).map(drop))
    }

    fn parsed(&self) -> Result<(Vec<IpAddr>, Resolver), String> {
        self.result.as_ref().map_or_else(|| Ok(Default::default()), result::parse)
    }

    /// Addresses on this network.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.parsed().map(|(addresses, _)| addresses).unwrap_or_default()
    }

    /// How names are resolved: as the plugins say, else as is the default for this network.
    pub(super) fn resolver(&self, default: impl Fn(&str) -> Option<Resolver>) -> Resolver {
        let said = self.parsed().map(|(_, resolver)| resolver).unwrap_or_default();
        if said.is_empty() { default(&self.network.name).unwrap_or_default() } else { said }
    }

    /// What the framework is told.
    pub(super) fn info(&self) -> v1::NetworkInfo {
        let addresses = self.addresses().into_iter().map(|address| {
            let protocol = match address {
                IpAddr::V4(_) => v1::network_info::Protocol::IPv4,
                IpAddr::V6(_) => v1::network_info::Protocol::IPv6,
            };
            v1::network_info::IpAddress {
                protocol: Some(protocol as i32),
                ip_address: Some(address.to_string()),
            }
        });
        v1::NetworkInfo { ip_addresses: addresses.collect(), ..self.asked.clone() }
    }
}

/// Writes a file as a whole or not at all, and makes its directory.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    let fault = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    let directory = path.parent().unwrap_or(path);
    std::fs::create_dir_all(directory).map_err(fault)?;
    let new = path.with_extension("new");
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)).map_err(fault)
}
