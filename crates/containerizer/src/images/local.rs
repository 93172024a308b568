//! Images in a local directory: archives `<name>.tar` and directories `<name>`, in the layout of `docker save` of today
//! (`manifest.json`), in that of the OCI (`index.json`), or in that of long ago (`repositories`).

use super::archive::Archive;
use super::compression;
use super::digest::{Digest, HashingReader};
use super::manifest::{ImageConfig, MANIFEST_MAX, Manifest};
use super::reference::Reference;
use super::store::{Store, StoredImage};
use serde::Deserialize;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Puts an image of a directory into the store. Blocks.
pub(crate) fn pull(
    directory: &Path,
    reference: &Reference,
    store: &Store,
    stop: &AtomicBool,
) -> Result<Arc<StoredImage>, String> {
    let (path, only_if_named) = find(directory, reference)?;
    take(&path, only_if_named, reference, store, stop)
}

/// Puts an image that is in an archive or directory into the store. Blocks.
pub(super) fn take(
    path: &Path,
    only_if_named: bool,
    reference: &Reference,
    store: &Store,
    stop: &AtomicBool,
) -> Result<Arc<StoredImage>, String> {
    let fault = |e: &str| format!("the image in {}: {e}", path.display());
    let archive = Archive::open(path).map_err(|e| fault(&e))?;
    let layout = Layout { archive, only_if_named };
    let content = layout.content(reference).map_err(|e| fault(&e))?;
    let config = ImageConfig::parse(&content.config)
        .map_err(|e| fault(&format!("the config of the image {e}")))?;
    if config.diff_ids.len() != content.layers.len() {
        return Err(fault("it has not as many layers as the config of the image"));
    }
    for (diff_id, layer) in config.diff_ids.iter().zip(&content.layers) {
        if !store.has_layer(diff_id) {
            let reader = layout.archive.file(layer).map_err(|e| fault(&e))?;
            store.add_layer(diff_id, reader, stop).map_err(|e| fault(&e))?;
        }
    }
    let config_digest = Digest::of(&content.config);
    store.add_config(&config_digest, &content.config)?;
    let layers = super::stacked(&config.diff_ids);
    store.add_image(StoredImage { reference: reference.to_string(), config_digest, config, layers })
}

/// Where an image is, and whether it must be named there: what has the image's tag in its own name has no other image.
fn find(directory: &Path, reference: &Reference) -> Result<(PathBuf, bool), String> {
    let archive = |name: &str| Some(directory.join(format!("{name}.tar"))).filter(|p| p.is_file());
    let unpacked = |name: &str| {
        let path = directory.join(name);
        // Names of images begin with those of others: a directory on the way is none.
        LAYOUTS.iter().any(|layout| path.join(layout).is_file()).then_some(path)
    };
    let name = reference.to_string();
    let bare = Reference { tag: None, digest: None, ..reference.clone() }.to_string();
    let found = archive(&name).or_else(|| unpacked(&name)).map(|path| (path, false));
    let found = found.or_else(|| match bare == name {
        true => {
            let latest = format!("{name}:latest");
            archive(&latest).or_else(|| unpacked(&latest)).map(|path| (path, false))
        }
        false => unpacked(&bare).map(|path| (path, true)),
    });
    found.ok_or_else(|| {
        format!(
            "there is no archive {}, and no directory with the image; --docker_registry is the directory {}",
            directory.join(format!("{name}.tar")).display(),
            directory.display()
        )
    })
}

/// What has images, by which its layout is known: the first of them counts.
const LAYOUTS: [&str; 3] = ["manifest.json", "index.json", "repositories"];

/// What an archive has of one image.
struct Content {
    config: Vec<u8>,
    /// Names in the archive, the lowest layer first.
    layers: Vec<String>,
}

/// An archive or a directory with images.
struct Layout {
    archive: Archive,
    /// A single image that is not named is not taken for the one that is looked for.
    only_if_named: bool,
}

impl Layout {
    fn json(&self, name: &str) -> Result<Value, String> {
        serde_json::from_slice(&self.archive.bytes(name)?).map_err(|e| format!("{name}: {e}"))
    }

    fn content(&self, reference: &Reference) -> Result<Content, String> {
        match LAYOUTS.into_iter().find(|name| self.archive.has(name)) {
            Some("manifest.json") => self.saved(reference),
            Some("index.json") => self.oci(reference),
            Some(_) => self.old(reference),
            None => {
                Err(format!("it has neither {}: is it of `docker save`?", LAYOUTS.join(" nor ")))
            }
        }
    }

