//! Slack: messages by incoming webhooks or as a bot.

mod answer;
mod message;

use http::Uri;

use crate::deliver::{
    Call, CallBody, Conversation, Credentials, Derived, Encoding, FLOOD, Framing, Kind, Limits,
    MAX_AGE, Opt, Options, Order, Problem, Purpose, REPEATS, Resend, Responses, RouteMap, Secret,
    Shape, Vendor, When, opt, problem,
};
use crate::schemas;
use crate::transform::Format;

/// Slack (`slack.md`).
pub static SLACK: Vendor = Vendor {
    name: "slack",
    about: "Slack: one message per event, by an incoming webhook or as a bot, in threads by session",
    options: OPTIONS,
    formats: &[Format::Native],
    shapes: &[
        (
            When::Set("formatting.color_by_severity"),
            Shape { document: Some(&message::COLOURED), ..MESSAGE },
        ),
        (When::Always, MESSAGE),
    ],
    endpoints,
    auth,
    derive,
    notes,
    // Every text has a bound of its own, so that this one is never met.
    limits: Limits { events: 1, body_bytes: 1 << 20, event_bytes: 1 << 20 },
    encodings: &[Encoding::Identity],
    calls: CALLS,
    route_keys: &["channel", "webhook_url"],
    route_maps: &[
        by("routing.by_severity", "severity", "Channel by severity: an id, or a webhook's URL."),
        by("routing.by_guard", "guard", "The same by guard, where no severity is for the event."),
        by("routing.by_tenant", "tenant_id", "The same by tenant, where neither is."),
    ],
    // People read all of it.
    usual: &[("filter.min_severity", "low")],
    // Nothing tells Slack that it has a message already.
    resend: Resend::Ambiguous,
    // "A timeout may have posted: at most one resend."
    ambiguous_max: Some(1),
    // People read channels from top to bottom; a channel that is gone does not stop the others.
    order: Order::Loose,
    route_rate: Some(("rate_limit.per_minute", "rate_limit.burst")),
    alert: Some(&schemas::SAME),
    // "The reply has no `ts`, so a webhook can never start a thread."
    conversation: Some(Conversation {
        when: When::All(&[BOT, When::Set(THREADING)]),
        key: &schemas::SESSION,
        ttl_minutes: "threading.ttl_minutes",
        read: answer::ts,
    }),
    // An answer is a word, or a short object beside the message that was posted.
    answer_bytes: &[(When::Always, 256 << 10)],
    ..Vendor::BASE
};

const MESSAGE: Shape = Shape {
    document: Some(&message::BARE),
    small: Some(&message::PLAIN),
    plain: Some(&message::PLAIN),
    framing: Framing { after: "\n", ..Shape::BASE.framing },
    ..Shape::BASE
};

/// Entries are secrets, since a webhook's URL is one.
const fn by(key: &'static str, name: &'static str, about: &'static str) -> RouteMap {
    let option = &[(BOT, "channel"), (When::Always, "webhook_url")];
    RouteMap { key, name, kind: Kind::Secret, option, adds: false, about }
}

const BOT: When = When::Set("bot_token");

const CALLS: &[Call] = &[
    Call { when: BOT, path: "/chat.postMessage", responses: reads(answer::read_bot), ..SEND },
    SEND,
    Call {
        purpose: Purpose::Probe,
        when: BOT,
        path: "/auth.test",
        body: CallBody::Empty,
        responses: reads(answer::read_test),
        ..SEND
    },
];

const SEND: Call = Call {
    purpose: Purpose::Send,
    when: When::Always,
    method: "POST",
    path: "",
    query: &[],
    headers: &[],
    body: CallBody::Batch,
    responses: reads(answer::read_webhook),
};

const fn reads(
    read: fn(&crate::deliver::Response<'_>) -> Option<crate::deliver::Verdict>,
) -> Responses {
    Responses { rows: &[], read: Some(read) }
}

/// The webhook's URL, which is all of it, or where the API is.
fn endpoints(options: &Options) -> Result<Vec<Uri>, Problem> {
    let is_bot = options.is_set("bot_token");
    let key = match (options.is_set("webhook_url"), is_bot) {
        (true, true) => return Err(problem("bot_token", "stands beside webhook_url; keep one")),
        (false, false) => {
            return Err(problem("webhook_url", "is required, or bot_token and channel"));
        }
        (true, false) => "webhook_url",
        (false, true) => "api_base",
    };
    if options.is_on(THREADING) && !is_bot {
        let text = "needs a bot: the answer to a webhook names no message to reply to; set \
                    bot_token and channel instead of webhook_url";
        return Err(problem(THREADING, text));
    }
    if is_bot && channel(options).is_none() {
        return Err(problem("channel", "is required for a bot, such as C0123456789"));
    }
    // The URL is a secret, so that mistakes in it are told without it.
    let url: Uri = options
        .url(key)
        .unwrap_or_default()
        .trim()
        .parse()
        .map_err(|_| problem(key, "is no URL"))?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(vec![url]),
        _ => Err(problem(key, "expected an https URL with a host")),
    }
}

