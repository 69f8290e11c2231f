//! Reads strict JSON (RFC 8259) in place, without building anything.

use super::Class;
use super::scan::{Specials, leading_digits};

/// The outcome of reading something: `Err` is the class of the refusal.
pub(super) type Step<T = ()> = Result<T, Class>;

/// A JSON text, and what was noticed in it.
///
/// Reading takes a place and returns the next one: a place that lived in here would go through
/// memory with each step, and the steps wait for each other.
#[derive(Debug)]
pub(super) struct Json<'s, 'a> {
    /// The text; it must be UTF-8.
    pub text: &'a [u8],
    specials: &'s Specials<'a>,
    /// Objects and arrays inside each other, at most.
    depth_max: usize,
    /// Where reading stopped, when the text was refused.
    pub stopped_at: usize,
    /// Whether half of a surrogate pair stands alone somewhere.
    pub lone: bool,
    /// Whether any string since this was last cleared carries a backslash.
    pub any_escape: bool,
    /// Whether a key may have come twice in an object: to be looked at exactly.
    pub suspect: bool,
    /// Whether a key may be one of [`PREVIEWS`], or name one: to be looked at exactly.
    pub previews: bool,
    /// Fingerprints of the keys of the objects around the current place.
    prints: [u32; KEYS_MAX],
}

/// Keys on the way from the record to the current place that are compared in the pass; objects with
/// more are looked at again.
const KEYS_MAX: usize = 64;

/// The keys seen in one object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    /// Bit i is set when some fingerprint ends in i: without it the key is new.
    endings: u64,
    /// Where this object's fingerprints begin and end.
    base: usize,
    len: usize,
}

impl Keys {
    /// No keys, in an object that is in none.
    pub(super) const NONE: Self = Self { endings: 0, base: 0, len: 0 };
    /// Nobody asks whether keys repeat.
    pub(super) const ANY: Self = Self { endings: 0, base: KEYS_MAX, len: KEYS_MAX };

    /// No keys yet, in an object inside this one.
    #[inline(always)]
    pub(super) fn inside(self) -> Self {
        Self { endings: 0, base: self.len, len: self.len }
    }
}

/// What comes after a member or an element.
pub(super) enum After {
    /// Another one, here.
    Next(usize),
    /// The end of the container; this is the byte behind it.
    End(usize),
}

impl<'s, 'a> Json<'s, 'a> {
    #[inline(always)]
    pub(super) fn new(specials: &'s Specials<'a>, depth_max: usize) -> Self {
        Self {
            text: specials.text,
            specials,
            depth_max,
            stopped_at: 0,
            lone: false,
            any_escape: false,
            suspect: false,
            previews: false,
            prints: [0; KEYS_MAX],
        }
    }

    /// The byte at this place; 0, which starts nothing in JSON, behind the end.
    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// Notes where reading stopped, and says why.
    #[cold]
    #[inline(never)]
    pub(super) fn stop(&mut self, at: usize, class: Class) -> Class {
        self.stopped_at = at;
        class
    }

    #[cold]
    #[inline(never)]
    fn no_json(&mut self, at: usize) -> Class {
        self.stop(at.min(self.text.len()), Class::JsonSyntax)
    }

    /// The place behind these bytes, if they are here.
    #[inline(always)]
    pub(super) fn eat<const N: usize>(&self, at: usize, expected: &[u8; N]) -> Option<usize> {
        let found = self.text.get(at..).and_then(|rest| rest.first_chunk()) == Some(expected);
        found.then_some(at + N)
    }

    /// The first place from here that holds no blank.
    #[inline(always)]
    pub(super) fn blanks(&self, at: usize) -> usize {
        if self.byte(at) > b' ' { at } else { self.blanks_far(at) }
    }

