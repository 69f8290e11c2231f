//! What a batch costs beside rendering and compressing: pushing, closing, selecting, settling.

#[path = "bodies/mod.rs"]
mod bodies;
#[path = "bodies/cpu.rs"]
mod cpu;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use shrike::deliver::{
    Allowance, Batch, Budget, Buffers, Encoding, Framing, Limits, Packing, Part, Prefix, Watermark,
};
use shrike::event::{Offset, Settle, Settled, Severity, Span};
use shrike::transform::Schema;

use bodies::Bulk;
use cpu::CpuTime;

static ACTION: Schema = Schema { name: "action", ..Schema::BASE };
static BULK: Framing = Framing {
    head: "",
    prefix: Prefix::Document(&ACTION),
    between: "",
    after: "\n",
    tail: "",
    content_type: "application/x-ndjson",
};

const EVENTS: usize = 1000;

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .measurement_time(std::time::Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    let bulks = bodies::bulks(1, EVENTS);
    push(&mut criterion, &bulks);
    settle(&mut criterion);
    criterion.final_summary();
}

fn push(criterion: &mut Criterion<CpuTime>, bulks: &[Bulk]) {
    let bytes: usize = bulks.iter().map(|bulk| bulk.action.len() + bulk.document.len() + 2).sum();
    let limits = Limits { events: 10_000, body_bytes: 1 << 30, event_bytes: 1 << 20 };
    let encoding = Encoding::Identity;
    let packing = Arc::new(Packing {
        framing: &BULK,
        limits,
        body_bytes: limits.body_bytes,
        encoding,
        level: 1,
        flush_on: None,
        heads: shrike::deliver::Heads::default(),
        head: None,
        keeps_ids: false,
    });
    let (buffers, allowance) = (Buffers::new(), Budget::new(1 << 30, 1).allowance());

    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Bytes(bytes as u64));
    let mut copy = Vec::with_capacity(bytes);
    group.bench_function("memcpy of 1000 documents", |bencher| {
        bencher.iter(|| {
            copy.clear();
            for bulk in bulks {
                copy.extend_from_slice(bulk.action.as_bytes());
                copy.extend_from_slice(bulk.document.as_bytes());
            }
            black_box(copy.len())
        });
    });
    group.bench_function("push 1000 documents, close", |bencher| {
        bencher.iter(|| filled(bulks, &packing, &buffers, &allowance).body());
    });
    let batch = filled(bulks, &packing, &buffers, &allowance);
    group.bench_function("select every other of 1000", |bencher| {
        bencher.iter(|| batch.select(|at| at % 2 == 0).body());
    });
    group.finish();
}

fn filled(
    bulks: &[Bulk],
    packing: &Arc<Packing>,
    buffers: &Buffers,
    allowance: &Arc<Allowance>,
) -> Batch {
    let mut batch = Batch::new(packing, 0, buffers, allowance);
    for (at, bulk) in bulks.iter().enumerate() {
        let at = at as u64;
        let span = Span { from: Offset::new(at), to: Offset::new(at + 1) };
        batch.push(span, 0, Severity::Low, |part, out| {
            out.extend_from_slice(match part {
                Part::Prefix => bulk.action.as_bytes(),
                Part::Document => bulk.document.as_bytes(),
                Part::Id => b"",
            });
        });
    }
    batch.close();
    batch
}

fn settle(criterion: &mut Criterion<CpuTime>) {
    let spans = |order: &dyn Fn(u64) -> u64| -> Vec<Settled> {
        (0..EVENTS as u64)
            .map(|n| {
                let (from, to) = (order(n) * 1000, order(n) * 1000 + 1000);
                let span = Span { from: Offset::new(from), to: Offset::new(to) };
                Settled { span, events: 1, fate: Settle::Delivered }
            })
            .collect()
    };
    let mut group = criterion.benchmark_group("watermark");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for (name, spans) in [
        ("1000 spans in order", spans(&|n| n)),
        ("1000 spans of four lanes", spans(&|n| n % 4 * 250 + n / 4)),
        ("1000 spans backwards", spans(&|n| EVENTS as u64 - 1 - n)),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut watermark = Watermark::begin(0, Offset::ZERO);
                for piece in black_box(&spans).chunks(10) {
                    watermark.settle(piece);
                }
                watermark.checkpoint(Offset::new(u64::MAX))
            });
        });
    }
    group.finish();
}
