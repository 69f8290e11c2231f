//! How a running engine is doing, for people and for the account.

use std::time::{Duration, Instant};

use super::balance::Balance;
use super::changes::{self, ChangeCounters};
use super::exporter::Exporter;
use super::health::HealthStatus;
use super::heartbeat::{self, HeartbeatCounters};
use super::measure::lost;
use crate::deliver::{FLOOD_KEY, Health, MAX_AGE_KEY, Settings};
use crate::event::{Checkpoint, Counts, GapReason, Offset, Span};
use crate::log::Reader;
use crate::metrics::Observed;

/// A running engine at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// Since when it runs.
    pub uptime: Duration,
    /// How the log writes.
    pub io: String,
    /// Where the log begins.
    pub oldest: Offset,
    /// Where its written part ends.
    pub written: Offset,
    /// Where its durable part ends.
    pub durable: Offset,
    /// How long it took to make groups durable.
    pub sync_seconds: Observed,
    /// Records that could not be opened.
    pub invalid: u64,
    /// Blocks that were opened.
    pub blocks_opened: u64,
    /// Blocks that a lane found opened.
    pub blocks_shared: u64,
    /// Blocks of which a lane that needs order took only the records it wants.
    pub blocks_fed: u64,
    /// Records that were opened.
    pub records_opened: u64,
    /// Events that exporters lost in this run which are gone since.
    pub losses_of_removed: u64,
    /// The exporters, as configured.
    pub exporters: Vec<ExporterStatus>,
}

