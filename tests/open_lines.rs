//! Intake: what becomes of each kind of line.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use shrike::event::{Class, Event, FieldId as F, Frame, Opened, Opening, OpeningOptions};
use shrike::intake::{
    Batch, CheckOptions, Checker, Dialect, Door, DoorOptions, IntakeCounts, Kind, Lines, Mapped,
    Mode, Quarantine, QuarantineOptions, Retrying, Source, WantedLines,
};
use shrike::log::{Log, LogOptions, Mark, Read};

const SAMPLES: &str = include_str!("fixtures/security-events.jsonl");
const BAD_LINES: &[u8] = include_bytes!("fixtures/bad-lines.jsonl");
const BAD_LINES_EXPECTED: &str = include_str!("fixtures/bad-lines.expected.json");

/// 2026-02-06T12:30:00Z, in nanoseconds: when the samples say that they are read.
const NOW_NS: u64 = 1_770_381_000_000_000_000;

/// A source that is read line by line.
struct Bench {
    opening: Arc<Opening>,
    checker: Checker,
    lines: Lines,
    counts: Arc<IntakeCounts>,
}

/// What a piece of a source became.
#[derive(Debug)]
struct Became {
    /// Records with their marks.
    records: Vec<(Vec<u8>, Mark)>,
    /// The classes of refused lines.
    rejected: Vec<Class>,
    /// Bytes that were taken.
    taken: usize,
}

impl Bench {
    fn new(check: CheckOptions) -> Self {
        let opening = Arc::new(Opening::new(&OpeningOptions::default()));
        let counts = Arc::new(IntakeCounts::default());
        let checker = Checker::new(Arc::clone(&opening), check, Arc::clone(&counts));
        Self { opening, checker, lines: Lines::new(0), counts }
    }

    fn take(&mut self, chunk: &[u8]) -> Became {
        let mut batch = Batch::default();
        let taken = self.lines.take(&mut self.checker, chunk, NOW_NS, &mut batch);
        became(&batch, chunk, taken)
    }

    fn finish(&mut self, rest: &[u8]) -> Became {
        let mut batch = Batch::default();
        self.lines.finish(&mut self.checker, rest, NOW_NS, &mut batch);
        became(&batch, rest, rest.len())
    }

    /// The fields of a record, opened again as a worker does.
    fn open(&self, (record, mark): &(Vec<u8>, Mark)) -> (Opened, Value) {
        let frame = Frame {
            received_ns: mark.received_ns,
            checked: mark.checked,
            mapped: mark.mapped,
            repaired: mark.repaired,
            ..Frame::default()
        };
        let (mut arena, mut opened) = (Vec::new(), Opened::default());
        self.opening.begin(&mut arena);
        self.opening
            .open_exact(&frame, record, &mut arena, &mut opened)
            .expect("what intake appends opens as it is");
        let event = Event::new(&opened, frame, record, &arena);
        let fields = F::ALL.iter().filter_map(|&id| {
            let value = event.value(id)?;
            // Numbers beyond 64 bits are JSON as well, and stay text.
            let text = || json!(String::from_utf8_lossy(value.json));
            let json: Value = serde_json::from_slice(value.json).unwrap_or_else(|_| text());
            Some((id.path().to_owned(), json))
        });
        let fields = Value::Object(fields.collect());
        (opened, fields)
    }

    fn count(&self, class: Class) -> u64 {
        self.counts.class(class).load()
    }
}

fn became(batch: &Batch, chunk: &[u8], taken: usize) -> Became {
    let records = batch.records(chunk).map(|(record, mark)| (record.to_vec(), mark)).collect();
    let rejected = batch.rejected.iter().map(|rejected| rejected.class).collect();
    Became { records, rejected, taken }
}

fn class(name: &str) -> Option<Class> {
    Class::ALL.iter().copied().find(|class| class.name() == name)
}

