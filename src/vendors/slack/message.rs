//! Messages: blocks, inside an attachment where they have a colour, and one line of text for
//! notifications and screen readers.

use crate::event::{Event, FieldId as F, Severity};
use crate::schemas::{self, repeated};
use crate::transform::Source::{
    Also, AlsoWhen, Constant, Continued, Derived, OneOf, Option, Part, When,
};
use crate::transform::write::severity;
use crate::transform::{Encoder, Field, JSON_LIST, Layout, Markup, Schema, json, row};

/// Texts that [`derive`](super::derive) makes known.
pub(super) const CHANNEL: &str = "slack.channel";
pub(super) const DETAILED: &str = "slack.detailed";
pub(super) const RESOURCE_TEXT: &str = "slack.resource";
pub(super) const RESOURCE_WITH_PATH_TEXT: &str = "slack.resource_with_path";
pub(super) const SESSION: &str = "slack.session";
pub(super) const EVENTS_AT: &str = "slack.events_at";
pub(super) const SESSIONS_AT: &str = "slack.sessions_at";

/// Keys that only the bot's call knows.
pub(super) const BOT_KEYS: &[&str] =
    &["channel", "username", "icon_emoji", "icon_url", "thread_ts", "reply_broadcast"];

/// Blocks beside a bar in the severity's colour: only blocks inside the attachment have it.
pub(super) static COLOURED: Schema = Schema {
    name: "slack message",
    layout: Layout::Table(&[
        AT[0],
        AT[1],
        AT[2],
        AT[3],
        AT[4],
        AT[5],
        row("text", Derived(SUMMARY, summary)),
        NO_PREVIEW[0],
        NO_PREVIEW[1],
        row("attachments", Also(&ATTACHMENTS)),
    ]),
    required: &["text"],
    ..Schema::BASE
};

/// Blocks alone.
pub(super) static BARE: Schema = Schema {
    name: "slack message without a colour",
    layout: Layout::Table(&[
        AT[0],
        AT[1],
        AT[2],
        AT[3],
        AT[4],
        AT[5],
        row("text", Derived(SUMMARY, summary)),
        NO_PREVIEW[0],
        NO_PREVIEW[1],
        row("blocks", Also(&BLOCKS)),
    ]),
    required: &["text"],
    ..Schema::BASE
};

/// Text alone, for a workspace that refuses the blocks.
pub(super) static PLAIN: Schema = Schema {
    name: "slack message as text",
    layout: Layout::Table(&[
        AT[0],
        AT[1],
        AT[2],
        AT[3],
        AT[4],
        AT[5],
        row("text", Derived(WHOLE, whole)),
        NO_PREVIEW[0],
        NO_PREVIEW[1],
    ]),
    required: &["text"],
    ..Schema::BASE
};

const AT: [Field; 6] = [
    row("channel", Option(CHANNEL)),
    row("username", Option("identity.username")),
    row("icon_emoji", Option("identity.icon_emoji")),
    row("icon_url", Option("identity.icon_url")),
    row("thread_ts", Derived(&[], thread)),
    row("reply_broadcast", Derived(&[F::Severity], broadcast)),
];

/// Nobody fetches what an event names.
const NO_PREVIEW: [Field; 2] =
    [row("unfurl_links", Constant("false")), row("unfurl_media", Constant("false"))];

static ATTACHMENTS: Schema = list(&[row("attachment", Also(&ATTACHMENT))]);

static ATTACHMENT: Schema = object(&[
    row("color", OneOf(&[F::Severity], severity, COLOURS)),
    row("fallback", Derived(SUMMARY, summary)),
    row("blocks", Also(&BLOCKS)),
]);

static BLOCKS: Schema = list(&[
    row("header", Also(&HEADER)),
    row("reason", Also(&REASON)),
    row("facts", Also(&FACTS)),
    row("divider", When(DETAILED, "{\"type\":\"divider\"}")),
    row("resource", AlsoWhen(RESOURCE_WITH_PATH_TEXT, &RESOURCE_WITH_PATH)),
    row("resource without its path", AlsoWhen(RESOURCE_TEXT, &RESOURCE)),
    row("session", AlsoWhen(SESSION, &SESSION_BLOCK)),
    row("repeats", Derived(&[], repeats)),
    row("event", Also(&EVENT)),
    row("attack", Part(&[F::Tactic, F::Technique], attack)),
    row("intelligence", Part(&[F::Shrike], intelligence)),
    row("links", AlsoWhen(EVENTS_AT, &LINKS)),
]);

static HEADER: Schema = object(&[
    row("type", Constant("\"header\"")),
    row("text.type", Constant("\"plain_text\"")),
    row("text.text", Derived(&[F::Severity, F::Allowed, F::Guard], header)),
    row("text.emoji", Constant("true")),
]);

