//! The shape of a vendor: where events go and what answers mean, as tables.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderMap, Uri};
use time::OffsetDateTime;

use super::{AckId, Documents, Kind, Opt, Options, Problem, Secret, Verdict, opt};
use crate::event::{FieldId, Severity, Time};
use crate::transform::{Format, Schema, TemplateText};

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
    /// Whether `schema.default_format` chooses, because the destination prefers none.
    pub takes_default_format: bool,
    /// The format that an option of its own names, where the key `format` does not.
    pub format: fn(&Options) -> Option<Format>,
    /// How documents are wrapped and framed; the first row whose condition holds.
    pub shapes: &'static [(When, Shape)],
    /// The endpoints, in order of preference, from the options.
    pub endpoints: fn(&Options) -> Result<Vec<Uri>, Problem>,
    /// Which of them takes the next request.
    pub choice: Choice,
    /// Where the calls go that carry no events: one beside each endpoint, or none where they go to
    /// the endpoint itself.
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
    /// What joins events to one incident, as the row `key`, where the destination keeps incidents.
    ///
    /// The engine then leaves out repeats and asks to resolve what is over ([`Purpose::Resolve`]);
    /// the options are [`DEDUPLICATION`] and [`AUTO_RESOLVE`].
    ///
    /// [`DEDUPLICATION`]: super::DEDUPLICATION
    /// [`AUTO_RESOLVE`]: super::AUTO_RESOLVE
    pub alert: Option<&'static Schema>,
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
        answer_bytes: &[],
        hides: |_| Hidden { but: Vec::new(), paths: Vec::new() },
        notes: |_| Vec::new(),
        ambiguous_max: None,
        route_rate: None,
        alert: None,
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
    Kind::Int(0, 86_400),
    Some("300"),
    "How long after an event was sent others of its incident are only counted, unless they are worse; 0 sends all.",
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
    Kind::Int(1, 10_080),
    Some("30"),
    "How long after the last event of an incident that is.",
);

/// The option with the minutes between two heartbeats.
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
    };
}

