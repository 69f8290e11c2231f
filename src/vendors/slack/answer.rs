//! What Slack's answers mean: words of webhooks, errors of the API.

use serde::Deserialize;
use serde_json::Value;

use crate::deliver::{Cause, Fate, Level, Pace, Response, Scope, Verdict};

/// Reads the answer of an incoming webhook: `ok`, or a word beside a failing status.
pub(super) fn read_webhook(response: &Response<'_>) -> Option<Verdict> {
    let said = String::from_utf8_lossy(response.body);
    let word = said.trim();
    match response.status {
        200 if word == "ok" => Some(Verdict::new(Fate::Delivered, "accepted")),
        // Whoever answered is not Slack; sending on would post nothing, or twice.
        200..=299 => Some(held(Cause::Config, "config")),
        429 => Some(throttled()),
        status => meaning(word).or(match status {
            400 | 413 => Some(plain()),
            401 | 403 => Some(held(Cause::Auth, "auth")),
            404 | 405 | 410 => Some(held(Cause::Config, "config")),
            _ => None,
        }),
    }
}

/// Reads the answer of the API to a message: its status says little, `ok` and `error` all.
pub(super) fn read_bot(response: &Response<'_>) -> Option<Verdict> {
    match response.status {
        200 => Some(match said(response) {
            Some(Ok(())) => Verdict::new(Fate::Delivered, "accepted"),
            // What nobody knows may be of the workspace, the token or the channel.
            Some(Err(error)) => match meaning(&error) {
                Some(verdict) => verdict,
                None if is_of_message(&error) => plain(),
                None => held(Cause::Config, "config"),
            },
            None => held(Cause::Config, "config"),
        }),
        429 => Some(throttled()),
        400 | 413 => Some(plain()),
        401 | 403 => Some(held(Cause::Auth, "auth")),
        404 | 405 | 410 => Some(held(Cause::Config, "config")),
        _ => None,
    }
}

/// Reads the answer of `auth.test`.
pub(super) fn read_test(response: &Response<'_>) -> Option<Verdict> {
    let hold = |cause, class| Verdict::new(Fate::Hold { cause, scope: Scope::Exporter }, class);
    match response.status {
        200 => Some(match said(response) {
            Some(Ok(())) => Verdict::new(Fate::Delivered, "accepted"),
            Some(Err(error)) => match CODES.iter().find(|(code, _)| *code == error) {
                Some((_, Meaning::Auth)) => hold(Cause::Auth, "auth"),
                Some((_, Meaning::Retry | Meaning::Throttled)) => {
                    hold(Cause::Outage, "unavailable")
                }
                _ => hold(Cause::Config, "config"),
            },
            None => hold(Cause::Config, "config"),
        }),
        404 | 405 => Some(hold(Cause::Config, "config")),
        _ => None,
    }
}

/// `ok`, or the error; nothing where this is no answer of the API.
fn said(response: &Response<'_>) -> Option<Result<(), String>> {
    let answer: Value = serde_json::from_slice(response.body).ok()?;
    match answer["ok"].as_bool()? {
        true => Some(Ok(())),
        false => Some(Err(answer["error"].as_str().unwrap_or_default().to_owned())),
    }
}

/// What Slack calls a message that it took.
pub(super) fn ts(response: &Response<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Posted {
        ts: String,
    }
    serde_json::from_slice::<Posted>(response.body).ok().map(|posted| posted.ts)
}

/// What a word of Slack's means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It works again in a moment.
    Retry,
    /// This channel has enough for now.
    Throttled,
    /// The message is not as it should be.
    Plain,
    /// Who posts may not, or no longer.
    Auth,
    /// Where it is posted is not there, or takes nothing.
    Config,
    /// The message that it answers to is not there any more.
    Orphan,
}

