//! The one place that acts on verdicts: settle, try again, cut in two, hold, give up.

use std::time::{Duration, Instant};

use super::acks::Ticket;
use super::batch::{Batch, Item, settle};
use super::delivery::{BatchId, DeadLetter, History, Outcomes, is_turned_away, judge_transport};
use super::gate::Success;
use super::sender::{Entry, Flight, Sender, State};
use super::{
    Applied, Cause, Fate, ItemFate, Level, Order, Pace, Reason, Resend, Scope, Sent,
    TransportError, TransportErrorKind, Verdict,
};
use crate::event::{Offset, Settle};

/// A request that has ended.
pub(super) struct Ended {
    pub(super) id: BatchId,
    pub(super) batch: Batch,
    pub(super) flight: Flight,
}

/// Why a batch, or what is left of it, did not get through.
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) pace: Pace,
    pub(super) kind: FailureKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The request as a whole; whether another endpoint may do better, and whether it failed in a
    /// way in which one event may make it fail.
    Request { is_node: bool, may_be_theirs: bool },
    /// Some of the events, each named by the answer.
    Items,
    /// Never looked at, by a server that is alive.
    TurnedAway,
}

impl Sender {
    /// Takes in what the answer to a batch means.
    pub fn on_verdict(
        &mut self,
        id: BatchId,
        verdict: Verdict,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let Some(ended) = self.end(id, outcomes) else { return };
        let ticket = ended.flight.ticket;
        self.on_answer(ended, verdict, now, outcomes);
        let confirmed = self.channels.ended(ticket, true);
        self.confirm(confirmed, now, outcomes);
    }

    fn on_answer(
        &mut self,
        mut ended: Ended,
        verdict: Verdict,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let Verdict { fate, pace, reason } = verdict;
        let is_node = matches!(reason.status, 502..=504);
        // It took the request and broke over it; whoever names a time is out of order.
        let may_be_theirs = reason.status == 500 && !matches!(pace, Pace::Pause(Some(_)));
        let kind = FailureKind::Request { is_node, may_be_theirs };
        let failure = |reason| Failure { reason, pace, kind };
        match fate {
            Fate::Delivered => {
                self.note(&ended, Success::Yes, pace, now, outcomes);
                arrive(&ended.batch, outcomes);
            }
            Fate::Pending(ack) => {
                self.note(&ended, Success::Yes, pace, now, outcomes);
                self.await_ack(ended, ack, now, outcomes);
            }
            Fate::Requested(request) => {
                self.note(&ended, Success::Yes, pace, now, outcomes);
                let Ended { id, batch, flight } = ended;
                let asked = (request, flight.ticket.endpoint);
                self.await_request((id, batch), asked, now, outcomes);
            }
            Fate::Items(fates) if fates.len() == ended.batch.events() => {
                self.on_items(ended, &fates, pace, now, outcomes);
            }
            Fate::Retry => self.fail(ended, failure(reason), now, outcomes),
            // Neither covers the batch: nobody can tell what the destination did with it.
            Fate::Items(_) | Fate::Confirmed(_) => {
                self.count_ambiguous(&mut ended.batch, outcomes);
                self.fail(ended, failure(reason), now, outcomes);
            }
            // Some of it may be stored, and nothing shows the destination at work.
            Fate::Split if reason.class == TIMEOUT && ended.batch.parts() > 1 => {
                self.halve_late(ended, failure(reason), now, outcomes);
            }
            Fate::Split | Fate::Bisect if ended.batch.parts() > 1 => {
                self.note(&ended, Success::No, pace, now, outcomes);
                ended.batch.history.is_cut = true;
                self.halve(ended.batch, State::Ready, outcomes);
            }
            Fate::Split => {
                self.note(&ended, Success::No, pace, now, outcomes);
                self.reshape_once(ended.batch, Level::Shrink, reason, outcomes);
            }
            Fate::Reshape(level) => {
                self.note(&ended, Success::No, pace, now, outcomes);
                self.reshape_once(ended.batch, level, reason, outcomes);
            }
            Fate::Orphan => {
                self.note(&ended, Success::No, pace, now, outcomes);
                self.render_anew(ended.batch, &reason, outcomes);
            }
            Fate::Bisect | Fate::Reject => {
                self.note(&ended, Success::No, pace, now, outcomes);
                bury(&ended.batch, &reason, Retryable::No, outcomes);
                self.gate.rejects(now);
                self.count_refused(ended.batch.events(), now, outcomes);
            }
            Fate::Hold { cause, scope } => {
                self.on_hold(ended, (cause, scope), failure(reason), now, outcomes);
            }
            Fate::Without(option) => self.without(ended, option, failure(reason), now, outcomes),
            Fate::Rechannel => self.rechannel(ended, failure(reason), now, outcomes),
        }
    }

