//! Request bodies of every vendor for every sample event, byte for byte: `tests/golden/<vendor>/`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test vendors_bodies` writes the files again; review them like
//! code.

#[path = "vendors_bodies/extremes.rs"]
mod extremes;
mod support;

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Deserializer, Value};
use shrike::deliver::{Derived, OptionValue, Options, Prefix, Secret, Vendor};
use shrike::event::{Context, Event, FieldId, LeftOut};
use shrike::schemas;
use shrike::transform::{Format, Overrides, Plan, Schema};
use shrike::vendors;
use support::{cef, document, ocsf, opening, rfc5424, slack, with_event};

const SAMPLES: &str = include_str!("fixtures/security-events.jsonl");

/// One exporter whose bodies are looked at.
struct Body {
    file: &'static str,
    vendor: &'static str,
    format: Format,
    options: &'static [(&'static str, &'static str)],
    resent: bool,
    /// What is known of each event beside its record.
    context: Context<'static>,
}

/// A message that tells of repeats and answers to another one.
const REPLY: Context<'_> = Context {
    left_out: LeftOut { events: 12, since: 1_770_368_459 },
    thread: Some("1503435956.000247"),
};
const NOTHING: Context<'_> = Context { left_out: LeftOut { events: 0, since: 0 }, thread: None };

