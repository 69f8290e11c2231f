//! What is kept of feeds, against a model that searches lists.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use shrike::event::Time;
use shrike::intel::{
    About, Applied, Cache, FeedTerms, Listed, Loaded, Object, Progress, Rules, SignKind, Snapshot,
    Technique, Tlp, Told,
};

const START: i64 = 1_767_225_600;
const EXPORT: &[Tlp] = &[Tlp::Clear, Tlp::Green, Tlp::Amber];

fn at(secs: i64) -> Time {
    Time { secs: START + secs, nanos: 0 }
}

fn stamp(secs: i64) -> String {
    at(secs).text()
}

fn terms(name: &str, ttl: u64) -> FeedTerms {
    FeedTerms {
        key: format!("https://{name}.example/ root collection"),
        name: Arc::from(name),
        ttl: Duration::from_secs(ttl),
        confidence_min: None,
        confidence_default: 50,
    }
}

fn cache(size_max: usize, feeds: &[FeedTerms]) -> Cache {
    let mut cache = Cache::new(size_max, EXPORT);
    cache.set_feeds(feeds);
    cache
}

/// An indicator of a domain with its name in the id.
fn indicator(name: &str, modified: i64) -> Value {
    json!({
        "type": "indicator", "spec_version": "2.1", "id": format!("indicator--{name}"),
        "created": stamp(0), "modified": stamp(modified), "pattern_type": "stix",
        "pattern": format!("[domain-name:value = '{name}.example']"), "valid_from": stamp(-10),
    })
}

fn with(mut object: Value, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("no members") };
    for (name, value) in members {
        object[name] = value;
    }
    object
}

fn read(objects: &[Value]) -> Told {
    objects.iter().map(|it| Object::parse(&it.to_string())).collect()
}

fn apply(cache: &mut Cache, feed: &FeedTerms, objects: &[Value], secs: i64) -> Applied {
    cache.apply(&feed.key, read(objects), at(secs))
}

/// The values that are listed, sorted.
fn values(cache: &mut Cache, secs: i64) -> Vec<String> {
    let mut values: Vec<_> = cache.listed(at(secs)).into_iter().map(|it| it.sign.value).collect();
    values.sort();
    values
}

fn skipped(applied: &Applied, reason: &str) -> u64 {
    applied.skipped.get(reason).copied().unwrap_or_default()
}

fn only(cache: &mut Cache, secs: i64) -> Listed {
    let mut listed = cache.listed(at(secs));
    assert_eq!(listed.len(), 1, "{listed:?}");
    listed.remove(0)
}

#[test]
fn the_newest_version_of_an_id_counts() {
    let feed = terms("a", 1000);
    let mut cache = cache(100, std::slice::from_ref(&feed));
    let new = with(indicator("x", 20), json!({ "pattern": "[url:value = 'http://new.example/']" }));
    apply(&mut cache, &feed, &[new], 0);
    let applied = apply(&mut cache, &feed, &[indicator("x", 10)], 1);
    assert_eq!(skipped(&applied, "outdated"), 1);
    assert_eq!(values(&mut cache, 1), ["http://new.example/"]);
    let revoked = with(indicator("x", 30), json!({ "revoked": true }));
    apply(&mut cache, &feed, &[revoked], 2);
    assert!(values(&mut cache, 2).is_empty());
    // It stays taken back when an older version comes late, until a newer one comes.
    apply(&mut cache, &feed, &[indicator("x", 20)], 3);
    assert!(values(&mut cache, 3).is_empty());
    assert_eq!(cache.indicators(&feed.key), 0);
    apply(&mut cache, &feed, &[indicator("x", 40)], 4);
    assert_eq!(values(&mut cache, 4), ["x.example"]);
}

