//! Elasticsearch: addresses, credentials, names of indices, requests, preparation.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shrike::config::{Config, Flags, Host, System, Text};
use shrike::deliver::{
    Answer, Binding, Channel, CompiledCall, Credentials, Derived, Encoding, OptionValue, Options,
    Purpose, Secret, Setup, Vendor, Via,
};
use shrike::event::{Event, Frame, Opened, Opening, OpeningOptions};
use shrike::pipeline::Render;
use shrike::transform::Format;
use shrike::vendors;
use shrike::vendors::elastic::ELASTIC;

const VIA: Via = Via { endpoint: 0, group: 0, channel: Channel::from_random([7; 16]) };

/// Options as pairs of key and text, and what comes of them: a value, or a word of the mistake.
type Cases<'a, T> = &'a [(&'a [(&'static str, &'a str)], Result<T, &'a str>)];

/// Options from pairs; keys of secrets become secrets, `true`, numbers and lists what they look
/// like.
fn options(pairs: &[(&'static str, &str)]) -> Options {
    let mut options = Options::default();
    for &(key, text) in pairs {
        let is_secret = matches!(key, "auth.api_key" | "auth.password");
        let value = match text {
            _ if is_secret => OptionValue::Secret(Secret::new(text.to_owned())),
            "true" | "false" => OptionValue::Bool(text == "true"),
            _ if key == "nodes" => OptionValue::List(text.split(' ').map(str::to_owned).collect()),
            _ => match text.parse() {
                Ok(number) => OptionValue::Int(number),
                Err(_) => OptionValue::Text(text.to_owned()),
            },
        };
        options.set(key, value);
    }
    options
}

fn compile(purpose: Purpose, options: &Options) -> CompiledCall {
    let derived = (ELASTIC.derive)(options).expect("the options are right");
    let credentials = (ELASTIC.auth)(options).unwrap_or_default();
    let call = ELASTIC.call(purpose, options, Format::Ecs).expect("the vendor has it");
    CompiledCall::compile(call, &binding(options, &derived, &credentials)).expect("it compiles")
}

fn binding<'a>(
    options: &'a Options,
    derived: &'a Derived,
    credentials: &'a Credentials,
) -> Binding<'a> {
    let vendor: &'static Vendor = &ELASTIC;
    Binding {
        vendor,
        options,
        derived,
        format: Format::Ecs,
        credentials,
        headers: &[],
        encoding: Encoding::Gzip,
        timeout: std::time::Duration::from_secs(30),
    }
}

#[test]
fn addresses_come_from_nodes_or_a_cloud_id() {
    // base64 of the second part of each Cloud ID stands beside it.
    let cases: Cases<'_, &[&str]> = &[
        (&[], Ok(&["http://localhost:9200/"])),
        (
            &[("nodes", "https://a.example:9200 https://b.example/es")],
            Ok(&["https://a.example:9200/", "https://b.example/es"]),
        ),
        // eu.example$abc$def
        (&[("cloud_id", "label:ZXUuZXhhbXBsZSRhYmMkZGVm")], Ok(&["https://abc.eu.example:443/"])),
        // eu.example:9243$abc$def
        (
            &[("cloud_id", "my:odd:label:ZXUuZXhhbXBsZTo5MjQzJGFiYyRkZWY=")],
            Ok(&["https://abc.eu.example:9243/"]),
        ),
        // eu.example:9243$abc:9244$def
        (
            &[("cloud_id", "label:ZXUuZXhhbXBsZTo5MjQzJGFiYzo5MjQ0JGRlZg==")],
            Ok(&["https://abc.eu.example:9244/"]),
        ),
        // eu.example$abc, and no label
        (&[("cloud_id", "ZXUuZXhhbXBsZSRhYmM=")], Ok(&["https://abc.eu.example:443/"])),
        // The padding was lost in copying.
        (&[("cloud_id", "label:ZXUuZXhhbXBsZSRhYmM")], Ok(&["https://abc.eu.example:443/"])),
        (&[("cloud_id", "label:!!!")], Err("base64")),
        // eu.example
        (&[("cloud_id", "label:ZXUuZXhhbXBsZQ==")], Err("two parts")),
        // eu.example$
        (&[("cloud_id", "label:ZXUuZXhhbXBsZSQ=")], Err("empty part")),
        // eu.example:x$abc
        (&[("cloud_id", "label:ZXUuZXhhbXBsZTp4JGFiYw==")], Err("port")),
        (
            &[("cloud_id", "label:ZXUuZXhhbXBsZSRhYmM="), ("nodes", "http://a:9200")],
            Err("excludes nodes"),
        ),
        (&[("nodes", "a.example:9200")], Err("absolute URLs")),
        (&[("nodes", "https://u:p@a.example")], Err("credentials")),
        (&[("nodes", "https://a.example/?x=1")], Err("query")),
    ];
    for (pairs, expected) in cases {
        let found = (ELASTIC.endpoints)(&options(pairs));
        match (found, expected) {
            (Ok(uris), Ok(expected)) => {
                let uris: Vec<String> = uris.iter().map(ToString::to_string).collect();
                assert_eq!(&uris, expected, "{pairs:?}");
            }
            (Err(problem), Err(word)) => {
                assert!(problem.problem.contains(word), "{pairs:?}: {problem}");
            }
            (found, _) => panic!("{pairs:?}: {found:?}"),
        }
    }
}

