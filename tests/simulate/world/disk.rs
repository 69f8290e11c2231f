//! The disk under the process: receipts, the checkpoint and its name, the oldest events.
//!
//! Writing takes time, and what was not synced may be gone with the power, names as well.

use shrike::deliver::{Entry, Watermark};
use shrike::event::{Checkpoint, Offset, Settle, Settled, Span};

use super::{Event, Place, World};
use crate::mutation::Mutation;
use crate::script::{Crash, MS};

/// What is on the disk beside the log itself.
#[derive(Default)]
pub(super) struct Disk {
    /// What the checkpoint's name has stood for since it was last made durable, oldest first.
    names: Vec<Named>,
    saving: Option<Saving>,
    /// Events that have a receipt, in the order of the lines.
    receipts: Vec<u32>,
    synced_receipts: usize,
    /// The first event that retention has left.
    oldest: u32,
    /// Removals of letters that are durable, by number.
    pub(super) removals: Vec<(u64, u32)>,
}

#[derive(Clone, Default)]
struct Named {
    checkpoint: Checkpoint,
    /// Whether its bytes were synced before it got the name.
    is_whole: bool,
}

/// A checkpoint on its way.
struct Saving {
    named: Named,
    left: Vec<Step>,
}

/// What is done for a checkpoint, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    SyncReceipts,
    SyncDraft,
    Rename,
    SyncName,
}

impl Disk {
    /// The checkpoint as a process finds it.
    pub(super) fn saved(&self) -> Checkpoint {
        self.names.last().map(|named| named.checkpoint.clone()).unwrap_or_default()
    }

    /// The one that no crash can take back.
    pub(super) fn durable(&self) -> Checkpoint {
        self.names.first().map(|named| named.checkpoint.clone()).unwrap_or_default()
    }
}

