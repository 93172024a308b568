//! The web UI: what the master knows, as pages. The pages themselves are made in `ui`, of a [`Digest`] of a snapshot that
//! all viewers share, on a thread that may take its time.

mod clusterwide;
mod digest;
mod events;
mod models;
mod places;
mod sampling;
mod sandbox;
mod standby;

use crate::shared::{Leader, Shared};
use digest::Digest;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method};
use http_api::{Request, Response, respond};
use master_core::why::{Answer, Question};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Semaphore, watch};
use ui::{Frame, Page, Query, Route, Sample};

/// How old what is shown may be when it is asked for.
const AGE_MAX: Duration = Duration::from_secs(1);
/// How old an answer to why a framework gets no offers may be: it takes the core's time.
const WHY_AGE_MAX: Duration = Duration::from_secs(5);
/// Frameworks of which such answers are kept.
const WHY_KEPT: usize = 64;
/// Viewers that are told of changes at a time.
const VIEWERS_MAX: usize = 1000;
/// Reads of sandboxes at a time.
const READS_MAX: usize = 64;
/// Downloads of files at a time: they last for as long as their reader likes.
const DOWNLOADS_MAX: usize = 64;
/// Asks for the part of a page that changes.
const PART: &str = "x-proffer-part";

/// Why a framework gets no offers, and when that was asked.
type Answered = (Instant, Arc<Vec<Answer>>);

/// What viewers share.
#[derive(Debug)]
pub(crate) struct Ui {
    digest: tokio::sync::Mutex<Option<(Instant, Arc<Digest>)>>,
    why: Mutex<BTreeMap<String, Answered>>,
    samples: Mutex<VecDeque<Sample>>,
    /// Grows with each change of the cluster that is announced.
    changes: watch::Sender<u64>,
    viewers: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
}

impl Default for Ui {
    fn default() -> Self {
        Self {
            digest: tokio::sync::Mutex::default(),
            why: Mutex::default(),
            samples: Mutex::default(),
            changes: watch::Sender::new(0),
            viewers: Arc::new(Semaphore::new(VIEWERS_MAX)),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
        }
    }
}

impl Ui {
    /// Something changed that viewers may see.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    /// Whether anybody wants to know of changes.
    pub(crate) fn is_watched(&self) -> bool {
        self.changes.receiver_count() > 0
    }

    fn samples(&self) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().copied().collect()
    }
}

pub(crate) use sampling::sample;

/// Answers a request for the UI.
pub(crate) async fn answer(shared: &Arc<Shared>, route: Route, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return respond::method_not_allowed("GET, HEAD", request.method());
    }
    match &route {
        Route::Asset(name) => return asset(name),
        Route::Leader => return standby::leader(shared),
        _ => {}
    }
    let is_part = request.headers().contains_key(PART);
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let leader = shared.leader.borrow().clone();
    match leader {
        Leader::Me => {}
        Leader::Nobody => return standby::nobody(shared, is_part),
        Leader::Other(leader) => {
            let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
            return crate::routes::redirected(&leader, path);
        }
    }
    match route {
        Route::Events => events::stream(shared),
        Route::Files(place) => sandbox::files(shared, place, &query, is_part).await,
        Route::Read(place) => sandbox::read(shared, place, &query).await,
        Route::Download(place) => sandbox::download(shared, place, &query).await,
        route => page(shared, route, query, is_part).await,
    }
}

/// A page of the cluster.
async fn page(shared: &Arc<Shared>, route: Route, query: Query, is_part: bool) -> Response {
    let Some(digest) = digest(shared).await else {
        return respond::text(503, "The master is shutting down");
    };
    let why = match &route {
        Route::Framework(id) => why(shared, id).await,
        _ => Arc::default(),
    };
    let shared = shared.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let frame = frame(&shared, Some(&digest));
        match models::page(&shared, &digest, &route, &query, &why) {
            Some(page) => html(200, &page, &frame, is_part),
            None => html(404, &missing(&route), &frame, is_part),
        }
    });
    answer.await.unwrap_or_else(|_| respond::text(500, "The page could not be made"))
}