#[test]
fn an_indicator_holds_as_long_as_it_is_told() {
    let feed = terms("a", 100);
    let mut cache = cache(100, std::slice::from_ref(&feed));
    let short = with(indicator("short", 0), json!({ "valid_until": stamp(30) }));
    let late = with(indicator("late", 0), json!({ "valid_from": stamp(50) }));
    let over = with(indicator("over", 0), json!({ "valid_until": stamp(0) }));
    let applied = apply(&mut cache, &feed, &[short, late, over, indicator("x", 0)], 0);
    assert_eq!(skipped(&applied, "expired"), 1);
    assert_eq!(values(&mut cache, 0), ["short.example", "x.example"]);
    assert!(!cache.expire(at(29)));
    assert_eq!(only_until(&mut cache, "short.example", 29), at(30));
    assert!(cache.expire(at(30)), "one is over");
    assert_eq!(values(&mut cache, 30), ["x.example"]);
    assert!(cache.expire(at(50)), "one begins");
    assert_eq!(values(&mut cache, 50), ["late.example", "x.example"]);
    assert!(!cache.expire(at(51)));
    // Told again, it holds for another TTL; the others do not.
    apply(&mut cache, &feed, &[indicator("x", 0)], 90);
    assert!(cache.expire(at(100)));
    assert_eq!(values(&mut cache, 100), ["x.example"]);
    assert_eq!(only(&mut cache, 189).until, at(190));
    assert!(cache.expire(at(190)));
    assert!(values(&mut cache, 190).is_empty());
}

fn only_until(cache: &mut Cache, value: &str, secs: i64) -> Time {
    let listed = cache.listed(at(secs));
    listed.iter().find(|it| it.sign.value == value).expect(value).until
}

#[test]
fn how_sure_a_feed_is_decides() {
    let feed = FeedTerms { confidence_min: Some(50), confidence_default: 60, ..terms("a", 1000) };
    let mut cache = cache(100, std::slice::from_ref(&feed));
    let sure = with(indicator("sure", 0), json!({ "confidence": 90 }));
    let unsure = with(indicator("unsure", 0), json!({ "confidence": 49 }));
    let applied = apply(&mut cache, &feed, &[sure, unsure, indicator("silent", 0)], 0);
    assert_eq!(skipped(&applied, "confidence"), 1);
    let mut found: Vec<_> =
        cache.listed(at(0)).into_iter().map(|it| (it.sign.value, it.confidence)).collect();
    found.sort();
    assert_eq!(found, [("silent.example".to_owned(), 60), ("sure.example".to_owned(), 90)]);
    // A version that is not sure enough takes the place of one that was.
    let less = with(indicator("sure", 1), json!({ "confidence": 10 }));
    apply(&mut cache, &feed, &[less], 1);
    assert_eq!(values(&mut cache, 1), ["silent.example"]);
    // The configuration may change.
    cache.set_feeds(&[FeedTerms { confidence_min: Some(70), ..feed }]);
    assert!(values(&mut cache, 1).is_empty());
}

#[test]
fn what_would_match_strangers_is_counted_and_left_out() {
    let feed = terms("a", 1000);
    let mut cache = cache(100, std::slice::from_ref(&feed));
    let pattern = "[domain-name:value IN ('com', 'x.example') OR ipv4-addr:value = '0.0.0.0/0']";
    let some = with(indicator("some", 0), json!({ "pattern": pattern }));
    let none = with(indicator("none", 0), json!({ "pattern": "[domain-name:value = 'co.uk']" }));
    let bad = with(indicator("bad", 0), json!({ "pattern": "[process:pid = 5]" }));
    let applied = apply(&mut cache, &feed, &[some, none, bad, json!({}), json!(7)], 0);
    let expected =
        [("every_address", 1), ("malformed", 2), ("pattern_property", 1), ("public_suffix", 2)];
    assert_eq!(applied.skipped, BTreeMap::from(expected));
    assert_eq!(values(&mut cache, 0), ["x.example"]);
}

