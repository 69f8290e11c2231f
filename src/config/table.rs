//! The tables: every key outside the vendors' own.

use super::key::{FORMATS, key};
use super::{Default, Key, Kind};
use Default::{Is, Unset};

/// Keys at the top of a file.
pub const TOP: &[Key] = &[
    key(
        "version",
        Kind::Version,
        Is("1.0.0"),
        "Version of the configuration format; the major version must be 1.",
    ),
    key(
        "global.environment",
        Kind::Text(256),
        Unset("none"),
        "Environment of events that name none.",
    ),
    key("global.tenant_id", Kind::Text(256), Unset("none"), "Tenant of events that name none."),
    key(
        "global.labels",
        Kind::Texts,
        Is("{}"),
        "Labels added to every event; an event's own label of the same name wins.",
    ),
    key(
        "global.debug",
        Kind::Bool,
        Is("false"),
        "Logs at level debug, whatever `global.log.level` says.",
    ),
    key(
        "global.log.level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        Is("info"),
        "How much the process logs about itself on standard error.",
    ),
    key(
        "global.log.format",
        Kind::Choice(&["json", "text"]),
        Unset("text on a terminal, else json"),
        "How it writes that.",
    ),
    key(
        "global.state_dir",
        Kind::Path,
        Is("/var/lib/shrike"),
        "Directory for everything that outlives the process; `${state_dir}` in other \
         values. Relative to the working directory.",
    ),
    key(
        "global.watch_config",
        Kind::Bool,
        Is("true"),
        "Reads the configuration file again as soon as it changes, as SIGHUP and `shrike reload` \
         do; a wrong one changes nothing.",
    ),
    key(
        "global.shutdown_timeout_ms",
        Kind::Span(0, 3_600_000),
        Is("30000"),
        "How long a stopping process flushes and waits for confirmations; the rest stays \
         in the log.",
    ),
    key(
        "schema.default_format",
        Kind::Choice(FORMATS),
        Unset("`ecs`; `native` for syslog"),
        "Format of `webhook`, `stdout` and `syslog`, which prefer none; where one takes another, its own.",
    ),
    key(
        "schema.include_raw",
        Kind::Bool,
        Is("false"),
        "Adds the canonical event as text to documents of other formats.",
    ),
    key(
        "schema.indicators",
        Kind::Choice(&["denied", "all"]),
        Is("denied"),
        "Whether threat indicators are written for denied events only, or for all.",
    ),
    key(
        "schema.validate",
        Kind::Choice(&["off", "sample", "all"]),
        Is("sample"),
        "How many documents are looked at while they are sent, one of a hundred or all; those that \
         lack what their schema asks for, or leave out what it has no place for, are counted.",
    ),
    key(
        "schema.field_mappings",
        Kind::Mappings,
        Is("{}"),
        "Writes an event's field under another key: `agent.id: observer.name`. The canonical event, \
         `native`, and `text` stay as they are.",
    ),
    key("schema.ecs.version", Kind::Version, Is("8.17.0"), "Version that ECS documents name."),
    key("schema.ocsf.version", Kind::Version, Is("1.8.0"), "Version that OCSF documents name."),
    key("enrichment.host", Kind::Bool, Is("true"), "Adds the host's name and id."),
    key("enrichment.product_version", Kind::Bool, Is("true"), "Adds the version of shrike."),
    key(
        "enrichment.tags",
        Kind::Texts,
        Is("{}"),
        "Further labels, below those of `global.labels`.",
    ),
    key(
        "enrichment.mitre",
        Kind::Mitre,
        Is("{}"),
        "ATT&CK tactic and technique by guard or event type, for events that name none.",
    ),
    key(
        "pipeline.max_event_bytes",
        Kind::Size(1 << 10, 64 << 20),
        Is("4MiB"),
        "Longer records are quarantined.",
    ),
    key(
        "pipeline.dedup_window",
        Kind::Int(0, 1 << 24),
        Is("65536"),
        "Events that inputs remember in order to recognise repeats; 0 is none.",
    ),
    key(
        "pipeline.quarantine.path",
        Kind::Path,
        Is("${state_dir}/quarantine"),
        "Directory for records that cannot be read as events.",
    ),
    key(
        "pipeline.quarantine.max_bytes",
        Kind::Size(8 << 20, 1 << 40),
        Is("50MiB"),
        "Its bound; the oldest go first.",
    ),
    key("pipeline.workers", Kind::Int(0, 1024), Is("0"), "Worker threads; 0 is one per core."),
    key(
        "memory.in_flight_bytes",
        Kind::Size(1 << 20, 64 << 30),
        Is("48MiB"),
        "Bytes of unsettled batches over all exporters.",
    ),
    key("log.dir", Kind::Path, Is("${state_dir}/log"), "Directory of the event log, mode 0700."),
    key(
        "log.segment_bytes",
        Kind::Size(2 << 20, 16 << 30),
        Is("256MiB"),
        "Size of a segment file, a multiple of 1MiB.",
    ),
    key(
        "log.sync_ms",
        Kind::Span(0, 60_000),
        Is("20"),
        "Appended events are made durable together at least this often.",
    ),
    key(
        "log.sync_bytes",
        Kind::Size(1 << 10, 1 << 30),
        Is("4MiB"),
        "And as soon as this much has been appended; it is kept in memory until then.",
    ),
    key(
        "log.keep.bytes",
        Kind::Size(1 << 20, 1 << 50),
        Is("10GiB"),
        "Log that is kept after every exporter has passed it.",
    ),
    key("log.keep.age", Kind::Span(0, 3650 * 86_400_000), Is("7d"), "How long it is kept then."),
    key(
        "log.max_bytes",
        Kind::Size(1 << 20, 1 << 50),
        Is("50GiB"),
        "Hard bound of the log: there `on_lag: block` exporters push back on inputs, the \
         others skip.",
    ),
    key(
        "log.io",
        Kind::Choice(&["auto", "io_uring", "syscalls"]),
        Is("auto"),
        "How the log is written.",
    ),
    key(
        "log.realtime",
        Kind::Bool,
        Is("true"),
        "The thread that writes the log goes before others (SCHED_RR), where the process may have \
         that: with CAP_SYS_NICE, or RLIMIT_RTPRIO of 1. All that is appended waits for it.",
    ),
    key(
        "routing.rules",
        Kind::Routes,
        Is("[]"),
        "Rules that choose exporters; the first whose `condition` holds decides. Without rules \
         every exporter takes every event that its filter lets through.",
    ),
    key(
        "routing.default",
        Kind::List,
        Is("[]"),
        "Exporters of events that no rule is for; empty is all.",
    ),
    key(
        "admin.listen",
        Kind::Text(64),
        Unset("none"),
        "Address of `/metrics`, `/healthz`, `/readyz` and the admin API, such as `127.0.0.1:9401`; \
         beyond this host it needs `admin.tls` and `admin.tokens`.",
    ),
    key(
        "admin.tls.cert_path",
        Kind::Path,
        Unset("plain HTTP"),
        "PEM file of the certificate chain that is shown there.",
    ),
    key("admin.tls.key_path", Kind::Path, Unset("none"), "PEM file of its key."),
    key(
        "admin.tokens",
        Kind::Tokens,
        Is("[]"),
        "Who may look and change things over HTTP. Without tokens there are the pages for \
         monitoring only; with them, these need one too, but for `/healthz` and `/readyz`.",
    ),
    key(
        "audit.enabled",
        Kind::Bool,
        Is("true"),
        "Writes a receipt for each settled batch, for `shrike audit`.",
    ),
    key(
        "audit.hash_chain",
        Kind::Bool,
        Is("true"),
        "Each receipt carries the hash of those before it. There are no others: with false, switch \
         receipts off by `audit.enabled`.",
    ),
    key(
        "audit.path",
        Kind::Path,
        Is("${state_dir}/audit.jsonl"),
        "File of the receipts; older ones lie beside it.",
    ),
    key(
        "audit.max_bytes",
        Kind::Size(1 << 20, 1 << 40),
        Is("100MiB"),
        "Bytes of receipts that are kept.",
    ),
    key(
        "response_hooks",
        Kind::Hooks,
        Is("[]"),
        "What answers events with actions; each takes the events that its `when` says, of those that \
         `filtering` lets through.",
    ),
    key("inputs", Kind::Inputs, Is("[]"), "Where events come from besides `shrike append`."),
    key("exporters", Kind::Exporters, Is("{}"), "Where events go, by name."),
];

