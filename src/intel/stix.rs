//! STIX 2.0 and 2.1: the objects that a feed sends, as far as they are used.
//!
//! Names are cut at [`TEXT_BYTES_MAX`], words at [`WORD_BYTES_MAX`], lists at [`PHASES_MAX`]; a
//! pattern is refused above its bound.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::few::Few;
use super::pattern::{Signs, Unsupported};
use super::stamp;
use crate::event::Time;

/// Bytes of a name at most; what goes beyond is cut.
pub const TEXT_BYTES_MAX: usize = 1 << 10;

/// Bytes of an id, a label or a phase at most; a longer id is refused, the others are cut.
pub const WORD_BYTES_MAX: usize = 128;

/// Labels, phases and markings of an object at most; no feed comes near.
pub const PHASES_MAX: usize = 32;

/// What one object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// What to look for.
    Indicator(Box<Indicator>),
    /// Who or what is behind it.
    Entity(Entity),
    /// How two objects belong together.
    Link(Link),
    /// A marking with its id; one that is a statement says nothing of how far a text may travel.
    Marking(String, Option<Tlp>),
    /// A version that says nothing that is used, though no older one holds.
    Unused(Unused),
}

/// A version of an object of which no more is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// Its STIX id.
    pub id: String,
    /// When this version of it was made.
    pub modified: Time,
    /// Why it is not used; none where it is taken back.
    pub reason: Option<Skip>,
}

/// What a feed says to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indicator {
    /// Its STIX id.
    pub id: String,
    /// When this version of it was made; the newest of an id counts.
    pub modified: Time,
    /// Whether it is taken back.
    pub is_revoked: bool,
    /// What it is called.
    pub name: Option<String>,
    /// What it looks for.
    pub signs: Signs,
    /// From when on it holds.
    pub valid_from: Option<Time>,
    /// Until when it holds.
    pub valid_until: Option<Time>,
    /// How sure its maker is, 0 to 100.
    pub confidence: Option<u8>,
    /// What it shows: `indicator_types`, or the labels of STIX 2.0.
    pub types: Vec<String>,
    /// Framework and phase of each step of an attack that it belongs to.
    pub phases: Vec<(String, String)>,
    /// Ids of its markings.
    pub markings: Vec<String>,
}

impl Indicator {
    /// Whether it says that what it finds is good.
    #[must_use]
    pub fn is_benign(&self) -> bool {
        self.types.iter().any(|it| it == "benign")
    }
}

/// Who or what is behind an indicator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// What it is.
    pub kind: EntityKind,
    /// Its STIX id.
    pub id: String,
    /// When this version of it was made.
    #[serde(with = "stamp")]
    pub modified: Time,
    /// Whether it is taken back.
    pub is_revoked: bool,
    /// What it is called.
    pub name: String,
    /// The ATT&CK id of a technique.
    pub technique: Option<String>,
    /// Framework and phase of each step of an attack that it belongs to.
    pub phases: Vec<(String, String)>,
    /// Ids of its markings.
    pub markings: Vec<String>,
}

/// What an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// `malware`.
    Malware,
    /// `attack-pattern`.
    AttackPattern,
    /// `threat-actor`, and `intrusion-set`.
    Actor,
    /// `campaign`.
    Campaign,
    /// `infrastructure`.
    Infrastructure,
}

impl EntityKind {
    fn parse(kind: &str) -> Option<Self> {
        Some(match kind {
            "malware" => Self::Malware,
            "attack-pattern" => Self::AttackPattern,
            "threat-actor" | "intrusion-set" => Self::Actor,
            "campaign" => Self::Campaign,
            "infrastructure" => Self::Infrastructure,
            _ => return None,
        })
    }
}

