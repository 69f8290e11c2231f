//! A Vault that answers as the real one does, over TLS: Kubernetes login, tokens, KV version 2.
//!
//! Written from the API's documentation: `auth/kubernetes`, `auth/token`, `secret/kv/kv-v2`, and
//! what `sys/seal` makes of all other calls.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Who may log in.
pub(crate) const ROLE: &str = "shrike";
pub(crate) const JWT: &str = "s3cr3t-jwt-of-the-pod";
pub(crate) const NAMESPACE: &str = "team/siem";
/// A token that was made by hand.
pub(crate) const GIVEN: &str = "hvs.s3cr3t-given";
/// One that may read nothing.
pub(crate) const POWERLESS: &str = "hvs.s3cr3t-powerless";

pub(crate) struct Vault {
    pub(crate) address: String,
    /// The authority that signed its certificate, as PEM.
    pub(crate) authority: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    /// By path below `secret/data/`.
    pub(crate) secrets: BTreeMap<&'static str, String>,
    pub(crate) is_sealed: bool,
    /// Seconds that tokens live.
    pub(crate) ttl: u64,
    /// Tokens that hold.
    tokens: BTreeSet<String>,
    pub(crate) logins: usize,
    pub(crate) renewals: usize,
    pub(crate) reads: usize,
}

impl Vault {
    pub(crate) fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("usual versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("our certificate");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let tokens = [GIVEN, POWERLESS].map(str::to_owned).into();
        let state = Arc::new(Mutex::new(State { ttl: 3600, tokens, ..State::default() }));
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (state, config) = (Arc::clone(&serving), Arc::clone(&config));
                thread::spawn(move || {
                    // Whoever does not trust us goes away.
                    let _ = serve(&state, config, stream);
                });
            }
        });
        Self { address: format!("https://localhost:{port}"), authority, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }

    pub(crate) fn put(&self, path: &'static str, fields: &str) {
        self.state().secrets.insert(path, fields.to_owned());
    }

    /// Tokens of logins hold no more.
    pub(crate) fn revoke(&self) {
        self.state().tokens.retain(|token| [GIVEN, POWERLESS].contains(&token.as_str()));
    }
}

/// A request as far as it matters.
struct Asked {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

fn serve(
    state: &Mutex<State>,
    config: Arc<ServerConfig>,
    stream: TcpStream,
) -> std::io::Result<()> {
    let tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(tls, stream));
    while let Some(asked) = read(&mut stream)? {
        let (status, body) = answer(&mut state.lock().expect("no panics"), &asked);
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n\
             Cache-Control: no-store\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.get_mut().write_all(head.as_bytes())?;
    }
    Ok(())
}

fn read(stream: &mut BufReader<impl Read>) -> std::io::Result<Option<Asked>> {
    let mut asked = Asked { line: String::new(), headers: BTreeMap::new(), body: String::new() };
    if stream.read_line(&mut asked.line)? == 0 {
        return Ok(None);
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        asked.headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = asked.headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    asked.body = String::from_utf8(body).expect("requests are text");
    Ok(Some(asked))
}

fn answer(state: &mut State, asked: &Asked) -> (u16, String) {
    let said = |name: &str| asked.headers.get(name).map(String::as_str);
    assert_eq!(said("x-vault-request"), Some("true"), "agents ask for it");
    if state.is_sealed {
        return (503, r#"{"errors":["Vault is sealed"]}"#.to_owned());
    }
    let mut words = asked.line.split_ascii_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let denied =
        || (403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#.to_owned());
    if path == "/v1/auth/kubernetes/login" {
        return login(state, asked, said("x-vault-namespace"));
    }
    let token = said("x-vault-token").unwrap_or("");
    // Tokens that were given are of the root namespace.
    let is_given = [GIVEN, POWERLESS].contains(&token);
    let is_at_home = is_given == said("x-vault-namespace").is_none();
    if !state.tokens.contains(token) || !is_at_home {
        return denied();
    }
    let ttl = state.ttl;
    match (method, path) {
        ("GET", "/v1/auth/token/lookup-self") => (
            200,
            format!(
                r#"{{"request_id":"7c6","lease_id":"","renewable":false,"lease_duration":0,"data":{{"accessor":"8f","creation_time":1,"creation_ttl":{ttl},"display_name":"token","expire_time":"2030-01-01T00:00:00Z","explicit_max_ttl":0,"id":"{token}","meta":null,"num_uses":0,"orphan":true,"path":"auth/token/create","policies":["siem"],"renewable":true,"ttl":{ttl},"type":"service"}},"wrap_info":null,"warnings":null,"auth":null}}"#
            ),
        ),
        ("POST", "/v1/auth/token/renew-self") => {
            state.renewals += 1;
            (200, auth(token, ttl))
        }
        ("GET", _) if token == POWERLESS => denied(),
        ("GET", path) => {
            state.reads += 1;
            secret(state, path)
        }
        _ => (405, r#"{"errors":["unsupported operation"]}"#.to_owned()),
    }
}

fn login(state: &mut State, asked: &Asked, namespace: Option<&str>) -> (u16, String) {
    assert!(!asked.headers.contains_key("x-vault-token"), "there is none yet");
    let body: BTreeMap<String, String> =
        serde_json::from_str(&asked.body).expect("a login is a flat object");
    let said = |name: &str| body.get(name).map(String::as_str);
    if namespace != Some(NAMESPACE) {
        return (403, r#"{"errors":["permission denied"]}"#.to_owned());
    }
    match (said("role"), said("jwt")) {
        (Some(ROLE), Some(JWT)) => {
            state.logins += 1;
            let token = format!("hvs.s3cr3t-{}", state.logins);
            state.tokens.insert(token.clone());
            (200, auth(&token, state.ttl))
        }
        (Some(ROLE), _) => (403, r#"{"errors":["permission denied"]}"#.to_owned()),
        (role, _) => {
            let role = role.unwrap_or("");
            (400, format!(r#"{{"errors":["invalid role name \"{role}\""]}}"#))
        }
    }
}

fn auth(token: &str, ttl: u64) -> String {
    format!(
        r#"{{"request_id":"e1","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":null,"auth":{{"client_token":"{token}","accessor":"8f","policies":["siem"],"token_policies":["siem"],"metadata":{{"role":"shrike"}},"lease_duration":{ttl},"renewable":true,"entity_id":"","token_type":"service","orphan":true,"num_uses":0}}}}"#
    )
}

fn secret(state: &State, path: &str) -> (u16, String) {
    let Some(name) = path.strip_prefix("/v1/secret/data/") else {
        let warning = "Invalid path for a versioned K/V secrets engine. See the API docs for the \
                       appropriate API endpoints to use.";
        return (404, format!(r#"{{"request_id":"f2","data":null,"warnings":["{warning}"]}}"#));
    };
    let metadata = r#"{"created_time":"2026-03-22T02:24:06Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":2}"#;
    match state.secrets.get(name).map(String::as_str) {
        None => (404, r#"{"errors":[]}"#.to_owned()),
        Some("deleted") => (
            404,
            r#"{"request_id":"f3","data":{"data":null,"metadata":{"deletion_time":"2026-03-22T02:36:43Z","destroyed":false,"version":1}}}"#
                .to_owned(),
        ),
        Some(fields) => (
            200,
            format!(
                r#"{{"request_id":"f4","lease_id":"","renewable":false,"lease_duration":0,"data":{{"data":{fields},"metadata":{metadata}}},"wrap_info":null,"warnings":null,"auth":null}}"#
            ),
        ),
    }
}
