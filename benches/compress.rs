//! What compressing a bulk body costs, by library and level (`docs/decisions/compression.md`).
//!
//! CPU seconds per GB are 1 over the printed GB/s; ratios are printed first.

#[path = "bodies/mod.rs"]
mod bodies;
#[path = "bodies/cpu.rs"]
mod cpu;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkGroup, Criterion, Throughput};
use flate2::{Compress, Compression, FlushCompress, Status};
use libdeflater::{CompressionLvl, Compressor};
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params,
};
use shrike::deliver::{
    Allowance, Batch, Budget, Buffers, Encoding, Framing, Limits, Packing, Prefix, TURN_BYTES,
};
use shrike::event::{Offset, Severity, Span};

use cpu::CpuTime;

static FRAMING: Framing = Framing {
    head: "",
    prefix: Prefix::None,
    between: "",
    after: "\n",
    tail: "",
    content_type: "application/x-ndjson",
};

/// Body sizes: a small batch, Splunk's limit, Elasticsearch's limit.
const SIZES: [usize; 3] = [64 << 10, 1_000_000, 5_000_000];

type Group<'a> = BenchmarkGroup<'a, CpuTime>;

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .measurement_time(std::time::Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    for size in SIZES {
        let raw = body(size);
        let mut group = criterion.benchmark_group(format!("compress/{}k", size / 1000));
        group.throughput(Throughput::Bytes(raw.len() as u64));
        limit(&mut group, &raw);
        shrike(&mut group, &raw);
        zlib_rs(&mut group, &raw);
        miniz(&mut group, &raw);
        libdeflate(&mut group, &raw);
        #[cfg(feature = "isal")]
        isal_gzip(&mut group, &raw);
        group.finish();
    }
    criterion.final_summary();
}

/// About so many bytes of action lines and documents.
fn body(bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes + 4096);
    for bodies::Bulk { action, document } in bodies::bulks(1, bytes / 1000 + 2) {
        if body.len() >= bytes {
            break;
        }
        body.extend_from_slice(format!("{action}\n{document}\n").as_bytes());
    }
    body
}

/// The limit of everything that reads and writes once.
fn limit(group: &mut Group<'_>, raw: &[u8]) {
    let mut out = Vec::with_capacity(raw.len());
    measure(group, "memcpy", raw, |raw| {
        out.clear();
        out.extend_from_slice(raw);
        out.len()
    });
}

/// As batches do it: pushes and turns, buffers and streams from the pool.
fn shrike(group: &mut Group<'_>, raw: &[u8]) {
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
        let limits = Limits { events: u32::MAX, body_bytes: 1 << 30, event_bytes: 1 << 20 };
        let packing = Arc::new(Packing {
            framing: &FRAMING,
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
        let name = format!("shrike {encoding:?} 1");
        measure(group, &name, raw, |raw| batch(raw, &packing, &buffers, &allowance));
    }
}

fn batch(raw: &[u8], packing: &Arc<Packing>, pool: &Buffers, allowance: &Arc<Allowance>) -> usize {
    let mut batch = Batch::new(packing, 0, pool, allowance);
    for (at, line) in raw.split(|byte| *byte == b'\n').enumerate() {
        let from = Offset::new(at as u64);
        let span = Span { from, to: Offset::new(at as u64 + 1) };
        batch.push(span, 0, Severity::Low, |_, out| out.extend_from_slice(line));
        if at % 64 == 0 {
            while batch.turn(TURN_BYTES) > TURN_BYTES {}
        }
    }
    batch.close();
    batch.body().expect("it is closed").len()
}

/// Levels of the streaming default.
fn zlib_rs(group: &mut Group<'_>, raw: &[u8]) {
    for level in [1, 2, 3, 6] {
        let mut stream = Compress::new_gzip(Compression::new(level), 15);
        let mut out = vec![0; raw.len() + 4096];
        measure(group, &format!("zlib-rs gzip {level}, turns"), raw, |raw| {
            stream.reset();
            for piece in raw.chunks(TURN_BYTES) {
                let at = stream.total_out() as usize;
                stream.compress(piece, &mut out[at..], FlushCompress::None).expect("room");
            }
            let at = stream.total_out() as usize;
            let end = stream.compress(&[], &mut out[at..], FlushCompress::Finish);
            assert_eq!(end.expect("room"), Status::StreamEnd);
            stream.total_out() as usize
        });
    }
}

/// flate2's other pure Rust backend.
fn miniz(group: &mut Group<'_>, raw: &[u8]) {
    let flags = create_comp_flags_from_zip_params(1, 1, 0);
    let mut stream = CompressorOxide::new(flags);
    let mut out = Vec::with_capacity(raw.len());
    measure(group, "miniz_oxide zlib 1, whole", raw, |raw| {
        stream.reset();
        out.clear();
        compress_to_output(&mut stream, raw, TDEFLFlush::Finish, |piece| {
            out.extend_from_slice(piece);
            true
        });
        out.len()
    });
}

/// libdeflate takes whole bodies only.
fn libdeflate(group: &mut Group<'_>, raw: &[u8]) {
    for level in [1, 2] {
        let mut compressor = Compressor::new(CompressionLvl::new(level).expect("a level"));
        let mut out = vec![0; compressor.gzip_compress_bound(raw.len())];
        measure(group, &format!("libdeflate gzip {level}, whole"), raw, |raw| {
            compressor.gzip_compress(raw, &mut out).expect("room for the worst case")
        });
    }
}

/// The fastest of others, with vectors and assembler.
#[cfg(feature = "isal")]
fn isal_gzip(group: &mut Group<'_>, raw: &[u8]) {
    use std::io::Write as _;

    for (level, number) in [(isal::CompressionLevel::Zero, 0), (isal::CompressionLevel::One, 1)] {
        let mut stream = isal::write::GzipEncoder::new(Vec::new(), level);
        measure(group, &format!("ISA-L gzip {number}, turns"), raw, |raw| {
            stream.get_ref_mut().clear();
            for piece in raw.chunks(TURN_BYTES) {
                stream.write_all(piece).expect("a vector takes all");
            }
            stream.flush().expect("a vector takes all");
            stream.get_ref_mut().len()
        });
    }
}

fn measure(group: &mut Group<'_>, name: &str, raw: &[u8], mut run: impl FnMut(&[u8]) -> usize) {
    let bytes = run(raw);
    println!("{name}: {} to {bytes} bytes, 1 to {:.2}", raw.len(), raw.len() as f64 / bytes as f64);
    group.bench_function(name, |bencher| bencher.iter(|| run(black_box(raw))));
}