const CODES: &[(&str, Meaning)] = &[
    ("ratelimited", Meaning::Throttled),
    ("rate_limited", Meaning::Throttled),
    ("message_limit_exceeded", Meaning::Throttled),
    ("rollup_error", Meaning::Retry),
    ("internal_error", Meaning::Retry),
    ("fatal_error", Meaning::Retry),
    ("service_unavailable", Meaning::Retry),
    ("request_timeout", Meaning::Retry),
    // "The workspace associated with your request is currently undergoing migration."
    ("team_added_to_org", Meaning::Retry),
    ("org_login_required", Meaning::Retry),
    ("no_text", Meaning::Plain),
    ("attachment_payload_limit_exceeded", Meaning::Plain),
    ("markdown_text_conflict", Meaning::Plain),
    ("invalid_token", Meaning::Auth),
    ("invalid_auth", Meaning::Auth),
    ("not_authed", Meaning::Auth),
    ("token_revoked", Meaning::Auth),
    ("token_expired", Meaning::Auth),
    ("account_inactive", Meaning::Auth),
    ("missing_scope", Meaning::Auth),
    ("no_permission", Meaning::Auth),
    ("team_disabled", Meaning::Auth),
    ("access_denied", Meaning::Auth),
    ("accesslimited", Meaning::Auth),
    ("ekm_access_denied", Meaning::Auth),
    ("not_allowed_token_type", Meaning::Auth),
    ("team_access_not_granted", Meaning::Auth),
    ("two_factor_setup_required", Meaning::Auth),
    // "Forget the thread, post as new."
    ("thread_not_found", Meaning::Orphan),
    ("message_not_found", Meaning::Orphan),
    ("invalid_thread_ts", Meaning::Orphan),
    ("cannot_reply_to_message", Meaning::Orphan),
    ("restricted_action_thread_locked", Meaning::Orphan),
    ("restricted_action_non_threadable_channel", Meaning::Orphan),
    ("action_prohibited", Meaning::Config),
    ("restricted_action", Meaning::Config),
    ("not_in_channel", Meaning::Config),
    ("no_service", Meaning::Config),
    ("no_active_hooks", Meaning::Config),
    ("no_team", Meaning::Config),
    ("channel_not_found", Meaning::Config),
    ("channel_is_archived", Meaning::Config),
    ("is_archived", Meaning::Config),
];

fn meaning(word: &str) -> Option<Verdict> {
    let is_denied = word.starts_with("posting_to_") && word.ends_with("_denied");
    let row = CODES.iter().find(|(code, _)| *code == word).map(|(_, meaning)| *meaning);
    Some(match row.or(is_denied.then_some(Meaning::Config))? {
        Meaning::Retry => Verdict::new(Fate::Retry, "unavailable").at(Pace::Pause(None)),
        Meaning::Throttled => throttled(),
        Meaning::Plain => plain(),
        Meaning::Auth => held(Cause::Auth, "auth"),
        Meaning::Config => held(Cause::Config, "config"),
        Meaning::Orphan => Verdict::new(Fate::Orphan, "rejected"),
    })
}

/// Whether an error of the API says that a message is not as it should be: `invalid_blocks`,
/// `msg_too_long`, `too_many_attachments`, `metadata_too_large`, and what else is called so.
fn is_of_message(word: &str) -> bool {
    word.starts_with("invalid_")
        || word.starts_with("too_many_")
        || word.ends_with("_too_long")
        || word.ends_with("_too_large")
}

/// "Pause that channel for the given time": the others go on.
fn throttled() -> Verdict {
    let hold = Fate::Hold { cause: Cause::Outage, scope: Scope::Route };
    Verdict::new(hold, "throttled").at(Pace::Pause(None))
}

/// "Permanent; resend once as plain text, then dead letter."
fn plain() -> Verdict {
    Verdict::new(Fate::Reshape(Level::Plain), "rejected")
}

fn held(cause: Cause, class: &'static str) -> Verdict {
    Verdict::new(Fate::Hold { cause, scope: Scope::Route }, class)
}
