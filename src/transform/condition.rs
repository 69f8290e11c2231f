//! Conditions of routes and hooks (`pipeline.md`, Routing): comparisons joined by and, or, not.
//!
//! ```text
//! severity >= 'high' and (guard in ['secret_leak', "posture"] or labels.team matches 'red-*')
//! ```
//! The single word `default` is a condition too and holds for every event.
//!
//! A value that is absent compares false, also with `!=`; `not` turns that around. Texts compare
//! byte by byte in their decoded form; in a glob `*` is any text and `?` one character.

use std::cmp::Ordering;
use std::fmt;

use super::{Name, json};
use crate::event::{Event, FieldId as F, Severity, Value};

/// A compiled condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    root: Node,
}

/// Why a condition does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// The character where it stops, from 1.
    pub column: usize,
    /// What was expected there.
    pub expected: String,
    /// The nearest valid word, where one is near.
    pub nearest: Option<String>,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: expected {}", self.column, self.expected)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConditionError {}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Severity(Compare, Severity),
    SeverityIn(Vec<Severity>),
    Value(Name, Test),
}

/// What is asked of a value that is there.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Compare(Compare, Literal),
    In(Vec<Literal>),
    Matches(Vec<char>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A literal: quoted text, or a bare number or truth value.
#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Text(String),
    Number(f64),
    Bool(bool),
}

impl Condition {
    /// Parentheses and negations inside each other, at most: more is no condition that a person
    /// wrote, and each takes a frame of the stack.
    pub const DEPTH_MAX: usize = 64;

    /// Compiles a condition.
    ///
    /// # Errors
    /// When it does not parse or names what no event has.
    pub fn compile(text: &str) -> Result<Self, ConditionError> {
        if text.trim() == "default" {
            return Ok(Self { root: Node::All(Vec::new()) });
        }
        let mut parser = Parser { text, at: 0, depth: 0 };
        let root = parser.any()?;
        match parser.peek()? {
            Token::End => Ok(Self { root }),
            _ => Err(parser.error("`and`, `or` or the end", None)),
        }
    }

    /// The condition that what a name speaks of has this text: `None` where no event has that.
    #[must_use]
    pub fn is(name: &str, text: &str) -> Option<Self> {
        let name = Name::parse(name)?;
        let root = if name.is_field() && name.field() == F::Severity {
            Node::Severity(Compare::Equal, Severity::parse(text.as_bytes())?)
        } else {
            Node::Value(name, Test::Compare(Compare::Equal, Literal::Text(text.to_owned())))
        };
        Some(Self { root })
    }

    /// The condition that holds where both do.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { root: Node::All(vec![self.root, other.root]) }
    }

    /// Whether it holds for this event.
    #[must_use]
    pub fn holds(&self, event: &Event<'_>) -> bool {
        self.root.holds(event)
    }
}

impl Node {
    fn holds(&self, event: &Event<'_>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(event)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(event)),
            Self::Not(node) => !node.holds(event),
            Self::Severity(compare, severity) => compare.holds(event.opened.severity.cmp(severity)),
            Self::SeverityIn(severities) => severities.contains(&event.opened.severity),
            Self::Value(name, test) => name.value(event).is_some_and(|value| test.holds(value)),
        }
    }
}

impl Test {
    fn holds(&self, value: Value<'_>) -> bool {
        match self {
            Self::Compare(compare, literal) => match literal.order(value) {
                Some(order) => compare.holds(order),
                // A value of another kind is not equal to the literal, and neither below nor above.
                None => *compare == Compare::Unequal,
            },
            Self::In(literals) => {
                literals.iter().any(|literal| literal.order(value) == Some(Ordering::Equal))
            }
            Self::Matches(glob) => matches(glob, value.text()),
        }
    }
}