#[test]
fn each_bad_line_has_its_expected_outcome() {
    let expected: Value = serde_json::from_str(BAD_LINES_EXPECTED).expect("a table");
    let cases = expected["lines"].as_array().expect("a list");
    let line_bytes_max = expected["settings"]["max_line_bytes"].as_u64().expect("a number");
    let mut bench = Bench::new(CheckOptions {
        line_bytes_max: line_bytes_max as usize,
        dialects: shrike::dialects::ALL,
        ..CheckOptions::default()
    });
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut events = 0;
    for (line, case) in BAD_LINES.split_inclusive(|&byte| byte == b'\n').zip(cases) {
        let number = case["line"].as_u64().expect("a number");
        let expected_class = class(case["class"].as_str().expect("a name"));
        let before = expected_class.map(|class| bench.count(class));
        let became = bench.take(line);
        let records = became.records.len() as u64;
        assert_eq!(Some(records), case["events"].as_u64(), "line {number}: {became:?}");
        events += records;
        for record in &became.records {
            let shrike = &bench.open(record).1["metadata.shrike"];
            let format = shrike["format"].as_str().unwrap_or("security_event");
            assert_eq!(Some(format), case["format"].as_str(), "line {number}");
        }
        *outcomes.entry(case["outcome"].as_str().expect("a word")).or_default() += 1;
        let after = expected_class.map(|class| bench.count(class));
        match case["outcome"].as_str().expect("a word") {
            "event" => {
                let flags = became.records.iter().map(|record| bench.open(record).0.flags);
                assert!(flags.into_iter().all(|flags| flags.is_empty()), "line {number}");
            }
            "event_flagged" => {
                let class = expected_class.expect("a class of ours");
                for record in &became.records {
                    assert!(bench.open(record).0.flags.contains(class), "line {number}");
                }
                assert_eq!(became.rejected, [], "line {number}");
                assert!(after > before, "line {number}");
            }
            "reject" => {
                assert_eq!(became.rejected, Vec::from_iter(expected_class), "line {number}");
                assert!(after > before, "line {number}");
            }
            "skip" => {
                assert_eq!(became.rejected, [], "line {number}");
                assert!(after > before, "line {number}");
            }
            "pending" => {
                assert_eq!((became.taken, became.rejected.len()), (0, 0), "line {number}");
                assert_eq!(bench.finish(line).rejected, [Class::JsonSyntax], "line {number}");
            }
            other => panic!("line {number}: an outcome without a case: {other}"),
        }
    }
    let totals = &expected["totals"];
    assert_eq!(totals["events"], json!(events));
    assert_eq!(totals["by_outcome"], json!(outcomes));
}

