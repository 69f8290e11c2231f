//! Requests: what the sender asks for goes out, what comes back is judged.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::timeout_at;
use tracing::{debug, info, warn};

use super::super::exporter::Exporter;
use super::super::stop::Stage;
use super::Lane;
use crate::deliver::{
    AckId, Action, Answer, Applied, BatchId, Cause, Channel, CompiledCall, Documents, Fate,
    ItemFate, OptionValue, Options, Parcel, Prepared, Purpose, Reason, Remedy, Response, Scope,
    Sent, Setup, Transport, TransportError, Verdict, Via, judge, judge_transport,
};
use crate::event::{Settle, Span, Time};
use crate::log::Reader;

/// The calls of a lane beside those that carry batches.
pub(super) struct Calls {
    poll: Option<CompiledCall>,
    probe: Option<CompiledCall>,
    verify: Option<CompiledCall>,
    channel: Channel,
    /// The exporter's options; those that the destination does not do are switched off.
    pub(super) options: Options,
    /// When the sender wants to be asked again.
    pub(super) due: Option<Instant>,
}

/// Something that a lane waited for.
pub(super) enum Ended {
    /// A batch was answered, or not.
    Sent { id: BatchId, answer: Result<Answer, TransportError>, took: Duration },
    /// A question for confirmations was.
    Polled { endpoint: usize, group: u32, ids: Vec<AckId>, answer: Result<Answer, TransportError> },
    /// A probe was.
    Probed { endpoint: usize, answer: Result<Answer, TransportError> },
    /// A question for what became of a request was.
    Verified { id: BatchId, answer: Result<Answer, TransportError> },
    /// A request about an incident of a route was answered, or not.
    Asked { route: usize, answer: Result<Answer, TransportError> },
    /// Preparing the destination again is through.
    Prepared,
    /// Cold bytes are in memory now, or cannot be had.
    Warmed,
}

impl Calls {
    pub(super) fn new(exporter: &Exporter, lane: usize) -> Self {
        let configured = exporter.settings.options.text("ack_channel");
        let configured = configured.and_then(|text| Channel::parse(&text));
        // Lanes take their connection groups from their number, so one base is enough for all.
        let channel = configured.unwrap_or_else(|| Channel::from_random(exporter.seed(lane)));
        Self {
            poll: exporter.call(Purpose::Poll),
            probe: exporter.call(Purpose::Probe),
            verify: exporter.call(Purpose::Verify),
            channel,
            options: exporter.settings.options.clone(),
            due: None,
        }
    }

    /// Whether it asks what became of requests.
    pub(super) fn verifies(&self) -> bool {
        self.verify.is_some()
    }

    pub(super) fn via(&self, endpoint: usize, group: u32) -> Via {
        Via { endpoint, group, channel: self.channel.for_group(group) }
    }
}

impl Lane {
    /// Does what the sender asks for until it has nothing more to ask.
    pub(super) fn exchange(&mut self, now: Instant) {
        loop {
            let action = self.sender.poll(now, &mut self.outcomes);
            self.act(now);
            match action {
                Action::Send { id, endpoint, group, attempt, .. } => {
                    self.send(id, self.calls.via(endpoint, group), attempt);
                }
                Action::PollAcks { endpoint, group, ids } => self.ask(endpoint, group, ids),
                Action::Verify { id, request, endpoint } => self.verify(id, &request, endpoint),
                Action::Probe { endpoint } => self.probe(endpoint),
                Action::Wait(at) => {
                    self.calls.due = Some(at);
                    return;
                }
                Action::Idle => {
                    self.calls.due = None;
                    return;
                }
            }
        }
    }

