//! What bounds a running process and where it keeps things: changed without a restart.

use std::fs;

use rustix::process::Signal;

use crate::{Collector, Place, wait_until};

const TOKEN: &str = "    hec_token: s3cr3t-one\n";

#[track_caller]
fn reload(place: &Place, collector: &Collector, keys: &str) -> String {
    place.configure(collector, &format!("{TOKEN}{keys}"));
    let said = place.said(&["reload"]);
    assert!(!said.contains("restart"), "{said}");
    said
}

fn letters(place: &Place) -> usize {
    place.said(&["dlq", "list", "--json"]).lines().count()
}

#[test]
fn dead_letters_go_where_the_configuration_says_now() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    collector.rejects(true);
    place.configure(&collector, TOKEN);
    let running = place.run();
    let first = place.append();
    wait_until("letters", || letters(&place) == first);
    let said = reload(&place, &collector, "    dlq: {path: other, max_bytes: 16MiB}\n");
    assert!(said.contains("exporters.splunk.dlq.path"), "{said}");
    assert_eq!(letters(&place), 0, "another store");
    let second = place.append();
    wait_until("letters", || letters(&place) == second);
    // Bounds alone leave the store where it is.
    reload(&place, &collector, "    dlq: {path: other, max_bytes: 9MiB, max_age_days: 1}\n");
    assert_eq!(letters(&place), second);
    // Counted only, and back to where it began.
    reload(&place, &collector, "    dlq: {enabled: false}\n");
    let third = place.append();
    wait_until("a count", || {
        let status = place.said(&["status", "--json"]);
        status.contains(&format!("\"dead_lettered\":{}", first + second + third))
    });
    reload(&place, &collector, "");
    assert_eq!(letters(&place), first, "what was counted only is in no store");
    collector.rejects(false);
    let replayed = place.said(&["dlq", "replay", "--exporter", "splunk"]);
    collector.wait_for(first);
    let fourth = place.append();
    collector.wait_for(first + fourth);
    wait_until("an empty store", || letters(&place) == 0);
    // Of this run's letters some lie elsewhere, and some are counted only.
    let log = running.stop_with(1);
    let account = format!(
        r#""in_range":{},"delivered":{},"dead_lettered":{}"#,
        first + second + third + fourth,
        first + fourth,
        second + third
    );
    assert!(log.contains(&account), "{replayed}{account}: {log}");
}

#[test]
fn receipts_go_where_the_configuration_says_now() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, TOKEN);
    let running = place.run();
    let mut events = place.append();
    collector.wait_for(events);
    for keys in [
        "audit: {path: other.jsonl}\n",
        "audit: {enabled: false}\n",
        "audit: {path: other.jsonl}\n",
        "",
    ] {
        reload(&place, &collector, keys);
        events += place.append();
        collector.wait_for(events);
        if !keys.contains("false") {
            place.said(&["audit", "verify"]);
        }
    }
    let log = running.stop();
    assert_eq!(collector.events(), events, "nothing twice, nothing lost: {log}");
    place.said(&["audit", "verify"]);
    let other = fs::read_to_string(place.path("state/other.jsonl")).expect("it was written");
    assert!(other.contains("they come from") && other.contains("they go on in"), "{other}");
    assert!(place.audit().contains("other.jsonl"), "{}", place.audit());
}

#[test]
fn refused_lines_and_lengths_follow_the_configuration() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, TOKEN);
    let running = place.run();
    let change = |pipeline: &str| {
        let text = place.text(&collector, TOKEN);
        let text =
            text.replace("pipeline: {dedup_window: 0}", &format!("pipeline: {{{pipeline}}}"));
        place.write("c.yaml", &text);
        let said = place.said(&["reload"]);
        assert!(!said.contains("restart"), "{said}");
    };
    let refused = || place.said(&["log", "quarantine", "list", "--json"]).lines().count();
    let sample = place.sample();
    let append = |bytes: &[u8]| {
        place.write("more.jsonl", &String::from_utf8_lossy(bytes));
        place.shrike(&["append", "more.jsonl"]).1
    };
    append(b"no event\n");
    assert_eq!(refused(), 1);
    change("dedup_window: 100, quarantine: {path: elsewhere}");
    assert_eq!(refused(), 0, "another store");
    append(&sample);
    collector.wait_for(sample.iter().filter(|&&byte| byte == b'\n').count());
    let before = collector.events();
    let said = append(&sample);
    assert!(said.contains("0 appended"), "the window is there now: {said}");
    change("dedup_window: 0, quarantine: {path: elsewhere}, max_event_bytes: 1024");
    let long = sample.split_inclusive(|&byte| byte == b'\n').filter(|line| line.len() > 1025);
    let long = long.count();
    append(&sample);
    assert!(long > 0 && refused() == long, "{long} lines are too long, {} refused", refused());
    collector.wait_for(2 * before - long);
    running.stop();
}

