//! Any HTTP endpoint: one event a request, or arrays and lines of them.

mod status;

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;

use crate::deliver::{
    Call, CallBody, Cause, Credentials, Derived, Effect, Encoding, Fate, Framing, Kind, Limits,
    Opt, Options, Problem, Purpose, Resend, Responses, Scope, Secret, Shape, Signature, Vendor,
    Verdict, When, opt, problem,
};
use crate::event::FieldId as F;
use crate::transform::{
    Clean, Escape, Format, HEADS, Layout, PATH, PATH_NAME, RENDERED_MAX, Schema, Source, Template,
    TemplateText, row, write,
};

/// A webhook (`webhook.md`).
pub static WEBHOOK: Vendor = Vendor {
    name: "webhook",
    aliases: &["http"],
    about: "Any HTTP endpoint: single events, arrays or lines, templates, signatures",
    options: OPTIONS,
    formats: &[Format::Ecs, Format::Native, Format::Cef, Format::Ocsf, Format::Text],
    takes_default_format: true,
    shapes: SHAPES,
    endpoints: url,
    aside: health_url,
    auth,
    headers: named_header,
    sign,
    derive,
    effects: &[
        Effect {
            of: &["health.method", "health.status"],
            when: When::Set("health.url"),
            unless: "health.url is set",
        },
        Effect {
            of: &["auth.algorithm"],
            when: When::Any(&[
                When::Is("auth.type", "hmac"),
                When::All(&[When::Unset("auth.type"), When::Set("auth.secret")]),
            ]),
            unless: "auth.type is hmac",
        },
    ],
    limits: Limits { events: 10_000, body_bytes: 8 << 20, event_bytes: RENDERED_MAX as u32 },
    encodings: &[Encoding::Identity, Encoding::Gzip, Encoding::Zstd, Encoding::Deflate],
    calls: CALLS,
    // Receivers may know `Idempotency-Key`, or not.
    resend: Resend::Ambiguous,
    ordered_by: &["ordered"],
    // "Read up to 64 KiB": whoever answers may be anybody. A list of failed events may name all.
    answer_bytes: &[(When::Set(status::PARTIAL), 1 << 20), (When::Always, 64 << 10)],
    certificate: Some(("auth.type", When::Is("auth.type", "mtls"))),
    concurrency: Some(4),
    success_in_body: When::Set(status::PARTIAL),
    ..Vendor::BASE
};

const SHAPES: &[(When, Shape)] = &[
    (
        When::All(&[When::Is("mode", "event"), When::Plain]),
        Shape {
            framing: Framing { content_type: "text/plain; charset=utf-8", ..Shape::BASE.framing },
            ..EVENT
        },
    ),
    (When::Is("mode", "event"), EVENT),
    (When::All(&[PLACED, When::Is("mode", "ndjson")]), Shape { heads: Some(&PLACE), ..LINES }),
    (When::Is("mode", "ndjson"), LINES),
    (When::All(&[PLACED, ENVELOPED, When::Format(Format::Native)]), PLACED_ENVELOPE),
    (When::All(&[PLACED, ENVELOPED, When::Format(Format::Ecs)]), PLACED_ENVELOPE),
    (When::All(&[PLACED, ENVELOPED, When::Format(Format::Ocsf)]), PLACED_ENVELOPE),
    (When::All(&[PLACED, When::Format(Format::Native)]), PLACED_ARRAY),
    (When::All(&[PLACED, When::Format(Format::Ecs)]), PLACED_ARRAY),
    (When::All(&[PLACED, When::Format(Format::Ocsf)]), PLACED_ARRAY),
    // A line of CEF is no element of an array.
    (When::All(&[ENVELOPED, When::Format(Format::Native)]), ENVELOPE),
    (When::All(&[ENVELOPED, When::Format(Format::Ecs)]), ENVELOPE),
    (When::All(&[ENVELOPED, When::Format(Format::Ocsf)]), ENVELOPE),
    (When::Format(Format::Native), ARRAY),
    (When::Format(Format::Ecs), ARRAY),
    (When::Format(Format::Ocsf), ARRAY),
];

/// One event, whose id is the request's key: it is the same whenever the event is sent again.
const EVENT: Shape = Shape { heads: Some(&KEY), events: Some(1), ..Shape::BASE };

const ARRAY: Shape = Shape {
    framing: Framing { head: "[", between: ",", tail: "]", ..Shape::BASE.framing },
    ..Shape::BASE
};

const ENVELOPE: Shape = Shape {
    framing: Framing {
        head: "{\"source\":\"shrike\",\"events\":[",
        between: ",",
        tail: "],\"count\":{count},\"sent_at\":\"{time}\"}",
        ..Shape::BASE.framing
    },
    ..Shape::BASE
};

