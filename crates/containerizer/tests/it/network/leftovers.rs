//! Whatever becomes of a container and of its agent: nothing of it is left.

use super::*;
use std::collections::BTreeSet;

/// Makes a pair of interfaces, one of them inside, and never removes it: it goes when the namespace does.
const PAIR: &str = "[ $CNI_COMMAND = DEL ] && exit 0\n\
    nsenter --net=$CNI_NETNS ip link add eth0 type veth peer name PREFIX$CNI_CONTAINERID netns $PPID >&2 || exit 1\n\
    echo '{\"cniVersion\": \"0.4.0\"}'";

/// What there is of containers below a directory.
#[derive(Debug, PartialEq)]
struct Left {
    processes: usize,
    mounts: usize,
    cgroups: usize,
    interfaces: BTreeSet<String>,
}

impl Networked {
    fn count(&self, prefix: &str) -> Left {
        let own = self.directory.to_str().expect("text");
        let all = std::fs::read_dir("/proc").expect("processes").flatten();
        let is_own = |path: PathBuf| {
            let of = |name: &str| std::fs::read(path.join(name)).unwrap_or_default();
            let text = [of("environ"), of("cmdline")].concat();
            String::from_utf8_lossy(&text).contains(own)
        };
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
        let roots = testkit::cgroups::roots(&Self::cgroup(&self.directory));
        let below = |root: PathBuf| {
            let entries = root.read_dir().expect("a cgroup").flatten();
            entries.filter(|entry| entry.path().is_dir()).count()
        };
        let interfaces = std::fs::read_dir("/sys/class/net").expect("interfaces").flatten();
        let interfaces = interfaces.filter_map(|entry| entry.file_name().into_string().ok());
        Left {
            processes: all.filter(|entry| is_own(entry.path())).count(),
            mounts: mounts.lines().filter(|line| line.contains(own)).count(),
            cgroups: roots.into_iter().map(below).sum(),
            interfaces: interfaces.filter(|name| name.starts_with(prefix)).collect(),
        }
    }
}

#[tokio::test]
async fn nothing_is_left_however_a_container_ends() {
    let has_cgroups = Path::new("/sys/fs/cgroup/cpu/tasks").exists()
        || Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let isolation = if has_cgroups {
        "filesystem/linux,cgroups/cpu,cgroups/mem"
    } else {
        eprintln!("skipped: without cgroups they are not counted");
        "filesystem/linux"
    };
    let Some(mut networked) = Networked::new(isolation) else { return };
    let prefix = format!("pfl{}", std::process::id() % 10_000);
    networked.configure(&json!({"name": "net", "cniVersion": "0.4.0", "type": "fake"}));
    networked.plugin("fake", &PAIR.replace("PREFIX", &prefix));
    let before = networked.count(&prefix);

    let waits = "while [ ! -e gate ]; do sleep 0.02; done";
    let mut pids = BTreeMap::new();
    for id in ["first", "ends", "killed", "lost", "late"] {
        // The first one, which is not on a network, sees the others' mounts come and go in a copy of its own.
        let networks: &[&str] = if id == "first" { &[] } else { &["net"] };
        let spec = networked.spec(id, waits, networks);
        pids.insert(id, networked.start(spec).await.expect("it starts").pid);
    }
    // It was started when there were namespaces already.
    let spec = networked.spec("last", waits, &[]);
    networked.start(spec).await.expect("it starts");
    let during = networked.count(&prefix);
    assert_eq!(during.interfaces.len(), 4, "{during:?}");
    assert!(during.mounts > before.mounts && during.processes >= 6, "{during:?}");
    assert!(!has_cgroups || during.cgroups >= 6, "{during:?}");

    let open = |networked: &Networked, id: &str| {
        std::fs::write(networked.host.sandbox(id).join("gate"), "").expect("the gate opens");
    };
    open(&networked, "ends");
    assert_eq!(networked.host.exit().await.0, "ends");
    networked.host.mesos.destroy("killed");
    assert_eq!(networked.host.exit().await.0, "killed");
    Command::new("kill").args(["-9", &pids["lost"].to_string()]).status().expect("kill runs");
    assert_eq!(networked.host.exit().await.0, "lost");
    // This one ends while there is no agent.
    networked.kill();
    open(&networked, "late");
    let supervisor = pids["late"].to_string();
    for _ in 0..2000 {
        if !is_alive(&supervisor) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    networked.restart();
    let found = networked.recover().await;
    let running: BTreeSet<_> =
        found.iter().filter(|f| f.pid.is_some()).map(|f| f.container_id.as_str()).collect();
    assert_eq!(running, ["first", "last"].into());
    // Interfaces go when the last thing has let go of the namespace.
    for _ in 0..2000 {
        if networked.count(&prefix).interfaces.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = networked.count(&prefix);
    assert_eq!((left.interfaces, left.mounts), (before.interfaces.clone(), before.mounts));
    for id in ["first", "last"] {
        open(&networked, id);
        networked.host.exit().await;
    }
    for id in pids.keys().copied().chain(["last"]) {
        networked.host.mesos.forget(id);
    }
    assert_eq!(networked.count(&prefix), before);
    networked.assert_nothing_left();
}
