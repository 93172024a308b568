//! Tests in a virtual machine whose only cgroups are those of version 2: Debian's kernel, and a file system in memory
//! with nothing but a shell and the test programs.

use crate::run::{Failure, cargo, output, program, run};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where it is kept.
const DIRECTORY: &str = "target/external/machine";
/// For how long the machine may run, and take to start.
const TIME: Duration = Duration::from_secs(600);
const TIME_TO_START: Duration = Duration::from_secs(60);
/// What it says when it has started.
const GREETING: &str = "machine: tests begin";
/// What the machine says in the end, before the exit status of the tests.
const VERDICT: &str = "machine: tests ended with ";
/// The first process of the machine.
const INIT: &str = "\
#!/bin/sh
if [ ! -e /moved ]; then
  # What the kernel unpacks can't be left for another root, as containers do.
  /bin/busybox mkdir /new
  /bin/busybox mount -t tmpfs none /new
  /bin/busybox cp -a /bin /etc /init /lib /lib64 /modules /tests /usr /new
  /bin/busybox mkdir /new/dev /new/proc /new/sys /new/tmp
  /bin/busybox touch /new/moved
  exec /bin/busybox switch_root /new /init
fi
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /tmp
ip link set lo up
for module in libcrc32c loop quota_tree quota_v2 xfs; do
  insmod /modules/$module.ko
