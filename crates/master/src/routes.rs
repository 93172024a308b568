//! Paths of the master, with and without `/master` before them.

use crate::endpoints::ENDPOINTS;
use crate::shared::{Leader, Shared};
use crate::{kill, maintenance, masters, metrics, operator, overlaps, shares, ui, v0, why, writes};
use base::Token;
use http::HeaderValue;
use http_api::bulk::Kind;
use http_api::calls::{self, Calls};
use http_api::link::Patience;
use http_api::server::Handler;
use http_api::stream::event_stream;
use http_api::{Request, Response, endpoints, files, link, negotiate, respond};
use master_core::contract::Input;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use wire::v1::scheduler;
use wire::{internal, v1};

/// Longest body of a call.
const BODY_MAX: usize = 64 << 20;
const STREAM_ID: &str = "Mesos-Stream-Id";
/// What every master answers itself.
const STANDBY: [&str; 9] = [
    "/health",
    "/help",
    "/version",
    "/flags",
    "/metrics",
    "/metrics/snapshot",
    "/logging/toggle",
    "/redirect",
    "/system/stats.json",
];

pub(crate) struct Routes {
    shared: Arc<Shared>,
}

impl Routes {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Handler for Routes {
    async fn handle(self: Arc<Self>, request: Request, peer: SocketAddr) -> Response {
        if let Some(route) = ui_route(request.uri().path()) {
            return ui::answer(&self.shared, route, request).await;
        }
        let full = respond::decode(request.uri().path());
        let path = match full.strip_prefix("/master") {
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            _ => full,
        };
        if let Some(kind) = path.strip_prefix(coordination::RAFT_PATH) {
            return masters::call(&self.shared, kind, request).await;
        }
        if path == link::PATH
            && let Some(patience) = Patience::of(&request)
        {
            self.await_leader(patience).await;
        }
        if let Some(answer) = self.elsewhere(&path, &request) {
            return answer;
        }
        match path.as_str() {
            "/api/v1/scheduler" => self.scheduler(request).await,
            path if path == "/api/v1" || path.starts_with("/api/v1/") => {
                operator::answer(&self.shared, request, BODY_MAX).await
            }
            link::PATH => self.link(request, peer),
            "/health" => respond::text(200, ""),
            "/help" => respond::text(200, endpoints::help(ENDPOINTS)),
            "/logging/toggle" => self.shared.log_level.toggle(&files::query_of(&request)),
            "/why" => why::answer(&self.shared, &files::query_of(&request)).await,
            "/shares" => shares::answer(&self.shared, request).await,
            "/offer-overlap" => overlaps::answer(&self.shared, request).await,
            "/masters" => masters::answer(&self.shared, request).await,
            "/kill-task" => kill::answer(&self.shared, request).await,
            "/redirect" => self.redirect(),
            "/maintenance/schedule" | "/maintenance/status" | "/machine/down" | "/machine/up" => {
                match maintenance::change(&self.shared, &path, request).await {
                    Ok(response) => response,
                    Err(request) => self.read(&path, request).await,
                }
            }
            path if writes::is_form(path) => writes::form(&self.shared, path, request).await,
            path if path == "/weights" || path == "/quota" || path.starts_with("/quota/") => {
                match writes::policy(&self.shared, path, request).await {
                    Ok(response) => response,
                    Err(request) => self.read(path, request).await,
                }
            }
            path => self.read(path, request).await,
        }
    }

