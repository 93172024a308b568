//! Flags about images, as they are given.

use super::credentials::Credentials;
use super::gc::GcConfig;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a provisioner.
#[derive(Debug, Clone)]
pub struct ProvisionerOptions {
    /// `--work_dir`: root file systems are in `provisioner` below it.
    pub work_dir: PathBuf,
    /// `--docker_store_dir`.
    pub docker_store_dir: PathBuf,
    /// `--docker_registry`.
    pub docker_registry: String,
    /// `--hadoop_home`.
    pub hadoop_home: Option<String>,
    /// `--docker_config`, read.
    pub docker_config: Credentials,
    /// `--docker_ignore_runtime`: what an image says of environment, command and working directory is left out.
    pub docker_ignore_runtime: bool,
    /// For how long nothing may come from a registry: `--fetcher_stall_timeout`.
    pub stall_timeout: Duration,
    /// `--image_provisioner_backend`.
    pub backend: Option<String>,
    /// `--image_gc_config`, parsed.
    pub gc: Option<GcConfig>,
}
