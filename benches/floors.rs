//! Each step of an event's way beside the least that a machine can do for it: `cargo bench --bench
//! floors`. CPU time of this thread per event, the median of rounds in which a step and its floor
//! take turns, so that a change of the machine's speed meets both. `--bench transport` does the
//! same for sending.

#[path = "bodies/block.rs"]
mod block;
#[path = "bodies/mod.rs"]
mod bodies;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use http::HeaderMap;
use libdeflater::{CompressionLvl, Compressor};
use rustix::time::{ClockId, clock_gettime};
use shrike::deliver::{
    Batch, Budget, Buffers, Documents, Encoding, Framing, Limits, Options, Packing, Part, Prefix,
    Purpose, Response, TURN_BYTES, judge,
};
use shrike::event::{
    Event, FieldId as F, Frame, Offset, Opened, Opening, OpeningOptions, Severity, Span,
};
use shrike::log::{Log, LogOptions, Mark, Parsed, Read, Window};
use shrike::schemas::{CEF, ECS, NATIVE, OCSF};
use shrike::transform::Source::{DocText, Event as Value};
use shrike::transform::write::value;
use shrike::transform::{Format, Layout, Overrides, Plan, Schema, row};
use shrike::vendors::elastic::ELASTIC;

fn main() {
    println!(
        "{:<34} {:>9} {:>7}   {:<28} {:>9} {:>7}",
        "step", "ns/event", "GB/s", "floor", "ns/event", "times"
    );
    let block = Block::new();
    opening(&block);
    rendering(&block);
    framing(&block);
    batching();
    compressing();
    judging();
}

/// What a step or its floor does once, for all of its events.
type Run<'a> = Box<dyn FnMut() + 'a>;

/// Measures a step and its floors in turns, and prints a line for each floor.
fn against(step: (&str, Run<'_>), floors: Vec<(&str, Run<'_>)>, events: usize, bytes: usize) {
    let (name, mut run) = step;
    let mut floors: Vec<_> = floors.into_iter().map(|(name, run)| (name, run, vec![])).collect();
    let mut figures = Vec::new();
    for _ in 0..ROUNDS {
        figures.push(timed(&mut run, events));
        for (_, floor, figures) in &mut floors {
            figures.push(timed(floor, events));
        }
    }
    let step = median(&mut figures);
    for (floor, _, figures) in &mut floors {
        let least = median(figures);
        println!(
            "{name:<34} {step:>9.1} {:>7.2}   {floor:<28} {least:>9.1} {:>7.2}",
            bytes as f64 / events as f64 / step,
            step / least
        );
    }
}

/// Nanoseconds of CPU per event.
fn timed(run: &mut Run<'_>, events: usize) -> f64 {
    let begun = cpu();
    let mut times = 0;
    while cpu() - begun < ROUND {
        run();
        times += 1;
    }
    (cpu() - begun).as_secs_f64() * 1e9 / f64::from(times) / events as f64
}

fn opening(block: &Block) {
    let (opening, mut arena) = (block.opening(), Vec::new());
    let mut opened = vec![Opened::default(); block.records.len()];
    let open = || {
        opening.begin(&mut arena);
        for (record, out) in black_box(&block.records).iter().zip(&mut opened) {
            assert!(opening.open(&frame(), record, &mut arena, out).is_ok());
        }
    };
    let mut copy = Vec::with_capacity(block.bytes());
    let is_text = |record: &&Vec<u8>| str::from_utf8(record).is_ok();
    against(
        ("open, checks and privacy", Box::new(open)),
        vec![
            ("memcpy", copying(&block.records, &mut copy)),
            (
                "UTF-8 check",
                Box::new(|| {
                    black_box(black_box(&block.records).iter().filter(is_text).count());
                }),
            ),
        ],
        block.records.len(),
        block.bytes(),
    );
}

fn rendering(block: &Block) {
    let plan = |chain: &[&'static Schema]| {
        let texts = vec![("host.name".to_owned(), "edge-7".to_owned())];
        let overrides = Overrides { texts, ..Overrides::default() };
        Plan::compile(chain, &overrides).expect("the benched schemas compile")
    };
    for (name, chain) in [
        ("render native", &[&NATIVE][..]),
        ("render ECS", &[&ECS]),
        ("render CEF", &[&CEF]),
        ("render OCSF", &[&OCSF]),
        ("render native, escaped in a text", &[&QUOTED, &NATIVE]),
    ] {
        let plan = plan(chain);
        let documents: Vec<Vec<u8>> = block
            .events()
            .map(|event| {
                let mut document = Vec::new();
                plan.encode(&event, &mut document);
                document
            })
            .collect();
        let bytes = documents.iter().map(Vec::len).sum();
        let (mut body, mut copy) = (Vec::with_capacity(bytes), Vec::with_capacity(bytes));
        let render = || {
            body.clear();
            black_box(block).events().for_each(|event| plan.encode(&event, &mut body));
        };
        against(
            (name, Box::new(render)),
            vec![("memcpy of the documents", copying(&documents, &mut copy))],
            documents.len(),
            bytes,
        );
    }
}

