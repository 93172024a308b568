//! `gpu/nvidia`, with a library in the place of NVIDIA's that tells of three GPUs.

use super::*;
use containerizer::isolation::GpuOptions;
use containerizer::isolation::cgroups::Options;
use std::sync::atomic::{AtomicU32, Ordering};

/// Its GPUs have the minor numbers 0, 2 and 5.
const LIBRARY: &str = include_str!("nvml.c");
/// Where it is built already, if it is.
const BUILT: &str = "PROFFER_TEST_NVML";

/// The library, and devices and a driver's files beside it; None: there is no compiler.
fn driver(directory: &Path) -> Option<GpuOptions> {
    let library = match std::env::var_os(BUILT) {
        Some(built) => PathBuf::from(built),
        None => build(directory)?,
    };
    let files = directory.join("driver");
    std::fs::create_dir(&files).expect("a directory");
    for name in ["nvidia-smi", "libcuda.so.535.1", "libother.so.1"] {
        std::fs::write(files.join(name), name).expect("a file");
    }
    std::os::unix::fs::symlink("libcuda.so.535.1", files.join("libcuda.so.1")).expect("a link");
    Some(GpuOptions {
        library,
        indices: None,
        devices: directory.join("dev"),
        programs: vec![files.clone()],
        libraries: vec![files],
    })
}

fn build(directory: &Path) -> Option<PathBuf> {
    let source = directory.join("nvml.c");
    std::fs::write(&source, LIBRARY).expect("written");
    let library = directory.join("libnvidia-ml.so.1");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no compiler of C (package gcc)");
        return None;
    }
    Some(library)
}

#[test]
fn how_many_there_are() {
    let directory = testkit::cluster::temporary_directory();
    let Some(options) = driver(&directory) else { return };
    let count = |given: Option<f64>, indices: Option<&[u32]>| {
        let indices = indices.map(<[u32]>::to_vec);
        GpuOptions { indices, ..options.clone() }.count(given)
    };
    assert_eq!(count(None, None), Ok(3));
    assert_eq!(count(Some(0.0), None), Ok(0));
    assert_eq!(count(Some(2.0), Some(&[0, 2])), Ok(2));
    let refused = |given, indices, text: &str| {
        let error = count(given, indices).expect_err("refused");
        assert!(error.contains(text), "{error}");
    };
    refused(Some(2.0), None, "'gpus' in --resources needs --nvidia_gpu_devices");
    refused(None, Some(&[0]), "--nvidia_gpu_devices needs 'gpus' in --resources");
    refused(Some(1.5), Some(&[0, 1]), "names 2 GPUs, and --resources says gpus:1.5");
    refused(Some(2.0), Some(&[1, 1]), "names a GPU twice");
    refused(Some(1.0), Some(&[3]), "there is no GPU 3; this machine has 3");
    let missing = GpuOptions { library: "/no/such/library".into(), ..options };
    let error = missing.count(None).expect_err("refused");
    assert!(error.contains("isolator 'gpu/nvidia': NVIDIA's driver is not there"), "{error}");
}

/// A host with GPUs, with cgroups of its own.
pub(crate) struct Gpus {
    pub(crate) host: Host,
    pub(crate) root: String,
    pub(crate) gpus: GpuOptions,
}

impl Drop for Gpus {
    fn drop(&mut self) {
        testkit::cgroups::remove(&self.root);
    }
}

const ISOLATION: &str = "filesystem/linux,cgroups/devices,gpu/nvidia";

impl Gpus {
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let directory = host(LINUX)?.directory;
        let gpus = driver(&directory)?;
        std::fs::create_dir(&gpus.devices).expect("a directory");
        for (name, minor) in [("nvidiactl", "255"), ("nvidia-uvm", "254")] {
            let mut make = Command::new("mknod");
            make.arg(gpus.devices.join(name)).args(["c", "195", minor]);
            assert!(make.status().expect("mknod runs").success());
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = format!("proffer-test-gpu-{}-{count}", std::process::id());
        let host = Self::start(&directory, &root, &gpus)?;
        Some(Self { host, root, gpus })
    }

    pub(crate) fn start(directory: &Path, root: &str, gpus: &GpuOptions) -> Option<Host> {
        let options = Options { root: root.to_owned(), ..Options::default() };
        let selection = Selection::new(ISOLATION, Some(Launcher::Linux), options);
        let selection = match selection.and_then(|s| s.check_cgroups().map(|()| s)) {
            Ok(selection) => selection,
            Err(reason) => {
                eprintln!("skipped: no cgroups for tests: {reason}");
                return None;
            }
        };
        Some(Host::with_options(directory.to_owned(), |options| {
            options.isolation = selection;
            options.settings.gpus = gpus.clone();
        }))
    }

    pub(crate) fn spec(&self, id: &str, gpus: f64, command: &str) -> ContainerSpec {
        let resource = v1::Resource {
            name: "gpus".to_owned(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value: gpus }),
            ..Default::default()
        };
        ContainerSpec { resources: vec![resource], ..self.host.spec(id, command) }
    }
}

/// Tells which of the GPUs can be opened: there is no driver for them, which is found out after that.
const OPEN: &str = "for m in 0 2 5 255; do mknod node$m c 195 $m; \
    cat node$m 2>&1 | grep -q 'No such device' && echo $m; done; echo ready";

