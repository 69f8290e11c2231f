//! Patterns over texts: a search for literals first, regular expressions only where it finds one.

use aho_corasick::{AhoCorasick, packed};
use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;

use super::super::{Category, Event, EventType, FieldId as F};
use super::marks::{Look, Marks, WINDOW, Words};

/// A pattern: what of a text is replaced.
#[derive(Clone, Debug)]
pub struct PatternRule {
    /// Its name, for errors.
    pub name: String,
    /// What it finds, in linear time; a group named `secret` narrows what is replaced.
    pub regex: String,
    /// What comes instead; `None` is the replacement of all rules.
    pub replacement: Option<String>,
    /// What a text has if it matches, where the expression begins with no literal.
    pub needs: Needs,
    /// Whether what was found is meant, where the expression cannot tell.
    pub check: Option<fn(&[u8]) -> bool>,
}

impl PartialEq for PatternRule {
    /// Checks belong to built-in patterns, which their names tell apart.
    fn eq(&self, other: &Self) -> bool {
        let check = self.check.is_some() == other.check.is_some();
        (&self.name, &self.regex, &self.replacement, self.needs)
            == (&other.name, &other.regex, &other.replacement, other.needs)
            && check
    }
}

/// What a text must have before an expression is tried on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The literals with which the expression begins; any text where there are none.
    Beginning,
    /// This byte.
    Byte(u8),
    /// Nine digits, or four with three dots, with nothing but blanks and signs between them; digits
    /// alone that are part of a word do not count.
    Digits,
    /// One of these words in any case, then `=` or `:` behind four quotes or blanks at most.
    Assignment(&'static [&'static str]),
}

/// The patterns of one set of rules, and the searches that go before them.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    list: Vec<Pattern>,
    /// Finds in a record what any of the expressions need.
    record: Option<Search>,
    /// Finds in a text how one of the expressions begins.
    text: Option<Search>,
    bytes: Vec<u8>,
    has_digits: bool,
    /// Words before an assignment.
    words: Vec<&'static [&'static str]>,
    /// Whether an expression may match any text.
    is_always: bool,
    /// Bytes of the shortest text that an expression can match.
    shortest: usize,
    look: Look,
}

/// A search for any of some literals.
#[derive(Debug)]
enum Search {
    /// On vector instructions, where the processor has them and the literals are few.
    Packed {
        /// Finds the others.
        long: packed::Searcher,
        /// Literals shorter than the fingerprint that the packed search compares, and how they are
        /// looked for.
        short: Option<(Look, Words)>,
    },
    /// By an automaton.
    Any(AhoCorasick),
}

impl Search {
    fn new(literals: &[Vec<u8>]) -> Option<Self> {
        if literals.is_empty() {
            return None;
        }
        // The packed search compares as many bytes as the shortest literal has, four at most, and
        // three are found by chance in one record of two: twice the time of this.
        let (mut short, mut long): (Vec<_>, Vec<_>) =
            literals.iter().partition(|literal| literal.len() < FINGERPRINT_BYTES);
        if short.len() > SHORT_MAX {
            long.append(&mut short);
        }
        let mut few = packed::Config::new().builder();
        if let Some(long) = few.extend(long).build() {
            let word = |literal: &&Vec<u8>| literal.first_chunk().copied();
            let words: Vec<[u8; 3]> = short.iter().filter_map(word).collect();
            // One alone is looked for twice.
            let ends = words.first().zip(words.last());
            let short = ends.map(|(&first, &last)| (Look::new(), [first, last]));
            return Some(Self::Packed { long, short });
        }
        let built = AhoCorasick::new(literals);
        Some(Self::Any(built.expect("texts of a configuration fit the search")))
    }

    #[inline]
    fn finds(&self, text: &[u8]) -> bool {
        match self {
            Self::Packed { long, short } => {
                long.find(text).is_some()
                    || short.as_ref().is_some_and(|(look, words)| look.finds(text, words))
            }
            Self::Any(search) => search.is_match(text),
        }
    }
}

