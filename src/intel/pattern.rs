//! The part of the STIX pattern language that can be looked up.
//!
//! A pattern is read whole, by its grammar (STIX 2.1, 9.2), so that one that is cut off or goes on
//! is refused. Of what it says only alternatives stay: each comparison that alone makes the pattern
//! true is a sign. What is true only together with something else gives none, since half of an AND
//! would match far too much.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Bytes of a pattern at most (`threat-intel.md`, Bad input).
pub const PATTERN_BYTES_MAX: usize = 16 << 10;

/// Bytes of a value at most.
pub const VALUE_BYTES_MAX: usize = 2 << 10;

/// Parentheses inside each other at most.
const DEPTH_MAX: usize = 64;

/// What a sign is a value of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignKind {
    /// A domain; with a leading dot only what lies below it.
    Domain,
    /// An address, or a prefix in CIDR notation.
    Ip,
    /// A URL.
    Url,
    /// A file's MD5, SHA-1 or SHA-256.
    FileHash,
    /// A file's name.
    FileName,
    /// The directory that a file is in.
    Path,
}

impl SignKind {
    /// All kinds, as they are counted.
    pub const ALL: [Self; 6] =
        [Self::Domain, Self::Ip, Self::Url, Self::FileHash, Self::FileName, Self::Path];

    /// Its name in answers and as a label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Ip => "ip",
            Self::Url => "url",
            Self::FileHash => "file_hash",
            Self::FileName => "file_name",
            Self::Path => "path",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }

    /// Its position in [`SignKind::ALL`].
    pub(super) const fn position(self) -> usize {
        self as usize
    }
}

/// One value that makes a pattern true, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// What it is a value of.
    pub kind: SignKind,
    /// The value, its escapes undone.
    pub value: String,
}

/// Why a part of a pattern gives no sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unsupported {
    /// It holds only together with something else: AND, FOLLOWEDBY, WITHIN, REPEATS, START.
    Together,
    /// It says what must not be: NOT, `!=`.
    Negated,
    /// Its comparison cannot be looked up: MATCHES, an order, or LIKE with other wildcards.
    Comparison,
    /// It is about something else than domains, addresses, URLs and files.
    Property,
    /// It does not follow the grammar, or is nested too deep.
    Malformed,
    /// It is longer than [`PATTERN_BYTES_MAX`], or one of its values than [`VALUE_BYTES_MAX`].
    TooLong,
}

impl Unsupported {
    /// Its name as a label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Together => "pattern_and",
            Self::Negated => "pattern_not",
            Self::Comparison => "pattern_comparison",
            Self::Property => "pattern_property",
            Self::Malformed => "pattern_malformed",
            Self::TooLong => "pattern_too_long",
        }
    }
}

/// What a pattern looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// The values of which each alone makes it true.
    pub signs: Vec<Sign>,
    /// Why other parts of it gave none.
    pub unsupported: Vec<Unsupported>,
}

