//! The items of a text that is no plain list of lines: one object, several of them in any layout,
//! an array.

use std::borrow::Cow;
use std::ops::Range;

use crate::event::values;

/// The items as lines: line ends inside an item become blanks, which JSON permits where they stand.
///
/// Objects may take any number of lines each. An array gives its elements; what is wrong with one
/// of them costs only that one. Everything else is taken line by line, so that a broken line costs
/// only itself.
pub(super) fn items(text: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(text.len() + 1);
    let mut rest = text.strip_prefix(BOM).unwrap_or(text);
    // It is told of the first item, as of the first line of a file.
    lines.extend_from_slice(&text[..text.len() - rest.len()]);
    if let Some(values) = spread(rest) {
        for value in values {
            match rest[value.start] {
                b'[' => drop(cut(&rest[value], &mut lines)),
                _ => push(&rest[value], &mut lines),
            }
        }
        return lines;
    }
    while rest.trim_ascii_start().first() == Some(&b'[') {
        let end = cut(rest, &mut lines);
        rest = &rest[end..];
    }
    lines.extend_from_slice(rest);
    if lines.last().is_some_and(|&last| last != b'\n') {
        lines.push(b'\n');
    }
    lines
}

/// The values of a text that holds nothing else and is no list of lines: a single one, or some that
/// are arrays or take several lines.
fn spread(text: &[u8]) -> Option<Vec<Range<usize>>> {
    let (values, is_whole) = values(&readable(text));
    let is_spread =
        |value: &Range<usize>| text[value.start] == b'[' || text[value.clone()].contains(&b'\n');
    (is_whole && (values.len() == 1 || values.iter().any(is_spread))).then_some(values)
}

/// The text with something that is UTF-8 in each place that is not ASCII, where it is not UTF-8 as a
/// whole: such bytes stand inside strings, and are repaired item by item.
fn readable(text: &[u8]) -> Cow<'_, [u8]> {
    match str::from_utf8(text) {
        Ok(_) => Cow::Borrowed(text),
        Err(_) => text.iter().map(|&byte| if byte.is_ascii() { byte } else { b'x' }).collect(),
    }
}

/// Pushes the elements of the array with which a text begins; returns where it ends. Only brackets
/// and strings are looked at, so that an element that is no JSON leaves its neighbours alone.
fn cut(text: &[u8], lines: &mut Vec<u8>) -> usize {
    let (mut depth, mut start) = (0_usize, 0);
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => end_string(&mut bytes),
            b'[' | b'{' => {
                depth += 1;
                start = if depth == 1 { at + 1 } else { start };
            }
            b']' | b'}' if depth > 1 => depth -= 1,
            b']' | b'}' => {
                push(&text[start..at], lines);
                return at + 1;
            }
            b',' if depth == 1 => {
                push(&text[start..at], lines);
                start = at + 1;
            }
            _ => {}
        }
    }
    push(&text[start..], lines);
    text.len()
}

/// Goes on behind the string that began.
fn end_string<'a>(bytes: &mut impl Iterator<Item = (usize, &'a u8)>) {
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return,
            _ => {}
        }
    }
}

fn push(item: &[u8], lines: &mut Vec<u8>) {
    let item = item.trim_ascii();
    if item.is_empty() {
        return;
    }
    let is_end = |byte: u8| byte == b'\n' || byte == b'\r';
    let (mut is_inside, mut is_escaped) = (false, false);
    lines.extend(item.iter().map(|&byte| {
        let is_quote = byte == b'"' && !is_escaped;
        is_escaped = is_inside && byte == b'\\' && !is_escaped;
        is_inside ^= is_quote;
        match is_inside {
            // A string cannot hold one as it is, and must not become one that could.
            true if is_end(byte) => b'\t',
            false if is_end(byte) => b' ',
            _ => byte,
        }
    }));
    lines.push(b'\n');
}

/// U+FEFF in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_an_array_or_lines() {
        for (text, expected) in [
            ("", ""),
            ("{\"a\":1}", "{\"a\":1}\n"),
            ("{\n  \"a\":\r\n1\n}\n", "{   \"a\":  1 }\n"),
            ("[{\"a\":1},\n {\"b\":\n[2]}]", "{\"a\":1}\n{\"b\": [2]}\n"),
            ("[]", ""),
            ("{\"a\":1}\n{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n"),
            ("{\"a\":1}{\"b\":2}\n", "{\"a\":1}{\"b\":2}\n"),
            ("{\"a\":1}\nbroken\n{\"b\":2}\n", "{\"a\":1}\nbroken\n{\"b\":2}\n"),
            // Several objects, each over lines of its own, and arrays behind each other.
            ("{\n\"a\":1}\n{\n\"b\":2}\n", "{ \"a\":1}\n{ \"b\":2}\n"),
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
            // The mark stays where it is seen.
            ("\u{feff}[{\"a\":1}]", "\u{feff}{\"a\":1}\n"),
            ("\u{feff}{\n\"a\":1}", "\u{feff}{ \"a\":1}\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&items(text.as_bytes())), expected, "{text}");
        }
        assert_eq!(items(b"\xff"), b"\xff\n");
        assert_eq!(items(b"[{\"a\":\"\xff\"},\n2]"), b"{\"a\":\"\xff\"}\n2\n");
        assert_eq!(items(b"{\"a\":\n\"\xff\"}"), b"{\"a\": \"\xff\"}\n");
    }
}
