//! Records of the log that are no events: told once, so that somebody can put them into quarantine.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::Engine;
use crate::event::{Class, Offset, Span};

/// A record that could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it lies in the log.
    pub at: Offset,
    /// Where the next one begins.
    pub to: Offset,
    /// What is wrong.
    pub class: Class,
}

/// Those that exporters met. Inputs check what they append, so that few are ever here.
#[derive(Debug, Default)]
pub(crate) struct Unreadables(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// Where those lie that were told already; the highest of them.
    seen: BTreeSet<Offset>,
    /// Nothing below is told any more.
    seen_below: Offset,
    waiting: VecDeque<Unreadable>,
}

impl Unreadables {
    /// Notes one; false where another exporter met it before.
    pub(crate) fn note(&self, span: Span, class: Class) -> bool {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if span.from < found.seen_below || !found.seen.insert(span.from) {
            return false;
        }
        if found.seen.len() > SEEN_MAX
            && let Some(lowest) = found.seen.pop_first()
        {
            found.seen_below = Offset::new(lowest.bytes() + 1);
        }
        if found.waiting.len() < WAITING_MAX {
            found.waiting.push_back(Unreadable { at: span.from, to: span.to, class });
        }
        true
    }
}

impl Engine {
    /// Records that could not be opened, each told once. Nobody needs to ask: those that are not
    /// taken are counted, and stay in the log.
    #[must_use]
    pub fn take_unreadable(&self) -> VecDeque<Unreadable> {
        let found = &self.shared.unreadable.0;
        std::mem::take(&mut found.lock().unwrap_or_else(PoisonError::into_inner).waiting)
    }
}

/// Positions that are remembered: half a megabyte.
const SEEN_MAX: usize = 1 << 16;
/// Records that wait to be taken; whoever writes garbage into the log learns from the first.
const WAITING_MAX: usize = 1000;
