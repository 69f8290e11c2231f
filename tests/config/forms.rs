//! The forms of other documents: the planning documents' samples as they are, and each form alone.

use std::fs;
use std::path::Path;

use shrike::config::{Config, Error, Exporter, Flags, Lookup, Text, Wrong};
use shrike::deliver::OnLag;
use shrike::event::{FieldId, Severity};
use shrike::transform::Format;
use shrike::vendors;

use crate::world::{load, refusal};

/// The environment that the samples name.
struct Samples;

impl Lookup for Samples {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "SPLUNK_HEC_TOKEN" => Some("s3cr3t-sample".to_owned()),
            "ELASTIC_API_KEY" => Some("id:s3cr3t-sample".to_owned()),
            "ELASTIC_CLOUD_ID" => Some("my:dXMtZWFzdDEuZXhhbXBsZS5jb20kYWJj".to_owned()),
            _ => None,
        }
    }

    fn file(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn hostname(&self) -> String {
        "watch1".to_owned()
    }
}

fn sample(name: &str) -> Result<Config, Error> {
    let file = format!("tests/fixtures/mission/{name}.yaml");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(path).expect("the sample is in the repository").into();
    let text = Text::File { name: format!("{name}.yaml"), text };
    Config::load(&text, &Flags::default(), vendors::ALL, &Samples)
}

