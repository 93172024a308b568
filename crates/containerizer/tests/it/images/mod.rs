//! Images: layers, pulls from real registries and archives, root file systems.

mod archives;
mod layers;
mod layouts;
mod pulls;
mod rootfs;
mod sparse;
mod tokens;

use containerizer::images::{
    Credentials, ImageConfig, Provisioned, Provisioner, ProvisionerOptions,
};
use containerizer::isolation::{Attributes, Root};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Whether this test can run: only root can make owners, devices and mounts.
fn is_root() -> bool {
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !root {
        eprintln!("skipped: only root can unpack and mount images");
    }
    root
}

/// A tar archive that is being written.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn entry(
        mut self,
        kind: tar::EntryType,
        name: &[u8],
        content: &[u8],
        more: impl Fn(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().expect("a header").name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        more(&mut header);
        header.set_cksum();
        self.0.append(&header, content).expect("an entry");
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(tar::EntryType::Regular, name.as_bytes(), content.as_bytes(), |_| {})
    }

    fn directory(self, name: &str) -> Self {
        self.entry(tar::EntryType::Directory, name.as_bytes(), b"", |h| h.set_mode(0o755))
    }

    fn link(self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        self.entry(kind, name.as_bytes(), b"", |h| {
            h.as_gnu_mut().expect("a header").linkname[..target.len()]
                .copy_from_slice(target.as_bytes());
        })
    }

    fn device(self, name: &str, kind: tar::EntryType, major: u32, minor: u32) -> Self {
        self.entry(kind, name.as_bytes(), b"", |h| {
            h.set_device_major(major).expect("a number");
            h.set_device_minor(minor).expect("a number");
        })
    }

    /// The next entry has this extended attribute or other record.
    fn record(self, key: &str, value: &[u8]) -> Self {
        let mut body = Vec::new();
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        body.extend(format!("{length} {key}=").bytes());
        body.extend(value);
        body.push(b'\n');
        self.entry(tar::EntryType::XHeader, b"PaxHeaders", &body, |_| {})
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("an archive")
    }
}

/// A layer for a registry, packed with gzip, and its digest when unpacked.
fn gzipped(layer: Vec<u8>) -> (Vec<u8>, String) {
    let diff_id = testkit::registry::sha256(&layer);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &layer).expect("it compresses");
    (encoder.finish().expect("it compresses"), diff_id)
}

/// A directory that goes with all that is mounted in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        Self(testkit::cluster::temporary_directory())
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The number of things in a directory below.
    fn count(&self, name: &str) -> usize {
        std::fs::read_dir(self.join(name)).expect(name).count()
    }

    fn mounts(&self) -> Vec<String> {
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table");
        let targets = table.lines().filter_map(|line| line.split(' ').nth(4));
        targets.filter(|target| Path::new(target).starts_with(&self.0)).map(str::to_owned).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        for target in self.mounts().iter().rev() {
            let _ = std::process::Command::new("umount").args(["-l", target]).status();
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A provisioner in a directory of its own.
struct Host {
    provisioner: Arc<Provisioner>,
    directory: Directory,
}

impl Host {
    fn options(directory: &Path, registry: &str) -> ProvisionerOptions {
        ProvisionerOptions {
            work_dir: directory.join("work"),
            docker_store_dir: directory.join("store"),
            docker_registry: registry.to_owned(),
            hadoop_home: None,
            docker_config: Credentials::default(),
            docker_ignore_runtime: false,
            stall_timeout: Duration::from_secs(10),
            backend: None,
            gc: None,
        }
    }

    fn new(registry: &str) -> Self {
        Self::with(registry, |_| {})
    }

    fn with(registry: &str, change: impl Fn(&mut ProvisionerOptions)) -> Self {
        Self::at(Directory::new(), registry, change)
    }

    fn at(directory: Directory, registry: &str, change: impl Fn(&mut ProvisionerOptions)) -> Self {
        let mut options = Self::options(&directory.0, registry);
        change(&mut options);
        let provisioner = Provisioner::new(&options).expect("a provisioner");
        Self { provisioner, directory }
    }

    async fn provision(
        &self,
        container_id: &str,
        image: &wire::v1::Image,
    ) -> Result<Mounted, String> {
        provision(&self.provisioner, container_id, image).await
    }

    fn destroy(&self, container_id: &str) {
        self.provisioner.destroy(container_id).expect("destroyed");
    }

    /// The number of complete layers in the store.
    fn layers(&self) -> usize {
        self.directory.count("store/layers")
    }

    /// The number of half-made things in the store.
    fn staged(&self) -> usize {
        self.directory.count("store/staging")
    }
}

async fn provision(
    provisioner: &Provisioner,
    container_id: &str,
    image: &wire::v1::Image,
) -> Result<Mounted, String> {
    let pulled = provisioner.pull(image).await?;
    let Provisioned { root, place, config } = provisioner.provision(container_id, pulled).await?;
    assert!(!is_mounted(&place), "nothing is mounted on the host");
    mount(&root, &place);
    Ok(Mounted { rootfs: place, config })
}

/// A root file system, mounted on the host as former agents did it.
#[derive(Debug)]
struct Mounted {
    rootfs: PathBuf,
    config: ImageConfig,
}

fn is_mounted(place: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table");
    table.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == place))
}

fn mount(root: &Root, place: &Path) {
    let mount = |arguments: &[&str]| {
        let status = std::process::Command::new("mount").args(arguments).arg(place).status();
        assert!(status.is_ok_and(|status| status.success()), "mount {arguments:?}");
    };
    match root {
        Root::Layers { lower, upper, work } => {
            let lower: Vec<String> = lower.iter().map(|l| l.display().to_string()).collect();
            let (lower, upper, work) = (lower.join(":"), upper.display(), work.display());
            let options = format!("nodev,lowerdir={lower},upperdir={upper},workdir={work}");
            mount(&["-t", "overlay", "overlay", "-o", &options]);
        }
        Root::Directory { path, attributes } => {
            mount(&["--bind", path.to_str().expect("text")]);
            assert!(attributes.0 & Attributes::NO_DEV.0 != 0, "{attributes:?}");
            let is_read_only = attributes.0 & Attributes::READ_ONLY.0 != 0;
            let options = if is_read_only { "nodev,ro" } else { "nodev" };
            mount(&["-o", &format!("remount,bind,{options}")]);
        }
    }
}

fn image(name: &str) -> wire::v1::Image {
    wire::v1::Image {
        r#type: wire::v1::image::Type::Docker as i32,
        docker: Some(wire::v1::image::Docker { name: name.to_owned(), ..Default::default() }),
        ..Default::default()
    }
}
