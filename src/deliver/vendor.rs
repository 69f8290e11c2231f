//! The shape of a vendor: where events go and what answers mean, as tables.

mod call;
mod conversation;
mod meter;
mod shape;

use std::time::Duration;

use http::Uri;

use super::{Kind, Opt, Options, Problem, Secret, opt};
use crate::event::FieldId;
use crate::transform::{Format, Schema, TemplateText};

pub use call::{
    Call, CallBody, ConfigChange, Need, Purpose, Response, Responses, Step, WriteChange,
};
pub use conversation::Conversation;
pub use meter::{Meter, Tally, Window, WriteWindow};
pub use shape::{Framing, Prefix, Shape};
pub(super) use shape::{TIME, time_text};

/// A destination, described: one static per vendor, no IO, no clock, no state.
///
/// Statics are written with `..Vendor::BASE`, so that a concept which one vendor needs does not
/// touch the others.
#[derive(Debug)]
pub struct Vendor {
    /// The name, as the configuration writes the type.
    pub name: &'static str,
    /// Other accepted names of the type.
    pub aliases: &'static [&'static str],
    /// One sentence for `shrike vendors`.
    pub about: &'static str,
    /// The vendor's own configuration keys.
    pub options: &'static [Opt],
    /// The formats it takes; the first is the default.
    pub formats: &'static [Format],
    /// Whether `schema.default_format` chooses where it is written, because the destination
    /// prefers none.
    pub takes_default_format: bool,
    /// The format that an option of its own names, where the key `format` does not.
    pub format: fn(&Options) -> Option<Format>,
    /// How documents are wrapped and framed; the first row whose condition holds.
    pub shapes: &'static [(When, Shape)],
    /// The endpoints, in order of preference, from the options.
    pub endpoints: fn(&Options) -> Result<Vec<Uri>, Problem>,
    /// Which of them takes the next request.
    pub choice: Choice,
    /// Where the calls go that carry no events, but for the probe: one beside each endpoint, or
    /// none where they go to the endpoint itself.
    pub aside: fn(&Options) -> Result<Vec<Uri>, Problem>,
    /// Headers that carry credentials, from the options; asked again after a refresh.
    pub auth: Auth,
    /// Headers that carry credentials under names of the operator's.
    pub headers: NamedHeaders,
    /// How requests are signed, if they are: those with events, and by [`Signature::V4`] all.
    pub sign: fn(&Options) -> Result<Option<Signature>, Problem>,
    /// Two secrets of which the second takes the place of the first when that is refused.
    pub standby: Option<(&'static str, &'static str)>,
    /// Texts computed from the options, for paths, headers, schemas; and rules that join several
    /// keys.
    pub derive: fn(&Options) -> Result<Derived, Problem>,
    /// Options that have an effect under conditions alone, and are refused elsewhere.
    pub effects: &'static [Effect],
    /// How much one request may carry.
    pub limits: Limits,
    /// Bytes of a body where nothing is written; `None` is what costs the least.
    pub body_bytes: Option<u32>,
    /// How long a batch waits for more where nothing is written; `None` follows from
    /// `latency_target_ms`.
    pub linger: Option<Duration>,
    /// The same under these options, never more.
    pub narrow: fn(&Options, Limits) -> Limits,
    /// Content encodings it takes; the first is the default.
    pub encodings: &'static [Encoding],
    /// The requests it understands; per purpose the first row whose condition holds.
    pub calls: &'static [Call],
    /// What is prepared before the first event, in order.
    pub setup: &'static [Step],
    /// Keys that a `routing` rule may override; each distinct set is a route with its own batches.
    pub route_keys: &'static [&'static str],
    /// Maps below `routing` from a value of the event to what it overrides, asked in this order and
    /// before the rules.
    pub route_maps: &'static [RouteMap],
    /// Keys of all exporters that have another default here, and that as YAML text.
    pub usual: &'static [(&'static str, &'static str)],
    /// Whether a resend is recognised by the destination.
    pub resend: Resend,
    /// Whether the order of events matters, so that one worker and one request at a time serve it.
    pub order: Order,
    /// Options that ask for order where the destination does not; events are numbered then.
    pub ordered_by: &'static [&'static str],
    /// Requests in flight where the configuration does not say; `None` is two per worker.
    pub concurrency: Option<usize>,
    /// How long a request may take where nothing is written.
    pub timeout: Duration,
    /// The shortest time between two looks at how the destination is, where each costs something.
    pub health_interval_min: Duration,
    /// How requests travel.
    pub wire: Wire,
    /// Whether cookies are kept per connection group, as sticky balancers need.
    pub cookies: bool,
    /// The text (name, value) with which plans of [`Level::Resend`] are compiled, for a row whose
    /// source is [`Source::Option`] of that name; `None` renders a resend like the first attempt.
    ///
    /// [`Level::Resend`]: super::Level::Resend
    /// [`Source::Option`]: crate::transform::Source::Option
    pub resend_mark: Option<(&'static str, &'static str)>,
    /// Ages of events that documents tell: the destination treats such events in its own way.
    pub ages: &'static [Age],
    /// How counts are sent beside the events, if the vendor takes any.
    pub meter: Option<&'static Meter>,
    /// The option that asks for a certificate of our own (`tls.client_cert_path`), and when.
    pub certificate: Option<(&'static str, When)>,
    /// When the body of an answer to events tells of their success, where answers are read; else
    /// a success is told by its status, and a body that breaks off takes nothing back.
    pub success_in_body: When,
    /// Bytes of an answer that are read, by the first row whose condition holds; a longer answer is
    /// cut there. Without a row there is room for one that names every event with a reason.
    pub answer_bytes: &'static [(When, usize)],
    /// What the options leave out of the metadata and the labels, as narrower privacy.
    pub hides: fn(&Options) -> Hidden,
    /// What an operator should know of these options, though they are no mistake.
    pub notes: fn(&Options) -> Vec<String>,
    /// How often events may be sent again after a request of uncertain end; `None` is no bound.
    pub ambiguous_max: Option<u32>,
    /// The options with how many requests a minute each route takes, and how many of them at once.
    pub route_rate: Option<(&'static str, &'static str)>,
    /// What joins events that say the same, as the row `key`: those of one incident, where the
    /// destination keeps incidents.
    ///
    /// The engine then leaves out repeats, as the option [`DEDUPLICATION`] or [`REPEATS`] says, and
    /// asks to resolve incidents that are over ([`Purpose::Resolve`], [`AUTO_RESOLVE`]).
    ///
    /// [`DEDUPLICATION`]: super::DEDUPLICATION
    /// [`REPEATS`]: super::REPEATS
    /// [`AUTO_RESOLVE`]: super::AUTO_RESOLVE
    pub alert: Option<&'static Schema>,
    /// How documents answer to earlier ones, if any do.
    pub conversation: Option<Conversation>,
}

