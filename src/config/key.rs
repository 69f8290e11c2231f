//! What a configuration key is: one row from which parsing, flags and the reference are made.

use crate::deliver;
use crate::transform::Format;

/// One row of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The dotted path below its table's place.
    pub path: &'static str,
    /// Other accepted paths; one that starts with `!` means the opposite truth value. A unit at the
    /// end of a spelling (`_ms`, `_secs`) is the unit of whole numbers written there.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// What holds where it is not written.
    pub default: Default,
    /// One sentence: meaning, unit, limit.
    pub about: &'static str,
}

/// A row without aliases.
pub(super) const fn key(
    path: &'static str,
    kind: Kind,
    default: Default,
    about: &'static str,
) -> Key {
    Key { path, aliases: &[], kind, default, about }
}

/// What holds where a key is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This value, as YAML.
    Is(&'static str),
    /// No value; the word says what that means.
    Unset(&'static str),
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text of at most this many bytes, without control characters.
    Text(usize),
    /// The same with line ends and tabs.
    LongText(usize),
    /// A secret text.
    Secret,
    /// One absolute http or https URL without credentials.
    Url,
    /// One or more of them.
    Urls,
    /// One absolute http or https URL that is never shown.
    SecretUrl,
    /// true or false.
    Bool,
    /// A whole number within these bounds.
    Int(u64, u64),
    /// A whole number within these bounds, or `auto`.
    IntOrAuto(u64, u64),
    /// A number with at most two decimals within these bounds, kept in hundredths.
    Hundredths(u64, u64),
    /// Bytes within these bounds: a whole number or a text such as `64MiB`.
    Size(u64, u64),
    /// A time span within these bounds in milliseconds: a text such as `10s`, or a whole number
    /// where the key's name ends with a unit.
    Span(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, or a list of texts.
    ChoiceOrList(&'static [&'static str]),
    /// A list of texts.
    List,
    /// A UUID.
    Uuid,
    /// A path in the file system.
    Path,
    /// A version such as `8.17.0`.
    Version,
    /// A severity, or `none`.
    Severity,
    /// A name of texts: map from name to text.
    Texts,
    /// Map from name to secret text.
    Secrets,
    /// Map from the dotted path of an event's field to a dotted key of the document.
    Mappings,
    /// A list of maps from these names to texts.
    Maps(&'static [&'static str]),
    /// Map from a value of the event to a value of this kind.
    Map(deliver::Kind),
    /// Map from guard or event type to `{tactic, technique}`.
    Mitre,
    /// `earliest`, `latest` or a time.
    Start,
    /// true, false, or the word of an encoding.
    Compression,
    /// `none`, `env` or a URL, which may carry credentials.
    Proxy,
    /// `none`, or a time span of at least this many milliseconds.
    SpanOrNone(u64),
    /// A list of inputs.
    Inputs,
    /// A map of exporters.
    Exporters,
    /// A list of rules: `condition` and what it changes.
    Routes,
    /// A list of patterns: `name`, `regex` and `replacement`.
    Patterns,
    /// A list of tokens: `name`, `token` and `role`.
    Tokens,
    /// A list of response hooks.
    Hooks,
    /// A map of anything, kept as JSON of at most this many bytes.
    Object(usize),
    /// A list of TAXII servers.
    Servers,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A thousandth of a second.
    Millisecond,
    /// 1,000 of them.
    Second,
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
}

impl Unit {
    /// Its length.
    #[must_use]
    pub const fn milliseconds(self) -> u64 {
        match self {
            Self::Millisecond => 1,
            Self::Second => 1000,
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// How a text writes it.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Millisecond => "ms",
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
            Self::Day => "d",
        }
    }

    /// The unit in the name of a key.
    pub(super) fn of_key(path: &str) -> Option<Self> {
        const ENDS: &[(&str, Unit)] = &[
            ("refresh_interval", Unit::Second),
            ("_ms", Unit::Millisecond),
            ("_secs", Unit::Second),
            ("_seconds", Unit::Second),
            ("_minutes", Unit::Minute),
            ("_hours", Unit::Hour),
            ("_days", Unit::Day),
        ];
        ENDS.iter().find(|(end, _)| path.ends_with(end)).map(|&(_, unit)| unit)
    }

