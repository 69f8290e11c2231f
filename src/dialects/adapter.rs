//! Clawdstrike: audit events of the framework adapters (`inputs.md` 2.7, 7.4).

use super::draft::{Draft, member, string};
use super::rules::{Known, find};
use crate::event::{Class, Entry, FieldId as F, Severity, entries};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// One event that an adapter exported.
pub(super) static ADAPTER: Dialect = Dialect {
    name: NAME,
    keys: &[("type", Kind::Any), ("contextId", Kind::Any)],
    mode: Mode::Append,
    map,
};

const NAME: &str = "clawdstrike.adapter";

const NAMES: &[&str; 7] =
    &["id", "type", "timestamp", "sessionId", "toolName", "decision", "details"];

/// How it was decided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Allow,
    Warn,
    Deny,
    /// A word that is none of these: not allowed.
    Unknown,
}

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let mut draft = Draft::new(NAME, source);
    let known = Known::read(source.members, NAMES, &mut draft, |_, _| {});
    let (id, kind) = (known.required(0)?, known.required(1)?);
    let timestamp = known.required(2)?;
    let word = string(kind).unwrap_or_default();
    let decision = known.get(5).map(entries).unwrap_or_default();
    let details = known.get(6).map(entries).unwrap_or_default();
    let status = status(word, &decision, &details);
    let allowed = matches!(status, Status::Allow | Status::Warn);

    // Two calls that end in the same millisecond have the same id.
    draft.derive_id("id", id);
    draft.json(F::Timestamp, timestamp);
    draft.json(F::Action, kind);
    draft.optional(F::SessionId, "sessionId", known.get(3), Some("unknown"));
    draft.default(F::AgentId, "adapter");
    draft.word(F::AgentName, "adapter");
    draft.word(F::AgentVersion, "unknown");
    draft.word(F::AgentType, "clawdstrike");
    draft.allowed(allowed);
    if status == Status::Unknown {
        draft.flag(Class::UnknownEnum);
    }
    let tool = known.get(4).filter(|json| string(json).is_some());
    draft.word(F::ResourceType, if tool.is_some() { "tool" } else { "configuration" });
    draft.word(F::EventCategory, if tool.is_some() { "tool" } else { "configuration" });
    draft.json(F::ResourceName, tool.unwrap_or(kind));
    said(&mut draft, &decision, status, kind);
    let event_type = event_type(word, status);
    draft.word(F::EventType, event_type);
    if event_type.starts_with("session_") {
        draft.word(F::EventCategory, "session");
    }
    draft.group("adapter", |members| {
        const HOME: [&[u8]; 5] = [b"id", b"type", b"timestamp", b"sessionId", b"toolName"];
        for entry in source.members.iter().filter(|it| !HOME.iter().any(|name| it.is(name))) {
            member(entry.key, entry.value, members);
        }
        if tool.is_none()
            && let Some(other) = known.get(4)
        {
            member(b"toolName", other, members);
        }
    });
    draft.finish(out);
    Ok(())
}

/// Guard, severity and reason.
fn said<'a>(draft: &mut Draft<'a>, decision: &[Entry<'a>], status: Status, kind: &'a [u8]) {
    let text = |name: &str| find(decision, name).filter(|json| string(json).is_some());
    match text("guard") {
        Some(json) => draft.json(F::Guard, json),
        None => draft.default(F::Guard, "engine"),
    }
    match text("reason").or_else(|| text("message")) {
        Some(json) => draft.json(F::Reason, json),
        None => {
            draft.json(F::Reason, kind);
            draft.mark_default(F::Reason);
        }
    }
    let word = text("severity").and_then(string);
    match word.and_then(Severity::parse) {
        Some(severity) => draft.word(F::Severity, severity.word()),
        None => {
            if word.is_some() {
                draft.flag(Class::UnknownEnum);
            }
            draft.default(
                F::Severity,
                match status {
                    Status::Allow => "info",
                    Status::Warn => "medium",
                    Status::Deny | Status::Unknown => "high",
                },
            );
        }
    }
}

/// The decision: where there is none, what the details or the type say.
fn status(kind: &[u8], decision: &[Entry<'_>], details: &[Entry<'_>]) -> Status {
    match find(decision, "status").map(string) {
        Some(Some(b"allow")) => return Status::Allow,
        Some(Some(b"warn")) => return Status::Warn,
        Some(Some(b"deny")) => return Status::Deny,
        Some(_) => return Status::Unknown,
        None => {}
    }
    let is_refused = find(details, "blocked") == Some(b"true")
        || find(details, "valid") == Some(b"false")
        || kind == b"tool_call_blocked";
    match kind {
        _ if is_refused => Status::Deny,
        b"tool_call_warning" => Status::Warn,
        _ => Status::Allow,
    }
}

fn event_type(kind: &[u8], status: Status) -> &'static str {
    let is_denied = matches!(status, Status::Deny | Status::Unknown);
    match kind {
        b"session_start" => "session_start",
        b"session_end" => "session_end",
        _ if is_denied && kind.starts_with(b"prompt_security_") => "policy_violation",
        b"output_sanitized" | b"prompt_security_output_sanitized" => "secret_detected",
        _ if is_denied => "guard_block",
        _ if status == Status::Warn => "guard_warn",
        _ => "policy_allow",
    }
}
