//! Feeds that are followed by a thread of their own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::fake::{TaxiiManner, TaxiiTerms};
use serde_json::json;
use shrike::event::Time;
use shrike::intel::{
    ActionSpec, Allowed, Cache, CacheSpec, FeedSpec, FeedTerms, Feeds, Intel, IntelSpec, Progress,
    ServerSpec, SignKind, Source, Tlp,
};

use crate::served::{Served, added, indicator};

const LONG: Duration = Duration::from_secs(3600);

fn spec(servers: Vec<ServerSpec>) -> IntelSpec {
    IntelSpec {
        servers,
        cache: CacheSpec::default(),
        actions: ActionSpec::default(),
        never_block: Vec::new(),
        url_host_blocking: false,
        export_tlp: vec![Tlp::Clear],
        escalate: None,
    }
}

fn kept(servers: Vec<ServerSpec>, path: &Path) -> IntelSpec {
    let cache = CacheSpec { path: Some(path.to_owned()), ..CacheSpec::default() };
    IntelSpec { cache, ..spec(servers) }
}

fn named(served: &Served, name: &str, interval: Duration) -> ServerSpec {
    let feed = FeedSpec { interval, ..FeedSpec::default() };
    ServerSpec { name: name.into(), feed, ..served.spec() }
}

fn start(spec: &IntelSpec) -> (Feeds, Arc<Intel>) {
    let intel = Arc::new(Intel::default());
    (Feeds::start(spec, &intel).expect("it starts"), intel)
}

fn knows(intel: &Intel, domain: &str) -> bool {
    !intel.check(&intel.read(), SignKind::Domain, domain, Time::now()).is_empty()
}

fn source(intel: &Intel, name: &str) -> Arc<Source> {
    let sources = intel.sources();
    Arc::clone(sources.iter().find(|it| &*it.name == name).expect("it is configured"))
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not so: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_feed_is_read_at_start_and_at_each_interval() {
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..250);
    let (feeds, intel) = start(&spec(vec![named(&served, "f", Duration::from_millis(200))]));
    eventually("it is read at once", || knows(&intel, "249.example"));
    let source = source(&intel, "f");
    eventually("the poll is counted", || source.polled.load() == 1);
    assert_eq!((source.indicators.load(), source.failed.load()), (250, 0));
    assert_eq!(source.poll_seconds.load().count, 1);
    assert!(Time::now().secs.unsigned_abs() - source.last_success.load() < 30);
    assert_eq!(intel.read().size(SignKind::Domain), 250);
    assert!(!knows(&intel, "250.example"));
    served.fill(250..251);
    eventually("what is new is read", || knows(&intel, "250.example"));
    let gone = indicator("250.example");
    let mut gone = gone.as_object().expect("an object").clone();
    gone.insert("revoked".into(), json!(true));
    gone.insert("modified".into(), json!("2026-02-01T00:00:00.000Z"));
    served.feed.add(&added(251), &json!(gone).to_string());
    served.feed.add(&added(252), r#"{"type":"identity","id":"identity--1"}"#);
    eventually("what is taken back is gone", || !knows(&intel, "250.example"));
    assert_eq!(source.stale.load(), 0);
    let (lookups, hits) = (intel.counts().lookups.load(), intel.counts().hits.load());
    assert!(hits >= 2 && lookups > hits, "{hits} of {lookups}");
    feeds.stop();
    served.end();
}

#[test]
fn a_restart_knows_what_was_known_and_asks_for_what_is_new() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("cache");
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..150);
    let spec = kept(vec![named(&served, "f", LONG)], &path);
    let (feeds, intel) = start(&spec);
    eventually("it is read", || source(&intel, "f").polled.load() == 1);
    // Not stopped: what a poll gave is in the file when the poll has ended.
    eventually("it is kept", || path.exists());
    let (second, again) = start(&spec);
    assert!(knows(&again, "149.example"), "at once");
    eventually("it is read", || source(&again, "f").polled.load() == 1);
    let last = served.feed.take_asked().pop().expect("asked");
    assert!(last.contains(&added(149).replace(':', "%3A")), "{last}");
    second.stop();
    feeds.stop();
    served.end();
}

#[test]
fn a_damaged_file_is_read_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("cache");
    std::fs::write(&path, "half of a li").expect("the directory is ours");
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..2);
    let (feeds, intel) = start(&kept(vec![named(&served, "f", LONG)], &path));
    eventually("it is read", || knows(&intel, "1.example"));
    feeds.stop();
    assert_eq!(std::fs::read(dir.path().join("cache.corrupt")).expect("aside"), b"half of a li");
    assert!(path.exists());
    // A place that cannot be read keeps nobody from reading feeds.
    let (feeds, intel) = start(&kept(vec![named(&served, "f", LONG)], dir.path()));
    eventually("it is read", || knows(&intel, "1.example"));
    feeds.stop();
    served.end();
}

