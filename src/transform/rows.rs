//! The rows of a schema as the operator wants them, grouped into objects.

use super::pattern::{self, Piece};
use super::plan::{Op, PlanError};
use super::schema::{
    Clean, Derive, Extract, Field, Layout, Overrides, Pick, Pieces, Schema, Source, Write,
};
use super::write;
use crate::event::FieldId;

/// Applies what the operator changes to the schemas of a chain.
pub(super) struct Rows<'c> {
    chain: &'c [&'static Schema],
    overrides: &'c Overrides,
    hidden: Hidden,
    /// Hidden fields that nothing reads, by [`FieldId::bit`].
    unread: u64,
}

/// Which rows are asked for.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) schema: &'static Schema,
    /// Place in the chain; `None` for the raw document beside it.
    pub(super) level: Option<usize>,
    /// The chosen case.
    pub(super) case: usize,
}

/// A row on its way into a program.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) key: String,
    pub(super) source: Planning,
    /// Characters at most, 0 for no limit.
    pub(super) max: u16,
    /// Whether an override made it.
    added: bool,
}

/// A source with its texts found and its placeholders parsed.
#[derive(Clone, Debug)]
pub(super) enum Planning {
    Event(FieldId, Write),
    Derived(&'static [FieldId], Derive),
    Part(&'static [FieldId], Derive),
    Extracted(&'static [FieldId], Extract),
    Listed(&'static [FieldId], Extract),
    OneOf(&'static [FieldId], Pick, &'static [&'static str]),
    OneText(&'static [FieldId], Pick, Vec<String>),
    Constant(&'static str),
    With(&'static [FieldId], &'static str),
    Text(String),
    Json(String),
    Continued(String, &'static [FieldId], Derive),
    Pattern(Vec<Piece>, &'static Clean),
    Also(&'static Schema),
    Doc,
    DocText,
    DocInside(Vec<Vec<u8>>),
    /// The native document as text (`include_raw`).
    Raw,
}

impl Planned {
    /// Fields that it is made from.
    fn fields(&self) -> &[FieldId] {
        match &self.source {
            Planning::Event(field, _) => std::slice::from_ref(field),
            Planning::Derived(fields, _)
            | Planning::Part(fields, _)
            | Planning::Extracted(fields, _)
            | Planning::Listed(fields, _)
            | Planning::With(fields, _)
            | Planning::Continued(_, fields, _)
            | Planning::OneText(fields, ..)
            | Planning::OneOf(fields, ..) => fields,
            _ => &[],
        }
    }

    /// Fields of which one must be there, as bits; every bit for a row that needs none.
    pub(super) fn bits(&self) -> u64 {
        match (&self.source, self.fields()) {
            (
                Planning::Derived(..)
                | Planning::Continued(..)
                | Planning::OneOf(..)
                | Planning::OneText(..),
                _,
            )
            | (_, []) => Op::ANY,
            (_, fields) => fields.iter().fold(0, |bits, field| bits | field.bit()),
        }
    }

    /// Whether the row is written for every event.
    pub(super) fn always(&self) -> bool {
        matches!(
            self.source,
            Planning::Constant(_)
                | Planning::Text(_)
                | Planning::Json(_)
                | Planning::Also(_)
                | Planning::Doc
                | Planning::DocText
                | Planning::DocInside(_)
                | Planning::Raw
        )
    }

    /// Whether it accompanies this field alone.
    fn accompanies(&self, field: FieldId) -> bool {
        matches!(self.source, Planning::With(fields, _) if fields == [field])
    }

    /// Whether it only keeps its parent.
    pub(super) fn keeps(&self) -> bool {
        matches!(self.source, Planning::Constant(_)) && self.key.ends_with(".*")
    }
}

/// Rows grouped into objects.
#[derive(Debug)]
pub(super) enum Node {
    Row(Planned),
    Object(String, Vec<Node>),
}

impl Node {
    /// Fields of which one must be there for anything to be written.
    pub(super) fn fields(&self) -> u64 {
        match self {
            Self::Row(row) if row.keeps() => 0,
            Self::Row(row) => row.bits(),
            Self::Object(_, nodes) => nodes.iter().fold(0, |bits, node| bits | node.fields()),
        }
    }

    /// Whether the object stands even when it is empty.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Self::Row(_) => false,
            Self::Object(_, nodes) => {
                nodes.iter().any(|node| matches!(node, Self::Row(row) if row.keeps()))
            }
        }
    }

    /// Whether it is nothing but a keeper of its parent.
    fn is_keeper(&self) -> bool {
        matches!(self, Self::Row(row) if row.keeps())
    }
}

impl<'c> Rows<'c> {
    pub(super) fn new(
        chain: &'c [&'static Schema],
        overrides: &'c Overrides,
    ) -> Result<Self, PlanError> {
        check_parts(overrides)?;
        let mut rows = Self { chain, overrides, hidden: Hidden::new(overrides), unread: 0 };
        rows.unread = rows.find_unread()?;
        Ok(rows)
    }

    /// Hidden fields that nothing reads, by [`FieldId::bit`].
    pub(super) fn unread(&self) -> u64 {
        self.unread
    }

    /// The rows of a document, grouped into objects where its syntax nests.
    pub(super) fn nodes(&self, place: Place) -> Result<Vec<Node>, PlanError> {
        let rows = self.rows(place)?;
        let (schema, nests) = (place.schema.name, place.schema.syntax.nests);
        let mut nodes = Vec::new();
        for row in rows {
            let key = row.key.clone();
            if !(place.schema.syntax.is_key)(&key) {
                let expected = place.schema.syntax.keys;
                return Err(PlanError::Key { schema, key, expected });
            }
            if nests {
                insert(&mut nodes, &key, row, schema)?;
            } else if nodes.iter().any(|node| matches!(node, Node::Row(row) if row.key == key)) {
                return Err(PlanError::Twice { schema, key });
            } else {
                nodes.push(Node::Row(row));
            }
        }
        prune(&mut nodes);
        Ok(nodes)
    }

    fn rows(&self, place: Place) -> Result<Vec<Planned>, PlanError> {
        let Place { schema, case, .. } = place;
        let mut rows = self.declared(schema, case)?;
        let Some(level) = place.level else {
            self.hide(&mut rows, self.hidden.document, &[]);
            return Ok(rows);
        };
        self.hide(&mut rows, self.hidden_at(level), schema.required);
        if level == 0 {
            self.omit(&mut rows, schema)?;
        }
        self.yield_to_document(&mut rows, schema, level);
        if level + 1 == self.chain.len() {
            self.map(&mut rows, schema)?;
            self.add(&mut rows, schema);
        }
        self.check_required(&rows, schema)?;
        Ok(rows)
    }

    /// The rows as the schema declares them, texts found and patterns parsed.
    fn declared(&self, schema: &'static Schema, case: usize) -> Result<Vec<Planned>, PlanError> {
        let (shared, own): (&[Field], &[Field]) = match schema.layout {
            Layout::Table(rows) => (rows, &[]),
            Layout::Cases { shared, cases, .. } => {
                (shared, cases.get(case).copied().unwrap_or_default())
            }
            Layout::Template(_) => (&[], &[]),
        };
        let mut rows = Vec::new();
        for field in shared.iter().chain(own) {
            if let Some(source) = self.planning(field.source)? {
                let key = field.key.to_owned();
                rows.push(Planned { key, source, max: field.max, added: false });
            }
        }
        Ok(rows)
    }

    fn planning(&self, source: Source) -> Result<Option<Planning>, PlanError> {
        Ok(Some(match source {
            Source::Event(field, write) => Planning::Event(field, write),
            Source::Derived(fields, derive) => Planning::Derived(fields, derive),
            Source::Constant(json) => Planning::Constant(json),
            Source::Part(fields, derive) => Planning::Part(fields, derive),
            Source::Extracted(fields, extract) => Planning::Extracted(fields, extract),
            Source::Listed(fields, extract) => Planning::Listed(fields, extract),
            Source::Continued(names, fields, derive) => {
                let text = names.iter().filter_map(|name| self.text(name)).collect();
                Planning::Continued(text, fields, derive)
            }
            Source::OneOf(fields, pick, texts) => Planning::OneOf(fields, pick, texts),
            Source::With(fields, json) => Planning::With(fields, json),
            Source::Option(name) => match self.text(name) {
                Some(text) => Planning::Text(text.to_owned()),
                None => return Ok(None),
            },
            Source::OptionJson(name) => match self.text(name) {
                Some(json) => Planning::Json(json.to_owned()),
                None => return Ok(None),
            },
            Source::OptionOr(name, or) => Planning::Text(self.text(name).unwrap_or(or).to_owned()),
            Source::Pattern(name, clean) => match self.text(name) {
                Some(text) => Planning::Pattern(self.parse(name, text)?, clean),
                None => return Ok(None),
            },
            Source::OneOption(fields, pick, names) => {
                let text = |name: &&str| self.text(name).unwrap_or_default().to_owned();
                Planning::OneText(fields, pick, names.iter().map(text).collect())
            }
            Source::Also(schema) => Planning::Also(schema),
            Source::AlsoWhen(name, schema) => match self.text(name) {
                Some(_) => Planning::Also(schema),
                None => return Ok(None),
            },
            Source::Doc => Planning::Doc,
            Source::DocText => Planning::DocText,
            Source::DocInside(Pieces::Around) => Planning::DocInside(self.overrides.around.clone()),
            Source::DocInside(Pieces::Tags(tags)) => {
                Planning::DocInside(tags.iter().map(|tag| tag.as_bytes().to_vec()).collect())
            }
            Source::When(name, json) => match self.text(name) {
                Some(_) => Planning::Constant(json),
                None => return Ok(None),
            },
        }))
    }

    fn text(&self, name: &str) -> Option<&str> {
        let found = self.overrides.texts.iter().find(|(known, _)| known == name);
        found.map(|(_, text)| text.as_str()).filter(|text| !text.is_empty())
    }

    /// Takes out rows whose fields are hidden.
    ///
    /// A row made from several fields stays while one of them is left, when the others can be kept
    /// from it.
    fn hide(&self, rows: &mut Vec<Planned>, hidden: u64, required: &[&str]) {
        rows.retain(|row| {
            let fields = row.fields();
            if fields.is_empty() || required.contains(&row.key.as_str()) {
                return true;
            }
            let some_left = fields.iter().any(|field| hidden & field.bit() == 0);
            let unreadable =
                |field: &FieldId| hidden & field.bit() == 0 || self.unread & field.bit() != 0;
            some_left && fields.iter().all(unreadable)
        });
    }

    /// Takes out the keys to leave out, and all inside them.
    fn omit(&self, rows: &mut Vec<Planned>, schema: &'static Schema) -> Result<(), PlanError> {
        let declared = keys(schema);
        for omit in &self.overrides.omit {
            if !declared.iter().any(|key| is_within(key, omit)) {
                let near = super::nearest(omit, declared.iter().copied());
                let hint =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(PlanError::Omit { key: omit.clone(), hint });
            }
            rows.retain(|row| !is_within(&row.key, omit));
        }
        Ok(())
    }

    /// Takes out the rows whose names the document has at its top.
    fn yield_to_document(&self, rows: &mut Vec<Planned>, schema: &'static Schema, level: usize) {
        let inner = self.chain.get(level + 1).filter(|inner| inner.syntax.nests);
        let Some(inner) = inner.filter(|_| !schema.yields.is_empty()) else { return };
        let mut taken = keys(inner);
        taken.extend(self.overrides.mappings.iter().map(|(_, target)| target.as_str()));
        rows.retain(|row| {
            row.key.strip_prefix(schema.yields).is_none_or(|name| !taken.contains(&name))
        });
    }

    /// Gives the first row of each mapped field its new key; a field without a row gets one.
    fn map(&self, rows: &mut Vec<Planned>, schema: &'static Schema) -> Result<(), PlanError> {
        for (field, target) in &self.overrides.mappings {
            if (schema.is_labelled)(target) {
                let expected = "a key that needs no label beside it";
                return Err(PlanError::Key { schema: schema.name, key: target.clone(), expected });
            }
            let direct =
                |row: &Planned| matches!(row.source, Planning::Event(id, _) if id == *field);
            let first = |row: &Planned| row.fields().first() == Some(field);
            let at = rows.iter().position(direct).or_else(|| rows.iter().position(first));
            let hidden = self.hidden.document & field.bit() != 0;
            match at {
                Some(at) => {
                    let members = rows[at].key.ends_with(".*");
                    let suffix = if members { ".*" } else { "" };
                    rows[at].key = format!("{target}{suffix}");
                    rows[at].added = true;
                    rows.retain(|row| !row.accompanies(*field));
                }
                None if hidden => {}
                None => rows.push(Planned {
                    key: target.clone(),
                    source: Planning::Event(*field, write::value),
                    max: 0,
                    added: true,
                }),
            }
        }
        Ok(())
    }

    fn add(&self, rows: &mut Vec<Planned>, schema: &'static Schema) {
        for (key, text) in &self.overrides.add {
            let source = Planning::Text(text.clone());
            rows.push(Planned { key: key.clone(), source, max: 0, added: true });
        }
        if let (Some(key), Some(_)) = (schema.raw, self.overrides.raw) {
            let source = Planning::Raw;
            rows.push(Planned { key: key.to_owned(), source, max: 0, added: true });
        }
    }

    fn check_required(&self, rows: &[Planned], schema: &'static Schema) -> Result<(), PlanError> {
        for &key in schema.required {
            if !rows.iter().any(|row| row.key == key) {
                return Err(PlanError::Required {
                    schema: schema.name,
                    key,
                    cause: self.cause(key),
                });
            }
        }
        Ok(())
    }

    /// Which override takes a required key away.
    fn cause(&self, key: &str) -> String {
        if self.overrides.omit.iter().any(|omit| key.starts_with(omit.as_str())) {
            return "leaving it out".to_owned();
        }
        let mappings = &self.overrides.mappings;
        let targets: Vec<_> =
            mappings.iter().map(|(field, to)| format!("`{}: {to}`", field.path())).collect();
        format!("a mapping ({})", targets.join(", "))
    }

    /// The names that overrides put beside the members of this row, sorted.
    pub(super) fn taken(&self, row: &Planned, place: Place) -> Result<Vec<String>, PlanError> {
        let parent = row.key.trim_end_matches('*');
        let rows = self.rows(place)?;
        let added = rows.iter().filter(|other| other.added);
        let mut names: Vec<String> = added
            .filter_map(|other| other.key.strip_prefix(parent))
            .filter_map(|rest| rest.split('.').next())
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Parses a text with placeholders; `name` says where it stands.
    pub(super) fn parse(&self, name: &str, text: &str) -> Result<Vec<Piece>, PlanError> {
        pattern::parse(text, &self.overrides.texts).map_err(|error| PlanError::Pattern {
            name: name.to_owned(),
            at: error.at,
            problem: error.problem,
        })
    }

    /// Hidden fields that no remaining row needs, so that nothing has to read them.
    fn find_unread(&self) -> Result<u64, PlanError> {
        let mut read = 0;
        for (level, schema) in self.chain.iter().enumerate() {
            for case in 0..cases(schema) {
                let rows = self.declared(schema, case)?;
                let hidden = self.hidden_at(level);
                for row in rows {
                    let required = schema.required.contains(&row.key.as_str());
                    let stays = row.fields().iter().any(|field| hidden & field.bit() == 0);
                    if required || (stays && level + 1 < self.chain.len()) {
                        let seen = row.fields().iter().fold(0, |bits, field| bits | field.bit());
                        read |= if required { seen } else { seen & !hidden };
                    }
                }
            }
        }
        Ok((self.hidden.document | self.hidden.envelope) & !read)
    }

    fn hidden_at(&self, level: usize) -> u64 {
        if level + 1 == self.chain.len() { self.hidden.document } else { self.hidden.envelope }
    }
}

/// Fields that are not written, by [`FieldId::bit`].
#[derive(Clone, Copy, Default)]
struct Hidden {
    /// In the document.
    document: u64,
    /// In the schemas around it.
    envelope: u64,
}

impl Hidden {
    fn new(overrides: &Overrides) -> Self {
        let denied = overrides.deny.iter().fold(0, |bits, &field| bits | family(field));
        if overrides.allow.is_empty() {
            return Self { document: denied, envelope: denied };
        }
        let allowed = overrides.allow.iter().fold(0, |bits, &field| bits | family(field));
        let all = FieldId::ALL.iter().fold(0, |bits, field| bits | field.bit());
        Self { document: denied | (all & !allowed), envelope: denied | (OPTIONAL & !allowed) }
    }
}

/// The field and those inside it.
fn family(field: FieldId) -> u64 {
    let path = field.path();
    let inside =
        |id: &&FieldId| id.path().strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    FieldId::ALL.iter().filter(inside).fold(field.bit(), |bits, id| bits | id.bit())
}

/// Fields that an event need not have (`canonical-event.md`).
const OPTIONAL: u64 = {
    use FieldId as F;
    let fields = [
        F::IngestedAt,
        F::SessionUserId,
        F::SessionTenantId,
        F::SessionEnvironment,
        F::IndicatorType,
        F::IndicatorValue,
        F::Tactic,
        F::Technique,
        F::PolicyHash,
        F::Ruleset,
        F::ResourcePath,
        F::ResourceHost,
        F::ResourcePort,
        F::Metadata,
        F::Shrike,
        F::CommandLine,
        F::TraceId,
        F::SpanId,
        F::Traceparent,
        F::Labels,
    ];
    let (mut bits, mut at) = (0, 0);
    while at < fields.len() {
        bits |= fields[at].bit();
        at += 1;
    }
    bits
};

/// How many cases a schema has.
pub(super) fn cases(schema: &Schema) -> usize {
    match schema.layout {
        Layout::Cases { cases, .. } => cases.len().max(1),
        Layout::Table(_) | Layout::Template(_) => 1,
    }
}

/// Refuses to deny a part of what is copied whole.
fn check_parts(overrides: &Overrides) -> Result<(), PlanError> {
    const PARTS: [FieldId; 4] =
        [FieldId::CommandLine, FieldId::TraceId, FieldId::SpanId, FieldId::Traceparent];
    let whole = overrides.deny.contains(&FieldId::Metadata);
    let part = overrides.deny.iter().find(|field| !whole && PARTS.contains(field));
    part.map_or(Ok(()), |field| Err(PlanError::Part { field: field.path() }))
}

/// Every key of a schema.
fn keys(schema: &'static Schema) -> Vec<&'static str> {
    match schema.layout {
        Layout::Table(rows) => rows.iter().map(|row| row.key).collect(),
        Layout::Cases { shared, cases, .. } => {
            shared.iter().chain(cases.iter().copied().flatten()).map(|row| row.key).collect()
        }
        Layout::Template(_) => Vec::new(),
    }
}

/// Whether a dotted key is the other one or inside it.
fn is_within(key: &str, outer: &str) -> bool {
    key.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Puts a row where its key says, objects in the order of their first row.
fn insert(
    nodes: &mut Vec<Node>,
    key: &str,
    row: Planned,
    schema: &'static str,
) -> Result<(), PlanError> {
    let name_of = |node: &Node| match node {
        Node::Row(row) => row.key.rsplit('.').next().unwrap_or_default().to_owned(),
        Node::Object(name, _) => name.clone(),
    };
    let (name, rest) = key.split_once('.').map_or((key, None), |(name, rest)| (name, Some(rest)));
    let found = nodes.iter_mut().find(|node| name_of(node) == name && name != "*");
    match (found, rest) {
        (None, None) => nodes.push(Node::Row(row)),
        (None, Some(rest)) => {
            let mut inner = Vec::new();
            insert(&mut inner, rest, row, schema)?;
            nodes.push(Node::Object(name.to_owned(), inner));
        }
        (Some(Node::Object(_, inner)), Some(rest)) => insert(inner, rest, row, schema)?,
        (Some(Node::Row(_)), None) => return Err(PlanError::Twice { schema, key: row.key }),
        (Some(Node::Row(value)), Some(_)) => {
            return Err(PlanError::Inside { schema, key: value.key.clone(), inner: row.key });
        }
        (Some(Node::Object(..)), None) => {
            let inner = format!("{}.*", row.key);
            return Err(PlanError::Inside { schema, key: row.key, inner });
        }
    }
    Ok(())
}

/// Takes out objects that have lost all rows but those that keep them.
fn prune(nodes: &mut Vec<Node>) {
    for node in nodes.iter_mut() {
        if let Node::Object(_, inner) = node {
            prune(inner);
        }
    }
    nodes.retain(|node| match node {
        Node::Row(_) => true,
        Node::Object(_, inner) => !inner.iter().all(Node::is_keeper),
    });
}
