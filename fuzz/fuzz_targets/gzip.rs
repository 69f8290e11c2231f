//! What our own deflate writes is opened by two inflaters of others, whatever is in it.

#![no_main]

use std::io::Read as _;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use shrike::deliver::{
    Batch, Budget, Buffers, Encoding, Framing, Heads, Limits, Packing, Prefix, Pushed,
};
use shrike::event::{Offset, Severity, Span};

static LINES: Framing = Framing {
    head: "",
    prefix: Prefix::None,
    between: "",
    after: "\n",
    tail: "",
    content_type: "text/plain",
};

/// Documents, how often each comes again at once, and how much is compressed between two of them.
type Input<'a> = (u16, Vec<(u8, &'a [u8])>);

fuzz_target!(|input: Input<'_>| {
    let (turn, documents) = input;
    let packing = Arc::new(Packing {
        framing: &LINES,
        limits: Limits { events: 100_000, body_bytes: 1 << 24, event_bytes: 1 << 24 },
        body_bytes: 1 << 24,
        encoding: Encoding::Gzip,
        level: 1,
        flush_on: None,
        heads: Heads::default(),
        head: None,
        keeps_ids: false,
    });
    let allowance = Budget::new(64 << 20, 1).allowance();
    let mut batch = Batch::new(&packing, 0, &Buffers::new(), &allowance);
    let mut raw = Vec::new();
    for (at, (times, bytes)) in documents.iter().enumerate() {
        let document = bytes.repeat(usize::from(*times));
        let offset = |at| Offset::new(at as u64 * 10);
        let span = Span { from: offset(at), to: offset(at + 1) };
        let pushed = batch.push(span, 0, Severity::Low, |_, out| out.extend_from_slice(&document));
        if pushed != Pushed::Fits {
            break;
        }
        raw.extend_from_slice(&document);
        raw.push(b'\n');
        batch.turn(usize::from(turn));
    }
    if raw.is_empty() {
        return;
    }
    batch.close();
    let body = batch.body().expect("it is closed");
    let mut opened = vec![0; raw.len()];
    let read = libdeflater::Decompressor::new().gzip_decompress(&body, &mut opened);
    assert_eq!(read, Ok(raw.len()));
    assert!(opened == raw, "libdeflate reads something else");
    let mut again = Vec::with_capacity(raw.len());
    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut again).expect("zlib-rs reads it");
    assert!(again == raw, "zlib-rs reads something else");
});
