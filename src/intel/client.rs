//! Asks a TAXII server: one poll after another, never faster than it may.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, DATE, RANGE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::time::{Instant, sleep, sleep_until};

use super::cache::Progress;
use super::page::Told;
use super::spec::{ServerSpec, TaxiiAuth};
use super::taxii::{Ask, Poll, Polled, Refusal, Session};
use crate::deliver::{
    Backoff, ConnectionSettings, Destination, Http2, HttpTransport, Reach, Request, Secret,
    Transport as _, TransportErrorKind, TransportLimits, TransportSetupError,
};
use crate::event::Time;

/// Why a poll did not come to its end; texts hold no credentials.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The way to the server cannot be set up.
    #[error("threat_intel: {server}: {source}")]
    Setup {
        /// The server's name.
        server: Arc<str>,
        /// What is wrong.
        source: TransportSetupError,
    },
    /// It does not answer, or says that it cannot now.
    #[error("threat_intel: {server}: {problem}; it is tried again")]
    Away {
        /// The server's name.
        server: Arc<str>,
        /// What happened.
        problem: String,
    },
    /// It does not know us.
    #[error("threat_intel: {server}: {problem}; see `auth` of this server")]
    Auth {
        /// The server's name.
        server: Arc<str>,
        /// What it said.
        problem: String,
    },
    /// What is configured does not fit it.
    #[error("threat_intel: {server}: {problem}")]
    Config {
        /// The server's name.
        server: Arc<str>,
        /// What is wrong, and what to look at.
        problem: String,
    },
}

impl PollError {
    /// Whether it may go by itself.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

/// A TAXII server, and what is known of it.
pub struct Client {
    spec: ServerSpec,
    session: Session,
    headers: HeaderMap,
    meter: Meter,
    destination: Arc<Destination>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("name", &self.spec.name).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the files that TLS needs, as each poll does again; asks nothing yet.
    ///
    /// # Errors
    /// When a file cannot be read, or what is configured cannot be sent.
    pub fn open(spec: &ServerSpec) -> Result<Self, PollError> {
        let config = |problem| PollError::Config { server: Arc::clone(&spec.name), problem };
        let session = Session::new(spec).map_err(config)?;
        let headers = headers(spec).map_err(config)?;
        let meter = Meter::new(spec.requests_per_minute);
        let destination = destination(spec)?;
        Ok(Self { spec: spec.clone(), session, headers, meter, destination })
    }

    /// Reads what the feed has beyond `progress`, or all of it where that is asked; gives away each
    /// page as it comes.
    ///
    /// It runs inside a `LocalSet`. Dropping it abandons the poll: pages that were given away stay,
    /// and the next poll asks for them again.
    ///
    /// # Errors
    /// When the server does not answer after several attempts, or refuses.
    pub async fn poll(
        &mut self,
        progress: Progress,
        is_full: bool,
        now: Time,
        mut take: impl FnMut(Told),
    ) -> Result<Polled, PollError> {
        let Self { spec, session, headers, meter, destination } = self;
        let server = || Arc::clone(&spec.name);
        // Certificates are renewed while this runs.
        *destination = self::destination(spec)?;
        let limits = TransportLimits {
            // One more tells that there was more.
            answer_bytes: spec.feed.response_bytes_max.saturating_add(1),
            ..TransportLimits::new(1)
        };
        let mut transport = HttpTransport::share(destination, limits);
        let mut poll = Poll::new(spec, session, progress, is_full, now);
        let mut rng = rng();
        let (mut failures, mut is_fresh) = (0, false);
        while let Some(ask) = poll.ask() {
            sleep_until(meter.turn(Instant::now())).await;
            let refusal = match transport.send(request(&ask, spec, headers)).await {
                Ok(answer) => match poll.answer(answer.status, &answer.headers, &answer.body) {
                    Ok(objects) => {
                        failures = 0;
                        if !objects.is_empty() {
                            take(objects);
                        }
                        continue;
                    }
                    Err(refusal) => refusal,
                },
                Err(error) => match error.kind {
                    TransportErrorKind::TlsRejected | TransportErrorKind::Forbidden => {
                        Refusal::Config(error.to_string())
                    }
                    _ => Refusal::Later { wait: None, problem: error.to_string() },
                },
            };
            match refusal.map(|problem| scrubbed(problem, spec)) {
                Refusal::Later { wait, problem } if failures < RETRIES_MAX => {
                    failures += 1;
                    let asked = wait.unwrap_or_default().min(spec.feed.interval);
                    tracing::debug!(server = &*spec.name, problem, "asking again");
                    sleep(BACKOFF.wait(failures, &mut rng).max(asked)).await;
                }
                Refusal::Later { problem, .. } => {
                    return Err(PollError::Away { server: server(), problem });
                }
                // A certificate may have been renewed: its files are read again, once.
                Refusal::Auth(_) if !is_fresh => {
                    is_fresh = true;
                    *destination = self::destination(spec)?;
                    transport = HttpTransport::share(destination, limits);
                }
                Refusal::Auth(problem) => {
                    return Err(PollError::Auth { server: server(), problem });
                }
                Refusal::Config(problem) => {
                    return Err(PollError::Config { server: server(), problem });
                }
            }
        }
        Ok(poll.polled())
    }
}

/// Draws that differ from host to host and from run to run.
pub(super) fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(RandomState::new().hash_one(0))
}

fn request(ask: &Ask, spec: &ServerSpec, headers: &HeaderMap) -> Request {
    let mut headers = headers.clone();
    headers.insert(ACCEPT, HeaderValue::from_static(ask.accept));
    if let Some(range) = &ask.range {
        let range = HeaderValue::from_str(range).expect("digits, a dash and a word");
        headers.insert(RANGE, range);
    }
    Request {
        endpoint: 0,
        group: 0,
        method: Method::GET,
        path: ask.path.clone(),
        headers,
        body: Bytes::new(),
        timeout: spec.timeout,
        needs_body: true,
    }
}

