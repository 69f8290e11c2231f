//! Compiles a chain of schemas and what the operator changes about it.

use super::encoder::{Choices, Codec};
use super::pattern::Piece;
use super::plan::{
    LEAD, LENGTH_ROOM, Op, Pattern, PatternPiece, Plan, PlanError, Row, Span, TRAIL, WINDOW,
};
use super::rows::{Node, Place, Planned, Planning, Rows, cases};
use super::schema::{Clean, Empty, Extract, Layout, Overrides, Pick, Schema, Write};
use super::syntax::Syntax;
use super::write;
use crate::event::FieldId;

/// Fields that opening gives to every event, and never an empty text.
///
/// An event that lacks one all the same is written by a program that looks at each of them.
const SURE: u64 = FieldId::SchemaVersion.bit()
    | FieldId::EventId.bit()
    | FieldId::EventType.bit()
    | FieldId::EventCategory.bit()
    | FieldId::Timestamp.bit()
    | FieldId::AgentId.bit()
    | FieldId::AgentName.bit()
    | FieldId::AgentVersion.bit()
    | FieldId::AgentType.bit()
    | FieldId::SessionId.bit()
    | FieldId::Outcome.bit()
    | FieldId::Action.bit()
    | FieldId::Allowed.bit()
    | FieldId::Guard.bit()
    | FieldId::Severity.bit()
    | FieldId::ResourceType.bit()
    | FieldId::ResourceName.bit();

/// Combinations of cases in a chain.
///
/// A schema with one case per event type has 12; two of them in one chain stay below.
const PROGRAMS_MAX: usize = 256;

