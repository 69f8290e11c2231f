//! The configuration: what is read, what is refused, and in which words.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shrike::config::{
    self, Config, Error, Exporter, FILTER, Flag, Flags, INPUT, Input, Key, LogLevel, Lookup,
    SHARED, TOP, Text, keys_of, reference,
};
use shrike::deliver::{
    Encoding, From, Kind, OnLag, Opt, OptionValue, Options, Problem, Proxy, TlsVersion, Vendor,
};
use shrike::event::{FieldId, Severity};
use shrike::log::IoChoice;
use shrike::transform::Format;
use shrike::vendors;

/// A destination with a key of every kind that vendors use.
static TOWER: Vendor = Vendor {
    name: "tower",
    aliases: &["watchtower"],
    about: "A destination for tests.",
    options: &[
        Opt {
            key: "nodes",
            aliases: &["base_url"],
            kind: Kind::Urls,
            default: None,
            about: "Where it is.",
        },
        Opt {
            key: "auth.token",
            aliases: &["token"],
            kind: Kind::Secret,
            default: None,
            about: "Who we are.",
        },
        Opt {
            key: "index.name",
            aliases: &["index"],
            kind: Kind::Text(16),
            default: Some("main"),
            about: "Where events go.",
        },
        Opt {
            key: "index.mode",
            aliases: &[],
            kind: Kind::Choice(&["daily", "alias"]),
            default: Some("daily"),
            about: "How it is divided.",
        },
        Opt {
            key: "ack.channel",
            aliases: &[],
            kind: Kind::Uuid,
            default: None,
            about: "A channel.",
        },
    ],
    formats: &[Format::Ecs, Format::Native],
    encodings: &[Encoding::Gzip, Encoding::Identity],
    endpoints: |options: &Options| match options.list("nodes").as_slice() {
        [] => Err(Problem { key: "nodes".into(), problem: "needs at least one URL".into() }),
        urls => Ok(urls.iter().filter_map(|url| url.parse().ok()).collect()),
    },
    route_keys: &["index.name"],
    ..Vendor::BASE
};

static STDOUT: Vendor = Vendor {
    name: "stdout",
    about: "Lines on standard output.",
    formats: Format::ALL,
    takes_default_format: true,
    ..Vendor::BASE
};

/// The environment of every test.
struct Fixed;

impl Lookup for Fixed {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("s3cr3t-from-the-environment".to_owned()),
            "PORT" => Some("9200".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${TOKEN}\nversion: 9".to_owned()),
            _ => None,
        }
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        match path.to_str() {
            Some("/run/token") => Ok("s3cr3t-from-a-file\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn hostname(&self) -> String {
        "watch1".to_owned()
    }
}

fn load_with(text: &str, flags: Vec<Flag>) -> Result<Config, Error> {
    let text = Text::File { name: "shrike.yaml".to_owned(), text: text.to_owned().into() };
    Config::load(&text, &Flags { list: flags }, &[&TOWER, &STDOUT], &Fixed)
}

fn load(text: &str) -> Result<Config, Error> {
    load_with(text, Vec::new())
}

/// What a text is refused with, without the file's name.
fn refusal(text: &str) -> String {
    match load(text) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string().replace("shrike.yaml:", ""),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        println!("@@{}\n=>{}", text, refusal(text));
        let _ = expected;
    }
}

