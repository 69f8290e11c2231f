//! Positions in the log as operators give them.

use std::time::{SystemTime, UNIX_EPOCH};

use shrike::config::time;
use shrike::control::{Rewind, Target};
use shrike::event::Offset;
use shrike::log::{LogError, Reader};
use shrike::pipeline::NewPass;

use super::Failure;

/// Reads `earliest`, `latest`, an offset, an RFC 3339 time, or a span before now such as `1h`.
pub(crate) fn parse(text: &str) -> Result<Target, Failure> {
    Target::parse(text, now()).map_err(Failure::Usage)
}

/// Reads an RFC 3339 time, or a span before now such as `1h`: nanoseconds since 1970.
pub(crate) fn time(text: &str) -> Result<u64, Failure> {
    time::parse_or_ago(text, now()).ok_or_else(|| {
        Failure::Usage(format!(
            "`{text}` is no time from 1970 to 2554; expected one such as 2026-01-31T12:00:00Z, or \
             a span before now such as 1h"
        ))
    })
}

/// The offset of a position: of a record, or the log's end.
pub(crate) fn find(target: Target, reader: &Reader) -> Result<Offset, LogError> {
    match target {
        Target::Earliest => Ok(reader.oldest()),
        Target::Latest => Ok(reader.written()),
        Target::Offset(offset) => reader.align(Offset::new(offset)),
        Target::Time(time) => reader.seek_time(time),
    }
}

/// Where a new pass begins. An offset beyond the log's end is no place in it, and neither is a time
/// to come: taken for the end, it would silently leave out whatever the exporter still has to send.
pub(crate) fn begin(target: Target, reader: &Reader) -> Result<Offset, String> {
    let end = reader.written().bytes();
    match target {
        Target::Offset(offset) if offset > end => Err(format!(
            "offset {offset} lies beyond the end of the log, {end}; expected an offset that \
             `shrike cursor show` or `shrike log stat` names, or `latest` for the end"
        )),
        Target::Time(at) if at > now() => Err(format!(
            "{} is still to come; expected a time that has passed, or `latest` for the end of the \
             log",
            time::text(at)
        )),
        target => find(target, reader).map_err(|problem| problem.to_string()),
    }
}

/// A new pass as it is asked for now.
pub(crate) fn new_pass(wanted: Rewind, reader: &Reader) -> Result<NewPass, String> {
    let alert_below = match wanted.really_alert {
        true => reader.written(),
        false => Offset::ZERO,
    };
    Ok(NewPass { start: begin(wanted.to, reader)?, alert_below })
}

/// How the offset below which each event is told of is shown.
pub(crate) fn mark(alert_below: Offset) -> Option<u64> {
    (alert_below > Offset::ZERO).then_some(alert_below.bytes())
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