#[test]
fn credentials_take_every_form() {
    // aWQ6a2V5 is base64 of id:key, dTpwOnA= of u:p:p.
    let cases: Cases<'_, Option<&str>> = &[
        (&[("auth.api_key", "aWQ6a2V5")], Ok(Some("ApiKey aWQ6a2V5"))),
        (&[("auth.api_key", "id:key")], Ok(Some("ApiKey aWQ6a2V5"))),
        (&[("auth.api_key", "key"), ("auth.api_key_id", "id")], Ok(Some("ApiKey aWQ6a2V5"))),
        (&[("auth.api_key", "essu_AbC")], Ok(Some("ApiKey essu_AbC"))),
        (&[("auth.api_key", "key")], Err("neither the encoded form nor id:key")),
        (&[("auth.username", "u"), ("auth.password", "p:p")], Ok(Some("Basic dTpwOnA="))),
        (&[("auth.username", "u:v"), ("auth.password", "p")], Err("colon")),
        // Not sent as an empty one.
        (&[("auth.username", "u")], Err("required for basic")),
        (&[("auth.type", "none")], Ok(None)),
        (&[("auth.type", "none"), ("auth.api_key", "aWQ6a2V5")], Err("`auth.type: api_key`")),
        (&[("auth.type", "basic"), ("auth.api_key", "aWQ6a2V5")], Err("`auth.type: api_key`")),
        (&[("auth.type", "api_key"), ("auth.username", "u")], Err("`auth.type: basic`")),
        (&[("auth.type", "basic")], Err("required for basic")),
        (&[("auth.type", "api_key")], Err("required for api_key")),
        (&[("auth.api_key", "aWQ6a2V5"), ("auth.username", "u")], Err("keep one")),
        (&[], Err("is required")),
    ];
    for (pairs, expected) in cases {
        match ((ELASTIC.auth)(&options(pairs)), expected) {
            (Ok(headers), Ok(expected)) => {
                let value = headers.first().map(|(name, value)| {
                    assert_eq!(*name, "authorization");
                    value.expose().to_owned()
                });
                assert_eq!(value.as_deref(), *expected, "{pairs:?}");
            }
            (Err(problem), Err(word)) => {
                assert!(problem.problem.contains(word), "{pairs:?}: {problem}");
            }
            (found, _) => panic!("{pairs:?}: {found:?}"),
        }
    }
}

/// Name and mode; then target, name without placeholders and pattern, or a word of the mistake.
type NameCase<'a> = (&'a str, &'a str, Result<(&'a str, &'a str, &'a str), &'a str>);