static REASON: Schema = object(&[
    SECTION,
    row("text.type", Constant("\"mrkdwn\"")),
    row("text.verbatim", Constant("true")),
    row("text.text", Derived(&[F::Reason], reason)),
]);

static FACTS: Schema = object(&[
    SECTION,
    row("fields", Derived(&[F::Severity, F::Guard, F::EventType, F::Outcome], facts)),
]);

static RESOURCE: Schema = object(&[
    SECTION,
    row("fields", Derived(&[F::ResourceType, F::ResourceName, F::ResourceHost], resource)),
]);

static RESOURCE_WITH_PATH: Schema = object(&[
    SECTION,
    row(
        "fields",
        Derived(
            &[F::ResourceType, F::ResourceName, F::ResourceHost, F::ResourcePath],
            resource_with_path,
        ),
    ),
]);

static SESSION_BLOCK: Schema =
    object(&[CONTEXT, row("elements", Derived(&[F::SessionId, F::SessionUserId], session))]);

static EVENT: Schema =
    object(&[CONTEXT, row("elements", Derived(&[F::EventId, F::Timestamp], event))]);

static LINKS: Schema =
    object(&[row("type", Constant("\"actions\"")), row("elements", Also(&BUTTONS))]);

static BUTTONS: Schema =
    list(&[row("event", Also(&EVENT_BUTTON)), row("session", Also(&SESSION_BUTTON))]);

static EVENT_BUTTON: Schema = object(&[
    BUTTON[0],
    BUTTON[1],
    row("text.text", Constant("\"View Details\"")),
    row(
        "url",
        Continued(&[EVENTS_AT], &[F::EventId], |encoder, event| {
            encoder.percent(event.text(F::EventId), ID_MAX);
            true
        }),
    ),
]);

static SESSION_BUTTON: Schema = object(&[
    BUTTON[0],
    BUTTON[1],
    row("text.text", Constant("\"View Session\"")),
    row(
        "url",
        Continued(&[SESSIONS_AT], &[F::SessionId], |encoder, event| {
            encoder.percent(event.text(F::SessionId), ID_MAX);
            true
        }),
    ),
]);

const SECTION: Field = row("type", Constant("\"section\""));
const CONTEXT: Field = row("type", Constant("\"context\""));
const BUTTON: [Field; 2] =
    [row("type", Constant("\"button\"")), row("text.type", Constant("\"plain_text\""))];

const fn object(rows: &'static [Field]) -> Schema {
    Schema { name: "slack block", layout: Layout::Table(rows), ..Schema::BASE }
}

const fn list(rows: &'static [Field]) -> Schema {
    Schema { name: "slack list", syntax: &JSON_LIST, layout: Layout::Table(rows), ..Schema::BASE }
}

/// From info to critical.
const COLOURS: &[&str] =
    &["\"#6c757d\"", "\"#17a2b8\"", "\"#ffc107\"", "\"#fd7e14\"", "\"#dc3545\""];
const EMOJI: [&str; 5] = [
    ":speech_balloon:",
    ":information_source:",
    ":large_orange_diamond:",
    ":warning:",
    ":rotating_light:",
];

/// "`&` `&amp;`, `<` `&lt;`, `>` `&gt;`": nothing in an event mentions anybody or is a link.
const TEXT: Markup = Markup {
    escape: |char| match char {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\n' | '\t' => None,
        char if char.is_control() => Some(" "),
        _ => None,
    },
    // What Slack counts is not said; two for what needs two in UTF-16 is never too few.
    weight: char::len_utf16,
};

/// The same on one line.
const LINE: Markup = Markup {
    escape: |char| match char {
        '\n' | '\t' => Some(" "),
        char => (TEXT.escape)(char),
    },
    ..TEXT
};

/// The same inside a code span, which a backtick would end.
const CODE: Markup = Markup {
    escape: |char| match char {
        '`' => Some("'"),
        char => (LINE.escape)(char),
    },
    ..TEXT
};

const SUMMARY: &[F] = &[F::Severity, F::Allowed, F::Guard, F::Reason];
const WHOLE: &[F] = &[
    F::Severity,
    F::Allowed,
    F::Guard,
    F::Reason,
    F::EventType,
    F::ResourceName,
    F::EventId,
    F::Timestamp,
];

/// What the first message of the session was called.
fn thread(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    event.thread().map(|ts| encoder.quoted(ts.as_bytes())).is_some()
}

/// "`reply_broadcast` for critical": the channel sees it too.
fn broadcast(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let is_shown = event.thread().is_some() && event.opened.severity == Severity::Critical;
    if is_shown {
        encoder.literal(b"true");
    }
    is_shown
}

