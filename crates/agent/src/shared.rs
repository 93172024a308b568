//! What connects requests with the core: the queue of inputs, tables, and the link.

use crate::engine::Engine;
use crate::meters::Meters;
use crate::session::Sessions;
use crate::{Config, Outside};
use agent_core::State;
use agent_core::contract::Input;
use base::Token;
use containerizer::Containerizer;
use http_api::Response;
use http_api::calls::Calls;
use http_api::link::LinkSender;
use http_api::logging::LogLevel;
use http_api::otlp::Spans;
use http_api::stream::EventSender;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// Inputs that may wait for the core.
const QUEUE: usize = 65_536;

/// Somebody who waits for an answer, which may be a stream.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) answer: oneshot::Sender<Option<Response>>,
    /// For a subscription: the sending end of its stream.
    pub(crate) stream: Option<EventSender>,
}

/// The near side of the core.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) inputs: mpsc::Sender<Input>,
    readers: mpsc::UnboundedSender<oneshot::Sender<Arc<State>>>,
    next_token: AtomicU64,
    tables: Mutex<Tables>,
    pub(crate) config: agent_core::contract::Config,
    pub(crate) meters: Meters,
    pub(crate) calls: Calls,
    pub(crate) spans: Option<Spans>,
    pub(crate) started: SystemTime,
    /// How long recovery took, once it is over.
    pub(crate) recovery_time: OnceLock<Duration>,
    /// Places of the store that could not be read, and where the damaged one is.
    pub(crate) damage: Option<(usize, String)>,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) log_level: Arc<LogLevel>,
    pub(crate) containerizer: Arc<dyn Containerizer>,
    pub(crate) sessions: Sessions,
}

#[derive(Debug, Default)]
struct Tables {
    waiting: BTreeMap<Token, Waiting>,
    streams: BTreeMap<Token, EventSender>,
    link: Option<(Token, LinkSender, oneshot::Sender<()>)>,
}

/// Who is told of launches.
fn spans(config: &Config) -> Option<Spans> {
    let info = &config.core.info;
    let instance = format!("{}:{}", info.hostname, info.port());
    config.otlp.clone().map(|endpoint| Spans::start(endpoint, "proffer-agent", &instance))
}

impl Shared {
    pub(crate) fn new(config: &Config, outside: Outside) -> (Arc<Self>, Engine) {
        let (inputs, queue) = mpsc::channel(QUEUE);
        let (readers, asking) = mpsc::unbounded_channel();
        let shared = Arc::new(Self {
            inputs,
            readers,
            next_token: AtomicU64::new(1),
            tables: Mutex::default(),
            config: config.core.clone(),
            meters: Meters::default(),
            calls: Calls::default(),
            spans: spans(config),
            started: SystemTime::now(),
            recovery_time: OnceLock::new(),
            damage: outside.damage.clone(),
            log_file: config.log_file.clone(),
            log_level: config.log_level.clone(),
            containerizer: outside.containerizer.clone(),
            sessions: Sessions::new(&config.runtime_dir, config.http_heartbeat_interval),
        });
        let engine = Engine::new(shared.clone(), queue, asking, outside);
        (shared, engine)
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Asks the core. None: the request is accepted as a stream.
    pub(crate) async fn ask(
        &self,
        token: Token,
        stream: Option<EventSender>,
        input: Input,
    ) -> Option<Response> {
        let (answer, response) = oneshot::channel();
        self.tables().waiting.insert(token, Waiting { answer, stream });
        if self.inputs.send(input).await.is_err() {
            self.tables().waiting.remove(&token);
        }
        let ended = || Some(http_api::respond::text(503, "The agent is shutting down"));
        response.await.unwrap_or_else(|_| ended())
    }

    /// Answers a request.
    pub(crate) fn respond(&self, token: Token, response: Response) {
        if let Some(waiting) = self.tables().waiting.remove(&token) {
            let _ = waiting.answer.send(Some(response));
        }
    }

    /// Turns a request into a stream.
    pub(crate) fn accept(&self, token: Token) {
        let mut tables = self.tables();
        if let Some(waiting) = tables.waiting.remove(&token) {
            if let Some(stream) = waiting.stream {
                tables.streams.insert(token, stream);
            }
            let _ = waiting.answer.send(None);
        }
    }

    pub(crate) fn stream(&self, token: Token) -> Option<EventSender> {
        self.tables().streams.get(&token).cloned()
    }

    pub(crate) fn close_stream(&self, token: Token) {
        self.tables().streams.remove(&token);
    }

    /// The link that is open now; the receiver resolves when the core drops it.
    pub(crate) fn set_link(&self, connection: Token, sender: LinkSender) -> oneshot::Receiver<()> {
        let (alive, dropped) = oneshot::channel();
        self.tables().link = Some((connection, sender, alive));
        dropped
    }

    pub(crate) fn clear_link(&self, connection: Token) {
        let mut tables = self.tables();
        if tables.link.as_ref().is_some_and(|(token, ..)| *token == connection) {
            tables.link = None;
        }
    }

    pub(crate) fn link(&self, connection: Token) -> Option<LinkSender> {
        self.tables()
            .link
            .as_ref()
            .filter(|(token, ..)| *token == connection)
            .map(|(_, sender, _)| sender.clone())
    }
}
