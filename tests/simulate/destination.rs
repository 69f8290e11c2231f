//! The scripted destination: what it has, and what it answers.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use shrike::deliver::{
    AckId, Applied, Cause, Encoding, Fate, ItemFate, Order, Pace, Reason, Scope, TransportError,
    TransportErrorKind, Verdict, retry_after,
};

use crate::script::{Fault, How, Poison, S, Script};

/// How a request ends, and how long after it was sent.
pub(crate) struct End {
    pub(crate) after: u64,
    pub(crate) result: Result<Verdict, TransportError>,
}

/// A batch that was accepted and is not indexed before `indexed`.
struct Accepted {
    events: Vec<u32>,
    indexed: u64,
}

#[derive(Default)]
struct Numbered {
    next: u64,
    accepted: BTreeMap<u64, Accepted>,
}

pub(crate) struct Destination {
    script: Script,
    rng: fastrand::Rng,
    /// Copies of each event.
    pub(crate) copies: Vec<u32>,
    /// Events in the order in which they came first.
    pub(crate) order: Vec<u32>,
    /// Copies that were accepted while nothing is promised yet.
    channels: BTreeMap<(usize, u32), Numbered>,
    down_until: u64,
    pub(crate) requests: u64,
    /// Requests that did not end well.
    pub(crate) faults: u64,
}

