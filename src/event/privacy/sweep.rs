//! A look at a record for digits and assignments that expressions without literals may be about:
//! most of it in the bits of a window, before any byte is looked at.

use super::super::{Event, FieldId as F};
use super::marks::{Look, Marks, Sees, WINDOW};

/// A look at the windows of a record, for digits and assignments.
pub(super) struct Sweep<'s> {
    event: &'s Event<'s>,
    /// Words of which one may be assigned something, for each expression that is about them.
    words: &'s [&'static [&'static str]],
    /// Where the next window begins.
    start: usize,
    members: Members,
    runs: Runs,
    /// Where the number ended that was looked at last.
    looked: usize,
    /// What was not seen yet.
    wants_digits: bool,
    wants_words: bool,
}

impl<'s> Sweep<'s> {
    /// A look from some byte of a record on, for digits, and for assignments to words if there are
    /// any.
    pub(super) fn new(
        event: &'s Event<'s>,
        start: usize,
        wants_digits: bool,
        words: &'s [&'static [&'static str]],
    ) -> Self {
        Self {
            event,
            words,
            start,
            members: Members::default(),
            runs: Runs::default(),
            looked: 0,
            wants_digits,
            wants_words: !words.is_empty(),
        }
    }

    /// Whether it has digits, and assignments, that an expression may be about.
    pub(super) fn run(self, look: Look) -> (bool, bool) {
        let (wanted_digits, wanted_words) = (self.wants_digits, self.wants_words);
        let text = &self.event.record[self.start..];
        let seen = look.show(text, self);
        (wanted_digits && !seen.wants_digits, wanted_words && !seen.wants_words)
    }
}

impl Sees for Sweep<'_> {
    #[inline(always)]
    fn sees(&mut self, marks: &Marks) -> bool {
        let (values, signs) = self.members.next(marks);
        let (run, ends) = self.runs.next(marks, values);
        if ends != 0 && self.wants_digits {
            let numbers = (run, marks.between, ends);
            let (found, looked) = has_number(self.event, self.start, numbers, self.looked);
            (self.wants_digits, self.looked) = (!found, looked);
        }
        if signs != 0 && self.wants_words {
            let record = self.event.record;
            self.wants_words = !has_assignment(record, self.start, signs, self.words);
        }
        self.start += WINDOW;
        !self.wants_digits && !self.wants_words
    }
}

/// Where members of a record are named, in windows of it: a quote inside a text is escaped there,
/// and one without a backslash before it begins or ends a text.
#[derive(Debug, Default)]
struct Members {
    /// What the window before ended with: a quote that ends a text, a colon behind one, a
    /// backslash, a digit.
    after: [u64; 4],
}

impl Members {
    /// The bytes of a window that are directly behind the colon of a member, and the signs of
    /// assignments inside texts: what stands behind a name is a value of its own, on which
    /// expressions are tried alone. Behind a digit, as in times and addresses, nothing is assigned.
    #[inline(always)]
    fn next(&mut self, marks: &Marks) -> (u64, u64) {
        let [after_text, after_colon, after_backslash, after_digit] = self.after;
        let escaped = marks.backslashes << 1 | after_backslash;
        let ends = marks.quotes & !escaped;
        let behind_texts = ends << 1 | after_text;
        let colons = marks.assigns & behind_texts;
        self.after = [ends, colons, marks.backslashes, marks.digits].map(|bits| bits >> 63);
        let behind_digits = marks.digits << 1 | after_digit;
        (colons << 1 | after_colon, marks.assigns & !behind_texts & !behind_digits)
    }
}

/// Bytes of numbers in windows of a record, but for those that are members' values, no texts.
#[derive(Debug, Default)]
struct Runs {
    /// Where the last bytes of the window before ended 1, 2 and 4 bytes of a number.
    before: [u64; 3],
    /// Whether it ended inside a number that is a value.
    in_value: u64,
}

impl Runs {
    /// The bytes of numbers in a window, and those of them that end seven such bytes; `values` are
    /// the places where values of members begin.
    #[inline(always)]
    fn next(&mut self, marks: &Marks, values: u64) -> (u64, u64) {
        let one = marks.digits | marks.between;
        // A carry runs through the numbers that are values, and leaves the others as they are.
        let (carried, goes_on) = one.overflowing_add(one & (values | self.in_value));
        let one = one & carried;
        let two = one & (one << 1 | self.before[0] >> 63);
        let four = two & (two << 2 | self.before[1] >> 62);
        let seven = four & (four << 3 | self.before[2] >> 61);
        (self.before, self.in_value) = ([one, two, four], u64::from(goes_on));
        (one, seven)
    }
}

