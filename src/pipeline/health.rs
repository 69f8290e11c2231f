//! Asking destinations how they are, beside the events and never in their way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tracing::{info, warn};

use super::exporter::{Exporter, half, seed};
use super::network::Network;
use super::ways::{endpoints, way_beside};
use super::{EngineError, ExporterSpec};
use crate::deliver::{
    Binding, Channel, CompiledCall, Derived, Fate, Options, Problem, Purpose, Request, Response,
    Settings, Transport, Verdict, Via, judge, judge_transport,
};

/// How a destination said it is when it was last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthStatus {
    /// Whether every endpoint is well.
    pub is_healthy: bool,
    /// What is wrong, one part per endpoint that is not well; empty when all are.
    pub text: String,
    /// How long the slowest endpoint took to answer.
    pub latency: Duration,
    /// How long ago it was asked.
    pub age: Duration,
}

/// What was found last; it is shown and holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Found(Mutex<Option<(Instant, HealthStatus)>>);

impl Found {
    /// What was found last, if anybody asked yet.
    pub(crate) fn load(&self, now: Instant) -> Option<HealthStatus> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, status) = found.as_ref()?;
        Some(HealthStatus { age: now.saturating_duration_since(*at), ..status.clone() })
    }

    /// Keeps what was found; says how it was before.
    fn store(&self, status: HealthStatus, now: Instant) -> Option<bool> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = found.replace((now, status));
        before.map(|(_, status)| status.is_healthy)
    }
}

/// The calls that ask a destination, compiled with the base settings.
pub(super) struct Questions {
    health: Option<CompiledCall>,
    hello: Option<CompiledCall>,
    probe: Option<CompiledCall>,
    options: Options,
    endpoints: usize,
    channel: Channel,
}

/// Which questions make one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// How it is, and whether it would take events, where the vendor knows both.
    Whole,
    /// Whether it would take events; how it is where the vendor has no such call.
    Taking,
}

/// What is not well with an endpoint.
struct Wrong {
    text: String,
    /// Whether it answers and refuses the question, which is no word on events.
    is_refusal: bool,
}

impl Questions {
    /// Compiles the calls that the vendor has.
    ///
    /// # Errors
    /// When an option or a credential cannot be written into a request.
    fn compile(settings: &Settings, derived: &Derived, seed: [u8; 16]) -> Result<Self, Problem> {
        let vendor = settings.vendor;
        let credentials = (vendor.auth)(&settings.options)?;
        let binding = Binding::new(settings, derived, &credentials);
        let compile = |purpose| {
            let call = vendor.call(purpose, &settings.options, settings.format);
            call.map(|call| CompiledCall::compile(call, &binding)).transpose()
        };
        Ok(Self {
            health: compile(Purpose::Health)?,
            hello: compile(Purpose::Hello)?,
            probe: compile(Purpose::Probe)?,
            options: settings.options.clone(),
            endpoints: (vendor.endpoints)(&settings.options)?.len(),
            channel: Channel::from_random(seed),
        })
    }

    /// Whether there is nothing that could be asked.
    fn is_empty(&self) -> bool {
        let calls = [&self.health, &self.hello, &self.probe];
        self.endpoints == 0 || calls.iter().all(|call| call.is_none())
    }

    /// Asks every endpoint, one after the other. Where `is_accepting`, one that refuses the
    /// question alone is well: it takes events.
    async fn ask(
        &self,
        look: Look,
        is_accepting: impl Fn() -> bool,
        network: &impl Transport,
    ) -> HealthStatus {
        let mut wrong = Vec::new();
        let mut latency = Duration::ZERO;
        for endpoint in 0..self.endpoints {
            let asked = Instant::now();
            match self.ask_one(look, endpoint, network).await {
                Err(problem) if !(problem.is_refusal && is_accepting()) => {
                    // URLs may be secrets, so endpoints are named by position.
                    let place = match self.endpoints {
                        1 => String::new(),
                        _ => format!("endpoint {}: ", endpoint + 1),
                    };
                    wrong.push(place + &problem.text);
                }
                _ => {}
            }
            latency = latency.max(asked.elapsed());
        }
        let (is_healthy, text) = (wrong.is_empty(), wrong.join("; "));
        HealthStatus { is_healthy, text, latency, age: Duration::ZERO }
    }

    async fn ask_one(
        &self,
        look: Look,
        endpoint: usize,
        network: &impl Transport,
    ) -> Result<(), Wrong> {
        if look == Look::Whole || self.probe.is_none() {
            self.ask_health(endpoint, network).await?;
        }
        match &self.probe {
            Some(probe) => meaning(&self.send(probe, endpoint, network).await),
            None => Ok(()),
        }
    }

