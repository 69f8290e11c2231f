//! Where secrets come from: `credentials` for all, and of one exporter.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::expand::{K8S_MOUNT, Names, Provider, expand};
use super::key::key;
use super::read::read;
use super::text::{Body, Node};
use super::value::{Value, Values};
use super::{Default, Key, Kind, Mistakes, Wrong};
use crate::deliver::{Secret, VaultLogin, VaultSettings};
use Default::{Is, Unset};

const PROVIDERS: &[&str] = &["env", "file", "k8s_secret", "vault"];

/// The keys at the top of a file.
pub(super) const KEYS: &[Key] = &[
    key(
        "credentials.provider",
        Kind::Choice(PROVIDERS),
        Is("env"),
        "Where `${secret:NAME}` is found: the environment, a directory of files, a mounted secret \
         of a cluster, or the fields of a secret in a HashiCorp Vault.",
    ),
    key(
        "credentials.refresh_interval",
        Kind::Span(1_000, 30 * 86_400_000),
        Is("300"),
        "How often everything that the configuration refers to is read again; files that change \
         and credentials that are refused are read again at once. What cannot be read keeps its \
         last value. A whole number is seconds.",
    ),
    key(
        "credentials.file.dir",
        Kind::Path,
        Is("/run/secrets"),
        "Directory of `provider: file`; a secret is the file of its name.",
    ),
    key(
        "credentials.k8s_secret.mount",
        Kind::Path,
        Is(K8S_MOUNT),
        "Directory of `provider: k8s_secret`, and of `${k8s:name/key}`.",
    ),
    key(
        "credentials.vault.address",
        Kind::Url,
        Unset("none"),
        "The Vault of `provider: vault` and of `${vault:path#field}`.",
    ),
    key(
        "credentials.vault.path",
        Kind::Text(512),
        Is("secret/data/clawdstrike"),
        "The secret of KV version 2 whose fields `${secret:NAME}` names, as the API spells it: \
         `MOUNT/data/NAME`.",
    ),
    key(
        "credentials.vault.auth_method",
        Kind::Choice(METHODS),
        Is("kubernetes"),
        "How a token is had: by the service account of this pod, or it is given.",
    ),
    key(
        "credentials.vault.role",
        Kind::Text(256),
        Unset("required for kubernetes"),
        "The role to take at the Kubernetes login.",
    ),
    key(
        "credentials.vault.kubernetes_mount",
        Kind::Text(256),
        Is("kubernetes"),
        "Where the Kubernetes login is mounted below `auth/`.",
    ),
    key(
        "credentials.vault.jwt_path",
        Kind::Path,
        Is("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        "File of the service account's token; it is read for each login.",
    ),
    key(
        "credentials.vault.namespace",
        Kind::Text(256),
        Unset("none"),
        "The namespace, where the Vault has several.",
    ),
    key(
        "credentials.vault.token",
        Kind::Secret,
        Unset("required for token"),
        "The token of `auth_method: token`; it is renewed where it may be.",
    ),
    key(
        "credentials.vault.ca_cert_path",
        Kind::Path,
        Unset("the system's"),
        "PEM file of the authorities that may have signed the Vault's certificate.",
    ),
    key(
        "credentials.vault.timeout_ms",
        Kind::Span(1, 60_000),
        Is("5000"),
        "How long one request to the Vault may take.",
    ),
    key(
        "credentials.vault.allow_http",
        Kind::Bool,
        Is("false"),
        "Permits a plain http address beyond this host.",
    ),
];

/// The same of one exporter, where it has credentials of its own.
pub(super) const OF_EXPORTER: &[Key] = &[
    key(
        "credentials.provider",
        Kind::Choice(PROVIDERS),
        Unset("that of all"),
        "Where `${secret:NAME}` is found for this exporter.",
    )
    .also(&["token_rotation.provider"]),
    key(
        "credentials.refresh_interval",
        Kind::Span(1_000, 30 * 86_400_000),
        Unset("that of all"),
        "How often what this exporter refers to is read again, where that is sooner than for all; \
         everything is read again then.",
    )
    .also(&["token_rotation.refresh_interval"]),
    key("credentials.file.dir", Kind::Path, Unset("that of all"), "Directory of `provider: file`."),
    key(
        "credentials.k8s_secret.mount",
        Kind::Path,
        Unset("that of all"),
        "Directory of `provider: k8s_secret`.",
    ),
    key(
        "credentials.vault.address",
        Kind::Url,
        Unset("that of all"),
        "The Vault of `provider: vault` and of `${vault:path#field}`.",
    ),
    key(
        "credentials.vault.path",
        Kind::Text(512),
        Unset("that of all"),
        "The secret whose fields `${secret:NAME}` names.",
    ),
    key(
        "credentials.vault.auth_method",
        Kind::Choice(METHODS),
        Unset("that of all"),
        "How a token is had.",
    ),
    key(
        "credentials.vault.role",
        Kind::Text(256),
        Unset("that of all"),
        "The role to take at the Kubernetes login.",
    ),
    key(
        "credentials.vault.namespace",
        Kind::Text(256),
        Unset("that of all"),
        "The namespace, where the Vault has several.",
    ),
    key(
        "credentials.vault.token",
        Kind::Secret,
        Unset("that of all"),
        "The token of `auth_method: token`.",
    ),
];

const METHODS: &[&str] = &["kubernetes", "token"];

/// What says where secrets are.
#[derive(Clone, Debug)]
struct Said {
    provider: String,
    dir: PathBuf,
    mount: PathBuf,
    vault: SaidVault,
}

/// The Vault as far as it is written.
#[derive(Clone, Debug, Default)]
struct SaidVault {
    address: Option<String>,
    path: String,
    method: String,
    role: Option<String>,
    login_mount: String,
    jwt_path: PathBuf,
    namespace: Option<String>,
    token: Option<Secret>,
    ca_cert_path: Option<PathBuf>,
    timeout: Duration,
    allows_http: bool,
}

/// Replaces the references of the whole tree, exporters with their own provider.
pub(super) fn expand_all(root: &mut Node, names: &mut Names<'_>, mistakes: &mut Mistakes) {
    let of_all = said(root, None, "", names, mistakes);
    let Body::Map(entries) = &mut root.body else {
        return expand(root, &mut String::new(), names, mistakes);
    };
    for entry in entries {
        of_all.tell(names);
        match (entry.key.as_str(), &mut entry.node.body) {
            ("exporters", Body::Map(exporters)) => {
                for exporter in exporters {
                    let place = format!("exporters.{}", exporter.key);
                    of_all.tell(names);
                    let said = said(&mut exporter.node, Some(&of_all), &place, names, mistakes);
                    said.tell(names);
                    expand_but_credentials(&mut exporter.node, &place, names, mistakes);
                }
            }
            // Replaced already, and by nothing of its own.
            ("credentials", _) => {}
            (key, _) => {
                let mut place = key.to_owned();
                expand(&mut entry.node, &mut place, names, mistakes);
            }
        }
    }
    of_all.tell(names);
}

/// Those of an exporter were replaced before, by what holds for all.
fn expand_but_credentials(
    node: &mut Node,
    place: &str,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) {
    let Body::Map(entries) = &mut node.body else {
        return expand(node, &mut place.to_owned(), names, mistakes);
    };
    for entry in entries.iter_mut().filter(|entry| entry.key != "credentials") {
        let mut place = super::value::join(place, &entry.key);
        expand(&mut entry.node, &mut place, names, mistakes);
    }
}

/// What a map says about its credentials, over what holds for all; wrong values are told when
/// its own table reads it.
fn said(
    node: &mut Node,
    of_all: Option<&Said>,
    place: &str,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Said {
    let mut entries = Vec::new();
    if let Body::Map(all) = &mut node.body {
        for entry in all {
            if entry.key == "credentials" {
                let mut at = super::value::join(place, "credentials");
                expand(&mut entry.node, &mut at, names, mistakes);
            }
            // The provider of an exporter may stand there too; its tokens are looked up later.
            if entry.key == "credentials" || (of_all.is_some() && entry.key == "token_rotation") {
                entries.push(entry.clone());
            }
        }
    }
    let (body, at) = match (entries.first(), of_all) {
        (None, Some(of_all)) => return of_all.clone(),
        (None, None) => (Body::Null, node.at.clone()),
        (Some(entry), _) => {
            let at = entry.at.clone();
            (Body::Map(entries), at)
        }
    };
    let shown = std::cell::RefCell::default();
    let names = Names {
        shown: &shown,
        provider: Provider::Env,
        mount: PathBuf::new(),
        vault: Err(NO_VAULT.to_owned()),
        ..*names
    };
    let table = if of_all.is_some() { OF_EXPORTER } else { KEYS };
    let values = read(&Node { at, body }, place, table, &names, &mut Mistakes::default());
    Said::read(&values, of_all)
}

impl Said {
    /// The values of a table, where it says nothing those for all.
    fn read(values: &Values, of_all: Option<&Self>) -> Self {
        let text = |key, usual: fn(&Self) -> Option<String>| {
            values.text(key).or_else(|| of_all.and_then(usual))
        };
        let path = |key, usual: fn(&Self) -> &PathBuf| {
            let usual = || of_all.map(usual).cloned().unwrap_or_default();
            values.path(key).unwrap_or_else(usual)
        };
        let of_all_vault = of_all.map(|it| it.vault.clone()).unwrap_or_default();
        let secret = match values.value("credentials.vault.token") {
            Some(Value::Secret(secret)) => Some(secret.clone()),
            _ => None,
        };
        let vault = |key, usual: Option<String>| values.text(key).or(usual);
        Self {
            provider: text("credentials.provider", |it| Some(it.provider.clone()))
                .unwrap_or_default(),
            dir: path("credentials.file.dir", |it| &it.dir),
            mount: path("credentials.k8s_secret.mount", |it| &it.mount),
            vault: SaidVault {
                address: vault("credentials.vault.address", of_all_vault.address),
                path: values.text("credentials.vault.path").unwrap_or(of_all_vault.path),
                method: values.text("credentials.vault.auth_method").unwrap_or(of_all_vault.method),
                role: vault("credentials.vault.role", of_all_vault.role),
                namespace: vault("credentials.vault.namespace", of_all_vault.namespace),
                token: secret.or(of_all_vault.token),
                login_mount: values
                    .text("credentials.vault.kubernetes_mount")
                    .unwrap_or(of_all_vault.login_mount),
                jwt_path: values
                    .path("credentials.vault.jwt_path")
                    .unwrap_or(of_all_vault.jwt_path),
                ca_cert_path: values
                    .path("credentials.vault.ca_cert_path")
                    .or(of_all_vault.ca_cert_path),
                timeout: values
                    .span("credentials.vault.timeout_ms")
                    .unwrap_or(of_all_vault.timeout),
                allows_http: values.is_on("credentials.vault.allow_http")
                    || of_all_vault.allows_http,
            },
        }
    }

    /// Tells references where secrets are.
    fn tell(&self, names: &mut Names<'_>) {
        names.mount.clone_from(&self.mount);
        names.vault = self.vault.settings(names.state_dir).map_err(|(_, why)| why);
        names.provider = match self.provider.as_str() {
            "file" => Provider::Mounted(self.dir.clone()),
            "k8s_secret" => Provider::Mounted(self.mount.clone()),
            "vault" => Provider::Vault(self.vault.path.clone()),
            _ => Provider::Env,
        };
    }
}

impl SaidVault {
    /// The settings, or the key that is missing or wrong and why.
    fn settings(&self, state_dir: Option<&str>) -> Result<VaultSettings, (&'static str, String)> {
        let Some(address) = &self.address else {
            return Err(("credentials.vault.address", NO_VAULT.to_owned()));
        };
        if !self.allows_http && super::exporter::is_plain_and_far(address) {
            let wrong = "credentials.vault.address: plain http to another host carries secrets \
                         readably; use https, or set `credentials.vault.allow_http: true`";
            return Err(("credentials.vault.address", wrong.to_owned()));
        }
        let login = match (self.method.as_str(), &self.token, &self.role) {
            ("token", Some(token), _) => VaultLogin::Token(token.clone()),
            ("token", None, _) => {
                let wrong = "`auth_method: token` needs `credentials.vault.token`";
                return Err(("credentials.vault.token", wrong.to_owned()));
            }
            (_, _, Some(role)) => VaultLogin::Kubernetes {
                mount: self.login_mount.clone(),
                role: role.clone(),
                jwt_path: self.jwt_path.clone(),
            },
            (_, _, None) => {
                let wrong = "the Kubernetes login needs `credentials.vault.role`; \
                             or set `auth_method: token`";
                return Err(("credentials.vault.role", wrong.to_owned()));
            }
        };
        let below = |path: &PathBuf| Path::new(state_dir.unwrap_or_default()).join(path);
        Ok(VaultSettings {
            address: address.parse().map_err(|_| {
                ("credentials.vault.address", "expected an http or https URL".to_owned())
            })?,
            namespace: self.namespace.clone(),
            login,
            ca_cert_path: self.ca_cert_path.as_ref().map(below),
            timeout: self.timeout,
        })
    }
}

/// What is wrong with the Vault of `provider: vault`, which nothing may have asked for yet.
pub(super) fn rules(values: &Values, mistakes: &mut Mistakes) {
    let said = Said::read(values, None);
    // Samples write down a Vault beside another provider; references to it tell what it lacks.
    let is_wanted = said.provider == "vault";
    let are_broken = KEYS.iter().any(|key| values.broken.contains(key.path));
    if !is_wanted || are_broken {
        return;
    }
    if let Err((key, why)) = said.vault.settings(None) {
        values.mistake(key, Wrong::Rule(why), mistakes);
    }
}

const NO_VAULT: &str = "no Vault is known; set `credentials.vault.address`";