/// Whether a number with as many digits as `Needs::Digits` says ends in a window, or goes on
/// behind it, and where the last one ended that was looked at. The window begins at `start`; its
/// runs are bytes of numbers, some of them no digits, of which seven end at `ends`.
#[inline(never)]
fn has_number(
    event: &Event<'_>,
    start: usize,
    (run, between, mut ends): (u64, u64, u64),
    mut looked: usize,
) -> (bool, usize) {
    while ends != 0 {
        let at = ends.trailing_zeros();
        let (before, behind) = ((run << (63 - at)).leading_ones(), (run >> at).trailing_ones());
        let (begin, end) = (at + 1 - before, at + behind);
        let number = (u64::MAX >> (64 - (end - begin))) << begin;
        ends &= !number;
        let is_whole = begin > 0 && end < 64;
        if is_whole && !may_have_digits(end - begin, between & number) {
            continue;
        }
        let (begin, end) = piece(event.record, start + at as usize, looked);
        looked = end.max(looked);
        if is_number(event.record, begin, end) && is_text(event, begin) {
            return (true, looked);
        }
    }
    (false, looked)
}

/// Where the number that is at this place of a record begins and ends; nothing where it was looked
/// at before.
fn piece(record: &[u8], at: usize, looked: usize) -> (usize, usize) {
    if at < looked {
        return (at, at);
    }
    let begin = record[..at].iter().rposition(|&byte| !is_of_number(byte));
    let rest = record[at..].iter().position(|&byte| !is_of_number(byte));
    (begin.map_or(0, |before| before + 1), rest.map_or(record.len(), |rest| at + rest))
}

/// Whether a number of so many bytes, with these that are no digits, may be one of
/// `Needs::Digits`: nearly all are dates, with two.
fn may_have_digits(len: u32, between: u64) -> bool {
    let without_one = between & between.wrapping_sub(1);
    if without_one & without_one.wrapping_sub(1) == 0 {
        return len - u32::from(between != 0) - u32::from(without_one != 0) >= DIGITS_MIN;
    }
    let digits = len - between.count_ones();
    digits >= DIGITS_MIN || digits >= DOTTED_MIN
}

/// Whether a number at this place of a record may be one that patterns are about: part of a text,
/// and not of the event's id or times.
fn is_text(event: &Event<'_>, at: usize) -> bool {
    let is_covered = NO_NUMBERS.iter().any(|&id| event.opened.places[id as usize].covers(at));
    let before = &event.record[..at];
    let is_member = before.ends_with(b"\":") && !before.ends_with(b"\\\":");
    !is_covered && !is_member
}

/// Whether one of these signs, in the window that begins at this place, assigns to a word.
#[inline(never)]
fn has_assignment(record: &[u8], start: usize, mut signs: u64, words: &[&[&str]]) -> bool {
    while signs != 0 {
        let before = &record[..start + signs.trailing_zeros() as usize];
        if words.iter().any(|words| ends_with_word(before, words)) {
            return true;
        }
        signs &= signs - 1;
    }
    false
}

/// Whether a word is assigned something in a text, as `Needs::Assignment` says.
pub(super) fn assigns(text: &[u8], words: &[&str]) -> bool {
    memchr::memchr2_iter(b'=', b':', text).any(|at| ends_with_word(&text[..at], words))
}

