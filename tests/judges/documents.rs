//! What others say of our documents: those of the golden files and of 100,000 random events.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use loadgen::generate::Stream;

use crate::tools;

/// Random events: so many seeds, and of each so many that no shape of its pool comes twice.
const SEEDS: u64 = 25;
const EVENTS: u64 = 4_000;

/// Lines of random events, a seed after the other.
fn events(seeds: u64, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    for seed in 1..=seeds {
        let mut stream = Stream::new(seed);
        while stream.sequence() < EVENTS {
            let left = EVENTS - stream.sequence();
            let batch = stream.next(left, 64 << 10, |number| FIRST_NS + number * 1_000_003);
            take(batch.lines)?;
        }
    }
    Ok(())
}

/// 2026-02-06T09:00:00Z.
const FIRST_NS: u64 = 1_770_368_400_000_000_000;

/// `shrike render` of an exporter, its events on standard input.
fn render(exporter: &str, settings: &[&str]) -> Command {
    let mut command = tools::shrike();
    // Without a configuration of this machine's.
    command.args(["render", exporter, "--config"]).arg(tools::here("render.yaml"));
    for setting in settings {
        command.args(["--set", &format!("exporters.{exporter}.{setting}")]);
    }
    command
}

/// Renders random events straight into a judge, which has to approve `documents` of them.
fn judge_random(mut render: Command, mut judge: Command, seeds: u64, documents: u64) {
    let mut source = render.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("built");
    let mut into = source.stdin.take().expect("piped");
    let judge = judge.stdin(source.stdout.take().expect("piped")).stdout(Stdio::piped());
    let judge = judge.spawn().expect("it is installed");
    let verdict = thread::scope(|scope| {
        // A renderer that ends early closes the pipe; its exit code tells.
        scope.spawn(move || drop(events(seeds, |lines| into.write_all(lines))));
        tools::said(judge)
    });
    assert!(source.wait().expect("it ends").success(), "every event is rendered");
    assert!(verdict.approves, "{}", verdict.text);
    assert_eq!(verdict.text.trim_end(), format!("{documents} judged"));
}

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(path).expect("a golden file")
}

/// Judges golden files that hold a document a line, and that a broken document is refused.
fn judge_golden(judge: impl Fn() -> Command, names: &[&str], broken: (&str, &str)) {
    for name in names {
        let bytes = golden(name);
        let verdict = tools::judge(judge(), &bytes);
        assert!(verdict.approves, "{name}: {}", verdict.text);
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(verdict.text.trim_end(), format!("{lines} judged"), "{name}");
    }
    let (right, wrong) = broken;
    let text = String::from_utf8(golden(names[0])).expect("UTF-8");
    assert!(text.contains(right), "{right} is in {}", names[0]);
    let verdict = tools::judge(judge(), text.replace(right, wrong).as_bytes());
    assert!(!verdict.approves, "a judge that approves of {wrong} says nothing");
}

#[test]
fn ocsf_events_are_valid_by_the_published_definitions() {
    let Some(python) = tools::find("python") else { return };
    let judge = || tools::script(&python, "ocsf.py");
    let names =
        ["ocsf/samples.jsonl", "ocsf/kinds.jsonl", "ocsf/gaps.jsonl", "file/lines_ocsf.txt"];
    judge_golden(judge, &names, ("\"severity\":\"High\"", "\"severity\":\"high\""));
    judge_golden(judge, &names[..1], ("\"type_id\":0", "\"type_id\":\"0\""));
    judge_golden(judge, &names[..1], ("\"unmapped\"", "\"decision\""));
    judge_random(render("stdout", &["format=ocsf"]), judge(), SEEDS, SEEDS * EVENTS);
}

#[test]
fn ecs_documents_have_published_fields_and_allowed_values() {
    let Some(python) = tools::find("python") else { return };
    let judge = || {
        let mut judge = tools::script(&python, "ecs.py");
        judge.args(["ecs-8.17.0.json", "ecs-9.4.0.json"].map(tools::here));
        judge
    };
    let names = ["ecs/samples.jsonl", "ecs/kinds.jsonl", "ecs/gaps.jsonl", "ecs/changed.jsonl"];
    judge_golden(judge, &names, ("\"type\":[\"denied\"]", "\"type\":[\"blocked\"]"));
    judge_golden(judge, &names[..1], ("\"severity\":", "\"level\":"));
    judge_random(render("stdout", &["format=ecs"]), judge(), SEEDS, SEEDS * EVENTS);
}

