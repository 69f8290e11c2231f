//! Reads strict JSON (RFC 8259) in place, without building anything.

use super::{Class, scan};

/// The outcome of reading something: `Err` is the class of the refusal.
pub(super) type Step<T = ()> = Result<T, Class>;

/// A place in a JSON text, and what was noticed on the way there.
#[derive(Debug)]
pub(super) struct Json<'a> {
    /// The text; it must be UTF-8.
    pub text: &'a [u8],
    /// The next byte to read; where reading stopped when the text is refused.
    pub at: usize,
    /// Objects and arrays inside each other, at most.
    depth_max: usize,
    /// Whether half of a surrogate pair stands alone somewhere.
    pub lone: bool,
    /// Whether any string since this was last cleared carries a backslash.
    pub any_escape: bool,
    /// Whether a key may have come twice in an object: to be looked at exactly.
    pub suspect: bool,
    keys_len: u8,
    /// Fingerprints of the keys of the objects around the current place.
    keys: [u32; KEYS_MAX],
}

/// Keys on the way from the record to the current place that are compared in the pass; objects with
/// more are looked at again.
const KEYS_MAX: usize = 64;

impl<'a> Json<'a> {
    /// Starts at the first byte.
    #[inline]
    pub(super) fn new(text: &'a [u8], depth_max: usize) -> Self {
        Self {
            text,
            at: 0,
            depth_max,
            lone: false,
            any_escape: false,
            suspect: false,
            keys_len: 0,
            keys: [0; KEYS_MAX],
        }
    }

    /// The byte here; 0, which starts nothing in JSON, at the end.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Passes over these bytes if they are next.
    #[inline(always)]
    pub(super) fn eat<const N: usize>(&mut self, expected: &[u8; N]) -> bool {
        let found = self.text.get(self.at..).and_then(|rest| rest.first_chunk()) == Some(expected);
        if found {
            self.at += N;
        }
        found
    }

    /// Passes over blanks.
    #[inline(always)]
    pub(super) fn blanks(&mut self) {
        if self.peek() <= b' ' {
            self.blanks_far();
        }
    }

    #[inline(never)]
    fn blanks_far(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    /// Passes over the brace or bracket of a container `depth` deep; whether something is in it,
    /// which is then next.
    #[inline(always)]
    pub(super) fn open(&mut self, depth: usize) -> Step<bool> {
        if depth > self.depth_max {
            return Err(Class::DepthExceeded);
        }
        // A brace is 2 below its partner in ASCII, a bracket too.
        let close = self.peek() + 2;
        self.at += 1;
        self.blanks();
        let is_empty = self.peek() == close;
        self.at += usize::from(is_empty);
        Ok(!is_empty)
    }

    /// After a member of an object: whether another one follows, which is then next.
    #[inline(always)]
    pub(super) fn more(&mut self) -> Step<bool> {
        self.more_until(b'}')
    }

    #[inline(always)]
    pub(super) fn more_until(&mut self, close: u8) -> Step<bool> {
        self.blanks();
        let byte = self.peek();
        if byte == b',' {
            self.at += 1;
            self.blanks();
            Ok(true)
        } else if byte == close {
            self.at += 1;
            Ok(false)
        } else {
            Err(Class::JsonSyntax)
        }
    }

    /// Passes over a key and its colon: the text between the quotes, and whether it carries a
    /// backslash. The value is next.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Step<(&'a [u8], bool)> {
        if self.peek() != b'"' {
            return Err(Class::JsonSyntax);
        }
        let start = self.at + 1;
        let escaped = self.string()?;
        let key = &self.text[start..self.at - 1];
        self.blanks();
        if self.peek() != b':' {
            return Err(Class::JsonSyntax);
        }
        self.at += 1;
        self.blanks();
        Ok((key, escaped))
    }