/// What an exporter leaves out inside metadata and labels, where fields are more than is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Where there are any, optional paths that are not among them.
    pub but: Vec<String>,
    /// These paths.
    pub paths: Vec<String>,
}

impl PartialEq for Vendor {
    /// Each is one static.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Vendor {
    /// A vendor that has nothing; statics name what they have and take the rest from here.
    pub const BASE: Self = Self {
        name: "",
        aliases: &[],
        about: "",
        options: &[],
        formats: &[Format::Native],
        takes_default_format: false,
        format: |_| None,
        shapes: &[],
        endpoints: |_| Ok(Vec::new()),
        choice: Choice::Around,
        aside: |_| Ok(Vec::new()),
        auth: |_| Ok(Vec::new()),
        headers: |_| Ok(Vec::new()),
        sign: |_| Ok(None),
        standby: None,
        derive: |_| Ok(Derived::NONE),
        effects: &[],
        limits: Limits { events: 1000, body_bytes: 1_000_000, event_bytes: 1_000_000 },
        body_bytes: None,
        linger: None,
        narrow: |_, limits| limits,
        encodings: &[Encoding::Identity],
        calls: &[],
        setup: &[],
        route_keys: &[],
        route_maps: &[],
        usual: &[],
        resend: Resend::Ambiguous,
        order: Order::Any,
        ordered_by: &[],
        concurrency: None,
        timeout: Duration::from_secs(30),
        health_interval_min: Duration::ZERO,
        wire: Wire::Http,
        cookies: false,
        resend_mark: None,
        ages: &[],
        meter: None,
        certificate: None,
        success_in_body: When::Always,
        answer_bytes: &[],
        hides: |_| Hidden { but: Vec::new(), paths: Vec::new() },
        notes: |_| Vec::new(),
        ambiguous_max: None,
        route_rate: None,
        alert: None,
        conversation: None,
    };

