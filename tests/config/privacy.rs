//! `privacy`, for all exporters and for one.

use shrike::config::Host;

use crate::world::{load, refusal};

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(refusal(text), *expected, "\n{text}");
    }
}

#[test]
fn privacy_is_on_unless_it_is_switched_off() {
    let whole = |text: &str| load(text).unwrap_or_else(|error| panic!("{error}"));
    assert!(whole("{}").privacy.is_some());
    assert!(whole("{}").opening_options().privacy.is_some());
    let off = "privacy: {drop_previews: false, builtin_patterns: []}";
    assert!(whole(off).privacy.is_none());
    assert!(whole("privacy: {drop_previews: false}").privacy.is_some());
    let narrow = "exporters:\n  stdout_a: {privacy: {deny: labels.x}}\n  stdout_b: {}\n";
    let config = whole(narrow);
    let specs = config.exporters.iter().map(|it| config.exporter_spec(it, &Host::default()));
    let are_narrow: Vec<bool> = specs.map(|spec| spec.privacy.is_some()).collect();
    assert_eq!(are_narrow, [true, false]);
}

#[test]
fn every_list_and_pattern_is_read() {
    for text in [
        "privacy: {fields: {allow: [resource.path, metadata.a.b], deny: [session.*]}}",
        "privacy: {redact_fields: labels.*, mask_fields: ['metadata.*.x[].y']}",
        "privacy: {hash_fields: [session.user_id], hash_salt: a-long-enough-salt-1}",
        "privacy: {drop_metadata: true, drop_labels: true, redaction_replacement: ''}",
        "privacy: {patterns: [{name: a, regex: 'x{3}', replacement: y}]}",
        "privacy: {builtin_patterns: [email, credit_card, ssn, phone, ipv4, generic_secret]}",
        "exporters: {stdout: {privacy: {allow: [labels], fields: {deny: [action]}}}}",
        "exporters: {stdout: {privacy: {redact_fields: [metadata.a], mask_fields: [action]}}}",
    ] {
        assert_eq!(refusal(text), "accepted", "{text}");
    }
    let config = load("privacy: {hash_fields: [session.id], hash_salt: short}");
    let notes = config.unwrap_or_else(|error| panic!("{error}")).notes;
    assert_eq!(
        notes,
        ["privacy.hash_salt is shorter than 16 bytes: who guesses it can tell hashed values"]
    );
}

#[test]
fn a_typo_in_a_path_is_refused_because_it_would_leak() {
    check(&[
        (
            "privacy: {fields: {deny: [resource.pth]}}",
            "1:20: privacy.fields.deny: `resource.pth` is no field of an event; did you mean \
             `resource.path`?",
        ),
        (
            "privacy: {redact_fields: [sesion.user_id]}",
            "1:11: privacy.redact_fields: `sesion.user_id` is no field of an event; did you mean \
             `session.user_id`?",
        ),
        (
            "privacy: {fields: {allow: [metadta.x]}}",
            "1:20: privacy.fields.allow: `metadta.x` is no field of an event; did you mean \
             `metadata`?",
        ),
        (
            "privacy: {mask_fields: [resource.zzzzzzzzzzzzz]}",
            "1:11: privacy.mask_fields: `resource.zzzzzzzzzzzzz` is no field of an event",
        ),
        (
            "privacy: {fields: {deny: [timestamp]}}",
            "1:20: privacy.fields.deny: `timestamp` cannot be changed: events are identified, \
             ordered and judged by it",
        ),
        (
            "exporters: {stdout: {privacy: {deny: [labels.]}}}",
            "1:32: exporters.stdout.privacy.deny: `labels.` is no field of an event; did you mean \
             `labels`?",
        ),
        (
            "privacy: {hash_fields: [session.id]}",
            "1:11: privacy.hash_fields: hashes without a salt can be guessed; set one, such as \
             `${file:/path}`",
        ),
    ]);
}

#[test]
fn wrong_patterns_are_refused() {
    check(&[
        (
            "privacy: {builtin_patterns: [e-mail]}",
            "1:11: privacy.builtin_patterns: no pattern `e-mail`; did you mean `email`?",
        ),
        (
            "privacy: {patterns: [{name: a, regex: 'x*'}]}",
            "1:11: privacy.patterns: pattern `a`: it matches an empty text",
        ),
        (
            "privacy: {patterns: [{name: a, regex: '(?=x)'}]}",
            "1:11: privacy.patterns: pattern `a`: error: look-around, including look-ahead and \
             look-behind, is not supported",
        ),
        ("privacy: {patterns: [{name: a}]}", "1:22: privacy.patterns[0]: a pattern needs `regex`"),
        (
            "privacy: {patterns: [{name: a, regexp: b, regex: c}]}",
            "1:32: privacy.patterns[0].regexp: unknown key; did you mean `regex`?",
        ),
        (
            "privacy: {hash_sal: x}",
            "1:11: privacy.hash_sal: unknown key; did you mean `hash_salt`?",
        ),
    ]);
}
