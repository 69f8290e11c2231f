//! Walks over JSON text that was checked when its record was opened: members, elements, characters.
//!
//! Nothing here allocates or fails. On text that is no JSON the walk ends early.

/// The members of an object: each key without its quotes, still escaped, and its value's text.
pub fn members(object: &[u8]) -> Members<'_> {
    Members { rest: inside(object, b'{', b'}') }
}

/// The elements of an array, each as JSON text.
pub fn elements(array: &[u8]) -> Elements<'_> {
    Elements { rest: inside(array, b'[', b']') }
}

/// The value of the first member with this key, which has no escape that it could do without.
pub fn member<'a>(object: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    members(object).find(|(name, _)| *name == key || is_longer(name, key)).map(|(_, value)| value)
}

/// Whether a name is the key in a longer spelling, with escapes.
fn is_longer(name: &[u8], key: &[u8]) -> bool {
    name.len() > key.len()
        && memchr::memchr(b'\\', name).is_some()
        && characters(name).eq(characters(key))
}

/// What stands between the brackets, without surrounding blanks; empty for anything else.
pub fn inside(json: &[u8], open: u8, close: u8) -> &[u8] {
    match json {
        [first, text @ .., last] if *first == open && *last == close => text.trim_ascii(),
        _ => b"",
    }
}

/// The text of a string without its quotes; `None` for anything else.
pub fn string(json: &[u8]) -> Option<&[u8]> {
    match json {
        [b'"', text @ .., b'"'] => Some(text),
        _ => None,
    }
}

/// The members of an object.
pub struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.trim_ascii_start();
        let (name, rest) = rest.split_at_checked(value_len(rest))?;
        let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (value, rest) = rest.split_at_checked(value_len(rest))?;
        self.rest = after_comma(rest);
        Some((string(name)?, value))
    }
}

/// The elements of an array.
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.trim_ascii_start();
        let (value, rest) = rest.split_at_checked(value_len(rest))?;
        self.rest = after_comma(rest);
        (!value.is_empty()).then_some(value)
    }
}

fn after_comma(rest: &[u8]) -> &[u8] {
    rest.trim_ascii_start().strip_prefix(b",").unwrap_or_default()
}

/// Bytes of the value at the start.
fn value_len(json: &[u8]) -> usize {
    match json.first() {
        Some(b'"') => string_len(json),
        Some(b'{' | b'[') => container_len(json),
        _ => json
            .iter()
            .position(|byte| {
                matches!(byte, b',' | b':' | b'}' | b']') || byte.is_ascii_whitespace()
            })
            .unwrap_or(json.len()),
    }
}

/// Bytes of the string at the start.
fn string_len(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(rest) = json.get(at..) {
        at += plain_len(rest);
        match json.get(at) {
            Some(b'"') => return at + 1,
            Some(_) => at += 2,
            None => break,
        }
    }
    json.len()
}

/// Bytes before the first quotation mark or backslash.
///
/// Keys and most values are short, so eight bytes are looked at at once before a search is worth
/// its call: a byte that is zero after the exclusive or with the wanted one borrows from its top
/// bit when 1 is subtracted, and a byte above 127 is never wanted. A borrow may mark a byte behind
/// a wanted one too, never one before it.
fn plain_len(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const SHORT: usize = 4;
    let equals = |word: u64, byte: u8| (word ^ (ONES * u64::from(byte))).wrapping_sub(ONES);
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().take(SHORT).enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = (equals(word, b'"') | equals(word, b'\\')) & !word & (ONES << 7);
        if found != 0 {
            return 8 * at + found.trailing_zeros() as usize / 8;
        }
    }
    let at = 8 * words.len().min(SHORT);
    let found = match words.len() {
        0..=SHORT => rest.iter().position(|byte| matches!(byte, b'"' | b'\\')),
        _ => memchr::memchr2(b'"', b'\\', &text[at..]),
    };
    found.map_or(text.len(), |found| at + found)
}