    /// Sends again without an option, once; then something else is meant, and it is a matter of
    /// configuration.
    fn without(
        &mut self,
        mut ended: Ended,
        option: &'static str,
        failure: Failure,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        if ended.batch.history.is_without {
            return self.on_hold(ended, (Cause::Config, Scope::Exporter), failure, now, outcomes);
        }
        ended.batch.history.is_without = true;
        self.note(&ended, Success::No, failure.pace, now, outcomes);
        outcomes.without.push(option);
        self.again(ended.id, ended.batch, State::Ready);
    }

    /// Takes a new channel and sends again, once; then it is a matter of configuration.
    fn rechannel(
        &mut self,
        mut ended: Ended,
        failure: Failure,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let Ticket { endpoint, group, .. } = ended.flight.ticket;
        let lost = self.channels.lose(endpoint, group);
        self.resend(&lost, now, outcomes);
        if ended.batch.history.is_rechannelled {
            return self.on_hold(ended, (Cause::Config, Scope::Exporter), failure, now, outcomes);
        }
        ended.batch.history.is_rechannelled = true;
        self.note(&ended, Success::No, failure.pace, now, outcomes);
        self.again(ended.id, ended.batch, State::Ready);
    }

    /// Takes in that no answer came.
    pub fn on_transport_error(
        &mut self,
        id: BatchId,
        error: &TransportError,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let Some(mut ended) = self.end(id, outcomes) else { return };
        let ticket = ended.flight.ticket;
        self.channels.leave(ticket, error.applied);
        let confirmed = self.channels.ended(ticket, error.applied != Applied::Maybe);
        self.confirm(confirmed, now, outcomes);
        if error.applied == Applied::Maybe {
            self.count_ambiguous(&mut ended.batch, outcomes);
        }
        let Verdict { fate, pace, reason } = judge_transport(error);
        let kind = match is_turned_away(error) {
            true => FailureKind::TurnedAway,
            false => {
                let is_broken_off = error.kind == TransportErrorKind::Network;
                let may_be_theirs = is_broken_off && error.applied == Applied::Maybe;
                FailureKind::Request { is_node: true, may_be_theirs }
            }
        };
        let failure = Failure { reason, pace, kind };
        match fate {
            Fate::Hold { cause, scope } => {
                self.on_hold(ended, (cause, scope), failure, now, outcomes);
            }
            _ => self.fail(ended, failure, now, outcomes),
        }
    }

    /// Takes a batch back from its flight.
    pub(super) fn end(&mut self, id: BatchId, outcomes: &mut Outcomes) -> Option<Ended> {
        let at = self.position(id)?;
        let State::Flying(flight) = self.entries[at].state else {
            debug_assert!(false, "{id:?} was not sent");
            return None;
        };
        outcomes.wake |= self.gate.release();
        let Entry { id, batch, .. } = self.entries.remove(at);
        if flight.is_trial {
            self.gate.places().unclaim(batch.route(), flight.sent);
        }
        Some(Ended { id, batch, flight })
    }

    /// Notes an answer that shows the destination at work.
    fn note(
        &mut self,
        ended: &Ended,
        success: Success,
        pace: Pace,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let Flight { ticket, sent, is_probe, .. } = ended.flight;
        outcomes.wake |= self.gate.answered(ticket.endpoint, success, is_probe, sent);
        if success == Success::Yes {
            self.gate.accepts(sent);
        }
        self.gate.adapt(pace, success, sent, now);
        self.standstill(ended.batch.route()).end();
        // Even a refusal of these events shows that nothing else stops their place.
        outcomes.wake |= self.gate.places().answered(ended.batch.route(), success, sent);
        if success == Success::Yes {
            self.gate.forget_remedies(sent);
        }
    }

    /// Puts a batch back.
    pub(super) fn again(&mut self, id: BatchId, batch: Batch, state: State) {
        self.put(Entry { id, batch, state });
    }

    /// Holds the exporter when events were refused for what is in them and none was ever accepted:
    /// before all that comes is dead, somebody should look at what is asked of the destination.
    fn count_refused(&mut self, events: usize, now: Instant, outcomes: &mut Outcomes) {
        if self.gate.refuses_all(events) {
            self.gate.hold(Cause::Config, now);
            outcomes.problem = Some(ALL_REFUSED);
        }
    }

