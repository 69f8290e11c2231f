//! The admin API: what each path asks of the running process.
//!
//! | Path | Role | Does |
//! |---|---|---|
//! | `GET /api/v1/exporters`, `GET /api/v1/exporters/NAME` | viewer | as `shrike status` |
//! | `GET /api/v1/exporters/NAME/alerts` | viewer | which incidents are open |
//! | `GET /api/v1/config` | viewer | what is in effect, secrets masked |
//! | `GET /api/v1/dlq/NAME/replay` | viewer | how far the last replay is |
//! | `POST /api/v1/exporters/NAME/pause`, `/resume`, `/flush` | operator | that |
//! | `POST /api/v1/exporters/NAME/rewind` | operator | begins a new pass over the log |
//! | `POST /api/v1/exporters/NAME/alerts/KEY/ack`, `/resolve` | operator | asks for that |
//! | `POST /api/v1/dlq/NAME/replay` | operator | sends dead letters again |
//! | `POST /api/v1/config/reload` | admin | as `shrike reload` |

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::timeout;

use super::admin::Reply;
use super::server::act;
use super::{ALERTS_MAX, Answer, Change, Request, Serve, Target};
use crate::config::{Role, time};
use crate::deliver::percent_decoded;
use crate::pipeline::{AlertChange, Letter, Wanted};

/// Where the API begins.
pub(super) const PREFIX: &str = "/api/";

/// What a path and a method ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Exporters,
    Exporter(String),
    Config,
    Reload,
    Change(Change, String),
    Rewind(String),
    Alerts(String),
    /// The change, the exporter, and the key of the incident.
    Alert(AlertChange, String, String),
    Replay(String),
    Replayed(String),
}

/// The body of a replay; all of it may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Replay {
    /// Only those given up since this time (RFC 3339), or time ago (`1h`).
    since: Option<String>,
    /// Only those of this class.
    class: Option<String>,
    /// Only the letter of the event with this id.
    id: Option<String>,
    /// Events a second at most.
    rate: Option<NonZeroU32>,
    /// Whether each is told of by itself, however old it is.
    really_alert: bool,
}

/// The body of a rewind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    /// Where the pass begins: `earliest`, `latest`, an offset, a time (RFC 3339) or a time ago.
    to: String,
    /// Whether each event up to the head is told of by itself, however old it is.
    #[serde(default)]
    really_alert: bool,
}

impl Call {
    /// What is asked for, or why that is nothing.
    pub(super) fn parse(method: &Method, path: &str) -> Result<Self, Reply> {
        let steps: Vec<&str> = path.trim_start_matches(PREFIX).split('/').collect();
        let name = |name: &str| name.to_owned();
        let (get, post) = match steps.as_slice() {
            ["v1", "exporters"] => (Some(Self::Exporters), None),
            ["v1", "exporters", one] => (Some(Self::Exporter(name(one))), None),
            ["v1", "exporters", one, "pause"] => {
                (None, Some(Self::Change(Change::Pause, name(one))))
            }
            ["v1", "exporters", one, "resume"] => {
                (None, Some(Self::Change(Change::Resume, name(one))))
            }
            ["v1", "exporters", one, "flush"] => {
                (None, Some(Self::Change(Change::Flush, name(one))))
            }
            ["v1", "exporters", one, "rewind"] => (None, Some(Self::Rewind(name(one)))),
            ["v1", "exporters", one, "alerts"] => (Some(Self::Alerts(name(one))), None),
            ["v1", "exporters", one, "alerts", key, change @ ("ack" | "resolve")] => {
                let change = match *change {
                    "ack" => AlertChange::Acknowledge,
                    _ => AlertChange::Resolve,
                };
                let key = String::from_utf8(percent_decoded(key)).map_err(|_| {
                    Reply::error(
                        StatusCode::BAD_REQUEST,
                        "expected a key in UTF-8, percent-encoded",
                    )
                })?;
                (None, Some(Self::Alert(change, name(one), key)))
            }
            ["v1", "config"] => (Some(Self::Config), None),
            ["v1", "config", "reload"] => (None, Some(Self::Reload)),
            ["v1", "dlq", one, "replay"] => {
                (Some(Self::Replayed(name(one))), Some(Self::Replay(name(one))))
            }
            _ => return Err(Reply::error(StatusCode::NOT_FOUND, PATHS)),
        };
        let (asked, other) = match *method {
            Method::GET | Method::HEAD => (get, "POST"),
            Method::POST => (post, "GET"),
            _ => (None, if get.is_some() { "GET" } else { "POST" }),
        };
        asked.ok_or_else(|| {
            Reply::error(StatusCode::METHOD_NOT_ALLOWED, &format!("expected {other}"))
        })
    }