const LINES: Shape = Shape {
    framing: Framing { after: "\n", content_type: "application/x-ndjson", ..Shape::BASE.framing },
    ..Shape::BASE
};

/// Arrays whose path follows from the events: each path has requests of its own.
const PLACED_ARRAY: Shape = Shape { heads: Some(&PLACE), ..ARRAY };
const PLACED_ENVELOPE: Shape = Shape { heads: Some(&PLACE), ..ENVELOPE };

const PLACED: When = When::Set(status::PATH);
const ENVELOPED: When = When::Set("envelope");

static KEY: Schema = Schema {
    name: "webhook headers",
    syntax: &HEADS,
    layout: Layout::Table(&[
        row(PATH_NAME, Source::Also(&PIECES)),
        row("idempotency-key", Source::Event(F::EventId, write::text)),
    ]),
    required: &["idempotency-key"],
    ..Schema::BASE
};

static PLACE: Schema = Schema {
    name: "webhook path",
    syntax: &HEADS,
    layout: Layout::Table(&[row(PATH_NAME, Source::Also(&PIECES))]),
    ..Schema::BASE
};

static PIECES: Schema = Schema {
    name: "pieces of the path",
    syntax: &PATH,
    layout: Layout::Table(&[row("path", Source::Pattern("webhook.path", &SEGMENT))]),
    ..Schema::BASE
};

/// Values stay within one segment: nobody chooses another place by what an event says.
static SEGMENT: Clean = Clean {
    each: |char| if char == '/' || char == '\\' || char.is_control() { '_' } else { char },
    absent: "-",
    bytes_max: 2048,
    value_max: 255,
    value_not_first: ".",
    ..Clean::BASE
};

const CALLS: &[Call] = &[
    single("POST", When::All(&[When::Is("method", "POST"), When::Is("mode", "event")])),
    single("PUT", When::All(&[When::Is("method", "PUT"), When::Is("mode", "event")])),
    single("PATCH", When::All(&[When::Is("method", "PATCH"), When::Is("mode", "event")])),
    several("PUT", When::Is("method", "PUT")),
    several("PATCH", When::Is("method", "PATCH")),
    several("POST", When::Always),
    health("GET", When::All(&[When::Set("health.url"), When::Is("health.method", "GET")])),
    health("HEAD", When::All(&[When::Set("health.url"), When::Is("health.method", "HEAD")])),
    health("POST", When::Set("health.url")),
];

const fn single(method: &'static str, when: When) -> Call {
    Call {
        purpose: Purpose::Send,
        when,
        method,
        path: "",
        query: &[],
        headers: &[("content-type", "{content_type}"), ("x-shrike-attempt", "{attempt}")],
        body: CallBody::Batch,
        responses: Responses { rows: SEND_ROWS, read: Some(status::read_send) },
    }
}

/// The same events have the same key: also after a crash, when the time in an envelope is another.
const fn several(method: &'static str, when: When) -> Call {
    Call {
        headers: &[
            ("content-type", "{content_type}"),
            ("x-shrike-attempt", "{attempt}"),
            ("idempotency-key", "{ids}"),
        ],
        ..single(method, when)
    }
}

/// Another place may tell how this one is; whether it takes events, only an event tells.
const fn health(method: &'static str, when: When) -> Call {
    Call {
        purpose: Purpose::Health,
        headers: &[],
        body: CallBody::Empty,
        responses: Responses { rows: &[], read: Some(status::read_health) },
        ..single(method, when)
    }
}

const SEND_ROWS: &[(RangeInclusive<u16>, Verdict)] = &[
    // One event may break the body of all.
    (400..=400, Verdict::new(Fate::Bisect, "rejected")),
    (422..=422, Verdict::new(Fate::Bisect, "rejected")),
    // A wrong address or method is no fault of the events.
    (404..=405, CONFIG),
    (415..=415, CONFIG),
];

const CONFIG: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config");

fn url(options: &Options) -> Result<Vec<Uri>, Problem> {
    Ok(vec![place(options, "url")?.ok_or_else(|| problem("url", "is required"))?])
}

fn health_url(options: &Options) -> Result<Vec<Uri>, Problem> {
    Ok(place(options, "health.url")?.into_iter().collect())
}

pub(super) fn place(options: &Options, key: &str) -> Result<Option<Uri>, Problem> {
    let Some(url) = options.url(key).filter(|url| !url.is_empty()) else { return Ok(None) };
    // The URL may be a secret, so that mistakes in it are told without it.
    if url.contains(['{', '}']) {
        return Err(problem(key, "may not depend on events: anybody could choose where they go"));
    }
    let uri: Uri = url.parse().map_err(|_| problem(key, "is no URL"))?;
    uri.host().ok_or_else(|| problem(key, "needs a host"))?;
    Ok(Some(uri))
}

