//! `--whitelist`: a file with the names of the hosts whose agents are offered.

use master_core::contract::Input;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

/// The file is read again after this time (spec/master.md 4.4).
const READ_EVERY: Duration = Duration::from_secs(5);

/// The file, and what it said last.
#[derive(Debug)]
pub(crate) struct Whitelist {
    path: PathBuf,
    hosts: BTreeSet<String>,
}

impl Whitelist {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// When it can't be read: nobody could say which agents may be offered.
    pub(crate) async fn open(path: PathBuf) -> io::Result<Self> {
        let hosts = read(&path).await?;
        Ok(Self { path, hosts })
    }

    pub(crate) fn input(&self) -> Input {
        Input::Whitelist { hosts: Some(self.hosts.clone()) }
    }

    /// Tells the core what the file says, whenever that changes. While it can't be read, what it said last holds.
    pub(crate) async fn follow(
        mut self,
        inputs: mpsc::Sender<Input>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut again = tokio::time::interval(READ_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_readable = true;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = again.tick() => {}
            }
            match read(&self.path).await {
                Ok(hosts) => {
                    is_readable = true;
                    if hosts == self.hosts {
                        continue;
                    }
                    tracing::info!(hosts = hosts.len(), "the whitelist has changed");
                    self.hosts = hosts;
                    if inputs.send(self.input()).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if std::mem::take(&mut is_readable) {
                        let path = self.path.display();
                        tracing::warn!(%path, %error, "the whitelist can't be read; what it said last holds");
                    }
                }
            }
        }
    }
}

/// Reads the file on a thread that may wait for it.
async fn read(path: &Path) -> io::Result<BTreeSet<String>> {
    let path = path.to_owned();
    let text = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    Ok(hosts(&text.map_err(io::Error::other)??))
}

/// One host a line.
fn hosts(text: &str) -> BTreeSet<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whitelist_has_one_host_a_line() {
        let all = hosts("a.example\n\n  b.example \r\na.example");
        assert_eq!(all, BTreeSet::from(["a.example".to_owned(), "b.example".to_owned()]));
        assert!(hosts("").is_empty());
    }
}