#[test]
fn cef_lines_are_read_by_a_parser_and_its_dictionary() {
    let Some(python) = tools::find("python") else { return };
    let judge = || tools::script(&python, "cef.py");
    let names = ["cef/samples.txt", "cef/kinds.txt", "cef/gaps.txt", "file/lines_cef.txt"];
    judge_golden(judge, &names, (" act=", " action="));
    judge_golden(judge, &names[..1], ("CEF:0|", "CEF:x|"));
    judge_random(render("stdout", &["format=cef"]), judge(), SEEDS, SEEDS * EVENTS);
}

/// A parser of RFC 5424 that others wrote takes what we send, and finds what we put in.
#[test]
fn syslog_messages_are_read_by_a_parser() {
    let mut render = render("syslog", &["framing=newline", "payload=json"]);
    let mut source = render.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("built");
    let mut into = source.stdin.take().expect("piped");
    let out = source.stdout.take().expect("piped");
    let mut count = 0;
    thread::scope(|scope| {
        scope.spawn(move || drop(events(SEEDS, |lines| into.write_all(lines))));
        for line in std::io::BufRead::lines(std::io::BufReader::new(out)) {
            let line = line.expect("messages are UTF-8");
            let read = syslog_rfc5424::parse_message(&line)
                .unwrap_or_else(|error| panic!("{error}: {line}"));
            let id = &read.sd.get("shrike@32473").expect("structured data")["eventId"];
            assert!(read.msg.contains(&format!("\"event_id\":\"{id}\"")), "{line}");
            assert_eq!(read.appname.as_deref(), Some("clawdstrike"), "{line}");
            count += 1;
        }
    });
    assert!(source.wait().expect("it ends").success());
    assert_eq!(count, SEEDS * EVENTS);
}

/// The bodies of every destination that takes JSON, by another reader of JSON; those of OTLP by
/// the protocol's own messages besides.
#[test]
fn bodies_are_json_to_others() {
    let Some(python) = tools::find("python") else { return };
    let cases: &[(&str, &str, u64)] = &[
        // An action and a document each.
        ("elastic", "bodies.py", 2 * EVENTS),
        ("splunk", "bodies.py", EVENTS),
        ("sumo_logic", "bodies.py", EVENTS),
        ("webhook", "bodies.py", EVENTS),
        ("datadog", "bodies.py", 0),
        ("otlp", "bodies.py", 0),
        ("otlp", "otlp.py", 0),
        // What is shown of it.
        ("otlp_binary", "otlp.py", EVENTS),
        // All of it is one request.
        ("otlp_binary", "otlp.py protobuf", 1),
    ];
    for &(exporter, script, expected) in cases {
        let mut source = render(exporter, &[]);
        let (script, argument) = script.split_once(' ').unwrap_or((script, ""));
        if !argument.is_empty() {
            source.arg("--raw");
        }
        let mut source =
            source.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("built");
        let mut into = source.stdin.take().expect("piped");
        let mut judge = tools::script(&python, script);
        judge.args(argument.split_whitespace());
        judge.stdin(source.stdout.take().expect("piped")).stdout(Stdio::piped());
        let verdict = thread::scope(|scope| {
            scope.spawn(move || drop(events(1, |lines| into.write_all(lines))));
            tools::said(judge.spawn().expect("it is installed"))
        });
        assert!(source.wait().expect("it ends").success());
        assert!(verdict.approves, "{exporter}: {}", verdict.text);
        let judged = verdict.text.split(' ').next().and_then(|count| count.parse::<u64>().ok());
        let judged = judged.expect("a judge counts");
        assert!(judged > 0 && (expected == 0 || judged == expected), "{exporter}: {judged}");
    }
    let broken = tools::judge(tools::script(&python, "bodies.py"), b"{\"a\":1,\"a\":2}");
    assert!(!broken.approves, "{broken:?}");
    let golden = String::from_utf8(golden("otlp/records.txt")).expect("UTF-8");
    let verdict = |text: &str| tools::judge(tools::script(&python, "otlp.py"), text.as_bytes());
    assert!(verdict(&golden).approves, "{:?}", verdict(&golden));
    assert!(!verdict(&golden.replace("severityText", "severity_name")).approves);
    let mut binary = tools::script(&python, "otlp.py");
    // A field that a request does not have.
    binary.arg("protobuf");
    let unknown = tools::judge(binary, b"\x7a\x00");
    assert!(!unknown.approves, "{unknown:?}");
}