const BODIES: &[Body] = &[
    body("daily.txt", "elastic", Format::Ecs, &[("index.name", "clawdstrike-security")]),
    body("native.txt", "elastic", Format::Native, &[("index.name", "sec-{severity}")]),
    body("ocsf.txt", "elastic", Format::Ocsf, &[("index.name", "ocsf-{date}")]),
    body(
        "data_stream_by_tenant.txt",
        "elastic",
        Format::Ecs,
        &[("index.name", "logs-ai-{tenant_id}.{severity}"), ("index.mode", "data_stream")],
    ),
    body("logs.txt", "datadog", Format::Native, DATADOG),
    body(
        "logs_traced.txt",
        "datadog",
        Format::Native,
        &[
            ("apm.enabled", "true"),
            ("apm.env", "production"),
            ("apm.service", "agents"),
            ("logs.hostname", "edge-7"),
            ("logs.include_metadata", "false"),
            ("logs.service", "agents"),
            ("logs.source", "clawdstrike"),
            ("logs.tags", "Team:Security Ops,9team,region:eu,Team:Security Ops"),
        ],
    ),
    body("logs_cef.txt", "datadog", Format::Cef, DATADOG),
    body("logs_ecs.txt", "datadog", Format::Ecs, DATADOG),
    body("logs_ocsf.txt", "datadog", Format::Ocsf, DATADOG),
    body("records.txt", "otlp", Format::Native, OTLP),
    body("records_ocsf.txt", "otlp", Format::Ocsf, OTLP),
    body(
        "alerts.txt",
        "opsgenie",
        Format::Native,
        &[
            ("alias_template", "clawdstrike-{guard}-{session_id}"),
            ("priority_mapping.critical", "P1"),
            ("priority_mapping.high", "P2"),
            ("priority_mapping.info", "P5"),
            ("priority_mapping.low", "P4"),
            ("priority_mapping.medium", "P3"),
            ("routing.teams", "SecOps"),
            ("tags", "shrike,prod"),
        ],
    ),
    body(
        "triggers.txt",
        "pagerduty",
        Format::Native,
        &[
            ("base_url", "https://soc.example"),
            ("client", "shrike"),
            ("deduplication.key_template", "{tenant}/{guard}:{resource}"),
            ("routing_key", "0123456789abcdef0123456789abcdef"),
            ("severity_mapping.critical", "critical"),
            ("severity_mapping.high", "error"),
            ("severity_mapping.info", "info"),
            ("severity_mapping.low", "info"),
            ("severity_mapping.medium", "warning"),
        ],
    ),
    body("event_minimal.txt", "splunk", Format::Native, SPLUNK),
    body("event_ocsf.txt", "splunk", Format::Ocsf, SPLUNK),
    body(
        "event_full_ecs.txt",
        "splunk",
        Format::Ecs,
        &[
            ("host", "edge-7"),
            ("index", "security"),
            ("indexed_fields", "full"),
            ("source", "s"),
            ("sourcetype", "st"),
        ],
    ),
    body("lines_cef.txt", "file", Format::Cef, &[("path", "/var/log/events.cef")]),
    body("lines_text.txt", "file", Format::Text, &[("path", "/var/log/events.txt")]),
    body("lines_ocsf.txt", "file", Format::Ocsf, &[("path", "/var/log/events.ndjson")]),
    body("objects.txt", "s3", Format::Ocsf, &[("bucket", "sec-events")]),
    body(
        "webhook.txt",
        "slack",
        Format::Native,
        &[
            ("formatting.color_by_severity", "true"),
            ("formatting.detailed", "true"),
            ("formatting.show_path", "true"),
            ("formatting.show_session", "true"),
        ],
    ),
    body(
        "bot.txt",
        "slack",
        Format::Native,
        &[
            ("base_url", "https://console.example/shrike/"),
            ("bot_token", "xoxb-1"),
            ("channel", "C0123456789"),
            ("formatting.detailed", "true"),
            ("identity.icon_emoji", ":bird:"),
            ("identity.username", "shrike"),
        ],
    ),
    Body {
        context: REPLY,
        ..body("reply.txt", "slack", Format::Native, &[("bot_token", "xoxb-1"), ("channel", "C1")])
    },
    body("json.txt", "syslog", Format::Native, SYSLOG),
    body(
        "cef_lines.txt",
        "syslog",
        Format::Cef,
        &[("framing", "newline"), ("hostname", "edge-7"), ("payload", "cef"), ("transport", "tcp")],
    ),
    body(
        "ecs.txt",
        "syslog",
        Format::Ecs,
        &[
            ("app_name", "{agent.name}/{guard}"),
            ("facility", "local7"),
            ("hostname", "edge-7"),
            ("payload", "ecs"),
            ("utf8_bom", "true"),
        ],
    ),
    body("ocsf.txt", "syslog", Format::Ocsf, &[("payload", "ocsf"), ("structured_data", "false")]),
    body("text.txt", "syslog", Format::Native, &[("hostname", "edge-7"), ("payload", "text")]),
    body(
        "text_marked.txt",
        "syslog",
        Format::Native,
        &[("hostname", "edge-7"), ("payload", "text"), ("utf8_bom", "true")],
    ),
    body(
        "meta.txt",
        "syslog",
        Format::Native,
        &[("hostname", "edge-7"), ("meta", "true"), ("is_synced", "true")],
    ),
    body("none.txt", "syslog", Format::Native, &[("hostname", "edge-7"), ("payload", "none")]),
    body(
        "old.txt",
        "syslog",
        Format::Native,
        &[
            ("framing", "newline"),
            ("hostname", "edge-7"),
            ("payload", "text"),
            ("protocol", "rfc3164"),
            ("transport", "tcp"),
        ],
    ),
    Body { resent: true, ..body("event_resent.txt", "splunk", Format::Native, SPLUNK) },
    body("event_cef.txt", "splunk", Format::Cef, SPLUNK),
    body("event_text.txt", "splunk", Format::Text, SPLUNK),
    body("raw_text.txt", "splunk", Format::Text, &[("endpoint", "raw"), ("index", "security")]),
    body("raw.txt", "splunk", Format::Native, &[("endpoint", "raw"), ("index", "security")]),
    body("json.txt", "sumo_logic", Format::Native, &[("format", "json")]),
    body(
        "json_chosen.txt",
        "sumo_logic",
        Format::Native,
        &[
            ("fields.exclude", "decision.policy_hash,metadata"),
            ("fields.include", "agent.id,decision,metadata,session.tenant_id"),
            ("fields.include_all", "false"),
            ("format", "json"),
            ("timestamp_field", "time"),
        ],
    ),
    body("text.txt", "sumo_logic", Format::Native, &[("format", "text")]),
    body("key_value.txt", "sumo_logic", Format::Native, &[("format", "key_value")]),
    body("cef.txt", "sumo_logic", Format::Cef, &[("format", "cef")]),
    body("adaptive.txt", "teams", Format::Native, TEAMS),
    Body { context: REPLY, ..body("adaptive_repeated.txt", "teams", Format::Native, TEAMS) },
    body(
        "adaptive_linked.txt",
        "teams",
        Format::Native,
        &[
            ("base_url", "https://console.example"),
            ("formatting.show_actions", "true"),
            ("formatting.use_adaptive_cards", "true"),
            ("theme_color", "0078D7"),
        ],
    ),
    body(
        "message_card.txt",
        "teams",
        Format::Native,
        &[("formatting.show_facts", "true"), ("theme_color", "0078D7")],
    ),
    body("array.txt", "webhook", Format::Native, &[("method", "POST"), ("mode", "array")]),
    body(
        "enveloped.txt",
        "webhook",
        Format::Ecs,
        &[("envelope", "true"), ("method", "POST"), ("mode", "array")],
    ),
    body("ndjson.txt", "webhook", Format::Ocsf, &[("method", "POST"), ("mode", "ndjson")]),
];

