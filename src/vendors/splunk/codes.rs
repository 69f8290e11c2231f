//! What a collector answers: codes, partial batches, acknowledgements, health.
//!
//! Troubleshoot HTTP Event Collector, Possible error codes,
//! <https://docs.splunk.com/Documentation/Splunk/latest/Data/TroubleshootHTTPEventCollector>.

use std::borrow::Cow;

use serde::Deserialize;

use crate::deliver::{
    AckId, Cause, Fate, ItemFate, Pace, Reason, Response, Scope, Verdict, ambiguous, quote,
};

/// Reads the answer to a batch.
pub(super) fn read_send(response: &Response<'_>) -> Option<Verdict> {
    let Some(answer) = Answer::parse(response.body) else {
        // A page with status 200 comes from something that is no collector.
        return (200..300).contains(&response.status).then(|| not_a_collector(response));
    };
    let verdict = match answer.code {
        SUCCESS | HEALTHY => accepted(&answer, response),
        QUEUE_NEARLY_FULL | ACKS_NEARLY_FULL => accepted(&answer, response).at(Pace::Ease),
        BAD_FORMAT if is_too_large(&answer, response) => Verdict::new(Fate::Split, "too_large"),
        NO_DATA | BAD_FORMAT | NO_EVENT | BLANK_EVENT | BAD_FIELDS => bad_event(&answer, response),
        WRONG_INDEX => wrong_index(&answer, response),
        code => by_code(code)?,
    };
    Some(answer.explain(verdict, response))
}

/// Reads the answer to a poll for acknowledgements: `{"acks":{"0":true,"1":false}}`.
pub(super) fn read_poll(response: &Response<'_>) -> Option<Verdict> {
    if response.status != 200 {
        return read_other(response);
    }
    let Some(mut confirmed) = confirmed(response.body) else {
        return Some(ambiguous("the answer lists no acknowledgements".to_owned()));
    };
    confirmed.sort_unstable();
    // Only what was asked for counts, in the order in which it was asked for.
    let asked = response.acks.iter().copied();
    let ids = asked.filter(|id| confirmed.binary_search(&id.0).is_ok()).collect();
    Some(Verdict::new(Fate::Confirmed(ids), "accepted"))
}

/// Reads the answer to an empty batch, which tests the token.
///
/// "400 code 5 = token good": the collector looks at the token before it looks for data.
pub(super) fn read_probe(response: &Response<'_>) -> Option<Verdict> {
    match Answer::parse(response.body) {
        Some(answer) if answer.code == NO_DATA => Some(Verdict::new(Fate::Delivered, "accepted")),
        Some(_) => read_other(response),
        None => (200..300).contains(&response.status).then(|| not_a_collector(response)),
    }
}

/// Reads the answer to a call that carries no events of ours: health, polls, counts.
pub(super) fn read_other(response: &Response<'_>) -> Option<Verdict> {
    let answer = Answer::parse(response.body)?;
    let verdict = by_code(answer.code)?;
    Some(answer.explain(verdict, response))
}

/// The body of a poll: `{"acks":[0,1,2]}`.
pub(super) fn write_acks(acks: &[AckId], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"acks\":[");
    for (at, ack) in acks.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(ack.0.to_string().as_bytes());
    }
    out.extend_from_slice(b"]}");
}

/// A collector's answer.
#[derive(Deserialize)]
struct Answer<'a> {
    code: i64,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    /// "Zero based": objects before it were indexed, the rest were not.
    #[serde(default, rename = "invalid-event-number")]
    invalid: Option<usize>,
    #[serde(default, rename = "ackId")]
    ack: Option<u64>,
}

