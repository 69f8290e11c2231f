//! The auditor: what the state says, held against what the world outside knows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shrike::event::{Checkpoint, Counts, Offset, Settle};
use shrike::log::{Cursors, Log};
use shrike::pipeline::{LetterStore, Period, Wanted, read_receipts};

use super::world::{EXPORTERS, Fact, Life, World};
use crate::read_all;

impl World {
    /// What somebody appended and may still be there, by offset.
    fn appended(&self) -> BTreeMap<u64, Arc<[u8]>> {
        let appended = self.facts.iter().filter_map(|(_, fact)| match fact {
            Fact::Appended { at, bytes } => Some((*at, Arc::clone(bytes))),
            _ => None,
        });
        appended.collect()
    }

    /// The greatest number that facts say.
    fn most(&self, of: impl Fn(&Fact) -> Option<u64>) -> u64 {
        self.facts.iter().filter_map(|(_, fact)| of(fact)).max().unwrap_or(0)
    }

    /// Everything below was called durable.
    fn durable(&self) -> u64 {
        self.most(|fact| match fact {
            Fact::Durable { to } => Some(*to),
            _ => None,
        })
    }

    /// The offsets that facts name.
    fn offsets(&self, of: impl Fn(&Fact) -> Option<u64>) -> BTreeSet<u64> {
        self.facts.iter().filter_map(|(_, fact)| of(fact)).collect()
    }

    /// A checkpoint as a crash left it, before anybody goes on from it.
    pub(super) fn audit_checkpoint(
        &mut self,
        exporter: usize,
        found: Option<&Checkpoint>,
        log: &Log,
    ) -> Result<(), String> {
        let name = EXPORTERS[exporter];
        let saved = |fact: &Fact| match fact {
            Fact::Saved { exporter: of, base, settled } if *of == exporter => {
                Some((*base, *settled))
            }
            _ => None,
        };
        let last = self.facts.iter().rev().find_map(|(_, fact)| saved(fact));
        let Some(found) = found else {
            return match last {
                None => Ok(()),
                Some(last) => Err(format!("{name}: the checkpoint is gone, {last:?} was saved")),
            };
        };
        let (base, settled) = last.unwrap_or_default();
        if found.base.bytes() < base || found.counts.total() < settled {
            return Err(format!("{name}: an older checkpoint came back: {found:?}, not {base}"));
        }
        if found.base > log.durable() {
            return Err(format!("{name}: the checkpoint passes the log: {found:?}"));
        }
        let (fates, durable) = (self.fates(exporter, found), self.durable());
        let mut counts = Counts::default();
        for (at, bytes) in self.appended() {
            let is_covered = found.covers(Offset::new(at));
            if !is_covered && at < log.oldest().bytes().min(durable) {
                return Err(format!("{name}: the log has no longer what it goes on with, {at}"));
            }
            if is_covered {
                let fate = fates.get(&at).ok_or_else(|| {
                    format!("{name}: {at} ({} bytes) is covered and not settled", bytes.len())
                })?;
                counts.add(*fate, 1);
            }
        }
        let sum = |counts: &Counts| counts.delivered + counts.dead_lettered;
        let of = |counts: &Counts| (sum(counts), counts.filtered, counts.skipped, counts.invalid);
        let has_letters = found.counts.dead_lettered <= counts.dead_lettered;
        if of(&counts) != of(&found.counts) || !has_letters {
            return Err(format!("{name}: counted {counts:?}, saved {:?}", found.counts));
        }
        // What no checkpoint covers is read again, and ends again.
        self.facts.retain(|(_, fact)| match fact {
            Fact::Settled { exporter: of, at, .. } if *of == exporter => {
                found.covers(Offset::new(*at))
            }
            _ => true,
        });
        Ok(())
    }

    /// How the events that a checkpoint covers ended.
    fn fates(&self, exporter: usize, found: &Checkpoint) -> BTreeMap<u64, Settle> {
        let mut fates = BTreeMap::new();
        for (_, fact) in &self.facts {
            match fact {
                Fact::Settled { exporter: of, at, fate } if *of == exporter => {
                    fates.insert(*at, *fate);
                }
                _ => {}
            }
        }
        let floor = self.most(|fact| match fact {
            Fact::GivenUp { exporter: of, below } if *of == exporter => Some(*below),
            _ => None,
        });
        for at in self.appended().into_keys() {
            if at < floor && found.covers(Offset::new(at)) {
                fates.entry(at).or_insert(Settle::Skipped);
            }
        }
        fates
    }

