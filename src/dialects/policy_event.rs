//! Clawdstrike: events of `hush run` and `hush policy observe` (`inputs.md` 2.8, 7.4).

use super::draft::{Draft, string};
use super::openclaw::ACTIONS;
use super::rules::{Action, Known, decided_type, find, severity};
use crate::event::{Class, Entry, FieldId as F, elements, entries, is_blank_text, unescape};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// One record of `hush.events.jsonl`.
pub(super) static POLICY_EVENT: Dialect = Dialect {
    name: NAME,
    keys: &[("eventId", Kind::Any), ("data", Kind::Any)],
    mode: Mode::PerRun,
    map,
};

const NAME: &str = "clawdstrike.policy_event";

const NAMES: &[&str; 6] = &["eventId", "eventType", "timestamp", "sessionId", "data", "metadata"];

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let mut draft = Draft::new(NAME, source);
    let known = Known::read(source.members, NAMES, &mut draft, |draft, entry| {
        draft.keep_entry(entry);
    });
    let (id, kind) = (known.required(0)?, known.required(1)?);
    let timestamp = known.required(2)?;
    let data = known.get(4).ok_or(Class::MissingField)?;
    if data.first() != Some(&b'{') {
        return Err(Class::WrongType);
    }
    let members = entries(data);
    let data_type = find(&members, "type").ok_or(Class::MissingField)?;
    let word = string(kind).unwrap_or_default();
    let row = ACTIONS.iter().find(|(name, _, leads_back)| *name == word && *leads_back);
    let action = row.map_or(Action::Other, |(_, action, _)| Action::of(action.as_bytes()));

    draft.id("eventId", Some(id));
    draft.json(F::Timestamp, timestamp);
    draft.optional(F::SessionId, "sessionId", known.get(3), Some("unknown"));
    match row {
        Some((_, action, _)) => draft.word(F::Action, action),
        None => draft.json(F::Action, kind),
    }
    if row.is_none() && word != b"secret_access" && word != b"custom" {
        draft.flag(Class::UnknownEnum);
    }
    draft.keep("data", data);
    resource(&mut draft, string(data_type).unwrap_or_default(), data_type, &members);
    let metadata = known.get(5);
    let own = metadata.map(entries).unwrap_or_default();
    let agent = find(&own, "agentId").filter(|json| string(json).is_some());
    match agent {
        Some(json) => draft.json(F::AgentId, json),
        None => draft.default(F::AgentId, "hush"),
    }
    draft.word(F::AgentName, "hush");
    draft.word(F::AgentVersion, "unknown");
    draft.word(F::AgentType, "clawdstrike");
    let end = find(&members, "customType").filter(|name| *name == b"\"hush_run_end\"");
    match (end, find(&own, "decision").filter(|json| json.first() == Some(&b'{'))) {
        (Some(_), _) => run_end(&mut draft, &members),
        (None, Some(decision)) => decided(&mut draft, &entries(decision), action, kind),
        (None, None) => undecided(&mut draft, kind),
    }
    draft.metadata(metadata);
    draft.finish(out);
    Ok(())
}

/// What was decided; the whole decision stays in the metadata.
fn decided<'a>(draft: &mut Draft<'a>, decision: &[Entry<'a>], action: Action, kind: &'a [u8]) {
    let allowed = match find(decision, "allowed") {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => {
            draft.flag(Class::UnknownEnum);
            false
        }
    };
    draft.allowed(allowed);
    let guard = find(decision, "guard").filter(|json| string(json).is_some());
    match guard {
        Some(json) => draft.json(F::Guard, json),
        None => draft.default(F::Guard, "engine"),
    }
    match find(decision, "message").filter(|json| string(json).is_some()) {
        Some(json) => draft.json(F::Reason, json),
        None => {
            draft.json(F::Reason, kind);
            draft.mark_default(F::Reason);
        }
    }
    let word = find(decision, "severity");
    // The metadata holds it as it was; nothing is to be kept beside.
    severity(draft, word, allowed);
    let text = word.and_then(string).unwrap_or_default();
    let guard = guard.and_then(string).unwrap_or(b"engine");
    draft.word(F::EventType, decided_type(allowed, text, guard, action));
}

