//! What a plan writes for events of one shape: those that have the same fields.
//!
//! A program asks of each row whether the event has its field, and of each object whether anything
//! was written in it. Events of one source come in few shapes, and for all events of a shape the
//! answers are the same: they are given once, when the first such event is met. What is left are
//! the values and whole stretches of text between them (`benches/render.rs`).

use std::sync::OnceLock;

use super::plan::{Op, Plan, Span, WINDOW};
use crate::event::FieldId;

/// The shapes that a plan has met.
#[derive(Debug)]
pub(super) struct Shapes {
    slots: Box<[OnceLock<Box<Shape>>]>,
    /// Fields whose absence some operation notices, by [`FieldId::bit`].
    asked: u64,
    /// Fields that some operation leaves out when they are an empty text.
    dropped: u64,
}

/// What events of one shape have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    /// The fields that they have, as far as they are asked for.
    present: u64,
    /// Those of them that are surely more than an empty text.
    filled: u64,
    /// The program that was chosen for them.
    program: usize,
}

/// The program for one shape.
#[derive(Debug)]
pub(super) struct Shape {
    key: Key,
    pub(super) ops: Vec<Op>,
    /// What [`Op::Text`] and [`Op::Say`] of this program say, and a window's width of padding.
    pub(super) text: Vec<u8>,
}

/// Shapes that a plan keeps at most. Events of further ones are written by the program that asks.
const SHAPES_MAX: usize = 512;

/// Slots that are looked at for one shape.
const PROBES: usize = 8;

impl Shapes {
    /// None yet, for these programs.
    pub(super) fn new(programs: &[Vec<Op>]) -> Self {
        let (mut asked, mut dropped) = (0, 0);
        for op in programs.iter().flatten() {
            asked |= op.asks();
            dropped |= op.drops();
        }
        let slots = (0..SHAPES_MAX).map(|_| OnceLock::new()).collect();
        Self { slots, asked, dropped }
    }

    /// The program for events that have these fields, made where it is the first of them; none
    /// where there is no room for it.
    #[inline]
    pub(super) fn of(
        &self,
        plan: &Plan,
        program: usize,
        [present, filled]: [u64; 2],
    ) -> Option<&Shape> {
        let present = present & (self.asked | Op::ANY);
        let key = Key { present, filled: filled & present & self.dropped, program };
        let first = key.hash();
        (first..first + PROBES).find_map(|at| {
            let slot = &self.slots[at % SHAPES_MAX];
            let shape = slot.get_or_init(|| Box::new(Shape::new(plan, key)));
            (shape.key == key).then_some(&**shape)
        })
    }
}

impl Key {
    fn hash(self) -> usize {
        let mixed = self.present ^ self.filled.rotate_left(32) ^ (self.program as u64);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % SHAPES_MAX
    }
}

/// Whether an operation writes something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    Never,
    Surely,
    /// That depends on more than the shape.
    Perhaps,
}

impl Op {
    /// Fields whose absence makes a difference to it.
    fn asks(&self) -> u64 {
        match *self {
            Self::Copy { field, .. } | Self::Write { field, .. } | Self::Members { field, .. } => {
                field.bit()
            }
            Self::With { fields, .. } | Self::Open { fields, .. } => fields,
            Self::Derive { row, .. } | Self::DeriveMembers { row, .. } => row.fields,
            _ => 0,
        }
    }

    /// Fields that make no difference to it when they are an empty text.
    fn drops(&self) -> u64 {
        match *self {
            Self::Copy { drops_empty: true, .. } | Self::With { drops_empty: true, .. } => {
                self.asks()
            }
            _ => 0,
        }
    }

