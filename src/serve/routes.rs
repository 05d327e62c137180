//! What can be asked, by whom, and how much of it: routes, tokens, limits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::hash::Digest;
use crate::remote::{Address, FINGERPRINT_HEADER, NDJSON};
use crate::serve::crew::Crew;
use crate::serve::limits::{BODY, CREWS, DOCUMENTS_OF_A_REQUEST, Limits, MEMORY_KIB, RETRY_AFTER};
use crate::serve::offer::{Offer, Offered};
use crate::serve::reply::Reply;
use crate::serve::request::{self, Asked};
use crate::serve::tokens::Tokens;

/// Methods and paths; a test compares them with the description of the server.
pub const ROUTES: [(&str, &str); 5] = [
    ("get", "/health"),
    ("get", "/openapi.json"),
    ("get", "/modules"),
    ("get", "/modules/{name}"),
    ("post", "/modules/{name}/run"),
];

/// The description of the server.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Workers with nothing to do end after so long.
const IDLE: Duration = Duration::from_secs(60);

/// What all requests share.
pub(super) struct App {
    pub(super) offer: Offer,
    pub(super) limits: Limits,
    pub(super) tokens: Tokens,
    /// Nothing new is taken on.
    pub(super) stopping: AtomicBool,
    crews: Mutex<HashMap<(String, String, Digest), Arc<Crew>>>,
    documents: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

impl App {
    pub(super) fn new(offer: Offer, limits: Limits, tokens: Tokens) -> App {
        let documents = Arc::new(Semaphore::new(limits.documents));
        let memory = Arc::new(Semaphore::new(MEMORY_KIB));
        let (stopping, crews) = (AtomicBool::new(false), Mutex::default());
        App { offer, limits, tokens, stopping, crews, documents, memory }
    }

    fn crews(&self) -> MutexGuard<'_, HashMap<(String, String, Digest), Arc<Crew>>> {
        self.crews.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends workers that have had nothing to do for long.
    pub(super) fn end_idle(&self) {
        self.end_crews(|crew| crew.idle_since().is_some_and(|since| since.elapsed() >= IDLE));
    }

    /// Ends all workers.
    pub(super) fn end_all(&self) {
        self.end_crews(|_| true);
    }

    fn end_crews(&self, mut ends: impl FnMut(&Arc<Crew>) -> bool) {
        let over: Vec<Arc<Crew>> =
            self.crews().extract_if(|_, crew| ends(crew)).map(|(_, crew)| crew).collect();
        over.iter().for_each(|crew| crew.end());
    }

    /// The crew for a setup, by the code as it is now.
    fn crew(&self, offered: &Arc<Offered>, asked: &Asked, fingerprint: &str) -> Option<Arc<Crew>> {
        let key = (offered.module.name.clone(), fingerprint.to_owned(), asked.setup.digest);
        let mut crews = self.crews();
        if let Some(crew) = crews.get(&key) {
            if !crew.is_stale() {
                return Some(Arc::clone(crew));
            }
            crews.remove(&key)?.end();
        }
        if crews.len() >= CREWS {
            // The one that has had nothing to do for the longest time makes room.
            let oldest = crews
                .iter()
                .filter_map(|(key, crew)| Some((crew.idle_since()?, key.clone())))
                .min_by_key(|(since, _)| *since);
            crews.remove(&oldest?.1)?.end();
        }
        let workers = offered.workers().unwrap_or(self.limits.workers).max(1);
        let (host, setup) = (Arc::clone(&self.offer.host), asked.setup.clone());
        let crew =
            Crew::new(Arc::clone(offered), host, setup, fingerprint.to_owned(), workers, self.limits.request);
        crews.insert(key, Arc::clone(&crew));
        Some(crew)
    }
}

type Shared = Arc<App>;
/// A refusal is a reply like any other.
type Replied = Result<Response, Response>;

/// The whole service.
pub(super) fn router(app: Shared) -> Router {
    let [health, openapi, modules, module, run] = ROUTES.map(|(_, path)| path);
    Router::new()
        .route(health, get(ask_health))
        .route(openapi, get(ask_openapi))
        .route(modules, get(ask_modules))
        .route(module, get(ask_module))
        .route(run, post(ask_run))
        .fallback(nothing_there)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), admit))
        .with_state(app)
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

fn json_reply(status: StatusCode, value: &Value) -> Response {
    reply(status, "application/json", value.to_string())
}

