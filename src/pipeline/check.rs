//! Looks at a sample of documents while they are sent (`schema.validate`).

use super::ExporterSpec;
use super::exporter::Exporter;
use crate::deliver::Buffers;
use crate::event::{Event, FieldId, Offset};
use crate::transform::Plan;

/// How a sample of documents is looked at.
#[derive(Debug)]
pub(super) struct Check {
    plan: Plan,
    holds: fn(&[u8]) -> bool,
    leaves_out: &'static [FieldId],
    every: u64,
}

impl Check {
    pub(super) fn compile(spec: &ExporterSpec) -> Result<Option<Self>, String> {
        let (Some(holds), 1..) = (spec.document.check, spec.overrides.checked_every) else {
            return Ok(None);
        };
        let plan = Plan::compile(&[spec.document], &spec.overrides);
        let every = u64::from(spec.overrides.checked_every);
        let plan = plan.map_err(|error| error.to_string())?;
        Ok(Some(Self { plan, holds, leaves_out: spec.document.leaves_out, every }))
    }

    /// Whether the event at this offset is in the sample; a replay looks at the same ones.
    fn is_for(&self, offset: Offset) -> bool {
        // Neighbours differ in their low bits; a multiplication spreads them (Knuth, 6.4).
        (offset.bytes().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).is_multiple_of(self.every)
    }
}

impl Exporter {
    /// Looks at the document of an event, if it is in the sample; the buffer is only room.
    #[inline]
    pub(crate) fn check(&self, offset: Offset, event: &Event<'_>, buffers: &Buffers) {
        if let Some(check) = self.check.as_ref().filter(|check| check.is_for(offset)) {
            self.check_now(check, event, buffers);
        }
    }

    #[cold]
    fn check_now(&self, check: &Check, event: &Event<'_>, buffers: &Buffers) {
        let mut document = buffers.take();
        check.plan.encode(event, &mut document);
        self.counters.schema_checked.add(1);
        let is_there = |field: &FieldId| !matches!(event.text(*field), b"" | b"{}");
        self.counters.schema_left_out.add(check.leaves_out.iter().any(is_there).into());
        if !(check.holds)(&document) {
            if self.counters.schema_invalid.load() == 0 {
                let name = self.name();
                tracing::warn!(exporter = name, "a document lacks what its schema asks for");
            }
            self.counters.schema_invalid.add(1);
        }
        buffers.give(document);
    }
}
