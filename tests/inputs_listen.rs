//! Inputs that listen: what senders are told, and what is in the log by then.

#[path = "log_disk/refuse.rs"]
mod refuse;
#[path = "support/tls.rs"]
mod tls;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use refuse::{Call, Refusing};
use serde_json::{Value, json};
use shrike::dialects;
use shrike::event::{Opening, OpeningOptions};
use shrike::intake::{
    CheckOptions, Door, DoorOptions, HttpInput, HttpOptions, Questions, ServerIdentity, ServerTls,
    SharedDoor, Token, UnixInput,
};
use shrike::log::{IoChoice, Log, LogIo, LogOptions, Read as Found};
use tls::Pair;

const EVENTS: &str = include_str!("fixtures/security-events.jsonl");
const OTLP: &str = include_str!("fixtures/otlp-logs.jsonl");
const AUDIT: &str = include_str!("fixtures/clawdstrike-audit.jsonl");

/// A log and the door into it.
struct Place {
    log: Log,
    door: SharedDoor,
    _dir: tempfile::TempDir,
}

impl Place {
    fn new(disk: Option<&Arc<Refusing>>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = options(dir.path());
        let opened = match disk {
            Some(disk) => Log::open_on(options, Arc::clone(disk) as Arc<dyn LogIo>),
            None => Log::open(options),
        };
        let (log, _) = opened.expect("a log opens");
        let door = Door::new(DoorOptions {
            opening: Arc::new(Opening::new(&OpeningOptions::default())),
            check: CheckOptions { dialects: dialects::ALL, ..CheckOptions::default() },
            appender: log.appender(),
            quarantine: None,
            positions: None,
        });
        Self { log, door: SharedDoor::new(door), _dir: dir }
    }

    fn http(&self, change: impl FnOnce(&mut HttpOptions)) -> HttpInput {
        let mut options = HttpOptions {
            listen: "127.0.0.1:0".parse().expect("an address"),
            token: None,
            body_bytes_max: 1 << 20,
            identity: Arc::default(),
            format: None,
            binary: dialects::PROTOBUF,
            questions: Questions::default(),
        };
        change(&mut options);
        HttpInput::start(options, self.door.clone(), self.log.appender()).expect("it listens")
    }

