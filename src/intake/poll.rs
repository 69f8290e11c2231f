//! Records that another program serves over HTTP, newest first and without a cursor: asked for
//! again and again (`inputs.md` 5.3).
//!
//! A stream of the same program, where there is one, only says that it is time to ask: its frames
//! get lost without a trace.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Uri;
use hyper::body::Incoming;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use super::client::{self, Target};
use super::door::DoorError;
use super::files::note;
use super::position::{Position, Positions, Print};
use super::shared::{Chunk, SharedDoor};
use super::stream::{Account, Stream};
use super::tail::Around;
use crate::event::{elements, entries, values};

/// What serves records.
#[derive(Debug)]
pub struct Service {
    /// The dialect of its records.
    pub format: &'static str,
    /// Path and query of the newest records; their number at most is written behind it.
    pub newest: &'static str,
    /// The member of the answer that lists them.
    pub list: &'static str,
    /// The member of a record that tells it from all others.
    pub id: &'static str,
    /// Path of the stream that says when something is new.
    pub stream: &'static str,
}

/// What one input that asks reads.
#[derive(Clone, Debug)]
pub struct PollOptions {
    /// Where the service is: scheme, host and port.
    pub url: Uri,
    /// What it serves.
    pub service: &'static Service,
    /// What it wants to be shown.
    pub token: Option<Bearer>,
    /// How its certificate is checked; none for plain HTTP.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// How often it is asked without being told to.
    pub interval: Duration,
    /// Whether what is there at the very first start is passed over.
    pub from_end: bool,
    /// Bytes of an answer at most.
    pub answer_bytes_max: usize,
}

/// A token as it is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(Zeroizing<String>);

impl Bearer {
    /// The token with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A service that is asked, and which of its records came.
pub struct Poll {
    options: PollOptions,
    name: String,
    target: Target,
    positions: Arc<Positions>,
    runtime: Runtime,
    /// The newest records that came, as hashes of their ids, the oldest first.
    known: VecDeque<u64>,
    is_known: HashSet<u64>,
    hint: Option<Incoming>,
    next_hint: Instant,
    due: Instant,
    /// When a hint may lead to a question again.
    rested: Instant,
    stream: Stream,
    gaps: u64,
    told: Option<String>,
}

/// What one page held.
struct Page {
    body: Vec<u8>,
    /// Whether it is all that there is.
    is_all: bool,
}

impl Poll {
    /// Prepares to ask; nothing is sent yet.
    ///
    /// # Errors
    /// When the address is none that can be asked.
    pub fn new(options: PollOptions, positions: Arc<Positions>) -> io::Result<Self> {
        let name = options.url.to_string();
        let target = Target::new(&options.url, options.tls.clone())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut poll = Self {
            target,
            positions,
            runtime,
            known: VecDeque::new(),
            is_known: HashSet::new(),
            hint: None,
            next_hint: Instant::now(),
            due: Instant::now(),
            rested: Instant::now(),
            stream: Stream::new(&name, 0).with_format(Some(options.service.format)),
            name,
            options,
            gaps: 0,
            told: None,
        };
        if let Some(position) = poll.positions.named(&poll.name) {
            position.recent.iter().for_each(|&id| poll.learn(id));
        }
        Ok(poll)
    }

    /// Asks if it is time to, else waits a moment for a hint.
    ///
    /// # Errors
    /// When what came cannot be taken, and waiting does not help. A service that does not answer is
    /// told once and asked again.
    pub fn step(&mut self, door: &SharedDoor, is_stopped: &AtomicBool) -> Result<(), DoorError> {
        if Instant::now() < self.due {
            if self.wait_for_hint() {
                self.due = self.rested;
            }
            return Ok(());
        }
        let wait = match self.ask() {
            Ok(page) => {
                if self.told.take().is_some() {
                    info!(input = self.name, "the service answers again");
                }
                self.take(&page, Around { door, is_stopped })?;
                self.options.interval
            }
            Err(error) => {
                let said = error.to_string();
                if self.told.as_ref() != Some(&said) {
                    warn!(input = self.name, %error, "cannot ask the service; trying again");
                    self.told = Some(said);
                }
                // A service that stops waits for those who listen.
                self.hint = None;
                self.options.interval.max(RETRY_INTERVAL)
            }
        };
        let now = Instant::now();
        (self.due, self.rested) = (now + wait, now + HINT_REST);
        Ok(())
    }

    /// What became of all records so far.
    #[must_use]
    pub fn account(&self) -> Account {
        Account { gaps: self.gaps, ..self.stream.account() }
    }

