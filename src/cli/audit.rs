//! `shrike audit`: prove the account, and tell one event's fate.

mod fate;
mod settled;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use shrike::config::{Places, time};
use shrike::event::{Anchor, Checkpoint, Counts};
use shrike::log::{Cursors, Reader};
use shrike::pipeline::{Period, Receipt, read_receipts, settled_in_log};

use self::settled::Settlements;
use super::args::{Audit, Shared, Within};
use super::{Exit, Failure, failed, log, position, settings};

/// Runs a command about receipts; they are read beside whatever process writes them.
pub(crate) fn audit(shared: &Shared, command: &Audit) -> Result<Exit, Failure> {
    let places = settings::places(shared)?;
    match command {
        Audit::Verify { within, file } => verify(&places, file.as_deref(), period(within)?),
        Audit::Show { event } => fate::show(&places, event),
        Audit::Log { within, json } => done(&places, period(within)?, *json),
    }
}

fn period(within: &Within) -> Result<Period, Failure> {
    let edge = |text: &Option<String>, usual| match text {
        None => Ok(usual),
        Some(text) => position::time(text),
    };
    let Period { from, to } = Period::ALWAYS;
    let period = Period { from: edge(&within.from, from)?, to: edge(&within.to, to)? };
    match period.from < period.to {
        true => Ok(period),
        false => Err(Failure::Usage("`--from` must lie before `--to`".to_owned())),
    }
}

/// What the receipts say of one exporter's pass.
#[derive(Default)]
struct Pass {
    pass: u32,
    counts: Counts,
    /// Whether everything from the beginning of the pass is there.
    is_whole: bool,
    /// Receipts of the period that was asked for, and what they settled.
    lines: u64,
    within: Counts,
}

fn path(places: &Places) -> Result<&std::path::Path, Failure> {
    let receipts = places.receipts.as_ref().ok_or_else(|| {
        Failure::Usage("no receipts are written: `audit.enabled` is false".to_owned())
    })?;
    Ok(&receipts.path)
}

/// What was read of the chain.
#[derive(Default)]
struct Chain {
    passes: BTreeMap<String, Pass>,
    wrong: Vec<String>,
    /// Hashes of lines that checkpoints know, and whether they are of the period.
    found: BTreeMap<u64, ([u8; 32], bool)>,
    /// The number of the oldest line.
    first: Option<u64>,
    /// Lines of the period.
    lines: u64,
    /// When the last line was written.
    last_at: u64,
    /// What these receipts know of others before them.
    before: Vec<Anchor>,
}

/// Who knows of lines that the chain must have.
enum Witness {
    /// The checkpoints: these are the receipts of now.
    Checkpoints(Vec<(String, Checkpoint)>),
    /// Receipts that came later, and what they know of others.
    Later(Vec<Anchor>),
}

impl Witness {
    fn knows(&self, line: u64) -> bool {
        match self {
            Self::Checkpoints(all) => all.iter().any(|(_, it)| it.anchor.line == line),
            Self::Later(all) => all.iter().any(|it| it.line == line),
        }
    }
}

/// Checks the chain, the sums inside it, its anchors, and all of it against the log: for the lines
/// of a period.
fn verify(places: &Places, file: Option<&Path>, period: Period) -> Result<Exit, Failure> {
    let current = path(places)?;
    let path = file.unwrap_or(current);
    if file.is_some() && !path.exists() {
        return Err(Failure::Usage(format!("{}: there are no receipts", path.display())));
    }
    // First whoever knows of lines: what they say was written before, so the chain must have it.
    let witness = match same(path, current) {
        true => Witness::Checkpoints(checkpoints(places)?),
        false => Witness::Later(known_before(current)?),
    };
    let reader = Reader::find_dir(&places.log_dir).map_err(failed)?;
    let mut chain = Chain::default();
    let mut settlements = reader.map(Settlements::new);
    let (head, flaws) = read_receipts(path, period, |receipt, anchor| {
        let at = time::parse(&receipt.at).unwrap_or_default();
        let is_within = period.has(at);
        chain.last_at = chain.last_at.max(at);
        chain.first.get_or_insert(anchor.line);
        chain.lines += u64::from(is_within);
        chain.before.extend(receipt.before().filter(|_| receipt.lost().is_none()));
        if witness.knows(anchor.line) {
            chain.found.insert(anchor.line, (anchor.hash, is_within));
        }
        if receipt.exporter.is_empty() || receipt.kind == "done" {
            return;
        }
        let wrong = take(&mut chain.passes, receipt, is_within);
        chain.wrong.extend(wrong.filter(|_| is_within));
        if is_within {
            settlements.iter_mut().for_each(|it| it.take(receipt));
        }
    })
    .map_err(Failure::io(path.display().to_string()))?;
    if chain.first.is_none() && flaws.is_empty() && settlements.is_none() {
        return Err(log::missing(&places.log_dir));
    }
    for flaw in &flaws {
        chain.wrong.push(format!("{}:{}: {}", flaw.path.display(), flaw.line, flaw.problem));
    }
    let has_end = period.to > chain.last_at;
    let mut compared = 0;
    let reader = settlements.as_ref().map(|it| it.reader().clone());
    if let Witness::Checkpoints(checkpoints) = &witness {
        for (name, checkpoint) in checkpoints {
            chain.wrong.extend(check_anchor(name, checkpoint.anchor, head, &chain, has_end));
        }
        for (name, checkpoint) in checkpoints.iter().filter(|_| has_end) {
            let compare = |reader| check_log(name, checkpoint, reader);
            chain.wrong.extend(reader.as_ref().and_then(compare));
        }
    }
    if let Some(settlements) = settlements {
        let (events, wrong) = settlements.end();
        compared = events;
        chain.wrong.extend(wrong);
    }
    let mut text = told(&chain, head, compared, period);
    text += &ends(&witness, &chain, head, current);
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    Ok(if chain.wrong.is_empty() { Exit::Done } else { Exit::Failed })
}

