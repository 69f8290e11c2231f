//! A schedule: what happens to an engine's state, and what the world outside knows of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shrike::config::{Config, Flags, Host, System, Text};
use shrike::deliver::{DeadLetter, Item, Reason, Sent};
use shrike::event::{Gap, Offset, Settle, Settled, Span, Time};
use shrike::log::{Cursors, Log, LogIo, LogOptions, Mark, STRIPE_BYTES};
use shrike::pipeline::{ByHand, EngineOptions, ReceiptOptions};
use shrike::vendors;

use super::Mutation;
use crate::log_disk::{Random, Recorder, wait_written};

/// What schedules amounted to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) changes: u64,
    pub(super) events: u64,
    pub(super) crashes: u64,
    pub(super) power_losses: u64,
    pub(super) lost: u64,
    pub(super) skipped: u64,
    pub(super) letters: u64,
    pub(super) replayed: u64,
    pub(super) checkpoints: u64,
    pub(super) segments_gone: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.changes += other.changes;
        self.events += other.events;
        self.crashes += other.crashes;
        self.power_losses += other.power_losses;
        self.lost += other.lost;
        self.skipped += other.skipped;
        self.letters += other.letters;
        self.replayed += other.replayed;
        self.checkpoints += other.checkpoints;
        self.segments_gone += other.segments_gone;
    }
}

/// Something that happened outside, or that somebody was promised.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    /// A record was handed over.
    Appended { at: u64, bytes: Arc<[u8]> },
    /// Everything below was called durable.
    Durable { to: u64 },
    /// A destination has an event.
    Delivered { exporter: usize, at: u64 },
    /// The engine was told the end of an event.
    Settled { exporter: usize, at: u64, fate: Settle },
    /// What lags below may be given up.
    GivenUp { exporter: usize, below: u64 },
    /// A destination was told of lost events.
    Told { exporter: usize, gap: Gap },
    /// The event of a letter was delivered after all.
    Replayed { exporter: usize, at: u64 },
    /// A checkpoint was saved.
    Saved { exporter: usize, base: u64, settled: u64 },
}

/// A running engine.
pub(super) struct Life {
    pub(super) dir: PathBuf,
    pub(super) recorder: Arc<Recorder>,
    pub(super) log: Log,
    pub(super) hand: ByHand,
    /// Events that were read and are not settled.
    taken: [Vec<Span>; EXPORTERS.len()],
}

pub(super) struct World {
    dir: PathBuf,
    random: Random,
    pub(super) mutation: Option<Mutation>,
    /// And after how many changes to the disk of this life.
    pub(super) facts: Vec<(usize, Fact)>,
    /// Offsets of records that were shown to readers and then lost: never to be used again.
    pub(super) burnt: BTreeSet<u64>,
    lives: u64,
    boot: u8,
    number: u64,
    pub(super) tally: Tally,
}

impl World {
    pub(super) fn new(dir: &Path, random: Random, mutation: Option<Mutation>) -> Self {
        let dir = dir.to_path_buf();
        let (facts, tally) = (Vec::new(), Tally::default());
        let burnt = BTreeSet::new();
        Self { dir, random, mutation, facts, burnt, lives: 0, boot: 1, number: 0, tally }
    }

    /// Lives through the schedule.
    pub(super) fn live(mut self) -> Result<Tally, String> {
        let mut life = self.begin(self.dir.join("0"))?;
        for _ in 0..1 + self.random.below(4) {
            for _ in 0..10 + self.random.below(50) {
                self.step(&mut life)?;
            }
            life = self.crash(life)?;
        }
        self.conclude(life)?;
        Ok(self.tally)
    }

