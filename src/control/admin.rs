//! The pages for monitoring, `/metrics`, `/healthz` and `/readyz`, and the admin API beside them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tracing::debug;

use super::Serve;
use super::api::{self, Call};
use super::exposition::{Numbers, exposition};
use crate::config::{AdminToken, Role};
use crate::intake::{AtTheEnd, ListenOptions, Listening, Once, ServerIdentity};
use crate::metrics::Counter;

/// What the pages are made from.
pub trait Observe: Send + Sync + 'static {
    /// The numbers now; `None` while the process ends.
    fn numbers(&self) -> Option<Numbers>;

    /// What only a restart mends, one sentence each; empty when the process lives.
    fn defects(&self) -> Vec<String>;

    /// What keeps the process from its work, one sentence each; empty when it is ready.
    fn unready(&self) -> Vec<String>;
}

/// Who may look and change things, as the configuration says now.
#[derive(Debug, Default)]
pub struct Access {
    tokens: RwLock<Arc<[AdminToken]>>,
    refused: Counter,
}

impl Access {
    /// From now on these may.
    pub fn set(&self, tokens: &[AdminToken]) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
    }

    /// Requests without a token that permits them.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load()
    }

    fn tokens(&self) -> Arc<[AdminToken]> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The name of whoever asks, if they may do what this role may.
    fn permit(&self, headers: &HeaderMap, role: Role) -> Result<String, Reply> {
        let tokens = self.tokens();
        let known = tokens.iter().find(|it| it.token.is_shown(headers));
        let refusal = match known {
            Some(known) if known.role >= role => return Ok(known.name.clone()),
            Some(known) => {
                let (has, needs) = (known.role.word(), role.word());
                let text = format!("`{}` is {has}, and this needs {needs}", known.name);
                Reply::error(StatusCode::FORBIDDEN, &text)
            }
            None if tokens.is_empty() => {
                let text = "set `admin.tokens` to use the API; `shrike` commands need none";
                Reply::error(StatusCode::FORBIDDEN, text)
            }
            None => {
                let text = "expected `Authorization: Bearer` with one of `admin.tokens`";
                Reply::error(StatusCode::UNAUTHORIZED, text)
            }
        };
        self.refused.add(1);
        Err(refusal)
    }
}

/// Whether a request names this host as programs on it do: by an address, as `localhost`, or by its
/// own name. One that names nothing comes from no browser.
fn is_for_this_host(head: &Parts, own_name: &str) -> bool {
    let named = match (head.uri.authority(), head.headers.get(HOST)) {
        (Some(authority), _) => authority.clone(),
        (None, Some(named)) => match Authority::try_from(named.as_bytes()) {
            Ok(authority) => authority,
            Err(_) => return false,
        },
        (None, None) => return true,
    };
    let name = named.host().trim_end_matches('.').to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || name == own_name.to_ascii_lowercase()
}

/// The listener and its thread; dropping it closes the address.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    _listening: Listening,
}

/// What all requests share.
struct Shared {
    observe: Arc<dyn Observe>,
    serve: Arc<dyn Serve>,
    access: Arc<Access>,
    /// What this host calls itself.
    own_name: String,
}

