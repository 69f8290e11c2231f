//! What opening adds to an event: constants, and the ATT&CK table.

use super::{FieldId as F, Opened, Place, rewrite};

/// A text known at start-up, at the same place in every block's arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constant {
    pub place: Place,
    pub escaped: bool,
}

impl Constant {
    /// Makes it the value of a field.
    pub(super) fn put(self, id: F, out: &mut Opened) {
        out.places[id as usize] = self.place;
        out.escaped &= !id.bit();
        out.escaped |= u64::from(self.escaped) << id as u8;
    }
}

/// The texts known at start-up, in the order in which each arena begins with them.
#[derive(Debug, Default)]
pub(super) struct Constants {
    /// The bytes that an arena begins with.
    pub bytes: Vec<u8>,
}

impl Constants {
    /// Adds a text as a JSON string.
    pub(super) fn text(&mut self, text: &str) -> Constant {
        let mut json = Vec::new();
        rewrite::quote(text.as_bytes(), &mut json);
        self.json(&json)
    }

    /// Adds a JSON text.
    pub(super) fn json(&mut self, json: &[u8]) -> Constant {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(json);
        let place = rewrite::appended(&self.bytes, start);
        Constant { place, escaped: json.contains(&b'\\') }
    }
}

/// A row of the ATT&CK table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Technique {
    /// A guard or an event type.
    pub key: String,
    /// The tactic, id or name.
    pub tactic: Option<String>,
    /// The technique, id or name.
    pub technique: Option<String>,
}

/// The ATT&CK table with its texts placed.
#[derive(Debug)]
pub(super) struct Techniques(Vec<Row>);

#[derive(Debug)]
struct Row {
    /// The key as the text of a JSON string.
    key: Vec<u8>,
    tactic_text: Vec<u8>,
    tactic: Option<Constant>,
    technique: Option<Constant>,
}

impl Techniques {
    /// The operator's rows and, for keys that have none, the built-in ones.
    pub(super) fn new(rows: &[Technique], constants: &mut Constants) -> Self {
        let own = rows
            .iter()
            .map(|row| (row.key.as_str(), row.tactic.as_deref(), row.technique.as_deref()));
        let mut all: Vec<_> = own.collect();
        for &(key, tactic, technique) in BUILT_IN {
            if all.iter().all(|row| row.0 != key) {
                all.push((key, tactic, Some(technique)));
            }
        }
        let place = |text: Option<&str>, constants: &mut Constants| {
            text.filter(|text| !text.is_empty()).map(|text| constants.text(text))
        };
        let rows = all.into_iter().map(|(key, tactic, technique)| {
            let mut quoted = Vec::new();
            rewrite::quote(key.as_bytes(), &mut quoted);
            Row {
                key: quoted[1..quoted.len() - 1].to_vec(),
                tactic_text: tactic.unwrap_or("").as_bytes().to_vec(),
                tactic: place(tactic, constants),
                technique: place(technique, constants),
            }
        });
        Self(rows.collect())
    }

    /// Adds what the table knows of a guard, else of an event type. A value of the producer is
    /// never overwritten, and a technique joins only the tactic that it belongs to.
    #[inline]
    pub(super) fn apply(
        &self,
        guard: &[u8],
        event_type: &[u8],
        tactic: Option<&[u8]>,
        out: &mut Opened,
    ) {
        let find = |word: &[u8]| self.0.iter().find(|row| row.key == word);
        let Some(row) = find(guard).or_else(|| find(event_type)) else { return };
        match (tactic, row.tactic) {
            (Some(given), _) if given != row.tactic_text => return,
            (None, Some(constant)) => constant.put(F::Tactic, out),
            _ => {}
        }
        if let Some(constant) = row.technique {
            constant.put(F::Technique, out);
        }
    }
}

/// Guards and their usual meaning (`canonical-event.md`, Enrichment 3): key, tactic, technique.
const BUILT_IN: &[(&str, Option<&str>, &str)] = &[
    ("secret_leak", Some("TA0010"), "T1048"),
    ("forbidden_path", Some("TA0006"), "T1552"),
    ("egress_allowlist", Some("TA0011"), "T1071"),
    ("threat_intel", Some("TA0011"), "T1071"),
    ("patch_integrity", Some("TA0003"), "T1554"),
    ("mcp_tool", Some("TA0002"), "T1059"),
    ("prompt_injection", None, "AML.T0051"),
];
