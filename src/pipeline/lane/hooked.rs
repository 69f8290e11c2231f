//! Actions in answer to events: one at a time, each at most once per key and cooldown.

use std::sync::Arc;
use std::time::Instant;

use super::super::block::Entry;
use super::super::hook::Judged;
use super::Lane;
use super::fill::{Taken, UNREADABLE_WAIT};
use crate::event::{Event, FieldId, Offset, Settle, Time};

/// An action that was asked for.
pub(super) struct Acting {
    /// The event that caused it.
    offset: Offset,
    /// When it was asked for first, in seconds since 1970.
    pub(super) at: i64,
}

impl Lane {
    /// What became of an event that causes no action now; nothing where it is sent.
    pub(super) fn weigh(
        &mut self,
        entry: &Entry<'_>,
        event: &Event<'_>,
        now: Instant,
    ) -> Option<Taken> {
        if self.exporter.hook.is_none() || self.is_aside() {
            return None;
        }
        let exporter = Arc::clone(&self.exporter);
        let (hook, counters) = (exporter.hook.as_ref()?, &exporter.counters.hook);
        let (offset, time) = (entry.span.from, Time::now());
        let judged = hook.judge(self.target.heads(), offset, entry.received_ns, time);
        let left_out = match judged {
            Judged::Stale => Some(&counters.stale),
            Judged::Suppressed => Some(&counters.suppressed),
            Judged::Due | Judged::Again(_) => None,
        };
        if let Some(counter) = left_out {
            counter.add(1);
            self.note(entry.span, Settle::Filtered);
            return Some(Taken::Done);
        }
        // What waits behind an action is judged when that has ended: it may be too old then.
        if self.is_acting() {
            return Some(Taken::Full);
        }
        let at = match judged {
            Judged::Again(at) => at,
            _ => match hook.note(self.target.heads(), offset, entry.received_ns, time) {
                Ok(forgotten) => {
                    counters.forgotten.add(forgotten);
                    time.secs
                }
                Err(problem) => {
                    tracing::error!(exporter = exporter.name(), %problem, "action not noted");
                    exporter.note_error(format!("action not noted: {problem}"), now);
                    self.rest(UNREADABLE_WAIT);
                    return Some(Taken::Full);
                }
            },
        };
        if hook.spec.is_dry {
            counters.dry.add(1);
            let (key, id) = (self.target.heads(), event.text(FieldId::EventId));
            hook.tell_dry(exporter.name(), key, id, now);
            self.note(entry.span, Settle::Filtered);
            return Some(Taken::Done);
        }
        // It may be tried more than once before there is room for it.
        if self.acting.as_ref().is_none_or(|acting| acting.offset != offset) {
            counters.fired.add(1);
        }
        self.acting = Some(Acting { offset, at });
        self.sender.hold_for(hook.left(entry.received_ns, time));
        None
    }

    /// Whether an action has not met its end.
    fn is_acting(&self) -> bool {
        !(self.sender.is_empty() && self.opens.is_empty() && self.again.is_empty())
    }
}
