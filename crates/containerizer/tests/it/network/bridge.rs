//! Real plugins: bridge, host-local and others of Debian's package.

use super::*;
use containerizer::isolation::Running;

/// A host with a bridge of its own; the bridge goes with it.
pub(super) struct Bridged {
    pub(super) networked: Networked,
    bridge: String,
    /// Its addresses begin so.
    pub(super) net: String,
}

impl Drop for Bridged {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).output();
    }
}

impl Bridged {
    pub(super) fn new(isolation: &str, number: u8) -> Option<Self> {
        if !Path::new(PLUGINS).join("bridge").exists() {
            eprintln!("skipped: no CNI plugins in {PLUGINS} (package containernetworking-plugins)");
            return None;
        }
        let networked = Networked::new(isolation)?;
        // Other runs of these tests may be on this machine.
        let process = std::process::id() % 256;
        let bridge = format!("pfr{number}-{process}");
        let net = format!("10.{}.{process}", 200 + number);
        let bridged = Self { networked, bridge, net };
        bridged.networked.configure(&bridged.config());
        Some(bridged)
    }

    fn config(&self) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "name": "net",
            "plugins": [{
                "type": "bridge",
                "bridge": self.bridge,
                "isGateway": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": format!("{}.0/24", self.net)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": self.networked.directory.join("ipam"),
                },
                "dns": {"nameservers": ["10.9.8.7"], "search": ["test.internal"]},
            }],
        })
    }

    /// Interfaces of the host that are on the bridge.
    fn on_bridge(&self) -> usize {
        let ports = Path::new("/sys/class/net").join(&self.bridge).join("brif");
        ports.read_dir().into_iter().flatten().count()
    }

    /// Addresses that are given out.
    fn addresses(&self) -> Vec<String> {
        let given = self.networked.directory.join("ipam/net").read_dir();
        let names = given.into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with("10.")).collect()
    }

    pub(super) fn assert_nothing_left(&self) {
        self.networked.assert_nothing_left();
        assert_eq!(self.on_bridge(), 0, "interfaces are left");
        assert!(self.addresses().is_empty(), "addresses are left: {:?}", self.addresses());
    }
}

#[tokio::test]
async fn a_container_has_an_address_names_and_a_way_to_the_host() {
    let Some(mut bridged) = Bridged::new("posix/cpu", 1) else { return };
    let net = bridged.net.clone();
    let script = format!(
        "cat /sys/class/net/eth0/address >/dev/null 2>&1; ip -o addr show; hostname; cat /etc/hosts /etc/hostname /etc/resolv.conf; \
         ip route get {net}.1; echo $LIBPROCESS_IP; while [ ! -e gate ]; do sleep 0.02; done"
    );
    let mut spec = bridged.networked.spec("a", &script, &["net"]);
    spec.container.as_mut().expect("one").hostname = Some("web-1".to_owned());
    let before = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let started = bridged.networked.start(spec).await.expect("it starts");
    let address = ip(started.appearance);
    let host = &mut bridged.networked.host;
    host.wait_for_stdout("a", "0.0.0.0").await;
    assert!(address.starts_with(&net), "{address}");
    let out = host.stdout("a");
    assert!(out.contains(&format!("inet {address}/24")), "{out}");
    assert!(out.contains("inet 127.0.0.1/8"), "{out}");
    for line in
        ["web-1", &format!("{address} web-1"), "nameserver 10.9.8.7", "search test.internal"]
    {
        assert!(out.lines().any(|l| l == line), "no line '{line}' in {out}");
    }
    assert_eq!(std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(), before);

    let running = Running { container_id: "a".to_owned(), supervisor: started.pid };
    let usage = host.mesos.usage(&[running]);
    assert!(usage[0].net_tx_packets.is_some() && usage[0].net_rx_bytes.is_some(), "{usage:?}");
    std::fs::write(host.sandbox("a").join("gate"), "").expect("the gate opens");
    assert_eq!(host.exit().await.1, Some(0));
    bridged.assert_nothing_left();
}

