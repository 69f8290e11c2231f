//! The process's numbers as Prometheus reads them.
//!
//! The text format, version 0.0.4: a `HELP` and a `TYPE` line for each name, then its samples.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{InputStatus, ReloadNumbers};
use crate::event::{Class, Treatment};
use crate::intel::{Intel, SignKind, Source};
use crate::metrics::Observed;
use crate::pipeline::{
    AlertStatus, ChangeStatus, DigestStatus, ExporterStatus, HeartbeatStatus, HookStatus, Status,
    ThreadStatus,
};

/// What the numbers are made from.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// The engine.
    pub status: Status,
    /// The inputs.
    pub inputs: Vec<InputStatus>,
    /// By exporter, the age of its oldest unsettled event in seconds.
    pub lag_seconds: Vec<(String, f64)>,
    /// Reloads and readings of credentials.
    pub reloads: ReloadNumbers,
    /// Records that inputs brought, by what was wrong with them.
    pub classes: Vec<(Class, u64)>,
    /// Requests for the pages and the admin API without a token that permits them.
    pub refused: u64,
    /// Threat intelligence, where it is switched on.
    pub intel: Option<Arc<Intel>>,
}

/// Writes all numbers.
#[must_use]
pub fn exposition(numbers: &Numbers) -> String {
    let Numbers { status, inputs, classes, lag_seconds, reloads, refused, intel } = numbers;
    let mut text = Exposition::default();
    process(&mut text, status, inputs);
    for (name, about, treatment) in CLASSES {
        text.begin(name, "counter", about);
        for (class, records) in classes.iter().filter(|(it, _)| it.treatment() == *treatment) {
            text.sample(name, &[("class", class.name())], *records as f64);
        }
    }
    configuration(&mut text, *reloads);
    let name = "shrike_admin_refused_total";
    text.begin(name, "counter", "Requests to the admin API without a token that permits them.");
    text.sample(name, &[], *refused as f64);
    for row in ROWS {
        text.begin(row.name, row.kind, row.about);
        for exporter in &status.exporters {
            text.sample(row.name, &[("exporter", &exporter.name)], (row.value)(exporter));
        }
    }
    let name = "shrike_events_dropped_total";
    text.begin(name, "counter", "Events that were lost before they were sent, by the reason.");
    for exporter in &status.exporters {
        for (reason, events) in &exporter.lost {
            let labels = [("exporter", exporter.name.as_str()), ("reason", reason)];
            text.sample(name, &labels, *events as f64);
        }
    }
    account(&mut text, &status.exporters);
    text.begin("shrike_exporter_lag_seconds", "gauge", "Age of the oldest unsettled event.");
    for (exporter, seconds) in lag_seconds {
        text.sample("shrike_exporter_lag_seconds", &[("exporter", exporter)], *seconds);
    }
    let name = "shrike_exporter_requests_total";
    text.begin(name, "counter", "Requests by the status of their answer; 0 is no answer.");
    for exporter in &status.exporters {
        for (code, count) in &exporter.statuses {
            let labels = [("exporter", exporter.name.as_str()), ("status", &code.to_string())];
            text.sample(name, &labels, *count as f64);
        }
    }
    for (name, about, observed) in HISTOGRAMS {
        text.begin(name, "histogram", about);
        for exporter in &status.exporters {
            text.histogram(name, &[("exporter", &exporter.name)], observed(exporter));
        }
    }
    alerts(&mut text, &status.exporters);
    threads(&mut text, &status.exporters);
    heartbeats(&mut text, &status.exporters);
    changes(&mut text, &status.exporters);
    digests(&mut text, &status.exporters);
    hooks(&mut text, &status.exporters);
    if let Some(intel) = intel {
        threats(&mut text, intel);
    }
    text.0
}

/// What was left out as a repeat, and incidents of alerting exporters; nothing where there is none.
fn alerts(text: &mut Exposition, exporters: &[ExporterStatus]) {
    let all = || exporters.iter().filter_map(|it| Some((it, it.alerts.as_ref()?)));
    for &(name, kind, about, value) in ALERTS {
        let is_of_all = REPEATS.contains(&name);
        let alerts = || all().filter(|(_, it)| it.has_incidents || is_of_all);
        if alerts().next().is_none() {
            continue;
        }
        text.begin(name, kind, about);
        for (exporter, alerts) in alerts() {
            text.sample(name, &[("exporter", &exporter.name)], value(alerts) as f64);
        }
    }
}

