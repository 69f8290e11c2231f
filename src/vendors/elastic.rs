//! Elasticsearch: the Bulk API, ECS documents, lifecycle and templates.

mod bulk;
mod place;
mod prepare;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::deliver::{
    Call, CallBody, Cause, Credentials, Derived, Encoding, Fate, Framing, Kind, Limits, Opt,
    Options, Pace, Prefix, Problem, Purpose, Resend, Responses, Scope, Secret, Shape, Step, Vendor,
    Verdict, When, problem,
};
use crate::event::FieldId as F;
use crate::transform::{Format, Layout, Schema, Source, row, write};

/// Elasticsearch and Elastic Cloud (`elastic.md`).
pub static ELASTIC: Vendor = Vendor {
    name: "elastic",
    aliases: &["elasticsearch"],
    about: "Elasticsearch and Elastic Cloud: ECS documents through the Bulk API",
    options: OPTIONS,
    formats: &[Format::Ecs, Format::Native, Format::Ocsf],
    shapes: &[(When::Always, BULK)],
    endpoints: place::nodes,
    auth,
    derive,
    // The server takes 100 MB; a request of 5 MB is answered sooner and still rarely sent.
    limits: Limits { events: 10_000, body_bytes: 5_000_000, event_bytes: 5_000_000 },
    encodings: &[Encoding::Gzip, Encoding::Identity],
    calls: CALLS,
    setup: SETUP,
    route_keys: &["index.name", "index.pipeline"],
    // `create` keeps the first document of an id.
    resend: Resend::Idempotent,
    ..Vendor::BASE
};

/// "Action line LF document line LF ..., final LF mandatory."
const BULK: Shape = Shape {
    framing: Framing {
        head: "",
        prefix: Prefix::Document(&ACTION),
        between: "",
        after: "\n",
        tail: "",
        content_type: "application/x-ndjson",
    },
    ..Shape::BASE
};

/// The action line. `create` always: data streams take nothing else, and it makes the id count.
static ACTION: Schema = Schema {
    name: "bulk action",
    layout: Layout::Table(&[
        row("create._index", Source::Pattern("index", &place::CLEAN)),
        row("create._id", Source::Event(F::EventId, write::value)),
    ]),
    required: &["create._index", "create._id"],
    ..Schema::BASE
};

const CALLS: &[Call] = &[
    Call {
        purpose: Purpose::Send,
        when: When::Always,
        method: "POST",
        path: "/_bulk",
        // Leaving out the status of successful items would shift the positions of the others.
        query: &[
            ("filter_path", FILTER_PATH),
            ("pipeline", "{index.pipeline}"),
            ("require_data_stream", "{require_data_stream}"),
            // An alias that is missing would become an index of its name, and never roll over.
            ("require_alias", "{require_alias}"),
        ],
        headers: &[],
        body: CallBody::Batch,
        responses: Responses { rows: SEND_ROWS, read: Some(bulk::read_bulk) },
    },
    Call {
        purpose: Purpose::Health,
        when: When::Always,
        method: "GET",
        path: "/_cluster/health",
        query: &[],
        headers: &[],
        body: CallBody::Empty,
        responses: Responses { rows: &[], read: Some(bulk::read_health) },
    },
    // Without the monitor privilege, and in serverless projects, the root answers instead.
    Call {
        purpose: Purpose::Hello,
        when: When::Always,
        method: "GET",
        path: "/",
        query: &[],
        headers: &[],
        body: CallBody::Empty,
        responses: Responses::USUAL,
    },
];

const FILTER_PATH: &str = "took,errors,items.*.status,items.*.error.type,items.*.error.reason,\
                           items.*.failure_store";

/// Whole answers (`elastic.md`, Wire); the usual rows hold for the rest.
const SEND_ROWS: &[(std::ops::RangeInclusive<u16>, Verdict)] = &[
    // "Malformed NDJSON": one document breaks the body of all.
    (400..=400, Verdict::new(Fate::Bisect, "rejected")),
    // Not what answers bulk requests: a wrong address, a missing index, a refused content type.
    (404..=406, CONFIG),
    (410..=410, CONFIG),
    (415..=415, CONFIG),
    // The node, or the proxy before it: others may do better.
    (502..=504, NODE_OUT),
];

const CONFIG: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config");

const NODE_OUT: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Outage, scope: Scope::Endpoint }, "unavailable")
        .at(Pace::Pause(None));

const SETUP: &[Step] = &[
    Step {
        name: "lifecycle policy",
        key: "index.ilm_policy",
        when: When::All(&[When::Set("init.enabled"), When::Set("index.ilm")]),
        look: Some(look("/_ilm/policy/{index.ilm_policy}")),
        need: prepare::need_policy,
        act: put("/_ilm/policy/{index.ilm_policy}", prepare::policy, POLICY_ROWS),
        instead: None,
    },
    Step {
        name: "index template",
        key: "index.name",
        when: When::Set("init.enabled"),
        look: Some(look("/_index_template/{name}-template")),
        need: prepare::need_template,
        act: put("/_index_template/{name}-template", prepare::template, &[]),
        instead: Some(put("/_index_template/{name}-template", prepare::template_bare, &[])),
    },
    Step {
        name: "write alias",
        key: "index.name",
        when: When::All(&[When::Set("init.enabled"), When::Is("index.mode", "alias")]),
        look: Some(look("/_alias/{name}")),
        need: prepare::need_bootstrap,
        act: Call {
            responses: Responses { rows: &[], read: Some(prepare::read_bootstrap) },
            ..put("/{name}-000001", prepare::bootstrap, &[])
        },
        instead: None,
    },
];

