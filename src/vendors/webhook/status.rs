//! What statuses mean to the operator.

use serde_json::Value;

use crate::deliver::{
    Cause, Fate, ItemFate, Options, Pace, Problem, Reason, Response, Scope, Verdict, problem,
};

/// Options with statuses.
pub(super) const SUCCESS: &str = "success_status";
pub(super) const RETRY: &str = "retry_status";
pub(super) const PERMANENT: &str = "permanent_status";
/// Option with a path that follows from the event.
pub(super) const PATH: &str = "path_template";
/// Option with the place of ids that failed.
pub(super) const PARTIAL: &str = "partial_path";

/// Reads the answer to events: what the operator says of a status wins.
pub(super) fn read_send(response: &Response<'_>) -> Option<Verdict> {
    let is = |key| is_listed(response.options, key, response.status);
    let is_success = (200..300).contains(&response.status);
    match () {
        () if is(SUCCESS) => Some(accepted(response)),
        () if is(PERMANENT) => Some(Verdict::new(Fate::Reject, "rejected")),
        () if is(RETRY) => Some(Verdict::new(Fate::Retry, "unavailable").at(Pace::Pause(None))),
        () if is_success && !response.options.list(SUCCESS).is_empty() => {
            Some(Verdict::new(Fate::Reject, "rejected"))
        }
        () if is_success => Some(accepted(response)),
        // The path follows from the events: it is theirs, and no fault of the address.
        () if matches!(response.status, 404 | 405) && response.options.is_set(PATH) => {
            Some(Verdict::new(Fate::Reject, "rejected"))
        }
        () => None,
    }
}

/// A success, of all events but those that the answer lists.
fn accepted(response: &Response<'_>) -> Verdict {
    let all = || Verdict::new(Fate::Delivered, "accepted");
    let Some(pointer) = response.options.text(PARTIAL).filter(|it| !it.is_empty()) else {
        return all();
    };
    if response.body.is_empty() {
        return all();
    }
    let Ok(answer) = serde_json::from_slice::<Value>(response.body) else {
        return unfit("the answer is no JSON", &pointer);
    };
    let failed = match answer.pointer(&pointer) {
        None | Some(Value::Null) => return all(),
        Some(Value::Array(failed)) => failed,
        Some(_) => return unfit("what is there is no list", &pointer),
    };
    let ids: Option<Vec<&str>> = failed.iter().map(id).collect();
    let Some(ids) = ids else {
        return unfit("the list has an element without an id", &pointer);
    };
    if ids.is_empty() {
        return all();
    }
    let Some(places) = response.documents.find(&ids) else {
        return unfit("the list has an id that was not sent", &pointer);
    };
    let reason = Reason::new("partial", response.status, "listed as failed".to_owned());
    let mut items = vec![ItemFate::Delivered; response.events];
    for place in places {
        if let Some(item) = items.get_mut(place) {
            *item = ItemFate::Retry(reason.clone());
        }
    }
    Verdict::new(Fate::Items(items), "partial")
}

/// An answer that is not what the operator said it is: nobody knows which events failed. Sending
/// again and again would store them again and again, so the exporter waits until that is put right.
fn unfit(problem: &str, pointer: &str) -> Verdict {
    let hold = Fate::Hold { cause: Cause::Config, scope: Scope::Exporter };
    let mut verdict = Verdict::new(hold, "config");
    verdict.reason.detail = format!("{PARTIAL} {pointer}: {problem}");
    verdict
}

/// An id alone, or an object that has one.
fn id(element: &Value) -> Option<&str> {
    let named = || ["id", "event_id"].iter().find_map(|key| element.get(key)?.as_str());
    element.as_str().or_else(named).filter(|id| !id.is_empty())
}

/// Looks at the pointer (RFC 6901, 3): each step begins with a slash.
pub(super) fn check_pointer(options: &Options) -> Result<(), Problem> {
    let pointer = options.text(PARTIAL).unwrap_or_default();
    if pointer.is_empty() || pointer.starts_with('/') {
        return Ok(());
    }
    Err(problem(PARTIAL, "is no JSON pointer, such as /failed or /result/errors"))
}

/// Reads the answer to a look at the destination.
pub(super) fn read_health(response: &Response<'_>) -> Option<Verdict> {
    let is_well = match response.options.number("health.status") {
        Some(wanted) => u64::from(response.status) == wanted,
        None => (200..300).contains(&response.status),
    };
    Some(match response.status {
        _ if is_well => Verdict::new(Fate::Delivered, "accepted"),
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
            return Err(problem(key, text));
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
