//! Reads the chain of receipts, and says what is wrong with it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::{Receipt, chained, known, older_files, parse, unhex};
use crate::event::{Anchor, Time};

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The file.
    pub path: PathBuf,
    /// The line of the file, from 1.
    pub line: usize,
    /// What was found.
    pub problem: String,
}

/// A stretch of time, nanoseconds since 1970: from `from` on, before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first moment.
    pub from: u64,
    /// The first moment that is not of it.
    pub to: u64,
}

impl Period {
    /// All times.
    pub const ALWAYS: Self = Self { from: 0, to: u64::MAX };

    /// Whether a moment is of it.
    #[must_use]
    pub fn has(&self, at: u64) -> bool {
        self.from <= at && at < self.to
    }

    /// Whether something between two moments may be of it; clocks also go back.
    fn may_have(&self, one: u64, other: u64) -> bool {
        one.min(other) < self.to && one.max(other) >= self.from
    }
}

/// Reads the chain from its oldest line on; returns where it ends, and what is wrong with it within
/// a period: of lines that are of it, and between those around it.
///
/// # Errors
/// When a file cannot be read.
pub fn read_receipts(
    path: &Path,
    period: Period,
    mut visit: impl FnMut(&Receipt, &Anchor),
) -> io::Result<(Anchor, Vec<Flaw>)> {
    let mut flaws = Vec::new();
    // Lines that say no time: of the period if the lines around them may be.
    let mut nameless: Vec<Flaw> = Vec::new();
    let mut head: Option<(Anchor, u64)> = None;
    let older = older_files(path)?;
    let mut start = Start { has_older: !older.is_empty(), ..Start::default() };
    for path in older.into_iter().map(|(path, _)| path).chain([path.to_path_buf()]) {
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            // A line without its end is being written just now, or was cut off by a crash.
            let Some(text) = line.strip_suffix(b"\n") else { break };
            let flaw = |problem: String| Flaw { path: path.clone(), line: number, problem };
            let Some((receipt, said, text)) = parse(text) else {
                nameless.push(flaw("no receipt".to_owned()));
                continue;
            };
            let wrong = head.map(|(before, _)| follows(&before, &receipt, text, said));
            let mut wrong = wrong.unwrap_or_default();
            // What a line says of its version counts as far as nobody has altered it.
            if wrong.is_empty() {
                known(&receipt)?;
            }
            let at = Time::parse(receipt.at.as_bytes()).map_or(0, Time::ns);
            match head {
                None => {
                    let (n, place, text) = (receipt.n, flaw(String::new()), text.to_vec());
                    start.first = Some(First { n, at, place, said, text });
                }
                Some(_) => wrong.extend(start.lost(&receipt)),
            }
            start.learn(&receipt);
            wrong.extend(receipt.lost().map(str::to_owned));
            let before = head.map_or(at, |(_, before)| before);
            if period.may_have(before, at) {
                flaws.append(&mut nameless);
                flaws.extend(wrong.into_iter().map(flaw));
            }
            nameless.clear();
            let here = Anchor { line: receipt.n, hash: said };
            visit(&receipt, &here);
            head = Some((here, at));
        }
    }
    flaws.extend(start.flaw(period));
    let last = head.map_or(0, |(_, at)| at);
    flaws.extend(nameless.into_iter().filter(|_| period.may_have(last, u64::MAX)));
    Ok((head.map(|(head, _)| head).unwrap_or_default(), flaws))
}

/// The first line that is there.
struct First {
    n: u64,
    at: u64,
    /// Where it lies.
    place: Flaw,
    said: [u8; 32],
    text: Vec<u8>,
}

/// Where a chain begins, and what its lines say of that.
#[derive(Default)]
struct Start {
    first: Option<First>,
    /// The number of the oldest line that is kept, as was written last, with the hash before it.
    oldest: Option<(u64, Option<[u8; 32]>)>,
    has_older: bool,
}

impl Start {
    fn learn(&mut self, receipt: &Receipt) {
        let known = self.oldest.filter(|(oldest, _)| *oldest == receipt.oldest);
        let hash = unhex(&receipt.after_hash).or(known.and_then(|(_, hash)| hash));
        if receipt.oldest > 0 {
            self.oldest = Some((receipt.oldest, hash));
        }
    }

    /// What was missing already when a line was written that says which is the oldest.
    fn lost(&self, receipt: &Receipt) -> Option<String> {
        let (oldest, _) = self.oldest?;
        let is_lost = receipt.oldest > oldest && receipt.after_hash.is_empty();
        is_lost.then(|| format!("receipts {oldest} to {} are missing", receipt.oldest - 1))
    }

    /// What is wrong with the first line, and with what should be before it.
    fn flaw(self, period: Period) -> Option<Flaw> {
        let first = self.first.filter(|it| period.may_have(0, it.at))?;
        let First { n, place, said, text, .. } = first;
        // Where nothing says it, retention may have taken some, if there are older files.
        let unsaid = if self.has_older { n } else { 1 };
        let (oldest, hash) = self.oldest.unwrap_or((unsaid, None));
        let before = if n == 1 { Some([0; 32]) } else { hash.filter(|_| n == oldest) };
        let is_other = before.is_some_and(|before| chained(&before, &text) != said);
        let problem = match (n > oldest, is_other) {
            (true, _) => format!("receipt {n} where {oldest} belongs"),
            (false, true) => format!("receipt {n} is not as it was written"),
            (false, false) => return None,
        };
        Some(Flaw { problem, ..place })
    }
}

/// What is wrong with a line after the one before it.
fn follows(before: &Anchor, receipt: &Receipt, text: &[u8], said: [u8; 32]) -> Vec<String> {
    let mut wrong = Vec::new();
    if receipt.n != before.line + 1 {
        wrong.push(format!("receipt {} where {} belongs", receipt.n, before.line + 1));
    }
    if chained(&before.hash, text) != said {
        wrong.push(format!("receipt {} does not follow from the one before", receipt.n));
    }
    wrong
}
