//! Slack: what messages say and never do, both transports, where they go, mistakes.

#[path = "support/config.rs"]
mod config;
mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use shrike::config::Config;
use shrike::deliver::{OptionValue, Options};
use shrike::event::{Context, Event, LeftOut, Severity};
use shrike::transform::{Format, Overrides, Plan, Schema};
use shrike::vendors::slack::SLACK;
use support::{document, opening, slack, with_event};

fn load(keys: &str) -> Result<Config, String> {
    config::load(&format!("exporters: {keys}"))
}

#[track_caller]
fn loaded(keys: &str) -> Config {
    load(keys).unwrap_or_else(|error| panic!("{error}"))
}

const HOOK: &str = "webhook_url: 'https://hooks.slack.com/services/T/B/s3cret'";

/// The document of these keys at the usual level, or as plain text.
fn plan(keys: &str, is_plain: bool) -> Plan {
    let config = loaded(&format!("{{slack: {{{keys}}}}}"));
    let options = &config.exporters[0].settings.options;
    let derived = (SLACK.derive)(options).expect("the options are right");
    let shape = SLACK.shape(options, Format::Native).expect("it has one");
    let texts = options.texts().chain(derived.texts);
    let overrides = Overrides {
        texts: texts.map(|(name, text)| (name.to_owned(), text)).collect(),
        omit: derived.omit.iter().map(|&key| key.to_owned()).collect(),
        ..Overrides::default()
    };
    let native: &'static Schema = &shrike::schemas::NATIVE;
    let chain = match is_plain {
        true => shape.around(shape.plain.expect("it has one")),
        false => shape.chain(native),
    };
    Plan::compile(&chain, &overrides).expect("it compiles")
}

fn message(plan: &Plan, event: &Value) -> Value {
    let body = document(&opening(), plan, event.to_string().as_bytes()).expect("an event");
    serde_json::from_slice(&body).expect("messages are JSON")
}

/// The same where this is known of the event.
fn message_in(plan: &Plan, event: &Value, context: &Context) -> Value {
    let body = with_event(&opening(), event.to_string().as_bytes(), |event| {
        let mut body = Vec::new();
        plan.encode(&Event { context: Some(context), ..*event }, &mut body);
        body
    });
    serde_json::from_slice(&body.expect("an event")).expect("messages are JSON")
}

fn event() -> Value {
    json!({
        "schema_version": "1.0.0", "event_id": "019c322d-fa80-7f99-8d84-b44109f58c77",
        "event_type": "egress_blocked", "event_category": "network",
        "timestamp": "2026-02-06T09:00:00.125Z", "outcome": "failure", "action": "egress",
        "agent": {"id": "a", "name": "n", "version": "1", "type": "clawdstrike"},
        "session": {"id": "c951e57c-8d8a-4850-88f8-f1f86b059b03", "user_id": "dev"},
        "decision": {"allowed": false, "guard": "egress", "severity": "critical",
            "reason": "not on the list"},
        "resource": {"type": "network", "name": "exfil.example", "path": "/a`b",
            "host": "exfil.example", "port": 443},
        "threat": {"tactic": "TA0010", "technique": "T1048"},
        "metadata": {}, "labels": {},
    })
}

/// Every text of a message, one after the other.
fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text}\n"),
        Value::Array(values) => values.iter().map(texts).collect(),
        Value::Object(members) => members.values().map(texts).collect(),
        _ => String::new(),
    }
}

#[test]
fn a_message_says_what_happened() {
    let found = message(&plan(HOOK, false), &event());
    slack::check(&found, true);
    assert_eq!(
        found["text"],
        ":rotating_light: Security BLOCKED: egress (critical): not on the list"
    );
    let attachment = &found["attachments"][0];
    assert_eq!(attachment["color"], "#dc3545");
    let blocks = &attachment["blocks"];
    assert_eq!(blocks[0]["text"]["text"], ":rotating_light: Security BLOCKED: egress");
    assert_eq!(blocks[1]["text"]["text"], "*Reason:* not on the list");
    let texts = texts(&found);
    for text in [
        "*Severity:*\ncritical\n",
        "*Guard:*\negress\n",
        "*Event Type:*\negress_blocked\n",
        "*Outcome:*\nfailure\n",
        "*Resource Type:*\nnetwork\n",
        "*Path:*\n`/a'b`\n",
        "*Host:*\nexfil.example:443\n",
        "*Session:* c951e57c\n",
        "*User:* dev\n",
        "*Env:* staging\n",
        "Event ID: 019c322d-fa80-7f99-8d84-b44109f58c77 | 2026-02-06T09:00:00.125",
        "*MITRE:* TA0010 / T1048\n",
    ] {
        assert!(texts.contains(text), "{text:?} in {texts}");
    }
    assert!(!texts.contains("*Tenant:*"), "an absent one leaves nothing: {texts}");
    for key in ["channel", "username", "icon_emoji"] {
        assert!(found.get(key).is_none(), "{key} is a bot's");
    }
}

