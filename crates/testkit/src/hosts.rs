//! Hosts for masters: network namespaces on one switch, whose ways to each other can be cut.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// One of them.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its network namespace.
    pub namespace: String,
    /// Its address, which this machine reaches too.
    pub address: String,
}

/// Namespaces that reach each other and this machine; removed when dropped.
#[derive(Debug)]
pub struct Hosts {
    /// First three numbers of all addresses.
    network: String,
    prefix: String,
    hosts: Vec<Host>,
}

impl Hosts {
    /// Makes so many. None, and a line that says so, for who is not root or has no ip(8).
    ///
    /// # Panics
    /// When one can't be made.
    #[must_use]
    pub fn start(count: usize) -> Option<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout == b"0\n");
        if !is_root || Command::new("ip").arg("-V").output().is_err() {
            eprintln!("skipped: network namespaces need root and ip(8) (apt-get install iproute2)");
            return None;
        }
        let number = std::process::id().wrapping_mul(7) + COUNTER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("pft{}", number % 65_536);
        let network = format!("10.{}.{}", 200 + number / 256 % 50, number % 256);
        let mut made = Self { network, prefix, hosts: Vec::new() };
        made.connect(count);
        Some(made)
    }

    /// The switch is a bridge in a namespace of its own, where no rule of this machine's packet filter holds.
    fn connect(&mut self, count: usize) {
        let (network, prefix) = (self.network.clone(), self.prefix.clone());
        let switch = format!("{prefix}-switch");
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link add switch type bridge"));
        ip(&format!("-n {switch} link set switch up"));
        ip(&format!("link add {prefix} type veth peer name machine netns {switch}"));
        ip(&format!("address add {network}.1/24 dev {prefix}"));
        ip(&format!("address add {network}.254/24 dev {prefix}"));
        ip(&format!("link set {prefix} up"));
        ip(&format!("-n {switch} link set machine master switch up"));
        for n in 0..count {
            let (namespace, address) = (format!("{prefix}-{n}"), format!("{network}.{}", n + 2));
            ip(&format!("netns add {namespace}"));
            self.hosts.push(Host { namespace: namespace.clone(), address: address.clone() });
            ip(&format!("-n {namespace} link set lo up"));
            ip(&format!("-n {switch} link add host{n} type veth peer name eth0 netns {namespace}"));
            ip(&format!("-n {switch} link set host{n} master switch up"));
            ip(&format!("-n {namespace} address add {address}/24 dev eth0"));
            ip(&format!("-n {namespace} link set eth0 up"));
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Host] {
        &self.hosts
    }

    /// An address of this machine that only services have: what agents send comes from another.
    #[must_use]
    pub fn services(&self) -> String {
        format!("{}.254", self.network)
    }

    /// Addresses of all but one.
    #[must_use]
    pub fn others(&self, host: usize) -> Vec<String> {
        let others = self.hosts.iter().enumerate().filter(|(n, _)| *n != host);
        others.map(|(_, other)| other.address.clone()).collect()
    }

    /// From now on nothing that a host sends to some addresses arrives there.
    ///
    /// # Panics
    /// When that can't be arranged.
    pub fn cut(&self, host: usize, from: &[String]) {
        self.change_ways(host, "add", from);
    }

    /// Ends [`Self::cut`].
    ///
    /// # Panics
    /// When it was not cut.
    pub fn heal(&self, host: usize, from: &[String]) {
        self.change_ways(host, "del", from);
    }

    fn change_ways(&self, host: usize, change: &str, addresses: &[String]) {
        let namespace = &self.hosts[host].namespace;
        for address in addresses {
            ip(&format!("-n {namespace} route {change} blackhole {address}/32"));
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let namespaces = self.hosts.iter().map(|host| host.namespace.clone());
        for namespace in namespaces.chain([format!("{}-switch", self.prefix)]) {
            let _ = run(&format!("netns del {namespace}"));
        }
    }
}

#[track_caller]
fn ip(arguments: &str) {
    assert!(run(arguments), "ip {arguments}");
}

fn run(arguments: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments.split(' ')).stdin(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