impl Compare {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::More => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

impl Literal {
    /// How the value stands to the literal; `None` when they cannot be compared.
    fn order(&self, value: Value<'_>) -> Option<Ordering> {
        match self {
            Self::Text(text) => Some(json::compare(value.text(), text)),
            Self::Bool(truth) => match value.json {
                b"true" => Some(true.cmp(truth)),
                b"false" => Some(false.cmp(truth)),
                _ => None,
            },
            // Labels are texts also when they hold a number.
            Self::Number(number) => {
                let own: f64 = std::str::from_utf8(value.text()).ok()?.parse().ok()?;
                own.partial_cmp(number)
            }
        }
    }
}

/// Whether escaped text fits a glob; after a mismatch only the last `*` takes one more character,
/// so the time is at most the product of the two lengths.
fn matches(glob: &[char], escaped: &[u8]) -> bool {
    let (mut at, mut rest) = (0, escaped);
    let mut retry: Option<(usize, &[u8])> = None;
    loop {
        let found = json::character(rest);
        match (glob.get(at), found) {
            (Some('*'), _) => {
                retry = Some((at + 1, rest));
                at += 1;
            }
            (Some(wanted), Some((char, len))) if *wanted == '?' || *wanted == char => {
                at += 1;
                rest = &rest[len..];
            }
            (None, None) => return true,
            _ => match retry.and_then(|(at, from)| Some((at, from, json::character(from)?))) {
                Some((star, from, (_, len))) => {
                    (at, rest) = (star, &from[len..]);
                    retry = Some((star, rest));
                }
                None => return false,
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Literal(Literal),
    Compare(Compare),
    And,
    Or,
    Not,
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// The byte where the next token is looked for.
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Node, ConditionError> {
        let mut nodes = vec![self.all()?];
        while self.peek()? == Token::Or {
            self.next()?;
            nodes.push(self.all()?);
        }
        Ok(join(nodes, Node::Any))
    }

    fn all(&mut self) -> Result<Node, ConditionError> {
        let mut nodes = vec![self.one()?];
        while self.peek()? == Token::And {
            self.next()?;
            nodes.push(self.one()?);
        }
        Ok(join(nodes, Node::All))
    }

    fn one(&mut self) -> Result<Node, ConditionError> {
        self.depth += 1;
        if self.depth > Condition::DEPTH_MAX {
            return Err(self.error("fewer parentheses inside each other", None));
        }
        let node = match self.peek()? {
            Token::Not => {
                self.next()?;
                Node::Not(Box::new(self.one()?))
            }
            Token::Open => {
                self.next()?;
                let node = self.any()?;
                self.expect(&Token::Close, "`)`")?;
                node
            }
            Token::Word(word) => self.comparison(word)?,
            _ => return Err(self.error("a name such as `severity`, `not` or `(`", None)),
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self, word: &str) -> Result<Node, ConditionError> {
        let Some(name) = Name::parse(word) else {
            let nearest = super::nearest(word, NAMES.iter().copied());
            let expected = "a name: a field, `labels.X` or `metadata.a.b`";
            return Err(self.error(expected, nearest));
        };
        self.next()?;
        let is_severity = name.is_field() && name.field() == F::Severity;
        let is_bool = name.is_field() && name.field() == F::Allowed;
        match self.peek()? {
            Token::Compare(compare) => {
                self.next()?;
                if is_severity {
                    return Ok(Node::Severity(compare, self.severity()?));
                }
                let literal = self.literal(&name)?;
                Ok(Node::Value(name, Test::Compare(compare, literal)))
            }
            Token::Word("in") => {
                self.next()?;
                if is_severity {
                    return Ok(Node::SeverityIn(self.list(Self::severity)?));
                }
                let literals = self.list(|parser| parser.literal(&name))?;
                Ok(Node::Value(name, Test::In(literals)))
            }
            Token::Word("matches") => {
                self.next()?;
                match self.peek()? {
                    Token::Literal(Literal::Text(glob)) => {
                        self.next()?;
                        Ok(Node::Value(name, Test::Matches(glob.chars().collect())))
                    }
                    _ => Err(self.error("a glob in quotes", None)),
                }
            }
            _ if is_bool => {
                Ok(Node::Value(name, Test::Compare(Compare::Equal, Literal::Bool(true))))
            }
            _ => Err(self.error("a comparison: == != < <= > >=, `in` or `matches`", None)),
        }
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, ConditionError>,
    ) -> Result<Vec<T>, ConditionError> {
        self.expect(&Token::OpenList, "`[`")?;
        let mut items = vec![item(self)?];
        while self.peek()? == Token::Comma {
            self.next()?;
            items.push(item(self)?);
        }
        self.expect(&Token::CloseList, "`,` or `]`")?;
        Ok(items)
    }

    fn severity(&mut self) -> Result<Severity, ConditionError> {
        const WORDS: [&str; 5] = ["info", "low", "medium", "high", "critical"];
        let word = match self.peek()? {
            Token::Literal(Literal::Text(word)) => word,
            _ => return Err(self.error("a severity in quotes, such as 'high'", None)),
        };
        match Severity::parse(word.as_bytes()) {
            Some(severity) => {
                self.next()?;
                Ok(severity)
            }
            None => {
                let nearest = super::nearest(&word, WORDS.into_iter());
                Err(self.error("a severity: info, low, medium, high or critical", nearest))
            }
        }
    }

    /// A literal to compare this name with.
    fn literal(&mut self, name: &Name) -> Result<Literal, ConditionError> {
        let literal = match self.peek()? {
            Token::Literal(literal) => literal,
            _ => return Err(self.error("a text in quotes, a number, true or false", None)),
        };
        let field = name.is_field().then(|| name.field());
        let literal = match (field, literal) {
            (Some(F::ResourcePort), literal) => match number(&literal) {
                Some(port) => Literal::Number(port),
                None => return Err(self.error("a port number", None)),
            },
            (Some(F::Allowed), Literal::Text(text)) if text == "true" => Literal::Bool(true),
            (Some(F::Allowed), Literal::Text(text)) if text == "false" => Literal::Bool(false),
            (Some(F::Allowed), Literal::Bool(truth)) => Literal::Bool(truth),
            (Some(F::Allowed), _) => return Err(self.error("true or false", None)),
            (_, literal) => literal,
        };
        self.next()?;
        Ok(literal)
    }

    fn expect(&mut self, token: &Token<'_>, expected: &str) -> Result<(), ConditionError> {
        if self.peek()? == *token {
            return self.next().map(drop);
        }
        Err(self.error(expected, None))
    }

    fn peek(&mut self) -> Result<Token<'a>, ConditionError> {
        let at = self.at;
        let token = self.next();
        self.at = at + self.text[at..].len() - self.text[at..].trim_start().len();
        token
    }

    fn next(&mut self) -> Result<Token<'a>, ConditionError> {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        let symbol = SYMBOLS.iter().find(|(symbol, _)| rest.starts_with(symbol));
        if let Some((symbol, token)) = symbol {
            self.at += symbol.len();
            return Ok(token.clone());
        }
        match rest.chars().next() {
            None => Ok(Token::End),
            Some(quote @ ('\'' | '"')) => {
                let Some(len) = rest[1..].find(quote) else {
                    return Err(self.error("a closing quote", None));
                };
                self.at += len + 2;
                Ok(Token::Literal(Literal::Text(rest[1..=len].to_owned())))
            }
            Some(_) => {
                let ends = |c: char| !(c.is_alphanumeric() || "_.-/@$".contains(c));
                let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
                if word.is_empty() {
                    let operator = match rest.chars().next() {
                        Some('=') => Some("=="),
                        Some('&') => Some("&&"),
                        Some('|') => Some("||"),
                        _ => None,
                    };
                    return Err(self.error("a name, a quoted text or an operator", operator));
                }
                self.at += word.len();
                Ok(bare(word))
            }
        }
    }

    fn error(&self, expected: &str, nearest: Option<&str>) -> ConditionError {
        let blank = self.text[self.at..].len() - self.text[self.at..].trim_start().len();
        ConditionError {
            column: self.text[..self.at + blank].chars().count() + 1,
            expected: expected.to_owned(),
            nearest: nearest.map(str::to_owned),
        }
    }
}

/// What a word without quotes is.
fn bare(word: &str) -> Token<'_> {
    match word {
        "and" => Token::And,
        "or" => Token::Or,
        "not" => Token::Not,
        "true" => Token::Literal(Literal::Bool(true)),
        "false" => Token::Literal(Literal::Bool(false)),
        word => match word.parse::<f64>() {
            Ok(number) if number.is_finite() => Token::Literal(Literal::Number(number)),
            _ => Token::Word(word),
        },
    }
}

/// The number that a literal is.
fn number(literal: &Literal) -> Option<f64> {
    match literal {
        Literal::Number(number) => Some(*number),
        Literal::Text(text) => text.parse().ok(),
        Literal::Bool(_) => None,
    }
}

/// Several nodes joined, or the only one.
fn join(mut nodes: Vec<Node>, join: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            join(nodes)
        }
        None => Node::All(nodes),
    }
}

