//! Clawdstrike: frames of hushd's event stream (`inputs.md` 2.4, 7.4).
//!
//! A frame says little: no id, no time, no severity. A reader of the stream hands each one on as
//! `{"event": NAME, "data": {...}}`.

use sha2::{Digest, Sha256};

use super::draft::{Draft, string};
use super::rules::{Action, decided_type, find, resource};
use crate::event::{Class, FieldId as F, Time, entries, write_millis};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// One frame.
pub(super) static SSE: Dialect = Dialect {
    name: NAME,
    keys: &[("event", Kind::Text), ("data", Kind::Object)],
    mode: Mode::Append,
    map,
};

const NAME: &str = "clawdstrike.sse";

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let name = find(source.members, "event").ok_or(Class::MissingField)?;
    let data = find(source.members, "data").ok_or(Class::MissingField)?;
    // The daemon's outgoing webhook has the same keys and a time of its own; it is another record.
    if source.members.len() != 2 {
        return Err(Class::UnknownFormat);
    }
    let members = entries(data);
    let text = |key: &str| find(&members, key).filter(|json| string(json).is_some());
    let mut draft = Draft::new(NAME, source);
    draft.flag(Class::Thin);
    draft.text(F::EventId, &random_id(source));
    let received = Time::from_ns(source.received_ns);
    draft.own(F::Timestamp, |out| write_millis(received, out));
    draft.mark_default(F::Timestamp);
    let action_json = text("action_type").or_else(|| text("event_type")).unwrap_or(name);
    let action = Action::of(string(action_json).unwrap_or_default());
    draft.json(F::Action, action_json);
    let allowed = match find(&members, "allowed") {
        Some(b"false") => false,
        Some(_) => true,
        None => string(name) != Some(b"violation"),
    };
    draft.allowed(allowed);
    draft.default(F::Severity, if allowed { "info" } else { "high" });
    draft.optional(F::Guard, "guard", text("guard"), Some("engine"));
    draft.json(F::Reason, name);
    draft.mark_default(F::Reason);
    if let Some(hash) = text("policy_hash") {
        draft.json(F::PolicyHash, hash);
    }
    draft.optional(F::SessionId, "session_id", text("session_id"), Some("unknown"));
    draft.default(F::AgentId, "hushd");
    draft.word(F::AgentName, "hushd");
    draft.word(F::AgentVersion, "unknown");
    draft.word(F::AgentType, "clawdstrike");
    // A frame of an evaluation has no target: its action is all that is known of the resource.
    match text("target") {
        Some(target) => resource(&mut draft, action, action_json, "target", Some(target)),
        None => {
            draft.word(F::ResourceType, "configuration");
            draft.word(F::EventCategory, "configuration");
            draft.json(F::ResourceName, action_json);
        }
    }
    let guard = text("guard").and_then(string).unwrap_or(b"engine");
    draft.word(F::EventType, decided_type(allowed, b"", guard, action));
    draft.keep("event", name);
    draft.keep("data", data);
    draft.finish(out);
    Ok(())
}

/// A UUID of version 7: the time of receipt, and for the random part what tells this frame from
/// others of the same millisecond.
fn random_id(source: &Source<'_>) -> [u8; 36] {
    let mut hash = Sha256::new();
    hash.update(source.received_ns.to_be_bytes());
    hash.update(source.line);
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    let millis = source.received_ns / 1_000_000;
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    crate::event::uuid_text(bytes, 7)
}
