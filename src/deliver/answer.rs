//! Judging: what an answer, or the lack of one, means for a batch.
//!
//! One function reads every answer. Rows of the vendor come first, then the usual rows below
//! (`pipeline.md`, Retry), and the vendor's `read` may overrule both from headers and body.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};

use super::{
    AckId, Answer, Call, Cause, Documents, Fate, Options, Pace, Reason, Response, Scope, Verdict,
};
use crate::protobuf::{Wire, field};

/// The longest quotation of a destination's words, in bytes (`pipeline.md`, Dead-letter store).
pub const DETAIL_BYTES_MAX: usize = 1024;

/// The longest wait that `Retry-After` can ask for; a longer one is read as this.
///
/// The exporter's own `retry.max_retry_after_ms` is usually far below. The bound only keeps a
/// hostile number from overflowing a clock.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl<'a> Response<'a> {
    /// The answer to a request that carried no events.
    #[must_use]
    pub fn without_events(answer: &'a Answer, options: &'a Options) -> Self {
        let Answer { status, headers, body } = answer;
        let (documents, acks) = (Documents::NONE, &[] as &[AckId]);
        Self { status: *status, headers, body, events: 0, body_bytes: 0, documents, acks, options }
    }
}

/// Says what an answer to a call means.
///
/// The verdict's `Items`, where given, has exactly one fate per event of the request; an answer
/// that speaks of more or fewer events is ambiguous and the batch is sent again.
#[must_use]
pub fn judge(call: &Call, response: &Response<'_>) -> Verdict {
    let read = call.responses.read.and_then(|read| read(response));
    let mut verdict =
        read.or_else(|| row(call, response.status)).unwrap_or_else(|| usual(response));
    if let Fate::Items(items) = &verdict.fate
        && items.len() != response.events
    {
        verdict = ambiguous(format!("{} fates for {} events", items.len(), response.events));
    }
    // A batch of one has no halves.
    if verdict.fate == Fate::Bisect && response.events <= 1 {
        verdict.fate = Fate::Reject;
    }
    verdict.reason.status = response.status;
    if verdict.pace == Pace::Pause(None) {
        verdict.pace = Pace::Pause(retry_after(response.headers));
    }
    if verdict.reason.detail.is_empty() && needs_words(&verdict.fate) {
        verdict.reason.detail = words(response);
    }
    // A vendor may have put words of its own before a quotation.
    let end = cut(&verdict.reason.detail).len();
    verdict.reason.detail.truncate(end);
    verdict
}

/// An answer that cannot be understood: the whole batch is sent again.
#[must_use]
pub fn ambiguous(detail: String) -> Verdict {
    let mut verdict = Verdict::new(Fate::Retry, "ambiguous");
    verdict.reason.detail = detail;
    verdict
}

/// How long the headers ask us to wait (RFC 9110, 10.2.3).
///
/// A date is compared with the answer's own `Date`, so that neither our clock nor a difference
/// between the clocks matters; without one a date says nothing.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let secs = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(secs).min(RETRY_AFTER_MAX));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let now = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(wait(now, until).min(RETRY_AFTER_MAX))
}

/// A quotation fit for logs, dead letters and people: one line, without secrets, capped.
#[must_use]
pub fn quote(text: &[u8], options: &Options) -> String {
    let window = &text[..text.len().min(QUOTE_WINDOW)];
    let line = one_line(&String::from_utf8_lossy(window));
    let line = scrub(line, options);
    cut(&line).to_owned()
}

/// Replaces every secret of the exporter, every credential and the inside of every URL.
#[must_use]
pub fn scrub(text: String, options: &Options) -> String {
    let mut text = text;
    for secret in options.secrets() {
        let secret = secret.expose();
        text = without(text, secret);
        // A destination that echoes the request line shows the path of a secret URL alone.
        if let Some((_, rest)) = secret.split_once("://")
            && let Some(at) = rest.find('/')
        {
            text = without(text, &rest[at..]);
        }
    }
    without_urls(&without_credentials(&text))
}

/// The vendor's row for a status.
fn row(call: &Call, status: u16) -> Option<Verdict> {
    let row = call.responses.rows.iter().find(|(statuses, _)| statuses.contains(&status));
    row.map(|(_, verdict)| verdict.clone())
}

