//! Compiles a chain of schemas and what the operator changes about it.

use super::encoder::{Choices, Codec};
use super::pattern::{self, Piece};
use super::plan::{LEAD, Op, Pattern, PatternPiece, Plan, PlanError, Row, Span, TRAIL, WINDOW};
use super::schema::{Clean, Derive, Empty, Field, Layout, Overrides, Pick, Schema, Source, Write};
use super::syntax::Syntax;
use super::write;
use crate::event::FieldId;

/// Combinations of cases in a chain.
///
/// A schema with one case per event type has 12; two of them in one chain stay below.
const PROGRAMS_MAX: usize = 256;

pub(super) fn compile(chain: &[&'static Schema], overrides: &Overrides) -> Result<Plan, PlanError> {
    if chain.is_empty() {
        return Err(PlanError::Empty);
    }
    let counts: Vec<_> = chain.iter().map(|schema| cases(schema)).collect();
    let programs: usize = counts.iter().product();
    if programs > PROGRAMS_MAX {
        let problem = "the chain has too many combinations of cases";
        return Err(PlanError::Chain { schema: chain[0].name, problem });
    }
    check_parts(overrides)?;
    let mut compiler = Compiler::new(chain, overrides)?;
    for program in 0..programs {
        compiler.program(program, &counts)?;
    }
    compiler.plan.arena.extend_from_slice(&[0; WINDOW]);
    Ok(compiler.plan)
}

/// How many cases a schema has.
fn cases(schema: &Schema) -> usize {
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

/// A row on its way into a program.
#[derive(Clone, Debug)]
struct Planned {
    key: String,
    source: Planning,
    max: u16,
    /// Whether an override made it.
    added: bool,
}

/// A source with its texts found and its placeholders parsed.
#[derive(Clone, Debug)]
enum Planning {
    Event(FieldId, Write),
    Derived(&'static [FieldId], Derive),
    Part(&'static [FieldId], Derive),
    OneOf(&'static [FieldId], Pick, &'static [&'static str]),
    Constant(&'static str),
    With(&'static [FieldId], &'static str),
    Text(String),
    Pattern(Vec<Piece>, &'static Clean),
    Doc,
    DocText,
    /// The native document as text (`include_raw`).
    Raw,
}

impl Planned {
    fn fields(&self) -> &[FieldId] {
        match &self.source {
            Planning::Event(field, _) => std::slice::from_ref(field),
            Planning::Derived(fields, _)
            | Planning::Part(fields, _)
            | Planning::With(fields, _)
            | Planning::OneOf(fields, ..) => fields,
            _ => &[],
        }
    }

    /// Fields of which one must be there, as bits; every bit for a row that needs none.
    fn bits(&self) -> u64 {
        match (&self.source, self.fields()) {
            (Planning::Derived(..) | Planning::OneOf(..), _) | (_, []) => Op::ANY,
            (_, fields) => fields.iter().fold(0, |bits, field| bits | field.bit()),
        }
    }

    /// Whether the row is written for every event.
    fn always(&self) -> bool {
        matches!(
            self.source,
            Planning::Constant(_)
                | Planning::Text(_)
                | Planning::Doc
                | Planning::DocText
                | Planning::Raw
        )
    }

    /// Whether it only keeps its parent.
    fn keeps(&self) -> bool {
        matches!(self.source, Planning::Constant(_)) && self.key.ends_with(".*")
    }
}

/// Rows grouped into objects.
#[derive(Debug)]
enum Node {
    Row(Planned),
    Object(String, Vec<Node>),
}

impl Node {
    fn always(&self) -> bool {
        match self {
            Self::Row(row) => row.always() && !row.keeps(),
            Self::Object(_, nodes) => nodes.iter().any(Self::always) || self.is_kept(),
        }
    }

    /// Fields of which one must be there for anything to be written.
    fn fields(&self) -> u64 {
        match self {
            Self::Row(row) if row.keeps() => 0,
            Self::Row(row) => row.bits(),
            Self::Object(_, nodes) => nodes.iter().fold(0, |bits, node| bits | node.fields()),
        }
    }

    /// Whether the object stands even when it is empty.
    fn is_kept(&self) -> bool {
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

/// Where in the chain a document stands.
#[derive(Clone, Copy)]
struct Stand<'c> {
    schema: &'static Schema,
    /// Place in the chain; `None` for the raw document beside it.
    level: Option<usize>,
    codec: u8,
    /// The chosen case of each schema.
    chosen: &'c [usize],
}

struct Compiler<'c> {
    chain: &'c [&'static Schema],
    overrides: &'c Overrides,
    plan: Plan,
    /// Layers of text around each codec, innermost first.
    layers: Vec<(&'static Syntax, Vec<&'static Syntax>)>,
    ops: Vec<Op>,
    /// Static text that waits for the next operation.
    pending: Vec<u8>,
    /// Objects that are open.
    depth: usize,
    /// The next level of the chain that a row asked for.
    asked: usize,
    hidden: Hidden,
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

impl<'c> Compiler<'c> {
    fn new(chain: &'c [&'static Schema], overrides: &'c Overrides) -> Result<Self, PlanError> {
        let hidden = Hidden::new(overrides);
        let mut compiler = Self {
            chain,
            overrides,
            plan: Plan {
                arena: Vec::new(),
                programs: Vec::new(),
                picks: Vec::new(),
                codecs: Vec::new(),
                names: Vec::new(),
                patterns: Vec::new(),
                dates: Vec::new(),
                texts: Vec::new(),
                taken: vec![Vec::new()],
                hidden: 0,
                choices: Choices {
                    indicators_all: overrides.indicators_all,
                    alert_min: overrides.alert_min,
                },
            },
            layers: Vec::new(),
            ops: Vec::new(),
            pending: Vec::new(),
            depth: 0,
            asked: 0,
            hidden,
        };
        for schema in chain {
            if let Layout::Cases { pick, cases, .. } = schema.layout {
                compiler.plan.picks.push((pick, cases.len().max(1)));
            }
        }
        compiler.plan.hidden = compiler.unread()?;
        Ok(compiler)
    }

    /// Hidden fields that no remaining row needs, so that nothing has to read them.
    fn unread(&self) -> Result<u64, PlanError> {
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

    fn program(&mut self, program: usize, counts: &[usize]) -> Result<(), PlanError> {
        let mut chosen = vec![0; counts.len()];
        let mut rest = program;
        for (chosen, &count) in chosen.iter_mut().zip(counts).rev() {
            *chosen = rest % count;
            rest /= count;
        }
        self.asked = 1;
        let schema = self.chain[0];
        let codec = self.codec(schema.syntax, &[]);
        self.document(Stand { schema, level: Some(0), codec, chosen: &chosen })?;
        if self.asked < self.chain.len() {
            let problem = "no row of the schema before it asks for a document";
            return Err(PlanError::Chain { schema: self.chain[self.asked].name, problem });
        }
        self.flush();
        self.plan.programs.push(std::mem::take(&mut self.ops));
        Ok(())
    }

    fn document(&mut self, stand: Stand<'_>) -> Result<(), PlanError> {
        if let Layout::Template(template) = stand.schema.layout {
            return self.template(template, stand);
        }
        let nodes = self.nodes(stand)?;
        let slot = self.open("", Op::ANY, stand)?;
        for node in &nodes {
            self.node(node, stand)?;
        }
        self.depth -= 1;
        let text = self.plan.codecs[usize::from(stand.codec)].fixed(stand.schema.syntax.close);
        self.end(slot, &text, stand.codec);
        Ok(())
    }

    /// Begins an object that any of these fields brings; the slot that remembers where.
    fn open(&mut self, key: &str, fields: u64, stand: Stand<'_>) -> Result<u8, PlanError> {
        let text = self.spell_open(key, stand);
        self.pending.extend_from_slice(&text);
        self.mark(fields, stand.schema.name)
    }

    fn spell_open(&self, key: &str, stand: Stand<'_>) -> Vec<u8> {
        let mut text = if key.is_empty() { Vec::new() } else { self.spell_key(key, stand.codec) };
        let codec = &self.plan.codecs[usize::from(stand.codec)];
        text.extend_from_slice(&codec.fixed(codec.syntax().open));
        text
    }

    /// Remembers what is written so far in the next slot.
    fn mark(&mut self, fields: u64, schema: &'static str) -> Result<u8, PlanError> {
        let text = std::mem::take(&mut self.pending);
        let text = self.span(&text);
        let slot = u8::try_from(self.depth).expect("the depth is bounded below");
        if self.depth == Plan::DEPTH_MAX {
            return Err(PlanError::Deep { schema });
        }
        self.depth += 1;
        self.ops.push(Op::Open { slot, text, fields, after: 0 });
        Ok(slot)
    }

    fn end(&mut self, slot: u8, text: &[u8], codec: u8) {
        self.flush();
        let between = self.between_len(codec);
        let text = self.span(text);
        self.ops.push(Op::End { slot, between, text });
    }

    fn between_len(&self, codec: u8) -> u8 {
        let between = self.plan.codecs[usize::from(codec)].between();
        u8::try_from(between.len()).expect("separators are a few bytes")
    }

    fn node(&mut self, node: &Node, stand: Stand<'_>) -> Result<(), PlanError> {
        match node {
            Node::Row(row) => self.row(row, &[], stand),
            Node::Object(key, nodes) => {
                if let Some((keys, row)) = only_row(node) {
                    return self.row(row, &keys, stand);
                }
                self.object(key, nodes, node, stand)
            }
        }
    }

    fn object(
        &mut self,
        key: &str,
        nodes: &[Node],
        object: &Node,
        stand: Stand<'_>,
    ) -> Result<(), PlanError> {
        let always = object.always();
        if !always {
            self.flush();
        }
        let opening = self.ops.len();
        let slot = self.open(key, if always { Op::ANY } else { object.fields() }, stand)?;
        for node in nodes {
            self.node(node, stand)?;
        }
        self.depth -= 1;
        let codec = &self.plan.codecs[usize::from(stand.codec)];
        let mut text = codec.fixed(codec.syntax().close);
        text.extend_from_slice(codec.between());
        if always {
            self.end(slot, &text, stand.codec);
        } else {
            self.flush();
            let between = self.between_len(stand.codec);
            let text = self.span(&text);
            self.ops.push(Op::Close { slot, between, text });
            let end = index(self.ops.len());
            if let Some(Op::Open { after, .. }) = self.ops.get_mut(opening) {
                *after = end;
            }
        }
        Ok(())
    }

    /// Compiles a row; `parents` are objects that hold nothing else.
    fn row(&mut self, row: &Planned, parents: &[&str], stand: Stand<'_>) -> Result<(), PlanError> {
        if row.key.ends_with(".*") {
            return self.members(row, stand);
        }
        let (lead, trail) = self.around(row, parents, stand);
        let spelled = |compiler: &Self, text: &str| compiler.constant(text, stand.codec);
        match &row.source {
            Planning::Constant(text) => {
                let text = [lead, spelled(self, text), trail].concat();
                self.pending.extend_from_slice(&text);
            }
            Planning::Text(text) => {
                let text = [lead, self.quoted(text, stand.codec), trail].concat();
                self.pending.extend_from_slice(&text);
            }
            Planning::With(_, text) => {
                let text = [lead, spelled(self, text), trail].concat();
                self.flush();
                let text = self.span(&text);
                self.ops.push(Op::With { fields: row.bits(), text });
            }
            Planning::OneOf(_, pick, texts) => {
                self.flush();
                let first = index(self.plan.texts.len());
                for text in *texts {
                    let text = [&lead[..], &spelled(self, text), &trail].concat();
                    let text = self.span(&text);
                    self.plan.texts.push(text);
                }
                let count = index(texts.len());
                self.ops.push(Op::OneOf { pick: *pick, first, count });
            }
            Planning::Event(field, write) => {
                let row = self.dynamic(row, &lead, &trail, stand);
                self.ops.push(self.event(row, *field, *write));
            }
            Planning::Derived(_, derive) | Planning::Part(_, derive) => {
                let row = self.dynamic(row, &lead, &trail, stand);
                self.ops.push(Op::Derive { row, derive: *derive });
            }
            Planning::Pattern(pieces, clean) => {
                let row = self.dynamic(row, &lead, &trail, stand);
                let pattern = self.pattern(pieces, clean, stand.codec);
                self.ops.push(Op::Pattern { row, pattern });
            }
            Planning::Doc | Planning::DocText | Planning::Raw => {
                self.pending.extend_from_slice(&lead);
                self.inner(&row.source, stand)?;
                self.pending.extend_from_slice(&trail);
            }
        }
        Ok(())
    }

    /// A field that is copied where nothing has to be escaped, else through its writer.
    ///
    /// A writer whose address differs from the known one is only slower, never wrong.
    fn event(&self, row: Row, field: FieldId, write: Write) -> Op {
        let nests = matches!(field, FieldId::Metadata | FieldId::Shrike | FieldId::Labels);
        let copies = self.plan.codecs[usize::from(row.codec)].copies();
        let plain = std::ptr::fn_addr_eq(write, write::value as Write);
        let fits = row.lead.len as usize <= LEAD && row.trail.len as usize <= TRAIL;
        if plain && copies && !nests && row.max == 0 && fits {
            let Row { lead, trail, drops_empty, .. } = row;
            Op::Copy { field, drops_empty, lead, trail }
        } else {
            Op::Write { row, field, write }
        }
    }

    fn members(&mut self, row: &Planned, stand: Stand<'_>) -> Result<(), PlanError> {
        let taken = self.taken(row, stand)?;
        match row.source {
            Planning::Event(field, _) => {
                let row = self.dynamic(row, &[], &[], stand);
                self.ops.push(Op::Members { row, field, taken });
            }
            Planning::Derived(_, derive) | Planning::Part(_, derive) => {
                let row = self.dynamic(row, &[], &[], stand);
                self.ops.push(Op::DeriveMembers { row, derive, taken });
            }
            // A constant keeps its parent and writes nothing.
            _ => {}
        }
        Ok(())
    }

    /// The names that overrides put beside the members of this row.
    fn taken(&mut self, row: &Planned, stand: Stand<'_>) -> Result<u16, PlanError> {
        let parent = row.key.trim_end_matches('*');
        let rows = self.rows(stand)?;
        let added = rows.iter().filter(|other| other.added);
        let mut names: Vec<String> = added
            .filter_map(|other| other.key.strip_prefix(parent))
            .filter_map(|rest| rest.split('.').next())
            .map(str::to_owned)
            .collect();
        if names.is_empty() {
            return Ok(0);
        }
        names.sort_unstable();
        names.dedup();
        self.plan.taken.push(names);
        Ok(index(self.plan.taken.len() - 1))
    }

    fn dynamic(&mut self, row: &Planned, lead: &[u8], trail: &[u8], stand: Stand<'_>) -> Row {
        self.flush();
        let drops_empty = stand.schema.empty == Empty::Drop;
        let (lead, trail) = (self.span(lead), self.span(trail));
        let (fields, codec, max) = (row.bits(), stand.codec, row.max);
        Row { fields, lead, trail, codec, max, drops_empty }
    }

    /// What stands before and behind a row's value.
    fn around(&self, row: &Planned, parents: &[&str], stand: Stand<'_>) -> (Vec<u8>, Vec<u8>) {
        let mut lead: Vec<u8> = Vec::new();
        for parent in parents {
            lead.extend_from_slice(&self.spell_open(parent, stand));
        }
        let nests = stand.schema.syntax.nests;
        let name = if nests { row.key.rsplit('.').next().unwrap_or_default() } else { &row.key };
        lead.extend_from_slice(&self.spell_key(name, stand.codec));
        let codec = &self.plan.codecs[usize::from(stand.codec)];
        let mut trail = codec.fixed(codec.syntax().close).repeat(parents.len());
        trail.extend_from_slice(codec.between());
        (lead, trail)
    }

    fn spell_key(&self, name: &str, codec: u8) -> Vec<u8> {
        let codec = &self.plan.codecs[usize::from(codec)];
        let (before, after) = codec.syntax().key;
        [codec.fixed(before), codec.spell(name), codec.fixed(after)].concat()
    }

    /// A constant, which is JSON text, as the syntax spells it.
    fn constant(&self, json: &str, codec: u8) -> Vec<u8> {
        let codec = &self.plan.codecs[usize::from(codec)];
        if codec.syntax().verbatim {
            return codec.fixed(json);
        }
        let text = json.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        codec.spell(text.unwrap_or(json))
    }

    fn quoted(&self, text: &str, codec: u8) -> Vec<u8> {
        let codec = &self.plan.codecs[usize::from(codec)];
        let (before, after) = codec.syntax().text;
        [codec.fixed(before), codec.spell(text), codec.fixed(after)].concat()
    }

    /// Compiles the document that a row asks for.
    fn inner(&mut self, source: &Planning, stand: Stand<'_>) -> Result<(), PlanError> {
        let outer = stand.schema.syntax;
        let (schema, level) = match (source, self.overrides.raw) {
            (Planning::Raw, Some(schema)) => (schema, None),
            _ => {
                let Some(&schema) = self.chain.get(self.asked) else {
                    let problem = "it asks for a document and is the last of its chain";
                    return Err(PlanError::Chain { schema: stand.schema.name, problem });
                };
                self.asked += 1;
                (schema, Some(self.asked - 1))
            }
        };
        let foreign = outer.verbatim && !schema.syntax.verbatim;
        let as_text = foreign || !matches!(source, Planning::Doc);
        let mut layers = self.layers[usize::from(stand.codec)].1.clone();
        if as_text {
            layers.insert(0, outer);
        }
        let codec = self.codec(schema.syntax, &layers);
        let quotes = if as_text { outer.text } else { ("", "") };
        let open = self.plan.codecs[usize::from(stand.codec)].fixed(quotes.0);
        self.pending.extend_from_slice(&open);
        self.document(Stand { schema, level, codec, chosen: stand.chosen })?;
        let close = self.plan.codecs[usize::from(stand.codec)].fixed(quotes.1);
        self.pending.extend_from_slice(&close);
        Ok(())
    }

    fn template(&mut self, template: &str, stand: Stand<'_>) -> Result<(), PlanError> {
        let pieces = self.parse(stand.schema.name, template)?;
        for piece in pieces {
            match piece {
                Piece::Text(text) => {
                    let text = self.plan.codecs[usize::from(stand.codec)].fixed(&text);
                    self.pending.extend_from_slice(&text);
                }
                Piece::Value(name) => {
                    self.flush();
                    self.plan.names.push(name);
                    let name = index(self.plan.names.len() - 1);
                    self.ops.push(Op::Value { codec: stand.codec, name });
                }
                Piece::Date(parts) => {
                    self.flush();
                    self.plan.dates.push(parts);
                    let date = index(self.plan.dates.len() - 1);
                    self.ops.push(Op::Date { codec: stand.codec, date });
                }
                Piece::Document => self.inner(&Planning::Doc, stand)?,
                Piece::DocumentText => self.inner(&Planning::DocText, stand)?,
            }
        }
        Ok(())
    }

    fn pattern(&mut self, pieces: &[Piece], clean: &'static Clean, codec: u8) -> u16 {
        let codec = &self.plan.codecs[usize::from(codec)];
        let mut fixed = 0;
        let pieces = pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => {
                    fixed += text.len();
                    Some(PatternPiece::Text(codec.spell(text)))
                }
                Piece::Date(parts) => {
                    fixed += write::date_len(parts);
                    Some(PatternPiece::Date(parts.clone()))
                }
                Piece::Value(name) => Some(PatternPiece::Value(name.clone())),
                Piece::Document | Piece::DocumentText => None,
            })
            .collect();
        let values_max = usize::from(clean.bytes_max).saturating_sub(fixed);
        self.plan.patterns.push(Pattern { pieces, clean, values_max });
        index(self.plan.patterns.len() - 1)
    }

    fn parse(&self, name: &str, text: &str) -> Result<Vec<Piece>, PlanError> {
        pattern::parse(text, &self.overrides.texts).map_err(|error| PlanError::Pattern {
            name: name.to_owned(),
            at: error.at,
            problem: error.problem,
        })
    }

    /// The codec of a syntax inside these layers, made once.
    fn codec(&mut self, syntax: &'static Syntax, layers: &[&'static Syntax]) -> u8 {
        let same = |known: &(&'static Syntax, Vec<&'static Syntax>)| {
            std::ptr::eq(known.0, syntax)
                && known.1.len() == layers.len()
                && known.1.iter().zip(layers).all(|(a, b)| std::ptr::eq(*a, *b))
        };
        let at = self.layers.iter().position(same).unwrap_or_else(|| {
            self.layers.push((syntax, layers.to_vec()));
            self.plan.codecs.push(Codec::new(syntax, layers));
            self.layers.len() - 1
        });
        u8::try_from(at).expect("a chain has a handful of schemas")
    }

    /// Turns waiting text into an operation.
    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let text = std::mem::take(&mut self.pending);
            let text = self.span(&text);
            self.ops.push(Op::Text(text));
        }
    }

    fn span(&mut self, text: &[u8]) -> Span {
        let start = u32::try_from(self.plan.arena.len()).expect("an arena has a few KiB");
        let len = u32::try_from(text.len()).expect("an arena has a few KiB");
        self.plan.arena.extend_from_slice(text);
        Span { start, len }
    }
}

/// The rows of a schema, changed as the operator asks, grouped.
impl Compiler<'_> {
    fn nodes(&self, stand: Stand<'_>) -> Result<Vec<Node>, PlanError> {
        let rows = self.rows(stand)?;
        let schema = stand.schema.name;
        let mut nodes = Vec::new();
        for row in rows {
            let key = row.key.clone();
            if key.split('.').any(str::is_empty) && stand.schema.syntax.nests {
                return Err(PlanError::Key { schema, key });
            }
            if stand.schema.syntax.nests {
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

    fn rows(&self, stand: Stand<'_>) -> Result<Vec<Planned>, PlanError> {
        let case = stand.level.map_or(0, |level| stand.chosen[level]);
        let mut rows = self.declared(stand.schema, case)?;
        let Some(level) = stand.level else {
            self.hide(&mut rows, self.hidden.document, &[]);
            return Ok(rows);
        };
        self.hide(&mut rows, self.hidden_at(level), stand.schema.required);
        if level == 0 {
            self.omit(&mut rows, stand.schema)?;
        }
        if level + 1 == self.chain.len() {
            self.map(&mut rows);
            self.add(&mut rows, stand.schema);
        }
        self.check_required(&rows, stand.schema)?;
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
            Source::OneOf(fields, pick, texts) => Planning::OneOf(fields, pick, texts),
            Source::With(fields, json) => Planning::With(fields, json),
            Source::Option(name) => match self.text(name) {
                Some(text) => Planning::Text(text.to_owned()),
                None => return Ok(None),
            },
            Source::OptionOr(name, or) => Planning::Text(self.text(name).unwrap_or(or).to_owned()),
            Source::Pattern(name, clean) => match self.text(name) {
                Some(text) => Planning::Pattern(self.parse(name, text)?, clean),
                None => return Ok(None),
            },
            Source::Doc => Planning::Doc,
            Source::DocText => Planning::DocText,
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
                |field: &FieldId| hidden & field.bit() == 0 || self.plan.hidden & field.bit() != 0;
            some_left && fields.iter().all(unreadable)
        });
    }

    fn omit(&self, rows: &mut Vec<Planned>, schema: &'static Schema) -> Result<(), PlanError> {
        for key in &self.overrides.omit {
            let inside = |row: &Planned| {
                row.key == *key
                    || row.key.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('.'))
            };
            let declared = all_keys(schema);
            let known = declared.iter().any(|known| {
                known == key || known.strip_prefix(key.as_str()).is_some_and(|r| r.starts_with('.'))
            });
            if !known {
                let hint = super::nearest(key, declared.iter().copied())
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(PlanError::Omit { key: key.clone(), hint });
            }
            rows.retain(|row| !inside(row));
        }
        Ok(())
    }

    /// Gives the first row of each mapped field its new key; a field without a row gets one.
    fn map(&self, rows: &mut Vec<Planned>) {
        for (field, target) in &self.overrides.mappings {
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
}

/// Every key of a schema.
fn all_keys(schema: &'static Schema) -> Vec<&'static str> {
    match schema.layout {
        Layout::Table(rows) => rows.iter().map(|row| row.key).collect(),
        Layout::Cases { shared, cases, .. } => {
            shared.iter().chain(cases.iter().copied().flatten()).map(|row| row.key).collect()
        }
        Layout::Template(_) => Vec::new(),
    }
}

/// The only row of an object, with the names of the objects around it.
fn only_row(node: &Node) -> Option<(Vec<&str>, &Planned)> {
    let mut parents = Vec::new();
    let mut node = node;
    loop {
        match node {
            Node::Row(row) if row.key.ends_with(".*") => return None,
            Node::Row(row) => return Some((parents, row)),
            Node::Object(key, nodes) => {
                let [only] = nodes.as_slice() else { return None };
                parents.push(key.as_str());
                node = only;
            }
        }
    }
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

fn index(at: usize) -> u16 {
    u16::try_from(at).expect("a plan has a few names, patterns and dates")
}