/// The kind of credentials: as written, else as the fields given say.
fn kind(options: &Options) -> Result<String, Problem> {
    if let Some(kind) = options.text("auth.type") {
        return Ok(kind);
    }
    let fields = [
        ("auth.token", "bearer"),
        ("auth.username", "basic"),
        ("auth.header_value", "header"),
        ("auth.secret", "hmac"),
    ];
    let mut given = fields.iter().filter(|(key, _)| options.is_set(key)).map(|(_, kind)| *kind);
    match (given.next(), given.next()) {
        (None, _) => Ok("none".to_owned()),
        (Some(kind), None) => Ok(kind.to_owned()),
        (Some(_), Some(_)) => {
            Err(problem("auth", "has several credentials: keep one, or set type"))
        }
    }
}

/// Fields of credentials, and the kinds that have them.
const FIELDS: &[(&str, &[&str])] = &[
    ("auth.token", &["bearer"]),
    ("auth.username", &["basic"]),
    ("auth.password", &["basic"]),
    ("auth.header_name", &["header", "hmac"]),
    ("auth.header_value", &["header"]),
    ("auth.secret", &["hmac"]),
];

/// Nobody may believe that requests carry what they do not.
fn refuse_strays(options: &Options, kind: &str) -> Result<(), Problem> {
    let is_stray = |(key, kinds): &&(&str, &[&str])| options.is_set(key) && !kinds.contains(&kind);
    match FIELDS.iter().find(is_stray) {
        None => Ok(()),
        Some((key, kinds)) => {
            let kinds = kinds.join("` or `");
            let text = format!(
                "belongs to `auth.type: {kinds}`, and credentials are `{kind}` here; leave it out, \
                 or write all that it needs"
            );
            Err(problem(key, text))
        }
    }
}

fn auth(options: &Options) -> Result<Credentials, Problem> {
    let kind = kind(options)?;
    refuse_strays(options, &kind)?;
    let value = match kind.as_str() {
        "bearer" => format!("Bearer {}", secret(options, "auth.token")?.trim()),
        "basic" => {
            let user = options
                .text("auth.username")
                .ok_or_else(|| problem("auth.username", "is required for basic"))?;
            if user.contains(':') {
                return Err(problem("auth.username", "must not contain a colon (RFC 7617)"));
            }
            let password = options.secret("auth.password").map_or("", Secret::expose);
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![("authorization", Secret::new(value))])
}

/// "As named."
fn named_header(options: &Options) -> Result<Vec<(String, Secret)>, Problem> {
    if kind(options)? != "header" {
        return Ok(Vec::new());
    }
    let name = options.text("auth.header_name").unwrap_or_default();
    if name.is_empty() {
        return Err(problem("auth.header_name", "is required for header"));
    }
    Ok(vec![(name, Secret::new(secret(options, "auth.header_value")?.to_owned()))])
}

fn sign(options: &Options) -> Result<Option<Signature>, Problem> {
    if kind(options)? != "hmac" {
        return Ok(None);
    }
    let key = Secret::new(secret(options, "auth.secret")?.to_owned());
    let header = options.text("auth.header_name").filter(|name| !name.is_empty());
    let header = header.unwrap_or_else(|| SIGNATURE.to_owned());
    Ok(Some(Signature::Hmac { header, secret: key }))
}

fn secret<'o>(options: &'o Options, key: &str) -> Result<&'o str, Problem> {
    let secret = options.secret(key).map(Secret::expose).filter(|it| !it.trim().is_empty());
    secret.ok_or_else(|| problem(key, "is required for this type"))
}

/// The content type and the template, and rules that join several keys.
fn derive(options: &Options) -> Result<Derived, Problem> {
    for key in [status::SUCCESS, status::RETRY, status::PERMANENT] {
        status::check(options, key)?;
    }
    if options.is_on("envelope") && options.text("mode").as_deref() != Some("array") {
        return Err(problem("envelope", "stands around arrays: set mode: array"));
    }
    if options.is_set(status::PARTIAL) && options.text("mode").as_deref() == Some("event") {
        return Err(problem(status::PARTIAL, "is for several events a request: set mode: array"));
    }
    status::check_pointer(options)?;
    let mut derived = Derived::NONE;
    derived.texts.extend(path(options)?.map(|path| ("webhook.path", path)));
    let media = options.text("content_type").filter(|media| !media.is_empty());
    if let Some(text) = options.text("template").filter(|text| !text.is_empty()) {
        let escape = match media.as_deref() {
            None => Escape::Json,
            Some(media) if media.contains("json") => Escape::Json,
            Some(media) if media.contains("x-www-form-urlencoded") => Escape::Form,
            Some(_) => Escape::None,
        };
        let is_line = options.text("mode").as_deref() == Some("ndjson");
        let is_strict = options.is_on("strict_template");
        let text = TemplateText { text, escape, is_strict, is_line };
        Template::compile(&text).map_err(|error| problem("template", error.to_string()))?;
        derived.template = Some(text);
    } else if options.is_on("strict_template") {
        return Err(problem("strict_template", "has no effect without a template"));
    }
    derived.texts.extend(media.map(|media| ("content_type", media)));
    Ok(derived)
}