    /// Acts on an answer that gives each event its own fate.
    fn on_items(
        &mut self,
        ended: Ended,
        fates: &[ItemFate],
        pace: Pace,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let items = || ended.batch.items().iter().zip(fates);
        let delivered = items().filter(|(_, fate)| is_delivered(fate)).map(|(item, _)| item);
        let delivered_before = outcomes.settled.len();
        deliver(ended.batch.sent, delivered, outcomes);
        let has_delivered =
            outcomes.settled.len() > delivered_before || fates.iter().any(is_delivered);
        let mut retry = None;
        let mut hold = None;
        for (item, fate) in items() {
            match fate {
                ItemFate::Delivered => {}
                ItemFate::Duplicate => outcomes.tally.duplicates += 1,
                ItemFate::Degraded => outcomes.tally.degraded += 1,
                ItemFate::Retry(reason) => retry = retry.or(Some(reason)),
                ItemFate::Hold(cause, reason) => hold = hold.or(Some((*cause, reason))),
                ItemFate::Reject(reason) => {
                    let letter = letter(*item, &ended.batch, reason, Retryable::No);
                    outcomes.dead.push(letter);
                }
            }
        }
        let has_rejected = fates.iter().any(|fate| matches!(fate, ItemFate::Reject(_)));
        if has_rejected {
            self.gate.rejects(now);
        }
        let has_answered = has_delivered || has_rejected;
        let left = |at: usize| matches!(fates[at], ItemFate::Retry(_) | ItemFate::Hold(..));
        let left_events = (0..fates.len()).filter(|&at| left(at)).count();
        if has_answered {
            let success = if has_delivered { Success::Yes } else { Success::No };
            self.note(&ended, success, pace, now, outcomes);
        }
        if left_events == 0 {
            if !has_delivered {
                self.count_refused(fates.len(), now, outcomes);
            }
            return;
        }
        let Ended { id, mut batch, flight } = ended;
        if left_events < fates.len() {
            batch = batch.select(left);
        }
        let ended = Ended { id, batch, flight };
        let kind = match has_answered {
            true => FailureKind::Items,
            false => FailureKind::Request { is_node: false, may_be_theirs: false },
        };
        if let Some((cause, reason)) = hold {
            let failure = Failure { reason: reason.clone(), pace, kind };
            return self.on_hold(ended, (cause, Scope::Route), failure, now, outcomes);
        }
        let reason = retry.cloned().unwrap_or_default();
        // The destination stopped at an event before these and never looked at them: nothing
        // failed, and each such answer settles at least one event, so this comes to an end.
        if reason.class == UNREAD && has_answered {
            return self.again(ended.id, ended.batch, State::Ready);
        }
        self.fail(ended, Failure { reason, pace, kind }, now, outcomes);
    }

    /// Tries a batch again later, unless that was tried often enough.
    fn fail(&mut self, ended: Ended, failure: Failure, now: Instant, outcomes: &mut Outcomes) {
        let another_node = match failure.kind {
            FailureKind::Request { is_node, .. } if failure.reason.class != THROTTLED => {
                self.note_outage(&ended, is_node, now)
            }
            _ => false,
        };
        self.fail_where(ended, failure, another_node, now, outcomes);
    }

    /// Notes that a request failed, which may be an outage; returns whether another endpoint is
    /// alive.
    ///
    /// A place with an address of its own may be away alone, and is held then: where order matters
    /// from the first failure on, so that others pass it. It says nothing of the exporter while
    /// another place is at work.
    fn note_outage(&mut self, ended: &Ended, is_node: bool, now: Instant) -> bool {
        if self.waits_by_place() {
            let route = ended.batch.route();
            let failures = self.gate.places().fail(route, now);
            let most = self.gate.failures_max();
            // A breaker that is off stops nothing, and one place must not stop the others.
            let is_passed = self.settings.order != Order::Any || failures >= PASSED_AFTER;
            if most != 0 && failures >= most {
                // Not all at once: what is tried at one place may break a host of several.
                let wait = self.gate.breaker_open().mul_f64(1.0 + self.rng.f64() / 2.0);
                self.hold_route_for(route, Cause::Outage, wait, now);
            } else if is_passed {
                // For as long as any retry waits.
                self.hold_route_for(route, Cause::Outage, Duration::ZERO, now);
            }
            // Nor does one that is known to be away say more of it with each trial: several of them
            // would keep the breaker open for all.
            let is_known = most != 0 && failures > most;
            if is_known || self.gate.places().is_another_well(route) {
                return false;
            }
        }
        self.gate.fail(ended.flight.ticket.endpoint, is_node, now)
    }