    /// How documents are wrapped and framed under these options.
    #[must_use]
    pub fn shape(&'static self, options: &Options, format: Format) -> Option<&'static Shape> {
        let row = self.shapes.iter().find(|(when, _)| when.holds(options, format));
        row.map(|(_, shape)| shape)
    }

    /// Bytes of an answer that are read, where there is a bound of the vendor's own.
    #[must_use]
    pub fn answer_bytes(&'static self, options: &Options, format: Format) -> Option<usize> {
        let row = self.answer_bytes.iter().find(|(when, _)| when.holds(options, format));
        row.map(|&(_, bytes)| bytes)
    }

    /// The call of this purpose under these options.
    #[must_use]
    pub fn call(
        &'static self,
        purpose: Purpose,
        options: &Options,
        format: Format,
    ) -> Option<&'static Call> {
        let fits = |call: &&Call| call.purpose == purpose && call.when.holds(options, format);
        self.calls.iter().find(fits)
    }
}

/// A map from a value of the event to what it overrides, such as `routing.by_guard`.
#[derive(Clone, Copy, Debug)]
pub struct RouteMap {
    /// The dotted key below the exporter.
    pub key: &'static str,
    /// The value's name in conditions, such as `guard`.
    pub name: &'static str,
    /// What an entry takes.
    pub kind: Kind,
    /// The option that it overrides; the first row whose condition holds.
    pub option: &'static [(When, &'static str)],
    /// Whether entries of several maps add their lists up, where more than one is for an event.
    pub adds: bool,
    /// One sentence for the reference.
    pub about: &'static str,
}

/// How long repeats of an incident are not sent; the window of [`Vendor::alert`].
pub const DEDUPLICATION: Opt = opt(
    "deduplication.window_seconds",
    Kind::Span(0, DAY_MS),
    Some("300"),
    "How long after an event was sent others of its incident are only counted, unless they are worse; 0 sends all.",
);

/// The same where people read what is sent; the next document tells how many were left out.
pub const REPEATS: Opt = opt(
    "dedup_window_seconds",
    Kind::Span(0, DAY_MS),
    Some("60"),
    "How long after a message others of the same guard, resource and session are only counted, unless they are worse; 0 posts all.",
);

/// Whether incidents of [`Vendor::alert`] are resolved.
pub const AUTO_RESOLVE: Opt = opt(
    "auto_resolve.enabled",
    Kind::Bool,
    Some("true"),
    "Whether incidents are resolved that have been quiet.",
);

/// When they are.
pub const RESOLVE_AFTER: Opt = opt(
    "auto_resolve.after_minutes",
    Kind::Span(1_000, 7 * DAY_MS),
    Some("30"),
    "How long after the last event of an incident that is.",
);

/// The option with the time between two heartbeats.
pub const HEARTBEAT_INTERVAL: &str = "heartbeat.interval_minutes";

/// The option whether heartbeats stop while something is not well.
pub const HEARTBEAT_HEALTHY: &str = "heartbeat.require_healthy";

/// When a row applies: a condition over the options.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Always.
    Always,
    /// The option has this text.
    Is(&'static str, &'static str),
    /// The option is set, and not to false or an empty text.
    Set(&'static str),
    /// The option is not set, or to false or an empty text.
    Unset(&'static str),
    /// All of these hold.
    All(&'static [When]),
    /// One of these holds.
    Any(&'static [When]),
    /// Documents have this format.
    Format(Format),
    /// Documents are lines of text, and no JSON.
    Plain,
}

impl When {
    /// Never.
    pub const NEVER: Self = Self::Any(&[]);

    /// Whether the condition holds.
    #[must_use]
    pub fn holds(&self, options: &Options, format: Format) -> bool {
        match *self {
            Self::Always => true,
            Self::Is(key, text) => options.text(key).is_some_and(|value| value == text),
            Self::Set(key) => options.is_set(key),
            Self::Unset(key) => !options.is_set(key),
            Self::All(conditions) => conditions.iter().all(|when| when.holds(options, format)),
            Self::Any(conditions) => conditions.iter().any(|when| when.holds(options, format)),
            Self::Format(wanted) => format == wanted,
            Self::Plain => format.is_plain(),
        }
    }
}

/// Options that do nothing unless a condition holds.
#[derive(Debug)]
pub struct Effect {
    /// The keys.
    pub of: &'static [&'static str],
    /// When they have an effect.
    pub when: When,
    /// What that is, in words: "has no effect unless ..".
    pub unless: &'static str,
}

/// What [`Vendor::derive`] computed from the options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// Texts by name, beside the options in templates and `Source::Option` or `Source::Pattern`
    /// rows.
    pub texts: Vec<(&'static str, String)>,
    /// Keys of the outermost schema (dotted) that are left out.
    pub omit: Vec<&'static str>,
    /// Where set, only these fields (and required targets) are written.
    pub allow: Vec<FieldId>,
    /// These fields are not written, except by required targets.
    pub deny: Vec<FieldId>,
    /// Other keys of the document for these fields.
    pub mappings: Vec<(FieldId, String)>,
    /// What stands before the first document, in place of the framing's head.
    pub head: Option<String>,
    /// What stands before each document, in pieces ([`Pieces::Around`]).
    ///
    /// [`Pieces::Around`]: crate::transform::Pieces::Around
    pub around: Vec<Vec<u8>>,
    /// What documents are rendered through, one by one, before they go into a body.
    pub template: Option<TemplateText>,
    /// Whether U+FFFD stands for U+0000 in names of metadata and labels.
    pub replaces_nul: bool,
}

impl Derived {
    /// Nothing.
    pub const NONE: Self = Self {
        texts: Vec::new(),
        omit: Vec::new(),
        allow: Vec::new(),
        deny: Vec::new(),
        mappings: Vec::new(),
        head: None,
        around: Vec::new(),
        template: None,
        replaces_nul: false,
    };
}

/// How much one request may carry.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events.
    pub events: u32,
    /// Bytes of the body before compression.
    pub body_bytes: u32,
    /// Bytes of one encoded event.
    pub event_bytes: u32,
}

/// A content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, as HTTP's `deflate`.
    Deflate,
    /// RFC 8878.
    Zstd,
}