fn refuse(status: StatusCode, kind: &str, message: &str) -> Response {
    let mut response = json_reply(status, &json!({ "error": { "type": kind, "message": message } }));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(RETRY_AFTER));
    }
    if status == StatusCode::UNAUTHORIZED {
        let scheme = header::HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// Before any route: who may ask at all. Nobody but for `/health` learns what there is.
async fn admit(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    // A page in somebody's browser is no client of ours, whatever it got to know.
    if headers.contains_key(header::ORIGIN) {
        return refuse(StatusCode::FORBIDDEN, "origin", "requests of web pages are not answered");
    }
    if app.tokens.is_empty() && !is_meant_here(headers) {
        return refuse(
            StatusCode::MISDIRECTED_REQUEST,
            "host",
            "without a token, only this machine is answered",
        );
    }
    if request.uri().path() != "/health" {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if !app.tokens.admit(authorization) {
            return refuse(StatusCode::UNAUTHORIZED, "token", "a bearer token of this server is needed");
        }
    }
    next.run(request).await
}

/// Whether the name by which it was asked is one of this machine: no other name was led here.
fn is_meant_here(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    Address::parse(&format!("http://{host}")).is_ok_and(|address| address.is_here())
}

async fn nothing_there() -> Response {
    refuse(StatusCode::NOT_FOUND, "path", "there is nothing at this path; /openapi.json says what there is")
}

async fn ask_health(State(app): State<Shared>) -> Response {
    if app.stopping.load(Ordering::Relaxed) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server ends");
    }
    json_reply(StatusCode::OK, &json!({ "status": "ok" }))
}

async fn ask_openapi() -> Response {
    reply(StatusCode::OK, "application/json", OPENAPI)
}

async fn ask_modules(State(app): State<Shared>) -> Replied {
    let names: Vec<String> = app.offer.modules.keys().cloned().collect();
    let mut all = Vec::new();
    for name in names {
        // One that cannot start is listed with what is wrong.
        match described(&app, &name).await {
            Ok(description) => all.push(description),
            Err((_, problem)) => {
                all.push(json!({ "protocol": crate::remote::PROTOCOL, "name": name, "problem": problem }));
            }
        }
    }
    Ok(json_reply(StatusCode::OK, &json!({ "modules": all })))
}

async fn ask_module(State(app): State<Shared>, Path(name): Path<String>) -> Replied {
    match described(&app, &name).await {
        Ok(description) => Ok(json_reply(StatusCode::OK, &description)),
        Err((status, problem)) => Err(refuse(status, "module", &problem)),
    }
}

async fn described(app: &Shared, name: &str) -> Result<Value, (StatusCode, String)> {
    let offered = offered(app, name).map_err(|problem| (StatusCode::NOT_FOUND, problem))?;
    let shared = Arc::clone(app);
    let describe = move || offered.describe(&shared.offer.host, shared.limits.request);
    let told = tokio::task::spawn_blocking(describe).await;
    match told {
        Ok(Ok(description)) => Ok(json!(description)),
        Ok(Err(failure)) => {
            Err((StatusCode::INTERNAL_SERVER_ERROR, format!("`{name}` cannot start: {}", failure.summary())))
        }
        Err(_) => Err((StatusCode::INTERNAL_SERVER_ERROR, "a bug of the server".to_owned())),
    }
}

fn offered(app: &App, name: &str) -> Result<Arc<Offered>, String> {
    app.offer.modules.get(name).map(Arc::clone).ok_or_else(|| {
        let near = crate::text::nearest(name, app.offer.modules.keys().map(String::as_str));
        let hint = near.map(|near| format!("; there is `{near}`")).unwrap_or_default();
        format!("this server has no module `{}`{hint}", crate::text::printable(name))
    })
}

fn busy(what: &str) -> Response {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", what)
}

