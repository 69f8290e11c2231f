//! Batches: framing, limits, compression in turns, byte ranges copied, memory given back.

use std::io::Read;
use std::sync::Arc;

use shrike::deliver::{
    Allowance, Batch, Budget, Buffers, Encoding, Framing, Limits, Packing, Part, Prefix, Pushed,
    TURN_BYTES,
};
use shrike::event::{Offset, Severity, Span};
use shrike::transform::Schema;

static ACTION: Schema = Schema { name: "action", ..Schema::BASE };
static ARRAY: Framing = framing("[", Prefix::None, ",", "\n", "]");
static BULK: Framing = framing("", Prefix::Document(&ACTION), "", "\n", "");
static TIMED: Framing = framing("[", Prefix::None, ",", "", "],\"n\":{count},\"at\":\"{time}\"");
static COUNTED: Framing = framing("", Prefix::OctetCount, "", "", "");

const fn framing(
    head: &'static str,
    prefix: Prefix,
    between: &'static str,
    after: &'static str,
    tail: &'static str,
) -> Framing {
    Framing { head, prefix, between, after, tail, content_type: "text/plain" }
}

const ENCODINGS: [Encoding; 4] =
    [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];
const ROOMY: Limits = Limits { events: 100_000, body_bytes: 1 << 24, event_bytes: 1 << 24 };

struct Desk {
    packing: Arc<Packing>,
    buffers: Buffers,
    allowance: Arc<Allowance>,
}

impl Desk {
    fn new(framing: &'static Framing, limits: Limits, encoding: Encoding) -> Self {
        let flush_on = Some(Severity::High);
        Self {
            packing: Arc::new(Packing {
                framing,
                limits,
                body_bytes: limits.body_bytes,
                encoding,
                level: 1,
                flush_on,
                heads: shrike::deliver::Heads::default(),
                head: None,
                keeps_ids: false,
            }),
            buffers: Buffers::new(),
            allowance: Budget::new(64 << 20, 1).allowance(),
        }
    }

    fn batch(&self) -> Batch {
        Batch::new(&self.packing, 0, &self.buffers, &self.allowance)
    }

    fn filled(&self, documents: &[&str]) -> Batch {
        let mut batch = self.batch();
        for (at, document) in documents.iter().enumerate() {
            assert_eq!(push(&mut batch, at as u64, document), Pushed::Fits);
            batch.turn(3);
        }
        batch.close();
        batch
    }
}

fn span(at: u64) -> Span {
    Span { from: Offset::new(at * 10), to: Offset::new(at * 10 + 10) }
}

fn push(batch: &mut Batch, at: u64, document: &str) -> Pushed {
    batch.push(span(at), at, Severity::Low, |part, out| {
        out.extend_from_slice(match part {
            Part::Prefix => b"P",
            Part::Document => document.as_bytes(),
            Part::Id => &document.as_bytes()[..1],
        });
    })
}

fn opened(batch: &Batch) -> String {
    let body = batch.body().expect("it is closed");
    let mut text = String::new();
    let read = match batch.encoding() {
        Encoding::Identity => (&body[..]).read_to_string(&mut text),
        Encoding::Gzip => flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text),
        Encoding::Deflate => flate2::read::ZlibDecoder::new(&body[..]).read_to_string(&mut text),
        Encoding::Zstd => {
            zstd::Decoder::new(&body[..]).expect("a decoder").read_to_string(&mut text)
        }
    };
    read.expect("a whole body");
    assert_eq!(text.len(), batch.raw_bytes());
    text
}

