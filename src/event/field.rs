//! The fields of a canonical event, by id.

/// Declares the ids with their dotted paths, in canonical order.
macro_rules! fields {
    ($($(#[doc = $doc:literal])* $name:ident = $path:literal,)*) => {
        /// A field of the canonical event; tables write it `F::Outcome`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum FieldId { $($(#[doc = $doc])* $name,)* }

        impl FieldId {
            /// Every field, in canonical order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The dotted path, as the configuration and the specification write it.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }

            /// What it says, in a sentence.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

fields! {
    /// Version of the event's own schema.
    SchemaVersion = "schema_version",
    /// UUID of the event, lower case.
    EventId = "event_id",
    /// What happened.
    EventType = "event_type",
    /// Which area it belongs to.
    EventCategory = "event_category",
    /// When it happened, RFC 3339 in UTC with `Z`.
    Timestamp = "timestamp",
    /// When it was received.
    IngestedAt = "ingested_at",
    /// The agent's id.
    AgentId = "agent.id",
    /// The agent's name; falls back to its id.
    AgentName = "agent.name",
    /// The agent's version.
    AgentVersion = "agent.version",
    /// The product that decided.
    AgentType = "agent.type",
    /// The session's id.
    SessionId = "session.id",
    /// The user behind the session.
    SessionUserId = "session.user_id",
    /// The tenant; falls back to the configured one.
    SessionTenantId = "session.tenant_id",
    /// The environment; falls back to the configured one.
    SessionEnvironment = "session.environment",
    /// Success, failure or unknown.
    Outcome = "outcome",
    /// The guarded action.
    Action = "action",
    /// Kind of the indicator.
    IndicatorType = "threat.indicator.type",
    /// The indicator itself.
    IndicatorValue = "threat.indicator.value",
    /// ATT&CK tactic, id or name.
    Tactic = "threat.tactic",
    /// ATT&CK technique, id or name.
    Technique = "threat.technique",
    /// Whether the action was let through.
    Allowed = "decision.allowed",
    /// The guard that decided.
    Guard = "decision.guard",
    /// How bad it is, on the one scale.
    Severity = "decision.severity",
    /// Why, in words.
    Reason = "decision.reason",
    /// Hash of the policy in force.
    PolicyHash = "decision.policy_hash",
    /// Name of the rule set in force.
    Ruleset = "decision.ruleset",
    /// Kind of the resource.
    ResourceType = "resource.type",
    /// The resource's name.
    ResourceName = "resource.name",
    /// Its path.
    ResourcePath = "resource.path",
    /// Its host.
    ResourceHost = "resource.host",
    /// Its port, 1 to 65535.
    ResourcePort = "resource.port",
    /// The source's metadata object without the reserved member `shrike`.
    Metadata = "metadata",
    /// The reserved member `metadata.shrike`, without host facts; absent when empty.
    Shrike = "metadata.shrike",
    /// `metadata.command_line`, when it is a string.
    CommandLine = "metadata.command_line",
    /// `metadata.trace_id`, when it is a string.
    TraceId = "metadata.trace_id",
    /// `metadata.span_id`, when it is a string.
    SpanId = "metadata.span_id",
    /// `metadata.traceparent`, when it is a string.
    Traceparent = "metadata.traceparent",
    /// Labels: an object of strings, configured labels merged in.
    Labels = "labels",
}

impl FieldId {
    /// The field with this dotted path.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|id| id.path() == path)
    }

    /// The id as a bit of a 64-bit set.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

const _: () = assert!(FieldId::COUNT < 64, "field sets are 64-bit masks with one bit to spare");
