//! What stands around documents and between them.

use time::OffsetDateTime;

use crate::transform::Schema;

/// How documents are wrapped and framed.
#[derive(Debug)]
pub struct Shape {
    /// The schema around each document, if any.
    pub envelope: Option<&'static Schema>,
    /// A document of the vendor's own, in place of the one that the format names.
    pub document: Option<&'static Schema>,
    /// Its document at [`Level::Shrink`], where that is another one than a shorter one.
    ///
    /// [`Level::Shrink`]: super::super::Level::Shrink
    pub small: Option<&'static Schema>,
    /// Its document at [`Level::Plain`]; without one, that of [`Level::Shrink`].
    ///
    /// [`Level::Plain`]: super::super::Level::Plain
    /// [`Level::Shrink`]: super::super::Level::Shrink
    pub plain: Option<&'static Schema>,
    /// Headers that follow from the events, in the syntax [`HEADS`], and a part of the path under
    /// the name [`PATH_NAME`]: a request carries events alone for which they are the same.
    ///
    /// [`HEADS`]: crate::transform::HEADS
    /// [`PATH_NAME`]: crate::transform::PATH_NAME
    pub heads: Option<&'static Schema>,
    /// Events of one request, where they are fewer than the vendor's limit.
    pub events: Option<u32>,
    /// What stands around and between documents.
    pub framing: Framing,
}

impl Shape {
    /// Documents one after the other; shapes name what they have and take the rest from here.
    pub const BASE: Self = Self {
        envelope: None,
        document: None,
        small: None,
        plain: None,
        heads: None,
        events: None,
        framing: Framing {
            head: "",
            prefix: Prefix::None,
            between: "",
            after: "",
            tail: "",
            content_type: "application/json",
        },
    };

    /// The schemas that a document is compiled from, outermost first.
    #[must_use]
    pub fn chain(&self, format: &'static Schema) -> Vec<&'static Schema> {
        self.around(self.document.unwrap_or(format))
    }

    /// The same around another document.
    #[must_use]
    pub fn around(&self, document: &'static Schema) -> Vec<&'static Schema> {
        self.envelope.into_iter().chain([document]).collect()
    }
}

/// What stands around and between documents of one body.
#[derive(Debug)]
pub struct Framing {
    /// Before the first.
    pub head: &'static str,
    /// Before each.
    pub prefix: Prefix,
    /// Between two.
    pub between: &'static str,
    /// After each.
    pub after: &'static str,
    /// After the last; `{count}` stands for how many there are, `{time}` for when the body was
    /// closed.
    pub tail: &'static str,
    /// The body's media type.
    pub content_type: &'static str,
}

impl Framing {
    /// What stands after the last of `events` documents, in a body that is closed at `now`, in
    /// seconds since 1970.
    #[must_use]
    pub fn tail(&self, events: usize, now: i64) -> String {
        let tail = self.tail.replace("{count}", &events.to_string());
        match self.tells_time() {
            true => tail.replace(TIME, &time_text(now)),
            false => tail,
        }
    }

    /// Whether the tail says when the body was closed.
    #[must_use]
    pub fn tells_time(&self) -> bool {
        self.tail.contains(TIME)
    }

    /// Bytes of the longest tail: a number below ten million is no longer than its place.
    #[must_use]
    pub fn tail_bytes_max(&self) -> usize {
        self.tail.len() + if self.tells_time() { time_text(0).len() - TIME.len() } else { 0 }
    }
}

/// The place of the time in a tail.
pub(in super::super) const TIME: &str = "{time}";

/// RFC 3339, in whole seconds; always of the same length.
pub(in super::super) fn time_text(now: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, [hour, minute, second]) = (time.date(), [time.hour(), time.minute(), time.second()]);
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What stands before each document.
#[derive(Debug)]
pub enum Prefix {
    /// Nothing.
    None,
    /// The document's length in bytes and a space (RFC 6587).
    OctetCount,
    /// A document of its own, such as an action line; framing's `after` follows it too.
    Document(&'static Schema),
}