    #[inline(never)]
    fn blanks_far(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// The inside of the container that starts here, `depth` deep.
    #[inline(always)]
    pub(super) fn open(&mut self, at: usize, depth: usize) -> Step<After> {
        if depth > self.depth_max {
            return Err(self.stop(at, Class::DepthExceeded));
        }
        // A bracket or brace is 2 below its partner in ASCII.
        let close = self.byte(at) + 2;
        let at = self.blanks(at + 1);
        Ok(if self.byte(at) == close { After::End(at + 1) } else { After::Next(at) })
    }

    /// What comes after the member of an object that ends here.
    #[inline(always)]
    pub(super) fn after_member(&mut self, at: usize) -> Step<After> {
        self.after(at, b'}')
    }

    /// What comes after the element of an array that ends here.
    #[inline(always)]
    pub(super) fn after_element(&mut self, at: usize) -> Step<After> {
        self.after(at, b']')
    }

    #[inline(always)]
    fn after(&mut self, at: usize, close: u8) -> Step<After> {
        let byte = self.byte(at);
        if byte == b',' {
            Ok(After::Next(self.blanks(at + 1)))
        } else if byte == close {
            Ok(After::End(at + 1))
        } else {
            self.after_blanks(at, close)
        }
    }

    #[inline(never)]
    fn after_blanks(&mut self, at: usize, close: u8) -> Step<After> {
        let at = self.blanks(at);
        match self.byte(at) {
            b',' => Ok(After::Next(self.blanks(at + 1))),
            byte if byte == close => Ok(After::End(at + 1)),
            _ => Err(self.no_json(at)),
        }
    }

    /// The key that starts here: its text between the quotes, whether it carries a backslash, and
    /// the place of its value.
    #[inline(always)]
    pub(super) fn key(&mut self, at: usize) -> Step<(&'a [u8], bool, usize)> {
        if self.byte(at) != b'"' {
            return Err(self.no_json(at));
        }
        let (end, escaped) = self.string(at)?;
        let key = &self.text[at + 1..end - 1];
        let colon = self.blanks(end);
        if self.byte(colon) != b':' {
            return Err(self.no_json(colon));
        }
        Ok((key, escaped, self.blanks(colon + 1)))
    }

    /// The place behind the string that starts here, and whether it carries a backslash.
    #[inline(always)]
    pub(super) fn string(&mut self, at: usize) -> Step<(usize, bool)> {
        let end = self.specials.next(at + 1);
        if self.byte(end) == b'"' {
            return Ok((end + 1, false));
        }
        Ok((self.string_with_escapes(end)?, true))
    }

    /// The rest of a string from its first backslash, if it is one.
    #[inline(never)]
    fn string_with_escapes(&mut self, mut at: usize) -> Step<usize> {
        self.any_escape = true;
        loop {
            at = match self.byte(at) {
                b'"' => return Ok(at + 1),
                b'\\' => self.escape(at)?,
                _ => return Err(self.no_json(at)),
            };
            at = self.specials.next(at);
        }
    }

    fn escape(&mut self, at: usize) -> Step<usize> {
        match self.byte(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => return Ok(at + 2),
            b'u' => {}
            _ => return Err(self.no_json(at + 1)),
        }
        let Some(code) = unit(self.text, at) else { return Err(self.no_json(at + 2)) };
        if !(0xd800..=0xdfff).contains(&code) {
            return Ok(at + 6);
        }
        match unit_after(self.text, at + 6) {
            Some(0xdc00..=0xdfff) if code < 0xdc00 => Ok(at + 12),
            _ => {
                self.lone = true;
                Ok(at + 6)
            }
        }
    }

    /// The place behind the value that starts here, inside a container `depth` deep whose keys are
    /// `around`.
    #[inline(always)]
    pub(super) fn value(&mut self, at: usize, depth: usize, around: Keys) -> Step<usize> {
        match self.byte(at) {
            b'"' => self.string(at).map(|(end, _)| end),
            b'-' | b'0'..=b'9' => self.number(at),
            _ => self.other_value(at, depth, around),
        }
    }

    fn other_value(&mut self, at: usize, depth: usize, around: Keys) -> Step<usize> {
        let word = match self.byte(at) {
            b'{' => return self.object(at, depth + 1, around.inside()),
            b'[' => return self.array(at, depth + 1, around),
            b't' => self.eat(at, b"true"),
            b'f' => self.eat(at, b"false"),
            b'n' => self.eat(at, b"null"),
            _ => None,
        };
        word.ok_or_else(|| self.no_json(at))
    }

    fn object(&mut self, at: usize, depth: usize, mut keys: Keys) -> Step<usize> {
        let mut after = self.open(at, depth)?;
        loop {
            let at = match after {
                After::Next(at) => at,
                After::End(end) => return Ok(end),
            };
            let (key, escaped, value) = self.key(at)?;
            self.note_key(&mut keys, key, escaped);
            let end = self.value(value, depth, keys)?;
            after = self.after_member(end)?;
        }
    }

    fn array(&mut self, at: usize, depth: usize, around: Keys) -> Step<usize> {
        let mut after = self.open(at, depth)?;
        loop {
            let at = match after {
                After::Next(at) => at,
                After::End(end) => return Ok(end),
            };
            let end = self.value(at, depth, around)?;
            after = self.after_element(end)?;
        }
    }

    /// The place behind the number that starts here:
    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`.
    #[inline]
    pub(super) fn number(&mut self, start: usize) -> Step<usize> {
        let at = start + usize::from(self.byte(start) == b'-');
        let mut at = if self.byte(at) == b'0' { at + 1 } else { self.digits(at)? };
        if self.byte(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        if matches!(self.byte(at), b'e' | b'E') {
            at += 1;
            at = self.digits(at + usize::from(matches!(self.byte(at), b'+' | b'-')))?;
        }
        Ok(at)
    }

    /// One digit or more.
    #[inline(always)]
    fn digits(&mut self, start: usize) -> Step<usize> {
        let mut at = start;
        if let Some(word) = self.text.get(at..).and_then(|rest| rest.first_chunk()) {
            at += leading_digits(u64::from_le_bytes(*word));
        }
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        if at == start { Err(self.no_json(at)) } else { Ok(at) }
    }

    /// The class of a text that does not start as an object.
    #[cold]
    pub(super) fn no_object(&mut self, at: usize) -> Class {
        let end = match self.value(at, 0, Keys::NONE) {
            Ok(end) => self.blanks(end),
            Err(class) => return class,
        };
        let is_value = end == self.text.len();
        self.stop(end, if is_value { Class::NotObject } else { Class::JsonSyntax })
    }

    /// Compares a key with those of the same object.
    ///
    /// Equal keys have equal fingerprints, unequal ones nearly never; keys with escapes and those
    /// beyond the room are suspected without a look.
    ///
    /// The fingerprint also tells, at the cost of a load, which records privacy has to look into.
    #[inline(always)]
    pub(super) fn note_key(&mut self, keys: &mut Keys, key: &[u8], escaped: bool) {
        if escaped || keys.len >= KEYS_MAX {
            self.suspect = true;
            self.previews = true;
            return;
        }
        let print = fingerprint(key);
        if PREVIEW_PRINTS.has(print) {
            self.previews |= is_preview(key);
        }
        let ending = 1 << (print % 64);
        if keys.endings & ending != 0 {
            let seen = self.prints.get(keys.base..keys.len).unwrap_or_default();
            self.suspect |= seen.contains(&print);
        }
        keys.endings |= ending;
        self.prints[keys.len] = print;
        keys.len += 1;
    }
}

/// The UTF-16 unit of the `\uXXXX` at this place.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at + 2..at + 6)?;
    digits.iter().try_fold(0, |unit, &byte| {
        let digit = char::from(byte).to_digit(16)?;
        Some(unit << 4 | digit as u16)
    })
}

/// The same, if there is such an escape at this place at all.
pub(super) fn unit_after(text: &[u8], at: usize) -> Option<u16> {
    if text.get(at..at + 2)? == b"\\u" { unit(text, at) } else { None }
}

/// A number that equal keys share.
#[inline(always)]
const fn fingerprint(key: &[u8]) -> u32 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29)
        }
        _ => match (key.first_chunk::<4>(), key.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32
            }
            _ => {
                let (mut mixed, mut rest) = (0, key);
                while let Some((&byte, after)) = rest.split_first() {
                    mixed = mixed << 8 | byte as u64;
                    rest = after;
                }
                mixed
            }
        },
    };
    ((mixed ^ key.len() as u64).wrapping_mul(SPREAD) >> 32) as u32
}

/// Members that hold what was read, written or said: bulky, and nobody's business
/// (`inputs.md`, sections 7.3 and 7.4).
pub(super) const PREVIEWS: &[&str] = &[
    "request_body_preview",
    "response_body_preview",
    "body_preview",
    "patchContent",
    "patch_content",
    "content",
    "contentBase64",
    "content_base64",
    "parameters",
    "output",
    "prompt",
    "tool_parameters",
    "tool_input",
    // OpenTelemetry's conventions for generative AI, of all ages.
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.system_instructions",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
];

/// The member that names a value in a list of keys and values: it may name one of [`PREVIEWS`].
pub(super) const ROW_KEY: &str = "key";

#[cold]
fn is_preview(key: &[u8]) -> bool {
    key == ROW_KEY.as_bytes() || PREVIEWS.iter().any(|preview| key == preview.as_bytes())
}

/// A set of fingerprints: it may hold one that was not put in, never the other way round.
struct Prints([u64; 1 << (PRINT_BITS - 6)]);

/// So many bits that of a hundred records with ten other keys two or three are looked at again.
const PRINT_BITS: u32 = 12;

static PREVIEW_PRINTS: Prints = Prints::of(PREVIEWS).with(ROW_KEY);

impl Prints {
    const fn of(keys: &[&str]) -> Self {
        let (mut prints, mut i) = (Self([0; 1 << (PRINT_BITS - 6)]), 0);
        while i < keys.len() {
            prints = prints.with(keys[i]);
            i += 1;
        }
        prints
    }

    const fn with(mut self, key: &str) -> Self {
        let place = Self::place(fingerprint(key.as_bytes()));
        self.0[place / 64] |= 1 << (place % 64);
        self
    }

    #[inline(always)]
    fn has(&self, print: u32) -> bool {
        let place = Self::place(print);
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    #[inline(always)]
    const fn place(print: u32) -> usize {
        (print >> (32 - PRINT_BITS)) as usize
    }
}
