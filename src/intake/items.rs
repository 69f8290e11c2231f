//! The items of a body: one object, an array of them, or lines.

use crate::event::{elements, values};

/// The items as lines: line ends inside an item become blanks, which JSON permits where they stand.
///
/// A text that is one JSON value is one item, whatever its layout; an array gives its elements;
/// everything else is taken line by line, so that a broken line costs only itself.
pub(super) fn items(text: &[u8]) -> Vec<u8> {
    let is_utf8 = str::from_utf8(text).is_ok();
    let whole = if is_utf8 { values(text) } else { (Vec::new(), false) };
    let mut lines = Vec::with_capacity(text.len() + 1);
    match (whole.0.as_slice(), whole.1) {
        ([one], true) if text[one.start] == b'[' => {
            for element in elements(&text[one.clone()]) {
                push(element, &mut lines);
            }
        }
        ([one], true) => push(&text[one.clone()], &mut lines),
        _ => {
            lines.extend_from_slice(text);
            if lines.last().is_some_and(|&last| last != b'\n') {
                lines.push(b'\n');
            }
        }
    }
    lines
}

fn push(item: &[u8], lines: &mut Vec<u8>) {
    let is_end = |byte: u8| byte == b'\n' || byte == b'\r';
    lines.extend(item.iter().map(|&byte| if is_end(byte) { b' ' } else { byte }));
    lines.push(b'\n');
}

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
            ("{\"a\":1}\nbroken\n{\"b\":2}\n", "{\"a\":1}\nbroken\n{\"b\":2}\n"),
            ("[1,", "[1,\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&items(text.as_bytes())), expected, "{text}");
        }
        assert_eq!(items(b"\xff"), b"\xff\n");
    }
}
