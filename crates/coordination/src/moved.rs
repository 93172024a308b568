//! The registry goes from one place to another: whoever leads first in the new place takes it along, and leaves a mark in
//! the old one, where nobody leads any more.

use crate::divided::Content;
use crate::{
    Backend, Change, Key, Meeting, Member, Registry, RegistryError, Standing, place, registry_id,
};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;
use wire::v1;

/// Section of the mark; its key is [`TO`], its value says where the registry is now.
const MOVED: &str = ".moved";
const TO: &str = "to";
/// Time for a former leader's session to end, and for a service to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a registry was moved to; None: it was not.
#[must_use]
pub fn moved_to(content: &[(Key, Vec<u8>)]) -> Option<String> {
    let mark = content.iter().find(|((section, key), _)| section == MOVED && key == TO);
    mark.map(|(_, to)| String::from_utf8_lossy(to).into_owned())
}

/// What turns a registry into another; None: there is one already, and it is not the same.
pub(crate) fn replacing(there: &Content, new: &Content) -> Option<Vec<Change>> {
    if there == new {
        return Some(Vec::new());
    }
    // What was moved away from here is a copy.
    let is_free = there.is_empty() || there.contains_key(&mark());
    is_free.then(|| {
        let old = there.keys().filter(|key| !new.contains_key(*key));
        let removed = old.map(|key| Change { key: key.clone(), value: None });
        let put = new.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
        removed.chain(put.map(|(key, value)| Change { key, value })).collect()
    })
}

fn mark() -> Key {
    (MOVED.to_owned(), TO.to_owned())
}

/// What comes before a master leads.
#[derive(Debug)]
pub(crate) struct Before {
    /// Where the registry was until now.
    pub(crate) from: Option<Meeting>,
    /// Where it is.
    pub(crate) to: String,
    /// Where this master remembers which one it is, if it does.
    pub(crate) directory: Option<PathBuf>,
    /// This master.
    pub(crate) me: v1::MasterInfo,
}

impl Before {
    /// Passes standings on.
    pub(crate) async fn pass_on(
        self,
        mut inner: mpsc::Receiver<Standing>,
        outer: mpsc::Sender<Standing>,
    ) {
        while let Some(standing) = inner.recv().await {
            let standing = match standing {
                Standing::Leads(registry) => match self.prepare(registry).await {
                    Ok(registry) => Standing::Leads(registry),
                    Err(why) => Standing::Over(format!("cannot take over the registry: {why}")),
                },
                other => other,
            };
            if outer.send(standing).await.is_err() {
                return;
            }
        }
    }

    async fn prepare(&self, mut registry: Box<dyn Registry>) -> Result<Box<dyn Registry>, String> {
        if let Some(from) = &self.from {
            registry = self.take_over(from, registry).await?;
        }
        let Some(directory) = self.directory.clone() else { return Ok(registry) };
        let to = self.to.clone();
        let recognized = tokio::task::spawn_blocking(move || {
            registry_id::recognize(&mut *registry, &to, &directory).map(|()| registry)
        });
        recognized.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    async fn take_over(
        &self,
        from: &Meeting,
        mut registry: Box<dyn Registry>,
    ) -> Result<Box<dyn Registry>, String> {
        let source = Backend::Meeting(from.clone());
        let source = place(&source, self.me.clone()).await;
        let mut source = source.map_err(|e| e.to_string())?;
        let moved = match lead(&mut source, from).await {
            Err(why) => Err(why),
            Ok(mut there) => {
                let (url, to) = (from.url.to_string(), self.to.clone());
                let directory = self.directory.clone();
                let copied = tokio::task::spawn_blocking(move || {
                    let is_moved = copy(&mut *there, &mut *registry, &url, &to)?;
                    if let Some(directory) = directory.filter(|_| is_moved) {
                        registry_id::forget(&directory).map_err(|e| e.to_string())?;
                    }
                    Ok(registry)
                });
                copied.await.unwrap_or_else(|e| Err(e.to_string()))
            }
        };
        source.leave().await;
        moved
    }
}

/// Nobody else leads in the old place.
async fn lead(source: &mut Member, from: &Meeting) -> Result<Box<dyn Registry>, String> {
    let url = &from.url;
    let mut other = None;
    let deadline = tokio::time::Instant::now() + from.session_timeout * 2 + PATIENCE;
    while let Ok(standing) = tokio::time::timeout_at(deadline, source.next()).await {
        match standing {
            Standing::Leads(registry) => return Ok(registry),
            Standing::Over(why) => return Err(why),
            Standing::Follows(leader) => other = Some(leader),
            Standing::Nobody => {}
        }
    }
    Err(match other {
        Some(leader) => format!(
            "{} leads at {url}; stop all masters there, then start this one again",
            leader.pid()
        ),
        None => format!("nobody can lead at {url}: see the log"),
    })
}

/// Whether there was anything to be moved.
fn copy(
    there: &mut dyn Registry,
    here: &mut dyn Registry,
    url: &str,
    to: &str,
) -> Result<bool, String> {
    let text = |error: RegistryError| error.to_string();
    let content = there.read().map_err(text)?;
    if let Some(to) = moved_to(&content) {
        tracing::info!(url, to, "the registry was moved before");
        return Ok(false);
    }
    let content: Content = content.into_iter().collect();
    if content.is_empty() {
        tracing::info!(url, "there is no registry to be moved");
        return Ok(false);
    }
    let own = here.read().map_err(text)?.into_iter().collect();
    let changes = replacing(&own, &content).ok_or_else(|| {
        format!(
            "there is one at {url} and another one here; remove the one that is not to be gone on with, or leave \
             --registry_from out"
        )
    })?;
    here.write(&[&changes]).map_err(text)?;
    let change = Change { key: mark(), value: Some(to.as_bytes().to_vec()) };
    there.write(&[&[change]]).map_err(text)?;
    tracing::info!(url, entries = content.len(), "the registry was moved");
    Ok(true)
}