#[test]
fn feeds_do_not_touch_each_other() {
    let (a, b) = (terms("a", 100), terms("b", 1000));
    let mut cache = cache(100, &[a.clone(), b.clone()]);
    apply(&mut cache, &a, &[with(indicator("x", 0), json!({ "confidence": 90 }))], 0);
    apply(&mut cache, &b, &[indicator("x", 0), indicator("y", 0)], 0);
    let snapshot = Snapshot::new(cache.listed(at(0)), &Rules::default());
    let [found] = snapshot.check(SignKind::Domain, "x.example", at(0))[..] else { panic!("one") };
    let sources: Vec<&str> = found.sources.iter().map(|it| &**it).collect();
    assert_eq!((sources, found.confidence), (vec!["a", "b"], 90));
    // One takes it back, and the other still tells it.
    apply(&mut cache, &a, &[with(indicator("x", 1), json!({ "revoked": true }))], 1);
    assert_eq!(values(&mut cache, 1), ["x.example", "y.example"]);
    // A feed that goes takes along what it told, and one that stays keeps its own.
    cache.set_feeds(&[FeedTerms { name: "renamed".into(), ..b.clone() }, terms("c", 10)]);
    assert_eq!(values(&mut cache, 1), ["x.example", "y.example"]);
    assert!(cache.listed(at(1)).iter().all(|it| &*it.source == "renamed"));
    cache.set_feeds(&[terms("c", 10)]);
    assert!(values(&mut cache, 1).is_empty());
    assert_eq!(apply(&mut cache, &b, &[indicator("x", 0)], 1), Applied::default());
}

#[test]
fn a_full_cache_makes_room() {
    let feed = terms("a", 1000);
    let mut cache = cache(3, std::slice::from_ref(&feed));
    let sure =
        |name: &str, confidence: u8| with(indicator(name, 0), json!({ "confidence": confidence }));
    let over = with(sure("over", 99), json!({ "valid_until": stamp(5) }));
    apply(&mut cache, &feed, &[over, sure("low", 10), sure("old", 50)], 0);
    let applied = apply(&mut cache, &feed, &[sure("new", 50)], 10);
    assert_eq!((applied.evicted_expired, applied.evicted_full), (1, 0));
    let applied = apply(&mut cache, &feed, &[sure("newer", 50)], 11);
    assert_eq!((applied.evicted_expired, applied.evicted_full), (0, 1));
    assert_eq!(values(&mut cache, 11), ["new.example", "newer.example", "old.example"]);
    // What is new is never refused, however unsure.
    apply(&mut cache, &feed, &[sure("unsure", 1)], 12);
    assert_eq!(values(&mut cache, 12), ["new.example", "newer.example", "unsure.example"]);
    apply(&mut cache, &feed, &[sure("last", 90)], 13);
    assert_eq!(values(&mut cache, 13), ["last.example", "new.example", "newer.example"]);
    // Values count, not indicators; and a page above the bound is cut too.
    let three = "[domain-name:value IN ('1.example', '2.example', '3.example')]";
    let three = with(sure("three", 10), json!({ "pattern": three }));
    let applied = apply(&mut cache, &feed, &[three, sure("x", 60), sure("y", 70)], 14);
    assert_eq!(applied.evicted_full, 4);
    assert_eq!(values(&mut cache, 14), ["x.example", "y.example"]);
}

/// A feed that says who is behind it.
fn attributed() -> Vec<Value> {
    let entity = |kind: &str, name: &str| {
        json!({
            "type": kind, "spec_version": "2.1", "id": format!("{kind}--{name}"),
            "created": stamp(0), "modified": stamp(0), "name": name,
        })
    };
    let link = |source: &str, verb: &str, target: &str| {
        json!({
            "type": "relationship", "spec_version": "2.1", "created": stamp(0),
            "modified": stamp(0), "id": format!("relationship--{source}-{target}"),
            "relationship_type": verb, "source_ref": source, "target_ref": target,
        })
    };
    let technique = |name: &str, id: &str| {
        let references = json!([{ "source_name": "mitre-attack", "external_id": id }]);
        let phases = json!([{ "kill_chain_name": "mitre-attack", "phase_name": "impact" }]);
        let members = json!({ "external_references": references, "kill_chain_phases": phases });
        with(entity("attack-pattern", name), members)
    };
    vec![
        link("indicator--x", "indicates", "malware--Ivy"),
        link("malware--Ivy", "uses", "attack-pattern--Wipe"),
        link("malware--Ivy", "attributed-to", "intrusion-set--Fin"),
        link("intrusion-set--Fin", "uses", "attack-pattern--Phish"),
        link("indicator--x", "indicates", "campaign--Spring"),
        entity("malware", "Ivy"),
        entity("intrusion-set", "Fin"),
        entity("campaign", "Spring"),
        technique("Wipe", "T1485"),
        technique("Phish", "T1566"),
        indicator("x", 0),
    ]
}

