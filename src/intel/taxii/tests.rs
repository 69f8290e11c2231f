//! Polls against servers that are functions.

use proptest::prelude::*;

use super::*;
use crate::intel::{FeedSpec, Object};

fn at(n: u64) -> Time {
    Time { secs: 1_767_225_600 + i64::try_from(n).expect("small"), nanos: 123_456_789 }
}

fn spec(version: TaxiiVersion, page_size: u32, pages_max: u32) -> ServerSpec {
    let feed = FeedSpec { page_size, pages_max, ..FeedSpec::default() };
    let api_root = Some("/a/".to_owned());
    ServerSpec { version, api_root, collection_id: "c".to_owned(), feed, ..Default::default() }
}

#[test]
fn an_api_root_is_a_path_on_the_same_host() {
    let url = |text: &str| text.parse::<Uri>().expect("a URL");
    let rows = [
        ("https://h.example", "/api1/", Some("/api1/")),
        ("https://h.example/taxii2/", "api1", Some("/api1/")),
        ("https://h.example", "", Some("/")),
        ("https://h.example", "https://H.example:443/a/b", Some("/a/b/")),
        ("https://h.example:8443/x", "https://h.example:8443/a", Some("/a/")),
        ("https://h.example", "http://h.example/a", None),
        ("https://h.example", "https://h.example:444/a", None),
        ("https://h.example", "https://i.example/a", None),
        ("https://h.example", "https://", None),
    ];
    for (base, root, expected) in rows {
        assert_eq!(root_path(&url(base), root).ok().as_deref(), expected, "{root}");
    }
    let paths = [
        ("https://h", "/taxii2/", "/taxii/"),
        ("https://h/base", "/base/taxii2/", "/base/taxii/"),
        ("https://h/taxii2", "/taxii2/", "/taxii2/"),
        ("https://h/x/taxii/", "/x/taxii/", "/x/taxii/"),
    ];
    for (base, new, old) in paths {
        assert_eq!(discovery_path(&url(base), TaxiiVersion::V2_1), new);
        assert_eq!(discovery_path(&url(base), TaxiiVersion::V2_0), old);
    }
}

#[test]
fn times_and_ranges_are_spelled_as_taxii_has_them() {
    assert_eq!(micros(at(0)), "2026-01-01T00:00:00.123456Z");
    assert_eq!(micros(before(at(1), SECOND)), "2026-01-01T00:00:00.123456Z");
    let rows = [
        ("items 0-99/200", Some((0, 99, Some(200)))),
        ("items 100-149/*", Some((100, 149, None))),
        ("items=0-9/10", None),
        ("items */200", None),
        ("bytes 0-9/10", None),
        ("items 0-18446744073709551615/*", None),
        ("", None),
    ];
    for (text, expected) in rows {
        assert_eq!(content_range(text), expected, "{text}");
    }
}