#[tokio::test]
async fn containers_reach_each_other_and_share_nothing_else() {
    let Some(mut bridged) = Bridged::new("posix/cpu", 2) else { return };
    let networked = &mut bridged.networked;
    // Both listen on the same port.
    let script = "import socket,sys\ns=socket.socket(); s.bind(('0.0.0.0',8080)); s.listen(); print('ready', flush=True)\n\
                  while True:\n c,_=s.accept(); c.sendall(sys.argv[1].encode()); c.close()";
    std::fs::write(networked.directory.join("serve.py"), script).expect("a script");
    let serve = networked.directory.join("serve.py").display().to_string();
    let mut addresses = Vec::new();
    for id in ["a", "b"] {
        let spec = networked.spec(id, &format!("exec python3 {serve} {id}"), &["net"]);
        addresses.push(ip(networked.start(spec).await.expect("it starts").appearance));
        networked.host.wait_for_stdout(id, "ready").await;
    }
    let [a, b] = &addresses[..] else { panic!("{addresses:?}") };
    assert_ne!(a, b);
    let ask = format!(
        "import socket; print([socket.create_connection((h,8080)).recv(9).decode() for h in ('{a}','{b}')])"
    );
    let spec = networked.spec("c", &format!("exec python3 -c \"{ask}\""), &["net"]);
    assert_eq!(networked.output(spec).await, "['a', 'b']\n");
    // What runs inside a container is in its network.
    let mut child =
        networked.host.spec("d", &format!("exec python3 -c \"{}\"", ask.replace(b, "127.0.0.1")));
    child.parent = Some("b".to_owned());
    assert_eq!(networked.output(child).await, "['a', 'b']\n");
    for id in ["a", "b"] {
        networked.host.mesos.destroy(id);
        networked.host.exit().await;
    }
    bridged.assert_nothing_left();
}

#[tokio::test]
async fn a_network_outlives_the_agent_and_goes_with_its_container() {
    let Some(mut bridged) = Bridged::new("posix/cpu", 3) else { return };
    let networked = &mut bridged.networked;
    let mut addresses = Vec::new();
    for id in ["runs", "ends"] {
        let gate = "while [ ! -e gate ]; do sleep 0.02; done; ip -o -4 addr show eth0";
        let spec = networked.spec(id, gate, &["net"]);
        addresses.push(ip(networked.start(spec).await.expect("it starts").appearance));
    }
    let [address, other] = &addresses[..] else { panic!("{addresses:?}") };
    assert_eq!(bridged.on_bridge(), 2);
    // As if the agent had been killed: the end of one is seen by the next one only.
    let networked = &mut bridged.networked;
    let former = networked.directory.clone();
    networked.kill();
    std::fs::write(former.join("sandboxes/ends/gate"), "").expect("the gate opens");
    let lock = former.join("run/containers/ends/lock");
    for _ in 0..2000 {
        if std::fs::read_to_string(&lock).unwrap_or_default().lines().count() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    networked.restart();
    let found = networked.recover().await;
    assert_eq!(found.len(), 2);
    let runs = found.into_iter().find(|found| found.container_id == "runs").expect("it runs");
    assert_eq!(ip(runs.appearance), *address);
    assert_eq!(bridged.addresses(), std::slice::from_ref(address), "{other} is free");
    let networked = &mut bridged.networked;
    std::fs::write(networked.host.sandbox("runs").join("gate"), "").expect("the gate opens");
    assert_eq!(networked.host.exit().await, ("runs".to_owned(), Some(0)));
    let out = networked.host.stdout("runs");
    assert!(out.contains(address), "{out}");
    bridged.assert_nothing_left();
}

#[tokio::test]
async fn two_networks_are_two_interfaces_and_one_twice_is_refused() {
    let Some(mut bridged) = Bridged::new("posix/cpu", 4) else { return };
    let mut second = bridged.config();
    second["name"] = json!("second");
    let mut plugin = second["plugins"][0].clone();
    plugin["bridge"] = json!(format!("{}b", bridged.bridge));
    plugin["ipam"]["ranges"] =
        json!([[{"subnet": format!("10.250.{}.0/24", std::process::id() % 256)}]]);
    second["plugins"] = json!([plugin]);
    // The old form, with one plugin, in another place.
    let mut old = second["plugins"][0].clone();
    old["name"] = json!("old");
    old["cniVersion"] = json!("0.2.0");
    bridged.networked.configure(&second);
    bridged.networked.configure(&old);
    let both = bridged.networked.spec("a", "ip -o -4 addr show", &["net", "old"]);
    let out = bridged.networked.output(both).await;
    assert!(out.contains("eth0") && out.contains("eth1") && out.contains("10.250."), "{out}");
    let twice = bridged.networked.spec("b", "true", &["net", "net"]);
    let text = bridged.networked.refusal(twice).await;
    assert_eq!(text, "network/cni: Attempted to join CNI network 'net' multiple times");
    let unknown = bridged.networked.spec("c", "true", &["nte"]);
    let text = bridged.networked.refusal(unknown).await;
    assert_eq!(text, "network/cni: Unknown CNI network 'nte'");
    let _ = Command::new("ip").args(["link", "delete", &format!("{}b", bridged.bridge)]).output();
    bridged.assert_nothing_left();
}
