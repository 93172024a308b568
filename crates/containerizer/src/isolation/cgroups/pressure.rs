//! How often a container was short of memory, by how short: `mem_{low,medium,critical}_pressure_counter` (spec/agent.md 6.3).
//!
//! In version 1 the kernel counts by itself, into an eventfd for each level. In version 2 it tells when processes waited for
//! memory for too long within a second; that is counted by one thread for all containers. Both count from the moment on at
//! which this agent first sees the container.

use super::Group;
use crate::isolation::rounds;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Levels of version 1. What is counted for one is counted for all before it too.
const LEVELS: [&str; 3] = ["low", "medium", "critical"];
/// Triggers of version 2 for the same levels, in µs of a second: some processes waited a tenth of it; half of it; all of
/// them waited half of it.
const TRIGGERS: [&str; 3] = ["some 100000 1000000", "some 500000 1000000", "full 500000 1000000"];
/// Time within which the thread sees that nobody needs it any more.
const NAP: Duration = Duration::from_secs(1);
/// Events taken at once.
const BATCH: usize = 64;

/// The counters of a level.
#[derive(Debug)]
enum Counter {
    /// The kernel counts; what it counted before.
    Kernel { sign: File, before: u64 },
    /// The thread counts, while the file is open.
    Thread { _trigger: File, count: Arc<AtomicU64> },
}

impl Counter {
    fn value(&mut self) -> u64 {
        match self {
            Self::Kernel { sign, before } => {
                let mut bytes = [0; 8];
                // Nothing to read: nothing was counted since.
                if sign.read_exact(&mut bytes).is_ok() {
                    *before += u64::from_ne_bytes(bytes);
                }
                *before
            }
            Self::Thread { count, .. } => count.load(Ordering::Relaxed),
        }
    }
}

/// All counters.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    groups: Mutex<BTreeMap<PathBuf, Vec<Counter>>>,
    poller: OnceLock<Option<Arc<Poller>>>,
}

impl Pressure {
    fn groups(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Vec<Counter>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to count, if that was not done. What can't be counted on this host is not.
    pub(super) fn watch(&self, group: &Group) {
        if self.groups().contains_key(&group.path) {
            return;
        }
        let counters = match if group.is_v2 { self.triggers(group) } else { levels(group) } {
            Ok(counters) => counters,
            // It has ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !group.path.exists() => return,
            Err(error) => {
                tracing::debug!(cgroup = %group.path.display(), %error, "memory pressure is not counted");
                Vec::new()
            }
        };
        self.groups().insert(group.path.clone(), counters);
    }

    /// Counts of the three levels; None: they can't be had.
    pub(super) fn counts(&self, group: &Group) -> Option<[u64; 3]> {
        self.watch(group);
        let mut groups = self.groups();
        let counters = groups.get_mut(&group.path)?;
        let counts: Vec<u64> = counters.iter_mut().map(Counter::value).collect();
        counts.try_into().ok()
    }

    pub(super) fn forget(&self, group: &Group) {
        self.groups().remove(&group.path);
    }

    fn triggers(&self, group: &Group) -> io::Result<Vec<Counter>> {
        let poller = self.poller.get_or_init(|| {
            Poller::start().inspect_err(|error| tracing::warn!(%error, "no memory pressure")).ok()
        });
        let poller = poller.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        TRIGGERS.iter().map(|trigger| poller.add(group, trigger)).collect()
    }
}

fn levels(group: &Group) -> io::Result<Vec<Counter>> {
    let source = File::open(group.path.join("memory.pressure_level"))?;
    let register = |level: &&str| {
        // SAFETY: a plain system call; the descriptor it gives is nobody else's.
        let sign = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(fd)
        };
        let line = format!("{} {} {level}", sign.as_raw_fd(), source.as_raw_fd());
        let control = File::options().write(true).open(group.path.join("cgroup.event_control"));
        control?.write_all(line.as_bytes())?;
        Ok(Counter::Kernel { sign, before: 0 })
    };
    LEVELS.iter().map(register).collect()
}

/// What counts in version 2.
#[derive(Debug)]
struct Poller {
    epoll: OwnedFd,
    /// By the descriptor of the trigger.
    counts: Mutex<BTreeMap<u64, Weak<AtomicU64>>>,
}

impl Poller {
    fn start() -> io::Result<Arc<Self>> {
        // SAFETY: a plain system call; the descriptor it gives is nobody else's.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let poller = Arc::new(Self { epoll, counts: Mutex::default() });
        let poll = |watched: &Weak<Self>| while watched.upgrade().is_some_and(|p| p.poll()) {};
        rounds::spawn("memory-pressure", &poller, poll).map_err(io::Error::other)?;
        Ok(poller)
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<AtomicU64>>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, group: &Group, trigger: &str) -> io::Result<Counter> {
        let path = group.path.join("memory.pressure");
        let mut options = File::options();
        let mut file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        file.write_all(format!("{trigger}\0").as_bytes())?;
        let count = Arc::new(AtomicU64::new(0));
        let key = u64::try_from(file.as_raw_fd()).unwrap_or_default();
        {
            let mut counts = self.counts();
            // Of cgroups that are gone.
            counts.retain(|_, count| count.strong_count() > 0);
            counts.insert(key, Arc::downgrade(&count));
        }
        let events = libc::EPOLLPRI.cast_unsigned();
        let mut event = libc::epoll_event { events, u64: key };
        // SAFETY: both descriptors are open, and the event lives through the call. It leaves the set when it is closed.
        let added = unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                file.as_raw_fd(),
                &raw mut event,
            )
        };
        if added != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Counter::Thread { _trigger: file, count })
    }

    /// Waits for triggers once, and counts them; false when that can't be done any more.
    fn poll(&self) -> bool {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        let (epoll, nap) = (self.epoll.as_raw_fd(), NAP.as_millis() as i32);
        // SAFETY: the array has room for as many events as are asked for.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), BATCH as i32, nap) };
        let Ok(count) = usize::try_from(count) else {
            return io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
        };
        for event in &events[..count] {
            let (flags, key) = (event.events, event.u64);
            if flags & libc::EPOLLERR.cast_unsigned() != 0 {
                // The cgroup is gone: it would be told for ever.
                // SAFETY: a plain system call; the descriptor may be closed already, which is no harm.
                unsafe {
                    libc::epoll_ctl(
                        epoll,
                        libc::EPOLL_CTL_DEL,
                        i32::try_from(key).unwrap_or(-1),
                        std::ptr::null_mut(),
                    )
                };
            } else if let Some(count) = self.counts().get(&key).and_then(Weak::upgrade) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        true
    }
}
