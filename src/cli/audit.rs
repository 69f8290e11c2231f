//! `shrike audit`: prove the account, and tell one event's fate.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::ops::ControlFlow;

use shrike::config::Config;
use shrike::event::{Anchor, Checkpoint, Counts, Offset, Span};
use shrike::log::{Cursors, Reader};
use shrike::pipeline::{LetterStore, Receipt, Wanted, read_receipts};

use super::args::{Audit, Shared};
use super::walk::{Met, Then, walk};
use super::{Exit, Failure, failed, log, settings};

/// Runs a command about receipts; they are read beside whatever process writes them.
pub(crate) fn audit(shared: &Shared, command: &Audit) -> Result<Exit, Failure> {
    let config = settings::load(shared, Vec::new())?;
    match command {
        Audit::Verify => verify(&config),
        Audit::Show { event } => show(&config, event),
    }
}

/// What the receipts say of one exporter's pass.
#[derive(Default)]
struct Pass {
    pass: u32,
    counts: Counts,
    /// Whether everything from the beginning of the pass is there.
    is_whole: bool,
    lines: u64,
}

fn path(config: &Config) -> Result<&std::path::Path, Failure> {
    let receipts = config.receipts.as_ref().ok_or_else(|| {
        Failure::Usage("no receipts are written: `audit.enabled` is false".to_owned())
    })?;
    Ok(&receipts.path)
}