fn about_x(objects: &[Value]) -> About {
    let feed = terms("a", 1000);
    let mut cache = cache(100, std::slice::from_ref(&feed));
    apply(&mut cache, &feed, objects, 0);
    About::clone(&only(&mut cache, 0).about)
}

#[test]
fn who_and_what_is_behind_an_indicator_is_named() {
    let mut objects = attributed();
    for _ in 0..objects.len() {
        objects.rotate_left(1);
        let about = about_x(&objects);
        assert_eq!(about.malware.as_deref(), Some("Ivy"));
        assert_eq!(about.campaign.as_deref(), Some("Spring"));
        assert_eq!(about.actor.as_deref(), Some("Fin"));
        // Not what the actor did elsewhere.
        let wipe = Technique { id: "T1485".to_owned(), name: "Wipe".to_owned() };
        assert_eq!(about.techniques, [wipe]);
        assert_eq!(about.phases, [("mitre-attack".to_owned(), "impact".to_owned())]);
        assert!(about.may_export && about.tlp.is_none());
    }
}

#[test]
fn what_is_taken_back_is_not_named() {
    let mut objects = attributed();
    objects.push(with(objects[5].clone(), json!({ "modified": stamp(1), "revoked": true })));
    let about = about_x(&objects);
    assert_eq!((about.malware, about.actor), (None, None));
    let mut objects = attributed();
    objects.push(with(objects[4].clone(), json!({ "modified": stamp(1), "revoked": true })));
    assert_eq!(about_x(&objects).campaign, None);
}

#[test]
fn a_text_travels_as_far_as_its_markings_say() {
    let own = "marking-definition--11111111-1111-4111-8111-111111111111";
    let green = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da";
    let red = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";
    let marking = json!({ "type": "marking-definition", "id": own, "name": "TLP:AMBER" });
    let marked = |refs: &[&str]| with(indicator("x", 0), json!({ "object_marking_refs": refs }));
    let cases: [(Vec<Value>, Option<Tlp>, bool); 5] = [
        (vec![marked(&[green])], Some(Tlp::Green), true),
        (vec![marked(&[green, red])], Some(Tlp::Red), false),
        // Nobody knows what it says.
        (vec![marked(&[own])], Some(Tlp::Red), false),
        (vec![marked(&[own]), marking.clone()], Some(Tlp::Amber), true),
        (vec![marking, marked(&[own, green])], Some(Tlp::Amber), true),
    ];
    for (objects, tlp, may_export) in cases {
        let about = about_x(&objects);
        assert_eq!((about.tlp, about.may_export), (tlp, may_export), "{objects:?}");
    }
    // What is behind an indicator has markings of its own.
    let mut objects = attributed();
    objects[5] = with(objects[5].clone(), json!({ "object_marking_refs": [red] }));
    let about = about_x(&objects);
    assert_eq!((about.malware.as_deref(), about.campaign.as_deref()), (None, Some("Spring")));
    assert!(about.techniques.is_empty() && about.may_export);
}

#[test]
fn the_markings_of_links_and_of_parts_count() {
    let red = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";
    // Who is behind it must not be told, though the actor itself may be named.
    let mut objects = attributed();
    objects[2] = with(objects[2].clone(), json!({ "object_marking_refs": [red] }));
    let about = about_x(&objects);
    assert_eq!((about.malware.as_deref(), about.actor), (Some("Ivy"), None));
    let parts = json!({ "granular_markings": [{ "marking_ref": red, "selectors": ["name"] }] });
    let mut objects = attributed();
    objects[5] = with(objects[5].clone(), parts.clone());
    assert_eq!(about_x(&objects).malware, None);
    let about = about_x(&[with(indicator("x", 0), parts)]);
    assert_eq!((about.tlp, about.may_export), (Some(Tlp::Red), false));
}

