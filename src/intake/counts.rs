//! What intake counts.

use crate::event::{Class, Classes};
use crate::metrics::Counter;

/// Events and lines by what became of them; nothing disappears without a count.
#[derive(Debug)]
pub struct IntakeCounts {
    /// Events that were appended.
    pub events: Counter,
    /// Bytes of their records.
    pub bytes: Counter,
    /// Records and lines by class: events that are flagged, lines that are skipped or rejected.
    classes: [Counter; Class::ALL.len()],
}

impl Default for IntakeCounts {
    fn default() -> Self {
        Self {
            events: Counter::default(),
            bytes: Counter::default(),
            classes: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl IntakeCounts {
    /// The count of one class.
    #[must_use]
    pub fn class(&self, class: Class) -> &Counter {
        &self.classes[class as usize]
    }

    /// Adds all that was counted elsewhere.
    pub(super) fn add_all(&self, other: &Self) {
        self.events.add(other.events.load());
        self.bytes.add(other.bytes.load());
        for (here, there) in self.classes.iter().zip(&other.classes) {
            here.add(there.load());
        }
    }

    /// Counts each class of a set once.
    pub(super) fn add(&self, classes: Classes) {
        if !classes.is_empty() {
            classes.iter().for_each(|class| self.class(class).add(1));
        }
    }
}
