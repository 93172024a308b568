//! How fast containers start, alone and beside many others, and what agent and supervisors take.
//!
//! `--program PATH [--json] [--isolation LIST] [--launcher NAME] [--running N] [--rounds N] [--image-root] [--network]`;
//! `runc` and `crun` start and delete the same container in the same run where they are installed. With `--image-root` each
//! task has a root file system of an image (busybox), with `--network` a network of its own (the bridge plugin of CNI).

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use testkit::framework::{amount, command_task};
use testkit::measure::{Arguments, Quantiles, accept_to_running, memory_kib, processes_of, round};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions};

/// Tasks at which the memory of the agent is looked at.
const FEW: usize = 200;
/// Where Debian's package containernetworking-plugins puts them.
const PLUGINS: &str = "/usr/lib/cni";
/// The bridge of the network.
const BRIDGE: &str = "pfbench";
/// Tasks of one ACCEPT.
const BATCH: usize = 50;

fn main() {
    let arguments = Arguments::given();
    let number = |name, default| arguments.number(name, default);
    let Some(program) = arguments.value("--program") else {
        println!("containers: skipped, `cargo xtask bench containers` runs it");
        return;
    };
    let (running, rounds) = (number("--running", 1_000), number("--rounds", 300));
    let mut options = ClusterOptions::new(&program, 1);
    options.resources = "cpus:1000;mem:100000;disk:100000".to_owned();
    let place = Place(testkit::cluster::temporary_directory());
    let mut isolation = arguments.value("--isolation");
    let mut container = json!({"type": "MESOS"});
    if arguments.has("--image-root") {
        place.image();
        container["mesos"] = json!({"image": {"type": "DOCKER", "docker": {"name": "busybox"}}});
        options.agent_flags.extend([
            "--image_providers=docker".to_owned(),
            format!("--docker_registry={}", place.0.display()),
            format!("--docker_store_dir={}", place.0.join("store").display()),
        ]);
        isolation.get_or_insert_with(|| "filesystem/linux,docker/runtime".to_owned());
    }
    if arguments.has("--network") {
        place.network();
        container["network_infos"] = json!([{"name": "bench"}]);
        options.agent_flags.extend([
            format!("--network_cni_config_dir={}", place.0.join("networks").display()),
            format!("--network_cni_plugins_dir={PLUGINS}"),
        ]);
    }
    options.agent_flags.extend(isolation.iter().map(|names| format!("--isolation={names}")));
    let launcher = arguments.value("--launcher");
    options.agent_flags.extend(launcher.map(|name| format!("--launcher={name}")));
    let container = (container.as_object().map_or(0, |c| c.len()) > 1).then_some(container);
    let figures = measure(options, running, rounds, container.as_ref());
    let reference: Vec<Value> =
        ["runc", "crun"].iter().filter_map(|r| reference(r, rounds)).collect();
    if arguments.has("--json") {
        println!("{}", json!({"proffer": figures, "reference": reference}));
        return;
    }
    println!(
        "{running} running, {rounds} rounds, isolation {}",
        isolation.as_deref().unwrap_or("as by default")
    );
    for (name, figure) in figures.as_object().into_iter().flatten() {
        println!("  {name}: {figure}");
    }
    for figures in reference {
        println!("  {figures}");
    }
}

/// A directory with an image and networks; it goes when it is dropped, and so does the networks' bridge.
struct Place(PathBuf);