/// Conversations; nothing where there is none.
fn threads(text: &mut Exposition, exporters: &[ExporterStatus]) {
    let threads = || exporters.iter().filter_map(|it| Some((it, it.threads.as_ref()?)));
    if threads().next().is_none() {
        return;
    }
    for &(name, kind, about, value) in THREADS {
        text.begin(name, kind, about);
        for (exporter, threads) in threads() {
            text.sample(name, &[("exporter", &exporter.name)], value(threads) as f64);
        }
    }
}

/// What became of heartbeats; nothing where none are sent.
fn heartbeats(text: &mut Exposition, exporters: &[ExporterStatus]) {
    let all = || exporters.iter().filter_map(|it| Some((it, it.heartbeat?)));
    if all().next().is_none() {
        return;
    }
    let name = "shrike_heartbeats_total";
    text.begin(name, "counter", "Heartbeats: sent, failed, or withheld since something is wrong.");
    for (exporter, heartbeat) in all() {
        let HeartbeatStatus { sent, failed, withheld } = heartbeat;
        for (result, count) in [("sent", sent), ("failed", failed), ("withheld", withheld)] {
            let labels = [("exporter", exporter.name.as_str()), ("result", result)];
            text.sample(name, &labels, count as f64);
        }
    }
}

/// Reads one number of conversations.
type ThreadCount = fn(&ThreadStatus) -> u64;

const THREADS: &[(&str, &str, &str, ThreadCount)] = &[
    ("shrike_threads_known", "gauge", "Conversations that are known.", |it| it.known),
    ("shrike_threads_begun_total", "counter", "Conversations that were begun.", |it| it.begun),
    (
        "shrike_threads_replies_total",
        "counter",
        "Messages that answered to the first of a conversation.",
        |it| it.replies,
    ),
    (
        "shrike_threads_lost_total",
        "counter",
        "Conversations that the destination knew no more.",
        |it| it.lost,
    ),
    (
        "shrike_threads_forgotten_total",
        "counter",
        "Conversations that made room for newer ones.",
        |it| it.forgotten,
    ),
];

/// Those of exporters without incidents too.
const REPEATS: &[&str] = &["shrike_alerts_deduplicated_total", "shrike_alerts_forgotten_total"];

/// What digests told of; nothing where none are made.
fn digests(text: &mut Exposition, exporters: &[ExporterStatus]) {
    let all = || exporters.iter().filter_map(|it| Some((it, it.digests?)));
    if all().next().is_none() {
        return;
    }
    for &(name, about, value) in DIGESTS {
        text.begin(name, "counter", about);
        for (exporter, digests) in all() {
            text.sample(name, &[("exporter", &exporter.name)], value(&digests) as f64);
        }
    }
}

/// Reads one number of digests.
type DigestCount = fn(&DigestStatus) -> u64;

const DIGESTS: &[(&str, &str, DigestCount)] = &[
    ("shrike_exporter_digests_total", "Messages that told of many events.", |it| it.sent),
    (
        "shrike_exporter_events_digested_total",
        "Events that were too many to be sent one by one; they count as delivered.",
        |it| it.events,
    ),
    (
        "shrike_exporter_events_stale_total",
        "Events that were too old to be sent one by one; they count as filtered.",
        |it| it.stale,
    ),
];

/// What became of changes of the configuration; nothing where none are told.
fn changes(text: &mut Exposition, exporters: &[ExporterStatus]) {
    let all = || exporters.iter().filter_map(|it| Some((it, it.changes?)));
    if all().next().is_none() {
        return;
    }
    let name = "shrike_change_events_total";
    text.begin(name, "counter", "Changes of the configuration that were told, or not taken.");
    for (exporter, ChangeStatus { sent, failed }) in all() {
        for (result, count) in [("sent", sent), ("failed", failed)] {
            let labels = [("exporter", exporter.name.as_str()), ("result", result)];
            text.sample(name, &labels, count as f64);
        }
    }
}

/// Reads one number of incidents.
type AlertCount = fn(&AlertStatus) -> u64;

