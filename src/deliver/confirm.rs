//! Acts on confirmations: what was accepted settles once it is confirmed, or is sent again.

use std::time::{Duration, Instant};

use super::acks::Confirmed;
use super::act::{Ended, arrive};
use super::delivery::{BatchId, Outcomes};
use super::sender::{Sender, State};
use super::{AckId, Cause, Fate, Level, Pace, Verdict};

impl Sender {
    /// Takes in what the answer to a poll means.
    pub fn on_acks(
        &mut self,
        endpoint: usize,
        group: u32,
        verdict: Verdict,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let is_answered = !matches!(verdict.fate, Fate::Hold { .. } | Fate::Retry);
        self.channels.asked(endpoint, group, is_answered);
        if let Pace::Pause(Some(wait)) = verdict.pace {
            self.gate.pause(wait, now);
        }
        match verdict.fate {
            Fate::Confirmed(ids) => {
                let confirmed = self.channels.confirm(endpoint, group, ids);
                self.confirm(confirmed, now, outcomes);
            }
            // Confirmations are switched off: the batches were accepted, and nothing more will
            // come.
            Fate::Without(option) => {
                outcomes.without.push(option);
                let batches = self.channels.lose(endpoint, group);
                self.confirm(Confirmed { batches, ..Confirmed::default() }, now, outcomes);
            }
            // The channel is unknown: nobody can tell what became of the batches.
            Fate::Reject | Fate::Reshape(_) | Fate::Rechannel => {
                let lost = self.channels.lose(endpoint, group);
                self.resend(&lost, now, outcomes);
            }
            Fate::Hold { cause, .. } => self.gate.hold(cause, now),
            // A poll that failed says nothing about the batches: it is asked again.
            _ => self.gate.doubt(now),
        }
    }

    /// Settles accepted batches as delivered, and sends the doubtful again.
    pub(super) fn confirm(&mut self, confirmed: Confirmed, now: Instant, outcomes: &mut Outcomes) {
        for id in confirmed.batches {
            let Some(batch) = self.accepted.remove(id) else { continue };
            outcomes.tally.answered += batch.events() as u64;
            arrive(&batch, outcomes);
        }
        self.resend(&confirmed.doubtful, now, outcomes);
    }

    /// Takes in that a poll was not answered; it is asked again.
    pub fn on_acks_error(&mut self, endpoint: usize, group: u32, now: Instant) {
        self.gate.doubt(now);
        self.channels.asked(endpoint, group, false);
    }

    /// Keeps the spans of a batch until it is confirmed.
    pub(super) fn await_ack(
        &mut self,
        ended: Ended,
        ack: AckId,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let Ended { id, mut batch, flight } = ended;
        // What failed before it was accepted says nothing about a resend.
        let history = &mut batch.history;
        (history.failures, history.row, history.failed_since) = (0, 0, None);
        history.is_suspect = false;
        outcomes.tally.awaited += batch.events() as u64;
        self.accepted.insert(id, batch);
        if let Err(lost) = self.channels.wait(flight.ticket, ack, id, now) {
            self.resend(&lost.batches, now, outcomes);
            if lost.is_news {
                outcomes.tally.ack_resets += 1;
                self.note_reset(now, outcomes);
            }
        }
    }

    /// Holds the exporter when ids keep running backwards: its requests go to several servers that
    /// number them on their own (a balancer without sticky sessions), and no confirmation can be
    /// believed.
    fn note_reset(&mut self, now: Instant, outcomes: &mut Outcomes) {
        let (count, since) = self.resets;
        let is_recent =
            since.is_some_and(|since| now.saturating_duration_since(since) < RESETS_WITHIN);
        self.resets = match is_recent {
            true => (count + 1, since),
            false => (1, Some(now)),
        };
        if self.resets.0 >= RESETS_MAX {
            self.resets = (0, None);
            self.gate.hold(Cause::Config, now);
            outcomes.problem = Some(NOT_STICKY);
        }
    }

    /// Gives up waiting for confirmations that are overdue.
    pub(super) fn expire_acks(&mut self, now: Instant, outcomes: &mut Outcomes) {
        let mut expired = Vec::new();
        self.channels.expire(now, &mut expired);
        self.resend(&expired, now, outcomes);
    }

    /// Sends accepted batches again, rendered anew and marked.
    pub(super) fn resend(&mut self, ids: &[BatchId], now: Instant, outcomes: &mut Outcomes) {
        if !ids.is_empty() {
            self.gate.doubt(now);
        }
        for id in ids {
            let Some(mut batch) = self.accepted.remove(*id) else { continue };
            outcomes.tally.resent += batch.events() as u64;
            outcomes.tally.answered += batch.events() as u64;
            // What was made smaller would not be taken otherwise; that matters more than the mark.
            batch.history.level.get_or_insert(Level::Resend);
            self.again(*id, batch, State::Ready);
        }
    }
}

/// What is wrong where ids keep running backwards.
const NOT_STICKY: &str = "acknowledgement ids begin anew again and again: requests reach several \
                          servers that number them on their own; set the balancer in front of \
                          them to sticky sessions, or name the servers one by one";

/// So many channels of a lane may run backwards within this time; servers restart less often.
const RESETS_MAX: u32 = 8;
const RESETS_WITHIN: Duration = Duration::from_secs(60);
