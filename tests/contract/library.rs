//! A program that embeds the log: it builds events, appends them, and reads them again.

use std::time::{Duration, Instant};

use shrike::event::{
    Category, EventType, FieldId, Offset, Opening, OpeningOptions, ResourceType, SecurityEvent,
    Severity,
};
use shrike::log::{Log, LogOptions, Mark};
use shrike::pipeline::{Next, Subscription};
use shrike::transform::FilterRules;

fn log(dir: &tempfile::TempDir) -> Log {
    let options =
        LogOptions { dir: dir.path().join("log"), segment_bytes: 8 << 20, ..LogOptions::default() };
    Log::open(options).expect("the directory is ours").0
}

fn event(n: u64, severity: Severity) -> SecurityEvent {
    let built =
        SecurityEvent::build_at(EventType::GuardBlock, Category::Network, n * 1_000_000, n.into())
            .agent("coder-01", "0.1.0")
            .session("s-1")
            .action("egress")
            .denied("egress_allowlist", severity, format!("number \"{n}\""))
            .resource(ResourceType::Network, "exfil.example")
            .host("exfil.example", 443)
            .label("team", "security")
            .metadata("depth", 3);
    built.finish().expect("nothing is missing")
}

/// Takes the next event's reason; nothing where there is none before the deadline.
fn reason(subscription: &mut Subscription, wait: Duration) -> Option<String> {
    match subscription.next(Instant::now() + wait).expect("the log can be read") {
        Next::Event(event) => {
            Some(String::from_utf8_lossy(event.text(FieldId::Reason)).into_owned())
        }
        Next::Idle => None,
        Next::Missed(span) => panic!("missed {span:?}"),
    }
}

#[test]
fn what_is_built_is_a_clean_event() {
    let opening = Opening::new(&OpeningOptions::default());
    let event = event(1_770_368_402_000, Severity::High);
    let record = event.to_json();
    let (mut arena, mut opened) = (Vec::new(), shrike::event::Opened::default());
    opening.begin(&mut arena);
    let frame = shrike::event::Frame {
        received_ns: 1_770_368_402_000_000_000,
        ..shrike::event::Frame::default()
    };
    opening.open_exact(&frame, &record, &mut arena, &mut opened).expect("an event");
    assert_eq!(opened.flags, shrike::event::Classes::default(), "nothing to repair");
    assert_eq!(event.timestamp, "2026-02-06T09:00:02Z");
    assert_eq!(&event.event_id[14..15], "7", "{}", event.event_id);
    assert!(event.event_id.starts_with("019c32"), "{}", event.event_id);
    let again: SecurityEvent = serde_json::from_slice(&record).expect("it can be read");
    assert_eq!(again, event);
    let now = || {
        let built = SecurityEvent::build(EventType::SessionStart, Category::Session);
        built.agent("a", "1").session("s").action("x").allowed("g", Severity::Info, "")
    };
    let one = now().resource(ResourceType::Tool, "t").finish().expect("whole");
    let two = now().resource(ResourceType::Tool, "t").finish().expect("whole");
    assert_ne!(one.event_id, two.event_id);
    let missing = now().finish().expect_err("no resource");
    assert_eq!(missing.to_string(), "resource.name: is missing; call `resource`");
}

#[test]
fn a_subscription_sees_what_its_filter_lets_through_as_it_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = log(&dir);
    let appender = log.appender();
    let append = |n: u64, severity| {
        let mark = Mark { received_ns: n, ..Mark::default() };
        appender.append(&event(n, severity).to_json(), mark).expect("there is room")
    };
    let rules = FilterRules { min_severity: Severity::High, ..FilterRules::default() };
    let subscribe = |from| {
        Subscription::new(&log, from, rules.clone(), &OpeningOptions::default()).expect("a reader")
    };
    let mut all = subscribe(Offset::ZERO);
    let none = Duration::ZERO;
    let long = Duration::from_secs(60);
    assert_eq!(reason(&mut all, none), None, "nothing yet");
    append(1, Severity::High);
    append(2, Severity::Low);
    appender.append(b"{\"no\":\"event\"}", Mark::default()).expect("there is room");
    append(3, Severity::Critical);
    assert_eq!(reason(&mut all, long).as_deref(), Some("number \\\"1\\\""));
    let position = all.position();
    assert_eq!(reason(&mut all, long).as_deref(), Some("number \\\"3\\\""));
    assert_eq!(reason(&mut all, none), None);
    // Another one goes on where this one was.
    let mut second = subscribe(position);
    assert_eq!(reason(&mut second, long).as_deref(), Some("number \\\"3\\\""));
    // One that waits is woken.
    let waiting = std::thread::spawn(move || reason(&mut second, long));
    append(4, Severity::High);
    assert_eq!(waiting.join().expect("no panic").as_deref(), Some("number \\\"4\\\""));
    // Across stripes and blocks, in order and none twice.
    for n in 5..3_005 {
        append(n, if n % 3 == 0 { Severity::High } else { Severity::Info });
    }
    for n in (4..3_005).filter(|n| *n == 4 || n % 3 == 0) {
        assert_eq!(reason(&mut all, long), Some(format!("number \\\"{n}\\\"")));
    }
    assert_eq!(reason(&mut all, none), None);
    assert_eq!(all.position(), log.written());
    log.close().expect("it closes");
}
