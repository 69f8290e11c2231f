//! A running exporter: what its lanes share, compiled at start-up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::{Board, EngineError};
use crate::deliver::{
    Allowance, Binding, CompiledCall, Credentials, Derived, Gate, Level, OptionValue, Options,
    Packing, Prefix, Purpose, Settings, Shape, Watermark,
};
use crate::event::{Checkpoint, Counts, Event, FieldId, Offset, Settle, Settled, Span};
use crate::metrics::{Counter, Gauge};
use crate::transform::{Condition, Filter, Overrides, Plan, Schema};

/// One exporter as it is configured, with the schemas that its format names.
#[derive(Debug)]
pub struct ExporterSpec {
    /// The keys.
    pub settings: Settings,
    /// The schema of its documents.
    pub document: &'static Schema,
    /// What operator and host change about the schemas; options are added here.
    pub overrides: Overrides,
    /// Which events it takes.
    pub filter: Filter,
    /// Where single events go instead of the base settings; the first that holds.
    pub routes: Vec<RouteSpec>,
}

/// Where events go for which a condition holds.
#[derive(Debug)]
pub struct RouteSpec {
    /// Which events.
    pub condition: Condition,
    /// What is different for them.
    pub options: Vec<(&'static str, OptionValue)>,
}

/// A running exporter. Lanes share it, and touch what changes in it per stripe, per request or per
/// batch.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub(crate) settings: Settings,
    pub(crate) derived: Derived,
    pub(crate) filter: Filter,
    /// The base settings first, then the routes in order.
    pub(crate) routes: Vec<Route>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) board: Board,
    pub(crate) allowance: Arc<Allowance>,
    pub(crate) counters: ExporterCounters,
    /// Wakes every lane: work was given back, or it is time to stop.
    pub(crate) changed: Notify,
    /// Everything below was given up by retention.
    pub(crate) floor: AtomicU64,
    watermark: Mutex<Watermark>,
    last_error: Mutex<Option<LastError>>,
    /// What was settled before this run, so that resuming lanes leave it out.
    resumed: Checkpoint,
}

/// The settings, plans and calls of one route.
#[derive(Debug)]
pub(crate) struct Route {
    condition: Option<Condition>,
    pub(crate) packing: Arc<Packing>,
    pub(crate) prefix: Option<Plan>,
    usual: Plan,
    shrunk: Plan,
    marked: Option<Plan>,
    pub(crate) send: CompiledCall,
}

/// The last thing that went wrong, for people.
#[derive(Clone, Debug)]
pub(crate) struct LastError {
    pub(crate) at: Instant,
    pub(crate) text: String,
}

/// Counts of one exporter, beside its fates.
#[derive(Debug, Default)]
pub struct ExporterCounters {
    /// Requests that were sent.
    pub requests: Counter,
    /// Bytes of bodies as they went over the wire.
    pub sent_bytes: Counter,
    /// Events sent again after a failure.
    pub retried: Counter,
    /// Events in requests whose end nobody can tell.
    pub ambiguous: Counter,
    /// Events that the destination had already.
    pub duplicates: Counter,
    /// Events that the destination took and put aside.
    pub degraded: Counter,
    /// Events rendered again and marked, since their acknowledgement did not come.
    pub resent: Counter,
    /// Failed requests that counted as no attempt.
    pub outages: Counter,
    /// Batches whose end is not known yet.
    pub batches: Gauge,
    /// Events in open and unsettled batches.
    pub in_batches: Gauge,
}