    /// The unit with this symbol.
    pub(super) fn parse(symbol: &str) -> Option<Self> {
        let all = [Self::Millisecond, Self::Second, Self::Minute, Self::Hour, Self::Day];
        all.into_iter().find(|unit| unit.symbol() == symbol)
    }
}

impl Key {
    /// The row of a vendor's own key.
    #[must_use]
    pub fn of(option: &'static deliver::Opt) -> Self {
        Self {
            path: option.key,
            aliases: option.aliases,
            kind: Kind::of(option.kind),
            default: match option.default {
                Some(text) => Default::Is(text),
                None => Default::Unset("none"),
            },
            about: option.about,
        }
    }

    /// The row with these further spellings.
    pub(super) const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Its spellings, the canonical one first.
    pub(super) fn spellings(&self) -> impl Iterator<Item = &'static str> {
        let aliases = self.aliases.iter().map(|alias| alias.trim_start_matches('!'));
        std::iter::once(self.path).chain(aliases)
    }

    /// Whether it says where events go: a place that was forgotten behind its key must not become
    /// the one that is meant where nothing is written.
    pub(super) fn is_place(&self) -> bool {
        matches!(self.kind, Kind::Urls)
    }

    /// Whether this spelling means the opposite.
    pub(super) fn is_opposite(&self, spelling: &str) -> bool {
        self.aliases.iter().any(|alias| alias.strip_prefix('!') == Some(spelling))
    }
}

impl Kind {
    /// The kind of a vendor's own key.
    #[must_use]
    pub fn of(kind: deliver::Kind) -> Self {
        match kind {
            deliver::Kind::Text(max) => Self::Text(max),
            deliver::Kind::LongText(max) => Self::LongText(max),
            deliver::Kind::Secret => Self::Secret,
            deliver::Kind::Url => Self::Url,
            deliver::Kind::Urls => Self::Urls,
            deliver::Kind::SecretUrl => Self::SecretUrl,
            deliver::Kind::Bool => Self::Bool,
            deliver::Kind::Int(min, max) => Self::Int(min, max),
            deliver::Kind::Span(min, max) => Self::Span(min, max),
            deliver::Kind::SpanOrNone(min) => Self::SpanOrNone(min),
            deliver::Kind::Choice(words) => Self::Choice(words),
            deliver::Kind::ChoiceOrList(words) => Self::ChoiceOrList(words),
            deliver::Kind::List => Self::List,
            deliver::Kind::Uuid => Self::Uuid,
            deliver::Kind::Object(max) => Self::Object(max),
            deliver::Kind::Maps(names) => Self::Maps(names),
        }
    }

    /// Whether a map is a value of this kind, not a step towards longer paths.
    pub(super) const fn is_map(self) -> bool {
        matches!(
            self,
            Self::Texts
                | Self::Secrets
                | Self::Mappings
                | Self::Map(_)
                | Self::Mitre
                | Self::Exporters
                | Self::Object(_)
        )
    }