#[track_caller]
fn loaded(name: &str) -> Config {
    sample(name).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn only(name: &str) -> Exporter {
    let mut config = loaded(name);
    assert_eq!(config.exporters.len(), 1, "{name}");
    config.exporters.remove(0)
}

#[track_caller]
fn option(exporter: &Exporter, key: &str) -> String {
    let options = &exporter.settings.options;
    let secret = options.secret(key).map(|secret| secret.expose().to_owned());
    secret.or_else(|| options.text(key)).unwrap_or_else(|| panic!("{key} is not set"))
}

fn names(config: &Config) -> Vec<&str> {
    config.exporters.iter().map(|it| it.settings.name.as_str()).collect()
}

#[test]
fn the_samples_for_elastic_load_unchanged() {
    let basic = only("elastic_basic");
    assert_eq!(basic.settings.options.list("nodes"), ["https://elasticsearch.example.com:9200"]);
    assert_eq!(option(&basic, "auth.api_key"), "id:s3cr3t-sample");
    assert_eq!(option(&basic, "index.name"), "clawdstrike-security");
    let cloud = only("elastic_cloud");
    assert_eq!(option(&cloud, "index.ilm_policy"), "clawdstrike-90d");
    let cluster = only("elastic_cluster");
    assert_eq!(cluster.settings.options.list("nodes").len(), 3);
    assert_eq!(cluster.settings.batch.events_max, 1000);
    assert_eq!(cluster.settings.batch.interval.map(|it| it.as_millis()), Some(2000));
    assert_eq!(cluster.settings.retry.retries_max, 5);
    assert_eq!(cluster.settings.concurrency, Some(10));
    let ca = cluster.settings.tls.ca_cert_path.as_deref();
    assert_eq!(ca, Some(Path::new("/etc/ssl/elastic-ca.pem")));
}

#[test]
fn the_samples_for_splunk_load_unchanged() {
    for name in ["splunk_basic", "splunk_kubernetes", "splunk_available", "splunk_routing"] {
        assert_eq!(option(&only(name), "hec_token"), "s3cr3t-sample", "{name}");
    }
    let available = only("splunk_available").settings;
    assert_eq!((available.batch.events_max, available.retry.retries_max), (500, 5));
    assert_eq!((available.rate.per_second, available.rate.burst), (Some(100), 200));
    assert!(available.options.is_on("use_ack"));
    let routes = only("splunk_routing").routes;
    let indexes = routes.iter().map(|route| format!("{:?}", route.options));
    let indexes: Vec<String> = indexes.collect();
    assert_eq!(indexes.len(), 3);
    for (index, name) in indexes.iter().zip(["security_critical", "security_high", "_agents"]) {
        assert!(index.contains(name), "{index}");
    }
}

#[test]
fn the_sample_of_velar_loads_unchanged() {
    let config = loaded("velar");
    assert_eq!(names(&config), ["datadog", "elastic", "splunk"]);
    let [datadog, elastic, splunk] = &config.exporters[..] else { panic!("three exporters") };
    assert_eq!(config.filtering.min_sanitized_count, 1);
    assert_eq!(config.filtering.domains, ["api.openai.com", "api.anthropic.com"]);
    assert_eq!(config.filtering.exclude_paths, ["/health", "/metrics"]);
    assert_eq!(option(splunk, "hec_token"), "YOUR-HEC-TOKEN");
    assert_eq!(option(splunk, "index"), "velar-audit");
    assert_eq!(option(splunk, "sourcetype"), "velar:audit");
    let settings = &splunk.settings;
    assert_eq!((settings.batch.events_max, settings.retry.retries_max), (100, 3));
    assert_eq!(settings.batch.interval.map(|it| it.as_secs()), Some(10));
    assert_eq!(settings.retry.initial_backoff.as_secs(), 1);
    let endpoints = (settings.vendor.endpoints)(&settings.options).expect("it has one");
    let endpoint = endpoints[0].to_string();
    assert_eq!(endpoint.trim_end_matches('/'), "https://splunk.company.com:8088");
    assert_eq!(option(elastic, "auth.username"), "velar");
    assert_eq!(option(elastic, "auth.password"), "secret");
    assert_eq!(option(elastic, "index.name"), "velar-audit");
    assert_eq!(elastic.settings.batch.events_max, 50);
    assert_eq!(option(datadog, "api_key"), "YOUR-DD-API-KEY");
    assert_eq!(option(datadog, "logs.service"), "velar");
    assert_eq!(datadog.settings.options.list("logs.tags"), ["env:production", "team:security"]);
    for note in [
        "velar.yaml:1:1: export.exporters is read as `exporters`",
        "exporters[1] is read as `exporters.elastic`",
        "exporters.splunk.url is read as `hec_url`",
        "exporters.splunk.batch_timeout is read as `batch.flush_interval_ms`",
        "exporters.datadog.service is read as `logs.service`",
    ] {
        let (_, words) = note.rsplit_once("1:1: ").unwrap_or(("", note));
        let is_told = config.conversions.iter().any(|told| told.ends_with(words));
        assert!(is_told, "{words}: {:#?}", config.conversions);
    }
}

/// Keys of the samples whose features are not there yet: the list shrinks as they come.
const MISSING: &[&str] = &[];

#[test]
fn the_overview_lacks_what_its_stubs_leave_out_and_nothing_else() {
    let Err(Error::Wrong(mistakes)) = sample("overview") else {
        panic!("its exporters say no more than that they are enabled");
    };
    let unknown = |wrong: &Wrong| matches!(wrong, Wrong::Unknown { .. });
    let missing = mistakes.iter().filter(|it| unknown(&it.wrong)).map(|it| it.path.as_str());
    assert_eq!(missing.collect::<Vec<_>>(), MISSING);
    for stub in ["splunk", "elastic", "pagerduty", "slack"] {
        let place = format!("exporters.{stub}");
        let of_stub = || mistakes.iter().filter(|it| it.path.starts_with(&place));
        assert!(of_stub().count() > 0, "{stub} lacks nothing");
        assert!(!of_stub().any(|it| matches!(it.wrong, Wrong::Type { .. })), "{stub} is known");
    }
    let others: Vec<_> = mistakes
        .iter()
        .filter(|it| !unknown(&it.wrong) && !it.path.starts_with("exporters."))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    // What the stubs leave out aside, it says what it means.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mission/overview.yaml");
    let text = fs::read_to_string(path).expect("the sample is in the repository");
    let text = text.replace("enabled: true", "enabled: false");
    let mut kept = String::new();
    let mut is_kept = true;
    for line in text.lines() {
        if !line.is_empty() && !line.starts_with([' ', '#']) {
            is_kept = !MISSING.iter().any(|key| key.starts_with(line.trim_end_matches(':')))
                && line != "exporters:";
        }
        if is_kept {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    let config = load(&kept).unwrap_or_else(|error| panic!("{error}\n{kept}"));
    assert_eq!(config.global.environment.as_deref(), Some("production"));
    assert_eq!(config.global.tenant_id.as_deref(), Some("acme-corp"));
    assert_eq!(config.schema.default_format, Some(Format::Ecs));
    assert_eq!(
        config.schema.field_mappings,
        [
            (FieldId::AgentId, "observer.name".to_owned()),
            (FieldId::SessionUserId, "user.id".to_owned())
        ]
    );
    assert_eq!(config.filtering.min_severity, Severity::Low);
    assert_eq!(config.filtering.exclude_types, ["session_start"]);
}

#[track_caller]
fn whole(text: &str) -> Config {
    load(text).unwrap_or_else(|error| panic!("{error}"))
}

const NODE: &str = "nodes: https://a:9200";

#[test]
fn wrappers_are_unwrapped() {
    let config = whole(&format!(
        "listen: 127.0.0.1:9876\nruleset: strict\nlog_level: debug\nsiem:\n  enabled: true\n  \
         environment: prod\n  tenant_id: acme\n  filters: {{min_severity: high}}\n  exporters: \
         {{tower: {{{NODE}}}}}\nfiltering: {{only_denied: true}}\n"
    ));
    assert_eq!(config.global.environment.as_deref(), Some("prod"));
    assert_eq!(config.global.tenant_id.as_deref(), Some("acme"));
    assert_eq!(config.filtering.min_severity, Severity::High);
    assert!(config.filtering.only_denied);
    assert_eq!(names(&config), ["tower"]);
    assert_eq!(
        config.conversions,
        [
            "shrike.yaml:6:3: siem.environment is read as `global.environment`",
            "shrike.yaml:7:3: siem.tenant_id is read as `global.tenant_id`",
            "shrike.yaml:8:3: siem.filters is read as `filtering`",
            "shrike.yaml:9:3: siem.exporters is read as `exporters`",
            "shrike.yaml:1:1: listen belongs to another program and is ignored",
            "shrike.yaml:2:1: ruleset belongs to another program and is ignored",
            "shrike.yaml:3:1: log_level belongs to another program and is ignored",
        ]
    );
    // What is said by reference is said.
    let switched = |enabled: &str| {
        format!("export: {{enabled: {enabled}, exporters: {{tower: {{{NODE}, enabled: true}}}}}}")
    };
    for enabled in ["false", "'${NONE:-false}'", "'${NO}'"] {
        let off = whole(&switched(enabled));
        assert!(names(&off).is_empty(), "{enabled}");
        assert_eq!(off.disabled, ["tower"]);
    }
    for enabled in ["true", "'${NONE:-true}'", "~"] {
        assert_eq!(names(&whole(&switched(enabled))), ["tower"], "{enabled}");
    }
    let siem = format!("siem: {{enabled: true}}\n{}", switched("false"));
    assert!(names(&whole(&siem)).is_empty(), "both have to be on");
    for (enabled, expected) in [
        ("maybe", "1:19: export.enabled: expected true or false, found `maybe`"),
        ("[]", "1:19: export.enabled: expected true or false, found a list"),
        ("'${NONE}'", "1:19: export.enabled: the environment has no variable NONE"),
    ] {
        let refused = refusal(&switched(enabled));
        assert!(refused.contains(expected), "{refused}");
    }
    for (text, expected) in [
        ("listen: a\n", "1:1: listen: unknown key; did you mean"),
        (
            "siem: {environment: a}\nglobal: {environment: b}\n",
            "1:8: global.environment: written twice, first at 2:10; remove one",
        ),
        ("siem: {exporterz: {}}\n", "1:8: exporterz: unknown key; did you mean `exporters`?"),
        ("siem: {}\nexporterz: {}\n", "2:1: exporterz: unknown key; did you mean `exporters`?"),
        ("siem: [a]\n", "1:1: siem: expected a map, found a list"),
    ] {
        let refused = refusal(text);
        let start = expected.split("; did you mean").next().expect("a beginning");
        assert!(refused.starts_with(start), "{refused}\n{expected}");
    }
}

#[test]
fn lists_of_exporters_are_named_by_type() {
    let config = whole(&format!(
        "exporters:\n  - {{type: watchtower, {NODE}}}\n  - {{type: tower, {NODE}}}\n  - {{type: \
         stdout}}\n"
    ));
    assert_eq!(names(&config), ["stdout", "tower", "tower_2"]);
    for (text, expected) in [
        (
            "exporters: [{nodes: https://a}]",
            "1:13: exporters[0]: an exporter in a list needs `type`",
        ),
        ("exporters: [a]", "1:13: exporters[0]: an exporter in a list needs `type`"),
        (
            "exporters: [{type: towr}]",
            "1:20: exporters.towr.type: unknown exporter type; did you mean `tower`?",
        ),
    ] {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn groups_become_their_members() {
    let config = whole(&format!(
        "exporters:\n  alerting:\n    min_severity: high\n    include_guards: [a]\n    batch: \
         {{size: 5}}\n    retry: {{max_retries: 1, max_backoff_ms: 2000}}\n    pagerduty: {{type: \
         tower, {NODE}, batch_size: 7}}\n    opsgenie: {{type: tower, {NODE}, retry: \
         {{max_retries: 9}}, filter: {{min_severity: low}}}}\n  webhooks:\n    enabled: false\n    \
         webhooks:\n      - {{type: stdout}}\n      - {{type: stdout, enabled: true}}\n"
    ));
    assert_eq!(names(&config), ["opsgenie", "pagerduty", "webhook_1"]);
    assert_eq!(config.disabled, ["webhook_0"]);
    let [opsgenie, pagerduty, _] = &config.exporters[..] else { panic!("three") };
    assert_eq!(pagerduty.filter.min_severity, Severity::High);
    assert_eq!(opsgenie.filter.min_severity, Severity::Low, "its own word wins");
    assert_eq!(pagerduty.filter.include_guards, ["a"]);
    assert_eq!((pagerduty.settings.batch.events_max, opsgenie.settings.batch.events_max), (7, 5));
    let retries = |it: &Exporter| it.settings.retry.retries_max;
    assert_eq!((retries(pagerduty), retries(opsgenie)), (1, 9));
    assert_eq!(opsgenie.settings.retry.backoff_max.as_secs(), 2);
    let twice =
        "exporters:\n  pagerduty: {type: stdout}\n  alerting: {pagerduty: {type: stdout}}\n";
    assert_eq!(
        refusal(twice),
        "3:14: exporters.pagerduty: written twice, first at 2:3; remove one"
    );
    let unknown = refusal("exporters:\n  alerting: {zebra: 1, pagerduty: {type: stdout}}\n");
    let listed = "2:14: exporters.pagerduty.zebra: unknown key; expected one of: ";
    let listed = unknown.strip_prefix(listed).unwrap_or_else(|| panic!("{unknown}"));
    assert!(listed.split(", ").any(|key| key == "batch"), "{unknown}");
}

#[test]
fn queues_are_bounds_of_the_log() {
    let config = whole(&format!(
        "exporters:\n  tower:\n    {NODE}\n    queue_capacity: 1000\n    queue: {{max_bytes: 2GiB, \
         on_full: block, persistent: true}}\n    runtime: {{queue_capacity: 5, batch_size: 3}}\n"
    ));
    let settings = &config.exporters[0].settings;
    assert_eq!((settings.lag_bytes_max, settings.on_lag), (Some(2 << 30), OnLag::Block));
    assert_eq!(
        config.conversions,
        [
            "shrike.yaml:5:5: exporters.tower.queue: there is no queue, waiting events stay in \
             the log; `queue.max_bytes` is `lag_max_bytes`, `queue.on_full` is `on_lag`",
            "shrike.yaml:4:5: exporters.tower.queue_capacity: there is no queue, waiting events \
             stay in the log; `lag_max_bytes` and `on_lag` bound them",
            "shrike.yaml:6:15: exporters.tower.runtime.queue_capacity: there is no queue, waiting \
             events stay in the log; `lag_max_bytes` and `on_lag` bound them",
            "shrike.yaml:6:34: exporters.tower.runtime.batch_size is read as `batch.size`",
        ]
    );
    assert_eq!(
        refusal(&format!("exporters: {{tower: {{{NODE}, queue: {{max_bytes: x}}}}}}")),
        "1:63: exporters.tower.lag_max_bytes: expected a size from 1MiB to 1024TiB, such as \
         64MiB, found `x`"
    );
}
