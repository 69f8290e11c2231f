//! Privacy: what of an event nobody downstream may see.
//!
//! Rules apply once, where a record is opened. An event that a rule changes is written anew into
//! the arena, value by value, and its record is out of reach from then on; one that no rule
//! concerns keeps its places in the record. Intake, and the log, keep originals.

mod change;
mod literals;
mod marks;
mod path;
mod pattern;
mod sweep;
mod walk;

use std::fmt;

use hmac::{Hmac, Mac as _};
use memchr::memmem;
use sha2::Sha256;
use zeroize::Zeroizing;

use self::change::{Change, Op};
use self::path::{ESSENTIAL, NO_TEXTS, REQUIRED_TEXTS, Step, Target};
pub(super) use self::pattern::Gates;
use self::pattern::Patterns;
use super::{Event, FieldId as F, Opened};

pub use path::{PathProblem, privacy_paths};
pub use pattern::{Needs, PatternRule};

/// What an operator writes about privacy.
#[derive(Clone, Debug, PartialEq)]
pub struct PrivacyRules {
    /// If there are any, optional fields that are not listed go.
    pub allow: Vec<String>,
    /// Paths that are removed.
    pub deny: Vec<String>,
    /// Paths whose value is replaced.
    pub redact: Vec<String>,
    /// Paths of which the last four characters stay.
    pub mask: Vec<String>,
    /// Paths whose value becomes its keyed hash.
    pub hash: Vec<String>,
    /// The key of those hashes.
    pub salt: Option<Salt>,
    /// Whether all of the metadata goes, but for our own remarks.
    pub drop_metadata: bool,
    /// Whether all labels go.
    pub drop_labels: bool,
    /// Whether bulky content in the metadata goes: previews of bodies, of files, of tools.
    pub drop_previews: bool,
    /// What is looked for in every text.
    pub patterns: Vec<PatternRule>,
    /// What stands where something was.
    pub replacement: String,
}

impl Default for PrivacyRules {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            redact: Vec::new(),
            mask: Vec::new(),
            hash: Vec::new(),
            salt: None,
            drop_metadata: false,
            drop_labels: false,
            drop_previews: false,
            patterns: Vec::new(),
            replacement: "[REDACTED]".to_owned(),
        }
    }
}

/// The key of hashes; never shown, and wiped when dropped.
#[derive(Clone, PartialEq)]
pub struct Salt(Zeroizing<Vec<u8>>);

impl Salt {
    /// The key with these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The list that a rule stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivacyList {
    /// [`PrivacyRules::allow`].
    Allow,
    /// [`PrivacyRules::deny`].
    Deny,
    /// [`PrivacyRules::redact`].
    Redact,
    /// [`PrivacyRules::mask`].
    Mask,
    /// [`PrivacyRules::hash`].
    Hash,
}

