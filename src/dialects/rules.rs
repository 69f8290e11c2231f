//! Rules that several dialects share (`inputs.md`, 2.10 and 7): actions, resources, decisions.

use std::collections::HashMap;

use super::draft::{Draft, string};
use crate::event::{Class, Entry, FieldId as F, Severity, each_entry, is_blank_text, unescape};

/// The members of a record that a dialect knows, by the order of its table; the last of several
/// with one key wins, as in JavaScript and Go.
pub(super) struct Known<'a, const N: usize> {
    values: [Option<&'a [u8]>; N],
}

impl<'a, const N: usize> Known<'a, N> {
    /// Finds the members with these names; the others go to `other`.
    pub(super) fn read(
        members: &[Entry<'a>],
        names: &[&str; N],
        draft: &mut Draft<'a>,
        mut other: impl FnMut(&mut Draft<'a>, &Entry<'a>),
    ) -> Self {
        let mut values = [None; N];
        // Producers write their members in the order of the table.
        let mut next = 0;
        for member in members {
            let is_it = |name: &&str| member.is(name.as_bytes());
            let at = match names.get(next).is_some_and(is_it) {
                true => Some(next),
                false => names.iter().position(is_it),
            };
            match at {
                Some(at) => {
                    next = at + 1;
                    if values[at].replace(member.value).is_some() {
                        draft.flag(Class::DuplicateKey);
                    }
                }
                None => other(draft, member),
            }
        }
        Self { values }
    }

    /// A member as JSON text, null included.
    pub(super) fn get(&self, at: usize) -> Option<&'a [u8]> {
        self.values[at]
    }

    /// The text of a member that is a string, without its quotes.
    pub(super) fn text(&self, at: usize) -> Option<&'a [u8]> {
        self.values[at].and_then(string)
    }

    /// A string without which there is no event.
    pub(super) fn required(&self, at: usize) -> Result<&'a [u8], Class> {
        let value = self.values[at].ok_or(Class::MissingField)?;
        string(value).map(|_| value).ok_or(Class::WrongType)
    }
}

/// The member of an object with this name; the last one wins.
pub(super) fn find<'a>(members: &[Entry<'a>], name: &str) -> Option<&'a [u8]> {
    members.iter().rev().find(|member| member.is(name.as_bytes())).map(|member| member.value)
}

/// The members of an object with these names, the last ones of each; none of anything else.
pub(super) fn members_named<'a, const N: usize>(
    object: &'a [u8],
    names: [&str; N],
) -> [Option<&'a [u8]>; N] {
    let mut found = [None; N];
    each_entry(object, |entry| {
        if let Some(at) = names.iter().position(|name| entry.is(name.as_bytes())) {
            found[at] = Some(entry.value);
        }
    });
    found
}

/// The members of an object; of several with one key the last.
pub(super) fn last_of_each<'m, 'a>(
    members: &'m [Entry<'a>],
) -> impl Iterator<Item = &'m Entry<'a>> {
    let mut last: HashMap<&[u8], usize> = HashMap::new();
    if members.len() > MEMBERS_FEW {
        last.extend(members.iter().enumerate().map(|(at, member)| (member.key, at)));
    }
    let is_last = move |at: usize, member: &Entry<'_>| match last.is_empty() {
        true => !members[at + 1..].iter().any(|later| later.key == member.key),
        false => last.get(member.key) == Some(&at),
    };
    members.iter().enumerate().filter(move |(at, it)| is_last(*at, it)).map(|(_, it)| it)
}

/// Members up to which looking at each pair is cheapest.
const MEMBERS_FEW: usize = 32;

/// What was guarded, in Clawdstrike's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Egress,
    File,
    Patch,
    Shell,
    Tool,
    Other,
}

impl Action {
    pub(super) fn of(word: &[u8]) -> Self {
        match word {
            b"egress" => Self::Egress,
            b"file_access" | b"file_write" => Self::File,
            b"patch" => Self::Patch,
            b"shell" => Self::Shell,
            b"mcp_tool" => Self::Tool,
            _ => Self::Other,
        }
    }
}

/// The type of an event that was denied (`inputs.md` 2.10, rule 3).
pub(super) fn denied_type(guard: &[u8], action: Action) -> &'static str {
    match (guard, action) {
        (b"secret_leak", _) => "secret_detected",
        (_, Action::Egress) => "egress_blocked",
        (b"forbidden_path", _) => "forbidden_path",
        (_, Action::Patch) | (b"patch_integrity", _) => "patch_rejected",
        _ => "guard_block",
    }
}