impl World<'_> {
    /// Begins to save what has settled, as the keeper does: receipts first.
    pub(super) fn save(&mut self) -> Result<(), String> {
        if self.disk.saving.is_some() {
            return Ok(());
        }
        self.look_after_gaps();
        self.retain(&self.disk.saved());
        let journal = self.watermark.take_journal();
        self.write_receipts(&journal);
        let Some(checkpoint) = self.checkpoint()? else {
            // Looked at again the later the longer nothing settles.
            self.idle_saves += 1;
            return Ok(());
        };
        self.idle_saves = 0;
        let mut left = vec![Step::SyncReceipts, Step::SyncDraft, Step::Rename, Step::SyncName];
        match self.mutation {
            Some(Mutation::CheckpointBeforeReceipts) => left.rotate_left(1),
            Some(Mutation::SkipDraftSync) => left.retain(|step| *step != Step::SyncDraft),
            Some(Mutation::SkipNameSync) => left.retain(|step| *step != Step::SyncName),
            Some(Mutation::SkipReceiptSync) => left.retain(|step| *step != Step::SyncReceipts),
            _ => {}
        }
        if self.mutation == Some(Mutation::RetainEarly) {
            self.retain(&checkpoint);
        }
        left.reverse();
        self.disk.saving = Some(Saving { named: Named { checkpoint, is_whole: false }, left });
        self.go_on_saving()
    }

    fn go_on_saving(&mut self) -> Result<(), String> {
        let Some(saving) = &mut self.disk.saving else { return Ok(()) };
        match saving.left.pop() {
            Some(step) => {
                // A disk that is slow now and then.
                let slowest = [30 * MS, 30 * MS, 500 * MS][self.rng.usize(..3)];
                let later = self.rng.u64(..slowest);
                self.at(later, Event::Disk(step));
            }
            None => {
                self.disk.saving = None;
            }
        }
        Ok(())
    }

    /// A step has ended.
    pub(super) fn on_disk(&mut self, step: Step) -> Result<(), String> {
        let disk = &mut self.disk;
        let Some(saving) = &mut disk.saving else { return Ok(()) };
        match step {
            Step::SyncReceipts => disk.synced_receipts = disk.receipts.len(),
            Step::SyncDraft => saving.named.is_whole = true,
            Step::Rename => disk.names.push(saving.named.clone()),
            Step::SyncName => drop(disk.names.drain(..disk.names.len() - 1)),
        }
        self.go_on_saving()
    }

    /// The keeper lets go what the checkpoint has passed.
    fn retain(&mut self, checkpoint: &Checkpoint) {
        let base = self.event(Span { from: checkpoint.base, to: checkpoint.base });
        self.disk.oldest = self.disk.oldest.max(base);
    }

    fn write_receipts(&mut self, journal: &[Entry]) {
        for Settled { span, events, .. } in journal.iter().flat_map(|entry| &entry.settled) {
            let first = self.event(Span { from: span.from, to: span.from });
            self.disk.receipts.extend(first..first + u32::try_from(*events).expect("few events"));
        }
    }

    /// What the next process finds of the checkpoint.
    pub(super) fn lose(&mut self, crash: Crash) -> Result<(), String> {
        self.disk.saving = None;
        if crash == Crash::Power {
            let names = &mut self.disk.names;
            if !names.is_empty() {
                let at = self.rng.usize(..names.len());
                let found = names.swap_remove(at);
                if !found.is_whole && self.rng.bool() {
                    return Err("a checkpoint has its name and not its bytes".into());
                }
                *names = vec![found];
            }
            let unsynced = self.disk.receipts.len() - self.disk.synced_receipts;
            let left = self.disk.synced_receipts + self.rng.usize(..=unsynced);
            self.disk.receipts.truncate(left);
            self.disk.synced_receipts = left;
            self.lose_log();
        }
        let saved = self.disk.saved();
        if self.event(Span { from: saved.base, to: saved.base }) < self.disk.oldest {
            return Err("the log no longer has what the checkpoint goes on with".into());
        }
        let covered = Watermark::open(&saved);
        let has_receipt = self.receipted();
        for event in 0..self.script.events {
            let start = Offset::new(self.start_of(event));
            if covered.next_unsettled(start) > start {
                if !has_receipt[event as usize] {
                    return Err(format!("the checkpoint covers event {event} without a receipt"));
                }
            } else {
                self.put(event, Place::Unread);
            }
        }
        Ok(())
    }

    /// The process begins: the name is made durable before anything relies on it.
    pub(super) fn open_disk(&mut self) {
        if self.mutation != Some(Mutation::SkipSyncOnOpen) {
            let names = &mut self.disk.names;
            drop(names.drain(..names.len().saturating_sub(1)));
        }
        let known = self.disk.saved().removals;
        for (number, _) in &self.disk.removals {
            if *number > known && self.mutation != Some(Mutation::ForgetRemoval) {
                self.watermark.move_letters(Settle::Delivered, 1, *number);
            }
        }
    }

    /// What was appended and not durable is gone; its offsets are not used again, and whoever sent
    /// it was not answered and sends it again.
    fn lose_log(&mut self) {
        let synced = self.synced as usize;
        let reserved = RESERVED_STRIPES * self.script.stripe;
        self.ends[synced..].iter_mut().for_each(|end| *end += reserved);
        self.arrived = self.synced;
        self.arrivals.truncate(synced);
    }

    fn receipted(&self) -> Vec<bool> {
        let mut has = vec![false; self.script.events as usize];
        self.disk.receipts.iter().for_each(|&event| has[event as usize] = true);
        has
    }

    /// At the end all is on the disk, and proven.
    pub(super) fn conclude_disk(&mut self) -> Result<(), String> {
        self.disk.saving = None;
        let journal = self.watermark.take_journal();
        self.write_receipts(&journal);
        let saved = match self.checkpoint()? {
            Some(checkpoint) => checkpoint,
            None => self.disk.saved(),
        };
        if saved.base.bytes() != self.ends[self.ends.len() - 1] || !saved.ahead.is_empty() {
            return Err(format!("everything has settled, but {saved:?} was saved"));
        }
        if let Some(event) = self.receipted().iter().position(|has| !has) {
            return Err(format!("event {event} has no receipt"));
        }
        let skipped = |place: &Place| matches!(place, Place::Settled(Settle::Skipped));
        for (event, _) in (0..).zip(&self.places).filter(|(_, place)| skipped(place)) {
            let span = self.span(event);
            if !self.told.iter().any(|gap| gap.span.from <= span.from && span.to <= gap.span.to) {
                return Err(format!("event {event} is lost, and nobody is told"));
            }
        }
        let lost = self.places.iter().filter(|place| skipped(place)).count() as u64;
        let told: u64 = self.told.iter().map(|gap| gap.events).sum();
        if self.script.crashes.is_empty() && told != lost {
            return Err(format!("{lost} events are lost, {told} are told"));
        }
        self.tally.skipped = lost;
        self.tally.gaps = self.told.len() as u64;
        Ok(())
    }
}

/// How far the log goes on above what may have been seen before a power loss.
const RESERVED_STRIPES: u64 = 40;