#[test]
fn what_a_line_becomes_does_not_hang_on_the_line_before() {
    let bench =
        || Bench::new(CheckOptions { dialects: shrike::dialects::ALL, ..CheckOptions::default() });
    // A byte order mark is one at the beginning of a source only.
    let is_line = |line: &&[u8]| !line.is_empty() && !line.starts_with(b"\xef\xbb\xbf");
    let files = [
        BAD_LINES,
        SAMPLES.as_bytes(),
        include_bytes!("fixtures/clawdstrike-audit.jsonl"),
        include_bytes!("fixtures/openclaw-audit.jsonl"),
        include_bytes!("fixtures/velar-audit.jsonl"),
        include_bytes!("fixtures/otlp-logs.jsonl"),
        include_bytes!("fixtures/falco-alerts.jsonl"),
        include_bytes!("fixtures/policy-events.jsonl"),
    ];
    let deep = format!("{{\"decision\":\"x\",\"a\":{}0{}}}", "[".repeat(200), "]".repeat(200));
    let lines = files.iter().flat_map(|file| file.split(|&byte| byte == b'\n').filter(is_line));
    let foreign = br#"{"id":"0","timestamp":"2026-02-06T12:00:00Z","event_type":"check",
        "action_type":"shell","target":"ls","decision":"allowed"}"#;
    let foreign: Vec<u8> = foreign.iter().copied().filter(|byte| *byte != b'\n').collect();
    let mut compared = 0;
    for line in lines.chain([deep.as_bytes()]) {
        let line = [line, b"\n"].concat();
        let alone = bench().take(&line);
        let mut after = bench();
        assert_eq!(after.take(&[&foreign[..], b"\n"].concat()).records.len(), 1);
        let after = after.take(&line);
        let shown = String::from_utf8_lossy(&line);
        assert_eq!((after.records, after.rejected), (alone.records, alone.rejected), "{shown}");
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn every_sample_is_taken_byte_for_byte() {
    let mut bench = Bench::new(CheckOptions::default());
    let became = bench.take(SAMPLES.as_bytes());
    assert_eq!((became.taken, became.rejected.len()), (SAMPLES.len(), 0));
    let records: Vec<&[u8]> = became.records.iter().map(|(record, _)| &record[..]).collect();
    assert_eq!(records, SAMPLES.lines().map(str::as_bytes).collect::<Vec<_>>());
    for (_, mark) in &became.records {
        assert_eq!(*mark, Mark { received_ns: NOW_NS, checked: true, ..Mark::default() });
    }
}

#[test]
fn a_line_is_the_same_however_the_source_is_cut() {
    let source = [SAMPLES.as_bytes(), b"\r\n  \nnot json\n", SAMPLES.as_bytes()].concat();
    let whole = Bench::new(CheckOptions::default()).take(&source);
    for step in [1, 7, 1_000, 65_536] {
        let mut bench = Bench::new(CheckOptions::default());
        let (mut records, mut rejected) = (Vec::new(), Vec::new());
        let (mut from, mut to) = (0, 0);
        while to < source.len() {
            to = (to + step).min(source.len());
            let became = bench.take(&source[from..to]);
            from += became.taken;
            records.extend(became.records);
            rejected.extend(became.rejected);
        }
        assert_eq!((&records, &rejected), (&whole.records, &whole.rejected), "steps of {step}");
        assert_eq!(bench.lines.position(), source.len() as u64);
    }
}

#[test]
fn a_line_without_limit_takes_bounded_room() {
    let options = CheckOptions { line_bytes_max: 10_000, ..CheckOptions::default() };
    let mut bench = Bench::new(options);
    let piece = vec![b'x'; 20_000];
    let mut batch = Batch::default();
    for _ in 0..100 {
        let taken = bench.lines.take(&mut bench.checker, &piece, NOW_NS, &mut batch);
        assert_eq!(taken, piece.len(), "nothing is left to be kept");
        assert!(batch.rejected.is_empty(), "the line has no end yet");
    }
    let end = [b"yy\n", SAMPLES.as_bytes()].concat();
    bench.lines.take(&mut bench.checker, &end, NOW_NS, &mut batch);
    let [rejected] = &batch.rejected[..] else { panic!("one line: {:?}", batch.rejected) };
    assert_eq!((rejected.class, rejected.offset), (Class::Oversize, 0));
    assert_eq!((rejected.length, rejected.kept.len()), (2_000_002, 4_096));
    let all = [piece.repeat(100), b"yy".to_vec()].concat();
    let expected: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(&all).into();
    assert_eq!(rejected.sha256, Some(expected));
    assert_eq!(batch.len(), 30, "the lines behind it are events");
    assert_eq!(bench.lines.position(), 2_000_000 + end.len() as u64);
}

/// A line that is an event with this id and action.
fn line(id: u8, action: &str) -> String {
    let event = SAMPLES.lines().nth(3).expect("the samples are 30");
    let event = event.replace("019c322e-19b3", &format!("019c322e-19{id:02x}"));
    event.replace("\"action\":\"egress\"", &format!("\"action\":\"{action}\"")) + "\n"
}

#[test]
fn an_event_that_comes_again_is_skipped() {
    let mut bench = Bench::new(CheckOptions::default());
    let first = line(1, "egress");
    let sorted: Value = serde_json::from_str(&first).expect("an event");
    let mut received = sorted.clone();
    received["ingested_at"] = json!("2026-02-06T12:00:00Z");
    received["metadata"]["shrike"] = json!({"format": "other"});
    assert_eq!(bench.take(first.as_bytes()).records.len(), 1);
    for again in [first.clone(), format!("{sorted}\n"), format!("{received}\n")] {
        assert_eq!(bench.take(again.as_bytes()).records.len(), 0, "{again}");
    }
    assert_eq!(bench.count(Class::Duplicate), 3);
    let mut off = Bench::new(CheckOptions { dedup_window: 0, ..CheckOptions::default() });
    assert_eq!(off.take(first.repeat(3).as_bytes()).records.len(), 3);
}

#[test]
fn another_event_with_the_same_id_gets_one_of_its_own() {
    let mut bench = Bench::new(CheckOptions::default());
    let first = bench.take(line(1, "egress").as_bytes()).records.remove(0);
    for other in [
        line(1, "other"),
        line(1, "foreign").replace("\"metadata\":{", "\"metadata\":{\"shrike\":{\"x\":1},"),
        line(1, "without").replace("\"metadata\":", "\"unknown\":"),
    ] {
        let became = bench.take(other.as_bytes());
        let [record] = &became.records[..] else { panic!("one event: {became:?}") };
        let (opened, fields) = bench.open(record);
        assert!(opened.flags.contains(Class::DuplicateId), "{other}");
        let own_id = bench.open(&first).1["event_id"].clone();
        assert_ne!(fields["event_id"], own_id);
        assert_eq!(fields["metadata.shrike"]["source"]["id"], own_id);
        let is_foreign = other.contains("foreign");
        let displaced = &fields["metadata.shrike"]["displaced"];
        assert_eq!(*displaced, if is_foreign { json!({"x": 1}) } else { Value::Null });
        let again = bench.take(other.as_bytes());
        assert!(again.records.is_empty(), "the same line again is known by its derived id");
    }
    assert_eq!(bench.count(Class::DuplicateId), 3);
}

#[test]
fn an_event_that_a_new_id_makes_too_deep_is_refused_at_once() {
    // Its own `shrike` moves one level down, under `displaced`.
    for (levels, records) in [(125, 1), (126, 0)] {
        let mut bench = Bench::new(CheckOptions::default());
        bench.take(line(1, "egress").as_bytes());
        let deep = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let member = format!("\"metadata\":{{\"shrike\":{deep},");
        let other = line(1, "other").replace("\"metadata\":{", &member);
        assert_eq!(Bench::new(CheckOptions::default()).take(other.as_bytes()).records.len(), 1);
        let became = bench.take(other.as_bytes());
        became.records.iter().for_each(|record| drop(bench.open(record)));
        assert_eq!(became.records.len(), records, "{levels} levels");
        let refused = if records == 0 { vec![Class::DepthExceeded] } else { vec![] };
        assert_eq!(became.rejected, refused, "{levels} levels");
    }
}

#[test]
fn all_objects_of_a_line_are_events() {
    let (a, b) = (line(1, "a"), line(2, "b"));
    let (a, b) = (a.trim_end(), b.trim_end());
    for (text, records, rejected) in [
        (format!("{a}{b}\n"), 2, vec![]),
        (format!(" {a} \t{b}  \n"), 2, vec![]),
        (format!("{a}{b}{{\"x\":\n"), 2, vec![Class::JsonSyntax]),
        (format!("{a}garbage\n"), 1, vec![Class::JsonSyntax]),
        (format!("{a}{{\"x\":1}}{b}\n"), 2, vec![Class::UnknownFormat]),
        (format!("{a}[1]\n"), 1, vec![Class::NotObject]),
    ] {
        let mut bench = Bench::new(CheckOptions::default());
        let became = bench.take(text.as_bytes());
        assert_eq!((became.records.len(), became.rejected), (records, rejected), "{text}");
        for record in &became.records {
            assert!(bench.open(record).0.flags.contains(Class::TrailingData));
        }
    }
}

#[test]
fn a_line_is_repaired_and_says_so() {
    let plain = line(1, "CUT").into_bytes();
    let at = plain.windows(3).position(|window| window == b"CUT").expect("the action");
    let with = |text: &[u8]| [&plain[..at], text, &plain[at + 3..]].concat();
    let hole = [&[0; 8], &plain[..]].concat();
    let bom = [b"\xef\xbb\xbf", &plain[..]].concat();
    let both = [with(b"\xff"), line(2, "b").into_bytes()].concat();
    let joined = both.iter().copied().filter(|&byte| byte != b'\n').chain([b'\n']).collect();
    for (text, classes, action) in [
        (with(b"\xe9"), vec![Class::InvalidUtf8], "\u{fffd}"),
        (with(b"\\ud83d"), vec![Class::LoneSurrogate], "\u{fffd}"),
        (with(b"\xff\\udc00"), vec![Class::InvalidUtf8, Class::LoneSurrogate], "\u{fffd}\u{fffd}"),
        (hole, vec![Class::NulBytes], "CUT"),
        (bom, vec![Class::Bom], "CUT"),
        (joined, vec![Class::TrailingData, Class::InvalidUtf8], "\u{fffd}"),
    ] {
        let mut bench = Bench::new(CheckOptions::default());
        let became = bench.take(&text);
        let record = became.records.first().unwrap_or_else(|| panic!("an event: {became:?}"));
        let (opened, fields) = bench.open(record);
        assert_eq!(opened.flags.iter().collect::<Vec<_>>(), classes);
        assert_eq!(fields["action"], json!(action));
    }
    let mut bench = Bench::new(CheckOptions::default());
    let later = [line(1, "a").as_bytes(), b"\xef\xbb\xbf", line(2, "b").as_bytes()].concat();
    let became = bench.take(&later);
    assert_eq!((became.records.len(), became.rejected), (1, vec![Class::JsonSyntax]));
}

/// A dialect of two events per record.
static TWICE: Dialect = Dialect {
    name: "test.twice",
    keys: &[("kind", Kind::Text), ("body", Kind::Object)],
    mode: Mode::Append,
    map: twice,
};

/// A dialect whose code has a defect.
static DEFECTIVE: Dialect = Dialect {
    name: "test.defective",
    keys: &[("defect", Kind::Any)],
    mode: Mode::Append,
    map: |_, _| panic!("on purpose"),
};

static DIALECTS: &[&Dialect] = &[&TWICE, &DEFECTIVE];

fn twice(source: &Source<'_>, events: &mut Mapped) -> Result<(), Class> {
    let body =
        source.members.iter().find(|member| member.is(b"body")).ok_or(Class::MissingField)?;
    if body.value == b"{}" {
        return Err(Class::MissingField);
    }
    for id in [1, 2] {
        let event = line(id, "mapped");
        let shrike = "\"metadata\":{\"shrike\":{\"format\":\"test.twice\"}}";
        let (before, after) = event.split_once("\"metadata\":{").expect("the sample has it");
        let (_, after) = after.split_once('}').expect("the sample's metadata is flat");
        events.event(|out| out.extend_from_slice(format!("{before}{shrike}{after}").as_bytes()));
    }
    Ok(())
}

#[test]
fn records_of_a_dialect_are_mapped_and_marked() {
    let mut bench = Bench::new(CheckOptions { dialects: DIALECTS, ..CheckOptions::default() });
    let became = bench.take(b"{\"body\":{\"a\":1},\"kind\":\"x\"}\n");
    assert_eq!(became.records.len(), 2);
    for record in &became.records {
        assert!(record.1.mapped);
        let fields = bench.open(record).1;
        assert_eq!(fields["metadata.shrike"], json!({"format": "test.twice"}));
        assert_eq!(fields["action"], json!("mapped"));
    }
    for (text, class) in [
        ("{\"body\":{},\"kind\":\"x\"}\n", Class::MissingField),
        ("{\"body\":[],\"kind\":\"x\"}\n", Class::UnknownFormat),
        ("{\"kind\":\"x\"}\n", Class::UnknownFormat),
    ] {
        assert_eq!(bench.take(text.as_bytes()).rejected, [class], "{text}");
    }
}

fn open_log(dir: &std::path::Path) -> Log {
    let options = LogOptions {
        dir: dir.to_path_buf(),
        segment_bytes: 4 << 20,
        bytes_max: 64 << 20,
        keep_bytes: 64 << 20,
        ..LogOptions::default()
    };
    Log::open(options).expect("a log opens").0
}

fn records(log: &Log) -> Vec<Vec<u8>> {
    let mut reader = log.reader();
    let mut all = Vec::new();
    let mut at = log.oldest();
    loop {
        match reader.read(at, log.durable(), 1 << 20).expect("a log reads") {
            Read::Block(block) => {
                all.extend(block.records().iter().map(|it| block.record(it).to_vec()));
                at = block.span().to;
            }
            Read::Cold(span) => reader.warm(span).expect("the disk reads"),
            other @ (Read::Gone { .. } | Read::Damaged { .. }) => panic!("{other:?}"),
            Read::End => return all,
        }
    }
}

#[test]
fn a_file_is_read_into_the_log_and_the_quarantine() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open_log(&dir.path().join("log"));
    // The smallest that a configuration may ask for.
    let quarantine = QuarantineOptions { dir: dir.path().join("quarantine"), bytes_max: 8 << 20 };
    let mut door = Door::new(DoorOptions {
        opening: Arc::new(Opening::new(&OpeningOptions::default())),
        check: CheckOptions { line_bytes_max: 8_000, ..CheckOptions::default() },
        appender: log.appender(),
        quarantine: Some(Quarantine::open(&quarantine).expect("a quarantine opens")),
        positions: None,
    });
    let long = "x".repeat(1 << 20);
    let source = format!("{SAMPLES}\nno json\n{long}\n{}", line(1, "last").trim_end());
    let path = dir.path().join("events.jsonl");
    fs::write(&path, &source).expect("a file is written");
    let mut file = fs::File::open(&path).expect("it opens");
    let account = door.read("events.jsonl", &mut file, || NOW_NS).expect("it is read");
    assert_eq!((account.bytes, account.events, account.rejected), (source.len() as u64, 31, 2));
    assert_eq!(door.counts().events.load(), 31);
    let expected: Vec<Vec<u8>> = SAMPLES
        .lines()
        .chain([line(1, "last").trim_end()])
        .map(|line| line.as_bytes().to_vec())
        .collect();
    assert_eq!(records(&log), expected, "durable when the door says so");

    drop(door);
    let kept = open_log(&quarantine.dir);
    let kept: Vec<Value> = records(&kept)
        .iter()
        .map(|record| serde_json::from_slice(record).expect("a record is JSON"))
        .collect();
    let seen: Vec<_> = kept.iter().map(|record| (&record["class"], &record["offset"])).collect();
    let offset = SAMPLES.len() as u64 + 1;
    assert_eq!(
        seen,
        [(&json!("json_syntax"), &json!(offset)), (&json!("oversize"), &json!(offset + 8))]
    );
    assert_eq!(kept[0]["bytes"], json!("bm8ganNvbg=="));
    assert_eq!((&kept[0]["source"], &kept[0]["length"]), (&json!("events.jsonl"), &json!(7)));
    assert_eq!(kept[1]["length"], json!(1 << 20));
    assert_eq!(kept[1]["sha256"].as_str().map(str::len), Some(64));
}

