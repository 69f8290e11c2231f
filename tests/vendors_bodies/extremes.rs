//! Events at the ends of what an event may be, in bodies of every vendor.

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::{BODIES, PLANS, Plans, SAMPLES};

/// What has no text in RFC 3339, with its four digits of a year, is the nearest time that has.
#[test]
fn times_at_the_ends_of_the_calendar_are_the_same_for_every_vendor() {
    const CASES: &[(&str, &str, i64)] = &[
        ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z", -62_167_219_200),
        ("0000-01-01T00:00:00+23:59", "0000-01-01T00:00:00.000Z", -62_167_219_200),
        ("0000-02-29T23:59:59Z", "0000-02-29T23:59:59.000Z", -62_162_035_201),
        ("0000-03-01T00:00:00Z", "0000-03-01T00:00:00.000Z", -62_162_035_200),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z", -62_135_596_800),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z", 253_402_300_799),
        ("9999-12-31T23:59:60Z", "9999-12-31T23:59:59.000Z", 253_402_300_799),
        ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.000Z", 253_402_300_799),
    ];
    let base = SAMPLES.lines().next().expect("there are samples");
    let mut record: Value = serde_json::from_str(base).expect("samples are JSON");
    for &(written, text, secs) in CASES {
        record["timestamp"] = Value::from(written);
        let record = record.to_string();
        for (case, plans) in BODIES.iter().zip(&*PLANS) {
            let body = String::from_utf8(plans.body(&[record.as_bytes()])).expect("UTF-8");
            let wanted = match (case.vendor, case.file) {
                ("datadog" | "pagerduty", _) => format!("\"timestamp\":\"{text}\""),
                ("splunk", "event_minimal.txt") => format!("\"time\":{secs}.000"),
                (_, file) if file.contains("cef") => format!("rt={secs}000"),
                (_, file) if file.contains("ocsf") => format!("\"time\":{secs}000"),
                _ => continue,
            };
            let is_there = body.replace('\\', "").contains(&wanted);
            assert!(is_there, "{written} is not {wanted} in {}/{}", case.vendor, case.file);
        }
    }
}

/// A producer that has one of its labels looked through for each other would hold up a worker.
#[test]
fn many_labels_cost_what_their_bytes_do() {
    let cost = |plans: &Plans, count: usize| {
        let dotted = (0..count).map(|n| format!(r#""a.{n}":"x""#));
        // Digits begin no tag; without them, the last are one.
        let tags = (0..count).map(|n| format!(r#""{n}":"x""#));
        let tags = tags.chain((0..count).map(|n| format!(r#""{n}b":"x""#)));
        let labels = tags.chain(dotted).collect::<Vec<_>>().join(",");
        let base = SAMPLES.lines().next().expect("there are samples");
        let (before, after) = base.split_once(r#""labels":{"#).expect("it has labels");
        let record = format!(r#"{before}"labels":{{{labels},{after}"#);
        let began = clock_gettime(ClockId::ThreadCPUTime);
        plans.body(&[record.as_bytes()]);
        let spent = clock_gettime(ClockId::ThreadCPUTime) - began;
        spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
    };
    for (case, plans) in BODIES.iter().zip(&*PLANS) {
        let (few, many) = (cost(plans, 200), cost(plans, 6_400));
        assert!(many < few * 160.0, "{}/{}: {few} s, then {many} s", case.vendor, case.file);
    }
}