impl Admin {
    /// Listens on an address.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn open(
        address: SocketAddr,
        identity: Arc<ServerIdentity>,
        access: Arc<Access>,
        (observe, serve): (Arc<dyn Observe>, Arc<dyn Serve>),
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let options = ListenOptions {
            name: format!("admin {address}"),
            identity,
            connections_max: CONNECTIONS_MAX,
            requests_max: CONNECTIONS_MAX,
            head_timeout: HEAD_TIMEOUT,
            at_the_end: AtTheEnd::Leave,
        };
        let own_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let shared = Arc::new(Shared { observe, serve, access, own_name });
        let _listening = Listening::start(listener, options, move |request, peer| {
            answer(request, peer, Arc::clone(&shared))
        })?;
        Ok(Self { address, _listening })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Reply {
    pub(super) fn json(status: StatusCode, value: &impl serde::Serialize) -> Self {
        let body = serde_json::to_string(value).unwrap_or_default() + "\n";
        Self { status, kind: JSON, body }
    }

    pub(super) fn error(status: StatusCode, text: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": text }))
    }

    pub(super) fn text(status: StatusCode, kind: &'static str, body: &str) -> Self {
        Self { status, kind, body: body.to_owned() }
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    shared: Arc<Shared>,
) -> Response<Once> {
    let reply = match reply(request, peer, &shared).await {
        Ok(reply) | Err(reply) => reply,
    };
    if reply.status.is_client_error() {
        debug!(%peer, status = reply.status.as_u16(), "a request for the pages was refused");
    }
    let mut response = Response::new(Once::new(reply.body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.kind));
    // One request each, so that few connections serve many.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match reply.status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        }
        _ => {}
    }
    response
}

async fn reply(
    request: Request<Incoming>,
    peer: SocketAddr,
    shared: &Arc<Shared>,
) -> Result<Reply, Reply> {
    let (head, body) = request.into_parts();
    // Without tokens only this host reaches the pages, and so does every page that its browsers
    // show: one whose name became a loopback address could read them (DNS rebinding).
    if shared.access.tokens().is_empty() && !is_for_this_host(&head, &shared.own_name) {
        shared.access.refused.add(1);
        let text = "another host is named, as when a web page asks: ask by address or as \
                    localhost, or set `admin.tokens`\n";
        return Err(Reply::text(StatusCode::FORBIDDEN, TEXT, text));
    }
    if head.uri.path().starts_with(api::PREFIX) {
        let call = Call::parse(&head.method, head.uri.path())?;
        let name = shared.access.permit(&head.headers, call.role())?;
        let by = format!("token {name}, {peer}");
        let body = api::collect(body).await?;
        let request = call.request(&body)?;
        let serve = Arc::clone(&shared.serve);
        let done = tokio::task::spawn_blocking(move || call.answer(request, &by, &*serve));
        let failed = |_| Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "the request failed");
        return done.await.map_err(failed);
    }
    if head.method != Method::GET && head.method != Method::HEAD {
        let text = "only GET and HEAD\n";
        return Err(Reply::text(StatusCode::METHOD_NOT_ALLOWED, TEXT, text));
    }
    if head.uri.path() == "/metrics" && !shared.access.tokens().is_empty() {
        shared.access.permit(&head.headers, Role::Viewer)?;
    }
    let (shared, path) = (Arc::clone(shared), head.uri.path().to_owned());
    let made = tokio::task::spawn_blocking(move || page(&path, &*shared.observe));
    let failed = |_| Reply::text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the page failed\n");
    made.await.map_err(failed)
}

fn page(path: &str, observe: &dyn Observe) -> Reply {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match path {
        "/metrics" => match observe.numbers() {
            Some(numbers) => Reply::text(StatusCode::OK, METRICS, &exposition(&numbers)),
            None => Reply::text(unavailable, TEXT, "stopping\n"),
        },
        "/healthz" => unless(&observe.defects(), "ok\n"),
        "/readyz" => unless(&observe.unready(), "ready\n"),
        _ => {
            let pages = "there are /metrics, /healthz, /readyz and /api/v1/\n";
            Reply::text(StatusCode::NOT_FOUND, TEXT, pages)
        }
    }
}

/// What is well, or what is not.
fn unless(problems: &[String], well: &str) -> Reply {
    match problems {
        [] => Reply::text(StatusCode::OK, TEXT, well),
        _ => Reply::text(StatusCode::SERVICE_UNAVAILABLE, TEXT, &(problems.join("\n") + "\n")),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Requests at once; scrapers and operators are few.
const CONNECTIONS_MAX: usize = 16;
/// How long whoever connects may say nothing: they have one question each.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_host_are_its_own() {
        for (host, expected) in [
            (None, true),
            (Some("127.0.0.1:9401"), true),
            (Some("10.1.2.3"), true),
            (Some("[::1]:9401"), true),
            (Some("LocalHost:9401"), true),
            (Some("localhost."), true),
            (Some("shrike.localhost"), true),
            (Some("siem-01:9401"), true),
            (Some("Siem-01.:9401"), true),
            (Some("rebound.example:9401"), false),
            (Some("127.0.0.1.rebound.example"), false),
            (Some("notlocalhost"), false),
            (Some("localhost.rebound.example"), false),
            (Some(""), false),
            (Some("a b"), false),
        ] {
            let mut request = Request::get("/metrics");
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let (head, ()) = request.body(()).expect("it is one").into_parts();
            assert_eq!(is_for_this_host(&head, "siem-01"), expected, "{host:?}");
        }
        let absolute = Request::get("http://rebound.example/metrics").header(HOST, "localhost");
        let (head, ()) = absolute.body(()).expect("it is one").into_parts();
        assert!(!is_for_this_host(&head, "siem-01"));
    }
}
