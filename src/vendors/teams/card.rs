//! Adaptive Cards, the older MessageCards, and a small card of each kind.

use crate::event::{Event, FieldId as F};
use crate::schemas::{self, repeated};
use crate::transform::Source::{Also, AlsoWhen, Constant, Continued, Derived, OneOf, OneOption};
use crate::transform::write::severity;
use crate::transform::{Choices, Encoder, Field, JSON_LIST, Layout, Markup, Schema, json, row};

/// Texts that [`derive`](super::derive) makes known.
pub(super) const SHOWS_FACTS: &str = "teams.facts";
pub(super) const EVENTS_AT: &str = "teams.events_at";
pub(super) const SESSIONS_AT: &str = "teams.sessions_at";
/// Colours by severity, and that of any other.
pub(super) const THEMES: &[&str] = &[
    "teams.theme.info",
    "teams.theme.low",
    "teams.theme.medium",
    "teams.theme.high",
    "teams.theme.critical",
    "teams.theme",
];
/// What the first five are.
pub(super) const THEME_COLOURS: [&str; 5] = ["6c757d", "17a2b8", "ffc107", "fd7e14", "dc3545"];

/// An Adaptive Card in a message.
pub(super) static ADAPTIVE: Schema =
    object(&[row("type", Constant("\"message\"")), row("attachments", Also(&ATTACHMENTS))]);

/// The same with the least that says what happened.
pub(super) static ADAPTIVE_SMALL: Schema =
    object(&[row("type", Constant("\"message\"")), row("attachments", Also(&SMALL_ATTACHMENTS))]);

/// A MessageCard, whose text and facts every client shows.
pub(super) static MESSAGE_CARD: Schema =
    object(&[HEAD[0], HEAD[1], HEAD[2], HEAD[3], row("sections", Also(&SECTIONS))]);

/// The same with the least that says what happened.
pub(super) static MESSAGE_CARD_SMALL: Schema =
    object(&[HEAD[0], HEAD[1], HEAD[2], HEAD[3], row("text", Derived(&[F::Reason], short_reason))]);

static ATTACHMENTS: Schema = list(&[row("card", Also(&ATTACHMENT))]);
static SMALL_ATTACHMENTS: Schema = list(&[row("card", Also(&SMALL_ATTACHMENT))]);

static ATTACHMENT: Schema = object(&[
    CARD[0],
    CARD[1],
    CARD[2],
    CARD[3],
    CARD[4],
    CARD[5],
    row("content.body", Also(&BODY)),
    row("content.actions", AlsoWhen(EVENTS_AT, &ACTIONS)),
]);

static SMALL_ATTACHMENT: Schema = object(&[
    CARD[0],
    CARD[1],
    CARD[2],
    CARD[3],
    CARD[4],
    CARD[5],
    row("content.body", Also(&SMALL_BODY)),
]);

/// "Version 1.4 is the safe ceiling for clients."
const CARD: [Field; 6] = [
    row("contentType", Constant("\"application/vnd.microsoft.card.adaptive\"")),
    row("contentUrl", Constant("null")),
    row("content.$schema", Constant("\"http://adaptivecards.io/schemas/adaptive-card.json\"")),
    row("content.type", Constant("\"AdaptiveCard\"")),
    row("content.version", Constant("\"1.4\"")),
    row("content.msteams.width", Constant("\"Full\"")),
];

static BODY: Schema = list(&[
    row("title", Also(&TITLE)),
    row("reason", Also(&REASON)),
    row("repeats", Derived(&[], repeats)),
    row("facts", AlsoWhen(SHOWS_FACTS, &FACT_SET)),
]);

static SMALL_BODY: Schema = list(&[row("title", Also(&TITLE)), row("reason", Also(&SHORT_REASON))]);

static TITLE: Schema = object(&[
    TEXT_BLOCK,
    row("size", Constant("\"Large\"")),
    row("weight", Constant("\"Bolder\"")),
    row("color", OneOf(&[F::Severity], severity, COLOURS)),
    row("wrap", Constant("true")),
    row("text", Derived(&[F::Allowed, F::Guard], title)),
]);

