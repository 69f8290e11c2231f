//! Patterns over texts: a search for literals first, regular expressions only where it finds one.

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;

use super::super::{Category, Event, EventType, FieldId as F};
use super::literals::Literals;
use super::marks::Look;
use super::sweep::{Sweep, assigns, is_suspect};

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
    record: Option<Literals>,
    /// Finds in a text how one of the expressions begins.
    text: Option<Literals>,
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

impl Gate {
    /// The gates of which one must be open.
    const fn of(self) -> Gates {
        match self {
            Self::Literals => Gates::LITERALS,
            Self::Byte(_) => Gates::BYTES,
            Self::Digits => Gates::DIGITS,
            Self::Assignment(_) => Gates::WORDS,
            Self::Always => Gates::ALWAYS,
        }
    }
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
        found.text = Literals::new(&literals, found.look);
        if !found.list.is_empty() {
            literals.extend(ESCAPED_ASCII.iter().map(|escape| escape.to_vec()));
        }
        found.record = Literals::new(&literals, found.look);
        Ok(found)
    }

    fn note(&mut self, gate: Gate) {
        match gate {
            Gate::Literals => {}
            Gate::Byte(byte) if self.bytes.contains(&byte) => {}
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
            let sweep = Sweep::new(event, beginning, self.has_digits, &self.words);
            let (has_digits, has_words) = sweep.run(self.look);
            gates = gates.and(Gates::DIGITS.when(has_digits)).and(Gates::WORDS.when(has_words));
        }
        gates
    }

    /// The text without what the patterns behind these gates find; `None` where they find nothing.
    pub(super) fn apply(&self, text: &[u8], gates: Gates) -> Option<Vec<u8>> {
        if text.len() < self.shortest {
            return None;
        }
        let gates = self.narrowed(gates, text);
        if gates == Gates::NONE {
            return None;
        }
        let mut changed: Option<Vec<u8>> = None;
        for pattern in &self.list {
            // What is left can only have fewer of the bytes and digits, but for replacements.
            let is_wanted = gates.has(pattern.gate.of())
                && match pattern.gate {
                    Gate::Byte(byte) => memchr::memchr(byte, text).is_some(),
                    Gate::Assignment(words) => assigns(text, words),
                    Gate::Literals | Gate::Digits | Gate::Always => true,
                };
            if is_wanted && let Some(text) = pattern.apply(changed.as_deref().unwrap_or(text)) {
                changed = Some(text);
            }
        }
        changed
    }

    /// Those of the gates that are open for one text: for most texts of an event none is.
    fn narrowed(&self, gates: Gates, text: &[u8]) -> Gates {
        let begins = || self.text.as_ref().is_some_and(|search| search.finds(text));
        let has_byte = || self.bytes.iter().any(|&byte| memchr::memchr(byte, text).is_some());
        let has_word = || self.words.iter().any(|words| assigns(text, words));
        let always = Gates::ALWAYS.when(self.is_always);
        always
            .and(Gates::LITERALS.when(gates.has(Gates::LITERALS) && begins()))
            .and(Gates::BYTES.when(gates.has(Gates::BYTES) && has_byte()))
            .and(
                Gates::DIGITS.when(gates.has(Gates::DIGITS) && self.has_digits && is_suspect(text)),
            )
            .and(Gates::WORDS.when(gates.has(Gates::WORDS) && has_word()))
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

/// The group of an expression that is replaced alone.
const SECRET: &str = "secret";
/// A printable ASCII character that a record writes as an escape: its text has to be looked at.
/// Control characters, which JSON must escape, are in no literal.
const ESCAPED_ASCII: [&[u8]; 6] =
    [b"\\u002", b"\\u003", b"\\u004", b"\\u005", b"\\u006", b"\\u007"];
/// How each of those begins.
const ESCAPE_BEGINS: &[u8] = b"\\u00";
/// Literals of one expression that are searched for; more would slow down the search of all.
const LITERALS_MAX: usize = 64;
/// Shorter literals are found everywhere.
const LITERAL_BYTES_MIN: usize = 3;
/// A compiled expression, in bytes.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// A version of the event's schema, with its quotes; whatever is longer may be something else.
const VERSION_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
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
    fn what_is_too_short_for_every_expression_is_left_alone() {
        assert_eq!(shortest("key-[0-9]+"), 5);
        assert_eq!(shortest(r"\b[0-9]{3}-?|x"), 1);
        let patterns = Patterns::compile(&[rule("abc[a-z]{2,}")], "[R]").expect("it is right");
        assert_eq!(patterns.shortest, 5);
        assert_eq!(patterns.apply(b"abcde", Gates::ALL), Some(b"[R]".to_vec()));
    }
}