/// One exporter at one moment.
#[derive(Clone, Debug)]
pub struct ExporterStatus {
    /// Its name.
    pub name: String,
    /// What kind of destination it is.
    pub vendor: &'static str,
    /// `starting`, `healthy`, `degraded`, `throttled`, `auth_failed`, `config_failed`,
    /// `circuit_open`, `stopped`.
    pub state: &'static str,
    /// Which pass over the log.
    pub pass: u32,
    /// Where the pass began.
    pub start: Offset,
    /// Everything below is settled.
    pub base: Offset,
    /// Events below are told of one by one, however old they are; zero where none are.
    pub alert_below: Offset,
    /// Settled events by fate.
    pub counts: Counts,
    /// Those of them that earlier runs settled.
    pub counts_before: Counts,
    /// Events from the start of the pass to the head.
    pub in_range: u64,
    /// Events that are not settled.
    pub pending: u64,
    /// Bytes of the log that are not settled.
    pub lag_bytes: u64,
    /// Requests in flight.
    pub in_flight: u32,
    /// Requests sent.
    pub requests: u64,
    /// Bytes of bodies sent.
    pub sent_bytes: u64,
    /// Events sent again after a failure.
    pub retried: u64,
    /// Events in requests whose end nobody can tell.
    pub ambiguous: u64,
    /// Events that the destination had already.
    pub duplicates: u64,
    /// Events that the destination took and put aside.
    pub degraded: u64,
    /// Events that were accepted and are not confirmed yet.
    pub awaiting: u64,
    /// Events that were rendered again since no acknowledgement came.
    pub resent: u64,
    /// Events that were accepted, and nobody told whether they were processed.
    pub unverified: u64,
    /// Delivered events whose counts the destination did not take.
    pub counts_lost: u64,
    /// Events of an age that the destination treats in its own way.
    pub untimely: u64,
    /// Documents that were looked at (`schema.validate`).
    pub schema_checked: u64,
    /// Those of them that lack what their schema asks for.
    pub schema_invalid: u64,
    /// Documents that were looked at and go without a field that their schema has no place for.
    pub schema_left_out: u64,
    /// Dead letters in the store, earlier passes included.
    pub letters: u64,
    /// Dead letters that made room for newer ones, or grew too old.
    pub letters_evicted: u64,
    /// Events that were lost before they were sent, by reason, since this exporter began to run.
    pub lost: Vec<(&'static str, u64)>,
    /// Dead letters that were delivered after all.
    pub replayed: u64,
    /// Gaps whose record is still to be delivered.
    pub gaps: u64,
    /// Pending events that wait while others go on: their route or they alone are refused.
    pub parked: u64,
    /// Events that were given up by this run.
    pub buried: u64,
    /// Events that this run lost: skipped, not to be opened, or given up and not delivered since.
    pub losses: u64,
    /// Requests by the status of their answer; 0 is no answer.
    pub statuses: Vec<(u16, u64)>,
    /// Whether nothing is sent until a probe succeeds.
    pub is_held: bool,
    /// Requests a second at most; 0 is no limit.
    pub rate_limit: f64,
    /// How long nothing has arrived although it was tried.
    pub failing: Option<Duration>,
    /// From request to answer.
    pub request_seconds: Observed,
    /// From receipt of a batch's oldest event to the answer that takes it.
    pub accept_seconds: Observed,
    /// From receipt to the answer or acknowledgement that settles, as delivered.
    pub confirm_seconds: Observed,
    /// Events in a request.
    pub batch_events: Observed,
    /// Bytes of a body as sent.
    pub batch_bytes: Observed,
    /// How the destination said it is; none before it was asked, or where there is nothing to ask.
    pub health: Option<HealthStatus>,
    /// What went wrong last, and how long ago.
    pub last_error: Option<(Duration, String)>,
    /// What became of its heartbeats, if it sends some.
    pub heartbeat: Option<HeartbeatStatus>,
    /// What became of the changes that it tells, if it tells some.
    pub changes: Option<ChangeStatus>,
    /// What it told of in digests, if it makes some.
    pub digests: Option<DigestStatus>,
    /// What it did as a response hook, if it is one.
    pub hook: Option<HookStatus>,
    /// What it left out as repeats and which incidents it keeps, if it does.
    pub alerts: Option<AlertStatus>,
    /// Which conversations it keeps, if it does.
    pub threads: Option<ThreadStatus>,
}

/// Conversations of an exporter; all but `known` of this run.
#[derive(Clone, Copy, Debug)]
pub struct ThreadStatus {
    /// Conversations that are known.
    pub known: u64,
    /// Conversations that were begun.
    pub begun: u64,
    /// Documents that answered to the first of one.
    pub replies: u64,
    /// Conversations that the destination knew no more.
    pub lost: u64,
    /// Conversations that made room for newer ones.
    pub forgotten: u64,
}

/// Incidents of an exporter; all but `open` of this run.
#[derive(Clone, Copy, Debug)]
pub struct AlertStatus {
    /// Whether the destination has incidents; else events are only left out.
    pub has_incidents: bool,
    /// Incidents that are open.
    pub open: u64,
    /// Events that were left out as repeats; they count as filtered.
    pub deduplicated: u64,
    /// Incidents that were resolved.
    pub resolved: u64,
    /// Requests to resolve that failed.
    pub resolve_failed: u64,
    /// Incidents that were let go without being resolved.
    pub forgotten: u64,
    /// Incidents that were acknowledged.
    pub acknowledged: u64,
    /// Requests to acknowledge that failed.
    pub acknowledge_failed: u64,
}

/// What became of the changes of the configuration that an exporter told in this run.
#[derive(Clone, Copy, Debug)]
pub struct ChangeStatus {
    /// Those that were taken.
    pub sent: u64,
    /// Those that were not.
    pub failed: u64,
}

impl ChangeStatus {
    fn of(exporter: &Exporter) -> Option<Self> {
        let ChangeCounters { sent, failed } = &exporter.counters.changes;
        changes::is_wanted(exporter).then(|| Self { sent: sent.load(), failed: failed.load() })
    }
}

/// What became of an exporter's heartbeats in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatStatus {
    /// Those that were taken.
    pub sent: u64,
    /// Those that were not.
    pub failed: u64,
    /// Those that were left out, since something was not well.
    pub withheld: u64,
}

impl HeartbeatStatus {
    fn of(exporter: &Exporter) -> Option<Self> {
        let HeartbeatCounters { sent, failed, withheld } = &exporter.counters.heartbeat;
        heartbeat::is_wanted(exporter).then(|| Self {
            sent: sent.load(),
            failed: failed.load(),
            withheld: withheld.load(),
        })
    }
}

/// What an exporter told of in digests in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestStatus {
    /// Digests that were delivered.
    pub sent: u64,
    /// Events that were delivered in them.
    pub events: u64,
    /// Events that they told of since those were too old.
    pub stale: u64,
}

impl DigestStatus {
    fn of(exporter: &Exporter) -> Option<Self> {
        let (options, counters) = (&exporter.settings.options, &exporter.counters);
        let is_wanted = [FLOOD_KEY, MAX_AGE_KEY].iter().any(|key| options.number(key).is_some());
        (is_wanted && exporter.hook.is_none()).then(|| Self {
            sent: counters.digests.load(),
            events: counters.digested.load(),
            stale: counters.stale.load(),
        })
    }
}