    /// Records that are durable.
    fn records(&self) -> Vec<Vec<u8>> {
        let mut reader = self.log.reader();
        let (mut all, mut at) = (Vec::new(), self.log.oldest());
        loop {
            match reader.read(at, self.log.durable(), 1 << 20).expect("a log reads") {
                Found::Block(block) => {
                    all.extend(block.records().iter().map(|it| block.record(it).to_vec()));
                    at = block.span().to;
                }
                Found::Cold(span) => reader.warm(span).expect("the disk reads"),
                Found::End => return all,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn options(dir: &Path) -> LogOptions {
    LogOptions {
        dir: dir.join("log"),
        segment_bytes: 4 << 20,
        sync_interval: Duration::from_millis(2),
        io: IoChoice::Syscalls,
        ..LogOptions::default()
    }
}

/// An answer: status, headers, body.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

/// Sends one request over a connection and reads the answer to its end.
fn send(mut connection: impl Read + Write, head: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!("{head}host: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).expect("it takes a head");
    // A body that is refused early may not be read to its end.
    let _refused = connection.write_all(body);
    let mut answer = Vec::new();
    match connection.read_to_end(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof && answer.is_empty() => {
            panic!("no answer: {error}")
        }
        _ => {}
    }
    // Answers in Protocol Buffers have bytes that are none.
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    Answer {
        status: head[9..12].parse().expect("a status"),
        head: head.to_lowercase(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}

fn post(address: SocketAddr, headers: &str, body: &[u8]) -> Answer {
    let connection = TcpStream::connect(address).expect("it listens");
    send(connection, &format!("POST /v1/events HTTP/1.1\r\n{headers}"), body)
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

#[test]
fn logs_of_otlp_exporters_are_taken() {
    let place = Place::new(None);
    let input = place.http(|_| {});
    let logs = |headers: &str, body: &[u8]| {
        let connection = TcpStream::connect(input.address()).expect("it listens");
        let head = format!("POST /v1/logs HTTP/1.1\r\ncontent-type: {headers}\r\n");
        send(connection, &head, body)
    };
    let export = OTLP.lines().nth(1).expect("two lines");
    let pretty: Value = serde_json::from_str(export).expect("the sample is JSON");
    let pretty = serde_json::to_string_pretty(&pretty).expect("a value is JSON");
    let answer = logs("application/json; charset=utf-8", pretty.as_bytes());
    assert_eq!((answer.status, answer.body), (200, json!({})));
    assert_eq!(place.records().len(), 6, "durable when it was answered");
    let answer = logs("application/json\r\ncontent-encoding: gzip", &gzip(pretty.as_bytes()));
    assert_eq!((answer.status, answer.body), (200, json!({})), "repeats are taken");
    assert_eq!(place.records().len(), 6);
    let half = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"body": {"stringValue": "one"}}, {"timeUnixNano": "never"}]}]}]});
    let answer = logs("application/json", half.to_string().as_bytes());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["partialSuccess"]["rejectedLogRecords"], json!("1"));
    assert_eq!(place.records().len(), 7);
    let answer = logs("application/json", b"{\"resourceLogs\":[]}");
    assert_eq!((answer.status, answer.body), (200, json!({})));
    // "If the server receives an empty request [...] the server SHOULD respond with success."
    let answer = logs("application/json", b"{ }");
    assert_eq!((answer.status, answer.body), (200, json!({})));
    let answer = logs("application/json", b"nothing");
    assert_eq!(answer.status, 400);
    assert!(answer.body["message"].is_string());
    let answer = logs("text/plain", b"\x0a\x00");
    assert_eq!(answer.status, 415);
    assert!(answer.body["message"].as_str().is_some_and(|text| text.contains("protobuf")));
}

/// A protobuf message, field by field (protobuf.dev, Encoding).
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut number: u64) -> Self {
        while number > 0x7f {
            self.0.push((number % 0x80) as u8 | 0x80);
            number /= 0x80;
        }
        self.0.push(number as u8);
        self
    }

    fn bytes(self, field: u64, bytes: &[u8]) -> Self {
        let mut message = self.varint(field * 8 + 2).varint(bytes.len() as u64);
        message.0.extend_from_slice(bytes);
        message
    }

    fn number(self, field: u64, number: u64) -> Self {
        self.varint(field * 8).varint(number)
    }

    fn eight(self, field: u64, bytes: [u8; 8]) -> Self {
        let mut message = self.varint(field * 8 + 1);
        message.0.extend_from_slice(&bytes);
        message
    }

    fn four(self, field: u64, bytes: [u8; 4]) -> Self {
        let mut message = self.varint(field * 8 + 5);
        message.0.extend_from_slice(&bytes);
        message
    }
}

fn any(value: &Value) -> Vec<u8> {
    let (kind, value) = value.as_object().and_then(|value| value.iter().next()).expect("one");
    let text = || value.as_str().expect("a text");
    let message = Message::default();
    let listed = |one: &dyn Fn(&Value) -> Vec<u8>| {
        let values = value["values"].as_array().into_iter().flatten();
        values.fold(Message::default(), |all, value| all.bytes(1, &one(value))).0
    };
    match kind.as_str() {
        "stringValue" => message.bytes(1, text().as_bytes()),
        "boolValue" => message.number(2, u64::from(value.as_bool().expect("a truth"))),
        "intValue" => {
            let number = value.as_str().map_or_else(|| value.as_i64(), |text| text.parse().ok());
            message.number(3, number.expect("a number").cast_unsigned())
        }
        "doubleValue" => message.eight(4, value.as_f64().expect("a number").to_le_bytes()),
        "arrayValue" => message.bytes(5, &listed(&any)),
        "kvlistValue" => message.bytes(6, &listed(&pair)),
        "bytesValue" => message.bytes(7, b"\x00\xffbytes"),
        other => panic!("{other}"),
    }
    .0
}