/// What was found, in words.
fn told(chain: &Chain, head: Anchor, compared: u64, period: Period) -> String {
    let mut text = String::new();
    let is_always = period == Period::ALWAYS;
    for (name, pass) in &chain.passes {
        let counts = if is_always { pass.counts } else { pass.within };
        let Counts { delivered, dead_lettered, filtered, skipped, invalid } = counts;
        let (number, receipts, total) = (pass.pass, pass.lines, counts.total());
        let when = if is_always { "" } else { " in this time" };
        text += &format!(
            "{name}, pass {number}: {total} settled{when} = {delivered} delivered + \
             {dead_lettered} dead-lettered + {filtered} filtered + {skipped} skipped + {invalid} \
             invalid; {receipts} receipts\n"
        );
    }
    for problem in &chain.wrong {
        text += &format!("WRONG {problem}\n");
    }
    let (lines, line) = (chain.lines, head.line);
    text + &match chain.wrong.len() {
        0 => format!(
            "{lines} receipts, up to {line}: chain, sums and anchors are right; {compared} events \
             compared with the log\n"
        ),
        count => format!("{lines} receipts, up to {line}: {count} things are wrong\n"),
    }
}

/// What is known of receipts before these, and of the end of those that were put aside.
fn ends(witness: &Witness, chain: &Chain, head: Anchor, current: &Path) -> String {
    let mut text = String::new();
    for Anchor { line, .. } in &chain.before {
        text += &format!(
            "receipts up to {line} were written before these; `shrike audit verify --file FILE` \
             checks them where they are\n"
        );
    }
    let Witness::Later(known) = witness else { return text };
    let current = current.display();
    let is_there =
        |it: &&Anchor| chain.found.get(&it.line).is_some_and(|(hash, _)| *hash == it.hash);
    match known.iter().filter(is_there).map(|it| it.line).max() {
        Some(line) => text + &format!("{current} came after them and knows receipt {line}\n"),
        None => {
            let line = head.line;
            text + &format!(
                "{current} knows none of them: whether more came after receipt {line} is not known\n"
            )
        }
    }
}

/// What receipts know of others before them.
fn known_before(path: &Path) -> Result<Vec<Anchor>, Failure> {
    let mut known = Vec::new();
    read_receipts(path, Period::ALWAYS, |receipt, _| known.extend(receipt.before()))
        .map_err(Failure::io(path.display().to_string()))?;
    Ok(known)
}

/// Whether two paths are one file.
fn same(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().ok().is_some_and(|it| other.canonicalize().ok() == Some(it))
}

/// Adds a receipt to its exporter's sums, and compares where it says them.
fn take(passes: &mut BTreeMap<String, Pass>, receipt: &Receipt, is_within: bool) -> Option<String> {
    let name = &receipt.exporter;
    let is_known = passes.contains_key(name);
    let pass = passes.entry(name.clone()).or_default();
    if receipt.kind == "resume" || !is_known || receipt.pass != pass.pass {
        // A crash takes back what no checkpoint covered; a rewind begins from nothing.
        let counts = if receipt.kind == "resume" { receipt.counts() } else { Counts::default() };
        // Of a pass whose beginning was put aside long ago only differences can be checked.
        let is_whole = receipt.kind == "resume" || is_known;
        let (within, lines) = match receipt.pass == pass.pass {
            true if is_within && pass.is_whole => (left(pass, counts), pass.lines),
            true => (pass.within, pass.lines),
            false => (Counts::default(), 0),
        };
        *pass = Pass { pass: receipt.pass, counts, is_whole, lines, within };
        if receipt.kind == "resume" {
            return None;
        }
    }
    pass.lines += u64::from(is_within);
    if receipt.kind == "sum" {
        let (summed, said) = (pass.counts, receipt.counts());
        let is_right = summed == said || !pass.is_whole;
        (pass.counts, pass.is_whole) = (said, true);
        return (!is_right)
            .then(|| format!("receipt {}: {name} sums to {summed:?}, not {said:?}", receipt.n));
    }
    add(&mut pass.counts, receipt);
    if is_within {
        add(&mut pass.within, receipt);
    }
    None
}