    /// Asks for more and more of the newest, until one is known, there are no more, or more do not
    /// fit into an answer. Where not even the first do, for fewer.
    fn ask(&self) -> io::Result<Page> {
        let mut limit = PAGE_RECORDS;
        let mut best: Option<Page> = None;
        loop {
            let body = match self.newest(limit) {
                Ok(body) => body,
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => match best {
                    Some(page) => return Ok(page),
                    None if limit > 1 => {
                        limit /= 2;
                        continue;
                    }
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            };
            let ids = self.ids(&body)?;
            let page = Page { body, is_all: ids.len() < limit };
            let meets_known = ids.iter().any(|id| self.is_known.contains(id));
            let is_enough = page.is_all || meets_known || self.passes_over();
            if is_enough || !(PAGE_RECORDS..RECORDS_MAX).contains(&limit) {
                return Ok(page);
            }
            best = Some(page);
            limit *= 2;
        }
    }

    /// The answer with so many of the newest records.
    fn newest(&self, limit: usize) -> io::Result<Vec<u8>> {
        let path = format!("{}{limit}", self.options.service.newest);
        let token = self.options.token.as_ref().map(Bearer::expose);
        let asked = client::get(&self.target, &path, token, self.options.answer_bytes_max);
        self.runtime.block_on(async {
            let waited = timeout(ANSWER_TIMEOUT, asked).await;
            waited.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))
        })
    }

    /// The hashes of the ids in an answer, the newest first. A record without one is told by all of
    /// it: it is refused, once, and keeps nobody from the others.
    fn ids(&self, body: &[u8]) -> io::Result<Vec<u64>> {
        let records = records(body, self.options.service)?;
        let id = |record: &&[u8]| hash(id_of(record, self.options.service.id).unwrap_or(record));
        Ok(records.iter().map(id).collect())
    }

    /// Takes what is new of a page, the oldest first.
    fn take(&mut self, page: &Page, around: Around<'_>) -> Result<(), DoorError> {
        let (Ok(records), Ok(ids)) =
            (records(&page.body, self.options.service), self.ids(&page.body))
        else {
            return Ok(());
        };
        // What lies behind the last known one came long ago, and was forgotten.
        let end = ids.iter().rposition(|id| self.is_known.contains(id)).unwrap_or(ids.len());
        // A page that holds all that there is may lack what was removed before it was asked for.
        let is_cut_off = end == ids.len() && !ids.is_empty() && !self.known.is_empty();
        if is_cut_off {
            self.gaps += 1;
            let told = match page.is_all {
                true => "none of the records that are left came before: some were removed unread",
                false => "more came than can be asked for at once",
            };
            warn!(input = self.name, records = ids.len(), "{told}");
        }
        let mut fresh: Vec<(u64, &[u8])> = ids.into_iter().zip(records).take(end).collect();
        fresh.retain(|(id, _)| !self.is_known.contains(id));
        fresh.reverse();
        if self.passes_over() {
            fresh.iter().for_each(|&(id, _)| self.learn(id));
            return note(&self.position(), around);
        }
        let mut rest = fresh.as_slice();
        while !rest.is_empty() {
            let mut text = Vec::new();
            let mut taken = 0;
            while taken < rest.len() && text.len() < CHUNK_BYTES {
                let blank = |&byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
                text.extend(rest[taken].1.iter().map(blank));
                text.push(b'\n');
                taken += 1;
            }
            rest[..taken].iter().for_each(|&(id, _)| self.learn(id));
            let position = self.position();
            let chunk = Chunk { bytes: &text, is_rest: false };
            let brought =
                around
                    .door
                    .bring(&mut self.stream, chunk, around.is_stopped, |_, _| Some(position))?;
            if brought.is_none() {
                return Ok(());
            }
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Whether this is the very first start, and what is there by then is not wanted.
    fn passes_over(&self) -> bool {
        self.options.from_end && self.known.is_empty() && self.positions.named(&self.name).is_none()
    }

    fn learn(&mut self, id: u64) {
        if self.is_known.insert(id) {
            self.known.push_back(id);
        }
        if self.known.len() > KNOWN_MAX
            && let Some(oldest) = self.known.pop_front()
        {
            self.is_known.remove(&oldest);
        }
    }

    fn position(&self) -> Position {
        let skipped = self.known.len().saturating_sub(SAVED_MAX);
        Position {
            source: self.name.clone(),
            recent: self.known.iter().skip(skipped).copied().collect(),
            ..Position::default()
        }
    }

    /// Waits a moment; whether something may be new: the service said so, or its stream of hints is
    /// another one than before.
    fn wait_for_hint(&mut self) -> bool {
        let left = self.due.saturating_duration_since(Instant::now()).min(STEP);
        if Instant::now() >= self.next_hint {
            self.next_hint = Instant::now() + HINT_INTERVAL;
            self.hint = self.listen();
            if self.hint.is_some() {
                return true;
            }
        }
        let Some(hint) = &mut self.hint else {
            self.runtime.block_on(async { tokio::time::sleep(left).await });
            return false;
        };
        match self.runtime.block_on(async { timeout(left, client::next(hint)).await }) {
            Err(_) => false,
            // A comment keeps the connection alive and says nothing.
            Ok(Some(Ok(piece))) => !piece.trim_ascii().is_empty() && !piece.starts_with(b":"),
            Ok(Some(Err(_)) | None) => {
                self.hint = None;
                self.next_hint = Instant::now() + HINT_INTERVAL;
                false
            }
        }
    }

    /// Opens the stream of hints; `None` where there is none to be had now.
    fn listen(&self) -> Option<Incoming> {
        let token = self.options.token.as_ref().map(Bearer::expose);
        let opened = client::open(&self.target, self.options.service.stream, token);
        match self.runtime.block_on(async { timeout(ANSWER_TIMEOUT, opened).await }) {
            Ok(Ok(body)) => return Some(body),
            Ok(Err(error)) => debug!(input = self.name, %error, "no stream of hints"),
            Err(_) => debug!(input = self.name, "no stream of hints: no answer"),
        }
        None
    }
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poll").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The records that an answer lists.
fn records<'a>(body: &'a [u8], service: &Service) -> io::Result<Vec<&'a [u8]>> {
    let whole = if str::from_utf8(body).is_ok() { values(body) } else { (Vec::new(), false) };
    let ([answer], true) = (whole.0.as_slice(), whole.1) else {
        return Err(invalid("an answer that is no JSON"));
    };
    let members = entries(&body[answer.clone()]);
    let list = members.iter().rev().find(|member| member.is(service.list.as_bytes()));
    // Whatever else stands there must not pass for a list without records.
    let list = list.filter(|list| list.value.starts_with(b"["));
    let list = list.ok_or_else(|| invalid("an answer without a list of records"))?;
    Ok(elements(list.value))
}

fn id_of<'a>(record: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let members = entries(record);
    members.iter().rev().find(|member| member.is(name.as_bytes())).map(|member| member.value)
}