fn pair(value: &Value) -> Vec<u8> {
    let key = value["key"].as_str().expect("a key");
    Message::default().bytes(1, key.as_bytes()).bytes(2, &any(&value["value"])).0
}

fn attributes(mut message: Message, field: u64, value: &Value) -> Message {
    for value in value["attributes"].as_array().into_iter().flatten() {
        message = message.bytes(field, &pair(value));
    }
    message
}

/// An export as an exporter sends it: the fields of `opentelemetry/proto/logs/v1/logs.proto`.
fn protobuf(export: &Value) -> Vec<u8> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |message: Message, field, value: &Value| match value.as_str() {
        Some(text) => message.bytes(field, text.as_bytes()),
        None => message,
    };
    let number = |message: Message, field, value: &Value| match value.as_u64() {
        Some(number) => message.number(field, number),
        None => message,
    };
    let hex = |text: &str| -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2).map(|it| std::str::from_utf8(it).expect("ASCII"));
        pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
    };
    let record = |record: &Value| {
        let mut message = Message::default();
        for (field, name) in [(1, "timeUnixNano"), (11, "observedTimeUnixNano")] {
            if let Some(ns) = record[name].as_str().and_then(|text| text.parse::<u64>().ok()) {
                message = message.eight(field, ns.to_le_bytes());
            }
        }
        message = number(message, 2, &record["severityNumber"]);
        message = text(message, 3, &record["severityText"]);
        if record["body"].is_object() {
            message = message.bytes(5, &any(&record["body"]));
        }
        message = attributes(message, 6, record);
        message = number(message, 7, &record["droppedAttributesCount"]);
        if let Some(flags) = record["flags"].as_u64() {
            message = message.four(8, u32::try_from(flags).expect("32 bits").to_le_bytes());
        }
        for (field, name) in [(9, "traceId"), (10, "spanId")] {
            if let Some(id) = record[name].as_str() {
                message = message.bytes(field, &hex(id));
            }
        }
        text(message, 12, &record["eventName"])
    };
    let mut out = Message::default();
    for resource_logs in list(&export["resourceLogs"]) {
        let resource = &resource_logs["resource"];
        let own = number(
            attributes(Message::default(), 1, resource),
            2,
            &resource["droppedAttributesCount"],
        );
        let mut message = Message::default().bytes(1, &own.0);
        for scope_logs in list(&resource_logs["scopeLogs"]) {
            let scope = &scope_logs["scope"];
            let own = text(text(Message::default(), 1, &scope["name"]), 2, &scope["version"]);
            let mut inner = Message::default().bytes(1, &attributes(own, 3, scope).0);
            for one in list(&scope_logs["logRecords"]) {
                inner = inner.bytes(2, &record(&one).0);
            }
            message = message.bytes(2, &text(inner, 3, &scope_logs["schemaUrl"]).0);
        }
        out = out.bytes(1, &text(message, 3, &resource_logs["schemaUrl"]).0);
    }
    out.0
}

/// What an event says, but for how its record was written down: the id follows from that.
fn said(record: &[u8]) -> Value {
    let mut event: Value = serde_json::from_slice(record).expect("events are JSON");
    event["ingested_at"] = Value::Null;
    let defaulted = event["metadata"]["shrike"]["defaulted"].as_array().cloned();
    if defaulted.unwrap_or_default().contains(&json!("timestamp")) {
        // When it was received.
        event["timestamp"] = Value::Null;
    }
    event
}