/// How two objects belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its STIX id.
    pub id: String,
    /// When this version of it was made.
    #[serde(with = "stamp")]
    pub modified: Time,
    /// Whether it is taken back.
    pub is_revoked: bool,
    /// What the source does to the target.
    pub verb: Verb,
    /// The id of the source.
    pub source: String,
    /// The id of the target.
    pub target: String,
    /// Ids of its markings.
    pub markings: Vec<String>,
}

/// What the source of a link does to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// `indicates`.
    Indicates,
    /// `uses`.
    Uses,
    /// `attributed-to`.
    AttributedTo,
}

/// How far a text may travel (Traffic Light Protocol), the widest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tlp {
    /// Anywhere; `white` of TLP 1.
    Clear,
    /// In the community.
    Green,
    /// In the organisation and to its clients.
    Amber,
    /// In the organisation.
    AmberStrict,
    /// Nowhere.
    Red,
}

impl Tlp {
    /// The word of a configuration or of a marking, with or without `TLP:`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let lower = word.trim().to_ascii_lowercase();
        Some(match lower.strip_prefix("tlp:").unwrap_or(&lower) {
            "clear" | "white" => Self::Clear,
            "green" => Self::Green,
            "amber" => Self::Amber,
            "amber+strict" => Self::AmberStrict,
            "red" => Self::Red,
            _ => return None,
        })
    }

    /// The marking of an id that STIX itself gives (STIX 2.1, 7.2.1.4; TLP 2.0 extension).
    #[must_use]
    pub fn well_known(id: &str) -> Option<Self> {
        let uuid = id.strip_prefix("marking-definition--")?;
        WELL_KNOWN.iter().find(|(it, _)| *it == uuid).map(|&(_, tlp)| tlp)
    }
}

/// The ids of TLP 1 and of TLP 2.
const WELL_KNOWN: &[(&str, Tlp)] = &[
    ("613f2e26-407d-48c7-9eca-b8e91df99dc9", Tlp::Clear),
    ("34098fce-860f-48ae-8e50-ebd3cc5e41da", Tlp::Green),
    ("f88d31f6-486f-44da-b317-01333bde0b82", Tlp::Amber),
    ("5e57c739-391a-4eb3-b6be-7d15ca92d5ed", Tlp::Red),
    ("94868c89-83c2-464b-929b-a1a8aa3c8487", Tlp::Clear),
    ("bab4a63c-aed9-4cf5-a766-dfca5abac2bb", Tlp::Green),
    ("55d920b0-5e8b-4f79-9ee9-91f868d9b421", Tlp::Amber),
    ("939a9414-2ddd-4d32-a0cd-375ea402b003", Tlp::AmberStrict),
    ("e828b379-4e03-4974-9ac4-e53a884c97c1", Tlp::Red),
];

/// Why an object is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// It is none of the kinds that are used.
    Kind,
    /// A member is missing or has another type than STIX says.
    Malformed,
    /// Its pattern is in another language.
    PatternType,
    /// Its pattern holds nothing that can be looked up.
    Pattern(Unsupported),
    /// It links objects in a way that names nothing.
    Relationship,
    /// It is a marking that is not understood: neither one of TLP nor a statement.
    Marking,
}

impl Skip {
    /// Its name as a label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Malformed => "malformed",
            Self::PatternType => "pattern_type",
            Self::Pattern(reason) => reason.word(),
            Self::Relationship => "relationship",
            Self::Marking => "marking",
        }
    }
}

impl Object {
    /// Reads an object.
    ///
    /// # Errors
    /// When it is not used, and not known for a version of something that may be.
    pub fn parse(json: &str) -> Result<Self, Skip> {
        read(json).or_else(|reason| match Head::unused(json, reason) {
            Some(unused) => Ok(Self::Unused(unused)),
            None => Err(reason),
        })
    }

    /// Its STIX id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Indicator(it) => &it.id,
            Self::Entity(it) => &it.id,
            Self::Link(it) => &it.id,
            Self::Marking(id, _) => id,
            Self::Unused(it) => &it.id,
        }
    }
}