/// Whether a text ends with one of these words in any case, and with quotes and blanks behind it.
fn ends_with_word(text: &[u8], words: &[&str]) -> bool {
    let is_between = |byte: &u8| matches!(byte, b'"' | b'\'' | b' ' | b'\\');
    let Some(last) = text.last() else { return false };
    // Most signs stand behind something else: times, addresses.
    if !is_between(last) && !last.is_ascii_alphabetic() {
        return false;
    }
    let mut signs = 0;
    let behind = text.iter().rev().take(BETWEEN_BYTES_MAX).take_while(|&byte| {
        signs += usize::from(*byte != b'\\');
        is_between(byte) && signs <= BETWEEN_MAX
    });
    let text = &text[..text.len() - behind.count()];
    words.iter().any(|word| {
        // The last letter tells nearly all of them apart.
        let ends_alike = text.last().map(u8::to_ascii_lowercase) == word.as_bytes().last().copied();
        let end = || text.len().checked_sub(word.len()).map(|start| &text[start..]);
        ends_alike && end().is_some_and(|end| end.eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// Whether a text has a piece with as many digits as `Needs::Digits` says.
pub(super) fn is_suspect(text: &[u8]) -> bool {
    let digits: u32 = text.iter().map(|byte| u32::from(byte.is_ascii_digit())).sum();
    if digits < DOTTED_MIN {
        return false;
    }
    let mut begin = 0;
    text.split(|&byte| !is_of_number(byte)).any(|piece| {
        let end = begin + piece.len();
        let is_number = is_number(text, begin, end);
        begin = end + 1;
        is_number
    })
}

const fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b' ' | b'-' | b'(' | b')' | b'+')
}

/// Whether a piece of a text has as many digits as `Needs::Digits` says. Those in the middle of
/// a word, as digests have them, are no number.
fn is_number(text: &[u8], begin: usize, end: usize) -> bool {
    let piece = &text[begin..end];
    let digits = piece.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_of_word = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    if digits == piece.len() {
        let is_word = text[..begin].last().is_some_and(is_of_word)
            || text[end..].first().is_some_and(is_of_word);
        return digits >= DIGITS_MIN as usize && !is_word;
    }
    let dots = || piece.iter().filter(|&&byte| byte == b'.').count();
    digits >= DIGITS_MIN as usize || digits >= DOTTED_MIN as usize && dots() >= DOTS_MIN as usize
}

/// Digits of the shortest number of a person.
const DIGITS_MIN: u32 = 9;
/// Digits and dots of the shortest address.
const DOTTED_MIN: u32 = 4;
const DOTS_MIN: u32 = 3;
/// Quotes and blanks between a word and its assignment.
const BETWEEN_MAX: usize = 4;
/// The same with their backslashes: a quote has seven in JSON inside of JSON inside of JSON.
const BETWEEN_BYTES_MAX: usize = 18;
/// Fields with digits that are nobody's number.
const NO_NUMBERS: [F; 3] = [F::EventId, F::Timestamp, F::IngestedAt];

#[cfg(test)]
mod tests {
    use super::super::super::{Frame, Opened};
    use super::*;

    #[test]
    fn suspect_texts_have_enough_digits() {
        for text in ["123-45-6789", "+49 (89) 123 456 78", "1.2.3.4", "4111 1111 1111 1111"] {
            assert!(is_suspect(text.as_bytes()), "{text}");
        }
        for text in ["2026-02-06", "1.2.3", "port 8443, 12 times", "", "12345678x9", "a123456789"] {
            assert!(!is_suspect(text.as_bytes()), "{text}");
        }
    }

    /// Whether patterns without literals may be about a record.
    fn sees(look: Look, record: &str) -> bool {
        const WORDS: &[&str] = &["token", "api_key"];
        let opened = Opened::default();
        let event = Event::new(&opened, Frame::default(), record.as_bytes(), b"");
        Sweep::new(&event, 0, true, &[WORDS]).run(look) != (false, false)
    }

    #[test]
    fn numbers_are_seen_in_texts_wherever_they_stand() {
        for before in (0..20).chain(50..70) {
            for after in [0, 1, 7, 60] {
                let (before, after) = ("/".repeat(before), ",".repeat(after));
                for (number, expected) in [
                    ("1.2.3.4", true),
                    ("123456789", true),
                    ("x123456789", false),
                    ("123456789_", false),
                    ("x12345-6789", true),
                    ("+49 (89) 123 456 78", true),
                    ("1.2.3", false),
                    ("1.2.3.x4", false),
                    ("2026-02-06 14", true),
                    ("2026-02-06", false),
                    (r#"":123456789"#, false),
                    (r#"\":123456789"#, true),
                ] {
                    let record = format!("{{{before}{number}{after}}}");
                    for &look in Look::all() {
                        assert_eq!(sees(look, &record), expected, "{record}");
                    }
                }
            }
        }
        assert!(!sees(Look::new(), r#"{"at":1770382803111,"b":-123456789.5}"#), "numbers as such");
    }

    #[test]
    fn assignments_are_seen_in_texts_wherever_they_stand() {
        for before in (0..20).chain(50..70) {
            let before = "x".repeat(before);
            for (text, expected) in [
                (r#""a":"token: b""#, true),
                (r#""a":"{\"token\":\"b\"}""#, true),
                (r#""a":"API_KEY = b""#, true),
                (r#""a":"\"{\\\"token\\\":\\\"b\\\"}\"""#, true),
                (r#""token":"b""#, false),
                (r#""a":"https://b:80/c""#, false),
                (r#""a":"tokens: b""#, false),
            ] {
                let record = format!("{{\"{before}\":1,{text}}}");
                for &look in Look::all() {
                    assert_eq!(sees(look, &record), expected, "{record}");
                }
            }
        }
    }

    #[test]
    fn words_are_assigned_in_any_case_and_behind_quotes() {
        const WORDS: &[&str] = &["token", "api_key"];
        for text in ["a token=b", "TOKEN: b", "Api_Key ' = b", "'token' :b", "x=1 token=2"] {
            assert!(assigns(text.as_bytes(), WORDS), "{text}");
        }
        for text in ["tokens=b", "token b", "=token", ": api_key", "toke:", "token     :b"] {
            assert!(!assigns(text.as_bytes(), WORDS), "{text}");
        }
    }
}