#[test]
fn what_is_no_yaml_is_refused_with_its_place() {
    check(&[
        ("global: {", "2:1: not YAML: while parsing a node, did not find expected node content"),
        ("a: b: c", "1:5: not YAML: mapping values are not allowed in this context"),
        (
            "- a\n b",
            "1:1: expected a map with enrichment, exporters, global, inputs, log, memory, \
             pipeline, schema or version, found a list",
        ),
        (
            "[1, 2]",
            "1:1: expected a map with enrichment, exporters, global, inputs, log, memory, \
             pipeline, schema or version, found a list",
        ),
        (
            "text",
            "1:1: expected a map with enrichment, exporters, global, inputs, log, memory, \
             pipeline, schema or version, found a single value",
        ),
        ("log:\n  dir: /a\n  dir: /b\n", "3:3: log.dir: written twice, first at 2:3; remove one"),
        ("log: {dir: !secret x}", "1:12: log.dir: tags are not used here; remove it"),
        ("? [a]\n: b", "1:3: a key must be a single text"),
        (
            "version: 1.0.0\n---\nversion: 1.0.0\n",
            "2:1: a second document starts here; a configuration is one document",
        ),
        ("log: *nowhere", "1:6: not YAML: while parsing node, found unknown anchor"),
        (
            &format!("a: {}{}", "[".repeat(40), "]".repeat(40)),
            "1:35: \
             a[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: \
             more than 32 levels",
        ),
    ]);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    check(&[
        ("globl: {debug: true}", "1:1: globl: unknown key; did you mean `global`?"),
        ("log: {max_byte: 1GiB}", "1:7: log.max_byte: unknown key; did you mean `max_bytes`?"),
        (
            "zebra: 1",
            "1:1: zebra: unknown key; expected one of: enrichment, exporters, global, inputs, \
             log, memory, pipeline, schema, version",
        ),
        (
            "exporters:\n  tower:\n    nodez: https://a\n",
            "3:5: exporters.tower.nodez: unknown key; did you mean `nodes`?",
        ),
        (
            "exporters:\n  tower:\n    max_retries: 5\n",
            "3:5: exporters.tower.max_retries: unknown key; did you mean \
             `exporters.tower.retry.max_retries`?",
        ),
        (
            "exporters:\n  tower:\n    batch: {sise: 5}\n",
            "3:13: exporters.tower.batch.sise: unknown key; did you mean `size`?",
        ),
        (
            "exporters:\n  tower:\n    batch.size: 5\n",
            "3:5: exporters.tower.batch.size: keys are nested here, not dotted; write \
             `batch:` and `size:` below it",
        ),
        (
            "exporters:\n  tower:\n    index: {nam: a}\n",
            "3:13: exporters.tower.index.nam: unknown key; did you mean `name`?",
        ),
        (
            "exporters:\n  towr: {}\n",
            "2:3: exporters.towr: unknown exporter type; did you mean `tower`?",
        ),
        (
            "exporters:\n  eu: {type: towr}\n",
            "2:14: exporters.eu.type: unknown exporter type; did you mean `tower`?",
        ),
        (
            "exporters:\n  eu: {}\n",
            "2:3: exporters.eu: unknown exporter type; set `type` to one of: tower, stdout",
        ),
        (
            "exporters:\n  Tower: {}\n",
            "2:3: exporters.Tower: expected a name of at most 64 lower-case letters, digits, \
             `_` and `-`",
        ),
        (
            "inputs: [{type: file, path: a, folow: true}]",
            "1:32: inputs[0].folow: unknown key; did you mean `follow`?",
        ),
        (
            "schema: {field_mappings: {agent.idd: x}}",
            "1:27: schema.field_mappings.agent.idd: no field of an event; did you mean \
             `agent.id`?",
        ),
        (
            "enrichment: {mitre: {egress: {tactik: TA0010}}}",
            "1:39: enrichment.mitre.egress.tactik: unknown key; did you mean `tactic`?",
        ),
    ]);
}

#[test]
fn values_of_the_wrong_kind_are_refused_with_what_was_expected() {
    check(&[
        ("version: 2.0.0", "1:1: version: version 2.0.0 is not understood; expected 1.x"),
        ("version: one", "1:10: version: expected a version such as 8.17.0, found `one`"),
        ("global: {debug: yes}", "1:17: global.debug: expected true or false, found `yes`"),
        ("global: {debug: [true]}", "1:17: global.debug: expected true or false, found a list"),
        (
            "global: 3",
            "1:9: global: expected a map with debug, environment, labels, log, \
             shutdown_timeout_ms, state_dir or tenant_id, found a single value",
        ),
        (
            "global: {log: {level: verbose}}",
            "1:23: global.log.level: expected error, warn, info, debug or trace, found `verbose`",
        ),
        (
            "global: {log: {level: warm}}",
            "1:23: global.log.level: expected error, warn, info, debug or trace, found \
             `warm`; did you mean `warn`?",
        ),
        ("global: {labels: [a]}", "1:18: global.labels: expected a map of texts, found a list"),
        (
            "global: {labels: {a: {b: c}}}",
            "1:22: global.labels.a: expected a text of at most 4096 bytes without control \
             characters, found a map",
        ),
        (
            "pipeline: {workers: -1}",
            "1:21: pipeline.workers: expected a whole number from 0 to 1024, found `-1`",
        ),
        (
            "pipeline: {workers: 2000}",
            "1:21: pipeline.workers: expected a whole number from 0 to 1024, found `2000`",
        ),
        (
            "pipeline: {workers: 1.5}",
            "1:21: pipeline.workers: expected a whole number from 0 to 1024, found `1.5`",
        ),
        (
            "log: {sync_ms: 5 parsecs}",
            "1:16: log.sync_ms: expected a whole number in ms or a text such as 10s, at most \
             1m, found `5 parsecs`",
        ),
        (
            "log: {sync_ms: 2h}",
            "1:16: log.sync_ms: expected a whole number in ms or a text such as 10s, at most \
             1m, found `2h`",
        ),
        (
            "log: {keep: {age: 7}}",
            "1:19: log.keep.age: expected a time span such as 10s, at most 3650d, found `7`",
        ),
        (
            "log: {max_bytes: 3 MB}",
            "1:7: log.max_bytes: holds fewer than two segments; raise it or lower \
             `log.segment_bytes`",
        ),
        (
            "log: {segment_bytes: 3000001}",
            "1:7: log.segment_bytes: expected a multiple of 1MiB\n1:7: log.segment_bytes: a \
             segment must hold an event of `pipeline.max_event_bytes` and 1MiB more",
        ),
        (
            "log: {max_bytes: 1GiB, segment_bytes: 1GiB}",
            "1:7: log.max_bytes: holds fewer than two segments; raise it or lower \
             `log.segment_bytes`",
        ),
        ("log: {keep: {bytes: 100GiB}}", "1:14: log.keep.bytes: is more than `log.max_bytes`"),
        (
            "log: {io: uring}",
            "1:11: log.io: expected auto, io_uring or syscalls, found `uring`; did you mean \
             `io_uring`?",
        ),
        ("inputs: {}", "1:9: inputs: expected a list of inputs, found a map"),
        ("inputs: [{}]", "1:10: inputs[0].type: an input needs `type`: file or stdin"),
        ("inputs: [{type: file}]", "1:10: inputs[0].path: an input of type file needs `path`"),
        (
            "inputs: [{type: stdin, follow: true}]",
            "1:24: inputs[0].follow: belongs to inputs of type file",
        ),
        (
            "inputs: [{type: stdin}, {type: stdin}]",
            "1:26: inputs[1].type: standard input can be read only once",
        ),
        (
            "exporters: [{type: tower}]",
            "1:12: exporters: expected a map from names to exporters, found a list; write \
             each entry under a name of its own",
        ),
        (
            "enrichment: {mitre: {egress: TA0010}}",
            "1:30: enrichment.mitre.egress: expected a map with tactic or technique, found a \
             single value",
        ),
    ]);
}

