//! References in texts: `${VAR}`, `${VAR:-text}`, `${file:/path}`, `${secret:name}` and so on.
//!
//! References are replaced in values after the YAML is read, in a single pass, so a value can never
//! become configuration and is never looked at again.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::text::{Body, Node, Part};
use super::{Mistake, Mistakes, Shown, Wrong};
use crate::deliver::{HOSTNAME, Secret, Vault, VaultError, VaultFields, VaultSettings};

/// Where references look: the environment and files, or a test's stand-ins.
pub trait Lookup {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a file.
    ///
    /// # Errors
    /// What the system says.
    fn file(&self, path: &Path) -> std::io::Result<String>;
    /// The machine's name, for defaults that name it.
    fn hostname(&self) -> String;
    /// The fields of a secret in a Vault; where nothing leads to one, that is said.
    ///
    /// # Errors
    /// When the Vault does not give it.
    fn vault(&self, settings: &VaultSettings, path: &str) -> Result<VaultFields, VaultError> {
        let problem = format!("nothing leads from here to {}", settings.address);
        Err(VaultError::Away { what: path.to_owned(), problem })
    }
}

/// The process's own environment and file system.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Lookup for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        use std::io::Read as _;
        use std::os::unix::fs::FileTypeExt as _;
        // A pipe that nobody writes to would hold up everything.
        if std::fs::metadata(path)?.file_type().is_fifo() && !path.starts_with("/dev/fd") {
            return Err(std::io::Error::other("is a pipe; expected a file"));
        }
        let mut text = String::new();
        let mut file = std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1);
        file.read_to_string(&mut text)?;
        match text.len() as u64 > FILE_BYTES_MAX {
            true => Err(std::io::Error::other(format!("more than {FILE_BYTES_MAX} bytes"))),
            false => Ok(text),
        }
    }

    fn hostname(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// A session for each secret; [`super::Sources`] keeps one for all.
    fn vault(&self, settings: &VaultSettings, path: &str) -> Result<VaultFields, VaultError> {
        Vault::open(settings)?.read(path)
    }
}

/// Replaces [`HOSTNAME`] in the default of a row.
pub(super) fn name_host(text: &str, names: &Names<'_>) -> String {
    match text.contains(HOSTNAME) {
        true => text.replace(HOSTNAME, &names.lookup.hostname()),
        false => text.to_owned(),
    }
}

/// Replaces the references in every text at and below a node.
pub(super) fn expand(
    node: &mut Node,
    path: &mut String,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) {
    match &mut node.body {
        Body::Null | Body::Broken => {}
        Body::Scalar(scalar) => match names.expand(&scalar.text) {
            Ok(None) => {}
            Ok(Some((text, parts))) => {
                (scalar.text, scalar.parts) = (text, parts);
                scalar.expanded = true;
            }
            Err(wrong) => {
                mistakes.add(Mistake::new(node.at.clone(), path.as_str(), wrong));
                node.body = Body::Broken;
            }
        },
        Body::List(nodes) => {
            for (n, node) in nodes.iter_mut().enumerate() {
                let end = path.len();
                path.push_str(&format!("[{n}]"));
                expand(node, path, names, mistakes);
                path.truncate(end);
            }
        }
        Body::Map(entries) => {
            for entry in entries {
                let end = path.len();
                if end > 0 {
                    path.push('.');
                }
                path.push_str(&entry.key);
                expand(&mut entry.node, path, names, mistakes);
                path.truncate(end);
            }
        }
    }
}

/// Where secrets are found by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Provider {
    /// In the environment.
    #[default]
    Env,
    /// In the files of a directory, which may be replaced under way: a mounted secret.
    Mounted(PathBuf),
    /// In the fields of this secret of the Vault.
    Vault(String),
}

/// What names stand for.
pub(super) struct Names<'a> {
    /// Environment and files.
    pub(super) lookup: &'a dyn Lookup,
    /// The text of `${state_dir}`, once it is known.
    pub(super) state_dir: Option<&'a str>,
    /// Where `${secret:NAME}` looks.
    pub(super) provider: Provider,
    /// Where `${k8s:name/key}` looks.
    pub(super) mount: PathBuf,
    /// The Vault where `${vault:path#field}` looks, or why there is none.
    pub(super) vault: Result<VaultSettings, String>,
    /// What was read in the end, for people.
    pub(super) shown: &'a RefCell<Shown>,
}

/// A text with its references replaced, and what stands for them.
type Expanded = (Zeroizing<String>, Vec<Part>);