fn read(json: &str) -> Result<Object, Skip> {
    let raw: Raw<'_> = serde_json::from_str(json).map_err(|_| Skip::Malformed)?;
    if !raw.id.starts_with(&*raw.kind) || raw.id.len() > WORD_BYTES_MAX {
        return Err(Skip::Malformed);
    }
    let entity = match &*raw.kind {
        "indicator" => return indicator(raw),
        "relationship" => return link(&raw),
        "marking-definition" => return marking(&raw),
        kind => EntityKind::parse(kind).ok_or(Skip::Kind)?,
    };
    let attack = |it: &&Reference<'_>| it.source_name.starts_with("mitre-");
    let reference = raw.external_references.few.iter().find(attack);
    let technique = reference.and_then(|it| it.external_id.as_deref());
    let technique = technique.filter(|_| entity == EntityKind::AttackPattern);
    Ok(Object::Entity(Entity {
        kind: entity,
        modified: raw.modified()?,
        is_revoked: raw.revoked,
        name: raw.name.as_deref().map(cut).ok_or(Skip::Malformed)?,
        technique: technique.map(word),
        phases: raw.phases(),
        markings: raw.markings(),
        id: raw.id.into_owned(),
    }))
}

fn indicator(raw: Raw<'_>) -> Result<Object, Skip> {
    let modified = raw.modified()?;
    if raw.pattern_type.as_deref().is_some_and(|language| language != "stix") {
        return Err(Skip::PatternType);
    }
    let signs = match raw.revoked {
        // What is taken back is known by its id alone.
        true => Signs::default(),
        false => Signs::parse(raw.pattern.as_deref().ok_or(Skip::Malformed)?),
    };
    if let (true, Some(&reason)) = (signs.signs.is_empty(), signs.unsupported.first()) {
        return Err(Skip::Pattern(reason));
    }
    let confidence = raw.confidence.map(u8::try_from).transpose().map_err(|_| Skip::Malformed)?;
    if confidence.is_some_and(|it| it > 100) {
        return Err(Skip::Malformed);
    }
    let types = match raw.indicator_types.few.is_empty() {
        true => &raw.labels.few,
        false => &raw.indicator_types.few,
    };
    Ok(Object::Indicator(Box::new(Indicator {
        modified,
        is_revoked: raw.revoked,
        name: raw.name.as_deref().map(cut),
        signs,
        valid_from: time(raw.valid_from.as_deref())?,
        valid_until: time(raw.valid_until.as_deref())?,
        confidence,
        types: types.iter().map(|text| word(text)).collect(),
        phases: raw.phases(),
        markings: raw.markings(),
        id: raw.id.into_owned(),
    })))
}

fn link(raw: &Raw<'_>) -> Result<Object, Skip> {
    let verb = match raw.relationship_type.as_deref().ok_or(Skip::Malformed)? {
        "indicates" => Verb::Indicates,
        "uses" => Verb::Uses,
        "attributed-to" => Verb::AttributedTo,
        _ => return Err(Skip::Relationship),
    };
    let end = |id: &Option<Cow<'_, str>>| {
        let id = id.as_deref().filter(|id| id.len() <= WORD_BYTES_MAX);
        id.map(str::to_owned).ok_or(Skip::Malformed)
    };
    Ok(Object::Link(Link {
        id: raw.id.clone().into_owned(),
        modified: raw.modified()?,
        is_revoked: raw.revoked,
        verb,
        source: end(&raw.source_ref)?,
        target: end(&raw.target_ref)?,
        markings: raw.markings(),
    }))
}

/// A marking: by the definition of TLP 1, or by its name, as TLP 2 and most servers write it.
fn marking(raw: &Raw<'_>) -> Result<Object, Skip> {
    let defined = raw.definition.as_ref();
    let word = defined.and_then(|it| it.tlp.as_deref());
    let word = word.or(raw.name.as_deref());
    let tlp = Tlp::well_known(&raw.id).or_else(|| word.and_then(Tlp::parse));
    let is_statement = defined.is_some_and(|it| it.statement.is_some() && it.tlp.is_none());
    match tlp.is_some() || is_statement {
        true => Ok(Object::Marking(raw.id.clone().into_owned(), tlp)),
        false => Err(Skip::Marking),
    }
}

