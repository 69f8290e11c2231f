//! What is accepted, and what it becomes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shrike::config::{Config, Exporter, Flag, Flags, Input, LogLevel, Text};
use shrike::deliver::{Encoding, From, OnLag, OptionValue, Proxy, Reach, TlsVersion};
use shrike::event::{FieldId, Severity};
use shrike::log::IoChoice;
use shrike::transform::{Condition, Format};
use shrike::vendors;

use crate::world::{Fixed, load, load_with, refusal};

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
    for text in ["global:\nlog: ~\nexporters: null\n", "{}"] {
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
    assert_eq!(config.inputs, [Input::Stdin { format: None }]);
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
        &[
            "timeout_ms: 7000",
            "connection: {timeout_ms: 7s}",
            "connection: {write_timeout_ms: 7s}",
            "timeout_ms: '${SEVEN:-7}s'",
        ],
        &["connection: {allow_private_addresses: false}", "allow_private_addresses: false"],
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
        "format: native, latency_target_ms: 50, batch: {max_bytes: 100kB, \
         flush_on_severity: none}, \
         concurrency: 3, lanes: auto, from: '2026-01-31T12:00:00.5Z', on_lag: block, \
         retry: {backoff_multiplier: 1.5, max_age: 2h, budget_percent: 7}, \
         circuit_breaker: {enabled: false}, rate_limit: {requests_per_second: 5}, \
         compression: {level: 6}, tls: {ca: ca.pem, min_version: '1.3', server_name: h}, \
         connection: {max_connections: 2, http2: 'off', max_age_ms: 1m, \
         allow_private_addresses: false}, proxy: env, \
         headers: {x-a: b}, health_interval_ms: 5s, alert_after_ms: 90s, \
         dlq: {path: letters/a.jsonl, max_bytes: 16MiB, max_age_days: 2, auto_replay: true}, \
         filter: {include_guards: [a, b], \
         only_denied: true}",
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
    assert_eq!(settings.connection.reach, Reach::Public);
    assert_eq!(settings.headers[0].1.expose(), "b");
    assert_eq!(settings.health_interval, Duration::from_secs(5));
    assert_eq!(settings.alert_after, Duration::from_secs(90));
    let letters = &settings.dead_letters;
    assert_eq!(letters.dir, PathBuf::from("/var/lib/shrike/letters/a"));
    assert_eq!((letters.bytes_max, letters.auto_replay), (16 << 20, true));
    assert_eq!(letters.age_max, Duration::from_secs(2 * 86_400));
    let usual = tower("").settings;
    assert_eq!(usual.dead_letters.dir, PathBuf::from("/var/lib/shrike/dlq/tower"));
    assert_eq!((usual.dead_letters.is_enabled, usual.dead_letters.bytes_max), (true, 50 << 20));
    assert_eq!(usual.batch.linger, Duration::from_millis(10), "never longer");
    assert_eq!(usual.batch.flush_on, Some(Severity::Critical));
    assert_eq!(usual.from, From::Latest);
    assert_eq!(usual.connection.reach, Reach::Anywhere);
    assert_eq!(usual.connection.timeout, Duration::from_secs(30));
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
    let it = tower(
        "routing: [{condition: 'severity == \"high\"', index: alerts}, \
         {condition: allowed == true}]",
    );
    assert_eq!(it.routes.len(), 2);
    let expected = Condition::compile("severity == \"high\"").expect("a condition");
    assert_eq!(format!("{:?}", it.routes[0].condition), format!("{expected:?}"));
    assert_eq!(it.routes[0].options, [("index.name", OptionValue::Text("alerts".to_owned()))]);
    assert!(it.routes[1].options.is_empty());
}

