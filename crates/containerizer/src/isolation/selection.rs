//! Which isolators there are, and which of them are wanted.

use super::cgroups::{self, Cgroups};
use super::disk::{DiskUsage, Xfs};
use super::gpu::{Gpus, Nvidia};
use super::posix::Posix;
use super::rlimits::Rlimits;
use super::{Isolator, filesystem, gpu, linux, namespaces, network, volume};
use crate::MesosOptions;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Makes an isolator on this host, or says why there is none; [`None`]: nothing is to be done for it.
type Make = fn(&MesosOptions) -> Result<Option<Box<dyn Isolator>>, String>;

/// All isolators but those of cgroups, which one stands for, in the order in which they prepare a container.
const ISOLATORS: &[(&str, Make)] = &[
    ("filesystem/posix", |_| made(filesystem::Posix)),
    ("filesystem/shared", |_| made(filesystem::Shared::new()?)),
    ("filesystem/linux", |options| made(filesystem::Linux::new(options)?)),
    // Before the cgroups, which have its devices opened.
    (gpu::NAME, |_| Ok(None)),
    ("disk/du", |options| made(DiskUsage::new(options)?)),
    ("disk/xfs", |options| made(Xfs::new(options)?)),
    ("posix/cpu", |_| made(Posix::Cpu)),
    ("posix/mem", |_| made(Posix::Memory)),
    ("posix/rlimits", |_| made(Rlimits)),
    ("docker/runtime", |_| Ok(None)),
    ("linux/devices", |options| made(linux::Devices::new(options)?)),
    ("linux/capabilities", |options| made(linux::Capabilities::new(options)?)),
    ("linux/nnp", |_| made(linux::NoNewPrivileges)),
    ("namespaces/ipc", |options| made(namespaces::Ipc::new(options)?)),
    ("namespaces/pid", |options| made(namespaces::Pid::new(options)?)),
    ("volume/host_path", |options| made(volume::HostPath::new(options)?)),
    // Images as volumes are volumes of host paths by then.
    ("volume/image", |options| filesystem::needs_mount_namespaces(options).map(|()| None)),
    ("volume/sandbox_path", |options| made(volume::SandboxPath::new(options))),
    ("volume/secret", |options| made(volume::Secret::new(options)?)),
    ("linux/seccomp", |options| made(linux::Seccomp::new(options)?)),
    ("network/cni", |options| made(network::Cni::new(options)?)),
    ("network/ports", |options| made(network::Ports::new(options)?)),
    ("environment_secret", |_| made(volume::EnvironmentSecret)),
];

/// The last isolator before that of cgroups.
const BEFORE_CGROUPS: &str = "posix/rlimits";

/// Names that stand for several.
const ALIASES: &[(&str, &[&str])] = &[
    ("process", &["posix/cpu", "posix/mem"]),
    ("posix", &["posix/cpu", "posix/mem"]),
    ("cgroups", &["cgroups/cpu", "cgroups/mem"]),
];

/// What is always there, and what comes with others.
const IMPLIED: &[(Option<&str>, &[&str])] = &[
    (None, &["environment_secret", "network/cni"]),
    (Some("filesystem/linux"), &["volume/host_path", "volume/image", "volume/sandbox_path"]),
];

fn made(isolator: impl Isolator + 'static) -> Result<Option<Box<dyn Isolator>>, String> {
    Ok(Some(Box::new(isolator)))
}

/// How processes are told apart and killed: `--launcher`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Launcher {
    /// By descent.
    #[default]
    Posix,
    /// By cgroups.
    Linux,
}

/// What is asked for: `--isolation`, `--launcher` and the flags of cgroups.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    names: BTreeSet<&'static str>,
    launcher: Launcher,
    cgroups: cgroups::Options,
}

impl Default for Selection {
    /// The isolators that are the default of `--isolation`, without cgroups.
    fn default() -> Self {
        Self {
            names: [
                "filesystem/posix",
                "posix/cpu",
                "posix/mem",
                "network/cni",
                "environment_secret",
            ]
            .into(),
            launcher: Launcher::Posix,
            cgroups: cgroups::Options::default(),
        }
    }
}