#[test]
fn severities_have_their_colours_and_permissions_their_word() {
    for (severity, colour, emoji) in [
        ("critical", "#dc3545", ":rotating_light:"),
        ("high", "#fd7e14", ":warning:"),
        ("medium", "#ffc107", ":large_orange_diamond:"),
        ("low", "#17a2b8", ":information_source:"),
        ("info", "#6c757d", ":speech_balloon:"),
    ] {
        let mut event = event();
        event["decision"]["severity"] = severity.into();
        event["decision"]["allowed"] = true.into();
        event["decision"]["reason"] = " ".into();
        let found = message(&plan(HOOK, false), &event);
        let attachment = &found["attachments"][0];
        assert_eq!(attachment["color"], colour);
        let header = format!("{emoji} Security ALLOWED: egress");
        assert_eq!(attachment["blocks"][0]["text"]["text"], header);
        assert_eq!(attachment["blocks"][1]["text"]["text"], "*Reason:* n/a");
    }
}

#[test]
fn every_part_can_be_left_out() {
    let all = |keys: &str| texts(&message(&plan(&format!("{HOOK}, {keys}"), false), &event()));
    let has = |keys: &str| {
        let texts = all(keys);
        ["*Resource Type:*", "*Path:*", "*Session:*"].map(|part| texts.contains(part))
    };
    assert_eq!(has("formatting: {}"), [true, true, true]);
    assert_eq!(has("formatting: {show_path: false}"), [true, false, true]);
    assert_eq!(has("formatting: {detailed: false}"), [false, false, true]);
    assert_eq!(has("formatting: {show_session: false}"), [true, true, false]);
    let bare = message(
        &plan(&format!("{HOOK}, formatting: {{color_by_severity: false}}"), false),
        &event(),
    );
    slack::check(&bare, false);
    assert!(bare.get("attachments").is_none());
}

#[test]
fn what_was_left_out_before_it_is_told() {
    let said = "Repeated 3 times since 2026-02-06 09:00 UTC";
    let left_out = LeftOut { events: 3, since: 1_770_368_459 };
    for (keys, is_plain) in [
        (HOOK.to_owned(), false),
        (format!("{HOOK}, formatting: {{color_by_severity: false}}"), false),
        (HOOK.to_owned(), true),
    ] {
        let plan = plan(&keys, is_plain);
        let found = message_in(&plan, &event(), &Context { left_out, ..Context::default() });
        if !is_plain {
            slack::check(&found, !keys.contains("color"));
        }
        assert_eq!(texts(&found).matches(said).count(), 1, "{found}");
        let none = Context::default();
        assert_eq!(message_in(&plan, &event(), &none), message(&plan, &event()));
    }
}

#[test]
fn a_reply_names_its_root_and_a_critical_one_is_shown_in_the_channel() {
    let keys = "bot_token: xoxb-1, channel: C1, threading: {enabled: true}";
    let context = Context { thread: Some("1503435956.000247"), ..Context::default() };
    let mut high = event();
    high["decision"]["severity"] = "high".into();
    let bare = format!("{keys}, formatting: {{color_by_severity: false}}");
    for (keys, is_plain) in [(keys, false), (&bare, false), (keys, true)] {
        let plan = plan(keys, is_plain);
        let root = message(&plan, &event());
        assert_eq!((root.get("thread_ts"), root.get("reply_broadcast")), (None, None));
        let mut reply = message_in(&plan, &event(), &context);
        assert_eq!(reply["thread_ts"], "1503435956.000247");
        assert_eq!(reply["reply_broadcast"], true);
        let members = reply.as_object_mut().expect("an object");
        members.retain(|key, _| key != "thread_ts" && key != "reply_broadcast");
        assert_eq!(reply, root, "nothing else is different");
        let reply = message_in(&plan, &high, &context);
        assert_eq!(reply["thread_ts"], "1503435956.000247");
        assert_eq!(reply.get("reply_broadcast"), None);
    }
    let hook = message_in(&plan(HOOK, false), &event(), &context);
    assert_eq!(hook.get("thread_ts"), None, "a webhook knows no threads");
}