    /// Passes over the string that starts here; whether it carries a backslash.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Step<bool> {
        let end = scan::special(self.text, self.at + 1);
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(false);
        }
        self.at = end;
        self.string_with_escapes()
    }

    /// The rest of a string from its first backslash, if it is one.
    #[inline(never)]
    fn string_with_escapes(&mut self) -> Step<bool> {
        loop {
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    self.any_escape = true;
                    return Ok(true);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(Class::JsonSyntax),
            }
            self.at = scan::special(self.text, self.at);
        }
    }

    fn escape(&mut self) -> Step {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = unit(self.text, self.at).ok_or(Class::JsonSyntax)?;
                self.at += 6;
                if !(0xd800..=0xdfff).contains(&unit) {
                    return Ok(());
                }
                let is_high = unit < 0xdc00;
                match unit_after(self.text, self.at) {
                    Some(0xdc00..=0xdfff) if is_high => self.at += 6,
                    _ => self.lone = true,
                }
            }
            _ => return Err(Class::JsonSyntax),
        }
        Ok(())
    }

    /// Passes over the value that starts here, inside a container `depth` deep.
    #[inline]
    pub(super) fn value(&mut self, depth: usize) -> Step {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'-' | b'0'..=b'9' => self.number(),
            b't' if self.eat(b"true") => Ok(()),
            b'f' if self.eat(b"false") => Ok(()),
            b'n' if self.eat(b"null") => Ok(()),
            _ => Err(Class::JsonSyntax),
        }
    }

    fn object(&mut self, depth: usize) -> Step {
        let keys_base = self.keys_len();
        let mut more = self.open(depth)?;
        while more {
            let (key, escaped) = self.key()?;
            self.note_key(keys_base, key, escaped);
            self.value(depth)?;
            more = self.more()?;
        }
        self.forget_keys(keys_base);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Step {
        let mut more = self.open(depth)?;
        while more {
            self.value(depth)?;
            more = self.more_until(b']')?;
        }
        Ok(())
    }

    /// Passes over a number: `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`.
    #[inline]
    pub(super) fn number(&mut self) -> Step {
        self.at += usize::from(self.peek() == b'-');
        match self.peek() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return Err(Class::JsonSyntax),
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    #[inline]
    fn digits(&mut self) -> Step {
        if !self.peek().is_ascii_digit() {
            return Err(Class::JsonSyntax);
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    /// The class of a text that does not start as an object.
    #[cold]
    pub(super) fn no_object(&mut self) -> Class {
        if let Err(class) = self.value(0) {
            return class;
        }
        self.blanks();
        if self.is_at_end() { Class::NotObject } else { Class::JsonSyntax }
    }

    /// Where the keys of an object that starts now will begin.
    #[inline(always)]
    pub(super) fn keys_len(&self) -> u8 {
        self.keys_len
    }

    /// Compares a key with those of the same object, which began at `base`.
    ///
    /// Equal keys have equal fingerprints, unequal ones nearly never; keys with escapes and those
    /// beyond the room are suspected without a look.
    #[inline(always)]
    pub(super) fn note_key(&mut self, base: u8, key: &[u8], escaped: bool) {
        let len = usize::from(self.keys_len);
        if escaped || len >= KEYS_MAX {
            self.suspect = true;
            return;
        }
        let print = fingerprint(key);
        let seen = &self.keys[usize::from(base).min(len)..len];
        self.suspect |= seen.iter().fold(false, |found, &other| found | (other == print));
        self.keys[len] = print;
        self.keys_len += 1;
    }

    /// Takes back the keys of an object that ended.
    #[inline(always)]
    pub(super) fn forget_keys(&mut self, base: u8) {
        self.keys_len = base;
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
fn fingerprint(key: &[u8]) -> u32 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    let mixed = match (key.first_chunk(), key.last_chunk()) {
        (Some(first), Some(last)) => word(first) ^ word(last).rotate_left(29),
        _ => match (key.first_chunk(), key.last_chunk()) {
            (Some(first), Some(last)) => half(first) | half(last) << 32,
            _ => key.iter().fold(0, |mixed, &byte| mixed << 8 | u64::from(byte)),
        },
    };
    ((mixed ^ key.len() as u64).wrapping_mul(SPREAD) >> 32) as u32
}
