//! Texts of an event inside texts that somebody reads as markup, cut where their room ends.

use super::{Encoder, json};

/// How characters stand in a markup, and how much room they take there.
#[derive(Clone, Copy, Debug)]
pub struct Markup {
    /// What a character becomes that cannot stand as it is.
    pub escape: fn(char) -> Option<&'static str>,
    /// The room that a character takes, as the reader counts it.
    pub weight: fn(char) -> usize,
}

/// What stands for the rest of a text.
const ELLIPSIS: char = '\u{2026}';

impl Markup {
    /// The room that a character takes as it is written.
    fn room_of(&self, char: char) -> usize {
        match (self.escape)(char) {
            Some(escape) => escape.chars().map(self.weight).sum(),
            None => (self.weight)(char),
        }
    }

    /// The room that all of escaped JSON text takes.
    #[must_use]
    pub fn room(&self, text: &[u8]) -> usize {
        json::characters(text).map(|char| self.room_of(char)).sum()
    }
}

impl Encoder<'_> {
    /// Appends characters of escaped JSON text as a markup has them, without quotes.
    ///
    /// A text that takes more than this room is cut between characters, never inside an escape,
    /// and ends in an ellipsis within the room. Limits of the row do not cut it again.
    pub fn excerpt(&mut self, text: &[u8], markup: &Markup, room: usize) {
        let last = room.saturating_sub((markup.weight)(ELLIPSIS));
        let (mut at, mut taken, mut end) = (0, 0, 0);
        let is_whole = loop {
            let Some((char, len)) = json::character(&text[at..]) else { break true };
            taken += markup.room_of(char);
            if taken > room {
                break false;
            }
            at += len;
            if taken <= last {
                end = at;
            }
        };
        self.marked(&text[..if is_whole { at } else { end }], markup);
        if !is_whole && room >= (markup.weight)(ELLIPSIS) {
            self.spell(ELLIPSIS);
        }
    }

    /// Appends escaped JSON text as a part of a path or query: everything but unreserved characters
    /// as `%XX` (RFC 3986, 2.1). What takes more than this room is left out, since a part of an id
    /// is another id.
    pub fn percent(&mut self, text: &[u8], room: usize) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let bytes = || {
            json::characters(text).flat_map(|char| {
                let mut bytes = [0; 4];
                let len = char.encode_utf8(&mut bytes).len();
                bytes.into_iter().take(len)
            })
        };
        if bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum::<usize>() > room {
            return;
        }
        for byte in bytes() {
            if is_plain(byte) {
                self.spell(char::from(byte));
                continue;
            }
            self.spell('%');
            self.spell(char::from(DIGITS[usize::from(byte >> 4)]));
            self.spell(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }

    fn marked(&mut self, text: &[u8], markup: &Markup) {
        for char in json::characters(text) {
            match (markup.escape)(char) {
                Some(escape) => escape.chars().for_each(|char| self.spell(char)),
                None => self.spell(char),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoder::{Choices, Codec};
    use super::super::tail::Tail;
    use super::*;
    use crate::transform::JSON;

    const ENTITIES: Markup = Markup {
        escape: |char| match char {
            '&' => Some("&amp;"),
            _ => None,
        },
        weight: char::len_utf16,
    };

    fn excerpt(text: &str, room: usize) -> String {
        let codec = Codec::new(&JSON, &[]);
        let mut out = Vec::new();
        let mut encoder = Encoder::new(Tail::new(&mut out), &codec, Choices::default(), 2);
        encoder.excerpt(text.as_bytes(), &ENTITIES, room);
        drop(encoder.into_tail());
        String::from_utf8(out).expect("characters")
    }

    #[test]
    fn a_text_is_cut_after_escaping_and_between_characters() {
        for (text, room, expected) in [
            ("abcd", 4, "abcd"),
            ("abcde", 4, "abc\u{2026}"),
            ("a&b", 7, "a&amp;b"),
            ("a&b", 6, "a\u{2026}"),
            ("&", 4, "\u{2026}"),
            ("\u{1f985}\u{1f985}", 4, "\u{1f985}\u{1f985}"),
            ("\u{1f985}\u{1f985}", 3, "\u{1f985}\u{2026}"),
            (r#"\u0026\""#, 6, r#"&amp;\""#),
            (r"\ud83e\udd85x", 3, "\u{1f985}x"),
            ("", 0, ""),
            ("ab", 1, "\u{2026}"),
            ("ab", 0, ""),
        ] {
            assert_eq!(excerpt(text, room), expected, "{text:?} within {room}");
        }
    }

    #[test]
    fn what_an_excerpt_takes_is_never_more_than_its_room() {
        let text = "&a\u{e9}\u{1f985}\\n&".repeat(5);
        for room in 0..60 {
            let written = excerpt(&text, room);
            let taken: usize = json::characters(written.as_bytes()).map(char::len_utf16).sum();
            assert!(taken <= room, "{taken} within {room}: {written}");
        }
    }
}