    /// Ends a life at any of its changes, or in order, and begins the next with what is left.
    fn crash(&mut self, mut life: Life) -> Result<Life, String> {
        self.lives += 1;
        let image = self.dir.join(self.lives.to_string());
        let is_in_order = self.random.below(5) == 0;
        let is_power = !is_in_order && self.random.below(3) > 0;
        let count = match is_in_order {
            true => {
                self.save(&mut life)?;
                life.log.clone().close().map_err(|error| error.to_string())?;
                life.recorder.len()
            }
            false => life.recorder.any_moment(&mut self.random),
        };
        self.tally.crashes += u64::from(!is_in_order);
        if is_power {
            self.boot += 1;
            self.tally.power_losses += 1;
            life.recorder.power_loss(count, &image, &mut self.random);
        } else {
            life.recorder.process_loss(count, &image, &mut self.random);
        }
        self.tally.changes += life.recorder.len() as u64;
        let promised = life.recorder.promised("log", count);
        let Life { dir, log, hand, .. } = life;
        drop((hand, log));
        std::fs::remove_dir_all(dir).map_err(|error| error.to_string())?;
        self.facts.retain(|(by, _)| *by <= count);
        self.note(0, Fact::Durable { to: promised.durable });
        self.facts.iter_mut().for_each(|(by, _)| *by = 0);
        let life = self.begin(image)?;
        self.audit_log(&life.log, is_power, promised.written)?;
        self.audit(&life)?;
        Ok(life)
    }

    /// Opens what is in a directory.
    fn begin(&mut self, dir: PathBuf) -> Result<Life, String> {
        std::fs::create_dir_all(dir.join("log")).map_err(|error| error.to_string())?;
        let lie = match self.mutation {
            Some(Mutation::Disk(_, lie)) => Some(lie),
            _ => None,
        };
        let recorder = Recorder::lying(&dir, self.boot, lie);
        let (log_options, options) = options(&dir);
        let before = EXPORTERS.map(|name| Cursors::look(&log_options.dir).load(name));
        let opened = Log::open_on(log_options, Arc::clone(&recorder) as Arc<dyn LogIo>);
        let (log, _) = opened.map_err(|error| format!("the log: {error}"))?;
        let mut hand =
            ByHand::start(log.clone(), options).map_err(|error| format!("the engine: {error}"))?;
        for (exporter, before) in before.into_iter().enumerate() {
            let before = before.map_err(|error| format!("a checkpoint: {error}"))?;
            self.audit_checkpoint(exporter, before.as_ref(), &log)?;
        }
        hand.save();
        let taken = EXPORTERS.map(|_| Vec::new());
        Ok(Life { dir, recorder, log, hand, taken })
    }

    /// Does one thing.
    fn step(&mut self, life: &mut Life) -> Result<(), String> {
        let exporter = self.random.below(EXPORTERS.len() as u64) as usize;
        match self.random.below(20) {
            0..=4 => self.append(life)?,
            5 => self.flush(life)?,
            6..=9 => self.take(life, exporter)?,
            10..=12 => self.deliver(life, exporter),
            13 => self.bury(life, exporter)?,
            14 => self.replay(life, exporter)?,
            15 => self.tell_gap(life, exporter),
            16..=18 => self.save(life)?,
            _ => self.look_after(life)?,
        }
        let status = life.hand.status(exporter);
        let sum = status.counts.total() + status.pending;
        match sum == status.in_range {
            true => Ok(()),
            false => Err(format!("the account does not hold: {status:?}")),
        }
    }

    fn note(&mut self, by: usize, fact: Fact) {
        self.facts.push((by, fact));
    }

    fn append(&mut self, life: &Life) -> Result<(), String> {
        let (log, appender) = (&life.log, life.log.appender());
        let mut group = appender.group();
        let mut last = Offset::ZERO;
        for _ in 0..1 + self.random.below(4) {
            let fill = match self.random.below(24) {
                0 => STRIPE_BYTES + self.random.below(STRIPE_BYTES / 2),
                1..=3 => self.random.below(STRIPE_BYTES),
                _ => self.random.below(600),
            };
            self.number += 1;
            let (number, fill) = (self.number, "f".repeat(fill as usize));
            let record = format!("{{\"event_id\":\"{number}\",\"fill\":\"{fill}\"}}");
            let bytes: Arc<[u8]> = record.into_bytes().into();
            // Before the record can be anywhere.
            let by = life.recorder.len();
            let mark = Mark { received_ns: Time::now().ns(), checked: true, ..Mark::default() };
            last = group.append(&bytes, mark).expect("there is memory");
            if self.burnt.contains(&last.bytes()) {
                return Err(format!("{last} was shown, lost, and is used again"));
            }
            self.note(by, Fact::Appended { at: last.bytes(), bytes });
            self.tally.events += 1;
        }
        drop(group);
        wait_written(&log.reader().waker().expect("a waker"), last);
        Ok(())
    }