/// Which of several endpoints takes the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// They take turns; one that fails is left out for a while.
    Around,
    /// The first that is alive. One dies of as many failures in a row as open the breaker, so that
    /// a single bad answer sends nothing elsewhere.
    First,
}

/// An age of events that documents tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// Which age, at the time of rendering.
    pub of: AgeOf,
    /// The text (name, value) with which plans for such events are compiled, for a row whose source
    /// is [`Source::Option`] or [`Source::When`] of that name.
    ///
    /// [`Source::Option`]: crate::transform::Source::Option
    /// [`Source::When`]: crate::transform::Source::When
    pub text: (&'static str, &'static str),
}

/// How far an event's own time is from the time of rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeOf {
    /// Longer ago than this.
    Before(Duration),
    /// Further ahead than this.
    Ahead(Duration),
}

impl Age {
    /// Whether an event of this time is of the age now, both in seconds since 1970.
    #[must_use]
    pub fn is_reached(&self, time: i64, now: i64) -> bool {
        let secs = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match self.of {
            AgeOf::Before(span) => time < now.saturating_sub(secs(span)),
            AgeOf::Ahead(span) => time > now.saturating_add(secs(span)),
        }
    }
}

/// Whether a resend is recognised by the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// It keeps one copy, by id.
    Idempotent,
    /// It may keep two; an unanswered request is counted `ambiguous`.
    Ambiguous,
}

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Over HTTP, to the vendor's endpoints.
    Http,
    /// Bodies alone, on the standard output; there are no endpoints.
    Lines,
    /// Bodies alone, at the end of the file that the option `path` names; there are no endpoints.
    File,
    /// Bodies alone, over the kind of socket that the endpoint's scheme names.
    Socket,
}

/// Whether the order of events matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It does not: many lanes, many requests in flight.
    Any,
    /// It does: one worker, one request at a time.
    Strict,
    /// The same while nothing is held: others pass a held route, and what waited for it comes
    /// behind what passed.
    Loose,
}

/// How requests with events are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// HMAC with SHA-256 (RFC 2104) of the time of sending, a dot and the body as sent, as
    /// `t=SECONDS,v1=HEX` in a header; a `Date` says the same time.
    Hmac {
        /// The header.
        header: String,
        /// The key.
        secret: Secret,
    },
    /// AWS Signature Version 4 in the `Authorization` header.
    V4 {
        /// Which key.
        key_id: String,
        /// The key.
        secret: Secret,
        /// The token that goes with a temporary key.
        session: Option<Secret>,
        /// The region that the signature is good for.
        region: String,
        /// The service that it is good for.
        service: String,
        /// Whether the whole body is signed, not its checksum alone.
        signs_body: bool,
    },
}

/// Headers that carry credentials: name and value.
pub type Credentials = Vec<(&'static str, Secret)>;

/// Makes headers with names of the operator's from the options.
pub type NamedHeaders = fn(&Options) -> Result<Vec<(String, Secret)>, Problem>;

/// Makes credentials from the options.
pub type Auth = fn(&Options) -> Result<Credentials, Problem>;

/// A day.
const DAY_MS: u64 = 86_400_000;
