//! The fake Elasticsearch against hand-written requests, good and bad.

use std::io::Write as _;

use crate::client::{Answer, Headers, elastic, options, send};
use loadgen::fake::{Auth, Fake};
use loadgen::generate::Stream;
use loadgen::id::EventId;

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");
const STATUS_ONLY: &str = "POST /_bulk?filter_path=errors,items.*.status,items.*.error.type";

fn fake(script: &str) -> Fake {
    elastic(options(script), Auth::Anybody)
}

fn bulk(fake: &Fake, body: &[u8]) -> Answer {
    send(fake, STATUS_ONLY, &[NDJSON], body).expect("an answer")
}

fn id(sequence: u64) -> String {
    EventId { sequence, scheduled_ns: 1_795_191_846_000_000_000, run: 1 }.text()
}

fn item(index: &str, id: &str, document: &str) -> String {
    format!("{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"{id}\"}}}}\n{document}\n")
}

const DOCUMENT: &str = "{\"@timestamp\":\"2026-02-06T09:00:00.123456789Z\",\"message\":\"x\"}";

#[test]
fn a_good_body_is_stored_once_and_a_known_id_is_a_conflict() {
    let fake = fake("");
    let body: String = (0..3).map(|number| item("logs", &id(number), DOCUMENT)).collect();
    let first = bulk(&fake, body.as_bytes());
    assert_eq!(first.status, 200);
    let created = "{\"create\":{\"status\":201}}";
    let expected = format!("{{\"errors\":false,\"items\":[{created},{created},{created}]}}");
    assert_eq!(first.body, expected);
    assert!(first.head.to_lowercase().contains("x-elastic-product: elasticsearch"));
    let again = bulk(&fake, item("logs", &id(1), DOCUMENT).as_bytes()).json();
    assert_eq!(again["items"][0]["create"]["status"], 409);
    assert_eq!(again["items"][0]["create"]["error"]["type"], "version_conflict_engine_exception");
    // Another index does not know the id: there it is a second copy.
    let elsewhere = bulk(&fake, item("logs-2", &id(1), DOCUMENT).as_bytes()).json();
    assert_eq!(elsewhere["errors"], false);
    let report = fake.report();
    assert_eq!((report.events, report.conflicts, report.problems.len()), (4, 1, 0));
    let times: Vec<_> = report.spans.iter().map(|span| (span.from, span.times)).collect();
    assert_eq!(times, [(0, 1), (1, 2), (2, 1)]);
}

#[test]
fn a_bad_body_is_refused_whole() {
    let good = item("logs", &id(0), DOCUMENT);
    let cases: &[(&str, String, &str)] = &[
        ("no final newline", good.trim_end().to_owned(), "must be terminated by a newline"),
        ("empty", String::new(), "request body is required"),
        ("only newlines", "\n\n".to_owned(), "no requests added"),
        ("no document", "{\"create\":{\"_index\":\"a\"}}\n".to_owned(), "terminated by a newline"),
        ("a list", format!("[]\n{DOCUMENT}\n"), "expected START_OBJECT but found [START_ARRAY]"),
        ("another action", format!("{{\"upsert\":{{}}}}\n{DOCUMENT}\n"), "but found [upsert]"),
        ("an unknown key", good.replace("\"_id\"", "\"id\""), "contains an unknown parameter [id]"),
        ("no index", good.replace("\"_index\":\"logs\",", ""), "index is missing"),
        ("a long id", item("logs", &"x".repeat(513), DOCUMENT), "no longer than 512 bytes"),
        ("a torn line", format!("{{\"create\":\n{DOCUMENT}\n"), "x_content_parse_exception"),
        // A raw newline inside a document makes its second half an action line.
        ("a raw newline", item("logs", &id(1), "{\"a\":\n1}") + &good, "x_content_parse_exception"),
        ("a value as parameter", good.replace("\"logs\"", "[1]"), "expected a simple value"),
    ];
    for (name, body, part) in cases {
        let fake = fake("");
        let answer = bulk(&fake, body.as_bytes());
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert!(answer.body.contains(part), "{name}: {answer:?}");
        let report = fake.report();
        assert!(report.events == 0 && !report.problems.is_empty(), "{name}: {report:?}");
    }
}