/// What a response hook did in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookStatus {
    /// Whether nothing is sent.
    pub is_dry: bool,
    /// Actions that were asked for.
    pub fired: u64,
    /// Requests for actions that were accepted, dead letters that were sent again included.
    pub succeeded: u64,
    /// Actions that became dead letters.
    pub failed: u64,
    /// Events of an action that was asked for within the cooldown.
    pub suppressed: u64,
    /// Events that were too old.
    pub stale: u64,
    /// Actions that would have been asked for, were it no dry run.
    pub dry: u64,
    /// Keys that made room for newer ones within their cooldown.
    pub forgotten: u64,
}

impl ExporterStatus {
    /// One that did not start, and why.
    pub(crate) fn stopped(settings: &Settings, ago: Duration, problem: &str) -> Self {
        let last_error = Some((ago, problem.to_owned()));
        Self { last_error, ..Self::at_rest(&settings.name, settings.vendor.name, STOPPED) }
    }

    /// One that somebody paused, as far as its checkpoint says how it is.
    #[must_use]
    pub fn paused(
        name: &str,
        vendor: &'static str,
        saved: Option<&Checkpoint>,
        reader: &Reader,
    ) -> Self {
        let still = Self::at_rest(name, vendor, PAUSED);
        let Some(saved) = saved else { return still };
        let head = reader.written();
        let untallied = Span { from: saved.start.max(saved.tally.to), to: head };
        let in_range = saved.tally.events + reader.count(untallied).unwrap_or(0);
        Self {
            pass: saved.pass,
            start: saved.start,
            base: saved.base,
            alert_below: saved.alert_below,
            counts: saved.counts,
            counts_before: saved.counts,
            in_range,
            pending: in_range.saturating_sub(saved.counts.total()),
            lag_bytes: head.bytes().saturating_sub(saved.base.bytes()),
            gaps: saved.gaps.len() as u64,
            ..still
        }
    }

