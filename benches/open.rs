//! What opening costs, beside its limits and the parsers that were not chosen.
//!
//! `cargo bench --bench open` prints the time of one block of events of 1,000 bytes (median) and
//! the bytes per second. `docs/decisions/parsing.md` keeps the figures.

#[path = "bodies/block.rs"]
mod block;

use std::hint::black_box;
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use serde::de::IgnoredAny;
use shrike::event::{Frame, Opened, Opening, OpeningOptions, Time};
use shrike::intel::{About, Intel, Listed, Marks, Rules, Sign, SignKind, Snapshot};
use sonic_rs::JsonValueTrait;

use block::block;

/// When the samples are read: 2026-02-06T12:30:00Z.
const RECEIVED_NS: u64 = 1_770_381_000_000_000_000;

/// Not inlined, so that a profiler can count what it alone does.
#[inline(never)]
fn open_block(
    opening: &Opening,
    block: &[Vec<u8>],
    arena: &mut Vec<u8>,
    opened: &mut [Opened],
) -> usize {
    let frame = Frame { received_ns: RECEIVED_NS, ..Frame::default() };
    opening.begin(arena);
    let mut events = 0;
    for (record, out) in block.iter().zip(opened) {
        events += usize::from(opening.open(&frame, record, arena, out).is_ok());
    }
    events
}

fn own(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    options: &OpeningOptions,
    block: &[Vec<u8>],
) {
    let opening = Opening::new(options);
    let mut arena = Vec::new();
    let mut opened = vec![Opened::default(); block.len()];
    assert_eq!(open_block(&opening, block, &mut arena, &mut opened), block.len());
    group.bench_function(name, |bench| {
        bench.iter(|| open_block(&opening, black_box(block), &mut arena, &mut opened));
    });
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    let ascii = block(true, true);
    let mixed = block(false, true);
    let flagged = block(true, false);
    let bytes: usize = ascii.iter().map(Vec::len).sum();
    group.throughput(Throughput::Bytes(bytes as u64));
    own(&mut group, "own scanner", &OpeningOptions::default(), &ascii);
    own(&mut group, "own scanner, some text beyond ASCII", &OpeningOptions::default(), &mixed);
    own(&mut group, "own scanner, 2 of 30 not clean", &OpeningOptions::default(), &flagged);
    let enriched = OpeningOptions {
        environment: Some("production".to_owned()),
        tenant_id: Some("acme".to_owned()),
        labels: vec![("region".to_owned(), "eu-1".to_owned())],
        ..OpeningOptions::default()
    };
    own(&mut group, "own scanner, labels merged", &enriched, &ascii);
    for (name, matches) in [("none matches", false), ("hosts match", true)] {
        let name = format!("own scanner, held against 100,000 indicators, {name}");
        own(&mut group, &name, &held(matches, &ascii), &ascii);
    }
    group.finish();
}

/// Events are held against indicators of which none matches, or those of all their hosts do too.
fn held(matches: bool, block: &[Vec<u8>]) -> OpeningOptions {
    let listed = |kind, value: String| Listed {
        sign: Sign { kind, value },
        source: "feed".into(),
        confidence: 80,
        is_benign: false,
        until: Time { secs: i64::MAX, nanos: 0 },
        about: Arc::new(About { may_export: true, ..About::default() }),
    };
    let kinds = |n: u32| match n % 4 {
        0 => listed(SignKind::Domain, format!("h{n}.evil-{}.example", n / 7)),
        1 => listed(SignKind::Ip, std::net::Ipv4Addr::from_bits(0xcb00_0000 + n).to_string()),
        2 => listed(SignKind::FileHash, format!("{n:064x}")),
        _ => listed(SignKind::FileName, format!("evil-{n}.sh")),
    };
    let text = |record: &Vec<u8>| {
        let event: serde_json::Value = serde_json::from_slice(record).expect("a sample is JSON");
        event["resource"]["host"].as_str().map(str::to_owned)
    };
    let of_events = block.iter().filter(|_| matches).filter_map(text);
    let of_events = of_events.map(|host| listed(SignKind::Domain, host));
    let intel = Arc::new(Intel::default());
    intel.swap(Snapshot::new((0..100_000).map(kinds).chain(of_events), &Rules::default()));
    OpeningOptions { insight: Some(Arc::new(Marks::new(intel, None))), ..OpeningOptions::default() }
}

fn others(criterion: &mut Criterion) {
    let block = block(true, true);
    let bytes: usize = block.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Bytes(bytes as u64));
    let mut copy = Vec::with_capacity(bytes);
    group.bench_function("limit: memcpy", |bench| {
        bench.iter(|| {
            copy.clear();
            block.iter().for_each(|line| copy.extend_from_slice(black_box(line)));
            copy.len()
        });
    });
    group.bench_function("limit: str::from_utf8", |bench| {
        bench.iter(|| block.iter().filter(|line| str::from_utf8(black_box(line)).is_ok()).count());
    });
    group.bench_function("limit: is_ascii", |bench| {
        bench.iter(|| block.iter().filter(|line| black_box(line).is_ascii()).count());
    });
    let mut buffers = simd_json::Buffers::new(8_192);
    group.bench_function("simd-json tape (with its copy)", |bench| {
        bench.iter(|| {
            let mut nodes = 0;
            for line in &block {
                copy.clear();
                copy.extend_from_slice(black_box(line));
                let tape = simd_json::to_tape_with_buffers(&mut copy, &mut buffers);
                nodes += tape.expect("a sample is JSON").0.len();
            }
            nodes
        });
    });
    group.bench_function("sonic-rs lazy, each member of two levels", |bench| {
        bench.iter(|| block.iter().map(|line| lazy(black_box(line))).sum::<usize>());
    });
    group.bench_function("serde_json, nothing kept", |bench| {
        bench.iter(|| {
            let valid = |line: &&Vec<u8>| serde_json::from_slice::<IgnoredAny>(line).is_ok();
            block.iter().filter(valid).count()
        });
    });
    group.bench_function("serde_json value", |bench| {
        bench.iter(|| {
            let valid = |line: &&Vec<u8>| serde_json::from_slice::<serde_json::Value>(line).is_ok();
            block.iter().filter(valid).count()
        });
    });
    group.finish();
}

/// The members of a record and of the objects directly in it, as a lazy parser gives them.
fn lazy(line: &[u8]) -> usize {
    let mut members = 0;
    for member in sonic_rs::to_object_iter(line) {
        let (key, value) = member.expect("a sample is JSON");
        members += key.len();
        if value.is_object() {
            for inner in sonic_rs::to_object_iter(value.as_raw_str()) {
                let (key, value) = inner.expect("a sample is JSON");
                members += key.len() + value.as_raw_str().len();
            }
        }
    }
    members
}

criterion_group!(benches, open, others);
criterion_main!(benches);
