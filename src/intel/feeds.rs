//! Polls the feeds, in a thread of its own.
//!
//! Each feed has a task; all of them share one cache, which only this thread touches. What is known
//! is published as another snapshot after each poll, and during a long one now and then; whoever
//! asks never waits for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle as Task, LocalSet, spawn_local};
use tracing::{info, warn};

use super::cache::{Cache, FeedTerms, Progress};
use super::client::{Client, PollError, rng};
use super::current::{Intel, Source};
use super::page::Told;
use super::saved::Loaded;
use super::snapshot::{Rules, Snapshot};
use super::spec::{FeedSpec, IntelSpec, ServerSpec};
use super::taxii::Polled;
use crate::event::Time;

/// The thread that polls the feeds.
#[derive(Debug)]
pub struct Feeds {
    orders: UnboundedSender<IntelSpec>,
    thread: JoinHandle<()>,
}

/// Why the feeds cannot be polled.
#[derive(Debug, thiserror::Error)]
pub enum FeedsError {
    /// No thread or timer for them.
    #[error("threat_intel: cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

impl Feeds {
    /// Reads what was kept, so that the first event is held against it, then polls each feed at
    /// once and from then on at its intervals.
    ///
    /// A kept file that cannot be read is told, and the feeds are read all the same.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(spec: &IntelSpec, intel: &Arc<Intel>) -> Result<Self, FeedsError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut room = Room::new(spec, Arc::clone(intel));
        room.load();
        room.look_after();
        let (orders, ordered) = unbounded_channel();
        let spec = spec.clone();
        let run = move || {
            LocalSet::new().block_on(&runtime, run(room, spec, ordered));
            // A name server that does not answer keeps a thread of it; nothing waits for that.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("shrike-intel".to_owned()).spawn(run)?;
        Ok(Self { orders, thread })
    }

    /// Goes on with another configuration: what is kept of feeds that stay is kept, and those that
    /// did not change are not polled anew.
    pub fn reload(&self, spec: &IntelSpec) {
        // A thread that is gone has nothing to reload.
        let _ = self.orders.send(spec.clone());
    }