    fn send(&mut self, id: BatchId, via: Via, attempt: u32) {
        let Some((batch, body)) =
            self.sender.batch(id).and_then(|batch| Some((batch, batch.body()?)))
        else {
            debug_assert!(false, "the sender names a batch that has a body");
            return;
        };
        let counters = &self.exporter.counters;
        counters.requests.add(1);
        counters.sent_bytes.add(body.len() as u64);
        let route = &self.exporter.routes[batch.route() as usize];
        let measures = &self.exporter.measures;
        measures.batch_events.observe(batch.events() as f64);
        measures.batch_bytes.observe(body.len() as f64);
        let (heads, ids) = (batch.heads(), batch.ids());
        let digest = route.send.asks_digest().then(|| batch.digest()).flatten();
        let parcel = Parcel { heads, ids, digest, attempt, sent: seconds() };
        let request = route.send.carrying_with(via, body, &parcel);
        let network = Rc::clone(&self.network);
        let began = Instant::now();
        self.tasks.spawn_local(async move {
            let answer = network.send(request).await;
            Ended::Sent { id, answer, took: began.elapsed() }
        });
    }

    fn ask(&mut self, endpoint: usize, group: u32, ids: Vec<AckId>) {
        let Some(call) = &self.calls.poll else {
            self.sender.on_acks_error(endpoint, group, Instant::now());
            return;
        };
        let request = call.asking(self.calls.via(endpoint, group), &ids);
        let network = Rc::clone(&self.network);
        self.tasks.spawn_local(async move {
            Ended::Polled { endpoint, group, ids, answer: network.send(request).await }
        });
    }

    fn verify(&mut self, id: BatchId, request: &str, endpoint: usize) {
        let (Some(call), Some(network)) = (&self.calls.verify, self.network_beside.clone()) else {
            self.sender.on_verified(id, None, Instant::now(), &mut self.outcomes);
            return;
        };
        let request = call.about(self.calls.via(endpoint, 0), request);
        self.tasks.spawn_local(async move {
            Ended::Verified { id, answer: network.send(request).await }
        });
    }

    fn probe(&mut self, endpoint: usize) {
        let now = Instant::now();
        let Some(call) = &self.calls.probe else {
            self.sender.on_probe(endpoint, None, now, &mut self.outcomes);
            return;
        };
        let request = call.plain_at(self.calls.via(endpoint, 0), seconds());
        let network = Rc::clone(&self.network);
        self.tasks.spawn_local(async move {
            Ended::Probed { endpoint, answer: network.send(request).await }
        });
    }

