//! The inputs: which keys each kind takes, and what they come to.

use std::net::SocketAddr;

use super::expand::Names;
use super::key::one_of;
use super::paths::{Named, Wants, is_pattern};
use super::read::read;
use super::table::INPUT;
use super::text::Node;
use super::value::{Value, Values};
use super::{Input, Mistakes, Wrong};
use crate::dialects;
use crate::intake::{Bearer, Mode, ServerTls, Token};

/// Which kinds of input take a key; `type` and `format` are of all.
const BELONGS: &[(&str, &[&str])] = &[
    ("path", &["file", "sqlite", "unix"]),
    ("follow", &["file"]),
    ("mode", &["file"]),
    ("from", &["file", "hushd", "sqlite"]),
    ("listen", &["http"]),
    ("token", &["http", "hushd"]),
    ("max_body_bytes", &["http"]),
    ("tls.cert_path", &["http"]),
    ("tls.key_path", &["http"]),
    ("tls.ca_cert_path", &["hushd"]),
    ("url", &["hushd"]),
    ("poll_interval_ms", &["hushd"]),
];

/// Reads the list of inputs.
pub(super) fn inputs(
    nodes: &[Node],
    names: &Names<'_>,
    paths: &mut Vec<Named>,
    mistakes: &mut Mistakes,
) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::with_capacity(nodes.len());
    for (n, node) in nodes.iter().enumerate() {
        let values = read(node, &format!("inputs[{n}]"), INPUT, names, mistakes);
        let is_stdin = |input: &Input| matches!(input, Input::Stdin { .. });
        match one(&values, mistakes) {
            Some(input) if is_stdin(&input) && inputs.iter().any(is_stdin) => {
                rule(&values, "type", "standard input can be read only once", mistakes);
            }
            Some(input) => {
                if let Some((key, taken)) = taken(&input, &inputs) {
                    rule(&values, key, &taken, mistakes);
                }
                paths.extend(paths_of(&input, &values));
                inputs.push(input);
            }
            None => {}
        }
    }
    inputs
}

/// The key of an input that names a place at which another one listens or reads, and that one.
fn taken(input: &Input, others: &[Input]) -> Option<(&'static str, String)> {
    let is_taken = |other: &Input| match (input, other) {
        (Input::Http { listen, .. }, Input::Http { listen: other, .. }) => {
            listen == other && listen.port() != 0
        }
        (Input::Unix { path, .. }, Input::Unix { path: other, .. })
        | (Input::Sqlite { path, .. }, Input::Sqlite { path: other, .. }) => path == other,
        (Input::File { path, follow: true, .. }, Input::File { path: other, follow, .. }) => {
            *follow && path == other
        }
        (Input::Hushd { url, .. }, Input::Hushd { url: other, .. }) => url == other,
        _ => false,
    };
    let (key, does) = match input {
        Input::Http { .. } => ("listen", "listens there"),
        Input::Unix { .. } => ("path", "listens there"),
        Input::Hushd { .. } => ("url", "asks there"),
        Input::Sqlite { .. } | Input::File { .. } | Input::Stdin { .. } => ("path", "reads it"),
    };
    let at = others.iter().position(is_taken)?;
    Some((key, format!("input {} of this list {does} already", at + 1)))
}

/// The paths that an input names, and what has to be there.
fn paths_of(input: &Input, values: &Values) -> Vec<Named> {
    let named = |key, path, wants| vec![values.named(key, path, wants)];
    match input {
        Input::File { path, follow: true, .. } => named("path", path, Wants::Followed),
        Input::File { path, .. } => named("path", path, Wants::Once),
        Input::Sqlite { path, .. } => named("path", path, Wants::Database),
        Input::Unix { path, .. } => named("path", path, Wants::Socket),
        Input::Http { tls: Some(ServerTls { cert_path, key_path }), .. } => vec![
            values.named("tls.cert_path", cert_path, Wants::Certificates),
            values.named("tls.key_path", key_path, Wants::PrivateKey),
        ],
        Input::Hushd { ca_cert_path: Some(path), .. } => {
            named("tls.ca_cert_path", path, Wants::Certificates)
        }
        Input::Stdin { .. } | Input::Http { .. } | Input::Hushd { .. } => Vec::new(),
    }
}