    fn flush(&mut self, life: &Life) -> Result<(), String> {
        let to = life.log.flush().map_err(|error| error.to_string())?.bytes();
        self.note(life.recorder.len(), Fact::Durable { to });
        Ok(())
    }

    fn take(&mut self, life: &mut Life, exporter: usize) -> Result<(), String> {
        for _ in 0..1 + self.random.below(6) {
            let taken = life.hand.take(exporter).map_err(|error| error.to_string())?;
            life.taken[exporter].extend(taken);
        }
        Ok(())
    }

    /// Some of what was taken arrives, in any order; now and then the answer does not.
    fn deliver(&mut self, life: &mut Life, exporter: usize) {
        let mut settled = Vec::new();
        for _ in 0..1 + self.random.below(5) {
            let Some(span) = self.any(&mut life.taken[exporter]) else { break };
            let (at, by) = (span.from.bytes(), life.recorder.len());
            let fate = match self.random.below(8) {
                0 => Settle::Filtered,
                _ => Settle::Delivered,
            };
            let is_sent = !matches!(self.mutation, Some(Mutation::SettleUnsent));
            if fate == Settle::Delivered && is_sent {
                self.note(by, Fact::Delivered { exporter, at });
            }
            if self.random.below(10) == 0 {
                life.taken[exporter].push(span);
                continue;
            }
            self.note(by, Fact::Settled { exporter, at, fate });
            settled.push(Settled { span, events: 1, fate });
        }
        if !settled.is_empty() {
            let sent = Sent { attempts: 1, status: 200, bytes: 100, digest: [7; 32] };
            life.hand.settle(exporter, sent, &settled);
        }
    }

    fn bury(&mut self, life: &mut Life, exporter: usize) -> Result<(), String> {
        let Some(span) = self.any(&mut life.taken[exporter]) else { return Ok(()) };
        let (at, by) = (span.from.bytes(), life.recorder.len());
        let fate = Settle::DeadLettered;
        self.note(by, Fact::Settled { exporter, at, fate });
        self.tally.letters += 1;
        if let Some(Mutation::ForgetLetters) = self.mutation {
            life.hand.settle(exporter, Sent::default(), &[Settled { span, events: 1, fate }]);
            return Ok(());
        }
        let item = Item { span, received_ns: Time::now().ns(), start: 0, end: 0 };
        let reason = Reason { class: "rejected", ..Reason::default() };
        let dead = DeadLetter {
            item,
            reason,
            attempts: 1,
            retryable: true,
            failed_since: None,
            sent: None,
        };
        let document = format!("{{\"event_id\":\"{at}\"}}").into_bytes();
        life.hand.bury(exporter, &dead, document);
        self.flush_letters(life, exporter)
    }

    /// The event of a letter arrives after all.
    fn replay(&mut self, life: &mut Life, exporter: usize) -> Result<(), String> {
        let found = life.hand.letter(exporter).map_err(|error| error.to_string())?;
        let Some(found) = found else { return Ok(()) };
        let (at, by) = (found.1.offset, life.recorder.len());
        self.note(by, Fact::Delivered { exporter, at });
        self.note(by, Fact::Replayed { exporter, at });
        self.tally.replayed += 1;
        life.hand.deliver_letter(exporter, &found);
        self.flush_letters(life, exporter)
    }

    fn flush_letters(&mut self, life: &Life, exporter: usize) -> Result<(), String> {
        match self.random.below(3) {
            0 => Ok(()),
            _ => life.hand.flush_letters(exporter).map_err(|error| error.to_string()),
        }
    }

    fn tell_gap(&mut self, life: &mut Life, exporter: usize) {
        let Some(gap) = life.hand.take_gap(exporter) else { return };
        if !matches!(self.mutation, Some(Mutation::ForgetGaps)) {
            self.note(life.recorder.len(), Fact::Told { exporter, gap });
        }
        life.hand.close_gap(exporter, gap);
    }

