//! Secrets of a HashiCorp Vault: KV version 2, read over its HTTP API.
//!
//! A session has a token: the operator's own, or one that the Kubernetes login gives for the
//! account of this pod. It is renewed before two thirds of its life are over; when it is refused
//! all the same, a login is tried once more. Texts of errors hold no secret and no token.

mod answer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    ConnectionSettings, Destination, Http2, HttpTransport, Proxy, Reach, Request, Secret,
    TlsSettings, TlsVersion, Transport as _, TransportLimits, TransportSetupError, percent_encoded,
};
use answer::{Granted, errors, fields, granted};

/// Which Vault, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSettings {
    /// Scheme, host and port.
    pub address: Uri,
    /// The namespace (`X-Vault-Namespace`), where it has several.
    pub namespace: Option<String>,
    /// How a token is had.
    pub login: VaultLogin,
    /// PEM file of the authorities to trust; none is the system's.
    pub ca_cert_path: Option<PathBuf>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// How a token is had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultLogin {
    /// It is given.
    Token(Secret),
    /// By the account of this pod.
    Kubernetes {
        /// Where the method is mounted below `auth/`.
        mount: String,
        /// The role to take.
        role: String,
        /// The file of the account's token.
        jwt_path: PathBuf,
    },
}

/// The named values of one secret.
pub type VaultFields = BTreeMap<String, Secret>;

/// Why a secret is not there.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The way to it cannot be set up.
    #[error("credentials.vault: {0}")]
    Setup(#[from] TransportSetupError),
    /// No thread or timer for it.
    #[error("vault: {0}")]
    Runtime(std::io::Error),
    /// The pod's own token cannot be read.
    #[error(
        "vault: cannot read the service account's token {}: {source}; set \
         `credentials.vault.jwt_path`, or `auth_method: token`", path.display()
    )]
    Account {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not answer, or says that it cannot now.
    #[error("vault: {what}: {problem}")]
    Away {
        /// What was asked.
        what: String,
        /// What happened.
        problem: String,
    },
    /// It says no.
    #[error("vault: {what}: status {status}{problem}; {hint}")]
    Refused {
        /// What was asked.
        what: String,
        /// The status of its answer.
        status: u16,
        /// What it says.
        problem: String,
        /// What to look at.
        hint: &'static str,
    },
    /// The answer is none of KV version 2.
    #[error("vault: {what}: {problem}")]
    Unreadable {
        /// What was asked.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl VaultError {
    /// Whether it may go by itself: nothing says that the secret is gone or not ours.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Runtime(_))
    }
}

/// A Vault and our session with it.
pub struct Vault {
    settings: VaultSettings,
    destination: std::sync::Arc<Destination>,
    session: Option<Session>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("address", &self.settings.address).finish_non_exhaustive()
    }
}

/// A token that was granted.
struct Session {
    token: Secret,
    /// When it is to be renewed; never where it does not end.
    renewal: Option<Instant>,
    is_renewable: bool,
}

impl Session {
    fn new(granted: Granted, now: Instant) -> Self {
        let renewal = match granted.ttl.is_zero() {
            true => None,
            false => now.checked_add(granted.ttl * 2 / 3),
        };
        Self { token: granted.token, renewal, is_renewable: granted.is_renewable }
    }
}

impl Vault {
    /// Reads the files that the settings name; asks nothing yet.
    ///
    /// # Errors
    /// When a file cannot be read or the address cannot be used.
    pub fn open(settings: &VaultSettings) -> Result<Self, VaultError> {
        let tls = TlsSettings {
            fingerprint: None,
            insecure_skip_verify: false,
            ca_cert_path: settings.ca_cert_path.clone(),
            client_cert_path: None,
            client_key_path: None,
            server_name: None,
            min_version: TlsVersion::V1_2,
        };
        let connection = ConnectionSettings {
            connect_timeout: settings.timeout,
            timeout: settings.timeout,
            keep_alive: settings.timeout,
            connections_max: 1,
            age_max: settings.timeout,
            reach: Reach::Anywhere,
            http2: Http2::Off,
            proxy: Proxy::None,
        };
        let addresses = std::slice::from_ref(&settings.address);
        let destination = std::sync::Arc::new(Destination::new(addresses, &tls, &connection)?);
        Ok(Self { settings: settings.clone(), destination, session: None })
    }