#[test]
fn exporter_keys_are_checked_like_all_others() {
    check(&[
        ("exporters: {tower: {}}", "1:13: exporters.tower.nodes: needs at least one URL"),
        (
            "exporters: {tower: {nodes: 'ftp://a'}}",
            "1:28: exporters.tower.nodes: expected an http or https URL, or a list of them, \
             found a URL of another scheme",
        ),
        (
            "exporters: {tower: {nodes: 'no url'}}",
            "1:28: exporters.tower.nodes: expected an http or https URL, or a list of them, \
             found a text that is no URL",
        ),
        (
            "exporters: {tower: {nodes: 'https://u:p4ssw0rd@a'}}",
            "1:28: exporters.tower.nodes: expected an http or https URL, or a list of them, \
             found a URL with credentials; write them under their own keys",
        ),
        (
            "exporters: {tower: {nodes: 'http://far:9200'}}",
            "1:21: exporters.tower.nodes: plain http to another host carries events and \
             credentials readably; use https, or set `allow_http: true`",
        ),
        (
            "exporters: {tower: {nodes: [https://a, 'http://far']}}",
            "1:21: exporters.tower.nodes: plain http to another host carries events and \
             credentials readably; use https, or set `allow_http: true`",
        ),
        (
            "exporters: {tower: {nodes: [https://a, {}]}}",
            "1:40: exporters.tower.nodes[1]: expected an http or https URL, found a map",
        ),
        (
            "exporters: {tower: {nodes: https://a, index: {mode: dayly}}}",
            "1:53: exporters.tower.index.mode: expected daily or alias, found `dayly`; did \
             you mean `daily`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, index: a-name-that-is-too-long}}",
            "1:46: exporters.tower.index: expected a text of at most 16 bytes without control \
             characters, found one of 23 bytes",
        ),
        (
            "exporters: {tower: {nodes: https://a, ack: {channel: 12}}}",
            "1:54: exporters.tower.ack.channel: expected a UUID, found `12`",
        ),
        (
            "exporters: {tower: {nodes: https://a, token: ''}}",
            "1:46: exporters.tower.token: expected a secret text, found an empty one",
        ),
        (
            "exporters: {tower: {nodes: https://a, format: cef}}",
            "1:39: exporters.tower.format: tower takes ecs or native, not cef",
        ),
        (
            "exporters: {tower: {nodes: https://a, format: esc}}",
            "1:47: exporters.tower.format: expected native, ecs, cef or ocsf, found `esc`; \
             did you mean `ecs`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, batch: {size: 5000}}}",
            "1:47: exporters.tower.batch.size: tower takes at most 1000 events",
        ),
        (
            "exporters: {tower: {nodes: https://a, batch: {max_bytes: 1GiB}}}",
            "1:47: exporters.tower.batch.max_bytes: tower takes at most 1MB",
        ),
        (
            "exporters: {tower: {nodes: https://a, batch_size: 5, batch: {size: 6}}}",
            "1:62: exporters.tower.batch.size: `exporters.tower.batch_size` at 1:39 sets the \
             same key to another value; keep one",
        ),
        (
            "exporters: {tower: {nodes: https://a, batch_timeout: 10}}",
            "1:54: exporters.tower.batch_timeout: expected a time span such as 10s, at most \
             1h, found `10`",
        ),
        (
            "exporters: {tower: {nodes: https://a, compression: zip}}",
            "1:52: exporters.tower.compression: expected true, false, none, gzip, zstd or \
             deflate, found `zip`; did you mean `gzip`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, compression: zstd}}",
            "1:39: exporters.tower.compression: tower takes none",
        ),
        (
            "exporters: {tower: {nodes: https://a, compression: {level: 12}}}",
            "1:53: exporters.tower.compression.level: expected a level from 1 to 9",
        ),
        (
            "exporters: {tower: {nodes: https://a, retry: {backoff_multiplier: 0.5}}}",
            "1:67: exporters.tower.retry.backoff_multiplier: expected a number from 1 to 100, \
             found `0.5`",
        ),
        (
            "exporters: {tower: {nodes: https://a, retry: {initial_backoff_ms: 1h}}}",
            "1:47: exporters.tower.retry.initial_backoff_ms: the first wait is longer than \
             `retry.max_backoff_ms`",
        ),
        (
            "exporters: {tower: {nodes: https://a, rate_limit: {burst_size: 5}}}",
            "1:52: exporters.tower.rate_limit.burst_size: has no effect without \
             `rate_limit.requests_per_second`",
        ),
        (
            "exporters: {tower: {nodes: https://a, \
             rate_limit: {requests_per_second: 1, min_rps: 2}}}",
            "1:76: exporters.tower.rate_limit.min_rps: is more than \
             `rate_limit.requests_per_second`",
        ),
        (
            "exporters: {tower: {nodes: https://a, tls: {client_cert_path: a}}}",
            "1:45: exporters.tower.tls.client_cert_path: needs `tls.client_key_path` too",
        ),
        (
            "exporters: {tower: {nodes: https://a, tls: {key: a}}}",
            "1:45: exporters.tower.tls.key: needs `tls.client_cert_path` too",
        ),
        (
            "exporters: {tower: {nodes: https://a, tls: {min_version: 1.1}}}",
            "1:58: exporters.tower.tls.min_version: expected 1.2 or 1.3, found `1.1`; did you \
             mean `1.2`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, from: yesterday}}",
            "1:45: exporters.tower.from: expected earliest, latest or a time such as \
             2026-01-31T12:00:00Z, found `yesterday`",
        ),
        (
            "exporters: {tower: {nodes: https://a, proxy: 'http//x'}}",
            "1:46: exporters.tower.proxy: expected none, env or a URL, found another text",
        ),
        (
            "exporters: {tower: {nodes: https://a, headers: {'a b': c}}}",
            "1:39: exporters.tower.headers: a name or a value cannot stand in a header",
        ),
        (
            "exporters: {tower: {nodes: https://a, filter: {min_severity: hihg}}}",
            "1:62: exporters.tower.filter.min_severity: expected info, low, medium, high, \
             critical or none, found `hihg`; did you mean `high`?",
        ),
        (
            "exporters: {tower: {nodes: https://a, concurrency: 0}}",
            "1:52: exporters.tower.concurrency: expected auto, or a whole number from 1 to \
             1024, found `0`",
        ),
        (
            "exporters: {tower: {nodes: https://a, routing: [{index: a}]}}",
            "1:49: exporters.tower.routing[0]: a rule needs a `condition`",
        ),
        (
            "exporters: {tower: {nodes: https://a, \
             routing: [{condition: 'severity == \"high\"', nodes: b}]}}",
            "1:83: exporters.tower.routing[0].nodes: unknown key; expected one of: condition, \
             index",
        ),
    ]);
}