/// Nothing was decided: the action was seen, and nobody knows how it ended.
fn undecided<'a>(draft: &mut Draft<'a>, kind: &'a [u8]) {
    draft.allowed(true);
    draft.word(F::Outcome, "unknown");
    draft.default(F::Severity, "info");
    draft.default(F::Guard, "engine");
    draft.json(F::Reason, kind);
    for id in [F::Allowed, F::Outcome, F::Reason] {
        draft.mark_default(id);
    }
    draft.word(F::EventType, "policy_allow");
}

/// The end of a run: it failed when the policy says so.
fn run_end<'a>(draft: &mut Draft<'a>, data: &[Entry<'a>]) {
    let failed = find(data, "policyExitCode") == Some(b"2");
    draft.allowed(!failed);
    draft.default(F::Severity, if failed { "high" } else { "info" });
    draft.default(F::Guard, "engine");
    draft.default(F::Reason, "hush_run_end");
    draft.word(F::EventType, "session_end");
    draft.word(F::EventCategory, "session");
}

/// The resource by the kind of data.
fn resource<'a>(draft: &mut Draft<'a>, kind: &[u8], kind_json: &'a [u8], data: &[Entry<'a>]) {
    let text = |name: &str| find(data, name).filter(|json| string(json).is_some());
    let empty: &[u8] = b"\"\"";
    let (word, category, name) = match kind {
        b"file" => ("file", "file", text("path")),
        b"patch" => ("file", "file", text("filePath")),
        b"network" => ("network", "network", text("host")),
        b"command" => ("process", "process", None),
        b"tool" => ("tool", "tool", text("toolName")),
        b"secret" => ("configuration", "configuration", text("secretName")),
        b"custom" => ("configuration", "configuration", text("customType")),
        _ => ("configuration", "configuration", Some(kind_json)),
    };
    draft.word(F::ResourceType, word);
    draft.word(F::EventCategory, category);
    draft.json(F::ResourceName, name.unwrap_or(empty));
    let name = name.filter(|json| !is_blank_text(json));
    match kind {
        b"file" | b"patch" => {
            let Some(path) = name else { return };
            draft.json(F::ResourcePath, path);
            if kind == b"file" {
                draft.word(F::IndicatorType, "file_path");
                draft.json(F::IndicatorValue, path);
            }
        }
        b"network" => {
            let Some(host) = name else { return };
            draft.json(F::ResourceHost, host);
            draft.word(F::IndicatorType, "domain");
            draft.json(F::IndicatorValue, host);
            if let Some(port) = find(data, "port") {
                draft.json(F::ResourcePort, port);
            }
        }
        b"command" => {
            let line = command(text("command"), find(data, "args"));
            draft.text(F::ResourceName, &line);
        }
        b"secret" => {
            if let Some(scope) = text("scope") {
                draft.json(F::ResourcePath, scope);
            }
        }
        _ => {}
    }
}

/// A command line from its tokens, each quoted as a shell would need it.
fn command(program: Option<&[u8]>, arguments: Option<&[u8]>) -> Vec<u8> {
    let mut line = Vec::new();
    let arguments = arguments.map(elements).unwrap_or_default();
    for token in program.into_iter().chain(arguments) {
        let plain = match string(token) {
            Some(text) => unescape(text),
            None => token.to_vec(),
        };
        if !line.is_empty() {
            line.push(b' ');
        }
        let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(byte);
        if !plain.is_empty() && plain.iter().all(is_safe) {
            line.extend_from_slice(&plain);
            continue;
        }
        line.push(b'\'');
        for byte in plain {
            match byte {
                b'\'' => line.extend_from_slice(b"'\\''"),
                byte => line.push(byte),
            }
        }
        line.push(b'\'');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_quoted_for_a_shell() {
        let args = br#"["run","--task","fix tests","it's",""]"#;
        let line = command(Some(b"\"agent\""), Some(args));
        assert_eq!(String::from_utf8_lossy(&line), r"agent run --task 'fix tests' 'it'\''s' ''");
        assert_eq!(command(Some(b"\"x\""), None), b"x");
    }
}