#[derive(Debug)]
struct Pattern {
    regex: Regex,
    has_secret: bool,
    replacement: Vec<u8>,
    gate: Gate,
    check: Option<fn(&[u8]) -> bool>,
}

/// When an expression is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Literals,
    Byte(u8),
    Digits,
    Assignment(&'static [&'static str]),
    Always,
}

/// Which expressions may find something in an event, as far as searches of its record tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Gates(u8);

impl Gates {
    /// None.
    pub(in super::super) const NONE: Self = Self(0);
    /// Any: nothing is known of the texts.
    pub(in super::super) const ALL: Self = Self(u8::MAX);
    const LITERALS: Self = Self(1);
    const BYTES: Self = Self(2);
    const DIGITS: Self = Self(4);
    const WORDS: Self = Self(8);
    const ALWAYS: Self = Self(16);

    const fn when(self, is_so: bool) -> Self {
        if is_so { self } else { Self::NONE }
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Patterns {
    /// Compiles patterns.
    ///
    /// # Errors
    /// The name of each wrong pattern, and what is wrong with it.
    pub(super) fn compile(
        rules: &[PatternRule],
        usual: &str,
    ) -> Result<Self, Vec<(String, String)>> {
        let mut found = Self { shortest: usize::MAX, look: Look::new(), ..Self::default() };
        let mut wrong = Vec::new();
        let mut literals: Vec<Vec<u8>> = Vec::new();
        for rule in rules {
            let regex = match expression(&rule.regex) {
                Ok(regex) => regex,
                Err(problem) => {
                    wrong.push((rule.name.clone(), problem));
                    continue;
                }
            };
            let gate = match rule.needs {
                Needs::Byte(byte) => Gate::Byte(byte),
                Needs::Digits => Gate::Digits,
                Needs::Assignment(words) => Gate::Assignment(words),
                Needs::Beginning => match beginnings(&rule.regex) {
                    Some(more) => {
                        literals.extend(more);
                        Gate::Literals
                    }
                    None => Gate::Always,
                },
            };
            found.note(gate);
            found.shortest = found.shortest.min(shortest(&rule.regex));
            let replacement = rule.replacement.as_deref().unwrap_or(usual);
            found.list.push(Pattern {
                has_secret: regex.capture_names().flatten().any(|name| name == SECRET),
                regex,
                replacement: replacement.as_bytes().to_vec(),
                gate,
                check: rule.check,
            });
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        found.text = Search::new(&literals);
        if !found.list.is_empty() {
            literals.extend(ESCAPED_ASCII.iter().map(|escape| escape.to_vec()));
        }
        found.record = Search::new(&literals);
        Ok(found)
    }

    fn note(&mut self, gate: Gate) {
        match gate {
            Gate::Literals => {}
            Gate::Byte(byte) => self.bytes.push(byte),
            Gate::Digits => self.has_digits = true,
            Gate::Assignment(words) => self.words.push(words),
            Gate::Always => self.is_always = true,
        }
    }

    /// Which expressions may find something in an event: for most events none.
    #[inline]
    pub(super) fn concern(&self, event: &Event<'_>) -> Gates {
        let always = Gates::ALWAYS.when(self.is_always);
        let Some(record) = &self.record else { return always };
        let beginning = beginning(event);
        let texts = &event.record[beginning..];
        let has_literals = record.finds(texts);
        // The record of a concealed event is out of reach, and an escape hides a character.
        if event.opened.concealed || has_literals && memmem::find(texts, ESCAPE_BEGINS).is_some() {
            return Gates::ALL;
        }
        let has = |&byte: &u8| memchr::memchr(byte, texts).is_some();
        let mut gates = always
            .and(Gates::LITERALS.when(has_literals))
            .and(Gates::BYTES.when(self.bytes.iter().any(has)));
        if self.has_digits || !self.words.is_empty() {
            gates = gates.and(self.seen(event, beginning));
        }
        gates
    }

    /// Whether the record has digits or an assignment that an expression may be about, from some
    /// byte on.
    fn seen(&self, event: &Event<'_>, mut start: usize) -> Gates {
        let (mut numbers, mut assignments) = (Numbers::default(), Assignments::default());
        let (mut wants_digits, mut wants_words) = (self.has_digits, !self.words.is_empty());
        self.look.any(&event.record[start..], |marks| {
            if wants_digits && numbers.next(event, start, marks) {
                wants_digits = false;
            }
            let is_meant = |at| {
                let before = &event.record[..start + at];
                self.words.iter().any(|words| ends_with_word(before, words))
            };
            if wants_words && assignments.next(marks, is_meant) {
                wants_words = false;
            }
            start += WINDOW;
            !wants_digits && !wants_words
        });
        let has_words = !self.words.is_empty() && !wants_words;
        Gates::DIGITS.when(self.has_digits && !wants_digits).and(Gates::WORDS.when(has_words))
    }

    /// The text without what the patterns behind these gates find; `None` where they find nothing.
    pub(super) fn apply(&self, text: &[u8], gates: Gates) -> Option<Vec<u8>> {
        if text.len() < self.shortest {
            return None;
        }
        let finds = |search: &Search| search.finds(text);
        let begins = gates.has(Gates::LITERALS) && self.text.as_ref().is_some_and(finds);
        let has_digits = gates.has(Gates::DIGITS) && self.has_digits && is_suspect(text);
        let mut changed: Option<Vec<u8>> = None;
        for pattern in &self.list {
            // What is left can only have fewer of the bytes and digits, but for replacements.
            let is_wanted = match pattern.gate {
                Gate::Literals => begins,
                Gate::Byte(byte) => gates.has(Gates::BYTES) && memchr::memchr(byte, text).is_some(),
                Gate::Digits => has_digits,
                Gate::Assignment(words) => gates.has(Gates::WORDS) && assigns(text, words),
                Gate::Always => true,
            };
            if is_wanted && let Some(text) = pattern.apply(changed.as_deref().unwrap_or(text)) {
                changed = Some(text);
            }
        }
        changed
    }
}

impl Pattern {
    fn apply(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut copied = 0;
        let mut replace = |start: usize, end: usize| {
            if start < end && self.check.is_none_or(|check| check(&text[start..end])) {
                out.extend_from_slice(&text[copied..start]);
                out.extend_from_slice(&self.replacement);
                copied = end;
            }
        };
        if self.has_secret {
            for captures in self.regex.captures_iter(text) {
                let found = captures.name(SECRET).or_else(|| captures.get(0));
                found.into_iter().for_each(|it| replace(it.start(), it.end()));
            }
        } else {
            self.regex.find_iter(text).for_each(|it| replace(it.start(), it.end()));
        }
        if copied == 0 {
            return None;
        }
        out.extend_from_slice(&text[copied..]);
        Some(out)
    }
}

/// Where in its record an event may begin to say something that patterns are about. Nearly all
/// begin with their version, their id, their kind and their time, each checked when it was opened.
fn beginning(event: &Event<'_>) -> usize {
    const NAMES: &str =
        r#"{"schema_version":,"event_id":,"event_type":,"event_category":,"timestamp":"#;
    const FIRST: [F; 5] =
        [F::SchemaVersion, F::EventId, F::EventType, F::EventCategory, F::Timestamp];
    let opened = event.opened;
    let len = |id: &F| opened.places[*id as usize].len() as usize;
    let is_known = opened.event_type != EventType::Other
        && opened.category != Category::Other
        && len(&F::SchemaVersion) <= VERSION_BYTES_MAX;
    // Nothing else stands before the end of the time if that is just as far as these reach.
    let end = opened.places[F::Timestamp as usize].end_in_record();
    let reach = NAMES.len() + FIRST.iter().map(len).sum::<usize>();
    if is_known && end == Some(reach) { reach } else { 0 }
}

fn expression(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(PROGRAM_BYTES_MAX).build();
    let regex = built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            format!("it compiles to more than {PROGRAM_BYTES_MAX} bytes; shorten it")
        }
        // The message shows the expression and a mark below it, over several lines.
        error => error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
    })?;
    if regex.is_match(b"") {
        return Err("it matches an empty text".to_owned());
    }
    Ok(regex)
}