    /// Which one it is.
    #[must_use]
    pub fn settings(&self) -> &VaultSettings {
        &self.settings
    }

    /// When the session's token wants to be renewed.
    #[must_use]
    pub fn renewal(&self) -> Option<Instant> {
        self.session.as_ref().and_then(|session| session.renewal)
    }

    /// The fields of the newest version of a secret: `MOUNT/data/PATH`, as the API names it.
    ///
    /// It waits for the network, [`VaultSettings::timeout`] for each of at most four requests.
    ///
    /// # Errors
    /// When the Vault does not answer, refuses, or has no such secret.
    pub fn read(&mut self, path: &str) -> Result<VaultFields, VaultError> {
        self.block_on(async |vault, transport| {
            let is_fresh = vault.session.is_none();
            let token = vault.token(transport).await?;
            let read = vault.ask(transport, Call::Read(path), Some(&token), Bytes::new()).await;
            let may_help =
                !is_fresh && matches!(vault.settings.login, VaultLogin::Kubernetes { .. });
            let body = match read {
                // The token may have ended or been revoked: a new login tells.
                Err(VaultError::Refused { status: 401 | 403, .. }) if may_help => {
                    vault.session = None;
                    let token = vault.token(transport).await?;
                    vault.ask(transport, Call::Read(path), Some(&token), Bytes::new()).await?
                }
                read => read?,
            };
            fields(&Call::Read(path).to_string(), body)
        })
    }

    /// Renews the session's token where its time has come; says whether it was due.
    ///
    /// A token that may not be renewed is forgotten: the next reading logs in again.
    ///
    /// # Errors
    /// When the Vault does not answer or refuses; the session is forgotten then.
    pub fn renew(&mut self, now: Instant) -> Result<bool, VaultError> {
        let Some(session) = self.session.as_ref() else { return Ok(false) };
        if session.renewal.is_none_or(|due| now < due) {
            return Ok(false);
        }
        let (token, is_renewable) = (session.token.clone(), session.is_renewable);
        let is_given = matches!(self.settings.login, VaultLogin::Token(_));
        if !is_renewable {
            match (is_given, &mut self.session) {
                // There is no other: it is used to its end.
                (true, Some(session)) => session.renewal = None,
                _ => self.session = None,
            }
            return Ok(true);
        }
        let renewed = self.block_on(async |vault, transport| {
            let body = Bytes::from_static(b"{}");
            let body = vault.ask(transport, Call::Renew, Some(&token), body).await?;
            granted(&Call::Renew.to_string(), body, Some(&token))
        });
        match renewed {
            Ok(granted) => {
                self.session = Some(Session::new(granted, Instant::now()));
                Ok(true)
            }
            Err(error) => {
                self.session = None;
                Err(error)
            }
        }
    }

    /// The token of the session, which is begun where there is none.
    async fn token(&mut self, transport: &HttpTransport) -> Result<Secret, VaultError> {
        if let Some(session) = &self.session {
            return Ok(session.token.clone());
        }
        let granted = match &self.settings.login {
            VaultLogin::Token(token) => self.look_up(transport, token).await?,
            VaultLogin::Kubernetes { mount, role, jwt_path } => {
                let jwt = std::fs::read_to_string(jwt_path).map(Zeroizing::new);
                let jwt =
                    jwt.map_err(|source| VaultError::Account { path: jwt_path.clone(), source })?;
                let body = serde_json::json!({ "role": role, "jwt": jwt.trim() });
                let call = Call::Login(mount);
                let body = Bytes::from(body.to_string());
                let body = self.ask(transport, call, None, body).await?;
                granted(&call.to_string(), body, None)?
            }
        };
        let session = self.session.insert(Session::new(granted, Instant::now()));
        Ok(session.token.clone())
    }