/// The type of an event by decision, severity, guard and action (`inputs.md` 2.10, rules 2 and 3).
pub(super) fn decided_type(
    allowed: bool,
    severity: &[u8],
    guard: &[u8],
    action: Action,
) -> &'static str {
    let is_warning =
        severity.eq_ignore_ascii_case(b"warning") || severity.eq_ignore_ascii_case(b"warn");
    match (allowed, is_warning) {
        (true, true) => "guard_warn",
        (true, false) => "policy_allow",
        (false, _) => denied_type(guard, action),
    }
}

/// Sets the severity: that of the source where it is one of ours, else the rule (a denial must not
/// fall to `info`).
pub(super) fn severity(
    draft: &mut Draft<'_>,
    value: Option<&[u8]>,
    allowed: bool,
) -> Option<Severity> {
    let known = value.and_then(string).and_then(Severity::parse);
    match known {
        Some(severity) => draft.word(F::Severity, severity.word()),
        None => draft.default(F::Severity, if allowed { "info" } else { "high" }),
    }
    if known.is_none() && value.is_some_and(|json| json != b"null") {
        draft.flag(Class::UnknownEnum);
    }
    known
}

/// The same; the source's own word is kept where it is not the one that the severity leads back to.
pub(super) fn severity_kept(
    draft: &mut Draft<'_>,
    value: Option<&[u8]>,
    allowed: bool,
    usual: fn(Severity) -> &'static [u8],
) {
    let known = severity(draft, value, allowed);
    let Some(json) = value else { return };
    if known.map(usual) != string(json) {
        draft.keep("severity", json);
    }
}

/// The capitalised words of hushd (`inputs.md` 2.1).
pub(super) fn capitalised(severity: Severity) -> &'static [u8] {
    match severity {
        Severity::Info => b"Info",
        Severity::Low => b"Low",
        Severity::Medium => b"Warning",
        Severity::High => b"Error",
        Severity::Critical => b"Critical",
    }
}

/// The same words in lower case, as the second ledger has them.
pub(super) fn lower(severity: Severity) -> &'static [u8] {
    match severity {
        Severity::Info => b"info",
        Severity::Low => b"low",
        Severity::Medium => b"warning",
        Severity::High => b"error",
        Severity::Critical => b"critical",
    }
}

/// Sets resource, indicator and category from an action and its target (`inputs.md` 2.10, rules 6
/// and 7). `key` is the target's own, where it has to be kept.
pub(super) fn resource<'a>(
    draft: &mut Draft<'a>,
    action: Action,
    action_json: &'a [u8],
    key: &str,
    target: Option<&'a [u8]>,
) {
    let text = target.and_then(string);
    let json = if text.is_some() { target } else { None };
    if let Some(other) = target
        && (text.is_none() || is_blank_text(other))
    {
        draft.keep(key, other);
        if text.is_none() && other != b"null" {
            draft.flag(Class::OutOfRange);
        }
    }
    let json = json.unwrap_or(b"\"\"");
    let is_there = !is_blank_text(json);
    match action {
        Action::Egress => return network(draft, key, json),
        Action::File => {
            draft.word(F::ResourceType, "file");
            if is_there {
                draft.json(F::ResourcePath, json);
                draft.word(F::IndicatorType, "file_path");
                draft.json(F::IndicatorValue, json);
            }
        }
        Action::Patch => {
            draft.word(F::ResourceType, "file");
            if is_there {
                draft.json(F::ResourcePath, json);
            }
        }
        Action::Shell => draft.word(F::ResourceType, "process"),
        Action::Tool => draft.word(F::ResourceType, "tool"),
        Action::Other => {
            draft.word(F::ResourceType, "configuration");
            draft.json(F::ResourceName, action_json);
            draft.word(F::EventCategory, "configuration");
            if is_there {
                draft.json(F::ResourcePath, json);
            }
            return;
        }
    }
    draft.json(F::ResourceName, json);
    let category = match action {
        Action::Shell => "process",
        Action::Tool => "tool",
        _ => "file",
    };
    draft.word(F::EventCategory, category);
}

