//! An alert: what happened, who is called, and by which alias it is found again.
//!
//! "Limits: message 130, alias 512, description 15000, tags 20 x 50, details 8000 characters in
//! total, entity 512, source 100, user 100, note 25000, actions 10 x 50, responders and visibleTo
//! 50 each." All are cut at characters.

use serde_json::{Value as Json, json};

use crate::deliver::{Options, Problem, problem};
use crate::event::{Event, FieldId as F};
use crate::transform::Source::{
    Also, Derived, Event as From, OneOption, Option as Text, OptionJson, Pattern,
};
use crate::transform::write::{severity, text};
use crate::transform::{
    Clean, Digest, Empty, Encoder, JSON_LIST, Layout, Schema, json as parse, row,
};

/// The body of a request that makes an alert, or counts one that is open.
pub(super) static ALERT: Schema = Schema {
    name: "opsgenie alert",
    layout: Layout::Table(&[
        row("message", Derived(MESSAGE, message)).max(130),
        row("alias", Pattern("alias_template", &ALIAS)),
        row("description", Derived(DESCRIBED, description)).max(15_000),
        row("responders", OptionJson("responders.json")),
        row("visibleTo", OptionJson("visible_to.json")),
        row("actions", OptionJson("actions.json")),
        row("tags", Also(&TAGS)),
        // Together with their names below 8000 characters, whatever an event says.
        // The response hook that makes it, where it is one.
        row("details.hook", Text("hook")),
        row("details.event_id", From(F::EventId, text)).max(100),
        row("details.event_type", From(F::EventType, text)).max(100),
        row("details.session_id", From(F::SessionId, text)).max(500),
        row("details.user_id", From(F::SessionUserId, text)).max(500),
        row("details.resource_type", From(F::ResourceType, text)).max(100),
        row("details.resource_name", From(F::ResourceName, text)).max(2000),
        row("details.resource_path", From(F::ResourcePath, text)).max(2500),
        row("details.resource_host", From(F::ResourceHost, text)).max(500),
        row("details.allowed", From(F::Allowed, text)),
        row("details.policy_hash", From(F::PolicyHash, text)).max(300),
        row("details.mitre_tactic", From(F::Tactic, text)).max(100),
        row("details.mitre_technique", From(F::Technique, text)).max(100),
        row("details.repeat_count", Derived(&[], repeats)),
        row("entity", From(F::ResourceName, text)).max(512),
        row("source", Derived(&[F::AgentId], source)).max(100),
        row("priority", OneOption(&[F::Severity], severity, PRIORITIES)),
        row("user", Text("user")),
        row("note", Text("note")),
    ]),
    required: &["alias"],
    empty: Empty::Drop,
    ..Schema::BASE
};

/// What joins events to an alert.
pub(super) static KEYS: Schema = Schema {
    name: "opsgenie alias",
    layout: Layout::Table(&[row("key", Pattern("alias_template", &ALIAS))]),
    required: &["key"],
    ..Schema::BASE
};

/// The how manieth event of its alert this is, as a text; not in the first.
fn repeats(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    if event.frame.number > 0 {
        encoder.open_text();
        encoder.number(u64::from(event.frame.number));
        encoder.close_text();
    }
    event.frame.number > 0
}

/// "config + guard:, severity:, event_type:".
static TAGS: Schema = Schema {
    name: "tags",
    syntax: &JSON_LIST,
    layout: Layout::Table(&[
        row("tags", OptionJson("tags.json")),
        row(
            "guard",
            Derived(&[F::Guard], |encoder, event| tag(encoder, b"guard:", event, F::Guard)),
        )
        .max(TAG_MAX),
        row(
            "severity",
            Derived(&[F::Severity], |encoder, event| {
                tag(encoder, b"severity:", event, F::Severity)
            }),
        )
        .max(TAG_MAX),
        row(
            "event_type",
            Derived(&[F::EventType], |encoder, event| {
                tag(encoder, b"event_type:", event, F::EventType)
            }),
        )
        .max(TAG_MAX),
    ]),
    ..Schema::BASE
};

/// "Over 512 -> prefix + sha256."
static ALIAS: Clean = Clean {
    each: |char| if char.is_control() { '_' } else { char },
    absent: "default",
    digest: Some(Digest { above: 512, keeps: 440 }),
    ..Clean::BASE
};

/// The option that the maps of `routing` add teams to.
pub(super) const TEAMS: &str = "routing.teams";

/// The options with an alert's priority, from info to critical.
const PRIORITIES: &[&str] = &[
    "priority_mapping.info",
    "priority_mapping.low",
    "priority_mapping.medium",
    "priority_mapping.high",
    "priority_mapping.critical",
];

const MESSAGE: &[F] = &[F::Guard, F::Reason, F::EventType];

/// `[guard] reason`, on one line; the type of event where there is no reason.
fn message(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let (guard, reason) = (event.text(F::Guard), event.text(F::Reason));
    let about = if reason.is_empty() { event.text(F::EventType) } else { reason };
    if guard.is_empty() && about.is_empty() {
        return false;
    }
    encoder.open_text();
    if !guard.is_empty() {
        encoder.char('[');
        line(encoder, guard, usize::MAX);
        encoder.char(']');
        encoder.char(' ');
    }
    line(encoder, about, usize::MAX);
    encoder.close_text();
    true
}

/// Characters on one line, at most so many.
fn line(encoder: &mut Encoder<'_>, text: &[u8], most: usize) {
    for char in parse::characters(text).take(most) {
        encoder.char(if char.is_control() { ' ' } else { char });
    }
}

