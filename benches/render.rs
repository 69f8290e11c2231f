//! Rendering: nanoseconds per event and bytes per second, beside a copy of the same bytes.
//!
//! `cargo bench --bench render`. Each group prints the time of one pass over a block of 256 events
//! of 1,000 bytes on average and the throughput in elements (events); `limit` copies the documents
//! of the first group with one `memcpy` per event.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shrike::event::{Event, FieldId as F, Frame, Opened, Opening, OpeningOptions};
use shrike::schemas::{CEF, ECS, NATIVE, OCSF};
use shrike::transform::Source::{Derived, Doc, Event as Value, Option as Text, Pattern};
use shrike::transform::write::{epoch_seconds, value};
use shrike::transform::{Clean, Layout, Overrides, Plan, Schema, row};

const SAMPLES: &str = include_str!("../tests/fixtures/security-events.jsonl");

/// Events in a block, about 256 KiB.
const EVENTS: usize = 256;

/// Mean bytes of an event.
const EVENT_BYTES: usize = 1000;

/// A body of the size that bulk destinations take.
const BODY_BYTES: usize = 1 << 20;

/// The action line of a bulk request.
static ACTION: Schema = Schema {
    name: "action",
    layout: Layout::Table(&[
        row("create._index", Pattern("index", &INDEX)),
        row("create._id", Value(F::EventId, value)),
    ]),
    ..Schema::BASE
};

static INDEX: Clean =
    Clean { each: |char| char, not_first: "-_+", absent: "default", bytes_max: 255, ..Clean::BASE };

/// An envelope with the time in seconds and a few fields beside the event.
static ENVELOPE: Schema = Schema {
    name: "envelope",
    layout: Layout::Table(&[
        row("time", Derived(&[F::Timestamp], epoch_seconds)),
        row("host", Text("host.name")),
        row("source", Text("source")),
        row("event", Doc),
        row("fields.severity", Value(F::Severity, value)),
        row("fields.guard", Value(F::Guard, value)),
        row("fields.tenant_id", Value(F::SessionTenantId, value)),
    ]),
    ..Schema::BASE
};

/// A block as a worker holds it: records, what was opened of them, and the arena.
struct Block {
    records: Vec<Vec<u8>>,
    opened: Vec<Opened>,
    arena: Vec<u8>,
}

impl Block {
    fn new() -> Self {
        let samples: Vec<&str> = SAMPLES.lines().collect();
        let records: Vec<Vec<u8>> = (0..EVENTS)
            .map(|at| {
                let sample = samples[at * 7 % samples.len()];
                // Longer metadata brings the samples, 800 bytes on average, to the benched mean.
                let note = "x".repeat(EVENT_BYTES.saturating_sub(sample.len() + 12 + at % 64));
                let more = format!("\"metadata\":{{\"note\":\"{note}\",");
                let record = sample.replacen("\"metadata\":{", &more, 1).replacen(",}", "}", 1);
                record.into_bytes()
            })
            .collect();
        let mut block = Self { records, opened: Vec::new(), arena: Vec::new() };
        block.open(&opening());
        block
    }

    fn open(&mut self, opening: &Opening) {
        self.opened.resize(self.records.len(), Opened::default());
        opening.begin(&mut self.arena);
        for (record, opened) in self.records.iter().zip(&mut self.opened) {
            opening.open(&frame(), record, &mut self.arena, opened).expect("samples are events");
        }
    }

    fn events(&self) -> impl Iterator<Item = Event<'_>> {
        let all = self.records.iter().zip(&self.opened);
        all.map(|(record, opened)| Event::new(opened, frame(), record, &self.arena))
    }
}

fn frame() -> Frame {
    Frame { received_ns: 1_770_381_000_000_000_000, ..Frame::default() }
}

fn opening() -> Opening {
    Opening::new(&OpeningOptions {
        environment: Some("production".to_owned()),
        ..Default::default()
    })
}

fn facts() -> Overrides {
    let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    Overrides {
        texts: vec![
            text("host.name", "edge-7"),
            text("host.machine_id", "9f2c41d07ab3"),
            text("product.version", "0.1.0"),
            text("source", "clawdstrike"),
            text("index", "clawdstrike-security-{date}"),
        ],
        ..Overrides::default()
    }
}

fn plan(chain: &[&'static Schema], overrides: &Overrides) -> Plan {
    Plan::compile(chain, overrides).expect("the benched schemas compile")
}

/// Renders every event with every plan, an LF behind each, into a body that is reused.
fn render(block: &Block, plans: &[&Plan], body: &mut Vec<u8>) {
    for event in block.events() {
        if body.len() > BODY_BYTES {
            body.clear();
        }
        for plan in plans {
            plan.encode(&event, body);
            body.push(b'\n');
        }
    }
}

fn benches(criterion: &mut Criterion) {
    let block = Block::new();
    let facts = facts();
    let raw = Overrides { raw: Some(&NATIVE), ..facts.clone() };
    let [native, ecs, cef, ocsf, action, envelope, original] = [
        plan(&[&NATIVE], &facts),
        plan(&[&ECS], &facts),
        plan(&[&CEF], &facts),
        plan(&[&OCSF], &facts),
        plan(&[&ACTION], &facts),
        plan(&[&ENVELOPE, &NATIVE], &facts),
        plan(&[&ECS], &raw),
    ];
    let rows: [(&str, &[&Plan]); 7] = [
        ("ecs with action line", &[&action, &ecs]),
        ("ecs", &[&ecs]),
        ("native", &[&native]),
        ("cef", &[&cef]),
        ("ocsf", &[&ocsf]),
        ("native in envelope", &[&envelope]),
        ("ecs with original", &[&original]),
    ];
    let mut group = criterion.benchmark_group("render");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for (name, plans) in rows {
        let mut body = Vec::new();
        render(&block, plans, &mut body);
        println!("{name}: {} bytes per event", body.len() / EVENTS);
        group.bench_function(name, |bencher| {
            bencher.iter(|| render(black_box(&block), plans, black_box(&mut body)));
        });
    }
    limit(&block, &[&action, &ecs], &mut group);
    let mut opened = Block::new();
    let (opening, mut body) = (opening(), Vec::new());
    group.bench_function("open and ecs with action line", |bencher| {
        bencher.iter(|| {
            opened.open(&opening);
            render(black_box(&opened), &[&action, &ecs], black_box(&mut body));
        });
    });
    group.bench_function("open", |bencher| bencher.iter(|| opened.open(black_box(&opening))));
    group.finish();
}

/// Copies the documents of the first row, one `memcpy` per event.
fn limit(
    block: &Block,
    plans: &[&Plan],
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
) {
    let documents: Vec<Vec<u8>> = block
        .events()
        .map(|event| {
            let mut document = Vec::new();
            for plan in plans {
                plan.encode(&event, &mut document);
                document.push(b'\n');
            }
            document
        })
        .collect();
    let mut body = Vec::new();
    group.bench_function("limit", |bencher| {
        bencher.iter(|| {
            for document in &documents {
                if body.len() > BODY_BYTES {
                    body.clear();
                }
                black_box(&mut body).extend_from_slice(black_box(document));
            }
        });
    });
}

criterion_group!(render_benches, benches);
criterion_main!(render_benches);