static REASON: Schema = object(&[
    TEXT_BLOCK,
    row("wrap", Constant("true")),
    row("text", Derived(&[F::Reason], reason)),
]);

static SHORT_REASON: Schema = object(&[
    TEXT_BLOCK,
    row("wrap", Constant("true")),
    row("text", Derived(&[F::Reason, F::EventId], short_reason)),
]);

static FACT_SET: Schema = object(&[
    row("type", Constant("\"FactSet\"")),
    row("facts", Derived(FACTS, |encoder, event| facts(encoder, event, b"title"))),
]);

static ACTIONS: Schema =
    list(&[row("event", Also(&VIEW_EVENT)), row("session", Also(&VIEW_SESSION))]);

static VIEW_EVENT: Schema = object(&[
    OPEN_URL,
    row("title", Constant("\"View Details\"")),
    row(
        "url",
        Continued(&[EVENTS_AT], &[F::EventId], |encoder, event| {
            encoder.percent(event.text(F::EventId), ID_MAX);
            true
        }),
    ),
]);

static VIEW_SESSION: Schema = object(&[
    OPEN_URL,
    row("title", Constant("\"View Session\"")),
    row(
        "url",
        Continued(&[SESSIONS_AT], &[F::SessionId], |encoder, event| {
            encoder.percent(event.text(F::SessionId), ID_MAX);
            true
        }),
    ),
]);

const TEXT_BLOCK: Field = row("type", Constant("\"TextBlock\""));
const OPEN_URL: Field = row("type", Constant("\"Action.OpenUrl\""));

const HEAD: [Field; 4] = [
    row("@type", Constant("\"MessageCard\"")),
    row("@context", Constant("\"http://schema.org/extensions\"")),
    row("summary", Derived(&[F::Allowed, F::Guard], summary)),
    row("themeColor", OneOption(&[F::Severity], theme, THEMES)),
];

static SECTIONS: Schema = list(&[row("section", Also(&SECTION))]);

static SECTION: Schema = object(&[
    row("activityTitle", Derived(&[F::Allowed, F::Guard], title)),
    row("activitySubtitle", Derived(&[F::Reason], reason)),
    row("text", Derived(&[], repeats_text)),
    row("facts", AlsoWhen(SHOWS_FACTS, &SECTION_FACTS)),
    row("markdown", Constant("true")),
]);

/// A list of one row that writes its elements.
static SECTION_FACTS: Schema = Schema {
    name: "teams facts",
    layout: Layout::Table(&[row("facts", Derived(FACTS, named_facts))]),
    syntax: &BARE_LIST,
    ..Schema::BASE
};

/// The same without brackets of its own.
static BARE_LIST: crate::transform::Syntax =
    crate::transform::Syntax { open: "", close: "", ..JSON_LIST };

const fn object(rows: &'static [Field]) -> Schema {
    Schema { name: "teams card", layout: Layout::Table(rows), ..Schema::BASE }
}

const fn list(rows: &'static [Field]) -> Schema {
    Schema { name: "teams list", syntax: &JSON_LIST, layout: Layout::Table(rows), ..Schema::BASE }
}

/// From info to critical: the colour of a text is a word.
const COLOURS: &[&str] =
    &["\"default\"", "\"accent\"", "\"warning\"", "\"warning\"", "\"attention\""];

/// The colour by the severity's word; the last for another word.
fn theme(event: &Event<'_>, choices: Choices) -> usize {
    const WORDS: [&[u8]; 5] = [b"info", b"low", b"medium", b"high", b"critical"];
    match WORDS.contains(&event.text(F::Severity)) {
        true => severity(event, choices),
        false => WORDS.len(),
    }
}