/// As much of an object as tells which version of what it is.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default, borrow)]
    created: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    modified: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    revoked: Option<&'a RawValue>,
}

impl Head<'_> {
    /// A version of something that would be used, if it could be.
    fn unused(json: &str, reason: Skip) -> Option<Unused> {
        let head: Head<'_> = serde_json::from_str(json).ok()?;
        let is_used = matches!(&*head.kind, "indicator" | "relationship")
            || EntityKind::parse(&head.kind).is_some();
        if !is_used || !head.id.starts_with(&*head.kind) || head.id.len() > WORD_BYTES_MAX {
            return None;
        }
        let made = head.modified.as_deref().or(head.created.as_deref());
        let is_revoked = head.revoked.is_some_and(|it| it.get() == "true");
        Some(Unused {
            modified: time(made).ok()??,
            reason: (!is_revoked).then_some(reason),
            id: head.id.into_owned(),
        })
    }
}

/// A list of texts.
type Words = Few<String, PHASES_MAX>;

/// The members that are read; all others are passed over.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default, borrow)]
    created: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    modified: Option<Cow<'a, str>>,
    #[serde(default)]
    revoked: bool,
    #[serde(default, borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pattern: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pattern_type: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    valid_from: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    valid_until: Option<Cow<'a, str>>,
    #[serde(default)]
    confidence: Option<i64>,
    #[serde(default)]
    indicator_types: Words,
    #[serde(default)]
    labels: Words,
    #[serde(default, borrow)]
    kill_chain_phases: Few<Phase<'a>, PHASES_MAX>,
    #[serde(default, borrow)]
    external_references: Few<Reference<'a>, PHASES_MAX>,
    #[serde(default)]
    object_marking_refs: Words,
    #[serde(default, borrow)]
    granular_markings: Few<Granular<'a>, PHASES_MAX>,
    #[serde(default, borrow)]
    relationship_type: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    source_ref: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    target_ref: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    definition: Option<Definition<'a>>,
}

#[derive(PartialEq, Deserialize)]
struct Phase<'a> {
    #[serde(borrow)]
    kill_chain_name: Cow<'a, str>,
    #[serde(borrow)]
    phase_name: Cow<'a, str>,
}

#[derive(PartialEq, Deserialize)]
struct Reference<'a> {
    #[serde(borrow)]
    source_name: Cow<'a, str>,
    #[serde(default, borrow)]
    external_id: Option<Cow<'a, str>>,
}

/// A marking of a part of an object; one of a language has no id.
#[derive(PartialEq, Deserialize)]
struct Granular<'a> {
    #[serde(default, borrow)]
    marking_ref: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Definition<'a> {
    #[serde(default, borrow)]
    tlp: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    statement: Option<Cow<'a, str>>,
}

impl Raw<'_> {
    /// When this version was made; the first version may say only that.
    fn modified(&self) -> Result<Time, Skip> {
        let text = self.modified.as_deref().or(self.created.as_deref());
        time(text)?.ok_or(Skip::Malformed)
    }

    fn phases(&self) -> Vec<(String, String)> {
        let phases = self.kill_chain_phases.few.iter();
        phases.map(|it| (word(&it.kill_chain_name), word(&it.phase_name))).collect()
    }

    /// Ids of the markings of the object and of parts of it: the strictest counts for the whole.
    /// Of more than are kept nobody knows what they say, as of [`UNKNOWN_MARKING`].
    fn markings(&self) -> Vec<String> {
        let parts = self.granular_markings.few.iter().filter_map(|it| it.marking_ref.as_deref());
        let whole = self.object_marking_refs.few.iter().map(String::as_str);
        let mut is_known = !self.object_marking_refs.is_cut && !self.granular_markings.is_cut;
        let mut markings: Vec<String> = Vec::new();
        for id in whole.chain(parts) {
            is_known &= id.len() <= WORD_BYTES_MAX;
            if !markings.iter().any(|it| it == id) {
                markings.push(id.to_owned());
            }
        }
        if !is_known || markings.len() > PHASES_MAX {
            return vec![UNKNOWN_MARKING.to_owned()];
        }
        markings
    }
}