fn one(values: &Values, mistakes: &mut Mistakes) -> Option<Input> {
    let Some(kind) = values.text("type") else {
        if !values.is_written("type") {
            let wrong = "an input needs `type`: file, http, hushd, sqlite, stdin or unix";
            rule(values, "type", wrong, mistakes);
        }
        return None;
    };
    for &(key, kinds) in BELONGS {
        if values.is_written(key) && !kinds.contains(&kind.as_str()) {
            let wrong = format!("belongs to inputs of type {}", one_of(kinds));
            rule(values, key, &wrong, mistakes);
        }
    }
    let format = values.text("format");
    let format = dialects::NAMES.iter().copied().find(|name| Some(*name) == format.as_deref());
    match kind.as_str() {
        "stdin" => Some(Input::Stdin { format }),
        "file" => file(values, format, mistakes),
        "unix" => {
            let path = path(values, "unix", mistakes)?;
            Some(Input::Unix { path, format })
        }
        "http" => http(values, format, mistakes),
        "hushd" => {
            is_audit(values, format, mistakes);
            hushd(values, mistakes)
        }
        "sqlite" => {
            is_audit(values, format, mistakes);
            let path = path(values, "sqlite", mistakes)?;
            let from_end = values.text("from").as_deref() == Some("end");
            Some(Input::Sqlite { path, from_end })
        }
        _ => None,
    }
}

/// hushd serves and keeps records of one dialect.
fn is_audit(values: &Values, format: Option<&'static str>, mistakes: &mut Mistakes) {
    let only = dialects::LEDGER.format;
    if format.is_some_and(|name| name != only) {
        rule(values, "format", &format!("this input holds {only} only"), mistakes);
    }
}

fn hushd(values: &Values, mistakes: &mut Mistakes) -> Option<Input> {
    let Some(url) = values.text("url") else {
        if !values.is_written("url") {
            rule(values, "url", "an input of type hushd needs `url`", mistakes);
        }
        return None;
    };
    let Ok(url) = url.parse() else {
        rule(values, "url", "expected a URL such as http://127.0.0.1:9876", mistakes);
        return None;
    };
    let token = match values.value("token") {
        Some(Value::Secret(secret)) => Some(Bearer::new(secret.expose().trim())),
        _ => None,
    };
    Some(Input::Hushd {
        url,
        token,
        interval: values.span("poll_interval_ms").unwrap_or_default(),
        ca_cert_path: values.path("tls.ca_cert_path"),
        from_end: values.text("from").as_deref() == Some("end"),
    })
}

fn file(values: &Values, format: Option<&'static str>, mistakes: &mut Mistakes) -> Option<Input> {
    let path = path(values, "file", mistakes)?;
    let follow = values.is_on("follow");
    if follow
        && is_pattern(&path)
        && let Err(error) = glob::Pattern::new(&path.to_string_lossy())
    {
        rule(values, "path", &format!("is no pattern: {}", error.msg), mistakes);
    }
    for key in ["mode", "from"].into_iter().filter(|key| values.is_written(key)) {
        if !follow {
            rule(values, key, "belongs to files that are followed", mistakes);
        }
    }
    let mode = match values.text("mode").as_deref() {
        Some("append") => Some(Mode::Append),
        Some("rewrite") => Some(Mode::Rewrite),
        Some("per_run") => Some(Mode::PerRun),
        Some("document") => Some(Mode::Document),
        _ => format.and_then(dialects::mode_of),
    };
    let from_end = values.text("from").as_deref() == Some("end");
    Some(Input::File { path, follow, format, mode, from_end })
}

fn path(values: &Values, kind: &str, mistakes: &mut Mistakes) -> Option<std::path::PathBuf> {
    let path = values.path("path");
    if path.is_none() && !values.is_written("path") {
        rule(values, "path", &format!("an input of type {kind} needs `path`"), mistakes);
    }
    path
}

fn http(values: &Values, format: Option<&'static str>, mistakes: &mut Mistakes) -> Option<Input> {
    let text = values.text("listen")?;
    let Ok(listen) = text.parse::<SocketAddr>() else {
        let wrong = "expected an address and a port, such as 127.0.0.1:9400";
        rule(values, "listen", wrong, mistakes);
        return None;
    };
    let token = match values.value("token") {
        Some(Value::Secret(secret)) => Some(Token::new(secret.expose().trim())),
        _ => None,
    };
    let tls = match (values.path("tls.cert_path"), values.path("tls.key_path")) {
        (Some(cert_path), Some(key_path)) => Some(ServerTls { cert_path, key_path }),
        (None, None) => None,
        (cert, _) => {
            let (key, other) = match cert {
                Some(_) => ("tls.cert_path", "tls.key_path"),
                None => ("tls.key_path", "tls.cert_path"),
            };
            rule(values, key, &format!("needs `{other}` beside it"), mistakes);
            None
        }
    };
    if !listen.ip().is_loopback() && token.is_none() && !values.is_written("token") {
        let wrong = "is reachable from other hosts: set `token`, or listen on a loopback address";
        rule(values, "listen", wrong, mistakes);
    }
    let body_bytes_max = values.number("max_body_bytes").unwrap_or(0);
    Some(Input::Http { listen, token, body_bytes_max, tls, format })
}

fn rule(values: &Values, key: &'static str, wrong: &str, mistakes: &mut Mistakes) {
    values.mistake(key, Wrong::Rule(wrong.to_owned()), mistakes);
}