/// All keys at the top of a file: [`TOP`], those of [`super::FILTERING`] and [`super::PRIVACY`],
/// credentials and threat intelligence.
pub fn top() -> Vec<Key> {
    let more = super::FILTERING.iter().chain(super::PRIVACY).chain(super::credentials::KEYS);
    TOP.iter().chain(more).chain(super::intel::INTEL).copied().collect()
}

/// Keys of one input.
pub const INPUT: &[Key] = &[
    key(
        "type",
        Kind::Choice(&["file", "http", "hushd", "sqlite", "stdin", "unix"]),
        Unset("required"),
        "`file`, `http` for `POST /v1/events` and `/v1/logs`, `hushd` for the API of hushd, `sqlite` \
         for its ledger, `stdin` for standard input, or `unix` for lines over a socket.",
    ),
    key(
        "path",
        Kind::Path,
        Unset("required for file, sqlite and unix"),
        "The file, or a pattern such as `/var/log/*.jsonl` where it is followed; the database; the \
         socket. Relative to the working directory.",
    ),
    key(
        "follow",
        Kind::Bool,
        Is("true"),
        "Waits for more at the end of a file, and goes on there after a restart; false reads it \
         once, from its start.",
    ),
    key(
        "format",
        Kind::Choice(FORMATS_IN),
        Is("auto"),
        "What the records are; auto tells by each line.",
    ),
    key(
        "mode",
        Kind::Choice(&["auto", "append", "rewrite", "per_run", "document"]),
        Is("auto"),
        "How a followed file is written: lines are added, everything is written again for each \
         event, each run begins it anew, or it is one JSON document over any number of lines; \
         auto tells by its beginning.",
    ),
    key(
        "from",
        Kind::Choice(&["start", "end"]),
        Is("start"),
        "Where a followed file, a table or an API that is there at the first start is read from; \
         later ones are read from their start.",
    ),
    key(
        "listen",
        Kind::Text(64),
        Is("127.0.0.1:9400"),
        "Address and port of an `http` input; beyond this host it needs a token.",
    ),
    key(
        "token",
        Kind::Secret,
        Unset("none"),
        "What senders to an `http` input show, and what a `hushd` input shows: `Authorization: \
         Bearer TOKEN`.",
    ),
    key(
        "max_body_bytes",
        Kind::Size(1 << 10, 64 << 20),
        Is("8MiB"),
        "Body of a request to an `http` input at most, before and after decompression.",
    ),
    key(
        "tls.cert_path",
        Kind::Path,
        Unset("plain HTTP"),
        "PEM file of the certificate chain that an `http` input shows.",
    ),
    key("tls.key_path", Kind::Path, Unset("none"), "PEM file of its key."),
    key(
        "url",
        Kind::Url,
        Unset("required for hushd"),
        "Where a `hushd` input asks, such as `http://127.0.0.1:9876`.",
    ),
    key(
        "poll_interval_ms",
        Kind::Span(10, 3_600_000),
        Is("2000"),
        "How often a `hushd` input asks without a hint that something is new.",
    ),
    key(
        "tls.ca_cert_path",
        Kind::Path,
        Unset("the system's authorities"),
        "PEM file of the authorities that a `hushd` input trusts.",
    ),
];

/// What `format` of an input takes: each dialect, and to tell by the line.
const FORMATS_IN: &[&str] = &[
    "auto",
    "security_event",
    "clawdstrike.audit",
    "clawdstrike.audit_v2",
    "clawdstrike.openclaw",
    "clawdstrike.policy_event",
    "clawdstrike.adapter",
    "clawdstrike.irm",
    "clawdstrike.sse",
    "clawdstrike.receipt",
    "velar.audit",
    "otlp.logs",
    "falco",
];

#[cfg(test)]
mod tests {
    use super::FORMATS_IN;

    #[test]
    fn every_dialect_can_be_configured() {
        assert_eq!(FORMATS_IN[1..], *crate::dialects::NAMES);
    }
}