/// The path with places for what follows from the event.
fn path(options: &Options) -> Result<Option<String>, Problem> {
    let key = status::PATH;
    let Some(path) = options.text(key).filter(|path| !path.is_empty()) else { return Ok(None) };
    if !path.starts_with('/') || path.contains("//") {
        return Err(problem(key, "expected folders behind slashes, such as /events/{tenant_id}"));
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(problem(key, "has a folder that is none, `.` or `..`"));
    }
    let mut is_name = false;
    for char in path.chars() {
        match char {
            '{' | '}' => is_name = char == '{',
            // The rest would be spelled anew; the URL keeps what is written there.
            _ if is_name || char.is_ascii_alphanumeric() || "/-._~".contains(char) => {}
            _ => {
                let text = format!("{char:?} has no place here; put what is fixed into url");
                return Err(problem(key, text));
            }
        }
    }
    Ok(Some(path))
}

/// Where the signature stands.
pub(super) const SIGNATURE: &str = "x-shrike-signature";

const OPTIONS: &[Opt] = &[
    opt("url", Kind::SecretUrl, None, "Where events go; kept secret, since it may carry a key."),
    opt(
        status::PATH,
        Kind::Text(1024),
        None,
        "What follows the URL's path, from the event, such as /events/{tenant_id}/{severity}.",
    ),
    opt(
        "ordered",
        Kind::Bool,
        Some("false"),
        "Whether requests go one after the other, in the log's order.",
    ),
    opt("method", Kind::Choice(&["POST", "PUT", "PATCH"]), Some("POST"), "HTTP method."),
    opt(
        "mode",
        Kind::Choice(&["event", "array", "ndjson"]),
        Some("event"),
        "One event a request, a JSON array of events, or one JSON a line.",
    ),
    opt(
        "content_type",
        Kind::Text(127),
        None,
        "Content type; application/json, or x-ndjson or text/plain by mode and format.",
    ),
    opt(
        "envelope",
        Kind::Bool,
        Some("false"),
        "Whether an array stands in an object, {\"source\":\"shrike\",\"events\":[..],\"count\":n,\"sent_at\":\"..\"}; the time is that of the first attempt.",
    ),
    Opt {
        aliases: &["body_template"],
        ..opt(
            "template",
            Kind::LongText(65_536),
            None,
            "Handlebars template of each event, with the document of the format as its data.",
        )
    },
    opt(
        "strict_template",
        Kind::Bool,
        Some("false"),
        "Whether a value that the template names and the event lacks is a mistake.",
    ),
    opt(
        "auth.type",
        Kind::Choice(&["none", "bearer", "basic", "header", "hmac", "mtls"]),
        None,
        "How to authenticate; inferred from the fields given. mtls is our own certificate, of `tls.client_cert_path`.",
    ),
    opt("auth.token", Kind::Secret, None, "Token for bearer."),
    opt("auth.username", Kind::Text(1024), None, "User name for basic."),
    opt("auth.password", Kind::Secret, None, "Its password; may be missing."),
    opt(
        "auth.header_name",
        Kind::Text(127),
        None,
        "Header for header, and for hmac where it is not X-Shrike-Signature.",
    ),
    opt("auth.header_value", Kind::Secret, None, "Its value for header."),
    opt("auth.secret", Kind::Secret, None, "Key for hmac, which signs time and body."),
    opt("auth.algorithm", Kind::Choice(&["sha256"]), Some("sha256"), "Digest for hmac."),
    opt(
        status::SUCCESS,
        Kind::List,
        Some("[]"),
        "Statuses that mean success, such as 200 or 200-204; any 2xx where none is written.",
    ),
    opt(
        status::RETRY,
        Kind::List,
        Some("[]"),
        "Further statuses after which events are sent again.",
    ),
    opt(
        status::PERMANENT,
        Kind::List,
        Some("[]"),
        "Further statuses after which events become dead letters.",
    ),
    opt(
        status::PARTIAL,
        Kind::Text(1024),
        None,
        "JSON pointer into a success, to the list of ids of events that failed, such as /failed.",
    ),
    opt("health.url", Kind::SecretUrl, None, "Where to ask how the destination is."),
    opt("health.method", Kind::Choice(&["GET", "HEAD", "POST"]), Some("GET"), "With this method."),
    opt(
        "health.status",
        Kind::Int(100, 599),
        None,
        "The status of one that is well; any 2xx where none is written.",
    ),
];
