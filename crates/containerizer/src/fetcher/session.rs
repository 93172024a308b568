//! One run of the program that fetches.

use super::cache::{Cache, Download, Found, Lease, State};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use wire::internal::{FetchItem, FetchRequest};

/// The program runs; dropped, it is killed with all that it started.
#[derive(Debug)]
pub(super) struct Session {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    cache: Option<Arc<Cache>>,
    user: Option<String>,
    items: Vec<FetchItem>,
    /// What is being downloaded into the cache.
    download: Option<Download>,
    /// What is being taken out of it.
    lease: Option<Lease>,
}

impl Session {
    /// Starts the program; what it says of its work goes to `log`.
    pub(super) fn start(
        program: &Path,
        environment: &BTreeMap<String, String>,
        log: File,
        cache: Option<Arc<Cache>>,
        user: Option<String>,
    ) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg0("mesos-fetcher").env_clear().envs(environment).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let spawned = command.process_group(0).kill_on_drop(true).spawn();
        let mut child = spawned.map_err(|e| format!("Failed to execute mesos-fetcher: {e}"))?;
        let input = child.stdin.take().ok_or("mesos-fetcher has no standard input")?;
        let output = child.stdout.take().ok_or("mesos-fetcher has no standard output")?;
        let output = BufReader::new(output).lines();
        Ok(Self {
            child,
            input,
            output,
            cache,
            user,
            items: Vec::new(),
            download: None,
            lease: None,
        })
    }

    /// Has it fetch everything; how it ended.
    pub(super) async fn fetch(&mut self, request: FetchRequest) -> Result<ExitStatus, String> {
        let bytes = wire::protobuf::to_vec(&request);
        self.items = request.items;
        let length = u32::try_from(bytes.len()).map_err(|_| "there are too many URIs")?;
        // One that ended at once does not listen; its status says why.
        let _ = self.input.write_all(&length.to_le_bytes()).await;
        let _ = self.input.write_all(&bytes).await;
        while let Ok(Some(line)) = self.output.next_line().await {
            if let Some(answer) = self.hear(&line).await {
                let _ = self.input.write_all(format!("{answer}\n").as_bytes()).await;
            }
        }
        let status = self
            .child
            .wait()
            .await
            .map_err(|e| format!("No status available from mesos-fetcher: {e}"))?;
        if let Some(download) = self.download.take() {
            download.fail();
        }
        Ok(status)
    }

    async fn hear(&mut self, line: &str) -> Option<String> {
        let mut words = line.split(' ');
        let (word, item) = (words.next()?, words.next()?.parse::<usize>().ok()?);
        match word {
            "ask" => Some(self.look_up(item).await),
            "size" => {
                let size = words.next()?.parse().ok()?;
                let download = self.download.take()?;
                match download.reserve(size) {
                    Ok(()) => {
                        let answer = format!("put {}", download.file());
                        self.download = Some(download);
                        Some(answer)
                    }
                    Err(why) => {
                        download.fail();
                        Some(format!("direct {why}"))
                    }
                }
            }
            "unknown" => {
                self.download.take()?.fail();
                None
            }
            "kept" => {
                self.lease = Some(self.download.take()?.complete());
                None
            }
            "placed" => {
                self.lease = None;
                None
            }
            _ => None,
        }
    }

    async fn look_up(&mut self, item: usize) -> String {
        let (Some(cache), Some(item)) = (self.cache.clone(), self.items.get(item)) else {
            return "direct there is no cache".to_owned();
        };
        loop {
            match cache.find(self.user.as_deref(), &item.uri, &item.name) {
                Found::Ready(lease) => {
                    let answer = format!("get {}", lease.file());
                    self.lease = Some(lease);
                    return answer;
                }
                Found::Missing(download) => {
                    self.download = Some(download);
                    return "measure".to_owned();
                }
                Found::Pending(mut state) => {
                    let ended =
                        state.wait_for(|state| *state != State::Pending).await.map(|state| *state);
                    if matches!(ended, Ok(State::Failed)) {
                        return format!("direct Could not download to fetcher cache: {}", item.uri);
                    }
                }
            }
        }
    }

    /// Ends it, and all that it started.
    pub(super) async fn kill(&mut self) {
        self.kill_group();
        let _ = self.child.wait().await;
    }

    fn kill_group(&self) {
        // It has an id until it was waited for, so that the group is its own.
        if let Some(group) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // SAFETY: a plain system call.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.kill_group();
    }
}
