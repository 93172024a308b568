//! `network/cni`: containers that name networks have a network namespace of their own, which plugins of the operator's
//! attach to these (the Container Network Interface, spec/agent.md 6.3).
//!
//! What is made for a container is kept in a directory before it is made, so that whatever happens to an agent, the next
//! one finds it: it goes on with what runs, and has the plugins undo the rest.

mod attachment;
mod config;
mod home;
mod plugin;
mod result;

pub use result::Resolver;

use super::{NetworkStatistics, Rates, namespace, rates, statistics};
use crate::isolation::filesystem::{needs_mounts_by_descriptor, needs_root};
use crate::isolation::{
    Attributes, Isolator, Preparation, Processes, Running, Source, Step, Target,
};
use crate::supervisor::Files;
use crate::{ContainerSpec, MesosOptions};
use home::{Home, Wanted};
use plugin::Plugins;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::v1;

/// Settings: flags of the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct CniOptions {
    /// `--network_cni_config_dir`.
    pub config_dir: Option<PathBuf>,
    /// `--network_cni_plugins_dir`: where plugins are looked for, in this order.
    pub plugins_dirs: Vec<PathBuf>,
    /// `--network_cni_root_dir_persist`: what is kept of containers lies in the work directory, and survives a reboot.
    pub persist: bool,
    /// `--network_cni_plugin_timeout`: what a plugin takes longer for has failed.
    pub plugin_timeout: Duration,
    /// `--default_container_dns`: for a network, or for all those of which nothing is said.
    pub resolvers: Vec<(Option<String>, Resolver)>,
    /// `--egress_rate_limit_per_container` and its like: how fast containers are that do not ask for a rate.
    pub rates: Rates,
    /// What is told of networks.
    pub statistics: NetworkStatistics,
}

impl Default for CniOptions {
    fn default() -> Self {
        Self {
            config_dir: None,
            plugins_dirs: Vec::new(),
            persist: false,
            plugin_timeout: Duration::from_secs(60),
            resolvers: Vec::new(),
            rates: Rates::default(),
            statistics: NetworkStatistics::default(),
        }
    }
}

impl CniOptions {
    fn default_resolver(&self, network: &str) -> Option<Resolver> {
        let of = |wanted: Option<&str>| {
            let found = self.resolvers.iter().find(|(name, _)| name.as_deref() == wanted);
            found.map(|(_, resolver)| resolver.clone())
        };
        of(Some(network)).or_else(|| of(None))
    }
}

/// The isolator.
#[derive(Debug)]
pub(in crate::isolation) struct Cni {
    shared: Arc<Shared>,
    /// Runtime directories of containers.
    containers: PathBuf,
    is_root: bool,
}

#[derive(Debug)]
struct Shared {
    options: CniOptions,
    plugins: Plugins,
    /// Directory of all homes.
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    homes: BTreeMap<String, Arc<Mutex<Home>>>,
    /// The home of each container that has one.
    of: BTreeMap<String, String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn home(&self, container_id: &str) -> Option<Arc<Mutex<Home>>> {
        let state = lock(&self.state);
        state.homes.get(state.of.get(container_id)?).cloned()
    }

    /// Finds the home or makes one, and takes the container in.
    fn join(
        &self,
        container_id: &str,
        id: &str,
        asked: Option<u64>,
        wanted: &Wanted<'_>,
    ) -> Result<Arc<Mutex<Home>>, String> {
        loop {
            let home = {
                let mut state = lock(&self.state);
                if state.homes.is_empty() {
                    let shared = std::fs::create_dir_all(&self.root)
                        .and_then(|()| namespace::share(&self.root));
                    shared.map_err(|e| format!("cannot mount {}: {e}", self.root.display()))?;
                }
                state.of.insert(container_id.to_owned(), id.to_owned());
                let new = || Arc::new(Mutex::new(Home::new(&self.root, id)));
                state.homes.entry(id.to_owned()).or_insert_with(new).clone()
            };
            let mut entered = lock(&home);
            // The last of the others may have left it meanwhile.
            if !entered.is_gone {
                entered.join(container_id, asked, wanted, &self.options, &self.plugins)?;
                drop(entered);
                return Ok(home);
            }
        }
    }

    fn leave(&self, container_id: &str) -> Result<(), String> {
        let Some(home) = self.home(container_id) else { return Ok(()) };
        let mut left = lock(&home);
        left.leave(container_id, self.options.rates, &self.plugins)?;
        let mut state = lock(&self.state);
        let id = state.of.remove(container_id);
        if left.is_gone
            && let Some(id) = id
        {
            state.homes.remove(&id);
        }
        self.put_away(&state)
    }

