//! Clawdstrike: signed receipts of runs (`inputs.md` 2.9).

use super::draft::{Draft, string};
use super::rules::{Known, find};
use crate::event::{Class, Entry, FieldId as F, Severity, elements, entries};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// One receipt: a whole document.
pub(super) static RECEIPT: Dialect = Dialect {
    name: NAME,
    keys: &[("receipt", Kind::Object), ("signatures", Kind::Any)],
    mode: Mode::Document,
    map,
};

const NAME: &str = "clawdstrike.receipt";

const NAMES: &[&str; 2] = &["receipt", "signatures"];

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let mut draft = Draft::new(NAME, source);
    let known = Known::read(source.members, NAMES, &mut draft, |draft, entry| {
        draft.keep_entry(entry);
    });
    let receipt_json = known.get(0).ok_or(Class::MissingField)?;
    let receipt = entries(receipt_json);
    let timestamp = find(&receipt, "timestamp").ok_or(Class::MissingField)?;
    let verdict = entries(find(&receipt, "verdict").ok_or(Class::MissingField)?);
    let passed = match find(&verdict, "passed") {
        Some(b"true") => true,
        Some(b"false") => false,
        Some(_) => return Err(Class::WrongType),
        None => return Err(Class::MissingField),
    };
    let provenance = find(&receipt, "provenance").map(entries).unwrap_or_default();
    let text = |members: &[Entry<'_>], name: &str| {
        let found = members.iter().rev().find(|member| member.is(name.as_bytes()));
        found.is_some_and(|member| string(member.value).is_some())
    };
    draft.id("receipt_id", find(&receipt, "receipt_id"));
    draft.json(F::Timestamp, string(timestamp).map(|_| timestamp).ok_or(Class::WrongType)?);
    draft.word(F::Action, "receipt");
    draft.allowed(passed);
    draft.word(F::EventType, if passed { "policy_allow" } else { "policy_violation" });
    draft.word(F::EventCategory, "configuration");
    draft.word(F::ResourceType, "configuration");
    match find(&receipt, "content_hash") {
        Some(hash) if string(hash).is_some() => draft.json(F::ResourceName, hash),
        _ => draft.word(F::ResourceName, ""),
    }
    match find(&verdict, "gate_id").filter(|json| string(json).is_some()) {
        Some(gate) => draft.json(F::Guard, gate),
        None => draft.default(F::Guard, "engine"),
    }
    violations(&mut draft, &provenance, passed);
    for (id, name) in [(F::PolicyHash, "policy_hash"), (F::Ruleset, "ruleset")] {
        if text(&provenance, name) {
            draft.json(id, find(&provenance, name).unwrap_or_default());
        }
    }
    match find(&receipt, "receipt_id").filter(|json| string(json).is_some()) {
        Some(id) => draft.json(F::SessionId, id),
        None => draft.default(F::SessionId, "unknown"),
    }
    draft.default(F::AgentId, "hush");
    draft.word(F::AgentName, "hush");
    match find(&provenance, "clawdstrike_version").filter(|json| string(json).is_some()) {
        Some(version) => draft.json(F::AgentVersion, version),
        None => draft.word(F::AgentVersion, "unknown"),
    }
    draft.word(F::AgentType, "clawdstrike");
    draft.group("receipt", |members| {
        members.extend_from_slice(receipt_json[1..receipt_json.len() - 1].trim_ascii());
    });
    if let Some(signatures) = known.get(1) {
        draft.keep("signatures", signatures);
    }
    draft.finish(out);
    Ok(())
}

/// Severity and reason: those of the worst violation.
fn violations<'a>(draft: &mut Draft<'a>, provenance: &[Entry<'a>], passed: bool) {
    let listed = find(provenance, "violations").map(elements).unwrap_or_default();
    let mut worst: Option<(Severity, Option<&'a [u8]>)> = None;
    for violation in listed {
        let members = entries(violation);
        let word = find(&members, "severity").and_then(string);
        let Some(severity) = word.and_then(Severity::parse) else { continue };
        if worst.is_none_or(|(worst, _)| severity > worst) {
            let message = find(&members, "message").filter(|json| string(json).is_some());
            worst = Some((severity, message));
        }
    }
    match worst {
        Some((severity, _)) if !passed => draft.word(F::Severity, severity.word()),
        _ => draft.default(F::Severity, if passed { "info" } else { "high" }),
    }
    match worst.and_then(|(_, message)| message) {
        Some(message) => draft.json(F::Reason, message),
        None => draft.default(F::Reason, if passed { "passed" } else { "not passed" }),
    }
}