    /// How long a given token lives; one that may not look at itself is used without renewal.
    async fn look_up(
        &self,
        transport: &HttpTransport,
        token: &Secret,
    ) -> Result<Granted, VaultError> {
        match self.ask(transport, Call::LookUp, Some(token), Bytes::new()).await {
            Ok(body) => granted(&Call::LookUp.to_string(), body, Some(token)),
            Err(VaultError::Refused { status: 403, .. }) => {
                Ok(Granted { token: token.clone(), ttl: Duration::ZERO, is_renewable: false })
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(
        &self,
        transport: &HttpTransport,
        call: Call<'_>,
        token: Option<&Secret>,
        body: Bytes,
    ) -> Result<Bytes, VaultError> {
        let what = call.to_string();
        let mut headers = HeaderMap::new();
        // An agent in between may ask for it, as a guard against forged requests.
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        let secrets =
            [(NAMESPACE, self.settings.namespace.as_deref()), (TOKEN, token.map(Secret::expose))];
        for (name, text) in secrets {
            let Some(text) = text else { continue };
            let mut value = HeaderValue::from_str(text).map_err(|_| VaultError::Unreadable {
                what: what.clone(),
                problem: format!("{name} has characters that no header takes"),
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let request = Request {
            endpoint: 0,
            group: 0,
            method: if body.is_empty() { Method::GET } else { Method::POST },
            path: call.path(),
            headers,
            body,
            timeout: self.settings.timeout,
            needs_body: true,
        };
        let answer = transport
            .send(request)
            .await
            .map_err(|error| VaultError::Away { what: what.clone(), problem: error.to_string() })?;
        match answer.status {
            200..=299 => Ok(answer.body),
            // 412: a replica that has not caught up; 429: a quota; 472, 473: standby nodes.
            412 | 429 | 472 | 473 | 500..=599 => Err(VaultError::Away {
                what,
                problem: format!("status {}{}", answer.status, errors(&answer.body)),
            }),
            status => Err(VaultError::Refused {
                what,
                status,
                problem: errors(&answer.body),
                hint: hint(call, status),
            }),
        }
    }

    fn block_on<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self, &HttpTransport) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(VaultError::Runtime)?;
        let limits = TransportLimits { answer_bytes: ANSWER_BYTES, ..TransportLimits::new(1) };
        LocalSet::new().block_on(&runtime, async {
            let transport = HttpTransport::share(&self.destination, limits);
            work(self, &transport).await
        })
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call<'a> {
    Login(&'a str),
    LookUp,
    Renew,
    Read(&'a str),
}

impl Call<'_> {
    fn path(self) -> String {
        let encoded = |path: &str| {
            let steps: Vec<String> = path.split('/').map(percent_encoded).collect();
            steps.join("/")
        };
        match self {
            Self::Login(mount) => format!("/v1/auth/{}/login", encoded(mount)),
            Self::LookUp => "/v1/auth/token/lookup-self".to_owned(),
            Self::Renew => "/v1/auth/token/renew-self".to_owned(),
            Self::Read(path) => format!("/v1/{}", encoded(path)),
        }
    }
}

impl std::fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Login(mount) => write!(f, "login at auth/{mount}"),
            Self::LookUp => f.write_str("looking up our token"),
            Self::Renew => f.write_str("renewing our token"),
            Self::Read(path) => f.write_str(path),
        }
    }
}

/// What an operator looks at first.
const fn hint(call: Call<'_>, status: u16) -> &'static str {
    match (call, status) {
        (_, 300..=399) => "give the address of the active node, or let standby nodes forward",
        (Call::Login(_), 400 | 404) => "look at `credentials.vault.role` and `kubernetes_mount`",
        (Call::Login(_), _) => "the role must be bound to this pod's service account",
        (Call::Read(_), 401 | 403) => "the token's policy must allow `read` on this very path",
        (Call::Read(_), 404) => {
            "expected the path of a secret of KV version 2 that is not deleted: MOUNT/data/NAME"
        }
        _ => "look at `credentials.vault`",
    }
}

/// Wipes a body that nobody else holds; copies in the connection's buffers are freed as they are.
fn wipe(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize();
    }
}

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
/// Bytes of an answer; a secret of KV has at most 1 MiB.
const ANSWER_BYTES: usize = 2 << 20;