#[test]
fn logs_in_protobuf_say_what_the_same_logs_say_in_json() {
    for line in OTLP.lines() {
        let export: Value = serde_json::from_str(line).expect("the sample is JSON");
        let send_to = |place: &Place, kind: &str, body: &[u8]| {
            let input = place.http(|_| {});
            let connection = TcpStream::connect(input.address()).expect("it listens");
            let head = format!("POST /v1/logs HTTP/1.1\r\ncontent-type: {kind}\r\n");
            send(connection, &head, body)
        };
        let (one, other) = (Place::new(None), Place::new(None));
        assert_eq!(send_to(&one, "application/json", line.as_bytes()).status, 200);
        let answer = send_to(&other, "application/x-protobuf", &protobuf(&export));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("content-type: application/x-protobuf"), "{answer:?}");
        assert!(answer.head.contains("content-length: 0"), "all of it was taken: {answer:?}");
        let (expected, found) = (one.records(), other.records());
        assert_eq!(found.len(), expected.len());
        for (expected, found) in expected.iter().zip(&found) {
            let (mut expected, mut found) = (said(expected), said(found));
            let has_own_id = expected["metadata"].get("otlp").is_some();
            if has_own_id {
                expected["event_id"] = Value::Null;
                found["event_id"] = Value::Null;
            }
            assert_eq!(found, expected);
        }
    }
    // What is refused is told in the same encoding.
    let place = Place::new(None);
    let input = place.http(|_| {});
    let logs = |body: &[u8]| {
        let connection = TcpStream::connect(input.address()).expect("it listens");
        let head = "POST /v1/logs HTTP/1.1\r\ncontent-type: application/x-protobuf\r\n";
        send(connection, head, body)
    };
    assert_eq!(logs(b"").status, 200, "no logs");
    for wrong in [&b"nothing"[..], b"\x0a", b"\x0a\x05\x0a", b"\x0b\x0c", b"\x02\x00"] {
        let answer = logs(wrong);
        assert_eq!(answer.status, 400, "{wrong:?}: {answer:?}");
        assert!(answer.head.contains("content-type: application/x-protobuf"), "{answer:?}");
    }
    // Values inside values without end, and records that are five times as long as JSON.
    let deep = (0..500).fold(Message::default().bytes(1, b"x").0, |inner, _| {
        Message::default().bytes(5, &Message::default().bytes(1, &inner).0).0
    });
    let export =
        |scope: &[u8]| Message::default().bytes(1, &Message::default().bytes(2, scope).0).0;
    let record = Message::default().bytes(5, &deep).0;
    assert_eq!(logs(&export(&Message::default().bytes(2, &record).0)).status, 400);
    let short = Message::default().bytes(2, &Message::default().number(2, 1).0).0;
    assert_eq!(logs(&export(&short.repeat(250_000))).status, 413);
    assert_eq!(place.records().len(), 0);
    // A text that is no UTF-8 is repaired as one in JSON is.
    let text = b"caf\xe9 \xf0\x9f";
    let record = Message::default().eight(1, 7_u64.to_le_bytes());
    let record = record.bytes(5, &Message::default().bytes(1, text).0).0;
    assert_eq!(logs(&export(&Message::default().bytes(2, &record).0)).status, 200);
    let line = [
        &b"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":\"7\","[..],
        b"\"body\":{\"stringValue\":\"",
        text,
        b"\"}}]}]}]}",
    ];
    let connection = TcpStream::connect(input.address()).expect("it listens");
    let head = "POST /v1/logs HTTP/1.1\r\ncontent-type: application/json\r\n";
    assert_eq!(send(connection, head, &line.concat()).status, 200);
    let records = place.records();
    assert_eq!(records.len(), 1, "the second repeats the first, whose id follows from its JSON");
    assert_eq!(said(&records[0])["decision"]["reason"], json!("caf\u{fffd} \u{fffd}"));
}