const ALERTS: &[(&str, &str, &str, AlertCount)] = &[
    ("shrike_alerts_open", "gauge", "Incidents that are open.", |it| it.open),
    (
        "shrike_alerts_deduplicated_total",
        "counter",
        "Events left out as repeats of one that was sent; they count as filtered.",
        |it| it.deduplicated,
    ),
    ("shrike_alerts_acknowledged_total", "counter", "Incidents that were acknowledged.", |it| {
        it.acknowledged
    }),
    (
        "shrike_alerts_acknowledge_failures_total",
        "counter",
        "Requests to acknowledge that failed; nobody tries them again.",
        |it| it.acknowledge_failed,
    ),
    ("shrike_alerts_resolved_total", "counter", "Incidents that were resolved.", |it| it.resolved),
    (
        "shrike_alerts_resolve_failures_total",
        "counter",
        "Requests to resolve that failed; they are tried again.",
        |it| it.resolve_failed,
    ),
    (
        "shrike_alerts_forgotten_total",
        "counter",
        "Incidents let go without being resolved, or messages whose repeats are known no more.",
        |it| it.forgotten,
    ),
];

/// What feeds told, and what came of it.
fn threats(text: &mut Exposition, intel: &Intel) {
    let (snapshot, counts, sources) = (intel.read(), intel.counts(), intel.sources());
    let name = "shrike_threat_intel_indicators";
    text.begin(name, "gauge", "Indicators that are used, by what they are of.");
    for kind in SignKind::ALL {
        text.sample(name, &[("kind", kind.word())], snapshot.size(kind) as f64);
    }
    for &(name, kind, about, value) in FEEDS {
        text.begin(name, kind, about);
        for source in sources.iter() {
            text.sample(name, &[("server", &source.name)], value(source) as f64);
        }
    }
    let name = "shrike_threat_intel_polls_total";
    text.begin(name, "counter", "Polls of a feed, by whether they read all there was.");
    for source in sources.iter() {
        let Source { polled, cut, failed, .. } = &**source;
        for (result, polls) in [("ok", polled), ("cut", cut), ("failed", failed)] {
            let labels = [("server", &*source.name), ("result", result)];
            text.sample(name, &labels, polls.load() as f64);
        }
    }
    let name = "shrike_threat_intel_poll_seconds";
    text.begin(name, "histogram", "How long a poll took.");
    for source in sources.iter() {
        text.histogram(name, &[("server", &source.name)], &source.poll_seconds.load());
    }
    let name = "shrike_threat_intel_skipped_total";
    text.begin(name, "counter", "Objects and patterns of feeds that are not used, by the reason.");
    for (reason, count) in counts.skipped() {
        text.sample(name, &[("reason", reason)], count as f64);
    }
    let (expired, full) = (counts.evicted_expired.load(), counts.evicted_full.load());
    let (guards, events) = (counts.lookups.load(), counts.looked_up.load());
    let (hits, marked) = (counts.hits.load(), counts.marked.load());
    type Labelled = [(&'static str, u64); 2];
    let rows: [(&str, &str, &str, Labelled); 3] = [
        (
            "shrike_threat_intel_evicted_total",
            "reason",
            "Indicators dropped from a full cache: over, or to make room.",
            [("expired", expired), ("full", full)],
        ),
        (
            "shrike_threat_intel_lookups_total",
            "by",
            "Values that were looked up, for guards and for events.",
            [("guard", guards), ("event", events)],
        ),
        (
            "shrike_threat_intel_hits_total",
            "by",
            "Values of guards that matched, and openings of events that did.",
            [("guard", hits), ("event", marked)],
        ),
    ];
    for (name, label, about, counts) in rows {
        text.begin(name, "counter", about);
        for (word, count) in counts {
            text.sample(name, &[(label, word)], count as f64);
        }
    }
}

/// Reads one number of a feed.
type FeedCount = fn(&Source) -> u64;

const FEEDS: &[(&str, &str, &str, FeedCount)] = &[
    ("shrike_threat_intel_feed_indicators", "gauge", "Indicators of a feed that are used.", |it| {
        it.indicators.load()
    }),
    (
        "shrike_threat_intel_last_success_seconds",
        "gauge",
        "When the last poll succeeded, in seconds since 1970; 0 is never.",
        |it| it.last_success.load(),
    ),
    (
        "shrike_threat_intel_stale",
        "gauge",
        "1 when three intervals passed without a poll that succeeded.",
        |it| it.stale.load(),
    ),
    (
        "shrike_threat_intel_paging_anomalies_total",
        "counter",
        "Pages whose `more` and `next` contradict each other.",
        |it| it.paging_anomalies.load(),
    ),
];

/// What response hooks did; nothing where there is none.
fn hooks(text: &mut Exposition, exporters: &[ExporterStatus]) {
    let hooks = || exporters.iter().filter_map(|it| Some((it, it.hook.as_ref()?)));
    if hooks().next().is_none() {
        return;
    }
    for &(name, about, value) in HOOKS {
        text.begin(name, "counter", about);
        for (exporter, hook) in hooks() {
            text.sample(name, &[("hook", &exporter.name)], value(hook) as f64);
        }
    }
    let name = "shrike_hook_latency_seconds";
    text.begin(name, "histogram", "From receipt of an event to the answer that takes its action.");
    for (exporter, _) in hooks() {
        text.histogram(name, &[("hook", &exporter.name)], &exporter.accept_seconds);
    }
}

/// Reads one number of a response hook.
type Count = fn(&HookStatus) -> u64;

const HOOKS: &[(&str, &str, Count)] = &[
    ("shrike_hook_fired_total", "Actions that were asked for.", |it| it.fired),
    ("shrike_hook_succeeded_total", "Requests for actions that were accepted.", |it| it.succeeded),
    ("shrike_hook_failed_total", "Actions that became dead letters.", |it| it.failed),
    (
        "shrike_hook_suppressed_total",
        "Events whose action was asked for within the cooldown.",
        |it| it.suppressed,
    ),
    ("shrike_hook_stale_total", "Events that were too old to cause an action.", |it| it.stale),
    ("shrike_hook_dry_run_total", "Actions that a dry run did not ask for.", |it| it.dry),
    (
        "shrike_hook_forgotten_total",
        "Keys that made room for newer ones within their cooldown.",
        |it| it.forgotten,
    ),
];

/// What became of records by what was wrong with them (`inputs.md` 8).
const CLASSES: &[(&str, &str, Treatment)] = &[
    (
        "shrike_events_invalid_total",
        "Lines that are no events and went to quarantine, by what is wrong with them.",
        Treatment::Reject,
    ),
    (
        "shrike_events_flagged_total",
        "Events that were mended, or are unusual, by their flag.",
        Treatment::Flag,
    ),
];

/// One number of each exporter.
struct Row {
    name: &'static str,
    kind: &'static str,
    about: &'static str,
    value: fn(&ExporterStatus) -> f64,
}

const fn counter(
    name: &'static str,
    about: &'static str,
    value: fn(&ExporterStatus) -> f64,
) -> Row {
    Row { name, kind: "counter", about, value }
}

const fn gauge(name: &'static str, about: &'static str, value: fn(&ExporterStatus) -> f64) -> Row {
    Row { name, kind: "gauge", about, value }
}

const ROWS: &[Row] = &[
    counter("shrike_events_filtered_total", "Events deliberately not sent.", |it| {
        it.counts.filtered as f64
    }),
    counter("shrike_schema_checked_total", "Documents that were looked at.", |it| {
        it.schema_checked as f64
    }),
    counter("shrike_schema_invalid_total", "Those that lack what their schema asks for.", |it| {
        it.schema_invalid as f64
    }),
    counter(
        "shrike_schema_left_out_total",
        "Documents that were looked at and go without what their schema has no place for.",
        |it| it.schema_left_out as f64,
    ),
    counter("shrike_exporter_events_delivered_total", "Events that arrived.", |it| {
        it.counts.delivered as f64
    }),
    counter("shrike_exporter_events_retried_total", "Events sent again after a failure.", |it| {
        it.retried as f64
    }),
    counter(
        "shrike_exporter_events_failed_total",
        "Events of attempts that did not deliver them.",
        |it| (it.retried + it.buried) as f64,
    ),
    counter("shrike_exporter_events_dead_lettered_total", "Events that were given up.", |it| {
        it.buried as f64
    }),
    counter("shrike_exporter_events_replayed_total", "Dead letters delivered after all.", |it| {
        it.replayed as f64
    }),
    counter(
        "shrike_exporter_events_ambiguous_total",
        "Events in requests whose end nobody can tell.",
        |it| it.ambiguous as f64,
    ),
    counter("shrike_exporter_events_duplicate_total", "Events that were there already.", |it| {
        it.duplicates as f64
    }),
    counter(
        "shrike_exporter_events_degraded_total",
        "Events that the destination took and put aside, or may have.",
        |it| it.degraded as f64,
    ),
    counter(
        "shrike_exporter_events_resent_total",
        "Events sent again since no acknowledgement came.",
        |it| it.resent as f64,
    ),
    counter(
        "shrike_exporter_events_unverified_total",
        "Delivered events of which nobody told in time whether they were processed.",
        |it| it.unverified as f64,
    ),
    counter(
        "shrike_exporter_events_untimely_total",
        "Events of an age that the destination treats in its own way.",
        |it| it.untimely as f64,
    ),
    counter(
        "shrike_exporter_counts_lost_total",
        "Delivered events whose counts the destination did not take.",
        |it| it.counts_lost as f64,
    ),
    gauge(
        "shrike_exporter_events_awaiting",
        "Events that were accepted and wait for their acknowledgement.",
        |it| it.awaiting as f64,
    ),
    counter("shrike_exporter_sent_bytes_total", "Bytes of bodies as sent.", |it| {
        it.sent_bytes as f64
    }),
    gauge("shrike_exporter_lag_events", "Events that are not settled.", |it| it.pending as f64),
    gauge("shrike_exporter_lag_bytes", "Bytes of the log that are not settled.", |it| {
        it.lag_bytes as f64
    }),
    gauge("shrike_exporter_in_flight", "Requests under way.", |it| f64::from(it.in_flight)),
    gauge("shrike_exporter_dlq_records", "Dead letters in the store.", |it| it.letters as f64),
    counter(
        "shrike_exporter_dlq_evicted_total",
        "Dead letters lost to the store's bounds.",
        |it| it.letters_evicted as f64,
    ),
    gauge(
        "shrike_exporter_parked_events",
        "Pending events that wait while others go on: their route or they alone are refused.",
        |it| it.parked as f64,
    ),
    gauge("shrike_exporter_gaps", "Gaps whose record is still to be delivered.", |it| {
        it.gaps as f64
    }),
    gauge(
        "shrike_exporter_breaker_state",
        "0 closed, 1 open: held until a probe succeeds.",
        |it| f64::from(u8::from(it.is_held)),
    ),
    gauge("shrike_exporter_rate_limit_rps", "Requests a second at most; 0 is no limit.", |it| {
        it.rate_limit
    }),
    gauge("shrike_exporter_healthy", "1 where state and health call say so.", |it| {
        let is_well = it.health.as_ref().is_none_or(|health| health.is_healthy);
        f64::from(u8::from(it.state == "healthy" && is_well))
    }),
    gauge("shrike_exporter_paused", "1 where somebody paused it.", |it| {
        f64::from(u8::from(it.state == "paused"))
    }),
    gauge(
        "shrike_exporter_failing_seconds",
        "How long nothing has arrived although tried.",
        |it| it.failing.map_or(0.0, |failing| failing.as_secs_f64()),
    ),
];

/// Reads one histogram of an exporter.
type Read = fn(&ExporterStatus) -> &Observed;

const HISTOGRAMS: &[(&str, &str, Read)] = &[
    ("shrike_exporter_request_seconds", "From request to answer.", |it| &it.request_seconds),
    (
        "shrike_exporter_accept_latency_seconds",
        "From receipt of a batch's oldest event to the answer that takes it.",
        |it| &it.accept_seconds,
    ),
    (
        "shrike_exporter_confirm_latency_seconds",
        "From receipt of a batch's oldest event to the answer or acknowledgement that settles it.",
        |it| &it.confirm_seconds,
    ),
    ("shrike_exporter_batch_events", "Events in a request.", |it| &it.batch_events),
    ("shrike_exporter_batch_bytes", "Bytes of a request's body as sent.", |it| &it.batch_bytes),
];

fn process(text: &mut Exposition, status: &Status, inputs: &[InputStatus]) {
    type Count = fn(&InputStatus) -> u64;
    let counts: [(&str, &str, Count); 4] = [
        ("shrike_events_received_total", "Events that inputs appended.", |it| it.appended),
        ("shrike_events_repeated_total", "Events that came again.", |it| it.duplicates),
        ("shrike_events_rejected_total", "Lines that went to quarantine.", |it| it.rejected),
        (
            "shrike_input_gaps_total",
            "Sources cut off, or rotated out of reach, before all was read.",
            |it| it.gaps,
        ),
    ];
    for (name, about, count) in counts {
        text.begin(name, "counter", about);
        for input in inputs {
            text.sample(name, &[("input", &input.name)], count(input) as f64);
        }
    }
    let name = "shrike_input_failed";
    text.begin(name, "gauge", "1 where an input ended for an error: nothing is read from it.");
    for input in inputs {
        text.sample(name, &[("input", &input.name)], f64::from(u8::from(input.failed)));
    }
    let (written, durable) = (status.written.bytes(), status.durable.bytes());
    let bytes = written - status.oldest.bytes();
    let one = [
        (
            "shrike_log_invalid_total",
            "counter",
            "Records of the log that are no events.",
            status.invalid as f64,
        ),
        ("shrike_uptime_seconds", "gauge", "Since the start.", status.uptime.as_secs_f64()),
        ("shrike_log_bytes", "gauge", "Bytes of log between its ends.", bytes as f64),
        ("shrike_log_written_bytes_total", "counter", "The log's end.", written as f64),
        ("shrike_log_durable_bytes_total", "counter", "Its durable end.", durable as f64),
        ("shrike_blocks_opened_total", "counter", "Blocks opened.", status.blocks_opened as f64),
    ];
    for (name, kind, about, value) in one {
        text.begin(name, kind, about);
        text.sample(name, &[], value);
    }
    let name = "shrike_log_sync_seconds";
    text.begin(name, "histogram", "How long it took to make appended events durable.");
    text.histogram(name, &[], &status.sync_seconds);
}

fn configuration(text: &mut Exposition, reloads: ReloadNumbers) {
    let ReloadNumbers { reloaded, refused, refreshed, refresh_failed, is_refused } = reloads;
    let name = "shrike_config_reload_total";
    text.begin(name, "counter", "Configurations read again, by what became of them.");
    text.sample(name, &[("result", "applied")], reloaded as f64);
    text.sample(name, &[("result", "refused")], refused as f64);
    let name = "shrike_config_refused";
    text.begin(name, "gauge", "1 while the file was refused and what ran before runs on.");
    text.sample(name, &[], f64::from(u8::from(is_refused)));
    let name = "shrike_credential_refresh_total";
    text.begin(name, "counter", "Readings of all secrets; failed where one kept its last value.");
    text.sample(name, &[("result", "ok")], refreshed as f64);
    text.sample(name, &[("result", "failed")], refresh_failed as f64);
}

/// The terms of the equation: `in_range` is the sum over all fates.
fn account(text: &mut Exposition, exporters: &[ExporterStatus]) {
    let name = "shrike_account_events";
    text.begin(name, "gauge", "Events of the pass by fate; their sum is shrike_account_in_range.");
    for exporter in exporters {
        let counts = exporter.counts;
        for (fate, events) in [
            ("delivered", counts.delivered),
            ("dead_lettered", counts.dead_lettered),
            ("filtered", counts.filtered),
            ("skipped", counts.skipped),
            ("invalid", counts.invalid),
            ("pending", exporter.pending),
        ] {
            let labels = [("exporter", exporter.name.as_str()), ("fate", fate)];
            text.sample(name, &labels, events as f64);
        }
    }
    let name = "shrike_account_in_range";
    text.begin(name, "gauge", "Events from the start of the pass to the log's end.");
    for exporter in exporters {
        text.sample(name, &[("exporter", &exporter.name)], exporter.in_range as f64);
    }
}

/// The text under construction. Writing to a text cannot fail.
#[derive(Debug, Default)]
struct Exposition(String);

impl Exposition {
    fn begin(&mut self, name: &str, kind: &str, about: &str) {
        let _ = write!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], observed: &Observed) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in &observed.below {
            let bound = bound.to_string();
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), *count as f64);
        }
        let count = observed.count as f64;
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        self.sample(&format!("{name}_sum"), labels, observed.sum);
        self.sample(&format!("{name}_count"), labels, count);
    }
}
