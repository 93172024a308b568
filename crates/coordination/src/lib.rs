//! Which of the masters of a cluster leads, and its registry: one interface, several backends.
//!
//! A master [`join`]s and is told of its [`Standing`] until it leaves. Whoever leads is handed the registry; from the
//! moment another master leads, writes through the former one's hand fail ([`RegistryError::Deposed`]).
#![forbid(unsafe_code)]

mod divided;
mod embedded;
mod etcd;
mod former;
mod lease;
mod moved;
mod raft;
mod registry;
mod registry_id;
mod zookeeper;

pub use divided::Timeouts;
pub use moved::moved_to;
pub use raft::{MemberState, MembersError, PATH as RAFT_PATH, Peers};
pub use registry::{Change, Key, Registry, RegistryError};

use detector::{Service, Url};
use embedded::Embedded;
use former::Former;
use lease::{Known, Lease, Report, report};
use moved::Before;
use registry::InMemory;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use wire::v1;

/// Changes of standing that may wait to be read.
const QUEUE: usize = 16;

/// Where masters meet, and where the registry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// One master, with the registry in a file of this directory.
    Embedded(PathBuf),
    /// One master that forgets.
    InMemory,
    /// Several masters that replicate the registry among themselves.
    Raft(Replicas),
    /// Election and registry in ZooKeeper or etcd.
    Meeting(Meeting),
    /// Another backend, which takes over the registry from where masters have met before.
    Moved(Box<Meeting>, Box<Backend>),
}

/// Where the registry is.
impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded(directory) => write!(f, "{}", directory.display()),
            Self::InMemory => f.write_str("memory"),
            Self::Raft(replicas) => write!(f, "the masters that replicate it with {}", replicas.me),
            Self::Meeting(at) => write!(f, "{}", at.url),
            Self::Moved(_, backend) => backend.fmt(f),
        }
    }
}

/// Masters that replicate the registry among themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// Directory of this master's part.
    pub directory: PathBuf,
    /// Where others reach this master, `host:port`.
    pub me: String,
    /// The first masters of a new cluster, this one among them; none when this one is to be added to others.
    pub peers: Vec<String>,
    /// What only masters of this cluster know; None: whoever reaches a master may take part.
    pub secret: Option<Secret>,
    /// Longest times for the registry.
    pub timeouts: Timeouts,
}

/// What nobody else may see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

/// Where masters meet that leave election and registry to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// The servers, and the directory in them.
    pub url: Url,
    /// Timeout of the session or lease that is asked for: the time after which a master that does not answer is
    /// replaced.
    pub session_timeout: Duration,
    /// Longest times for the registry.
    pub timeouts: Timeouts,
    /// Directory of this master. If it has left its registry there when it was alone, it is moved to the service if that
    /// has none; and there it remembers which registry it leads with.
    pub former: Option<PathBuf>,
}

/// What a master is among those of its cluster.
#[derive(Debug)]
pub enum Standing {
    /// Nobody is known to lead.
    Nobody,
    /// Another master leads.
    Follows(Box<v1::MasterInfo>),
    /// This master leads, and nobody else writes to its registry. It is told at most once; what follows is
    /// [`Standing::Over`].
    Leads(Box<dyn Registry>),
    /// This master can neither lead nor follow any more: its process must end. Says why.
    Over(String),
}

/// A master's place among those of its cluster.
#[derive(Debug)]
pub struct Member {
    standings: mpsc::Receiver<Standing>,
    leave: oneshot::Sender<()>,
    peers: Option<Peers>,
    lease: Lease,
    masters: Known,
    task: JoinHandle<()>,
    _apart: Option<Apart>,
}

/// Threads of Raft alone: its signs of life are due several times a second, and thousands of agents that come at a time
/// must not make them late.
#[derive(Debug)]
struct Apart(Option<Runtime>);

impl Apart {
    fn start() -> Result<Self, RegistryError> {
        let mut runtime = Builder::new_multi_thread();
        // A write to the disk keeps one of them.
        runtime.worker_threads(2).thread_name("coordination").enable_all();
        let runtime = runtime.build();
        runtime.map(|r| Self(Some(r))).map_err(|e| RegistryError::unavailable("threads", e))
    }

    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Without waiting, which is refused where others run.
            runtime.shutdown_background();
        }
    }
}

