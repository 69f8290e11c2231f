//! Response hooks: keys that stay apart, and what answers mean.

#[allow(dead_code, reason = "each test crate that shares this folder uses a part of it")]
#[path = "support/config.rs"]
mod config;
mod support;

use http::HeaderMap;
use shrike::deliver::{
    Documents, Fate, OptionValue, Options, Pace, Problem, Purpose, Response, Signature, judge,
};
use shrike::transform::{Format, Overrides, Plan};
use shrike::vendors::hook::HOOK;

const RECORD: &str = concat!(
    r#"{"schema_version":"1.0.0","event_id":"019c322d-fa80-7f99-8d84-b44109f58c77","#,
    r#""event_type":"egress_blocked","event_category":"network","#,
    r#""timestamp":"2026-02-06T12:00:00Z","#,
    r#""agent":{"id":"a-1","name":"hushd","version":"0.1.0","type":"clawdstrike"},"#,
    r#""session":{"id":"SESSION"},"outcome":"failure","action":"egress","threat":{},"#,
    r#""decision":{"allowed":false,"guard":"egress","severity":"medium","reason":"r"},"#,
    r#""resource":{"type":"network","name":"x"},"metadata":{},"labels":{}}"#,
);

fn options(template: &str) -> Options {
    let mut options = Options::default();
    let text = |text: &str| OptionValue::Text(text.to_owned());
    options.set("name", text("isolate"));
    options.set("params.url", text("https://h.example/act"));
    options.set("params.method", text("POST"));
    options.set("idempotency_key", text(template));
    options
}

/// The key of an event of this session, as its header says.
fn key(template: &str, session: &str) -> String {
    let options = options(template);
    let derived = (HOOK.derive)(&options).expect("the template is right");
    let shape = HOOK.shape(&options, Format::Native).expect("it has one");
    let texts = derived.texts.iter().map(|(name, text)| ((*name).to_owned(), text.clone()));
    let overrides = Overrides { texts: texts.collect(), ..Overrides::default() };
    let plan = Plan::compile(&[shape.heads.expect("it has one")], &overrides).expect("it compiles");
    let record = RECORD.replace("SESSION", session);
    let heads = support::document(&support::opening(), &plan, record.as_bytes());
    let heads = String::from_utf8(heads.expect("it is an event")).expect("headers are ASCII");
    heads.strip_prefix("idempotency-key:").expect("its only header").trim_end().to_owned()
}

#[test]
fn what_is_replaced_is_not_looked_at_again() {
    for (template, session, expected) in [
        ("{hook}:{event_id}", "s", "isolate:019c322d-fa80-7f99-8d84-b44109f58c77"),
        ("{hook}:{session_id}", "{hook}", "isolate:{hook}"),
        ("{{hook}}-{session_id}", "a b", "{hook}-a%20b"),
        ("{session_id}/{tenant_id}/{labels.team}", "s", "s/-/-"),
        // Whoever can choose a part of the key cannot make two of them alike.
        ("{session_id}", "a%20b", "a%2520b"),
        ("{session_id}", "a\\nb\\\"\\\\", "a%0Ab%22%5C"),
        ("{session_id}", "\u{e9}", "%C3%A9"),
    ] {
        assert_eq!(key(template, session), expected, "{template} {session}");
    }
}

#[test]
fn keys_that_are_cut_stay_apart() {
    let long = |end: &str| key("{hook}:{session_id}", &("s".repeat(600) + end));
    let (one, two) = (long("1"), long("2"));
    assert_ne!(one, two);
    assert_eq!(one, long("1"), "and stay the same");
    assert!(one.len() < 600 && one.starts_with("isolate:sss"), "{one}");
    let (_, digest) = one.rsplit_once('~').expect("it ends with a digest");
    assert!(digest.len() == 32 && digest.bytes().all(|it| it.is_ascii_hexdigit()), "{digest}");
    let short = "s".repeat(504);
    assert_eq!(key("{hook}:{session_id}", &short), format!("isolate:{short}"), "512 bytes fit");
}