/// Whether a backslash stands in it.
///
/// Most texts are short: eight bytes are looked at at once, the last ones perhaps twice.
#[inline]
pub fn has_escape(text: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const SHORT: usize = 64;
    // A byte that is zero after the exclusive or borrows from its top bit (as in `plain_len`).
    let marks = |word: u64| {
        let other = word ^ (ONES * u64::from(b'\\'));
        other.wrapping_sub(ONES) & !other & (ONES << 7)
    };
    let Some(last) = text.last_chunk::<8>() else { return text.contains(&b'\\') };
    if text.len() > SHORT {
        return memchr::memchr(b'\\', text).is_some();
    }
    let (words, _) = text.as_chunks::<8>();
    let all = words.iter().map(|word| marks(u64::from_le_bytes(*word))).fold(0, |all, it| all | it);
    all | marks(u64::from_le_bytes(*last)) != 0
}

fn container_len(json: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = json.get(at) {
        at += match byte {
            b'"' => string_len(&json[at..]),
            _ => 1,
        };
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    json.len()
}

/// Whether U+0000 stands in it, which JSON writes only so.
pub fn has_nul(json: &[u8]) -> bool {
    memchr::memmem::find(json, NUL).is_some()
}

/// The value with U+FFFD for U+0000 in the names of all its members.
pub fn without_nul_names(json: &[u8]) -> Vec<u8> {
    let mut named = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = memchr::memchr(b'"', rest) {
        let (before, from) = rest.split_at(start);
        let (text, after) = from.split_at(string_len(from));
        named.extend_from_slice(before);
        if after.trim_ascii_start().starts_with(b":") {
            without_nul(text, &mut named);
        } else {
            named.extend_from_slice(text);
        }
        rest = after;
    }
    named.extend_from_slice(rest);
    named
}

fn without_nul(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let len = if rest[at..].starts_with(NUL) { NUL.len() } else { 2 };
        let (escape, after) = rest[at..].split_at(len.min(rest.len() - at));
        out.extend_from_slice(if escape == NUL { b"\\ufffd" } else { escape });
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// How JSON writes U+0000.
const NUL: &[u8] = b"\\u0000";

/// Escaped text against plain text, character by character: the order of code points, which is
/// that of UTF-8 bytes.
#[must_use]
pub fn compare(escaped: &[u8], plain: &str) -> std::cmp::Ordering {
    if memchr::memchr(b'\\', escaped).is_none() {
        return escaped.cmp(plain.as_bytes());
    }
    characters(escaped).cmp(plain.chars())
}

/// The characters of escaped text.
pub fn characters(text: &[u8]) -> impl Iterator<Item = char> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (char, len) = character(rest)?;
        rest = &rest[len..];
        Some(char)
    })
}

/// As much of escaped text as so many characters take.
#[must_use]
pub fn beginning(text: &[u8], characters: usize) -> &[u8] {
    let mut end = 0;
    for _ in 0..characters {
        let Some((_, len)) = character(&text[end..]) else { break };
        end += len;
    }
    &text[..end]
}

/// The first character of escaped text and the bytes that spell it; `None` at the end.
///
/// Half of a surrogate pair and bytes that are no UTF-8 read as U+FFFD.
#[inline]
pub fn character(text: &[u8]) -> Option<(char, usize)> {
    match *text.first()? {
        b'\\' => Some(escape(text)),
        byte if byte < 0x80 => Some((char::from(byte), 1)),
        _ => Some(wide(text)),
    }
}

/// The first character of text outside ASCII.
fn wide(text: &[u8]) -> (char, usize) {
    let window = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |char| (char, char.len_utf8()))
}