    /// Leaves nothing mounted when nobody needs it.
    fn put_away(&self, state: &State) -> Result<(), String> {
        if !state.homes.is_empty() || !self.root.exists() {
            return Ok(());
        }
        namespace::unshare(&self.root)
            .map_err(|e| format!("cannot unmount {}: {e}", self.root.display()))
    }

    /// Finds the homes of a former agent; has those removed in which nobody lives.
    fn recover(&self, known: &BTreeSet<&str>) -> Result<(), String> {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return Ok(()) };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut state = lock(&self.state);
        for id in names {
            let mut home = Home::find(&self.root, &id);
            let strangers = home.members().filter(|member| !known.contains(member));
            let strangers: Vec<String> = strangers.map(str::to_owned).collect();
            let is_empty = strangers.len() == home.members().count();
            if is_empty {
                match home.remove(&self.plugins) {
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::error!(container = %id, %error, "cannot remove an orphan's network");
                    }
                }
            } else {
                for member in strangers {
                    let _ = home.leave(&member, self.options.rates, &self.plugins);
                }
            }
            let members = home.members().map(|member| (member.to_owned(), id.clone()));
            state.of.extend(members);
            state.homes.insert(id, Arc::new(Mutex::new(home)));
        }
        self.put_away(&state)
    }

    /// Has the plugins look at what was found.
    fn check(&self) {
        let homes: Vec<_> = lock(&self.state).homes.clone().into_iter().collect();
        for (id, home) in homes {
            let home = lock(&home);
            if !home.is_gone
                && home.members().next().is_some()
                && let Err(error) = home.check(&self.plugins)
            {
                tracing::warn!(container = %id, %error, "its network is not as it was made");
            }
        }
    }
}

impl Cni {
    pub(in crate::isolation) fn new(options: &MesosOptions) -> Result<Self, String> {
        let cni = options.settings.cni.clone();
        match (&cni.config_dir, cni.plugins_dirs.is_empty()) {
            (None, false) => return Err("--network_cni_config_dir is not set".to_owned()),
            (Some(_), true) => return Err("--network_cni_plugins_dir is not set".to_owned()),
            (None, true) => {}
            (Some(directory), false) => {
                needs_root()?;
                needs_mounts_by_descriptor()?;
                for directory in cni.plugins_dirs.iter().chain([directory]) {
                    if !directory.is_dir() {
                        return Err(format!("there is no directory {}", directory.display()));
                    }
                }
            }
        }
        let base = if cni.persist { &options.work_dir } else { &options.runtime_dir };
        let plugins =
            Plugins { directories: cni.plugins_dirs.clone(), timeout: cni.plugin_timeout };
        let shared = Shared {
            root: base.join("isolators/network/cni"),
            plugins,
            options: cni,
            state: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            containers: options.runtime_dir.join("containers"),
            is_root: needs_root().is_ok(),
        })
    }

    /// The home of a container, or of the next one around it that has one.
    fn around(&self, container_id: &str) -> Option<Arc<Mutex<Home>>> {
        let mut id = container_id.to_owned();
        loop {
            if let Some(home) = self.shared.home(&id) {
                return Some(home);
            }
            id = Files(self.containers.join(&id)).parent()?;
        }
    }

    /// Shows files of a home, or of the host, in place of those that are there.
    fn show(
        &self,
        files: &[(&str, PathBuf)],
        attributes: Attributes,
        preparation: &mut Preparation,
    ) {
        let has_rootfs = preparation.rootfs.is_some();
        for (name, file) in files {
            let path = format!("/etc/{name}");
            // Nothing is made in the file system of the host.
            if !has_rootfs && !Path::new(&path).exists() {
                continue;
            }
            let target = Target { in_sandbox: false, path, made: has_rootfs };
            preparation.setup.steps.push(Step::bind(
                Source::Host(file.clone()),
                target,
                attributes,
            ));
        }
    }

    /// In the network of the host, or of the container around it.
    fn prepare_shared(
        &self,
        spec: &ContainerSpec,
        hostname: Option<&str>,
        preparation: &mut Preparation,
    ) -> Result<(), String> {
        let around = spec.parent.as_deref().and_then(|parent| self.around(parent));
        if let Some(home) = &around {
            preparation.environment.insert("LIBPROCESS_IP".to_owned(), "0.0.0.0".to_owned());
            if preparation.rootfs.is_some() {
                self.show(&lock(home).files(), Attributes::default(), preparation);
            }
        } else if preparation.rootfs.is_some() && self.is_root {
            let files = ["hosts", "hostname", "resolv.conf"];
            let files = files.map(|name| (name, Path::new("/etc").join(name)));
            let files: Vec<_> = files.into_iter().filter(|(_, path)| path.exists()).collect();
            self.show(&files, Attributes::READ_ONLY, preparation);
        }
        let Some(hostname) = hostname else { return Ok(()) };
        needs_root().map_err(|e| format!("'hostname': {e}"))?;
        preparation.setup.own(libc::CLONE_NEWUTS);
        preparation.setup.hostname = Some(hostname.to_owned());
        Ok(())
    }
}

