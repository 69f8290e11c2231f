//! Asks a server once, as `shrike check --connect` does.

use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::cache::Progress;
use super::client::{Client, PollError};
use super::spec::{FeedSpec, ServerSpec};
use crate::event::Time;

/// Asks for one object: discovery, the collection and the right to read it are looked at on the
/// way. Returns how long that took.
///
/// # Errors
/// Why the feed could not be read.
pub fn probe(spec: &ServerSpec) -> Result<Duration, PollError> {
    let away = |problem: String| PollError::Away { server: spec.name.clone(), problem };
    let feed = FeedSpec { page_size: 1, pages_max: 1, ..spec.feed.clone() };
    let spec = ServerSpec { feed, ..spec.clone() };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| away(error.to_string()))?;
    let mut client = Client::open(&spec)?;
    let begun = Instant::now();
    let polled = LocalSet::new().block_on(&runtime, async {
        let poll = client.poll(Progress::default(), false, Time::now(), drop);
        timeout(PATIENCE, poll).await
    });
    // A name server that does not answer is not waited for.
    runtime.shutdown_background();
    match polled {
        Ok(polled) => polled.map(|_| begun.elapsed()),
        Err(_) => Err(away(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// Somebody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(20);
