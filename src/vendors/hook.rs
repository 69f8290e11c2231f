//! Response hooks: an event in, a request for an action out.
//!
//! Not among the types of exporters: hooks are a list of their own in the configuration.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::Uri;

use super::opsgenie::{self, OPSGENIE};
use super::pagerduty::{self, PAGERDUTY};
use super::webhook::place;
use crate::deliver::{
    Call, CallBody, Cause, Derived, Fate, Framing, Kind, Limits, Opt, Options, Order, Pace,
    Problem, Purpose, Responses, Scope, Secret, Shape, Signature, Vendor, Verdict, When, opt,
    problem,
};
use crate::transform::{
    Clean, HEADS, Layout, MEMBERS, Name, RENDERED_MAX, Schema, Source, VISIBLE, row,
};

/// What answers an event with an action (`pipeline.md`, Threat intel and hooks).
pub static HOOK: Vendor = Vendor {
    options: OPTIONS,
    shapes: &[(When::Always, ACTION)],
    endpoints: url,
    sign,
    derive,
    limits: Limits { events: 1, body_bytes: 8 << 20, event_bytes: RENDERED_MAX as u32 },
    calls: CALLS,
    ..ASKING
};

/// What triggers through an exporter: of which type that is, as what it is sent, and which of that
/// exporter's keys the hook's own key stands for.
#[derive(Debug)]
pub struct Through {
    /// The action, and the type of the exporter.
    pub action: &'static str,
    /// How the hook is sent; it has the exporter's options beside its own.
    pub vendor: &'static Vendor,
    /// The option with the template of what the destination joins alerts by.
    pub template: &'static str,
}

/// The actions that go through an exporter.
pub static THROUGH: &[Through] = &[
    Through { action: "pagerduty", vendor: &TRIGGER, template: pagerduty::TEMPLATE },
    Through { action: "opsgenie", vendor: &ALERT, template: opsgenie::ALIAS },
];

/// An incident of its own, beside those of the exporter.
static TRIGGER: Vendor = Vendor {
    options: ALIKE,
    shapes: &[(When::Always, Shape { heads: Some(&KEY), ..pagerduty::TRIGGER })],
    endpoints: PAGERDUTY.endpoints,
    derive: |options| joined(PAGERDUTY.derive, pagerduty::TEMPLATE, options),
    limits: PAGERDUTY.limits,
    resend: PAGERDUTY.resend,
    calls: PAGERDUTY.calls,
    ..ASKING
};

/// An alert of its own.
static ALERT: Vendor = Vendor {
    options: ALIKE,
    shapes: &[(When::Always, Shape { heads: Some(&KEY), ..opsgenie::ALERT })],
    endpoints: OPSGENIE.endpoints,
    auth: OPSGENIE.auth,
    derive: |options| joined(OPSGENIE.derive, opsgenie::ALIAS, options),
    limits: OPSGENIE.limits,
    resend: OPSGENIE.resend,
    calls: OPSGENIE.calls,
    ..ASKING
};

/// What hooks are, whatever they ask.
const ASKING: Vendor = Vendor {
    name: "hook",
    about: "An action in answer to single events: a request with a key of its own",
    order: Order::Strict,
    concurrency: Some(1),
    timeout: Duration::from_secs(5),
    // Whoever answers may be anybody, and no answer names more than one event.
    answer_bytes: &[(When::Always, 64 << 10)],
    ..Vendor::BASE
};

/// `{"hook":..,"response":..,"idempotency_key":..,"event":..,"fired_at":..}`: what is the same for
/// all is the head ([`derive()`]).
const ACTION: Shape = Shape {
    envelope: Some(&ENVELOPE),
    heads: Some(&KEY),
    events: Some(1),
    framing: Framing { head: "{", tail: ",\"fired_at\":\"{time}\"}", ..Shape::BASE.framing },
    ..Shape::BASE
};

static ENVELOPE: Schema = Schema {
    name: "action",
    syntax: &MEMBERS,
    layout: Layout::Table(&[
        row("idempotency_key", Source::Also(&PIECES)),
        row("event", Source::Doc),
    ]),
    required: &["idempotency_key", "event"],
    ..Schema::BASE
};

/// The header by which receivers know an action again.
static KEY: Schema = Schema {
    name: "hook headers",
    syntax: &HEADS,
    layout: Layout::Table(&[row("idempotency-key", Source::Also(&PIECES))]),
    required: &["idempotency-key"],
    ..Schema::BASE
};

static PIECES: Schema = Schema {
    name: "pieces of the key",
    syntax: &VISIBLE,
    layout: Layout::Table(&[row("key", Source::Pattern(TEMPLATE, &CLEAN))]),
    required: &["key"],
    ..Schema::BASE
};

/// Keys that differ stay different: one that is too long for a header ends with a digest.
static CLEAN: Clean = Clean { absent: "-", bytes_max: 512, tells_cut: true, ..Clean::BASE };

const CALLS: &[Call] = &[
    call("PUT", When::Is("params.method", "PUT")),
    call("PATCH", When::Is("params.method", "PATCH")),
    call("POST", When::Always),
];