    fn save(&mut self, life: &mut Life) -> Result<(), String> {
        if !life.hand.save() {
            return Err("nothing could be saved".to_owned());
        }
        for (exporter, name) in EXPORTERS.into_iter().enumerate() {
            let saved = Cursors::look(&life.dir.join("log")).load(name);
            let saved = saved.map_err(|error| error.to_string())?.ok_or("nothing was saved")?;
            let (base, settled) = (saved.base.bytes(), saved.counts.total());
            self.note(life.recorder.len(), Fact::Saved { exporter, base, settled });
            self.tally.checkpoints += 1;
        }
        Ok(())
    }

    fn look_after(&mut self, life: &mut Life) -> Result<(), String> {
        let (by, oldest) = (life.recorder.len(), life.log.oldest());
        if let Some(Mutation::RetainUnsaved) = self.mutation {
            life.log.retain(life.log.durable()).map_err(|error| error.to_string())?;
        }
        life.hand.look_after();
        self.tally.segments_gone += u64::from(life.log.oldest() > oldest);
        for exporter in 0..EXPORTERS.len() {
            let below = life.hand.floor(exporter).bytes();
            self.note(by, Fact::GivenUp { exporter, below });
        }
        Ok(())
    }

    /// Everything is dealt with, and told.
    fn conclude(&mut self, mut life: Life) -> Result<(), String> {
        self.flush(&life)?;
        for exporter in 0..EXPORTERS.len() {
            loop {
                self.take(&mut life, exporter)?;
                if life.taken[exporter].is_empty() {
                    break;
                }
                while !life.taken[exporter].is_empty() {
                    self.deliver(&mut life, exporter);
                }
            }
            life.hand.flush_letters(exporter).map_err(|error| error.to_string())?;
        }
        // What is settled opens gaps, and what is told closes them.
        for _ in 0..2 {
            self.save(&mut life)?;
            (0..EXPORTERS.len()).for_each(|exporter| self.tell_gap(&mut life, exporter));
        }
        self.save(&mut life)?;
        self.audit_end(&life)
    }

    /// Takes any of them.
    fn any(&mut self, spans: &mut Vec<Span>) -> Option<Span> {
        match spans.len() as u64 {
            0 => None,
            count => Some(spans.swap_remove(self.random.below(count) as usize)),
        }
    }
}

/// A small log, and exporters that lag behind soon.
fn options(dir: &Path) -> (LogOptions, EngineOptions) {
    let mut text =
        format!("version: 1.0.0\nglobal: {{state_dir: {}}}\nexporters:\n", dir.display());
    for name in EXPORTERS {
        text += &format!("  {name}:\n    type: webhook\n    url: http://127.0.0.1:9/\n");
        text += "    from: earliest\n";
    }
    text += "pipeline: {workers: 1}\n";
    let text = Text::File { name: "test".to_owned(), text: text.into() };
    let config = Config::load(&text, &Flags::default(), vendors::ALL, &System);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let mut options = config.engine_options(&Host::default());
    options.log_bytes_max = 9 * STRIPE_BYTES;
    options.exporters[0].settings.lag_bytes_max = Some(4 * STRIPE_BYTES);
    let path = dir.join("audit.jsonl");
    options.receipts = Some(ReceiptOptions { path, bytes_max: RECEIPT_BYTES });
    let log = LogOptions {
        segment_bytes: 3 * STRIPE_BYTES,
        // Syncs come only when the schedule asks, and when a segment ends.
        sync_interval: std::time::Duration::from_secs(3600),
        sync_bytes: u64::MAX,
        keep_bytes: 3 * STRIPE_BYTES,
        bytes_max: 9 * STRIPE_BYTES,
        ..config.log
    };
    (log, options)
}

pub(super) const EXPORTERS: [&str; 2] = ["eager", "lazy"];
/// Some files of receipts per schedule; the oldest seldom goes.
const RECEIPT_BYTES: u64 = 96 << 10;
