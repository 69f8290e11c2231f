//! How documents are spelled: syntaxes, and the byte tables that layers of them fold into.

/// How objects, keys and texts are written.
#[derive(Debug)]
pub struct Syntax {
    /// The name.
    pub name: &'static str,
    /// Opens an object.
    pub open: &'static str,
    /// Closes it.
    pub close: &'static str,
    /// Between two rows.
    pub between: &'static str,
    /// Before a key, after a key.
    pub key: (&'static str, &'static str),
    /// Whether keys are written; without them a value is known by its place.
    pub names: bool,
    /// Whether a key can be written, dots included.
    pub is_key: fn(&str) -> bool,
    /// What such keys are, in words.
    pub keys: &'static str,
    /// Before a text value, after a text value.
    pub text: (&'static str, &'static str),
    /// Whether dotted keys become objects.
    pub nests: bool,
    /// Whether a JSON value stands in it as it is, so that strings are copied with their escapes.
    pub verbatim: bool,
    /// Whether the limits of its rows are of bytes as they stand in UTF-8, not of characters.
    pub counts_bytes: bool,
    /// What a byte of text becomes when it cannot stand as it is; `None` for bytes that can.
    pub escape: fn(u8) -> Option<&'static str>,
}

/// JSON (RFC 8259).
pub static JSON: Syntax = Syntax {
    name: "json",
    open: "{",
    close: "}",
    between: ",",
    key: ("\"", "\":"),
    names: true,
    is_key: |key| key.split('.').all(|name| !name.is_empty()),
    keys: "names joined by dots",
    text: ("\"", "\""),
    nests: true,
    verbatim: true,
    counts_bytes: false,
    escape: escape_json,
};

/// Members of a JSON object without its braces: others stand before and behind them.
pub static MEMBERS: Syntax = Syntax { name: "members", open: "", close: "", ..JSON };

/// A JSON array: its rows are the elements, in order, and a key only names one.
pub static JSON_LIST: Syntax = Syntax {
    name: "json list",
    open: "[",
    close: "]",
    names: false,
    is_key: |_| true,
    keys: "a name",
    nests: false,
    ..JSON
};

/// Bare text, one line: control characters become spaces.
pub static TEXT: Syntax = Syntax {
    name: "text",
    open: "",
    close: "",
    between: " ",
    key: ("", "="),
    names: true,
    is_key: |key| !key.is_empty(),
    keys: "a name",
    text: ("", ""),
    nests: false,
    verbatim: false,
    counts_bytes: false,
    escape: escape_control,
};

/// Headers of a request, one a line (RFC 9110, 5.5): what no value may hold becomes a space.
pub static HEADS: Syntax = Syntax {
    name: "headers",
    open: "",
    close: "",
    between: "\n",
    key: ("", ":"),
    names: true,
    is_key: |key| {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        key == PATH_NAME || !key.is_empty() && key.bytes().all(is_name)
    },
    keys: "a name of letters, digits and hyphens",
    text: ("", ""),
    nests: false,
    verbatim: false,
    counts_bytes: false,
    escape: escape_control,
};

/// What stands for the request's path among its headers, as in HTTP/2 (RFC 9113, 8.3.1): the part
/// behind the endpoint's own path.
pub const PATH_NAME: &str = ":path";

/// Fields of Protocol Buffers, one after the other: each row writes its tag and its value, and a
/// key only names it.
pub static PROTOBUF: Syntax = Syntax {
    name: "protobuf",
    between: "",
    names: false,
    is_key: |_| true,
    keys: "a name",
    escape: |_| None,
    ..HEADS
};

/// A path (RFC 3986, 3.3): all but unreserved characters and the slash as `%XX`.
pub static PATH: Syntax = Syntax {
    name: "path",
    between: "",
    names: false,
    is_key: |_| true,
    keys: "a piece",
    escape: escape_path,
    ..HEADS
};

/// Visible ASCII for headers and JSON alike: all else, quotes, backslashes and `%` are `%XX`, so
/// that texts which differ are spelled differently.
pub static VISIBLE: Syntax = Syntax {
    name: "visible",
    between: "",
    names: false,
    is_key: |_| true,
    keys: "a piece",
    escape: escape_invisible,
    ..HEADS
};

/// RFC 8259 section 7: quotation mark, reverse solidus and the control characters are escaped.
#[must_use]
pub fn escape_json(byte: u8) -> Option<&'static str> {
    const CONTROL: [&str; 32] = [
        "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007",
        "\\b", "\\t", "\\n", "\\u000b", "\\f", "\\r", "\\u000e", "\\u000f", "\\u0010", "\\u0011",
        "\\u0012", "\\u0013", "\\u0014", "\\u0015", "\\u0016", "\\u0017", "\\u0018", "\\u0019",
        "\\u001a", "\\u001b", "\\u001c", "\\u001d", "\\u001e", "\\u001f",
    ];
    match byte {
        b'"' => Some("\\\""),
        b'\\' => Some("\\\\"),
        0..=31 => Some(CONTROL[usize::from(byte)]),
        _ => None,
    }
}

fn escape_path(byte: u8) -> Option<&'static str> {
    let is_plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    (!is_plain).then(|| percent(byte))
}

fn escape_invisible(byte: u8) -> Option<&'static str> {
    let is_plain = byte.is_ascii_graphic() && !b"\"\\%".contains(&byte);
    (!is_plain).then(|| percent(byte))
}

