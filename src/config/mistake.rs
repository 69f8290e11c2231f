//! What is wrong with a configuration, where, and what was expected.

use std::fmt;
use std::path::PathBuf;

use super::At;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file that was asked for cannot be read.
    #[error("{path}: {source}; give a file that can be read", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text has mistakes, all of them listed.
    #[error("{0}")]
    Wrong(Mistakes),
}

/// Every mistake of a configuration, in order of place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    list: Vec<Mistake>,
    /// Mistakes beyond [`MISTAKES_MAX`].
    more: usize,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub at: At,
    /// The dotted path of the key, empty when the text itself is at fault.
    pub path: String,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Not YAML.
    #[error("not YAML: {0}")]
    Syntax(String),
    /// Too much of something.
    #[error("more than {max} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        max: usize,
    },
    /// A second document in one file.
    #[error("a second document starts here; a configuration is one document")]
    SecondDocument,
    /// A YAML tag.
    #[error("tags are not used here; remove it")]
    Tag,
    /// A key that is no text.
    #[error("a key must be a single text")]
    KeyKind,
    /// A key twice in one map.
    #[error("written twice, first at {0}; remove one")]
    Duplicate(At),
    /// A key that does not exist.
    #[error("unknown key{}", Known(.nearest.as_deref(), .known))]
    Unknown {
        /// The existing key that is spelled most like it.
        nearest: Option<String>,
        /// What may stand here, when it is short enough to list.
        known: Vec<String>,
    },
    /// A merge key of YAML 1.1.
    #[error("maps are not merged here; write its keys out, or repeat single values by `*anchor`")]
    Merge,
    /// A dotted key in a file.
    #[error("keys are nested here, not dotted; write `{first}:` and `{rest}:` below it")]
    Dotted {
        /// The part before the first dot.
        first: String,
        /// The rest.
        rest: String,
    },
    /// A value of the wrong kind.
    #[error("expected {expected}, found {found}")]
    Kind {
        /// What belongs here.
        expected: String,
        /// What stands here, never the text of a value that may be secret.
        found: String,
    },
    /// A word that is none of the allowed ones.
    #[error("expected {expected}, found {found}{}", Known(.nearest.as_deref(), &[]))]
    Word {
        /// The allowed ones.
        expected: String,
        /// What stands here.
        found: String,
        /// The allowed one that is spelled most like it.
        nearest: Option<String>,
    },
    /// Two spellings of one key with different values.
    #[error("`{other}` at {at} sets the same key to another value; keep one")]
    Conflict {
        /// The other spelling.
        other: String,
        /// Where it stands.
        at: At,
    },
    /// A reference that does not hold.
    #[error("{0}")]
    Reference(String),
    /// A type that is no destination.
    #[error("unknown exporter type{}", Types(.nearest.as_deref(), .known))]
    Type {
        /// The existing type that is spelled most like it.
        nearest: Option<String>,
        /// All types.
        known: Vec<String>,
    },
    /// A rule over several keys, or of the destination itself.
    #[error("{0}")]
    Rule(String),
}

/// The tail of an error about a name: the nearest one, else all of them.
struct Known<'a>(Option<&'a str>, &'a [String]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(nearest), _) => write!(f, "; did you mean `{nearest}`?"),
            (None, []) => Ok(()),
            (None, known) => write!(f, "; expected one of: {}", known.join(", ")),
        }
    }
}

/// The tail of an error about a type.
struct Types<'a>(Option<&'a str>, &'a [String]);

impl fmt::Display for Types<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => write!(f, "; set `type` to one of: {}", self.1.join(", ")),
        }
    }
}

impl Mistake {
    /// A mistake.
    pub(super) fn new(at: At, path: impl Into<String>, wrong: Wrong) -> Self {
        let path: String = path.into().chars().take(PATH_CHARS_MAX).collect();
        Self { at, path: path.escape_debug().to_string(), wrong }
    }

    /// Whether the text itself cannot be read, so that nothing more can be said about it.
    pub(super) fn is_of_text(&self) -> bool {
        matches!(
            self.wrong,
            Wrong::Syntax(_)
                | Wrong::TooLarge { .. }
                | Wrong::SecondDocument
                | Wrong::Tag
                | Wrong::KeyKind
        )
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "" } else { &format!("{}: ", self.path) };
        // What was written is quoted in many places; none of it may steer a terminal.
        f.write_str(&printable(&format!("{}: {path}{}", self.at, self.wrong)))
    }
}

/// A text whose control characters are spelled.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, char| {
        match char.is_control() {
            true => out.extend(char.escape_debug()),
            false => out.push(char),
        }
        out
    })
}

impl Mistakes {
    /// Adds one.
    pub(super) fn add(&mut self, mistake: Mistake) {
        match self.list.len() < MISTAKES_MAX {
            true => self.list.push(mistake),
            false => self.more += 1,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.more == 0
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len() + self.more
    }

    /// All that are kept, in order of place.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.list.iter()
    }

    /// Keeps those of which this holds, and those beyond [`MISTAKES_MAX`], which nobody knows.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Mistake) -> bool) {
        self.list.retain(keeps);
    }

    /// Sorts by place and makes an error of them.
    pub(super) fn into_error(mut self) -> Error {
        debug_assert!(!self.is_empty(), "an error without a mistake");
        self.list.sort_by_key(|mistake| match mistake.at {
            At::Place { line, column, .. } => (0, line, column),
            At::Flag(_) => (1, 0, 0),
        });
        Error::Wrong(self)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.list.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{mistake}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// The candidate that is spelled most like `name`, if any is close.
pub(super) fn nearest<'a>(name: &str, among: impl Iterator<Item = &'a str>) -> Option<String> {
    let name: String = name.to_ascii_lowercase().chars().take(NAME_CHARS_MAX).collect();
    among
        .map(|other| (strsim::damerau_levenshtein(&name, &other.to_ascii_lowercase()), other))
        .filter(|&(distance, other)| {
            // A third of the letters may differ: `nodez` is near `nodes`, `log` is not near `url`.
            distance <= name.len().max(other.len()).div_ceil(3).min(DISTANCE_MAX)
                && distance < name.len().min(other.len())
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, other)| other.to_owned())
}

/// Mistakes that are kept; nobody reads more at once.
const MISTAKES_MAX: usize = 100;
/// Characters of a path that an error shows.
const PATH_CHARS_MAX: usize = 200;
/// Characters of a name that is compared; no key is longer.
const NAME_CHARS_MAX: usize = 64;
/// Letters that may differ at most, however long the names are.
const DISTANCE_MAX: usize = 4;