const DATADOG: &[(&str, &str)] =
    &[("logs.hostname", "edge-7"), ("logs.service", "clawdstrike"), ("logs.source", "clawdstrike")];

const TEAMS: &[(&str, &str)] = &[
    ("formatting.show_facts", "true"),
    ("formatting.use_adaptive_cards", "true"),
    ("theme_color", "0078D7"),
];

const SYSLOG: &[(&str, &str)] = &[("hostname", "edge-7")];

const OTLP: &[(&str, &str)] = &[
    ("host_name", "edge-7"),
    ("protocol", "http/json"),
    ("resource_attributes", "deployment.environment.name=prod"),
    ("service_name", "clawdstrike"),
];

const SPLUNK: &[(&str, &str)] = &[
    ("host", "edge-7"),
    ("index", "main"),
    ("source", "clawdstrike"),
    ("sourcetype", "clawdstrike:security"),
];

const fn body(
    file: &'static str,
    vendor: &'static str,
    format: Format,
    options: &'static [(&'static str, &'static str)],
) -> Body {
    Body { file, vendor, format, options, resent: false, context: NOTHING }
}

/// A value as the configuration would give it.
fn option(key: &str, text: &str) -> OptionValue {
    match text {
        "true" | "false" => OptionValue::Bool(text == "true"),
        _ if SECRETS.contains(&key) => OptionValue::Secret(Secret::new(text.to_owned())),
        _ if LISTS.contains(&key) => {
            OptionValue::List(text.split(',').map(str::to_owned).collect())
        }
        _ => OptionValue::Text(text.to_owned()),
    }
}

/// Options that are secrets.
const SECRETS: &[&str] = &["routing_key"];

/// Options that are lists.
const LISTS: &[&str] = &[
    "fields.exclude",
    "fields.include",
    "logs.tags",
    "resource_attributes",
    "routing.teams",
    "tags",
];

/// The plans of all bodies, compiled once.
static PLANS: LazyLock<Vec<Plans>> = LazyLock::new(|| BODIES.iter().map(Plans::compile).collect());

/// A body's plans, as a route compiles them.
struct Plans {
    vendor: &'static Vendor,
    options: Options,
    format: Format,
    prefix: Option<Plan>,
    document: Plan,
    context: Context<'static>,
}

impl Plans {
    fn compile(body: &Body) -> Self {
        let vendor = vendors::find(body.vendor).expect("it is in the catalogue");
        let mut options = Options::default();
        let mut texts = vec![("host.name".to_owned(), "edge-7".to_owned())];
        for &(key, text) in body.options {
            options.set(key, option(key, text));
            texts.push((key.to_owned(), text.to_owned()));
        }
        let derived = (vendor.derive)(&options).expect("the options are right");
        texts.extend(derived.texts.iter().map(|(name, text)| ((*name).to_owned(), text.clone())));
        if body.resent {
            let (name, text) = vendor.resend_mark.expect("resends are marked");
            texts.push((name.to_owned(), text.to_owned()));
        }
        let omit = derived.omit.iter().map(|&key| key.to_owned()).collect();
        let Derived { allow, deny, mappings, .. } = derived;
        let overrides = Overrides { texts, omit, allow, deny, mappings, ..Overrides::default() };
        let shape = vendor.shape(&options, body.format).expect("every format has a shape");
        let schema: &'static Schema = schemas::by_format(body.format);
        let chain = shape.chain(schema);
        let prefix = match shape.framing.prefix {
            Prefix::Document(action) => {
                Some(Plan::compile(&[action], &overrides).expect("the prefix compiles"))
            }
            Prefix::None | Prefix::OctetCount => None,
        };
        let document = Plan::compile(&chain, &overrides).expect("the document compiles");
        let (format, context) = (body.format, body.context);
        Self { vendor, options, format, prefix, document, context }
    }

