//! OASIS's own TAXII server: medallion.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shrike::deliver::Secret;
use shrike::event::Time;
use shrike::intel::{
    ActionSpec, CacheSpec, FeedSpec, Feeds, Intel, IntelSpec, ServerSpec, SignKind, TaxiiAuth, Tlp,
};

use crate::tools::{command, find};

const COLLECTION: &str = "91a7b528-80eb-42ed-a74d-c6fbd5a26116";
const COUNT: usize = 450;

fn stamp(n: usize) -> String {
    format!("2026-03-01T00:{:02}:{:02}.000000Z", n / 60, n % 60)
}

/// What medallion loads: a server with one collection of indicators.
fn served() -> Value {
    let objects = (0..COUNT).map(|n| {
        json!({
            "type": "indicator", "spec_version": "2.1",
            "id": format!("indicator--00000000-0000-4000-8000-{n:012}"),
            "created": stamp(n), "modified": stamp(n), "valid_from": stamp(n),
            "pattern_type": "stix", "pattern": format!("[domain-name:value = '{n}.example']"),
            "indicator_types": ["malicious-activity"],
        })
    });
    let identity = json!({
        "type": "identity", "spec_version": "2.1", "name": "nobody", "created": stamp(0),
        "id": "identity--00000000-0000-4000-8000-000000000000", "modified": stamp(0),
    });
    let objects: Vec<Value> = objects.chain([identity]).collect();
    let manifest: Vec<Value> = objects
        .iter()
        .map(|it| {
            json!({
                "id": it["id"], "date_added": it["modified"], "version": it["modified"],
                "media_type": "application/stix+json;version=2.1",
            })
        })
        .collect();
    json!({
        "/discovery": {
            "title": "judge", "default": "http://localhost/trustgroup1/",
            "api_roots": ["http://localhost/trustgroup1/"],
        },
        "trustgroup1": {
            "information": {
                "title": "root", "versions": ["application/taxii+json;version=2.1"],
                "max_content_length": 9_765_625,
            },
            "status": [],
            "collections": [{
                "id": COLLECTION, "title": "all", "can_read": true, "can_write": false,
                "media_types": ["application/stix+json;version=2.1"],
                "objects": objects, "manifest": manifest,
            }],
        },
    })
}

/// Every page of it is read, by the credentials that it wants, and what it does not know is told.
#[test]
fn a_feed_of_medallion_is_read_whole() {
    let Some(python) = find("python") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, value: &Value| {
        let path = dir.path().join(name);
        std::fs::write(&path, value.to_string()).expect("the directory is ours");
        path
    };
    let data = write("data.json", &served());
    let config = write(
        "config.json",
        &json!({
            "backend": {
                "module": "medallion.backends.memory_backend",
                "module_class": "MemoryBackend", "filename": data,
            },
            "users": { "shrike": "pa:ss" },
            "taxii": { "max_page_size": 100 },
        }),
    );
    let mut command = command(&python.with_file_name("medallion"));
    command.args(["--host", "127.0.0.1", "--port", "0"]).arg(&config);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    let said = BufReader::new(child.stderr.take().expect("it is piped"));
    // It says where it listens, then each request.
    let address = said.lines().map_while(Result::ok).find_map(|line| {
        Some(line.split_once("Running on ")?.1.trim().trim_end_matches('/').to_owned())
    });
    let url = address.expect("it says where it listens");
    let server = |name: &str, password: &str| ServerSpec {
        name: name.into(),
        url: url.parse().expect("a URL"),
        api_root: Some("/trustgroup1/".to_owned()),
        collection_id: COLLECTION.to_owned(),
        auth: TaxiiAuth::Basic {
            username: Secret::new("shrike".to_owned()),
            password: Secret::new(password.to_owned()),
        },
        requests_per_minute: 60_000,
        feed: FeedSpec { interval: Duration::from_millis(500), ..FeedSpec::default() },
        ..ServerSpec::default()
    };
    let spec = IntelSpec {
        servers: vec![server("right", "pa:ss"), server("wrong", "pass")],
        cache: CacheSpec::default(),
        actions: ActionSpec::default(),
        never_block: Vec::new(),
        url_host_blocking: false,
        export_tlp: vec![Tlp::Clear],
        escalate: None,
    };
    let intel = Arc::new(Intel::default());
    let feeds = Feeds::start(&spec, &intel).expect("it starts");
    let sources = intel.sources();
    let begun = Instant::now();
    let is_waiting = || sources[0].polled.load() < 3 || sources[1].failed.load() == 0;
    while is_waiting() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(10));
    }
    feeds.stop();
    child.kill().and_then(|()| child.wait().map(drop)).expect("it is ours");
    let problem = sources[0].problem();
    assert!(sources[0].polled.load() >= 3, "{problem:?}");
    assert_eq!(intel.read().size(SignKind::Domain), COUNT as u64, "{problem:?}");
    assert_eq!((sources[0].failed.load(), sources[0].paging_anomalies.load()), (0, 0));
    let last = format!("{}.example", COUNT - 1);
    let reading = intel.read();
    let found = reading.check(SignKind::Domain, &last, Time::now());
    assert_eq!(found.len(), 1);
    assert!(intel.counts().skipped().all(|(_, count)| count == 0), "indicators were asked for");
    let refused = sources[1].problem().expect("it is told");
    assert!(refused.contains("status 401"), "{refused}");
}
