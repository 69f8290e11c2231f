//! An event that a program builds: owned values, checked when it is finished.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Category, EventType, IndicatorType, Outcome, ResourceType, Severity, Time, id, time};

/// A canonical event with values of its own.
///
/// [`SecurityEvent::build`] makes one; [`SecurityEvent::to_json`] gives the record to append.
/// Reading one back takes only what the contract (`shrike schema json`) allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityEvent {
    /// Version of the event's own schema.
    pub schema_version: String,
    /// UUID of the event, lower case.
    pub event_id: String,
    /// What happened.
    pub event_type: EventType,
    /// Which area it belongs to.
    pub event_category: Category,
    /// When it happened, RFC 3339 in UTC.
    pub timestamp: String,
    /// Who acted.
    pub agent: Agent,
    /// In which session.
    pub session: Session,
    /// How the action ended.
    pub outcome: Outcome,
    /// The guarded action.
    pub action: String,
    /// What it may be part of.
    #[serde(default, deserialize_with = "absent")]
    pub threat: Threat,
    /// What was decided, and why.
    pub decision: Decision,
    /// What it was about.
    pub resource: Resource,
    /// What the event has no place for.
    #[serde(default, deserialize_with = "absent")]
    pub metadata: Map<String, Value>,
    /// Labels.
    #[serde(default, deserialize_with = "absent")]
    pub labels: BTreeMap<String, String>,
}

/// Who acted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The product that decided.
    #[serde(rename = "type")]
    pub kind: String,
}

/// In which session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// The user behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The tenant; none is the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The environment; none is the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

/// What it may be part of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threat {
    /// What it may be recognised by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator: Option<Indicator>,
    /// ATT&CK tactic, id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tactic: Option<String>,
    /// ATT&CK technique, id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technique: Option<String>,
}

/// What it may be recognised by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indicator {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: IndicatorType,
    /// The indicator itself.
    pub value: String,
}

/// What was decided, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the action was let through.
    pub allowed: bool,
    /// The guard that decided.
    pub guard: String,
    /// How bad it is.
    pub severity: Severity,
    /// Why, in words; may be empty.
    pub reason: String,
    /// Hash of the policy in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_hash: Option<String>,
    /// Name of the rule set in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruleset: Option<String>,
}

/// What it was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// Its name.
    pub name: String,
    /// Its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Why an event cannot be finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Unfinished {
    /// The dotted path of the field.
    pub field: &'static str,
    /// What is wrong, and what to do.
    pub problem: &'static str,
}

/// An event under construction.
#[derive(Clone, Debug)]
pub struct Builder {
    event: SecurityEvent,
    has_decision: bool,
}

impl SecurityEvent {
    /// Begins an event that happens now, with a new id (UUID version 7).
    #[must_use]
    pub fn build(event_type: EventType, category: Category) -> Builder {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let random = RANDOM.with_borrow_mut(|random| random.u128(..));
        Self::build_at(event_type, category, nanoseconds, random)
    }

    /// The same for a time in nanoseconds since 1970 and random bits for the id.
    #[must_use]
    pub fn build_at(
        event_type: EventType,
        category: Category,
        nanoseconds: u64,
        random: u128,
    ) -> Builder {
        let event = Self {
            schema_version: "1.0.0".to_owned(),
            event_id: id_at(nanoseconds / 1_000_000, random),
            event_type,
            event_category: category,
            timestamp: timestamp(nanoseconds),
            agent: Agent { kind: "clawdstrike".to_owned(), ..Agent::default() },
            session: Session::default(),
            outcome: Outcome::Unknown,
            action: String::new(),
            threat: Threat::default(),
            decision: Decision {
                allowed: false,
                guard: String::new(),
                severity: Severity::Info,
                reason: String::new(),
                policy_hash: None,
                ruleset: None,
            },
            resource: Resource {
                kind: ResourceType::Tool,
                name: String::new(),
                path: None,
                host: None,
                port: None,
            },
            metadata: Map::new(),
            labels: BTreeMap::new(),
        };
        Builder { event, has_decision: false }
    }

    /// The record to append: one line of JSON without its end.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RECORD_BYTES);
        self.write(&mut out);
        out
    }

    /// Appends the record to a buffer, which saves a producer an allocation per event.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        // Texts, numbers and maps with texts as keys always have a JSON; a buffer always takes it.
        if serde_json::to_writer(&mut *out, self).is_err() {
            out.truncate(start);
        }
    }
}

impl Builder {
    /// Who acted: id and version of the agent.
    #[must_use]
    pub fn agent(mut self, id: impl Into<String>, version: impl Into<String>) -> Self {
        self.event.agent.id = id.into();
        self.event.agent.version = version.into();
        self
    }

    /// The agent's name; without it the id.
    #[must_use]
    pub fn agent_name(mut self, name: impl Into<String>) -> Self {
        self.event.agent.name = name.into();
        self
    }

    /// The product that decided; without it `clawdstrike`.
    #[must_use]
    pub fn product(mut self, name: impl Into<String>) -> Self {
        self.event.agent.kind = name.into();
        self
    }

    /// In which session.
    #[must_use]
    pub fn session(mut self, id: impl Into<String>) -> Self {
        self.event.session.id = id.into();
        self
    }