/// What is left of a period when an exporter goes on from these counts: what a crash took back is
/// settled again, and counts then.
fn left(pass: &Pass, counts: Counts) -> Counts {
    let left = |within: u64, settled: u64, counts: u64| {
        within.saturating_sub(settled.saturating_sub(counts))
    };
    let (within, settled) = (pass.within, pass.counts);
    Counts {
        delivered: left(within.delivered, settled.delivered, counts.delivered),
        dead_lettered: left(within.dead_lettered, settled.dead_lettered, counts.dead_lettered),
        filtered: left(within.filtered, settled.filtered, counts.filtered),
        skipped: left(within.skipped, settled.skipped, counts.skipped),
        invalid: left(within.invalid, settled.invalid, counts.invalid),
    }
}

fn add(counts: &mut Counts, receipt: &Receipt) {
    let more = receipt.counts();
    counts.delivered += more.delivered + receipt.replayed;
    let moved = receipt.replayed + receipt.digested;
    counts.dead_lettered = (counts.dead_lettered + more.dead_lettered).saturating_sub(moved);
    counts.filtered += more.filtered + receipt.digested;
    counts.skipped += more.skipped;
    counts.invalid += more.invalid;
}

/// Compares what a checkpoint knows of the chain with the chain.
fn check_anchor(
    name: &str,
    anchor: Anchor,
    head: Anchor,
    chain: &Chain,
    has_end: bool,
) -> Option<String> {
    let line = anchor.line;
    let is_elsewhere = chain.before.contains(&anchor);
    if line == 0 || is_elsewhere || chain.first.is_some_and(|first| line < first) {
        return None;
    }
    match chain.found.get(&line) {
        None if has_end => Some(format!(
            "the checkpoint of {name} knows receipt {line}, the chain ends with {}",
            head.line
        )),
        Some((hash, true)) if *hash != anchor.hash => {
            Some(format!("receipt {line} is another one than the checkpoint of {name} knows"))
        }
        _ => None,
    }
}

/// Compares a checkpoint with the events that the log's index counts.
fn check_log(name: &str, checkpoint: &Checkpoint, reader: &Reader) -> Option<String> {
    let in_log = settled_in_log(checkpoint, reader)?;
    let settled = checkpoint.counts.total();
    (in_log != settled)
        .then(|| format!("{name} settled {settled} events of which the log has {in_log}"))
}

fn checkpoints(places: &Places) -> Result<Vec<(String, Checkpoint)>, Failure> {
    let cursors = Cursors::look(&places.log_dir);
    let mut found = Vec::new();
    for name in cursors.names().map_err(failed)? {
        if let Some(checkpoint) = cursors.load(&name).map_err(failed)? {
            found.push((name, checkpoint));
        }
    }
    Ok(found)
}

/// Prints what was done.
fn done(places: &Places, period: Period, as_json: bool) -> Result<Exit, Failure> {
    let path = path(places)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let (head, flaws) = read_receipts(path, period, |receipt, _| {
        let at = time::parse(&receipt.at).unwrap_or_default();
        let is_told = receipt.kind == "done" || receipt.lost().is_some();
        if !is_told || !period.has(at) || written.is_err() {
            return;
        }
        let Receipt { n, at, action, exporter, actor, detail, .. } = receipt;
        let line = match as_json {
            true => serde_json::json!({
                "receipt": n, "at": at, "action": action, "exporter": exporter, "actor": actor,
                "detail": detail,
            })
            .to_string(),
            false => {
                let what = [action.as_str(), exporter.as_str()].join(" ");
                format!("{at}  {}  by {actor}  {detail}", what.trim_end()).trim_end().to_owned()
            }
        };
        written = writeln!(out, "{line}");
    })
    .map_err(Failure::io(path.display().to_string()))?;
    written.and_then(|()| out.flush()).map_err(Failure::io("standard output"))?;
    if head.line == 0 && flaws.is_empty() {
        log::open(&places.log_dir)?;
    }
    Ok(Exit::Done)
}
