//! What a container may take of a disk: its sandbox, and each of its persistent volumes.

use crate::{ContainerSpec, MountedVolume};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use wire::v1;
use wire::v1::resource::disk_info::source::Type as Source;

/// Name of a file in a container's runtime directory.
const FILE: &str = "disk";
/// Bytes in the unit of the resource `disk`.
const MEGABYTE: f64 = 1_048_576.0;

/// What limits are made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    directory: PathBuf,
    /// Where volumes are, and where in the sandbox they are shown.
    volumes: Vec<(PathBuf, String)>,
    resources: Vec<v1::Resource>,
}

impl Asked {
    pub(super) fn of(spec: &ContainerSpec) -> Self {
        let volume = |v: &MountedVolume| (PathBuf::from(&v.path), v.container_path.clone());
        Self {
            directory: PathBuf::from(&spec.directory),
            volumes: spec.volumes.iter().map(volume).collect(),
            resources: spec.resources.clone(),
        }
    }

    /// Keeps it in a container's runtime directory.
    pub(super) fn store(&self, directory: &Path) -> Result<(), String> {
        let path = directory.join(FILE);
        std::fs::write(&path, self.to_json().to_string())
            .map_err(|e| format!("cannot write {}: {e}", path.display()))
    }

    /// What a former run of the agent kept there, if it did.
    pub(super) fn load(directory: &Path) -> Option<Self> {
        let kept = std::fs::read(directory.join(FILE)).ok()?;
        Self::from_json(&serde_json::from_slice(&kept).ok()?)
    }

    pub(super) fn with(self, resources: &[v1::Resource]) -> Self {
        Self { resources: resources.to_vec(), ..self }
    }

    fn to_json(&self) -> Value {
        let text = |path: &PathBuf| path.display().to_string();
        let resource = |r: &v1::Resource| serde_json::from_slice::<Value>(&wire::json::to_vec(r));
        json!({
            "directory": text(&self.directory),
            "volumes": self.volumes.iter().map(|(path, shown)| json!([text(path), shown])).collect::<Value>(),
            "resources": self.resources.iter().filter_map(|r| resource(r).ok()).collect::<Value>(),
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let volume = |v: &Value| Some((PathBuf::from(text(&v[0])?), text(&v[1])?));
        let resources = value["resources"].as_array()?.iter();
        Some(Self {
            directory: PathBuf::from(text(&value["directory"])?),
            volumes: value["volumes"].as_array()?.iter().map(volume).collect::<Option<_>>()?,
            resources: resources.map(|r| wire::json::from_value(r).ok()).collect::<Option<_>>()?,
        })
    }
}

/// A directory with a limit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quota {
    pub(super) path: PathBuf,
    /// What lies in it, and has a limit of its own or none.
    pub(super) except: Vec<PathBuf>,
    /// The resources that it consists of.
    pub(super) resources: Vec<v1::Resource>,
    /// Not so if the file system itself is the limit.
    pub(super) is_enforced: bool,
    /// What it took when it was last looked at.
    pub(super) used: Option<u64>,
}

impl Quota {
    /// Bytes.
    pub(super) fn limit(&self) -> u64 {
        let megabytes: f64 = self.resources.iter().filter_map(|r| r.scalar.map(|s| s.value)).sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let bytes = (megabytes * MEGABYTE) as u64;
        bytes
    }

    /// Adds to the statistics of a container how much of it is used.
    pub(super) fn tell(&self, used_bytes: Option<u64>, out: &mut v1::ResourceStatistics) {
        let limit_bytes = Some(self.limit());
        if let Some(volume) = self.volume() {
            out.disk_statistics.push(v1::DiskStatistics {
                source: volume.source.clone(),
                persistence: volume.persistence.clone(),
                limit_bytes,
                used_bytes,
            });
        } else {
            out.disk_limit_bytes = limit_bytes;
            out.disk_used_bytes = used_bytes;
        }
    }

    /// The volume, if it is one.
    pub(super) fn volume(&self) -> Option<&v1::resource::DiskInfo> {
        self.resources.iter().find_map(|r| r.disk.as_deref()).filter(|d| d.persistence.is_some())
    }
}

/// Limits of a container. A sandbox without a `disk` resource has none.
pub(super) fn quotas(asked: &Asked) -> Vec<Quota> {
    let sandbox = &asked.directory;
    let mut quotas: Vec<Quota> = Vec::new();
    let mut except: Vec<PathBuf> =
        asked.volumes.iter().map(|(_, shown)| sandbox.join(shown)).collect();
    // Sandboxes of containers inside have limits of their own.
    except.push(sandbox.join("containers"));
    for resource in asked.resources.iter().filter(|r| r.name == "disk" && r.scalar.is_some()) {
        let disk = resource.disk.as_ref();
        let is_mount = disk
            .and_then(|d| d.source.as_ref())
            .is_some_and(|source| source.r#type() == Source::Mount);
        let (path, except) = if disk.is_some_and(|d| d.persistence.is_some()) {
            let shown = disk.and_then(|d| d.volume.as_ref()).map(|v| v.container_path.as_str());
            let volume = asked.volumes.iter().find(|(_, at)| Some(at.as_str()) == shown);
            let Some((path, _)) = volume else { continue };
            (path.clone(), Vec::new())
        } else {
            (sandbox.clone(), except.clone())
        };
        match quotas.iter_mut().find(|q| q.path == path) {
            Some(quota) => quota.resources.push(resource.clone()),
            None => quotas.push(Quota {
                path,
                except,
                resources: vec![resource.clone()],
                is_enforced: !is_mount,
                used: None,
            }),
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(text: Value) -> v1::Resource {
        wire::json::from_value(&text).expect("a resource")
    }

    #[test]
    fn the_sandbox_and_each_volume_have_their_own() {
        let disk = |size: f64| json!({"name": "disk", "type": "SCALAR", "scalar": {"value": size}});
        let mut volume = disk(7.0);
        volume["disk"] = json!({"persistence": {"id": "p"},
            "volume": {"container_path": "data", "mode": "RW"}, "source": {"type": "MOUNT"}});
        let asked = Asked {
            directory: "/s".into(),
            volumes: vec![("/v/p".into(), "data".into())],
            resources: vec![resource(disk(1.0)), resource(volume), resource(disk(2.5))],
        };
        let made = quotas(&asked);
        let seen: Vec<_> = made
            .iter()
            .map(|q| (q.path.to_str(), q.limit(), q.is_enforced, q.volume().is_some()))
            .collect();
        assert_eq!(
            seen,
            [(Some("/s"), 7 << 19, true, false), (Some("/v/p"), 7 << 20, false, true)]
        );
        assert_eq!(made[0].except, [PathBuf::from("/s/data"), PathBuf::from("/s/containers")]);
        assert_eq!(Asked::from_json(&asked.to_json()), Some(asked.clone()));
        assert_eq!(quotas(&asked.with(&[])), []);
    }
}