#[test]
fn names_follow_from_name_and_mode() {
    let cases: &[NameCase<'_>] = &[
        ("sec", "daily", Ok(("sec-{date}", "sec", "sec-*"))),
        ("sec", "alias", Ok(("sec", "sec", "sec-*"))),
        ("logs-ai", "data_stream", Ok(("logs-ai", "logs-ai", "logs-ai"))),
        ("sec-{tenant_id}", "daily", Ok(("sec-{tenant_id}-{date}", "sec", "sec-*-*"))),
        (
            "logs-ai-{tenant_id}.{severity}",
            "data_stream",
            Ok(("logs-ai-{tenant_id}.{severity}", "logs-ai", "logs-ai-*.*")),
        ),
        ("<sec-{now/M}>", "daily", Ok(("<sec-{now/M}>", "sec", "sec-*"))),
        ("<sec-{now/d{yyyy.MM}}>", "daily", Ok(("<sec-{now/d{yyyy.MM}}>", "sec", "sec-*"))),
        ("sec-{tenant_id}", "alias", Err("placeholders")),
        ("{tenant_id}", "daily", Err("begin with a fixed text")),
        ("-sec", "daily", Err("none of - _ +")),
        ("Sec", "daily", Err("lower case")),
        ("..", "data_stream", Err("dots")),
        ("a b", "daily", Err("' '")),
        ("a/b", "daily", Err("'/'")),
        ("a{b", "daily", Err("brace")),
        ("a}b", "daily", Err("brace")),
    ];
    for (name, mode, expected) in cases {
        let options = options(&[("index.name", name), ("index.mode", mode)]);
        match ((ELASTIC.derive)(&options), expected) {
            (Ok(derived), Ok((target, base, caught))) => {
                let text = |key| derived.texts.iter().find(|(k, _)| *k == key).map(|(_, t)| t);
                assert_eq!(text("index").map(String::as_str), Some(*target), "{name}");
                assert_eq!(text("name").map(String::as_str), Some(*base), "{name}");
                let template = template_of(&options);
                assert_eq!(template["index_patterns"], json!([caught]), "{name}");
            }
            (Err(problem), Err(word)) => {
                assert!(problem.problem.contains(word), "{name}: {problem}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
    let long = "x".repeat(250);
    let problem = (ELASTIC.derive)(&options(&[("index.name", &long)])).expect_err("too long");
    assert!(problem.problem.contains("255"), "{problem}");
}

#[test]
fn a_data_stream_can_only_be_required_of_a_data_stream() {
    let problem = (ELASTIC.derive)(&options(&[("index.require_data_stream", "true")]));
    assert_eq!(problem.expect_err("daily").key, "index.require_data_stream");
}

/// "Data stream timestamp field [@timestamp] is missing" is what each document would be told.
#[test]
fn a_data_stream_takes_documents_with_its_time_alone() {
    for (mode, format, is_right) in [
        ("data_stream", "ecs", true),
        ("data_stream", "native", false),
        ("data_stream", "ocsf", false),
        ("daily", "native", true),
        ("alias", "ocsf", true),
    ] {
        match (ELASTIC.derive)(&options(&[("index.mode", mode), ("format", format)])) {
            Ok(_) => assert!(is_right, "{mode} {format}"),
            Err(problem) => {
                assert!(!is_right && problem.key == "index.mode", "{mode} {format}: {problem}");
                assert!(problem.problem.contains("@timestamp"), "{problem}");
            }
        }
    }
}

/// Whatever stands in a label, metadata or what OCSF has no place for: no name makes it a date, an
/// address or one more field of an index that takes 1,000.
#[test]
fn what_producers_name_is_no_field_of_its_own() {
    for (format, free) in [
        ("ecs", &["labels", "clawdstrike.metadata"][..]),
        ("native", &["labels", "metadata"]),
        ("ocsf", &["unmapped", "enrichments"]),
    ] {
        let template = template_of(&defaults(&[("format", format)]));
        let mappings = &template["template"]["mappings"];
        assert_eq!(mappings["date_detection"], false, "{format}");
        for path in free {
            let pointer = format!("/properties/{}", path.replace('.', "/properties/"));
            let kind = mappings.pointer(&pointer).map(|field| &field["type"]);
            assert_eq!(kind, Some(&json!("flattened")), "{format}: {path}");
        }
        // Its rules go by the last word of a name, in whatever document.
        let is_ecs = format == "ecs";
        assert_eq!(template.get("composed_of").is_some(), is_ecs, "{format}");
        assert_eq!(mappings.get("dynamic_templates").is_some(), !is_ecs, "{format}");
    }
}

#[test]
fn an_alias_is_never_made_an_index() {
    for (mode, is_asked) in [("alias", true), ("daily", false), ("data_stream", false)] {
        let call = compile(Purpose::Send, &options(&[("index.mode", mode)]));
        let path = call.carrying(VIA, Bytes::new()).path;
        assert_eq!(path.ends_with("&require_alias=true"), is_asked, "{path}");
    }
}

#[test]
fn a_bulk_request_says_what_it_needs() {
    let plain = compile(Purpose::Send, &options(&[("auth.api_key", "aWQ6a2V5")]));
    let request = plain.carrying(VIA, Bytes::from_static(b"body"));
    let filter = "took,errors,items.*.status,items.*.error.type,items.*.error.reason,\
                  items.*.failure_store";
    assert_eq!(request.path, format!("/_bulk?filter_path={filter}"));
    assert_eq!(request.method, http::Method::POST);
    assert_eq!(request.headers["content-type"], "application/x-ndjson");
    assert_eq!(request.headers["content-encoding"], "gzip");
    assert_eq!(request.headers["authorization"], "ApiKey aWQ6a2V5");
    assert!(request.headers["authorization"].is_sensitive());
    assert!(!format!("{request:?}").contains("aWQ6a2V5"), "a secret is never printed");

    let more = compile(
        Purpose::Send,
        &options(&[
            ("index.pipeline", "geo & more"),
            ("index.mode", "data_stream"),
            ("index.require_data_stream", "true"),
        ]),
    );
    let path = more.carrying(VIA, Bytes::new()).path;
    assert!(path.ends_with("&pipeline=geo%20%26%20more&require_data_stream=true"), "{path}");
}

/// What a cluster answers during preparation: path, status, body.
type Script<'a> = &'a [(&'a str, u16, &'a str)];

/// Runs the steps against a script; what was asked for, and how it ended.
fn prepare(options: &Options, script: Script<'_>) -> (Vec<String>, Setup, Vec<Value>) {
    let derived = (ELASTIC.derive)(options).expect("the options are right");
    let credentials = Credentials::new();
    let mut setup = Setup::compile(&binding(options, &derived, &credentials)).expect("compiles");
    let (mut asked, mut bodies) = (Vec::new(), Vec::new());
    while let Some(request) = setup.poll(VIA) {
        let line = format!("{} {}", request.method, request.path);
        let at = asked.len();
        let &(expected, status, body) =
            script.get(at).unwrap_or_else(|| panic!("nothing scripted for {line}"));
        assert_eq!(line, expected, "request {at}");
        asked.push(line);
        if !request.body.is_empty() {
            bodies.push(serde_json::from_slice(&request.body).expect("bodies are JSON"));
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        setup.on_answer(&Answer { status, headers: HeaderMap::new(), body }, options);
    }
    assert_eq!(asked.len(), script.len(), "everything scripted was asked for: {asked:?}");
    (asked, setup, bodies)
}

fn defaults(more: &[(&'static str, &str)]) -> Options {
    let mut pairs = vec![
        ("init.enabled", "true"),
        ("index.ilm", "true"),
        ("index.ilm_policy", "clawdstrike-policy"),
        ("index.name", "sec"),
        ("index.mode", "daily"),
    ];
    pairs.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    pairs.extend_from_slice(more);
    options(&pairs)
}

/// The template that an empty cluster is given.
fn template_of(options: &Options) -> Value {
    let mut options = options.clone();
    options.set("init.enabled", OptionValue::Bool(true));
    let derived = (ELASTIC.derive)(&options).expect("the options are right");
    let credentials = Credentials::new();
    let mut setup = Setup::compile(&binding(&options, &derived, &credentials)).expect("compiles");
    while let Some(request) = setup.poll(VIA) {
        let is_put = request.method == http::Method::PUT;
        if is_put && request.path.starts_with("/_index_template/") {
            return serde_json::from_slice(&request.body).expect("the template is JSON");
        }
        let status = if is_put { 200 } else { 404 };
        let answer = Answer { status, headers: HeaderMap::new(), body: Bytes::new() };
        setup.on_answer(&answer, &options);
    }
    panic!("no template was put");
}

const LOOK_POLICY: &str = "GET /_ilm/policy/clawdstrike-policy";
const PUT_POLICY: &str = "PUT /_ilm/policy/clawdstrike-policy";
const LOOK_TEMPLATE: &str = "GET /_index_template/sec-template";
const PUT_TEMPLATE: &str = "PUT /_index_template/sec-template";

#[test]
fn an_empty_cluster_is_prepared() {
    let (_, setup, bodies) = prepare(
        &defaults(&[]),
        &[
            (LOOK_POLICY, 404, r#"{"error":{"type":"resource_not_found_exception"},"status":404}"#),
            (PUT_POLICY, 200, r#"{"acknowledged":true}"#),
            (
                LOOK_TEMPLATE,
                404,
                r#"{"error":{"type":"resource_not_found_exception"},"status":404}"#,
            ),
            (PUT_TEMPLATE, 200, r#"{"acknowledged":true}"#),
        ],
    );
    assert_eq!(setup.prepared().changes, ["lifecycle policy", "index template"]);
    assert!(!setup.prepared().is_degraded());
    let phases = &bodies[0]["policy"]["phases"];
    assert_eq!(phases["hot"]["actions"], json!({"set_priority": {"priority": 100}}));
    assert_eq!(phases["warm"]["min_age"], "7d");
    assert_eq!(phases["cold"]["actions"], json!({"set_priority": {"priority": 0}}));
    assert_eq!(phases["delete"]["min_age"], "90d");
    assert_eq!(bodies[0]["policy"]["_meta"]["managed_by"], "shrike");
    let template = &bodies[1];
    assert_eq!(template["priority"], 200);
    assert_eq!(template["composed_of"], json!(["ecs@mappings"]));
    assert_eq!(template["ignore_missing_component_templates"], json!(["ecs@mappings"]));
    let settings = &template["template"]["settings"]["index"];
    assert_eq!(settings["lifecycle"], json!({"name": "clawdstrike-policy"}));
    let properties = &template["template"]["mappings"]["properties"];
    assert_eq!(properties["message"]["type"], "match_only_text");
    assert_eq!(properties["event"]["properties"]["original"]["index"], false);
    assert_eq!(properties["process"]["properties"]["command_line"]["type"], "wildcard");
    let metadata = &properties["clawdstrike"]["properties"]["metadata"];
    let flattened = json!({"type": "flattened", "ignore_above": 8191, "depth_limit": 150});
    assert_eq!(*metadata, flattened, "metadata may be as deep as events");
}

#[test]
fn two_exporters_do_not_prepare_different_things_under_one_name() {
    let refusal = |b: &str| {
        let text = format!(
            "exporters:\n  a: {{type: elastic, nodes: ['http://localhost:9200'], auth: {{type: \
             none}}}}\n  b: {{type: elastic, auth: {{type: none}}, {b}}}\n"
        );
        let text = Text::File { name: "c.yaml".to_owned(), text: text.into() };
        let config = Config::load(&text, &Flags::default(), shrike::vendors::ALL, &System);
        config.map_or_else(|error| error.to_string(), |_| String::new())
    };
    for (b, expected) in [
        ("index: {name: x}", ""),
        ("index: {name: clawdstrike-security}", ""),
        ("index: {name: x, mode: alias, ilm_policy: other}", ""),
        ("index: {name: x, mode: alias, ilm: false}", ""),
        ("index: {mode: alias}, init: {enabled: false}", ""),
        ("index: {mode: alias}, nodes: ['http://localhost:9201']", ""),
        (
            "index: {name: x, mode: alias}",
            "c.yaml:3:3: exporters.b.index.ilm_policy: the lifecycle policy of \
             `clawdstrike-policy` is also prepared by exporter `a` at the same place",
        ),
        (
            "index: {shards: 3}",
            "c.yaml:3:3: exporters.b.index.name: the index template of `clawdstrike-security` is \
             also prepared by exporter `a`",
        ),
    ] {
        let found = refusal(b);
        assert!(
            found.contains(expected) && found.is_empty() == expected.is_empty(),
            "{b}: {found}"
        );
    }
}

#[test]
fn preparing_again_changes_nothing() {
    let options = defaults(&[("index.mode", "alias")]);
    let (_, _, bodies) = prepare(
        &options,
        &[
            (LOOK_POLICY, 404, ""),
            (PUT_POLICY, 200, ""),
            (LOOK_TEMPLATE, 404, ""),
            (PUT_TEMPLATE, 200, ""),
            ("GET /_alias/sec", 404, ""),
            ("PUT /sec-000001", 200, ""),
        ],
    );
    let rollover = &bodies[0]["policy"]["phases"]["hot"]["actions"]["rollover"];
    assert_eq!(*rollover, json!({"max_age": "1d", "max_primary_shard_size": "50gb"}));
    let lifecycle = &bodies[1]["template"]["settings"]["index"]["lifecycle"];
    assert_eq!(lifecycle["rollover_alias"], "sec");
    assert_eq!(bodies[2], json!({"aliases": {"sec": {"is_write_index": true}}}));

    // The cluster fills in defaults of its own.
    let mut policy = bodies[0]["policy"].clone();
    policy["phases"]["delete"]["actions"]["delete"]["delete_searchable_snapshot"] = json!(true);
    let policy = json!({"clawdstrike-policy": {"version": 1, "policy": policy}}).to_string();
    let template = json!({"index_templates": [{"index_template": bodies[1]}]}).to_string();
    let alias = json!({"sec-000001": {"aliases": {"sec": {"is_write_index": true}}}}).to_string();
    let (_, setup, _) = prepare(
        &options,
        &[
            (LOOK_POLICY, 200, &policy),
            (LOOK_TEMPLATE, 200, &template),
            ("GET /_alias/sec", 200, &alias),
        ],
    );
    assert_eq!(setup.prepared(), &Default::default());
}

#[test]
fn what_a_person_changed_is_left_alone() {
    let ours = |managed_by: &str, digest: &str, warm: &str| {
        json!({"clawdstrike-policy": {"policy": {
            "_meta": {"managed_by": managed_by, "digest": digest},
            "phases": {"warm": {"min_age": warm}},
        }}})
        .to_string()
    };
    let (_, _, bodies) = prepare(
        &defaults(&[]),
        &[(LOOK_POLICY, 404, ""), (PUT_POLICY, 200, ""), (LOOK_TEMPLATE, 410, "")],
    );
    let digest = bodies[0]["policy"]["_meta"]["digest"].as_str().expect("a digest");

    // Somebody's own, or ours with another content under our digest: left.
    for policy in [ours("ops", "", "1d"), ours("shrike", digest, "1d")] {
        let (_, setup, _) =
            prepare(&defaults(&[]), &[(LOOK_POLICY, 200, &policy), (LOOK_TEMPLATE, 410, "")]);
        assert_eq!(setup.prepared().changes, Vec::<String>::new());
        assert!(setup.prepared().notes[0].contains("init.overwrite"), "{:?}", setup.prepared());
        assert!(!setup.prepared().is_degraded());
    }
    // Ours of an older version, which nobody changed, or told to overwrite: replaced.
    let older = json!({"phases": {"warm": {"min_age": "1d"}}}).to_string();
    let older: String = Sha256::digest(older)[..8].iter().map(|it| format!("{it:02x}")).collect();
    let cases = [(ours("shrike", &older, "1d"), "false"), (ours("ops", "", "1d"), "true")];
    for (policy, overwrite) in cases {
        let (_, setup, _) = prepare(
            &defaults(&[("init.overwrite", overwrite)]),
            &[(LOOK_POLICY, 200, &policy), (PUT_POLICY, 200, ""), (LOOK_TEMPLATE, 410, "")],
        );
        assert_eq!(setup.prepared().changes, ["lifecycle policy"]);
    }
}

/// A lifecycle that somebody made longer, and another mode since: to overwrite it would delete.
#[test]
fn what_a_person_changed_is_left_alone_though_the_configuration_changed_too() {
    let missing =
        [(LOOK_POLICY, 404, ""), (PUT_POLICY, 200, ""), (LOOK_TEMPLATE, 410, "")].as_slice();
    let (_, _, bodies) = prepare(&defaults(&[]), missing);
    let answer = |delete: &str| {
        let mut policy = bodies[0]["policy"].clone();
        let phases = &mut policy["phases"];
        phases["delete"]["min_age"] = json!(delete);
        // The cluster fills in defaults of its own.
        phases["delete"]["actions"]["delete"]["delete_searchable_snapshot"] = json!(true);
        phases["warm"]["actions"]["shrink"]["allow_write_after_shrink"] = json!(false);
        json!({"clawdstrike-policy": {"version": 2, "policy": policy}}).to_string()
    };
    let other = defaults(&[("index.mode", "data_stream")]);

    let longer = answer("365d");
    let (_, setup, _) = prepare(&other, &[(LOOK_POLICY, 200, &longer), (LOOK_TEMPLATE, 410, "")]);
    assert_eq!(setup.prepared().changes, Vec::<String>::new());
    assert!(setup.prepared().notes[0].contains("init.overwrite"), "{:?}", setup.prepared());

    let as_it_was = answer("90d");
    let (_, setup, _) = prepare(
        &other,
        &[(LOOK_POLICY, 200, &as_it_was), (PUT_POLICY, 200, ""), (LOOK_TEMPLATE, 410, "")],
    );
    assert_eq!(setup.prepared().changes, ["lifecycle policy"]);
}

/// "Policy WITHOUT rollover" for an index a day (`elastic.md`, Index strategy): lifecycle would stop
/// at every one of them, and nothing would ever be deleted.
#[test]
fn a_rollover_is_taken_out_where_an_index_a_day_follows() {
    let missing = [(LOOK_POLICY, 404, ""), (PUT_POLICY, 200, ""), (LOOK_TEMPLATE, 410, "")];
    let (_, _, bodies) = prepare(&defaults(&[("index.mode", "data_stream")]), &missing);
    let policy = json!({"clawdstrike-policy": {"policy": bodies[0]["policy"]}}).to_string();
    let found = [(LOOK_POLICY, 200, &*policy), (PUT_POLICY, 200, ""), (LOOK_TEMPLATE, 410, "")];
    let (_, setup, bodies) = prepare(&defaults(&[]), &found);
    assert_eq!(setup.prepared().changes, ["lifecycle policy"]);
    assert_eq!(bodies[0]["policy"]["phases"]["hot"]["actions"].get("rollover"), None);
}

#[test]
fn serverless_projects_have_no_lifecycle_and_no_shards() {
    let refused = r#"{"error":{"type":"illegal_argument_exception",
        "reason":"Settings [index.number_of_shards] are not available in serverless mode"}}"#;
    let (_, setup, bodies) = prepare(
        &defaults(&[("index.mode", "data_stream")]),
        &[
            (LOOK_POLICY, 410, r#"{"error":{"type":"api_not_available_exception"},"status":410}"#),
            (LOOK_TEMPLATE, 404, ""),
            (PUT_TEMPLATE, 400, refused),
            (PUT_TEMPLATE, 200, ""),
        ],
    );
    assert!(!setup.prepared().is_degraded(), "{:?}", setup.prepared());
    assert!(bodies[0]["template"]["settings"].is_object());
    assert!(bodies[1]["template"].get("settings").is_none());
    assert_eq!(bodies[1]["data_stream"], json!({}));
    // And where only the writing is refused as unknown.
    let (_, setup, _) = prepare(
        &defaults(&[]),
        &[(LOOK_POLICY, 404, ""), (PUT_POLICY, 404, ""), (LOOK_TEMPLATE, 410, "")],
    );
    assert!(!setup.prepared().is_degraded());
}

/// Another process may have been quicker, which another look tells; where it was not, the alias is
/// still missing.
#[test]
fn a_first_index_that_is_there_without_its_alias_is_looked_at_again() {
    let exists = r#"{"error":{"type":"resource_already_exists_exception",
        "reason":"index [sec-000001] already exists"},"status":400}"#;
    let (_, mut setup, _) = prepare(
        &defaults(&[("index.mode", "alias"), ("index.ilm", "false")]),
        &[(LOOK_TEMPLATE, 410, ""), ("GET /_alias/sec", 404, ""), ("PUT /sec-000001", 400, exists)],
    );
    let prepared = setup.prepared();
    assert!(prepared.is_degraded() && prepared.again, "{prepared:?}");
    assert!(prepared.failures[0].contains("is_write_index"), "{prepared:?}");
    setup.restart();
    assert!(setup.poll(VIA).is_some());
}

#[test]
fn an_alias_that_takes_no_writes_is_told() {
    let alias = |marks: &[Option<bool>]| {
        let index = |(at, mark): (usize, &Option<bool>)| {
            let alias = mark.map_or_else(|| json!({}), |mark| json!({"is_write_index": mark}));
            (format!("sec-00000{at}"), json!({"aliases": {"sec": alias}}))
        };
        Value::Object(marks.iter().enumerate().map(index).collect()).to_string()
    };
    for (marks, is_right) in [
        (&[None][..], true),
        (&[Some(true)], true),
        (&[Some(false)], false),
        (&[Some(false), Some(true)], true),
        (&[None, None], false),
        (&[Some(false), None], false),
    ] {
        let (_, setup, _) = prepare(
            &defaults(&[("index.mode", "alias"), ("index.ilm", "false")]),
            &[(LOOK_TEMPLATE, 410, ""), ("GET /_alias/sec", 200, &alias(marks))],
        );
        let prepared = setup.prepared();
        assert_eq!(prepared.is_degraded(), !is_right, "{marks:?}: {prepared:?}");
        let is_told = |failure: &String| failure.contains("is_write_index");
        assert!(is_right || prepared.failures.iter().all(is_told), "{prepared:?}");
    }
}

#[test]
fn failures_degrade_and_the_rest_goes_on() {
    let refused = r#"{"error":{"type":"security_exception",
        "reason":"action [cluster:admin/ilm/get] is unauthorized"},"status":403}"#;
    let (_, setup, _) = prepare(
        &defaults(&[]),
        &[(LOOK_POLICY, 403, refused), (LOOK_TEMPLATE, 404, ""), (PUT_TEMPLATE, 200, "")],
    );
    let prepared = setup.prepared();
    assert!(prepared.is_degraded() && !prepared.again);
    assert!(prepared.failures[0].contains("lifecycle policy"), "{prepared:?}");
    assert!(prepared.failures[0].contains("unauthorized"), "{prepared:?}");
    assert_eq!(prepared.changes, ["index template"]);
}

#[test]
fn a_cluster_that_is_away_is_asked_again_later() {
    let (_, setup, _) = prepare(&defaults(&[]), &[(LOOK_POLICY, 503, "")]);
    assert!(setup.prepared().again && setup.prepared().is_degraded());
    let mut setup = setup;
    setup.restart();
    assert!(setup.poll(VIA).is_some() && !setup.prepared().again);
}

#[test]
fn nothing_is_prepared_where_that_is_switched_off() {
    let (asked, _, _) = prepare(&defaults(&[("init.enabled", "false")]), &[]);
    assert_eq!(asked, Vec::<String>::new());
}

#[test]
fn every_field_of_a_document_is_mapped() {
    let template = template_of(&defaults(&[]));
    let mut mapped = BTreeSet::new();
    leaves(&template["template"]["mappings"], "", &mut mapped);
    let mut missing = BTreeSet::new();
    for file in ["kinds.jsonl", "samples.jsonl"] {
        let path = format!("{}/tests/golden/ecs/{file}", env!("CARGO_MANIFEST_DIR"));
        for line in std::fs::read_to_string(path).expect("the golden file is there").lines() {
            let document: Value = serde_json::from_str(line).expect("golden documents are JSON");
            fields(&document, "", &mapped, &mut missing);
        }
    }
    assert!(missing.is_empty(), "fields without a mapping: {missing:?}");
}

fn leaves(mapping: &Value, path: &str, out: &mut BTreeSet<String>) {
    let Some(properties) = mapping["properties"].as_object() else {
        out.insert(path.to_owned());
        return;
    };
    for (name, inner) in properties {
        let dot = if path.is_empty() { "" } else { "." };
        leaves(inner, &format!("{path}{dot}{name}"), out);
    }
}

fn fields(value: &Value, path: &str, mapped: &BTreeSet<String>, out: &mut BTreeSet<String>) {
    if mapped.contains(path) {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                let dot = if path.is_empty() { "" } else { "." };
                fields(inner, &format!("{path}{dot}{name}"), mapped, out);
            }
        }
        _ => {
            out.insert(path.to_owned());
        }
    }
}

/// "Keys in [flattened] fields cannot contain the reserved character \0": whoever names a member so
/// would keep an event from this destination.
#[test]
fn no_name_in_metadata_and_labels_has_a_nul() {
    let opening = Opening::new(&OpeningOptions::default());
    let sample = include_str!("fixtures/security-events.jsonl").lines().next().expect("a sample");
    let mut record: Value = serde_json::from_str(sample).expect("samples are JSON");
    record["metadata"] = json!({"a\0": {"b\0": ["c\0", {"d\0\0": 1}]}});
    record["labels"] = json!({"e\0.f": "g\0", "plain": "text"});
    let (record, frame) = (record.to_string(), Frame::default());
    for format in ["ecs", "native", "ocsf"] {
        let text = format!(
            "exporters: {{elastic: {{nodes: ['http://127.0.0.1:1'], auth: {{type: none}}, format: {format}}}}}"
        );
        let text = Text::File { name: "test".to_owned(), text: text.into() };
        let config = Config::load(&text, &Flags::default(), vendors::ALL, &System);
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        let options = config.engine_options(&Host::default());
        let mut render = Render::new(&options.exporters[0]).expect("it compiles");
        let (mut arena, mut opened, mut out) = (Vec::new(), Opened::default(), Vec::new());
        opening.begin(&mut arena);
        opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("an event");
        assert!(render.event(&Event::new(&opened, frame, record.as_bytes(), &arena), 0, &mut out));
        let body = String::from_utf8(out).expect("UTF-8");
        let document: Value = serde_json::from_str(body.lines().nth(1).expect("two lines"))
            .unwrap_or_else(|error| panic!("{error}: {body}"));
        let mut names = Vec::new();
        named(&document, &mut names);
        assert!(names.iter().all(|name| !name.contains('\0')), "{body}");
        assert!(names.iter().any(|name| name == "d\u{fffd}\u{fffd}"), "{body}");
        assert!(body.contains("\"c\\u0000\"") && body.contains("plain"), "{body}");
    }
}

fn named(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            names.extend(members.keys().cloned());
            members.values().for_each(|inner| named(inner, names));
        }
        Value::Array(elements) => elements.iter().for_each(|inner| named(inner, names)),
        _ => {}
    }
}
