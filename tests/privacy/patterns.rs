//! Patterns: the built-in ones, those of an operator, and what must stay as it is.

use proptest::prelude::*;
use serde_json::{Value, json};
use shrike::event::PrivacyRules;

use crate::world::{configured, event, pattern, seen_as, seen_record};

/// Secrets by the name of the pattern that finds them; what is left of the text around them.
const SECRETS: &[(&str, &str, &str)] = &[
    (
        "private_key",
        "key -----BEGIN RSA PRIVATE KEY-----\nMIIEabc/+\n-----END RSA PRIVATE KEY----- end",
        "key [REDACTED] end",
    ),
    ("private_key", "-----BEGIN PRIVATE KEY-----\nMIIEcut", "[REDACTED]"),
    ("private_key", "-----BEGIN PGP PRIVATE KEY BLOCK-----\nx", "[REDACTED]"),
    ("aws_key", "id AKIAIOSFODNN7EXAMPLE.", "id [REDACTED]."),
    (
        "aws_key",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "aws_secret_access_key = [REDACTED]",
    ),
    ("github_token", "git clone ghp_0123456789abcdefghijABCDEFGHIJ012345", "git clone [REDACTED]"),
    ("github_token", "github_pat_11ABCDEFG0123456789abc_xyz", "[REDACTED]"),
    ("github_token", "t=glpat-abcdefghij0123456789", "t=[REDACTED]"),
    ("slack_token", "xoxb-123456789012-abcdef", "[REDACTED]"),
    (
        "slack_token",
        "https://hooks.slack.com/services/T000/B000/XXXXXXXX",
        "https://hooks.slack.com/services/[REDACTED]",
    ),
    ("bearer", "Authorization: Bearer abcdef0123456789.XYZ", "Authorization: Bearer [REDACTED]"),
    ("bearer", "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig-_1 x", "jwt [REDACTED] x"),
    (
        "bearer",
        "Authorization: Basic YWxhZGRpbjpvcGVuc2VzYW1l, x",
        "Authorization: Basic [REDACTED], x",
    ),
    ("bearer", "basic dXNlcjpwYXNz", "basic [REDACTED]"),
    ("llm_key", "sk-ant-api03-abcdefghijklmnop_-0 x", "[REDACTED] x"),
    ("llm_key", "k=sk-proj-abcdefghijklmnop0123", "k=[REDACTED]"),
    (
        "llm_key",
        "sk-svcacct-abcdefghijT3BlbkFJ0123456789abcdefghij.",
        "sk-svcacct-abcdefghij[REDACTED].",
    ),
    ("url_password", "to https://joe:pa@ss:w@h.example/x", "to https://joe:[REDACTED]@h.example/x"),
    ("url_password", r"redis:\/\/:hunter2@h:6379", r"redis:\/\/:[REDACTED]@h:6379"),
    ("email", "from alice.b+c@mail.example.com today", "from [REDACTED] today"),
    ("credit_card", "card 4111 1111 1111 1111 ok", "card [REDACTED] ok"),
    ("ssn", "ssn 123-45-6789", "ssn [REDACTED]"),
    ("phone", "call +49 89 1234 5678 now", "call [REDACTED] now"),
    ("phone", "call (555) 123-4567", "call [REDACTED]"),
    ("ipv4", "from 192.168.10.254:443", "from [REDACTED]:443"),
    ("generic_secret", "run --password=hunter22 x", "run --password=[REDACTED] x"),
    ("generic_secret", "API_KEY: 'abcdef123'", "API_KEY: '[REDACTED]'"),
    (
        "generic_secret",
        r#"{\"password\": \"hunter22\",\"user\":\"joe\"}"#,
        r#"{\"password\": \"[REDACTED]\",\"user\":\"joe\"}"#,
    ),
    (
        "generic_secret",
        r#"{\\\"token\\\":\\\"hunter22\\\"}"#,
        r#"{\\\"token\\\":\\\"[REDACTED]\\\"}"#,
    ),
    ("generic_secret", r"password=DOMAIN\hunter22\x y", "password=[REDACTED] y"),
];

/// The expressions of two built-in patterns.
const PHONE: &str = r"(?:\+[0-9]{1,3}[ .-]?(?:\(?[0-9]{1,4}\)?[ .-]?){2,5}[0-9]{2,4}|(?:\([0-9]{3}\) ?|(?-u:\b)[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4})(?-u:\b)";
const IPV4: &str = r"(?-u:\b)(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?-u:\b)";

/// Texts that no pattern may touch.
const OTHERS: &[&str] = &[
    "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
    "AKIAtooshort and XAKIAIOSFODNN7EXAMPLE",
    "ghp_short xoxb-1 eyJx.y Bearer of news",
    "alice at example.com, @bob",
    "4111 1111 1111 1112, 1234567890123456",
    "2026-02-06T12:00:00Z took 123456789 ns, version 1.2.3",
    "secrets are kept; token rotated",
    "basic authentication, Basic information, BASIC networking",
    "sk-ant-short task-projection sk-proj- T3BlbkFJ",
    "https://h.example:8443/a?b=c@d http://user@host ssh://git@host:22/x",
];

/// The places where a text can stand.
const PLACES: &[&str] = &[
    "/decision/reason",
    "/resource/name",
    "/resource/path",
    "/session/user_id",
    "/action",
    "/threat/indicator/value",
    "/metadata/user/name",
    "/metadata/items/1/kind",
    "/labels/team",
];

fn with(place: &str, text: &str) -> Value {
    let mut event = event();
    *event.pointer_mut(place).expect("the event has it") = json!(text);
    event
}