#[test]
fn a_servers_own_words_are_told_without_our_credentials() {
    let secret = "k3y".repeat(300);
    let value = crate::deliver::Secret::new(format!("Bearer {secret}"));
    let auth = crate::intel::TaxiiAuth::Header { name: "Authorization".to_owned(), value };
    let spec = ServerSpec { auth, ..spec(TaxiiVersion::V2_1, 10, 10) };
    let mut session = Session::new(&spec).expect("a path");
    let poll = Poll::new(&spec, &mut session, Progress::default(), true, at(0));
    assert_eq!(poll.said(br#"{"title":"No\nway","description":"x"}"#), " (No way x)");
    assert_eq!(poll.said(b"<html>"), "");
    // Longer than what is told of them.
    let body = format!(r#"{{"title":"not Bearer {secret}"}}"#);
    assert_eq!(poll.said(body.as_bytes()), " (not Bearer ***)");
}

#[test]
fn a_range_may_lie_anywhere() {
    let spec = spec(TaxiiVersion::V2_0, 100, 10);
    let mut session = Session::new(&spec).expect("a path");
    let mut poll = Poll::new(&spec, &mut session, Progress::default(), true, at(0));
    (poll.stage, poll.start) = (Stage::Objects, u64::MAX - 1);
    let range = poll.ask().and_then(|ask| ask.range);
    assert_eq!(range.as_deref(), Some("items=18446744073709551614-18446744073709551615"));
}

#[test]
fn a_root_that_moved_is_looked_for_again() {
    let spec = ServerSpec { api_root: None, ..spec(TaxiiVersion::V2_1, 100, 10) };
    let mut session = Session::new(&spec).expect("a path");
    let none = HeaderMap::new();
    let mut poll = Poll::new(&spec, &mut session, Progress::default(), true, at(0));
    poll.answer(200, &none, br#"{"default":"/old/"}"#).expect("discovery");
    poll.answer(200, &none, b"{}").expect("a root");
    assert_eq!(poll.ask().map(|ask| ask.path).as_deref(), Some("/old/collections/c/"));
    poll.answer(404, &none, b"").expect_err("it is gone");
    let poll = Poll::new(&spec, &mut session, Progress::default(), true, at(1));
    assert_eq!(poll.ask().map(|ask| ask.path).as_deref(), Some("/taxii2/"));
}

/// Without dates there is no place to go on from: a poll that was cut has read nothing whole.
#[test]
fn a_poll_that_was_cut_without_dates_is_none_of_the_whole_feed() {
    let spec = spec(TaxiiVersion::V2_1, 1, 2);
    let mut session = Session::new(&spec).expect("a path");
    let none = HeaderMap::new();
    let mut poll = Poll::new(&spec, &mut session, Progress::default(), true, at(5));
    poll.answer(200, &none, b"{}").expect("a root");
    poll.answer(200, &none, br#"{"can_read":true}"#).expect("a collection");
    for n in 0..2 {
        let page = format!(r#"{{"more":true,"next":"{n}","objects":[{}]}}"#, object(n));
        poll.answer(200, &none, page.as_bytes()).expect("a page");
    }
    let polled = poll.polled();
    assert_eq!((polled.pages, polled.is_cut, polled.is_stuck), (2, true, true));
    assert_eq!(polled.progress, Progress::default());
}

#[test]
fn a_page_is_asked_for_whole_again() {
    let spec = spec(TaxiiVersion::V2_1, 100, 10);
    let mut session = Session::new(&spec).expect("a path");
    (session.is_checked, session.limit) = (true, 100);
    let mut poll = Poll::new(&spec, &mut session, Progress::default(), true, at(0));
    let limit = |poll: &Poll<'_>| poll.ask().expect("more").path.contains("limit=100&");
    assert!(limit(&poll));
    poll.answer(413, &HeaderMap::new(), b"").expect("half of it is asked for");
    assert!(!limit(&poll));
    assert!(limit(&Poll::new(&spec, &mut session, Progress::default(), true, at(1))));
}

/// A server of `count` objects, each added a second after the one before.
struct Model {
    count: u64,
    page_max: u64,
    /// Above so many objects it says 413.
    most: u64,
}

impl Model {
    /// Status, headers, body.
    fn answer(&self, ask: &Ask) -> (u16, HeaderMap, String) {
        let Some((_, query)) = ask.path.split_once("/objects/") else {
            return (200, HeaderMap::new(), r#"{"id":"c","can_read":true}"#.to_owned());
        };
        let value = |name: &str| {
            let pairs = query.trim_start_matches('?').split('&');
            pairs.filter_map(|it| it.split_once('=')).find(|it| it.0 == name).map(|it| it.1)
        };
        let after = value("added_after").map(|it| it.replace("%3A", ":"));
        let after = after.map(|it| Time::parse(it.as_bytes()).expect("a time"));
        let all: Vec<u64> =
            (0..self.count).filter(|&n| after.is_none_or(|after| at(n) > after)).collect();
        let (start, limit) = match &ask.range {
            None => {
                let limit = value("limit").expect("one").parse().expect("a number");
                (value("next").map_or(0, |it| it.parse().expect("ours")), limit)
            }
            Some(range) => {
                let (first, last) = range[6..].split_once('-').expect("a range");
                let (first, last): (u64, u64) =
                    (first.parse().expect("a number"), last.parse().expect("a number"));
                (first, last - first + 1)
            }
        };
        let mut headers = HeaderMap::new();
        if limit > self.most {
            return (413, headers, String::new());
        }
        let total = all.len() as u64;
        if start > 0 && start >= total {
            return (416, headers, String::new());
        }
        let end = (start + limit.min(self.page_max)).min(total);
        let page =
            &all[usize::try_from(start).expect("small")..usize::try_from(end).expect("small")];
        let objects: Vec<String> = page.iter().map(|n| object(*n)).collect();
        if let Some(last) = page.last() {
            headers.insert(DATE_ADDED_LAST, micros(at(*last)).parse().expect("ASCII"));
        }
        let more = if end < total && ask.range.is_none() {
            format!(r#""more":true,"next":"{end}","#)
        } else {
            String::new()
        };
        let mut status = 200;
        if end < total && ask.range.is_some() {
            status = 206;
            let range = format!("items {start}-{}/{total}", end - 1);
            headers.insert(CONTENT_RANGE, range.parse().expect("ASCII"));
        }
        (status, headers, format!(r#"{{{more}"objects":[{}]}}"#, objects.join(",")))
    }
}

fn object(n: u64) -> String {
    let created = at(n).text();
    format!(
        r#"{{"type":"indicator","id":"indicator--{n}","created":"{created}",
            "pattern":"[url:value = 'http://{n}.example/']"}}"#
    )
}

fn number(object: &Object) -> u64 {
    let Object::Indicator(it) = object else { panic!("{object:?}") };
    it.id["indicator--".len()..].parse().expect("ours")
}

proptest! {
    /// However pages are cut, polls come to an end, and by then everything was read.
    #[test]
    fn everything_is_read_by_some_polls(
        count in 0..200_u64,
        page_size in 1..60_u32,
        page_max in 1..60_u64,
        most in 1..60_u64,
        pages_max in 2..6_u32,
        is_new: bool,
    ) {
        let version = if is_new { TaxiiVersion::V2_1 } else { TaxiiVersion::V2_0 };
        let spec = spec(version, page_size, pages_max);
        let model = Model { count, page_max, most };
        let mut session = Session::new(&spec).expect("a path");
        let mut progress = Progress::default();
        let mut found = std::collections::BTreeSet::new();
        // Each poll reads at least one object more than the last one of the poll before it.
        for round in 0..=count {
            let is_full = round == 0;
            let mut poll = Poll::new(&spec, &mut session, progress, is_full, at(round));
            let mut asked = 0;
            while let Some(ask) = poll.ask() {
                asked += 1;
                prop_assert!(asked < 20, "{ask:?}");
                let (status, headers, body) = model.answer(&ask);
                let objects = poll.answer(status, &headers, body.as_bytes());
                let objects = objects.map_err(|it| TestCaseError::fail(format!("{it:?}")))?;
                found.extend(objects.objects.iter().map(number));
            }
            let polled = poll.polled();
            prop_assert_eq!(polled.anomalies, 0);
            progress = polled.progress;
            if !polled.is_cut {
                break;
            }
            prop_assert!(progress.synced.is_none() && progress.sync_begun == Some(at(0)));
        }
        prop_assert_eq!(found.into_iter().collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
        prop_assert_eq!(progress.synced, Some(at(0)));
        let last = count.checked_sub(1).map(|n| micros(at(n)));
        prop_assert_eq!(progress.cursor.map(micros), last);
    }

    /// Whatever a server says, a poll ends.
    #[test]
    fn any_answers_end_a_poll(
        answers in prop::collection::vec((
            prop::sample::select(STATUSES),
            prop::sample::select(vec![
                "", "{}", r#"{"more":true,"next":"a"}"#,
                r#"{"more":true,"next":"b","objects":[{}]}"#,
                r#"{"more":true}"#, r#"{"next":"a"}"#, r#"{"can_read":true}"#, "[]", "{",
                r#"{"api_roots":["/b/"]}"#, r#"{"default":"http://other/"}"#,
            ]),
            prop::sample::select(RANGES),
        ), 1..12),
        is_new: bool,
        is_rooted: bool,
        has_cursor: bool,
    ) {
        let version = if is_new { TaxiiVersion::V2_1 } else { TaxiiVersion::V2_0 };
        let mut spec = spec(version, 100, 20);
        spec.api_root = spec.api_root.filter(|_| is_rooted);
        let mut session = Session::new(&spec).expect("a path");
        let cursor = has_cursor.then(|| at(0));
        let progress = Progress { cursor, ..Progress::default() };
        let mut poll = Poll::new(&spec, &mut session, progress, false, at(0));
        let mut answers = answers.iter().cycle();
        let mut asked = 0;
        while poll.ask().is_some() {
            asked += 1;
            prop_assert!(asked < 60);
            let (status, body, range) = answers.next().expect("it goes round");
            let mut headers = HeaderMap::new();
            if !range.is_empty() {
                headers.insert(CONTENT_RANGE, range.parse().expect("ASCII"));
            }
            if poll.answer(*status, &headers, body.as_bytes()).is_err() {
                break;
            }
        }
        let polled = poll.polled();
        prop_assert!(polled.progress.cursor >= cursor && polled.pages <= 20);
    }
}

const STATUSES: &[u16] = &[200, 200, 200, 204, 206, 304, 400, 404, 406, 413, 415, 416];
const RANGES: &[&str] = &["", "items 0-0/9", "items 5-6/9", "items 0-9/*", "items 9-0/1"];
