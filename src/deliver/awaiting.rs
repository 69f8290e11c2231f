//! Batches that were accepted and wait until that is confirmed, in a fraction of their memory.
//!
//! At 900,000 events a second, confirmed after two seconds, two million events wait. As items they
//! would take 64 MB, more than all that may be under way; packed they take about a fifth.

use std::collections::BTreeMap;

use super::batch::Batch;
use super::delivery::{BatchId, History};
use super::packed::PackedItems;

/// The batches of a lane that wait for their confirmation.
#[derive(Debug, Default)]
pub(super) struct Awaiting {
    batches: BTreeMap<BatchId, Packed>,
    events: u64,
}

/// A batch without its body, its items written one after the other.
#[derive(Debug)]
struct Packed {
    batch: Batch,
    items: PackedItems,
}

impl Awaiting {
    /// Keeps a batch; its body is let go of.
    pub(super) fn insert(&mut self, id: BatchId, mut batch: Batch) {
        batch.drop_body();
        let items = PackedItems::of(&batch.items);
        self.events += items.events();
        batch.put_items_away(items.memory());
        let before = self.batches.insert(id, Packed { batch, items });
        debug_assert!(before.is_none(), "ids are given once");
    }

    /// Gives a batch back as it was, but for its body.
    pub(super) fn remove(&mut self, id: BatchId) -> Option<Batch> {
        let Packed { mut batch, items } = self.batches.remove(&id)?;
        self.events -= items.events();
        batch.take_items_back(items.iter());
        debug_assert_eq!(batch.events() as u64, items.events(), "all that was packed comes back");
        Some(batch)
    }

    /// What happened to each batch before.
    pub(super) fn histories(&self) -> impl Iterator<Item = &History> {
        self.batches.values().map(|packed| &packed.batch.history)
    }

    /// How many batches wait.
    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many events wait.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The route of each batch.
    pub(super) fn routes(&self) -> impl Iterator<Item = u32> {
        self.batches.values().map(|packed| packed.batch.route())
    }
}
