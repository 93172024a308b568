//! Images in a local directory: `<directory>/<name>.tar` as `docker save` writes them, in its layout of today
//! (`manifest.json`), in the OCI layout (`index.json`), or in that of long ago (`repositories`).
//!
//! The archive is read in place: a first pass notes where each file in it begins.

use super::compression;
use super::digest::{Digest, HashingReader};
use super::manifest::{ImageConfig, MANIFEST_MAX, Manifest};
use super::reference::Reference;
use super::store::{Store, StoredImage, read_config};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Most files in an archive of an image.
const FILES_MAX: usize = 100_000;
/// Links in an archive that lead to others.
const LINKS_MAX: usize = 10;

/// Puts an image of a directory into the store. Blocks.
pub(crate) fn pull(
    directory: &Path,
    reference: &Reference,
    store: &Store,
    stop: &AtomicBool,
) -> Result<Arc<StoredImage>, String> {
    let path = find(directory, reference)?;
    let fault = |e: &str| format!("the archive {}: {e}", path.display());
    let archive = Archive::open(&path).map_err(|e| fault(&e))?;
    let content = archive.content(reference).map_err(|e| fault(&e))?;
    let config = ImageConfig::parse(&content.config)
        .map_err(|e| fault(&format!("the config of the image {e}")))?;
    if config.diff_ids.len() != content.layers.len() {
        return Err(fault("it has not as many layers as the config of the image"));
    }
    for (diff_id, layer) in config.diff_ids.iter().zip(&content.layers) {
        if !store.has_layer(diff_id) {
            let reader = archive.file(layer).map_err(|e| fault(&e))?;
            store.add_layer(diff_id, reader, stop).map_err(|e| fault(&e))?;
        }
    }
    let config_digest = Digest::of(&content.config);
    store.add_config(&config_digest, &content.config)?;
    let layers = super::stacked(&config.diff_ids);
    store.add_image(StoredImage { reference: reference.to_string(), config_digest, config, layers })
}

fn find(directory: &Path, reference: &Reference) -> Result<PathBuf, String> {
    let named = directory.join(format!("{reference}.tar"));
    let latest = directory.join(format!("{reference}:latest.tar"));
    let has_version = reference.tag.is_some() || reference.digest.is_some();
    let mut candidates =
        if has_version { vec![named.clone()] } else { vec![named.clone(), latest] };
    candidates.retain(|path| path.is_file());
    candidates.into_iter().next().ok_or_else(|| {
        format!(
            "there is no archive {}; --docker_registry is the directory {}",
            named.display(),
            directory.display()
        )
    })
}

/// What an archive has of one image.
struct Content {
    config: Vec<u8>,
    /// Names in the archive, the lowest layer first.
    layers: Vec<String>,
}

enum Member {
    File { start: u64, size: u64 },
    Link { target: String },
}

struct Archive {
    path: PathBuf,
    members: BTreeMap<String, Member>,
}

impl Archive {
    fn open(path: &Path) -> Result<Self, String> {
        let text = |e: io::Error| e.to_string();
        let file = BufReader::new(File::open(path).map_err(text)?);
        let mut archive = tar::Archive::new(file);
        let mut members = BTreeMap::new();
        for entry in archive.entries_with_seek().map_err(text)? {
            let entry = entry.map_err(text)?;
            let name = plain(&String::from_utf8_lossy(&entry.path_bytes()));
            let kind = entry.header().entry_type();
            if kind.is_file() {
                members.insert(
                    name,
                    Member::File { start: entry.raw_file_position(), size: entry.size() },
                );
            } else if kind.is_symlink() || kind.is_hard_link() {
                let link = entry.link_name_bytes().unwrap_or_default();
                let link = String::from_utf8_lossy(&link).into_owned();
                let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
                let target = if kind.is_symlink() { format!("{parent}/{link}") } else { link };
                members.insert(name, Member::Link { target: plain(&target) });
            }
            if members.len() > FILES_MAX {
                return Err(format!("there are more than {FILES_MAX} files in it"));
            }
        }
        Ok(Self { path: path.to_owned(), members })
    }

    fn file(&self, name: &str) -> Result<io::Take<File>, String> {
        let mut name = plain(name);
        for _ in 0..LINKS_MAX {
            match self.members.get(&name) {
                Some(Member::File { start, size }) => {
                    let mut file = File::open(&self.path).map_err(|e| e.to_string())?;
                    file.seek(SeekFrom::Start(*start)).map_err(|e| e.to_string())?;
                    return Ok(file.take(*size));
                }
                Some(Member::Link { target }) => name.clone_from(target),
                None => return Err(format!("there is no {name} in it")),
            }
        }
        Err(format!("{name} in it leads nowhere"))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        read_config(self.file(name)?).map_err(|e| format!("{name}: {e}"))
    }

    fn json(&self, name: &str) -> Result<Value, String> {
        serde_json::from_slice(&self.bytes(name)?).map_err(|e| format!("{name}: {e}"))
    }

    fn content(&self, reference: &Reference) -> Result<Content, String> {
        if self.members.contains_key("manifest.json") {
            self.saved(reference)
        } else if self.members.contains_key("index.json") {
            self.oci(reference)
        } else if self.members.contains_key("repositories") {
            self.old(reference)
        } else {
            Err("it has neither manifest.json nor index.json nor repositories: is it of `docker save`?".to_owned())
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
        let all: Vec<Saved> = serde_json::from_slice(&self.bytes("manifest.json")?)
            .map_err(|e| format!("manifest.json: {e}"))?;
        let names = names(reference);
        let is_named =
            |saved: &Saved| saved.repo_tags.iter().flatten().any(|tag| names.contains(tag));
        let found = one(all, is_named).ok_or_else(|| format!("there is no {reference} in it"))?;
        Ok(Content { config: self.bytes(&found.config)?, layers: found.layers })
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
            named("org.opencontainers.image.ref.name") || named("io.containerd.image.name")
        };
        let found = one(all, is_named).ok_or_else(|| format!("there is no {reference} in it"))?;
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

    fn blob(&self, digest: &Digest) -> Result<Vec<u8>, String> {
        let bytes = self.bytes(&blob_name(digest))?;
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
        let archive =
            compression::decompress(self.file(layer)?).map_err(|e| format!("{layer}: {e}"))?;
        let mut hashing = HashingReader::new(archive, Digest::of(b"").hasher());
        io::copy(&mut hashing, &mut io::sink()).map_err(|e| format!("{layer}: {e}"))?;
        Ok(hashing.finish())
    }
}

/// As images may be called in an archive.
fn names(reference: &Reference) -> Vec<String> {
    let tag = reference.tag.as_deref().unwrap_or("latest");
    let mut names = vec![format!("{}:{tag}", reference.repository)];
    let registry = reference.registry.as_deref().unwrap_or("docker.io");
    names.push(format!("{registry}/{}:{tag}", reference.repository));
    names.push(format!("{registry}/library/{}:{tag}", reference.repository));
    names
}

/// The one that is named, or the only one.
fn one<T>(all: Vec<T>, is_named: impl Fn(&T) -> bool) -> Option<T> {
    let only = all.len() == 1;
    all.into_iter().find(|item| only || is_named(item))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}", digest.to_string().replacen(':', "/", 1))
}

/// A name without detours: these never leave the archive, they are keys only.
fn plain(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