/// How documents are wrapped and framed.
#[derive(Debug)]
pub struct Shape {
    /// The schema around each document, if any.
    pub envelope: Option<&'static Schema>,
    /// A document of the vendor's own, in place of the one that the format names.
    pub document: Option<&'static Schema>,
    /// Its document at [`Level::Shrink`], where that is another one than a shorter one.
    ///
    /// [`Level::Shrink`]: super::Level::Shrink
    pub small: Option<&'static Schema>,
    /// Its document at [`Level::Plain`]; without one, that of [`Level::Shrink`].
    ///
    /// [`Level::Plain`]: super::Level::Plain
    /// [`Level::Shrink`]: super::Level::Shrink
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
pub(super) const TIME: &str = "{time}";

/// RFC 3339, in whole seconds; always of the same length.
pub(super) fn time_text(now: i64) -> String {
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

/// One kind of request that a vendor understands.
#[derive(Debug)]
pub struct Call {
    /// What for.
    pub purpose: Purpose,
    /// When this row applies.
    pub when: When,
    /// The HTTP method.
    pub method: &'static str,
    /// The path below the endpoint; `{name}` is an option, a derived text, `channel`, `digest` of
    /// the body, or `suffix` of a file name for its encoding, percent-encoded.
    pub path: &'static str,
    /// Query parameters; one whose template names an absent text is left out.
    pub query: &'static [(&'static str, &'static str)],
    /// Further headers, as templates; `{ids}` is a digest of the ids of the events.
    pub headers: &'static [(&'static str, &'static str)],
    /// What is sent.
    pub body: CallBody,
    /// What the answers mean.
    pub responses: Responses,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Send a batch.
    Send,
    /// Ask which batches are confirmed.
    Poll,
    /// Ask whether the destination would take events, without sending one.
    Probe,
    /// Ask how the destination is, for people.
    Health,
    /// Ask whether it is there at all: asked where the health call is not permitted or not offered.
    Hello,
    /// Prepare the destination.
    Setup,
    /// Send aggregated counts.
    Metrics,
    /// Send how long single events took.
    Latencies,
    /// Resolve an incident: `{incident}` in its path is the key, `"{incident}"` in its body too.
    Resolve,
    /// Tell that this process does its work, every [`HEARTBEAT_INTERVAL`]; only while it does
    /// where [`HEARTBEAT_HEALTHY`] is on.
    Heartbeat,
}

/// What a call sends.
#[derive(Clone, Copy, Debug)]
pub enum CallBody {
    /// Nothing.
    Empty,
    /// The batch.
    Batch,
    /// Text made from the options, with its media type; `{time}` in it stands for when a probe is
    /// sent.
    Text(&'static str, fn(&Options, &Derived) -> String),
    /// The counts of a window, written by [`Vendor::meter`].
    Counts,
    /// The ids to ask for, with the media type.
    Acks(&'static str, fn(&[AckId], &mut Vec<u8>)),
}

/// What the answers to a call mean.
#[derive(Debug)]
pub struct Responses {
    /// Verdicts by status, before the usual rows.
    pub rows: &'static [(RangeInclusive<u16>, Verdict)],
    /// May overrule from headers and body.
    pub read: Option<fn(&Response<'_>) -> Option<Verdict>>,
}

impl Responses {
    /// Only the usual rows.
    pub const USUAL: Self = Self { rows: &[], read: None };
}

/// An answer, as [`Responses::read`] sees it.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body, capped.
    pub body: &'a [u8],
    /// Events in the request.
    pub events: usize,
    /// Bytes of the request's body before compression.
    pub body_bytes: usize,
    /// The documents of the request, for answers that name some.
    pub documents: Documents<'a>,
    /// The ids that a poll asked for.
    pub acks: &'a [AckId],
    /// The options of the exporter.
    pub options: &'a Options,
}

/// One step of preparing a destination: look, and act only where needed.
#[derive(Debug)]
pub struct Step {
    /// What it prepares, for people.
    pub name: &'static str,
    /// The option that names it: two exporters to one destination may not prepare different things
    /// under one name.
    pub key: &'static str,
    /// When the step applies.
    pub when: When,
    /// The look; without one the step always acts.
    pub look: Option<Call>,
    /// What the look's answer asks for.
    pub need: fn(&Response<'_>) -> Need,
    /// The act.
    pub act: Call,
    /// A smaller act, tried once where the act was rejected.
    pub instead: Option<Call>,
}

/// What a look at the destination asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Act.
    Act,
    /// Nothing: it is already there, or the destination has no such thing.
    Done,
    /// Leave it as it is, and say why.
    Leave(String),
    /// It cannot be prepared; export goes on, health says so.
    Fail(String),
}

/// Counts that are sent beside the events, one body per window of time.
///
/// The engine adds each event once, when it is settled as delivered, and sends a window with the
/// vendor's [`Purpose::Metrics`] call when it ends. A window that fails is sent once more, then
/// dropped: counts never stop events.
#[derive(Debug)]
pub struct Meter {
    /// When counts are sent.
    pub when: When,
    /// The option with the window's length in seconds.
    pub interval: &'static str,
    /// Credentials of the call; `None` takes [`Vendor::auth`].
    pub auth: Option<Auth>,
    /// Tallies in one body at most; a window with more is sent in parts, cut between guards.
    pub tallies_max: usize,
    /// Whether windows are sent in which nothing was delivered, for what is known all the same.
    pub tells_idle: bool,
    /// Appends the body of one part of a window.
    pub write: WriteWindow,
    /// The body's media type.
    pub content_type: &'static str,
    /// A second body per window, sent with the [`Purpose::Latencies`] call where the vendor has one
    /// under its options; nothing is sent where it appends nothing.
    pub latencies: Option<WriteWindow>,
}

/// Appends the body of a window.
pub type WriteWindow = fn(&Window<'_>, &Options, &Derived, &mut Vec<u8>);

/// What one window counted.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// When it ended.
    pub end: Time,
    /// How long it was.
    pub length: Duration,
    /// The machine's name.
    pub host: &'a str,
    /// The counts of this part, each key once, ascending by guard, severity and type.
    pub tallies: &'a [Tally<'a>],
    /// The counts of the whole window.
    pub whole: &'a [Tally<'a>],
    /// Which part it is, from 0.
    pub part: usize,
    /// Events that wait, at its end.
    pub lag_events: u64,
    /// Milliseconds from append to delivery, ascending: those of every delivered event, or an even
    /// choice of them where there were more than a thousand.
    pub latencies_ms: &'a [u32],
}

/// The events of one guard, severity and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally<'a> {
    /// The guard that decided, as plain text.
    pub guard: &'a str,
    /// How bad.
    pub severity: Severity,
    /// What happened: the wire word.
    pub event_type: &'a str,
    /// How many.
    pub total: u64,
    /// How many of them were denied.
    pub denied: u64,
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
    /// AWS Signature Version 4 in the `Authorization` header, with the whole body signed.
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
    },
}

/// Headers that carry credentials: name and value.
pub type Credentials = Vec<(&'static str, Secret)>;

/// Makes headers with names of the operator's from the options.
pub type NamedHeaders = fn(&Options) -> Result<Vec<(String, Secret)>, Problem>;

/// Makes credentials from the options.
pub type Auth = fn(&Options) -> Result<Credentials, Problem>;
