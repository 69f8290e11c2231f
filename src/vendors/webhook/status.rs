//! What statuses mean to the operator.

use super::problem;
use crate::deliver::{Cause, Fate, Options, Pace, Problem, Response, Scope, Verdict};

/// Options with statuses.
pub(super) const SUCCESS: &str = "success_status";
pub(super) const RETRY: &str = "retry_status";
pub(super) const PERMANENT: &str = "permanent_status";

/// Reads the answer to events: what the operator says of a status wins.
pub(super) fn read_send(response: &Response<'_>) -> Option<Verdict> {
    let is = |key| is_listed(response.options, key, response.status);
    let is_success = (200..300).contains(&response.status);
    match () {
        () if is(SUCCESS) => Some(Verdict::new(Fate::Delivered, "accepted")),
        () if is(PERMANENT) => Some(Verdict::new(Fate::Reject, "rejected")),
        () if is(RETRY) => Some(Verdict::new(Fate::Retry, "unavailable").at(Pace::Pause(None))),
        () if is_success && !response.options.list(SUCCESS).is_empty() => {
            Some(Verdict::new(Fate::Reject, "rejected"))
        }
        () => None,
    }
}

/// Reads the answer to a look at the destination.
pub(super) fn read_health(response: &Response<'_>) -> Option<Verdict> {
    let wanted = response.options.number("health.status").unwrap_or(200);
    Some(match u64::from(response.status) {
        status if status == wanted => Verdict::new(Fate::Delivered, "accepted"),
        401 | 403 => return None,
        _ => {
            Verdict::new(Fate::Hold { cause: Cause::Outage, scope: Scope::Exporter }, "unavailable")
        }
    })
}

/// Looks at the statuses of an option.
pub(super) fn check(options: &Options, key: &str) -> Result<(), Problem> {
    for text in options.list(key) {
        if range(text).is_none() {
            let text = format!("knows no status {text:?}, such as 409 or 500-599");
            return Err(problem(key, &text));
        }
    }
    Ok(())
}

fn is_listed(options: &Options, key: &str, status: u16) -> bool {
    let ranges = options.list(key);
    ranges.into_iter().filter_map(range).any(|(from, to)| (from..=to).contains(&status))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.trim().parse().ok().filter(|status| (100..600).contains(status));
    let (from, to) = (status(from)?, status(to)?);
    (from <= to).then_some((from, to))
}
