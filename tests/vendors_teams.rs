//! Teams: what cards say and never do, how large they get, both kinds of webhooks, mistakes.

#[path = "support/config.rs"]
mod config;
mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use shrike::config::Config;
use shrike::event::{Context, Event, LeftOut, Severity};
use shrike::schemas::NATIVE;
use shrike::transform::{Format, Overrides, Plan};
use shrike::vendors::teams::TEAMS;
use support::{document, opening, with_event};

fn load(keys: &str) -> Result<Config, String> {
    config::load(&format!("exporters: {keys}"))
}

#[track_caller]
fn loaded(keys: &str) -> Config {
    load(keys).unwrap_or_else(|error| panic!("{error}"))
}

const HOOK: &str = "webhook_url: 'https://prod-1.westeurope.logic.azure.com/workflows/1/triggers/manual/paths/invoke?sig=s3cret'";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usual,
    Small,
    Other,
}

fn plan(keys: &str, kind: Kind) -> Plan {
    let config = loaded(&format!("{{teams: {{{keys}}}}}"));
    let options = &config.exporters[0].settings.options;
    let derived = (TEAMS.derive)(options).expect("the options are right");
    let shape = TEAMS.shape(options, Format::Native).expect("it has one");
    let texts = options.texts().chain(derived.texts);
    let overrides = Overrides {
        texts: texts.map(|(name, text)| (name.to_owned(), text)).collect(),
        ..Overrides::default()
    };
    let chain = match kind {
        Kind::Usual => shape.chain(&NATIVE),
        Kind::Small => shape.around(shape.small.expect("it has one")),
        Kind::Other => shape.around(shape.plain.expect("it has one")),
    };
    Plan::compile(&chain, &overrides).expect("it compiles")
}

fn body(plan: &Plan, event: &Value) -> Vec<u8> {
    document(&opening(), plan, event.to_string().as_bytes()).expect("an event")
}

fn card(plan: &Plan, event: &Value) -> Value {
    serde_json::from_slice(&body(plan, event)).expect("cards are JSON")
}

fn event() -> Value {
    json!({
        "schema_version": "1.0.0", "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
        "event_type": "egress_blocked", "event_category": "network",
        "timestamp": "2026-02-06T09:00:00.125Z", "outcome": "failure", "action": "egress",
        "agent": {"id": "a", "name": "n", "version": "1", "type": "clawdstrike"},
        "session": {"id": "c951e57c-8d8a-4850-88f8-f1f86b059b03", "user_id": "dev"},
        "decision": {"allowed": false, "guard": "egress_list", "severity": "critical",
            "reason": "not on *the* list"},
        "resource": {"type": "network", "name": "exfil.example", "path": "/a",
            "host": "exfil.example", "port": 443},
        "threat": {"tactic": "TA0010", "technique": "T1048"},
        "metadata": {}, "labels": {},
    })
}

/// The facts of a card, as one text.
fn facts(facts: &Value, key: &str) -> String {
    let facts = facts.as_array().expect("facts").iter();
    facts
        .map(|fact| format!("{}={}\n", fact[key].as_str().expect("a name"), fact["value"]))
        .collect()
}