done
export PATH=/bin RUST_BACKTRACE=0 PROFFER_TEST_NVML=/lib/nvml-of-tests.so
echo \"machine: tests begin\"
for test in /tests/*; do
  $test --test-threads=2 --skip network TESTS || failed=1
done
echo \"machine: tests ended with ${failed:-0}\"
poweroff -f
";
/// What is run: the contract of a containerizer, and everything about cgroups, what needs them and project quotas.
const TESTS: &str = "cgroups gpu pods:: lost inside output_exit_code death_by_signal many_at_once a_signal_reaches containers_survive projects";
/// Programs that the tests start, all of them one.
const PROGRAMS: [&str; 31] = [
    "sh", "mount", "ip", "poweroff", "sleep", "cat", "env", "setsid", "echo", "kill", "head",
    "tail", "tr", "dd", "mknod", "pwd", "id", "stat", "touch", "true", "false", "ls", "rm",
    "mkdir", "seq", "wc", "grep", "insmod", "umount", "sync", "mv",
];
/// Those that make file systems.
const MAKERS: [&str; 2] = ["mkfs.xfs", "mkfs.ext4"];
/// Modules of the kernel that file systems in files, and their quotas, need.
const MODULES: [&str; 5] = [
    "lib/libcrc32c.ko",
    "drivers/block/loop.ko",
    "fs/quota/quota_tree.ko",
    "fs/quota/quota_v2.ko",
    "fs/xfs/xfs.ko",
];

/// Runs the tests, or says by name why it does not.
pub(crate) fn test(skip: bool) -> Result<(), Failure> {
    let name = "cgroups of version 2 in a virtual machine";
    if skip {
        eprintln!("skipped by --skip-external: {name}");
        return Ok(());
    }
    let kernel = match kernel() {
        Ok(kernel) => kernel,
        Err(why) => {
            eprintln!("skipped: {name}: {why}");
            return Ok(());
        }
    };
    let image = Path::new(DIRECTORY).join("image");
    std::fs::write(&image, image_of(&test_program()?)?)?;
    boot(&kernel, &image)
}

/// Debian's kernel, made for virtual machines.
fn kernel() -> Result<PathBuf, Failure> {
    let root = output(program("id", &["-u"]))?.trim() == "0";
    let has = |name: &str| output(program(name, &["--help"])).is_ok();
    let makes = |name: &str| output(program(name, &["-V"])).is_ok();
    if !has("qemu-system-x86_64") || !has("busybox") || !MAKERS.iter().all(|name| makes(name)) {
        if !root {
            return Err(Failure::new(
                "missing Debian packages; as root: apt-get install qemu-system-x86 busybox-static xfsprogs \
                 e2fsprogs",
            ));
        }
        crate::external::install(&["qemu-system-x86", "busybox-static", "xfsprogs", "e2fsprogs"])?;
    }
    let directory = Path::new(DIRECTORY);
    if let Some(found) = vmlinuz(directory) {
        return Ok(found);
    }
    std::fs::create_dir_all(directory)?;
    let depends = output(program("apt-cache", &["depends", "linux-image-cloud-amd64"]))?;
    let package = depends.lines().find_map(|l| l.trim().strip_prefix("Depends: linux-image"));
    let package = package.ok_or_else(|| Failure::new("there is no kernel among the packages"))?;
    let package = format!("linux-image{package}");
    let mut download = program("apt-get", &["download", "-q", &package]);
    download.current_dir(directory);
    run(download)?;
    let archive = files(directory).find(|path| path.extension().is_some_and(|e| e == "deb"));
    let archive = archive.ok_or_else(|| Failure::new("no kernel was downloaded"))?;
    run(program("dpkg-deb", &["-x", text(&archive), text(directory)]))?;
    std::fs::remove_file(archive)?;
    vmlinuz(directory).ok_or_else(|| Failure::new("the package has no kernel"))
}

fn vmlinuz(directory: &Path) -> Option<PathBuf> {
    let is_kernel = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
    };
    files(&directory.join("boot")).find(is_kernel)
}

fn files(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// Builds the containerizer's tests.
fn test_program() -> Result<PathBuf, Failure> {
    let mut build =
        cargo(&["test", "--locked", "--package", "proffer-containerizer", "--test", "it"]);
    build.args(["--no-run", "--message-format=json"]);
    let messages = output(build)?;
    let line = messages.lines().rev().find(|line| line.contains("\"executable\":\"/"));
    let path = line.and_then(|line| line.split("\"executable\":\"").nth(1)?.split('"').next());
    path.map(PathBuf::from).ok_or_else(|| Failure::new("cargo names no test program"))
}

/// What stands in for NVIDIA's library: there is no compiler in the machine.
fn nvml() -> Result<PathBuf, Failure> {
    let library = Path::new(DIRECTORY).join("nvml.so");
    let source = "crates/containerizer/tests/it/isolation/nvml.c";
    run(program("cc", &["-shared", "-fPIC", "-o", text(&library), source]))?;
    Ok(library)
}

/// The file system: an archive in the format that the kernel unpacks (cpio, `newc`).
fn image_of(tests: &Path) -> Result<Vec<u8>, Failure> {
    let mut image = Image::default();
    for directory in ["bin", "dev", "etc", "lib", "lib64", "proc", "sys", "tests", "tmp", "usr"] {
        image.add(directory, 0o040_755, b"");
    }
    image.add("usr/bin", 0o120_777, b"/bin");
    image.add("dev/console", 0o020_600, b"");
    image.add("etc/passwd", 0o100_644, b"root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n");
    image.add("etc/group", 0o100_644, b"root:x:0:\nnogroup:x:65534:\n");
    image.add("init", 0o100_755, INIT.replace("TESTS", TESTS).as_bytes());
    let shell = output(program("sh", &["-c", "command -v busybox"]))?;
    image.add("bin/busybox", 0o100_755, &std::fs::read(shell.trim())?);
    for name in PROGRAMS {
        image.add(&format!("bin/{name}"), 0o120_777, b"busybox");
    }
    image.add("tests/it", 0o100_755, &std::fs::read(tests)?);
    image.add("lib/nvml-of-tests.so", 0o100_755, &std::fs::read(nvml()?)?);
    image.add_libraries(tests)?;
    for name in MAKERS {
        let found = output(program("sh", &["-c", &format!("command -v {name}")]))?;
        let path = Path::new(found.trim());
        image.add(&format!("bin/{name}"), 0o100_755, &std::fs::read(path)?);
        image.add_libraries(path)?;
    }
    let release = files(&Path::new(DIRECTORY).join("lib/modules")).next();
    let release = release.ok_or_else(|| Failure::new("the kernel has no modules"))?;
    image.add("modules", 0o040_755, b"");
    for module in MODULES {
        let path = release.join("kernel").join(module);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        image.add(&format!("modules/{name}"), 0o100_644, &std::fs::read(path)?);
    }
    Ok(image.finish())
}

#[derive(Default)]
struct Image {
    bytes: Vec<u8>,
    names: Vec<String>,
}

impl Image {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.names.push(name.to_owned());
        // The console is 5:1.
        let device = if mode & 0o170_000 == 0o020_000 { (5, 1) } else { (0, 0) };
        let numbers = [
            u32::try_from(self.names.len()).unwrap_or(0),
            mode,
            0,
            0,
            1,
            0,
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0,
            0,
            device.0,
            device.1,
            u32::try_from(name.len() + 1).unwrap_or(0),
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    /// What a program is linked with, at the same places.
    fn add_libraries(&mut self, program_file: &Path) -> Result<(), Failure> {
        for line in output(program("ldd", &[text(program_file)]))?.lines() {
            let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else {
                continue;
            };
            let path = path.trim_start_matches('/');
            for (at, _) in path.match_indices('/') {
                if !self.has(&path[..at]) {
                    self.add(&path[..at], 0o040_755, b"");
                }
            }
            if !self.has(path) {
                self.add(path, 0o100_755, &std::fs::read(Path::new("/").join(path))?);
            }
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

/// Runs the machine, with the host's help if that works, and shows what it says; fails with the tests in it.
fn boot(kernel: &Path, image: &Path) -> Result<(), Failure> {
    let mut said = String::new();
    for [accelerator, cpu] in [["kvm", "host"], ["tcg", "max"]] {
        if accelerator == "kvm" && std::fs::File::options().write(true).open("/dev/kvm").is_err() {
            continue;
        }
        said = run_machine(kernel, image, accelerator, cpu)?;
        if said.contains(GREETING) {
            break;
        }
        eprintln!("the machine does not start with accel={accelerator}");
    }
    print!("{said}");
    match said.split(VERDICT).nth(1) {
        Some(status) if status.trim_start().starts_with('0') => Ok(()),
        Some(_) => Err(Failure::new("tests failed in the virtual machine")),
        None => Err(Failure::new("the virtual machine stopped without a verdict")),
    }
}

/// What the machine says until it ends, or until it should have.
fn run_machine(
    kernel: &Path,
    image: &Path,
    accelerator: &str,
    cpu: &str,
) -> Result<String, Failure> {
    let mut machine = program("qemu-system-x86_64", &["-nographic", "-no-reboot", "-nodefaults"]);
    machine.args(["-serial", "stdio", "-m", "2048", "-smp", "2", "-accel", accelerator]);
    machine.args(["-cpu", cpu, "-append", "console=ttyS0 quiet panic=-1"]);
    machine.arg("-kernel").arg(kernel).arg("-initrd").arg(image);
    eprintln!("$ qemu-system-x86_64 -accel {accelerator} -kernel {} …", kernel.display());
    let mut machine = machine.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut output = machine.stdout.take().ok_or_else(|| Failure::new("the machine is mute"))?;
    let said = Arc::new(Mutex::new(Vec::new()));
    let reader = std::thread::spawn({
        let said = said.clone();
        move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                said.lock().unwrap_or_else(PoisonError::into_inner).extend(&piece[..length]);
            }
        }
    });
    let text = || {
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    };
    let start = Instant::now();
    while machine.try_wait()?.is_none() {
        let patience = if text().contains(GREETING) { TIME } else { TIME_TO_START };
        if start.elapsed() >= patience {
            machine.kill()?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = reader.join();
    Ok(text())
}
