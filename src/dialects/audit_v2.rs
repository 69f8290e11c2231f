//! Clawdstrike: the second ledger of hushd, nested and as rows (`inputs.md` 2.5, 7.4).

use super::draft::{Draft, member, string};
use super::rules::{Action, Known, decided_type, find, lower, resource, severity_kept};
use crate::event::{Class, FieldId as F, entries};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// A record of an evidence file.
pub(super) static AUDIT_V2: Dialect = Dialect {
    name: NAME,
    keys: &[("eventId", Kind::Any), ("integrity", Kind::Any)],
    mode: Mode::Append,
    map: nested,
};

/// A row of the table.
pub(super) static AUDIT_V2_ROW: Dialect = Dialect {
    name: NAME,
    keys: &[("event_id", Kind::Any), ("content_hash", Kind::Any)],
    mode: Mode::Append,
    map: row,
};

const NAME: &str = "clawdstrike.audit_v2";

const NESTED: &[&str; 7] =
    &["eventId", "timestamp", "sessionId", "agentId", "organizationId", "action", "decision"];

const ROW: &[&str; 12] = &[
    "event_id",
    "timestamp",
    "session_id",
    "agent_id",
    "organization_id",
    "action_type",
    "action_resource",
    "decision_allowed",
    "decision_guard",
    "decision_severity",
    "decision_reason",
    "decision_policy_hash",
];

/// What both forms say, under one name.
struct Said<'a> {
    id: &'a [u8],
    timestamp: &'a [u8],
    session: Option<&'a [u8]>,
    agent: Option<&'a [u8]>,
    organization: Option<&'a [u8]>,
    action: &'a [u8],
    target: Option<&'a [u8]>,
    allowed: bool,
    guard: Option<&'a [u8]>,
    severity: Option<&'a [u8]>,
    reason: Option<&'a [u8]>,
    policy_hash: Option<&'a [u8]>,
}

/// The keys of both forms, where what they hold has to be kept.
struct Keys {
    id: &'static str,
    session: &'static str,
    agent: &'static str,
    organization: &'static str,
    resource: &'static str,
}

fn nested(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let mut draft = Draft::new(NAME, source);
    let mut others = Vec::new();
    let known = Known::read(source.members, NESTED, &mut draft, |_, entry| {
        member(entry.key, entry.value, &mut others);
    });
    let object = |at: usize| match known.get(at) {
        None => Err(Class::MissingField),
        Some(json) if json.first() == Some(&b'{') => Ok(entries(json)),
        Some(_) => Err(Class::WrongType),
    };
    let (action, decision) = (object(5)?, object(6)?);
    let kind = find(&action, "type").ok_or(Class::MissingField)?;
    let allowed = match find(&decision, "allowed") {
        Some(b"true") => true,
        Some(b"false") => false,
        Some(_) => return Err(Class::WrongType),
        None => return Err(Class::MissingField),
    };
    let said = Said {
        id: known.required(0)?,
        timestamp: known.required(1)?,
        session: known.get(2),
        agent: known.get(3),
        organization: known.get(4),
        action: string(kind).map(|_| kind).ok_or(Class::WrongType)?,
        target: find(&action, "resource"),
        allowed,
        guard: find(&decision, "guard"),
        severity: find(&decision, "severity"),
        reason: find(&decision, "reason"),
        policy_hash: find(&decision, "policyHash"),
    };
    for entry in action.iter().filter(|entry| !entry.is(b"type") && !entry.is(b"resource")) {
        member(entry.key, entry.value, &mut others);
    }
    const DECIDED: [&[u8]; 5] = [b"allowed", b"guard", b"severity", b"reason", b"policyHash"];
    for entry in decision.iter().filter(|entry| !DECIDED.iter().any(|name| entry.is(name))) {
        draft.keep_entry(entry);
    }
    let keys = Keys {
        id: "eventId",
        session: "sessionId",
        agent: "agentId",
        organization: "organizationId",
        resource: "resource",
    };
    write(draft, &said, &keys, &others, source.has_tenant, out);
    Ok(())
}

fn row(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let mut draft = Draft::new(NAME, source);
    let mut others = Vec::new();
    let known = Known::read(source.members, ROW, &mut draft, |_, entry| {
        member(entry.key, entry.value, &mut others);
    });
    let allowed = match known.get(7) {
        Some(b"1" | b"true") => true,
        Some(b"0" | b"false") => false,
        Some(_) => return Err(Class::WrongType),
        None => return Err(Class::MissingField),
    };
    let said = Said {
        id: known.required(0)?,
        timestamp: known.required(1)?,
        session: known.get(2),
        agent: known.get(3),
        organization: known.get(4),
        action: known.required(5)?,
        target: known.get(6),
        allowed,
        guard: known.get(8),
        severity: known.get(9),
        reason: known.get(10),
        policy_hash: known.get(11),
    };
    let keys = Keys {
        id: "event_id",
        session: "session_id",
        agent: "agent_id",
        organization: "organization_id",
        resource: "action_resource",
    };
    write(draft, &said, &keys, &others, source.has_tenant, out);
    Ok(())
}

fn write<'a>(
    mut draft: Draft<'a>,
    said: &Said<'a>,
    keys: &Keys,
    others: &[u8],
    has_tenant: bool,
    out: &mut Mapped,
) {
    let action = Action::of(string(said.action).unwrap_or_default());
    // `evt_` before a UUID always stands there, so it needs not be kept.
    match said.id.strip_prefix(b"\"evt_").and_then(|rest| rest.strip_suffix(b"\"")) {
        Some(uuid) if crate::event::uuid_of(uuid).is_some_and(|known| known == uuid) => {
            draft.text(F::EventId, uuid);
        }
        _ => draft.id(keys.id, Some(said.id)),
    }
    draft.json(F::Timestamp, said.timestamp);
    draft.optional(F::SessionId, keys.session, said.session, Some("unknown"));
    draft.optional(F::AgentId, keys.agent, said.agent, Some("hushd"));
    draft.word(F::AgentName, "hushd");
    draft.word(F::AgentVersion, "unknown");
    draft.word(F::AgentType, "clawdstrike");
    if has_tenant {
        if let Some(organization) = said.organization {
            draft.keep(keys.organization, organization);
        }
    } else {
        draft.optional(F::SessionTenantId, keys.organization, said.organization, None);
    }
    draft.json(F::Action, said.action);
    draft.allowed(said.allowed);
    resource(&mut draft, action, said.action, keys.resource, said.target);
    draft.optional(F::Guard, "guard", said.guard, Some("engine"));
    severity_kept(&mut draft, said.severity, said.allowed, lower);
    if said.reason.is_some_and(|json| string(json).is_some()) {
        draft.optional(F::Reason, "reason", said.reason, None);
    } else {
        draft.optional(F::Reason, "reason", said.reason, Some(""));
        draft.json(F::Reason, said.action);
    }
    draft.optional(F::PolicyHash, "policyHash", said.policy_hash, None);
    let word = said.severity.and_then(string).unwrap_or_default();
    let guard = said.guard.and_then(string).unwrap_or(b"engine");
    draft.word(F::EventType, decided_type(said.allowed, word, guard, action));
    draft.group("audit_v2", |members| members.extend_from_slice(others));
    draft.finish(out);
}
