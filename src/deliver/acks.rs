//! Batches that were accepted and not yet confirmed, by the channel that numbers them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::delivery::{AckSettings, BatchId};
use super::{AckId, Applied};

/// The channels of one lane.
///
/// A destination numbers requests per channel, from 0 for each of its processes: after a restart,
/// or behind a balancer that sends a channel to several servers, one id means two batches. A wrong
/// match would settle events that were never indexed, so a channel is left at the first sign of it:
/// after a request that failed, requests go to a new channel and the old one is only asked; after
/// an id that runs backwards, everything on the old channel counts as unconfirmed. What is under
/// way on a channel that was left is still answered with ids of that channel, and asked for there.
///
/// A restart shows in the answers to requests, and the answer to a question may overtake them. But
/// a process that began anew has numbered only requests that we have no answer for, and those that
/// were under way together with the one that is confirmed. Their count bounds its ids: a
/// higher one that is confirmed is of the process that we know, and counts at once. Any other waits
/// until requests are answered: then a second request of that number would have shown.
#[derive(Debug)]
pub(super) struct Channels {
    settings: AckSettings,
    channels: Vec<Channel>,
    lane: u8,
    opened: u32,
}

#[derive(Debug)]
struct Channel {
    endpoint: usize,
    group: u32,
    /// Whether requests still go to it.
    is_open: bool,
    /// Whether its ids ran backwards: none of them can be believed.
    is_mixed: bool,
    pending: BTreeMap<AckId, Pending>,
    highest: Option<AckId>,
    /// When it was last asked, or began to have something to ask for.
    asked: Instant,
    is_polling: bool,
    /// Questions in a row that were not answered.
    failures: u32,
    /// Requests so far.
    sent: u64,
    /// Those that are under way, by number.
    flying: BTreeSet<u64>,
    /// Those that ended and may have been given an id that we never saw.
    unseen: BTreeSet<u64>,
    held: Vec<Held>,
}

/// What one answer confirmed, as long as it may be about other requests.
#[derive(Debug)]
struct Held {
    /// The last request that it can know of.
    until: u64,
    ids: Vec<AckId>,
}

/// When questions may be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    /// No more often than this, however often they are to be.
    pub(super) interval: Duration,
    /// Not before.
    pub(super) from: Option<Instant>,
}

/// Batches that can no longer be confirmed.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) batches: Vec<BatchId>,
    /// Whether their channel shows it only now.
    pub(super) is_news: bool,
}

/// What became of accepted batches.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    pub(super) batches: Vec<BatchId>,
    /// What was confirmed in their name may have been another request, and the destination answers
    /// once: these can no longer be confirmed.
    pub(super) doubtful: Vec<BatchId>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    id: BatchId,
    /// Other requests that were under way while its own was.
    beside: u64,
    expires: Instant,
}

/// Where a request goes, as far as confirmations are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) endpoint: usize,
    pub(super) group: u32,
    /// The highest id that was known when the request was sent: its own must be higher.
    floor: Option<AckId>,
    /// Which request of its channel it is.
    number: u64,
    /// Requests that had ended when it was sent.
    ended: u64,
}

/// One question to a destination.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) endpoint: usize,
    pub(super) group: u32,
    pub(super) ids: Vec<AckId>,
}

impl Channels {
    pub(super) fn new(settings: AckSettings, lane: u8) -> Self {
        Self { settings, channels: Vec::new(), lane, opened: 0 }
    }

    /// The ticket for a request to this endpoint, to be given back by [`Self::ended`].
    pub(super) fn ticket(&mut self, endpoint: usize, now: Instant) -> Ticket {
        let is_it = |channel: &Channel| channel.is_open && channel.endpoint == endpoint;
        let at = self.channels.iter().position(is_it).unwrap_or_else(|| self.open(endpoint, now));
        let channel = &mut self.channels[at];
        let ended = channel.sent - channel.flying.len() as u64;
        channel.sent += 1;
        channel.flying.insert(channel.sent);
        let (group, floor, number) = (channel.group, channel.highest, channel.sent);
        Ticket { endpoint, group, floor, number, ended }
    }

