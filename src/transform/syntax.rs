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
    /// Before a text value, after a text value.
    pub text: (&'static str, &'static str),
    /// Whether dotted keys become objects.
    pub nests: bool,
    /// Whether a JSON value stands in it as it is, so that strings are copied with their escapes.
    pub verbatim: bool,
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
    text: ("\"", "\""),
    nests: true,
    verbatim: true,
    escape: escape_json,
};

/// Bare text, one line: control characters become spaces.
pub static TEXT: Syntax = Syntax {
    name: "text",
    open: "",
    close: "",
    between: " ",
    key: ("", "="),
    text: ("", ""),
    nests: false,
    verbatim: false,
    escape: escape_control,
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
}

/// The length that says that a byte has no replacement.
const PLAIN: u16 = u16::MAX;

impl Table {
    /// The table of these layers, innermost first.
    pub(super) fn fold(layers: &[&Syntax]) -> Self {
        let mut table = Self { bytes: Vec::new(), places: Box::new([(0, PLAIN); 256]) };
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
            }
        }
        table
    }

    /// What the byte becomes, `None` when it stands as it is.
    #[inline]
    pub(super) fn replacement(&self, byte: u8) -> Option<&[u8]> {
        let (start, len) = self.places[usize::from(byte)];
        if len == PLAIN {
            return None;
        }
        Some(&self.bytes[usize::from(start)..usize::from(start + len)])
    }

    /// How many bytes at the start stand as they are, with backslashes when they are no escapes.
    #[inline]
    pub(super) fn plain(&self, text: &[u8]) -> usize {
        text.iter()
            .position(|&byte| self.places[usize::from(byte)].1 != PLAIN)
            .unwrap_or(text.len())
    }

    /// Appends the text, each byte replaced.
    pub(super) fn map(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut rest = text;
        loop {
            let plain = self.plain(rest);
            out.extend_from_slice(&rest[..plain]);
            let Some(&byte) = rest.get(plain) else { return };
            out.extend_from_slice(self.replacement(byte).unwrap_or(&[byte]));
            rest = &rest[plain + 1..];
        }
    }
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