impl Selection {
    /// Reads names with commas between them. `auto` stands for all that this host supports, `cgroups/all` for those of
    /// cgroups. Without a launcher the one is taken that the host has: linux for root where there are cgroups in which
    /// it can make its own.
    ///
    /// # Errors
    /// Names the isolator that is not known, with the nearest name, or that comes twice, or that needs another launcher.
    pub fn new(
        isolation: &str,
        launcher: Option<Launcher>,
        cgroups: cgroups::Options,
    ) -> Result<Self, String> {
        let has_tracker = || Cgroups::new(&[], &cgroups, Path::new("")).is_ok();
        let launcher = launcher
            .unwrap_or_else(|| if has_tracker() { Launcher::Linux } else { Launcher::Posix });
        let supported = || match launcher {
            Launcher::Linux => cgroups::supported(&cgroups),
            Launcher::Posix => Vec::new(),
        };
        let mut names = BTreeSet::new();
        for name in isolation.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            for name in stands_for(name, supported)? {
                if !names.insert(name) {
                    return Err(format!("isolator '{name}' is given twice"));
                }
            }
        }
        let filesystems = names.iter().copied().filter(|name| name.starts_with("filesystem/"));
        match filesystems.collect::<Vec<_>>().as_slice() {
            [] => drop(names.insert("filesystem/posix")),
            [_] => {}
            [one, other, ..] => {
                return Err(format!("isolators '{one}' and '{other}' exclude each other"));
            }
        }
        if names.contains("disk/du") && names.contains("disk/xfs") {
            return Err("isolators 'disk/du' and 'disk/xfs' exclude each other".to_owned());
        }
        for (with, implied) in IMPLIED {
            if with.is_none_or(|with| names.contains(with)) {
                names.extend(implied.iter().copied());
            }
        }
        let of_cgroups = names.iter().find(|name| cgroups::NAMES.contains(name));
        match of_cgroups {
            Some(name) if launcher == Launcher::Posix => Err(format!(
                "isolator '{name}' needs --launcher=linux, root, and cgroups at {}",
                cgroups.hierarchy.display()
            )),
            _ => Ok(Self { names, launcher, cgroups }),
        }
    }

    /// Whether an isolator is wanted.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The launcher.
    #[must_use]
    pub fn launcher(&self) -> Launcher {
        self.launcher
    }

    /// The flags of cgroups.
    #[must_use]
    pub fn cgroups(&self) -> &cgroups::Options {
        &self.cgroups
    }

    /// The names, in the order in which they prepare.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        known().filter(|name| self.has(name))
    }

    /// Whether this host has the cgroups that were asked for.
    ///
    /// # Errors
    /// What it has not.
    pub fn check_cgroups(&self) -> Result<(), String> {
        self.make_cgroups(Path::new(""), None).map(drop)
    }

    fn make_cgroups(&self, owner: &Path, gpus: Option<Arc<Gpus>>) -> Result<Cgroups, String> {
        let names: Vec<&str> = self.names().filter(|name| cgroups::NAMES.contains(name)).collect();
        let mut cgroups = Cgroups::new(&names, &self.cgroups, owner)?;
        cgroups.gpus = gpus;
        Ok(cgroups)
    }

    pub(super) fn make(&self, options: &MesosOptions) -> Result<Vec<Box<dyn Isolator>>, String> {
        let mut made: Vec<Box<dyn Isolator>> = Vec::new();
        let mut gpus = None;
        for (name, make) in ISOLATORS {
            if *name == gpu::NAME && self.has(name) {
                let found = Gpus::new(options)?;
                made.push(Box::new(Nvidia(found.clone())));
                gpus = Some(found);
            }
            if self.has(name) {
                made.extend(make(options).map_err(|e| format!("isolator '{name}': {e}"))?);
            }
            if *name == BEFORE_CGROUPS && self.launcher == Launcher::Linux {
                let cgroups = self.make_cgroups(&options.work_dir, gpus.take())?;
                tracing::info!(layout = cgroups.layout, "containers have cgroups");
                made.push(Box::new(cgroups));
            }
        }
        Ok(made)
    }
}