    /// Opens a channel; says where it is.
    fn open(&mut self, endpoint: usize, now: Instant) -> usize {
        let group = u32::from(self.lane) << LANE_SHIFT | self.opened & ((1 << LANE_SHIFT) - 1);
        self.opened = self.opened.wrapping_add(1);
        self.channels.push(Channel {
            endpoint,
            group,
            is_open: true,
            is_mixed: false,
            pending: BTreeMap::new(),
            highest: None,
            asked: now,
            is_polling: false,
            failures: 0,
            sent: 0,
            flying: BTreeSet::new(),
            unseen: BTreeSet::new(),
            held: Vec::new(),
        });
        self.channels.len() - 1
    }

    /// Takes in that a request is over, after its answer was; `is_answered` says whether nobody
    /// needs to guess what became of it.
    pub(super) fn ended(&mut self, ticket: Ticket, is_answered: bool) -> Confirmed {
        let Some(channel) = self.channel(ticket.endpoint, ticket.group) else {
            return Confirmed::default();
        };
        channel.flying.remove(&ticket.number);
        if !is_answered {
            channel.unseen.insert(ticket.number);
        }
        let confirmed = channel.believe();
        self.sweep();
        confirmed
    }

    /// Notes an id to wait for; `Err` holds the batches that can no longer be confirmed.
    pub(super) fn wait(
        &mut self,
        ticket: Ticket,
        ack: AckId,
        id: BatchId,
        now: Instant,
    ) -> Result<(), Lost> {
        let timeout = self.settings.timeout;
        let Some(channel) = self.channel(ticket.endpoint, ticket.group) else {
            debug_assert!(false, "a channel stays while requests are under way on it");
            return Err(Lost { batches: vec![id], is_news: false });
        };
        let runs_backwards = ticket.floor.is_some_and(|floor| ack <= floor);
        if channel.is_mixed || runs_backwards || channel.pending.contains_key(&ack) {
            let mut batches = channel.lose();
            batches.push(id);
            let is_news = !std::mem::replace(&mut channel.is_mixed, true);
            return Err(Lost { batches, is_news });
        }
        if channel.pending.is_empty() && !channel.is_polling {
            channel.asked = now;
        }
        channel.highest = channel.highest.max(Some(ack));
        let beside = channel.sent - ticket.ended - 1;
        channel.pending.insert(ack, Pending { id, beside, expires: now + timeout });
        Ok(())
    }

    /// Sends later requests to this endpoint on a new channel, after one that failed: where this
    /// one has ids to mistake, or may have given one that nobody saw.
    pub(super) fn leave(&mut self, ticket: Ticket, applied: Applied) {
        let may_number = self.settings.is_used && applied == Applied::Maybe;
        if let Some(channel) = self.channel(ticket.endpoint, ticket.group) {
            channel.is_open &= channel.highest.is_none() && !may_number;
        }
    }

    /// The next question that is due.
    pub(super) fn poll(&mut self, asking: Asking, now: Instant) -> Option<Question> {
        let is_due = |channel: &Channel| channel.ask_at(asking).is_some_and(|at| at <= now);
        let channel = self.channels.iter_mut().find(|channel| is_due(channel))?;
        channel.is_polling = true;
        channel.asked = now;
        Some(Question {
            endpoint: channel.endpoint,
            group: channel.group,
            ids: channel.pending.keys().copied().collect(),
        })
    }

    /// How often questions are to be asked, where nothing speaks against it.
    pub(super) fn interval(&self) -> Duration {
        self.settings.poll_interval
    }

    /// Takes in which ids are confirmed; those that may be of other requests wait until these have
    /// [`ended`](Self::ended).
    pub(super) fn confirm(&mut self, endpoint: usize, group: u32, ids: Vec<AckId>) -> Confirmed {
        let Some(channel) = self.channel(endpoint, group) else { return Confirmed::default() };
        if !ids.is_empty() {
            channel.held.push(Held { until: channel.sent, ids });
        }
        let confirmed = channel.believe();
        self.sweep();
        confirmed
    }