/// Literals of which one begins each match, in a spelling that JSON does not change; `None` where
/// there are none that are worth a search.
fn beginnings(regex: &str) -> Option<Vec<Vec<u8>>> {
    let hir = ParserBuilder::new().utf8(false).build().parse(regex).ok()?;
    let mut sequence = Extractor::new().extract(&hir);
    sequence.minimize_by_preference();
    let literals = sequence.literals()?;
    let plain = |&&byte: &&u8| (b' '..0x7f).contains(&byte) && !b"\"\\/".contains(&byte);
    let cut = literals.iter().map(|literal| literal.as_bytes().iter().take_while(plain));
    let mut cut: Vec<Vec<u8>> = cut.map(|bytes| bytes.copied().collect()).collect();
    cut.sort();
    cut.dedup();
    let is_worth = !cut.is_empty()
        && cut.len() <= LITERALS_MAX
        && cut.iter().all(|literal| literal.len() >= LITERAL_BYTES_MIN);
    is_worth.then_some(cut)
}

/// Bytes of the shortest match of an expression.
fn shortest(regex: &str) -> usize {
    let hir = ParserBuilder::new().utf8(false).build().parse(regex).ok();
    hir.and_then(|hir| hir.properties().minimum_len()).unwrap_or(0)
}

/// The search for what may be a number of people, in windows of a record.
#[derive(Debug, Default)]
struct Numbers {
    /// Where the last bytes of the window before ended 1, 2 and 4 bytes of a number.
    before: [u64; 3],
    /// Where the number ended that was looked at last.
    looked: usize,
}