fn channel(options: &Options) -> Option<String> {
    let named = options.text("channel");
    named.or_else(|| options.url("channel").map(str::to_owned)).filter(|it| !it.trim().is_empty())
}

fn auth(options: &Options) -> Result<Credentials, Problem> {
    let Some(token) = options.secret("bot_token") else { return Ok(Vec::new()) };
    match token.expose().trim() {
        "" => Err(problem("bot_token", "is empty")),
        token => Ok(vec![("authorization", Secret::new(format!("Bearer {token}")))]),
    }
}

/// What messages show, and where they lead.
fn derive(options: &Options) -> Result<Derived, Problem> {
    let mut derived = Derived::NONE;
    let is_detailed = options.is_on("formatting.detailed");
    let shows_path = options.is_on("formatting.show_path");
    let mut know = |name, is_known: bool| {
        if is_known {
            derived.texts.push((name, "true".to_owned()));
        }
    };
    know(message::DETAILED, is_detailed);
    know(message::RESOURCE_WITH_PATH_TEXT, is_detailed && shows_path);
    know(message::RESOURCE_TEXT, is_detailed && !shows_path);
    know(message::SESSION, options.is_on("formatting.show_session"));
    if let Some(base) = options.text("base_url").filter(|base| !base.is_empty()) {
        let base = base.trim_end_matches('/');
        if base.contains(['?', '#']) || base.len() > BASE_MAX {
            let text = "expected an address without a query, of at most 2000 bytes";
            return Err(problem("base_url", text));
        }
        derived.texts.push((message::EVENTS_AT, format!("{base}/events/")));
        derived.texts.push((message::SESSIONS_AT, format!("{base}/sessions/")));
    }
    match options.is_set("bot_token") {
        true => derived.texts.extend(channel(options).map(|it| (message::CHANNEL, it))),
        false => derived.omit.extend(message::BOT_KEYS),
    }
    Ok(derived)
}

/// "Identity: bot transport only; warning on webhooks."
fn notes(options: &Options) -> Vec<String> {
    let keys = ["channel", "identity.username", "identity.icon_emoji", "identity.icon_url"];
    let ignored =
        keys.into_iter().filter(|key| options.is_set(key) && !options.is_set("bot_token"));
    let note = |key| {
        format!("{key} has no effect: the channel and the name of a webhook are those of its URL")
    };
    ignored.map(note).collect()
}

/// Bytes of an address that leave room for an id: a button's URL has at most 3,000 characters.
const BASE_MAX: usize = 2000;

const THREADING: &str = "threading.enabled";

const OPTIONS: &[Opt] = &[
    opt(
        "webhook_url",
        Kind::SecretUrl,
        None,
        "URL of an incoming webhook; it carries the key to its channel and is kept secret.",
    ),
    opt("bot_token", Kind::Secret, None, "Token of a bot (xoxb-..) with chat:write, instead."),
    opt("channel", Kind::Text(255), None, "Id of the channel that the bot posts to."),
    opt("formatting.detailed", Kind::Bool, Some("true"), "Whether messages show the resource."),
    opt("formatting.show_path", Kind::Bool, Some("true"), "Whether they show its path."),
    opt(
        "formatting.show_session",
        Kind::Bool,
        Some("true"),
        "Whether they show session, user, environment and tenant.",
    ),
    opt(
        "formatting.color_by_severity",
        Kind::Bool,
        Some("true"),
        "Whether a bar beside them has the severity's colour.",
    ),
    opt("identity.username", Kind::Text(80), None, "Name to post under; of a bot only."),
    opt("identity.icon_emoji", Kind::Text(100), None, "Emoji to post under; of a bot only."),
    opt("identity.icon_url", Kind::Url, None, "Picture to post under; of a bot only."),
    opt(
        "rate_limit.per_minute",
        Kind::Int(1, 6000),
        Some("60"),
        "Messages a minute to each channel.",
    ),
    opt(
        "rate_limit.burst",
        Kind::Int(1, 1000),
        Some("5"),
        "Messages at once to a channel after a quiet time.",
    ),
    FLOOD,
    MAX_AGE,
    REPEATS,
    opt(
        THREADING,
        Kind::Bool,
        Some("false"),
        "Whether messages of a session are replies to its first in the channel; of a bot only.",
    ),
    opt(
        "threading.ttl_minutes",
        Kind::Span(1_000, 30 * 86_400_000),
        Some("60"),
        "How long after the last message of a session the next begins a new thread.",
    ),
    opt(
        "base_url",
        Kind::Url,
        None,
        "Address of a console; messages then link to BASE/events/ID and BASE/sessions/ID.",
    ),
    opt(
        "api_base",
        Kind::Url,
        Some("https://slack.com/api"),
        "Where a bot finds the API, such as https://slack-gov.com/api.",
    ),
];