/// ATT&CK marks all of its objects with its terms of use.
#[test]
fn a_statement_says_nothing_of_how_far_a_text_may_travel() {
    let own = "marking-definition--fa42a846-8d90-4e51-bc29-71d5b4802168";
    let statement = json!({
        "type": "marking-definition", "id": own, "definition_type": "statement",
        "definition": { "statement": "Copyright 2026, A. Example" },
    });
    let mut objects = attributed();
    for object in &mut objects {
        object["object_marking_refs"] = json!([own]);
    }
    assert!(!about_x(&objects).may_export, "nobody knows what it says");
    objects.push(statement);
    let about = about_x(&objects);
    assert_eq!((about.tlp, about.may_export), (None, true));
    assert_eq!((about.malware.as_deref(), about.actor.as_deref()), (Some("Ivy"), Some("Fin")));
}

#[test]
fn a_version_that_cannot_be_used_ends_the_one_before() {
    let feed = terms("a", 1000);
    let wrong = [
        (json!({ "confidence": "high" }), "malformed"),
        (json!({ "pattern": "[process:pid = 5]" }), "pattern_property"),
        (json!({ "pattern_type": "yara" }), "pattern_type"),
        (json!({ "revoked": true, "valid_until": "never" }), ""),
    ];
    for (members, reason) in wrong {
        let mut cache = cache(100, std::slice::from_ref(&feed));
        apply(&mut cache, &feed, &[indicator("x", 10)], 0);
        // The same version, or an older one, says nothing new.
        apply(&mut cache, &feed, &[with(indicator("x", 10), members.clone())], 1);
        assert_eq!(values(&mut cache, 1), ["x.example"], "{members}");
        let applied = apply(&mut cache, &feed, &[with(indicator("x", 20), members.clone())], 1);
        assert_eq!(skipped(&applied, reason), u64::from(!reason.is_empty()), "{applied:?}");
        assert!(values(&mut cache, 1).is_empty(), "{members}");
        apply(&mut cache, &feed, &[indicator("x", 15)], 2);
        assert!(values(&mut cache, 2).is_empty(), "it is outdated");
    }
    let mut objects = attributed();
    let other = json!({ "modified": stamp(1), "relationship_type": "derived-from" });
    objects.push(with(objects[0].clone(), other));
    objects.push(with(objects[7].clone(), json!({ "modified": stamp(1), "name": 5 })));
    let about = about_x(&objects);
    assert_eq!((about.malware, about.campaign), (None, None));
}