    /// The role that it needs.
    pub(super) fn role(&self) -> Role {
        match self {
            Self::Exporters
            | Self::Exporter(_)
            | Self::Config
            | Self::Alerts(_)
            | Self::Replayed(_) => Role::Viewer,
            Self::Change(..) | Self::Rewind(_) | Self::Alert(..) | Self::Replay(_) => {
                Role::Operator
            }
            Self::Reload => Role::Admin,
        }
    }

    /// The same as a command would ask it.
    pub(super) fn request(&self, body: &[u8]) -> Result<Request, Reply> {
        let exporter = |name: &String| name.clone();
        Ok(match self {
            Self::Exporters | Self::Exporter(_) => Request::Status,
            Self::Config => Request::Config,
            Self::Reload => Request::Reload,
            Self::Change(change, name) => {
                Request::Change { exporter: exporter(name), change: *change }
            }
            Self::Rewind(name) => {
                let Begin { to, really_alert } = serde_json::from_slice(body).map_err(|error| {
                    let text = format!("expected {{to, really_alert}}: {error}");
                    Reply::error(StatusCode::BAD_REQUEST, &text)
                })?;
                let to = Target::parse(&to, now()).map_err(|problem| {
                    Reply::error(StatusCode::BAD_REQUEST, &format!("to: {problem}"))
                })?;
                Request::Rewind { exporter: exporter(name), to, really_alert }
            }
            Self::Alerts(name) => Request::Alerts {
                exporter: exporter(name),
                prefix: String::new(),
                limit: ALERTS_MAX,
            },
            Self::Alert(change, name, key) => {
                Request::Alert { exporter: exporter(name), key: key.clone(), change: *change }
            }
            Self::Replayed(name) => Request::Replayed { exporter: exporter(name) },
            Self::Replay(name) => {
                let wanted = match body.trim_ascii() {
                    b"" => Replay::default(),
                    body => serde_json::from_slice(body).map_err(|error| {
                        let text =
                            format!("expected {{since, class, id, rate, really_alert}}: {error}");
                        Reply::error(StatusCode::BAD_REQUEST, &text)
                    })?,
                };
                let Replay { since, class, id: event_id, rate, really_alert } = wanted;
                let since = since.as_deref().map(time).transpose()?;
                class.as_deref().map(class_of_letters).transpose()?;
                let wanted = Wanted { since, class, event_id, really_alert, ..Wanted::default() };
                let rate = rate.map(NonZeroU32::get);
                Request::Replay { exporter: exporter(name), wanted, rate }
            }
        })
    }