impl Numbers {
    /// Whether a number with as many digits as [`Needs::Digits`] says ends in a window, or goes on
    /// behind it; `start` is where the window begins.
    #[inline]
    fn next(&mut self, event: &Event<'_>, start: usize, marks: &Marks) -> bool {
        let one = marks.digits | marks.between;
        let two = one & (one << 1 | self.before[0] >> 63);
        let four = two & (two << 2 | self.before[1] >> 62);
        let seven = four & (four << 3 | self.before[2] >> 61);
        self.before = [one, two, four];
        seven != 0 && self.look(event, start, marks, seven)
    }

    /// Looks at the numbers of which seven bytes end at these places of a window.
    fn look(&mut self, event: &Event<'_>, start: usize, marks: &Marks, mut ends: u64) -> bool {
        let one = marks.digits | marks.between;
        while ends != 0 {
            let at = ends.trailing_zeros();
            let (before, behind) = ((one << (63 - at)).leading_ones(), (one >> at).trailing_ones());
            let (begin, end) = (at + 1 - before, at + behind);
            let number = (u64::MAX >> (64 - (end - begin))) << begin;
            ends &= !number;
            let is_whole = begin > 0 && end < 64;
            if is_whole && !may_have_digits(marks.digits & number, marks.between & number) {
                continue;
            }
            let (begin, end) = self.piece(event.record, start + at as usize);
            if is_number(event.record, begin, end) && is_text(event, begin) {
                return true;
            }
        }
        false
    }

    /// Where the number that is at this place of a record begins and ends; nothing where it was
    /// looked at before.
    fn piece(&mut self, record: &[u8], at: usize) -> (usize, usize) {
        if at < self.looked {
            return (at, at);
        }
        let begin = record[..at].iter().rposition(|&byte| !is_of_number(byte));
        let rest = record[at..].iter().position(|&byte| !is_of_number(byte));
        self.looked = rest.map_or(record.len(), |rest| at + rest);
        (begin.map_or(0, |before| before + 1), self.looked)
    }
}