/// Longer symbols first.
const SYMBOLS: &[(&str, Token<'static>)] = &[
    ("==", Token::Compare(Compare::Equal)),
    ("!=", Token::Compare(Compare::Unequal)),
    ("<=", Token::Compare(Compare::AtMost)),
    (">=", Token::Compare(Compare::AtLeast)),
    ("&&", Token::And),
    ("||", Token::Or),
    ("<", Token::Compare(Compare::Less)),
    (">", Token::Compare(Compare::More)),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    ("[", Token::OpenList),
    ("]", Token::CloseList),
    (",", Token::Comma),
];

/// The names of `pipeline.md`, for hints.
const NAMES: &[&str] = &[
    "severity",
    "guard",
    "event_type",
    "category",
    "outcome",
    "allowed",
    "action",
    "tenant_id",
    "environment",
    "user_id",
    "agent_id",
    "session_id",
    "resource.type",
    "resource.name",
    "resource.path",
    "resource.host",
    "resource.port",
    "labels.",
    "metadata.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Frame, Opened, Opening, OpeningOptions};

    const RECORD: &str = concat!(
        r#"{"schema_version":"1.0.0","event_id":"019c322d-fa80-7f99-8d84-b44109f58c77","#,
        r#""event_type":"guard_block","event_category":"network","#,
        r#""timestamp":"2026-02-06T12:00:00Z","#,
        r#""agent":{"id":"a-1","name":"hushd","version":"0.1.0","type":"clawdstrike"},"#,
        r#""session":{"id":"s-1","tenant_id":"acme"},"#,
        r#""outcome":"failure","action":"egress","threat":{},"#,
        r#""decision":{"allowed":false,"guard":"secret_leak","severity":"high","#,
        r#""reason":"a \"quoted\" caf\u00e9"},"#,
        r#""resource":{"type":"network","#,
        r#""name":"api.x.example","host":"api.x.example","port":8443},"#,
        r#""metadata":{"velar":{"count":3,"ok":true,"list":[1],"none":null}},"#,
        r#""labels":{"k8s.pod":"p-1","stra\u00dfe":"a","#,
        r#""n":"42"}}"#,
    );

    fn holds(text: &str) -> bool {
        let condition = Condition::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let opening = Opening::new(&OpeningOptions::default());
        let (frame, record) = (Frame::default(), RECORD.as_bytes());
        let (mut arena, mut opened) = (Vec::new(), Opened::default());
        opening.begin(&mut arena);
        opening.open(&frame, record, &mut arena, &mut opened).expect("the record is an event");
        condition.holds(&Event::new(&opened, frame, record, &arena))
    }

    #[test]
    fn conditions_hold_as_they_read() {
        for text in [
            "severity == 'high'",
            "severity >= \"warn\" and severity < 'critical'",
            "severity in ['critical', 'high']",
            "guard == 'secret_leak' && !allowed",
            "not allowed and allowed == false and allowed != true",
            "event_type == 'guard_block' || event_type == 'x'",
            "guard == 'x' or guard == 'y' or tenant_id == 'acme' and outcome == 'failure'",
            "not (guard == 'x' or guard == 'y')",
            "resource.port > 443 and resource.port == '8443' and resource.port != 80",
            "resource.host matches '*.x.example'",
            "resource.host matches 'api.?.ex*le' and not resource.host matches 'x*'",
            "labels.k8s.pod == 'p-1' and labels.n == 42 and labels.n >= 41.5",
            "metadata.velar.count >= 3 and metadata.velar.ok == true",
            "metadata.velar.count in [1, 2, 3]",
            "reason == 'a \"quoted\" caf\u{e9}' and decision.reason matches 'a \"*\u{e9}'",
            "category != 'file'",
            "metadata.velar.list != 1",
            "labels.stra\u{df}e == 'a'",
            " default ",
        ] {
            assert!(holds(text), "{text}");
        }
    }

    #[test]
    fn absent_values_compare_false() {
        for text in [
            "user_id == 'u'",
            "user_id != 'u'",
            "user_id matches '*'",
            "labels.team in ['red']",
            "metadata.velar.nothing.inside == 1",
            "metadata.velar.none != 1",
            "metadata.velar.none matches '*'",
            "severity == 'critical'",
            "guard < 'a' or resource.host matches 'x.example'",
            "metadata.velar.ok == 'yes'",
        ] {
            assert!(!holds(text), "{text}");
        }
        assert!(holds("not user_id == 'u'"));
    }

    #[test]
    fn mistakes_have_a_column_and_a_hint() {
        for (text, column, expected, nearest) in [
            ("", 1, "a name", None),
            ("severty == 'high'", 1, "a name", Some("severity")),
            ("severity == 'hgh'", 13, "a severity", Some("high")),
            ("severity == high", 13, "a severity in quotes", None),
            ("guard = 'x'", 7, "a name, a quoted text or an operator", Some("==")),
            ("allowed & allowed", 9, "a name, a quoted text or an operator", Some("&&")),
            ("guard", 6, "a comparison", None),
            ("guard == 'x", 10, "a closing quote", None),
            ("(guard == 'x'", 14, "`)`", None),
            ("guard == 'x' guard", 14, "`and`, `or` or the end", None),
            ("guard in 'x'", 10, "`[`", None),
            ("guard in ['x' 'y']", 15, "`,` or `]`", None),
            ("resource.port > 'abc'", 17, "a port number", None),
            ("allowed == 'maybe'", 12, "true or false", None),
            ("labels. == 'x'", 1, "a name", Some("labels.")),
            ("\u{e9}\u{e9} == 1", 1, "a name", None),
            ("a.b == 1", 1, "a name", None),
        ] {
            let error = Condition::compile(text).expect_err(text);
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.expected.contains(expected), "{text}: {error}");
            assert_eq!(error.nearest.as_deref(), nearest, "{text}: {error}");
        }
        let deep = "(".repeat(1000) + "allowed";
        assert!(Condition::compile(&deep).is_err());
    }

    #[test]
    fn globs_take_linear_steps_per_star() {
        let glob: Vec<char> = "*a*a*a*a*b".chars().collect();
        assert!(!matches(&glob, "a".repeat(20_000).as_bytes()));
        assert!(matches(&glob, b"xaxaxaxab"));
        assert!(matches(&[], b"") && !matches(&[], b"x") && matches(&['*'], b""));
    }
}