    /// Takes in what ended.
    pub(super) fn on_ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let now = Instant::now();
        match ended {
            Ok(Ended::Sent { id, answer, took }) => {
                self.exporter.measures.request_seconds.observe(took.as_secs_f64());
                self.exporter.measures.note_status(answer.as_ref().map_or(0, |it| it.status));
                self.on_sent(id, answer, now);
            }
            Ok(Ended::Polled { endpoint, group, ids, answer }) => {
                self.on_polled(endpoint, group, &ids, answer, now);
            }
            Ok(Ended::Probed { endpoint, answer }) => self.on_probed(endpoint, answer, now),
            Ok(Ended::Verified { id, answer }) => self.on_verified(id, answer, now),
            Ok(Ended::Asked { route, answer }) => self.on_asked(route, answer, now),
            Ok(Ended::Warmed) => self.warming = false,
            Ok(Ended::Prepared) => self.sender.on_prepared(now, &mut self.outcomes),
            // Tasks are not aborted and do not panic; if one did, its request's slot is lost until
            // the lane ends, which is better than to count its events twice.
            Err(problem) => {
                warn!(exporter = self.exporter.name(), %problem, "a request's task ended")
            }
        }
        self.act(now);
    }

    /// Lets go of what is under way. What comes of it nobody sees, and its events are sent again:
    /// it is counted, as far as it may have arrived.
    pub(super) async fn leave(&mut self) {
        let until = Instant::now() + LEAVE_WAIT;
        let tells = self.network.abandon();
        while tells && self.sender.flying().next().is_some() {
            let ended = timeout_at(until.into(), self.tasks.join_next()).await;
            match ended {
                Ok(Some(Ok(Ended::Sent { id, answer: Err(error), .. }))) => {
                    self.sender.leave(id, error.applied, &mut self.outcomes);
                }
                Ok(Some(ended)) => self.on_ended(ended),
                Ok(None) | Err(_) => break,
            }
        }
        let flying: Vec<BatchId> = self.sender.flying().collect();
        for id in flying {
            self.sender.leave(id, Applied::Maybe, &mut self.outcomes);
        }
        self.sender.leave_unconfirmed(&mut self.outcomes);
        self.exporter.count(&self.outcomes.tally);
        self.outcomes.clear();
    }

    fn on_sent(&mut self, id: BatchId, answer: Result<Answer, TransportError>, now: Instant) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.note_silence(&error, now);
                self.exporter.trouble.begin(now);
                self.sender.on_transport_error(id, &error, now, &mut self.outcomes);
                return;
            }
        };
        let Some(batch) = self.sender.batch(id) else { return };
        let route = &self.exporter.routes[batch.route() as usize];
        let (events, body_bytes) = (batch.events(), batch.raw_bytes());
        // A route may have secrets of its own, which its answers must not show.
        let options = route.options(&self.calls.options);
        let sent = Response::without_events(&answer, &options);
        let response = Response { events, body_bytes, documents: Documents::of(batch), ..sent };
        let verdict = judge(route.send.call, &response);
        debug!(
            exporter = self.exporter.name(),
            events,
            body_bytes,
            status = answer.status,
            class = verdict.reason.class,
            "batch answered"
        );
        let called = self.called(&verdict.fate, &response);
        // A digest is of no conversation, and how long its events waited says nothing of requests.
        let first = batch.items().first().filter(|_| batch.folded().is_none()).copied();
        self.note_failure(&verdict, now);
        if matches!(
            verdict.fate,
            Fate::Delivered | Fate::Pending(_) | Fate::Requested(_) | Fate::Items(_)
        ) && let Some(oldest) = first
        {
            let waited = since(oldest.received_ns).as_secs_f64();
            self.exporter.measures.accept_seconds.observe(waited);
        }
        if !has_settled(&verdict.fate) {
            self.exporter.trouble.begin(now);
        }
        let wants_digest = self.exporter.has_receipts;
        let body = batch.body().zip(wants_digest.then(|| batch.digest()).flatten());
        let sent = body.map(|(body, digest)| Sent {
            attempts: batch.history().attempts,
            status: answer.status,
            bytes: body.len() as u64,
            digest,
        });
        let first = first.map(|item| item.span.from);
        self.on_said(first, &verdict.fate, called.as_deref(), now);
        sent.into_iter().for_each(|sent| self.sender.note_sent(id, sent));
        self.sender.on_verdict(id, verdict, now, &mut self.outcomes);
    }

    fn on_polled(
        &mut self,
        endpoint: usize,
        group: u32,
        ids: &[AckId],
        answer: Result<Answer, TransportError>,
        now: Instant,
    ) {
        let Some(call) = &self.calls.poll else { return };
        match answer {
            Ok(answer) => {
                let options = &self.calls.options;
                let response = Response { acks: ids, ..Response::without_events(&answer, options) };
                let verdict = judge(call.call, &response);
                self.note_failure(&verdict, now);
                if !matches!(verdict.fate, Fate::Confirmed(_)) {
                    self.exporter.trouble.begin(now);
                }
                self.sender.on_acks(endpoint, group, verdict, now, &mut self.outcomes);
            }
            Err(error) => {
                self.note_silence(&error, now);
                self.exporter.trouble.begin(now);
                self.sender.on_acks_error(endpoint, group, now);
            }
        }
    }

    fn on_probed(&mut self, endpoint: usize, answer: Result<Answer, TransportError>, now: Instant) {
        let Some(call) = &self.calls.probe else { return };
        let verdict = match answer {
            Ok(answer) => {
                Some(judge(call.call, &Response::without_events(&answer, &self.calls.options)))
            }
            Err(error) => {
                self.note_silence(&error, now);
                None
            }
        };
        verdict.iter().for_each(|verdict| self.note_failure(verdict, now));
        self.sender.on_probe(endpoint, verdict, now, &mut self.outcomes);
    }

    /// A question that fails says nothing about the destination's way with events: it neither
    /// holds nor slows them.
    fn on_verified(&mut self, id: BatchId, answer: Result<Answer, TransportError>, now: Instant) {
        let verdict = match (answer, &self.calls.verify) {
            (Ok(answer), Some(call)) => {
                let response = Response::without_events(&answer, &self.calls.options);
                Some(judge(call.call, &response))
            }
            (Ok(_), None) => None,
            (Err(error), _) => {
                self.note_silence(&error, now);
                None
            }
        };
        match &verdict {
            Some(Verdict { fate: Fate::Reject, reason, .. }) => {
                let text = format!("accepted, and not processed: {}", reason.detail);
                self.note_unless_held(&Fate::Reject, text, now);
            }
            // That it is not known yet is no trouble.
            Some(
                Verdict { fate: Fate::Delivered, .. }
                | Verdict { reason: Reason { status: 404, .. }, .. },
            )
            | None => {}
            Some(Verdict { reason: Reason { class, status, detail, .. }, .. }) => {
                let text = format!("{UNTOLD}: {class} (status {status}) {detail}");
                self.note_unless_held(&Fate::Retry, text, now);
            }
        }
        self.sender.on_verified(id, verdict, now, &mut self.outcomes);
    }

    /// Remembers an answer that was no success, for people.
    fn note_failure(&self, verdict: &Verdict, now: Instant) {
        let reason = match &verdict.fate {
            Fate::Items(items) => worst(items).unwrap_or(&verdict.reason),
            _ => &verdict.reason,
        };
        if reason.class != "accepted" {
            let text = format!("{} (status {}): {}", reason.class, reason.status, reason.detail);
            self.note_unless_held(&verdict.fate, text, now);
        }
    }

    /// The same of a request without an answer.
    fn note_silence(&self, error: &TransportError, now: Instant) {
        self.note_unless_held(&judge_transport(error).fate, error.to_string(), now);
    }

    /// While the exporter is held for what an operator has to see to, that is shown: what became
    /// of requests that were under way says nothing of it.
    fn note_unless_held(&self, fate: &Fate, text: String, now: Instant) {
        let is_why = matches!(fate, Fate::Hold { scope: Scope::Exporter | Scope::Endpoint, .. });
        let is_held = matches!(self.exporter.gate.held(), Some((Cause::Auth | Cause::Config, ..)));
        if is_why || !is_held {
            self.exporter.note_error(text, now);
        }
    }

    /// Acts on what the sender decided.
    pub(super) fn act(&mut self, now: Instant) {
        if self.outcomes.is_empty() {
            return;
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        if outcomes.tally.resent > 0 {
            let events = outcomes.tally.resent;
            let text = format!("{events} events were accepted and not confirmed: sent again");
            self.note_unless_held(&Fate::Retry, text, now);
            self.exporter.trouble.begin(now);
        }
        // What retention gave up has not arrived: the trouble that it is due to lasts on.
        if outcomes.settled.iter().any(|it| it.fate != Settle::Skipped) {
            self.exporter.trouble.end();
        }
        self.end_talks(&outcomes.settled, &outcomes.dead);
        match self.is_aside() {
            true => self.settle_aside(&outcomes),
            false => self.exporter.settle_all(self.number, &outcomes),
        }
        for received in outcomes.received.drain(..) {
            self.exporter.measures.confirm_seconds.observe(since(received).as_secs_f64());
        }
        self.exporter.count(&outcomes.tally);
        if let (Some(noted), Some(ledger)) = (&mut self.noted, &self.exporter.ledger) {
            noted.settle(&outcomes.settled, &outcomes.dead, ledger);
        }
        outcomes.dead.drain(..).for_each(|letter| self.bury(letter, now));
        self.again.extend(outcomes.reshape.drain(..));
        for option in outcomes.without.drain(..) {
            if !self.calls.options.is_on(option) {
                continue;
            }
            let name = self.exporter.name();
            warn!(exporter = name, option, "the destination does not do this: off for this run");
            self.calls.options.set(option, OptionValue::Bool(false));
            self.exporter.note_error(format!("{option}: not offered by the destination"), now);
        }
        if let Some(problem) = outcomes.problem.take() {
            warn!(exporter = self.exporter.name(), problem, "exporter held");
            self.exporter.note_error(problem.to_owned(), now);
        }
        match outcomes.remedy.take() {
            Some(Remedy::Setup) => self.prepare_again(),
            Some(Remedy::Refresh) => self.exporter.wants_others.store(true, Ordering::Relaxed),
            None => {}
        }
        self.exporter.wake(outcomes.wake);
        outcomes.clear();
        self.outcomes = outcomes;
    }

    /// Fetches cold bytes off this thread.
    pub(super) fn warm(&mut self, span: Span) {
        self.warm_from(self.bench.reader.clone(), span);
    }

    /// The same for bytes of another store.
    pub(super) fn warm_from(&mut self, reader: Reader, span: Span) {
        self.warming = true;
        self.tasks.spawn_local(async move {
            // Whether it worked is seen when the bytes are read again.
            let warmed = tokio::task::spawn_blocking(move || reader.warm(span)).await;
            if let Ok(Err(problem)) = warmed {
                warn!(%problem, "log bytes could not be fetched");
            }
            Ended::Warmed
        });
    }

    /// Reads nothing for a while, as if bytes were being fetched.
    pub(super) fn rest(&mut self, wait: Duration) {
        self.warming = true;
        self.tasks.spawn_local(async move {
            tokio::time::sleep(wait).await;
            Ended::Warmed
        });
    }

    /// Prepares the destination before the first event; one lane does it for all.
    pub(super) async fn prepare(&mut self) {
        if !self.exporter.prepares(self.number) {
            while !self.exporter.is_prepared() && self.exporter.stop.stage() < Stage::Flush {
                self.exporter.wakes[self.number].notified().await;
            }
            return;
        }
        let (mut wait, mut rounds, mut told) = (SETUP_WAIT, 0, Vec::new());
        while rounds < SETUP_ROUNDS_MAX {
            let way = (&self.calls.options, self.calls.via(0, 0));
            // A destination that does not answer must not hold up the end.
            let prepared = tokio::select! {
                prepared = prepare(&self.exporter, &*self.network, way, &mut told) => prepared,
                () = self.stopped() => break,
            };
            if !prepared.again {
                break;
            }
            self.exporter.trouble.begin(Instant::now());
            // While nobody can be connected to, events could not be sent either: what they are
            // written to shall be prepared when they can.
            rounds += u32::from(!prepared.unreached);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stopped() => break,
            }
            wait = (wait * 2).min(SETUP_WAIT_MAX);
        }
        self.exporter.set_prepared();
    }

    /// Waits until the engine stops.
    async fn stopped(&self) {
        while self.exporter.stop.stage() < Stage::Flush {
            self.exporter.wakes[self.number].notified().await;
        }
    }

    /// Prepares the destination once more, beside the running requests.
    fn prepare_again(&mut self) {
        let (exporter, network) = (self.exporter.clone(), Rc::clone(&self.network));
        let (options, via) = (self.calls.options.clone(), self.calls.via(0, 0));
        self.tasks.spawn_local(async move {
            prepare(&exporter, &*network, (&options, via), &mut Vec::new()).await;
            Ended::Prepared
        });
    }
}