impl Names<'_> {
    /// The text with its references replaced, if it has any, and what stands for them.
    fn expand(&self, text: &str) -> Result<Option<Expanded>, Wrong> {
        let mut parts = Vec::new();
        let mut rest = text;
        let mut out = Zeroizing::new(String::new());
        let mut changed = false;
        while let Some(start) = rest.find("${") {
            changed = true;
            if rest[..start].ends_with('$') {
                out.push_str(&rest[..start]);
                out.push('{');
                rest = &rest[start + 2..];
                continue;
            }
            out.push_str(&rest[..start]);
            let Some(length) = rest[start + 2..].find('}') else {
                return Err(Wrong::Reference(
                    "`${` without `}`; write `$${` for the text itself".to_owned(),
                ));
            };
            let name = &rest[start + 2..start + 2 + length];
            let part = self.reference(name)?;
            out.push_str(&part);
            if name != STATE_DIR && !part.is_empty() {
                let is_secret = name.contains(':') && !name.contains(":-");
                parts.push(Part { text: Secret::new(part.to_string()), is_secret });
            }
            rest = &rest[start + 2 + length + 1..];
        }
        out.push_str(rest);
        Ok(changed.then_some((out, parts)))
    }

    fn reference(&self, name: &str) -> Result<Zeroizing<String>, Wrong> {
        if name == STATE_DIR {
            return match self.state_dir {
                Some(text) => Ok(Zeroizing::new(text.to_owned())),
                None => Err(Wrong::Reference("state_dir cannot refer to itself".to_owned())),
            };
        }
        if let Some((variable, other)) = name.split_once(":-") {
            let text = self.variable(variable)?.filter(|text| !text.is_empty());
            return Ok(text.unwrap_or_else(|| Zeroizing::new(other.to_owned())));
        }
        if let Some((provider, rest)) = name.split_once(':') {
            return match provider {
                "file" => self.file(Path::new(rest)),
                "secret" => self.secret(rest),
                "k8s" => self.mounted(&self.mount, rest),
                "vault" => match rest.split_once('#') {
                    Some((path, field)) => self.vault(path, field),
                    None => {
                        let wrong = "expected a path and a field: `${vault:secret/data/x#field}`";
                        Err(Wrong::Reference(wrong.to_owned()))
                    }
                },
                _ => Err(unknown_provider(provider)),
            };
        }
        self.variable(name)?.ok_or_else(|| {
            Wrong::Reference(format!(
                "the environment has no variable {name}; set it, or write a default: \
                 ${{{name}:-text}}"
            ))
        })
    }

    fn variable(&self, name: &str) -> Result<Option<Zeroizing<String>>, Wrong> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(Wrong::Reference(
                "expected the name of an environment variable between `${` and `}`".to_owned(),
            ));
        }
        Ok(self.lookup.variable(name).map(Zeroizing::new))
    }

    /// A secret by name, from the provider of the credentials.
    fn secret(&self, name: &str) -> Result<Zeroizing<String>, Wrong> {
        match &self.provider {
            Provider::Env => self.variable(name)?.ok_or_else(|| {
                Wrong::Reference(format!(
                    "the environment has no variable {name}, where `credentials.provider: env` \
                     looks for the secret of this name"
                ))
            }),
            Provider::Mounted(dir) => self.mounted(dir, name),
            Provider::Vault(path) => self.vault(path, name),
        }
    }

    /// A field of a secret in the Vault.
    fn vault(&self, path: &str, field: &str) -> Result<Zeroizing<String>, Wrong> {
        let settings = self.vault.as_ref().map_err(|why| Wrong::Reference(why.clone()))?;
        let path = path.trim_matches('/');
        let is_path = path.contains('/') && path.split('/').all(is_step);
        if !is_path || field.is_empty() || path.chars().any(char::is_control) {
            let wrong = "expected MOUNT/data/NAME of a secret in the Vault and one of its fields";
            return Err(Wrong::Reference(wrong.to_owned()));
        }
        let fields = self.lookup.vault(settings, path);
        let fields = fields.map_err(|error| Wrong::Reference(error.to_string()))?;
        let found = fields.get(field).map(Secret::expose);
        found.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(|| {
            let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
            names.truncate(FIELDS_NAMED_MAX);
            let names = names.join(", ");
            Wrong::Reference(format!("vault: {path} has no field `{field}`; it has: {names}"))
        })
    }

    /// A secret in a directory; names do not lead out of it.
    fn mounted(&self, dir: &Path, name: &str) -> Result<Zeroizing<String>, Wrong> {
        if name.is_empty() || !name.split('/').all(is_step) {
            let wrong = "expected the name of a secret, without `..` and without `/` in front";
            return Err(Wrong::Reference(wrong.to_owned()));
        }
        self.file(&dir.join(name))
    }

    /// The content of a file without its last line end.
    pub(super) fn file(&self, path: &Path) -> Result<Zeroizing<String>, Wrong> {
        let shown = path.display();
        if !path.is_absolute() {
            return Err(Wrong::Reference(format!("expected an absolute path, found {shown}")));
        }
        let mut text = match self.lookup.file(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => return Err(Wrong::Reference(format!("cannot read {shown}: {error}"))),
        };
        if text.ends_with('\n') {
            text.pop();
        }
        if text.ends_with('\r') {
            text.pop();
        }
        Ok(text)
    }
}

/// Whether a part of a path leads downwards.
fn is_step(step: &str) -> bool {
    !matches!(step, "" | "." | "..")
}

fn unknown_provider(provider: &str) -> Wrong {
    let provider: String = provider.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    Wrong::Reference(format!(
        "unknown provider `{provider}`; expected ${{VAR}}, ${{VAR:-text}}, ${{file:/path}}, \
         ${{secret:name}}, ${{vault:path#field}}, ${{k8s:name/key}} or ${{state_dir}}"
    ))
}

/// The one name that is built in.
const STATE_DIR: &str = "state_dir";
/// Fields that an error names.
const FIELDS_NAMED_MAX: usize = 16;
/// Bytes of a file that a reference may name; secrets and certificates are smaller.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Where a cluster mounts secrets unless `credentials.k8s_secret.mount` says otherwise.
pub(super) const K8S_MOUNT: &str = "/var/run/secrets/shrike";
