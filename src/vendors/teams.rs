//! Microsoft Teams: cards through a workflow's webhook, or an old connector.

mod answer;
mod card;

use http::Uri;

use crate::deliver::{
    Call, CallBody, Derived, Encoding, FLOOD, Framing, Kind, Limits, MAX_AGE, Opt, Options, Order,
    Problem, Purpose, REPEATS, Resend, Responses, RouteMap, Shape, Vendor, When, opt, problem,
};
use crate::schemas;
use crate::transform::Format;

/// Microsoft Teams (`teams.md`).
pub static TEAMS: Vendor = Vendor {
    name: "teams",
    about: "Microsoft Teams: one card per event, through a workflow's webhook",
    options: OPTIONS,
    formats: &[Format::Native],
    shapes: &[
        (
            When::Set("formatting.use_adaptive_cards"),
            Shape {
                document: Some(&card::ADAPTIVE),
                small: Some(&card::ADAPTIVE_SMALL),
                plain: Some(&card::MESSAGE_CARD),
                ..CARD
            },
        ),
        (When::Always, CARD),
    ],
    endpoints,
    derive,
    notes,
    // "28 KB for the whole message"; texts are cut so that every card is smaller.
    limits: Limits { events: 1, body_bytes: 28_000, event_bytes: 27_000 },
    encodings: &[Encoding::Identity],
    calls: &[Call {
        purpose: Purpose::Send,
        when: When::Always,
        method: "POST",
        // The signature in the query holds for the URL as it is.
        path: "",
        query: &[],
        headers: &[],
        body: CallBody::Batch,
        responses: Responses { rows: &[], read: Some(answer::read) },
    }],
    route_keys: &["webhook_url"],
    route_maps: &[
        by("routing.by_severity", "severity", "URL of a webhook by severity."),
        by("routing.by_guard", "guard", "The same by guard, where no severity is for the event."),
        by("routing.by_tenant", "tenant_id", "The same by tenant, where neither is."),
    ],
    // People read all of it.
    usual: &[("filter.min_severity", "low")],
    // Nothing tells Teams that it has a message already.
    resend: Resend::Ambiguous,
    // "Ambiguous resend at most once."
    ambiguous_max: Some(1),
    // People read channels from top to bottom; a flow that is gone does not stop the others.
    order: Order::Loose,
    route_rate: Some(("rate_limit.per_minute", "rate_limit.burst")),
    alert: Some(&schemas::SAME),
    answer_bytes: &[(When::Always, 64 << 10)],
    ..Vendor::BASE
};

const CARD: Shape = Shape {
    document: Some(&card::MESSAGE_CARD),
    small: Some(&card::MESSAGE_CARD_SMALL),
    plain: Some(&card::MESSAGE_CARD_SMALL),
    framing: Framing { after: "\n", ..Shape::BASE.framing },
    ..Shape::BASE
};

const fn by(key: &'static str, name: &'static str, about: &'static str) -> RouteMap {
    let option = &[(When::Always, "webhook_url")];
    RouteMap { key, name, kind: Kind::Secret, option, adds: false, about }
}

fn endpoints(options: &Options) -> Result<Vec<Uri>, Problem> {
    let url = options.url("webhook_url").map(str::trim).filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| problem("webhook_url", "is required"))?;
    // The URL is a secret, so that mistakes in it are told without it.
    let url: Uri = url.parse().map_err(|_| problem("webhook_url", "is no URL"))?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(vec![url]),
        _ => Err(problem("webhook_url", "expected an https URL with a host")),
    }
}

/// What cards show, and where they lead.
fn derive(options: &Options) -> Result<Derived, Problem> {
    let mut derived = Derived::NONE;
    if options.is_on("formatting.show_facts") {
        derived.texts.push((card::SHOWS_FACTS, "true".to_owned()));
    }
    let base = options.text("base_url").filter(|base| !base.is_empty());
    if let Some(base) = &base
        && (base.contains(['?', '#']) || base.len() > BASE_MAX)
    {
        let text = "expected an address without a query, of at most 2000 bytes";
        return Err(problem("base_url", text));
    }
    if options.is_on("formatting.show_actions") {
        let base = base.ok_or_else(|| problem("formatting.show_actions", "needs base_url"))?;
        let base = base.trim_end_matches('/');
        derived.texts.push((card::EVENTS_AT, format!("{base}/events/")));
        derived.texts.push((card::SESSIONS_AT, format!("{base}/sessions/")));
    }
    let theme = options.text("theme_color").unwrap_or_default();
    let theme = theme.trim_start_matches('#');
    if theme.len() != 6 || !theme.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(problem("theme_color", "expected six hexadecimal digits, such as 0078D7"));
    }
    let colours = card::THEME_COLOURS.into_iter().chain([theme]).map(str::to_owned);
    derived.texts.extend(card::THEMES.iter().copied().zip(colours));
    Ok(derived)
}

/// "A connector host logs a retirement warning."
fn notes(options: &Options) -> Vec<String> {
    let is_old = answer::is_connector(options);
    let note = "the webhook is that of an Office 365 connector, which Microsoft retired in spring \
                2026; make a workflow (\"post to a channel when a webhook request is received\") \
                and use its URL";
    is_old.then(|| note.to_owned()).into_iter().collect()
}

/// Bytes of an address that leave room for an id.
const BASE_MAX: usize = 2000;

const OPTIONS: &[Opt] = &[
    opt(
        "webhook_url",
        Kind::SecretUrl,
        None,
        "URL of a workflow's webhook, sent as it is; it carries a signature and is kept secret.",
    ),
    opt(
        "mode",
        Kind::Choice(&["auto", "workflows", "connector"]),
        Some("auto"),
        "What takes messages: a workflow, or an old connector, whose answers mean something else; auto is by the URL's host.",
    ),
    opt(
        "formatting.use_adaptive_cards",
        Kind::Bool,
        Some("true"),
        "Adaptive Cards; false is MessageCards.",
    ),
    opt("formatting.show_facts", Kind::Bool, Some("true"), "Whether cards show a table of facts."),
    opt(
        "formatting.show_actions",
        Kind::Bool,
        Some("false"),
        "Whether Adaptive Cards have links; needs base_url.",
    ),
    opt(
        "theme_color",
        Kind::Text(7),
        Some("0078D7"),
        "Colour of MessageCards of events whose severity has none of its own.",
    ),
    opt(
        "base_url",
        Kind::Url,
        None,
        "Address of a console; cards then link to BASE/events/ID and BASE/sessions/ID.",
    ),
    opt(
        "rate_limit.per_minute",
        Kind::Int(1, 6000),
        Some("20"),
        "Messages a minute to each webhook.",
    ),
    opt(
        "rate_limit.burst",
        Kind::Int(1, 1000),
        Some("4"),
        "Messages at once to a webhook after a quiet time.",
    ),
    FLOOD,
    MAX_AGE,
    REPEATS,
];