    /// Does it for somebody, and tells what came of it.
    pub(super) fn answer(&self, request: Request, by: &str, serve: &dyn Serve) -> Reply {
        if let Some(name) = self.exporter() {
            match serve.status() {
                Ok(status) if status.exporters.iter().all(|it| it.name != *name) => {
                    let text = "there is no such exporter; /api/v1/exporters lists them";
                    return Reply::error(StatusCode::NOT_FOUND, text);
                }
                _ => {}
            }
        }
        let outcome = act(request.clone(), &[], by, serve);
        serve.note(by, &request, &outcome);
        match (self, outcome) {
            (Self::Exporter(name), Ok(Answer::Status(status))) => {
                let found = status.exporters.iter().find(|it| it.name == *name);
                Reply::json(StatusCode::OK, &found)
            }
            (_, Ok(Answer::Status(status))) => Reply::json(StatusCode::OK, &status.exporters),
            (_, Ok(Answer::Config(yaml))) => Reply::text(StatusCode::OK, "application/yaml", &yaml),
            (_, Ok(Answer::Reloaded(report))) => Reply::json(StatusCode::OK, &report),
            (Self::Rewind(_), Ok(Answer::Cursors(cursors))) => {
                Reply::json(StatusCode::OK, &cursors.first())
            }
            (_, Ok(Answer::Replay(progress))) => Reply::json(StatusCode::OK, &progress),
            (_, Ok(Answer::Alerts(alerts))) => Reply::json(StatusCode::OK, &alerts),
            (_, Ok(Answer::Alert(0))) => {
                let text = "no incident with this key is open; the exporter's alerts list those";
                Reply::error(StatusCode::NOT_FOUND, text)
            }
            (_, Ok(Answer::Alert(incidents))) => {
                Reply::json(StatusCode::OK, &serde_json::json!({ "incidents": incidents }))
            }
            (_, Ok(Answer::Changed(state))) => {
                Reply::json(StatusCode::OK, &serde_json::json!({ "state": state }))
            }
            (_, Ok(_)) => Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "another answer"),
            (Self::Reload, Err(problem)) => {
                Reply::error(StatusCode::UNPROCESSABLE_ENTITY, &problem)
            }
            (_, Err(problem)) => Reply::error(StatusCode::CONFLICT, &problem),
        }
    }

    fn exporter(&self) -> Option<&String> {
        match self {
            Self::Exporter(name)
            | Self::Change(_, name)
            | Self::Rewind(name)
            | Self::Alerts(name)
            | Self::Alert(_, name, _)
            | Self::Replay(name)
            | Self::Replayed(name) => Some(name),
            Self::Exporters | Self::Config | Self::Reload => None,
        }
    }
}

fn time(text: &str) -> Result<u64, Reply> {
    time::parse_or_ago(text, now()).ok_or_else(|| {
        let text = "since: expected a time such as 2026-01-31T12:00:00Z, or a time ago such as 1h";
        Reply::error(StatusCode::BAD_REQUEST, text)
    })
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A class that no letter can be of would choose none, and nobody would know why.
fn class_of_letters(class: &str) -> Result<(), Reply> {
    match Letter::CLASSES.contains(&class) {
        true => Ok(()),
        false => {
            let text = format!("class: expected one of {}", Letter::CLASSES.join(", "));
            Err(Reply::error(StatusCode::BAD_REQUEST, &text))
        }
    }
}

/// Reads a body of at most [`BODY_BYTES_MAX`] bytes.
pub(super) async fn collect(body: Incoming) -> Result<Vec<u8>, Reply> {
    let read = async {
        let mut body = pin!(body);
        let mut all = Vec::new();
        while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
            let Ok(piece) = frame.map(hyper::body::Frame::into_data) else { return None };
            all.extend_from_slice(&piece.unwrap_or_default());
            if all.len() > BODY_BYTES_MAX {
                return None;
            }
        }
        Some(all)
    };
    let wrong = || Reply::error(StatusCode::BAD_REQUEST, "expected a body of at most 16 KiB");
    timeout(BODY_TIMEOUT, read).await.ok().flatten().ok_or_else(wrong)
}

const PATHS: &str = "there are GET exporters, exporters/NAME, exporters/NAME/alerts, config and \
                     dlq/NAME/replay, and POST exporters/NAME/pause, resume, flush and rewind, \
                     exporters/NAME/alerts/KEY/ack and resolve, dlq/NAME/replay and \
                     config/reload, all below /api/v1/";
/// Bytes of a body; a replay says little.
const BODY_BYTES_MAX: usize = 16 << 10;
/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
