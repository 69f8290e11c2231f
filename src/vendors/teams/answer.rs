//! What Teams answers mean: a workflow's status, a connector's body.

use std::time::Duration;

use http::Uri;

use crate::deliver::{Cause, Fate, Level, Options, Pace, Response, Scope, Verdict, retry_after};

/// Reads the answer to a message.
pub(super) fn read(response: &Response<'_>) -> Option<Verdict> {
    let said = String::from_utf8_lossy(response.body);
    match response.status {
        200..=299 if is_connector(response.options) => Some(of_connector(said.trim(), response)),
        status => by_status(status, &said, response),
    }
}

fn by_status(status: u16, said: &str, response: &Response<'_>) -> Option<Verdict> {
    Some(match status {
        200..=299 => Verdict::new(Fate::Delivered, "accepted"),
        400 if is_too_large(said) => reshaped(Level::Shrink, "too_large"),
        400 => reshaped(Level::Plain, "rejected"),
        413 => reshaped(Level::Shrink, "too_large"),
        // A signature that is wrong, or a policy.
        401 | 403 => held(Cause::Auth, "auth"),
        // A flow that was deleted or switched off, a connector that is gone.
        404 | 405 | 410 | 415 => held(Cause::Config, "config"),
        429 => {
            let wait = retry_after(response.headers).unwrap_or(THROTTLED_FOR);
            held(Cause::Outage, "throttled").at(Pace::Pause(Some(wait)))
        }
        // 408 and 5xx of the gateway are tried again as ever.
        _ => return None,
    })
}

/// "200 with body `1`; a body that says `HTTP error 429`, or other text, is a failure."
fn of_connector(said: &str, response: &Response<'_>) -> Verdict {
    if said == "1" {
        return Verdict::new(Fate::Delivered, "accepted");
    }
    // A page: whoever answered is no connector.
    if said.starts_with('<') {
        return held(Cause::Config, "config");
    }
    let status = said.split("HTTP error ").nth(1).and_then(|rest| rest.get(..3)?.parse().ok());
    match status {
        Some(408 | 500..=599) => Verdict::new(Fate::Retry, "unavailable").at(Pace::Pause(None)),
        Some(status @ 400..=499) => {
            by_status(status, said, response).unwrap_or_else(|| reshaped(Level::Plain, "rejected"))
        }
        _ => by_status(400, said, response).unwrap_or_else(|| reshaped(Level::Plain, "rejected")),
    }
}

fn is_too_large(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    ["too large", "toolarge", "too big", "toobig", "message size"]
        .iter()
        .any(|it| said.contains(it))
}

/// Whether the message goes to a connector of Office 365: as written, else by the URL's host.
pub(super) fn is_connector(options: &Options) -> bool {
    match options.text("mode").as_deref() {
        Some("connector") => true,
        Some("workflows") => false,
        _ => {
            let url: Option<Uri> =
                options.url("webhook_url").and_then(|url| url.trim().parse().ok());
            let host = url.as_ref().and_then(Uri::host).unwrap_or_default().to_ascii_lowercase();
            host.ends_with(".webhook.office.com") || host == "outlook.office.com"
        }
    }
}

fn reshaped(level: Level, class: &'static str) -> Verdict {
    Verdict::new(Fate::Reshape(level), class)
}

fn held(cause: Cause, class: &'static str) -> Verdict {
    Verdict::new(Fate::Hold { cause, scope: Scope::Route }, class)
}

/// "Retry-After or 60 s."
const THROTTLED_FOR: Duration = Duration::from_secs(60);