impl Place {
    /// Puts the image `busybox` there, as `docker save` would have it.
    fn image(&self) {
        let image = self.0.join("busybox");
        let bin = self.0.join("root/bin");
        std::fs::create_dir_all(&bin).expect("a directory");
        std::fs::create_dir_all(&image).expect("a directory");
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
        let busybox = busybox.expect("busybox (Debian's package busybox-static)");
        std::fs::copy(busybox, bin.join("busybox")).expect("a copy");
        for name in ["sh", "true", "sleep"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).expect("a link");
        }
        let layer = image.join("layer.tar");
        let mut pack = Command::new("tar");
        pack.arg("-C").arg(self.0.join("root")).arg("-cf").arg(&layer).arg(".");
        assert!(pack.status().is_ok_and(|status| status.success()), "tar");
        let layer = testkit::registry::sha256(&std::fs::read(layer).expect("a layer"));
        let config = json!({"os": "linux", "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [layer]}});
        let manifest = json!([{"Config": "config.json", "Layers": ["layer.tar"]}]);
        for (name, content) in [("config.json", config), ("manifest.json", manifest)] {
            std::fs::write(image.join(name), content.to_string()).expect("a file");
        }
    }

    /// Puts the network `bench` there.
    fn network(&self) {
        let networks = self.0.join("networks");
        std::fs::create_dir_all(&networks).expect("a directory");
        let config = json!({
            "cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": BRIDGE,
            "ipam": {
                "type": "host-local", "subnet": "10.231.0.0/16", "dataDir": self.0.join("ipam"),
            },
        });
        std::fs::write(networks.join("bench.conf"), config.to_string()).expect("a network");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", BRIDGE]).stderr(Stdio::null()).status();
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn measure(
    options: ClusterOptions,
    running: usize,
    rounds: usize,
    container: Option<&Value>,
) -> Value {
    let finish = |task: &mut Value| {
        if let Some(container) = container {
            task["container"] = container.clone();
        }
    };
    let cluster = Cluster::start(options);
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    if container.is_some() {
        // The image is pulled, and the network's bridge made.
        let _ = accept_to_running(&mut framework, "first", 1, finish);
    }
    let alone = Quantiles::of(accept_to_running(&mut framework, "alone", rounds, finish));
    let few = FEW.min(running);
    start(&mut framework, 0, few, finish);
    let agent = cluster.agent_pid(0).expect("an agent");
    let (agent_rss, _) = memory_kib(agent).expect("the agent runs");
    let begun = Instant::now();
    start(&mut framework, few, running, finish);
    #[expect(clippy::cast_precision_loss, reason = "a count of tasks")]
    let rate = (running - few) as f64 / begun.elapsed().as_secs_f64();
    let (agent_rss_many, _) = memory_kib(agent).expect("the agent runs");
    let supervisors = processes_of(&cluster.directory().join("agent0-run"));
    #[expect(clippy::cast_precision_loss, reason = "kilobytes of small processes")]
    let private = supervisors.iter().filter_map(|pid| memory_kib(*pid)).map(|(_, kib)| kib as f64);
    let private = Quantiles::of(private.collect());
    let beside = Quantiles::of(accept_to_running(&mut framework, "beside", rounds, finish));
    json!({
        "alone_ms": times(&alone),
        "beside_running_ms": times(&beside),
        "launches_per_second": round(rate),
        "agent_resident_kib": {few.to_string(): agent_rss, running.to_string(): agent_rss_many},
        "supervisor_private_kib": {"p50": private.at(50), "max": private.at(100)},
        "supervisors": supervisors.len(),
    })
}

/// Starts tasks that run on, and waits until they do.
fn start(framework: &mut Framework, from: usize, to: usize, finish: impl Fn(&mut Value)) {
    let mut at = from;
    while at < to {
        let offer = framework.offers().remove(0);
        let count = fitting(&offer).min(BATCH).min(to - at);
        if count == 0 {
            framework.decline(&offer, 3600.0);
            continue;
        }
        let ids: Vec<String> = (at..at + count).map(|n| format!("running-{n}")).collect();
        at += ids.len();
        let tasks: Vec<Value> = ids
            .iter()
            .map(|id| {
                let mut task = command_task(&offer, id, "exec sleep 1000000", 0.1, 32.0);
                finish(&mut task);
                task
            })
            .collect();
        framework.launch(&offer, &tasks);
        for id in &ids {
            framework.until_state(id, "TASK_RUNNING");
        }
    }
}

/// How many tasks of 0.1 cpus and 32 MB an offer has room for.
fn fitting(offer: &Value) -> usize {
    (amount(offer, "cpus") / 0.1 + 1e-6).min(amount(offer, "mem") / 32.0 + 1e-6) as usize
}

/// The same command in a container of another runtime, with the host's programs in a root file system of its own.
fn reference(runtime: &str, rounds: usize) -> Option<Value> {
    let found = Command::new(runtime).arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("{runtime}: skipped, it is not installed");
        return None;
    }
    let bundle = testkit::cluster::temporary_directory();
    let times = bundle_for(runtime, &bundle).then(|| {
        (0..rounds.min(100))
            .map(|round| run_reference(runtime, &bundle, round))
            .collect::<Option<Vec<f64>>>()
    });
    let _ = std::fs::remove_dir_all(&bundle);
    let figures = times.flatten().map(Quantiles::of);
    if figures.is_none() {
        println!("{runtime}: skipped, it can't run a container here");
    }
    figures.map(
        |figures| json!({"runtime": runtime, "create_start_delete_ms": crate::times(&figures)}),
    )
}

fn bundle_for(runtime: &str, bundle: &Path) -> bool {
    let made = std::fs::create_dir_all(bundle.join("rootfs")).is_ok();
    let spec = Command::new(runtime).arg("spec").current_dir(bundle).status();
    if !made || !spec.is_ok_and(|status| status.success()) {
        return false;
    }
    let path = bundle.join("config.json");
    let Ok(text) = std::fs::read_to_string(&path) else { return false };
    let Ok(mut config) = serde_json::from_str::<Value>(&text) else { return false };
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["true"]);
    // The host's programs, read only.
    let mounts =
        ["/bin", "/usr", "/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists());
    if let Some(all) = config["mounts"].as_array_mut() {
        all.extend(mounts.map(|path| {
            json!({"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]})
        }));
    }
    std::fs::write(path, config.to_string()).is_ok()
}

fn run_reference(runtime: &str, bundle: &Path, round: usize) -> Option<f64> {
    let name = format!("proffer-bench-{}-{round}", std::process::id());
    let begun = Instant::now();
    let status = Command::new(runtime).args(["run", "--bundle"]).arg(bundle).arg(name).status();
    status.is_ok_and(|status| status.success()).then(|| begun.elapsed().as_secs_f64() * 1e3)
}

fn times(quantiles: &Quantiles) -> Value {
    json!({"p50": round(quantiles.at(50)), "p99": round(quantiles.at(99)), "max": round(quantiles.at(100))})
}