    /// The body that carries these records, framed by hand from the vendor's table.
    fn body(&self, records: &[&[u8]]) -> Vec<u8> {
        let shape = self.vendor.shape(&self.options, self.format).expect("it has one");
        let framing = &shape.framing;
        let derived = (self.vendor.derive)(&self.options).expect("the options are right");
        let head = derived.head.as_deref().unwrap_or(framing.head);
        let mut out = head.as_bytes().to_vec();
        let opening = opening();
        let mut is_first = true;
        for record in records {
            let text = with_event(&opening, record, |event| {
                let mut text = Vec::new();
                self.document.encode(&Event { context: Some(&self.context), ..*event }, &mut text);
                text
            });
            let Some(text) = text else { continue };
            if !is_first {
                out.extend_from_slice(framing.between.as_bytes());
            }
            is_first = false;
            if let Some(prefix) = &self.prefix {
                out.extend(document(&opening, prefix, record).expect("it opened before"));
                out.extend_from_slice(framing.after.as_bytes());
            }
            if matches!(framing.prefix, Prefix::OctetCount) {
                out.extend_from_slice(format!("{} ", text.len()).as_bytes());
            }
            out.extend(text);
            out.extend_from_slice(framing.after.as_bytes());
        }
        out.extend_from_slice(framing.tail(records.len(), 1_770_368_400).as_bytes());
        out
    }
}