/// `{emoji} Security {BLOCKED|ALLOWED}: {guard}`.
fn header(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.open_text();
    let begun = title(encoder, event);
    encoder.excerpt(event.text(F::Guard), &LINE, HEADER_MAX - begun);
    encoder.close_text();
    true
}

/// The header and the reason, on one line.
fn summary(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.open_text();
    line(encoder, event);
    encoder.close_text();
    true
}

fn line(encoder: &mut Encoder<'_>, event: &Event<'_>) {
    title(encoder, event);
    encoder.excerpt(event.text(F::Guard), &LINE, NAME_MAX);
    encoder.raw(b" (");
    encoder.excerpt(event.text(F::Severity), &LINE, NAME_MAX);
    encoder.raw(b"): ");
    encoder.excerpt(reason_of(event), &LINE, SUMMARY_MAX);
}

/// Everything that matters, in a few lines.
fn whole(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let lines: [(&[u8], &[u8], usize); 5] = [
        (b"\\nReason: ", reason_of(event), WHOLE_REASON_MAX),
        (b"\\nEvent Type: ", event.text(F::EventType), NAME_MAX),
        (b"\\nResource: ", event.text(F::ResourceName), WHOLE_NAME_MAX),
        (b"\\nEvent ID: ", event.text(F::EventId), NAME_MAX),
        (b"\\nTime: ", event.text(F::Timestamp), NAME_MAX),
    ];
    encoder.open_text();
    title(encoder, event);
    encoder.excerpt(event.text(F::Guard), &LINE, NAME_MAX);
    encoder.raw(b" (");
    encoder.excerpt(event.text(F::Severity), &LINE, NAME_MAX);
    encoder.raw(b")");
    for (label, text, room) in lines {
        encoder.raw(label);
        encoder.excerpt(text, &LINE, room);
    }
    if event.left_out().is_some() {
        encoder.raw(b"\\n");
        repeated(encoder, event);
    }
    encoder.close_text();
    true
}

/// Begins a header; how much room that took.
fn title(encoder: &mut Encoder<'_>, event: &Event<'_>) -> usize {
    let emoji = EMOJI[event.opened.severity as usize];
    let verb = if event.opened.allowed { " Security ALLOWED: " } else { " Security BLOCKED: " };
    encoder.raw(emoji.as_bytes());
    encoder.raw(verb.as_bytes());
    emoji.len() + verb.len()
}

fn reason(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    const LABEL: &[u8] = b"*Reason:* ";
    encoder.open_text();
    encoder.raw(LABEL);
    encoder.excerpt(reason_of(event), &TEXT, SECTION_MAX - LABEL.len());
    encoder.close_text();
    true
}

fn reason_of<'e>(event: &Event<'e>) -> &'e [u8] {
    match event.text(F::Reason).trim_ascii() {
        b"" => b"n/a",
        _ => event.text(F::Reason),
    }
}

fn facts(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let mut fields = Texts::begin(encoder);
    fields.say(b"*Severity:*\\n", event.text(F::Severity), &LINE);
    fields.say(b"*Guard:*\\n", event.text(F::Guard), &LINE);
    fields.say(b"*Event Type:*\\n", event.text(F::EventType), &LINE);
    fields.say(b"*Outcome:*\\n", event.text(F::Outcome), &LINE);
    fields.end()
}

fn resource(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let mut fields = of_resource(encoder, event);
    fields.host(event);
    fields.end()
}

fn resource_with_path(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let mut fields = of_resource(encoder, event);
    let path = event.text(F::ResourcePath);
    if !path.is_empty() {
        fields.with(b"*Path:*\\n`", |encoder| {
            encoder.excerpt(path, &CODE, FIELD_MAX - LABEL_MAX);
            encoder.literal(b"`");
        });
    }
    fields.host(event);
    fields.end()
}

fn of_resource<'x, 'e>(encoder: &'x mut Encoder<'e>, event: &Event<'_>) -> Texts<'x, 'e> {
    let mut fields = Texts::begin(encoder);
    fields.say(b"*Resource Type:*\\n", event.text(F::ResourceType), &LINE);
    fields.say(b"*Resource:*\\n", event.text(F::ResourceName), &LINE);
    fields
}

/// "Session (first 8 characters), User, Env, Tenant."
fn session(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let id = event.text(F::SessionId);
    let mut elements = Texts::begin(encoder);
    elements.say(b"*Session:* ", json::beginning(id, SESSION_CHARACTERS), &LINE);
    elements.say(b"*User:* ", event.text(F::SessionUserId), &LINE);
    elements.say(b"*Env:* ", event.text(F::SessionEnvironment), &LINE);
    elements.say(b"*Tenant:* ", event.text(F::SessionTenantId), &LINE);
    elements.end()
}