#[test]
fn a_bad_item_is_refused_alone() {
    let cases: &[(&str, String, &str)] = &[
        ("an upper case index", item("Logs", &id(1), DOCUMENT), "invalid_index_name_exception"),
        ("an index with a blank", item("lo gs", &id(1), DOCUMENT), "invalid_index_name_exception"),
        ("no object", item("logs", &id(1), "[1]"), "document_parsing_exception"),
        ("two objects", item("logs", &id(1), "{}{}"), "document_parsing_exception"),
        (
            "a duplicate key",
            item("logs", &id(1), "{\"a\":1,\"a\":2}"),
            "document_parsing_exception",
        ),
        (
            "a lone surrogate",
            item("logs", &id(1), "{\"a\":\"\\ud83d\"}"),
            "document_parsing_exception",
        ),
        ("a raw tab", item("logs", &id(1), "{\"a\":\"\t\"}"), "document_parsing_exception"),
        (
            "a bad time",
            item("logs", &id(1), "{\"@timestamp\":\"now\"}"),
            "document_parsing_exception",
        ),
        ("an empty field name", item("logs", &id(1), "{\"\":1}"), "document_parsing_exception"),
        ("a dotted edge", item("logs", &id(1), "{\"a.\":1}"), "document_parsing_exception"),
        ("a metadata field", item("logs", &id(1), "{\"_id\":1}"), "document_parsing_exception"),
        ("an empty id", item("logs", "", DOCUMENT), "illegal_argument_exception"),
    ];
    for (name, bad, kind) in cases {
        let fake = fake("");
        let body = item("logs", &id(0), DOCUMENT) + bad + &item("logs", &id(2), DOCUMENT);
        let answer = bulk(&fake, body.as_bytes()).json();
        let items = answer["items"].as_array().expect("items");
        let statuses: Vec<_> = items.iter().map(|item| &item["create"]["status"]).collect();
        assert_eq!(statuses, [201, 400, 201], "{name}");
        assert_eq!(items[1]["create"]["error"]["type"], *kind, "{name}");
        assert_eq!(answer["errors"], true);
        let report = fake.report();
        assert!(report.refused == 1 && !report.problems.is_empty(), "{name}: {report:?}");
    }
}