#[test]
fn an_adaptive_card_says_what_happened() {
    let found = card(&plan(HOOK, Kind::Usual), &event());
    assert_eq!(found["type"], "message");
    let attachment = &found["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(attachment["contentUrl"], Value::Null);
    let content = &attachment["content"];
    assert_eq!((&content["type"], &content["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
    assert_eq!(content["msteams"]["width"], "Full");
    assert_eq!(content["$schema"], "http://adaptivecards.io/schemas/adaptive-card.json");
    let blocks = &content["body"];
    assert_eq!(blocks[0]["text"], r"Security BLOCKED: egress\_list");
    assert_eq!(
        (&blocks[0]["size"], &blocks[0]["weight"], &blocks[0]["color"]),
        (&json!("Large"), &json!("Bolder"), &json!("attention"))
    );
    assert_eq!(
        (&blocks[1]["text"], &blocks[1]["wrap"]),
        (&json!(r"not on \*the\* list"), &json!(true))
    );
    let said = facts(&blocks[2]["facts"], "title");
    for fact in [
        "Severity=\"critical\"",
        "Guard=\"egress\\\\_list\"",
        "Event Type=\"egress\\\\_blocked\"",
        "Resource=\"exfil.example\"",
        "Path=\"/a\"",
        "Host=\"exfil.example:443\"",
        "Session=\"c951e57c-8d8\u{2026}\"",
        "Environment=\"staging\"",
        "MITRE=\"TA0010 / T1048\"",
        "Time=\"2026-02-06T09:00:00.125Z\"",
        "Event ID=\"019c322d-fa80-7f99-8d84-b44109f58c77\"",
    ] {
        assert!(said.contains(&format!("{fact}\n")), "{fact} in {said}");
    }
    assert!(!said.contains("Tenant"), "an absent one leaves nothing: {said}");
    assert!(content.get("actions").is_none());
}

#[test]
fn links_lead_to_the_console() {
    let keys = format!(
        "{HOOK}, formatting: {{show_actions: true, show_facts: false}}, base_url: 'https://c.example/x/'"
    );
    let mut event = event();
    event["session"]["id"] = "a b".into();
    let found = card(&plan(&keys, Kind::Usual), &event);
    let content = &found["attachments"][0]["content"];
    assert_eq!(content["body"].as_array().map(Vec::len), Some(2), "no facts");
    let urls: Vec<&str> = content["actions"]
        .as_array()
        .expect("actions")
        .iter()
        .map(|action| action["url"].as_str().expect("a link"))
        .collect();
    let id = "019c322d-fa80-7f99-8d84-b44109f58c77";
    assert_eq!(
        urls,
        [&format!("https://c.example/x/events/{id}"), "https://c.example/x/sessions/a%20b"]
    );
    let whole = card(&plan(HOOK, Kind::Usual), &event);
    let said = facts(&whole["attachments"][0]["content"]["body"][2]["facts"], "title");
    assert!(said.contains("Session=\"a b\"\n"), "a short one is whole: {said}");
}

#[test]
fn a_message_card_has_the_colour_of_its_severity() {
    let keys = format!("{HOOK}, formatting: {{use_adaptive_cards: false}}, theme_color: '#123abc'");
    for (severity, colour) in [
        ("critical", "dc3545"),
        ("high", "fd7e14"),
        ("medium", "ffc107"),
        ("low", "17a2b8"),
        ("info", "6c757d"),
    ] {
        let mut event = event();
        event["decision"]["severity"] = severity.into();
        event["decision"]["reason"] = "".into();
        for plan in [plan(&keys, Kind::Usual), plan(HOOK, Kind::Other)] {
            let found = card(&plan, &event);
            assert_eq!(found["@type"], "MessageCard");
            assert_eq!(found["themeColor"], colour, "{severity}");
            assert_eq!(found["summary"], "Security BLOCKED: egress_list", "it is no markup");
            let section = &found["sections"][0];
            assert_eq!(section["activityTitle"], r"Security BLOCKED: egress\_list");
            assert_eq!(
                (&section["activitySubtitle"], &section["markdown"]),
                (&json!("n/a"), &json!(true))
            );
            assert!(facts(&section["facts"], "name").contains("Resource=\"exfil.example\"\n"));
        }
    }
}

#[test]
fn a_small_card_has_the_least() {
    for keys in [HOOK.to_owned(), format!("{HOOK}, formatting: {{use_adaptive_cards: false}}")] {
        let mut event = event();
        event["decision"]["reason"] = "x".repeat(10_000).into();
        let found = body(&plan(&keys, Kind::Small), &event);
        assert!(found.len() < 1_600, "{}", found.len());
        let text = String::from_utf8(found).expect("UTF-8");
        assert!(text.contains("019c322d-fa80-7f99-8d84-b44109f58c77") && text.contains('\u{2026}'));
    }
}

/// Whether a character of Markdown stands without a backslash before it.
fn has_markup(text: &str) -> bool {
    let mut is_escaped = false;
    text.chars().any(|char| {
        let is_bare = !is_escaped && "*_[]()#~<>`".contains(char);
        is_escaped = char == '\\' && !is_escaped;
        is_bare
    })
}

fn shown(value: &Value, key: &str, texts: &mut Vec<String>) {
    match value {
        Value::String(text)
            if !["url", "summary", "$schema", "@type", "@context", "contentType"]
                .contains(&key) =>
        {
            texts.push(text.clone());
        }
        Value::Array(values) => values.iter().for_each(|value| shown(value, key, texts)),
        Value::Object(members) => members.iter().for_each(|(key, value)| shown(value, key, texts)),
        _ => {}
    }
}

#[test]
fn what_was_left_out_before_it_is_told() {
    let left_out = LeftOut { events: 1, since: 1_770_368_459 };
    let old = format!("{HOOK}, formatting: {{use_adaptive_cards: false}}");
    for (keys, kind) in
        [(HOOK, Kind::Usual), (HOOK, Kind::Small), (HOOK, Kind::Other), (&old, Kind::Small)]
    {
        let body = with_event(&opening(), event().to_string().as_bytes(), |event| {
            let mut body = Vec::new();
            let context = Context { left_out, ..Context::default() };
            plan(keys, kind).encode(&Event { context: Some(&context), ..*event }, &mut body);
            body
        });
        let found: Value =
            serde_json::from_slice(&body.expect("an event")).expect("cards are JSON");
        let mut texts = Vec::new();
        shown(&found, "", &mut texts);
        let said = "Repeated 1 time since 2026-02-06 09:00 UTC";
        let told = texts.iter().filter(|text| text.contains(said)).count();
        assert_eq!(told, 1, "{kind:?}: {found}");
        assert_eq!(texts.iter().find(|text| has_markup(text)), None, "{kind:?}");
    }
}

#[test]
fn nothing_in_an_event_is_markup() {
    let hostile = "[a](https://evil.example) **b** <a href='x'>c</a> `d` ~e~ #f \\[g\\] \u{7}";
    let mut event = event();
    for path in
        ["/decision/guard", "/decision/reason", "/resource/name", "/resource/path", "/session/id"]
    {
        *event.pointer_mut(path).expect("it is there") = hostile.into();
    }
    for kind in [Kind::Usual, Kind::Small, Kind::Other] {
        let mut texts = Vec::new();
        shown(&card(&plan(HOOK, kind), &event), "", &mut texts);
        assert!(
            texts.iter().any(|text| text.contains(r"\[a\]\(https://evil.example\)")),
            "{texts:?}"
        );
        assert_eq!(texts.iter().find(|text| has_markup(text)), None, "{kind:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// "28 KB for the whole message", also of characters that take four bytes or an escape.
    #[test]
    fn no_event_makes_a_card_that_is_too_large(
        texts in prop::collection::vec("(?s).{0,40}|[\u{1f985}\"\\\\*]{1,40}", 9),
        times in 1_usize..2000,
    ) {
        let mut event = event();
        let paths = ["/decision/guard", "/decision/reason", "/resource/name", "/resource/path",
            "/resource/host", "/session/id", "/threat/tactic", "/threat/technique", "/event_type"];
        for (path, text) in paths.iter().zip(&texts) {
            *event.pointer_mut(path).expect("it is there") = text.repeat(times).into();
        }
        let base = format!("https://c.example/{}", "x".repeat(1_900));
        let keys = format!("{HOOK}, formatting: {{show_actions: true}}, base_url: '{base}'");
        let old = format!("{HOOK}, formatting: {{use_adaptive_cards: false}}");
        for (keys, kind) in [(&keys, Kind::Usual), (&keys, Kind::Small), (&old, Kind::Usual)] {
            let plan = plan(keys, kind);
            let Some(found) = document(&opening(), &plan, event.to_string().as_bytes()) else {
                return Ok(());
            };
            prop_assert!(found.len() <= 27_000, "{} bytes", found.len());
            let mut texts = Vec::new();
            shown(&serde_json::from_slice(&found).expect("JSON"), "", &mut texts);
            prop_assert_eq!(texts.iter().find(|text| has_markup(text)), None);
        }
    }
}

#[test]
fn mistakes_are_named() {
    for (keys, expected) in [
        ("{}", "exporters.teams.webhook_url: is required"),
        (
            "{webhook_url: 'http://a.logic.azure.com/s3cret'}",
            "exporters.teams.webhook_url: plain http",
        ),
        (
            &format!("{{{HOOK}, formatting: {{show_actions: true}}}}"),
            "exporters.teams.formatting.show_actions: needs base_url",
        ),
        (&format!("{{{HOOK}, theme_color: blue}}"), "exporters.teams.theme_color: expected six"),
        (&format!("{{{HOOK}, mode: card}}"), "exporters.teams.mode: expected"),
        (
            &format!("{{{HOOK}, base_url: 'https://c.example/#a'}}"),
            "exporters.teams.base_url: expected",
        ),
        (
            &format!("{{{HOOK}, routing: {{by_guard: {{a: 'http://h.example/s3cret'}}}}}}"),
            "exporters.teams.routing.by_guard.a: plain http",
        ),
        (
            &format!("{{{HOOK}, flood: {{max_wait_ms: 5000000}}}}"),
            "exporters.teams.flood.max_wait_ms: expected a whole number in ms or a text such as",
        ),
        (
            &format!("{{{HOOK}, max_age: 10ms}}"),
            "exporters.teams.max_age: expected none, or a time span such as 10s, at least 1s",
        ),
        (
            &format!("{{{HOOK}, threading: {{enabled: true}}}}"),
            "exporters.teams.threading: unknown",
        ),
    ] {
        let error = load(&format!("{{teams: {keys}}}")).map(|_| ()).expect_err(keys);
        assert!(error.contains(expected), "{keys}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn an_old_connector_is_told() {
    let told = |keys: &str| loaded(&format!("{{teams: {{{keys}}}}}")).notes.join("\n");
    assert_eq!(told(HOOK), "");
    let old = "webhook_url: 'https://acme.webhook.office.com/webhookb2/s3cret'";
    let notes = told(old);
    assert!(
        notes.contains("exporter teams: the webhook is that of an Office 365 connector"),
        "{notes}"
    );
    assert!(!notes.contains("s3cret"), "{notes}");
    assert_eq!(told(&format!("{old}, mode: workflows")), "");
    assert!(told(&format!("{HOOK}, mode: connector")).contains("retired"));
}

#[test]
fn defaults_are_those_of_the_format() {
    let config = loaded(&format!("{{webhook: {{teams: {{{HOOK}}}}}}}"));
    let exporter = &config.exporters[0];
    assert_eq!(exporter.settings.name, "teams");
    assert_eq!(exporter.filter.min_severity, Severity::Low);
    let rate = exporter.settings.route_rate().expect("it has one");
    assert_eq!((rate.per_minute, rate.burst), (20, 4));
    let endpoint = (TEAMS.endpoints)(&exporter.settings.options).expect("it has one");
    assert!(endpoint[0].to_string().ends_with("/invoke?sig=s3cret"), "as it is");
}