/// Each of many indicators is of one malware that uses many techniques.
#[test]
fn a_snapshot_takes_no_longer_for_links_in_a_row() {
    const MANY: usize = 20_000;
    let feed = terms("a", 1000);
    let mut cache = cache(4 * MANY, std::slice::from_ref(&feed));
    let all = attributed();
    let mut objects = vec![all[5].clone()];
    for n in 0..MANY {
        let id = format!("attack-pattern--{n}");
        let technique = json!([{ "source_name": "mitre-attack", "external_id": format!("T{n}") }]);
        objects.push(with(all[8].clone(), json!({ "id": id, "external_references": technique })));
        let link = json!({ "id": format!("relationship--u{n}"), "target_ref": id });
        objects.push(with(all[1].clone(), link));
        objects.push(indicator(&n.to_string(), 0));
        let source = format!("indicator--{n}");
        let link = json!({ "id": format!("relationship--i{n}"), "source_ref": source });
        objects.push(with(all[0].clone(), link));
    }
    apply(&mut cache, &feed, &objects, 0);
    let begun = std::time::Instant::now();
    let listed = cache.listed(at(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(listed.len(), MANY);
    assert!(listed.iter().all(|it| it.about.malware.as_deref() == Some("Ivy")));
    assert!(listed.iter().all(|it| it.about.techniques.len() == shrike::intel::PHASES_MAX));
}

#[test]
fn long_texts_count_for_more_than_one() {
    let feed = terms("a", 1000);
    let mut cache = cache(6, std::slice::from_ref(&feed));
    let long: Vec<String> = (0..32).map(|n| format!("{n:0200}")).collect();
    let one = with(indicator("one", 0), json!({ "labels": long, "name": "n".repeat(2000) }));
    apply(&mut cache, &feed, &[indicator("a", 0), indicator("b", 0), indicator("c", 0)], 0);
    // 32 labels of 128 bytes and a name of 1 KiB count as two.
    let applied = apply(&mut cache, &feed, &[one.clone(), indicator("d", 0)], 1);
    assert_eq!(applied.evicted_full, 0);
    let two = with(one, json!({ "id": "indicator--two" }));
    assert_eq!(apply(&mut cache, &feed, &[two], 2).evicted_full, 2);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("below/cache.jsonl");
    let (a, b) = (terms("a", 1000), terms("b", 1000));
    let mut before = cache(100, &[a.clone(), b.clone()]);
    assert_eq!(before.load(&path).expect("none"), Loaded::Nothing);
    apply(&mut before, &a, &attributed(), 0);
    apply(&mut before, &b, &[with(indicator("y", 5), json!({ "revoked": true }))], 1);
    let cursor = Some(Time { nanos: 123_456_000, ..at(7) });
    let progress = Progress { cursor, synced: Some(at(1)), asked: 7, ..Progress::default() };
    before.set_progress(&a.key, progress);
    before.save(&path).expect("saved");
    before.save(&path).expect("saved over the former one");
    assert_eq!(names(path.parent().expect("a parent")), ["cache.jsonl"]);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&path).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);

    let mut after = cache(100, &[a.clone(), b.clone()]);
    assert_eq!(after.load(&path).expect("read"), Loaded::Indicators(1));
    assert_eq!(after.progress(&a.key), progress);
    assert_eq!(only(&mut after, 2).about, only(&mut before, 2).about);
    // That one was taken back is known too.
    apply(&mut after, &b, &[indicator("y", 0)], 3);
    assert_eq!(values(&mut after, 3), ["x.example"]);
    // What of other feeds is in the file is not taken.
    let mut other = cache(100, &[b]);
    assert_eq!(other.load(&path).expect("read"), Loaded::Indicators(0));
}

#[test]
fn a_damaged_file_is_put_aside() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("cache.jsonl");
    let feed = terms("a", 1000);
    let mut good = cache(100, std::slice::from_ref(&feed));
    apply(&mut good, &feed, &attributed(), 0);
    good.save(&path).expect("saved");
    let text = std::fs::read(&path).expect("read");
    let mut damages: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "line 1: expected a whole line"),
        (text[..text.len() - 1 - 80].to_vec(), "expected"),
        (
            b"{\"shrike\":{\"format\":\"threat intelligence\",\"version\":9}}\n".to_vec(),
            "found threat intelligence 9",
        ),
        (b"not ours at all\n".to_vec(), "line 1: expected a line of the cache"),
        ([&text[..], b"x"].concat(), "expected the BLAKE3"),
    ];
    let swapped = String::from_utf8(text.clone()).expect("text").replace("x.example", "z.example");
    damages.push((swapped.into_bytes(), "expected the BLAKE3"));
    for (damaged, expected) in damages {
        std::fs::write(&path, &damaged).expect("written");
        let mut cache = cache(100, std::slice::from_ref(&feed));
        let Loaded::Corrupt { aside, problem } = cache.load(&path).expect("put aside") else {
            panic!("not noticed: {expected}")
        };
        assert!(problem.contains(expected), "{problem}");
        assert_eq!(std::fs::read(&aside).expect("it lies there"), damaged);
        assert_eq!(cache.load(&path).expect("none"), Loaded::Nothing);
        assert!(values(&mut cache, 0).is_empty());
    }
}

