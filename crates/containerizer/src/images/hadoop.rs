//! Archives of images in HDFS, gotten by the Hadoop client where it is installed (spec/agent.md 6.6).

use super::reference::Reference;
use crate::fetcher::hadoop_client;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Most that is shown of what the client says.
const SHOWN_MAX: usize = 500;

/// A directory of archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hadoop {
    uri: String,
    home: Option<String>,
}

impl Hadoop {
    pub(crate) fn new(uri: &str, home: Option<&str>) -> Self {
        Self { uri: uri.trim_end_matches('/').to_owned(), home: home.map(str::to_owned) }
    }

    /// Gets the archive of an image into a directory. Who gives up waiting ends the client.
    ///
    /// # Errors
    /// With what the client says.
    pub(crate) async fn fetch(
        &self,
        reference: &Reference,
        directory: &Path,
    ) -> Result<PathBuf, String> {
        let named = format!("{}/{reference}.tar", self.uri);
        let has_version = reference.tag.is_some() || reference.digest.is_some();
        let path = directory.join("image.tar");
        match self.copy(&named, &path).await {
            Ok(()) => Ok(path),
            Err(text) if has_version => Err(text),
            Err(text) => {
                let latest = format!("{}/{reference}:latest.tar", self.uri);
                self.copy(&latest, &path).await.map(|()| path).map_err(|_| text)
            }
        }
    }

    async fn copy(&self, uri: &str, path: &Path) -> Result<(), String> {
        let program = hadoop_client(self.home.as_deref());
        let mut command = Command::new(&program);
        command.args(["fs", "-copyToLocal", uri]).arg(path);
        command.stdin(Stdio::null()).kill_on_drop(true);
        if let Some(home) = &self.home {
            command.env("HADOOP_HOME", home);
        }
        let ended = command.output().await.map_err(|e| {
            format!(
                "the Hadoop client '{program}' can't be executed: {e}; it is looked for below --hadoop_home, else below \
                 HADOOP_HOME, else in PATH"
            )
        })?;
        if ended.status.success() {
            return Ok(());
        }
        let said: String = String::from_utf8_lossy(&ended.stderr).chars().take(SHOWN_MAX).collect();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        Err(format!("the Hadoop client does not get {uri}: {}: {said}", ended.status))
    }
}