/// "`schema.default_format` (default `ecs`) applies to exporters with no natural schema: webhook and
/// syslog" (schemas.md), and `payload` of syslog is JSON by itself (syslog.md).
#[test]
fn the_default_format_is_for_those_that_prefer_none() {
    let formats = |schema: &str, payload: &str| {
        let text = format!(
            "version: 1.2.0\n{schema}exporters:\n  \
             datadog: {{api_key: '0123456789abcdef0123456789abcdef'}}\n  \
             syslog: {{address: 'logs.example:6514'{payload}}}\n  \
             webhook: {{url: 'https://hooks.example'}}\n"
        );
        let text = Text::File { name: "shrike.yaml".into(), text: text.into() };
        let config = Config::load(&text, &Flags { list: Vec::new() }, vendors::ALL, &Fixed);
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        let formats = config.exporters.iter().map(|it| it.settings.format);
        formats.collect::<Vec<_>>()
    };
    let (ecs, cef, native) = (Format::Ecs, Format::Cef, Format::Native);
    assert_eq!(formats("", ""), [native, native, ecs]);
    assert_eq!(formats("schema: {default_format: cef}\n", ""), [native, cef, cef]);
    assert_eq!(
        formats("schema: {default_format: cef}\n", ", payload: json"),
        [native, native, cef]
    );
    // Syslog has a payload for bare text, and no format of that name.
    assert_eq!(formats("schema: {default_format: text}\n", ""), [native, native, Format::Text]);
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
         max_bytes: 1GiB, io: syscalls}\ninputs:\n  - {type: file, path: a.jsonl}\n  - \
         {type: file, \
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
    let files = paths.map(|(path, follow)| read_file(path, follow));
    assert_eq!(config.inputs, files);
    assert_eq!(config.exporters[0].settings.format, Format::Native);
    assert_eq!(config.exporters[0].settings.from, From::Earliest, "an input has an end");
}

