//! Where secrets come from: `credentials` for all, and of one exporter.

use std::path::{Path, PathBuf};

use super::expand::{K8S_MOUNT, Names, Provider, expand};
use super::key::key;
use super::read::read;
use super::text::{Body, Node};
use super::{Default, Key, Kind, Mistakes};
use Default::Is;

const PROVIDERS: &[&str] = &["env", "file", "k8s_secret"];

/// The keys at the top of a file.
pub(super) const KEYS: &[Key] = &[
    key(
        "credentials.provider",
        Kind::Choice(PROVIDERS),
        Is("env"),
        "Where `${secret:NAME}` is found: the environment, a directory of files, or a mounted \
         secret of a cluster.",
    ),
    key(
        "credentials.refresh_interval",
        Kind::Span(30 * 86_400_000),
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
];

/// The same of one exporter, where it has credentials of its own.
pub(super) const OF_EXPORTER: &[Key] = &[
    key(
        "credentials.provider",
        Kind::Choice(PROVIDERS),
        Default::Unset("that of all"),
        "Where `${secret:NAME}` is found for this exporter.",
    ),
    key(
        "credentials.file.dir",
        Kind::Path,
        Default::Unset("that of all"),
        "Directory of `provider: file`.",
    ),
    key(
        "credentials.k8s_secret.mount",
        Kind::Path,
        Default::Unset("that of all"),
        "Directory of `provider: k8s_secret`.",
    ),
];

/// What says where secrets are.
#[derive(Clone, Debug)]
struct Said {
    provider: String,
    dir: PathBuf,
    mount: PathBuf,
}

/// Replaces the references of the whole tree, exporters with their own provider.
pub(super) fn expand_all(root: &mut Node, names: &mut Names<'_>, mistakes: &mut Mistakes) {
    let usual = Said {
        provider: "env".to_owned(),
        dir: PathBuf::from("/run/secrets"),
        mount: PathBuf::from(K8S_MOUNT),
    };
    let of_all = said(root, &usual, "", names, mistakes);
    let Body::Map(entries) = &mut root.body else {
        return expand(root, &mut String::new(), names, mistakes);
    };
    for entry in entries {
        of_all.tell(names);
        match (entry.key.as_str(), &mut entry.node.body) {
            ("exporters", Body::Map(exporters)) => {
                for exporter in exporters {
                    let mut place = format!("exporters.{}", exporter.key);
                    of_all.tell(names);
                    let said = said(&mut exporter.node, &of_all, &place, names, mistakes);
                    said.tell(names);
                    expand(&mut exporter.node, &mut place, names, mistakes);
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

/// What a map says about its credentials, over what holds without; mistakes are told when its own
/// table reads it.
fn said(
    node: &mut Node,
    usual: &Said,
    place: &str,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Said {
    let Body::Map(entries) = &mut node.body else { return usual.clone() };
    let entry = entries.iter_mut().find(|entry| entry.key == "credentials");
    let Some(entry) = entry else { return usual.clone() };
    let mut at = super::value::join(place, "credentials");
    if place.is_empty() {
        expand(&mut entry.node, &mut at, names, mistakes);
    }
    let only = Body::Map(vec![entry.clone()]);
    let only = Node { at: entry.at.clone(), body: only };
    let shown = std::cell::RefCell::default();
    let (provider, mount) = (Provider::Env, PathBuf::new());
    let names = Names { shown: &shown, provider, mount, ..*names };
    let values = read(&only, place, OF_EXPORTER, &names, &mut Mistakes::default());
    let or = |path: Option<PathBuf>, usual: &Path| path.unwrap_or_else(|| usual.to_owned());
    Said {
        provider: values.text("credentials.provider").unwrap_or_else(|| usual.provider.clone()),
        dir: or(values.path("credentials.file.dir"), &usual.dir),
        mount: or(values.path("credentials.k8s_secret.mount"), &usual.mount),
    }
}

impl Said {
    /// Tells references where secrets are.
    fn tell(&self, names: &mut Names<'_>) {
        names.mount.clone_from(&self.mount);
        names.provider = match self.provider.as_str() {
            "file" => Provider::Mounted(self.dir.clone()),
            "k8s_secret" => Provider::Mounted(self.mount.clone()),
            _ => Provider::Env,
        };
    }
}