    /// Abandons polls, saves what is known and waits for that.
    pub fn stop(self) {
        drop(self.orders);
        // A panic there was told by its hook.
        let _ = self.thread.join();
    }
}

/// What the tasks share.
struct Room {
    intel: Arc<Intel>,
    cache: Cache,
    rules: Rules,
    path: Option<PathBuf>,
    /// Whether the cache has what the snapshot has not.
    is_news: bool,
    /// Whether the cache has what the file has not.
    is_dirty: bool,
    published: Instant,
    /// How long making the last snapshot took.
    cost: Duration,
    states: HashMap<Arc<str>, State>,
}

/// How a feed does.
struct State {
    source: Arc<Source>,
    /// Three intervals.
    patience: Duration,
    /// When a poll last succeeded, or the feed was configured.
    well: Instant,
    /// How long none had succeeded before that, by what is written down.
    unwell: Duration,
}

impl State {
    fn is_stale(&self) -> bool {
        self.well.elapsed().saturating_add(self.unwell) > self.patience
    }
}

type Shared = Rc<RefCell<Room>>;

async fn run(room: Room, spec: IntelSpec, mut orders: UnboundedReceiver<IntelSpec>) {
    let room: Shared = Rc::new(RefCell::new(room));
    let mut tasks: Vec<(ServerSpec, Task<()>)> = Vec::new();
    let mut spec = Some(spec);
    let mut pause = TICK_MAX;
    loop {
        if let Some(spec) = spec.take() {
            start_tasks(&spec, &room, &mut tasks);
            let intervals = spec.servers.iter().map(|it| it.feed.interval / 2);
            pause = intervals.min().unwrap_or(TICK_MAX).clamp(TICK_MIN, TICK_MAX);
        }
        tokio::select! {
            ordered = orders.recv() => match ordered {
                Some(ordered) => {
                    room.borrow_mut().reload(&ordered);
                    spec = Some(ordered);
                }
                None => break,
            },
            () = tokio::time::sleep(pause) => room.borrow_mut().look_after(),
        }
    }
    for (_, task) in &tasks {
        task.abort();
    }
    for (_, task) in tasks {
        // It was aborted; a panic was told by its hook.
        let _ = task.await;
    }
    room.borrow_mut().save();
}

/// Ends the tasks of servers that are gone or changed, and starts those of others.
fn start_tasks(spec: &IntelSpec, room: &Shared, tasks: &mut Vec<(ServerSpec, Task<()>)>) {
    tasks.retain(|(server, task)| {
        let stays = spec.servers.contains(server);
        if !stays {
            task.abort();
        }
        stays
    });
    for server in &spec.servers {
        if !tasks.iter().any(|(it, _)| it == server) {
            let task = spawn_local(follow(server.clone(), Rc::clone(room)));
            tasks.push((server.clone(), task));
        }
    }
}

/// Polls one feed for ever.
async fn follow(server: ServerSpec, room: Shared) {
    let mut client: Option<Client> = None;
    let (mut failures, mut rng) = (0, rng());
    loop {
        let begun = Instant::now();
        let polled = match client.take().map_or_else(|| Client::open(&server), Ok) {
            Ok(mut opened) => {
                let polled = poll(&mut opened, &server, &room).await;
                client = Some(opened);
                polled
            }
            Err(error) => Err(error),
        };
        let wait = match &polled {
            // A server that is away is not given a whole interval.
            Err(error) if error.is_outage() => {
                failures += 1;
                let grown = OUTAGE_WAIT.saturating_mul(1 << (failures - 1).min(OUTAGE_STEPS));
                grown.min(server.feed.interval)
            }
            _ => {
                failures = 0;
                server.feed.interval
            }
        };
        room.borrow_mut().settle(&server, polled, begun.elapsed());
        tokio::time::sleep(wait.mul_f64(0.9 + 0.2 * rng.f64())).await;
    }
}

async fn poll(
    client: &mut Client,
    server: &ServerSpec,
    room: &Shared,
) -> Result<Polled, PollError> {
    let key = server.key();
    let now = Time::now();
    let progress = room.borrow().cache.progress(&key);
    let is_full = is_full_due(progress, &server.feed, now);
    client.poll(progress, is_full, now, |objects| room.borrow_mut().take(&key, objects)).await
}

/// Whether the whole feed is to be read again: something else was asked for the last time, or the
/// next poll may come too late for it, and no reading is under way that began since.
fn is_full_due(progress: Progress, feed: &FeedSpec, now: Time) -> bool {
    let is_within = |at: Time, bound: Duration| {
        let ago = now.secs.checked_sub(at.secs).and_then(|secs| u64::try_from(secs).ok());
        // What lies ahead says that the clock was set back.
        ago.is_some_and(|ago| Duration::from_secs(ago) < bound)
    };
    let bound = feed.full_sync.saturating_sub(feed.interval_max());
    let is_synced = progress.synced.is_some_and(|at| is_within(at, bound));
    // The poll after the one that began it has to go on with it.
    let bound = feed.full_sync.max(feed.interval_max() * 2);
    let is_under_way = progress.sync_begun.is_some_and(|at| is_within(at, bound));
    progress.asked != feed.asked() || !(is_synced || is_under_way)
}

impl Room {
    fn new(spec: &IntelSpec, intel: Arc<Intel>) -> Self {
        let mut room = Self {
            intel,
            cache: Cache::new(spec.cache.size_max, &spec.export_tlp),
            rules: Rules::default(),
            path: None,
            is_news: true,
            is_dirty: false,
            published: Instant::now(),
            cost: Duration::ZERO,
            states: HashMap::new(),
        };
        room.set(spec);
        room
    }

    fn set(&mut self, spec: &IntelSpec) {
        self.cache.set_bounds(spec.cache.size_max, &spec.export_tlp);
        self.cache.set_feeds(&spec.servers.iter().map(ServerSpec::terms).collect::<Vec<_>>());
        self.rules = Rules {
            never_block: spec.never_block.clone(),
            url_host_blocking: spec.url_host_blocking,
        };
        self.path.clone_from(&spec.cache.path);
        let names: Vec<Arc<str>> = spec.servers.iter().map(|it| Arc::clone(&it.name)).collect();
        let sources = self.intel.set_sources(&names);
        let mut known = std::mem::take(&mut self.states);
        for (server, source) in spec.servers.iter().zip(sources.iter()) {
            let known = known.remove(&server.name).map(|it| (it.well, it.unwell));
            let (well, unwell) = known.unwrap_or_else(|| (Instant::now(), Duration::ZERO));
            let patience = server.feed.interval.saturating_mul(INTERVALS_MISSED);
            let state = State { source: Arc::clone(source), patience, well, unwell };
            self.states.insert(Arc::clone(&server.name), state);
        }
    }

    fn reload(&mut self, spec: &IntelSpec) {
        self.set(spec);
        (self.is_news, self.is_dirty) = (true, true);
        self.publish();
        self.save();
    }

