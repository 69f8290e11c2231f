//! Any line is mapped, refused or unknown; what a mapping gives opens as it is, or says its class.
//! Any bytes are logs in Protocol Buffers, which become such a line, or refused.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use shrike::dialects;
use shrike::event::{Frame, Opened, Opening, OpeningOptions, entries};
use shrike::intake::{Batch, CheckOptions, Checker, IntakeCounts, Lines, Mapped, Source};

fuzz_target!(|input: (u8, &[u8])| {
    let (which, bytes) = input;
    check(which, bytes);
    let bytes_max = 4 * bytes.len();
    if let Ok(line) = (dialects::PROTOBUF.decode)(bytes, bytes_max) {
        let is_json = serde_json::from_slice::<IgnoredAny>(&line).is_ok();
        assert!(is_json || std::str::from_utf8(&line).is_err(), "what is decoded is JSON");
        // The last message may be one that grows: names of fields, and control characters, which
        // take six bytes each.
        assert!(line.len() <= bytes_max + 6 * bytes.len() + 1024);
        check(which, &line);
    }
});

fn check(which: u8, line: &[u8]) {
    let opening = Arc::new(Opening::new(&OpeningOptions::default()));
    let check = CheckOptions { dialects: dialects::ALL, ..CheckOptions::default() };
    let counts = Arc::new(IntakeCounts::default());
    let mut checker = Checker::new(Arc::clone(&opening), check, counts);
    let mut batch = Batch::default();
    let text = [line, b"\n"].concat();
    Lines::new(0).take(&mut checker, &text, RECEIVED_NS, &mut batch);
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    for (record, mark) in batch.records(&text) {
        let frame = Frame {
            received_ns: mark.received_ns,
            checked: mark.checked,
            mapped: mark.mapped,
            repaired: mark.repaired,
            ..Frame::default()
        };
        opening.begin(&mut arena);
        let again = opening.open_exact(&frame, record, &mut arena, &mut opened);
        assert_eq!(again, Ok(()), "what intake takes opens as it is");
    }
    // Each mapping must bear any object, also one of another dialect.
    if serde_json::from_slice::<IgnoredAny>(line).is_err() {
        return;
    }
    let members = entries(line.trim_ascii());
    let source = Source {
        line,
        members: &members,
        received_ns: RECEIVED_NS,
        host: "h\"o",
        has_tenant: which & 1 == 0,
        wrapped: None,
    };
    let dialect = dialects::ALL[usize::from(which) % dialects::ALL.len()];
    let mut mapped = Mapped::default();
    if (dialect.map)(&source, &mut mapped).is_ok() {
        for event in mapped.events() {
            let is_json = serde_json::from_slice::<IgnoredAny>(event).is_ok();
            assert!(is_json || std::str::from_utf8(event).is_err(), "{}", dialect.name);
        }
    }
}

const RECEIVED_NS: u64 = 1_770_381_000_000_000_000;
