//! Where the members of a record belong: the canonical keys of each object.

use super::FieldId as F;

/// An object whose members have canonical homes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Group {
    Root,
    Agent,
    Session,
    Threat,
    Indicator,
    Decision,
    Resource,
}

/// What a canonical key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// A string.
    Text(F),
    /// `decision.allowed`.
    Allowed,
    /// `resource.port`.
    Port,
    /// An object with canonical members.
    Object(Group),
    /// `metadata`.
    Metadata,
    /// `labels`.
    Labels,
}

impl Group {
    /// The group as a bit of a set.
    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The group and those inside it.
    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Threat => Self::Threat.bit() | Self::Indicator.bit(),
            _ => self.bit(),
        }
    }

    /// Its canonical members, in canonical order.
    pub(super) const fn members(self) -> &'static [(&'static str, Member)] {
        match self {
            Self::Root => ROOT,
            Self::Agent => AGENT,
            Self::Session => SESSION,
            Self::Threat => THREAT,
            Self::Indicator => INDICATOR,
            Self::Decision => DECISION,
            Self::Resource => RESOURCE,
        }
    }

    /// The fields inside it, by [`F::bit`].
    pub(super) const fn fields(self) -> u64 {
        let (mut fields, members, mut i) = (0, self.members(), 0);
        while i < members.len() {
            fields |= match members[i].1 {
                Member::Text(id) => id.bit(),
                Member::Allowed => F::Allowed.bit(),
                Member::Port => F::ResourcePort.bit(),
                Member::Object(group) => group.fields(),
                Member::Metadata | Member::Labels => 0,
            };
            i += 1;
        }
        fields
    }
}

/// The home of a member of this object; `None` when it has none.
pub(super) fn lookup(group: Group, key: &[u8], escaped: bool) -> Option<Member> {
    let is_it = |name: &str| match escaped {
        false => key == name.as_bytes(),
        true => is_same_key(key, name.as_bytes()),
    };
    group.members().iter().find(|(name, _)| is_it(name)).map(|&(_, member)| member)
}

/// Whether a key written with escapes is this name.
pub(super) fn is_same_key(key: &[u8], name: &[u8]) -> bool {
    // An escape takes at most six bytes for each one that it stands for.
    key.len() <= 6 * name.len() && super::rewrite::unescape(key) == name
}

const ROOT: &[(&str, Member)] = &[
    ("schema_version", Member::Text(F::SchemaVersion)),
    ("event_id", Member::Text(F::EventId)),
    ("event_type", Member::Text(F::EventType)),
    ("event_category", Member::Text(F::EventCategory)),
    ("timestamp", Member::Text(F::Timestamp)),
    ("ingested_at", Member::Text(F::IngestedAt)),
    ("agent", Member::Object(Group::Agent)),
    ("session", Member::Object(Group::Session)),
    ("outcome", Member::Text(F::Outcome)),
    ("action", Member::Text(F::Action)),
    ("threat", Member::Object(Group::Threat)),
    ("decision", Member::Object(Group::Decision)),
    ("resource", Member::Object(Group::Resource)),
    ("metadata", Member::Metadata),
    ("labels", Member::Labels),
];

const AGENT: &[(&str, Member)] = &[
    ("id", Member::Text(F::AgentId)),
    ("name", Member::Text(F::AgentName)),
    ("version", Member::Text(F::AgentVersion)),
    ("type", Member::Text(F::AgentType)),
];

const SESSION: &[(&str, Member)] = &[
    ("id", Member::Text(F::SessionId)),
    ("user_id", Member::Text(F::SessionUserId)),
    ("tenant_id", Member::Text(F::SessionTenantId)),
    ("environment", Member::Text(F::SessionEnvironment)),
];

const THREAT: &[(&str, Member)] = &[
    ("indicator", Member::Object(Group::Indicator)),
    ("tactic", Member::Text(F::Tactic)),
    ("technique", Member::Text(F::Technique)),
];

const INDICATOR: &[(&str, Member)] =
    &[("type", Member::Text(F::IndicatorType)), ("value", Member::Text(F::IndicatorValue))];

const DECISION: &[(&str, Member)] = &[
    ("allowed", Member::Allowed),
    ("guard", Member::Text(F::Guard)),
    ("severity", Member::Text(F::Severity)),
    ("reason", Member::Text(F::Reason)),
    ("policy_hash", Member::Text(F::PolicyHash)),
    ("ruleset", Member::Text(F::Ruleset)),
];

const RESOURCE: &[(&str, Member)] = &[
    ("type", Member::Text(F::ResourceType)),
    ("name", Member::Text(F::ResourceName)),
    ("path", Member::Text(F::ResourcePath)),
    ("host", Member::Text(F::ResourceHost)),
    ("port", Member::Port),
];