/// Runs the vendor's setup once; another endpoint is asked where one is away.
///
/// `told` holds the failures of the time before, which are not told again.
async fn prepare(
    exporter: &Exporter,
    network: &impl Transport,
    (options, via): (&Options, Via),
    told: &mut Vec<String>,
) -> Prepared {
    let name = exporter.name();
    let mut setup = match exporter.setup() {
        Ok(setup) => setup,
        Err(problem) => {
            exporter.note_error(problem.to_string(), Instant::now());
            return Prepared::default();
        }
    };
    let endpoints = (exporter.settings.vendor.endpoints)(options);
    let (mut unreached, mut changes) = (true, Vec::new());
    for endpoint in 0..endpoints.map_or(1, |all| all.len().max(1)) {
        setup.restart();
        run_setup(&mut setup, network, options, Via { endpoint, ..via }).await;
        changes.extend(setup.prepared().changes.iter().cloned());
        unreached &= setup.prepared().unreached;
        if !setup.prepared().again {
            break;
        }
    }
    let prepared = Prepared { unreached, changes, ..setup.prepared().clone() };
    for change in &prepared.changes {
        info!(exporter = name, change, "destination prepared");
    }
    for note in &prepared.notes {
        info!(exporter = name, note, "left as it is");
    }
    for failure in &prepared.failures {
        if !told.contains(failure) {
            warn!(exporter = name, failure, "destination not prepared");
        }
        exporter.note_error(format!("setup: {failure}"), Instant::now());
    }
    exporter.note_prepared(&prepared);
    told.clone_from(&prepared.failures);
    prepared
}