#[test]
fn headers_and_parameters_are_checked() {
    let body = item("logs", &id(0), DOCUMENT);
    let line = "POST /_bulk";
    let cases: &[(&str, Headers<'_>, u16)] = &[
        (line, &[NDJSON], 200),
        (line, &[("Content-Type", "application/json; charset=UTF-8")], 200),
        (line, &[], 406),
        (line, &[("Content-Type", "text/plain")], 406),
        ("POST /_bulk?colour=red", &[NDJSON], 400),
        ("POST /_bulk?require_data_stream=maybe", &[NDJSON], 400),
        ("POST /_bulk?pipeline=p&refresh=false", &[NDJSON], 200),
        ("GET /_bulk", &[NDJSON], 405),
        ("POST /logs/_bulk", &[NDJSON], 200),
        (line, &[NDJSON, ("Content-Encoding", "zstd")], 400),
        (line, &[NDJSON, ("Content-Encoding", "gzip")], 400),
        ("POST /nothing/here", &[NDJSON], 400),
    ];
    for (line, headers, status) in cases {
        let answer = send(&fake(""), line, headers, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, *status, "{line} {headers:?}: {answer:?}");
    }
}

#[test]
fn credentials_are_checked() {
    let key = Auth::ApiKey { pair: "id:key".to_owned() };
    let basic = Auth::Basic { pair: "elastic:changeme".to_owned() };
    // base64 of "id:key", ":key" and "elastic:changeme".
    let cases: &[(&Auth, &str, u16)] = &[
        (&key, "ApiKey aWQ6a2V5", 200),
        (&key, "apikey aWQ6a2V5", 200),
        (&key, "ApiKey OmtleQ==", 401),
        (&key, "ApiKey id:key", 401),
        (&key, "Bearer aWQ6a2V5", 401),
        (&key, "", 401),
        (&basic, "Basic ZWxhc3RpYzpjaGFuZ2VtZQ==", 200),
        (&basic, "ApiKey ZWxhc3RpYzpjaGFuZ2VtZQ==", 401),
    ];
    for (auth, header, status) in cases {
        let fake = elastic(options(""), (*auth).clone());
        let headers = [NDJSON, ("Authorization", header)];
        let body = item("logs", &id(0), DOCUMENT);
        let answer = send(&fake, STATUS_ONLY, &headers, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, *status, "{header}");
        assert_eq!(answer.head.to_lowercase().contains("www-authenticate"), *status == 401);
    }
}

#[test]
fn data_streams_take_only_create_with_a_time() {
    let fake = fake("");
    let template = "{\"index_patterns\":[\"logs-*\"],\"data_stream\":{},\"priority\":200}";
    let put = "PUT /_index_template/logs-template";
    let json = ("Content-Type", "application/json");
    let answer = send(&fake, put, &[json], template.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    let index = item("logs-a", &id(2), DOCUMENT).replace("create", "index");
    let body = item("logs-a", &id(0), DOCUMENT) + &item("logs-a", &id(1), "{}") + &index;
    let answer = bulk(&fake, body.as_bytes()).json();
    assert_eq!(answer["items"][0]["create"]["status"], 201);
    assert_eq!(answer["items"][1]["create"]["status"], 400);
    assert_eq!(answer["items"][2]["index"]["status"], 400);
    let line = "POST /_bulk?require_data_stream=true";
    let answer = send(&fake, line, &[NDJSON], item("other", &id(3), DOCUMENT).as_bytes());
    let answer = answer.expect("an answer").json();
    assert_eq!(answer["items"][0]["create"]["status"], 404);
}

#[test]
fn a_flattened_field_takes_any_key() {
    let fake = fake("");
    let template = "{\"index_patterns\":[\"logs*\"],\"template\":{\"mappings\":{\"properties\":\
        {\"shop\":{\"properties\":{\"meta\":{\"type\":\"flattened\"}}}}}}}";
    let json = ("Content-Type", "application/json");
    let put = send(&fake, "PUT /_index_template/t", &[json], template.as_bytes());
    assert_eq!(put.expect("an answer").status, 200);
    let inside = item("logs", &id(0), "{\"shop\":{\"meta\":{\"\":{\".\":1}}}}");
    let outside = item("logs", &id(1), "{\"shop\":{\"other\":{\"\":1}}}");
    let answer = bulk(&fake, (inside + &outside).as_bytes()).json();
    assert_eq!(answer["items"][0]["create"]["status"], 201);
    assert_eq!(answer["items"][1]["create"]["status"], 400);
}

/// The first value of a name decides its type; where no template says otherwise.
#[test]
fn a_value_of_another_type_refuses_its_document() {
    let template = |mappings: &str| {
        format!(
            "{{\"index_patterns\":[\"logs*\"],\"composed_of\":[\"ecs@mappings\"],\
             \"ignore_missing_component_templates\":[\"ecs@mappings\"],\
             \"template\":{{\"mappings\":{{{mappings}}}}}}}"
        )
    };
    let object = "\"properties\":{\"labels\":{\"type\":\"object\"}}";
    let flat = "\"properties\":{\"labels\":{\"type\":\"flattened\"}}";
    let dateless = "\"date_detection\":false";
    let cases: &[(&str, &str, &str, [u16; 2])] = &[
        (object, r#"{"labels":{"ip":"10.0.0.1"}}"#, r#"{"labels":{"ip":"me"}}"#, [201, 400]),
        (flat, r#"{"labels":{"ip":"10.0.0.1"}}"#, r#"{"labels":{"ip":"me"}}"#, [201, 201]),
        (object, r#"{"labels":{"v":"2026-03-01"}}"#, r#"{"labels":{"v":"v2"}}"#, [201, 400]),
        (dateless, r#"{"v":"2026-03-01"}"#, r#"{"v":"v2"}"#, [201, 201]),
        ("", r#"{"a":1}"#, r#"{"a":"one"}"#, [201, 400]),
        ("", r#"{"a":"one"}"#, r#"{"a":1}"#, [201, 201]),
        ("", r#"{"a":{"b":1}}"#, r#"{"a":1}"#, [201, 400]),
        ("", r#"{"a":1}"#, r#"{"a":{"b":1}}"#, [201, 400]),
        ("", r#"{"a":[{"b":1}]}"#, r#"{"a":null}"#, [201, 201]),
    ];
    for (mappings, first, second, expected) in cases {
        let fake = fake("");
        let json = ("Content-Type", "application/json");
        let put = send(&fake, "PUT /_index_template/t", &[json], template(mappings).as_bytes());
        assert_eq!(put.expect("an answer").status, 200);
        let body = item("logs", &id(0), first) + &item("logs", &id(1), second);
        let answer = bulk(&fake, body.as_bytes()).json();
        let status = |at: usize| answer["items"][at]["create"]["status"].as_u64();
        let found = [status(0), status(1)];
        assert_eq!(found, expected.map(|it| Some(it.into())), "{mappings} {first} {second}");
    }
}

#[test]
fn an_index_has_no_more_than_a_thousand_fields() {
    let fake = fake("");
    let fields: Vec<String> = (0..1_001).map(|at| format!("\"f{at}\":1")).collect();
    let body = item("logs", &id(0), &format!("{{{}}}", fields.join(",")));
    let answer = bulk(&fake, body.as_bytes()).json();
    assert_eq!(answer["items"][0]["create"]["status"], 400);
}

#[test]
fn an_alias_takes_writes_where_one_of_its_indexes_does() {
    let fake = fake("");
    let json = ("Content-Type", "application/json");
    let line = "POST /_bulk?require_alias=true";
    let status = |fake: &Fake, number: u64| {
        let body = item("logs", &id(number), DOCUMENT);
        let answer = send(fake, line, &[NDJSON], body.as_bytes()).expect("an answer").json();
        answer["items"][0]["create"]["status"].as_u64()
    };
    assert_eq!(status(&fake, 0), Some(404));
    let put = |at: u32, mark: &str| {
        let body = format!("{{\"aliases\":{{\"logs\":{mark}}}}}");
        let line = format!("PUT /logs-00000{at}");
        send(&fake, &line, &[json], body.as_bytes()).expect("an answer").status
    };
    assert_eq!(put(1, "{\"is_write_index\":false}"), 200);
    assert_eq!(status(&fake, 0), Some(400));
    assert_eq!(put(2, "{\"is_write_index\":true}"), 200);
    assert_eq!(status(&fake, 0), Some(201));
    // Without the flag a missing alias becomes an index, and then can be none.
    let other = self::fake("");
    assert_eq!(bulk(&other, item("logs", &id(0), DOCUMENT).as_bytes()).status, 200);
    let body = "{\"aliases\":{\"logs\":{}}}";
    let answer = send(&other, "PUT /logs-000001", &[json], body.as_bytes()).expect("an answer");
    assert!(answer.body.contains("invalid_alias_name_exception"), "{answer:?}");
}

#[test]
fn setup_requests_are_judged() {
    let fake = fake("");
    let alias = "{\"aliases\":{\"logs\":{\"is_write_index\":true}}}";
    let policy = "{\"policy\":{\"phases\":{\"hot\":{\"actions\":{\"rollover\":{\"max_age\":\
        \"1d\"}}},\"delete\":{\"min_age\":\"90d\",\"actions\":{\"delete\":{}}}}}}";
    let cases: &[(&str, &str, u16, &str)] = &[
        ("GET /", "", 200, "You Know, for Search"),
        ("GET /_cluster/health", "", 200, "green"),
        ("GET /_ilm/policy/p", "", 404, "not found"),
        ("PUT /_ilm/policy/p", policy, 200, "acknowledged"),
        ("GET /_ilm/policy/p", "", 200, "\"version\":1"),
        ("PUT /_ilm/policy/q", &policy.replace("hot", "tepid"), 400, "phase [tepid]"),
        ("PUT /_ilm/policy/q", &policy.replace("rollover", "roll"), 400, "invalid action [roll]"),
        ("GET /_index_template/t", "", 404, "not found"),
        ("PUT /_index_template/t", "{}", 400, "Required [index_patterns]"),
        ("PUT /_index_template/t", "{\"index_patterns\":\"a*\",\"x\":1}", 400, "unknown field [x]"),
        (
            "PUT /_index_template/t",
            "{\"index_patterns\":[\"a*\"],\"composed_of\":[\"ecs@mappings\"]}",
            400,
            "does not exist",
        ),
        (
            "PUT /_index_template/t",
            "{\"index_patterns\":[\"a*\"],\"composed_of\":[\"ecs@mappings\"],\
             \"ignore_missing_component_templates\":[\"ecs@mappings\"]}",
            200,
            "acknowledged",
        ),
        ("PUT /logs-000001", alias, 200, "shards_acknowledged"),
        ("PUT /logs-000001", alias, 400, "resource_already_exists_exception"),
        ("GET /_alias/logs", "", 200, "is_write_index"),
        ("PUT /Logs", "{}", 400, "must be lowercase"),
    ];
    for (line, body, status, part) in cases {
        let headers = [("Content-Type", "application/json")];
        let answer = send(&fake, line, &headers, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, *status, "{line} {body}: {answer:?}");
        assert!(answer.body.contains(part), "{line}: {answer:?}");
    }
}

#[test]
fn skimming_and_judging_keep_the_same_account() {
    let mut strict = options("items 429 0.3");
    strict.judge_every = 1;
    let mut loose = options("items 429 0.3");
    loose.judge_every = 1_000;
    let fakes = [elastic(strict, Auth::Anybody), elastic(loose, Auth::Anybody)];
    // The second half comes twice, and the index changes in the middle of a body.
    let mut bodies = Vec::new();
    for round in 0..20u64 {
        let numbers = (round * 50..round * 50 + 100).map(|number| {
            item(if number % 200 < 120 { "a-1" } else { "a-2" }, &id(number), DOCUMENT)
        });
        bodies.push(numbers.collect::<String>());
    }
    let answers = fakes.each_ref().map(|fake| {
        let bodies = bodies.iter();
        bodies.map(|body| bulk(fake, body.as_bytes()).body).collect::<Vec<_>>()
    });
    let [strict, loose] = fakes.map(|fake| fake.report());
    assert_eq!(answers[0], answers[1]);
    assert_eq!(strict.spans, loose.spans);
    let counts = |report: &loadgen::account::Report| {
        (report.events, report.conflicts, report.refused, report.problems.len(), report.order)
    };
    assert_eq!(counts(&strict), counts(&loose));
    assert!(strict.conflicts > 300 && strict.refused > 300, "{strict:?}");
}

#[test]
fn gzip_is_decoded_and_generated_events_are_fine() {
    let fake = fake("");
    // What producers put there is of any type.
    let template = "{\"index_patterns\":[\"logs*\"],\"template\":{\"mappings\":{\"properties\":\
        {\"metadata\":{\"type\":\"flattened\"},\"labels\":{\"type\":\"flattened\"}}}}}";
    let json = ("Content-Type", "application/json");
    let put = send(&fake, "PUT /_index_template/t", &[json], template.as_bytes());
    assert_eq!(put.expect("an answer").status, 200);
    let mut stream = Stream::new(2);
    let mut body = Vec::new();
    for number in 0..2_000u64 {
        let event = stream.one(1_795_191_846_000_000_000 + number).to_vec();
        let id =
            EventId { sequence: number, scheduled_ns: 1_795_191_846_000_000_000 + number, run: 2 };
        body.extend_from_slice(item("logs-2026.11.20", &id.text(), "").trim_end().as_bytes());
        body.push(b'\n');
        body.extend_from_slice(&event);
        body.push(b'\n');
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let headers = [NDJSON, ("Content-Encoding", "gzip")];
    let answer = send(&fake, STATUS_ONLY, &headers, &gzip).expect("an answer");
    assert_eq!((answer.status, &answer.json()["errors"]), (200, &false.into()));
    let report = fake.report();
    assert_eq!((report.events, report.problems.len()), (2_000, 0), "{:?}", report.problems);
    let bytes = |body: &[u8]| (body.len() + template.len()) as u64;
    assert_eq!((report.wire_bytes, report.body_bytes), (bytes(&gzip), bytes(&body)));
    assert_eq!(report.accepted.events, 2_000);
}
