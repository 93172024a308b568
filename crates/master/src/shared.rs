//! What connects requests with the core: the queue of inputs, and three tables.

use crate::Config;
use crate::engine::{Asked, Engine};
use crate::meters::Meters;
use crate::observers::{Observed, Observers};
use crate::ui::Ui;
use base::Token;
use coordination::{Member, Peers};
use http_api::Response;
use http_api::bulk::Bulk;
use http_api::calls::Calls;
use http_api::link::LinkSender;
use http_api::logging::LogLevel;
use http_api::otlp::Spans;
use http_api::stream::EventSender;
use master_core::contract::Input;
use master_core::{State, why};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use wire::v1;

/// Inputs that may wait for the core.
const QUEUE: usize = 65_536;

/// A table from tokens to what they stand for.
#[derive(Debug)]
pub(crate) struct Table<T>(Mutex<BTreeMap<Token, T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<T> Table<T> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Token, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, token: Token, value: T) {
        self.lock().insert(token, value);
    }

    pub(crate) fn remove(&self, token: Token) -> Option<T> {
        self.lock().remove(&token)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn take(&self) -> BTreeMap<Token, T> {
        std::mem::take(&mut self.lock())
    }
}

impl<T: Clone> Table<T> {
    pub(crate) fn get(&self, token: Token) -> Option<T> {
        self.lock().get(&token).cloned()
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.lock().values().cloned().collect()
    }
}

/// For how long answers are sent when a master has ended.
const FAREWELL: Duration = Duration::from_millis(200);

/// Who leads.
#[derive(Debug, Clone, Default)]
pub(crate) enum Leader {
    /// Nobody is known to.
    #[default]
    Nobody,
    /// Another master.
    Other(Box<v1::MasterInfo>),
    /// This master; its core has the registry.
    Me,
}

/// The near side of the core.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) inputs: mpsc::Sender<Input>,
    readers: mpsc::UnboundedSender<oneshot::Sender<Arc<State>>>,
    next_token: AtomicU64,
    pub(crate) waiting: Table<oneshot::Sender<Response>>,
    pub(crate) streams: Table<EventSender>,
    pub(crate) links: Table<LinkSender>,
    pub(crate) meters: Meters,
    pub(crate) calls: Calls,
    pub(crate) spans: Option<Spans>,
    pub(crate) per_framework_metrics: bool,
    pub(crate) leader: watch::Sender<Leader>,
    pub(crate) info: v1::MasterInfo,
    pub(crate) peers: Option<Peers>,
    /// Masters that meet in a service.
    pub(crate) masters: watch::Receiver<Vec<v1::MasterInfo>>,
    pub(crate) observed: mpsc::UnboundedSender<Observed>,
    questions: mpsc::UnboundedSender<Asked>,
    pub(crate) started: SystemTime,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) log_level: Arc<LogLevel>,
    /// Makes large answers.
    pub(crate) bulk: Bulk,
    pub(crate) ui: Ui,
}

/// Who is told of launches.
fn spans(config: &Config) -> Option<Spans> {
    let instance = config.core.info.pid();
    let instance = instance.rsplit_once('@').map_or(instance, |(_, address)| address);
    config.otlp.clone().map(|endpoint| Spans::start(endpoint, "proffer-master", instance))
}

impl Shared {
    pub(crate) fn new(config: &Config, member: Member, bulk: Bulk) -> (Arc<Self>, Engine) {
        let (inputs, queue) = mpsc::channel(QUEUE);
        let (readers, asking) = mpsc::unbounded_channel();
        let (observed, observing) = mpsc::unbounded_channel();
        let (questions, asked) = mpsc::unbounded_channel();
        let shared = Arc::new(Self {
            inputs,
            readers,
            next_token: AtomicU64::new(1),
            waiting: Table::default(),
            streams: Table::default(),
            links: Table::default(),
            meters: Meters::default(),
            calls: Calls::default(),
            spans: spans(config),
            per_framework_metrics: config.per_framework_metrics,
            leader: watch::Sender::default(),
            info: config.core.info.clone(),
            peers: member.peers(),
            masters: member.masters(),
            observed,
            questions,
            started: SystemTime::now(),
            log_file: config.log_file.clone(),
            log_level: config.log_level.clone(),
            bulk,
            ui: Ui::default(),
        });
        let engine = Engine::new(
            config.core.clone(),
            shared.clone(),
            queue,
            asking,
            member,
            (observing, Observers::new(config.observers_max)),
            asked,
        );
        (shared, engine)
    }

    pub(crate) fn token(&self) -> Token {
        Token(self.next_token.fetch_add(1, Ordering::Relaxed))
    }

    /// The state as it is now; None while the process ends.
    pub(crate) async fn view(&self) -> Option<Arc<State>> {
        let (answer, view) = oneshot::channel();
        self.readers.send(answer).ok()?;
        view.await.ok()
    }

    /// The same for a thread that may wait.
    pub(crate) fn view_blocking(&self) -> Option<Arc<State>> {
        let (answer, view) = oneshot::channel();
        self.readers.send(answer).ok()?;
        view.blocking_recv().ok()
    }

    /// Asks why somebody gets no offers; None while the process ends.
    pub(crate) async fn why(&self, question: why::Question) -> Option<Vec<why::Answer>> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(Asked::Why(question, answer)).ok()?;
        answered.await.ok()
    }

    /// Refusals that hold now, by role.
    pub(crate) async fn offer_filters(&self) -> BTreeMap<String, u64> {
        let (answer, answered) = oneshot::channel();
        if self.questions.send(Asked::OfferFilters(answer)).is_err() {
            return BTreeMap::new();
        }
        answered.await.unwrap_or_default()
    }

    /// Virtual files: the log.
    pub(crate) fn attached(&self) -> http_api::files::Attached {
        self.log_file.iter().map(|f| ("/master/log".to_owned(), f.clone())).collect()
    }

    /// Inputs that wait for the core.
    pub(crate) fn queued(&self) -> usize {
        self.inputs.max_capacity() - self.inputs.capacity()
    }

    /// Tells all who wait for the core that it has ended, and why.
    pub(crate) async fn end(&self, why: &str) {
        self.leader.send_replace(Leader::Nobody);
        let text = format!(
            "The master has ended before it answered: {why}; whether it was carried out is not known, ask the next leader"
        );
        for answer in self.waiting.take().into_values() {
            let _ = answer.send(http_api::respond::text(503, text.clone()));
        }
        // Whoever waits to read is told as well.
        tokio::time::sleep(FAREWELL).await;
    }

    /// Asks the core and waits for its answer.
    pub(crate) async fn ask(&self, input: impl FnOnce(Token) -> Input) -> Response {
        let token = self.token();
        let (answer, response) = oneshot::channel();
        self.waiting.insert(token, answer);
        if self.inputs.send(input(token)).await.is_err() {
            self.waiting.remove(token);
        }
        response
            .await
            .unwrap_or_else(|_| http_api::respond::text(503, "The master is shutting down"))
    }
}
