//! What is asked of a new pass over the log.

use super::engine::EngineError;
use super::exporter::ExporterSpec;
use crate::event::{Checkpoint, Offset, Span};
use crate::log::{LogError, Reader};

/// Where a new pass begins, and how far its events are told of one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewPass {
    /// Where it begins.
    pub start: Offset,
    /// Events below are told of one by one, however old they are; zero where `max_age` holds for
    /// all of them.
    pub alert_below: Offset,
}

impl NewPass {
    /// One that is as any other.
    #[must_use]
    pub const fn at(start: Offset) -> Self {
        Self { start, alert_below: Offset::ZERO }
    }

    /// Events that the pass before had not settled and that lie before the beginning of this one:
    /// nobody sends them any more.
    ///
    /// # Errors
    /// When the log cannot be counted.
    pub fn leaves(self, last: &Checkpoint, reader: &Reader) -> Result<u64, LogError> {
        let count = |from: Offset, to: Offset| match from < to {
            true => reader.count(Span { from, to }),
            false => Ok(0),
        };
        let from = last.base.max(reader.oldest());
        let ahead = last.ahead.iter().map(|it| count(it.from.max(from), it.to.min(self.start)));
        Ok(count(from, self.start)?.saturating_sub(ahead.sum::<Result<u64, _>>()?))
    }

    /// Where it begins, with what is still to be told of the pass before it.
    pub(super) fn after(self, last: Checkpoint) -> Checkpoint {
        let Self { start, alert_below } = self;
        let Checkpoint { pass, gaps, removals, .. } = last;
        let pass = pass + 1;
        let begun = Checkpoint { pass, start, base: start, alert_below, ..Checkpoint::default() };
        Checkpoint { gaps, removals, ..begun }
    }

    /// Refuses to act on old events: `max_age` keeps response hooks from that.
    pub(super) fn permit(self, spec: &ExporterSpec) -> Result<(), EngineError> {
        match spec.hook.is_some() && self.alert_below > Offset::ZERO {
            true => Err(EngineError::Exporter {
                name: spec.settings.name.clone(),
                problem: NO_OLD_ACTIONS.to_owned(),
            }),
            false => Ok(()),
        }
    }
}

/// Why a response hook is not rewound so.
pub const NO_OLD_ACTIONS: &str = "it is a response hook, which acts on no event older than its \
                                  `max_age`; rewind it without really-alert";
