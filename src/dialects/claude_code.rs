//! Claude Code: what its events say, sent as OTLP logs (`inputs.md` 4).

use super::draft::{Draft, string};
use super::otlp::Record;
use crate::event::{Class, FieldId as F};

/// What an event is about: its name, the action, the kind of resource, and the attribute that names
/// it.
struct Row {
    name: &'static str,
    action: &'static str,
    resource: &'static str,
    attribute: &'static str,
}

const ROWS: &[Row] = &[
    row("tool_decision", "mcp_tool", "tool", "tool_name"),
    row("tool_result", "mcp_tool", "tool", "tool_name"),
    row("api_request", "api_request", "network", "model"),
    row("api_error", "api_request", "network", "model"),
    row("user_prompt", "user_prompt", "configuration", ""),
];

const fn row(
    name: &'static str,
    action: &'static str,
    resource: &'static str,
    attribute: &'static str,
) -> Row {
    Row { name, action, resource, attribute }
}

/// Fills in what an event of Claude Code decided and did; whether it was one of those known here.
pub(super) fn decide<'a>(draft: &mut Draft<'a>, record: &Record<'a>) -> bool {
    let body = record.body().and_then(string).unwrap_or_default();
    let name = match body.strip_prefix(PREFIX) {
        Some(name) => name,
        None if record.text("service.name") == Some(b"\"claude-code\"") => {
            let name = record.name().and_then(string).unwrap_or_default();
            name.strip_prefix(PREFIX).unwrap_or(name)
        }
        None => return false,
    };
    let Some(row) = ROWS.iter().find(|row| row.name.as_bytes() == name) else { return false };
    draft.word(F::Action, row.action);
    draft.word(F::ResourceType, row.resource);
    draft.word(F::EventCategory, row.resource);
    draft.word(F::AgentType, "claude_code");
    match record.own.text(row.attribute) {
        Some(json) => draft.json(F::ResourceName, json),
        None => draft.default(F::ResourceName, row.name),
    }
    if row.name == "tool_decision" {
        decision(draft, record);
        return true;
    }
    draft.allowed(true);
    draft.mark_default(F::Allowed);
    draft.word(F::EventType, "policy_allow");
    let has_failed = row.name == "api_error" || record.own.word("success") == Some(b"false");
    if has_failed {
        draft.word(F::Outcome, "failure");
    }
    true
}

/// Whether a tool may be used, as the user or the configuration decided.
fn decision<'a>(draft: &mut Draft<'a>, record: &Record<'a>) {
    let word = record.own.word("decision").unwrap_or_default();
    let allowed = word == b"accept";
    draft.allowed(allowed);
    if !allowed && word != b"reject" {
        draft.flag(Class::UnknownEnum);
    }
    draft.word(F::EventType, if allowed { "policy_allow" } else { "guard_block" });
    draft.default(F::Severity, if allowed { "info" } else { "high" });
    draft.word(F::Guard, "claude_code.permission");
    // Who decided: the configuration, a hook, the user once or for good.
    if let Some(source) = record.own.text("source") {
        draft.json(F::Reason, source);
    }
}

const PREFIX: &[u8] = b"claude_code.";