#[test]
fn mappings_that_change_no_document_are_told() {
    let notes = |exporters: &str| {
        let text = format!("schema: {{field_mappings: {{agent.id: a.b}}}}\nexporters: {exporters}");
        whole(&text).notes
    };
    let all = "{stdout: {format: native}, stdout_b: {format: text}, stdout_c: {format: ecs}}";
    assert_eq!(
        notes(all),
        ["shrike.yaml:1:10: schema.field_mappings has no effect on documents of format native or \
          text: exporters stdout, stdout_b"]
    );
    assert!(notes("{stdout: {format: ocsf}}").is_empty());
    assert!(whole("exporters: {stdout: {format: native}}").notes.is_empty());
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
    let file = "exporters: {tower: {nodes: https://a, batch_size: 5, index: b}}\n\
                inputs: [{type: stdin}]\n";
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
    assert_eq!(
        config.inputs,
        [read_file("a", false), Input::Stdin { format: None }],
        "instead of the file's"
    );
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

fn read_file(path: &str, follow: bool) -> Input {
    Input::File { path: path.into(), follow, format: None, mode: None, from_end: false }
}

#[test]
fn secrets_come_from_their_provider() {
    let token = |text: &str| {
        let config = whole(text);
        let options = &config.exporters[0].settings.options;
        options.secret("auth.token").expect("it is set").expose().to_owned()
    };
    let tower = "exporters: {tower: {nodes: 'https://a', token: '${secret:token}'";
    let env = tower.replace("secret:token", "secret:TOKEN");
    assert_eq!(token(&format!("{env}}}}}")), "s3cr3t-from-the-environment");
    for text in [
        format!("credentials: {{provider: file, file: {{dir: /run}}}}\n{tower}}}}}"),
        format!("credentials: {{provider: k8s_secret, k8s_secret: {{mount: /run}}}}\n{tower}}}}}"),
        format!(
            "credentials: {{file: {{dir: /run}}}}\n{tower}, credentials: {{provider: file}}}}}}"
        ),
        format!("{tower}, credentials: {{provider: file, file: {{dir: /run}}}}}}}}"),
        format!(
            "credentials: {{file: {{dir: /run}}}}\n{tower}, token_rotation: {{provider: file}}}}}}"
        ),
        format!(
            "credentials: {{k8s_secret: {{mount: /}}}}\n{}}}}}",
            tower.replace("secret:token", "k8s:run/token")
        ),
    ] {
        assert_eq!(token(&text), "s3cr3t-from-a-file", "{text}");
    }
    let config = whole("credentials: {refresh_interval: 7}");
    assert_eq!(config.credentials_interval, Duration::from_secs(7));
    for (own, expected) in [("credentials", 3), ("token_rotation", 3)] {
        let text = format!("{env}, {own}: {{refresh_interval: {expected}}}}}}}");
        let interval = whole(&text).credentials_interval;
        assert_eq!(interval, Duration::from_secs(expected), "sooner than for all: {text}");
    }
    for (text, expected) in [
        (
            format!("{tower}}}}}"),
            "1:48: exporters.tower.token: the environment has no variable token, where \
             `credentials.provider: env` looks for the secret of this name",
        ),
        (
            format!("{}}}}}", tower.replace("secret:token", "k8s:../token")),
            "1:48: exporters.tower.token: expected the name of a secret, without `..` and \
             without `/` in front",
        ),
        (
            "credentials: {provider: fil}".to_owned(),
            "1:25: credentials.provider: expected env, file, k8s_secret or vault, found \
             `fil`; did you mean `file`?",
        ),
    ] {
        assert_eq!(refusal(&text), expected);
    }
}

#[test]
fn what_is_in_effect_is_shown_without_secrets() {
    let text = "exporters:\n  tower:\n    nodes: https://a/?sig=s3cr3t\n    token: '${TOKEN}'\n    \
                headers: {x: s3cr3t-header}\n    proxy: http://u:s3cr3t-proxy@p:1\n    batch_size: \
                7\n    routing: [{condition: allowed, index: b}]\ninputs: [{type: stdin}]\nlog: \
                {keep: {age: 2d}}\n";
    let config = whole(text);
    let yaml = config.shown.yaml();
    assert!(!yaml.contains("s3cr3t"), "{yaml}");
    for line in [
        "    nodes: \"https://a/\"\n",
        "      token: \"***\"\n",
        "    headers: {\"x\": \"***\"}\n",
        "      size: 7\n",
        "    age: 2d\n",
        "    type: \"stdin\"\n",
        "        condition: \"allowed\"\n",
    ] {
        assert!(yaml.contains(line), "{line}\n{yaml}");
    }
    // What is shown can be read again and is the same, secrets aside.
    let again = whole(&yaml.replace("proxy: \"***\"", "proxy: none"));
    let changes = config.shown.changes(&again.shown);
    assert_eq!(
        changes,
        [
            "exporters.tower.auth.token: another secret",
            "exporters.tower.headers: another secret",
            "exporters.tower.proxy: \"***\" -> \"none\"",
        ]
    );
}

#[test]
fn receipts_can_be_switched_off() {
    let config = load("audit: {enabled: false, path: a.jsonl}").expect("it is right");
    assert_eq!(config.receipts, None);
}

/// Where a body alone carries the key, it stands in the template.
#[test]
fn secrets_that_stand_in_texts_are_not_shown() {
    const TEXT: &str = "global: {labels: {team: 'of ${file:/run/token}', port: '${PORT}'}}
exporters:
  webhook:
    url: https://hooks.example/in
    template: |
      {\"key\": \"${secret:TOKEN}\", \"port\": \"${PORT}\",
       \"message\": {{json message}}}
";
    let load = |text: &str| {
        let text = Text::File { name: "shrike.yaml".to_owned(), text: text.to_owned().into() };
        Config::load(&text, &Flags::default(), vendors::ALL, &Fixed)
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let config = load(TEXT);
    let yaml = config.shown.yaml();
    assert!(!yaml.contains("s3cr3t"), "{yaml}");
    assert!(yaml.contains("\"team\": \"of ***\"") && yaml.contains("\"port\": \"9200\""), "{yaml}");
    assert!(yaml.contains("\\\"key\\\": \\\"***\\\""), "{yaml}");
    // What a destination says of it in its answer is scrubbed.
    let options = &config.exporters[0].settings.options;
    assert!(options.secrets().any(|secret| secret.expose() == "s3cr3t-from-the-environment"));
    // Another one is told as that.
    let changes = config.shown.changes(&load(&TEXT.replace("TOKEN", "PORT")).shown);
    assert_eq!(changes, ["exporters.webhook.template: another secret"]);
}

#[test]
fn a_text_of_several_lines_is_shown_as_it_can_be_read_again() {
    let load = |template: &str| {
        let text = format!(
            "exporters:\n  webhook:\n    url: https://hooks.example/in\n    template: {template}\n"
        );
        let text = Text::File { name: "shrike.yaml".to_owned(), text: text.into() };
        Config::load(&text, &Flags::default(), vendors::ALL, &Fixed)
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let config = load("\"{\\n\\n\\t\\\"message\\\": {{json message}}\\r\\n}\"");
    let yaml = config.shown.yaml();
    let shown = yaml.lines().find_map(|line| line.trim().strip_prefix("template: "));
    let again = load(shown.expect("it is shown"));
    assert!(config.shown.changes(&again.shown).is_empty(), "{yaml}");
    let template = |config: &Config| config.exporters[0].settings.options.text("template");
    assert_eq!(template(&config), template(&again));
    assert!(template(&config).is_some_and(|text| text.contains("\n\n\t")), "{yaml}");
}