    /// One that does nothing.
    fn at_rest(name: &str, vendor: &'static str, state: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            vendor,
            state,
            pass: 0,
            start: Offset::ZERO,
            base: Offset::ZERO,
            alert_below: Offset::ZERO,
            counts: Counts::default(),
            counts_before: Counts::default(),
            in_range: 0,
            pending: 0,
            lag_bytes: 0,
            in_flight: 0,
            requests: 0,
            sent_bytes: 0,
            retried: 0,
            ambiguous: 0,
            duplicates: 0,
            degraded: 0,
            awaiting: 0,
            resent: 0,
            unverified: 0,
            counts_lost: 0,
            untimely: 0,
            schema_checked: 0,
            schema_invalid: 0,
            schema_left_out: 0,
            letters: 0,
            letters_evicted: 0,
            lost: by_reason([0; GapReason::ALL.len()]),
            replayed: 0,
            gaps: 0,
            parked: 0,
            buried: 0,
            losses: 0,
            statuses: Vec::new(),
            is_held: false,
            rate_limit: 0.0,
            failing: None,
            request_seconds: Observed::default(),
            accept_seconds: Observed::default(),
            confirm_seconds: Observed::default(),
            batch_events: Observed::default(),
            batch_bytes: Observed::default(),
            health: None,
            last_error: None,
            heartbeat: None,
            changes: None,
            digests: None,
            hook: None,
            alerts: None,
            threads: None,
        }
    }

    /// Whether it did not start, so that nothing is known of its events.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state == STOPPED
    }

    pub(crate) fn new(exporter: &Exporter, reader: &Reader, now: Instant) -> Self {
        let balance = exporter.balance(reader);
        let Balance { base, counts, head, .. } = balance;
        let counters = &exporter.counters;
        let parked = exporter.parked();
        let state = match (exporter.is_prepared(), exporter.condition(now)) {
            (false, Health::Healthy) => "starting",
            (_, condition) => condition.word(),
        };
        let last_error = exporter
            .last_error()
            .map(|error| (now.saturating_duration_since(error.at), error.text));
        Self {
            name: exporter.name().to_owned(),
            vendor: exporter.settings.vendor.name,
            state,
            pass: balance.pass,
            start: balance.start,
            base,
            alert_below: balance.alert_below,
            counts,
            counts_before: exporter.counts_before(),
            in_range: balance.in_range,
            pending: balance.pending,
            lag_bytes: head.bytes().saturating_sub(base.bytes()),
            in_flight: exporter.gate.in_flight(),
            requests: counters.requests.load(),
            sent_bytes: counters.sent_bytes.load(),
            retried: counters.retried.load(),
            ambiguous: counters.ambiguous.load(),
            duplicates: counters.duplicates.load(),
            degraded: counters.degraded.load(),
            // Read in this order, so that none is counted as answered before it was awaited.
            awaiting: {
                let answered = counters.answered.load();
                counters.awaited.load().saturating_sub(answered)
            },
            resent: counters.resent.load(),
            unverified: counters.unverified.load(),
            counts_lost: counters.counts_lost.load(),
            untimely: counters.untimely.load(),
            schema_checked: counters.schema_checked.load(),
            schema_invalid: counters.schema_invalid.load(),
            schema_left_out: counters.schema_left_out.load(),
            letters: exporter.dead_letters.live(),
            letters_evicted: exporter.dead_letters.evicted.load(),
            lost: by_reason(balance.lost),
            replayed: counters.replayed.load(),
            gaps: balance.gaps,
            parked,
            buried: counters.buried.load(),
            losses: counters.losses() + lost(counts).saturating_sub(lost(exporter.counts_before())),
            statuses: exporter.measures.statuses(),
            is_held: exporter.gate.held().is_some(),
            rate_limit: exporter.gate.rate() as f64 / 1000.0,
            failing: exporter.trouble.since(now),
            request_seconds: exporter.measures.request_seconds.load(),
            accept_seconds: exporter.measures.accept_seconds.load(),
            confirm_seconds: exporter.measures.confirm_seconds.load(),
            batch_events: exporter.measures.batch_events.load(),
            batch_bytes: exporter.measures.batch_bytes.load(),
            health: exporter.health.load(now),
            last_error,
            heartbeat: HeartbeatStatus::of(exporter),
            changes: ChangeStatus::of(exporter),
            digests: DigestStatus::of(exporter),
            hook: HookStatus::of(exporter),
            alerts: AlertStatus::of(exporter),
            threads: ThreadStatus::of(exporter),
        }
    }

    /// Whether every event of the pass is in exactly one count (`design.md` 1).
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.counts.total() + self.pending == self.in_range
    }
}

impl AlertStatus {
    fn of(exporter: &Exporter) -> Option<Self> {
        let (alerts, counters) = (exporter.alerts.as_ref()?, &exporter.counters.alerts);
        Some(Self {
            has_incidents: alerts.spec.has_incidents,
            open: alerts.len() as u64,
            deduplicated: counters.deduplicated.load(),
            resolved: counters.resolved.load(),
            resolve_failed: counters.resolve_failed.load(),
            forgotten: counters.forgotten.load(),
            acknowledged: counters.acknowledged.load(),
            acknowledge_failed: counters.acknowledge_failed.load(),
        })
    }
}

impl ThreadStatus {
    fn of(exporter: &Exporter) -> Option<Self> {
        let (threads, counters) = (exporter.threads.as_ref()?, &exporter.counters.threads);
        Some(Self {
            known: threads.len() as u64,
            begun: counters.begun.load(),
            replies: counters.replies.load(),
            lost: counters.lost.load(),
            forgotten: counters.forgotten.load(),
        })
    }
}

impl HookStatus {
    fn of(exporter: &Exporter) -> Option<Self> {
        let (hook, counters) = (exporter.hook.as_ref()?, &exporter.counters);
        Some(Self {
            is_dry: hook.spec.is_dry,
            fired: counters.hook.fired.load(),
            succeeded: exporter.measures.accept_seconds.load().count,
            failed: counters.buried.load(),
            suppressed: counters.hook.suppressed.load(),
            stale: counters.hook.stale.load(),
            dry: counters.hook.dry.load(),
            forgotten: counters.hook.forgotten.load(),
        })
    }
}

fn by_reason(lost: [u64; GapReason::ALL.len()]) -> Vec<(&'static str, u64)> {
    GapReason::ALL.map(GapReason::word).into_iter().zip(lost).collect()
}

/// The state of exporters that somebody paused.
const PAUSED: &str = "paused";
/// The state of exporters that did not start.
const STOPPED: &str = "stopped";