/// "Serverless has neither health nor ILM: tolerate 404/410."
const POLICY_ROWS: &[(std::ops::RangeInclusive<u16>, Verdict)] =
    &[(404..=404, NOT_OFFERED), (410..=410, NOT_OFFERED)];

const NOT_OFFERED: Verdict = Verdict::new(Fate::Delivered, "accepted");

const fn look(path: &'static str) -> Call {
    Call {
        purpose: Purpose::Setup,
        when: When::Always,
        method: "GET",
        path,
        query: &[],
        headers: &[],
        body: CallBody::Empty,
        responses: Responses::USUAL,
    }
}

const fn put(
    path: &'static str,
    body: fn(&Options, &Derived) -> String,
    rows: &'static [(std::ops::RangeInclusive<u16>, Verdict)],
) -> Call {
    Call {
        method: "PUT",
        body: CallBody::Text("application/json", body),
        responses: Responses { rows, read: None },
        ..look(path)
    }
}

/// The forms of credentials: an API key, basic, or none.
fn auth(options: &Options) -> Result<Credentials, Problem> {
    let api_key = options.secret("auth.api_key").map(Secret::expose);
    let username = options.text("auth.username");
    let kind = options.text("auth.type");
    let inferred = match (api_key, &username) {
        (Some(_), Some(_)) if kind.is_none() => {
            return Err(problem("auth", "has an API key and a user name: keep one"));
        }
        (Some(_), _) => "api_key",
        (None, Some(_)) => "basic",
        (None, None) if kind.is_none() => {
            return Err(problem(
                "auth",
                "is required: api_key, or username and password, or \
                                        type: none",
            ));
        }
        (None, None) => "none",
    };
    let kind = kind.as_deref().unwrap_or(inferred);
    // Nobody may believe that requests carry what they do not.
    let is_stray = |(key, of): &&(&str, &str)| options.is_set(key) && *of != kind;
    if let Some((key, of)) = FIELDS.iter().find(is_stray) {
        let text = format!("belongs to `auth.type: {of}`, and type is `{kind}` here; leave it out");
        return Err(problem(key, text));
    }
    let value = match kind {
        "none" => return Ok(Vec::new()),
        "basic" => {
            let user = username.ok_or_else(|| problem("auth.username", "is required for basic"))?;
            let password = options.secret("auth.password").map(Secret::expose);
            let password =
                password.ok_or_else(|| problem("auth.password", "is required for basic"))?;
            if user.contains(':') {
                return Err(problem("auth.username", "must not contain a colon (RFC 7617)"));
            }
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        }
        _ => {
            let key = api_key.ok_or_else(|| problem("auth.api_key", "is required for api_key"))?;
            let id = options.text("auth.api_key_id");
            format!("ApiKey {}", encoded_key(key, id.as_deref())?)
        }
    };
    Ok(vec![("authorization", Secret::new(value))])
}

/// Fields of credentials, and the types that have them.
const FIELDS: &[(&str, &str)] = &[
    ("auth.api_key", "api_key"),
    ("auth.api_key_id", "api_key"),
    ("auth.username", "basic"),
    ("auth.password", "basic"),
];

/// The three forms of an API key: id and key apart, `id:key`, or already encoded.
fn encoded_key(key: &str, id: Option<&str>) -> Result<String, Problem> {
    if let Some(id) = id {
        return Ok(STANDARD.encode(format!("{id}:{key}")));
    }
    if key.contains(':') {
        return Ok(STANDARD.encode(key));
    }
    // Keys of an Elastic Cloud organisation begin so and are opaque.
    let is_opaque = key.starts_with("essu_");
    let is_encoded = STANDARD.decode(key).is_ok_and(|text| text.contains(&b':'));
    if is_opaque || is_encoded {
        return Ok(key.to_owned());
    }
    Err(problem(
        "auth.api_key",
        "is neither the encoded form nor id:key; give auth.api_key_id, or \
                                 copy the field `encoded` of the answer that created it",
    ))
}

/// Names that follow from the options, and rules that join several of them.
fn derive(options: &Options) -> Result<Derived, Problem> {
    let names = place::names(options)?;
    let mut texts = vec![("index", names.target), ("name", names.base)];
    if options.is_on("index.require_data_stream") {
        if place::Mode::of(options) != place::Mode::DataStream {
            return Err(problem("index.require_data_stream", "needs index.mode data_stream"));
        }
        texts.push(("require_data_stream", "true".to_owned()));
    }
    match place::Mode::of(options) {
        place::Mode::Alias => texts.push(("require_alias", "true".to_owned())),
        place::Mode::DataStream if Documents::of(options) != Documents::Ecs => {
            let text = "data_stream takes documents with @timestamp, which only format: ecs has; \
                        set that, or index.mode: daily or alias";
            return Err(problem("index.mode", text));
        }
        place::Mode::DataStream | place::Mode::Daily => {}
    }
    // "Keys in [flattened] fields cannot contain the reserved character \\0": the document would be
    // refused for it.
    Ok(Derived { texts, omit: Vec::new(), replaces_nul: true, ..Derived::NONE })
}

