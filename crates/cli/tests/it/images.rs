//! Tasks in images, from a real registry to the exit of the task, as a user starts them.

use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use testkit::framework::command_task;
use testkit::registry::{Registry, sha256};
use testkit::{Cluster, ClusterOptions, Framework, FrameworkOptions, http, wait};

/// What this needs: root, and a program without libraries to put into images.
pub(crate) fn needed() -> Option<PathBuf> {
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
pub(crate) fn layer(directory: &Path) -> (Vec<u8>, String) {
    let made = Command::new("tar")
        .args(["--numeric-owner", "-C"])
        .arg(directory)
        .args(["-cf", "-", "."])
        .output();
    let bytes = made.expect("tar runs").stdout;
    let digest = sha256(&bytes);
    (bytes, digest)
}

/// Makes a root file system of it.
pub(crate) fn furnish(root: &Path, busybox: &Path) {
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
}

/// Puts the image `busybox` into a registry.
fn fill(registry: &Registry, busybox: &Path) {
    let root = registry.directory.join("root");
    furnish(&root, busybox);
    let run = json!({"Env": ["PATH=/bin", "GREETING=hello"], "Entrypoint": ["/bin/echo", "entry"],
        "Cmd": ["point"], "WorkingDir": "/work"});
    registry.push_image("busybox", "latest", &[layer(&root)], &run);
    std::fs::write(root.join("etc/passwd"), "app:x:1234:1235::/:\n").expect("a file");
    std::fs::write(root.join("etc/group"), "app:x:1235:\nweb:x:1236:app\n").expect("a file");
    let run = json!({"Env": ["PATH=/bin"], "User": "app"});
    registry.push_image("app", "latest", &[layer(&root)], &run);
    registry.push_image("lost", "latest", &[layer(&root)], &json!({"User": "nobody"}));
}

/// A directory that goes when it is dropped.
pub(crate) struct Temporary(pub(crate) PathBuf);

impl Temporary {
    pub(crate) fn new() -> Self {
        Self(testkit::cluster::temporary_directory())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A cluster of one agent with a store of images.
struct Node {
    cluster: Cluster,
    _store: Temporary,
}

impl std::ops::Deref for Node {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl std::ops::DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}

fn cluster(registry: &str, more: &[&str]) -> Node {
    cluster_with(registry, more, &[])
}

fn cluster_with(registry: &str, more: &[&str], environment: &[(&str, &str)]) -> Node {
    let mut options = ClusterOptions::new(env!("CARGO_BIN_EXE_proffer"), 1);
    let store = Temporary::new();
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    options.environment = environment.iter().map(own).collect();
    options.agent_flags = vec![
        "--image_providers=docker".to_owned(),
        "--isolation=filesystem/linux,docker/runtime".to_owned(),
        format!("--docker_registry={registry}"),
        format!("--docker_store_dir={}", store.0.display()),
    ];
    options.agent_flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    Node { cluster: Cluster::start(options), _store: store }
}

fn execute(cluster: &Cluster, arguments: &[&str]) -> Output {
    execute_in("busybox", cluster, arguments)
}

fn execute_in(image: &str, cluster: &Cluster, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_proffer"))
        .args(["run", &format!("--master={}", cluster.master())])
        .args([&format!("--docker_image={image}"), "--containerizer=mesos"])
        .arg("--resources=cpus:0.1;mem:32")
        .args(arguments)
        .output()
        .expect("it runs")
}

/// What the only task of that name wrote.
fn stdout(cluster: &Cluster, name: &str) -> String {
    let path = sandbox(cluster, name).join("stdout");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

/// The sandbox of the only task of that name.
fn sandbox(cluster: &Cluster, name: &str) -> PathBuf {
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
    let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    path.parent().unwrap_or_else(|| panic!("the sandbox of {name}")).to_owned()
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
    let metrics = http::get(&cluster.agent(0), "/metrics/snapshot").json();
    let pulled = &metrics["containerizer/mesos/provisioner/docker_store/image_pull_ms"];
    assert!(pulled.as_f64().is_some_and(|ms| ms > 0.0), "{metrics}");
    assert_eq!(mounts(&cluster), 0);
}

#[test]
fn a_task_runs_as_the_user_of_its_image_and_never_as_more_than_its_own() {
    let Some(busybox) = needed() else { return };
    let Some(registry) = Registry::start("", &[]) else { return };
    fill(&registry, &busybox);
    let cluster = cluster(&format!("http://{}", registry.address), &[]);
    let who = "id -u; id -g; id -G; touch $MESOS_SANDBOX/mine && echo written";
    let ran = execute_in("app", &cluster, &["--name=image", who]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    assert_eq!(stdout(&cluster, "image"), "1234\n1235\n1235 1236\nwritten\n");
    // Who was named is not changed.
    let mut framework = Framework::subscribe(&cluster.master(), &FrameworkOptions::default());
    let image = json!({"type": "DOCKER", "docker": {"name": "app"}});
    let container = json!({"type": "MESOS", "mesos": {"image": image}});
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, "own", "id -u", 0.1, 32.0);
    task["command"]["user"] = json!("nobody");
    task["container"] = container;
    framework.launch(&offer, &[task]);
    framework.until_state("own", "TASK_FINISHED");
    assert_eq!(stdout(&cluster, "own"), "65534\n");
    drop(framework);
    let ran = execute_in("lost", &cluster, &["--name=lost", who]);
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(text.contains("the image's User: there is no user 'nobody' in the image"), "{text}");
}

#[test]
fn a_root_of_an_image_survives_the_agent_and_ends_with_its_task() {
    let Some(busybox) = needed() else { return };
    let Some(registry) = Registry::start("", &[]) else { return };
    fill(&registry, &busybox);
    let mut cluster = cluster(&format!("http://{}", registry.address), &[]);
    let options = FrameworkOptions { checkpoint: true, ..Default::default() };
    let mut framework = Framework::subscribe(&cluster.master(), &options);
    let offer = framework.offers().remove(0);
    let wait = "while ! test -e $MESOS_SANDBOX/done; do sleep 0.1; done; touch /new && ! touch /vol/new && cat /vol/etc/image";
    let mut task = command_task(&offer, "t", wait, 0.1, 32.0);
    let image = json!({"type": "DOCKER", "docker": {"name": "busybox"}});
    let volume = json!({"container_path": "/vol", "mode": "RO", "image": image});
    task["container"] = json!({"type": "MESOS", "mesos": {"image": image}, "volumes": [volume]});
    framework.launch(&offer, &[task]);
    framework.until_state("t", "TASK_RUNNING");
    // What a container sees is mounted in it alone.
    assert_eq!(mounts(&cluster), 0);

    cluster.kill_agent(0);
    // What a container had that ended meanwhile goes.
    let stray = cluster.directory().join("agent0/provisioner/containers/stray/backends");
    std::fs::create_dir_all(&stray).expect("a directory");
    cluster.start_agent(0);
    cluster.wait_for_agents(1);
    wait::until("the agent has recovered", Duration::from_secs(10), || {
        (!stray.exists()).then_some(())
    });

    let prune = json!({"type": "PRUNE_IMAGES", "prune_images": {}});
    let prune = || http::post_json(&cluster.agent(0), "/api/v1", &[], &prune);
    wait::until("images can be pruned", Duration::from_secs(10), || {
        // It listens when it has recovered.
        std::net::TcpStream::connect(cluster.agent(0)).ok()?;
        (prune().status == 200).then_some(())
    });
    let containers = cluster.directory().join("agent0/provisioner/containers");
    std::fs::write(sandbox(&cluster, "t").join("done"), "").expect("written");
    framework.until_state("t", "TASK_FINISHED");
    assert_eq!(stdout(&cluster, "t"), "of the image\n");
    assert_eq!(mounts(&cluster), 0);
    assert_eq!(std::fs::read_dir(&containers).expect("a directory").count(), 0);
}

#[test]
fn images_come_over_https_with_a_password() {
    const HTPASSWD: &str = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
    let Some(busybox) = needed() else { return };
    let directory = Temporary::new();
    let file = |name: &str| directory.0.join(name).display().to_string();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", &file("key.pem"), "-out", &file("cert.pem")])
        .output();
    if !made.is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: there is no openssl");
        return;
    }
    // Filled without TLS, then served with it.
    let Some(plain) = Registry::start("", &[]) else { return };
    fill(&plain, &busybox);
    let settings = format!(
        "  tls:\n    certificate: {}\n    key: {}\nauth:\n  htpasswd:\n    realm: test\n    path: DIR/htpasswd",
        file("cert.pem"),
        file("key.pem")
    );
    let secure = Registry::start(&settings, &[("htpasswd", HTPASSWD)]).expect("a registry");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(plain.directory.join("blobs"))
        .arg(&secure.directory)
        .status();
    assert!(copied.expect("cp runs").success());
    let config =
        json!({"auths": {secure.address.clone(): {"username": "me", "password": "secret"}}});
    std::fs::write(file("config.json"), config.to_string()).expect("written");
    let flags = [
        format!("--docker_config={}", file("config.json")),
        "--image_provisioner_backend=copy".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let url = format!("https://{}", secure.address);

    let strict = cluster(&url, &flags);
    let output = execute(&strict, &["--name=t"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("invalid peer certificate"), "{text}");

    let trusting = cluster_with(&url, &flags, &[("SSL_CERT_FILE", &file("cert.pem"))]);
    let output = execute(&trusting, &["--name=t"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(stdout(&trusting, "t"), "entry point\n");
}

#[test]
fn an_agent_that_is_killed_while_it_unpacks_a_layer_leaves_nothing_of_it() {
    let Some(busybox) = needed() else { return };
    let Some(registry) = Registry::start("", &[]) else { return };
    fill(&registry, &busybox);
    let root = registry.directory.join("root");
    std::fs::create_dir(root.join("many")).expect("a directory");
    for n in 0..20_000 {
        std::fs::write(root.join(format!("many/{n}")), "x").expect("a file");
    }
    let run = json!({"Env": ["PATH=/bin"]});
    registry.push_image("big", "latest", &[layer(&root)], &run);
    let mut cluster = cluster(&format!("http://{}", registry.address), &[]);
    let store = cluster._store.0.clone();
    let entries = |name: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(store.join(name)).expect(name);
        entries.flatten().map(|entry| entry.path()).collect()
    };
    let options = FrameworkOptions { checkpoint: true, ..Default::default() };
    let mut framework = Framework::subscribe(&cluster.master(), &options);
    let offer = framework.offers().remove(0);
    let mut task = command_task(&offer, "t", "test -e /many/19999 && echo whole", 0.1, 32.0);
    let image = json!({"type": "DOCKER", "docker": {"name": "big"}});
    task["container"] = json!({"type": "MESOS", "mesos": {"image": image}});
    framework.launch(&offer, &[task]);
    wait::until("it unpacks", Duration::from_secs(60), || {
        let half = entries("staging").into_iter().map(|path| path.join("rootfs.overlay/many"));
        let counts = half.filter_map(|many| Some(std::fs::read_dir(many).ok()?.count()));
        counts.max().filter(|count| *count > 10)
    });
    cluster.kill_agent(0);
    let half = entries("staging");
    assert_eq!((half.len(), entries("layers").len(), mounts(&cluster)), (1, 0, 0));
    cluster.start_agent(0);
    framework.until_state("t", "TASK_FINISHED");
    assert_eq!(stdout(&cluster, "t"), "whole\n");
    assert_eq!((entries("staging").len(), entries("layers").len()), (0, 1));
    assert_eq!(mounts(&cluster), 0);
}
