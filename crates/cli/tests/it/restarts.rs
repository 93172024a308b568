//! Agents that are started again: as another program, or by systemd.

use crate::tasks::{LIMIT, Runner, cluster, framework, nodes};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use testkit::{Cluster, ClusterOptions, http, wait};

/// Writes this program with another supervisor in it: a word of its text is another one.
fn write_other_version(path: &Path) {
    const WORD: &[u8] = b"proffer-supervisor is started by the agent";
    let mut bytes = std::fs::read(env!("CARGO_BIN_EXE_proffer")).expect("this program");
    let places: Vec<usize> =
        (0..bytes.len() - WORD.len()).filter(|at| bytes[*at..].starts_with(WORD)).collect();
    assert!(!places.is_empty(), "the supervisor is in the program");
    places.iter().for_each(|at| bytes[*at..at + 7].copy_from_slice(b"another"));
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).expect("written");
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).expect("executable");
    // As packages are upgraded: what runs keeps the file that it has.
    std::fs::rename(new, path).expect("renamed");
}

fn programs(cluster: &Cluster) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cluster.directory().join("agent0-run/bin")).expect("programs");
    entries.flatten().map(|entry| entry.path()).collect()
}

#[test]
fn tasks_run_on_while_their_agent_becomes_another_version() {
    for flags in nodes() {
        let directory = testkit::cluster::temporary_directory();
        let program = directory.join("proffer");
        std::fs::copy(env!("CARGO_BIN_EXE_proffer"), &program).expect("a copy");
        let mut options = ClusterOptions::new(&program, 1);
        options.agent_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut cluster = Cluster::start(options);
        let mut framework = framework(&cluster);
        let old = Runner::launch(&cluster, &mut framework, "old");
        write_other_version(&program);
        // The program that runs is not there any more under its name.
        let between = Runner::launch(&cluster, &mut framework, "between");
        assert_eq!(programs(&cluster).len(), 1);
        for _ in 0..2 {
            cluster.kill_agent(0);
            cluster.start_agent(0);
            cluster.wait_for_agents(1);
            old.runs_on();
            between.runs_on();
        }
        assert_eq!(programs(&cluster).len(), 2, "there is another supervisor now");
        let new = Runner::launch(&cluster, &mut framework, "new");
        framework.kill_and_wait("old");
        framework.kill_and_wait("between");
        // And back again.
        std::fs::copy(env!("CARGO_BIN_EXE_proffer"), program.with_extension("new"))
            .expect("a copy");
        std::fs::rename(program.with_extension("new"), &program).expect("renamed");
        cluster.kill_agent(0);
        cluster.start_agent(0);
        cluster.wait_for_agents(1);
        new.runs_on();
        framework.kill_and_wait("new");
        wait::until("nothing is left", LIMIT, || {
            let left = std::fs::read_dir(cluster.directory().join("agent0-run/containers"));
            (left.expect("a directory").count() == 0).then_some(())
        });
        let _ = std::fs::remove_dir_all(directory);
    }
}

/// A systemd that makes its slices where the test says.
const SYSTEMCTL: &str = "#!/bin/sh
echo \"$@\" >> \"$(dirname \"$0\")/asked\"
[ \"$1\" != start ] || mkdir -p /sys/fs/cgroup/systemd/\"$2\" /sys/fs/cgroup/unified/\"$2\" 2>/dev/null || exit 0
";

#[test]
fn where_systemd_runs_containers_are_outside_the_unit_of_the_agent() {
    let slices = ["systemd", "unified"]
        .map(|tree| Path::new("/sys/fs/cgroup").join(tree).join("mesos_executors.slice"));
    let has = |slice: &Path| slice.parent().is_some_and(|tree| tree.join("cgroup.procs").exists());
    let is_systemd = Path::new("/run/systemd/system").exists();
    if nodes().len() < 2 || is_systemd || !slices.iter().any(|slice| has(slice)) {
        eprintln!(
            "skipped: needs root and a tree of cgroups that systemd would have, but no systemd"
        );
        return;
    }
    let directory = testkit::cluster::temporary_directory();
    std::fs::create_dir(directory.join("units")).expect("a directory");
    let program = directory.join("systemctl");
    std::fs::write(&program, SYSTEMCTL).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    for flags in nodes() {
        let path = std::env::var("PATH").expect("a path");
        let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
        options.environment = vec![("PATH".to_owned(), format!("{}:{path}", directory.display()))];
        options.agent_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let units = directory.join("units");
        options.agent_flags.push(format!("--systemd_runtime_directory={}", units.display()));
        let mut cluster = Cluster::start(options);
        assert!(units.join("mesos_executors.slice").exists(), "the unit is known");
        let mut framework = framework(&cluster);
        let task = Runner::launch(&cluster, &mut framework, "t");
        let runtime = cluster.directory().join("agent0-run");
        let supervisors = testkit::measure::processes_of(&runtime);
        let is_inside = |pid: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
            text.lines().any(|line| line.ends_with(":/mesos_executors.slice"))
        };
        assert!(supervisors.iter().any(is_inside), "{supervisors:?}");
        assert!(!is_inside(&cluster.agent_pid(0).expect("it runs")));
        cluster.kill_agent(0);
        cluster.start_agent(0);
        cluster.wait_for_agents(1);
        task.runs_on();
        framework.kill_and_wait("t");
        let state = http::get(&cluster.agent(0), "/state").json();
        assert_eq!(state["flags"]["systemd_enable_support"], "true", "{}", state["flags"]);
    }
    let asked = std::fs::read_to_string(directory.join("asked")).expect("it was asked");
    let asked: Vec<&str> = asked.lines().collect();
    assert_eq!(asked[..2], ["daemon-reload", "start mesos_executors.slice"]);
    assert!(asked[2..].iter().all(|words| *words == "start mesos_executors.slice"), "{asked:?}");
    for slice in slices {
        let _ = std::fs::remove_dir(slice);
    }
    let _ = std::fs::remove_dir_all(directory);
    drop(cluster(&["--systemd_runtime_directory=/no/systemd"]));
}