/// "A name that is both indexed and a JSON top-level key shows up as a duplicated multivalue"
/// (`splunk.md`, Mapping).
#[test]
fn no_field_is_indexed_that_the_document_has_at_its_top() {
    const GUARD: &str = "guard";
    let splunk = vendors::ALL.iter().find(|vendor| vendor.name == "splunk").expect("it is known");
    let envelope = splunk.shapes.last().expect("it has shapes").1.envelope.expect("an envelope");
    let cases: &[(&'static Schema, &[FieldId], &[&str])] = &[
        (&schemas::NATIVE, &[], &["severity", GUARD]),
        (&schemas::ECS, &[], &["severity", GUARD]),
        // Its severity is a word of its own.
        (&schemas::OCSF, &[], &[GUARD]),
        // A slot of a header has no name in what is sent.
        (&schemas::CEF, &[], &["severity", GUARD]),
        (&schemas::NATIVE, &[FieldId::Guard], &["severity"]),
    ];
    let record = SAMPLES.lines().next().expect("there are samples").as_bytes();
    for &(document, mapped, indexed) in cases {
        let mappings = mapped.iter().map(|&field| (field, GUARD.to_owned())).collect();
        let overrides = Overrides { mappings, ..Overrides::default() };
        let plan = Plan::compile(&[envelope, document], &overrides).expect("it compiles");
        let body = self::document(&opening(), &plan, record).expect("it opens");
        let body: Value = serde_json::from_slice(&body).expect("an envelope is JSON");
        for name in ["severity", GUARD] {
            let is_indexed = body["fields"].get(name).is_some();
            assert_eq!(is_indexed, indexed.contains(&name), "{name} of {}: {body}", document.name);
        }
    }
}

#[test]
fn bodies_of_the_samples_are_as_written_down() {
    let records: Vec<&[u8]> = SAMPLES.lines().map(str::as_bytes).collect();
    for case in BODIES {
        let body = Plans::compile(case).body(&records);
        let text = String::from_utf8(body).expect("bodies are UTF-8");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let path = path.join(case.vendor).join(case.file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).expect("the golden file can be written");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        for (at, (found, golden)) in text.lines().zip(golden.lines()).enumerate() {
            assert_eq!(found, golden, "{}/{} line {}", case.vendor, case.file, at + 1);
        }
        assert_eq!(golden, text, "{}/{}: UPDATE_GOLDEN=1 writes it", case.vendor, case.file);
    }
}

#[test]
fn whole_numbers_keep_their_digits_in_otlp_and_doubles_look_like_ones() {
    const CASES: &[(&str, &str)] = &[
        ("0", r#"{"intValue":"0"}"#),
        ("-7", r#"{"intValue":"-7"}"#),
        // Nanoseconds since 1970 have 19 digits, as 64 bits do.
        ("1770379201500000000", r#"{"intValue":"1770379201500000000"}"#),
        ("9223372036854775807", r#"{"intValue":"9223372036854775807"}"#),
        ("-9223372036854775808", r#"{"intValue":"-9223372036854775808"}"#),
        // Fluent Bit 5.1.1 drops all attributes of a record for a double without a point.
        ("9223372036854775808", r#"{"doubleValue":9223372036854775808.0}"#),
        ("-123456789012345678901", r#"{"doubleValue":-123456789012345678901.0}"#),
        ("1.5", r#"{"doubleValue":1.5}"#),
        ("1e-7", r#"{"doubleValue":1e-7}"#),
        ("1E3", r#"{"doubleValue":1E3}"#),
    ];
    let is_it = |body: &Body| (body.vendor, body.file) == ("otlp", "records.txt");
    let plans = &PLANS[BODIES.iter().position(is_it).expect("it is there")];
    let base = SAMPLES.lines().next().expect("there are samples");
    for (number, value) in CASES {
        let record = base.replace("\"metadata\":{}", &format!("\"metadata\":{{\"n\":{number}}}"));
        let body = String::from_utf8(plans.body(&[record.as_bytes()])).expect("UTF-8");
        let wanted = format!(r#"{{"key":"n","value":{value}}}"#);
        assert!(body.contains(&wanted), "{number} is not {wanted} in {body}");
    }
}

#[test]
fn a_bulk_body_is_pairs_of_lines_and_ends_with_one() {
    let records: Vec<&[u8]> = SAMPLES.lines().map(str::as_bytes).collect();
    for case in BODIES.iter().filter(|case| case.vendor == "elastic") {
        let body = String::from_utf8(Plans::compile(case).body(&records)).expect("UTF-8");
        assert!(body.ends_with('\n'), "the final LF is mandatory");
        let lines: Vec<&str> = body.lines().collect();
        assert_eq!(lines.len(), 2 * records.len());
        for pair in lines.chunks(2) {
            let action: Value = serde_json::from_str(pair[0]).expect("the action line is JSON");
            let create = action["create"].as_object().expect("create always");
            assert_eq!(create.keys().collect::<Vec<_>>(), ["_id", "_index"]);
            check_index(create["_index"].as_str().expect("a name"));
            let document: Value = serde_json::from_str(pair[1]).expect("the document is JSON");
            let ids = ["/event/id", "/event_id", "/metadata/uid"];
            let id = ids.iter().find_map(|path| document.pointer(path)).expect("an id");
            assert_eq!(create["_id"], *id, "the id is the event's");
        }
    }
}

#[test]
fn an_envelope_has_only_the_keys_that_exist() {
    let records: Vec<&[u8]> = SAMPLES.lines().map(str::as_bytes).collect();
    let events = BODIES.iter().filter(|case| case.file.starts_with("event"));
    for case in events {
        let body = Plans::compile(case).body(&records);
        let envelopes: Vec<Value> = Deserializer::from_slice(&body)
            .into_iter()
            .collect::<Result<_, _>>()
            .expect("the body is JSON objects one after the other");
        assert_eq!(envelopes.len(), records.len());
        for envelope in envelopes {
            check_envelope(&envelope);
            let fields = envelope["fields"].as_object().expect("fields");
            assert_eq!(fields.contains_key("shrike_resend"), case.resent);
            assert!(!fields.contains_key("reason"), "the reason is never indexed");
            let own_severity = envelope["event"].get("severity").is_some();
            assert_eq!(fields.contains_key("severity"), !own_severity, "one of the two");
            for always in ["guard", "environment", "tenant_id"] {
                assert!(fields.contains_key(always), "{always} is always there");
            }
        }
    }
}

#[test]
fn a_body_of_logs_is_an_array_and_each_has_what_datadog_reserves() {
    let records: Vec<&[u8]> = SAMPLES.lines().map(str::as_bytes).collect();
    for case in BODIES.iter().filter(|case| case.vendor == "datadog") {
        let body = Plans::compile(case).body(&records);
        let logs: Vec<Value> = serde_json::from_slice(&body).expect("one array");
        assert_eq!(logs.len(), records.len());
        logs.iter().for_each(check_log);
    }
}

/// "message 130, alias 512, description 15000, tags 20 x 50, details 8000 characters in total,
/// entity 512, source 100".
fn check_alert(alert: &Value) {
    for (key, most) in [
        ("message", 130),
        ("alias", 512),
        ("description", 15_000),
        ("entity", 512),
        ("source", 100),
    ] {
        let length = alert[key].as_str().map_or(0, |text| text.chars().count());
        assert!(length <= most, "{key}: {length}");
    }
    assert!(alert["message"].as_str().is_some_and(|text| !text.is_empty()), "{alert}");
    assert!(["P1", "P2", "P3", "P4", "P5"].iter().any(|it| alert["priority"] == **it));
    let tags = alert["tags"].as_array().expect("tags");
    let fits = |tag: &Value| tag.as_str().is_some_and(|it| (1..=50).contains(&it.chars().count()));
    assert!(tags.len() <= 20 && tags.iter().all(fits), "{alert}");
    let details = alert["details"].as_object().expect("details");
    let length = |(key, text): (&String, &Value)| {
        key.chars().count() + text.as_str().expect("texts only").chars().count()
    };
    assert!(details.iter().map(length).sum::<usize>() <= 8000, "{alert}");
}

/// "dedup_key 255 chars; summary 1024", and what a trigger must have.
fn check_trigger(trigger: &Value) {
    let text = |pointer: &str| trigger.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(text("/event_action"), "trigger");
    assert_eq!(text("/routing_key").len(), 32);
    assert!((1..=255).contains(&text("/dedup_key").len()), "{trigger}");
    assert!((1..=1024).contains(&text("/payload/summary").chars().count()), "{trigger}");
    assert!(!text("/payload/summary").contains(char::is_control), "{trigger}");
    assert!(text("/payload/source").starts_with("clawdstrike-"), "{trigger}");
    assert!(["critical", "error", "warning", "info"].contains(&text("/payload/severity")));
}

/// What every log has, and the rules for tags.
fn check_log(log: &Value) {
    let text = |key: &str| log[key].as_str().unwrap_or_else(|| panic!("no {key} in {log}"));
    for key in ["message", "ddsource", "service", "hostname", "event_id"] {
        assert!(!text(key).is_empty(), "{key}");
    }
    assert!(["info", "warn", "error", "critical"].contains(&text("status")));
    assert!(text("timestamp").ends_with('Z') && text("timestamp").len() == 24);
    for reserved in ["host", "source", "trace_id"] {
        assert!(log.get(reserved).is_none(), "{reserved} has another meaning for Datadog");
    }
    let tags: Vec<&str> = text("ddtags").split(',').collect();
    assert!(tags.len() <= 100, "{} tags", tags.len());
    for (at, tag) in tags.iter().enumerate() {
        let is_allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-:./".contains(c);
        assert!(tag.starts_with(|c: char| c.is_ascii_lowercase()), "{tag:?}");
        assert!(tag.chars().all(is_allowed) && tag.len() <= 200, "{tag:?}");
        assert!(!tags[..at].contains(tag), "{tag:?} stands twice");
    }
}

/// "Only these keys: time, host, source, sourcetype, index, event, fields", and fields are flat.
fn check_envelope(envelope: &Value) {
    let known = ["time", "host", "source", "sourcetype", "index", "event", "fields"];
    for key in envelope.as_object().expect("an object").keys() {
        assert!(known.contains(&key.as_str()), "{key} ends parsing without a word");
    }
    let time = envelope["time"].to_string();
    let (_, fraction) = time.split_once('.').expect("a fraction");
    assert!((1..=6).contains(&fraction.len()) && !time.contains(['e', 'E']), "{time}");
    let event = &envelope["event"];
    match event.as_str() {
        Some(text) if text.starts_with("CEF:") => drop(cef::read(text)),
        Some(text) => assert!(text.contains(" | event_id=") && !text.contains('\n'), "{text}"),
        None => assert!(event.as_object().is_some_and(|event| !event.is_empty()), "{event}"),
    }
    for (name, value) in envelope["fields"].as_object().expect("fields") {
        let text = value.as_str().unwrap_or_else(|| panic!("{name} is no string: {value}"));
        assert!(!text.is_empty(), "{name} is blank");
    }
}

#[test]
fn every_message_is_what_its_protocol_has() {
    let records: Vec<&[u8]> = SAMPLES.lines().map(str::as_bytes).collect();
    for case in BODIES.iter().filter(|case| case.vendor == "syslog") {
        let body = Plans::compile(case).body(&records);
        let messages = messages(case, &body);
        assert_eq!(messages.len(), records.len(), "{}", case.file);
        messages.into_iter().for_each(|message| check_message(case, message));
    }
}

/// The messages of a body, by the framing that the case asks for.
fn messages<'b>(case: &Body, body: &'b [u8]) -> Vec<&'b [u8]> {
    if case.options.contains(&("framing", "newline")) {
        let body = body.strip_suffix(b"\n").expect("a line break ends the last");
        return body.split(|&byte| byte == b'\n').collect();
    }
    let (mut found, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let blank = rest.iter().position(|&byte| byte == b' ').expect("a count ends");
        let count = std::str::from_utf8(&rest[..blank]).expect("digits");
        assert!(!count.starts_with('0'), "RFC 6587: no leading zero: {count}");
        let (message, after) = rest[blank + 1..].split_at(count.parse().expect("digits"));
        found.push(message);
        rest = after;
    }
    found
}

/// What RFC 5424, a parser that others wrote, and the document's own reader say of a message.
fn check_message(case: &Body, message: &[u8]) {
    let has = |key: &str, value: &str| case.options.contains(&(key, value));
    if has("protocol", "rfc3164") {
        let text = std::str::from_utf8(message).expect("UTF-8");
        let (head, said) = text.split_once("]: ").expect("a tag");
        assert!(head.starts_with('<') && head.contains(" edge-7 clawdstrike["), "{text}");
        let is_broken = |char: char| char.is_control() && char != '\t';
        assert!(said.starts_with('[') && !text.contains(is_broken), "{text}");
        return;
    }
    let read = rfc5424::read(message);
    let text = std::str::from_utf8(message).expect("UTF-8");
    let others = syslog_rfc5424::parse_message(text).expect("another parser takes it");
    assert_eq!(others.hostname.as_deref().unwrap_or("-"), read.hostname);
    assert_eq!(others.appname.as_deref().unwrap_or("-"), read.app_name);
    assert_eq!(others.sd.len(), read.data.len());
    let data = read.data.get("shrike@32473");
    assert_eq!(data.is_none(), has("structured_data", "false"));
    if let (Some(ours), Some(theirs)) = (data, others.sd.get("shrike@32473")) {
        assert_eq!(ours, theirs);
        assert!(ours.contains_key("eventId") && ours.values().all(|it| it.chars().count() <= 255));
    }
    let facility = if has("facility", "local7") { 23 } else { 10 };
    assert_eq!(read.priority / 8, facility);
    assert!((2..=6).contains(&(read.priority % 8)));
    let said = read.text.as_str();
    let marked = said.strip_prefix('\u{feff}');
    assert_eq!(marked.is_some(), has("utf8_bom", "true"));
    let said = marked.unwrap_or(said);
    match (case.format, case.file) {
        (Format::Cef, _) => drop(cef::read(said)),
        (Format::Ocsf, _) => drop(ocsf::read(said)),
        (_, "none.txt") => assert_eq!(said, ""),
        (_, "text.txt" | "text_marked.txt") => {
            assert!(said.starts_with('[') && !said.contains('\n'), "{said}")
        }
        _ => assert!(serde_json::from_str::<Value>(said).is_ok_and(|it| it.is_object()), "{said}"),
    }
}

/// The rules for names of indices: lower case, no special characters, at most 255 bytes.
fn check_index(name: &str) {
    assert!(!name.is_empty() && name.len() <= 255, "{name}");
    assert!(!name.starts_with(['-', '_', '+']), "{name}");
    assert!(!name.contains(|c: char| "\\/*?\"<>| ,#:".contains(c)), "{name}");
    assert!(name.to_lowercase() == name && !name.contains(char::is_control), "{name}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_event_makes_a_body_that_is_not_as_the_vendor_asks(
        tenant in any::<String>(),
        guard in any::<String>(),
        host in any::<String>(),
        port in any::<i32>(),
        labels in prop::collection::vec((any::<String>(), any::<String>()), 0..6),
    ) {
        let base = SAMPLES.lines().next().expect("there are samples");
        let mut record: Value = serde_json::from_str(base).expect("samples are JSON");
        record["session"]["tenant_id"] = Value::from(tenant);
        record["decision"]["guard"] = Value::from(guard);
        record["resource"]["host"] = Value::from(host);
        record["resource"]["port"] = Value::from(port);
        record["labels"] = labels.into_iter().map(|(name, text)| (name, Value::from(text))).collect();
        let record = record.to_string();
        for (case, plans) in BODIES.iter().zip(&*PLANS) {
            let body = plans.body(&[record.as_bytes()]);
            if case.vendor == "syslog" {
                for message in messages(case, &body) {
                    check_message(case, message);
                }
            } else if case.vendor == "elastic" {
                let text = String::from_utf8(body).expect("UTF-8");
                let lines: Vec<&str> = text.lines().collect();
                prop_assert_eq!(lines.len(), 2);
                let action: Value = serde_json::from_str(lines[0]).expect("JSON");
                check_index(action["create"]["_index"].as_str().expect("a name"));
                prop_assert!(serde_json::from_str::<Value>(lines[1]).is_ok());
            } else if case.vendor == "otlp" {
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                let records = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
                prop_assert_eq!(records.as_array().map(Vec::len), Some(1));
            } else if case.vendor == "slack" {
                let message: Value = serde_json::from_slice(&body).expect("JSON");
                slack::check(&message, case.file == "webhook.txt");
            } else if case.vendor == "teams" {
                prop_assert!(serde_json::from_slice::<Value>(&body).is_ok());
                prop_assert!(body.len() <= 27_000);
            } else if case.vendor == "webhook" && case.file != "ndjson.txt" {
                prop_assert!(serde_json::from_slice::<Value>(&body).is_ok());
            } else if case.vendor == "datadog" {
                let logs: Vec<Value> = serde_json::from_slice(&body).expect("JSON");
                logs.iter().for_each(check_log);
            } else if case.vendor == "opsgenie" {
                check_alert(&serde_json::from_slice(&body).expect("JSON"));
            } else if case.vendor == "pagerduty" {
                check_trigger(&serde_json::from_slice(&body).expect("JSON"));
            } else if case.file.starts_with("event") {
                check_envelope(&serde_json::from_slice(&body).expect("JSON"));
            } else {
                prop_assert_eq!(body.iter().filter(|&&byte| byte == b'\n').count(), 1);
            }
        }
    }
}

/// Keys that are rendered once for an hour say nothing else of an event: another tenant's events
/// would lie in the wrong folder.
#[test]
fn keys_are_of_an_hour_only_where_nothing_else_is_in_them() {
    let shape = &vendors::find("s3").expect("it is there").shapes[0].1;
    let heads = shape.heads.expect("objects have keys");
    let is_of_an_hour = |prefix: &str| {
        let texts = vec![("s3.prefix".to_owned(), prefix.to_owned())];
        let plan = Plan::compile(&[heads], &Overrides { texts, ..Overrides::default() });
        plan.expect("a prefix").says_hour_alone()
    };
    assert!(is_of_an_hour("/events/dt={date:%Y-%m-%d}/hour={date:%H}/"));
    assert!(is_of_an_hour("/events/"));
    for prefix in ["/{tenant_id}/{date:%Y}/", "/{severity}/", "/a/{labels.team}/"] {
        assert!(!is_of_an_hour(prefix), "{prefix}");
    }
}