pub(super) fn compile(chain: &[&'static Schema], overrides: &Overrides) -> Result<Plan, PlanError> {
    if chain.is_empty() {
        return Err(PlanError::Empty);
    }
    let chain = &whole(chain)[..];
    let counts: Vec<_> = chain.iter().map(|schema| cases(schema)).collect();
    let programs: usize = counts.iter().product();
    if programs > PROGRAMS_MAX {
        let problem = "the chain has too many combinations of cases";
        return Err(PlanError::Chain { schema: chain[0].name, problem });
    }
    let mut compiler = Compiler::new(chain, overrides)?;
    for program in 0..programs {
        let careful = compiler.program(program, &counts, 0)?;
        compiler.plan.careful.push(careful);
        let sure = compiler.program(program, &counts, compiler.plan.sure)?;
        compiler.plan.programs.push(sure);
    }
    compiler.plan.arena.extend_from_slice(&[0; WINDOW]);
    Ok(compiler.plan)
}

/// The chain with what its schemas always bring along.
fn whole(chain: &[&'static Schema]) -> Vec<&'static Schema> {
    let mut whole = Vec::with_capacity(chain.len() + 1);
    for &schema in chain {
        let mut next = Some(schema);
        while let Some(schema) = next {
            whole.push(schema);
            next = schema.next;
        }
    }
    whole
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

impl Stand<'_> {
    fn place(&self) -> Place {
        let case = self.level.map_or(0, |level| self.chosen[level]);
        Place { schema: self.schema, level: self.level, case }
    }
}

struct Compiler<'c> {
    chain: &'c [&'static Schema],
    overrides: &'c Overrides,
    plan: Plan,
    /// Layers of text around each codec, innermost first.
    layers: Vec<(&'static Syntax, Vec<&'static Syntax>)>,
    rows: Rows<'c>,
    ops: Vec<Op>,
    /// Static text that waits for the next operation.
    pending: Vec<u8>,
    /// Fields that every event of the program has, by [`FieldId::bit`].
    sure: u64,
    /// Objects whose beginning is remembered.
    depth: usize,
    /// Objects around the current place that are written for every event.
    filled_depth: usize,
    /// The next level of the chain that a row asked for.
    asked: usize,
}

impl<'c> Compiler<'c> {
    fn new(chain: &'c [&'static Schema], overrides: &'c Overrides) -> Result<Self, PlanError> {
        let rows = Rows::new(chain, overrides)?;
        let mut compiler = Self {
            chain,
            overrides,
            plan: Plan {
                arena: Vec::new(),
                programs: Vec::new(),
                careful: Vec::new(),
                sure: SURE & !rows.unread(),
                picks: Vec::new(),
                codecs: Vec::new(),
                names: Vec::new(),
                patterns: Vec::new(),
                dates: Vec::new(),
                texts: Vec::new(),
                taken: vec![Vec::new()],
                hidden: rows.unread(),
                choices: Choices {
                    indicators_all: overrides.indicators_all,
                    alert_min: overrides.alert_min,
                    replaces_nul: overrides.replaces_nul,
                },
            },
            layers: Vec::new(),
            rows,
            ops: Vec::new(),
            pending: Vec::new(),
            sure: 0,
            depth: 0,
            filled_depth: 0,
            asked: 0,
        };
        for schema in chain {
            if let Layout::Cases { pick, cases, .. } = schema.layout {
                compiler.plan.picks.push((pick, cases.len().max(1)));
            }
        }
        Ok(compiler)
    }

    /// The program of these cases, for events that surely have these fields.
    fn program(
        &mut self,
        program: usize,
        counts: &[usize],
        sure: u64,
    ) -> Result<Vec<Op>, PlanError> {
        self.sure = sure;
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
        Ok(std::mem::take(&mut self.ops))
    }

    fn document(&mut self, stand: Stand<'_>) -> Result<(), PlanError> {
        if let Layout::Template(template) = stand.schema.layout {
            return self.template(template, stand);
        }
        let nodes = self.rows.nodes(stand.place())?;
        let codec = &self.plan.codecs[usize::from(stand.codec)];
        let open = codec.fixed(stand.schema.syntax.open);
        let close = codec.fixed(stand.schema.syntax.close);
        if self.fills(&nodes, stand) {
            return self.filled(&nodes, &open, &close, stand);
        }
        self.pending.extend_from_slice(&open);
        self.kept(&nodes, &close, stand)
    }

    /// Compiles an object in which something is written for every event.
    fn filled(
        &mut self,
        nodes: &[Node],
        open: &[u8],
        close: &[u8],
        stand: Stand<'_>,
    ) -> Result<(), PlanError> {
        self.pending.extend_from_slice(open);
        self.all(nodes, stand)?;
        let between = self.plan.codecs[usize::from(stand.codec)].between();
        if self.pending.is_empty() {
            let between = u8::try_from(between.len()).expect("separators are a few bytes");
            let text = self.span(close);
            self.ops.push(Op::Trim { between, text });
        } else {
            // The last row is static text; its separator has not been written yet.
            let last = self.pending.strip_suffix(between).map_or(self.pending.len(), <[u8]>::len);
            self.pending.truncate(last);
            self.pending.extend_from_slice(close);
        }
        Ok(())
    }

    /// Compiles an object that stands even when it is empty; its beginning waits to be written.
    fn kept(&mut self, nodes: &[Node], close: &[u8], stand: Stand<'_>) -> Result<(), PlanError> {
        let slot = self.mark(Op::ANY, stand.schema.name)?;
        self.all(nodes, stand)?;
        self.depth -= 1;
        self.flush();
        let between = self.between_len(stand.codec);
        let text = self.span(close);
        self.ops.push(Op::End { slot, between, text });
        Ok(())
    }

    /// Compiles an object that is taken back when it is empty.
    fn optional(
        &mut self,
        object: &Node,
        [open, close]: [&[u8]; 2],
        nodes: &[Node],
        stand: Stand<'_>,
    ) -> Result<(), PlanError> {
        self.flush();
        self.pending.extend_from_slice(open);
        let opening = self.ops.len();
        let slot = self.mark(object.fields(), stand.schema.name)?;
        self.all(nodes, stand)?;
        self.depth -= 1;
        self.flush();
        let between = self.between_len(stand.codec);
        let text = self.span(close);
        self.ops.push(Op::Close { slot, between, text });
        let end = index(self.ops.len());
        if let Some(Op::Open { after, .. }) = self.ops.get_mut(opening) {
            *after = end;
        }
        Ok(())
    }

    fn all(&mut self, nodes: &[Node], stand: Stand<'_>) -> Result<(), PlanError> {
        nodes.iter().try_for_each(|node| self.node(node, stand))
    }

    /// Whether one of these is written for every event.
    fn fills(&self, nodes: &[Node], stand: Stand<'_>) -> bool {
        nodes.iter().any(|node| match node {
            Node::Row(row) => (row.always() && !row.keeps()) || self.is_sure(row, stand),
            Node::Object(_, nodes) => self.fills(nodes, stand),
        })
    }

    /// Whether the row copies a field that every event of this program has.
    fn is_sure(&self, row: &Planned, stand: Stand<'_>) -> bool {
        match row.source {
            Planning::Event(field, write) => {
                self.sure & field.bit() != 0
                    && self.copies(field, write, stand.codec)
                    && self.characters_max(row.max) == 0
            }
            _ => false,
        }
    }

    /// Whether a field is copied as it is.
    ///
    /// A writer whose address differs from the known ones is only slower, never wrong.
    fn copies(&self, field: FieldId, write: Write, codec: u8) -> bool {
        let is = |known: Write| std::ptr::fn_addr_eq(write, known);
        let nests = matches!(field, FieldId::Metadata | FieldId::Shrike | FieldId::Labels);
        // What opening lets through in any other field is a text already.
        let is_text = !nests && !matches!(field, FieldId::Allowed | FieldId::ResourcePort);
        let plain = (is(write::value) && !nests) || (is(write::text) && is_text);
        plain && self.plan.codecs[usize::from(codec)].copies()
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
                let open = self.spell_open(key, stand);
                let codec = &self.plan.codecs[usize::from(stand.codec)];
                let close = [&codec.fixed(codec.syntax().close)[..], codec.between()].concat();
                if self.fills(nodes, stand) {
                    // Such objects need no mark, so their depth is counted here.
                    self.filled_depth += 1;
                    if self.depth + self.filled_depth > Plan::DEPTH_MAX {
                        return Err(PlanError::Deep { schema: stand.schema.name });
                    }
                    let filled = self.filled(nodes, &open, &close, stand);
                    self.filled_depth -= 1;
                    filled
                } else if node.is_kept() {
                    self.pending.extend_from_slice(&open);
                    self.kept(nodes, &close, stand)
                } else {
                    self.optional(node, [&open, &close], nodes, stand)
                }
            }
        }
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
            Planning::Json(text) => {
                let text = [lead, spelled(self, text), trail].concat();
                self.pending.extend_from_slice(&text);
            }
            Planning::Text(text) => {
                let codec = &self.plan.codecs[usize::from(stand.codec)];
                let kept = codec.beginning(text, self.characters_max(row.max));
                let text = [lead, self.quoted(kept, stand.codec), trail].concat();
                self.pending.extend_from_slice(&text);
            }
            Planning::With(_, text) => {
                let text = [lead, spelled(self, text), trail].concat();
                self.flush();
                let text = self.span(&text);
                let empty = stand.schema.empty;
                self.ops.push(Op::With { fields: row.bits(), empty, text });
            }
            Planning::OneOf(_, pick, texts) => {
                let texts = texts.iter().map(|text| spelled(self, text)).collect();
                self.one_of(*pick, texts, &lead, &trail);
            }
            Planning::OneText(_, pick, texts) => {
                let texts = texts.iter().map(|text| self.quoted(text, stand.codec)).collect();
                self.one_of(*pick, texts, &lead, &trail);
            }
            Planning::Event(field, _) if self.is_sure(row, stand) => {
                self.pending.extend_from_slice(&lead);
                if self.pending.len() > LEAD {
                    self.flush();
                }
                let text = std::mem::replace(&mut self.pending, trail);
                let (lead, trail) = (self.span(&text), Span::default());
                self.ops.push(Op::Say { field: *field, lead, trail });
            }
            Planning::Event(field, write) => {
                let row = self.dynamic(row, &lead, &trail, stand);
                self.ops.push(self.event(row, *field, *write));
            }
            Planning::Derived(_, derive) | Planning::Part(_, derive) => {
                let row = self.dynamic(row, &lead, &trail, stand);
                self.ops.push(Op::Derive { row, derive: *derive });
            }
            Planning::Extracted(_, extract) => {
                let quotes = self.plan.codecs[usize::from(stand.codec)].syntax().text;
                self.extracted(row, *extract, quotes, [lead, trail], stand);
            }
            Planning::Listed(_, extract) => {
                self.extracted(row, *extract, ("[\"", "\"]"), [lead, trail], stand);
            }
            Planning::Continued(text, _, derive) => {
                let codec = &self.plan.codecs[usize::from(stand.codec)];
                let (before, after) = codec.syntax().text;
                let lead = [lead, codec.fixed(before), codec.spell(text)].concat();
                let trail = [codec.fixed(after), trail].concat();
                let row = self.dynamic(row, &lead, &trail, stand);
                self.ops.push(Op::Derive { row, derive: *derive });
            }
            Planning::Pattern(pieces, clean) => {
                let row = self.dynamic(row, &lead, &trail, stand);
                let pattern = self.pattern(pieces, clean, stand.codec);
                self.ops.push(Op::Pattern { row, pattern });
            }
            Planning::Also(_) | Planning::Doc | Planning::DocText | Planning::Raw => {
                self.pending.extend_from_slice(&lead);
                self.inner(&row.source, stand)?;
                self.pending.extend_from_slice(&trail);
            }
            Planning::DocInside(pieces) => {
                self.pending.extend_from_slice(&lead);
                self.inside(pieces, stand)?;
                self.pending.extend_from_slice(&trail);
            }
        }
        Ok(())
    }

    /// Compiles the next document of the chain at the end of messages inside each other.
    fn inside(&mut self, pieces: &[Vec<u8>], stand: Stand<'_>) -> Result<(), PlanError> {
        for piece in pieces {
            self.pending.extend_from_slice(piece);
            self.pending.extend_from_slice(&[0; LENGTH_ROOM]);
            self.mark(Op::ANY, stand.schema.name)?;
        }
        self.inner(&Planning::Doc, stand)?;
        self.flush();
        for _ in pieces {
            self.depth -= 1;
            let slot = u8::try_from(self.depth).expect("the depth is bounded");
            self.ops.push(Op::Measure { slot });
        }
        Ok(())
    }

    fn one_of(&mut self, pick: Pick, texts: Vec<Vec<u8>>, lead: &[u8], trail: &[u8]) {
        self.flush();
        let (first, count) = (index(self.plan.texts.len()), index(texts.len()));
        for text in texts {
            let text = self.span(&[lead, &text, trail].concat());
            self.plan.texts.push(text);
        }
        self.ops.push(Op::OneOf { pick, first, count });
    }

    /// A field that is copied where nothing has to be escaped, else through its writer.
    fn event(&self, row: Row, field: FieldId, write: Write) -> Op {
        let fits = row.lead.len as usize <= LEAD && row.trail.len as usize <= TRAIL;
        if self.copies(field, write, row.codec) && row.max == 0 && fits {
            let Row { lead, trail, empty, .. } = row;
            Op::Copy { field, drops_empty: empty != Empty::Keep, lead, trail }
        } else {
            Op::Write { row, field, write }
        }
    }

    /// A text from the event between two of the document's own syntax.
    fn extracted(
        &mut self,
        row: &Planned,
        extract: Extract,
        (before, after): (&str, &str),
        [lead, trail]: [Vec<u8>; 2],
        stand: Stand<'_>,
    ) {
        let codec = &self.plan.codecs[usize::from(stand.codec)];
        let lead = [lead, codec.fixed(before)].concat();
        let trail = [codec.fixed(after), trail].concat();
        let copies = codec.copies();
        let row = self.dynamic(row, &lead, &trail, stand);
        let fits = row.lead.len as usize <= LEAD && row.trail.len as usize <= TRAIL;
        self.ops.push(if copies && row.max == 0 && fits {
            let Row { fields, lead, trail, .. } = row;
            Op::Extract { fields, lead, trail, extract }
        } else {
            Op::Spell { row, extract }
        });
    }

    fn members(&mut self, row: &Planned, stand: Stand<'_>) -> Result<(), PlanError> {
        let names = self.rows.taken(row, stand.place())?;
        let taken = if names.is_empty() {
            0
        } else {
            self.plan.taken.push(names);
            index(self.plan.taken.len() - 1)
        };
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

    fn dynamic(&mut self, row: &Planned, lead: &[u8], trail: &[u8], stand: Stand<'_>) -> Row {
        self.flush();
        let (lead, trail) = (self.span(lead), self.span(trail));
        let (fields, codec, max) = (row.bits(), stand.codec, self.characters_max(row.max));
        Row { fields, lead, trail, codec, max, empty: stand.schema.empty }
    }

    /// The stricter of a row's limit and the operator's; 0 is none.
    fn characters_max(&self, max: u16) -> u16 {
        match (max, self.overrides.characters_max) {
            (0, all) => all,
            (own, 0) => own,
            (own, all) => own.min(all),
        }
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
        if !codec.syntax().names {
            return Vec::new();
        }
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
            (Planning::Also(schema), _) => (*schema, None),
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
        let as_text = foreign || !matches!(source, Planning::Doc | Planning::Also(_));
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
        let pieces = self.rows.parse(stand.schema.name, template)?;
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
                // Groups are for options; what is between them stands in any case.
                Piece::Group => {}
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
                Piece::Text(text) if clean.digest.is_some() => {
                    Some(PatternPiece::Plain(text.clone()))
                }
                Piece::Text(text) => {
                    fixed += text.len();
                    Some(PatternPiece::Text(codec.spell(text)))
                }
                Piece::Date(parts) => {
                    fixed += write::date_len(parts);
                    Some(PatternPiece::Date(parts.clone()))
                }
                Piece::Value(name) => Some(PatternPiece::Value(name.clone())),
                Piece::Group => Some(PatternPiece::Group),
                Piece::Document | Piece::DocumentText => None,
            })
            .collect();
        let values_max = usize::from(clean.bytes_max).saturating_sub(fixed);
        self.plan.patterns.push(Pattern { pieces, clean, values_max });
        index(self.plan.patterns.len() - 1)
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
    /// Writes the text that waits: behind the field before it, or by itself.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.pending);
        let text = self.span(&text);
        match self.ops.last_mut() {
            Some(Op::Say { trail, .. }) if trail.len == 0 && text.len as usize <= TRAIL => {
                *trail = text;
            }
            _ => self.ops.push(Op::Text(text)),
        }
    }

    fn span(&mut self, text: &[u8]) -> Span {
        let start = u32::try_from(self.plan.arena.len()).expect("an arena has a few KiB");
        let len = u32::try_from(text.len()).expect("an arena has a few KiB");
        self.plan.arena.extend_from_slice(text);
        Span { start, len }
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

fn index(at: usize) -> u16 {
    u16::try_from(at).expect("a plan has a few names, patterns and dates")
}