#[test]
fn one_that_fails_delays_no_other() {
    let hanging = Served::new(TaxiiTerms::default(), "hang");
    let refusing = Served::new(TaxiiTerms::default(), "status 403");
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..1);
    let interval = Duration::from_millis(200);
    let servers = vec![
        named(&hanging, "hangs", interval),
        named(&refusing, "refuses", interval),
        named(&served, "works", interval),
    ];
    let (feeds, intel) = start(&spec(servers));
    eventually("it goes on", || source(&intel, "works").polled.load() >= 5);
    eventually("they are stale", || {
        source(&intel, "hangs").stale.load() == 1 && source(&intel, "refuses").stale.load() == 1
    });
    assert_eq!(source(&intel, "works").stale.load(), 0);
    let problem = source(&intel, "refuses").problem().expect("it is told");
    assert!(problem.contains("refuses: discovery: status 403"), "{problem}");
    assert!(source(&intel, "refuses").failed.load() >= 3);
    assert!(knows(&intel, "0.example"));
    let begun = Instant::now();
    feeds.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "a poll that hangs is abandoned");
    for it in [hanging, refusing, served] {
        it.fake.stop();
    }
}

#[test]
fn a_feed_that_is_well_again_says_so() {
    let served = Served::new(TaxiiTerms::default(), "requests 0..20 status 403");
    served.fill(0..1);
    let (feeds, intel) = start(&spec(vec![named(&served, "f", Duration::from_millis(50))]));
    let source = source(&intel, "f");
    eventually("it is stale", || source.stale.load() == 1);
    eventually("it is read", || source.polled.load() > 0);
    assert_eq!((source.stale.load(), source.problem()), (0, None));
    feeds.stop();
    served.end();
}

#[test]
fn a_reload_keeps_what_is_known() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, two) =
        (Served::new(TaxiiTerms::default(), ""), Served::new(TaxiiTerms::default(), ""));
    one.fill(0..2);
    two.fill(5..7);
    let first = named(&one, "one", LONG);
    let (feeds, intel) = start(&spec(vec![first.clone(), named(&two, "two", LONG)]));
    eventually("both are read", || knows(&intel, "1.example") && knows(&intel, "6.example"));
    eventually("the poll has ended", || source(&intel, "one").polled.load() == 1);
    one.feed.take_asked();

    // Other rules hold at once, and nothing is asked anew.
    let path = dir.path().join("cache");
    let ruled = IntelSpec {
        never_block: vec![Allowed::parse("1.example").expect("a domain")],
        ..kept(vec![first.clone()], &path)
    };
    feeds.reload(&ruled);
    eventually("it is allowed", || !knows(&intel, "1.example"));
    assert!(knows(&intel, "0.example"));
    assert!(!knows(&intel, "6.example"), "the other feed went");
    assert_eq!(intel.sources().len(), 1);
    assert_eq!(source(&intel, "one").polled.load(), 1);
    assert_eq!(source(&intel, "one").indicators.load(), 2);
    eventually("it is kept from now on", || path.exists());
    assert!(one.feed.take_asked().is_empty());

    // Another interval is a poll at once, which goes on where the last one was.
    one.fill(2..3);
    let feed = FeedSpec { interval: LONG * 2, ..FeedSpec::default() };
    feeds.reload(&spec(vec![ServerSpec { feed, ..first }, named(&two, "two", LONG)]));
    eventually("what is new is known", || knows(&intel, "2.example") && knows(&intel, "6.example"));
    assert!(knows(&intel, "1.example") && knows(&intel, "0.example"));
    let asked = one.feed.take_asked();
    assert!(asked.last().is_some_and(|it| it.contains("added_after")), "{asked:?}");

    // Who asks for other kinds has the feed read whole, for what it left out before.
    let other = r#"{"type":"identity","id":"identity--1","created":"2026-01-01T00:00:00Z"}"#;
    one.feed.add(&added(0), other);
    let include_types = vec!["indicator".to_owned(), "identity".to_owned()];
    let feed = FeedSpec { interval: LONG, include_types, ..FeedSpec::default() };
    feeds.reload(&spec(vec![ServerSpec { feed, ..named(&one, "one", LONG) }]));
    eventually("it came", || intel.counts().skipped().any(|it| it == ("kind", 1)));
    feeds.stop();
    one.end();
    two.end();
}

#[test]
fn a_feed_that_nobody_could_read_for_long_is_stale_after_a_restart_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("cache");
    let served = Served::new(TaxiiTerms::default(), "");
    let server = named(&served, "f", LONG);
    let away = ServerSpec { url: "http://127.0.0.1:1/".parse().expect("a URL"), ..server.clone() };
    let hours_ago = |hours: i64| Time { secs: Time::now().secs - hours * 3600, nanos: 0 };
    for (hours, is_stale) in [(2, 0), (20, 1)] {
        let mut cache = Cache::new(10, &[]);
        cache.set_feeds(&[FeedTerms { key: away.key(), ..FeedTerms::default() }]);
        let read = Some(hours_ago(hours));
        cache.set_progress(&away.key(), Progress { read, ..Progress::default() });
        cache.save(&path).expect("it is saved");
        let (feeds, intel) = start(&kept(vec![away.clone()], &path));
        assert_eq!(source(&intel, "f").stale.load(), is_stale, "read {hours} hours ago");
        feeds.stop();
    }
    // A poll that brings nothing is written down too.
    let (feeds, intel) = start(&kept(vec![server.clone()], &path));
    eventually("it is read", || source(&intel, "f").polled.load() == 1);
    feeds.stop();
    served.end();
    let (feeds, intel) = start(&kept(vec![server], &path));
    let last = source(&intel, "f").last_success.load();
    assert!(i64::try_from(last).expect("small") >= hours_ago(1).secs, "{last}");
    feeds.stop();
}