    fn saved(&self, reference: &Reference) -> Result<Content, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Saved {
            config: String,
            repo_tags: Option<Vec<String>>,
            layers: Vec<String>,
        }
        let all: Vec<Saved> = serde_json::from_slice(&self.archive.bytes("manifest.json")?)
            .map_err(|e| format!("manifest.json: {e}"))?;
        let names = names(reference);
        let is_named =
            |saved: &Saved| saved.repo_tags.iter().flatten().any(|tag| names.contains(tag));
        let found =
            self.one(all, is_named).ok_or_else(|| format!("there is no {reference} in it"))?;
        Ok(Content { config: self.archive.bytes(&found.config)?, layers: found.layers })
    }

    fn oci(&self, reference: &Reference) -> Result<Content, String> {
        let index = self.json("index.json")?;
        let all = index["manifests"].as_array().cloned().unwrap_or_default();
        let names = names(reference);
        let is_named = |manifest: &Value| {
            let named = |key: &str| {
                let name = manifest["annotations"][key].as_str().unwrap_or_default();
                names.iter().any(|n| n == name) || reference.version() == name
            };
            if let Some(digest) = &reference.digest {
                return manifest["digest"].as_str() == Some(&digest.to_string());
            }
            named("org.opencontainers.image.ref.name") || named("io.containerd.image.name")
        };
        let found =
            self.one(all, is_named).ok_or_else(|| format!("there is no {reference} in it"))?;
        let mut digest = Digest::parse(found["digest"].as_str().unwrap_or_default())?;
        for _ in 0..2 {
            let bytes = self.blob(&digest)?;
            if bytes.len() > MANIFEST_MAX {
                return Err("the manifest in it is too long".to_owned());
            }
            match Manifest::parse(&bytes).map_err(|e| format!("the manifest in it {e}"))? {
                Manifest::Image { config, layers } => {
                    let layers = layers.iter().map(|layer| blob_name(&layer.digest)).collect();
                    return Ok(Content { config: self.blob(&config.digest)?, layers });
                }
                Manifest::Elsewhere(next) => digest = next.digest,
            }
        }
        Err("the manifest in it is a list of lists".to_owned())
    }

    /// The one that is named, or the only one if that will do.
    fn one<T>(&self, all: Vec<T>, is_named: impl Fn(&T) -> bool) -> Option<T> {
        let only = all.len() == 1 && !self.only_if_named;
        all.into_iter().find(|item| only || is_named(item))
    }

    fn blob(&self, digest: &Digest) -> Result<Vec<u8>, String> {
        let bytes = self.archive.bytes(&blob_name(digest))?;
        if digest.matches(&bytes) { Ok(bytes) } else { Err(format!("{digest} in it is corrupt")) }
    }

    /// Here layers have no digests: a config is made with those that they turn out to have.
    fn old(&self, reference: &Reference) -> Result<Content, String> {
        let repositories = self.json("repositories")?;
        let named = names(reference).into_iter().find_map(|name| {
            let (repository, tag) = name.rsplit_once(':')?;
            repositories.get(repository)?.get(tag)?.as_str().map(str::to_owned)
        });
        let top = named.ok_or_else(|| format!("there is no {reference} in it"))?;
        let mut config = self.json(&format!("{top}/json"))?;
        let (mut layers, mut next) = (Vec::new(), Some(top));
        while let Some(id) = next {
            if layers.len() > super::manifest::LAYERS_MAX {
                return Err("there are too many layers in it".to_owned());
            }
            layers.push(format!("{id}/layer.tar"));
            let parent = self.json(&format!("{id}/json"))?["parent"].as_str().map(str::to_owned);
            next = parent.filter(|parent| !parent.is_empty());
        }
        layers.reverse();
        let diff_ids = layers.iter().map(|layer| Ok(self.diff_id(layer)?.to_string()));
        let diff_ids = diff_ids.collect::<Result<Vec<_>, String>>()?;
        let fields = config.as_object_mut().ok_or("the image's json in it is no object")?;
        fields.insert(
            "rootfs".to_owned(),
            serde_json::json!({ "type": "layers", "diff_ids": diff_ids }),
        );
        Ok(Content { config: config.to_string().into_bytes(), layers })
    }

    fn diff_id(&self, layer: &str) -> Result<Digest, String> {
        let archive = compression::decompress(self.archive.file(layer)?)
            .map_err(|e| format!("{layer}: {e}"))?;
        let mut hashing = HashingReader::new(archive, Digest::of(b"").hasher());
        io::copy(&mut hashing, &mut io::sink()).map_err(|e| format!("{layer}: {e}"))?;
        Ok(hashing.finish())
    }
}

/// As images may be called in an archive; which of them has a digest, none of these names says.
fn names(reference: &Reference) -> Vec<String> {
    if reference.digest.is_some() {
        return Vec::new();
    }
    let tag = reference.tag.as_deref().unwrap_or("latest");
    let mut names = vec![format!("{}:{tag}", reference.repository)];
    let registry = reference.registry.as_deref().unwrap_or("docker.io");
    names.push(format!("{registry}/{}:{tag}", reference.repository));
    names.push(format!("{registry}/library/{}:{tag}", reference.repository));
    names
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}", digest.to_string().replacen(':', "/", 1))
}