/// Any cut and any bit that is another one is noticed.
#[test]
fn any_damage_is_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("cache.jsonl");
    let feed = terms("a", 1000);
    let mut good = cache(100, std::slice::from_ref(&feed));
    apply(&mut good, &feed, &[indicator("x", 0)], 0);
    good.save(&path).expect("saved");
    let text = std::fs::read(&path).expect("read");
    for position in 0..text.len() {
        let mut flipped = text.clone();
        flipped[position] ^= 1;
        for damaged in [&flipped[..], &text[..position]] {
            std::fs::write(&path, damaged).expect("written");
            let mut cache = cache(100, std::slice::from_ref(&feed));
            let loaded = cache.load(&path).expect("put aside");
            assert!(matches!(loaded, Loaded::Corrupt { .. }), "{position}: {loaded:?}");
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("a directory");
    names.map(|it| it.expect("a name").file_name().to_string_lossy().into_owned()).collect()
}

/// What is done to a cache, from small sets, so that it meets itself.
#[derive(Clone, Debug)]
enum Step {
    Page(usize, Vec<Version>),
    Wait(i64),
    Expire,
    Restart,
}

#[derive(Clone, Debug)]
struct Version {
    id: u8,
    modified: i64,
    values: u8,
    confidence: Option<u8>,
    is_revoked: bool,
    is_benign: bool,
    lasts: Option<i64>,
    begins: Option<i64>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let version = (
        0..8_u8,
        0..4_i64,
        1..4_u8,
        prop::option::of(prop::sample::select(vec![10_u8, 40, 50, 90])),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.3, 0..80_i64),
        prop::option::weighted(0.2, 0..40_i64),
    )
        .prop_map(
            |(id, modified, values, confidence, is_revoked, is_benign, lasts, begins)| Version {
                id,
                modified,
                values,
                confidence,
                is_revoked,
                is_benign,
                lasts,
                begins,
            },
        );
    let page = (0..2_usize, prop::collection::vec(version, 0..5));
    let step = prop_oneof![
        6 => page.prop_map(|(feed, versions)| Step::Page(feed, versions)),
        3 => (0..40_i64).prop_map(Step::Wait),
        1 => Just(Step::Expire),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

/// What a plain list knows.
#[derive(Clone, Debug)]
struct Known {
    feed: usize,
    id: u8,
    modified: i64,
    confirmed: i64,
    values: Vec<String>,
    confidence: u8,
    is_benign: bool,
    from: Option<i64>,
    until: i64,
    is_new: bool,
}

struct Model {
    known: Vec<Known>,
    now: i64,
    evicted: (u64, u64),
}

const SIZE_MAX: usize = 9;
const TTL: i64 = 60;
const CONFIDENCE_MIN: [u8; 2] = [0, 40];

impl Version {
    fn values(&self) -> Vec<String> {
        (0..self.values).map(|n| format!("{}-{n}.example", self.id)).collect()
    }

    fn object(&self, now: i64) -> Value {
        let values: Vec<_> = self.values().iter().map(|it| format!("'{it}'")).collect();
        let mut object = indicator(&self.id.to_string(), self.modified);
        object["pattern"] = format!("[domain-name:value IN ({})]", values.join(", ")).into();
        object["revoked"] = self.is_revoked.into();
        if let Some(confidence) = self.confidence {
            object["confidence"] = confidence.into();
        }
        if self.is_benign {
            object["indicator_types"] = json!(["benign"]);
        }
        if let Some(lasts) = self.lasts {
            object["valid_until"] = stamp(now + lasts).into();
        }
        if let Some(begins) = self.begins {
            object["valid_from"] = stamp(now + begins).into();
        }
        object
    }
}

impl Model {
    fn page(&mut self, feed: usize, versions: &[Version]) {
        self.known.iter_mut().for_each(|it| it.is_new = false);
        for version in versions {
            let at = self.known.iter().position(|it| it.feed == feed && it.id == version.id);
            let old = at.map(|at| self.known[at].clone());
            if old.as_ref().is_some_and(|old| old.modified > version.modified) {
                continue;
            }
            let confidence = version.confidence.unwrap_or(50);
            let is_over = version.lasts == Some(0);
            let is_dead = version.is_revoked || is_over || confidence < CONFIDENCE_MIN[feed];
            let last = self.now + version.lasts.filter(|_| !is_dead).unwrap_or(TTL).min(TTL);
            let new = Known {
                feed,
                id: version.id,
                modified: version.modified,
                confirmed: self.now,
                values: if is_dead { Vec::new() } else { version.values() },
                confidence,
                is_benign: version.is_benign,
                from: version.begins.map(|it| self.now + it),
                until: last,
                is_new: old.is_none_or(|old| old.is_new),
            };
            match at {
                Some(at) => self.known[at] = new,
                None => self.known.push(new),
            }
        }
        while self.size() > SIZE_MAX {
            let now = self.now;
            if let Some(at) = self.known.iter().position(|it| it.until <= now) {
                self.evicted.0 += u64::from(!self.known[at].values.is_empty());
                self.known.remove(at);
                // All that are over go at once.
                for gone in self.known.iter().filter(|it| it.until <= now) {
                    self.evicted.0 += u64::from(!gone.values.is_empty());
                }
                self.known.retain(|it| it.until > now);
                continue;
            }
            let rank = |it: &Known| {
                let sureness = if it.values.is_empty() { 0 } else { it.confidence };
                let id = format!("indicator--{}", it.id);
                (it.is_new, !it.values.is_empty(), sureness, it.confirmed, it.modified, id, it.feed)
            };
            let least = (0..self.known.len()).min_by_key(|&at| rank(&self.known[at]));
            let gone = self.known.remove(least.expect("it is not empty"));
            self.evicted.1 += u64::from(!gone.values.is_empty());
        }
    }

    fn size(&self) -> usize {
        self.known.iter().map(|it| it.values.len().max(1)).sum()
    }

    fn listed(&self) -> Vec<(usize, String, u8, bool, Time)> {
        let holds = |it: &&Known| it.until > self.now && it.from.is_none_or(|it| it <= self.now);
        let mut all: Vec<_> = self
            .known
            .iter()
            .filter(holds)
            .flat_map(|it| {
                it.values.iter().map(|value| {
                    (it.feed, value.clone(), it.confidence, it.is_benign, at(it.until))
                })
            })
            .collect();
        all.sort();
        all
    }
}

proptest! {
    #[test]
    fn a_cache_knows_what_a_list_knows(steps in steps()) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cache");
        let feeds = [0, 1].map(|at| FeedTerms {
            confidence_min: Some(CONFIDENCE_MIN[at]),
            ..terms(["a", "b"][at], 60)
        });
        let mut cache = cache(SIZE_MAX, &feeds);
        let mut model = Model { known: Vec::new(), now: 0, evicted: (0, 0) };
        let mut evicted = (0, 0);
        for step in steps {
            match step {
                Step::Page(feed, versions) => {
                    let objects: Vec<_> = versions.iter().map(|it| it.object(model.now)).collect();
                    let applied = apply(&mut cache, &feeds[feed], &objects, model.now);
                    evicted.0 += applied.evicted_expired;
                    evicted.1 += applied.evicted_full;
                    model.page(feed, &versions);
                }
                Step::Wait(secs) => model.now += secs,
                Step::Expire => {
                    let now = model.now;
                    cache.expire(at(now));
                    model.known.retain(|it| it.until > now);
                }
                Step::Restart => {
                    cache.save(&path).expect("saved");
                    cache = self::cache(SIZE_MAX, &feeds);
                    cache.load(&path).expect("read");
                    model.known.iter_mut().for_each(|it| it.is_new = false);
                }
            }
            let mut listed: Vec<_> = cache.listed(at(model.now)).into_iter().map(|it| {
                let feed = usize::from(&*it.source == "b");
                (feed, it.sign.value, it.confidence, it.is_benign, it.until)
            }).collect();
            listed.sort();
            prop_assert_eq!(listed, model.listed());
            prop_assert_eq!(evicted, model.evicted);
        }
    }
}
