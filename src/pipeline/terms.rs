//! What all exporters of an engine share and a reload may change: the budget and the receipts.
//!
//! Neither changes under an exporter that runs: all end, go on under the other terms, and hand back
//! what they hold of the old ones.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Engine;
use super::engine::{EngineError, EngineOptions, Running};
use super::exporter::Exporter;
use super::operations::Operation;
use super::receipts::{Account, ReceiptOptions, Receipts};
use crate::deliver::{Allowance, Budget};
use crate::event::{Anchor, Checkpoint};

/// The terms that are other than those that hold.
#[derive(Default)]
pub(super) struct Terms {
    budget: Option<Arc<Budget>>,
    /// Another chain, or none from now on.
    receipts: Option<Option<Receipts>>,
}

impl Terms {
    /// Whether the same terms go on.
    pub(super) fn are_same(&self) -> bool {
        self.budget.is_none() && self.receipts.is_none()
    }
}

impl Engine {
    /// What of these options is other than what holds; nothing has changed yet.
    ///
    /// # Errors
    /// When other receipts cannot be opened.
    pub(super) fn other_terms(&self, options: &EngineOptions) -> Result<Terms, EngineError> {
        let (bytes, exporters) = (options.in_flight_bytes, options.exporters.len());
        let holds = self.budget();
        let is_same = holds.bytes() == bytes && holds.is_enough_for(exporters);
        let wanted = options.receipts.as_ref();
        let has_path = self.receipts_path();
        let is_other = has_path.as_ref() != wanted.map(|receipts| &receipts.path);
        let open = |options: &ReceiptOptions| {
            Receipts::open(options.clone(), self.log.disk())
                .map_err(|source| EngineError::Receipts { path: options.path.clone(), source })
        };
        Ok(Terms {
            budget: (!is_same).then(|| Budget::new(bytes, exporters)),
            receipts: is_other.then(|| wanted.map(open).transpose()).transpose()?,
        })
    }

    /// Has these terms hold, now that every exporter has ended.
    ///
    /// # Errors
    /// When the receipts cannot go on elsewhere: the terms from before hold.
    pub(super) fn agree(&self, terms: Terms, ended: &[Running]) -> Result<(), EngineError> {
        // What is in no chain yet must not be left out of both.
        terms.receipts.map_or(Ok(()), |new| self.change_receipts(new, ended))?;
        if let Some(budget) = terms.budget {
            *self.budget.lock().unwrap_or_else(PoisonError::into_inner) = budget;
        }
        Ok(())
    }

    /// The budget that holds under these terms.
    pub(super) fn budget_of(&self, terms: &Terms) -> Arc<Budget> {
        terms.budget.clone().unwrap_or_else(|| self.budget())
    }

    fn change_receipts(
        &self,
        mut new: Option<Receipts>,
        ended: &[Running],
    ) -> Result<(), EngineError> {
        let _swapping = self.swap();
        let has_more = |it: &Running| it.exporter.watermark().has_journal();
        let mut chain = self.chain();
        let place = new.as_ref().or(chain.as_ref()).map(|it| it.path().to_path_buf());
        let refuse =
            |source| EngineError::Receipts { path: place.clone().unwrap_or_default(), source };
        if ended.iter().any(has_more) {
            return Err(refuse(io::Error::other("the last ones are not written yet")));
        }
        let path_of = |receipts: &Receipts| receipts.path().display().to_string();
        if let Some(old) = chain.as_mut() {
            let to = new.as_ref().map_or("nowhere: they are switched off".to_owned(), path_of);
            old.note(&Operation::by_itself("receipts", "", format!("they go on in {to}")));
            old.flush().map_err(&refuse)?;
        }
        if let Some(new) = &mut new {
            let from = chain.as_ref().map_or("nowhere: they were switched off".to_owned(), path_of);
            let last = chain.as_ref().map(Receipts::head).unwrap_or_default();
            new.come_after(last, format!("they come from {from}"));
            for Running { exporter, .. } in ended {
                let last = self.last_of(exporter);
                new.resume(exporter.name(), last.pass, last.counts);
            }
            new.flush().map_err(&refuse)?;
        }
        self.forget_anchors()?;
        if let Some(new) = &new {
            self.cursors.note_receipts(new.path())?;
        }
        *chain = new;
        Ok(())
    }

    /// Has no checkpoint know a line of a chain that goes on no more.
    fn forget_anchors(&self) -> Result<(), EngineError> {
        for name in self.cursors.names()? {
            // One that is damaged knows nothing, and its exporter is stopped.
            let Ok(Some(checkpoint)) = self.cursors.load(&name) else { continue };
            let anchor = Anchor::default();
            self.cursors.save(&name, &Checkpoint { anchor, ..checkpoint })?;
        }
        Ok(())
    }

    /// An exporter's part of the budget that holds: the one that it has, where it is of that.
    pub(super) fn allowance(&self, before: &Exporter) -> Arc<Allowance> {
        let budget = self.budget();
        match before.allowance.is_of(&budget) {
            true => Arc::clone(&before.allowance),
            false => budget.allowance(),
        }
    }

    /// How many receipts are kept from now on.
    pub(super) fn keep_receipts(&self, options: Option<&ReceiptOptions>) {
        let bytes_max = options.map_or(0, |receipts| receipts.bytes_max);
        self.receipts_bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Notes where an exporter goes on that did not run before.
    pub(super) fn note_resumed(&self, exporter: &Exporter) {
        let (name, pass, counts) = (exporter.name(), exporter.pass(), exporter.counts_before());
        self.chain().iter_mut().for_each(|chain| chain.resume(name, pass, counts));
    }

    /// Adds what an exporter has settled; the keeper writes it with what comes next.
    pub(super) fn account(&self, account: &Account<'_>) {
        self.chain().iter_mut().for_each(|chain| chain.add(account));
    }

    /// Writes the receipts of all that was added, and says where they end.
    ///
    /// # Errors
    /// When the disk refuses: no checkpoint may cover what they tell of.
    pub(super) fn write_receipts(&self) -> Result<Anchor, EngineError> {
        let mut chain = self.chain();
        let Some(receipts) = chain.as_mut() else { return Ok(Anchor::default()) };
        let path = receipts.path().to_path_buf();
        receipts.flush().map_err(|source| EngineError::Receipts { path, source })?;
        Ok(receipts.head())
    }

    pub(super) fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.budget.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn has_receipts(&self) -> bool {
        self.chain().is_some()
    }

    /// Where receipts are kept, if they are.
    pub(super) fn receipts_path(&self) -> Option<PathBuf> {
        self.chain().as_ref().map(|receipts| receipts.path().to_path_buf())
    }

    fn chain(&self) -> MutexGuard<'_, Option<Receipts>> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