#[test]
fn a_place_that_cannot_be_used_is_refused_by_its_key_and_nothing_changes() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, TOKEN);
    let running = place.run();
    place.write("plain", "");
    let file = place.path("plain").display().to_string();
    for (keys, expected) in [
        (format!("    dlq: {{path: {file}}}\n"), "c.yaml:11:11: exporters.splunk.dlq.path"),
        (format!("audit: {{path: {file}/a}}\n"), "c.yaml:11:9: audit.path"),
        (
            format!("pipeline: {{quarantine: {{path: {file}}}}}\n"),
            "c.yaml:11:25: pipeline.quarantine.path",
        ),
    ] {
        let text = place.text(&collector, &format!("{TOKEN}{keys}"));
        let is_pipeline = keys.starts_with("pipeline");
        let own = if is_pipeline { "pipeline: {dedup_window: 0}" } else { "nothing of it" };
        place.write("c.yaml", &text.replace(own, ""));
        let (code, said) = place.shrike(&["reload"]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected) && said.contains("is no directory"), "{said}");
    }
    let events = place.append();
    collector.wait_for(events);
    running.stop();
    place.configure(&collector, TOKEN);
    place.said(&["audit", "verify"]);
}

/// Half of what is kept would lie there at once, and half of it only after the next start.
#[test]
fn another_state_directory_waits_for_a_restart() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    collector.rejects(true);
    place.configure(&collector, TOKEN);
    let mut running = place.run();
    let first = place.append();
    wait_until("letters", || letters(&place) == first);
    let text = place.text(&collector, &format!("{TOKEN}    batch: {{size: 7}}\n"));
    let (state, other) = (place.path("state"), place.path("other"));
    let moved = text.replace(&state.display().to_string(), &other.display().to_string());
    place.write("c.yaml", &moved);
    // Told each time, until the process has started again.
    for _ in 0..2 {
        running.signal(Signal::HUP);
        running.wait_for("global.state_dir: ");
        running.wait_for("configuration reloaded");
    }
    let second = place.append();
    place.write("c.yaml", &text);
    wait_until("letters", || letters(&place) == first + second);
    let shown = place.said(&["status", "--json"]);
    let log = running.stop_with(1);
    assert!(!other.exists(), "nothing went there");
    assert!(log.contains("everything that is kept lies there"), "{log}");
    assert!(place.audit().contains("takes effect after a restart"), "{shown}");
    place.said(&["audit", "verify"]);
}

/// An editor, or a copy that is slow, leaves one for a moment; it would end all exporters.
#[test]
fn an_empty_file_changes_nothing() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, TOKEN);
    let text = place.text(&collector, TOKEN);
    let mut running = place.run_with(&["--set", "global.log.format=json"]);
    place.write("c.yaml", "# being written\n");
    running.wait_for("c.yaml: is empty");
    let events = place.append();
    collector.wait_for(events);
    place.write("c.yaml", &text);
    running.wait_for("configuration reloaded");
    running.stop();
    assert_eq!(collector.events(), events, "nothing twice");
}

#[test]
fn what_an_operator_should_know_follows_the_configuration() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, TOKEN);
    let running = place.run();
    let notes = || {
        let status: serde_json::Value =
            serde_json::from_str(&place.said(&["status", "--json"])).expect("JSON");
        status["notes"].to_string()
    };
    let words = "accepts any certificate";
    assert!(!notes().contains(words), "{}", notes());
    let secure = place.text(&collector, TOKEN);
    let far = "  far: {type: splunk, hec_url: 'https://127.0.0.1:9', hec_token: x, \
               tls: {insecure_skip_verify: true}}\n";
    place.write("c.yaml", &format!("{secure}{far}"));
    place.said(&["reload"]);
    assert!(notes().contains(words), "{}", notes());
    place.write("c.yaml", &secure);
    place.said(&["reload"]);
    assert!(!notes().contains(words), "{}", notes());
    let log = running.stop();
    assert_eq!(log.matches(words).count(), 1, "{log}");
}
