//! The items of a text that is no plain list of lines: one object, several of them in any layout,
//! an array.

use std::borrow::Cow;
use std::ops::Range;

use crate::event::values;

/// The items as lines: of an item over several lines what lies between its parts is left out, or
/// becomes blanks where it is no JSON.
///
/// Objects may take any number of lines each. An array gives its elements; what is wrong with one
/// of them costs only that one. Everything else is taken line by line, so that a broken line costs
/// only itself.
pub(super) fn items(text: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(text.len() + 1);
    let mut rest = text.strip_prefix(BOM).unwrap_or(text);
    // It is told of the first item, as of the first line of a file.
    lines.extend_from_slice(&text[..text.len() - rest.len()]);
    if let Some(values) = values_of(rest) {
        for value in values {
            match rest[value.start] {
                b'[' => _ = cut(&rest[value], &mut lines),
                _ => push(&rest[value], &mut lines),
            }
        }
        return lines;
    }
    while rest.trim_ascii_start().first() == Some(&b'[') {
        match cut(rest, &mut lines) {
            Ok(end) => rest = &rest[end..],
            // Line by line from there: to look for the end of one after the other has no bound.
            Err(end) => {
                rest = rest[end..].trim_ascii_start();
                break;
            }
        }
    }
    lines.extend_from_slice(rest);
    if lines.last().is_some_and(|&last| last != b'\n') {
        lines.push(b'\n');
    }
    lines
}

/// Whether a text is no list of lines, told by its beginning: an object whose first line holds only
/// its brace, or an array of objects. `None` while that is too short to tell.
pub(super) fn is_spread(start: &[u8]) -> Option<bool> {
    let start = start.strip_prefix(BOM).unwrap_or(start).trim_ascii_start();
    let (&first, rest) = start.split_first()?;
    let next = |rest: &[u8]| rest.trim_ascii_start().first().copied();
    match first {
        b'[' => next(rest).map(|next| next == b'{'),
        b'{' => match rest.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) {
            Some(b'\n') => next(rest).map(|next| next == b'"'),
            Some(_) => Some(false),
            None => None,
        },
        _ => Some(false),
    }
}

/// Whether a text holds nothing but whole values.
pub(super) fn is_whole(text: &[u8]) -> bool {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let (values, is_whole) = values(&readable(text));
    is_whole && !values.is_empty()
}

/// The items of a document that is known to end here: an object in which it was cut off is one
/// item, which is refused as a whole.
pub(super) fn ended(text: &[u8]) -> Vec<u8> {
    let Some(cut) = cut_at(text) else { return items(text) };
    let (whole, rest) = text.split_at(cut);
    let mut lines = items(whole);
    match is_array(rest) {
        true => lines.extend(items(rest)),
        false => push(rest, &mut lines),
    }
    lines
}

/// Where the value begins in which a document was cut off: it opens brackets that nothing closes.
pub(super) fn cut_at(text: &[u8]) -> Option<usize> {
    if is_whole(text) || is_spread(text) != Some(true) {
        return None;
    }
    let mark = text.len() - text.strip_prefix(BOM).unwrap_or(text).len();
    let (values, _) = values(&readable(&text[mark..]));
    let start = mark + values.last().map_or(0, |last| last.end);
    let rest = &text[start..];
    let is_open = (is_array(rest) || rest.trim_ascii_start().first() == Some(&b'{'))
        && elements(rest, None, &mut Vec::new()).is_err();
    is_open.then_some(if start == mark { 0 } else { start })
}

fn is_array(text: &[u8]) -> bool {
    text.strip_prefix(BOM).unwrap_or(text).trim_ascii_start().first() == Some(&b'[')
}

/// The items of a document that are whole, as lines, and the document without them; none where not
/// even one is.
pub(super) fn first_items(text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let mut lines = Vec::new();
    let rest = if text.trim_ascii_start().first() == Some(&b'[') {
        match elements(text, None, &mut lines) {
            Ok(end) => text[end..].to_vec(),
            Err(torn) => [b"[", &text[torn.start..]].concat(),
        }
    } else {
        let (values, _) = values(&readable(text));
        let end = values.last()?.end;
        values.into_iter().for_each(|value| push(&text[value], &mut lines));
        text[end..].to_vec()
    };
    (!lines.is_empty()).then_some((lines, rest))
}

/// The values of a text that holds nothing else and is no list of lines: a single one, or some that
/// are arrays or take several lines.
fn values_of(text: &[u8]) -> Option<Vec<Range<usize>>> {
    let (values, is_whole) = values(&readable(text));
    let is_no_line =
        |value: &Range<usize>| text[value.start] == b'[' || text[value.clone()].contains(&b'\n');
    (is_whole && (values.len() == 1 || values.iter().any(is_no_line))).then_some(values)
}

