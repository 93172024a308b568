//! Manifests: what an image consists of (Docker's image manifest v2 schema 2, OCI image manifest 1.1, and their lists).

use super::digest::Digest;
use serde::Deserialize;
use serde_json::Value;

/// Largest manifest; registries take none larger.
pub(crate) const MANIFEST_MAX: usize = 4 << 20;
/// Largest description of an image.
pub(crate) const CONFIG_MAX: usize = 8 << 20;
/// Most layers, as many as the kernel can be told of in the one page that options of a mount may have.
pub(crate) const LAYERS_MAX: usize = 200;

/// What a registry is asked for.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// Something in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Their number, if it is told.
    pub size: Option<u64>,
}

/// A manifest, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// Of one image.
    Image {
        /// Its description.
        config: Descriptor,
        /// Its layers, the lowest first.
        layers: Vec<Descriptor>,
    },
    /// For each architecture another manifest; this is the one of this host.
    Elsewhere(Descriptor),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u32>,
    media_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    fs_layers: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: String,
    size: Option<u64>,
    platform: Option<Platform>,
}

#[derive(Deserialize, Default)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: String,
}

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// With a text that completes "the manifest of the image".
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let raw: Raw =
            serde_json::from_slice(bytes).map_err(|e| format!("is not understood: {e}"))?;
        if raw.fs_layers.is_some() || raw.schema_version == Some(1) {
            return Err("is of schema 1, which registries gave up: push the image again".to_owned());
        }
        if raw.schema_version != Some(2) {
            return Err("has no schemaVersion 2".to_owned());
        }
        match raw {
            Raw { manifests: Some(all), config: None, layers: None, .. } => choose(all),
            Raw { config: Some(config), layers: Some(layers), manifests: None, .. } => {
                if layers.len() > LAYERS_MAX {
                    return Err(format!("has more than {LAYERS_MAX} layers"));
                }
                let layers = layers.into_iter().map(RawDescriptor::parse);
                let config = config.of_image()?.parse()?;
                Ok(Self::Image { config, layers: layers.collect::<Result<_, _>>()? })
            }
            Raw { media_type, .. } => Err(format!(
                "is neither of an image nor a list of such (its mediaType is '{}')",
                media_type.unwrap_or_default()
            )),
        }
    }
}

impl RawDescriptor {
    fn parse(self) -> Result<Descriptor, String> {
        Ok(Descriptor { digest: Digest::parse(&self.digest)?, size: self.size })
    }

    /// Things that are no images have manifests, too.
    fn of_image(self) -> Result<Self, String> {
        const CONFIGS: [&str; 3] = [
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.oci.image.config.v1+json",
            "application/octet-stream",
        ];
        match &self.media_type {
            Some(kind) if !CONFIGS.contains(&kind.as_str()) => {
                Err(format!("is not of a container's image but of '{kind}'"))
            }
            _ => Ok(self),
        }
    }
}

/// The manifest for this host: of several variants the plainest, which every machine of the architecture runs.
fn choose(all: Vec<RawDescriptor>) -> Result<Manifest, String> {
    let wanted = architecture();
    let mut offered: Vec<String> = Vec::new();
    let mut best: Option<(usize, RawDescriptor)> = None;
    for descriptor in all {
        let none = Platform::default();
        let platform = descriptor.platform.as_ref().unwrap_or(&none);
        offered.push(format!("{}/{}", platform.os, platform.architecture));
        let fits = platform.architecture == wanted && platform.os == "linux";
        let rank = usual_variants().iter().position(|v| *v == platform.variant);
        if let Some(rank) = rank.filter(|rank| fits && best.as_ref().is_none_or(|(r, _)| rank < r))
        {
            best = Some((rank, descriptor));
        }
    }
    offered.truncate(20);
    let (_, found) = best.ok_or_else(|| {
        format!("is for {}, not for this host's linux/{wanted}", offered.join(", "))
    })?;
    Ok(Manifest::Elsewhere(found.parse()?))
}

/// This host's architecture, as images call it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn usual_variants() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "x86_64" => &["", "v1"],
        "aarch64" => &["v8", ""],
        "arm" => &["v7", "v6", "v5", ""],
        _ => &[""],
    }
}