#[test]
fn what_is_read_again_in_time_does_not_expire() {
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..120);
    let feed = |full_sync| FeedSpec {
        interval: Duration::from_millis(200),
        cache_ttl: Duration::from_secs(3),
        full_sync,
        ..FeedSpec::default()
    };
    let server = |name: &str, collection: FeedSpec| ServerSpec {
        name: name.into(),
        feed: collection,
        ..served.spec()
    };
    let again = spec(vec![server("again", feed(Duration::from_secs(1)))]);
    let never = spec(vec![server("never", feed(LONG))]);
    let ((feeds, renewed), (other, once)) = (start(&again), start(&never));
    eventually("both are read", || knows(&renewed, "0.example") && knows(&once, "0.example"));
    eventually("what nobody tells again expires", || !knows(&once, "0.example"));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert!(knows(&renewed, "0.example") && knows(&renewed, "119.example"));
        thread::sleep(Duration::from_millis(20));
    }
    eventually("the snapshot is without it", || once.read().size(SignKind::Domain) == 0);
    feeds.stop();
    other.stop();
    served.end();
}

#[test]
fn what_is_wrong_with_pages_is_counted() {
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..150);
    served.feed.set_manner(TaxiiManner::MoreWithoutNext);
    let mut bad = indicator("bad.example");
    bad["pattern"] = json!("[domain-name:value = 'com']");
    served.feed.add(&added(0), &bad.to_string());
    let (feeds, intel) = start(&spec(vec![named(&served, "f", LONG)]));
    let source = source(&intel, "f");
    eventually("it is read", || source.cut.load() == 1);
    assert_eq!((source.polled.load(), source.paging_anomalies.load()), (0, 1));
    assert_eq!((source.problem(), source.stale.load()), (None, 0), "the next poll goes on there");
    let skipped: Vec<_> = intel.counts().skipped().filter(|(_, count)| *count > 0).collect();
    assert_eq!(skipped, [("public_suffix", 1)]);
    feeds.stop();
    served.end();
}

#[test]
fn a_feed_that_cannot_be_read_to_its_end_says_so() {
    let served = Served::new(TaxiiTerms::default(), "");
    served.fill(0..150);
    served.feed.set_manner(TaxiiManner::NoDates);
    let mut server = named(&served, "f", LONG);
    server.feed.pages_max = 1;
    let (feeds, intel) = start(&spec(vec![server]));
    let source = source(&intel, "f");
    eventually("it is told", || source.problem().is_some());
    let problem = source.problem().unwrap_or_default();
    assert!(problem.contains("f: the feed goes on after 1 pages"), "{problem}");
    assert_eq!((source.cut.load(), source.polled.load(), source.last_success.load()), (1, 0, 0));
    assert!(knows(&intel, "99.example"));
    feeds.stop();
    served.end();
}

/// "the egress answer must take microseconds, also during a poll or a save".
#[test]
fn questions_wait_for_no_poll() {
    let dir = tempfile::tempdir().expect("a directory");
    let served = Served::new(TaxiiTerms { page_max: 1000, ..TaxiiTerms::default() }, "");
    served.fill(0..5000);
    let intel = Arc::new(Intel::default());
    let is_over = AtomicBool::new(false);
    let mut server = named(&served, "f", Duration::from_millis(1));
    server.feed.page_size = 1000;
    // Each poll reads all of it, makes a snapshot and saves it.
    server.feed.full_sync = Duration::ZERO;
    let spec = kept(vec![server], &dir.path().join("cache"));
    let feeds = Feeds::start(&spec, &intel).expect("it starts");
    let mut took = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut took = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let found = knows(&intel, "www.4999.example") || took.is_empty();
                took.push(begun.elapsed());
                std::hint::black_box(found);
            }
            took
        });
        // Ended before anything is asserted: a scope waits for its threads.
        let begun = Instant::now();
        while source(&intel, "f").polled.load() < 4 && begun.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(5));
        }
        is_over.store(true, Ordering::Relaxed);
        asking.join().expect("it asks")
    });
    feeds.stop();
    assert!(source(&intel, "f").polled.load() >= 4, "it is polled again and again");
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    println!("{} questions, p50 {:?}, p99 {p99:?}", took.len(), took[took.len() / 2]);
    // Without optimisation, on a machine that does other work too.
    assert!(p99 < Duration::from_millis(2), "{p99:?}");
    served.end();
}