/// Whether a number with these digits and these other signs may be one of [`Needs::Digits`].
fn may_have_digits(digits: u64, between: u64) -> bool {
    let digits = digits.count_ones();
    digits >= DIGITS_MIN || digits >= DOTTED_MIN && between.count_ones() >= DOTS_MIN
}

/// Whether a number at this place of a record may be one that patterns are about: part of a text,
/// and not of the event's id or times.
fn is_text(event: &Event<'_>, at: usize) -> bool {
    let is_covered = NO_NUMBERS.iter().any(|&id| event.opened.places[id as usize].covers(at));
    let before = &event.record[..at];
    let is_member = before.ends_with(b"\":") && !before.ends_with(b"\\\":");
    !is_covered && !is_member
}

/// The search for assignments, in windows of a record: a quote inside a text is escaped there, and
/// one without a backslash ends a text. Names of members are assigned nothing: an expression is
/// tried on each text alone.
#[derive(Debug, Default)]
struct Assignments {
    /// Whether the window before ended with a quote that ends a text.
    after_text: bool,
    after_backslash: bool,
}

impl Assignments {
    /// Whether a window has an assignment for which `is_meant`, asked with its place, is true.
    #[inline]
    fn next(&mut self, marks: &Marks, mut is_meant: impl FnMut(usize) -> bool) -> bool {
        let escaped = marks.backslashes << 1 | u64::from(self.after_backslash);
        let ends = marks.quotes & !escaped;
        let mut left = marks.assigns & !(ends << 1 | u64::from(self.after_text));
        (self.after_text, self.after_backslash) = (ends >> 63 == 1, marks.backslashes >> 63 == 1);
        while left != 0 {
            if is_meant(left.trailing_zeros() as usize) {
                return true;
            }
            left &= left - 1;
        }
        false
    }
}