/// The headers of every request.
fn headers(spec: &ServerSpec) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &Secret| {
        let wrong = || format!("header {name}: its name or value cannot stand in a request");
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(header, value);
        Ok::<(), String>(())
    };
    for (name, value) in &spec.headers {
        put(name, value)?;
    }
    match &spec.auth {
        TaxiiAuth::None => {}
        TaxiiAuth::Header { name, value } => put(name, value)?,
        TaxiiAuth::Basic { username, password } => {
            put(AUTHORIZATION.as_str(), &basic(username, password))?;
        }
    }
    Ok(headers)
}

/// The header's value (RFC 7617, 2).
fn basic(username: &Secret, password: &Secret) -> Secret {
    use base64::Engine as _;
    let both = zeroize::Zeroizing::new([username.expose(), password.expose()].join(":"));
    let encoded = base64::engine::general_purpose::STANDARD.encode(both.as_bytes());
    Secret::new(format!("Basic {encoded}"))
}

fn destination(spec: &ServerSpec) -> Result<Arc<Destination>, PollError> {
    let connection = ConnectionSettings {
        connect_timeout: spec.timeout,
        timeout: spec.timeout,
        keep_alive: spec.timeout,
        connections_max: 1,
        age_max: AGE_MAX,
        reach: Reach::Anywhere,
        http2: Http2::Auto,
        proxy: spec.proxy.clone(),
    };
    // Paths are whole ones: the API root need not lie below the path of discovery.
    let mut parts = spec.url.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    let origin = Uri::from_parts(parts).unwrap_or_else(|_| spec.url.clone());
    let opened = Destination::new(&[origin], &spec.tls, &connection);
    let opened =
        opened.map_err(|source| PollError::Setup { server: Arc::clone(&spec.name), source });
    opened.map(Arc::new)
}

/// A text without our credentials, which a server may echo.
pub(super) fn scrubbed(mut text: String, spec: &ServerSpec) -> String {
    let of_auth = match &spec.auth {
        TaxiiAuth::None => Vec::new(),
        TaxiiAuth::Header { value, .. } => vec![value.clone()],
        TaxiiAuth::Basic { username, password } => {
            vec![username.clone(), password.clone(), basic(username, password)]
        }
    };
    let mut secrets: Vec<&str> = of_auth
        .iter()
        .chain(spec.headers.iter().map(|(_, value)| value))
        .flat_map(|secret| secret.expose().split_whitespace())
        // A server that says "Bearer" says nothing of ours.
        .filter(|secret| secret.len() >= SECRET_BYTES_MIN)
        .filter(|secret| !["bearer", "basic"].iter().any(|it| secret.eq_ignore_ascii_case(it)))
        .collect();
    // One that is a part of another would leave the rest of it.
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        text = text.replace(secret, "***");
    }
    text
}

/// The server's clock at its answer.
pub(super) fn date(headers: &HeaderMap) -> Option<Time> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since = date.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
    Some(Time { secs: i64::try_from(since.as_secs()).ok()?, nanos: 0 })
}

/// No more than so many requests in any minute.
#[derive(Debug)]
struct Meter {
    per_minute: usize,
    /// When the last of them were sent.
    sent: VecDeque<Instant>,
}

impl Meter {
    fn new(per_minute: u32) -> Self {
        let per_minute = usize::try_from(per_minute.max(1)).unwrap_or(usize::MAX);
        Self { per_minute, sent: VecDeque::new() }
    }

    /// When the next request may be sent; it is counted as sent then.
    fn turn(&mut self, now: Instant) -> Instant {
        let first = if self.sent.len() < self.per_minute { None } else { self.sent.pop_front() };
        let due = first.map_or(now, |first| now.max(first + MINUTE));
        self.sent.push_back(due);
        due
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// How long a connection is used: longer than a poll of many pages takes.
const AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// Attempts after the first before a poll is given up; the next one comes soon.
const RETRIES_MAX: u32 = 4;
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(30), percent: 200 };
/// Shorter secrets would blacken half of any text.
const SECRET_BYTES_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_sees_more_than_it_may() {
        let mut meter = Meter::new(3);
        let begun = Instant::now();
        let mut now = begun;
        let mut sent = Vec::new();
        for n in 0..10 {
            now = meter.turn(now + Duration::from_secs(n % 3));
            sent.push(now - begun);
        }
        assert!(sent.windows(4).all(|it| it[3] - it[0] >= MINUTE), "{sent:?}");
        // As soon as it may.
        assert!(sent[9] < Duration::from_secs(190), "{sent:?}");
    }

    #[test]
    fn what_a_server_echoes_holds_no_credentials() {
        let spec = ServerSpec {
            auth: TaxiiAuth::Header {
                name: "Authorization".to_owned(),
                value: Secret::new("Bearer hunter2hunter2".to_owned()),
            },
            ..ServerSpec::default()
        };
        let said = "no such Bearer token: hunter2hunter2".to_owned();
        assert_eq!(scrubbed(said, &spec), "no such Bearer token: ***");
        let secret = |text: &str| Secret::new(text.to_owned());
        let auth = TaxiiAuth::Basic { username: secret("shrike"), password: secret("hunter2") };
        let spec = ServerSpec { auth, ..ServerSpec::default() };
        let said = "Basic c2hyaWtlOmh1bnRlcjI= is not shrike with hunter2".to_owned();
        assert_eq!(scrubbed(said, &spec), "Basic *** is not *** with ***");
    }
}