/// The text with something that is UTF-8 in each place that is not ASCII, where it is not UTF-8 as
/// a whole: such bytes stand inside strings, and are repaired item by item.
fn readable(text: &[u8]) -> Cow<'_, [u8]> {
    match str::from_utf8(text) {
        Ok(_) => Cow::Borrowed(text),
        Err(_) => text.iter().map(|&byte| if byte.is_ascii() { byte } else { b'x' }).collect(),
    }
}

/// Pushes the elements of the array with which a text begins; returns where it ends; `Err` is
/// where the text goes on behind one that was torn. Only brackets and strings are looked at, so
/// that an element that is no JSON leaves its neighbours alone.
fn cut(text: &[u8], lines: &mut Vec<u8>) -> Result<usize, usize> {
    let before = lines.len();
    // The end of a line that stands in a string is none if the array has an end.
    elements(text, None, lines)
        .or_else(|_| {
            lines.truncate(before);
            elements(text, Some(b'\n'), lines)
        })
        .map_err(|torn| end_torn(text, &torn, lines))
}

/// An element that does not end: where it begins, and where a string in it was torn, if one was.
struct Torn {
    start: usize,
    string: Option<usize>,
}

/// The same of an array whose strings end at that byte as well.
fn elements(text: &[u8], string_end: Option<u8>, lines: &mut Vec<u8>) -> Result<usize, Torn> {
    let (mut depth, mut start) = (0_usize, 0);
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let torn = end_string(&mut bytes, string_end);
                if torn.is_some() {
                    return Err(Torn { start, string: torn });
                }
            }
            b'[' | b'{' => {
                depth += 1;
                start = if depth == 1 { at + 1 } else { start };
            }
            b']' | b'}' if depth > 1 => depth -= 1,
            b']' | b'}' => {
                push(&text[start..at], lines);
                return Ok(at + 1);
            }
            b',' if depth == 1 => {
                push(&text[start..at], lines);
                start = at + 1;
            }
            _ => {}
        }
    }
    Err(Torn { start, string: None })
}

/// Pushes the element in which an array was torn, and returns where the text goes on: behind the
/// line with the torn string, or where lines follow that are items of their own.
fn end_torn(text: &[u8], torn: &Torn, lines: &mut Vec<u8>) -> usize {
    let rest = &text[torn.start..];
    let first_line = memchr::memchr(b'\n', rest).map(|end| torn.start + end);
    let goes_on = first_line.filter(|&end| {
        let next = text[end..].trim_ascii_start();
        let line = &next[..memchr::memchr(b'\n', next).unwrap_or(next.len())];
        line.first() == Some(&b'{') && is_whole(line)
    });
    let end = torn.string.or(goes_on).unwrap_or(text.len());
    push(&text[torn.start..end], lines);
    end
}

/// Goes on behind the string that began; tells where it was torn, if it was.
fn end_string<'a>(
    bytes: &mut impl Iterator<Item = (usize, &'a u8)>,
    string_end: Option<u8>,
) -> Option<usize> {
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return None,
            byte if Some(byte) == string_end => return Some(at),
            _ => {}
        }
    }
    None
}

/// Pushes an item as a line. One that is whole loses the blanks of its layout: an export that was
/// made for people says the same of a record, byte by byte, as the line that it came from.
fn push(item: &[u8], lines: &mut Vec<u8>) {
    let item = item.trim_ascii();
    if item.is_empty() {
        return;
    }
    let is_end = |byte: u8| byte == b'\n' || byte == b'\r';
    let is_compact = item.iter().any(|&byte| is_end(byte)) && is_whole(item);
    let (mut is_inside, mut is_escaped) = (false, false);
    lines.extend(item.iter().filter_map(|&byte| {
        let is_quote = byte == b'"' && !is_escaped;
        is_escaped = is_inside && byte == b'\\' && !is_escaped;
        is_inside ^= is_quote;
        match is_inside {
            // A string cannot hold one as it is, and must not become one that could.
            true if is_end(byte) => Some(b'\t'),
            false if is_compact && byte.is_ascii_whitespace() => None,
            false if is_end(byte) => Some(b' '),
            _ => Some(byte),
        }
    }));
    lines.push(b'\n');
}