impl Exporter {
    /// Compiles an exporter that goes on at its checkpoint.
    ///
    /// # Errors
    /// When an option, a schema override or a header contradicts the vendor's tables.
    pub(crate) fn compile(
        spec: ExporterSpec,
        checkpoint: Checkpoint,
        allowance: Arc<Allowance>,
        gate: Arc<Gate>,
        lanes: usize,
        stripe_bytes: u64,
    ) -> Result<Self, EngineError> {
        let name = &spec.settings.name;
        let refuse = |problem: String| EngineError::Exporter { name: name.clone(), problem };
        let mut routes = Vec::with_capacity(1 + spec.routes.len());
        let derived = derive(&spec.settings, &spec.settings.options).map_err(refuse)?;
        routes.push(Route::compile(&spec, None).map_err(refuse)?);
        for route in &spec.routes {
            routes.push(Route::compile(&spec, Some(route)).map_err(refuse)?);
        }
        Ok(Self {
            derived,
            filter: spec.filter,
            routes,
            gate,
            board: Board::new(checkpoint.base, lanes, stripe_bytes),
            allowance,
            counters: ExporterCounters::default(),
            changed: Notify::new(),
            floor: AtomicU64::new(0),
            watermark: Mutex::new(Watermark::open(&checkpoint)),
            last_error: Mutex::new(None),
            resumed: checkpoint,
            settings: spec.settings,
        })
    }

    /// The name: config key and metric label.
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// The route of an event, by position.
    pub(crate) fn route_of(&self, event: &Event<'_>) -> usize {
        let holds = |route: &Route| route.condition.as_ref().is_some_and(|it| it.holds(event));
        self.routes.iter().position(holds).unwrap_or(0)
    }

    /// Notes settled events.
    pub(crate) fn settle(&self, settled: &[Settled]) {
        if !settled.is_empty() {
            self.watermark().settle(settled);
        }
    }

    /// Notes one span that settled as a whole.
    pub(crate) fn settle_one(&self, span: Span, events: u64, fate: Settle) {
        self.settle(&[Settled { span, events, fate }]);
    }

    /// The next offset at or after this one that earlier runs have not settled.
    pub(crate) fn next_unsettled(&self, offset: Offset) -> Offset {
        // What this run settles is never read again, so the checkpoint of the start is enough.
        let ahead = &self.resumed.ahead;
        let at = ahead.partition_point(|span| span.to <= offset);
        match ahead.get(at) {
            Some(span) if span.from <= offset => span.to,
            _ => offset,
        }
    }

    /// The parts of a span that earlier runs have not settled.
    pub(crate) fn unsettled(&self, span: Span) -> Vec<Span> {
        let mut parts = Vec::new();
        let mut from = self.next_unsettled(span.from);
        while from < span.to {
            let ahead = &self.resumed.ahead;
            let at = ahead.partition_point(|settled| settled.to <= from);
            let to = ahead.get(at).map_or(span.to, |settled| settled.from.min(span.to));
            parts.push(Span { from, to });
            from = self.next_unsettled(to);
        }
        parts
    }

    /// Everything settled so far, by fate.
    pub(crate) fn counts(&self) -> Counts {
        self.watermark().counts()
    }

    /// The watermark; locked per settled batch, never per event.
    pub(crate) fn watermark(&self) -> MutexGuard<'_, Watermark> {
        // A panic elsewhere leaves it whole: it is changed by single calls.
        self.watermark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything below was given up.
    pub(crate) fn floor(&self) -> Offset {
        Offset::new(self.floor.load(Ordering::Acquire))
    }

