//! Calls, compiled: everything that is the same for each request is spelled once.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::{Digest as _, Sha256};

use super::sign::Signer;
use super::vendor::{TIME, time_text};
use super::{
    AckId, Call, CallBody, Credentials, Derived, Encoding, Heads, Options, Problem, Purpose,
    Request, Secret, Settings, Signature, Vendor, problem,
};
use crate::transform::Format;

/// What the placeholders of one exporter's (or one route's) calls stand for.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The vendor.
    pub vendor: &'static Vendor,
    /// Its own keys, a route's overrides applied.
    pub options: &'a Options,
    /// What [`Vendor::derive`] computed from them.
    pub derived: &'a Derived,
    /// The format of documents.
    pub format: Format,
    /// Headers that carry credentials; they win over `headers`.
    pub credentials: &'a Credentials,
    /// The operator's further headers.
    pub headers: &'a [(String, Secret)],
    /// The encoding of batch bodies.
    pub encoding: Encoding,
    /// How long to wait for each answer.
    pub timeout: Duration,
}

/// Where one request goes.
#[derive(Clone, Copy, Debug)]
pub struct Via {
    /// Which endpoint, by position.
    pub endpoint: usize,
    /// Which connection group.
    pub group: u32,
    /// The group's channel, for vendors that name one.
    pub channel: Channel,
}

/// The id of a connection group, as vendors with acknowledgements want one: a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Channel([u8; 16]);

/// A call with everything filled in that does not change between requests.
#[derive(Clone, Debug)]
pub struct CompiledCall {
    /// The call it was compiled from, for judging its answers.
    pub call: &'static Call,
    method: Method,
    path: Template,
    headers: HeaderMap,
    own_headers: Vec<(HeaderName, Template)>,
    signer: Option<Signer>,
    body: Bytes,
    /// Whether the body has a place for the time of sending.
    is_dated: bool,
    timeout: Duration,
    needs_body: bool,
    /// What is added to an endpoint's position: where calls without events go elsewhere.
    aside: usize,
}

/// Text with places left open that each request fills in for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Template {
    /// Text before each place, then the text after the last.
    pieces: Vec<String>,
    /// What stands between two pieces.
    blanks: Vec<Blank>,
}

/// What a request fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blank {
    /// The channel of its connection group.
    Channel,
    /// The how manieth request with these events.
    Attempt,
    /// BLAKE3 of its body as sent, as receipts name it: the same bytes have the same digest,
    /// whenever they are sent.
    Digest,
    /// SHA-256 of the ids of its events: the same events have it, whatever their body looks like.
    Ids,
    /// The key of the incident that it is about, or the name of the request that it asks for.
    Subject,
}

/// What a request with events has beside its body.
#[derive(Clone, Copy, Debug)]
pub struct Parcel<'a> {
    /// What follows from the events.
    pub heads: &'a Heads,
    /// Their ids, each ended by a line feed, where the call [asks] for them.
    ///
    /// [asks]: CompiledCall::asks_ids
    pub ids: &'a [u8],
    /// BLAKE3 of the body as sent, where the call [asks](CompiledCall::asks_digest) for it.
    pub digest: Option<[u8; 32]>,
    /// The how manieth request with these events, from 1.
    pub attempt: u32,
    /// When it is sent, in seconds since 1970.
    pub sent: u64,
}

/// What fills the places of one request.
struct Filling<'a> {
    channel: Channel,
    attempt: u32,
    ids: &'a [u8],
    subject: &'a str,
    digest: [u8; 32],
}

impl<'a> Filling<'a> {
    fn new(channel: Channel, attempt: u32) -> Self {
        Self { channel, attempt, ids: &[], subject: "", digest: [0; 32] }
    }

    fn text(&self, blank: Blank) -> String {
        match blank {
            Blank::Channel => self.channel.to_string(),
            Blank::Attempt => self.attempt.to_string(),
            Blank::Digest => hex(&self.digest),
            Blank::Ids => hex(&Sha256::digest(self.ids)),
            Blank::Subject => percent_encoded(self.subject),
        }
    }
}

impl<'a> Binding<'a> {
    /// The binding of an exporter's base settings.
    #[must_use]
    pub fn new(settings: &'a Settings, derived: &'a Derived, credentials: &'a Credentials) -> Self {
        Self {
            vendor: settings.vendor,
            options: &settings.options,
            derived,
            format: settings.format,
            credentials,
            headers: &settings.headers,
            encoding: settings.encoding,
            timeout: settings.connection.timeout,
        }
    }