/// U+FEFF in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Bytes of a document at most: all of it is in memory before its first item is handed on.
pub(super) const DOCUMENT_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_told_from_lines_by_its_beginning() {
        for (start, expected) in [
            ("{\n  \"a\"", Some(true)),
            ("\u{feff} {\r\n\"a\"", Some(true)),
            ("[{\"a\":1}", Some(true)),
            ("[\n  {\n", Some(true)),
            ("{\"a\":1}\n", Some(false)),
            ("{\n{\"a\":1}\n", Some(false)),
            ("{ \"a\"", Some(false)),
            ("[2026-02-06T12:00:00Z INFO hushd] up\n", Some(false)),
            ("[\"check\",1]\n", Some(false)),
            ("plain\n", Some(false)),
            ("", None),
            (" \n", None),
            ("{", None),
            ("{ \r\n ", None),
            ("[ ", None),
        ] {
            assert_eq!(is_spread(start.as_bytes()), expected, "{start}");
        }
    }

    #[test]
    fn a_document_that_was_cut_off_costs_what_is_not_whole() {
        for (text, expected) in [
            ("{\n\"a\": {\n\"b\"", "{ \"a\": { \"b\"\n"),
            ("[\n{\n\"a\":1},\n{\n\"b\"", "{\"a\":1}\n{ \"b\"\n"),
            ("{\n\"a\":1}\n", "{\"a\":1}\n"),
            // What is whole before it stays, of objects as of arrays.
            ("{\n\"a\":1}\n{\n\"b\": [\n2", "{\"a\":1}\n{ \"b\": [ 2\n"),
            ("[{\"a\":1}]\n[{\"b\":2},\n{\"c\":", "{\"a\":1}\n{\"b\":2}\n{\"c\":\n"),
            ("\u{feff}{\n\"a\":\n\"b", "\u{feff}{ \"a\": \"b\n"),
            // This one has its end, and something is wrong with it.
            ("{\n\"a\":x\n}\n", "{\n\"a\":x\n}\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&ended(text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn a_body_is_an_object_an_array_or_lines() {
        for (text, expected) in [
            ("", ""),
            ("{\"a\":1}", "{\"a\":1}\n"),
            ("{\n  \"a\":\r\n1\n}\n", "{\"a\":1}\n"),
            ("[{\"a\":1},\n {\"b\":\n[2]}]", "{\"a\":1}\n{\"b\":[2]}\n"),
            // Blanks in texts, and those that keep it from being JSON, stay.
            ("{\n \"a b\": \" \\\" c\"\n}", "{\"a b\":\" \\\" c\"}\n"),
            ("[{\n \"a\": 1 2}, {\"b\": 3}]", "{  \"a\": 1 2}\n{\"b\": 3}\n"),
            ("[]", ""),
            ("{\"a\":1}\n{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n"),
            ("{\"a\":1}{\"b\":2}\n", "{\"a\":1}{\"b\":2}\n"),
            ("{\"a\":1}\nbroken\n{\"b\":2}\n", "{\"a\":1}\nbroken\n{\"b\":2}\n"),
            // Several objects, each over lines of its own, and arrays behind each other.
            ("{\n\"a\":1}\n{\n\"b\":2}\n", "{\"a\":1}\n{\"b\":2}\n"),
            ("[{\"a\":1}]\n[{\"b\":2}]\n", "{\"a\":1}\n{\"b\":2}\n"),
            ("{\"a\":1}\n[{\"b\":2}]\n", "{\"a\":1}\n{\"b\":2}\n"),
            // What is wrong with one element costs that one.
            ("[{\"a\":1},{\"b\":NaN},{\"c\":3}]", "{\"a\":1}\n{\"b\":NaN}\n{\"c\":3}\n"),
            ("[{\"a\":1},]", "{\"a\":1}\n"),
            ("[{\"a\":\"]},\\\"[\"},x]", "{\"a\":\"]},\\\"[\"}\nx\n"),
            ("[{\"a\":\"1\n2\"},3]", "{\"a\":\"1\t2\"}\n3\n"),
            ("[{\"a\":1},{\"b\":", "{\"a\":1}\n{\"b\":\n"),
            ("[1]x\n{\"b\":2}", "1\nx\n{\"b\":2}\n"),
            ("[1,", "1\n"),
            ("[", ""),
            // A line that is torn costs itself, whatever it begins with.
            ("[ \"torn\n{\"a\":\"b,c\"}\n{\"d\":2}\n", "\"torn\n{\"a\":\"b,c\"}\n{\"d\":2}\n"),
            ("[1,{\"a\":\"torn\n[{\"b\":2}]\n", "1\n{\"a\":\"torn\n[{\"b\":2}]\n"),
            ("[12:00 up\n{\"a\":1}\n{\"b\":2}", "12:00 up\n{\"a\":1}\n{\"b\":2}\n"),
            // The mark stays where it is seen.
            ("\u{feff}[{\"a\":1}]", "\u{feff}{\"a\":1}\n"),
            ("\u{feff}{\n\"a\":1}", "\u{feff}{\"a\":1}\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&items(text.as_bytes())), expected, "{text}");
        }
        assert_eq!(items(b"\xff"), b"\xff\n");
        assert_eq!(items(b"[{\"a\":\"\xff\"},\n2]"), b"{\"a\":\"\xff\"}\n2\n");
        assert_eq!(items(b"{\"a\":\n\"\xff\"}"), b"{\"a\":\"\xff\"}\n");
    }
}