    /// Gives up everything below; lanes settle what they hold of it as skipped.
    pub(crate) fn raise_floor(&self, floor: Offset) {
        self.floor.fetch_max(floor.bytes(), Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Remembers what went wrong last.
    pub(crate) fn note_error(&self, text: String, now: Instant) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(LastError { at: now, text });
    }

    /// What went wrong last.
    pub(crate) fn last_error(&self) -> Option<LastError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The call of this purpose with the base settings, if the vendor has one.
    pub(crate) fn call(&self, purpose: Purpose) -> Option<CompiledCall> {
        let settings = &self.settings;
        let call = settings.vendor.call(purpose, &settings.options, settings.format)?;
        let credentials = (settings.vendor.auth)(&settings.options).unwrap_or_default();
        CompiledCall::compile(call, &Binding::new(settings, &self.derived, &credentials)).ok()
    }
}

impl Route {
    fn compile(spec: &ExporterSpec, route: Option<&RouteSpec>) -> Result<Self, String> {
        let settings = &spec.settings;
        let vendor = settings.vendor;
        let mut options = settings.options.clone();
        for (key, value) in route.iter().flat_map(|route| &route.options) {
            options.set(key, value.clone());
        }
        let derived = derive(settings, &options)?;
        let shape = vendor
            .shape(&options, settings.format)
            .ok_or_else(|| format!("format {} is not offered", settings.format.word()))?;
        let overrides = overrides(spec, &options, &derived);
        let chain = chain(shape, spec.document);
        let compile = |overrides: &Overrides| {
            Plan::compile(&chain, overrides).map_err(|error| error.to_string())
        };
        let prefix = match shape.framing.prefix {
            Prefix::Document(schema) => {
                Some(Plan::compile(&[schema], &overrides).map_err(|error| error.to_string())?)
            }
            Prefix::None | Prefix::OctetCount => None,
        };
        let marked = vendor.resend_mark.map(|(key, text)| {
            let mut marked = overrides.clone();
            marked.mark = Some((key, text));
            compile(&marked)
        });
        let credentials: Credentials =
            (vendor.auth)(&options).map_err(|problem| problem.to_string())?;
        let call = vendor
            .call(Purpose::Send, &options, settings.format)
            .ok_or("the vendor has no call that sends")?;
        let binding = Binding {
            options: &options,
            derived: &derived,
            ..Binding::new(settings, &derived, &credentials)
        };
        let send = CompiledCall::compile(call, &binding).map_err(|problem| problem.to_string())?;
        Ok(Self {
            condition: route.map(|route| route.condition.clone()),
            packing: Arc::new(packing(settings, shape)),
            prefix,
            usual: compile(&overrides)?,
            shrunk: compile(&shrunk(&overrides))?,
            marked: marked.transpose()?,
            send,
        })
    }

    /// The plan that renders at this level.
    pub(crate) fn plan(&self, level: Option<Level>) -> &Plan {
        match level {
            None => &self.usual,
            Some(Level::Shrink | Level::Plain) => &self.shrunk,
            Some(Level::Resend) => self.marked.as_ref().unwrap_or(&self.usual),
        }
    }
}

fn derive(settings: &Settings, options: &Options) -> Result<Derived, String> {
    (settings.vendor.derive)(options).map_err(|problem| problem.to_string())
}

fn chain(shape: &'static Shape, document: &'static Schema) -> Vec<&'static Schema> {
    shape.envelope.into_iter().chain([document]).collect()
}

/// The texts of the options join those that the host and the operator gave.
fn overrides(spec: &ExporterSpec, options: &Options, derived: &Derived) -> Overrides {
    let mut overrides = spec.overrides.clone();
    let texts = options.texts().chain(derived.texts.iter().cloned());
    overrides.texts.extend(texts.map(|(name, text)| (name.to_owned(), text)));
    overrides.omit.extend(derived.omit.iter().map(|&key| key.to_owned()));
    overrides
}

/// What is left out when a document is too large: metadata, then labels; the rest is capped.
fn shrunk(overrides: &Overrides) -> Overrides {
    let mut shrunk = overrides.clone();
    shrunk.deny.extend([FieldId::Metadata, FieldId::Labels]);
    shrunk.raw = None;
    shrunk.truncated = true;
    shrunk
}

fn packing(settings: &Settings, shape: &'static Shape) -> Packing {
    let mut limits = settings.vendor.limits;
    limits.events = limits.events.min(settings.batch.events_max);
    limits.body_bytes = limits.body_bytes.min(settings.batch.bytes_max);
    Packing {
        framing: &shape.framing,
        limits,
        encoding: settings.encoding,
        level: settings.encoding_level,
        flush_on: settings.batch.flush_on,
    }
}