#[test]
fn references_that_do_not_hold_are_refused() {
    check(&[
        (
            "global: {environment: '${NOWHERE}'}",
            "1:23: global.environment: the environment has no variable NOWHERE; set it, or \
             write a default: ${NOWHERE:-text}",
        ),
        (
            "global: {environment: '${NOWHERE'}",
            "1:23: global.environment: `${` without `}`; write `$${` for the text itself",
        ),
        (
            "global: {environment: '${}'}",
            "1:23: global.environment: expected the name of an environment variable between \
             `${` and `}`",
        ),
        (
            "global: {environment: '${1A}'}",
            "1:23: global.environment: expected the name of an environment variable between \
             `${` and `}`",
        ),
        (
            "global: {environment: '${vault:secret/a#b}'}",
            "1:23: global.environment: unknown provider `vault`; expected ${VAR}, \
             ${VAR:-text}, ${file:/path} or ${state_dir}",
        ),
        (
            "global: {environment: '${file:relative}'}",
            "1:23: global.environment: expected an absolute path, found relative",
        ),
        (
            "global: {environment: '${file:/run/nothing}'}",
            "1:23: global.environment: cannot read /run/nothing: entity not found",
        ),
        (
            "global: {state_dir: '${state_dir}/x'}",
            "1:21: global.state_dir: state_dir cannot refer to itself",
        ),
        (
            "exporters: {tower: {nodes: https://a, token: '@/run/nothing'}}",
            "1:46: exporters.tower.token: cannot read /run/nothing: entity not found",
        ),
        (
            "inputs: [{type: file, path: '${NOWHERE}'}]",
            "1:29: inputs[0].path: the environment has no variable NOWHERE; set it, or write \
             a default: ${NOWHERE:-text}",
        ),
    ]);
}