/// A byte as `%XX` (RFC 3986, 2.1).
fn percent(byte: u8) -> &'static str {
    static CODES: [[u8; 3]; 256] = {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut codes = [[b'%'; 3]; 256];
        let mut at = 0;
        while at < 256 {
            codes[at] = [b'%', DIGITS[at >> 4], DIGITS[at & 15]];
            at += 1;
        }
        codes
    };
    std::str::from_utf8(&CODES[usize::from(byte)]).expect("ASCII")
}

fn escape_control(byte: u8) -> Option<&'static str> {
    (byte < 0x20 || byte == 0x7f).then_some(" ")
}

/// What each byte becomes once the escapes of several layers are folded into one.
#[derive(Debug)]
pub(super) struct Table {
    /// The replacements, one after the other.
    bytes: Vec<u8>,
    /// Start and length of each byte's replacement; [`PLAIN`] for bytes that stand as they are.
    places: Box<[(u16, u16); 256]>,
    /// Whether nothing is replaced but what JSON escapes, which is found eight bytes at a time.
    is_json: bool,
    /// Whether nothing is replaced at all.
    is_same: bool,
}

/// The length that says that a byte has no replacement.
const PLAIN: u16 = u16::MAX;

impl Table {
    /// The table of these layers, innermost first.
    pub(super) fn fold(layers: &[&Syntax]) -> Self {
        let mut table = Self {
            bytes: Vec::new(),
            places: Box::new([(0, PLAIN); 256]),
            is_json: true,
            is_same: true,
        };
        for byte in 0..=u8::MAX {
            let mut text = vec![byte];
            for layer in layers {
                text = spell(layer, &text);
            }
            if text != [byte] {
                let start = u16::try_from(table.bytes.len()).expect("256 short replacements");
                let len = u16::try_from(text.len()).expect("at most 16 layers of 6 bytes");
                table.places[usize::from(byte)] = (start, len);
                table.bytes.extend_from_slice(&text);
                table.is_json &= escape_json(byte).is_some();
                table.is_same = false;
            }
        }
        table
    }

    /// What the byte becomes, `None` when it stands as it is.
    #[inline]
    fn replacement(&self, byte: u8) -> Option<&[u8]> {
        let (start, len) = self.places[usize::from(byte)];
        if len == PLAIN {
            return None;
        }
        Some(&self.bytes[usize::from(start)..usize::from(start + len)])
    }

    /// Whether this byte is a character that stands as it is.
    #[inline]
    pub(super) fn is_plain(&self, byte: u8) -> bool {
        byte.is_ascii() && self.places[usize::from(byte)].1 == PLAIN
    }

    /// How many bytes at the start stand as they are; it may stop early at one that does.
    #[inline]
    fn plain(&self, text: &[u8]) -> usize {
        if self.is_same {
            return text.len();
        }
        if self.is_json {
            return plain_json(text);
        }
        let replaced = |&byte: &u8| self.places[usize::from(byte)].1 != PLAIN;
        text.iter().position(replaced).unwrap_or(text.len())
    }

    /// Hands on the text in pieces, each byte replaced.
    #[inline]
    pub(super) fn map(&self, text: &[u8], mut piece: impl FnMut(&[u8])) {
        let mut rest = text;
        loop {
            let (plain, after) = rest.split_at(self.plain(rest));
            piece(plain);
            let Some((byte, after)) = after.split_first() else { return };
            piece(self.replacement(*byte).unwrap_or(std::slice::from_ref(byte)));
            rest = after;
        }
    }
}

/// Bytes before the first that JSON escapes: a quotation mark, a backslash, a control character.
///
/// Eight bytes at a time: a byte that is zero after the exclusive or with the wanted one borrows
/// from its top bit when 1 is subtracted (Sean Anderson, "Bit Twiddling Hacks"). Bytes above 127
/// are never wanted. A borrow may mark a byte behind a wanted one too, never one before it.
fn plain_json(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    let equals = |word: u64, byte: u8| (word ^ (ONES * u64::from(byte))).wrapping_sub(ONES);
    let mut chunks = text.chunks_exact(8);
    let mut at = 0;
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
        let below = word.wrapping_sub(ONES * 0x20);
        let found = (equals(word, b'"') | equals(word, b'\\') | below) & !word & TOPS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let wanted = |&byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    at + chunks.remainder().iter().position(wanted).unwrap_or(chunks.remainder().len())
}

/// Text as one layer spells it.
pub(super) fn spell(syntax: &Syntax, text: &[u8]) -> Vec<u8> {
    let mut spelled = Vec::with_capacity(text.len());
    for &byte in text {
        match (syntax.escape)(byte) {
            Some(escape) => spelled.extend_from_slice(escape.as_bytes()),
            None => spelled.push(byte),
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_escapes_is_found_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut text = [b'x'; 20];
                text[at] = byte;
                let wanted = escape_json(byte).is_some();
                assert_eq!(plain_json(&text), if wanted { at } else { 20 }, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn layers_fold_into_one_table() {
        let spelled = |layers: &[&Syntax], text: &str| {
            let mut out = Vec::new();
            Table::fold(layers).map(text.as_bytes(), |piece| out.extend_from_slice(piece));
            String::from_utf8(out).expect("escapes are ASCII")
        };
        let text = "a\"b\\c\n\u{e9}";
        assert_eq!(spelled(&[], text), text);
        assert_eq!(spelled(&[&JSON], text), r#"a\"b\\c\n\u{e9}"#.replace(r"\u{e9}", "\u{e9}"));
        let once = spelled(&[&JSON], text);
        assert_eq!(spelled(&[&JSON, &JSON], text), spelled(&[&JSON], &once));
        assert_eq!(spelled(&[&TEXT, &JSON], text), "a\\\"b\\\\c \u{e9}");
    }
}