    /// The same once the gate knows of it.
    pub(super) fn fail_where(
        &mut self,
        ended: Ended,
        failure: Failure,
        another_node: bool,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        let Ended { id, mut batch, flight } = ended;
        let Failure { reason, pace, kind } = failure;
        let is_throttled = reason.class == THROTTLED;
        batch.history.failed_since.get_or_insert(now);
        batch.history.last = Some(reason.clone());
        batch.history.row = batch.history.row.saturating_add(1);
        let wait = self.backoff.wait(batch.history.row, &mut self.rng);

        if flight.is_probe {
            self.gate.hold_on(now);
        }
        let floor = match pace {
            Pace::Pause(Some(floor)) => self.gate.capped(floor),
            Pace::Pause(None) | Pace::Keep | Pace::Ease => Duration::ZERO,
        };
        if is_throttled && matches!(kind, FailureKind::Request { .. }) {
            // "Retry, next node" (`elastic.md`): all rest for as long, and this one longer.
            self.gate.spare(flight.ticket.endpoint, wait.max(floor) + SPARED, now);
        }
        let asks = is_throttled || matches!(pace, Pace::Pause(Some(_)));
        match pace {
            // It asks for itself alone.
            Pace::Pause(_) if asks && self.waits_by_place() => {
                self.hold_route_for(batch.route(), Cause::Outage, wait.max(floor), now);
            }
            Pace::Pause(Some(_)) if is_throttled || reason.status == BUSY => {
                self.gate.adapt(pace, Success::No, flight.sent, now);
            }
            // It is broken and says for how long: that is waited for, and asks for nothing less.
            Pace::Pause(Some(_)) => self.gate.pause(floor, now),
            Pace::Pause(None) if is_throttled => {
                self.gate.adapt(Pace::Pause(Some(wait)), Success::No, flight.sent, now);
            }
            // Where nobody asked for less, others go before this batch does: what they meet tells a
            // bad batch from a bad destination, and one bad batch does not stop them.
            Pace::Pause(None) => self.gate.rest((wait / 2).min(self.backoff.ceiling(1)), now),
            Pace::Keep | Pace::Ease => self.gate.adapt(pace, Success::No, flight.sent, now),
        }

        // Attempts count only while the destination accepts otherwise: a retry failed, and it was
        // sent when the destination was at work again after the failure before. The first failure
        // is never enough to tell a bad batch from a bad destination, so even with no retries
        // allowed there is one.
        let is_fault = !is_throttled && !another_node && kind != FailureKind::TurnedAway;
        let was_suspect = batch.history.is_suspect;
        batch.history.is_suspect |= is_fault;
        if is_fault && was_suspect && flight.was_well {
            batch.history.failures += 1;
        } else {
            outcomes.tally.outage += 1;
        }
        match kind {
            FailureKind::Request { may_be_theirs: true, .. } if !another_node => {
                if self.standstill(batch.route()).on_failure(now) {
                    batch.history.failures = self.settings.retry.retries_max.max(1);
                    if batch.parts() == 1 {
                        self.standstill(batch.route()).give_up();
                    }
                }
            }
            _ => self.standstill(batch.route()).on_outage(),
        }
        let batch = match self.judge(batch, &reason, kind, now, outcomes) {
            Some(batch) => batch,
            None => return,
        };
        // What was to tell of its place has told nothing.
        self.gate.places().hold_on(batch.route(), now + wait.max(floor), now);
        let row = batch.history.row;
        let is_free = kind == FailureKind::TurnedAway && row <= FREE_RETRIES_MAX;
        let fails_over = another_node && row <= FREE_RETRIES_MAX;
        let state = match is_free || fails_over {
            true => State::Ready,
            false => {
                State::Waiting { due: now + wait.max(floor), recoveries: self.gate.recoveries() }
            }
        };
        self.again(id, batch, state);
    }

