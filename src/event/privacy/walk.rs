//! One pass over an object whose members have rules of their own.

use super::super::home::is_same_key;
use super::super::json::{After, Json, Keys, PREVIEWS, ROW_KEY, Step as Read};
use super::super::open::DEPTH_MAX;
use super::super::scan::Specials;
use super::Open;
use super::change::{Change, Op};
use super::path::Step;

/// Which object is walked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// The source's metadata.
    Metadata,
    /// What we say of the event: `metadata.shrike`.
    Shrike,
    /// The labels.
    Labels,
}

/// The object on its way into new bytes: pieces between changes are copied as they are.
pub(super) struct Walk<'w, 'c, 'a> {
    text: &'w [u8],
    root: Root,
    change: &'w mut Change<'c>,
    open: &'a Open,
    /// Everything before was written or left out.
    copied: usize,
}

/// Rules that fit the way to the current place.
#[derive(Clone, Copy)]
struct Alive {
    /// By position.
    rules: u128,
    /// Steps taken.
    level: usize,
    /// Whether a rule, or the lack of any, lets everything from here on stay.
    is_allowed: bool,
}

/// What happens to one value.
enum Fate {
    Drop,
    Op(Op),
    Into(Alive),
}

impl<'w, 'c, 'a> Walk<'w, 'c, 'a>
where
    'c: 'w,
{
    pub(super) fn new(text: &'w [u8], root: Root, change: &'w mut Change<'c>) -> Self
    where
        'c: 'a,
    {
        let privacy = change.privacy;
        let open = match root {
            Root::Labels => &privacy.labels,
            Root::Metadata => &privacy.metadata,
            Root::Shrike => &privacy.remarks,
        };
        Self { text, root, change, open, copied: 0 }
    }

    /// Writes the object; `None` when it is none.
    pub(super) fn run(mut self) -> Option<()> {
        if self.text.first() != Some(&b'{') {
            return None;
        }
        let all = match self.open.rules.len() {
            0 => 0,
            rules => u128::MAX >> (u128::BITS as usize - rules),
        };
        let mut alive = Alive { rules: all, level: 0, is_allowed: !self.open.is_restricted };
        if self.root == Root::Shrike {
            if self.change.privacy.touched & super::F::Metadata.bit() != 0 {
                alive.is_allowed = false;
            }
            match self.fate(|step| is_step(step, b"shrike", false), alive) {
                Fate::Into(inside) => alive = inside,
                Fate::Op(_) | Fate::Drop => {
                    alive = Alive { rules: 0, level: 1, is_allowed: false };
                }
            }
        }
        let specials = Specials::new(self.text);
        let mut json = Json::new(&specials, DEPTH_MAX);
        let (end, _) = self.object(&mut json, 0, 1, alive).ok()?;
        self.copy_to(end);
        Some(())
    }

    fn copy_to(&mut self, to: usize) {
        self.change.out.extend_from_slice(&self.text[self.copied..to]);
        self.copied = to;
    }

    /// Writes an object; says where it ends, and whether it names a value that goes.
    fn object(
        &mut self,
        json: &mut Json<'_, 'w>,
        at: usize,
        depth: usize,
        alive: Alive,
    ) -> Read<(usize, bool)> {
        let mut after = json.open(at, depth)?;
        let (mut names_preview, mut has_value) = (false, false);
        loop {
            let start = match after {
                After::Next(at) => at,
                After::End(end) => return Ok((end, names_preview && has_value)),
            };
            let (key, escaped, value) = json.key(start)?;
            names_preview |= is_name(ROW_KEY, key, escaped) && self.is_preview_at(json, value)?;
            has_value |= is_name(ROW_VALUE, key, escaped);
            let fate = self.member_fate(key, escaped, alive, depth);
            let (end, is_dropped) = self.value(json, (start, value), depth, fate)?;
            after = json.after_member(end)?;
            if is_dropped {
                self.close_gap(&after);
            }
        }
    }

    fn array(
        &mut self,
        json: &mut Json<'_, 'w>,
        at: usize,
        depth: usize,
        alive: Alive,
    ) -> Read<usize> {
        let mut after = json.open(at, depth)?;
        loop {
            let start = match after {
                After::Next(at) => at,
                After::End(end) => return Ok(end),
            };
            let fate = self.fate(|step| *step == Step::Elements, alive);
            let (end, is_dropped) = self.value(json, (start, start), depth, fate)?;
            after = json.after_element(end)?;
            if is_dropped {
                self.close_gap(&after);
            }
        }
    }

    /// Writes a member or an element, which starts at the first place, its value at the second;
    /// says where it ends, and whether it was left out.
    fn value(
        &mut self,
        json: &mut Json<'_, 'w>,
        (start, value): (usize, usize),
        depth: usize,
        fate: Fate,
    ) -> Read<(usize, bool)> {
        let alive = match self.at_value(fate, json.byte(value)) {
            Fate::Into(alive) => alive,
            Fate::Op(op) => {
                let end = json.value(value, depth, Keys::ANY)?;
                self.copy_to(value);
                self.change.op(op, &self.text[value..end]);
                self.copied = end;
                return Ok((end, false));
            }
            Fate::Drop => return self.drop(json, (start, value), depth),
        };
        match json.byte(value) {
            b'{' => {
                let (copied, written) = (self.copied, self.change.out.len());
                let (end, names_preview) = self.object(json, value, depth + 1, alive)?;
                if names_preview {
                    // A key and its value as an object of their own, as lists hold them.
                    self.copied = copied;
                    self.change.out.truncate(written);
                    self.leave_out(start, end);
                }
                Ok((end, names_preview))
            }
            b'[' => self.array(json, value, depth + 1, alive).map(|end| (end, false)),
            // A path goes on where the value ends: only what it leads to may stay.
            _ if !alive.is_allowed => self.drop(json, (start, value), depth),
            _ => {
                let end = json.value(value, depth, Keys::ANY)?;
                let repeats = self.change.has_copies();
                if let Some(text) = self.change.text(&self.text[value..end], repeats) {
                    self.copy_to(value);
                    self.change.quoted(&text);
                    self.copied = end;
                }
                Ok((end, false))
            }
        }
    }

    fn drop(
        &mut self,
        json: &mut Json<'_, 'w>,
        (start, value): (usize, usize),
        depth: usize,
    ) -> Read<(usize, bool)> {
        let end = json.value(value, depth, Keys::ANY)?;
        self.leave_out(start, end);
        Ok((end, true))
    }

    fn leave_out(&mut self, start: usize, end: usize) {
        self.copy_to(start);
        self.copied = end;
        self.change.is_changed = true;
    }

    /// Whether the value here is a text that is the name of bulky content, which goes.
    fn is_preview_at(&self, json: &mut Json<'_, 'w>, at: usize) -> Read<bool> {
        if !self.drops_previews() || json.byte(at) != b'"' {
            return Ok(false);
        }
        let (end, escaped) = json.string(at)?;
        let name = &self.text[at + 1..end - 1];
        Ok(PREVIEWS.iter().any(|preview| is_name(preview, name, escaped)))
    }

    fn drops_previews(&self) -> bool {
        self.change.privacy.drops_previews && self.root != Root::Labels
    }

    /// Goes on after something that was left out, without a comma too many.
    fn close_gap(&mut self, after: &After) {
        match *after {
            After::Next(next) => self.copied = next,
            After::End(end) => {
                let out = &mut self.change.out;
                while out.last().is_some_and(u8::is_ascii_whitespace) {
                    out.pop();
                }
                if out.last() == Some(&b',') {
                    out.pop();
                }
                self.copied = end - 1;
            }
        }
    }

    fn member_fate(&self, key: &[u8], escaped: bool, alive: Alive, depth: usize) -> Fate {
        let is = |name: &str| is_name(name, key, escaped);
        let is_ours = self.root == Root::Shrike && depth == 1 && OURS.iter().any(|name| is(name));
        if is_ours {
            return Fate::Into(Alive { rules: 0, is_allowed: true, ..alive });
        }
        if self.drops_previews() && PREVIEWS.iter().any(|name| is(name)) {
            return Fate::Drop;
        }
        self.fate(|step| is_step(step, key, escaped), alive)
    }

    /// What happens to a value that begins so: what a field's source has in place of an object
    /// around it is covered with the field.
    fn at_value(&self, fate: Fate, first: u8) -> Fate {
        let Fate::Into(Alive { rules, .. }) = &fate else { return fate };
        if first == b'{' || self.root != Root::Shrike {
            return fate;
        }
        let rules = self.open.rules.iter().enumerate().filter(|(at, _)| rules & 1 << at != 0);
        let ops = rules.filter(|(_, rule)| rule.is_of_source).map(|(_, rule)| rule.op);
        match ops.max().flatten() {
            Some(Op::Remove) => Fate::Drop,
            Some(op) => Fate::Op(op),
            None => fate,
        }
    }

    /// What the rules that fit so far say of the next step.
    fn fate(&self, fits: impl Fn(&Step) -> bool, alive: Alive) -> Fate {
        let mut next = Alive { rules: 0, level: alive.level + 1, ..alive };
        let mut op: Option<Op> = None;
        let mut rest = alive.rules;
        while rest != 0 {
            let at = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let rule = &self.open.rules[at];
            if !rule.steps.get(alive.level).is_some_and(&fits) {
                continue;
            }
            match (rule.steps.len() == next.level, rule.op) {
                (false, _) => next.rules |= 1 << at,
                (true, Some(found)) => op = op.max(Some(found)),
                (true, None) => next.is_allowed = true,
            }
        }
        let leads_on = || {
            let mut rules = self.open.rules.iter().enumerate();
            rules.any(|(at, rule)| next.rules & 1 << at != 0 && rule.op.is_none())
        };
        match op {
            Some(Op::Remove) => Fate::Drop,
            _ if !next.is_allowed && !leads_on() => Fate::Drop,
            Some(op) => Fate::Op(op),
            None => Fate::Into(next),
        }
    }
}

fn is_name(name: &str, text: &[u8], escaped: bool) -> bool {
    match escaped {
        false => text == name.as_bytes(),
        true => is_same_key(text, name.as_bytes()),
    }
}

fn is_step(step: &Step, key: &[u8], escaped: bool) -> bool {
    match step {
        Step::Any => true,
        Step::Key(name) if escaped => is_same_key(key, name),
        Step::Key(name) => key == name.as_slice(),
        Step::Elements => false,
    }
}

/// The member beside [`ROW_KEY`] that holds what is named.
const ROW_VALUE: &str = "value";
/// Members of our remarks that hold words of ours, never those of an event.
const OURS: &[&str] = &["format", "defaulted", "flags", "truncated"];