impl Signs {
    /// Reads a pattern; one that breaks the grammar gives no sign at all.
    #[must_use]
    pub fn parse(pattern: &str) -> Self {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Self::none(Unsupported::TooLong);
        }
        let read = tokens(pattern).and_then(|tokens| {
            let mut parser = Parser { tokens: &tokens, depth: 0 };
            let signs = parser.observations()?;
            parser.tokens.is_empty().then_some(signs)
        });
        read.unwrap_or_else(|| Self::none(Unsupported::Malformed))
    }

    fn none(reason: Unsupported) -> Self {
        Self { signs: Vec::new(), unsupported: vec![reason] }
    }

    fn or(mut self, other: Self) -> Self {
        self.signs.extend(other.signs);
        self.unsupported.extend(other.unsupported);
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A keyword, a type, a step of a path or a number.
    Word(&'a str),
    /// A text, its escapes undone; of a plain text only, not of `t'..'`, `h'..'`, `b'..'`.
    Text(Cow<'a, str>),
    /// A text with a type before it.
    Typed,
    Mark(&'static str),
}

/// The tokens of a pattern; `None` where something is no token.
fn tokens(pattern: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = pattern.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_typed = matches!(rest.as_bytes(), [b't' | b'h' | b'b', b'\'', ..]);
        if first == '\'' || is_typed {
            let (text, behind) = quoted(&rest[1 + usize::from(is_typed)..])?;
            tokens.push(if is_typed { Token::Typed } else { Token::Text(text) });
            rest = behind;
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            tokens.push(Token::Mark(mark));
            rest = &rest[mark.len()..];
        } else {
            let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            tokens.push(Token::Word(&rest[..end]));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Some(tokens)
}

/// Marks, longer ones before those they begin with.
const MARKS: &[&str] =
    &["!=", "<>", "==", "<=", ">=", "[", "]", "(", ")", ":", ".", ",", "*", "=", "<", ">"];

/// The text up to the next quote, and what lies behind it; `\'` and `\\` are its only escapes.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let bytes = text.as_bytes();
    let mut plain = String::new();
    let (mut at, mut start) = (0, 0);
    loop {
        match bytes.get(at)? {
            b'\'' => break,
            b'\\' => {
                if !matches!(bytes.get(at + 1)?, b'\'' | b'\\') {
                    return None;
                }
                plain.push_str(&text[start..at]);
                start = at + 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    let value = match plain.is_empty() && start == 0 {
        true => Cow::Borrowed(&text[..at]),
        false => Cow::Owned(plain + &text[start..at]),
    };
    Some((value, &text[at + 1..]))
}

/// What is left of a pattern, and how deep in parentheses that is.
struct Parser<'t, 'a> {
    tokens: &'t [Token<'a>],
    depth: usize,
}

impl<'t, 'a> Parser<'t, 'a> {
    /// `observationExpressions`: FOLLOWEDBY binds less than OR, and OR less than AND.
    fn observations(&mut self) -> Option<Signs> {
        self.chain("FOLLOWEDBY", together, |parser| {
            parser.chain("OR", Signs::or, |parser| parser.chain("AND", together, Self::observation))
        })
    }

    /// One observation, and what it is qualified by.
    fn observation(&mut self) -> Option<Signs> {
        let mut signs = if self.takes("(") {
            self.inside(Self::observations, ")")?
        } else {
            self.mark("[")?;
            self.inside(Self::comparisons, "]")?
        };
        loop {
            if self.takes_word("WITHIN") {
                self.word()?;
                self.fraction()?;
                self.takes_word("SECONDS").then_some(())?;
            } else if self.takes_word("REPEATS") {
                self.word()?;
                self.takes_word("TIMES").then_some(())?;
            } else if self.takes_word("START") {
                self.literal()?;
                self.takes_word("STOP").then_some(())?;
                self.literal()?;
            } else {
                return Some(signs);
            }
            signs = Signs::none(Unsupported::Together);
        }
    }

    /// `comparisonExpression`.
    fn comparisons(&mut self) -> Option<Signs> {
        self.chain("OR", Signs::or, |parser| parser.chain("AND", together, Self::comparison))
    }

    fn comparison(&mut self) -> Option<Signs> {
        if self.takes("(") {
            return self.inside(Self::comparisons, ")");
        }
        if self.takes_word("NOT") {
            self.deeper()?;
            self.comparison()?;
            self.depth -= 1;
            return Some(Signs::none(Unsupported::Negated));
        }
        if self.takes_word("EXISTS") {
            self.property()?;
            return Some(Signs::none(Unsupported::Comparison));
        }
        let property = self.property()?;
        let is_negated = self.takes_word("NOT");
        let test = self.test()?;
        let values = match test {
            Test::In => self.set()?,
            _ => vec![self.literal()?],
        };
        if is_negated || test == Test::Differs {
            return Some(Signs::none(Unsupported::Negated));
        }
        let Some(kind) = kind_of(&property) else {
            return Some(Signs::none(Unsupported::Property));
        };
        let signs = values.into_iter().map(|value| {
            if value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
                return Signs::none(Unsupported::TooLong);
            }
            let value = value.and_then(|value| sought(kind, test, value));
            let none = || Signs::none(Unsupported::Comparison);
            let one = |value| Signs { signs: vec![Sign { kind, value }], unsupported: Vec::new() };
            value.map_or_else(none, one)
        });
        Some(signs.fold(Signs::default(), Signs::or))
    }

    fn test(&mut self) -> Option<Test> {
        let (token, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(match token {
            Token::Mark("=" | "==") => Test::Equals,
            Token::Mark("!=" | "<>") => Test::Differs,
            Token::Mark("<" | "<=" | ">" | ">=") => Test::Other,
            Token::Word(word) => match word.to_ascii_uppercase().as_str() {
                "IN" => Test::In,
                "LIKE" => Test::Like,
                "ISSUBSET" => Test::IsSubset,
                "MATCHES" | "ISSUPERSET" => Test::Other,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// A path: its type, and its steps without those into lists.
    fn property(&mut self) -> Option<Vec<Cow<'a, str>>> {
        let mut steps = vec![Cow::Borrowed(self.word()?)];
        self.mark(":")?;
        loop {
            let (token, rest) = self.tokens.split_first()?;
            self.tokens = rest;
            steps.push(match token {
                Token::Word(word) => Cow::Borrowed(*word),
                Token::Text(text) => text.clone(),
                _ => return None,
            });
            while self.takes("[") {
                if !self.takes("*") {
                    self.word()?;
                }
                self.mark("]")?;
                steps.push(Cow::Borrowed("[]"));
            }
            if !self.takes(".") {
                return Some(steps);
            }
        }
    }

    fn set(&mut self) -> Option<Vec<Option<Cow<'a, str>>>> {
        self.mark("(")?;
        let mut values = vec![self.literal()?];
        while self.takes(",") {
            values.push(self.literal()?);
        }
        self.mark(")")?;
        Some(values)
    }

    /// A literal; `Some(None)` is one that is no plain text.
    #[expect(clippy::option_option, reason = "outside: is it a literal; inside: is it a text")]
    fn literal(&mut self) -> Option<Option<Cow<'a, str>>> {
        let (token, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        match token {
            Token::Text(text) => Some(Some(text.clone())),
            Token::Typed => Some(None),
            Token::Word(_) => {
                self.fraction()?;
                Some(None)
            }
            Token::Mark(_) => None,
        }
    }

    /// The rest of a number that has one.
    fn fraction(&mut self) -> Option<()> {
        if self.takes(".") {
            self.word()?;
        }
        Some(())
    }

    fn chain(
        &mut self,
        joint: &str,
        join: fn(Signs, Signs) -> Signs,
        part: impl Fn(&mut Self) -> Option<Signs>,
    ) -> Option<Signs> {
        let mut signs = part(self)?;
        while self.takes_word(joint) {
            signs = join(signs, part(self)?);
        }
        Some(signs)
    }

    fn inside(
        &mut self,
        part: impl FnOnce(&mut Self) -> Option<Signs>,
        end: &'static str,
    ) -> Option<Signs> {
        self.deeper()?;
        let signs = part(self)?;
        self.depth -= 1;
        self.mark(end)?;
        Some(signs)
    }

    fn deeper(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= DEPTH_MAX).then_some(())
    }

    fn word(&mut self) -> Option<&'a str> {
        match self.tokens.split_first()? {
            (Token::Word(word), rest) => {
                self.tokens = rest;
                Some(word)
            }
            _ => None,
        }
    }

    fn mark(&mut self, mark: &'static str) -> Option<()> {
        self.takes(mark).then_some(())
    }

    fn takes(&mut self, mark: &'static str) -> bool {
        self.takes_if(|token| *token == Token::Mark(mark))
    }

    /// Keywords are taken in any case: some feeds write them small.
    fn takes_word(&mut self, word: &str) -> bool {
        self.takes_if(|token| matches!(token, Token::Word(it) if it.eq_ignore_ascii_case(word)))
    }

    fn takes_if(&mut self, is_it: impl FnOnce(&Token<'a>) -> bool) -> bool {
        match self.tokens.split_first() {
            Some((token, rest)) if is_it(token) => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }
}

fn together(_: Signs, _: Signs) -> Signs {
    Signs::none(Unsupported::Together)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equals,
    Differs,
    In,
    Like,
    IsSubset,
    Other,
}

/// What a path is a value of; `None` of what cannot be looked up.
fn kind_of(property: &[Cow<'_, str>]) -> Option<SignKind> {
    let steps: Vec<&str> = property.iter().map(AsRef::as_ref).collect();
    Some(match steps.as_slice() {
        ["domain-name", "value"] => SignKind::Domain,
        ["ipv4-addr" | "ipv6-addr", "value"] => SignKind::Ip,
        ["url", "value"] => SignKind::Url,
        ["file", "name"] => SignKind::FileName,
        ["file", "parent_directory_ref", "path"] => SignKind::Path,
        ["file", "hashes", algorithm] => {
            let plain = algorithm.to_ascii_lowercase().replace(['-', '_'], "");
            match plain.as_str() {
                "md5" | "sha1" | "sha256" => SignKind::FileHash,
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// The value that a comparison looks for, where it can be looked up.
fn sought(kind: SignKind, test: Test, value: Cow<'_, str>) -> Option<String> {
    let is_plain = |text: &str| !text.contains(['%', '_']);
    match test {
        Test::Equals | Test::In => Some(value.into_owned()),
        Test::IsSubset if kind == SignKind::Ip => Some(value.into_owned()),
        Test::Like => match value.strip_prefix("%.") {
            // `%.x` is what lies below x, and not x itself.
            Some(below) if kind == SignKind::Domain && is_plain(below) => Some(format!(".{below}")),
            None if is_plain(&value) => Some(value.into_owned()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Unsupported::{Comparison, Malformed, Negated, Property, Together, TooLong};
    use super::*;
    use SignKind::{Domain, FileHash, FileName, Ip, Path, Url};

    #[test]
    fn what_can_be_looked_up_is_found() {
        let hash = "aec070645fe53ee3b3763059376134f058cc337247c978add178b6ccdfb0019f";
        let cases: &[(&str, &[(SignKind, &str)])] = &[
            ("[domain-name:value = 'Evil.example.']", &[(Domain, "Evil.example.")]),
            ("[domain-name:value == 'a.example']", &[(Domain, "a.example")]),
            ("[domain-name:value IN ('a.io','b.io')]", &[(Domain, "a.io"), (Domain, "b.io")]),
            ("[domain-name:value LIKE '%.a.io']", &[(Domain, ".a.io")]),
            ("[domain-name:value LIKE 'a.io']", &[(Domain, "a.io")]),
            ("[ipv4-addr:value = '198.51.100.1/32']", &[(Ip, "198.51.100.1/32")]),
            ("[ipv4-addr:value ISSUBSET '198.51.100.0/24']", &[(Ip, "198.51.100.0/24")]),
            ("[ipv6-addr:value = '2001:db8::1']", &[(Ip, "2001:db8::1")]),
            ("[url:value = 'http://a.io/x?y=[1]']", &[(Url, "http://a.io/x?y=[1]")]),
            (&format!("[file:hashes.'SHA-256' = '{hash}']"), &[(FileHash, hash)]),
            (&format!("[file:hashes.SHA-256 = '{hash}']"), &[(FileHash, hash)]),
            (&format!("[file:hashes.SHA256='{hash}']"), &[(FileHash, hash)]),
            (
                "[file:hashes.MD5 = 'aa'] OR [file:hashes.'SHA-1' = 'bb']",
                &[(FileHash, "aa"), (FileHash, "bb")],
            ),
            (r"[file:name = 'it\'s \\ here']", &[(FileName, r"it's \ here")]),
            (r"[file:parent_directory_ref.path = 'C:\\Temp']", &[(Path, r"C:\Temp")]),
            (
                "[url:value = 'u' OR (domain-name:value = 'd' OR ipv4-addr:value = '1.2.3.4')]",
                &[(Url, "u"), (Domain, "d"), (Ip, "1.2.3.4")],
            ),
            ("([url:value = 'u'] OR [url:value = 'v'])", &[(Url, "u"), (Url, "v")]),
            ("  [ url:value\n=\t'u' ]  ", &[(Url, "u")]),
        ];
        for (pattern, expected) in cases {
            let found = Signs::parse(pattern);
            let signs: Vec<_> = found.signs.iter().map(|it| (it.kind, it.value.as_str())).collect();
            assert_eq!(signs, *expected, "{pattern}");
            assert_eq!(found.unsupported, [], "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_looked_up_is_named_and_gives_nothing() {
        let cases = [
            ("[url:value = 'u' AND domain-name:value = 'd']", Together),
            ("[url:value = 'u'] AND [url:value = 'v']", Together),
            ("[url:value = 'u'] FOLLOWEDBY [url:value = 'v']", Together),
            ("[url:value = 'u'] OR [url:value = 'v'] FOLLOWEDBY [url:value = 'w']", Together),
            ("([url:value = 'u'] OR [url:value = 'v']) WITHIN 5.5 SECONDS", Together),
            ("[url:value = 'u'] REPEATS 3 TIMES", Together),
            (
                "[url:value = 'u'] START t'2016-06-01T00:00:00Z' STOP t'2016-07-01T00:00:00Z'",
                Together,
            ),
            ("[url:value != 'u']", Negated),
            ("[url:value NOT = 'u']", Negated),
            ("[NOT url:value = 'u']", Negated),
            ("[url:value MATCHES '^u']", Comparison),
            ("[url:value LIKE 'u%']", Comparison),
            ("[domain-name:value LIKE '%.u%']", Comparison),
            ("[domain-name:value ISSUBSET 'u']", Comparison),
            ("[domain-name:value = 5.5]", Comparison),
            ("[domain-name:value > 'a']", Comparison),
            ("[EXISTS url:value]", Comparison),
            ("[process:name = 'x']", Property),
            ("[file:hashes.'SHA3-256' = 'x']", Property),
            ("[domain-name:resolves_to_refs[*].value = '198.51.100.1']", Property),
            ("", Malformed),
            ("[url:value = 'u'", Malformed),
            ("[url:value = 'u']]", Malformed),
            ("[url:value = 'u' url:value = 'v']", Malformed),
            (r"[url:value = 'u\n']", Malformed),
            ("[url:value = u;]", Malformed),
            ("url:value = 'u'", Malformed),
            ("[]", Malformed),
        ];
        for (pattern, expected) in cases {
            let found = Signs::parse(pattern);
            assert_eq!(found, Signs::none(expected), "{pattern}");
        }
        let long = format!("[url:value = '{}']", "u".repeat(PATTERN_BYTES_MAX));
        assert_eq!(Signs::parse(&long), Signs::none(TooLong));
        let long =
            format!("[url:value IN ('{}', 'http://a.example/')]", "u".repeat(VALUE_BYTES_MAX + 1));
        let found = Signs::parse(&long);
        assert_eq!((found.signs.len(), found.unsupported), (1, vec![TooLong]));
    }

    #[test]
    fn an_alternative_stands_beside_what_is_not_supported() {
        let found = Signs::parse("[url:value = 'u' AND url:value = 'v' OR url:value = 'w']");
        assert_eq!(found.signs, [Sign { kind: Url, value: "w".into() }]);
        assert_eq!(found.unsupported, [Together]);
    }

    #[test]
    fn parentheses_end_at_their_bound() {
        let nested = |depth| {
            let (open, close) = ("(".repeat(depth), ")".repeat(depth));
            Signs::parse(&format!("[{open}url:value = 'u'{close}]"))
        };
        assert_eq!(nested(DEPTH_MAX - 1).signs.len(), 1);
        assert_eq!(nested(DEPTH_MAX), Signs::none(Malformed));
        assert_eq!(nested(8_000), Signs::none(Malformed));
        // The way of NOT is one of parentheses.
        let negated = format!("[{}url:value = 'u']", "NOT ".repeat(4_000));
        assert_eq!(Signs::parse(&negated), Signs::none(Malformed));
    }

    proptest! {
        #[test]
        fn any_value_comes_back_as_it_was(value in "\\PC{0,40}") {
            let escaped = value.replace('\\', r"\\").replace('\'', r"\'");
            let found = Signs::parse(&format!("[file:name = '{escaped}']"));
            prop_assert_eq!(found.signs, [Sign { kind: FileName, value }]);
        }

        #[test]
        fn any_text_is_read_or_refused(
            text in "(\\[|\\]|\\(|\\)|'|\\\\|:|\\.|,|=| |OR|AND|NOT|IN|LIKE|url|value|'x'|[a-z]|\u{e4})*",
        ) {
            let found = Signs::parse(&text);
            prop_assert!(!found.signs.is_empty() || !found.unsupported.is_empty());
        }
    }
}
