//! Flags about images: from text to settings.

use crate::flags::Flags;
use agent::images::{Credentials, GcConfig, ProvisionerOptions};
use std::path::{Path, PathBuf};

/// Credentials for registries.
pub(crate) fn credentials(flags: &Flags) -> Result<Credentials, String> {
    let Some(value) = flags.text("docker_config") else { return Ok(Credentials::default()) };
    let text = json(value, "docker_config")?;
    Credentials::parse(text.as_bytes()).map_err(|e| format!("--docker_config {e}"))
}

/// Settings of images; None if containers have none.
pub(crate) fn settings(
    flags: &Flags,
    work_dir: &Path,
) -> Result<Option<ProvisionerOptions>, String> {
    let Some(providers) = flags.text("image_providers") else { return Ok(None) };
    for provider in providers.split(',').map(str::trim) {
        match provider.to_ascii_uppercase().as_str() {
            "DOCKER" => {}
            "APPC" => {
                return Err("--image_providers: APPC is not supported: use DOCKER".to_owned());
            }
            _ => return Err(format!("--image_providers: expected DOCKER, got '{provider}'")),
        }
    }
    let credentials = credentials(flags)?;
    let gc = match flags.text("image_gc_config") {
        None => None,
        Some(value) => {
            let text = json(value, "image_gc_config")?;
            Some(GcConfig::parse(&text).map_err(|e| format!("--image_gc_config {e}"))?)
        }
    };
    let store = PathBuf::from(flags.text("docker_store_dir").unwrap_or_default());
    if !store.is_absolute() {
        return Err("--docker_store_dir: expected an absolute path".to_owned());
    }
    Ok(Some(ProvisionerOptions {
        work_dir: work_dir.to_owned(),
        docker_store_dir: store,
        docker_registry: flags.text("docker_registry").unwrap_or_default().to_owned(),
        hadoop_home: flags.text("hadoop_home").filter(|t| !t.is_empty()).map(str::to_owned),
        docker_config: credentials,
        docker_ignore_runtime: flags.is_set("docker_ignore_runtime"),
        stall_timeout: flags.duration("fetcher_stall_timeout")?,
        backend: flags.text("image_provisioner_backend").map(str::to_owned),
        gc,
    }))
}

/// JSON, or what is in the file whose path is given.
fn json(value: &str, flag: &str) -> Result<String, String> {
    if value.starts_with('/') {
        return std::fs::read_to_string(value)
            .map_err(|e| format!("--{flag}: cannot read {value}: {e}"));
    }
    Ok(value.to_owned())
}