    /// Whether the value may never be shown.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(
            self,
            Self::Secret
                | Self::SecretUrl
                | Self::Secrets
                | Self::Proxy
                | Self::Map(deliver::Kind::Secret | deliver::Kind::SecretUrl)
        )
    }

    /// What it takes under this spelling of the key, for errors and the reference.
    #[must_use]
    pub fn expected(self, spelling: &str) -> String {
        match self {
            Self::Text(max) => format!("a text of at most {max} bytes without control characters"),
            Self::LongText(max) => format!("a text of at most {max} bytes, of several lines"),
            Self::Secret => "a secret text".to_owned(),
            Self::Url => "an http or https URL".to_owned(),
            Self::SecretUrl => "an http or https URL, kept secret".to_owned(),
            Self::Urls => "an http or https URL, or a list of them".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Int(min, max) => format!("a whole number {}", between(min, max)),
            Self::IntOrAuto(min, max) => format!("auto, or a whole number {}", between(min, max)),
            Self::Hundredths(min, max) => {
                format!("a number from {} to {}", min as f64 / 100.0, max as f64 / 100.0)
            }
            Self::Size(min, max) => {
                format!("a size from {} to {}, such as 64MiB", size(min), size(max))
            }
            Self::Span(min, max) => {
                let bounds = match min {
                    0 => format!("at most {}", span(max)),
                    min => format!("from {} to {}", span(min), span(max)),
                };
                match Unit::of_key(spelling).map(Unit::symbol) {
                    Some(unit) => {
                        format!("a whole number in {unit} or a text such as 10s, {bounds}")
                    }
                    None => format!("a time span such as 10s, {bounds}"),
                }
            }
            Self::SpanOrNone(min) => {
                format!("none, or a time span such as 10s, at least {}", span(min))
            }
            Self::Choice(words) => one_of(words),
            Self::ChoiceOrList(words) => format!("{}, or a list of texts", one_of(words)),
            Self::List => "a list of texts".to_owned(),
            Self::Uuid => "a UUID".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Version => "a version such as 8.17.0".to_owned(),
            Self::Severity => one_of(SEVERITIES),
            Self::Texts => "a map of texts".to_owned(),
            Self::Secrets => "a map of secret texts".to_owned(),
            Self::Mappings => "a map from event fields to document keys".to_owned(),
            Self::Maps(names) => format!("a list of {{{}}} maps", names.join(", ")),
            Self::Map(kind) => {
                format!("a map; each entry is {}", Self::of(kind).expected(spelling))
            }
            Self::Mitre => "a map from guard or event type to {tactic, technique}".to_owned(),
            Self::Start => "earliest, latest or a time such as 2026-01-31T12:00:00Z".to_owned(),
            Self::Compression => format!("true, false, {}", one_of(ENCODINGS)),
            Self::Proxy => "none, env or a URL".to_owned(),
            Self::Inputs => "a list of inputs".to_owned(),
            Self::Exporters => "a map from names to exporters".to_owned(),
            Self::Routes => "a list of {condition, ...} maps".to_owned(),
            Self::Patterns => "a list of {name, regex, replacement} maps".to_owned(),
            Self::Hooks => "a list of response hooks".to_owned(),
            Self::Object(max) => format!("a map of anything, of at most {max} bytes as JSON"),
            Self::Servers => "a list of TAXII servers".to_owned(),
            Self::Tokens => "a list of {name, token, role} maps".to_owned(),
        }
    }
}

/// The words of a choice, for errors.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

fn between(min: u64, max: u64) -> String {
    match max {
        u64::MAX => format!("of at least {min}"),
        max => format!("from {min} to {max}"),
    }
}

/// Bytes in the largest unit that divides them.
#[must_use]
pub(super) fn size(bytes: u64) -> String {
    let unit = SIZES.iter().rev().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match unit {
        Some((symbol, unit)) if *unit > 1 => format!("{}{symbol}", bytes / unit),
        _ => bytes.to_string(),
    }
}

/// Milliseconds in the largest unit that divides them.
pub(super) fn span(milliseconds: u64) -> String {
    let units = [Unit::Day, Unit::Hour, Unit::Minute, Unit::Second];
    let unit = units
        .into_iter()
        .find(|unit| {
            milliseconds >= unit.milliseconds() && milliseconds.is_multiple_of(unit.milliseconds())
        })
        .unwrap_or(Unit::Millisecond);
    format!("{}{}", milliseconds / unit.milliseconds(), unit.symbol())
}

/// Units of bytes.
pub(super) const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1000),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
/// The words of [`Kind::Severity`].
pub(super) const SEVERITIES: &[&str] = &["info", "low", "medium", "high", "critical", "none"];
/// The words of [`Kind::Compression`].
pub(super) const ENCODINGS: &[&str] = &["none", "gzip", "zstd", "deflate"];
/// The words of the `format` key.
pub(super) const FORMATS: &[&str] = &[
    Format::Native.word(),
    Format::Ecs.word(),
    Format::Cef.word(),
    Format::Ocsf.word(),
    Format::Text.word(),
];