/// "Escape `\ * _ [ ] ( ) # ~ >` and backtick in event data": no text of an event is a link, or
/// looks otherwise than the rest. MessageCards take some HTML, which `<` would begin.
const TEXT: Markup = Markup {
    escape: |char| match char {
        '\\' => Some("\\\\"),
        '*' => Some("\\*"),
        '_' => Some("\\_"),
        '[' => Some("\\["),
        ']' => Some("\\]"),
        '(' => Some("\\("),
        ')' => Some("\\)"),
        '#' => Some("\\#"),
        '~' => Some("\\~"),
        '<' => Some("\\<"),
        '>' => Some("\\>"),
        '`' => Some("\\`"),
        '\n' => None,
        char if char.is_control() => Some(" "),
        _ => None,
    },
    // "28 KB for the whole message": bytes as they stand in JSON.
    weight: |char| match char {
        '"' | '\\' | '\n' => 2,
        char => char.len_utf8(),
    },
};

/// The same on one line.
const LINE: Markup = Markup {
    escape: |char| match char {
        '\n' => Some(" "),
        char => (TEXT.escape)(char),
    },
    ..TEXT
};

/// One line without markup.
const PLAIN: Markup =
    Markup { escape: |char| if char.is_control() { Some(" ") } else { None }, ..TEXT };

const FACTS: &[F] = &[
    F::Severity,
    F::Guard,
    F::EventType,
    F::ResourceName,
    F::ResourcePath,
    F::ResourceHost,
    F::SessionId,
    F::SessionEnvironment,
    F::SessionTenantId,
    F::Tactic,
    F::Technique,
    F::Shrike,
    F::Timestamp,
    F::EventId,
];

/// `Security {BLOCKED|ALLOWED}: {guard}`.
fn title(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    titled(encoder, event, &LINE)
}

/// The same for notifications, which know no markup.
fn summary(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    titled(encoder, event, &PLAIN)
}

fn titled(encoder: &mut Encoder<'_>, event: &Event<'_>, markup: &Markup) -> bool {
    encoder.open_text();
    let verb = if event.opened.allowed { "Security ALLOWED: " } else { "Security BLOCKED: " };
    encoder.raw(verb.as_bytes());
    encoder.excerpt(event.text(F::Guard), markup, NAME_MAX);
    encoder.close_text();
    true
}

fn reason(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.open_text();
    encoder.excerpt(reason_of(event), &TEXT, REASON_MAX);
    encoder.close_text();
    true
}

/// The beginning of the reason, and which event it is.
fn short_reason(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.open_text();
    encoder.excerpt(reason_of(event), &LINE, SHORT_REASON_MAX);
    encoder.literal(b" - ");
    encoder.excerpt(event.text(F::EventId), &LINE, NAME_MAX);
    if event.left_out().is_some() {
        encoder.literal(b" - ");
        repeated(encoder, event);
    }
    encoder.close_text();
    true
}

/// A block with how many said the same and were left out.
fn repeats(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    if event.left_out().is_none() {
        return false;
    }
    encoder.raw(b"{\"type\":\"TextBlock\",\"isSubtle\":true,\"wrap\":true,\"text\":");
    repeats_text(encoder, event);
    encoder.literal(b"}");
    true
}

/// The same as a text.
fn repeats_text(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    if event.left_out().is_none() {
        return false;
    }
    encoder.open_text();
    repeated(encoder, event);
    encoder.close_text();
    true
}

fn reason_of<'e>(event: &Event<'e>) -> &'e [u8] {
    match event.text(F::Reason).trim_ascii() {
        b"" => b"n/a",
        _ => event.text(F::Reason),
    }
}

fn named_facts(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    facts(encoder, event, b"name")
}