    /// Whether it writes something for events of this shape.
    fn writes(&self, key: Key) -> Writes {
        let asked = self.asks() & key.present;
        match self {
            Self::Text(_) | Self::Say { .. } => Writes::Surely,
            // An object that stands even when it is empty.
            Self::End { .. } => Writes::Surely,
            Self::Copy { .. } | Self::With { .. } if asked == 0 => Writes::Never,
            Self::Copy { .. } | Self::With { .. } => match self.drops() {
                0 => Writes::Surely,
                drops if asked & drops & key.filled != 0 => Writes::Surely,
                _ => Writes::Perhaps,
            },
            op if op.asks() != 0 && asked == 0 => Writes::Never,
            _ => Writes::Perhaps,
        }
    }
}

impl Shape {
    /// Answers what the plan's program asks.
    fn new(plan: &Plan, key: Key) -> Self {
        let program = &plan.programs[key.program];
        let mut writer = Writer { plan, ops: Vec::new(), text: Vec::new(), begun: 0 };
        // Whether something is written in the object of each slot.
        let mut fills = [false; Plan::DEPTH_MAX];
        let mut next = 0;
        while let Some(op) = program.get(next) {
            next += 1;
            match (*op, op.writes(key)) {
                (Op::Open { after, .. }, Writes::Never) => next = usize::from(after),
                (_, Writes::Never) => {}
                (Op::Open { slot, text, .. }, _) => {
                    fills[usize::from(slot)] = is_filled(slot, &program[next..], next, key);
                    match fills[usize::from(slot)] {
                        true => writer.say(text),
                        false => writer.keep(*op),
                    }
                }
                (Op::Close { slot, between, text } | Op::End { slot, between, text }, _)
                    if fills[usize::from(slot)] =>
                {
                    writer.close(between, text);
                }
                (Op::Trim { between, text }, _) => writer.close(between, text),
                (Op::Text(text) | Op::With { text, .. }, Writes::Surely) => writer.say(text),
                (Op::Copy { field, lead, trail, .. }, Writes::Surely) => {
                    writer.say(lead);
                    writer.field(field);
                    writer.say(trail);
                }
                _ => writer.keep(*op),
            }
        }
        writer.flush();
        let Writer { ops, mut text, .. } = writer;
        text.extend_from_slice(&[0; WINDOW]);
        Self { key, ops, text }
    }
}

/// Whether something is surely written in the object of this slot, which begins with `rest`, the
/// operations from the place `at` of their program on.
fn is_filled(slot: u8, rest: &[Op], at: usize, key: Key) -> bool {
    let mut next = 0;
    while let Some(op) = rest.get(next) {
        next += 1;
        match (*op, op.writes(key)) {
            (Op::Open { after, .. }, Writes::Never) => next = usize::from(after) - at,
            (Op::Close { slot: ended, .. } | Op::End { slot: ended, .. }, _) if ended == slot => {
                return false;
            }
            (_, Writes::Surely) => return true,
            _ => {}
        }
    }
    false
}

/// Writes the program of a shape.
struct Writer<'p> {
    plan: &'p Plan,
    ops: Vec<Op>,
    text: Vec<u8>,
    /// Where the text begins that waits for the next operation.
    begun: usize,
}

impl Writer<'_> {
    fn say(&mut self, text: Span) {
        self.text.extend_from_slice(text.of(&self.plan.arena));
    }

    /// Ends an object in which something was written.
    fn close(&mut self, between: u8, text: Span) {
        match self.text.len() - self.begun {
            waiting if waiting >= usize::from(between) => {
                self.text.truncate(self.text.len() - usize::from(between));
                self.say(text);
            }
            _ => self.keep(Op::Trim { between, text }),
        }
    }

    fn field(&mut self, field: FieldId) {
        let text = self.waiting();
        self.ops.push(Op::Say { text, field });
    }

    fn keep(&mut self, op: Op) {
        self.flush();
        self.ops.push(op);
    }

    fn flush(&mut self) {
        let text = self.waiting();
        if text.len > 0 {
            self.ops.push(Op::Text(text));
        }
    }

    fn waiting(&mut self) -> Span {
        let place = |at| u32::try_from(at).expect("a document's own text has a few KiB");
        let text = Span { start: place(self.begun), len: place(self.text.len() - self.begun) };
        self.begun = self.text.len();
        text
    }
}