#[test]
fn a_session_joins_messages_where_the_event_has_one() {
    let plan = Plan::compile(&[&shrike::schemas::SESSION], &Overrides::default());
    let plan = plan.expect("it compiles");
    let id = "c951e57c-8d8a-4850-88f8-f1f86b059b03";
    assert_eq!(message(&plan, &event()), json!({ "key": id }));
    let mut blank = event();
    blank["session"]["id"] = "".into();
    assert_eq!(message(&plan, &blank), json!({}), "what opening writes there is nobody's");
}

#[test]
fn a_bot_names_its_channel_and_itself() {
    let keys = "bot_token: xoxb-1, channel: C1, identity: {username: shrike, icon_emoji: ':bird:'}, \
                base_url: 'https://console.example/'";
    let mut event = event();
    event["session"]["id"] = "a b/\u{e9}?".into();
    let found = message(&plan(keys, false), &event);
    slack::check(&found, true);
    assert_eq!((&found["channel"], &found["username"]), (&json!("C1"), &json!("shrike")));
    assert_eq!(found["icon_emoji"], ":bird:");
    let blocks = found["attachments"][0]["blocks"].as_array().expect("blocks");
    let buttons = &blocks.last().expect("there are some")["elements"];
    let id = "019c322d-fa80-7f99-8d84-b44109f58c77";
    assert_eq!(buttons[0]["url"], format!("https://console.example/events/{id}"));
    assert_eq!(buttons[1]["url"], "https://console.example/sessions/a%20b%2F%C3%A9%3F");
    let texts = texts(&found);
    assert!(texts.contains("*Session:* a b/\u{e9}?\n"), "a short one is whole: {texts}");
    let plain = message(&plan(keys, true), &event);
    assert_eq!((&plain["channel"], plain.get("blocks")), (&json!("C1"), None));
}

#[test]
fn nothing_in_an_event_is_markup() {
    let hostile = "<!channel> <@U1> &lt; `x` <https://evil.example|click> \u{7}\n*b*";
    let mut event = event();
    for path in [
        "/decision/guard",
        "/decision/reason",
        "/resource/name",
        "/resource/path",
        "/session/user_id",
    ] {
        *event.pointer_mut(path).expect("it is there") = hostile.into();
    }
    for is_plain in [false, true] {
        let found = message(&plan(HOOK, is_plain), &event);
        if !is_plain {
            slack::check(&found, true);
        }
        let texts = texts(&found);
        assert!(!texts.contains('<') && !texts.contains('\u{7}'), "{texts}");
        assert!(texts.contains("&lt;!channel&gt; &lt;@U1&gt; &amp;lt; "), "{texts}");
    }
    let path = texts(&message(&plan(HOOK, false), &event));
    let span = path.split("*Path:*\n`").nth(1).expect("a path").split('`').next();
    assert!(span.expect("the span ends").contains("'x'"), "{path}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_event_makes_a_message_that_slack_refuses(
        texts in prop::collection::vec("(?s).{0,40}", 9),
        times in 1_usize..400,
        port in 0_u32..70_000,
    ) {
        let mut event = event();
        let paths = ["/decision/guard", "/decision/reason", "/resource/name", "/resource/path",
            "/resource/host", "/session/id", "/session/user_id", "/resource/type", "/outcome"];
        for (path, text) in paths.iter().zip(&texts) {
            *event.pointer_mut(path).expect("it is there") = text.repeat(times).into();
        }
        event["resource"]["port"] = port.into();
        let keys = format!("{HOOK}, base_url: 'https://console.example'");
        for is_plain in [false, true] {
            let plan = plan(&keys, is_plain);
            let Some(body) = document(&opening(), &plan, event.to_string().as_bytes()) else {
                return Ok(());
            };
            let found: Value = serde_json::from_slice(&body).expect("messages are JSON");
            match is_plain {
                false => slack::check(&found, true),
                true => {
                    let text = found["text"].as_str().expect("a text");
                    prop_assert!(text.encode_utf16().count() <= 4000 && !text.contains('<'));
                }
            }
        }
    }
}

