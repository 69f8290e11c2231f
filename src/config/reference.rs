//! The reference of the configuration, from the tables.

use std::fmt::Write as _;
use std::time::Duration;

use super::credentials;
use super::key::size;
use super::{
    Default, EMBEDDED, FILTER, INPUT, Key, Kind, PATTERN, PRIVACY_OWN, ROUTING_RULE, SHARED, TOKEN,
    USUAL_PATH, hook_keys, routes, server_keys, top,
};
use crate::deliver::{HOSTNAME, Vendor};

/// The reference as Markdown: every key of every table, and those of these destinations.
#[must_use]
pub fn reference(vendors: &[&'static Vendor]) -> String {
    let mut out = INTRODUCTION.replace("{usual}", USUAL_PATH).replace("{embedded}", EMBEDDED);
    let mut section = "";
    for key in &top() {
        let step = key.path.split('.').next().unwrap_or(key.path);
        if step != section {
            section = step;
            heading(&format!("## `{section}`"), &mut out);
        }
        row(key, &mut out);
    }
    heading("## Each of `routing.rules`", &mut out);
    ROUTING_RULE.iter().for_each(|key| row(key, &mut out));
    heading("## Each of `privacy.patterns`", &mut out);
    PATTERN.iter().for_each(|key| row(key, &mut out));
    heading("## Each of `admin.tokens`", &mut out);
    TOKEN.iter().for_each(|key| row(key, &mut out));
    heading("## Each of `threat_intel.servers`", &mut out);
    server_keys().iter().for_each(|key| row(key, &mut out));
    out.push_str(INTEL);
    heading("## Each of `response_hooks`", &mut out);
    hook_keys().iter().for_each(|key| row(key, &mut out));
    out.push_str(HOOKS);
    heading("## Each of `inputs`", &mut out);
    INPUT.iter().for_each(|key| row(key, &mut out));
    out.push_str(EXPORTERS);
    heading("### Every exporter", &mut out);
    SHARED.iter().chain(credentials::OF_EXPORTER).for_each(|key| row(key, &mut out));
    heading("### What an exporter sees less than others", &mut out);
    PRIVACY_OWN.iter().for_each(|key| row(key, &mut out));
    heading("### Which events an exporter takes", &mut out);
    FILTER.iter().for_each(|key| row(key, &mut out));
    for vendor in vendors {
        of_vendor(vendor, &mut out);
    }
    out
}

fn of_vendor(vendor: &'static Vendor, out: &mut String) {
    let _ = write!(out, "\n### Exporter type `{}`\n\n{}.", vendor.name, vendor.about);
    if !vendor.aliases.is_empty() {
        let _ = write!(out, " Also {}.", ticked(vendor.aliases));
    }
    let formats: Vec<&str> = vendor.formats.iter().map(|format| format.word()).collect();
    let limits = vendor.limits;
    let _ = writeln!(
        out,
        " Formats: {}. A request has at most {} events and {} bytes, an event {} bytes.",
        ticked(&formats),
        limits.events,
        size(u64::from(limits.body_bytes)),
        size(u64::from(limits.event_bytes)),
    );
    let usual = usual(vendor);
    if !usual.is_empty() {
        let _ = writeln!(out, "Where nothing is written here, {}.", usual.join(", "));
    }
    if vendor.options.is_empty() {
        return;
    }
    out.push_str(HEADS);
    vendor.options.iter().for_each(|option| row(&Key::of(option), out));
    routes::keys(vendor).iter().for_each(|key| row(key, out));
    if !vendor.route_keys.is_empty() {
        let _ = writeln!(out, "\nRules of `routing` may override {}.", ticked(vendor.route_keys));
    }
}

/// What a destination takes in place of the defaults of all.
fn usual(vendor: &Vendor) -> Vec<String> {
    let millis = |key: &str, span: Duration| format!("`{key}` is {}", span.as_millis());
    let bytes = vendor.body_bytes.map(|it| format!("`batch.max_bytes` is {}", size(it.into())));
    let linger = vendor.linger.map(|it| millis("batch.linger_ms", it));
    let concurrency = vendor.concurrency.map(|it| format!("`concurrency` is {it}"));
    let timeout =
        (vendor.timeout != Vendor::BASE.timeout).then(|| millis("timeout_ms", vendor.timeout));
    let others = vendor.usual.iter().map(|(key, text)| format!("`{key}` is {text}"));
    bytes.into_iter().chain(linger).chain(concurrency).chain(timeout).chain(others).collect()
}

fn heading(text: &str, out: &mut String) {
    let _ = write!(out, "\n{text}\n{HEADS}");
}

fn row(key: &Key, out: &mut String) {
    let default = match key.default {
        Default::Is(HOSTNAME) => "the machine's name".to_owned(),
        Default::Is(text) => format!("`{text}`"),
        Default::Unset(word) => word.to_owned(),
    };
    let mut about = key.about.to_owned();
    let opposites: Vec<&str> = key.aliases.iter().filter_map(|it| it.strip_prefix('!')).collect();
    let aliases: Vec<&str> =
        key.aliases.iter().copied().filter(|alias| !alias.starts_with('!')).collect();
    if !aliases.is_empty() {
        let _ = write!(about, " Also {}.", ticked(&aliases));
    }
    if !opposites.is_empty() {
        let _ = write!(about, " The opposite of {}.", ticked(&opposites));
    }
    let takes = match key.kind {
        Kind::Text(_) => "text".to_owned(),
        kind => kind.expected(key.path),
    };
    let _ = writeln!(out, "| `{}` | {takes} | {default} | {about} |", key.path);
}

fn ticked(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

const HEADS: &str = "\n| Key | Takes | Default | Meaning |\n|---|---|---|---|\n";

const INTRODUCTION: &str = "\
# Configuration

Made from the tables in `src/config` and `src/vendors` by `UPDATE_DOCS=1 cargo test --test \
config`; do not edit.

One YAML file: `--config FILE`, else `{usual}` where it exists, else this:

```yaml
{embedded}```

- An unknown key, a wrong value and a missing reference are errors with file, line, column, key \
path and what was expected; all of them are reported at once, and nothing starts (exit code 2). \
`shrike check` only looks, also whether each path that is named can be used by the user that runs \
it; a file to be followed that is missing is a note, since it may come late. A starting process \
says the same as warnings.
- `--set KEY=VALUE` sets any key over the file, with a dotted path and a YAML value: \
`--set log.sync_ms=5`, `--set inputs.0.path=audit.jsonl`. `--to NAME=URL` adds an exporter or \
points one elsewhere; without a file it stands in place of the embedded `stdout`, as \
`--set exporters...` does; a plain http URL given there is permitted. `--input FILE` replaces the \
inputs. `--log DIR` is `log.dir`.
- Time spans are a number with a unit, `10s`, `5m`, `7d` (ms, s, m, h, d), or a whole number where \
the key's name ends with the unit (`_ms`, `_secs`). Sizes are whole bytes or `64MiB` (kB, MB, GB, \
KiB, MiB, GiB, TiB).
- Relative paths lie below `global.state_dir`; those of inputs and of `global.state_dir` itself \
are relative to the working directory.

References are replaced in values, once, after the YAML is read:

| Reference | Becomes |
|---|---|
| `${VAR}` | the environment variable; an error where it is not set |
| `${VAR:-text}` | the same, or the text where it is not set or empty |
| `${file:/path}` | the file's content without its last line end |
| `${secret:name}` | the secret of this name, from `credentials.provider` |
| `${vault:path#field}` | a field of a secret in the Vault of `credentials.vault`, KV version 2; \
the path is the API's, `secret/data/name` |
| `${k8s:name/key}` | the file `name/key` below `credentials.k8s_secret.mount` |
| `${state_dir}` | `global.state_dir` |
| `$${` | `${` itself |

A key that takes a secret also takes `@/path` or `file:/path` for the content of a file. Secrets \
are never printed: not in errors, logs or `shrike status`.

`shrike config schema` prints these tables as a JSON Schema, for editors and for checks elsewhere, \
with the other forms that are read.

A running process reads its file again when it changes (`global.watch_config`), on `SIGHUP` and on \
`shrike reload`: it is checked as a whole, a wrong one changes nothing, and exporters that did not \
change keep their connections; inputs come and go, each from where it was. What belongs to a start \
is told with its reason and takes effect then: `global.state_dir`, `admin.listen`, \
`pipeline.workers`, `log.dir`, `log.io` and `log.segment_bytes`. Another `memory.in_flight_bytes` \
or place of receipts has every exporter send what it has under way first; dead letters, refused \
lines and receipts that were written stay where they are. Certificates of listeners are read again \
when their files change, and those of `tls` before the next connection. What a \
value refers to is read again every `credentials.refresh_interval`, as soon as a file changes, and \
when a destination refuses the credentials ([credentials.md](credentials.md)). `shrike config \
show` prints what a start would use, `GET /api/v1/config` what runs; secrets are masked in both.
";

const HOOKS: &str = "
A hook is an exporter of its own, with one request in flight: cursor, receipts, dead letters and \
metrics go by its name. What it does and when it does not: [hooks.md](hooks.md).
";

const INTEL: &str = "
What is done with them, and samples: [threat-intel.md](threat-intel.md).
";

const EXPORTERS: &str = "
## Each of `exporters`

The name is lower-case letters, digits, `_` and `-`. Its type is `type`, else the longest known \
type that the name starts with: `splunk`, `splunk_eu`, `splunk-eu`. Two spellings of one key must \
agree.

Other documents write exporters in other forms, which are read too; `shrike check` says what \
became of each.

- A list, `exporters: [{type: splunk, ..}]`: each is named by its type, repeats are `splunk_2`.
- Groups: `alerting: {pagerduty: .., opsgenie: ..}`, `webhooks: {slack: .., teams: .., webhooks: \
[..]}`. Members inherit what the group says unless they say so themselves; a list of `webhooks` is \
`webhook_0` and so on.
- A wrapper, `siem:` or `export:`, around everything: `filters` is `filtering`, `environment`, \
`tenant_id` and `labels` belong to `global`, and `enabled: false` switches every exporter off. \
Beside `siem:`, keys of the program whose file it is are ignored with a note.
- Keys that speak of a queue, its capacity or its spill: there is none, the log holds what waits. \
`queue.max_bytes` is `lag_max_bytes`; `queue.on_full` is `on_lag`.
";
