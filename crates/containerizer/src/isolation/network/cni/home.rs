//! A network namespace with what it is attached to, of one container or of a pod: the same for all its members.

use super::CniOptions;
use super::attachment::{self, Attachment};
use super::config::{self, Network};
use super::plugin::Plugins;
use super::result::Resolver;
use crate::isolation::network::{Rates, namespace};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use wire::v1;

/// Name of a file: how fast its interfaces are.
const RATES: &str = "rates";
/// Longest name of a host.
const HOSTNAME_MAX: usize = 64;

/// What somebody wants to have made.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) networks: Vec<&'a v1::NetworkInfo>,
    pub(super) hostname: Option<&'a str>,
}

/// One of them. Its directory is there before anything else of it, and after.
#[derive(Debug)]
pub(super) struct Home {
    /// Id of the container or pod.
    id: String,
    directory: PathBuf,
    attachments: Vec<Attachment>,
    /// Each with the bytes a second that it asked for.
    members: BTreeMap<String, Option<u64>>,
    /// Everything is made; or it failed, with this text for all who wait.
    made: Option<Result<(), String>>,
    /// How fast its interfaces are.
    rates: Rates,
    /// Nothing is left of it.
    pub(super) is_gone: bool,
}

impl Home {
    pub(super) fn new(root: &Path, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            directory: root.join(id),
            attachments: Vec::new(),
            members: BTreeMap::new(),
            made: None,
            rates: Rates::default(),
            is_gone: false,
        }
    }

    /// What a former agent left.
    pub(super) fn find(root: &Path, id: &str) -> Self {
        let mut home = Self::new(root, id);
        let names = |of: PathBuf| {
            let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok())
        };
        let members = home.directory.join("members");
        let asked = |name: &str| std::fs::read_to_string(members.join(name)).ok()?.parse().ok();
        home.members = names(members.clone()).map(|name| (name.clone(), asked(&name))).collect();
        let networks = home.directory.join("networks");
        let found =
            names(networks.clone()).filter_map(|name| Attachment::find(networks.join(name)));
        home.attachments = found.collect();
        home.attachments.sort_by(|a, b| a.interface().cmp(b.interface()));
        let rates = std::fs::read(home.directory.join(RATES)).ok();
        let rates = rates.and_then(|text| serde_json::from_slice(&text).ok());
        home.rates = rates.map_or_else(Rates::default, |rates| Rates::from_json(&rates));
        home.made = Some(Ok(()));
        home
    }

    pub(super) fn namespace(&self) -> PathBuf {
        self.directory.join("ns")
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    pub(super) fn hostname(&self) -> String {
        let kept = std::fs::read_to_string(self.directory.join("hostname")).unwrap_or_default();
        kept.trim_end().to_owned()
    }

    /// Files that stand in for those of the host, by their names there.
    pub(super) fn files(&self) -> Vec<(&'static str, PathBuf)> {
        let files = ["hosts", "hostname", "resolv.conf"];
        let files = files.map(|name| (name, self.directory.join(name)));
        files.into_iter().filter(|(_, path)| path.exists()).collect()
    }

    pub(super) fn infos(&self) -> Vec<v1::NetworkInfo> {
        self.attachments.iter().map(Attachment::info).collect()
    }

    /// Takes a member in. The first one has everything made.
    pub(super) fn join(
        &mut self,
        member: &str,
        asked: Option<u64>,
        wanted: &Wanted<'_>,
        options: &CniOptions,
        plugins: &Plugins,
    ) -> Result<(), String> {
        self.note(member, asked)?;
        let made = match &self.made {
            Some(made) => made.clone(),
            None => self.make(wanted, options, plugins),
        };
        self.made = Some(made.clone());
        made.and_then(|()| self.limit(options.rates))
    }

    fn note(&mut self, member: &str, asked: Option<u64>) -> Result<(), String> {
        self.members.insert(member.to_owned(), asked);
        let text = asked.map(|asked| asked.to_string()).unwrap_or_default();
        attachment::write(&self.directory.join("members").join(member), &text)
    }

    /// A member asks for another rate.
    pub(super) fn update(
        &mut self,
        member: &str,
        asked: Option<u64>,
        default: Rates,
    ) -> Result<(), String> {
        if self.members.get(member) != Some(&asked) {
            self.note(member, asked)?;
        }
        self.limit(default)
    }

    fn make(
        &mut self,
        wanted: &Wanted<'_>,
        options: &CniOptions,
        plugins: &Plugins,
    ) -> Result<(), String> {
        let hostname = wanted.hostname.unwrap_or(&self.id).to_owned();
        if hostname.is_empty() || hostname.len() > HOSTNAME_MAX {
            return Err(format!(
                "'hostname' must have 1 to {HOSTNAME_MAX} bytes, and '{hostname}' has {}",
                hostname.len()
            ));
        }
        let config_dir = options.config_dir.as_deref().unwrap_or_else(|| Path::new(""));
        let names = wanted.networks.iter().map(|asked| asked.name());
        let networks = names.map(|name| Network::find(config_dir, name));
        let networks: Vec<Network> = networks.collect::<Result<_, _>>()?;
        for (n, network) in networks.iter().enumerate() {
            if networks[..n].iter().any(|other| other.name == network.name) {
                return Err(format!(
                    "Attempted to join CNI network '{}' multiple times",
                    network.name
                ));
            }
        }
        // What can't be undone for want of a plugin is not begun.
        let mut programs = networks.iter().flat_map(|network| &network.plugins);
        programs.try_for_each(|plugin| plugins.find(config::program(plugin)).map(drop))?;
        let path = self.namespace();
        namespace::make(&path).map_err(|e| format!("cannot make a network namespace: {e}"))?;
        for (n, (network, asked)) in networks.into_iter().zip(&wanted.networks).enumerate() {
            let directory = self.directory.join("networks");
            let asked = (*asked).clone();
            let attachment = Attachment::new(&directory, network, asked, format!("eth{n}"))?;
            self.attachments.push(attachment);
            let last = self.attachments.len() - 1;
            self.attachments[last].add(plugins, &self.id, &path)?;
        }
        self.write_files(&hostname, options)
    }

    /// Has each of its interfaces as fast as its members asked for together, or as is the default.
    fn limit(&mut self, default: Rates) -> Result<(), String> {
        let asked = self.members.values().copied().flatten().reduce(u64::saturating_add);
        let rates = Rates::of(asked, default);
        if rates == self.rates {
            return Ok(());
        }
        let namespace = self.namespace();
        let mut interfaces = self.attachments.iter().map(Attachment::interface);
        interfaces.try_for_each(|interface| rates.apply(self.rates, &namespace, interface))?;
        self.rates = rates;
        attachment::write(&self.directory.join(RATES), &rates.to_json().to_string())
    }

    pub(super) fn rates(&self) -> Rates {
        self.rates
    }

    fn write_files(&self, hostname: &str, options: &CniOptions) -> Result<(), String> {
        let write = |name: &str, text: &str| attachment::write(&self.directory.join(name), text);
        let mut hosts = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
        let addresses = self.attachments.iter().flat_map(Attachment::addresses);
        let addresses: Vec<IpAddr> = addresses.collect();
        // The first of each kind is what the name stands for.
        let first = |is_wanted: fn(&IpAddr) -> bool| addresses.iter().find(|a| is_wanted(a));
        for address in first(IpAddr::is_ipv4).into_iter().chain(first(IpAddr::is_ipv6)) {
            hosts.push_str(&format!("{address} {hostname}\n"));
        }
        write("hosts", &hosts)?;
        write("hostname", &format!("{hostname}\n"))?;
        let mut resolver = Resolver::default();
        for attachment in &self.attachments {
            resolver.add(attachment.resolver(|name| options.default_resolver(name)));
        }
        if resolver.is_empty() {
            return match std::fs::read_to_string("/etc/resolv.conf") {
                Ok(of_host) => write("resolv.conf", &of_host),
                Err(_) => Ok(()),
            };
        }
        write("resolv.conf", &resolver.to_file())
    }

    /// Lets a member go. With the last one everything is undone; what can't be stays for a later agent.
    pub(super) fn leave(
        &mut self,
        member: &str,
        default: Rates,
        plugins: &Plugins,
    ) -> Result<(), String> {
        self.members.remove(member);
        let _ = std::fs::remove_file(self.directory.join("members").join(member));
        if self.members.is_empty() { self.remove(plugins) } else { self.limit(default) }
    }

    /// Undoes everything; idempotent.
    pub(super) fn remove(&mut self, plugins: &Plugins) -> Result<(), String> {
        let path = self.namespace();
        let namespace = namespace::is_mounted(&path).then_some(path.as_path());
        let each = self.attachments.iter().rev();
        let failed: Vec<String> =
            each.filter_map(|a| a.remove(plugins, &self.id, namespace).err()).collect();
        if !failed.is_empty() {
            return Err(failed.join("; "));
        }
        namespace::remove(&path).map_err(|e| format!("cannot unmount {}: {e}", path.display()))?;
        match std::fs::remove_dir_all(&self.directory) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("cannot remove {}: {e}", self.directory.display()))
            }
            _ => {
                self.is_gone = true;
                Ok(())
            }
        }
    }

    /// Has the plugins look whether everything still is as it was made.
    pub(super) fn check(&self, plugins: &Plugins) -> Result<(), String> {
        let path = self.namespace();
        self.attachments.iter().try_for_each(|a| a.check(plugins, &self.id, &path))
    }
}