    /// Gives a failed batch back if it may be tried again; else it was cut in two or buried.
    pub(super) fn judge(
        &mut self,
        batch: Batch,
        reason: &Reason,
        kind: FailureKind,
        now: Instant,
        outcomes: &mut Outcomes,
    ) -> Option<Batch> {
        let &History { failures, ambiguous, failed_since, .. } = &batch.history;
        let failures_max = self.settings.retry.retries_max.max(1);
        let bisect_after = BISECT_AFTER.min(failures_max);
        let is_old = self.settings.retry.age_max.is_some_and(|age_max| {
            failed_since.is_some_and(|since| now.saturating_duration_since(since) >= age_max)
        });
        let is_unclear = self.settings.ambiguous_max.is_some_and(|most| ambiguous > most);
        let may_hide_one = batch.parts() > 1 && kind != FailureKind::Items;
        if is_old {
            bury(&batch, &expired(&batch.history), Retryable::Yes, outcomes);
            None
        } else if is_unclear || (failures >= failures_max && !may_hide_one) {
            bury(&batch, reason, Retryable::Yes, outcomes);
            None
        } else if failures >= bisect_after && may_hide_one {
            let mut batch = batch;
            // One more failure of a half, while the rest is accepted, cuts it again.
            batch.history.failures = bisect_after - 1;
            self.halve(batch, State::Ready, outcomes);
            None
        } else {
            Some(batch)
        }
    }

    /// Cuts a batch in two that was not answered in time; the halves wait as after any failure.
    fn halve_late(
        &mut self,
        ended: Ended,
        failure: Failure,
        now: Instant,
        outcomes: &mut Outcomes,
    ) {
        self.note_outage(&ended, false, now);
        let Ended { mut batch, flight, .. } = ended;
        self.count_ambiguous(&mut batch, outcomes);
        if flight.is_probe {
            self.gate.hold_on(now);
        }
        batch.history.failed_since.get_or_insert(now);
        batch.history.last = Some(failure.reason.clone());
        batch.history.row = batch.history.row.saturating_add(1);
        batch.history.is_cut = true;
        outcomes.tally.outage += 1;
        let due = now + self.backoff.wait(batch.history.row, &mut self.rng);
        let recoveries = self.gate.recoveries();
        self.gate.adapt(failure.pace, Success::No, flight.sent, now);
        self.halve(batch, State::Waiting { due, recoveries }, outcomes);
    }

    /// Cuts a batch in two and sends the halves.
    fn halve(&mut self, batch: Batch, state: State, outcomes: &mut Outcomes) {
        outcomes.tally.halved += 1;
        let middle = batch.events() / 2;
        let first = batch.select(|at| at < middle);
        let second = batch.select(|at| at >= middle);
        self.insert(first, state);
        self.insert(second, state);
    }

    /// Has a batch rendered at a level; one that was already is dead.
    fn reshape_once(&mut self, mut batch: Batch, level: Level, reason: Reason, out: &mut Outcomes) {
        batch.history.reshapes += 1;
        batch.history.is_cut = true;
        let is_tried = batch.history.level == Some(level);
        match is_tried || batch.history.reshapes > RESHAPES_MAX {
            true => bury(&batch, &reason, Retryable::No, out),
            false => {
                batch.history.shrink = (level == Level::Shrink).then_some(reason);
                self.ask_again(batch, Some(level), out);
            }
        }
    }

    /// Has a batch rendered as it was, where what it said beside its events is not so any more.
    fn render_anew(&mut self, mut batch: Batch, reason: &Reason, out: &mut Outcomes) {
        batch.history.reshapes += 1;
        batch.history.is_cut = true;
        if batch.history.reshapes > RESHAPES_MAX {
            return bury(&batch, reason, Retryable::Yes, out);
        }
        let level = batch.history.level;
        self.ask_again(batch, level, out);
    }

    /// Buries what was held for longer than it may be.
    pub(super) fn expire_ages(&mut self, now: Instant, outcomes: &mut Outcomes) {
        let Some(age_max) = self.settings.retry.age_max else { return };
        self.entries.retain(|entry| {
            let since = entry.batch.history.failed_since;
            let is_old = since.is_some_and(|at| now.saturating_duration_since(at) >= age_max);
            let is_flying = matches!(entry.state, State::Flying(_));
            if is_old && !is_flying {
                bury(&entry.batch, &expired(&entry.batch.history), Retryable::Yes, outcomes);
                return false;
            }
            true
        });
    }

