//! Who may look at a running process over HTTP, and who may change it.

use std::net::SocketAddr;
use std::path::Path;

use super::expand::Names;
use super::key::key;
use super::read::read;
use super::text::Body;
use super::value::{Value, Values};
use super::{Default, Key, Kind, Mistake, Mistakes, Wrong};
use crate::intake::{ServerTls, Token};
use Default::Unset;

/// The pages for monitoring and the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The certificate to show.
    pub tls: Option<ServerTls>,
    /// Who may do what.
    pub tokens: Vec<AdminToken>,
}

/// Somebody who may look or change things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// What the audit calls them.
    pub name: String,
    /// What they show.
    pub token: Token,
    /// What they may do.
    pub role: Role,
}

/// What somebody may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Pause, resume and flush exporters, and replay dead letters.
    Operator,
    /// Have the configuration read again.
    Admin,
}

impl Role {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Keys of one of `admin.tokens`.
pub const TOKEN: &[Key] = &[
    key("name", Kind::Text(64), Unset("required"), "Who it is, for the audit."),
    key(
        "token",
        Kind::Secret,
        Unset("required"),
        "What they show, `Authorization: Bearer TOKEN`; at least 16 bytes.",
    ),
    key(
        "role",
        Kind::Choice(ROLES),
        Unset("required"),
        "`viewer` looks; `operator` also pauses, resumes and flushes exporters and replays dead \
         letters; `admin` also has the configuration read again.",
    ),
];

/// The pages and the API; nothing where they are switched off or wrong.
pub(super) fn admin(
    values: &Values,
    names: &Names<'_>,
    state_dir: &Path,
    mistakes: &mut Mistakes,
) -> Option<AdminSettings> {
    let tokens = tokens(values, names, mistakes);
    let path = |key| values.path(key).map(|path| state_dir.join(path));
    let tls = match (path("admin.tls.cert_path"), path("admin.tls.key_path")) {
        (Some(cert_path), Some(key_path)) => Some(ServerTls { cert_path, key_path }),
        (None, None) => None,
        (cert, _) => {
            let (key, other) = match cert {
                Some(_) => ("admin.tls.cert_path", "admin.tls.key_path"),
                None => ("admin.tls.key_path", "admin.tls.cert_path"),
            };
            rule(values, key, &format!("needs `{other}` beside it"), mistakes);
            None
        }
    };
    let Some(text) = values.text("admin.listen") else {
        let unused = [("admin.tls.cert_path", tls.is_some()), ("admin.tokens", !tokens.is_empty())];
        for (key, _) in unused.into_iter().filter(|(_, is_set)| *is_set) {
            if !values.is_written("admin.listen") {
                rule(values, key, "has no effect without `admin.listen`", mistakes);
            }
        }
        return None;
    };
    let Ok(listen) = text.parse::<SocketAddr>() else {
        let wrong = "expected an address and a port, such as 127.0.0.1:9401";
        rule(values, "admin.listen", wrong, mistakes);
        return None;
    };
    let is_guarded = tls.is_some() && !tokens.is_empty();
    if !listen.ip().is_loopback() && !is_guarded {
        let wrong = "is reachable from other hosts: set `admin.tls` and `admin.tokens`, or listen \
                     on a loopback address, such as 127.0.0.1:9401";
        rule(values, "admin.listen", wrong, mistakes);
    }
    Some(AdminSettings { listen, tls, tokens })
}

fn tokens(values: &Values, names: &Names<'_>, mistakes: &mut Mistakes) -> Vec<AdminToken> {
    let Some(Body::List(nodes)) = values.node("admin.tokens").map(|node| &node.body) else {
        return Vec::new();
    };
    if nodes.len() > TOKENS_MAX {
        let wrong = Wrong::TooLarge { what: "tokens", max: TOKENS_MAX };
        values.mistake("admin.tokens", wrong, mistakes);
        return Vec::new();
    }
    let mut found: Vec<AdminToken> = Vec::with_capacity(nodes.len());
    for (n, node) in nodes.iter().enumerate() {
        let place = format!("admin.tokens[{n}]");
        let row = read(node, &place, TOKEN, names, mistakes);
        for key in ["name", "token", "role"].into_iter().filter(|key| !row.is_written(key)) {
            let wrong = Wrong::Rule(format!("a token needs `{key}`"));
            mistakes.add(Mistake::new(node.at.clone(), place.as_str(), wrong));
        }
        let secret = match row.value("token") {
            Some(Value::Secret(secret)) => Some(secret.expose().trim()),
            _ => None,
        };
        if secret.is_some_and(|secret| secret.len() < TOKEN_BYTES_MIN) {
            let wrong =
                format!("expected at least {TOKEN_BYTES_MIN} bytes, so that nobody guesses");
            rule(&row, "token", &wrong, mistakes);
        }
        let role = row.text("role");
        let role = ALL.into_iter().find(|it| Some(it.word()) == role.as_deref());
        let (Some(name), Some(secret), Some(role)) = (row.text("name"), secret, role) else {
            continue;
        };
        if name.trim().is_empty() {
            rule(&row, "name", "is empty; `shrike audit log` tells by it who did what", mistakes);
        }
        let token = Token::new(secret);
        if found.iter().any(|other| other.name == name) {
            rule(&row, "name", "is the name of another token already", mistakes);
        }
        if found.iter().any(|other| other.token == token) {
            rule(&row, "token", "is another one's token already", mistakes);
        }
        found.push(AdminToken { name, token, role });
    }
    found
}

fn rule(values: &Values, key: &'static str, wrong: &str, mistakes: &mut Mistakes) {
    values.mistake(key, Wrong::Rule(wrong.to_owned()), mistakes);
}

const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];
const ROLES: &[&str] = &[Role::Viewer.word(), Role::Operator.word(), Role::Admin.word()];
/// People and programs that look at one process.
const TOKENS_MAX: usize = 64;
/// A shorter token can be guessed.
const TOKEN_BYTES_MIN: usize = 16;