/// The character of an escape sequence; RFC 8259 section 7.
fn escape(text: &[u8]) -> (char, usize) {
    let plain = match text.get(1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return unicode(text),
        Some(&byte) if byte.is_ascii() => char::from(byte),
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (plain, 2)
}

fn unicode(text: &[u8]) -> (char, usize) {
    let Some(first) = code_unit(text) else {
        return (char::REPLACEMENT_CHARACTER, text.len().min(2));
    };
    if let Some(char) = char::from_u32(first) {
        return (char, 6);
    }
    let low = text.get(6..).filter(|rest| rest.starts_with(b"\\u")).and_then(code_unit);
    match low {
        Some(low @ 0xDC00..=0xDFFF) if first < 0xDC00 => {
            let code = 0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

fn code_unit(text: &[u8]) -> Option<u32> {
    let digits = text.get(2..6)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_goes_from_names_and_stays_in_values() {
        for (json, expected) in [
            (r#"{"a\u0000":"b\u0000"}"#, r#"{"a\ufffd":"b\u0000"}"#),
            (
                r#"{"\\u0000":["\u0000",{"\"\u0000\"" : 1}]}"#,
                r#"{"\\u0000":["\u0000",{"\"\ufffd\"" : 1}]}"#,
            ),
            (r#"{"\\\u0000\u0000":{}}"#, r#"{"\\\ufffd\ufffd":{}}"#),
            ("{}", "{}"),
        ] {
            assert_eq!(text(&without_nul_names(json.as_bytes())), expected, "{json}");
        }
        assert!(has_nul(br#""\u0000""#) && !has_nul(b"u0000"));
    }

    fn text(json: &[u8]) -> &str {
        std::str::from_utf8(json).expect("tests use UTF-8")
    }

    #[test]
    fn members_are_found_across_blanks_and_nesting() {
        let object = br#"{ "a" : 1 , "b\"c":{"x":["}",{}]},"d":"e\\", "f":[ ] }"#;
        let found: Vec<_> =
            members(object).map(|(name, value)| (text(name), text(value))).collect();
        let expected =
            [("a", "1"), ("b\\\"c", r#"{"x":["}",{}]}"#), ("d", r#""e\\""#), ("f", "[ ]")];
        assert_eq!(found, expected);
        assert_eq!(member(object, b"d").map(text), Some(r#""e\\""#));
        let escaped = br#"{"stra\u00dfe":1,"a\/b":2,"c\u0022":3}"#;
        for (key, value) in [("stra\u{df}e", "1"), ("a/b", "2"), ("c\\\"", "3")] {
            assert_eq!(member(escaped, key.as_bytes()).map(text), Some(value), "{key}");
        }
        assert_eq!(member(escaped, b"strasse"), None);
        assert_eq!(members(b"{}").count() + members(b" ").count() + members(b"{a").count(), 0);
    }

    #[test]
    fn escapes_are_found_wherever_they_stand() {
        for len in 0..100 {
            let plain: Vec<u8> = (0..len).map(|at| [b'[', b']', b'\\' | 0x80][at % 3]).collect();
            assert!(!has_escape(&plain), "{len}");
            for at in 0..len {
                let mut text = plain.clone();
                text[at] = b'\\';
                assert!(has_escape(&text), "{at} of {len}");
            }
        }
    }

    #[test]
    fn elements_are_found_in_order() {
        let found: Vec<_> = elements(br#"[1, "a,b" ,[2,3],{"c":4}]"#).map(text).collect();
        assert_eq!(found, ["1", r#""a,b""#, "[2,3]", r#"{"c":4}"#]);
        assert_eq!(elements(b"[]").count(), 0);
    }

    #[test]
    fn characters_are_read_from_escapes_and_utf8() {
        let cases: [(&[u8], char, usize); 9] = [
            (b"a", 'a', 1),
            (b"\\n", '\n', 2),
            (b"\\/", '/', 2),
            (b"\\u00e9x", '\u{e9}', 6),
            (b"\\ud83e\\udd85", '\u{1f985}', 12),
            (b"\\ud83e.", '\u{fffd}', 6),
            ("\u{1f985}x".as_bytes(), '\u{1f985}', 4),
            (b"\xff", '\u{fffd}', 1),
            (b"\\u12", '\u{fffd}', 2),
        ];
        for (text, expected, len) in cases {
            assert_eq!(character(text), Some((expected, len)), "{text:?}");
        }
        assert_eq!(character(b""), None);
    }
}