fn missing(route: &Route) -> Page {
    let text = match route {
        Route::Agent(id) => format!(
            "No agent with the id {id} is registered. It may be unreachable or gone: see Maintenance."
        ),
        Route::Framework(id) => {
            format!("No framework with the id {id} is known. It may have ended too long ago.")
        }
        Route::Role(name) => format!("Nothing is known of a role {name}."),
        Route::Place(place) => {
            format!("{} is not known. It may have ended too long ago.", place.id())
        }
        _ => "There is no such page.".to_owned(),
    };
    ui::pages::problem("Not found", &text, false)
}

/// The digest that viewers share, taken anew when it is too old; None while the process ends.
async fn digest(shared: &Arc<Shared>) -> Option<Arc<Digest>> {
    let mut kept = shared.ui.digest.lock().await;
    if let Some((taken, digest)) = &*kept
        && taken.elapsed() < AGE_MAX
    {
        return Some(digest.clone());
    }
    let taken = Instant::now();
    let state = shared.view().await?;
    let digest = tokio::task::spawn_blocking(move || Arc::new(Digest::of(state))).await.ok()?;
    *kept = Some((taken, digest.clone()));
    Some(digest)
}

/// Why a framework gets no offers.
async fn why(shared: &Arc<Shared>, id: &str) -> Arc<Vec<Answer>> {
    let kept = || shared.ui.why.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, answers)) = kept().get(id)
        && at.elapsed() < WHY_AGE_MAX
    {
        return answers.clone();
    }
    let question = Question { framework: Some(id.to_owned()), ..Question::default() };
    let answers = Arc::new(shared.why(question).await.unwrap_or_default());
    let mut kept = kept();
    kept.retain(|_, (at, _)| at.elapsed() < WHY_AGE_MAX);
    if kept.len() < WHY_KEPT {
        kept.insert(id.to_owned(), (Instant::now(), answers.clone()));
    }
    answers
}

/// What is around a page.
fn frame(shared: &Shared, digest: Option<&Digest>) -> Frame {
    let info = &shared.info;
    let cluster = digest.and_then(|d| d.state.flags.get("cluster")).filter(|name| !name.is_empty());
    Frame {
        cluster: cluster.cloned(),
        master: address(info),
        version: info.version().to_owned(),
        masters: masters(shared),
        now: digest.map_or_else(now, |digest| digest.now),
        counts: digest.map(Digest::in_navigation).unwrap_or_default(),
    }
}

fn address(info: &wire::v1::MasterInfo) -> String {
    let port = info.address.as_ref().map_or(info.port, |a| a.port.cast_unsigned());
    format!("{}:{port}", info.hostname())
}

/// `host:port` of all masters that are known.
fn masters(shared: &Shared) -> Vec<String> {
    let peers = shared.peers.iter().flat_map(|peers| peers.members());
    let mut all: Vec<String> = peers.map(|member| member.address).collect();
    all.extend(shared.masters.borrow().iter().map(address));
    let me = address(&shared.info);
    if !all.contains(&me) {
        all.push(me);
    }
    all
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A page, or the part of it that changes.
fn html(status: u16, page: &Page, frame: &Frame, is_part: bool) -> Response {
    let text = if is_part { page.part(frame).into_string() } else { page.whole(frame) };
    let mut response = respond::content("text/html; charset=utf-8", text.into_bytes());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let policy = ui::security_policy(&frame.masters);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static(PART));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn asset(name: &str) -> Response {
    let Some((asset, text)) = ui::assets::find(name) else {
        return respond::text(404, "Not found");
    };
    let mut response = respond::content(asset.media_type, text.into_bytes());
    let headers = response.headers_mut();
    // The version is in the address.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