/// A network destination from a target: host, `host:port`, IPv6 with brackets or bare, or a URL.
fn network<'a>(draft: &mut Draft<'a>, key: &str, json: &'a [u8]) {
    draft.word(F::ResourceType, "network");
    draft.word(F::EventCategory, "network");
    let text = string(json).unwrap_or_default();
    let plain;
    let text = if memchr::memchr(b'\\', text).is_some() {
        plain = unescape(text);
        &plain
    } else {
        text
    };
    let destination = Destination::parse(text);
    draft.text(F::ResourceName, destination.host);
    if destination.host.trim_ascii().is_empty() {
        if !text.trim_ascii().is_empty() {
            draft.keep(key, json);
        }
        return;
    }
    draft.same(F::ResourceHost, F::ResourceName);
    draft.word(F::IndicatorType, "domain");
    draft.same(F::IndicatorValue, F::ResourceName);
    let port = destination.port.to_string();
    draft.own(F::ResourcePort, |out| out.extend_from_slice(port.as_bytes()));
    if !destination.leads_back(text, &port) {
        draft.keep(key, json);
    }
}

/// Host and port of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Destination<'t> {
    pub(super) host: &'t [u8],
    pub(super) port: u16,
}

impl<'t> Destination<'t> {
    /// Reads a target; a port that is none is 443.
    pub(super) fn parse(target: &'t [u8]) -> Self {
        let Some(at) = memchr::memmem::find(target, b"://") else {
            return Self::host_port(target, 443);
        };
        let (scheme, rest) = (&target[..at], &target[at + 3..]);
        let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
        let authority = &rest[..end];
        let start = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
        let is_plain = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"ws");
        Self::host_port(&authority[start..], if is_plain { 80 } else { 443 })
    }

    fn host_port(text: &'t [u8], default: u16) -> Self {
        if let Some(inside) = text.strip_prefix(b"[")
            && let Some(end) = memchr::memchr(b']', inside)
        {
            let port = inside[end + 1..].strip_prefix(b":").and_then(number);
            return Self { host: &inside[..end], port: port.unwrap_or(default) };
        }
        let mut colons = memchr::memchr_iter(b':', text);
        match (colons.next(), colons.next()) {
            // Two or more without brackets: a bare IPv6 address.
            (Some(_), Some(_)) | (None, _) => Self { host: text, port: default },
            (Some(at), None) => {
                let digits = &text[at + 1..];
                match digits.iter().all(u8::is_ascii_digit) && !digits.is_empty() {
                    true => Self { host: &text[..at], port: number(digits).unwrap_or(default) },
                    false => Self { host: text, port: default },
                }
            }
        }
    }

    /// Whether `host:port` is the target; `port` is spelled as it stays.
    fn leads_back(self, target: &[u8], port: &str) -> bool {
        let is_v6 = memchr::memchr(b':', self.host).is_some();
        let (begin, middle) = if is_v6 { (&b"["[..], &b"]:"[..]) } else { (&b""[..], &b":"[..]) };
        let host = target.strip_prefix(begin).and_then(|rest| rest.strip_prefix(self.host));
        // Port 0 does not stay.
        self.port != 0 && host.and_then(|it| it.strip_prefix(middle)) == Some(port.as_bytes())
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split_as_people_mean_them() {
        for (target, host, port, leads_back) in [
            ("exfil.example:8443", "exfil.example", 8443, true),
            ("registry.example", "registry.example", 443, false),
            ("registry.example.:443", "registry.example.", 443, true),
            ("[2001:db8::17]:8080", "2001:db8::17", 8080, true),
            ("[2001:db8::17]", "2001:db8::17", 443, false),
            ("2001:db8::99", "2001:db8::99", 443, false),
            ("a.example:0", "a.example", 0, false),
            ("a.example:65536", "a.example", 443, false),
            ("a.example:", "a.example:", 443, false),
            ("https://u:p@evil.example:99/x?y#z", "evil.example", 99, false),
            ("http://10.0.0.5/metrics", "10.0.0.5", 80, false),
            ("https://[2001:db8::1]/", "2001:db8::1", 443, false),
            ("", "", 443, false),
        ] {
            let found = Destination::parse(target.as_bytes());
            assert_eq!(found, Destination { host: host.as_bytes(), port }, "{target}");
            let back = found.leads_back(target.as_bytes(), &port.to_string());
            assert_eq!(back, leads_back, "{target}");
        }
    }
}