fn framing(block: &Block) {
    let dir = tempfile::tempdir().expect("a directory");
    let options = LogOptions { dir: dir.path().join("log"), ..LogOptions::default() };
    let (log, _) = Log::open(options).expect("a new log");
    let appender = log.appender();
    for record in &block.records {
        appender.append(record, Mark::default()).expect("there is room");
    }
    log.flush().expect("the disk takes it");
    let span = Span { from: Offset::ZERO, to: log.written() };
    let read = log.reader().read(span.from, span.to, 512 << 10).expect("readable");
    let Read::Block(found) = read else { panic!("it was just written") };
    let window = Window { base: found.span().from, bytes: found.bytes() };
    let offsets: Vec<Offset> = found.records().iter().map(|it| it.frame.offset).collect();
    let parse = || {
        for &at in &offsets {
            black_box(Parsed::parse(black_box(window), at));
        }
    };
    let sum = || {
        for record in black_box(&block.records) {
            black_box(crc_fast::crc32_iscsi(record));
        }
    };
    against(
        ("frame read and checked", Box::new(parse)),
        vec![("CRC-32C of the records", Box::new(sum))],
        offsets.len(),
        block.bytes(),
    );
}

fn batching() {
    let bulks = bodies::bulks(1, BULKS);
    let lines: Vec<Vec<u8>> =
        bulks.iter().map(|it| format!("{}\n{}\n", it.action, it.document).into_bytes()).collect();
    let bytes = lines.iter().map(Vec::len).sum();
    let (packing, pool) = (packing(&BULK, Encoding::Identity), Buffers::new());
    let allowance = Budget::new(1 << 30, 1).allowance();
    let push = || {
        let mut batch = Batch::new(&packing, 0, &pool, &allowance);
        for (at, bulk) in bulks.iter().enumerate() {
            batch.push(span(at), 0, Severity::Low, |part, out| {
                out.extend_from_slice(match part {
                    Part::Prefix => bulk.action.as_bytes(),
                    Part::Document => bulk.document.as_bytes(),
                    Part::Id => b"",
                });
            });
        }
        batch.close();
        black_box(batch.body());
    };
    let mut copy = Vec::with_capacity(bytes);
    against(
        ("batch: push and close", Box::new(push)),
        vec![("memcpy of the lines", copying(&lines, &mut copy))],
        BULKS,
        bytes,
    );
}

fn compressing() {
    let bulks = bodies::bulks(1, BULKS);
    let lines: Vec<Vec<u8>> =
        bulks.iter().map(|it| format!("{}\n{}\n", it.action, it.document).into_bytes()).collect();
    let raw = lines.concat();
    let (packing, pool) = (packing(&LINES, Encoding::Gzip), Buffers::new());
    let allowance = Budget::new(1 << 30, 1).allowance();
    let gzip = || {
        let mut batch = Batch::new(&packing, 0, &pool, &allowance);
        for (at, line) in lines.iter().enumerate() {
            batch.push(span(at), 0, Severity::Low, |_, out| out.extend_from_slice(line));
            while batch.turn(TURN_BYTES) > TURN_BYTES {}
        }
        batch.close();
        black_box(batch.body());
    };
    let mut stream = Compress::new_gzip(Compression::new(1), 15);
    let mut out = vec![0; raw.len() + 4096];
    let zlib = || {
        stream.reset();
        for piece in black_box(&raw).chunks(TURN_BYTES) {
            let at = usize::try_from(stream.total_out()).expect("it fits into the room");
            stream.compress(piece, &mut out[at..], FlushCompress::None).expect("room");
        }
        let at = usize::try_from(stream.total_out()).expect("it fits into the room");
        stream.compress(&[], &mut out[at..], FlushCompress::Finish).expect("room");
    };
    let mut whole = Compressor::new(CompressionLvl::new(1).expect("a level"));
    let mut room = vec![0; whole.gzip_compress_bound(raw.len())];
    let libdeflate = || {
        black_box(whole.gzip_compress(black_box(&raw), &mut room).expect("room"));
    };
    let mut copy = Vec::with_capacity(raw.len());
    against(
        ("gzip 1, batch and all", Box::new(gzip)),
        vec![
            ("memcpy of the lines", copying(&lines, &mut copy)),
            ("zlib-rs, level 1", Box::new(zlib)),
            ("libdeflate, level 1, at once", Box::new(libdeflate)),
        ],
        BULKS,
        raw.len(),
    );
}

