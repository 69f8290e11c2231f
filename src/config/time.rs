//! Points in time as operators write them.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::key::Unit;

/// Nanoseconds since 1970 of an RFC 3339 time, such as `2026-01-31T12:00:00Z`.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos()).ok()
}

/// Nanoseconds since 1970 of a time, or of a span such as `1h` before now.
#[must_use]
pub fn parse_or_ago(text: &str, now: u64) -> Option<u64> {
    parse(text).or_else(|| {
        let milliseconds = super::parse::span(text, None::<Unit>)?;
        let ago = Duration::from_millis(milliseconds).as_nanos();
        now.checked_sub(u64::try_from(ago).ok()?)
    })
}

/// The RFC 3339 text of nanoseconds since 1970, in UTC with whole milliseconds.
#[must_use]
pub fn text(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000 * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds))
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        // Years beyond 9999 have no RFC 3339 text.
        .unwrap_or_else(|| nanoseconds.to_string())
}

/// A span of time such as `300s`; the unit is required.
#[must_use]
pub fn span(text: &str) -> Option<Duration> {
    super::parse::span(text, None::<Unit>).map(Duration::from_millis)
}