#[test]
fn an_object_an_array_and_lines_are_taken_in_every_encoding() {
    let pretty = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("the sample is JSON");
        serde_json::to_string_pretty(&event).expect("a value is JSON")
    };
    let lines: Vec<&str> = EVENTS.lines().collect();
    let object = pretty(lines[0]);
    let array = format!("[{}, {}]", lines[1], pretty(lines[2]));
    let text = lines[3..].join("\n");
    let place = Place::new(None);
    let input = place.http(|_| {});
    for (headers, body, events) in [
        ("", object.into_bytes(), 1),
        ("content-encoding: gzip\r\n", gzip(array.as_bytes()), 2),
        ("content-encoding: zstd\r\n", zstd::encode_all(text.as_bytes(), 1).expect("it does"), 27),
        ("content-encoding: deflate\r\n", deflate(AUDIT.as_bytes()), 34),
    ] {
        let before = place.records().len();
        let answer = post(input.address(), headers, &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["accepted"], json!(events), "{answer:?}");
        assert_eq!(answer.body["items"].as_array().map(Vec::len), Some(events));
        assert_eq!(place.records().len(), before + events, "durable when the sender is told");
    }
    let again = post(input.address(), "", text.as_bytes());
    assert_eq!((again.status, &again.body["duplicates"]), (200, &json!(27)), "{again:?}");
    assert_eq!(input.account().events, 64);
}

#[test]
fn each_item_is_answered() {
    let place = Place::new(None);
    let input = place.http(|_| {});
    let event = EVENTS.lines().next().expect("a sample");
    let body = format!("{event}\n\nno json\n{{\"x\":1}}\n{event}\n");
    let answer = post(input.address(), "", body.as_bytes());
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        json!({"accepted": 1, "duplicates": 1, "rejected": 2, "items": [
            {"status": "accepted"},
            {"status": "rejected", "class": "json_syntax"},
            {"status": "rejected", "class": "unknown_format"},
            {"status": "duplicate"},
        ]})
    );
    let answer = post(input.address(), "", b"[1, {\"y\":2}]");
    assert_eq!(answer.status, 400, "nothing of it is an event: {answer:?}");
    assert_eq!(answer.body["items"][0]["class"], json!("not_object"));
    let answer = post(input.address(), "", b"");
    assert_eq!((answer.status, &answer.body["accepted"]), (200, &json!(0)));
}

