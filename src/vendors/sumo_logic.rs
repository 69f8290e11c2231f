//! Sumo Logic: HTTP sources of hosted collectors, with metadata per request.

mod line;
mod place;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::deliver::{
    Call, CallBody, Cause, Credentials, Derived, Effect, Encoding, Fate, Framing, HOSTNAME, Hidden,
    Kind, Limits, Opt, Options, Pace, Problem, Purpose, Resend, Response, Responses, Scope, Secret,
    Shape, Vendor, Verdict, When, problem,
};
use crate::event::FieldId;
use crate::transform::Format;

/// Sumo Logic (`sumo-logic.md`).
pub static SUMO_LOGIC: Vendor = Vendor {
    name: "sumo_logic",
    aliases: &["sumologic", "sumo-logic", "sumo"],
    about: "Sumo Logic: HTTP sources, partitions by category, metadata fields",
    options: OPTIONS,
    formats: Format::ALL,
    shapes: &[
        (When::Is("format", "text"), Shape { document: Some(&crate::schemas::TEXT), ..TEXT }),
        (When::Is("format", "key_value"), Shape { document: Some(&line::KEY_VALUE), ..TEXT }),
        (When::Format(Format::Cef), TEXT),
        (When::Format(Format::Native), Shape { document: Some(&line::JSON_LINE), ..LINES }),
        (When::Always, LINES),
    ],
    endpoints: place::source,
    auth,
    derive,
    effects: &[
        Effect {
            of: &["timestamp_field"],
            when: When::Any(&[When::Is("format", "json"), When::Is("format", "native")]),
            unless: "format is json",
        },
        Effect {
            of: &["partitioning.by_tenant", "partitioning.by_severity", "partitioning.by_guard"],
            when: When::Set("partitioning.enabled"),
            unless: "partitioning.enabled is true",
        },
    ],
    // "Recommended 100 KB to 1 MB before compression. One message above 64 KB is split."
    limits: Limits { events: 10_000, body_bytes: 1_000_000, event_bytes: 65_536 },
    encodings: &[Encoding::Gzip, Encoding::Zstd, Encoding::Deflate, Encoding::Identity],
    calls: CALLS,
    route_keys: &["source_category", "source_name", "http_source_url"],
    // Nothing tells a source that it has a line already; `event_id` tells people.
    resend: Resend::Ambiguous,
    // "Few connections per source."
    concurrency: Some(2),
    // A look is a line that is ingested and billed.
    health_interval_min: Duration::from_secs(300),
    hides,
    success_in_body: When::NEVER,
    ..Vendor::BASE
};

/// "One message per line, LF; UTF-8."
const LINES: Shape = Shape {
    heads: Some(&place::HEADS),
    framing: Framing { after: "\n", ..Shape::BASE.framing },
    ..Shape::BASE
};

const TEXT: Shape = Shape {
    framing: Framing {
        after: "\n",
        content_type: "text/plain; charset=utf-8",
        ..Shape::BASE.framing
    },
    ..LINES
};

const CALLS: &[Call] = &[
    SEND,
    // Billed, so that it goes no more often than people look; a hold ends with a line of events.
    Call {
        purpose: Purpose::Health,
        when: When::Is("health.mode", "probe"),
        headers: &[
            ("x-sumo-category", "{source_category}/healthcheck"),
            ("x-sumo-name", "{source_name}"),
            ("x-sumo-host", "{source_host}"),
        ],
        body: CallBody::Text("application/json", |_, _| {
            "{\"_type\":\"health_check\",\"timestamp\":\"{time}\",\"source\":\"shrike\"}\n"
                .to_owned()
        }),
        responses: Responses { rows: SEND_ROWS, read: None },
        ..SEND
    },
];

const SEND: Call = Call {
    purpose: Purpose::Send,
    when: When::Always,
    method: "POST",
    path: "",
    query: &[],
    headers: &[("x-sumo-name", "{source_name}"), ("x-sumo-host", "{source_host}")],
    body: CallBody::Batch,
    responses: Responses { rows: SEND_ROWS, read: Some(read_send) },
};

/// The usual rows hold for the rest; a redirect is reported with its host and not followed.
const SEND_ROWS: &[(RangeInclusive<u16>, Verdict)] = &[
    (400..=400, Verdict::new(Fate::Bisect, "rejected")),
    // No source at this address, or it is switched off.
    (404..=405, CONFIG),
    (410..=410, CONFIG),
    (415..=415, CONFIG),
];