    fn load(&mut self) {
        let Some(path) = &self.path else { return };
        match self.cache.load(path) {
            Ok(Loaded::Nothing) => {}
            Ok(Loaded::Indicators(count)) => {
                info!(count, path = %path.display(), "indicators of the last run are used");
            }
            Ok(Loaded::Corrupt { aside, problem }) => warn!(
                problem,
                aside = %aside.display(),
                "the kept indicators cannot be read and were put aside; feeds are read anew"
            ),
            Err(error) => warn!("{error}; feeds are read anew"),
        }
        let now = Time::now();
        for (key, name) in self.cache.names() {
            let read = self.cache.progress(&key).read;
            if let (Some(state), Some(read)) = (self.states.get_mut(&name), read) {
                state.source.last_success.set(u64::try_from(read.secs).unwrap_or(0));
                state.unwell = since(read, now);
            }
        }
    }

    /// Takes a page.
    fn take(&mut self, key: &str, told: Told) {
        let applied = self.cache.apply(key, told, Time::now());
        let counts = self.intel.counts();
        for (reason, count) in applied.skipped {
            counts.skip(reason, count);
        }
        counts.evicted_expired.add(applied.evicted_expired);
        counts.evicted_full.add(applied.evicted_full);
        (self.is_news, self.is_dirty) = (true, true);
        // At most a twentieth of the time goes into snapshots of which the next page makes another.
        if self.published.elapsed() >= PUBLISH_MIN.max(self.cost * 20) {
            self.publish();
        }
    }

    /// Notes how a poll ended.
    fn settle(&mut self, server: &ServerSpec, polled: Result<Polled, PollError>, took: Duration) {
        self.publish();
        let Some(state) = self.states.get_mut(&server.name) else { return };
        let source = &state.source;
        source.poll_seconds.observe(took.as_secs_f64());
        let before = source.problem();
        match polled {
            Ok(polled) => {
                let (key, now) = (server.key(), Time::now());
                let mut progress = polled.progress;
                self.is_dirty |= self.cache.progress(&key) != progress;
                // A poll that brought nothing is written down before it would count as missed.
                let is_late = progress.read.is_none_or(|at| since(at, now) >= state.patience / 2);
                self.is_dirty |= is_late && !polled.is_stuck;
                if self.is_dirty && !polled.is_stuck {
                    progress.read = Some(now);
                }
                self.cache.set_progress(&key, progress);
                source.paging_anomalies.add(polled.anomalies);
                let Polled { pages, is_cut, .. } = polled;
                tracing::debug!(server = &*server.name, pages, is_cut, "read");
                let polls = if is_cut { &source.cut } else { &source.polled };
                polls.add(1);
                if polled.is_stuck {
                    let problem = format!(
                        "threat_intel: {}: the feed goes on after {pages} pages, and the server \
                         gives no dates by which another poll could read the rest: raise \
                         `max_pages` or `page_size`, or ask its operator for \
                         X-TAXII-Date-Added-Last",
                        server.name
                    );
                    tell(source, problem);
                    return self.save();
                }
                source.last_success.set(u64::try_from(now.secs).unwrap_or(0));
                source.set_problem(None);
                (state.well, state.unwell) = (Instant::now(), Duration::ZERO);
                if before.is_some() || source.stale.load() > 0 {
                    info!(server = &*server.name, "the feed is read again");
                }
                source.stale.set(0);
            }
            Err(error) => {
                source.failed.add(1);
                tell(source, error.to_string());
            }
        }
        self.save();
    }

    /// Forgets what is over, and tells which feeds are stale.
    fn look_after(&mut self) {
        if self.cache.expire(Time::now()) {
            (self.is_news, self.is_dirty) = (true, true);
        }
        self.publish();
        for (name, state) in &self.states {
            if state.is_stale() && state.source.stale.load() == 0 {
                state.source.stale.set(1);
                warn!(
                    server = &**name,
                    "the feed is stale: three intervals passed without a poll \
                      that came to its end; what is known is used until it expires"
                );
            }
        }
    }

    /// Has questions answered from what is known now, where that is anything new.
    fn publish(&mut self) {
        if !std::mem::take(&mut self.is_news) {
            return;
        }
        let begun = Instant::now();
        let listed = self.cache.listed(Time::now());
        self.intel.swap(Snapshot::new(listed, &self.rules));
        for (key, name) in self.cache.names() {
            if let Some(state) = self.states.get(&name) {
                state.source.indicators.set(self.cache.indicators(&key) as u64);
            }
        }
        (self.published, self.cost) = (Instant::now(), begun.elapsed());
    }