/// A line came once, however often it is looked at again: metrics of what comes in count arrivals.
#[test]
fn a_line_that_is_looked_at_again_and_is_still_none_is_counted_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open_log(&dir.path().join("log"));
    let quarantine = QuarantineOptions { dir: dir.path().join("quarantine"), bytes_max: 8 << 20 };
    let door = |dialects: &'static [&'static Dialect]| {
        Door::new(DoorOptions {
            opening: Arc::new(Opening::new(&OpeningOptions::default())),
            check: CheckOptions { dialects, ..CheckOptions::default() },
            appender: log.appender(),
            quarantine: Some(Quarantine::open(&quarantine).expect("a quarantine opens")),
            positions: None,
        })
    };
    let retry = |door: &mut Door| {
        let mut retrying = Retrying::default();
        door.retry(&WantedLines::default(), &mut retrying, NOW_NS).expect("it is read");
        door.retried(&mut retrying).expect("it is taken out");
        (retrying.sum.taken, retrying.sum.refused)
    };
    let counted = |door: &Door| {
        let classes = Class::ALL.iter().map(|&class| door.counts().class(class).load());
        (classes.sum::<u64>(), door.counts().events.load())
    };
    let foreign = include_str!("fixtures/clawdstrike-audit.jsonl").lines().next();
    let source = format!("no json\n{}\n", foreign.expect("it has lines"));
    let mut old = door(&[]);
    old.read("source", &mut source.as_bytes(), || NOW_NS).expect("it is read");
    assert_eq!(counted(&old), (2, 0));
    assert_eq!(retry(&mut old), (0, 2));
    assert_eq!(counted(&old), (2, 0), "they came once");
    drop(old);
    // A newer version knows the dialect.
    let mut new = door(shrike::dialects::ALL);
    assert_eq!(retry(&mut new), (1, 1));
    let (classes, events) = counted(&new);
    assert_eq!((events, new.counts().class(Class::JsonSyntax).load()), (1, 0), "{classes}");
}

#[test]
fn a_line_that_meets_a_defect_is_refused_and_its_neighbours_are_taken() {
    let mut bench = Bench::new(CheckOptions { dialects: DIALECTS, ..CheckOptions::default() });
    let sample = SAMPLES.lines().next().expect("a sample");
    let other = SAMPLES.lines().nth(1).expect("another");
    let text = format!("{sample}\n{{\"defect\":1}}\n{{\"defect\":2}}\n{other}\n");
    let became = bench.take(text.as_bytes());
    let records: Vec<_> = became.records.iter().map(|(record, _)| record.as_slice()).collect();
    assert_eq!(records, [sample.as_bytes(), other.as_bytes()]);
    assert_eq!(became.rejected, [Class::Defect; 2]);
    assert_eq!((became.taken, bench.count(Class::Defect)), (text.len(), 2));
    // Several objects on one line: those before the defect are events all the same.
    let third = SAMPLES.lines().nth(2).expect("a third");
    let became = bench.take(format!("{third}{{\"defect\":3}}\n").as_bytes());
    assert_eq!((became.records.len(), became.rejected), (1, vec![Class::Defect]));
}
