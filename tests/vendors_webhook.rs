//! Webhooks: credentials of every kind, signatures, keys that stay, templates, mistakes.

#[path = "support/config.rs"]
mod config;

use std::time::Duration;

use bytes::Bytes;
use shrike::config::Config;
use shrike::deliver::{
    Binding, Channel, CompiledCall, Encoding, Heads, OptionValue, Options, Parcel, Purpose,
    Request, Secret, Via,
};
use shrike::transform::{Escape, Format, Template};
use shrike::vendors::webhook::WEBHOOK;

const VIA: Via = Via { endpoint: 0, group: 0, channel: Channel::from_random([7; 16]) };

/// Options as key and text.
type Pairs = &'static [(&'static str, &'static str)];

fn options(pairs: &[(&'static str, &str)]) -> Options {
    let mut options = Options::default();
    options
        .set("url", OptionValue::Secret(Secret::new("https://h.example/hook?k=s3cret".to_owned())));
    for &(key, text) in pairs {
        let value = match (key, text) {
            ("url" | "auth.token" | "auth.password" | "auth.header_value" | "auth.secret", _) => {
                OptionValue::Secret(Secret::new(text.to_owned()))
            }
            ("health.status", _) => OptionValue::Int(text.parse().expect("a number")),
            (_, "true" | "false") => OptionValue::Bool(text == "true"),
            ("success_status" | "retry_status" | "permanent_status", _) => {
                OptionValue::List(text.split(' ').map(str::to_owned).collect())
            }
            _ => OptionValue::Text(text.to_owned()),
        };
        options.set(key, value);
    }
    options
}

fn compile(purpose: Purpose, options: &Options) -> CompiledCall {
    let derived = (WEBHOOK.derive)(options).expect("the options are right");
    let credentials = (WEBHOOK.auth)(options).expect("the credentials are right");
    let call = WEBHOOK.call(purpose, options, Format::Native).expect("the vendor has it");
    let binding = Binding {
        vendor: &WEBHOOK,
        options,
        derived: &derived,
        format: Format::Native,
        credentials: &credentials,
        headers: &[],
        encoding: Encoding::Identity,
        timeout: Duration::from_secs(30),
    };
    CompiledCall::compile(call, &binding).expect("it compiles")
}

fn send(options: &Options, body: &'static [u8], attempt: u32) -> Request {
    send_of(b"id\n", options, body, attempt)
}

fn send_of(ids: &[u8], options: &Options, body: &'static [u8], attempt: u32) -> Request {
    let heads = Heads::default();
    let parcel = Parcel { heads: &heads, ids, digest: None, attempt, sent: 1_770_368_403 };
    compile(Purpose::Send, options).carrying_with(VIA, Bytes::from_static(body), &parcel)
}

/// Else a success whose body breaks off would be sent again.
#[test]
fn the_body_of_a_success_matters_only_where_it_lists_what_failed() {
    for (pairs, expected) in [
        (&[][..], false),
        (&[("success_status", "202")], false),
        (&[("mode", "array"), ("partial_path", "/failed")], true),
    ] {
        let request = send(&options(pairs), b"x", 1);
        assert_eq!(request.needs_body, expected, "{pairs:?}");
    }
}

#[test]
fn every_kind_of_credentials_stands_where_it_belongs() {
    let cases: &[(Pairs, Option<(&str, &str)>)] = &[
        (&[], None),
        (&[("auth.token", "t0ken")], Some(("authorization", "Bearer t0ken"))),
        (
            &[("auth.username", "u"), ("auth.password", "p w")],
            Some(("authorization", "Basic dTpwIHc=")),
        ),
        (&[("auth.username", "u")], Some(("authorization", "Basic dTo="))),
        (
            &[("auth.header_name", "X-Api-Key"), ("auth.header_value", "k3y")],
            Some(("x-api-key", "k3y")),
        ),
    ];
    for (pairs, expected) in cases {
        let request = send(&options(pairs), b"[]", 1);
        match expected {
            Some((name, value)) => {
                assert_eq!(request.headers[*name], *value);
                assert!(request.headers[*name].is_sensitive(), "{name}");
            }
            None => assert!(!request.headers.contains_key("authorization"), "{pairs:?}"),
        }
    }
}

#[test]
fn a_signature_is_that_of_time_and_body() {
    // Computed with OpenSSL: printf '1770368403.[1]' | openssl dgst -sha256 -hmac k3y
    let digest = "ed787dd17e09634a167da648513646388affc3d5c59d344c12bf05061682dd49";
    let options = options(&[("auth.secret", "k3y"), ("mode", "array")]);
    let request = send(&options, b"[1]", 1);
    assert_eq!(request.headers["x-shrike-signature"], format!("t=1770368403,v1={digest}"));
    assert_eq!(request.headers["date"], "Fri, 06 Feb 2026 09:00:03 GMT");
    let named = self::options(&[("auth.secret", "k3y"), ("auth.header_name", "X-Sign")]);
    assert!(send(&named, b"[1]", 1).headers.contains_key("x-sign"));
    let plain = send(&self::options(&[]), b"[1]", 1);
    assert!(!plain.headers.contains_key("date"), "only signed requests are dated");
}

#[test]
fn the_key_stays_and_the_attempt_counts() {
    let options = options(&[("mode", "array")]);
    // After a crash the same events may have another body: an envelope says when it was closed.
    let (first, again) =
        (send_of(b"a\n", &options, b"[1]", 1), send_of(b"a\n", &options, b"[2]", 2));
    // Computed with coreutils: printf 'a\n' | sha256sum
    let digest = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7";
    assert_eq!(first.headers["idempotency-key"], digest);
    assert_eq!(again.headers["idempotency-key"], digest);
    assert_ne!(send_of(b"b\n", &options, b"[1]", 1).headers["idempotency-key"], digest);
    let attempts = [&first, &again].map(|request| request.headers["x-shrike-attempt"].clone());
    assert_eq!(attempts, ["1", "2"]);
    let single = send(&self::options(&[("method", "POST"), ("mode", "event")]), b"{}", 1);
    assert!(!single.headers.contains_key("idempotency-key"), "the event's id comes with it");
}

#[test]
fn methods_and_content_types_are_the_operators() {
    for (method, mode) in
        [("POST", "event"), ("PUT", "array"), ("PATCH", "ndjson"), ("PUT", "event")]
    {
        let options = options(&[
            ("method", method),
            ("mode", mode),
            ("content_type", "application/vnd.x+json"),
        ]);
        let request = send(&options, b"x", 1);
        assert_eq!(request.method.as_str(), method);
        assert_eq!(request.headers["content-type"], "application/vnd.x+json");
        assert!(request.headers["user-agent"].to_str().is_ok_and(|it| it.starts_with("shrike/")));
    }
    let lines = send(&options(&[("mode", "ndjson")]), b"x", 1);
    assert_eq!(lines.headers["content-type"], "application/x-ndjson");
}

#[test]
fn health_is_asked_for_where_it_is_said() {
    let options = options(&[
        ("health.url", "https://h.example/health"),
        ("health.method", "HEAD"),
        ("health.status", "204"),
    ]);
    assert_eq!((WEBHOOK.aside)(&options).expect("a URL").len(), 1);
    let health = compile(Purpose::Health, &options).plain(VIA);
    assert_eq!((health.method.as_str(), health.endpoint), ("HEAD", 1));
    assert!(WEBHOOK.call(Purpose::Health, &self::options(&[]), Format::Native).is_none());
}

#[test]
fn a_template_is_escaped_for_its_content_type() {
    let escape = |media: &str| {
        let options = options(&[("template", "{{event_id}}"), ("content_type", media)]);
        let derived = (WEBHOOK.derive)(&options).expect("a template");
        derived.template.expect("it is there").escape
    };
    assert_eq!(escape(""), Escape::Json);
    assert_eq!(escape("application/cloudevents+json"), Escape::Json);
    assert_eq!(escape("application/x-www-form-urlencoded"), Escape::Form);
    assert_eq!(escape("text/plain"), Escape::None);
}

/// "One JSON per line": receivers read up to a line break, wherever it stands.
#[test]
fn what_a_template_makes_is_one_line_where_lines_are_sent() {
    let rendered = |mode: &str, media: &str, text: &str| {
        let options = options(&[("mode", mode), ("content_type", media), ("template", text)]);
        let derived = (WEBHOOK.derive)(&options).expect("a template");
        let template = Template::compile(&derived.template.expect("it is there"));
        let mut out = b"before\n".to_vec();
        let event = br#"{"a":"x \n y","blob":"{\n}","list":[1,2]}"#;
        template.expect("it compiles").render(event, &mut out).expect("it renders");
        let rendered = out.strip_prefix(b"before\n").expect("what stood there stays");
        String::from_utf8(rendered.to_vec()).expect("UTF-8")
    };
    let block =
        "{\n  \"a\": \"{{a}}\",\r\n  \"b\": {{{blob}}},\n{{#each list}}\n{{/each}}\"c\": 1}\n\n";
    for mode in ["event", "array"] {
        assert!(rendered(mode, "", block).contains('\n'), "{mode}");
    }
    let line = rendered("ndjson", "", block);
    assert!(!line.contains(['\n', '\r']) && line.ends_with('}'), "{line:?}");
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(value["a"], "x \n y");
    // Text of an event begins no line of its own either.
    assert_eq!(rendered("ndjson", "text/plain", "a={{a}}\n"), "a=x   y");
}

#[test]
fn mistakes_are_named() {
    let cases: &[(Pairs, &str)] = &[
        (&[("template", "{{#if a}}")], "template"),
        (&[("path_template", "events/{tenant_id}")], "path_template"),
        (&[("path_template", "/a/../{tenant_id}")], "path_template"),
        (&[("path_template", "/a?b={tenant_id}")], "path_template"),
        (&[("partial_path", "failed"), ("mode", "array")], "partial_path"),
        (&[("partial_path", "/failed"), ("mode", "event")], "partial_path"),
        (&[("template", "{{> partial}}")], "template"),
        (&[("template", "{{nohelper a}}")], "template"),
        (&[("strict_template", "true")], "strict_template"),
        (&[("envelope", "true"), ("mode", "event")], "envelope"),
        (&[("retry_status", "4o9")], "retry_status"),
        (&[("success_status", "299-200")], "success_status"),
        (&[("permanent_status", "700")], "permanent_status"),
        (&[("auth.type", "bearer")], "auth.token"),
        (&[("auth.type", "basic")], "auth.username"),
        (&[("auth.type", "basic"), ("auth.username", "a:b")], "auth.username"),
        (&[("auth.type", "header"), ("auth.header_value", "v")], "auth.header_name"),
        (&[("auth.type", "hmac")], "auth.secret"),
        (&[("auth.token", "t"), ("auth.secret", "s")], "auth"),
        (&[("auth.password", "x")], "auth.password"),
        (&[("auth.header_name", "X-Key")], "auth.header_name"),
        (&[("auth.type", "none"), ("auth.token", "t")], "auth.token"),
        (&[("auth.type", "mtls"), ("auth.secret", "s")], "auth.secret"),
        (&[("auth.token", "t"), ("auth.password", "p")], "auth.password"),
        (&[("auth.type", "bearer"), ("auth.token", "t"), ("auth.username", "u")], "auth.username"),
        (&[("url", "https://{{host}}.example/")], "url"),
        (&[("health.url", "https:///x")], "health.url"),
    ];
    for (pairs, key) in cases {
        let options = options(pairs);
        let problem = (WEBHOOK.derive)(&options)
            .err()
            .or_else(|| (WEBHOOK.auth)(&options).err())
            .or_else(|| (WEBHOOK.headers)(&options).err())
            .or_else(|| (WEBHOOK.sign)(&options).err())
            .or_else(|| (WEBHOOK.endpoints)(&options).err())
            .or_else(|| (WEBHOOK.aside)(&options).err());
        assert_eq!(problem.expect("a mistake").key, *key, "{pairs:?}");
    }
}

fn load(keys: &str) -> Result<Config, String> {
    let text = format!("exporters: {{webhook: {keys}}}");
    config::load(&text)
}

#[test]
fn one_line_is_enough() {
    let config = load("{url: 'https://h.example/events', mode: array}").expect("it loads");
    assert_eq!(config.exporters[0].settings.vendor.name, "webhook");
}

/// "Response bodies are read up to 64 KiB" (`webhook.md`, Bad input).
#[test]
fn of_an_answer_no_more_is_read_than_it_can_say() {
    let bytes = |pairs| WEBHOOK.answer_bytes(&options(pairs), Format::Native);
    assert_eq!(bytes(&[]), Some(65_536));
    // Room for the ids of the largest batch, each a UUID in quotes with a comma behind it.
    let named = bytes(&[("mode", "array"), ("partial_path", "/failed")]).expect("a bound");
    assert!(named >= WEBHOOK.limits.events as usize * 39, "{named}");
}

/// "mtls: via tls.*" (`webhook.md`, Auth).
#[test]
fn who_says_mtls_has_a_certificate() {
    let url = "url: 'https://h.example', auth: {type: mtls}";
    let error = load(&format!("{{{url}}}")).map(|_| ()).expect_err("there is none");
    assert!(error.contains("auth.type: needs `tls.client_cert_path`"), "{error}");
    let tls = "tls: {client_cert_path: /etc/us.pem, client_key_path: /etc/us.key}";
    let config = load(&format!("{{{url}, {tls}}}")).expect("it loads");
    let options = &config.exporters[0].settings.options;
    assert!((WEBHOOK.auth)(options).expect("nothing is missing").is_empty());
}

#[test]
fn headers_can_be_added_but_not_those_of_the_request_itself() {
    let url = "url: 'https://h.example/k3y'";
    for header in ["X-Team: red", "X-Json: '{\"a\": {\"b\": 1}}'"] {
        assert!(load(&format!("{{{url}, headers: {{{header}}}}}")).is_ok(), "{header}");
    }
    for header in [
        "Host: other.example",
        "content-length: '1'",
        "Transfer-Encoding: chunked",
        "\"X-A\": \"a\\r\\nX-B: b\"",
        "X-Tenant: '{{ tenant_id }}'",
        "X-Tenant: 'a/{session.tenant_id}'",
        "X-Team: '{labels.team}'",
    ] {
        let error = load(&format!("{{{url}, headers: {{{header}}}}}")).expect_err(header);
        assert!(error.contains("headers") && !error.contains("k3y"), "{error}");
    }
}