fn judging() {
    let items = vec![r#"{"create":{"status":201}}"#; BULKS].join(",");
    let body = format!(r#"{{"took":30,"errors":false,"items":[{items}]}}"#).into_bytes();
    let (headers, options) = (HeaderMap::new(), Options::default());
    let call = ELASTIC.call(Purpose::Send, &options, Format::Ecs).expect("it sends");
    let read = || {
        let response = Response {
            status: 200,
            headers: &headers,
            body: black_box(&body),
            events: BULKS,
            body_bytes: 1_000_000,
            documents: Documents::NONE,
            acks: &[],
            options: &options,
        };
        black_box(judge(call, &response));
    };
    let mut copy = Vec::with_capacity(body.len());
    let answers = [body.clone()];
    against(
        ("judge an answer of _bulk", Box::new(read)),
        vec![("memcpy of the answer", copying(&answers, &mut copy))],
        BULKS,
        body.len(),
    );
}

/// One `memcpy` for each text.
fn copying<'a>(texts: &'a [Vec<u8>], copy: &'a mut Vec<u8>) -> Run<'a> {
    Box::new(move || {
        copy.clear();
        texts.iter().for_each(|text| copy.extend_from_slice(black_box(text)));
        black_box(copy.len());
    })
}

/// A block as a worker holds it: records, what was opened of them, and the arena.
struct Block {
    records: Vec<Vec<u8>>,
    opened: Vec<Opened>,
    arena: Vec<u8>,
}

impl Block {
    fn new() -> Self {
        let records = block::block(true, true);
        let opened = vec![Opened::default(); records.len()];
        let mut block = Self { records, opened, arena: Vec::new() };
        let opening = block.opening();
        opening.begin(&mut block.arena);
        for (record, opened) in block.records.iter().zip(&mut block.opened) {
            opening.open(&frame(), record, &mut block.arena, opened).expect("samples are events");
        }
        block
    }

    fn opening(&self) -> Opening {
        Opening::new(&OpeningOptions::default())
    }

    fn bytes(&self) -> usize {
        self.records.iter().map(Vec::len).sum()
    }

    fn events(&self) -> impl Iterator<Item = Event<'_>> {
        let pairs = self.records.iter().zip(&self.opened);
        pairs.map(|(record, opened)| Event::new(opened, frame(), record, &self.arena))
    }
}

/// A document as a text, which escapes all of it.
static QUOTED: Schema = Schema {
    name: "quoted",
    layout: Layout::Table(&[row("id", Value(F::EventId, value)), row("text", DocText)]),
    ..Schema::BASE
};
static ACTION: Schema = Schema { name: "action", ..Schema::BASE };
static BULK: Framing = Framing { prefix: Prefix::Document(&ACTION), after: "\n", ..LINES };
static LINES: Framing = Framing {
    head: "",
    prefix: Prefix::None,
    between: "",
    after: "",
    tail: "",
    content_type: "application/x-ndjson",
};

fn packing(framing: &'static Framing, encoding: Encoding) -> Arc<Packing> {
    let limits = Limits { events: u32::MAX, body_bytes: 1 << 30, event_bytes: 1 << 20 };
    Arc::new(Packing {
        framing,
        limits,
        body_bytes: 4 << 20,
        encoding,
        level: 1,
        flush_on: None,
        heads: shrike::deliver::Heads::default(),
        head: None,
        keeps_ids: false,
    })
}

fn span(at: usize) -> Span {
    let at = at as u64;
    Span { from: Offset::new(at), to: Offset::new(at + 1) }
}

/// 2026-02-06T12:30:00Z.
fn frame() -> Frame {
    Frame { received_ns: 1_770_381_000_000_000_000, ..Frame::default() }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let secs = u64::try_from(now.tv_sec).expect("time goes up from 0");
    Duration::new(secs, u32::try_from(now.tv_nsec).expect("below a second"))
}

/// Events of one bulk body, 1.5 MB.
const BULKS: usize = 1000;
const ROUNDS: usize = 25;
/// CPU time of one round of one of them.
const ROUND: Duration = Duration::from_millis(20);