#[tokio::test]
async fn each_is_one_containers_also_after_a_restart() {
    let Some(mut gpus) = Gpus::new() else { return };
    let waits = format!("{OPEN}; exec sleep 1000");
    let opened = |host: &Host, id: &str| {
        let out = host.stdout(id);
        out.lines().filter(|l| *l != "ready").map(str::to_owned).collect::<Vec<_>>()
    };
    for (id, count) in [("none", 0.0), ("two", 2.0), ("one", 1.0)] {
        gpus.host.mesos.start(gpus.spec(id, count, &waits)).await.expect("it starts");
        gpus.host.wait_for_stdout(id, "ready").await;
    }
    assert_eq!(opened(&gpus.host, "none"), [""; 0]);
    assert_eq!(opened(&gpus.host, "two"), ["0", "2", "255"]);
    assert_eq!(opened(&gpus.host, "one"), ["5", "255"]);
    let refused = gpus.host.mesos.start(gpus.spec("more", 1.0, "true")).await;
    let text = "gpu/nvidia: it asks for 1 GPUs, and 0 are free";
    assert_eq!(refused, Err(StartError::Launch(text.to_owned())));
    let refused = gpus.host.mesos.start(gpus.spec("half", 0.5, "true")).await;
    let text = "The 'gpus' resource must be an unsigned integer";
    assert!(
        matches!(&refused, Err(StartError::Launch(told)) if told.contains(text)),
        "{refused:?}"
    );

    let directory = gpus.host.directory.clone();
    gpus.host = Gpus::start(&directory, &gpus.root, &gpus.gpus).expect("as before");
    gpus.host.mesos.recover().await.expect("recovery");
    assert!(gpus.host.mesos.start(gpus.spec("more", 1.0, "true")).await.is_err());
    gpus.host.mesos.destroy("one");
    assert_eq!(gpus.host.exit().await.0, "one");
    gpus.host.mesos.start(gpus.spec("next", 1.0, OPEN)).await.expect("it starts");
    assert_eq!(gpus.host.exit().await.0, "next");
    assert_eq!(opened(&gpus.host, "next"), ["5", "255"]);

    // An executor's container has as many as its tasks.
    let again = "while :; do for m in 2 5; do cat node$m 2>&1 | grep -q 'No such device' && echo $m; \
                 done > now; mv now seen; sleep 0.02; done";
    let grows = gpus.spec("grows", 0.0, &format!("{OPEN}; {again}"));
    gpus.host.mesos.start(grows).await.expect("it starts");
    let one = gpus.spec("grows", 1.0, "").resources;
    let seen = gpus.host.sandbox("grows").join("seen");
    for (resources, wanted) in [(one, "5\n"), (Vec::new(), "")] {
        gpus.host.mesos.update("grows", resources, BTreeMap::new());
        for _ in 0..1000 {
            if std::fs::read_to_string(&seen).is_ok_and(|text| text == wanted) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(std::fs::read_to_string(&seen).expect("seen"), wanted);
    }
    for id in ["none", "two", "grows"] {
        gpus.host.mesos.destroy(id);
        gpus.host.exit().await;
    }
}

#[tokio::test]
async fn a_root_file_system_has_the_nodes_and_what_its_image_asks_for() {
    let Some(mut gpus) = Gpus::new() else { return };
    let show = "ls /dev | grep nvidia; ls /usr/local/nvidia/*; echo $PATH; echo $LD_LIBRARY_PATH";
    let rootfs = Root::directory(gpus.host.rootfs());
    let mut spec = ContainerSpec { rootfs: Some(rootfs.clone()), ..gpus.spec("a", 1.0, show) };
    spec.image_wants_nvidia = true;
    spec.environment.insert("PATH".to_owned(), "/bin".to_owned());
    let (_, out, errors) = gpus.host.run(spec).await;
    let nodes = "nvidia-uvm\nnvidia0\nnvidiactl\n";
    let files = "/usr/local/nvidia/bin:\nnvidia-smi\n\n/usr/local/nvidia/lib:\n\n\
                 /usr/local/nvidia/lib64:\nlibcuda.so.1\nlibcuda.so.535.1\n";
    let paths = "/bin:/usr/local/nvidia/bin\n\
                 /usr/local/cuda/compat:/usr/local/nvidia/lib:/usr/local/nvidia/lib64\n";
    assert_eq!(out, format!("{nodes}{files}{paths}"), "{errors}");
    let spec =
        ContainerSpec { rootfs: Some(rootfs), ..gpus.spec("b", 0.0, "ls /dev | grep nvidia") };
    let (status, out, _) = gpus.host.run(spec).await;
    assert_eq!((status, out.as_str()), (Some(1 << 8), ""));
}

#[tokio::test]
async fn a_host_without_the_driver_or_what_it_needs_is_refused() {
    let Some(host) = host(LINUX) else { return };
    let refused = |isolation: &str| {
        let selection = Selection::new(isolation, Some(Launcher::Linux), Options::default());
        let Ok(isolation) = selection.and_then(|s| s.check_cgroups().map(|()| s)) else {
            eprintln!("skipped: no cgroups for tests");
            return None;
        };
        let mut options = options(&host.directory);
        options.isolation = isolation;
        options.settings.gpus.library = "/no/such/library".into();
        Some(Mesos::new(&options).expect_err("refused").to_string())
    };
    let Some(error) = refused(ISOLATION) else { return };
    assert!(error.contains("isolator 'gpu/nvidia': NVIDIA's driver is not there"), "{error}");
    let error = refused("filesystem/linux,gpu/nvidia").expect("cgroups");
    assert_eq!(error, "isolator 'gpu/nvidia' needs 'cgroups/devices' in --isolation");
}