/// The usual rows (`pipeline.md`, Retry).
fn usual(response: &Response<'_>) -> Verdict {
    match response.status {
        200..=299 => Verdict::new(Fate::Delivered, "accepted"),
        // "never followed; permanent, config error". Nothing is wrong with the events, so they
        // wait for the operator instead of being given up.
        300..=399 => {
            let hold = Fate::Hold { cause: Cause::Config, scope: Scope::Exporter };
            let mut verdict = Verdict::new(hold, "config");
            verdict.reason.detail = redirect(response.headers);
            verdict
        }
        401 | 403 => {
            Verdict::new(Fate::Hold { cause: Cause::Auth, scope: Scope::Exporter }, "auth")
        }
        408 => Verdict::new(Fate::Retry, "timeout").at(Pace::Pause(None)),
        413 => Verdict::new(Fate::Split, "too_large"),
        429 => Verdict::new(Fate::Retry, "throttled").at(Pace::Pause(None)),
        425 | 500..=599 => Verdict::new(Fate::Retry, "unavailable").at(Pace::Pause(None)),
        400..=499 => Verdict::new(Fate::Reject, "rejected"),
        status => ambiguous(format!("{status} is no final HTTP status")),
    }
}

/// Whether the fate calls for the destination's own words.
fn needs_words(fate: &Fate) -> bool {
    !matches!(
        fate,
        Fate::Delivered
            | Fate::Pending(_)
            | Fate::Requested(_)
            | Fate::Items(_)
            | Fate::Confirmed(_)
    )
}

/// The destination's words: its body, or what a status in Protocol Buffers says.
fn words(response: &Response<'_>) -> String {
    let kind = response.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let is_binary = PROTOBUF_TYPES.iter().any(|known| kind.starts_with(known.as_bytes()));
    match is_binary.then(|| status_words(response.body)).flatten() {
        Some(text) => quote(text.as_bytes(), response.options),
        None => quote(response.body, response.options),
    }
}

/// The code and the words of a `google.rpc.Status`; nothing where the bytes are none.
fn status_words(body: &[u8]) -> Option<String> {
    let (mut code, mut text) = (0, "");
    let mut rest = body;
    while !rest.is_empty() {
        match field(&mut rest)? {
            (1, Wire::Varint(number)) => code = number,
            (2, Wire::Bytes(bytes)) => text = str::from_utf8(bytes).ok()?,
            _ => {}
        }
    }
    Some(match (code, text) {
        (0, text) => text.to_owned(),
        (code, "") => format!("code {code}"),
        (code, text) => format!("code {code}: {text}"),
    })
}

/// Says where a redirect leads, without the path, which may be secret.
fn redirect(headers: &HeaderMap) -> String {
    let target = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    let uri = target.parse::<http::Uri>().ok();
    match uri.as_ref().and_then(http::Uri::host) {
        Some(host) => format!("redirects to {host}; redirects are not followed, set the new URL"),
        None => "redirects within the host; redirects are not followed, set the new URL".to_owned(),
    }
}

fn wait(now: SystemTime, until: SystemTime) -> Duration {
    until.duration_since(now).unwrap_or(Duration::ZERO)
}

/// Control characters and runs of white space become one space.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// At most [`DETAIL_BYTES_MAX`] bytes, cut between characters.
fn cut(text: &str) -> &str {
    let mut ends = (0..=text.len().min(DETAIL_BYTES_MAX)).rev();
    &text[..ends.find(|&end| text.is_char_boundary(end)).unwrap_or(0)]
}

fn without(text: String, secret: &str) -> String {
    if secret.len() < 2 || !text.contains(secret) {
        return text;
    }
    text.replace(secret, HIDDEN)
}

/// Hides what follows the name of an authorization scheme.
fn without_credentials(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut hide = false;
    for word in text.split_inclusive(' ') {
        if hide {
            kept.push_str(HIDDEN);
            kept.push_str(if word.ends_with(' ') { " " } else { "" });
        } else {
            kept.push_str(word);
        }
        let name = word.trim_end().trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        hide = !hide && SCHEMES.contains(&name);
    }
    kept
}

/// Keeps scheme and host of every URL, and hides user, path and query.
fn without_urls(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        kept.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | ')' | ']');
        let url = &after[..after.find(ends).unwrap_or(after.len())];
        let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
        let host = authority.rsplit('@').next().unwrap_or(authority);
        kept.push_str(host);
        if authority.len() + 1 < url.len() {
            kept.push('/');
            kept.push_str(HIDDEN);
        }
        rest = &after[url.len()..];
    }
    kept.push_str(rest);
    kept
}