/// How an image wants to be run, and what its layers are when unpacked. Fields are as in Docker's and OCI's image
/// specification, where anything may be missing or null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `NAME=value`.
    pub env: Vec<String>,
    /// What runs.
    pub entrypoint: Vec<String>,
    /// Its arguments by default; without an entrypoint the command itself.
    pub cmd: Vec<String>,
    /// Working directory; None if it is empty.
    pub working_dir: Option<String>,
    /// `user|uid[:group|gid]`; None if it is empty.
    pub user: Option<String>,
    /// The architecture that it says it is for; not all say the truth.
    pub architecture: Option<String>,
    /// Labels, sorted by name.
    pub labels: Vec<(String, String)>,
    /// Digests of the layers when unpacked, the lowest first.
    pub diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct RawConfig {
    architecture: Option<String>,
    os: Option<String>,
    config: Option<RawRun>,
    rootfs: Option<RawRootfs>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct RawRun {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    labels: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawRootfs {
    diff_ids: Option<Vec<String>>,
}

impl ImageConfig {
    /// Parses the description of an image.
    ///
    /// # Errors
    /// With a text that completes "the config of the image".
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let raw: RawConfig =
            serde_json::from_slice(bytes).map_err(|e| format!("is not understood: {e}"))?;
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(os) = set(raw.os).filter(|os| os != "linux") {
            return Err(format!("is for the operating system {os}"));
        }
        let run = raw.config.unwrap_or_default();
        let diff_ids = raw.rootfs.and_then(|r| r.diff_ids).unwrap_or_default();
        if diff_ids.len() > LAYERS_MAX {
            return Err(format!("has more than {LAYERS_MAX} layers"));
        }
        let diff_ids = diff_ids.iter().map(|d| Digest::parse(d)).collect::<Result<_, _>>()?;
        Ok(Self {
            env: run.env.unwrap_or_default(),
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            working_dir: set(run.working_dir),
            user: set(run.user),
            architecture: set(raw.architecture),
            labels: run.labels.unwrap_or_default().into_iter().collect(),
            diff_ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(n: u8) -> String {
        Digest::of(&[n]).to_string()
    }

    fn parse(value: &Value) -> Result<Manifest, String> {
        Manifest::parse(value.to_string().as_bytes())
    }

    #[test]
    fn of_a_list_the_manifest_of_this_host_is_taken() {
        let entry = |n: u8, os: &str, architecture: &str, variant: &str| {
            json!({"digest": digest(n), "size": 7,
            "platform": {"os": os, "architecture": architecture, "variant": variant}})
        };
        let ours = architecture();
        let list = json!({"schemaVersion": 2, "manifests": [entry(1, "windows", ours, ""), entry(2, "linux", "vax", ""),
            entry(3, "linux", ours, "v9000"), entry(4, "linux", ours, ""), {"digest": digest(5), "size": 1}]});
        let Ok(Manifest::Elsewhere(found)) = parse(&list) else { panic!("{:?}", parse(&list)) };
        assert_eq!(found, Descriptor { digest: Digest::of(&[4]), size: Some(7) });
        let error =
            parse(&json!({"schemaVersion": 2, "manifests": [entry(2, "linux", "vax", "")]}));
        assert_eq!(error, Err(format!("is for linux/vax, not for this host's linux/{ours}")));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let check = |value: Value, text: &str| {
            let error = parse(&value).expect_err("refused");
            assert!(error.contains(text), "{error}");
        };
        check(json!([]), "is not understood");
        check(json!({"schemaVersion": 2}), "neither of an image");
        check(json!({"schemaVersion": 1, "fsLayers": []}), "schema 1");
        check(
            json!({"schemaVersion": 3, "config": {"digest": digest(1)}, "layers": []}),
            "schemaVersion 2",
        );
        check(
            json!({"schemaVersion": 2, "config": {"digest": "sha256:../../x"}, "layers": []}),
            "digest",
        );
        let config =
            json!({"digest": digest(1), "mediaType": "application/vnd.cncf.helm.config.v1+json"});
        check(json!({"schemaVersion": 2, "config": config, "layers": []}), "helm");
        let layer = json!({"digest": digest(1)});
        let many = vec![layer.clone(); LAYERS_MAX + 1];
        check(json!({"schemaVersion": 2, "config": layer, "layers": many}), "more than 200 layers");
    }

    #[test]
    fn a_config_may_lack_anything() {
        assert_eq!(ImageConfig::parse(b"{}"), Ok(ImageConfig::default()));
        let null = br#"{"config": {"Env": null, "Cmd": null, "WorkingDir": "", "User": ""}, "rootfs": {"diff_ids": null}}"#;
        assert_eq!(ImageConfig::parse(null), Ok(ImageConfig::default()));
        let config = json!({"os": "windows"}).to_string();
        assert!(ImageConfig::parse(config.as_bytes()).expect_err("another").contains("windows"));
    }
}