#[test]
fn one_item_of_an_array_costs_no_other() {
    let place = Place::new(None);
    let input = place.http(|_| {});
    let events: Vec<&str> = EVENTS.lines().collect();
    let mut body = format!("\u{feff}[{},\n{{\"x\":NaN}},", events[0]).into_bytes();
    // Bytes that are no UTF-8 are replaced in that item, and told of it.
    let replaced = events[1].replacen("\"metadata\":{", "\"metadata\":{\"name\":\"?\",", 1);
    let at = replaced.find('?').expect("an event with metadata");
    body.extend_from_slice(&replaced.as_bytes()[..at]);
    body.push(0xff);
    body.extend_from_slice(&replaced.as_bytes()[at + 1..]);
    body.extend_from_slice(format!(",{}]", events[2]).as_bytes());
    let answer = post(input.address(), "", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!([
        {"status": "accepted"},
        {"status": "rejected", "class": "json_syntax"},
        {"status": "accepted"},
        {"status": "accepted"},
    ]);
    assert_eq!(answer.body["items"], expected, "{answer:?}");
}

#[test]
fn guards_are_answered_at_once() {
    let place = Place::new(None);
    let answer = |body: &[u8]| match body {
        b"{}" => Some(Ok(b"{\"items\":[]}\n".to_vec())),
        b"off" => None,
        other => Some(Err(format!("{} bytes", other.len()))),
    };
    let input = place.http(|options| {
        options.token = Some(Token::new("s3cret"));
        options.questions = Questions::new(answer);
    });
    let ask = |line: &str, headers: &str, body: &[u8]| {
        let connection = TcpStream::connect(input.address()).expect("it listens");
        send(connection, &format!("{line} /v1/threat-intel/check HTTP/1.1\r\n{headers}"), body)
    };
    let right = "authorization: Bearer s3cret\r\n";
    let answer = ask("POST", right, b"{}");
    assert_eq!((answer.status, answer.body), (200, json!({"items": []})));
    let answer = ask("POST", right, b"[]");
    assert_eq!((answer.status, answer.body), (400, json!({"error": "2 bytes"})));
    let answer = ask("POST", &format!("{right}content-encoding: gzip\r\n"), &gzip(b"{}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    for (line, headers, body, status) in [
        ("POST", right, &b"off"[..], 404),
        ("GET", right, b"", 405),
        ("POST", "", b"{}", 401),
        ("POST", right, &[b' '; (256 << 10) + 1], 413),
    ] {
        let answer = ask(line, headers, body);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body["error"].is_string(), "{answer:?}");
    }
    assert!(place.records().is_empty(), "questions are no events");
}

#[test]
fn what_is_no_request_of_ours_is_refused() {
    let place = Place::new(None);
    let input = place.http(|options| {
        options.token = Some(Token::new("s3cret"));
        options.body_bytes_max = 4096;
    });
    let address = input.address();
    let event = EVENTS.lines().next().expect("a sample").as_bytes();
    let right = "authorization: Bearer s3cret\r\n";
    let bomb = gzip(&vec![b' '; 1 << 20]);
    for (headers, body, status) in [
        (String::new(), event, 401),
        ("authorization: Bearer other\r\n".to_owned(), event, 401),
        ("authorization: Basic s3cret\r\n".to_owned(), event, 401),
        (right.to_owned(), event, 200),
        (right.to_owned(), &[b' '; 5000][..], 413),
        (format!("{right}content-encoding: gzip\r\n"), &bomb[..], 413),
        (format!("{right}content-encoding: gzip\r\n"), event, 400),
        (format!("{right}content-encoding: br\r\n"), event, 415),
    ] {
        let answer = post(address, &headers, body);
        assert_eq!(answer.status, status, "{headers}: {answer:?}");
        assert_eq!(answer.head.contains("www-authenticate: bearer"), status == 401);
        assert_eq!(answer.body.get("error").is_some(), status != 200, "{answer:?}");
    }
    for (line, status) in [("POST /v1/other HTTP/1.1", 404), ("GET /v1/events HTTP/1.1", 405)] {
        let connection = TcpStream::connect(address).expect("it listens");
        let answer = send(connection, &format!("{line}\r\n{right}"), b"");
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(place.records().len(), 1);
    assert_eq!(format!("{:?}", Token::new("s3cret")), "***");
}

#[test]
fn a_disk_that_refuses_is_no_2xx_and_passes() {
    let disk = Refusing::new();
    let place = Place::new(Some(&disk));
    let input = place.http(|_| {});
    let lines: Vec<&str> = EVENTS.lines().collect();
    place.log.flush().expect("the head is written");
    disk.allow(Call::Write);
    disk.refuse(Call::Write, libc::ENOSPC);
    assert_eq!(post(input.address(), "", lines[0].as_bytes()).status, 200);
    let answer = post(input.address(), "", lines[1].as_bytes());
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.head.contains("retry-after: 5"), "{answer:?}");
    assert_eq!(place.records().len(), 1);
    disk.wait();
    let deadline = Instant::now() + Duration::from_secs(60);
    let healed = loop {
        let answer = post(input.address(), "", lines[2].as_bytes());
        if answer.status == 200 || Instant::now() > deadline {
            break answer;
        }
    };
    assert_eq!(healed.status, 200, "{healed:?}");
    assert!(place.records().iter().any(|record| record == lines[2].as_bytes()));
}

#[test]
fn events_come_over_tls() {
    let (pair, dir) = (Pair::new(), tempfile::tempdir().expect("a directory"));
    let (cert_path, key_path) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert_path, &pair.cert_pem).expect("the directory is ours");
    std::fs::write(&key_path, &pair.key_pem).expect("the directory is ours");
    let identity = ServerIdentity::open(Some(ServerTls { cert_path, key_path })).expect("a pair");
    let place = Place::new(None);
    let input = place.http(|options| options.identity = Arc::new(identity));
    let connection = pair.session(TcpStream::connect(input.address()).expect("it listens"));
    let answer = send(connection, "POST /v1/events HTTP/1.1\r\n", EVENTS.as_bytes());
    assert_eq!((answer.status, &answer.body["accepted"]), (200, &json!(30)), "{answer:?}");
    // Plain HTTP is no handshake: the connection ends without an answer.
    let mut plain = TcpStream::connect(input.address()).expect("it listens");
    plain.write_all(b"POST /v1/events HTTP/1.1\r\n\r\n").expect("it takes some");
    let mut rest = Vec::new();
    let _reset = plain.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP"));
}