    /// What a new process found after a crash.
    pub(super) fn audit(&self, life: &Life) -> Result<(), String> {
        for (exporter, name) in EXPORTERS.into_iter().enumerate() {
            let saved = Cursors::look(&life.dir.join("log")).load(name);
            let saved = saved.map_err(|error| error.to_string())?.unwrap_or_default();
            let fates = self.fates(exporter, &saved);
            self.audit_letters(life, exporter, &saved, &fates)?;
            self.audit_destination(exporter, &fates, &saved)?;
            let status = life.hand.status(exporter);
            if status.counts.total() + status.pending != status.in_range {
                return Err(format!("the account does not hold: {status:?}"));
            }
        }
        self.audit_receipts(life)
    }

    /// Nothing durable is missing, and nothing is there that nobody appended. What was lost is
    /// forgotten; if it lay below `shown`, its offset is burnt.
    pub(super) fn audit_log(
        &mut self,
        log: &Log,
        is_power: bool,
        shown: u64,
    ) -> Result<(), String> {
        let durable = self.durable();
        let (appended, found) = (self.appended(), read_all(log));
        let oldest = log.oldest().bytes().min(durable);
        for (at, bytes) in appended.range(oldest..durable) {
            if found.get(at).is_none_or(|found| **found != **bytes) {
                return Err(format!("the record at {at} was durable below {durable} and is lost"));
            }
        }
        if let Some(at) = found.keys().find(|at| !appended.contains_key(at)) {
            return Err(format!("nobody appended what is at {at}"));
        }
        // What was not durable may be gone.
        let lost: Vec<u64> =
            appended.into_keys().filter(|at| *at >= oldest && !found.contains_key(at)).collect();
        self.facts.retain(|(_, fact)| match fact {
            Fact::Appended { at, .. } => lost.binary_search(at).is_err(),
            _ => true,
        });
        self.tally.lost += lost.len() as u64;
        let count = lost.len();
        self.burnt.extend(lost.into_iter().filter(|at| *at < shown));
        match is_power {
            true => Ok(()),
            // The group whose write was cut short when the process died, and the next one.
            false if count <= 8 => Ok(()),
            false => Err("the process alone ended, and records are lost".to_owned()),
        }
    }

