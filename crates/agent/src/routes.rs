//! Paths of the agent, with and without `/slave(1)` before them.

use crate::endpoints::ENDPOINTS;
use crate::media::{Media, refuse};
use crate::shared::Shared;
use crate::{attach, container_calls, metrics, operator, prometheus, v0};
use agent_core::contract::Input;
use agent_core::{Executor, State};
use http_api::calls::{self, Calls};
use http_api::files::{self, Attached};
use http_api::server::Handler;
use http_api::stream::event_stream;
use http_api::{Request, Response, endpoints, negotiate, respond};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use wire::v1::agent::Call;
use wire::v1::executor;

/// Longest body of a call.
pub(crate) const BODY_MAX: usize = 64 << 20;

pub(crate) struct Routes {
    shared: Arc<Shared>,
}

impl Routes {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Handler for Routes {
    async fn handle(self: Arc<Self>, request: Request, _peer: SocketAddr) -> Response {
        let full = respond::decode(request.uri().path());
        let path = full
            .strip_prefix("/slave(1)")
            .filter(|rest| rest.starts_with('/'))
            .unwrap_or(&full)
            .to_owned();
        match path.as_str() {
            "/api/v1/executor" => self.executor(request).await,
            "/api/v1" => self.operator(request).await,
            "/logging/toggle" => self.shared.log_level.toggle(&files::query_of(&request)),
            "/health" => respond::text(200, ""),
            "/help" => respond::text(200, endpoints::help(ENDPOINTS)),
            path => self.read(path, request).await,
        }
    }

    fn calls(&self) -> Option<&Calls> {
        Some(&self.shared.calls)
    }
}

impl Routes {
    async fn executor(&self, request: Request) -> Response {
        let headers = request.headers().clone();
        let call: executor::Call = match negotiate::call(request, BODY_MAX).await {
            Ok(call) => call,
            Err(refusal) => return *refusal,
        };
        let token = self.shared.token();
        if call.r#type.is_none() {
            return respond::text(
                400,
                "Failed to validate Executor::Call: Expecting 'type' to be present",
            );
        }
        calls::name(call.r#type().as_str_name());
        if call.r#type() != executor::call::Type::Subscribe {
            let input = Input::ExecutorCall { token, call: Box::new(call) };
            let answer = self.shared.ask(token, None, input).await;
            return answer
                .unwrap_or_else(|| respond::text(500, "a call was answered with a stream"));
        }
        let Some(encoding) = negotiate::accepted(&headers) else {
            return respond::text(
                406,
                "Expecting 'Accept' to allow application/json or application/x-protobuf",
            );
        };
        let (sender, response, closed) = event_stream(encoding);
        let input = Input::ExecutorSubscribe { stream: token, call: Box::new(call) };
        if let Some(refusal) = self.shared.ask(token, Some(sender), input).await {
            return refusal;
        }
        let shared = self.shared.clone();
        tokio::spawn(async move {
            closed.wait().await;
            shared.close_stream(token);
            let _ = shared.inputs.send(Input::ExecutorClosed { stream: token }).await;
        });
        response
    }