#[test]
fn templates_that_say_nothing_are_refused() {
    for (template, expected) in [
        ("{hook}:{event}", "column 8: unknown variable"),
        ("{document}", "column 1: unknown variable"),
        ("{{{date}", "column 3: unknown variable"),
        ("{params.method}", "unknown variable"),
        ("{hook}:{event_id", "without its partner"),
        ("event_id}", "without its partner"),
        ("{}", "unknown variable"),
        ("{s3cret-t0ken}", "expected `hook` or a field"),
    ] {
        let Problem { key, problem } = (HOOK.derive)(&options(template)).expect_err(template);
        assert_eq!(key, "idempotency_key");
        assert!(problem.contains(expected), "{template}: {problem}");
        assert!(!problem.contains("s3cret"), "it may have come by reference: {problem}");
    }
    assert!((HOOK.derive)(&options("{hook}")).is_ok(), "one action for all is a choice");
}

#[test]
fn answers_settle_hold_or_wait() {
    let options = options("{event_id}");
    let call = HOOK.call(Purpose::Send, &options, Format::Native).expect("it sends");
    for (status, expected) in [
        (200, "Delivered"),
        (202, "Delivered"),
        (302, "Hold"),
        (400, "Reject"),
        (401, "Hold"),
        (403, "Hold"),
        (404, "Hold"),
        (405, "Hold"),
        (408, "Retry"),
        (409, "Retry"),
        (415, "Hold"),
        (422, "Reject"),
        (429, "Retry"),
        (500, "Retry"),
        (503, "Retry"),
    ] {
        let response = Response {
            status,
            headers: &HeaderMap::new(),
            body: b"",
            events: 1,
            body_bytes: 100,
            documents: Documents::NONE,
            acks: &[],
            options: &options,
        };
        let verdict = judge(call, &response);
        assert!(format!("{:?}", verdict.fate).starts_with(expected), "{status}: {verdict:?}");
        let waits = matches!(verdict.fate, Fate::Retry);
        assert_eq!(waits, matches!(verdict.pace, Pace::Pause(_)), "{status}: {verdict:?}");
    }
}

#[test]
fn a_signature_has_a_key() {
    let mut options = options("{event_id}");
    assert_eq!((HOOK.sign)(&options), Ok(None));
    options.set("params.auth.header_name", OptionValue::Text("X-Sign".to_owned()));
    assert_eq!((HOOK.sign)(&options).expect_err("no key").key, "params.auth.header_name");
    let secret = shrike::deliver::Secret::new("k3y".to_owned());
    options.set("params.auth.secret", OptionValue::Secret(secret));
    let signature = (HOOK.sign)(&options).expect("it has one");
    assert!(matches!(signature, Some(Signature::Hmac { header, .. }) if header == "X-Sign"));
}

fn refused(text: &str) -> String {
    let loaded = config::load(text);
    loaded.err().unwrap_or_default()
}

#[test]
fn a_hook_goes_through_an_exporter_of_its_action_that_runs() {
    const PAGER: &str = "pagerduty: {routing_key: 0123456789abcdef0123456789abcdef";
    for (exporters, hook, expected) in [
        (format!("{PAGER}}}"), "action: pagerduty, params: {exporter: pagerduty}", ""),
        (
            format!("{PAGER}}}"),
            "action: pagerduty",
            ".action: pagerduty needs `params.exporter`, the name of an exporter of that type",
        ),
        (
            format!("{PAGER}}}"),
            "action: opsgenie, params: {exporter: pagerduty}",
            ".params.exporter: `pagerduty` is of type pagerduty; action opsgenie needs one of type opsgenie",
        ),
        (
            format!("{PAGER}, enabled: false}}"),
            "action: pagerduty, params: {exporter: pagerduty}",
            "is switched off (`enabled: false`)",
        ),
        (
            format!("{PAGER}}}"),
            "action: pagerduty, params: {exporter: pagerduty, url: 'https://h.example'}",
            ".params.url: has no effect with action pagerduty",
        ),
        (
            format!("{PAGER}}}"),
            "action: pagerduty, params: {exporter: pagerduty}, tls: {min_version: '1.3'}",
            ".tls.min_version: has no effect with action pagerduty",
        ),
        (
            format!("{PAGER}}}"),
            "action: pagerduty, params: {exporter: pagerduty}, idempotency_key: '{nobody}'",
            ".idempotency_key: column 1: unknown variable",
        ),
    ] {
        let text = format!(
            "exporters:\n  {exporters}\nresponse_hooks:\n  - {{name: page, when: default, {hook}}}\n"
        );
        let error = refused(&text);
        assert_eq!(error.is_empty(), expected.is_empty(), "{hook}: {error}");
        assert!(error.contains(expected), "{hook}: {error}");
        assert!(error.lines().count() <= 1, "one mistake, one line: {error}");
    }
}