impl<'a> Answer<'a> {
    /// Reads the answer; pages of balancers, and of the collector for 413 and 415, are none.
    fn parse(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The verdict with the collector's code and words.
    fn explain(&self, mut verdict: Verdict, response: &Response<'_>) -> Verdict {
        verdict.reason = self.reason(verdict.reason.class, response);
        verdict
    }

    fn reason(&self, class: &'static str, response: &Response<'_>) -> Reason {
        let detail = match class {
            "accepted" => String::new(),
            _ => quote(self.text.as_bytes(), response.options),
        };
        Reason { status: response.status, code: Some(self.code), class, detail }
    }
}

/// Accepted: with an id when the collector will confirm it later, and we ask.
fn accepted(answer: &Answer<'_>, response: &Response<'_>) -> Verdict {
    let fate = match answer.ack {
        Some(id) if response.options.is_on("use_ack") => Fate::Pending(AckId(id)),
        _ => Fate::Delivered,
    };
    Verdict::new(fate, "accepted")
}

/// "Cloud instead answers 400 code 6 event 0 for bodies over 5 MiB: treat as size."
fn is_too_large(answer: &Answer<'_>, response: &Response<'_>) -> bool {
    answer.invalid.unwrap_or(0) == 0 && response.body_bytes > CLOUD_BODY_BYTES_MAX
}

/// One event is bad: those before it were taken, it is refused, those after it were not read.
///
/// Without a usable number the batch is sent in halves until the event is found.
fn bad_event(answer: &Answer<'_>, response: &Response<'_>) -> Verdict {
    let Some(bad) = answer.invalid.filter(|&bad| bad < response.events) else {
        return Verdict::new(Fate::Bisect, "rejected");
    };
    let items = (0..response.events).map(|at| match at.cmp(&bad) {
        std::cmp::Ordering::Less => ItemFate::Delivered,
        std::cmp::Ordering::Equal => ItemFate::Reject(answer.reason("rejected", response)),
        std::cmp::Ordering::Greater => unread(answer, response),
    });
    Verdict::new(Fate::Items(items.collect()), "rejected")
}

/// The token may not write to the index of an event.
///
/// "For code 7 the number is one too high in at least one release", so the event before the number
/// may be the one. What certainly came before it is taken; the rest is sent again, and in halves
/// once it is at the front. A batch is for one index, so a single event that is refused holds its
/// route: an operator's mistake must not cost events.
fn wrong_index(answer: &Answer<'_>, response: &Response<'_>) -> Verdict {
    let taken = answer.invalid.filter(|&number| number < response.events).unwrap_or(0);
    let taken = taken.saturating_sub(1);
    if taken > 0 {
        let items = (0..response.events).map(|at| match at < taken {
            true => ItemFate::Delivered,
            false => unread(answer, response),
        });
        return Verdict::new(Fate::Items(items.collect()), "config");
    }
    if response.events > 1 {
        return Verdict::new(Fate::Bisect, "config");
    }
    Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Route }, "config")
}

fn unread(answer: &Answer<'_>, response: &Response<'_>) -> ItemFate {
    let mut reason = Reason::new("unread", response.status, String::new());
    reason.code = Some(answer.code);
    ItemFate::Retry(reason)
}

fn by_code(code: i64) -> Option<Verdict> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, verdict)| verdict.clone())
}

fn not_a_collector(response: &Response<'_>) -> Verdict {
    let words = quote(response.body, response.options);
    ambiguous(format!("the answer is none of a collector, is hec_url right? {words}"))
}

/// The ids that were reported true.
fn confirmed(body: &[u8]) -> Option<Vec<u64>> {
    #[derive(Deserialize)]
    struct Acks {
        acks: std::collections::HashMap<u64, bool>,
    }
    let acks = serde_json::from_slice::<Acks>(body).ok()?.acks;
    Some(acks.into_iter().filter(|&(_, done)| done).map(|(id, _)| id).collect())
}

/// Splunk Cloud refuses larger bodies as malformed.
const CLOUD_BODY_BYTES_MAX: usize = 5_242_880;

const SUCCESS: i64 = 0;
const NO_DATA: i64 = 5;
const BAD_FORMAT: i64 = 6;
const WRONG_INDEX: i64 = 7;
const NO_EVENT: i64 = 12;
const BLANK_EVENT: i64 = 13;
const BAD_FIELDS: i64 = 15;
const HEALTHY: i64 = 17;
const QUEUE_NEARLY_FULL: i64 = 24;
const ACKS_NEARLY_FULL: i64 = 25;

/// Codes whose meaning needs nothing but the code (`splunk.md`, Wire).
const CODES: &[(i64, Verdict)] = &[
    (SUCCESS, Verdict::new(Fate::Delivered, "accepted")),
    (1, AUTH),
    (2, AUTH),
    (3, AUTH),
    (4, AUTH),
    (8, UNAVAILABLE),
    (9, BUSY),
    (10, CHANNEL),
    (11, CHANNEL),
    (14, Verdict::new(Fate::Without("use_ack"), "config")),
    (16, Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Exporter }, "config")),
    (HEALTHY, Verdict::new(Fate::Delivered, "accepted")),
    (18, UNAVAILABLE),
    (19, UNAVAILABLE),
    (20, UNAVAILABLE),
    (21, AUTH),
    (22, AUTH),
    (23, LEAVING),
    (QUEUE_NEARLY_FULL, NEARLY_FULL),
    (ACKS_NEARLY_FULL, NEARLY_FULL),
    (26, BUSY),
    (27, BUSY),
    (28, CHANNEL),
];

const AUTH: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Auth, scope: Scope::Exporter }, "auth");

const UNAVAILABLE: Verdict = Verdict::new(Fate::Retry, "unavailable").at(Pace::Pause(None));

const BUSY: Verdict = Verdict::new(Fate::Retry, "throttled").at(Pace::Pause(None));

const CHANNEL: Verdict = Verdict::new(Fate::Rechannel, "config");

const NEARLY_FULL: Verdict = Verdict::new(Fate::Delivered, "accepted").at(Pace::Ease);

/// It shuts down: another endpoint serves meanwhile.
const LEAVING: Verdict =
    Verdict::new(Fate::Hold { cause: Cause::Outage, scope: Scope::Endpoint }, "unavailable")
        .at(Pace::Pause(None));