    /// Writes what is not in the file yet.
    fn save(&mut self) {
        let Some(path) = self.path.as_ref().filter(|_| self.is_dirty) else { return };
        match self.cache.save(path) {
            Ok(()) => self.is_dirty = false,
            Err(error) => warn!("{error}"),
        }
    }
}

/// How long ago that was; a clock that was set back makes nothing old.
fn since(at: Time, now: Time) -> Duration {
    Duration::from_secs(u64::try_from(now.secs.saturating_sub(at.secs)).unwrap_or(0))
}

/// Says what is wrong with a feed, once as long as it stays the same.
fn tell(source: &Source, problem: String) {
    if source.problem().as_ref() != Some(&problem) {
        warn!("{problem}");
    }
    source.set_problem(Some(problem));
}

impl ServerSpec {
    /// What tells its feed from others, without credentials.
    #[must_use]
    pub fn key(&self) -> String {
        let host = self.url.host().unwrap_or_default();
        let port = self.url.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        let scheme = self.url.scheme_str().unwrap_or_default();
        let root = self.api_root.as_deref().unwrap_or_default();
        format!("{scheme}://{host}{port}{} {root} {}", self.url.path(), self.collection_id)
    }

    fn terms(&self) -> FeedTerms {
        FeedTerms {
            key: self.key(),
            name: Arc::clone(&self.name),
            ttl: self.feed.cache_ttl,
            confidence_min: self.feed.confidence_min,
            confidence_default: self.feed.confidence_default,
        }
    }
}

/// Intervals without a poll that succeeded after which a feed is stale.
const INTERVALS_MISSED: u32 = 3;
/// The first wait after a poll that found the server away; it doubles from there.
const OUTAGE_WAIT: Duration = Duration::from_secs(30);
const OUTAGE_STEPS: u32 = 10;
/// Snapshots during a poll are at least so far apart.
const PUBLISH_MIN: Duration = Duration::from_secs(1);
/// How often is looked for what expired.
const TICK_MIN: Duration = Duration::from_millis(100);
const TICK_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_feed_is_read_again_in_time() {
        let at = |secs| Time { secs, nanos: 0 };
        let minutes = |count: u64| Duration::from_secs(count * 60);
        let cases = [
            (None, None, 0, true),
            // The next poll may come 11 minutes later.
            (Some(0), None, 49 * 60 - 1, false),
            (Some(0), None, 49 * 60, true),
            // It goes on over several polls, though not for ever.
            (Some(0), Some(3600), 3700, false),
            (None, Some(0), 3599, false),
            (None, Some(0), 3600, true),
            // The clock was set back.
            (Some(5000), None, 4000, true),
        ];
        let feed = |interval| FeedSpec {
            interval: minutes(interval),
            full_sync: minutes(60),
            ..FeedSpec::default()
        };
        let asked = feed(10).asked();
        let progress = |synced: Option<i64>, sync_begun: Option<i64>| {
            let (synced, sync_begun) = (synced.map(at), sync_begun.map(at));
            Progress { cursor: None, synced, sync_begun, asked, read: None }
        };
        for (synced, sync_begun, now, expected) in cases {
            let progress = progress(synced, sync_begun);
            assert_eq!(is_full_due(progress, &feed(10), at(now)), expected, "{progress:?} {now}");
        }
        // Each poll is a full one where they are so far apart, but goes on with one.
        assert!(is_full_due(progress(Some(0), None), &feed(600), at(1)));
        assert!(!is_full_due(progress(None, Some(0)), &feed(600), at(660 * 60)));
    }

    #[test]
    fn a_feed_is_read_anew_when_it_is_asked_for_more() {
        let now = Time { secs: 10, nanos: 0 };
        let feed = FeedSpec { confidence_min: Some(50), ..FeedSpec::default() };
        let synced = Some(Time { secs: 0, nanos: 0 });
        let progress = Progress { synced, asked: feed.asked(), ..Progress::default() };
        assert!(!is_full_due(progress, &feed, now));
        assert!(!is_full_due(progress, &FeedSpec { page_size: 7, ..feed.clone() }, now));
        let types = vec!["indicator".to_owned(), "relationship".to_owned()];
        for other in [
            FeedSpec { include_types: types, ..feed.clone() },
            FeedSpec { confidence_min: Some(40), ..feed.clone() },
            FeedSpec { added_after: Some(now), ..feed.clone() },
            // What says nothing may be sure enough now.
            FeedSpec { confidence_default: 40, ..feed.clone() },
        ] {
            assert!(is_full_due(progress, &other, now), "{other:?}");
        }
    }

    #[test]
    fn a_feed_is_told_from_others_without_credentials() {
        let spec = ServerSpec {
            url: "https://user:secret@host.example:8443/base/".parse().expect("a URL"),
            collection_id: "c1".to_owned(),
            ..ServerSpec::default()
        };
        assert_eq!(spec.key(), "https://host.example:8443/base/  c1");
    }
}
