//! Any bytes are an event or are refused; what an event gives is JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use shrike::event::{
    Class, Classes, Event, FieldId as F, Frame, Opened, Opening, OpeningOptions, renamed, values,
};

fuzz_target!(|input: (bool, u32, &[u8])| {
    let (mapped, repaired, record) = input;
    let opening = Opening::new(&OpeningOptions {
        labels: vec![("team".to_owned(), "red".to_owned())],
        tenant_id: Some("acme".to_owned()),
        ..OpeningOptions::default()
    });
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    let repaired = Classes::from_bits(repaired);
    let received_ns = 1_770_381_000_000_000_000;
    let frame = Frame { received_ns, mapped, repaired, ..Frame::default() };
    let is_text = std::str::from_utf8(record).is_ok();
    opening.begin(&mut arena);
    let exact = opening.open_exact(&frame, record, &mut arena, &mut opened);
    let class = exact.err().map(|reject| reject.class);
    assert_eq!(class == Some(Class::InvalidUtf8), !is_text);
    if is_text {
        let _ = values(record);
        // serde_json stops one level earlier.
        let no_json = matches!(class, Some(Class::JsonSyntax | Class::TrailingData));
        let is_json = serde_json::from_slice::<IgnoredAny>(record).is_ok();
        assert!(!(no_json && is_json), "{class:?} for JSON");
        assert!(is_json || exact.is_err(), "an event that is no JSON");
    }
    opening.begin(&mut arena);
    if opening.open(&frame, record, &mut arena, &mut opened).is_err() {
        return;
    }
    let event = Event::new(&opened, frame, record, &arena);
    for &id in F::ALL {
        if let Some(value) = event.value(id) {
            let json = serde_json::from_slice::<IgnoredAny>(value.json);
            assert!(json.is_ok(), "{id:?} is no JSON");
            assert_eq!(value.escaped, value.json.contains(&b'\\'), "{id:?}");
        }
    }
    if exact.is_ok() {
        let record = renamed(&event, b"019c322d-fa80-7f99-8d84-b44109f58c77");
        let frame = Frame { mapped: true, ..frame };
        let (mut arena, mut opened) = (Vec::new(), Opened::default());
        opening.begin(&mut arena);
        let again = opening.open_exact(&frame, &record, &mut arena, &mut opened);
        // Its remarks may lie one level deeper.
        let class = again.err().map(|reject| reject.class);
        assert!(matches!(class, None | Some(Class::DepthExceeded)), "renamed: {class:?}");
    }
});