    /// The text that a placeholder stands for.
    fn text(&self, name: &str) -> Option<String> {
        if name == SUFFIX {
            return Some(self.encoding.suffix().to_owned());
        }
        let derived = self.derived.texts.iter().find(|(key, _)| *key == name);
        derived.map(|(_, text)| text.clone()).or_else(|| self.options.text(name))
    }
}

impl Channel {
    /// A channel from 16 random bytes (RFC 9562, version 4).
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Reads a UUID in its usual form, in either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (at, c) in text.bytes().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if c != b'-' {
                    return None;
                }
                continue;
            }
            let digit = char::from(c).to_digit(16)?;
            let byte = bytes.get_mut(digits / 2)?;
            *byte = *byte << 4 | u8::try_from(digit).ok()?;
            digits += 1;
        }
        (digits == 32 && text.len() == 36).then_some(Self(bytes))
    }

    /// The channel of another connection group of the same exporter: its number is mixed into the
    /// last four bytes, so that groups of one configured channel differ.
    #[must_use]
    pub fn for_group(mut self, group: u32) -> Self {
        for (byte, number) in self.0[12..].iter_mut().zip(group.to_be_bytes()) {
            *byte ^= number;
        }
        self
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl CompiledCall {
    /// Fills in a call.
    ///
    /// # Errors
    /// When the path names a text that is absent, or a header's value cannot stand in a header.
    pub fn compile(call: &'static Call, binding: &Binding<'_>) -> Result<Self, Problem> {
        let method = Method::from_bytes(call.method.as_bytes())
            .map_err(|_| problem(call.method, "is no HTTP method"))?;
        let (media, body) = body(call, binding);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(media) = media {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        }
        // Batches alone are encoded; everything else is too small to gain from it.
        if let (CallBody::Batch, Some(word)) = (call.body, binding.encoding.word()) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(word));
        }
        for (name, secret) in binding.headers {
            insert_secret(&mut headers, name, secret)?;
        }
        let mut own_headers = Vec::new();
        for &(name, template) in call.headers {
            let Some(template) = Template::parse(template, binding, as_is) else { continue };
            // Fixed parts are checked here, so that filling in a channel cannot fail.
            let filling = Filling::new(Channel([0; 16]), 1);
            insert(&mut headers, name, &template.fill(&filling))?;
            if !template.blanks.is_empty() {
                own_headers.push((header_name(name)?, template));
            }
        }
        for (name, secret) in binding.credentials {
            insert_secret(&mut headers, name, secret)?;
        }
        for (name, secret) in (binding.vendor.headers)(binding.options)? {
            insert_secret(&mut headers, &name, &secret)?;
        }
        let path = path(call, binding)?;
        let timeout = binding.timeout;
        let aside = aside(call, binding)?;
        let signature = (binding.vendor.sign)(binding.options)?;
        // The other kind signs what it is that is sent, and a look sends nothing.
        let signature = signature.filter(|it| {
            matches!((call.body, it), (CallBody::Batch, _) | (_, Signature::V4 { .. }))
        });
        let signer = match signature {
            Some(signature) => {
                Some(Signer::new(signature, &(binding.vendor.endpoints)(binding.options)?)?)
            }
            None => None,
        };
        let in_body = call.responses.read.is_some()
            && binding.vendor.success_in_body.holds(binding.options, binding.format);
        let is_dated = memchr::memmem::find(&body, TIME.as_bytes()).is_some();
        Ok(Self {
            call,
            method,
            path,
            headers,
            own_headers,
            signer,
            body,
            is_dated,
            timeout,
            // What is asked beside events is read by whoever asks.
            needs_body: call.purpose != Purpose::Send || in_body,
            aside,
        })
    }

    /// Whether its requests say which events they carry.
    #[must_use]
    pub fn asks_ids(&self) -> bool {
        self.asks(Blank::Ids)
    }

    /// Whether its requests name the digest of their body.
    #[must_use]
    pub fn asks_digest(&self) -> bool {
        self.asks(Blank::Digest)
    }

    fn asks(&self, blank: Blank) -> bool {
        let headers = self.own_headers.iter().map(|(_, template)| template);
        headers.chain([&self.path]).any(|template| template.blanks.contains(&blank))
    }

    /// The same call at places that lie this far behind the endpoints.
    #[must_use]
    pub fn shifted(self, places: usize) -> Self {
        Self { aside: self.aside + places, ..self }
    }

    /// The request that carries a batch with what belongs to it.
    #[must_use]
    pub fn carrying_with(&self, via: Via, body: Bytes, parcel: &Parcel<'_>) -> Request {
        debug_assert!(parcel.digest.is_some() || !self.asks_digest(), "the digest is asked for");
        let filling = Filling {
            ids: parcel.ids,
            digest: parcel.digest.unwrap_or_default(),
            ..Filling::new(via.channel, parcel.attempt)
        };
        let mut request = self.request(via, body, &filling);
        if !parcel.heads.path.is_empty() {
            request.path.insert_str(0, &parcel.heads.path);
        }
        for (name, value) in &parcel.heads.headers {
            request.headers.insert(name.clone(), value.clone());
        }
        if let Some(signer) = &self.signer {
            signer.sign(&mut request, via.endpoint, parcel.sent);
        }
        request
    }

    /// The request that carries a batch, the counts of a window, or a change.
    #[must_use]
    pub fn carrying(&self, via: Via, body: Bytes) -> Request {
        debug_assert!(matches!(
            self.call.body,
            CallBody::Batch | CallBody::Counts | CallBody::Change(..)
        ));
        self.first(via, body)
    }

    /// The request that asks for these acknowledgements.
    #[must_use]
    pub fn asking(&self, via: Via, acks: &[AckId]) -> Request {
        let mut body = Vec::new();
        if let CallBody::Acks(_, write) = self.call.body {
            write(acks, &mut body);
        }
        self.first(via, body.into())
    }

    /// The request of a call that brings its own body, or none.
    #[must_use]
    pub fn plain(&self, via: Via) -> Request {
        self.first(via, self.body.clone())
    }

    /// The same, dated and signed at this time, in seconds since 1970, where the vendor wants that
    /// of requests without events.
    #[must_use]
    pub fn plain_at(&self, via: Via, sent: u64) -> Request {
        let mut request = self.plain(via);
        if self.is_dated {
            let now = time_text(i64::try_from(sent).unwrap_or(i64::MAX));
            request.body = String::from_utf8_lossy(&request.body).replace(TIME, &now).into();
        }
        if let Some(signer) = &self.signer {
            signer.sign(&mut request, via.endpoint, sent);
        }
        request
    }

    /// The request about an incident, or about an earlier request.
    #[must_use]
    pub fn about(&self, via: Via, subject: &str) -> Request {
        let body = String::from_utf8_lossy(&self.body);
        let quoted = serde_json::Value::from(subject).to_string();
        let body = Bytes::from(body.replacen(INCIDENT, &quoted, 1));
        let filling = Filling { subject, ..Filling::new(via.channel, 1) };
        self.request(via, body, &filling)
    }

    /// A request that is no attempt with events.
    fn first(&self, via: Via, body: Bytes) -> Request {
        self.request(via, body, &Filling::new(via.channel, 1))
    }

    fn request(&self, via: Via, body: Bytes, filling: &Filling<'_>) -> Request {
        let mut headers = self.headers.clone();
        for (name, template) in &self.own_headers {
            let value = HeaderValue::from_str(&template.fill(filling));
            headers.insert(name, value.expect("compiling filled one in and it was fine"));
        }
        Request {
            endpoint: via.endpoint + self.aside,
            group: via.group,
            method: self.method.clone(),
            path: self.path.fill(filling),
            headers,
            body,
            timeout: self.timeout,
            needs_body: self.needs_body,
        }
    }
}

