//! Clawdstrike: the audit record of hushd (`inputs.md` 2.1, 7.1).

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::draft::{Draft, may_name, string};
use super::rules::{
    Action, Known, capitalised, decided_type, members_named, resource, severity_kept,
};
use crate::event::{Class, FieldId as F};
use crate::intake::{Column, Dialect, Kind, Mapped, Mode, Service, Source, Table};

/// One record of hushd's ledger, API or sinks.
pub(super) static AUDIT: Dialect = Dialect {
    name: NAME,
    keys: &[("event_type", Kind::Text), ("action_type", Kind::Text)],
    mode: Mode::Append,
    map,
};

/// The ledger of hushd, which holds all records (`inputs.md` 2.2, 2.3).
pub(super) static LEDGER: Table = Table {
    name: "audit_events",
    format: NAME,
    id: "id",
    columns: &[
        ("id", Column::Plain),
        ("timestamp", Column::Time),
        ("event_type", Column::Plain),
        ("action_type", Column::Plain),
        ("target", Column::Plain),
        ("decision", Column::Plain),
        ("guard", Column::Plain),
        ("severity", Column::Plain),
        ("message", Column::Plain),
        ("session_id", Column::Plain),
        ("agent_id", Column::Plain),
        ("metadata", Column::Json),
        ("metadata_enc", Column::Sealed),
    ],
};

/// The API of hushd, which serves what the ledger holds (`inputs.md` 2.2).
pub(super) static API: Service = Service {
    format: NAME,
    newest: "/api/v1/audit?limit=",
    list: "events",
    id: "id",
    stream: "/api/v1/events",
};

const NAME: &str = "clawdstrike.audit";

const NAMES: &[&str; 13] = &[
    "id",
    "timestamp",
    "event_type",
    "action_type",
    "target",
    "decision",
    "guard",
    "severity",
    "message",
    "session_id",
    "agent_id",
    "metadata",
    "metadata_enc",
];

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let mut draft = Draft::new(NAME, source);
    let known = Known::read(source.members, NAMES, &mut draft, |draft, entry| {
        draft.keep_entry(entry);
    });
    let id = known.required(0)?;
    let (timestamp, event_type) = (known.required(1)?, known.required(2)?);
    let (action_json, decision) = (known.required(3)?, known.required(5)?);
    let word = string(event_type).unwrap_or_default();
    let action = Action::of(string(action_json).unwrap_or_default());
    let decision_word = string(decision).unwrap_or_default();
    let allowed = decision_word == b"allowed";

    draft.id("id", Some(id));
    draft.json(F::Timestamp, timestamp);
    draft.json(F::Action, action_json);
    draft.allowed(allowed);
    if !allowed && decision_word != b"blocked" {
        draft.flag(Class::UnknownEnum);
        draft.keep("decision", decision);
    }
    resource(&mut draft, action, action_json, "target", known.get(4));
    draft.optional(F::Guard, "guard", known.get(6), Some("engine"));
    severity_kept(&mut draft, known.get(7), allowed, capitalised);
    match known.text(8) {
        Some(_) => draft.optional(F::Reason, "message", known.get(8), None),
        None => {
            draft.optional(F::Reason, "message", known.get(8), Some(""));
            draft.json(F::Reason, event_type);
        }
    }
    draft.optional(F::SessionId, "session_id", known.get(9), Some("unknown"));
    draft.optional(F::AgentId, "agent_id", known.get(10), Some("hushd"));
    draft.word(F::AgentName, "hushd");
    draft.word(F::AgentVersion, "unknown");
    draft.word(F::AgentType, "clawdstrike");
    let severity_word = known.text(7).unwrap_or_default();
    let guard = known.text(6).unwrap_or(b"engine");
    happened(&mut draft, event_type, word, allowed, || {
        decided_type(allowed, severity_word, guard, action)
    });
    if action == Action::Other {
        administrative(&mut draft, word);
    }
    principal(&mut draft, known.get(11), source.has_tenant);
    draft.metadata(known.get(11));
    if known.get(12).is_some() {
        draft.flag(Class::EncryptedMetadata);
    }
    draft.finish(out);
    Ok(())
}

/// Sets the event's type; the source's own is kept where the type does not lead back to it.
fn happened<'a>(
    draft: &mut Draft<'a>,
    event_type: &'a [u8],
    word: &[u8],
    allowed: bool,
    decided: impl FnOnce() -> &'static str,
) {
    let session = match word {
        b"session_start" => Some("session_start"),
        b"session_end" => Some("session_end"),
        _ => None,
    };
    let leads_back =
        session.is_some() || word == if allowed { &b"check"[..] } else { b"violation" };
    if !leads_back {
        draft.keep("event_type", event_type);
    }
    draft.word(F::EventType, session.unwrap_or_else(decided));
    if session.is_some() {
        draft.word(F::EventCategory, "session");
    }
}

/// The category of an administrative event.
fn administrative(draft: &mut Draft<'_>, word: &[u8]) {
    const CATEGORIES: &[(&[u8], &str)] = &[
        (b"user_session_", "authentication"),
        (b"saml_", "authentication"),
        (b"webhook_", "authentication"),
        (b"rbac_", "authorization"),
        (b"session_posture_", "session"),
    ];
    if let Some((_, category)) = CATEGORIES.iter().find(|(start, _)| word.starts_with(start)) {
        draft.word(F::EventCategory, category);
    }
}

static POLICY_HASH: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("policy_hash"));
static PRINCIPAL: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("principal"));

/// What the metadata says of user, tenant and policy.
fn principal<'a>(draft: &mut Draft<'a>, metadata: Option<&'a [u8]>, has_tenant: bool) {
    let Some(metadata) = metadata.filter(|json| json.first() == Some(&b'{')) else { return };
    if !may_name(metadata, &[&POLICY_HASH, &PRINCIPAL]) {
        return;
    }
    let [hash, principal] = members_named(metadata, ["policy_hash", "principal"]);
    if let Some(hash) = hash.filter(|json| string(json).is_some()) {
        draft.json(F::PolicyHash, hash);
    }
    let Some(principal) = principal else { return };
    let [id, tenant] = members_named(principal, ["id", "organization_id"]);
    if let Some(id) = id.filter(|json| string(json).is_some()) {
        draft.json(F::SessionUserId, id);
    }
    if let Some(tenant) = tenant.filter(|json| string(json).is_some() && !has_tenant) {
        draft.json(F::SessionTenantId, tenant);
    }
}