fn event(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let mut elements = Texts::begin(encoder);
    elements.with(b"Event ID: ", |encoder| {
        encoder.excerpt(event.text(F::EventId), &LINE, NAME_MAX);
        encoder.literal(b" | ");
        encoder.excerpt(event.text(F::Timestamp), &LINE, NAME_MAX);
    });
    elements.end()
}

/// A block with how many said the same and were left out.
fn repeats(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    event.left_out().is_some()
        && context(encoder, |elements| {
            elements.with(b"", |encoder| {
                repeated(encoder, event);
            });
        })
}

/// A block with tactic and technique.
fn attack(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let (tactic, technique) = (event.text(F::Tactic), event.text(F::Technique));
    if tactic.is_empty() && technique.is_empty() {
        return false;
    }
    context(encoder, |elements| {
        elements.with(b"*MITRE:* ", |encoder| {
            encoder.excerpt(tactic, &LINE, NAME_MAX);
            if !tactic.is_empty() && !technique.is_empty() {
                encoder.literal(b" / ");
            }
            encoder.excerpt(technique, &LINE, NAME_MAX);
        });
    })
}

/// A block with what threat intelligence matched.
fn intelligence(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let value = |found| json::member(found, b"value").and_then(json::string);
    let mut values = schemas::matches(event).filter_map(value);
    let Some(first) = values.next() else { return false };
    context(encoder, |elements| {
        elements.with(b"*Threat intelligence:* ", |encoder| {
            encoder.excerpt(first, &LINE, NAME_MAX);
            for value in values.take(MATCHES_MAX - 1) {
                encoder.literal(b", ");
                encoder.excerpt(value, &LINE, NAME_MAX);
            }
        });
    })
}

fn context(encoder: &mut Encoder<'_>, write: impl FnOnce(&mut Texts<'_, '_>)) -> bool {
    encoder.raw(b"{\"type\":\"context\",\"elements\":");
    let mut elements = Texts::begin(encoder);
    write(&mut elements);
    elements.end();
    encoder.literal(b"}");
    true
}

/// An array of texts in Slack's markup; those that say nothing are left out.
struct Texts<'x, 'e> {
    encoder: &'x mut Encoder<'e>,
    is_first: bool,
}

impl<'x, 'e> Texts<'x, 'e> {
    fn begin(encoder: &'x mut Encoder<'e>) -> Self {
        encoder.literal(b"[");
        Self { encoder, is_first: true }
    }

    /// One element, where there is something to say.
    fn say(&mut self, label: &[u8], text: &[u8], markup: &Markup) {
        if !text.is_empty() {
            self.with(label, |encoder| encoder.excerpt(text, markup, FIELD_MAX - LABEL_MAX));
        }
    }

    fn with(&mut self, label: &[u8], write: impl FnOnce(&mut Encoder<'e>)) {
        debug_assert!(label.len() <= LABEL_MAX, "room for labels");
        if !self.is_first {
            self.encoder.literal(b",");
        }
        self.is_first = false;
        self.encoder.raw(b"{\"type\":\"mrkdwn\",\"verbatim\":true,\"text\":\"");
        self.encoder.raw(label);
        write(self.encoder);
        self.encoder.literal(b"\"}");
    }

    /// "Host[:port only if present]."
    fn host(&mut self, event: &Event<'_>) {
        let (host, port) = (event.text(F::ResourceHost), event.text(F::ResourcePort));
        if host.is_empty() {
            return;
        }
        self.with(b"*Host:*\\n", |encoder| {
            encoder.excerpt(host, &LINE, NAME_MAX);
            if !matches!(port, b"" | b"0") {
                encoder.literal(b":");
                encoder.excerpt(port, &LINE, NAME_MAX);
            }
        });
    }

    fn end(self) -> bool {
        self.encoder.literal(b"]");
        true
    }
}

/// "Header text 150; section text 3000; fields of 2000."
const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3000;
const FIELD_MAX: usize = 2000;
/// Room for a label and the code span around a path.
const LABEL_MAX: usize = 32;
/// Room for names: guards, ids, hosts.
const NAME_MAX: usize = 255;
/// Room for the reason in a notification; all of it stands in the blocks.
const SUMMARY_MAX: usize = 200;
/// "`text` 40000 (keep <= 4000)."
const WHOLE_REASON_MAX: usize = 2000;
const WHOLE_NAME_MAX: usize = 500;
const SESSION_CHARACTERS: usize = 8;
/// Matches of threat intelligence that are named.
const MATCHES_MAX: usize = 5;
/// Room for an id in a link; "action url 3000", and an address has up to 2,000.
const ID_MAX: usize = 900;