    fn calls(&self) -> Option<&Calls> {
        Some(&self.shared.calls)
    }
}

impl Routes {
    async fn scheduler(&self, request: Request) -> Response {
        let headers = request.headers().clone();
        let call: scheduler::Call = match negotiate::call(request, BODY_MAX).await {
            Ok(call) => call,
            Err(refusal) => return *refusal,
        };
        let stream_id = headers.get(STREAM_ID).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let kind = call.r#type.map(|_| call.r#type());
        calls::name(kind.map_or("", |kind| kind.as_str_name()));
        if kind == Some(scheduler::call::Type::ReconcileOperations)
            && master_core::check_call(&call).is_ok()
            && negotiate::accepted(&headers).is_none()
        {
            return not_acceptable();
        }
        if kind != Some(scheduler::call::Type::Subscribe) {
            let call = Box::new(call);
            return self
                .shared
                .ask(|token| Input::SchedulerCall { token, stream_id, call, principal: None })
                .await;
        }
        if let Err(text) = master_core::check_call(&call) {
            return respond::text(400, format!("Failed to validate scheduler::Call: {text}"));
        }
        let Some(encoding) = negotiate::accepted(&headers) else {
            return not_acceptable();
        };
        if stream_id.is_some() {
            return respond::text(
                400,
                "Subscribe calls should not include the 'Mesos-Stream-Id' header",
            );
        }
        let Some(stream_id) = random_uuid() else {
            return respond::text(500, "no randomness to be had");
        };
        let (sender, mut response, closed) = event_stream(encoding);
        if let Ok(value) = HeaderValue::from_str(&stream_id) {
            response.headers_mut().insert(STREAM_ID, value);
        }
        let stream = self.shared.token();
        self.shared.streams.insert(stream, sender);
        let inputs = self.shared.inputs.clone();
        let subscribe =
            Input::Subscribe { stream, stream_id, call: Box::new(call), principal: None };
        if inputs.send(subscribe).await.is_err() {
            return respond::text(503, "The master is shutting down");
        }
        tokio::spawn(watch_stream(self.shared.clone(), stream, closed));
        response
    }

    /// The link of an agent.
    fn link(&self, request: Request, peer: SocketAddr) -> Response {
        let (response, link) = link::accept(request, &self.shared.info.id);
        let Some(link) = link else { return response };
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let Ok((sender, mut receiver)) = link.await else { return };
            let connection = shared.token();
            masters::tell(&shared, &sender);
            shared.links.insert(connection, sender);
            let ip = peer.ip().to_string();
            loop {
                match receiver.next::<internal::AgentToMaster>().await {
                    Ok(Some(internal::AgentToMaster { message: Some(message) })) => {
                        let input = Input::FromAgent {
                            connection,
                            ip: ip.clone(),
                            message: Box::new(message),
                        };
                        if shared.inputs.send(input).await.is_err() {
                            return;
                        }
                    }
                    Ok(Some(_)) => {
                        tracing::debug!(%peer, "a message of an unknown kind from an agent")
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::info!(%peer, %error, "the link of an agent broke");
                        break;
                    }
                }
            }
            shared.links.remove(connection);
            let _ = shared.inputs.send(Input::AgentClosed { connection }).await;
        });
        response
    }

    /// Until a master is known to lead, for as long as an agent is ready to wait for that.
    async fn await_leader(&self, Patience { time, unreachable }: Patience) {
        let mut leader = self.shared.leader.subscribe();
        let is_known = |leader: &Leader| match leader {
            Leader::Me => true,
            Leader::Nobody => false,
            Leader::Other(leader) => unreachable.as_ref() != Some(&authority(leader)),
        };
        let _ = tokio::time::timeout(time, leader.wait_for(is_known)).await;
    }

    /// The answer of a master that does not lead (spec/operations.md 1.1); None: it answers itself.
    fn elsewhere(&self, path: &str, request: &Request) -> Option<Response> {
        if STANDBY.contains(&path) || path.starts_with("/files/") {
            return None;
        }
        match &*self.shared.leader.borrow() {
            Leader::Me => None,
            Leader::Nobody => Some(respond::text(503, "No leader elected")),
            Leader::Other(leader) => {
                let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
                Some(redirected(leader, path))
            }
        }
    }

    fn redirect(&self) -> Response {
        match &*self.shared.leader.borrow() {
            Leader::Me => redirected(&self.shared.info, ""),
            Leader::Nobody => respond::text(503, "No leader elected"),
            Leader::Other(leader) => redirected(leader, ""),
        }
    }

    /// Endpoints that only read: answered from a snapshot, on a thread that may take its time.
    async fn read(&self, path: &str, request: Request) -> Response {
        // The peer's own command line asks for `/frameworks/`.
        let path = path.strip_suffix('/').unwrap_or(path);
        let (path, query) = (path.to_owned(), files::query_of(&request));
        let not_found = || respond::text(404, "Not found");
        if let Some(name) = path.strip_prefix("/files/") {
            let attached = self.shared.attached();
            let name = name.to_owned();
            let answer =
                tokio::task::spawn_blocking(move || files::answer(&name, &query, &attached)).await;
            return answer.ok().flatten().unwrap_or_else(not_found);
        }
        if path == "/system/stats.json" {
            return respond::json(&query, http_api::v0::system_stats().to_string().into_bytes());
        }
        if path == "/version" {
            return respond::json(&query, http_api::version::json().to_string().into_bytes());
        }
        if path == "/metrics/snapshot"
            && let Some(refusal) = respond::bad_timeout(&query)
        {
            return refusal;
        }
        let is_metrics = path == "/metrics" || path == "/metrics/snapshot";
        if !v0::PATHS.contains(&path.as_str()) && !is_metrics {
            return not_found();
        }
        if is_metrics {
            return self.metrics(path, query).await;
        }
        let content_type = respond::json_type(&query);
        let kind =
            Kind::new(format!("{path}?{query}").into_bytes(), content_type, request.headers());
        let shared = self.shared.clone();
        let make = move |out: &mut dyn io::Write| {
            let view = shared.view_blocking().ok_or_else(|| io::Error::other("shutting down"))?;
            respond::write_json(&query, out, |out| {
                v0::write(out, &path, &query, &view, shared.started)
            })
        };
        self.shared.bulk.answer(kind, make).await
    }

    async fn metrics(&self, path: String, query: String) -> Response {
        let Some(view) = self.shared.view().await else {
            return respond::text(503, "The master is shutting down");
        };
        let filters = self.shared.offer_filters().await;
        let shared = self.shared.clone();
        let answer = tokio::task::spawn_blocking(move || {
            if path == "/metrics" {
                return metrics::exposition(&view, &shared, &filters).answer();
            }
            let snapshot = metrics::snapshot(&view, &shared, &filters);
            respond::json(&query, snapshot.to_string().into_bytes())
        });
        answer.await.unwrap_or_else(|_| respond::text(500, "The answer could not be made"))
    }
}