/// Room is for what came of bodies: what is only announced keeps nobody out.
#[test]
fn bodies_hold_room_for_what_came_of_them() {
    let place = Place::new(None);
    let bytes = 8 << 20;
    let input = place.http(|options| options.body_bytes_max = bytes);
    let begin = |headers: &str, length: usize, body: &[u8]| {
        let mut connection = TcpStream::connect(input.address()).expect("it listens");
        let head = format!(
            "POST /v1/events HTTP/1.1\r\n{headers}host: x\r\ncontent-length: {length}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).expect("it takes a head");
        // What there is no room for is refused while it is written.
        let _ = connection.write_all(body);
        connection
    };
    let event = EVENTS.lines().next().expect("an event").as_bytes();
    let mut open: Vec<TcpStream> = (0..9).map(|_| begin("", bytes, b"[")).collect();
    let packed = gzip(event);
    let half = || begin("content-encoding: gzip\r\n", packed.len(), &packed[..packed.len() / 2]);
    open.extend((0..9).map(|_| half()));
    for _ in 0..3 {
        assert_eq!(post(input.address(), "content-encoding: gzip\r\n", &packed).status, 200);
    }
    drop(open);
    // What came holds it, until there is none; one that came before those above were forgotten may
    // be refused itself.
    let blanks = vec![b' '; bytes - 1];
    let mut open = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    let answer = loop {
        open.push(begin("", bytes, &blanks));
        let answer = post(input.address(), "", event);
        if answer.status != 200 || Instant::now() >= deadline {
            break answer;
        }
    };
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    drop(open);
    while post(input.address(), "", event).status == 429 && Instant::now() < deadline {}
    assert_eq!(post(input.address(), "", event).status, 200);
}

/// A page that somebody on this host looks at can make requests, but cannot know a token.
#[test]
fn a_web_page_sends_nothing_without_a_token() {
    let place = Place::new(None);
    let event = EVENTS.lines().next().expect("an event").as_bytes();
    let page = "origin: https://evil.example\r\ncontent-type: text/plain\r\n";
    let input = place.http(|_| {});
    let answer = post(input.address(), page, event);
    assert_eq!((answer.status, place.records().len()), (403, 0), "{answer:?}");
    let input = place.http(|options| options.token = Some(Token::new("secret")));
    let page = format!("{page}authorization: Bearer secret\r\n");
    assert_eq!(post(input.address(), &page, event).status, 200);
}

#[test]
fn many_senders_share_the_group_commit() {
    let place = Place::new(None);
    let input = place.http(|_| {});
    let address = input.address();
    std::thread::scope(|scope| {
        for line in EVENTS.lines() {
            scope.spawn(move || {
                assert_eq!(post(address, "", line.as_bytes()).status, 200);
            });
        }
    });
    assert_eq!(place.records().len(), 30);
    drop(input);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn lines_come_over_a_unix_socket() {
    let place = Place::new(None);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("events.sock");
    let input = UnixInput::start(&path, None, place.door.clone()).expect("it listens");
    let taken = UnixInput::start(&path, None, place.door.clone());
    assert_eq!(taken.map(drop).map_err(|it| it.kind()), Err(io::ErrorKind::AddrInUse));
    let (first, second) = EVENTS.split_at(EVENTS.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = UnixStream::connect(&path).expect("it listens");
            stream.write_all(first.as_bytes()).expect("it reads");
            stream.write_all(second.trim_end().as_bytes()).expect("it reads");
        });
        scope.spawn(|| {
            let mut stream = UnixStream::connect(&path).expect("it listens");
            stream.write_all(AUDIT.as_bytes()).expect("it reads");
        });
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    while place.records().len() < 64 && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    assert_eq!(place.records().len(), 64, "the last line needs no ending");
    drop(input);
    assert!(!path.exists());
    let again = UnixInput::start(&path, None, place.door.clone()).expect("the place is free");
    drop(again);
}

#[test]
fn connections_beyond_the_most_wait_and_lose_nothing() {
    let place = Place::new(None);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("events.sock");
    let input = UnixInput::start(&path, None, place.door.clone()).expect("it listens");
    let connect = |_| UnixStream::connect(&path).expect("it listens");
    let silent: Vec<UnixStream> = (0..64).map(connect).collect();
    // They are gone before they are read; the last line of each was not finished.
    for line in EVENTS.lines() {
        connect(0).write_all(line.as_bytes()).expect("it waits in the socket");
    }
    drop(silent);
    let lines = EVENTS.lines().count();
    let deadline = Instant::now() + Duration::from_secs(60);
    while place.records().len() < lines && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    assert_eq!(place.records().len(), lines);
    let _crowd: Vec<UnixStream> = (0..70).map(connect).collect();
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(input);
        ended.send(())
    });
    end.recv_timeout(Duration::from_secs(20)).expect("it ends although it is full");
}