#[test]
fn every_mistake_is_told_in_order_of_place() {
    let text =
        "exporters:\n  tower:\n    nodes: nowhere\n    batch: {size: x}\nversion: 3\nlgo: 1\n";
    let error = load(text).expect_err("four mistakes");
    let Error::Wrong(mistakes) = &error else { panic!("{error}") };
    assert_eq!(mistakes.count(), 4);
    let lines = error.to_string();
    let places: Vec<&str> = lines.lines().map(|line| &line[..15]).collect();
    assert_eq!(
        places,
        ["shrike.yaml:3:1", "shrike.yaml:4:1", "shrike.yaml:5:1", "shrike.yaml:6:1"]
    );
}

#[test]
fn a_flood_of_mistakes_is_cut_and_counted() {
    let text: String = (0..150).map(|n| format!("zz{n}: 1\n")).collect();
    let error = load(&text).expect_err("150 mistakes").to_string();
    assert_eq!(error.lines().count(), 101);
    assert!(error.ends_with("\nand 50 more"), "{error}");
}

#[track_caller]
fn whole(text: &str) -> Config {
    load(text).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn tower(keys: &str) -> Exporter {
    let config = whole(&format!("exporters: {{tower: {{nodes: 'https://a:9200', {keys}}}}}"));
    config.exporters.into_iter().next().expect("one exporter")
}

#[test]
fn nothing_written_is_the_defaults() {
    for text in ["", "# a comment\n", "---\n", "global:\nlog: ~\nexporters: null\n", "{}"] {
        let config = whole(text);
        assert_eq!(config.global.state_dir, Path::new("/var/lib/shrike"));
        assert_eq!(config.log.dir, Path::new("/var/lib/shrike/log"));
        assert_eq!(config.log.segment_bytes, 256 << 20);
        assert_eq!(config.log.sync_interval, Duration::from_millis(20));
        assert_eq!(config.log.io, IoChoice::Auto);
        assert_eq!(config.in_flight_bytes, 48 << 20);
        assert_eq!(config.pipeline.workers, None);
        assert_eq!(config.global.log_level, LogLevel::Info);
        assert!(config.inputs.is_empty() && config.exporters.is_empty());
    }
}

#[test]
fn the_embedded_default_reads_standard_input_and_writes_standard_output() {
    let load = |list| Config::load(&Text::Embedded, &Flags { list }, vendors::ALL, &Fixed);
    let config = load(Vec::new()).expect("it is right");
    assert_eq!(config.inputs, [Input::Stdin]);
    assert_eq!(config.log.dir, Path::new("./shrike-data/log"));
    let names = |config: &Config| {
        config.exporters.iter().map(|it| it.settings.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&config), ["stdout"]);
    assert_eq!(config.exporters[0].settings.format, Format::Ecs);
    assert_eq!(config.exporters[0].settings.from, From::Earliest);
    // Whoever names a destination does not want the default's own.
    let elastic = load(vec![
        Flag::To("elastic=http://far:9200".to_owned()),
        Flag::Set("exporters.elastic.auth.type=none".to_owned()),
    ]);
    let elastic = elastic.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(names(&elastic), ["elastic"]);
    assert_eq!(elastic.exporters[0].settings.options.list("nodes"), ["http://far:9200"]);
}

#[test]
fn every_spelling_of_a_key_means_the_same() {
    let same: &[&[&str]] = &[
        &[
            "batch: {size: 7}",
            "batch_size: 7",
            "runtime: {batch_size: 7}",
            "bulk: {flush_threshold: 7}",
        ],
        &["batch: {flush_interval_ms: 9000}", "flush_interval_ms: 9s", "batch_timeout: 9s"],
        &["retry: {max_retries: 0}", "retry_max_attempts: 0", "bulk: {max_retries: 0}"],
        &["retry: {initial_backoff_ms: 2000}", "retry_initial_delay: 2s"],
        &["tls: {insecure_skip_verify: true}", "tls: {reject_unauthorized: false}"],
        &["timeout_ms: 7000", "connection: {timeout_ms: 7s}", "timeout_ms: '${SEVEN:-7}s'"],
        &["index: {name: b}", "index: b", "'index': \"b\""],
        &["compression: none", "compression: false", "compression: {enabled: false}"],
        &["compression: gzip", "compression: true", "compression: {algorithm: gzip}", ""],
        &["filter: {min_severity: medium}", "min_severity: WARNING"],
        &[
            "auth: {token: s3cr3t-from-a-file}",
            "token: '@/run/token'",
            "token: file:/run/token",
            "token: '${file:/run/token}'",
        ],
        &["batch: {size: 7}, batch_size: 7", "batch_size: 7"],
        &["lag_max_bytes: 1GiB", "lag_max_bytes: 1073741824", "lag_max_bytes: 1024 MiB"],
    ];
    for spellings in same {
        let first = format!("{:?}", tower(spellings[0]));
        for spelling in &spellings[1..] {
            assert_eq!(format!("{:?}", tower(spelling)), first, "{} and {spelling}", spellings[0]);
        }
    }
    assert_ne!(format!("{:?}", tower("index: b")), format!("{:?}", tower("")));
}

#[test]
fn exporter_keys_reach_their_settings() {
    let it = tower(
        "format: native, latency_target_ms: 50, batch: {max_bytes: 100kB, flush_on_severity: none}, \
         concurrency: 3, lanes: auto, from: '2026-01-31T12:00:00.5Z', on_lag: block, \
         retry: {backoff_multiplier: 1.5, max_age: 2h, budget_percent: 7}, \
         circuit_breaker: {enabled: false}, rate_limit: {requests_per_second: 5}, \
         compression: {level: 6}, tls: {ca: ca.pem, min_version: '1.3', server_name: h}, \
         connection: {max_connections: 2, http2: 'off', max_age_ms: 1m}, proxy: env, \
         headers: {x-a: b}, health_interval_ms: 5s, filter: {include_guards: [a, b], only_denied: true}",
    );
    let settings = it.settings;
    assert_eq!(settings.format, Format::Native);
    assert_eq!(settings.batch.linger, Duration::from_millis(5), "a tenth of the target");
    assert_eq!((settings.batch.events_max, settings.batch.bytes_max), (1000, 100_000));
    assert_eq!((settings.batch.interval, settings.batch.flush_on), (None, None));
    assert_eq!((settings.concurrency, settings.lanes), (Some(3), None));
    assert_eq!(settings.from, From::Time(1_769_860_800_500_000_000));
    assert_eq!(settings.on_lag, OnLag::Block);
    assert_eq!(settings.retry.backoff_percent, 150);
    assert_eq!(settings.retry.age_max, Some(Duration::from_secs(7200)));
    assert_eq!(settings.retry.budget_percent, 7);
    assert_eq!(settings.breaker.failures, 0);
    assert_eq!((settings.rate.per_second, settings.rate.burst), (Some(5), 10));
    assert_eq!((settings.encoding, settings.encoding_level), (Encoding::Gzip, 6));
    assert_eq!(settings.tls.ca_cert_path, Some(PathBuf::from("/var/lib/shrike/ca.pem")));
    assert_eq!(settings.tls.min_version, TlsVersion::V1_3);
    assert_eq!(settings.connection.connections_max, 2);
    assert_eq!(settings.connection.age_max, Duration::from_secs(60));
    assert_eq!(settings.connection.proxy, Proxy::Env);
    assert_eq!(settings.headers[0].1.expose(), "b");
    assert_eq!(settings.health_interval, Duration::from_secs(5));
    let usual = tower("").settings;
    assert_eq!(usual.batch.linger, Duration::from_millis(10), "never longer");
    assert_eq!(usual.batch.flush_on, Some(Severity::Critical));
    assert_eq!(usual.from, From::Latest);
    assert_eq!(usual.options.text("index.name").as_deref(), Some("main"));
}

#[test]
fn names_choose_the_type() {
    let config = whole(
        "exporters:\n  tower: {nodes: https://a}\n  tower_eu: {nodes: https://a}\n  watchtower-2: \
         {nodes: https://a}\n  anything: {type: tower, nodes: https://a}\n  off: {type: tower, \
         enabled: false}\n",
    );
    let names: Vec<&str> = config.exporters.iter().map(|it| it.settings.name.as_str()).collect();
    assert_eq!(names, ["anything", "tower", "tower_eu", "watchtower-2"]);
    assert!(config.exporters.iter().all(|it| it.settings.vendor.name == "tower"));
    assert_eq!(config.disabled, ["off"]);
    assert!(refusal("exporters: {towering: {nodes: https://a}}").contains("unknown exporter type"));
}

#[test]
fn routes_carry_their_condition_and_what_they_override() {
    let it = tower("routing: [{condition: 'severity == \"high\"', index: alerts}, {condition: x}]");
    assert_eq!(it.routes.len(), 2);
    assert_eq!(it.routes[0].condition, "severity == \"high\"");
    assert_eq!(it.routes[0].options, [("index.name", OptionValue::Text("alerts".to_owned()))]);
    assert!(it.routes[1].options.is_empty());
}

#[test]
fn whole_sections_reach_the_configuration() {
    let config = whole(
        "version: 1.2.0\nglobal:\n  environment: '${TIER:-prod}'\n  tenant_id: acme\n  labels: \
         {team: security}\n  debug: true\n  state_dir: /srv/${NAME:-shrike}\nschema:\n  \
         default_format: native\n  include_raw: true\n  indicators: all\n  field_mappings: \
         {agent.id: observer.name}\n  ecs: {version: 9.0.0}\nenrichment:\n  host: false\n  tags: \
         {team: lost, site: b}\n  mitre: {egress: {tactic: TA0010, technique: T1041}}\npipeline: \
         {workers: 2, quarantine: {path: bad}}\nlog: {dir: '${state_dir}/events', keep: {age: 1d}, \
         max_bytes: 1GiB, io: syscalls}\ninputs:\n  - {type: file, path: a.jsonl}\n  - {type: file, \
         path: b.jsonl, follow: false}\nexporters: {stdout: {}}\n",
    );
    assert_eq!(config.global.environment.as_deref(), Some("prod"));
    assert_eq!(config.global.log_level, LogLevel::Debug);
    let labels = [("team", "security"), ("site", "b")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(config.global.labels, labels);
    assert_eq!(config.schema.field_mappings, [(FieldId::AgentId, "observer.name".to_owned())]);
    assert_eq!(config.enrichment.mitre[0].technique.as_deref(), Some("T1041"));
    assert_eq!(config.pipeline.quarantine_dir, Path::new("/srv/shrike/bad"));
    assert_eq!(config.pipeline.workers, Some(2));
    assert_eq!(config.log.dir, Path::new("/srv/shrike/events"));
    assert_eq!(config.log.keep_bytes, 1 << 30, "never more than the log's bound");
    let paths = [("a.jsonl", true), ("b.jsonl", false)];
    let files = paths.map(|(path, follow)| Input::File { path: path.into(), follow });
    assert_eq!(config.inputs, files);
    assert_eq!(config.exporters[0].settings.format, Format::Native);
    assert_eq!(config.exporters[0].settings.from, From::Earliest, "an input has an end");
}

#[test]
fn anchors_repeat_a_piece_and_no_more_than_fits() {
    let config = whole("global: {labels: &a {x: y}}\nenrichment: {tags: *a}\n");
    assert_eq!(config.global.labels, [("x".to_owned(), "y".to_owned())]);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let all = format!("*a{}, ", n - 1).repeat(10);
        bomb.push_str(&format!("a{n}: &a{n} [{}]\n", all.trim_end_matches(", ")));
    }
    assert!(refusal(&bomb).ends_with("more than 100000 values"), "{}", refusal(&bomb));
}

#[test]
fn references_are_looked_at_once_and_never_become_configuration() {
    let label = |text: &str| {
        let config = whole(&format!("global: {{labels: {{a: {text}}}}}"));
        config.global.labels[0].1.clone()
    };
    assert_eq!(label("'${PORT}'"), "9200");
    assert_eq!(label("'a${PORT}b${PORT}'"), "a9200b9200");
    assert_eq!(label("'${EMPTY:-text}'"), "text");
    assert_eq!(label("'${NOWHERE:-}'"), "");
    assert_eq!(label("'$${PORT} $PORT $'"), "${PORT} $PORT $");
    assert_eq!(label("'${NOWHERE:-a:-b}'"), "a:-b");
    // The variable's text has a reference and a line end: neither counts.
    let trick = refusal("global: {labels: {a: '${TRICK}'}}");
    assert!(trick.ends_with("found one with a control character"), "{trick}");
    let settings = tower("batch: {size: '${SEVEN:-7}'}, lag_max_bytes: '${PORT}GiB'").settings;
    assert_eq!((settings.batch.events_max, settings.lag_bytes_max), (7, Some(9200 << 30)));
}

#[test]
fn flags_override_the_file_and_are_blamed_for_themselves() {
    let file = "exporters: {tower: {nodes: https://a, batch_size: 5, index: b}}\ninputs: [{type: stdin}]\n";
    let set = |text: &str| Flag::Set(text.to_owned());
    let config = load_with(
        file,
        vec![
            set("exporters.tower.batch.size=6"),
            set("exporters.tower.index.name=c"),
            set("exporters.tower.headers.x-a=b"),
            set("inputs.1={type: file, path: x}"),
            set("global.labels={a: '1'}"),
            set("schema.default_format="),
            Flag::Log("/somewhere".into()),
        ],
    );
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let settings = &config.exporters[0].settings;
    assert_eq!(settings.batch.events_max, 6);
    assert_eq!(settings.options.text("index.name").as_deref(), Some("c"));
    assert_eq!(settings.headers.len(), 1);
    assert_eq!(config.inputs.len(), 2);
    assert_eq!(config.log.dir, Path::new("/somewhere"));
    let input = |path: &str| Flag::Input(path.into());
    let config = load_with(file, vec![input("a"), input("-")]).expect("right");
    let file_a = Input::File { path: "a".into(), follow: false };
    assert_eq!(config.inputs, [file_a, Input::Stdin], "instead of the file's");
    let config = load_with(file, vec![Flag::To("tower=http://far".to_owned())]).expect("right");
    assert_eq!(config.exporters[0].settings.options.list("nodes"), ["http://far"]);
    assert_eq!(config.exporters[0].settings.batch.events_max, 5, "the rest stays");
    let cases: &[(Flag, &str)] = &[
        (
            set("exporters.tower.batch.sise=6"),
            "--set exporters.tower.batch.sise: exporters.tower.batch.sise: unknown key; did you \
             mean `size`?",
        ),
        (
            set("inputs.5.type=stdin"),
            "--set inputs.5.type: inputs.5.type: `5` is no position in a list of 1",
        ),
        (
            set("log={"),
            "--set log: not YAML: while parsing a node, did not find expected node content",
        ),
        (set("hunter2"), "--set: expected KEY=VALUE with a dotted key"),
        (
            Flag::To("towr".to_owned()),
            "--to towr: exporters.towr: unknown exporter type; did you mean `tower`?",
        ),
        (Flag::To("=https://a".to_owned()), "--to : expected NAME or NAME=URL"),
        (
            Flag::To("tower=ftp://u:hunter2@a".to_owned()),
            "--to tower: exporters.tower.nodes: expected an http or https URL, or a list of them, \
             found a URL of another scheme",
        ),
    ];
    for (flag, expected) in cases {
        let error = load_with(file, vec![flag.clone()]).expect_err("refused").to_string();
        assert_eq!(error, *expected);
    }
}

#[test]
fn no_secret_is_in_the_printed_configuration() {
    let config = whole(
        "exporters:\n  tower:\n    nodes: https://a\n    token: '${TOKEN}'\n    headers: {x: \
         s3cr3t-header}\n    proxy: http://u:s3cr3t-proxy@p:1\n",
    );
    let printed = format!("{config:?}");
    assert!(!printed.contains("s3cr3t"), "{printed}");
    assert!(printed.contains("***"));
}

#[test]
fn insecure_tls_is_noted() {
    let config = whole("exporters: {tower: {nodes: https://a, tls: {insecure_skip_verify: true}}}");
    assert_eq!(config.notes.len(), 1);
    assert!(
        config.notes[0].contains("exporter tower accepts any certificate"),
        "{:?}",
        config.notes
    );
}

/// Every table with its name.
fn tables() -> Vec<(String, Vec<Key>)> {
    let mut tables = vec![
        ("top".to_owned(), TOP.to_vec()),
        ("input".to_owned(), INPUT.to_vec()),
        ("shared".to_owned(), [SHARED, FILTER].concat()),
    ];
    let vendors = vendors::ALL.iter().copied().chain([&TOWER]);
    tables.extend(vendors.map(|vendor| (vendor.name.to_owned(), keys_of(vendor))));
    tables
}

#[test]
fn every_key_is_documented_and_spelled_once() {
    for (table, keys) in tables() {
        let mut spellings: Vec<&str> = Vec::new();
        for key in &keys {
            assert!(key.about.ends_with('.'), "{table}: {}: {}", key.path, key.about);
            assert!(!key.kind.expected(key.path).is_empty());
            spellings.push(key.path);
            spellings.extend(key.aliases.iter().map(|alias| alias.trim_start_matches('!')));
        }
        spellings.sort_unstable();
        let twice: Vec<_> = spellings.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{table}: {twice:?}");
    }
}

#[test]
fn every_vendor_reads_its_own_defaults() {
    // A wrong default stops a debug build where it is read.
    for vendor in vendors::ALL.iter().copied() {
        let text = format!("exporters: {{{}: {{enabled: false}}}}", vendor.name);
        let text = Text::File { name: "x".to_owned(), text: text.into() };
        let config = Config::load(&text, &Flags::default(), vendors::ALL, &Fixed);
        assert_eq!(config.expect("the defaults are right").disabled, [vendor.name]);
    }
}

#[test]
fn times_and_spans_are_read_as_written() {
    assert_eq!(config::time::parse("1970-01-01T00:00:01.5+00:00"), Some(1_500_000_000));
    assert_eq!(config::time::parse("1970-01-01T01:00:00+01:00"), Some(0));
    assert_eq!(config::time::parse("1969-01-01T00:00:00Z"), None, "before there was a log");
    assert_eq!(config::time::text(1_500_000_000), "1970-01-01T00:00:01.5Z");
    assert_eq!(config::time::parse_or_ago("1h", 3_600_000_000_001), Some(1));
    assert_eq!(config::time::parse_or_ago("1h", 1), None);
    assert_eq!(config::time::span("2m"), Some(Duration::from_secs(120)));
    for wrong in ["2", "m", "", "2 weeks", "-2s", "99999999999999999999s", "18446744073709551615d"]
    {
        assert_eq!(config::time::span(wrong), None, "{wrong}");
    }
}

#[test]
fn a_given_file_must_exist_and_the_usual_one_need_not() {
    let missing = Text::open(Some(Path::new("/nowhere/shrike.yaml"))).expect_err("it is missing");
    assert_eq!(
        missing.to_string(),
        "/nowhere/shrike.yaml: No such file or directory (os error 2); give a file that can be read"
    );
}

#[test]
fn the_reference_is_up_to_date() {
    let text = reference(vendors::ALL);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).expect("docs can be written");
    }
    let stale = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stale == text,
        "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test --test config"
    );
}