impl Destination {
    pub(crate) fn new(script: &Script) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(script.seed ^ 0xD357),
            copies: vec![0; script.events as usize],
            order: Vec::new(),
            channels: BTreeMap::new(),
            down_until: 0,
            requests: 0,
            faults: 0,
            script: script.clone(),
        }
    }

    /// Answers a batch.
    pub(crate) fn send(
        &mut self,
        endpoint: usize,
        group: u32,
        body: &[u8],
        encoding: Encoding,
        now: u64,
    ) -> End {
        self.requests += 1;
        let mut opened = Vec::new();
        let raw = open(body, encoding, &mut opened);
        let events: Vec<(u32, u32)> = parse(raw);
        let ids: Vec<u32> = events.iter().map(|(id, _)| *id).collect();
        if let Some(end) = self.faulty(endpoint, &ids, now) {
            return end;
        }
        let after = self.latency(now);
        let answer = |fate, class| End { after, result: Ok(Verdict::new(fate, class)) };
        if raw.len() > self.script.body_bytes_max {
            return answer(Fate::Split, "too_large");
        }
        let poison = |kind: fn(Poison) -> bool| {
            ids.iter().find(|id| self.script.poison.get(id).is_some_and(|p| kind(*p)))
        };
        let breaks = now < self.script.breaks_until();
        if let Some(id) = poison(|p| matches!(p, Poison::Crashing(_)))
            && (breaks || !self.script.ends(*id))
        {
            if let Poison::Crashing(lasts) = self.script.poison[id] {
                self.down_until = now + lasts;
            }
            return self.fail(How::ResetBefore, &ids, after);
        }
        if breaks
            && let Some(id) = poison(|p| matches!(p, Poison::Breaking(_)))
            && let Poison::Breaking(how) = self.script.poison[id]
        {
            return self.fail(how, &ids, after);
        }
        if poison(|p| p == Poison::Malformed).is_some() {
            return answer(Fate::Bisect, "rejected");
        }
        let percent = self.phases(now).find_map(|fault| match fault {
            Fault::Partial(percent) => Some(percent),
            _ => None,
        });
        if percent.is_some() || poison(|p| p == Poison::Rejected).is_some() {
            let fates = ids.iter().map(|id| self.item(*id, percent.unwrap_or(0))).collect();
            return answer(Fate::Items(fates), "rejected");
        }
        if !self.script.acks {
            self.apply(&ids);
            return answer(Fate::Delivered, "accepted");
        }
        let indexed = now + self.rng.u64(..=self.script.ack_delay);
        let channel = self.channels.entry((endpoint, group)).or_default();
        let id = channel.next;
        channel.next += 1;
        channel.accepted.insert(id, Accepted { events: ids, indexed });
        answer(Fate::Pending(AckId(id)), "accepted")
    }

    /// Answers which ids are confirmed.
    pub(crate) fn poll(&mut self, endpoint: usize, group: u32, acks: &[AckId], now: u64) -> End {
        let after = self.latency(now);
        let is_lost = self.phases(now).any(|fault| fault == Fault::PollsLost);
        let down = self.phases(now).find_map(|fault| match fault {
            Fault::Down(how) => Some(how),
            _ => None,
        });
        if let Some(how) = down {
            return self.fail(how, &[], after);
        }
        let mut confirmed = Vec::new();
        let mut indexed = Vec::new();
        let channel = self.channels.entry((endpoint, group)).or_default();
        for ack in acks {
            // An id is forgotten once it was reported, also when the report is lost.
            if channel.accepted.get(&ack.0).is_some_and(|accepted| accepted.indexed <= now) {
                let accepted = channel.accepted.remove(&ack.0).expect("just seen");
                indexed.extend(accepted.events);
                confirmed.push(*ack);
            }
        }
        self.apply(&indexed);
        match is_lost {
            true => self.fail(How::ResetAfter, &[], after),
            false => {
                End { after, result: Ok(Verdict::new(Fate::Confirmed(confirmed), "accepted")) }
            }
        }
    }

    /// Answers whether it would take events.
    pub(crate) fn probe(&mut self, endpoint: usize, now: u64) -> End {
        let after = self.latency(now);
        let result = Ok(Verdict::new(Fate::Delivered, "accepted"));
        self.faulty(endpoint, &[], now).unwrap_or(End { after, result })
    }

    /// A new process: ids begin anew, and what was not indexed is gone.
    pub(crate) fn restart(&mut self, now: u64) {
        let mut indexed = Vec::new();
        for channel in std::mem::take(&mut self.channels).into_values() {
            for accepted in channel.accepted.into_values().filter(|a| a.indexed <= now) {
                indexed.extend(accepted.events);
            }
        }
        self.apply(&indexed);
    }

    pub(crate) fn apply(&mut self, ids: &[u32]) {
        for id in ids {
            if self.copies[*id as usize] == 0 {
                self.order.push(*id);
            }
            self.copies[*id as usize] += 1;
        }
    }

    fn phases(&self, now: u64) -> impl Iterator<Item = Fault> {
        let is_now = move |p: &&crate::script::Phase| p.from <= now && now < p.to;
        self.script.phases.iter().filter(is_now).map(|phase| phase.fault)
    }

    fn latency(&mut self, now: u64) -> u64 {
        let slow = self.phases(now).find_map(|fault| match fault {
            Fault::Slow(more) => Some(more),
            _ => None,
        });
        1 + self.rng.u64(..=self.script.latency) + slow.map_or(0, |more| self.rng.u64(..=more))
    }

    fn faulty(&mut self, endpoint: usize, ids: &[u32], now: u64) -> Option<End> {
        let after = self.latency(now);
        if now < self.down_until {
            return Some(self.fail(How::Refused, ids, after));
        }
        for fault in self.phases(now).collect::<Vec<_>>() {
            match fault {
                Fault::Down(how) => return Some(self.fail(how, ids, after)),
                Fault::Flaky(percent, how) if self.rng.u8(..100) < percent => {
                    return Some(self.fail(how, ids, after));
                }
                Fault::Endpoint(down) if down == endpoint => {
                    return Some(self.fail(How::Refused, ids, after));
                }
                Fault::Throttle(seconds) => {
                    let pace = match seconds {
                        Some(seconds) => Pace::Pause(self.asks_to_wait(seconds, now)),
                        None => [Pace::Ease, Pace::Pause(None)][self.rng.usize(..2)],
                    };
                    self.faults += 1;
                    let mut verdict = Verdict::new(Fate::Retry, "throttled").at(pace);
                    verdict.reason.status = 429;
                    return Some(End { after, result: Ok(verdict) });
                }
                Fault::Route(route) if self.is_of(ids, route) => {
                    return Some(self.fail_at_place(ids, after, now));
                }
                _ => {}
            }
        }
        None
    }

    fn is_of(&self, ids: &[u32], route: u32) -> bool {
        let place = self.script.places[route as usize];
        ids.first().is_some_and(|id| self.script.place_of(*id) == place)
    }

    /// How a place fails: by its own address where others may pass it, or by what it is told.
    fn fail_at_place(&mut self, ids: &[u32], after: u64, now: u64) -> End {
        let may_pass = self.script.routes > 1 && self.script.order != Order::Strict;
        let verdict = match self.script.seed % 4 {
            1 | 3 if may_pass => return self.fail(How::Refused, ids, after),
            2 if may_pass => {
                let seconds = self.rng.u64(..60);
                let pace = Pace::Pause(self.asks_to_wait(seconds, now));
                let mut verdict = Verdict::new(Fate::Retry, "throttled").at(pace);
                verdict.reason.status = 429;
                verdict
            }
            _ => Verdict::new(Fate::Hold { cause: Cause::Config, scope: Scope::Route }, "config"),
        };
        self.faults += 1;
        End { after, result: Ok(verdict) }
    }

    /// A `Retry-After` as it is read: in seconds, or as a date by a clock that leaps.
    fn asks_to_wait(&mut self, seconds: u64, now: u64) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        let text = match self.rng.bool() {
            true => seconds.to_string(),
            false => {
                let leap = [0, 0, 3_600, 400 * 86_400][self.rng.usize(..4)];
                let clock = UNIX_EPOCH + Duration::from_secs(1_790_000_000 + now / S - leap);
                let date = |at| httpdate::fmt_http_date(at);
                let value = date(clock).parse().expect("a date is a header's value");
                headers.insert(DATE, value);
                date(clock + Duration::from_secs(seconds))
            }
        };
        headers.insert(RETRY_AFTER, text.parse().expect("so is a number"));
        let found = retry_after(&headers);
        assert_eq!(found, Some(Duration::from_secs(seconds)), "{headers:?}");
        found
    }

    fn fail(&mut self, how: How, ids: &[u32], after: u64) -> End {
        self.faults += 1;
        let error = |kind, applied| {
            Err(TransportError { kind, applied, detail: "as the script says".into() })
        };
        let mut after = after;
        let result = match how {
            How::Unavailable => {
                let mut verdict = Verdict::new(Fate::Retry, "unavailable");
                verdict.reason.status = 503;
                Ok(verdict)
            }
            How::Broken => {
                let mut verdict = Verdict::new(Fate::Retry, "unavailable");
                verdict.reason.status = 500;
                Ok(verdict)
            }
            How::Refused => error(TransportErrorKind::Connect, Applied::No),
            How::ResetBefore => error(TransportErrorKind::Network, Applied::Maybe),
            How::ResetAfter => {
                self.apply(ids);
                error(TransportErrorKind::Network, Applied::Maybe)
            }
            How::TurnedAway => error(TransportErrorKind::Refused, Applied::No),
            How::Hang => {
                if self.rng.bool() {
                    self.apply(ids);
                }
                after = TIMEOUT;
                error(TransportErrorKind::Timeout, Applied::Maybe)
            }
            How::Auth => {
                let fate = Fate::Hold { cause: Cause::Auth, scope: Scope::Exporter };
                Ok(Verdict::new(fate, "auth"))
            }
            How::Certificate => error(TransportErrorKind::TlsRejected, Applied::No),
            How::Gibberish => Ok(Verdict::new(Fate::Items(Vec::new()), "ambiguous")),
        };
        End { after, result }
    }

    fn item(&mut self, id: u32, percent: u8) -> ItemFate {
        if self.script.poison.get(&id) == Some(&Poison::Rejected) {
            return ItemFate::Reject(Reason { class: "rejected", ..Reason::default() });
        }
        if self.rng.u8(..100) < percent {
            return ItemFate::Retry(Reason { class: "throttled", ..Reason::default() });
        }
        self.apply(&[id]);
        match self.copies[id as usize] {
            1 => ItemFate::Delivered,
            _ => ItemFate::Duplicate,
        }
    }
}

fn open<'a>(body: &'a [u8], encoding: Encoding, opened: &'a mut Vec<u8>) -> &'a [u8] {
    match encoding {
        Encoding::Identity => return body,
        Encoding::Gzip => flate2::read::GzDecoder::new(body).read_to_end(opened),
        Encoding::Deflate => flate2::read::ZlibDecoder::new(body).read_to_end(opened),
        Encoding::Zstd => zstd::Decoder::new(body).expect("a decoder").read_to_end(opened),
    }
    .expect("a whole body");
    opened
}

/// The events of a body: id and padding of each line; the padding is checked.
fn parse(raw: &[u8]) -> Vec<(u32, u32)> {
    let mut events = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).expect("a whole line");
        let text = std::str::from_utf8(&rest[..end]).expect("text");
        let (id, tail) = text.split_once(' ').expect("an id");
        let (pad, padding) = tail.split_once(' ').expect("padding");
        let (id, pad): (u32, u32) = (id.parse().expect("a number"), pad.parse().expect("another"));
        assert_eq!(padding.len(), pad as usize, "a document was cut or joined");
        events.push((id, pad));
        rest = &rest[end + 1..];
    }
    events
}

pub(crate) const TIMEOUT: u64 = 30 * S;