/// A sender whose `write` succeeded does not write it again.
#[test]
fn what_was_written_before_a_socket_ends_is_taken() {
    let place = Place::new(None);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("events.sock");
    let input = UnixInput::start(&path, None, place.door.clone()).expect("it listens");
    let lines: Vec<&str> = EVENTS.split_inclusive('\n').collect();
    let mut streams: Vec<UnixStream> =
        (0..3).map(|_| UnixStream::connect(&path).expect("it listens")).collect();
    let written = std::thread::scope(|scope| {
        let writers: Vec<_> = streams
            .iter_mut()
            .enumerate()
            .map(|(n, stream)| {
                let lines = lines.iter().skip(n * 10).take(10);
                scope.spawn(move || {
                    lines.take_while(|line| stream.write_all(line.as_bytes()).is_ok()).count()
                })
            })
            .collect();
        // Whenever it ends: what cannot be taken any more is not written either.
        let account = input.end();
        let written: usize = writers.into_iter().map(|it| it.join().expect("it writes")).sum();
        assert_eq!(account.events, written as u64);
        written
    });
    assert_eq!(place.records().len(), written);
    for stream in &mut streams {
        stream.write_all(b"x").expect_err("nobody reads it");
    }
}

/// More connect than are read at a time: what the others wrote waits in the socket.
#[test]
fn what_waits_in_a_socket_that_ends_is_taken() {
    let place = Place::new(None);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("events.sock");
    let input = UnixInput::start(&path, None, place.door.clone()).expect("it listens");
    let connect = |_| UnixStream::connect(&path).expect("it listens");
    let _silent: Vec<UnixStream> = (0..64).map(connect).collect();
    let mut waiting: Vec<UnixStream> = (0..30).map(connect).collect();
    for (stream, line) in waiting.iter_mut().zip(EVENTS.lines()) {
        stream.write_all(line.as_bytes()).expect("it waits in the socket");
    }
    assert_eq!(input.end().events, 30);
    assert_eq!(place.records().len(), 30);
}

#[test]
fn a_socket_whose_place_another_took_still_ends() {
    let place = Place::new(None);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("events.sock");
    let input = UnixInput::start(&path, None, place.door.clone()).expect("it listens");
    std::fs::remove_file(&path).expect("it is there");
    let other = UnixListener::bind(&path).expect("the place is free");
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(input);
        ended.send(())
    });
    end.recv_timeout(Duration::from_secs(20)).expect("it ends");
    assert!(path.exists(), "the other's socket stays");
    drop(other);
}