fn known() -> impl Iterator<Item = &'static str> {
    let others = ISOLATORS.iter().map(|(name, _)| *name);
    let at = ISOLATORS.iter().position(|(name, _)| *name == BEFORE_CGROUPS).map_or(0, |at| at + 1);
    others.clone().take(at).chain(cgroups::NAMES).chain(others.skip(at))
}

/// The isolators that a name stands for.
fn stands_for(
    name: &str,
    supported: impl Fn() -> Vec<&'static str>,
) -> Result<Vec<&'static str>, String> {
    if let Some((_, names)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Ok(names.to_vec());
    }
    match name {
        "cgroups/all" => Ok(supported()),
        "auto" => {
            let cgroups = supported();
            let has = |wanted: &str| cgroups.contains(&wanted);
            let mut names = Vec::new();
            names.extend((!has("cgroups/cpu")).then_some("posix/cpu"));
            names.extend((!has("cgroups/mem")).then_some("posix/mem"));
            names.extend(cgroups);
            Ok(names)
        }
        _ => {
            known().find(|known| *known == name).map(|name| vec![name]).ok_or_else(|| unknown(name))
        }
    }
}

fn unknown(name: &str) -> String {
    let names =
        || ALIASES.iter().map(|(name, _)| *name).chain(["auto", "cgroups/all"]).chain(known());
    match base::nearest(name, names()) {
        Some(near) => format!("there is no isolator '{name}'; did you mean '{near}'?"),
        None => {
            let names: Vec<&str> = names().collect();
            format!("there is no isolator '{name}'; there are: {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, launcher: Launcher, want: Result<&[&str], &str>) {
        let options = cgroups::Options { hierarchy: "/no/cgroups".into(), ..Default::default() };
        let got = Selection::new(text, Some(launcher), options);
        let got = got.map(|s| s.names().collect::<Vec<_>>());
        assert_eq!(got, want.map(<[&str]>::to_vec).map_err(str::to_owned));
    }

    #[test]
    fn names_aliases_and_mistakes() {
        let posix =
            ["filesystem/posix", "posix/cpu", "posix/mem", "network/cni", "environment_secret"]
                .as_slice();
        for text in ["posix/mem, posix/cpu", "process", "auto"] {
            check(text, Launcher::Posix, Ok(posix));
        }
        check(
            "posix/cpu",
            Launcher::Posix,
            Ok(&["filesystem/posix", "posix/cpu", "network/cni", "environment_secret"]),
        );
        let linux = [
            "filesystem/linux",
            "volume/host_path",
            "volume/image",
            "volume/sandbox_path",
            "network/cni",
            "environment_secret",
        ];
        check("filesystem/linux", Launcher::Posix, Ok(&linux));
        let both = "isolators 'filesystem/linux' and 'filesystem/posix' exclude each other";
        check("filesystem/linux,filesystem/posix", Launcher::Posix, Err(both));
        let cgroups =
            ["filesystem/posix", "cgroups/cpu", "cgroups/mem", "network/cni", "environment_secret"]
                .as_slice();
        check("cgroups/mem,cgroups/cpu", Launcher::Linux, Ok(cgroups));
        check("cgroups", Launcher::Linux, Ok(cgroups));
        let twice = "isolator 'posix/cpu' is given twice";
        check("posix/cpu,process", Launcher::Posix, Err(twice));
        let near = "there is no isolator 'cgroup/mem'; did you mean 'cgroups/mem'?";
        check("cgroup/mem", Launcher::Linux, Err(near));
        let launcher =
            "isolator 'cgroups/cpu' needs --launcher=linux, root, and cgroups at /no/cgroups";
        check("cgroups", Launcher::Posix, Err(launcher));
        let options = cgroups::Options { hierarchy: "/no/cgroups".into(), ..Default::default() };
        let chosen = Selection::new("process", None, options).map(|s| s.launcher());
        assert_eq!(chosen, Ok(Launcher::Posix));
    }
}