async fn run_setup(setup: &mut Setup, network: &impl Transport, options: &Options, via: Via) {
    while let Some(request) = setup.poll(via) {
        match network.send(request).await {
            Ok(answer) => setup.on_answer(&answer, options),
            Err(error) => {
                debug!(class = judge_transport(&error).reason.class, "setup was not answered");
                setup.on_error(&error);
            }
        }
    }
}

/// Whether the answer settles events, or will.
fn has_settled(fate: &Fate) -> bool {
    match fate {
        Fate::Delivered | Fate::Pending(_) | Fate::Requested(_) => true,
        Fate::Items(items) => {
            items.iter().any(|item| !matches!(item, ItemFate::Hold(..) | ItemFate::Retry(_)))
        }
        _ => false,
    }
}

/// Why an event of an accepted batch was not: what holds it says more than a refusal, and that more
/// than a failure that is tried again.
fn worst(items: &[ItemFate]) -> Option<&Reason> {
    let of = |rank: u8| {
        items.iter().find_map(|item| match (item, rank) {
            (ItemFate::Hold(_, reason), 0) => Some(reason),
            (ItemFate::Reject(reason), 1) => Some(reason),
            (ItemFate::Retry(reason), 2) => Some(reason),
            _ => None,
        })
    };
    (0..3).find_map(of)
}

/// Now, in seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// How long ago something was received.
fn since(received_ns: u64) -> Duration {
    Duration::from_nanos(Time::now().ns().saturating_sub(received_ns))
}

/// Requests that are given up tell so at once.
const LEAVE_WAIT: Duration = Duration::from_millis(100);
/// The first wait before preparing a destination again that did not answer.
const SETUP_WAIT: Duration = Duration::from_secs(1);
/// The longest.
const SETUP_WAIT_MAX: Duration = Duration::from_secs(30);
/// After about four minutes a destination that takes events but no setup gets its events.
const SETUP_ROUNDS_MAX: u32 = 12;

/// Where the question for what became of accepted requests is refused.
const UNTOLD: &str = "not told what became of what was accepted, which counts as delivered when it \
                      was asked for in vain for 30 s; let the credentials read requests, or ask no \
                      more";