/// A rule that cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivacyError {
    /// A path names no field that could be changed.
    #[error("`{path}` {}", said(*.problem))]
    Path {
        /// The list.
        list: PrivacyList,
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// A list has too many paths into metadata and labels.
    #[error("more than {OPEN_RULES_MAX} paths into metadata and labels; use `*` or fewer")]
    TooMany,
    /// Hashes need a key.
    #[error("hashes without a salt can be guessed; set one, such as `${{file:/path}}`")]
    NoSalt,
    /// A pattern is wrong.
    #[error("pattern `{name}`: {problem}")]
    Pattern {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

fn said(problem: PathProblem) -> &'static str {
    match problem {
        PathProblem::Unknown => "is no field of an event",
        PathProblem::Essential => {
            "cannot be changed: events are identified, ordered and judged by it"
        }
    }
}

/// Compiled rules.
#[derive(Debug)]
pub struct Privacy {
    /// What happens to each field.
    fields: [Option<Op>; F::COUNT],
    /// The fields with something in there, by [`F::bit`].
    touched: u64,
    /// Those that a rule names; the others are only not allowed, which says nothing of copies.
    named: u64,
    /// Paths into metadata.
    metadata: Open,
    /// Paths to labels.
    labels: Open,
    /// Paths into our remarks: those into metadata that lead there, and those of the fields, whose
    /// source is kept in there where it was of another type.
    remarks: Open,
    /// Whether bulky content goes.
    drops_previews: bool,
    patterns: Patterns,
    /// What stands where something was.
    replacement: Vec<u8>,
    /// The same as JSON.
    replacement_json: Vec<u8>,
    /// The key of hashes, taken in already.
    key: Option<Hmac<Sha256>>,
    /// What it was compiled from.
    rules: PrivacyRules,
}

impl PartialEq for Privacy {
    /// The same rules do the same.
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

/// Rules about what is inside an object.
#[derive(Debug, Default)]
struct Open {
    rules: Vec<OpenRule>,
    /// Whether only what a rule allows stays.
    is_restricted: bool,
}

#[derive(Clone, Debug)]
struct OpenRule {
    steps: Vec<Step>,
    /// What happens there; `None` is that it stays.
    op: Option<Op>,
    /// Whether it is about the source of a field: what stands in place of an object around it is
    /// what it names too.
    is_of_source: bool,
}

/// Paths into metadata, or to labels, of one set of rules: a set of them is a mask.
const OPEN_RULES_MAX: usize = 128;

impl Privacy {
    /// Compiles rules; `None` when they change nothing.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn compile(rules: &PrivacyRules) -> Result<Option<Self>, Vec<PrivacyError>> {
        let mut wrong = Vec::new();
        let mut replacement_json = Vec::new();
        super::rewrite::quote(rules.replacement.as_bytes(), &mut replacement_json);
        let patterns = Patterns::compile(&rules.patterns, &rules.replacement);
        let patterns = patterns.unwrap_or_else(|bad| {
            let told = |(name, problem)| PrivacyError::Pattern { name, problem };
            wrong.extend(bad.into_iter().map(told));
            Patterns::default()
        });
        let key = rules.salt.as_ref().map(|salt| {
            Hmac::<Sha256>::new_from_slice(&salt.0).expect("a key may have any length")
        });
        if key.is_none() && !rules.hash.is_empty() {
            wrong.push(PrivacyError::NoSalt);
        }
        let mut privacy = Self {
            fields: [None; F::COUNT],
            touched: 0,
            named: 0,
            metadata: Open::default(),
            labels: Open::default(),
            remarks: Open::default(),
            drops_previews: rules.drop_previews,
            patterns,
            replacement: rules.replacement.as_bytes().to_vec(),
            replacement_json,
            key,
            rules: rules.clone(),
        };
        for (list, paths, op) in [
            (PrivacyList::Mask, &rules.mask, Op::Mask),
            (PrivacyList::Hash, &rules.hash, Op::Hash),
            (PrivacyList::Redact, &rules.redact, Op::Redact),
            (PrivacyList::Deny, &rules.deny, Op::Remove),
        ] {
            for target in targets(list, paths, &mut wrong) {
                privacy.add(target, op);
            }
        }
        privacy
            .allow(targets(PrivacyList::Allow, &rules.allow, &mut wrong), !rules.allow.is_empty());
        for (is_dropped, id) in [(rules.drop_metadata, F::Metadata), (rules.drop_labels, F::Labels)]
        {
            if is_dropped {
                privacy.add(Target::Field(id), Op::Remove);
                privacy.add(Target::Source(path::of(id)), Op::Remove);
            }
        }
        privacy.remark();
        let opens = [&privacy.metadata, &privacy.labels, &privacy.remarks];
        if opens.iter().any(|open| open.rules.len() > OPEN_RULES_MAX) {
            wrong.push(PrivacyError::TooMany);
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let has_paths =
            privacy.touched != 0 || privacy.metadata.is_any() || privacy.labels.is_any();
        let is_any = has_paths || rules.drop_previews || !rules.patterns.is_empty();
        Ok(is_any.then_some(privacy))
    }

    /// Adds what happens at a target; the stronger of two holds.
    fn add(&mut self, target: Target, op: Op) {
        match target {
            Target::Field(id) => {
                let op = match op {
                    _ if NO_TEXTS & id.bit() != 0 => Op::Remove,
                    Op::Remove if REQUIRED_TEXTS & id.bit() != 0 => Op::Redact,
                    op => op,
                };
                let field = &mut self.fields[id as usize];
                *field = (*field).max(Some(op));
                self.touched |= id.bit();
                self.named |= id.bit();
            }
            Target::Metadata(steps) => self.metadata.add(steps, Some(op)),
            Target::Label(step) => self.labels.add(vec![step], Some(op)),
            Target::Source(steps) => self.remarks.add(steps, Some(op)),
        }
    }

    /// Completes the rules about our remarks.
    fn remark(&mut self) {
        for rule in &mut self.remarks.rules {
            rule.steps.insert(0, Step::Key(b"shrike".to_vec()));
            rule.steps.insert(1, Step::Key(b"source".to_vec()));
            rule.is_of_source = true;
        }
        let leads_there = |rule: &&OpenRule| match rule.steps.first() {
            Some(Step::Key(name)) => name == b"shrike",
            Some(Step::Any) => true,
            _ => false,
        };
        let open = &self.metadata;
        self.remarks.rules.extend(open.rules.iter().filter(leads_there).cloned());
        self.remarks.is_restricted = open.is_restricted;
    }

    /// Removes optional fields that are not allowed.
    fn allow(&mut self, allowed: Vec<Target>, is_restricted: bool) {
        if !is_restricted {
            return;
        }
        let mut fields = REQUIRED_TEXTS | ESSENTIAL | path::DERIVED | F::Shrike.bit();
        for target in allowed {
            match target {
                Target::Field(id) => fields |= id.bit(),
                Target::Metadata(steps) => self.metadata.permit(steps),
                Target::Label(step) => self.labels.permit(vec![step]),
                // It is metadata, which is allowed by its own name.
                Target::Source(_) => {}
            }
        }
        if fields & F::IndicatorValue.bit() != 0 {
            // One half of an indicator says nothing without the other.
            fields |= F::IndicatorType.bit();
        }
        for (id, open) in [(F::Metadata, &mut self.metadata), (F::Labels, &mut self.labels)] {
            if fields & id.bit() != 0 {
                // All of it is allowed, so that nothing in it has to be.
                open.is_restricted = false;
            } else if open.is_restricted {
                fields |= id.bit();
            }
        }
        for &id in F::ALL.iter().filter(|id| fields & id.bit() == 0) {
            self.fields[id as usize] = Some(Op::Remove);
            self.touched |= id.bit();
            self.remarks.add(path::of(id), Some(Op::Remove));
        }
        if self.labels.is_restricted {
            self.remarks.add(path::of(F::Labels), Some(Op::Remove));
        }
    }

    /// The event as these rules let it be seen, its values in `out` and its places relative to it;
    /// `None` where they change nothing.
    pub(super) fn changed(
        &self,
        event: &Event<'_>,
        gates: Gates,
        out: &mut Vec<u8>,
    ) -> Option<Opened> {
        Change::new(self, event, gates, out).run()
    }

    /// Whether a rule about a path may concern the event.
    fn has_paths_in(&self, event: &Event<'_>) -> bool {
        let has = |id: F| event.has(id);
        let mut rest = self.touched;
        while rest != 0 {
            if event.opened.places[rest.trailing_zeros() as usize].is_present() {
                return true;
            }
            rest &= rest - 1;
        }
        let drops_metadata = self.touched & F::Metadata.bit() != 0;
        (self.metadata.is_any() && (has(F::Metadata) || has(F::Shrike)))
            || (drops_metadata && has(F::Shrike))
            || (self.remarks.is_any() && keeps_source(event))
            || (self.labels.is_any() && has(F::Labels))
    }

    /// Which patterns an event has to be searched for, where any rule may concern it: for most
    /// events there is none.
    #[inline]
    pub(super) fn concern(&self, event: &Event<'_>) -> Option<Gates> {
        let gates = self.patterns.concern(event);
        let may_preview = self.drops_previews && event.opened.may_preview;
        let is_any = gates != Gates::NONE || may_preview || self.has_paths_in(event);
        is_any.then_some(gates)
    }

    /// The event for a destination that sees less than others, in `room`; as it is where nothing
    /// changes.
    #[must_use]
    pub fn narrowed<'a>(&self, event: Event<'a>, room: &'a mut Narrowed) -> Event<'a> {
        let Some(gates) = self.concern(&event) else { return event };
        room.arena.clear();
        let Some(opened) = self.changed(&event, gates, &mut room.arena) else { return event };
        room.opened = opened.moved_to_arena(0);
        Event::new(&room.opened, event.frame, &[], &room.arena)
    }
}

/// Room for an event as one destination sees it.
#[derive(Debug, Default)]
pub struct Narrowed {
    opened: Opened,
    arena: Vec<u8>,
}

impl Open {
    fn is_any(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Adds what happens at the end of a path, where it is not the path of another rule; the
    /// stronger of two holds.
    fn add(&mut self, steps: Vec<Step>, op: Option<Op>) {
        match self.rules.iter_mut().find(|rule| rule.steps == steps) {
            Some(rule) => rule.op = rule.op.max(op),
            None => self.rules.push(OpenRule { steps, op, is_of_source: false }),
        }
    }

    fn permit(&mut self, steps: Vec<Step>) {
        self.is_restricted = true;
        self.rules.push(OpenRule { steps, op: None, is_of_source: false });
    }
}

/// Whether our remarks may keep something of the event's source.
fn keeps_source(event: &Event<'_>) -> bool {
    let remarks = event.value(F::Shrike);
    remarks.is_some_and(|it| it.escaped || memmem::find(it.json, b"\"source\"").is_some())
}

/// What the paths of a list name.
fn targets(list: PrivacyList, paths: &[String], wrong: &mut Vec<PrivacyError>) -> Vec<Target> {
    let mut targets = Vec::new();
    for path in paths {
        match path::parse(path) {
            Ok(found) => targets.extend(found),
            // What stays anyway may be listed.
            Err(PathProblem::Essential) if list == PrivacyList::Allow => {}
            Err(problem) => wrong.push(PrivacyError::Path { list, path: path.clone(), problem }),
        }
    }
    targets
}