    /// Gives up the events that lie below an offset and are not with the destination: retention
    /// needs their place.
    pub fn give_up_below(&mut self, floor: Offset, outcomes: &mut Outcomes) {
        // Asked at every turn, and seldom anything new.
        if self.lowest >= floor {
            return;
        }
        self.lowest = floor;
        let is_below = |item: &Item| item.span.to <= floor;
        let lowest = &mut self.lowest;
        self.entries.retain_mut(|Entry { state, batch, .. }| {
            let below = batch.items().iter().filter(|item| is_below(item));
            let count = below.clone().count();
            if count == 0 {
                return true;
            }
            if matches!(state, State::Flying(_)) {
                *lowest = Offset::ZERO;
                return true;
            }
            settle(below, Settle::Skipped, &mut outcomes.settled);
            if count == batch.events() {
                return false;
            }
            batch.retain(|item| !is_below(item));
            true
        });
    }

    pub(super) fn count_ambiguous(&self, batch: &mut Batch, outcomes: &mut Outcomes) {
        batch.history.ambiguous += 1;
        if self.settings.resend == Resend::Ambiguous {
            outcomes.tally.ambiguous += batch.events() as u64;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Retryable {
    Yes,
    No,
}

/// Notes that a whole batch was delivered.
pub(super) fn arrive(batch: &Batch, outcomes: &mut Outcomes) {
    let (events, tally) = (batch.events() as u64, &mut outcomes.tally);
    match batch.folded().map(|fold| fold.fate) {
        None => return deliver(batch.sent, batch.items(), outcomes),
        Some(Settle::Filtered) => tally.stale += events,
        Some(_) => tally.digested += events,
    }
    tally.digests += 1;
    let fate = batch.folded().map_or(Settle::Delivered, |fold| fold.fate);
    outcomes.settle(batch.sent, batch.items(), fate);
}

/// Notes what a batch delivered, and since when its first event waited for that.
fn deliver<'a>(
    sent: Option<Sent>,
    items: impl IntoIterator<Item = &'a Item>,
    outcomes: &mut Outcomes,
) {
    let mut items = items.into_iter().peekable();
    outcomes.received.extend(items.peek().map(|first| first.received_ns));
    outcomes.settle(sent, items, Settle::Delivered);
}

fn is_delivered(fate: &ItemFate) -> bool {
    matches!(fate, ItemFate::Delivered | ItemFate::Duplicate | ItemFate::Degraded)
}

/// Hands all events of a batch to the dead-letter store.
pub(super) fn bury(batch: &Batch, reason: &Reason, retryable: Retryable, outcomes: &mut Outcomes) {
    let letters = batch.items().iter().map(|item| letter(*item, batch, reason, retryable));
    outcomes.dead.extend(letters);
}

fn letter(item: Item, batch: &Batch, reason: &Reason, retryable: Retryable) -> DeadLetter {
    DeadLetter {
        item,
        reason: reason.clone(),
        attempts: batch.history.attempts,
        retryable: retryable == Retryable::Yes,
        failed_since: batch.history.failed_since,
        sent: batch.sent,
    }
}

/// Why events are given up that were held for longer than they may be: what the last request with
/// them met.
fn expired(history: &History) -> Reason {
    let last = history.last.clone().unwrap_or_default();
    let detail = format!("held longer than `retry.max_age`; {}: {}", last.class, last.detail);
    Reason { class: "expired", detail, ..last }
}

/// The class of answers that ask for less; no event is at fault for them.
const THROTTLED: &str = "throttled";

/// The class of requests that took too long.
const TIMEOUT: &str = "timeout";

/// How much longer than the exporter rests a busy endpoint is left out, at least.
const SPARED: Duration = Duration::from_secs(1);

/// The status of a server that is busy, or away, for the time that it names; "halve the rate on
/// 429/503-busy" (`pipeline.md`, Rate limiting).
const BUSY: u16 = 503;

/// The class of events that were not looked at.
const UNREAD: &str = "unread";

/// Failures in a row after which others pass a place of its own, though no breaker opens.
const PASSED_AFTER: u32 = 5;
/// Failed retries, while the destination otherwise accepts, after which a batch is cut in two
/// (`design.md` 4).
const BISECT_AFTER: u32 = 2;

/// What is wrong where nothing but refusals came.
const ALL_REFUSED: &str = "each event so far was refused, the last ones are dead letters: address, \
                           endpoint, format or a proxy are likely wrong; one request a minute \
                           finds out";

/// Renderings that a destination may ask for, each at a level of its own, before events are given
/// up.
const RESHAPES_MAX: u32 = 3;

/// Retries in a row that wait for nothing: after a refused stream, or at another endpoint.
const FREE_RETRIES_MAX: u32 = 3;