const fn call(method: &'static str, when: When) -> Call {
    Call {
        purpose: Purpose::Send,
        when,
        method,
        path: "",
        query: &[],
        headers: &[("content-type", "{content_type}"), ("x-shrike-attempt", "{attempt}")],
        body: CallBody::Batch,
        responses: Responses { rows: ROWS, read: None },
    }
}

const ROWS: &[(RangeInclusive<u16>, Verdict)] = &[
    // A wrong address or method is no fault of the event.
    (404..=405, CONFIG),
    // "If there is an attempt to retry a request while the original request is still being
    // processed" (draft-ietf-httpapi-idempotency-key-header, 2.7).
    (409..=409, BUSY),
    (415..=415, CONFIG),
];

const CONFIG: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config");
const BUSY: Verdict = Verdict::new(Fate::Retry, "conflict").at(Pace::Pause(None));

fn url(options: &Options) -> Result<Vec<Uri>, Problem> {
    let url = place(options, "params.url")?;
    Ok(vec![url.ok_or_else(|| problem("params.url", "is required for action webhook"))?])
}

fn sign(options: &Options) -> Result<Option<Signature>, Problem> {
    let (key, header) = ("params.auth.secret", "params.auth.header_name");
    let Some(secret) = options.secret(key).filter(|it| !it.expose().trim().is_empty()) else {
        return match options.is_set(header) {
            true => Err(problem(header, "has no effect without `params.auth.secret`")),
            false => Ok(None),
        };
    };
    let header = options.text(header).unwrap_or_else(|| super::webhook::SIGNATURE.to_owned());
    Ok(Some(Signature::Hmac { header, secret: Secret::new(secret.expose().to_owned()) }))
}

/// What all bodies begin with, and the template of the key.
fn derive(options: &Options) -> Result<Derived, Problem> {
    let texts = texts(options)?;
    let name = options.text("name").unwrap_or_default();
    let response = options.url("params.payload").unwrap_or("{}");
    let head = Some(format!("{{\"hook\":\"{name}\",\"response\":{response},"));
    Ok(Derived { head, texts, ..Derived::NONE })
}

/// What follows from the options of an exporter and of a hook that triggers through it.
///
/// The template is the hook's, which has other variables.
fn joined(
    derive: fn(&Options) -> Result<Derived, Problem>,
    template: &str,
    options: &Options,
) -> Result<Derived, Problem> {
    let mut derived = derive(&options.without(template))?;
    derived.texts.extend(texts(options)?);
    Ok(derived)
}

/// The name, and the template of the key.
fn texts(options: &Options) -> Result<Vec<(&'static str, String)>, Problem> {
    let template = options.text("idempotency_key").unwrap_or_default();
    check(&template)?;
    Ok(vec![("hook", options.text("name").unwrap_or_default()), (TEMPLATE, template)])
}

/// Looks at the placeholders of a template: what is replaced is not looked at again.
///
/// The template may have come by reference, so that mistakes in it are told without it.
fn check(template: &str) -> Result<(), Problem> {
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        rest = &rest[at..];
        if let Some(behind) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            rest = behind;
            continue;
        }
        let column = template[..template.len() - rest.len()].chars().count() + 1;
        let wrong = |text: &str| problem("idempotency_key", format!("column {column}: {text}"));
        let inside = rest.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let Some((name, behind)) = inside else {
            return Err(wrong("a brace without its partner; write `{{` or `}}` for a brace"));
        };
        if name != "hook" && Name::parse(name).is_none() {
            let known = std::iter::once("hook").chain(Name::known());
            return Err(wrong(&match Name::nearest(name, known) {
                Some(near) => format!("unknown variable; did you mean `{near}`?"),
                None => {
                    "unknown variable; expected `hook` or a field such as `event_id`".to_owned()
                }
            }));
        }
        rest = behind;
    }
    Ok(())
}

/// The derived text with the template of the key.
const TEMPLATE: &str = "hook.key";

/// What every hook has.
const ALIKE: &[Opt] = &[NAME, IDEMPOTENCY];

const NAME: Opt = opt(
    "name",
    Kind::Text(64),
    None,
    "Its name, beside those of the exporters: required; lower-case letters, digits, `_` and `-`.",
);
const IDEMPOTENCY: Opt = opt(
    "idempotency_key",
    Kind::Text(1024),
    Some("\"{hook}:{event_id}\""),
    "What tells actions apart: text with `{hook}` and fields of the event, such as \
     `{session_id}`; a value that is absent is `-`. Its own `{{` is a brace.",
);

const OPTIONS: &[Opt] = &[
    NAME,
    opt(
        "params.url",
        Kind::SecretUrl,
        None,
        "Where the action is asked for; kept secret, since it may carry a key.",
    ),
    opt("params.method", Kind::Choice(&["POST", "PUT", "PATCH"]), Some("POST"), "HTTP method."),
    opt(
        "params.payload",
        Kind::Object(65_536),
        Some("{}"),
        "What stands as `response` in the body: any map, as it is.",
    ),
    opt(
        "params.auth.secret",
        Kind::Secret,
        None,
        "Key of an HMAC over time and body, as a `webhook` exporter signs; unsigned without.",
    ),
    opt(
        "params.auth.header_name",
        Kind::Text(127),
        None,
        "Header of the signature where it is not X-Shrike-Signature.",
    ),
    IDEMPOTENCY,
];