impl Template {
    /// Fills in all but what requests fill in; `None` when a text is absent.
    fn parse(template: &str, binding: &Binding<'_>, spell: fn(&str) -> String) -> Option<Self> {
        let mut parsed = Self { pieces: vec![String::new()], blanks: Vec::new() };
        let mut rest = template;
        while let Some((before, name, after)) = placeholder(rest) {
            parsed.append(before);
            match BLANKS.iter().find(|(known, _)| *known == name) {
                Some(&(_, blank)) => {
                    parsed.blanks.push(blank);
                    parsed.pieces.push(String::new());
                }
                None => parsed.append(&spell(&binding.text(name)?)),
            }
            rest = after;
        }
        parsed.append(rest);
        Some(parsed)
    }

    fn fill(&self, filling: &Filling<'_>) -> String {
        let mut pieces = self.pieces.iter();
        let mut filled = pieces.next().cloned().unwrap_or_default();
        for (blank, piece) in self.blanks.iter().zip(pieces) {
            filled.push_str(&filling.text(*blank));
            filled.push_str(piece);
        }
        filled
    }

    fn append(&mut self, text: &str) {
        self.pieces.last_mut().expect("it starts with one piece and only grows").push_str(text);
    }

    fn splice(&mut self, other: Self) {
        let mut others = other.pieces.into_iter();
        if let (Some(last), Some(first)) = (self.pieces.last_mut(), others.next()) {
            last.push_str(&first);
        }
        self.pieces.extend(others);
        self.blanks.extend(other.blanks);
    }
}