fn time(text: Option<&str>) -> Result<Option<Time>, Skip> {
    text.map(|text| Time::parse(text.as_bytes()).ok_or(Skip::Malformed)).transpose()
}

/// A text of at most [`TEXT_BYTES_MAX`].
fn cut(text: &str) -> String {
    cut_at(text, TEXT_BYTES_MAX)
}

/// A text of at most [`WORD_BYTES_MAX`].
fn word(text: &str) -> String {
    cut_at(text, WORD_BYTES_MAX)
}

/// A text of at most so many bytes, cut between two characters.
fn cut_at(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The id of no marking.
const UNKNOWN_MARKING: &str = "marking-definition--";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::intel::SignKind;

    fn example() -> Value {
        json!({
            "type": "indicator", "spec_version": "2.1",
            "id": "indicator--26ffb872-1dd9-446e-b6f5-d58527e5b5d2",
            "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-02T00:00:00.123456Z",
            "name": "File hash for Poison Ivy", "pattern_type": "stix",
            "pattern": "[domain-name:value = 'evil.example']",
            "valid_from": "2026-01-01T00:00:00Z", "valid_until": "2027-01-01T00:00:00Z",
            "confidence": 80, "indicator_types": ["malicious-activity"],
            "kill_chain_phases": [
                { "kill_chain_name": "mitre-attack", "phase_name": "command-and-control" }
            ],
            "object_marking_refs": ["marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"]
        })
    }

    fn with(name: &str, value: Value) -> Result<Object, Skip> {
        let mut object = example();
        object[name] = value;
        Object::parse(&object.to_string())
    }

    /// Why an object is not used.
    fn why(read: Result<Object, Skip>) -> Option<Skip> {
        match read {
            Ok(Object::Unused(unused)) => unused.reason,
            Ok(_) => None,
            Err(reason) => Some(reason),
        }
    }

    #[test]
    fn a_version_that_is_not_used_is_known_as_one() {
        let version = |members: Value| {
            let mut object = example();
            for (name, value) in members.as_object().expect("members") {
                object[name] = value.clone();
            }
            let read = Object::parse(&object.to_string());
            let Ok(Object::Unused(unused)) = read else { panic!("{members}: {read:?}") };
            assert_eq!(unused.id, "indicator--26ffb872-1dd9-446e-b6f5-d58527e5b5d2");
            assert_eq!(unused.modified, Time { secs: 1_767_312_000, nanos: 123_456_000 });
            unused.reason
        };
        assert_eq!(
            version(json!({ "pattern": "[a:b = 1]" })),
            Some(Skip::Pattern(Unsupported::Property))
        );
        assert_eq!(version(json!({ "pattern_type": "yara" })), Some(Skip::PatternType));
        assert_eq!(version(json!({ "confidence": "high" })), Some(Skip::Malformed));
        assert_eq!(version(json!({ "revoked": "yes" })), Some(Skip::Malformed));
        for wrong in [
            json!({ "labels": 5 }),
            json!({ "valid_until": "never" }),
            json!({ "confidence": 900 }),
        ] {
            let mut members = wrong;
            members["revoked"] = true.into();
            assert_eq!(version(members), None, "it is taken back");
        }
    }

    #[test]
    fn more_markings_than_are_kept_are_unknown() {
        let markings = |members: Value| {
            let mut object = example();
            for (name, value) in members.as_object().expect("members") {
                object[name] = value.clone();
            }
            let Ok(Object::Indicator(found)) = Object::parse(&object.to_string()) else {
                panic!("no indicator")
            };
            found.markings
        };
        let refs: Vec<String> = (0..33).map(|n| format!("marking-definition--{n}")).collect();
        assert_eq!(markings(json!({ "object_marking_refs": refs })), [UNKNOWN_MARKING]);
        assert_eq!(
            markings(json!({ "object_marking_refs": ["x".repeat(129)] })),
            [UNKNOWN_MARKING]
        );
        let parts = json!([
            { "lang": "de", "selectors": ["name"] },
            { "marking_ref": "marking-definition--2", "selectors": ["name"] },
            { "marking_ref": "marking-definition--1", "selectors": ["pattern"] },
        ]);
        let both =
            json!({ "object_marking_refs": ["marking-definition--1"], "granular_markings": parts });
        assert_eq!(markings(both), ["marking-definition--1", "marking-definition--2"]);
    }

    #[test]
    fn an_indicator_is_read_whole() {
        let Ok(Object::Indicator(found)) = Object::parse(&example().to_string()) else {
            panic!("no indicator")
        };
        assert_eq!(found.modified, Time { secs: 1_767_312_000, nanos: 123_456_000 });
        assert_eq!(found.name.as_deref(), Some("File hash for Poison Ivy"));
        let signs = found.signs.signs.iter().map(|it| (it.kind, it.value.as_str()));
        assert_eq!(signs.collect::<Vec<_>>(), [(SignKind::Domain, "evil.example")]);
        assert_eq!(found.valid_from.map(|it| it.secs), Some(1_767_225_600));
        assert_eq!(found.valid_until.map(|it| it.secs), Some(1_798_761_600));
        assert_eq!((found.confidence, found.is_revoked), (Some(80), false));
        assert_eq!(found.types, ["malicious-activity"]);
        assert_eq!(found.phases, [("mitre-attack".into(), "command-and-control".into())]);
        assert_eq!(Tlp::well_known(&found.markings[0]), Some(Tlp::Green));
        assert!(!found.is_benign());
    }

    #[test]
    fn an_indicator_of_stix_2_0_is_typed_by_its_labels() {
        let old = r#"{"type":"indicator","id":"indicator--1","created":"2018-01-01T00:00:00Z",
            "modified":"2018-01-01T00:00:00Z","labels":["benign"],
            "pattern":"[url:value = 'http://a.example/']","valid_from":"2018-01-01T00:00:00Z"}"#;
        let Ok(Object::Indicator(found)) = Object::parse(old) else { panic!("no indicator") };
        assert!(found.is_benign());
    }

    #[test]
    fn what_is_taken_back_needs_no_pattern_that_can_be_read() {
        let mut object = example();
        object["revoked"] = true.into();
        object["pattern"] = "[process:pid = 5]".into();
        let Ok(Object::Indicator(found)) = Object::parse(&object.to_string()) else {
            panic!("no indicator")
        };
        assert!(found.is_revoked && found.signs.signs.is_empty());
    }

    #[test]
    fn an_object_that_is_not_used_says_why() {
        let cases = [
            ("type", json!("identity"), Skip::Malformed),
            ("id", json!("malware--1"), Skip::Malformed),
            ("id", json!(5), Skip::Malformed),
            ("modified", json!("yesterday"), Skip::Malformed),
            ("valid_until", json!("never"), Skip::Malformed),
            ("confidence", json!(101), Skip::Malformed),
            ("confidence", json!(-1), Skip::Malformed),
            ("confidence", json!("high"), Skip::Malformed),
            ("pattern", json!(null), Skip::Malformed),
            ("pattern_type", json!("snort"), Skip::PatternType),
            ("pattern", json!("[process:pid = 5]"), Skip::Pattern(Unsupported::Property)),
            ("kill_chain_phases", json!([{}]), Skip::Malformed),
        ];
        for (name, value, expected) in cases {
            assert_eq!(why(with(name, value.clone())), Some(expected), "{name}: {value}");
        }
        let identity = r#"{"type":"identity","id":"identity--1"}"#;
        assert_eq!(Object::parse(identity), Err(Skip::Kind));
        assert_eq!(Object::parse("[]"), Err(Skip::Malformed));
    }

    #[test]
    fn what_is_behind_an_indicator_is_named() {
        let pattern = r#"{"type":"attack-pattern","id":"attack-pattern--1","name":"Phishing",
            "created":"2020-01-01T00:00:00Z","external_references":[
            {"source_name":"capec","external_id":"CAPEC-163"},
            {"source_name":"mitre-attack","external_id":"T1566"}]}"#;
        let Ok(Object::Entity(found)) = Object::parse(pattern) else { panic!("no entity") };
        assert_eq!(found.kind, EntityKind::AttackPattern);
        assert_eq!(found.technique.as_deref(), Some("T1566"));
        let link = r#"{"type":"relationship","id":"relationship--1","relationship_type":"VERB",
            "created":"2020-01-01T00:00:00Z","source_ref":"a","target_ref":"b"}"#;
        let Ok(Object::Link(found)) = Object::parse(&link.replace("VERB", "indicates")) else {
            panic!("no link")
        };
        assert_eq!((found.verb, &*found.source, &*found.target), (Verb::Indicates, "a", "b"));
        let other = Object::parse(&link.replace("VERB", "derived-from"));
        assert_eq!(why(other), Some(Skip::Relationship));
    }

    #[test]
    fn a_marking_is_known_by_id_definition_or_name() {
        let marking = |id: &str, rest: &str| {
            let text = format!(r#"{{"type":"marking-definition","id":"{id}"{rest}}}"#);
            Object::parse(&text).map(|object| match object {
                Object::Marking(_, tlp) => tlp,
                other => panic!("{other:?}"),
            })
        };
        let red = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";
        let own = "marking-definition--1";
        assert_eq!(marking(red, ""), Ok(Some(Tlp::Red)));
        assert_eq!(marking(own, r#","definition":{"tlp":"amber"}"#), Ok(Some(Tlp::Amber)));
        assert_eq!(marking(own, r#","name":"TLP:AMBER+STRICT""#), Ok(Some(Tlp::AmberStrict)));
        assert_eq!(marking(own, r#","definition":{"statement":"(c)"}"#), Ok(None));
        assert_eq!(marking(own, r#","definition":{"tlp":"purple"}"#), Err(Skip::Marking));
        assert_eq!(marking(own, r#","name":"ACS""#), Err(Skip::Marking));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let Ok(Object::Indicator(found)) = with("name", "\u{e4}".repeat(600).into()) else {
            panic!("no indicator")
        };
        assert_eq!(found.name.map(|name| name.len()), Some(TEXT_BYTES_MAX));
        let Ok(Object::Indicator(found)) = with("labels", json!(vec!["x"; 99])) else {
            panic!("no indicator")
        };
        assert_eq!(found.types, ["malicious-activity"]);
    }

    proptest! {
        #[test]
        fn any_member_may_be_wrong(
            name in "(type|id|modified|name|pattern|confidence|labels|kill_chain_phases|revoked)",
            value in "(null|true|7|-1|1e400|\"\"|\"\\\\ud800\"|\\[\\]|\\{\\}|\\[\\{\\}\\]|\"[a-z]{0,9}\")",
        ) {
            let text = example().to_string();
            let text = format!("{},\"{name}\":{value}}}", &text[..text.len() - 1]);
            if let Ok(Object::Indicator(found)) = Object::parse(&text) {
                prop_assert!(found.confidence.is_none_or(|it| it <= 100));
            }
        }
    }
}
