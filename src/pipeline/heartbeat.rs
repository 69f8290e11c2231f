//! Telling a destination again and again that this process does its work.
//!
//! Beside the events, with a connection of its own: a heartbeat that fails is counted, and nothing
//! waits for it. Who hears none for long raises an alarm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Shared;
use super::exporter::{Exporter, half};
use super::network::Network;
use super::stop::Stage;
use crate::deliver::{
    Binding, Channel, CompiledCall, Fate, HEARTBEAT_HEALTHY, HEARTBEAT_INTERVAL, Problem, Purpose,
    Response, Transport as _, Via, judge, judge_transport,
};
use crate::metrics::Counter;

/// Heartbeats of one exporter.
#[derive(Debug, Default)]
pub struct HeartbeatCounters {
    /// Heartbeats that were taken.
    pub sent: Counter,
    /// Heartbeats that were not.
    pub failed: Counter,
    /// Heartbeats that were left out, since something was not well.
    pub withheld: Counter,
}

/// What became of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Beat {
    Taken,
    Failed(String),
    Withheld(String),
}

/// Whether an exporter sends heartbeats; a hook that acts through one leaves them to that one.
pub(super) fn is_wanted(exporter: &Exporter) -> bool {
    let settings = &exporter.settings;
    exporter.hook.is_none()
        && settings.vendor.call(Purpose::Heartbeat, &settings.options, settings.format).is_some()
}

/// Sends heartbeats until it is dropped with the lane that it runs beside.
pub(super) async fn run(exporter: Arc<Exporter>, shared: Arc<Shared>, network: Network) {
    let call = match compile(&exporter) {
        Ok(Some(call)) => call,
        Ok(None) => return,
        Err(problem) => {
            exporter.note_error(format!("heartbeat: {problem}"), Instant::now());
            return;
        }
    };
    let options = &exporter.settings.options;
    let interval = options.number(HEARTBEAT_INTERVAL).map_or(USUAL_INTERVAL, Duration::from_millis);
    let is_judged = options.is_on(HEARTBEAT_HEALTHY);
    let mut rng = fastrand::Rng::with_seed(u64::from_le_bytes(half(exporter.seed(0))));
    // The first one says that it has started: as soon as somebody has looked.
    let mut wait = FIRST_WAIT;
    let mut before = Beat::Taken;
    loop {
        tokio::time::sleep(wait).await;
        if exporter.stop.stage() != Stage::Run {
            return;
        }
        let wrong = match is_judged {
            true => shared.wellness.wrong(Instant::now()).all(),
            false => Vec::new(),
        };
        let beat = match wrong.is_empty() {
            true => beat(&call, &exporter, &network).await,
            false => Beat::Withheld(wrong.join("; ")),
        };
        tell(&exporter, &before, &beat);
        wait = match beat {
            // Soon, so that it does not run out for one lost request.
            Beat::Failed(_) | Beat::Withheld(_) => interval.min(RETRY_WAIT),
            Beat::Taken => interval.mul_f64(1.0 - JITTER * rng.f64()),
        };
        before = beat;
    }
}

fn compile(exporter: &Exporter) -> Result<Option<CompiledCall>, Problem> {
    let settings = &exporter.settings;
    let credentials = (settings.vendor.auth)(&settings.options)?;
    let binding = Binding::new(settings, &exporter.derived, &credentials);
    let call = settings.vendor.call(Purpose::Heartbeat, &settings.options, settings.format);
    call.map(|call| CompiledCall::compile(call, &binding)).transpose()
}

async fn beat(call: &CompiledCall, exporter: &Exporter, network: &Network) -> Beat {
    let via = Via { endpoint: 0, group: 0, channel: Channel::from_random(exporter.seed(0)) };
    let verdict = match network.send(call.plain(via)).await {
        Ok(answer) => {
            judge(call.call, &Response::without_events(&answer, &exporter.settings.options))
        }
        Err(error) => judge_transport(&error),
    };
    match (verdict.fate, verdict.reason) {
        (Fate::Delivered, _) => Beat::Taken,
        (_, reason) if reason.status > 0 => {
            Beat::Failed(format!("{} (status {})", reason.class, reason.status))
        }
        (_, reason) => Beat::Failed(format!("{}: {}", reason.class, reason.detail)),
    }
}

/// Counts a heartbeat, and says where it is another than the one before.
fn tell(exporter: &Exporter, before: &Beat, beat: &Beat) {
    let (name, counters) = (exporter.name(), &exporter.counters.heartbeat);
    match beat {
        Beat::Taken => counters.sent.add(1),
        Beat::Failed(_) => counters.failed.add(1),
        Beat::Withheld(_) => counters.withheld.add(1),
    }
    if before == beat {
        return;
    }
    match beat {
        Beat::Taken => info!(exporter = name, "heartbeats are taken again"),
        Beat::Failed(problem) => warn!(exporter = name, problem, "heartbeat not taken"),
        Beat::Withheld(wrong) => warn!(exporter = name, wrong, "no heartbeat is sent"),
    }
}

/// Where the vendor has no option for it.
const USUAL_INTERVAL: Duration = Duration::from_secs(300);
/// Until somebody has looked whether all is well.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// After a heartbeat that did not arrive or was left out.
const RETRY_WAIT: Duration = Duration::from_secs(15);
/// The part of the interval by which a heartbeat may come early, so that many processes do not
/// send theirs at once, and none comes late.
const JITTER: f64 = 0.1;
