//! Clawdstrike: the audit file of the OpenClaw plugin (`inputs.md` 2.6, 7.2).

use super::draft::{Draft, string};
use super::rules::{Action, Known, denied_type, resource};
use crate::event::{Class, FieldId as F, Time, write_millis};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// One record of `.hush/audit.jsonl`.
pub(super) static OPENCLAW: Dialect = Dialect {
    name: NAME,
    keys: &[("type", Kind::Text), ("resource", Kind::Text), ("decision", Kind::Any)],
    mode: Mode::Rewrite,
    map,
};

const NAME: &str = "clawdstrike.openclaw";

const NAMES: &[&str; 8] =
    &["id", "timestamp", "type", "resource", "decision", "guard", "reason", "runId"];

/// Kinds of actions: the word of the source, that of the event, and whether the latter leads back.
pub(super) const ACTIONS: &[(&[u8], &str, bool)] = &[
    (b"file_read", "file_access", true),
    (b"file_write", "file_write", true),
    (b"network_egress", "egress", true),
    (b"network", "egress", false),
    (b"command_exec", "shell", true),
    (b"command", "shell", false),
    (b"tool_call", "mcp_tool", true),
    (b"patch_apply", "patch", true),
];

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let mut draft = Draft::new(NAME, source);
    let known = Known::read(source.members, NAMES, &mut draft, |draft, entry| {
        draft.keep_entry(entry);
    });
    let id = known.required(0)?;
    let timestamp = known.get(1).ok_or(Class::MissingField)?;
    let (kind, target) = (known.required(2)?, known.required(3)?);
    let decision = known.required(4)?;
    let word = string(kind).unwrap_or_default();
    let row = ACTIONS.iter().find(|(name, ..)| *name == word);
    let action = row.map_or(Action::Other, |(_, action, _)| Action::of(action.as_bytes()));
    let allowed = string(decision) == Some(b"allowed");

    draft.id("id", Some(id));
    time(&mut draft, timestamp)?;
    match row {
        Some((_, action, leads_back)) => {
            draft.word(F::Action, action);
            if !leads_back {
                draft.keep("type", kind);
            }
        }
        None => draft.json(F::Action, kind),
    }
    draft.allowed(allowed);
    if !allowed && string(decision) != Some(b"denied") {
        draft.flag(Class::UnknownEnum);
        draft.keep("decision", decision);
    }
    resource(&mut draft, action, kind, "resource", Some(target));
    draft.optional(F::Guard, "guard", known.get(5), Some("engine"));
    match known.text(6) {
        Some(_) => draft.optional(F::Reason, "reason", known.get(6), None),
        None => {
            draft.optional(F::Reason, "reason", known.get(6), Some(""));
            draft.json(F::Reason, kind);
        }
    }
    draft.optional(F::SessionId, "runId", known.get(7), Some("unknown"));
    let is_warning = allowed && (known.text(5).is_some() || known.text(6).is_some());
    let guard = alias(known.text(5).unwrap_or_default());
    let (event_type, severity) = match (allowed, is_warning) {
        (true, true) => ("guard_warn", "medium"),
        (true, false) => ("policy_allow", "info"),
        // Destructive commands go by this name as well.
        _ if guard == b"patch_integrity" && action == Action::Shell => ("guard_block", "high"),
        _ => (denied_type(guard, action), "high"),
    };
    draft.word(F::EventType, event_type);
    draft.default(F::Severity, severity);
    draft.default(F::AgentId, "openclaw");
    draft.word(F::AgentName, "openclaw");
    draft.word(F::AgentVersion, "unknown");
    draft.word(F::AgentType, "clawdstrike");
    draft.finish(out);
    Ok(())
}

/// The usual name of a guard.
fn alias(guard: &[u8]) -> &[u8] {
    match guard {
        b"egress" | b"EgressAllowlistGuard" => b"egress_allowlist",
        b"ForbiddenPathGuard" => b"forbidden_path",
        b"SecretLeakGuard" => b"secret_leak",
        b"PatchIntegrityGuard" => b"patch_integrity",
        other => other,
    }
}

/// Sets the time from milliseconds since 1970, or another unit where the size tells so.
fn time(draft: &mut Draft<'_>, json: &[u8]) -> Result<(), Class> {
    let text = str::from_utf8(json).map_err(|_| Class::WrongType)?;
    if !json.first().is_some_and(|first| first.is_ascii_digit() || *first == b'-') {
        return Err(Class::WrongType);
    }
    // Exponents are no times that anybody wrote; what is before the point would be another time.
    if json.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        return Err(Class::BadTimestamp);
    }
    // A fraction of a millisecond is kept in the source.
    let whole = text.split('.').next().unwrap_or(text);
    let value: i128 = whole.parse().map_err(|_| Class::BadTimestamp)?;
    let per_second: i128 = match value {
        // Nothing tells the unit of zero, and nothing needs it.
        0 => 1_000,
        _ if value < 100_000_000_000 => 1,
        _ if value <= 100_000_000_000_000 => 1_000,
        _ if value <= 100_000_000_000_000_000 => 1_000_000,
        _ => 1_000_000_000,
    };
    let secs = value.div_euclid(per_second);
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let time = Time {
        secs: i64::try_from(secs).map_err(|_| Class::BadTimestamp)?,
        nanos: u32::try_from(nanos).map_err(|_| Class::BadTimestamp)?,
    };
    if !(0..=LAST_SECOND).contains(&time.secs) {
        return Err(Class::BadTimestamp);
    }
    if per_second != 1_000 {
        draft.flag(Class::TimestampUnit);
    }
    if per_second != 1_000 || whole.len() != text.len() {
        draft.keep("timestamp", json);
    }
    draft.own(F::Timestamp, |out| write_millis(time, out));
    Ok(())
}

/// 9999-12-31T23:59:59Z, the last one that RFC 3339 can write.
const LAST_SECOND: i64 = 253_402_300_799;