/// Whether a word is assigned something in a text, as [`Needs::Assignment`] says.
fn assigns(text: &[u8], words: &[&str]) -> bool {
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
        let end = text.len().checked_sub(word.len()).map(|start| &text[start..]);
        end.is_some_and(|end| end.eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// Whether a text has a piece with as many digits as [`Needs::Digits`] says.
fn is_suspect(text: &[u8]) -> bool {
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

/// Whether a piece of a text has as many digits as [`Needs::Digits`] says. Those in the middle of
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
/// The group of an expression that is replaced alone.
const SECRET: &str = "secret";
/// A printable ASCII character that a record writes as an escape: its text has to be looked at.
/// Control characters, which JSON must escape, are in no literal.
const ESCAPED_ASCII: [&[u8]; 6] =
    [b"\\u002", b"\\u003", b"\\u004", b"\\u005", b"\\u006", b"\\u007"];
/// How each of those begins.
const ESCAPE_BEGINS: &[u8] = b"\\u00";
/// Quotes and blanks between a word and its assignment.
const BETWEEN_MAX: usize = 4;
/// The same with their backslashes: a quote has seven in JSON inside of JSON inside of JSON.
const BETWEEN_BYTES_MAX: usize = 18;
/// Literals of one expression that are searched for; more would slow down the search of all.
const LITERALS_MAX: usize = 64;
/// Shorter literals are found everywhere.
const LITERAL_BYTES_MIN: usize = 3;
/// Bytes that a packed search compares at once.
const FINGERPRINT_BYTES: usize = 4;
/// Shorter literals that are searched for at once: all that [`Words`] holds.
const SHORT_MAX: usize = 2;
/// A compiled expression, in bytes.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// A version of the event's schema, with its quotes; whatever is longer may be something else.
const VERSION_BYTES_MAX: usize = 10;
/// Fields with digits that are nobody's number.
const NO_NUMBERS: [F; 3] = [F::EventId, F::Timestamp, F::IngestedAt];

#[cfg(test)]
mod tests {
    use super::super::super::{Frame, Opened};
    use super::*;

    fn rule(regex: &str) -> PatternRule {
        PatternRule {
            name: "it".to_owned(),
            regex: regex.to_owned(),
            replacement: None,
            needs: Needs::Beginning,
            check: None,
        }
    }

    #[test]
    fn beginnings_are_literals_that_json_leaves_alone() {
        let literals = |regex: &str| {
            let found = beginnings(regex)?.into_iter();
            Some(found.map(|it| String::from_utf8(it).expect("it is ASCII")).collect::<Vec<_>>())
        };
        let some = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect());
        assert_eq!(literals(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), some(&["AKIA", "ASIA"]));
        assert_eq!(literals("gh[op]_[a-z]{3,}"), some(&["gho_", "ghp_"]));
        assert_eq!(literals(r"https://key"), some(&["https:"]), "a slash may be escaped");
        assert_eq!(literals(r"[0-9]{4}-"), None);
        assert_eq!(literals("ab"), None, "too short");
        assert_eq!(literals(r#"a"bcde"#), None);
        assert_eq!(literals("x|secret"), None);
    }

    #[test]
    fn each_match_is_replaced() {
        let compiled = |rules: &[PatternRule]| {
            Patterns::compile(rules, "[R]").expect("the patterns are right")
        };
        let apply = |rules: &[PatternRule], text: &str| {
            let changed = compiled(rules).apply(text.as_bytes(), Gates::ALL);
            changed.map(|it| String::from_utf8(it).expect("it is text"))
        };
        assert_eq!(apply(&[rule("key-[0-9]+")], "a key-1, key-22."), Some("a [R], [R].".into()));
        assert_eq!(apply(&[rule("key-[0-9]+")], "a key-x"), None);
        assert_eq!(apply(&[rule("key=(?P<secret>[a-z]+)")], "key=abc d"), Some("key=[R] d".into()));
        let own = PatternRule { replacement: Some("*".to_owned()), ..rule("[0-9]{3}") };
        assert_eq!(apply(&[own, rule("abc")], "abc 123"), Some("[R] *".into()));
        let even = |text: &[u8]| text.last().is_some_and(|it| it.is_multiple_of(2));
        let checked = PatternRule { check: Some(even), ..rule("[0-9]+") };
        assert_eq!(apply(&[checked], "12 13"), Some("[R] 13".into()));
    }

    #[test]
    fn wrong_patterns_are_told_by_name() {
        let told = |regex: &str| {
            let wrong = Patterns::compile(&[rule(regex)], "").expect_err("it is wrong");
            wrong.into_iter().map(|(name, problem)| format!("{name}: {problem}")).next()
        };
        assert_eq!(told("a*"), Some("it: it matches an empty text".into()));
        assert!(told("(").is_some_and(|text| text.contains("unclosed group")));
        assert!(told("(a{1000}){1000}").is_some_and(|text| text.contains("shorten it")));
        assert!(told(r"(a)\1").is_some_and(|text| text.contains("backreferences")));
    }

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
        let patterns =
            Patterns { has_digits: true, words: vec![WORDS], look, ..Patterns::default() };
        let opened = Opened::default();
        let event = Event::new(&opened, Frame::default(), record.as_bytes(), b"");
        patterns.seen(&event, 0) != Gates::NONE
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
                    for look in [Look::new(), Look::Portable] {
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
                for look in [Look::new(), Look::Portable] {
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

    #[test]
    fn what_is_too_short_for_every_expression_is_left_alone() {
        assert_eq!(shortest("key-[0-9]+"), 5);
        assert_eq!(shortest(r"\b[0-9]{3}-?|x"), 1);
        let patterns = Patterns::compile(&[rule("abc[a-z]{2,}")], "[R]").expect("it is right");
        assert_eq!(patterns.shortest, 5);
        assert_eq!(patterns.apply(b"abcde", Gates::ALL), Some(b"[R]".to_vec()));
    }
}