/// Checks the chain, the sums inside it, its anchors, and the log's own counts.
fn verify(config: &Config) -> Result<Exit, Failure> {
    let path = path(config)?;
    // First the checkpoints: what they say was written before, so the chain must have it.
    let checkpoints = checkpoints(config)?;
    let mut passes: BTreeMap<String, Pass> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut found: BTreeMap<u64, [u8; 32]> = BTreeMap::new();
    let anchored =
        |line| checkpoints.iter().any(|(_, it): &(String, Checkpoint)| it.anchor.line == line);
    let mut first = None;
    let mut lines = 0;
    let (head, flaws) = read_receipts(path, |receipt, anchor| {
        first.get_or_insert(anchor.line);
        lines += 1;
        if anchored(anchor.line) {
            found.insert(anchor.line, anchor.hash);
        }
        wrong.extend(take(&mut passes, receipt));
    })
    .map_err(Failure::io(path.display().to_string()))?;
    for flaw in &flaws {
        wrong.push(format!("{}:{}: {}", flaw.path.display(), flaw.line, flaw.problem));
    }
    for (name, checkpoint) in &checkpoints {
        wrong.extend(check_anchor(name, checkpoint.anchor, head, first, &found));
    }
    let reader = config.log.dir.exists().then(|| log::open(&config.log.dir)).transpose()?;
    for (name, checkpoint) in &checkpoints {
        wrong.extend(reader.iter().filter_map(|reader| check_log(name, checkpoint, reader)));
    }
    let mut text = String::new();
    for (name, pass) in &passes {
        let Counts { delivered, dead_lettered, filtered, skipped, invalid } = pass.counts;
        let total = pass.counts.total();
        let (number, receipts) = (pass.pass, pass.lines);
        text += &format!(
            "{name}, pass {number}: {total} settled = {delivered} delivered + {dead_lettered} \
             dead-lettered + {filtered} filtered + {skipped} skipped + {invalid} invalid; \
             {receipts} receipts\n"
        );
    }
    for problem in &wrong {
        text += &format!("WRONG {problem}\n");
    }
    text += &match wrong.len() {
        0 => format!("{lines} receipts, up to {}: chain, sums and anchors are right\n", head.line),
        count => format!("{lines} receipts, up to {}: {count} things are wrong\n", head.line),
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(if wrong.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Adds a receipt to its exporter's sums, and compares where it says them.
fn take(passes: &mut BTreeMap<String, Pass>, receipt: &Receipt) -> Option<String> {
    if receipt.exporter.is_empty() {
        return None;
    }
    let name = &receipt.exporter;
    let is_known = passes.contains_key(name);
    let pass = passes.entry(name.clone()).or_default();
    if receipt.kind == "resume" || !is_known || receipt.pass != pass.pass {
        // A crash takes back what no checkpoint covered; a rewind begins from nothing.
        let counts = if receipt.kind == "resume" { receipt.counts() } else { Counts::default() };
        // Of a pass whose beginning was put aside long ago only differences can be checked.
        let is_whole = receipt.kind == "resume" || is_known;
        *pass = Pass { pass: receipt.pass, counts, is_whole, lines: 0 };
        if receipt.kind == "resume" {
            return None;
        }
    }
    pass.lines += 1;
    if receipt.kind == "sum" {
        let (summed, said) = (pass.counts, receipt.counts());
        let is_right = summed == said || !pass.is_whole;
        (pass.counts, pass.is_whole) = (said, true);
        return (!is_right)
            .then(|| format!("receipt {}: {name} sums to {summed:?}, not {said:?}", receipt.n));
    }
    let counts = &mut pass.counts;
    let more = receipt.counts();
    counts.delivered += more.delivered + receipt.replayed;
    counts.dead_lettered =
        (counts.dead_lettered + more.dead_lettered).saturating_sub(receipt.replayed);
    counts.filtered += more.filtered;
    counts.skipped += more.skipped;
    counts.invalid += more.invalid;
    None
}

fn check_anchor(
    name: &str,
    anchor: Anchor,
    head: Anchor,
    first: Option<u64>,
    found: &BTreeMap<u64, [u8; 32]>,
) -> Option<String> {
    let line = anchor.line;
    if line == 0 || first.is_some_and(|first| line < first) {
        return None;
    }
    match found.get(&line) {
        None => Some(format!(
            "the checkpoint of {name} knows receipt {line}, the chain ends with {}",
            head.line
        )),
        Some(hash) if *hash != anchor.hash => {
            Some(format!("receipt {line} is another one than the checkpoint of {name} knows"))
        }
        Some(_) => None,
    }
}

/// Compares a checkpoint with the events that the log's index counts.
fn check_log(name: &str, checkpoint: &Checkpoint, reader: &Reader) -> Option<String> {
    let Checkpoint { start, base, tally, ahead, counts, .. } = checkpoint;
    let count = |from, to| reader.count(Span { from, to }).unwrap_or(0);
    let counted_to = tally.to.max(*start);
    let below = match counted_to <= *base {
        true => tally.events + count(counted_to, *base),
        false => tally.events.saturating_sub(count(*base, counted_to)),
    };
    if counted_to < reader.oldest() || (counted_to > *base && *base < reader.oldest()) {
        return None;
    }
    let in_log = below + ahead.iter().map(|span| count(span.from, span.to)).sum::<u64>();
    let settled = counts.total();
    (in_log != settled)
        .then(|| format!("{name} settled {settled} events of which the log has {in_log}"))
}

fn checkpoints(config: &Config) -> Result<Vec<(String, Checkpoint)>, Failure> {
    let cursors = Cursors::look(&config.log.dir);
    let mut found = Vec::new();
    for name in cursors.names().map_err(failed)? {
        if let Some(checkpoint) = cursors.load(&name).map_err(failed)? {
            found.push((name, checkpoint));
        }
    }
    Ok(found)
}

/// Tells what became of one event at every exporter.
fn show(config: &Config, id: &str) -> Result<Exit, Failure> {
    let path = path(config)?;
    let mut reader = log::open(&config.log.dir)?;
    let offsets = offsets(&mut reader, id)?;
    let mut text = String::new();
    if offsets.is_empty() {
        text += &format!("event {id} is not in the log any more\n");
    }
    for at in &offsets {
        text += &format!("event {id} at offset {at}\n");
    }
    let mut told: BTreeMap<String, bool> = BTreeMap::new();
    read_receipts(path, |receipt, _| {
        for at in &offsets {
            if let Some(fate) = receipt.fate_of(*at) {
                told.insert(receipt.exporter.clone(), true);
                text += &line(receipt, fate);
            }
        }
    })
    .map_err(Failure::io(path.display().to_string()))?;
    for exporter in &config.exporters {
        let settings = &exporter.settings;
        let wanted = Wanted { event_id: Some(id.to_owned()), ..Wanted::default() };
        let Some(mut store) = LetterStore::look(&settings.dead_letters.dir).map_err(failed)? else {
            continue;
        };
        let in_store = |_: Offset, letter: &shrike::pipeline::Letter| {
            text += &format!(
                "{}: dead letter since {}, {} attempts, status {}: {}\n",
                letter.exporter,
                letter.failed_at,
                letter.attempts,
                letter.http_status,
                letter.error
            );
            ControlFlow::Continue(())
        };
        store.visit(&wanted, in_store).map_err(failed)?;
    }
    for (name, checkpoint) in checkpoints(config)? {
        let is_settled = |at: &Offset| *at < checkpoint.base;
        for at in offsets.iter().filter(|_| !told.contains_key(&name)) {
            let fate = if is_settled(at) { "settled; its receipt is gone" } else { "pending" };
            text += &format!("{name}: {fate}\n");
        }
    }
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(if offsets.is_empty() { Exit::Failed } else { Exit::Done })
}

fn line(receipt: &Receipt, fate: &str) -> String {
    let Receipt { exporter, pass, at, attempts, status, body, n, .. } = receipt;
    let request = match receipt.kind.as_str() {
        "batch" => {
            format!(", attempt {attempts}, status {status}, body {}", &body[..16.min(body.len())])
        }
        _ => String::new(),
    };
    format!("{exporter}: {fate} at {at}, pass {pass}{request} (receipt {n})\n")
}

/// Where the records with this id lie.
fn offsets(reader: &mut Reader, id: &str) -> Result<Vec<Offset>, Failure> {
    let span = Span { from: reader.oldest(), to: reader.written() };
    let wanted = id.as_bytes();
    let mut found = Vec::new();
    walk(reader, span, |met| {
        if let Met::Block(block) = met {
            for record in block.records() {
                let bytes = block.record(record);
                let mentions = bytes.windows(wanted.len().max(1)).any(|window| window == wanted);
                if mentions && says(bytes, id) {
                    found.push(record.frame.offset);
                }
            }
        }
        Ok(Then::On)
    })?;
    Ok(found)
}

/// Whether a record is the event with this id.
fn says(record: &[u8], id: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Id {
        event_id: Option<String>,
    }
    serde_json::from_slice::<Id>(record).is_ok_and(|it| it.event_id.as_deref() == Some(id))
}