fn hash(id: &[u8]) -> u64 {
    Print::of(id).hash
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// A piece of a stream.
pub(super) type Piece = Result<Bytes, hyper::Error>;

/// Records that are asked for at first.
const PAGE_RECORDS: usize = 100;
/// Records that are asked for at most: the service makes one answer of them.
const RECORDS_MAX: usize = 12_800;
/// Records that are remembered, to tell new ones among them.
const KNOWN_MAX: usize = 4 * RECORDS_MAX;
/// Of those the ones that a restart remembers.
const SAVED_MAX: usize = 64;
/// Bytes of records that are taken at once.
const CHUNK_BYTES: usize = 256 << 10;
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// After a question that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How long a stream of hints is kept before it is opened anew, and the wait after one that ended.
///
/// A service that stops takes no new connections and does not end before those that there are do
/// (hushd 0.1.0): it is kept from stopping no longer than this.
const HINT_INTERVAL: Duration = Duration::from_secs(5);
/// Between two questions that hints lead to: the service bounds those of an address, which the
/// programs that it judges may share, to a hundred a second.
const HINT_REST: Duration = Duration::from_millis(100);
/// How long a step waits, so that a request to stop is seen.
const STEP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_whose_list_is_none_is_no_empty_one() {
        let service = Service {
            format: "a",
            newest: "/?limit=",
            list: "events",
            id: "id",
            stream: "/stream",
        };
        let all = records(b"{\"events\": [{\"id\":1}, {}]}", &service).expect("a list");
        assert_eq!(all, [b"{\"id\":1}".as_slice(), b"{}"]);
        assert_eq!(records(b"{\"events\":[]}", &service).expect("an empty list").len(), 0);
        for wrong in
            ["{\"events\":{\"a\":[1]}}", "{\"events\":\"[1]\"}", "{\"events\":7}", "{}", "[]"]
        {
            assert!(records(wrong.as_bytes(), &service).is_err(), "{wrong}");
        }
    }
}
