//! Clawdstrike: events of the sandbox library, as an embedder prints them (`inputs.md` 2.9, 7.4).

use super::draft::{Draft, string};
use super::rules::{Action, Known, decided_type, find};
use crate::event::{Class, Entry, FieldId as F, entries, is_blank_text};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// One event of a sandbox.
pub(super) static IRM: Dialect = Dialect {
    name: NAME,
    keys: &[("event_id", Kind::Any), ("run_id", Kind::Any), ("decision", Kind::Object)],
    mode: Mode::Append,
    map,
};

const NAME: &str = "clawdstrike.irm";

const NAMES: &[&str; 6] = &["event_id", "event_type", "timestamp", "run_id", "data", "decision"];

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let mut draft = Draft::new(NAME, source);
    let known = Known::read(source.members, NAMES, &mut draft, |draft, entry| {
        draft.keep_entry(entry);
    });
    let (id, kind) = (known.required(0)?, known.required(1)?);
    let timestamp = known.required(2)?;
    let decision = known.get(5).map(entries).unwrap_or_default();
    let word = find(&decision, "decision").ok_or(Class::MissingField)?;
    let allowed = matches!(string(word), Some(b"allow" | b"audit"));

    draft.id("event_id", Some(id));
    draft.json(F::Timestamp, timestamp);
    draft.json(F::Action, kind);
    draft.optional(F::SessionId, "run_id", known.get(3), Some("unknown"));
    draft.default(F::AgentId, "irm");
    draft.word(F::AgentName, "irm");
    draft.word(F::AgentVersion, "unknown");
    draft.word(F::AgentType, "clawdstrike");
    draft.allowed(allowed);
    if !allowed && string(word) != Some(b"deny") {
        draft.flag(Class::UnknownEnum);
    }
    draft.default(F::Guard, "engine");
    draft.default(F::Severity, if allowed { "info" } else { "high" });
    let reason = find(&decision, "reason").or_else(|| find(&decision, "message"));
    match reason.filter(|json| string(json).is_some()) {
        Some(json) => draft.json(F::Reason, json),
        None => {
            draft.json(F::Reason, kind);
            draft.mark_default(F::Reason);
        }
    }
    let action = place(&mut draft, kind, known.get(4));
    let event_type = match string(word) {
        Some(b"audit") => "guard_warn",
        _ => decided_type(allowed, b"", b"engine", action),
    };
    draft.word(F::EventType, event_type);
    if let Some(data) = known.get(4) {
        draft.keep("data", data);
    }
    if let Some(decision) = known.get(5) {
        draft.keep("decision", decision);
    }
    draft.finish(out);
    Ok(())
}

/// The resource, from what the guarded function was called with.
fn place<'a>(draft: &mut Draft<'a>, kind: &'a [u8], data: Option<&'a [u8]>) -> Action {
    let data = data.map(entries).unwrap_or_default();
    let args: Vec<Entry<'a>> = find(&data, "args").map(entries).unwrap_or_default();
    let is_text = |json: &&[u8]| string(json).is_some() && !is_blank_text(json);
    let text = |name: &str| find(&args, name).filter(is_text);
    let (action, word, name) = match string(kind).unwrap_or_default() {
        b"fs_read" | b"fs_write" => (Action::File, "file", text("path")),
        b"net_connect" | b"dns_resolve" => (Action::Egress, "network", text("host")),
        b"command_exec" => (Action::Shell, "process", text("command")),
        _ => {
            let function = find(&data, "function").filter(|json| string(json).is_some());
            (Action::Other, "configuration", function.or(Some(kind)))
        }
    };
    draft.word(F::ResourceType, word);
    draft.word(F::EventCategory, word);
    draft.json(F::ResourceName, name.unwrap_or(kind));
    match (action, name) {
        (Action::File, Some(path)) => {
            draft.json(F::ResourcePath, path);
            draft.word(F::IndicatorType, "file_path");
            draft.json(F::IndicatorValue, path);
        }
        (Action::Egress, Some(host)) => {
            draft.json(F::ResourceHost, host);
            draft.word(F::IndicatorType, "domain");
            draft.json(F::IndicatorValue, host);
            if let Some(port) = find(&args, "port") {
                draft.json(F::ResourcePort, port);
            }
        }
        _ => {}
    }
    action
}