const CONFIG: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config");

/// "408: timed out, part may be stored: ambiguous retry with half the size."
fn read_send(response: &Response<'_>) -> Option<Verdict> {
    let is_cut = response.status == 408 && response.events > 1;
    is_cut.then(|| Verdict::new(Fate::Split, "timeout").at(Pace::Ease))
}

/// "Newer sources: plain URL and x-sumo-token."
fn auth(options: &Options) -> Result<Credentials, Problem> {
    let Some(token) = options.secret("auth_token") else { return Ok(Vec::new()) };
    match token.expose().trim() {
        "" => Err(problem("auth_token", "is empty")),
        token => Ok(vec![("x-sumo-token", Secret::new(token.to_owned()))]),
    }
}

/// The category and the fields with places for values, and which fields documents have.
fn derive(options: &Options) -> Result<Derived, Problem> {
    let mut derived = Derived {
        texts: vec![("category", place::category(options)), ("fields", place::fields(options)?)],
        ..Derived::NONE
    };
    let format = options.text("format").unwrap_or_default();
    let is_json = matches!(format.as_str(), "json" | "native");
    let time = options.text("timestamp_field").filter(|time| time != "timestamp");
    if let Some(time) = time.filter(|_| is_json) {
        if time.is_empty() || time.contains('.') {
            return Err(problem("timestamp_field", "is a name without dots"));
        }
        derived.mappings.push((FieldId::Timestamp, time));
    }
    let takes_all = options.text("fields.include_all").as_deref() != Some("false");
    let include = fields(&options.list("fields.include"), "fields.include")?;
    match (takes_all, include.is_empty()) {
        (true, true) => {}
        (true, false) => {
            return Err(problem(
                "fields.include",
                "has no effect unless fields.include_all is false",
            ));
        }
        (false, true) => {
            return Err(problem("fields.include", "is needed where fields.include_all is false"));
        }
        (false, false) => {
            // What Sumo reads the time from, and what tells one event from another.
            derived.allow.extend([FieldId::Timestamp, FieldId::EventId]);
            derived.allow.extend(include);
        }
    }
    let exclude = options.list("fields.exclude").into_iter().filter(|path| !is_inner(path));
    derived.deny = fields(&exclude.collect::<Vec<_>>(), "fields.exclude")?;
    fields(&inner(options, "fields.exclude"), "fields.exclude")?;
    // Of the host's own facts, too, which are no fields.
    let is_gone = |field| {
        derived.deny.contains(&field)
            || (!derived.allow.is_empty() && !derived.allow.contains(&field))
    };
    match (is_gone(FieldId::Metadata), is_gone(FieldId::Shrike)) {
        (true, true) if is_json => derived.omit.push("metadata"),
        (false, true) if is_json => derived.omit.push("metadata.shrike"),
        _ => {}
    }
    let needed = [FieldId::Timestamp, FieldId::EventId];
    if let Some(field) = derived.deny.iter().find(|field| needed.contains(field)) {
        return Err(problem("fields.exclude", format!("cannot leave out {}", field.path())));
    }
    Ok(derived)
}

/// What is shown inside metadata and labels, where less than all of them is wanted.
fn hides(options: &Options) -> Hidden {
    let include = inner(options, "fields.include");
    if include.is_empty() {
        return Hidden { but: Vec::new(), paths: own(inner(options, "fields.exclude")) };
    }
    // Everything else is chosen by field, and events are divided by more than lines show.
    let fixed = FieldId::ALL
        .iter()
        .map(|field| field.path())
        .filter(|path| !path.starts_with("metadata") && *path != "labels");
    let whole = options
        .list("fields.include")
        .into_iter()
        .filter(|path| matches!(*path, "metadata" | "labels"));
    let but = fixed.chain(whole).chain(include).collect();
    Hidden { but: own(but), paths: own(inner(options, "fields.exclude")) }
}

/// The paths of a list that lead into metadata or labels.
fn inner<'o>(options: &'o Options, key: &str) -> Vec<&'o str> {
    options.list(key).into_iter().filter(|path| is_inner(path)).collect()
}

