//! Where things lie, read by those who have none of the secrets.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use shrike::config::{Flags, Lookup, Places, Text};
use shrike::deliver::{Secret, VaultError, VaultFields, VaultSettings};
use shrike::vendors;

/// A host without variables and files, and a Vault that counts what it is asked.
#[derive(Default)]
struct Bare(Cell<u32>);

impl Lookup for Bare {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, _path: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn hostname(&self) -> String {
        "bare".to_owned()
    }

    fn vault(&self, _settings: &VaultSettings, _path: &str) -> Result<VaultFields, VaultError> {
        self.0.set(self.0.get() + 1);
        Ok([("dir".to_owned(), Secret::new("/far".to_owned()))].into())
    }
}

/// The places of a text, or what is wrong, and how often the Vault was asked.
fn read(text: &str) -> (Result<Places, String>, u32) {
    let bare = Bare::default();
    let text = Text::File { name: "c".to_owned(), text: text.to_owned().into() };
    let places = Places::read(&text, &Flags::default(), vendors::ALL, &bare);
    (places.map_err(|error| error.to_string()), bare.0.get())
}

const SECRETS: &str = "\
global: {state_dir: /s, tenant_id: '${TENANT}'}
admin: {listen: '127.0.0.1:${PORT}', tokens: [{name: a, token: '@/no', role: viewer}]}
credentials: {vault: {address: 'https://v', auth_method: token, token: t}}
inputs: [{type: http, listen: '${LISTEN}', token: '${file:/no}'}]
privacy: {hash_salt: '${vault:secret/data/x#salt}'}
routing: {rules: [{condition: '${CONDITION}', exporters: [elastic]}]}
exporters:
  elastic: {nodes: '${NODES}', auth: '${AUTH}', dlq: {path: other}}
  splunk: {hec_url: 'https://h', hec_token: '${vault:secret/data/x#hec}', batch: {size: '${SIZE}'}}
  file: {path: '${PATH_OUT}', enabled: '${ON}'}
  stdout: {enabled: false}
";

#[test]
fn places_are_known_without_any_secret() {
    let (places, asked) = read(SECRETS);
    let places = places.expect("nothing that is lacking is a place");
    assert_eq!(asked, 0, "nobody waits for a Vault");
    assert_eq!(places.log_dir, PathBuf::from("/s/log"));
    assert_eq!(places.quarantine_dir, PathBuf::from("/s/quarantine"));
    assert_eq!(places.receipts.expect("usual").path, PathBuf::from("/s/audit.jsonl"));
    let letters: Vec<_> =
        places.letters.iter().map(|it| (it.exporter.as_str(), it.dir.to_str())).collect();
    let expected = [
        ("elastic", Some("/s/other")),
        ("file", Some("/s/dlq/file")),
        ("splunk", Some("/s/dlq/splunk")),
    ];
    assert_eq!(letters, expected);
}

#[test]
fn what_is_wrong_with_a_place_is_told_and_nothing_else() {
    let no_dir = "the environment has no variable DIR; set it, or write a default: ${DIR:-text}";
    let rows = [
        ("log: {dir: '${DIR}'}", format!("c:12:12: log.dir: {no_dir}")),
        ("log: '${DIR}'", format!("c:12:6: log: {no_dir}")),
        ("audit: {path: '${DIR}'}", format!("c:12:15: audit.path: {no_dir}")),
        ("audit: {pth: a}", "c:12:9: audit.pth: unknown key; did you mean `path`?".to_owned()),
        ("audti: {path: a}", "c:12:1: audti: unknown key; did you mean `audit`?".to_owned()),
        (
            "pipeline: {workers: many, quarantine: {path: '${DIR}'}}",
            format!("c:12:46: pipeline.quarantine.path: {no_dir}"),
        ),
        (
            "  syslog: {address: '${DIR}', dlq: {path: '${DIR}'}}",
            format!("c:12:43: exporters.syslog.dlq.path: {no_dir}"),
        ),
        ("  syslog: '${DIR}'", format!("c:12:11: exporters.syslog: {no_dir}")),
        (
            "  sislog: {address: h}",
            "c:12:3: exporters.sislog: unknown exporter type; did you mean `syslog`?".to_owned(),
        ),
    ];
    for (line, expected) in rows {
        let (places, _) = read(&format!("{SECRETS}{line}\n"));
        assert_eq!(places.expect_err(line), expected, "{line}");
    }
}

#[test]
fn a_place_that_a_vault_knows_is_asked_for() {
    let (places, asked) = read(&format!("{SECRETS}log: {{dir: '${{vault:secret/data/x#dir}}'}}\n"));
    assert_eq!(places.map(|it| it.log_dir), Ok(PathBuf::from("/far")));
    assert!(asked > 0);
}