impl Encoding {
    /// The word in `Content-Encoding`; none for the identity (RFC 9110, 8.4).
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// What the name of a file with such bytes ends in.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => ".gz",
            Self::Deflate => ".zz",
            Self::Zstd => ".zst",
        }
    }
}

/// Spells a text for a URL: everything but unreserved characters as `%XX` (RFC 3986, 2.1).
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    percent_bytes(text.as_bytes())
}

/// Reads such a text; what is no escape stays as it is.
#[must_use]
pub fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| after.get(..2)).flatten();
        let value = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(value.unwrap_or(byte));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    out
}

/// Spells bytes that need not be text.
pub(super) fn percent_bytes(text: &[u8]) -> String {
    let mut spelled = String::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            spelled.push(char::from(byte));
        } else {
            spelled.push('%');
            spelled.push(char::from(HEX[usize::from(byte >> 4)]));
            spelled.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    spelled
}

/// The media type of the body, and the body where the call brings its own.
fn body(call: &Call, binding: &Binding<'_>) -> (Option<&'static str>, Bytes) {
    match call.body {
        CallBody::Empty => (None, Bytes::new()),
        CallBody::Batch => {
            let shape = binding.vendor.shape(binding.options, binding.format);
            (shape.map(|shape| shape.framing.content_type), Bytes::new())
        }
        CallBody::Counts => (binding.vendor.meter.map(|meter| meter.content_type), Bytes::new()),
        CallBody::Acks(media, _) | CallBody::Change(media, _) => (Some(media), Bytes::new()),
        CallBody::Text(media, write) => {
            (Some(media), write(binding.options, binding.derived).into())
        }
    }
}

/// How far behind an endpoint the place of this call lies: calls without events have places of
/// their own behind all endpoints, where the vendor names some.
fn aside(call: &Call, binding: &Binding<'_>) -> Result<usize, Problem> {
    // A probe ends holds: it asks whoever takes the events.
    if matches!(call.purpose, super::Purpose::Send | super::Purpose::Probe) {
        return Ok(0);
    }
    let aside = (binding.vendor.aside)(binding.options)?.len();
    if aside == 0 {
        return Ok(0);
    }
    let endpoints = (binding.vendor.endpoints)(binding.options)?.len();
    assert!(aside == endpoints, "there is one place beside each endpoint");
    Ok(endpoints)
}

/// Path and query; a parameter whose text is absent or empty is left out.
fn path(call: &Call, binding: &Binding<'_>) -> Result<Template, Problem> {
    let mut path = Template::parse(call.path, binding, percent_encoded)
        .ok_or_else(|| problem(call.path, "names a text that is not set"))?;
    let mut separator = "?";
    for &(name, template) in call.query {
        let Some(value) = Template::parse(template, binding, percent_encoded) else { continue };
        if value.pieces == [""] {
            continue;
        }
        path.append(separator);
        path.append(name);
        path.append("=");
        path.splice(value);
        separator = "&";
    }
    Ok(path)
}

/// The text before the first placeholder, its name, and the text after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Problem> {
    let value = HeaderValue::from_str(value)
        .map_err(|_| problem(name, "has characters that no header can carry"))?;
    headers.insert(header_name(name)?, value);
    Ok(())
}

/// The value is marked sensitive, so that it is neither printed nor indexed by HTTP/2.
fn insert_secret(headers: &mut HeaderMap, name: &str, secret: &Secret) -> Result<(), Problem> {
    let mut value = HeaderValue::from_str(secret.expose())
        .map_err(|_| problem(name, "has characters that no header can carry"))?;
    value.set_sensitive(true);
    headers.insert(header_name(name)?, value);
    Ok(())
}

fn header_name(name: &str) -> Result<HeaderName, Problem> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| problem(name, "is no header name"))
}

fn as_is(text: &str) -> String {
    text.to_owned()
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The placeholder for what a file name with the body's encoding ends in.
const SUFFIX: &str = "suffix";

/// The placeholders that each request fills in for itself.
const BLANKS: &[(&str, Blank)] = &[
    ("channel", Blank::Channel),
    ("attempt", Blank::Attempt),
    ("digest", Blank::Digest),
    ("ids", Blank::Ids),
    ("incident", Blank::Subject),
    ("request", Blank::Subject),
];

/// Where the body of a request about an incident names it, as JSON.
const INCIDENT: &str = "\"{incident}\"";

/// What every request says of its sender.
const AGENT: &str = concat!("shrike/", env!("CARGO_PKG_VERSION"));

const HEX: &[u8; 16] = b"0123456789ABCDEF";