/// What documents are (`format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Documents {
    Ecs,
    Native,
    Ocsf,
}

impl Documents {
    fn of(options: &Options) -> Self {
        match options.text("format").as_deref() {
            Some("native") => Self::Native,
            Some("ocsf") => Self::Ocsf,
            _ => Self::Ecs,
        }
    }
}

const OPTIONS: &[Opt] = &[
    Opt {
        key: "nodes",
        aliases: &["base_url", "url"],
        kind: Kind::Urls,
        default: None,
        about: "Nodes, in turn; http://localhost:9200 where neither they nor cloud_id are set.",
    },
    Opt {
        key: "cloud_id",
        aliases: &[],
        kind: Kind::Text(1024),
        default: None,
        about: "Cloud ID of an Elastic Cloud deployment, instead of nodes.",
    },
    Opt {
        key: "auth.type",
        aliases: &[],
        kind: Kind::Choice(&["api_key", "basic", "none"]),
        default: None,
        about: "How to authenticate; inferred from the fields given.",
    },
    Opt {
        key: "auth.api_key",
        aliases: &["api_key"],
        kind: Kind::Secret,
        default: None,
        about: "API key: the encoded form, or id:key, or the key beside auth.api_key_id.",
    },
    Opt {
        key: "auth.api_key_id",
        aliases: &["api_key_id"],
        kind: Kind::Text(256),
        default: None,
        about: "Id of the API key, where it is given apart.",
    },
    Opt {
        key: "auth.username",
        aliases: &["username"],
        kind: Kind::Text(1024),
        default: None,
        about: "User name for basic authentication.",
    },
    Opt {
        key: "auth.password",
        aliases: &["password"],
        kind: Kind::Secret,
        default: None,
        about: "Its password.",
    },
    Opt {
        key: "format",
        aliases: &[],
        kind: Kind::Choice(&["ecs", "native", "ocsf"]),
        default: Some("ecs"),
        about: "Documents; a data stream takes those of ECS alone.",
    },
    Opt {
        key: "index.name",
        aliases: &["index"],
        kind: Kind::Text(255),
        default: Some(place::INDEX),
        about: "Name of the index, alias or data stream; may hold {tenant_id}, {severity}, and \
                date math such as <name-{now/d}>, resolved by the event's own time.",
    },
    Opt {
        key: "index.mode",
        aliases: &[],
        kind: Kind::Choice(&["daily", "alias", "data_stream"]),
        default: Some("daily"),
        about: "An index per day, a write alias that rolls over, or a data stream.",
    },
    Opt {
        key: "index.ilm",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("true"),
        about: "Whether indices have a lifecycle policy.",
    },
    Opt {
        key: "index.ilm_policy",
        aliases: &[],
        kind: Kind::Text(255),
        default: Some("clawdstrike-policy"),
        about: "Name of the lifecycle policy.",
    },
    Opt {
        key: "index.shards",
        aliases: &[],
        kind: Kind::Int(1, 1024),
        default: Some("1"),
        about: "Primary shards of each index.",
    },
    Opt {
        key: "index.replicas",
        aliases: &[],
        kind: Kind::Int(0, 64),
        default: Some("1"),
        about: "Copies of each shard.",
    },
    Opt {
        key: "index.pipeline",
        aliases: &[],
        kind: Kind::Text(255),
        default: None,
        about: "Ingest pipeline that documents run through.",
    },
    Opt {
        key: "index.require_data_stream",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether the cluster refuses to create anything but a data stream (8.13 and later).",
    },
    Opt {
        key: "init.enabled",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("true"),
        about: "Whether policy, template and write alias are prepared at start.",
    },
    Opt {
        key: "init.overwrite",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether a policy or template that somebody changed is replaced.",
    },
    Opt {
        key: "ecs_version",
        aliases: &[],
        kind: Kind::Text(16),
        default: Some("8.17.0"),
        about: "What documents say as ecs.version.",
    },
    Opt {
        key: "include_raw",
        aliases: &[],
        kind: Kind::Bool,
        default: Some("false"),
        about: "Whether documents carry the redacted event as event.original.",
    },
    Opt {
        key: "alert_min_severity",
        aliases: &[],
        kind: Kind::Choice(&["info", "low", "medium", "high", "critical"]),
        default: None,
        about: "Denials at least this severe get event.kind alert instead of event.",
    },
    Opt {
        key: "ccr.leader_alias",
        aliases: &[],
        kind: Kind::Text(255),
        default: None,
        about: "Documentation only: with cross-cluster replication write to the leader.",
    },
];