    /// Notes that a question has ended; `is_answered` says whether it need not be asked less often.
    pub(super) fn asked(&mut self, endpoint: usize, group: u32, is_answered: bool) {
        if let Some(channel) = self.channel(endpoint, group) {
            channel.is_polling = false;
            channel.failures = if is_answered { 0 } else { channel.failures.saturating_add(1) };
        }
    }

    /// Gives up what waits on a channel that the destination does not know; returns its batches.
    pub(super) fn lose(&mut self, endpoint: usize, group: u32) -> Vec<BatchId> {
        let lost = self.channel(endpoint, group).map(Channel::lose).unwrap_or_default();
        self.sweep();
        lost
    }

    /// Takes out the batches that waited too long, but for those that were just asked for.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<BatchId>) {
        // As `next` has it, so that what waits is not looked through at every turn.
        let is_due = |channel: &&mut Channel| {
            let first = channel.pending.values().next();
            !channel.is_polling && first.is_some_and(|pending| pending.expires <= now)
        };
        for channel in self.channels.iter_mut().filter(is_due) {
            channel.pending.retain(|_, pending| {
                let waits = pending.expires > now;
                if !waits {
                    out.push(pending.id);
                }
                waits
            });
        }
        if !out.is_empty() {
            self.sweep();
        }
    }

    /// When there is something to do next.
    pub(super) fn next(&self, asking: Asking) -> Option<Instant> {
        let waiting = self.channels.iter().filter(|channel| !channel.is_polling);
        waiting
            .flat_map(|channel| {
                // Ids are taken in as they come, so the first to expire is nearly always the
                // lowest; being a little late with another does no harm.
                let expires = channel.pending.values().next().map(|pending| pending.expires);
                expires
                    .max(asking.from.filter(|_| expires.is_some()))
                    .into_iter()
                    .chain(channel.ask_at(asking))
            })
            .min()
    }

    fn channel(&mut self, endpoint: usize, group: u32) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|c| c.endpoint == endpoint && c.group == group)
    }

    /// Drops channels that nothing goes to and nothing waits on.
    fn sweep(&mut self) {
        self.channels.retain(|channel| {
            channel.is_open || !channel.pending.is_empty() || !channel.flying.is_empty()
        });
    }
}

impl Channel {
    /// When its next question is due.
    fn ask_at(&self, asking: Asking) -> Option<Instant> {
        if self.pending.is_empty() || self.is_polling {
            return None;
        }
        let rarer = asking.interval * (1 << self.failures.min(DOUBLINGS_MAX));
        let wait = rarer.min(RARELY).max(asking.interval);
        Some(asking.from.map_or(self.asked + wait, |from| from.max(self.asked + wait)))
    }

    /// Takes out what waits; nothing more goes to it.
    fn lose(&mut self) -> Vec<BatchId> {
        self.is_open = false;
        std::mem::take(&mut self.pending).into_values().map(|pending| pending.id).collect()
    }

    /// Takes out of what is held that which can now be decided.
    ///
    /// Each id by itself: those that wait may be of two processes, and what is confirmed of the
    /// later one says nothing of the earlier.
    fn believe(&mut self) -> Confirmed {
        let mut out = Confirmed::default();
        let (flying, unseen, pending) = (&self.flying, &self.unseen, &mut self.pending);
        self.held.retain_mut(|held| {
            let unseen = unseen.range(..=held.until).count() as u64;
            let open = flying.range(..=held.until).count() as u64;
            held.ids.retain(|ack| {
                let Some(&Pending { id, beside, .. }) = pending.get(ack) else { return false };
                let into = match (unseen, open) {
                    (0, 0) => &mut out.batches,
                    _ if ack.0 >= unseen + open + beside => &mut out.batches,
                    _ if ack.0 < unseen || open == 0 => &mut out.doubtful,
                    _ => return true,
                };
                into.push(id);
                pending.remove(ack);
                false
            });
            !held.ids.is_empty()
        });
        out
    }
}

/// Questions that fail are asked half as often each time, until they are this rare.
const RARELY: Duration = Duration::from_secs(30);
const DOUBLINGS_MAX: u32 = 16;

/// Groups of a lane before its numbers come round: a million channels.
const LANE_SHIFT: u32 = 20;