async fn ask_run(State(app): State<Shared>, Path(name): Path<String>, request: Request) -> Replied {
    if app.stopping.load(Ordering::Relaxed) {
        return Err(busy("the server ends: ask again"));
    }
    let offered =
        offered(&app, &name).map_err(|problem| refuse(StatusCode::NOT_FOUND, "module", &problem))?;
    let (parts, body) = request.into_parts();
    let length =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let most = app.limits.request;
    if length.is_some_and(|length: u64| length > most) {
        return Err(too_large(most));
    }
    let kib = length.unwrap_or(most).div_ceil(1024).clamp(1, MEMORY_KIB as u64) as u32;
    let memory = Arc::clone(&app.memory).try_acquire_many_owned(kib);
    let memory = memory.map_err(|_| busy("the server has too many bytes in hand"))?;
    let read = tokio::time::timeout(BODY, axum::body::to_bytes(body, most as usize)).await;
    let body = match read {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Err(too_large(most)),
        Err(_) => {
            return Err(refuse(StatusCode::REQUEST_TIMEOUT, "slow", "the request did not come in time"));
        }
    };
    let expected =
        parts.headers.get(FINGERPRINT_HEADER).and_then(|value| Some(value.to_str().ok()?.to_owned()));
    let shared = Arc::clone(&app);
    // Reading large requests, and asking a module what it is, is nothing for the threads of connections.
    let begun =
        tokio::task::spawn_blocking(move || begin(&shared, &offered, &body, expected.as_deref(), memory));
    match begun.await {
        Ok(Ok(begun)) => {
            let Begun { lines, crew, ids, room } = begun;
            let fingerprint = crew.fingerprint.clone();
            let stream = Reply::new(lines, crew, ids, room);
            let mut response = reply(StatusCode::OK, NDJSON, Body::from_stream(stream));
            if let Ok(value) = header::HeaderValue::from_str(&fingerprint) {
                response.headers_mut().insert(FINGERPRINT_HEADER, value);
            }
            Ok(response)
        }
        Ok(Err(refused)) => Err(refuse(refused.status, refused.kind, &refused.message)),
        Err(_) => Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, "bug", "a bug of the server")),
    }
}

fn too_large(most: u64) -> Response {
    let message = format!("a request may have {}", crate::text::size(most));
    refuse(StatusCode::PAYLOAD_TOO_LARGE, "size", &message)
}

/// Why nothing was handed out.
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, message: &str) -> Refusal {
        Refusal { status, kind, message: message.to_owned() }
    }

    fn busy(message: &str) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }
}

/// Documents that were handed out.
struct Begun {
    lines: tokio::sync::mpsc::UnboundedReceiver<crate::serve::crew::Line>,
    crew: Arc<Crew>,
    ids: Vec<u64>,
    room: Vec<OwnedSemaphorePermit>,
}

fn begin(
    app: &App,
    offered: &Arc<Offered>,
    body: &[u8],
    expected: Option<&str>,
    memory: OwnedSemaphorePermit,
) -> Result<Begun, Refusal> {
    let most = DOCUMENTS_OF_A_REQUEST.min(app.limits.documents);
    let asked = request::read(body, most, &offered.scratch())
        .map_err(|problem| Refusal::new(StatusCode::BAD_REQUEST, "request", &problem))?;
    let bug = |problem: String| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "module", &problem);
    // What the worker says of itself is a part of its code: it is asked before anything is compared.
    let described = offered.describe(&app.offer.host, app.limits.request);
    let description = described.map_err(|failure| bug(format!("it cannot start: {}", failure.summary())))?;
    let fingerprint = description.fingerprint.unwrap_or_default();
    if expected.is_some_and(|expected| expected != fingerprint) {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "changed",
            "the module has other code than the request is meant for",
        ));
    }
    let permits = asked.documents.len() as u32;
    let documents = Arc::clone(&app.documents).try_acquire_many_owned(permits);
    let documents = documents.map_err(|_| Refusal::busy("the server has too many documents in hand"))?;
    let crew = app.crew(offered, &asked, &fingerprint);
    let crew = crew
        .ok_or_else(|| Refusal::busy("the server is used with too many different params and side inputs"))?;
    let (ids, lines) = crew.take(asked.documents).map_err(bug)?;
    Ok(Begun { lines, crew, ids, room: vec![memory, documents] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_description_of_the_server_has_its_routes_and_no_others() {
        let described: Value = serde_json::from_str(OPENAPI).unwrap();
        let paths = described["paths"].as_object().unwrap().iter();
        let of_path = |(path, methods): (&String, &Value)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (method.clone(), path.clone())).collect::<Vec<_>>()
        };
        let described: BTreeSet<(String, String)> = paths.flat_map(of_path).collect();
        let routes = ROUTES.map(|(method, path)| (method.to_owned(), path.to_owned()));
        assert_eq!(described, BTreeSet::from(routes));
    }

    #[test]
    fn only_names_of_this_machine_are_meant_here() {
        let is_here = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_meant_here(&headers)
        };
        assert!(is_here("127.0.0.1:7070") && is_here("localhost:7070") && is_here("[::1]:1"));
        assert!(!is_here("evil.net") && !is_here("127.0.0.1.evil.net:7070") && !is_here(""));
        assert!(!is_meant_here(&HeaderMap::new()));
    }
}