impl Member {
    /// The next change of standing; waits for ever when there is none to come.
    pub async fn next(&mut self) -> Standing {
        match self.standings.recv().await {
            Some(standing) => standing,
            None => std::future::pending().await,
        }
    }

    /// Whether another master may lead by now, although this one was not told so: it was not confirmed in time. It must
    /// not act until it is ([`Member::confirmed`]), or knows better.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.lease.is_over()
    }

    /// Waits until it is certain again that this master leads; for ever when it does not.
    pub fn confirmed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.lease.confirmed()
    }

    /// The other masters, where these replicate the registry.
    #[must_use]
    pub fn peers(&self) -> Option<Peers> {
        self.peers.clone()
    }

    /// All masters that meet in a service; none where they meet elsewhere, or it is not known yet.
    #[must_use]
    pub fn masters(&self) -> watch::Receiver<Vec<v1::MasterInfo>> {
        self.masters.clone()
    }

    /// Gives the place up, so that another master may lead at once.
    pub async fn leave(self) {
        let _ = self.leave.send(());
        let _ = self.task.await;
    }
}

/// Takes a place among the masters of a cluster; must be called within a tokio runtime.
///
/// # Errors
/// When the registry is a file that can't be opened, or one that can't be moved to where masters meet.
pub async fn join(backend: &Backend, me: v1::MasterInfo) -> Result<Member, RegistryError> {
    let (from, backend) = match backend {
        Backend::Moved(from, backend) => (Some(from.as_ref().clone()), backend.as_ref()),
        backend => (None, backend),
    };
    let directory = match backend {
        Backend::Meeting(at) => at.former.clone(),
        _ => None,
    };
    let mut member = place(backend, me.clone()).await?;
    if from.is_some() || directory.is_some() {
        let (standing, standings) = mpsc::channel(QUEUE);
        let inner = std::mem::replace(&mut member.standings, standings);
        let before = Before { from, to: backend.to_string(), directory, me };
        tokio::spawn(before.pass_on(inner, standing));
    }
    Ok(member)
}

/// Takes a place where the registry is already, whichever it is.
async fn place(backend: &Backend, me: v1::MasterInfo) -> Result<Member, RegistryError> {
    let (standing, standings) = mpsc::channel(QUEUE);
    let (standing, lease, masters) = report(standing);
    let (leave, left) = oneshot::channel();
    let (mut peers, mut apart) = (None, None);
    let task = match backend {
        Backend::Moved(_, backend) => return Box::pin(place(backend, me)).await,
        Backend::Embedded(directory) => {
            let registry = Embedded::open(directory, &addresses(&me))?;
            tokio::spawn(alone(Box::new(registry), standing, left))
        }
        Backend::InMemory => tokio::spawn(alone(Box::new(InMemory::default()), standing, left)),
        Backend::Raft(settings) => {
            let threads = apart.insert(Apart::start()?);
            let settings = settings.clone();
            let group = threads.spawn(async move { raft::take_part(&settings).await }).await;
            let group = group.map_err(|e| RegistryError::unavailable("raft", e))??;
            peers = Some(group.peers());
            threads.spawn(group.follow(standing, left))
        }
        Backend::Meeting(at) => {
            let former = Former::find(at.former.as_deref(), &addresses(&me))?;
            match at.url.service {
                Service::ZooKeeper => {
                    tokio::spawn(zookeeper::contend(at.clone(), me, former, standing, left))
                }
                Service::Etcd => {
                    tokio::spawn(etcd::contend(at.clone(), me, former, standing, left))
                }
            }
        }
    };
    Ok(Member { standings, leave, peers, lease, masters, task, _apart: apart })
}

/// How others may have been told to reach a master: `host:port`.
fn addresses(me: &v1::MasterInfo) -> Vec<String> {
    let ip = me.address.as_ref().and_then(|address| address.ip.as_ref());
    let hosts = me.hostname.iter().chain(ip);
    hosts.map(|host| format!("{host}:{}", me.port)).collect()
}

/// The only master leads.
async fn alone(registry: Box<dyn Registry>, standing: Report, left: oneshot::Receiver<()>) {
    standing.send(Standing::Leads(registry)).await;
    let _ = left.await;
}