impl Reason {
    /// A reason of this class with a status and words.
    #[must_use]
    pub fn new(class: &'static str, status: u16, detail: String) -> Self {
        Self { status, code: None, class, detail }
    }
}

/// How much of a body is looked at for a quotation: enough that scrubbing cannot bring a cut secret
/// into the first [`DETAIL_BYTES_MAX`] bytes.
const QUOTE_WINDOW: usize = 16 * DETAIL_BYTES_MAX;

/// Media types of Protocol Buffers.
const PROTOBUF_TYPES: [&str; 2] = ["application/x-protobuf", "application/protobuf"];

/// What stands for a secret.
const HIDDEN: &str = "***";

/// Authorization schemes whose credentials are not the option itself but made from it.
const SCHEMES: &[&str] = &["ApiKey", "Basic", "Bearer", "GenieKey"];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::deliver::judge_transport;
    use crate::deliver::{Applied, Documents, TransportError, TransportErrorKind};

    /// What `pipeline.md`, Retry, says of an answer without a body.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Row {
        Delivered,
        /// Tried again, after a pause; no event is at fault.
        Retry,
        /// Held until credentials work.
        Auth,
        /// Held until the operator has seen to it.
        Config,
        /// In halves; a single event smaller.
        Split,
        Permanent,
    }

    fn response<'a>(status: u16, headers: &'a HeaderMap, options: &'a Options) -> Response<'a> {
        Response {
            status,
            headers,
            body: b"",
            events: 3,
            body_bytes: 9,
            documents: Documents::NONE,
            acks: &[],
            options,
        }
    }

    fn row_of(verdict: &Verdict) -> Row {
        let hold = |it| Fate::Hold { cause: it, scope: Scope::Exporter };
        match &verdict.fate {
            Fate::Delivered => Row::Delivered,
            Fate::Retry => {
                assert!(matches!(verdict.pace, Pace::Pause(_)), "{verdict:?}");
                Row::Retry
            }
            Fate::Split => Row::Split,
            Fate::Reject => Row::Permanent,
            fate if *fate == hold(Cause::Auth) => Row::Auth,
            fate if *fate == hold(Cause::Config) => Row::Config,
            other => panic!("no row has {other:?}"),
        }
    }

    #[test]
    fn every_status_has_its_row_of_the_retry_table() {
        let (headers, options) = (HeaderMap::new(), Options::default());
        for status in 200..600 {
            let expected = match status {
                200..=299 => Row::Delivered,
                300..=399 => Row::Config,
                401 | 403 => Row::Auth,
                413 => Row::Split,
                408 | 425 | 429 | 500..=599 => Row::Retry,
                _ => Row::Permanent,
            };
            let found = row_of(&usual(&response(status, &headers, &options)));
            assert_eq!(found, expected, "{status}");
        }
        // Those that the table names one by one.
        for status in
            [408, 425, 429, 500, 502, 503, 504, 507, 520, 521, 522, 523, 524, 525, 526, 527]
        {
            assert_eq!(row_of(&usual(&response(status, &headers, &options))), Row::Retry);
        }
    }

    #[test]
    fn no_answer_is_an_outage_and_a_refused_certificate_is_a_matter_of_configuration() {
        use TransportErrorKind as Kind;
        for kind in [
            Kind::Dns,
            Kind::Connect,
            Kind::TlsIo,
            Kind::Network,
            Kind::Refused,
            Kind::Protocol,
            Kind::Timeout,
            Kind::TlsRejected,
        ] {
            let error = TransportError { kind, applied: Applied::No, detail: String::new() };
            let fate = judge_transport(&error).fate;
            match kind {
                Kind::TlsRejected => {
                    let held = Fate::Hold { cause: Cause::Config, scope: Scope::Endpoint };
                    assert_eq!(fate, held);
                }
                _ => assert_eq!(fate, Fate::Retry, "{kind:?}"),
            }
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let date = "Fri, 06 Feb 2026 09:00:00 GMT";
        for (text, expected) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("99999999999999999999", Some(86_400)),
            ("Fri, 06 Feb 2026 09:01:30 GMT", Some(90)),
            ("Fri, 06 Feb 2026 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            headers.insert(DATE, HeaderValue::from_static(date));
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
