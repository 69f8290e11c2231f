//! What has a limit of its own: mapping hushd's lines, privacy, and an append by a program that
//! embeds the library. `cargo bench --bench limits` measures each beside its limit and says which
//! are met; CPU seconds per million are those of this thread, the median of several rounds.
//! `cargo bench --bench limits -- privacy` measures one: `mapping`, `privacy` or `append`.

#[path = "bodies/block.rs"]
mod block;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use shrike::config::{Config, Flags, System, Text};
use shrike::dialects;
use shrike::event::{Frame, Opened, Opening, OpeningOptions};
use shrike::intake::{Batch, CheckOptions, Checker, IntakeCounts, Lines};
use shrike::log::{Log, LogOptions, Mark};
use shrike::vendors;

const AUDIT: &str = include_str!("../tests/fixtures/clawdstrike-audit.jsonl");
/// 2026-02-06T14:30:00Z, in nanoseconds.
const NOW_NS: u64 = 1_770_388_200_000_000_000;
const ROUNDS: usize = 41;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    for (name, run) in [("mapping", mapping as fn()), ("privacy", privacy), ("append", append)] {
        if wanted.is_empty() || wanted.iter().any(|it| it == name) {
            run();
        }
    }
}

/// Lines of hushd's log, each with an id of its own, until they are checked events.
fn mapping() {
    let lines: Vec<&str> = AUDIT.lines().collect();
    let mut text = String::new();
    for number in 0..LINES {
        let line = lines[number % lines.len()];
        let (head, rest) = line.split_once("\"id\":\"").expect("each has an id");
        let (_, rest) = rest.split_once('"').expect("it ends");
        let id = format!("019c32d2-c9ec-7c22-{:04x}-{number:012x}", 0x8000 | (number >> 3) & 0xfff);
        text.push_str(&format!("{head}\"id\":\"{id}\"{rest}\n"));
    }
    let mut figures = Vec::new();
    for _ in 0..ROUNDS {
        // As an input has it, with its window of ids, which forgets nothing here.
        let check = CheckOptions { dialects: dialects::ALL, ..CheckOptions::default() };
        let opening = Arc::new(Opening::new(&OpeningOptions::default()));
        let mut checker = Checker::new(opening, check, Arc::new(IntakeCounts::default()));
        let (mut batch, mut taken) = (Batch::default(), 0);
        let begun = cpu();
        for chunk in pieces(black_box(&text)) {
            batch.clear();
            Lines::new(0).take(&mut checker, chunk, NOW_NS, &mut batch);
            taken += batch.len();
        }
        figures.push((cpu() - begun) / LINES as f64);
        assert_eq!(taken, LINES, "all are events, and none came before");
    }
    told("mapping hushd's audit lines", median(&mut figures), MAPPING_MAX);
}

/// Opening events of 1,000 bytes without privacy, with the defaults, and with all that is built in.
fn privacy() {
    let block = block::block(true, true);
    let with = |text: &str| {
        let text = Text::File { name: "bench".to_owned(), text: text.to_owned().into() };
        let config = Config::load(&text, &Flags::default(), vendors::ALL, &System);
        Opening::new(&config.expect("a configuration").opening_options())
    };
    let openings = [
        with("privacy: {drop_previews: false, builtin_patterns: []}"),
        with("{}"),
        with(
            "privacy: {builtin_patterns: [private_key, aws_key, github_token, slack_token, bearer, \
             llm_key, url_password, email, credit_card, ssn, phone, ipv4, generic_secret]}",
        ),
    ];
    let mut arena = Vec::new();
    let mut opened = vec![Opened::default(); block.len()];
    let mut figures = [Vec::new(), Vec::new(), Vec::new()];
    // In turn, so that a change of the machine's speed meets all alike.
    for _ in 0..ROUNDS {
        for (opening, figures) in openings.iter().zip(&mut figures) {
            let begun = cpu();
            for _ in 0..REPEATS {
                opening.begin(&mut arena);
                for (record, out) in black_box(&block).iter().zip(&mut opened) {
                    let frame = Frame { received_ns: NOW_NS, ..Frame::default() };
                    assert!(opening.open(&frame, record, &mut arena, out).is_ok());
                }
            }
            figures.push((cpu() - begun) / (REPEATS * block.len()) as f64);
        }
    }
    let [none, usual, all] = &mut figures;
    let (none, usual, all) = (median(none), median(usual), median(all));
    println!("opening without privacy: {:.3} CPU-s per million", none * 1e6);
    told("privacy: the defaults, in addition", usual - none, PRIVACY_MAX);
    let times = all / none;
    let verdict = if times <= ALL_MAX { "met" } else { "MISSED" };
    println!("privacy: all built-in patterns: {times:.2} times opening, limit {ALL_MAX} {verdict}");
}

/// Appending to the log in the program that makes the events, without waiting for the disk.
fn append() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = LogOptions { dir: dir.path().join("log"), ..LogOptions::default() };
    let (log, _) = Log::open(options).expect("a new log");
    let (appender, block) = (log.appender(), block::block(true, true));
    let (mut figures, mut walls) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (begun, start) = (cpu(), Instant::now());
        for number in 0..APPENDS {
            let record = black_box(&block[number % block.len()]);
            let mark = Mark { received_ns: NOW_NS, checked: true, ..Mark::default() };
            appender.append(record, mark).expect("there is room");
        }
        walls.push(start.elapsed().as_secs_f64() / APPENDS as f64);
        figures.push((cpu() - begun) / APPENDS as f64);
        // The disk gets its time between two rounds: a producer is not faster than it for long.
        log.flush().expect("the disk takes it");
    }
    told("library append, CPU of the producer", median(&mut figures), APPEND_MAX);
    told("library append, wall clock", median(&mut walls), APPEND_MAX);
    log.close().expect("it closes");
}

/// Whole lines of about as many bytes as an input reads at once.
fn pieces(text: &str) -> impl Iterator<Item = &[u8]> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let most = rest.len().min(256 << 10);
        let end = rest[..most].iter().rposition(|&byte| byte == b'\n')? + 1;
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// One of something in seconds, beside its limit.
fn told(what: &str, one: f64, limit: f64) {
    let verdict = if one <= limit { "met" } else { "MISSED" };
    println!("{what}: {:.3} CPU-s per million, limit {:.1} {verdict}", one * 1e6, limit * 1e6);
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// CPU time of this thread in seconds.
fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let secs = u64::try_from(now.tv_sec).expect("time goes up from 0");
    Duration::new(secs, u32::try_from(now.tv_nsec).expect("below a second")).as_secs_f64()
}

/// CPU seconds of one line of hushd (issue 5: 2.0 per million).
const MAPPING_MAX: f64 = 2.0e-6;
/// What the shipped defaults may add to one opening.
const PRIVACY_MAX: f64 = 0.3e-6;
/// How many times an opening all built-in patterns may take.
const ALL_MAX: f64 = 2.0;
/// Seconds of one append.
const APPEND_MAX: f64 = 1.0e-6;
const LINES: usize = 20_000;
const REPEATS: usize = 20;
/// 10 MB, a third of what the appender holds while the writer is behind.
const APPENDS: usize = 10_000;
