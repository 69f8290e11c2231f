//! What is no event of its input, and what becomes of it in quarantine.

use std::ops::ControlFlow;
use std::sync::Arc;

use shrike::dialects;
use shrike::event::{Class, Opening, OpeningOptions};
use shrike::intake::{
    CheckOptions, Door, DoorOptions, Quarantine, QuarantineOptions, QuarantineStore, Rejected,
    Retrying, Stream, WantedLines,
};

use super::{Host, lines};

const EVENTS: &str = include_str!("../fixtures/security-events.jsonl");

fn quarantine(host: &Host) -> QuarantineOptions {
    QuarantineOptions { dir: host.path("quarantine"), bytes_max: 64 << 20 }
}

fn door(host: &Host) -> Door {
    Door::new(DoorOptions {
        opening: Arc::new(Opening::new(&OpeningOptions::default())),
        check: CheckOptions { dialects: dialects::ALL, ..CheckOptions::default() },
        appender: host.log.appender(),
        quarantine: Some(Quarantine::open(&quarantine(host)).expect("it opens")),
        positions: None,
    })
}

/// Whoever may write to an input of one format makes no events of another.
#[test]
fn a_fixed_format_takes_no_canonical_events() {
    let host = Host::new();
    let mut door = door(&host);
    let event = EVENTS.split_inclusive('\n').next().expect("a line");
    let velar = lines([7]);
    for (format, takes_event, takes_velar) in [
        (None, true, true),
        (Some("security_event"), true, false),
        (Some("velar.audit"), false, true),
        (Some("falco"), false, false),
    ] {
        for (line, takes) in [(event, takes_event), (velar.as_str(), takes_velar)] {
            let mut stream = Stream::new("a", 0).with_format(format);
            door.take(&mut stream, line.as_bytes(), 1);
            let classes: Vec<Class> = stream.rejected().iter().map(|it| it.class).collect();
            let expected = if takes { vec![] } else { vec![Class::UnknownFormat] };
            assert_eq!(classes, expected, "{format:?}: {line}");
            door.append(&mut stream, line.as_bytes(), None).expect("the disk takes it");
        }
    }
}

/// The same where somebody has its lines looked at again.
#[test]
fn a_retry_makes_no_events_of_another_format_than_its_input() {
    let host = Host::new();
    let mut door = door(&host);
    let event = EVENTS.split_inclusive('\n').next().expect("a line");
    let velar = lines([7]);
    for (format, line) in [(Some("velar.audit"), event), (Some("security_event"), &*velar)] {
        let mut stream = Stream::new("a", 0).with_format(format);
        door.take(&mut stream, line.as_bytes(), 1);
        door.append(&mut stream, line.as_bytes(), None).expect("the disk takes it");
        door.settle(&stream).expect("the disk takes it");
    }
    let mut retrying = Retrying::default();
    door.retry(&WantedLines::default(), &mut retrying, 1).expect("the disk reads");
    let sum = retrying.sum;
    assert_eq!((sum.wanted, sum.refused, sum.appended), (2, 2, 0), "{sum:?}");
}

/// Half of a line may be an event: it stays with the other half, and nothing is forgotten for it.
#[test]
fn a_retry_of_what_stays_forgets_no_event() {
    let host = Host::new();
    let mut door = door(&host);
    let events: Vec<&str> = EVENTS.split_inclusive('\n').collect();
    let bring = |door: &mut Door, text: &str| {
        let mut stream = Stream::new("a", 0);
        door.take(&mut stream, text.as_bytes(), 1);
        door.append(&mut stream, text.as_bytes(), None).expect("the disk takes it");
        let account = stream.account();
        (account.events, account.duplicates, account.rejected)
    };
    assert_eq!(bring(&mut door, events[0]), (1, 0, 0));
    // As a line that was written over another one leaves it.
    let torn = Rejected {
        class: Class::JsonSyntax,
        offset: 0,
        length: 0,
        kept: [events[1].trim_end(), "{\"torn"].concat().into_bytes(),
        sha256: None,
        format: None,
    };
    let torn = Rejected { length: torn.kept.len() as u64, ..torn };
    drop(door);
    let mut store = Quarantine::open(&quarantine(&host)).expect("it opens");
    store.keep("a", &torn, 1).expect("the disk takes it");
    store.settle().expect("the disk takes it");
    drop(store);
    let mut door = self::door(&host);
    assert_eq!(bring(&mut door, events[2]), (1, 0, 0));
    let mut retrying = Retrying::default();
    door.retry(&WantedLines::default(), &mut retrying, 1).expect("the disk reads");
    assert_eq!((retrying.sum.wanted, retrying.sum.refused), (1, 1));
    assert_eq!(bring(&mut door, events[2]), (0, 1, 0), "it came before");
    assert_eq!(bring(&mut door, events[1]), (1, 0, 0), "it is not in the log");
}

#[test]
fn a_refused_line_of_which_the_beginning_is_kept_is_known_by_its_hash() {
    let host = Host::new();
    let options = quarantine(&host);
    let mut store = Quarantine::open(&options).expect("it opens");
    // Longer than a record of the store in base64.
    let kept = vec![b'x'; 7 << 20];
    let length = kept.len() as u64;
    let (class, format) = (Class::JsonSyntax, None);
    let rejected = Rejected { class, offset: 0, length, kept, sha256: None, format };
    store.keep("a", &rejected, 1).expect("the disk takes it");
    store.settle().expect("the disk takes it");
    let mut found = Vec::new();
    let mut look = QuarantineStore::look(&options.dir).expect("it reads").expect("it is there");
    look.visit(&WantedLines::default(), |_, line| {
        found.push((line.length, line.kept().len(), line.sha256.clone(), line.is_whole()));
        ControlFlow::Continue(())
    })
    .expect("it reads");
    // sha256sum of 7 MiB of the letter.
    let hash = "c0247fdf17301d88a2da5ad59c34bcb15d31f68874286a7a5e53fa10178bff65".to_owned();
    assert_eq!(found, [(length, 4096, Some(hash), false)]);
}