#[test]
fn framing_stands_around_and_between_documents() {
    let long = "x".repeat(1234);
    let cases: [(&'static Framing, &[&str], String); 5] = [
        (&ARRAY, &["a", "bb"], "[a\n,bb\n]".into()),
        (&ARRAY, &["a"], "[a\n]".into()),
        (&BULK, &["a", "bb"], "P\na\nP\nbb\n".into()),
        (&COUNTED, &["a", "", &long, "bb"], format!("1 a0 1234 {long}2 bb")),
        (&COUNTED, &["0123456789"; 2], "10 012345678910 0123456789".into()),
    ];
    for (framing, documents, body) in &cases {
        for encoding in ENCODINGS {
            assert_eq!(opened(&Desk::new(framing, ROOMY, encoding).filled(documents)), *body);
        }
    }
}

#[test]
fn an_event_that_does_not_fit_is_taken_back_whole() {
    for encoding in ENCODINGS {
        let limits = Limits { events: 3, body_bytes: 20, event_bytes: 12 };
        let desk = Desk::new(&ARRAY, limits, encoding);
        let mut batch = desk.batch();
        // "[aaaaaaaa\n]" is 11 bytes; each further item adds a comma and a line feed.
        assert_eq!(push(&mut batch, 0, "aaaaaaaa"), Pushed::Fits);
        assert_eq!(push(&mut batch, 1, "bbbbbbbb"), Pushed::Full);
        assert_eq!(push(&mut batch, 1, "bbbbbbb"), Pushed::Fits);
        batch.turn(1000);
        assert_eq!(push(&mut batch, 2, ""), Pushed::Full);
        assert_eq!(push(&mut batch, 3, "ccccccccccccc"), Pushed::TooLarge);
        batch.close();
        assert_eq!(opened(&batch), "[aaaaaaaa\n,bbbbbbb\n]");
        assert_eq!(batch.raw_bytes(), 20, "exactly the limit");

        let mut few = desk.batch();
        for at in 0..3 {
            assert_eq!(push(&mut few, at, ""), Pushed::Fits);
        }
        assert_eq!(push(&mut few, 3, ""), Pushed::Full);
    }
}

#[test]
fn an_event_too_large_for_any_body_is_told_from_a_full_batch() {
    let limits = Limits { events: 10, body_bytes: 12, event_bytes: 100 };
    let desk = Desk::new(&ARRAY, limits, Encoding::Identity);
    let mut batch = desk.batch();
    assert_eq!(push(&mut batch, 0, "0123456789"), Pushed::TooLarge, "13 bytes with its frame");
    assert_eq!(push(&mut batch, 0, "012345678"), Pushed::Fits);
    assert_eq!(push(&mut batch, 1, "0123456789"), Pushed::TooLarge, "also beside another");
}

#[test]
fn only_severe_events_make_a_batch_urgent() {
    let desk = Desk::new(&ARRAY, ROOMY, Encoding::Identity);
    let mut batch = desk.batch();
    for (severity, is_urgent) in
        [(Severity::Info, false), (Severity::Medium, false), (Severity::High, true)]
    {
        batch.push(span(0), 0, severity, |_, _| {});
        assert_eq!(batch.is_urgent(), is_urgent);
    }
}

#[test]
fn selected_items_keep_the_bytes_that_were_sent() {
    let documents: Vec<String> = (0..200).map(|n| "d".repeat(n) + &n.to_string()).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let framings = [&ARRAY, &BULK, &COUNTED];
    let mut rng = fastrand::Rng::with_seed(11);
    for encoding in ENCODINGS {
        for framing in framings {
            let desk = Desk::new(framing, ROOMY, encoding);
            let whole = desk.filled(&documents);
            for _ in 0..5 {
                let kept: Vec<bool> = documents.iter().map(|_| rng.u8(..3) == 0).collect();
                let part = whole.select(|at| kept[at]);
                let texts: Vec<&str> = documents
                    .iter()
                    .zip(&kept)
                    .filter(|(_, kept)| **kept)
                    .map(|(d, _)| *d)
                    .collect();
                assert_eq!(opened(&part), opened(&desk.filled(&texts)));
                let spans = part.items().iter().map(|item| item.span);
                let expected = (0..200).filter(|&at| kept[at as usize]).map(span);
                assert!(spans.eq(expected), "each byte range keeps its event");
                assert_eq!(opened(&part.select(|_| true)), opened(&part));
            }
        }
    }
}

#[test]
fn a_body_is_the_same_however_its_compression_was_cut_into_turns() {
    let documents: Vec<String> = (0..3000).map(|n| format!("document {} {}", n, n * n)).collect();
    for encoding in ENCODINGS {
        let desk = Desk::new(&BULK, ROOMY, encoding);
        let mut whole = desk.batch();
        let mut turned = desk.batch();
        for (at, document) in documents.iter().enumerate() {
            push(&mut whole, at as u64, document);
            push(&mut turned, at as u64, document);
            if at % 7 == 0 {
                while turned.turn(64) > 100 {}
            }
        }
        whole.close();
        turned.close();
        assert_eq!(opened(&whole), opened(&turned));
        assert_eq!(whole.items(), turned.items());
    }
}

/// The inflaters are not those of the library that other levels are written by.
#[test]
fn any_reader_opens_gzip_bodies_of_any_documents() {
    let mut rng = fastrand::Rng::with_seed(11);
    let noise = |rng: &mut fastrand::Rng, len| -> String {
        (0..len).map(|_| char::from(rng.u8(b' '..0x7f))).collect()
    };
    let far = noise(&mut rng, 33_000);
    for round in 0..60 {
        let desk = Desk::new(&BULK, ROOMY, Encoding::Gzip);
        let mut batch = desk.batch();
        let (events, turn) = (rng.usize(0..600), rng.usize(4096..2 * TURN_BYTES));
        for at in 0..events {
            let own = noise(&mut rng, at % 40);
            let document = match (round % 6, at % 50) {
                (0, _) => format!(r#"{{"id":"{own}","action":"file_write","host":"h{}"}}"#, at % 9),
                (1, _) => noise(&mut rng, 900),
                (2, _) => "a".repeat(rng.usize(0..3000)),
                (3, 0) => far[..33_000 - round].to_owned(),
                (4, _) => char::from_u32(rng.u32(0xe000..0xffff)).map_or(own, |it| it.into()),
                _ => format!("{own}{}", &far[at..2 * at]),
            };
            push(&mut batch, at as u64, &document);
            batch.turn(turn);
        }
        batch.close();
        let body = batch.body().expect("it is closed");
        let mut opened = vec![0; batch.raw_bytes()];
        let read = libdeflater::Decompressor::new().gzip_decompress(&body, &mut opened);
        assert_eq!(read, Ok(opened.len()), "round {round}");
        let bare = &body[10..body.len() - 8];
        let again = miniz_oxide::inflate::decompress_to_vec(bare).expect("it is deflate");
        assert!(again == opened, "round {round}");
        assert!(body.len() <= opened.len() + opened.len() / 2000 + 64, "round {round}: it grew");
        for item in batch.items() {
            let item = &opened[item.start as usize..item.end as usize];
            assert!(item.starts_with(b"P\n") && item.ends_with(b"\n"), "round {round}");
        }
    }
}

#[test]
fn the_digest_is_that_of_the_body_as_sent_however_it_was_built() {
    let document = "0123456789".repeat(100);
    for encoding in ENCODINGS {
        for (events, asked) in [(0, true), (1, true), (300, true), (300, false)] {
            let desk = Desk::new(&BULK, ROOMY, encoding);
            let mut batch = desk.batch();
            if asked {
                batch.keep_digest();
            }
            for at in 0..events {
                push(&mut batch, at, &document);
                batch.turn(TURN_BYTES);
            }
            assert_eq!(batch.digest(), None, "there is no body yet");
            batch.close();
            let body = batch.body().expect("it is closed");
            assert_eq!(batch.digest(), Some(*blake3::hash(&body).as_bytes()), "{encoding:?}");
            batch.drop_body();
            assert_eq!(batch.digest(), None);
        }
    }
}

#[test]
fn ids_stay_with_their_events_where_they_are_kept() {
    for encoding in ENCODINGS {
        let mut desk = Desk::new(&ARRAY, ROOMY, encoding);
        assert_eq!(desk.filled(&["a1", "b1"]).ids(), b"", "nobody asks for them");
        Arc::get_mut(&mut desk.packing).expect("nobody else has it").keeps_ids = true;
        let mut batch = desk.filled(&["a1", "b1", "c1"]);
        assert_eq!(batch.ids(), b"a\nb\nc\n", "{encoding:?}");
        let kept = batch.select(|at| at != 1);
        assert_eq!((kept.ids(), opened(&kept).as_str()), (&b"a\nc\n"[..], "[a1\n,c1\n]"));
        batch.drop_body();
        assert_eq!(batch.ids(), b"", "they are rendered again with the events");
    }
}

/// zlib-rs 0.6 carries an open block over a reset at level 1.
#[test]
fn a_batch_dropped_in_the_middle_leaves_nothing_to_the_next() {
    for encoding in ENCODINGS {
        let desk = Desk::new(&BULK, ROOMY, encoding);
        for round in 0..3 {
            let mut dropped = desk.batch();
            for at in 0..500 {
                push(&mut dropped, at, "something that is compressed and forgotten");
            }
            dropped.turn(10_000);
            drop(dropped);
            let body = opened(&desk.filled(&["a", "b"]));
            assert_eq!(body, "P\na\nP\nb\n", "{encoding:?}, round {round}");
        }
    }
}

#[test]
fn every_byte_of_the_budget_comes_back() {
    for encoding in ENCODINGS {
        let desk = Desk::new(&BULK, ROOMY, encoding);
        let text = "x".repeat(10_000);
        let mut batch = desk.batch();
        for at in 0..100 {
            push(&mut batch, at, &text);
        }
        assert!(desk.allowance.used() >= 1_000_000, "an open body is counted");
        batch.turn(usize::MAX >> 1);
        batch.close();
        let body = batch.body().expect("it is closed").len() as u64;
        assert_eq!(desk.allowance.used(), body + 100 * 32);
        let half = batch.select(|at| at < 50);
        assert!(desk.allowance.used() > body + 100 * 32, "copies are counted");
        drop(batch);
        drop(desk.batch());
        let mut half = half;
        half.drop_body();
        assert_eq!(desk.allowance.used(), 50 * 32, "only the spans are left");
        assert!(half.body().is_none());
        drop(half);
        assert_eq!(desk.allowance.used(), 0);
    }
}

#[test]
fn a_batch_closes_early_when_the_budget_is_used_up() {
    let desk = Desk::new(&BULK, ROOMY, Encoding::Identity);
    let small = Budget::new(256 << 10, 1).allowance();
    let mut first = Batch::new(&desk.packing, 0, &desk.buffers, &small);
    let text = "x".repeat(1000);
    let mut pushed = 0;
    while push(&mut first, pushed, &text) == Pushed::Fits {
        pushed += 1;
    }
    assert!((180..260).contains(&pushed), "{pushed} events in 256 KiB, in steps of 64");
    let mut second = Batch::new(&desk.packing, 0, &desk.buffers, &small);
    assert_eq!(push(&mut second, 0, &text), Pushed::Fits, "never none at all");
}

#[test]
fn a_body_says_when_it_was_closed_and_its_halves_say_the_same() {
    for encoding in ENCODINGS {
        let desk = Desk::new(&TIMED, ROOMY, encoding);
        let mut batch = desk.batch();
        for at in 0..3 {
            assert_eq!(push(&mut batch, at, "{}"), Pushed::Fits);
        }
        batch.date(1_770_368_400);
        batch.close();
        let tail = |n: u32| format!("],\"n\":{n},\"at\":\"2026-02-06T09:00:00Z\"");
        assert_eq!(opened(&batch), format!("[{{}},{{}},{{}}{}", tail(3)));
        assert_eq!(opened(&batch.select(|at| at == 1)), format!("[{{}}{}", tail(1)));
    }
    // The time is longer than its place in the table, and no body is larger than it may be.
    let (tail, most) = (TIMED.tail(7, 1_770_368_400).len(), TIMED.tail_bytes_max());
    assert!(tail <= most && tail > TIMED.tail.len(), "{tail}");
    let limits = Limits { body_bytes: 1 + 5 + u32::try_from(most).expect("short"), ..ROOMY };
    let desk = Desk::new(&TIMED, limits, Encoding::Identity);
    let mut batch = desk.batch();
    assert_eq!(push(&mut batch, 0, "{}"), Pushed::Fits);
    assert_eq!(push(&mut batch, 1, "{}{}"), Pushed::Full);
    batch.close();
    assert!(batch.raw_bytes() <= limits.body_bytes as usize);
}