#[test]
fn mistakes_are_named() {
    for (keys, expected) in [
        ("{}", "exporters.slack.webhook_url: is required, or bot_token and channel"),
        ("{bot_token: xoxb-1}", "exporters.slack.channel: is required for a bot"),
        ("{bot_token: ' ', channel: C1}", "exporters.slack.bot_token: is empty"),
        (&format!("{{{HOOK}, bot_token: xoxb-1}}"), "exporters.slack.bot_token: stands beside"),
        (
            "{webhook_url: 'http://hooks.slack.com/services/T/B/s3cret'}",
            "exporters.slack.webhook_url: plain http",
        ),
        ("{webhook_url: 'hooks.slack.com/s3cret'}", "exporters.slack.webhook_url: "),
        (
            &format!("{{{HOOK}, base_url: 'https://c.example/?a=b'}}"),
            "exporters.slack.base_url: expected",
        ),
        (
            &format!("{{{HOOK}, routing: {{by_severity: {{high: 'https:///s3cret'}}}}}}"),
            "exporters.slack.routing.by_severity.high",
        ),
        (
            &format!("{{{HOOK}, routing: {{by_guard: {{a: 'http://h.example/s3cret'}}}}}}"),
            "exporters.slack.routing.by_guard.a: plain http",
        ),
        (
            &format!(
                "{{{HOOK}, routing: [{{condition: default, channel: ''}}], threading: {{shared: true}}}}"
            ),
            "exporters.slack.threading.shared: unknown key",
        ),
        (
            &format!("{{{HOOK}, threading: {{enabled: true}}}}"),
            "exporters.slack.threading.enabled: needs a bot",
        ),
        (
            "{bot_token: xoxb-1, channel: C1, threading: {enabled: true, ttl_minutes: 0}}",
            "exporters.slack.threading.ttl_minutes: expected",
        ),
        (
            &format!("{{{HOOK}, dedup_window_seconds: 86401}}"),
            "exporters.slack.dedup_window_seconds: expected",
        ),
    ] {
        let error = load(&format!("{{slack: {keys}}}")).map(|_| ()).expect_err(keys);
        assert!(error.contains(expected), "{keys}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    for near in ["http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]/x"] {
        loaded(&format!("{{slack: {{webhook_url: '{near}'}}}}"));
    }
}

#[test]
fn what_has_no_effect_on_a_webhook_is_told() {
    let told = |keys: &str| loaded(&format!("{{slack: {{{keys}}}}}")).notes.join("\n");
    let notes = told(&format!("{HOOK}, channel: C1, identity: {{username: shrike}}"));
    for key in ["exporter slack: channel has no effect", "identity.username has no effect"] {
        assert!(notes.contains(key), "{notes}");
    }
    assert_eq!(told(HOOK), "");
    assert_eq!(told("bot_token: x, channel: C1, identity: {username: shrike}"), "");
}

#[test]
fn groups_and_defaults_are_those_of_the_format() {
    for group in ["webhook", "webhooks"] {
        let config = loaded(&format!(
            "{{{group}: {{exclude_guards: [noisy], slack: {{{HOOK}}}, webhooks: [{{url: 'https://h.example'}}]}}}}"
        ));
        let slack = config.exporters.iter().find(|it| it.settings.name == "slack").expect("it is");
        assert_eq!(slack.filter.min_severity, Severity::Low);
        assert_eq!(slack.filter.exclude_guards, ["noisy"]);
        assert!(config.exporters.iter().any(|it| it.settings.name == "webhook_0"));
    }
    let config = loaded(&format!("{{webhooks: {{min_severity: high, slack: {{{HOOK}}}}}}}"));
    assert_eq!(config.exporters[0].filter.min_severity, Severity::High);
    let settings = &config.exporters[0].settings;
    let rate = settings.route_rate().expect("it has one");
    assert_eq!((rate.per_minute, rate.burst), (60, 5));
    assert_eq!(settings.options.text("api_base").as_deref(), Some("https://slack.com/api"));
}

#[test]
fn a_webhook_is_its_url_and_a_bot_is_below_the_api() {
    let place = |keys: &str| {
        let config = loaded(&format!("{{slack: {{{keys}}}}}"));
        let options = config.exporters[0].settings.options.clone();
        let endpoints = (SLACK.endpoints)(&options).expect("it has one");
        let auth = (SLACK.auth)(&options).expect("it is right");
        let auth = auth.first().map(|(_, secret)| secret.expose().to_owned());
        let path = SLACK.call(shrike::deliver::Purpose::Send, &options, Format::Native);
        (endpoints[0].to_string(), path.expect("it sends").path, auth)
    };
    let hook = place(HOOK);
    assert_eq!(hook, ("https://hooks.slack.com/services/T/B/s3cret".to_owned(), "", None));
    let bot = place("bot_token: ' xoxb-1 ', channel: C1, api_base: 'https://slack-gov.com/api'");
    let token = Some("Bearer xoxb-1".to_owned());
    assert_eq!(bot, ("https://slack-gov.com/api".to_owned(), "/chat.postMessage", token));
}

#[test]
fn a_route_takes_the_channel_from_a_map_or_a_rule() {
    let mut options = Options::default();
    options.set("bot_token", OptionValue::Text("x".to_owned()));
    options.set("channel", OptionValue::Secret(shrike::deliver::Secret::new("C9".to_owned())));
    let derived = (SLACK.derive)(&options).expect("the options are right");
    assert!(derived.texts.contains(&("slack.channel", "C9".to_owned())), "{derived:?}");
}