    async fn ask_health(&self, endpoint: usize, network: &impl Transport) -> Result<(), Wrong> {
        if let Some(health) = &self.health {
            let verdict = self.send(health, endpoint, network).await;
            if !verdict.is_not_offered() || self.hello.is_none() {
                return meaning(&verdict);
            }
        }
        match &self.hello {
            Some(hello) => meaning(&self.send(hello, endpoint, network).await),
            None => Ok(()),
        }
    }

    async fn send(
        &self,
        call: &CompiledCall,
        endpoint: usize,
        network: &impl Transport,
    ) -> Verdict {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let via = Via { endpoint, group: 0, channel: self.channel };
        let request = call.plain_at(via, now);
        let timeout = request.timeout.min(ANSWER_WAIT_MAX);
        match network.send(Request { timeout, ..request }).await {
            Ok(answer) => judge(call.call, &Response::without_events(&answer, &self.options)),
            Err(error) => judge_transport(&error),
        }
    }
}

/// Asks again and again; dropped with the lane that it runs beside.
///
/// It has a connection of its own: an answer that does not come must not keep a batch waiting.
pub(super) async fn watch(exporter: Arc<Exporter>, network: Network) {
    let (settings, derived) = (&exporter.settings, &exporter.derived);
    let questions = match Questions::compile(settings, derived, exporter.seed(0)) {
        Ok(questions) if questions.is_empty() => return,
        Ok(questions) => questions,
        Err(problem) => {
            exporter.note_error(format!("health: {problem}"), Instant::now());
            return;
        }
    };
    let mut rng = fastrand::Rng::with_seed(u64::from_le_bytes(half(exporter.seed(0))));
    loop {
        let found = questions.ask(Look::Whole, || exporter.gate.is_accepting(), &network).await;
        tell(&exporter, found);
        let interval = settings.health_interval.max(settings.vendor.health_interval_min);
        tokio::time::sleep(jittered(interval, rng.f64())).await;
    }
}

/// Keeps what was found, and says where it changed.
fn tell(exporter: &Exporter, found: HealthStatus) {
    let (is_healthy, text) = (found.is_healthy, found.text.clone());
    let before = exporter.health.store(found, Instant::now());
    match (before, is_healthy) {
        (None | Some(true), false) => {
            warn!(exporter = exporter.name(), text, "destination not healthy");
        }
        (Some(false), true) => info!(exporter = exporter.name(), "destination healthy again"),
        _ => {}
    }
}

/// Looks at what sending needs on this machine: certificates and keys, the way through a proxy.
/// Connects nowhere.
///
/// # Errors
/// When an exporter could not be started with it.
pub fn examine(spec: &ExporterSpec) -> Result<(), EngineError> {
    way_beside(spec).map(drop)
}

/// Asks a destination once, without an engine: whether it would take events.
///
/// `None` where the vendor has nothing to ask.
///
/// # Errors
/// When the exporter contradicts its vendor's tables, or its transport cannot be set up.
pub fn connect(spec: &ExporterSpec) -> Result<Option<HealthStatus>, EngineError> {
    let settings = &spec.settings;
    let refuse = |problem: String| EngineError::Exporter { name: settings.name.clone(), problem };
    if endpoints(spec)?.is_empty() {
        return Ok(None);
    }
    let derived =
        (settings.vendor.derive)(&settings.options).map_err(|it| refuse(it.to_string()))?;
    let questions = Questions::compile(settings, &derived, seed(&settings.name, 0))
        .map_err(|problem| refuse(problem.to_string()))?;
    if questions.is_empty() {
        return Ok(None);
    }
    let way = way_beside(spec)?;
    let runtime =
        Builder::new_current_thread().enable_all().build().map_err(EngineError::Thread)?;
    let found = LocalSet::new()
        .block_on(&runtime, async { questions.ask(Look::Taking, || false, &way.open()).await });
    Ok(Some(found))
}

/// What a verdict means for people; only a delivered one is well.
fn meaning(verdict: &Verdict) -> Result<(), Wrong> {
    if matches!(verdict.fate, Fate::Delivered) {
        return Ok(());
    }
    let reason = &verdict.reason;
    let mut text = reason.class.to_owned();
    if reason.status > 0 {
        text += &format!(" (status {})", reason.status);
    }
    if !reason.detail.is_empty() {
        text += &format!(": {}", reason.detail);
    }
    Err(Wrong { text, is_refusal: matches!(verdict.fate, Fate::Reject) })
}

/// An interval up to a tenth longer or shorter, so that many processes do not ask at once.
fn jittered(interval: Duration, unit: f64) -> Duration {
    interval.mul_f64(1.0 + JITTER * (2.0 * unit - 1.0))
}

/// An endpoint that takes longer to say how it is, is not well.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// The part of the interval by which looks differ.
const JITTER: f64 = 0.1;