/// The networks that a description names; None: it names none.
fn named(container: &v1::ContainerInfo) -> Option<Vec<&v1::NetworkInfo>> {
    let named = container.network_infos.iter().filter(|info| info.name.is_some());
    let named: Vec<_> = named.collect();
    (!named.is_empty()).then_some(named)
}

impl Isolator for Cni {
    fn name(&self) -> &'static str {
        "network/cni"
    }

    fn recover(&self, running: &[Running], ended: &[String]) -> Result<(), String> {
        let running = running.iter().map(|r| r.container_id.as_str());
        let known = running.chain(ended.iter().map(String::as_str)).collect();
        self.shared.recover(&known)?;
        let shared = self.shared.clone();
        let checks = std::thread::Builder::new().name("network-checks".to_owned());
        let spawned = checks.spawn(move || shared.check());
        spawned.map(drop).map_err(|e| format!("cannot start a thread: {e}"))
    }

    fn prepare(&self, spec: &ContainerSpec, preparation: &mut Preparation) -> Result<(), String> {
        if spec.shares_everything() {
            return self.prepare_shared(spec, None, preparation);
        }
        let container = spec.container.as_ref();
        let own = container.and_then(|c| c.hostname.as_deref());
        let pod = spec.pod.as_ref().and_then(|pod| Some((pod, pod.container.as_ref()?)));
        let of_pod = pod.and_then(|(pod, container)| {
            Some((pod.id.as_str(), named(container)?, container.hostname.as_deref()))
        });
        let alone = container.and_then(named).map(|all| (spec.container_id.as_str(), all, own));
        let Some((id, networks, hostname)) = alone.or(of_pod) else {
            let of_pod = pod.and_then(|(_, container)| container.hostname.as_deref());
            return self.prepare_shared(spec, own.or(of_pod), preparation);
        };
        if self.shared.options.config_dir.is_none() {
            return Err(format!(
                "'network_infos' names the network '{}', and --network_cni_config_dir and \
                 --network_cni_plugins_dir are not set",
                networks[0].name()
            ));
        }
        let wanted = Wanted { networks, hostname };
        let asked = rates::asked(&spec.resources);
        let home = self.shared.join(&spec.container_id, id, asked, &wanted)?;
        let home = lock(&home);
        let setup = &mut preparation.setup;
        setup.network = Some(home.namespace());
        if let Some(parent) = &mut setup.parent {
            parent.namespaces &= !libc::CLONE_NEWNET;
        }
        setup.own(libc::CLONE_NEWNS | libc::CLONE_NEWUTS);
        setup.hostname = Some(own.map_or_else(|| home.hostname(), str::to_owned));
        preparation.environment.insert("LIBPROCESS_IP".to_owned(), "0.0.0.0".to_owned());
        self.show(&home.files(), Attributes::default(), preparation);
        Ok(())
    }

    fn networks(&self, container_id: &str) -> Vec<v1::NetworkInfo> {
        if lock(&self.shared.state).of.is_empty() {
            return Vec::new();
        }
        self.around(container_id).map(|home| lock(&home).infos()).unwrap_or_default()
    }

    fn update(
        &self,
        container_id: &str,
        resources: &[v1::Resource],
        _limits: &BTreeMap<String, f64>,
    ) -> Result<(), String> {
        let Some(home) = self.shared.home(container_id) else { return Ok(()) };
        lock(&home).update(container_id, rates::asked(resources), self.shared.options.rates)
    }

    fn usage(
        &self,
        running: &Running,
        _processes: &Processes,
        out: &mut v1::ResourceStatistics,
    ) -> Result<(), String> {
        let Some(home) = self.shared.home(&running.container_id) else { return Ok(()) };
        let home = lock(&home);
        let Rates { egress, ingress } = home.rates();
        out.net_tx_rate_limit = egress.map(|rate| rate.bytes);
        out.net_tx_burst_size = egress.map(|rate| rate.burst);
        out.net_rx_rate_limit = ingress.map(|rate| rate.bytes);
        out.net_rx_burst_size = ingress.map(|rate| rate.burst);
        // What its tasks use is summed up for a pod: what they share counts once.
        match home.members().next() == Some(&running.container_id) {
            true => statistics::add(running.supervisor, self.shared.options.statistics, out),
            false => Ok(()),
        }
    }

    fn cleanup(&self, container_id: &str) -> Result<(), String> {
        self.shared.leave(container_id)
    }
}