const DESCRIBED: &[F] = &[
    F::Guard,
    F::Severity,
    F::Reason,
    F::SessionId,
    F::SessionUserId,
    F::SessionTenantId,
    F::SessionEnvironment,
    F::ResourceType,
    F::ResourceName,
    F::ResourcePath,
    F::ResourceHost,
    F::Ruleset,
    F::PolicyHash,
    F::Timestamp,
];

/// Sections of lines; values are cut so that every section has its place.
fn description(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.open_text();
    for (section, lines) in SECTIONS {
        encoder.plain(section.as_bytes());
        encoder.char('\n');
        for (name, field) in *lines {
            encoder.plain(name.as_bytes());
            encoder.plain(b": ");
            let most = if *field == F::Reason { REASON_MAX } else { VALUE_MAX };
            match event.text(*field) {
                b"" => encoder.plain(b"N/A"),
                value => line(encoder, value, most),
            }
            encoder.char('\n');
        }
        encoder.char('\n');
    }
    // The event's own time, so that a resend says the same.
    encoder.plain(b"Generated at: ");
    encoder.characters(event.text(F::Timestamp));
    encoder.close_text();
    true
}

type Section = (&'static str, &'static [(&'static str, F)]);

const SECTIONS: &[Section] = &[
    ("Details", &[("Guard", F::Guard), ("Severity", F::Severity), ("Reason", F::Reason)]),
    (
        "Session",
        &[
            ("ID", F::SessionId),
            ("User", F::SessionUserId),
            ("Tenant", F::SessionTenantId),
            ("Environment", F::SessionEnvironment),
        ],
    ),
    (
        "Resource",
        &[
            ("Type", F::ResourceType),
            ("Name", F::ResourceName),
            ("Path", F::ResourcePath),
            ("Host", F::ResourceHost),
        ],
    ),
    ("Policy", &[("Ruleset", F::Ruleset), ("Hash", F::PolicyHash)]),
];

fn source(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.open_text();
    encoder.plain(b"clawdstrike-");
    encoder.characters(event.text(F::AgentId));
    encoder.close_text();
    true
}

fn tag(encoder: &mut Encoder<'_>, name: &[u8], event: &Event<'_>, field: F) -> bool {
    let value = event.text(field);
    if value.is_empty() {
        return false;
    }
    encoder.open_text();
    encoder.plain(name);
    line(encoder, value, usize::MAX);
    encoder.close_text();
    true
}

/// The operator's tags as the first elements of the array: "over 50 cut, over 20 dropped from the
/// end (generated ones kept)".
pub(super) fn tags(options: &Options) -> Option<String> {
    let cut = |tag: &str| Json::from(tag.chars().take(usize::from(TAG_MAX)).collect::<String>());
    let tags = options.list("tags").into_iter().filter(|tag| !tag.is_empty());
    let tags: Vec<String> = tags.take(TAGS_MAX - 3).map(|tag| cut(tag).to_string()).collect();
    (!tags.is_empty()).then(|| tags.join(","))
}

/// "config + routing.by_guard teams + routing.by_severity teams, deduplicated".
pub(super) fn responders(options: &Options) -> Result<Option<String>, Problem> {
    let mut all = people(options, "responders", &["team", "user", "escalation", "schedule"])?;
    for team in options.list(TEAMS) {
        if team.is_empty() {
            return Err(problem("routing", "has a team without a name".to_owned()));
        }
        let team = json!({ "type": "team", "name": team });
        if !all.contains(&team) {
            all.push(team);
        }
    }
    array(all, "responders", PEOPLE_MAX)
}

pub(super) fn visible_to(options: &Options) -> Result<Option<String>, Problem> {
    array(people(options, "visible_to", &["team", "user"])?, "visible_to", PEOPLE_MAX)
}

pub(super) fn actions(options: &Options) -> Result<Option<String>, Problem> {
    let actions = options.list("actions");
    if let Some(long) = actions.iter().find(|action| action.chars().count() > 50) {
        return Err(problem("actions", format!("`{long}` has more than 50 characters")));
    }
    array(actions.into_iter().map(Json::from).collect(), "actions", 10)
}

fn array(all: Vec<Json>, key: &str, most: usize) -> Result<Option<String>, Problem> {
    match all.len() {
        0 => Ok(None),
        some if some > most => {
            Err(problem(key, format!("has {some} entries, at most {most} are taken")))
        }
        _ => Ok(Some(Json::from(all).to_string())),
    }
}

/// Each once, with what tells them apart.
fn people(options: &Options, key: &str, types: &[&str]) -> Result<Vec<Json>, Problem> {
    let mut all = Vec::new();
    for (n, one) in options.maps(key).iter().enumerate() {
        let wrong = |text: &str| problem(key, format!("entry {}: {text}", n + 1));
        let find = |name: &str| one.iter().find(|(key, _)| key == name).map(|(_, text)| text);
        let kind = find("type").ok_or_else(|| wrong("needs a type"))?;
        if !types.contains(&kind.as_str()) {
            return Err(wrong(&format!("expected the type {}", types.join(", "))));
        }
        let name = if kind == "user" { "username" } else { "name" };
        let told = ["id", name].into_iter().find_map(|key| Some((key, find(key)?)));
        let (by, value) = told.ok_or_else(|| wrong(&format!("needs id or {name}")))?;
        if one.len() > 2 {
            return Err(wrong(&format!("takes a type and one of id and {name}")));
        }
        let person = json!({ "type": kind, by: value });
        if !all.contains(&person) {
            all.push(person);
        }
    }
    Ok(all)
}

/// Characters of a tag.
const TAG_MAX: u16 = 50;
/// Tags of an alert, the three generated ones included.
const TAGS_MAX: usize = 20;
/// Responders, and those who see an alert.
const PEOPLE_MAX: usize = 50;
/// Characters of the reason, and of other values, in a description of 15,000.
const REASON_MAX: usize = 8_000;
const VALUE_MAX: usize = 500;