#[test]
fn each_secret_is_found_wherever_it_stands() {
    for (name, text, left) in SECRETS {
        let options = configured(&format!("{{drop_previews: false, builtin_patterns: [{name}]}}"));
        for place in PLACES {
            let seen = seen_as(&options, &with(place, text));
            let seen = seen.unwrap_or_else(|| panic!("{name} is found at {place}: {text}"));
            assert_eq!(seen.pointer(place), Some(&json!(left)), "{name} at {place}");
        }
    }
}

#[test]
fn the_defaults_find_credentials_and_leave_the_rest() {
    let options = configured("{drop_previews: false}");
    for (name, text, left) in SECRETS {
        let seen = seen_as(&options, &with("/decision/reason", text));
        let is_default =
            ["private_key", "aws_key", "github_token", "slack_token", "bearer", "llm_key"];
        match is_default.contains(name) {
            true => {
                let seen = seen.unwrap_or_else(|| panic!("{name} is on: {text}"));
                assert_eq!(seen["decision"]["reason"], json!(left));
            }
            false => assert_eq!(seen, None, "{name} is off: {text}"),
        }
    }
}

#[test]
fn what_only_looks_like_a_secret_stays() {
    let all = "private_key, aws_key, github_token, slack_token, bearer, llm_key, url_password, \
               credit_card, ssn, phone, ipv4, generic_secret, email";
    let options = configured(&format!("{{drop_previews: false, builtin_patterns: [{all}]}}"));
    let mut event = event();
    event["session"]["user_id"] = json!("alice");
    for text in OTHERS {
        event["metadata"]["note"] = json!(text);
        event["decision"]["reason"] = json!(text);
        assert_eq!(seen_as(&options, &event), None, "{text}");
    }
}

#[test]
fn escapes_hide_nothing() {
    let options = configured("{builtin_patterns: [aws_key, ipv4]}");
    for (spelled, left) in [
        (r"\u0041KIAIOSFODNN7EXAMPLE", "[REDACTED]"),
        (r"AKIAIOSF\u004fDNN7EXAMPLE \u00e9\n", "[REDACTED] \u{e9}\n"),
        (r#"\"AKIAIOSFODNN7EXAMPLE\""#, "\"[REDACTED]\""),
        (r"10\u002e0.0.1", "[REDACTED]"),
    ] {
        let mut event = event();
        event["metadata"]["note"] = json!("HERE");
        let record = event.to_string().replace("HERE", spelled);
        let event: Value = serde_json::from_str(&record).expect("it is JSON");
        drop(event);
        let seen = raw(&options, record.as_bytes()).expect("it is found");
        assert_eq!(seen["metadata"]["note"], json!(left), "{spelled}");
    }
}

fn raw(options: &shrike::event::OpeningOptions, record: &[u8]) -> Option<Value> {
    use shrike::event::{Event, Frame, Opened, Opening};
    let opening = Opening::new(options);
    let (mut arena, mut opened) = (Vec::new(), Opened::default());
    opening.begin(&mut arena);
    opening.open(&Frame::default(), record, &mut arena, &mut opened).expect("it is an event");
    let event = Event::new(&opened, Frame::default(), record, &arena);
    let text = crate::world::rendered(&event);
    opened.concealed.then(|| serde_json::from_slice(&text).expect("it is JSON"))
}

#[test]
fn a_record_that_needs_a_repair_is_looked_into_as_well() {
    let options = configured("{}");
    let record = with("/decision/reason", "AKIAIOSFODNN7EXAMPLE BROKEN").to_string();
    let mut record = record.into_bytes();
    let at = record.windows(6).position(|part| part == b"BROKEN").expect("it was written");
    record[at] = 0xff;
    let seen = raw(&options, &record).expect("it is found");
    assert_eq!(seen["decision"]["reason"], json!("[REDACTED] \u{fffd}ROKEN"));
}

#[test]
fn keys_with_escapes_are_previews_as_well() {
    let options = configured("{builtin_patterns: []}");
    let mut event = event();
    event["metadata"] = json!({"PREVIEW": "body", "a": 1});
    let record = event.to_string().replace("PREVIEW", r"c\u006fntent");
    let seen = raw(&options, record.as_bytes()).expect("it is dropped");
    assert_eq!(seen["metadata"], json!({"a": 1}));
}

#[test]
fn patterns_of_an_operator_are_applied_with_their_own_replacement() {
    let options = configured(
        "{redaction_replacement: '<gone>', patterns: [{name: badge, regex: 'B-[0-9]{5}', \
         replacement: 'B-*'}, {name: zone, regex: 'zone (?P<secret>[a-z]+)'}]}",
    );
    let seen = seen_as(&options, &with("/decision/reason", "B-12345 in zone red \"B-54321\""));
    let seen = seen.expect("they are found");
    assert_eq!(seen["decision"]["reason"], json!("B-* in zone <gone> \"B-*\""));
}

#[test]
fn an_event_without_secrets_keeps_its_places() {
    let rules = PrivacyRules { patterns: vec![pattern("ghp_[a-z]{9}")], ..PrivacyRules::default() };
    assert_eq!(seen_record(event().to_string().as_bytes(), &rules), None);
}

proptest! {
    /// What goes before an expression only saves time: tried on every text it finds the same, where
    /// there are nine digits.
    #[test]
    fn numbers_are_found_wherever_their_expressions_find_them(
        text in r#"[ "/_a]?[0-9]{3,4}([0-9 .()+-]{0,3}[0-9]{2,4}){3,8}[ "/_a]?"#,
    ) {
        let gated = configured("{builtin_patterns: [phone, ipv4]}");
        let always = configured(&format!("{{patterns: [{{name: p, regex: '{PHONE}'}}, \
                                          {{name: i, regex: '{IPV4}'}}]}}"));
        let event = with("/decision/reason", &text);
        prop_assert_eq!(seen_as(&gated, &event), seen_as(&always, &event));
    }
}
