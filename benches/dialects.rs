//! What records of other producers cost until they are events: telling them apart, mapping,
//! checking. The limit is 2,000 ns per line of hushd's audit log.

#[path = "bodies/cpu.rs"]
mod cpu;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use shrike::dialects;
use shrike::event::{Opening, OpeningOptions};
use shrike::intake::{Batch, CheckOptions, Checker, IntakeCounts, Lines};

use cpu::CpuTime;

const SAMPLES: &[(&str, &str)] = &[
    ("clawdstrike.audit", include_str!("../tests/fixtures/clawdstrike-audit.jsonl")),
    ("clawdstrike.openclaw", include_str!("../tests/fixtures/openclaw-audit.jsonl")),
    ("clawdstrike.policy_event", include_str!("../tests/fixtures/policy-events.jsonl")),
    ("velar.audit", include_str!("../tests/fixtures/velar-audit.jsonl")),
    ("security_event", include_str!("../tests/fixtures/security-events.jsonl")),
];

const NOW_NS: u64 = 1_770_388_200_000_000_000;

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .measurement_time(std::time::Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    let mut group = criterion.benchmark_group("dialects");
    for (name, text) in SAMPLES {
        // Without a window, since the same lines come again and again.
        let check =
            CheckOptions { dialects: dialects::ALL, dedup_window: 0, ..CheckOptions::default() };
        let opening = Arc::new(Opening::new(&OpeningOptions::default()));
        let mut checker = Checker::new(opening, check, Arc::new(IntakeCounts::default()));
        let mut batch = Batch::default();
        let lines = text.lines().count() as u64;
        group.throughput(Throughput::Elements(lines));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                batch.clear();
                let text = black_box(text.as_bytes());
                Lines::new(0).take(&mut checker, text, NOW_NS, &mut batch);
                assert_eq!(batch.len() as u64, lines);
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
