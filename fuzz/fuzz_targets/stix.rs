//! Patterns, objects and pages of a feed: any bytes are read or refused, and a sign is never made
//! of what has no text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shrike::intel::{Object, PATTERN_BYTES_MAX, Page, Signs};

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = str::from_utf8(input) {
        let found = Signs::parse(text);
        assert!(text.len() <= PATTERN_BYTES_MAX || found.signs.is_empty());
        assert!(!found.signs.is_empty() || !found.unsupported.is_empty(), "silent: {text}");
        // A pattern in parentheses says the same.
        let again = Signs::parse(&format!("({text})"));
        assert!(found.signs.is_empty() || again.signs.len() <= found.signs.len());
        let object = serde_json::json!({
            "type": "indicator", "id": "indicator--1", "created": "2026-01-01T00:00:00Z",
            "pattern": text,
        });
        let is_read = matches!(Object::parse(&object.to_string()), Ok(Object::Indicator(_)));
        assert_eq!(is_read, !found.signs.is_empty(), "{text}");
    }
    // An object that is not used costs a count.
    if let Ok(page) = Page::parse(input) {
        assert!(page.objects.count() <= input.len() as u64);
    }
});
