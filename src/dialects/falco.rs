//! Falco: alerts of the runtime detection engine with `json_output` (`inputs.md` 4).
//!
//! Falco watches and stops nothing: what a rule found was let through, with a warning.

use super::draft::{Draft, string};
use super::rules::{Known, find, last_of_each};
use crate::event::{Class, Entry, FieldId as F, elements, entries, is_blank_text, quote};
use crate::intake::{Dialect, Kind, Mapped, Mode, Source};

/// One alert.
pub(super) static FALCO: Dialect = Dialect {
    name: NAME,
    keys: &[("rule", Kind::Any), ("priority", Kind::Any), ("output", Kind::Any)],
    mode: Mode::Append,
    map,
};

const NAME: &str = "falco";

const NAMES: &[&str; 8] =
    &["time", "rule", "priority", "output", "hostname", "uuid", "output_fields", "tags"];

fn map(source: &Source<'_>, out: &mut Mapped) -> Result<(), Class> {
    let mut draft = Draft::new(NAME, source);
    let known = Known::read(source.members, NAMES, &mut draft, |_, _| {});
    let (time, rule) = (known.required(0)?, known.required(1)?);
    let (priority, output) = (known.required(2)?, known.required(3)?);
    let fields = known.get(6).map(entries).unwrap_or_default();

    draft.id("uuid", known.get(5));
    draft.json(F::Timestamp, time);
    draft.word(F::EventType, "guard_warn");
    draft.allowed(true);
    for id in [F::Allowed, F::Outcome] {
        draft.mark_default(id);
    }
    draft.json(F::Guard, rule);
    draft.json(F::Reason, output);
    severity(&mut draft, priority);
    for value in known.get(7).map(elements).unwrap_or_default() {
        tag(&mut draft, value);
    }
    resource(&mut draft, &fields, rule);
    agent(&mut draft, known.get(4), &fields);
    draft.group("falco", |members| {
        let moved = ["time", "rule", "output", "uuid", "hostname"];
        for entry in last_of_each(source.members) {
            if !moved.iter().any(|name| entry.is(name.as_bytes())) {
                super::draft::member(entry.key, entry.value, members);
            }
        }
    });
    draft.finish(out);
    Ok(())
}

/// The severity by Falco's eight priorities; the word itself stays in the metadata.
fn severity(draft: &mut Draft<'_>, priority: &[u8]) {
    const PRIORITIES: &[(&str, &str)] = &[
        ("Emergency", "critical"),
        ("Alert", "critical"),
        ("Critical", "critical"),
        ("Error", "high"),
        ("Warning", "medium"),
        ("Notice", "low"),
        ("Informational", "info"),
        ("Info", "info"),
        ("Debug", "info"),
    ];
    let text = string(priority).unwrap_or_default();
    let row = PRIORITIES.iter().find(|(word, _)| text.eq_ignore_ascii_case(word.as_bytes()));
    match row {
        Some((_, severity)) => draft.word(F::Severity, severity),
        None => {
            draft.flag(Class::UnknownEnum);
            draft.default(F::Severity, "medium");
        }
    }
}

/// ATT&CK in a tag: `T1059`, `T1548.001`, or `mitre_execution`; the first of each kind counts.
fn tag<'a>(draft: &mut Draft<'a>, value: &'a [u8]) {
    let Some(text) = string(value) else { return };
    if is_technique(text) && !draft.has(F::Technique) {
        draft.json(F::Technique, value);
    }
    if let Some(tactic) = text.strip_prefix(b"mitre_")
        && !tactic.is_empty()
        && !draft.has(F::Tactic)
    {
        draft.own(F::Tactic, |out| out.extend_from_slice(&[b"\"", tactic, b"\""].concat()));
    }
}

fn is_technique(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b"T") else { return false };
    let (main, sub) = match memchr::memchr(b'.', digits) {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let is_number =
        |text: &[u8], len: usize| text.len() == len && text.iter().all(u8::is_ascii_digit);
    is_number(main, 4) && sub.is_none_or(|sub| is_number(sub, 3))
}

/// The resource and the action by the fields that the rule prints.
fn resource<'a>(draft: &mut Draft<'a>, fields: &[Entry<'a>], rule: &'a [u8]) {
    let text = |name: &str| find(fields, name).filter(|json| is_text(json));
    match text("evt.type") {
        Some(json) => draft.json(F::Action, json),
        None => draft.default(F::Action, "alert"),
    }
    // The remote end where the direction is known, else the server's.
    let host =
        ["fd.rip", "fd.sip", "fd.rip.name", "fd.sip.name"].iter().find_map(|name| text(name));
    if let Some(host) = host {
        draft.word(F::ResourceType, "network");
        draft.word(F::EventCategory, "network");
        draft.json(F::ResourceName, host);
        draft.json(F::ResourceHost, host);
        let port = ["fd.rport", "fd.sport"].iter().find_map(|name| find(fields, name));
        if let Some(port) = port.filter(|json| is_port(json)) {
            draft.json(F::ResourcePort, port);
        }
        return;
    }
    let path = text("fd.name").filter(|json| json.starts_with(b"\"/"));
    let (word, category, name) = match (path, text("proc.cmdline")) {
        (Some(path), _) => {
            draft.json(F::ResourcePath, path);
            ("file", "file", path)
        }
        (None, Some(line)) => ("process", "process", line),
        (None, None) => {
            let target = text("ka.target.name").or_else(|| text("container.name"));
            ("configuration", "configuration", target.unwrap_or(rule))
        }
    };
    draft.word(F::ResourceType, word);
    draft.word(F::EventCategory, category);
    draft.json(F::ResourceName, name);
}

fn is_text(json: &[u8]) -> bool {
    // Falco prints `<NA>` where a field has no value.
    string(json).is_some_and(|text| text != b"<NA>") && !is_blank_text(json)
}

fn is_port(json: &[u8]) -> bool {
    str::from_utf8(json).is_ok_and(|text| text.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Agent and session: an alert knows its host, and perhaps the container.
fn agent<'a>(draft: &mut Draft<'a>, hostname: Option<&'a [u8]>, fields: &[Entry<'a>]) {
    draft.optional(F::AgentId, "hostname", hostname, Some("falco"));
    draft.word(F::AgentName, "falco");
    draft.word(F::AgentVersion, "unknown");
    draft.word(F::AgentType, "falco");
    let text = |name: &str| find(fields, name).filter(|json| is_text(json));
    match text("container.id").filter(|json| *json != b"\"host\"") {
        Some(container) => draft.json(F::SessionId, container),
        None => {
            let mut session = b"\"falco:".to_vec();
            match hostname.and_then(string) {
                Some(text) => session.extend_from_slice(text),
                None => {
                    let mut quoted = Vec::new();
                    quote(draft.host().as_bytes(), &mut quoted);
                    session.extend_from_slice(&quoted[1..quoted.len() - 1]);
                }
            }
            session.push(b'"');
            draft.own(F::SessionId, |out| out.extend_from_slice(&session));
            draft.mark_default(F::SessionId);
        }
    }
    if let Some(user) = text("user.name") {
        draft.json(F::SessionUserId, user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn techniques_are_told_from_other_tags() {
        for (tag, expected) in [
            ("T1059", true),
            ("T1548.001", true),
            ("T10", false),
            ("T1059.", false),
            ("Test", false),
            ("mitre_execution", false),
        ] {
            assert_eq!(is_technique(tag.as_bytes()), expected, "{tag}");
        }
    }
}
