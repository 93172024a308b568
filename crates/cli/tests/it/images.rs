//! Tasks in images, from a real registry to the exit of the task, as a user starts them.

use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::registry::{Registry, sha256};
use testkit::{Cluster, ClusterOptions};

/// What this needs: root, and a program without libraries to put into images.
fn needed() -> Option<PathBuf> {
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !root {
        eprintln!("skipped: only root can run tasks in images");
        return None;
    }
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|p| p.exists());
    if busybox.is_none() {
        eprintln!("skipped: there is no busybox (apt-get install busybox-static)");
    }
    busybox
}

/// A layer: an archive of a directory, not packed.
fn layer(directory: &Path) -> (Vec<u8>, String) {
    let made = Command::new("tar")
        .args(["--numeric-owner", "-C"])
        .arg(directory)
        .args(["-cf", "-", "."])
        .output();
    let bytes = made.expect("tar runs").stdout;
    let digest = sha256(&bytes);
    (bytes, digest)
}

/// Puts the image `busybox` into a registry.
fn fill(registry: &Registry, busybox: &Path) {
    let root = registry.directory.join("root");
    for directory in ["bin", "etc", "work"] {
        std::fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    std::fs::copy(busybox, root.join("bin/busybox")).expect("a copy");
    // Where it is not static, what it needs comes with it.
    let libraries = Command::new("ldd").arg(busybox).output().expect("ldd runs");
    for library in
        String::from_utf8_lossy(&libraries.stdout).split_whitespace().filter(|w| w.starts_with('/'))
    {
        let place = root.join(&library[1..]);
        std::fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
        std::fs::copy(library, place).expect("a copy");
    }
    for name in ["sh", "cat", "echo", "pwd", "env", "ls", "touch", "sleep", "test", "id"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
    }
    std::fs::write(root.join("etc/image"), "of the image\n").expect("a file");
    let run = json!({"Env": ["PATH=/bin", "GREETING=hello"], "Entrypoint": ["/bin/echo", "entry"],
        "Cmd": ["point"], "WorkingDir": "/work"});
    registry.push_image("busybox", "latest", &[layer(&root)], &run);
}

fn cluster(registry: &str, more: &[&str]) -> Cluster {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    let store = testkit::cluster::temporary_directory();
    options.agent_flags = vec![
        "--image_providers=docker".to_owned(),
        "--isolation=filesystem/linux,docker/runtime".to_owned(),
        format!("--docker_registry={registry}"),
        format!("--docker_store_dir={}", store.display()),
    ];
    options.agent_flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    Cluster::start(options)
}

fn execute(cluster: &Cluster, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_proffer"))
        .args(["run", &format!("--master={}", cluster.master())])
        .args(["--docker_image=busybox", "--containerizer=mesos", "--resources=cpus:0.1;mem:32"])
        .args(arguments)
        .output()
        .expect("it runs")
}

/// What the only task of that name wrote.
fn stdout(cluster: &Cluster, name: &str) -> String {
    let found = Command::new("find")
        .arg(cluster.directory())
        .args([
            "-path",
            &format!("*/executors/{name}/runs/*/stdout"),
            "-not",
            "-path",
            "*/latest/*",
        ])
        .output()
        .expect("find runs");
    let path = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

fn mounts(cluster: &Cluster) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table");
    table.lines().filter(|line| line.contains(cluster.directory().to_str().expect("text"))).count()
}

#[test]
fn a_task_runs_in_an_image_of_a_registry_and_as_the_image_says() {
    let Some(busybox) = needed() else { return };
    let Some(registry) = Registry::start("", &[]) else { return };
    fill(&registry, &busybox);
    let cluster = cluster(&format!("http://{}", registry.address), &[]);
    let succeeds = |name: &str, arguments: &[&str]| {
        let output = execute(&cluster, &[&[format!("--name={name}").as_str()], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        stdout(&cluster, name)
    };
    assert_eq!(succeeds("default", &[]), "entry point\n");
    assert_eq!(
        succeeds("shell", &["cat /etc/image; pwd; echo $GREETING $PATH; ls /; echo $MESOS_SANDBOX"]),
        "of the image\n/work\nhello /bin\nbin\ndev\netc\nlib\nlib64\nmnt\nproc\nsys\nwork\n/mnt/mesos/sandbox\n"
            .replace("lib\nlib64\n", if registry.directory.join("root/lib").exists() { "lib\nlib64\n" } else { "" })
    );
    assert_eq!(succeeds("program", &["--", "/bin/echo", "-n", "own"]), "own");
    assert_eq!(succeeds("writes", &["touch /new && ls /new"]), "/new\n");
    assert_eq!(succeeds("fresh", &["test ! -e /new && echo clean"]), "clean\n");
    assert_eq!(mounts(&cluster), 0);
}