/// The page of a path, with and without `/master` before it.
fn ui_route(path: &str) -> Option<::ui::Route> {
    let rest = path.strip_prefix("/master").filter(|rest| rest.starts_with('/'));
    ::ui::Route::parse(rest.unwrap_or(path))
}

/// Where a master is, as others are told: `host:port`.
fn authority(master: &v1::MasterInfo) -> String {
    let port = master.address.as_ref().map_or(master.port, |a| a.port.cast_unsigned());
    format!("{}:{port}", master.hostname())
}

/// A redirection to a path of that master.
pub(crate) fn redirected(master: &v1::MasterInfo, path: &str) -> Response {
    let mut response = respond::text(307, "");
    let location = format!("//{}{path}", authority(master));
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    response
}

/// Tells the core when a subscriber is gone.
async fn watch_stream(shared: Arc<Shared>, stream: Token, closed: http_api::stream::Closed) {
    closed.wait().await;
    shared.streams.remove(stream);
    let _ = shared.inputs.send(Input::StreamClosed { stream }).await;
}

/// A random UUID from the system.
pub(crate) fn random_uuid() -> Option<String> {
    use std::io::Read as _;
    let mut seed = [0; 8];
    std::fs::File::open("/dev/urandom").ok()?.read_exact(&mut seed).ok()?;
    Some(base::Rng::new(u64::from_le_bytes(seed)).uuid())
}

fn not_acceptable() -> Response {
    let text = "Expecting 'Accept' to allow application/json or application/x-protobuf";
    respond::text(406, text)
}
