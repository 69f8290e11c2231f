//! What an exporter keeps on disk: where it is, its dead letters, and its tables.

use std::path::Path;
use std::sync::Arc;

use super::account::with_what_is_gone;
use super::alerts::Alerts;
use super::dead_letters::DeadLetters;
use super::engine::EngineError;
use super::exporter::ExporterSpec;
use super::hook::Hook;
use super::passes::Traces;
use super::threads::Threads;
use crate::deliver::{self, Settings};
use crate::event::{Checkpoint, Offset, Span, Time};
use crate::log::{Cursors, Log, Reader};

/// Opens all of it; what cannot be used now stops this exporter alone.
pub(super) fn open_kept(
    spec: &ExporterSpec,
    (log, reader, cursors): (&Log, &Reader, &Cursors),
    (receipts, latest): (Option<&Path>, Offset),
) -> Result<(Checkpoint, Arc<DeadLetters>), EngineError> {
    let checkpoint = checkpoint(cursors, reader, spec, (receipts, latest))?;
    let letters = open_letters(spec, &checkpoint, log)?;
    // Only looked at: whoever compiles the exporter opens them again.
    spec.hook.clone().map(Hook::open).transpose()?;
    spec.alerts.clone().map(|spec| Alerts::open(spec, Time::now().secs)).transpose()?;
    spec.threads.clone().map(|spec| Threads::open(spec, Time::now().secs)).transpose()?;
    Ok((checkpoint, letters))
}

pub(super) fn open_letters(
    spec: &ExporterSpec,
    checkpoint: &Checkpoint,
    log: &Log,
) -> Result<Arc<DeadLetters>, EngineError> {
    let Settings { name, dead_letters, .. } = &spec.settings;
    Ok(Arc::new(DeadLetters::open(name, dead_letters, checkpoint, log.disk())?))
}

/// Where an exporter goes on, or begins; `latest` is where it does so that wants only what is new.
pub(super) fn checkpoint(
    cursors: &Cursors,
    reader: &Reader,
    spec: &ExporterSpec,
    (receipts, latest): (Option<&Path>, Offset),
) -> Result<Checkpoint, EngineError> {
    if let Some(checkpoint) = cursors.load(&spec.settings.name)? {
        return Ok(with_what_is_gone(checkpoint, reader));
    }
    let start = match spec.settings.from {
        deliver::From::Latest => latest.max(reader.oldest()),
        deliver::From::Earliest => reader.oldest(),
        deliver::From::Time(received_ns) => reader.seek_time(received_ns)?,
    };
    // A new log has its first header written and not yet durable; no event lies in between.
    let start = start.min(reader.durable());
    let before = reader.count(Span { from: reader.oldest(), to: start })?;
    let after = reader.count(Span { from: start, to: reader.written() })?;
    if before + after > 0 {
        // New, or its cursor was deleted: nobody can tell, so that it is said aloud.
        tracing::warn!(
            exporter = spec.settings.name,
            from = %start,
            before,
            after,
            "no checkpoint: events before its beginning are not sent, those after it are; \
             `shrike cursor rewind` begins elsewhere"
        );
    }
    let first = traces(spec, receipts).first_unused()?;
    let checkpoint = Checkpoint { start, base: start, ..first };
    // Saved at once: a crash before the first settled event must not lose where it began.
    cursors.save(&spec.settings.name, &checkpoint)?;
    Ok(checkpoint)
}

/// What is left of an exporter whose checkpoint is gone.
pub(super) fn traces<'a>(spec: &'a ExporterSpec, receipts: Option<&'a Path>) -> Traces<'a> {
    let Settings { name, dead_letters, .. } = &spec.settings;
    Traces { name, letters: &dead_letters.dir, receipts }
}