/// Whether a path leads into metadata or labels. Our own remarks are a field by themselves.
fn is_inner(path: &str) -> bool {
    let is_below = |object: &str| path.strip_prefix(object).is_some_and(|it| it.starts_with('.'));
    (is_below("metadata") && path != FieldId::Shrike.path()) || is_below("labels")
}

fn own(paths: Vec<&str>) -> Vec<String> {
    paths.into_iter().map(str::to_owned).collect()
}

/// The fields at these paths; the path of an object is all inside it, and one that leads into
/// metadata or labels is in them.
fn fields(paths: &[&str], key: &str) -> Result<Vec<FieldId>, Problem> {
    let mut found = Vec::new();
    for path in paths {
        let inside = |field: &&FieldId| {
            let rest = field.path().strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let fields: Vec<FieldId> = match path.split_once('.') {
            Some((object, names)) if is_inner(path) => {
                let is_path = names.split('.').all(|name| !name.is_empty());
                let is_ours = path.starts_with("metadata.shrike.");
                FieldId::parse(object).filter(|_| is_path && !is_ours).into_iter().collect()
            }
            _ => FieldId::ALL.iter().filter(inside).copied().collect(),
        };
        if fields.is_empty() {
            let text = format!("knows no field {path:?}, such as decision.reason or labels.team");
            return Err(problem(key, text));
        }
        found.extend(fields);
    }
    Ok(found)
}

const OPTIONS: &[Opt] = &[
    Opt {
        key: "http_source_url",
        aliases: &["url"],
        kind: Kind::SecretUrl,
        default: None,
        about: "URL of the HTTP source; it carries the source's key and is kept secret.",
    },
    Opt {
        key: "auth_token",
        aliases: &[],
        kind: Kind::Secret,
        default: None,
        about: "Token of sources whose URL carries none.",
    },
    Opt {
        key: "source_category",
        aliases: &[],
        kind: Kind::Text(512),
        default: Some("security/clawdstrike"),
        about: "Source category; partitions and searches are made by it.",
    },
    Opt {
        key: "source_name",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some("clawdstrike"),
        about: "Source name.",
    },
    Opt {
        key: "source_host",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some(HOSTNAME),
        about: "Source host; the machine's name where none is written.",
    },
    Opt {
        key: "format",
        aliases: &[],
        kind: Kind::Choice(&["json", "text", "key_value", "native", "ecs", "cef", "ocsf"]),
        default: Some("json"),
        about: "Lines: the event as JSON (native is the same), a sentence, pairs, or another schema.",
    },
    Opt {
        key: "timestamp_field",
        aliases: &[],
        kind: Kind::Text(64),
        default: Some("timestamp"),
        about: "Key of the time, which JSON lines begin with.",
    },
    Opt {
        key: "fields.include_all",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("true"),
        about: "Whether lines have every field.",
    },
    Opt {
        key: "fields.include",
        aliases: &[],
        kind: Kind::List,
        default: Some("[]"),
        about: "Paths of fields to write, where not all are.",
    },
    Opt {
        key: "fields.exclude",
        aliases: &[],
        kind: Kind::List,
        default: Some("[]"),
        about: "Paths of fields to leave out.",
    },
    Opt {
        key: "metadata_fields",
        aliases: &[],
        kind: Kind::List,
        default: Some("[environment, tenant_id]"),
        about: "Values sent as metadata; each distinct set of them is a request of its own.",
    },
    Opt {
        key: "partitioning.enabled",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether the category has parts that follow from the event.",
    },
    Opt {
        key: "partitioning.by_tenant",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether the tenant is one.",
    },
    Opt {
        key: "partitioning.by_severity",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether the severity is one.",
    },
    Opt {
        key: "partitioning.by_guard",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether the guard is one.",
    },
    Opt {
        key: "max_open_partitions",
        aliases: &[],
        kind: Kind::Int(1, 4096),
        default: Some("256"),
        about: "Batches open at once per lane; beyond, the one used longest ago is sent early.",
    },
    Opt {
        key: "cloud_siem.forward",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether events are forwarded to Cloud SIEM.",
    },
    Opt {
        key: "health.mode",
        aliases: &[],
        kind: Kind::Choice(&["passive", "probe"]),
        default: Some("passive"),
        about: "Health from traffic alone, or from a line sent every five minutes, which is billed.",
    },
];