    /// The user behind the session.
    #[must_use]
    pub fn user(mut self, id: impl Into<String>) -> Self {
        self.event.session.user_id = Some(id.into());
        self
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(mut self, id: impl Into<String>) -> Self {
        self.event.session.tenant_id = Some(id.into());
        self
    }

    /// The guarded action, such as `egress`.
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.event.action = action.into();
        self
    }

    /// A guard let the action through; the outcome is success unless it is set later.
    #[must_use]
    pub fn allowed(
        self,
        guard: impl Into<String>,
        severity: Severity,
        reason: impl Into<String>,
    ) -> Self {
        self.decided(true, guard.into(), severity, reason.into())
    }

    /// A guard stopped the action; the outcome is failure unless it is set later.
    #[must_use]
    pub fn denied(
        self,
        guard: impl Into<String>,
        severity: Severity,
        reason: impl Into<String>,
    ) -> Self {
        self.decided(false, guard.into(), severity, reason.into())
    }

    /// How the action ended.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.event.outcome = outcome;
        self
    }

    /// What it was about.
    #[must_use]
    pub fn resource(mut self, kind: ResourceType, name: impl Into<String>) -> Self {
        self.event.resource.kind = kind;
        self.event.resource.name = name.into();
        self
    }

    /// The resource's path.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.event.resource.path = Some(path.into());
        self
    }

    /// The resource's host and port.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>, port: u16) -> Self {
        self.event.resource.host = Some(host.into());
        self.event.resource.port = Some(port).filter(|&port| port > 0);
        self
    }

    /// What it may be recognised by.
    #[must_use]
    pub fn indicator(mut self, kind: IndicatorType, value: impl Into<String>) -> Self {
        self.event.threat.indicator = Some(Indicator { kind, value: value.into() });
        self
    }

    /// A label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.event.labels.insert(name.into(), text.into());
        self
    }

    /// Something that the event has no place for.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.event.metadata.insert(name.into(), value.into());
        self
    }

    /// The event, if nothing is missing.
    ///
    /// # Errors
    /// Names the first field that is missing.
    pub fn finish(mut self) -> Result<SecurityEvent, Unfinished> {
        let event = &mut self.event;
        if event.agent.name.is_empty() {
            event.agent.name.clone_from(&event.agent.id);
        }
        let missing = [
            ("event_type", event.event_type == EventType::Other, "is no known type"),
            ("event_category", event.event_category == Category::Other, "is no known category"),
            ("agent.id", is_blank(&event.agent.id), "is missing; call `agent`"),
            ("agent.version", is_blank(&event.agent.version), "is missing; call `agent`"),
            ("agent.type", is_blank(&event.agent.kind), "is blank; give `product` a name"),
            ("session.id", is_blank(&event.session.id), "is missing; call `session`"),
            ("outcome", event.outcome == Outcome::Other, "is no known outcome"),
            ("action", is_blank(&event.action), "is missing; call `action`"),
            ("decision", !self.has_decision, "is missing; call `allowed` or `denied`"),
            ("decision.guard", is_blank(&event.decision.guard), "is blank; name the guard"),
            ("resource.name", is_blank(&event.resource.name), "is missing; call `resource`"),
            ("metadata.shrike", event.metadata.contains_key("shrike"), "is reserved"),
        ];
        match missing.into_iter().find(|(_, is_missing, _)| *is_missing) {
            Some((field, _, problem)) => Err(Unfinished { field, problem }),
            None => Ok(self.event),
        }
    }

    fn decided(mut self, allowed: bool, guard: String, severity: Severity, reason: String) -> Self {
        let decision = &mut self.event.decision;
        (decision.allowed, decision.guard) = (allowed, guard);
        (decision.severity, decision.reason) = (severity, reason);
        self.event.outcome = if allowed { Outcome::Success } else { Outcome::Failure };
        self.has_decision = true;
        self
    }
}

/// A value that may also be null: programs write absent ones so.
fn absent<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// UUID version 7 (RFC 9562, section 5.7): milliseconds, then random bits.
fn id_at(milliseconds: u64, random: u128) -> String {
    let time = u128::from(milliseconds & 0xffff_ffff_ffff) << 80;
    let bits = time | random & ((1 << 80) - 1);
    id::uuid_text(bits.to_be_bytes(), 7).iter().map(|&byte| char::from(byte)).collect()
}

fn timestamp(nanoseconds: u64) -> String {
    let time = Time {
        secs: i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX),
        nanos: u32::try_from(nanoseconds % 1_000_000_000).unwrap_or(0),
    };
    let mut text = Vec::new();
    time::write(time, &mut text);
    String::from_utf8_lossy(&text).trim_matches('"').to_owned()
}

thread_local! {
    /// Each thread has its own, so that no id waits for another.
    static RANDOM: RefCell<fastrand::Rng> =
        RefCell::new(fastrand::Rng::with_seed(RandomState::new().hash_one(0)));
}

/// Bytes of a usual record.
const RECORD_BYTES: usize = 1024;

/// Words of the wire, and no others.
macro_rules! wire {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.word())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word = String::deserialize(from)?;
                let found = Self::ALL.iter().copied().find(|case| case.word() == word);
                found.ok_or_else(|| D::Error::custom(format!("no {}: {word}", stringify!($name))))
            }
        }
    )*};
}

wire!(EventType, Category, Outcome, ResourceType, IndicatorType, Severity);