/// An array of facts, each with this key for its name; those that say nothing are left out.
fn facts(encoder: &mut Encoder<'_>, event: &Event<'_>, key: &'static [u8]) -> bool {
    let mut facts = Facts { encoder, key, is_first: true };
    facts.encoder.literal(b"[");
    facts.say(b"Severity", event.text(F::Severity));
    facts.say(b"Guard", event.text(F::Guard));
    facts.say(b"Event Type", event.text(F::EventType));
    facts.say(b"Resource", event.text(F::ResourceName));
    facts.say(b"Path", event.text(F::ResourcePath));
    facts.joined(b"Host", event.text(F::ResourceHost), ":", port(event));
    facts.session(event.text(F::SessionId));
    facts.say(b"Environment", event.text(F::SessionEnvironment));
    facts.say(b"Tenant", event.text(F::SessionTenantId));
    facts.joined(b"MITRE", event.text(F::Tactic), " / ", event.text(F::Technique));
    facts.matches(event);
    facts.say(b"Time", event.text(F::Timestamp));
    // What tells one event from another, and a repeat from a second one.
    facts.say(b"Event ID", event.text(F::EventId));
    facts.encoder.literal(b"]");
    true
}

fn port<'e>(event: &Event<'e>) -> &'e [u8] {
    match event.text(F::ResourcePort) {
        b"0" => b"",
        _ if event.text(F::ResourceHost).is_empty() => b"",
        port => port,
    }
}

struct Facts<'x, 'e> {
    encoder: &'x mut Encoder<'e>,
    key: &'static [u8],
    is_first: bool,
}

impl<'e> Facts<'_, 'e> {
    fn say(&mut self, name: &[u8], text: &[u8]) {
        if !text.is_empty() {
            self.with(name, |encoder| encoder.excerpt(text, &LINE, FACT_MAX));
        }
    }

    /// Two texts, of which one may be absent.
    fn joined(&mut self, name: &[u8], first: &[u8], between: &str, second: &[u8]) {
        if first.is_empty() && second.is_empty() {
            return;
        }
        self.with(name, |encoder| {
            encoder.excerpt(first, &LINE, FACT_MAX / 2);
            if !first.is_empty() && !second.is_empty() {
                encoder.raw(between.as_bytes());
            }
            encoder.excerpt(second, &LINE, FACT_MAX / 2);
        });
    }

    /// What threat intelligence matched.
    fn matches(&mut self, event: &Event<'_>) {
        let value = |found| json::member(found, b"value").and_then(json::string);
        let mut values = schemas::matches(event).filter_map(value);
        let Some(first) = values.next() else { return };
        self.with(b"Threat Intelligence", |encoder| {
            encoder.excerpt(first, &LINE, FACT_MAX / MATCHES_MAX);
            for value in values.take(MATCHES_MAX - 1) {
                encoder.raw(b", ");
                encoder.excerpt(value, &LINE, FACT_MAX / MATCHES_MAX);
            }
        });
    }

    /// "First 12 characters; a shorter one whole, without dots."
    fn session(&mut self, id: &[u8]) {
        let beginning = json::beginning(id, SESSION_CHARACTERS);
        self.with(b"Session", |encoder| {
            encoder.excerpt(beginning, &LINE, FACT_MAX);
            if beginning.len() < id.len() {
                encoder.raw("\u{2026}".as_bytes());
            }
        });
    }

    fn with(&mut self, name: &[u8], write: impl FnOnce(&mut Encoder<'e>)) {
        if !self.is_first {
            self.encoder.literal(b",");
        }
        self.is_first = false;
        self.encoder.literal(b"{\"");
        self.encoder.raw(self.key);
        self.encoder.literal(b"\":\"");
        self.encoder.raw(name);
        self.encoder.literal(b"\",\"value\":\"");
        write(self.encoder);
        self.encoder.literal(b"\"}");
    }
}

/// Bytes of a message together stay below 27,000: a reason, thirteen facts, a title twice, two
/// links of 2,900 and what stands around them (1,500).
const REASON_MAX: usize = 12_000;
const FACT_MAX: usize = 600;
/// Matches that are named; there may be ten.
const MATCHES_MAX: usize = 5;
const NAME_MAX: usize = 255;
/// Bytes of a reason in a small card.
const SHORT_REASON_MAX: usize = 500;
const SESSION_CHARACTERS: usize = 12;
/// Room for an id in a link.
const ID_MAX: usize = 900;