    async fn operator(&self, request: Request) -> Response {
        let Some(view) = self.shared.view().await else {
            return respond::text(503, "The agent is shutting down");
        };
        if !view.recovered {
            return respond::text(503, "Agent has not finished recovery");
        }
        if request.method() != http::Method::POST {
            return respond::method_not_allowed("POST", request.method());
        }
        let media = match Media::of(request.headers()) {
            Ok(media) => media,
            Err(refusal) => return refuse(refusal),
        };
        if let Some(records) = media.records {
            return attach::input(&self.shared, request, media, records).await;
        }
        let call: Call = match negotiate::call(request, BODY_MAX).await {
            Ok(call) => call,
            Err(refusal) => return *refusal,
        };
        if call.r#type.is_none() {
            return respond::text(
                400,
                "Failed to validate agent::Call: Expecting 'type' to be present",
            );
        }
        calls::name(call.r#type().as_str_name());
        if let Err(refusal) = media.check(call.r#type()) {
            return refuse(refusal);
        }
        if let Some(answer) = attach::answer(&self.shared, &call, media).await {
            return answer;
        }
        let encoding = media.answer;
        if call.r#type() == wire::v1::agent::call::Type::PruneImages {
            return operator::prune_images(&self.shared, call.prune_images).await;
        }
        match container_calls::parse(&call) {
            Some(Ok(parsed)) => {
                let token = self.shared.token();
                let input = Input::ContainerCall { token, call: parsed };
                let answer = self.shared.ask(token, None, input).await;
                let answer = answer
                    .unwrap_or_else(|| respond::text(500, "a call was answered with a stream"));
                return container_calls::encode_end(answer, &call, encoding);
            }
            Some(Err(text)) => {
                return respond::text(400, format!("Failed to validate agent::Call: {text}"));
            }
            None => {}
        }
        let shared = self.shared.clone();
        let answer =
            tokio::task::spawn_blocking(move || operator::answer(&shared, &view, &call, encoding));
        answer.await.unwrap_or_else(|_| respond::text(500, "The answer could not be made"))
    }

    async fn read(&self, path: &str, request: Request) -> Response {
        let (path, query) = (path.to_owned(), files::query_of(&request));
        if path == "/system/stats.json" {
            return respond::json(&query, http_api::v0::system_stats().to_string().into_bytes());
        }
        if path == "/version" {
            return respond::json(&query, http_api::version::json().to_string().into_bytes());
        }
        let Some(view) = self.shared.view().await else {
            return respond::text(503, "The agent is shutting down");
        };
        if path == "/state" && !view.recovered {
            return respond::text(503, "Agent has not finished recovery");
        }
        if path == "/metrics/snapshot"
            && let Some(refusal) = respond::bad_timeout(&query)
        {
            return refusal;
        }
        let selected = match v0::Selected::of(&query) {
            Err(text) if path == "/containers" => return respond::text(400, text),
            selected => selected.unwrap_or_default(),
        };
        let shared = self.shared.clone();
        let answer = tokio::task::spawn_blocking(move || {
            if let Some(name) = path.strip_prefix("/files/") {
                return files::answer(name, &query, &attached(&view, &shared));
            }
            if path == "/metrics" {
                return Some(prometheus::all(&view, &shared).answer());
            }
            let json = match path.as_str() {
                "/metrics/snapshot" => metrics::snapshot(&view, &shared),
                other => v0::answer(other, &selected, &view, &shared)?,
            };
            Some(respond::json(&query, json.to_string().into_bytes()))
        });
        answer.await.ok().flatten().unwrap_or_else(|| respond::text(404, "Not found"))
    }
}

/// Virtual paths (spec/agent.md 1.6): sandboxes by their real path, and under names that do not change; in those of what
/// runs the volumes that it sees there.
pub(crate) fn attached(state: &State, shared: &Shared) -> Attached {
    let mut all: Attached =
        shared.log_file.iter().map(|f| ("/slave/log".to_owned(), f.clone())).collect();
    let frameworks = state.frameworks.values().chain(&state.completed_frameworks);
    for framework in frameworks {
        let id = framework.info.id.as_ref().map_or("", |id| id.value.as_str());
        let completed = framework.completed_executors.iter().map(AsRef::as_ref);
        // Live ones last: their names win.
        for executor in completed.chain(framework.executors.values()) {
            for name in names(id, executor) {
                all.insert(name, PathBuf::from(&executor.directory));
            }
        }
        for executor in framework.executors.values() {
            for (path, real) in agent_core::shown_volumes(&shared.config.work_dir, executor) {
                for name in names(id, executor) {
                    all.insert(format!("{name}/{path}"), PathBuf::from(&real));
                }
            }
        }
    }
    all
}

/// Virtual paths of an executor's sandbox.
fn names(framework_id: &str, executor: &Executor) -> impl Iterator<Item = String> {
    let latest = executor.directory.rsplit_once('/').map(|(runs, _)| format!("{runs}/latest"));
    let own = format!("/frameworks/{framework_id}/executors/{}/runs/latest", executor.id());
    [executor.directory.clone(), own].into_iter().chain(latest)
}