    /// Every letter that must be there is, and no other.
    fn audit_letters(
        &self,
        life: &Life,
        exporter: usize,
        saved: &Checkpoint,
        fates: &BTreeMap<u64, Settle>,
    ) -> Result<(), String> {
        let name = EXPORTERS[exporter];
        let is_again = |at: &u64| !saved.covers(Offset::new(*at));
        // A start removes the letters of events that are read again; the store's own thread writes
        // that down.
        let deadline = Instant::now() + Duration::from_secs(60);
        let letters = loop {
            let letters = letters_of(&life.dir.join("dlq").join(name))?;
            if !letters.iter().any(is_again) || Instant::now() > deadline {
                break letters;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        };
        let replayed = self.offsets(|fact| match fact {
            Fact::Replayed { exporter: of, at } if *of == exporter => Some(*at),
            _ => None,
        });
        let dead = fates.iter().filter(|(_, fate)| **fate == Settle::DeadLettered);
        for (at, _) in dead {
            if !letters.contains(at) && !replayed.contains(at) {
                return Err(format!("{name}: {at} is a dead letter, and the store has none"));
            }
        }
        if let Some(at) = letters.iter().find(|at| is_again(at)) {
            return Err(format!("{name}: {at} has a letter and is read again"));
        }
        let counted = life.hand.status(exporter).counts.dead_lettered;
        match counted == letters.len() as u64 {
            true => Ok(()),
            false => Err(format!("{name}: {counted} dead letters, the store has {letters:?}")),
        }
    }

    /// What counts as delivered has arrived; of what was given up, a gap record tells.
    fn audit_destination(
        &self,
        exporter: usize,
        fates: &BTreeMap<u64, Settle>,
        saved: &Checkpoint,
    ) -> Result<(), String> {
        let name = EXPORTERS[exporter];
        let arrived = self.offsets(|fact| match fact {
            Fact::Delivered { exporter: of, at } if *of == exporter => Some(*at),
            _ => None,
        });
        let told = self.facts.iter().filter_map(|(_, fact)| match fact {
            Fact::Told { exporter: of, gap } if *of == exporter => Some(gap),
            _ => None,
        });
        let gaps: Vec<_> = told.chain(&saved.gaps).map(|gap| gap.span).collect();
        for (at, fate) in fates {
            let offset = Offset::new(*at);
            let is_told = || gaps.iter().any(|span| span.from <= offset && offset < span.to);
            match fate {
                Settle::Delivered if !arrived.contains(at) => {
                    return Err(format!("{name}: {at} counts as delivered and did not arrive"));
                }
                Settle::Skipped if !is_told() => {
                    return Err(format!("{name}: {at} is lost, and nobody is told"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The chain is whole, has what checkpoints know of it, and a line for whatever they cover.
    fn audit_receipts(&self, life: &Life) -> Result<(), String> {
        let mut settled = EXPORTERS.map(|_| Vec::new());
        let (mut hashes, mut first) = (BTreeMap::new(), u64::MAX);
        let path = life.dir.join("audit.jsonl");
        let read = read_receipts(&path, Period::ALWAYS, |receipt, anchor| {
            first = first.min(anchor.line);
            hashes.insert(anchor.line, anchor.hash);
            let Some(of) = EXPORTERS.iter().position(|name| *name == receipt.exporter) else {
                return;
            };
            settled[of].extend(receipt.settled());
        });
        let (_, flaws) = read.map_err(|error| error.to_string())?;
        if let Some(flaw) = flaws.first() {
            return Err(format!("receipts, line {}: {}", flaw.line, flaw.problem));
        }
        for (exporter, name) in EXPORTERS.into_iter().enumerate() {
            let saved = Cursors::look(&life.dir.join("log")).load(name);
            let saved = saved.map_err(|error| error.to_string())?.unwrap_or_default();
            let line = saved.anchor.line;
            if line >= first && hashes.get(&line) != Some(&saved.anchor.hash) {
                return Err(format!("{name}: the chain does not have line {line} as it was saved"));
            }
            for at in self.fates(exporter, &saved).into_keys().filter(|_| first == 1) {
                let at = Offset::new(at);
                let has = settled[exporter].iter().any(|span| span.from <= at && at < span.to);
                if saved.covers(at) && !has {
                    return Err(format!("{name}: {at} is covered without a receipt"));
                }
            }
        }
        Ok(())
    }

    /// At the end everything has settled, is saved, proven and told.
    pub(super) fn audit_end(&mut self, life: &Life) -> Result<(), String> {
        self.audit_log(&life.log, true, 0)?;
        self.audit(life)?;
        for (exporter, name) in EXPORTERS.into_iter().enumerate() {
            let status = life.hand.status(exporter);
            if status.pending > 0 || status.counts.total() != status.in_range {
                return Err(format!("{name}: not everything has settled: {status:?}"));
            }
            self.tally.skipped += status.counts.skipped;
            let saved = Cursors::look(&life.dir.join("log")).load(name);
            let saved = saved.map_err(|error| error.to_string())?.unwrap_or_default();
            let fates = self.fates(exporter, &saved);
            if let Some(at) = self.appended().into_keys().find(|at| !fates.contains_key(at)) {
                return Err(format!("{name}: {at} never settled: {saved:?}"));
            }
            if saved.counts != status.counts {
                return Err(format!("{name}: {:?} saved as {:?}", status.counts, saved.counts));
            }
        }
        Ok(())
    }
}

/// Where the events of the letters in a store lie.
fn letters_of(dir: &Path) -> Result<BTreeSet<u64>, String> {
    let mut letters = BTreeSet::new();
    let store = LetterStore::look(dir).map_err(|error| error.to_string())?;
    let Some(mut store) = store else { return Ok(letters) };
    let visited = store.visit(&Wanted::default(), |_, letter| {
        letters.insert(letter.offset);
        ControlFlow::Continue(())
    });
    visited.map(|()| letters).map_err(|error| error.to_string())
}
