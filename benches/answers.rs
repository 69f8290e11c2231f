//! Judging answers: what one bulk answer costs, by its size and by what it says.
//!
//! `cargo bench --bench answers`. Throughput is in elements (events). `limit` compares the bytes of
//! an answer with a copy of them: no reader of the whole answer can be faster.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::HeaderMap;
use shrike::deliver::{Call, Documents, Options, Purpose, Response, judge};
use shrike::transform::Format;
use shrike::vendors::{elastic::ELASTIC, splunk::SPLUNK};

const CREATED: &str = r#"{"create":{"status":201}}"#;
const CONFLICT: &str = concat!(
    r#"{"create":{"status":409,"error":{"type":"version_conflict_engine_exception","#,
    r#""reason":"[019c322d-fa80-7f99-8d84-b44109f58c77]: version conflict, document already"#,
    r#" exists (current version [1])"}}}"#,
);
const REJECTED: &str = concat!(
    r#"{"create":{"status":429,"error":{"type":"es_rejected_execution_exception","#,
    r#""reason":"rejected execution of primary operation [primary_bytes=53687091]"}}}"#,
);

/// An answer with `events` items, every `each`th of them `other`.
fn bulk(events: usize, each: usize, other: &str) -> String {
    let item = |at| if at % each == each - 1 { other } else { CREATED };
    let items: Vec<&str> = (0..events).map(item).collect();
    format!(r#"{{"took":30,"errors":{},"items":[{}]}}"#, each <= events, items.join(","))
}

fn response<'a>(
    body: &'a str,
    events: usize,
    headers: &'a HeaderMap,
    options: &'a Options,
) -> Response<'a> {
    let body = body.as_bytes();
    Response {
        status: 200,
        headers,
        body,
        events,
        body_bytes: 5_000_000,
        documents: Documents::NONE,
        acks: &[],
        options,
    }
}

fn send(vendor: &'static shrike::deliver::Vendor) -> &'static Call {
    vendor.call(Purpose::Send, &Options::default(), Format::Native).expect("every vendor sends")
}

fn answers(criterion: &mut Criterion) {
    let (headers, options) = (HeaderMap::new(), Options::default());
    let mut group = criterion.benchmark_group("answers");
    let never = usize::MAX;
    let cases = [
        ("500 created", 500, bulk(500, never, "")),
        ("5000 created", 5000, bulk(5000, never, "")),
        ("5000, every 100th there before", 5000, bulk(5000, 100, CONFLICT)),
        ("5000, every 2nd there before", 5000, bulk(5000, 2, CONFLICT)),
        ("5000, every 2nd rejected", 5000, bulk(5000, 2, REJECTED)),
        ("5000 rejected", 5000, bulk(5000, 1, REJECTED)),
    ];
    for (name, events, body) in &cases {
        group.throughput(Throughput::Elements(*events as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                let response = response(black_box(body), *events, &headers, &options);
                black_box(judge(send(&ELASTIC), &response))
            });
        });
    }
    let (_, events, body) = &cases[1];
    let copy = body.clone();
    group.throughput(Throughput::Elements(*events as u64));
    group.bench_function("5000, limit", |bencher| {
        bencher.iter(|| black_box(black_box(body.as_bytes()) == black_box(copy.as_bytes())));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("a collector's success", |bencher| {
        bencher.iter(|| {
            let body = black_box(r#"{"text":"Success","code":0,"ackId":17}"#);
            black_box(judge(send(&SPLUNK), &response(body, 1000, &headers, &options)))
        });
    });
    group.finish();
}

criterion_group!(benches, answers);
criterion_main!(benches);
