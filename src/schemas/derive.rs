//! What schemas derive from an event: parts of paths, kinds of hosts, labels, matches.
//!
//! Texts are JSON text without quotes, still escaped; they are cut only between characters.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::event::{Event, EventType, FieldId as F, Value};
use crate::transform::{Choices, Encoder, json};

/// The text of the first field that has one.
pub(super) fn first<'a>(event: &Event<'a>, fields: &[F]) -> &'a [u8] {
    fields.iter().map(|&field| event.text(field)).find(|text| !text.is_empty()).unwrap_or_default()
}

/// Whether the threat indicator is written: producers attach one to every egress and file event,
/// so only those of denied, warned and matched events mean something.
pub(super) fn shows_indicator(event: &Event<'_>, choices: Choices) -> bool {
    let opened = event.opened;
    !opened.allowed
        || opened.intel
        || opened.event_type == EventType::GuardWarn
        || choices.indicators_all
}

/// Who makes the products whose events these are, as JSON text.
pub(super) const VENDOR: &str = r#""Clawdstrike""#;

/// What happened, in words for people.
pub(super) const TITLES: &[&str] = &[
    r#""Policy violation""#,
    r#""Action permitted""#,
    r#""Action blocked""#,
    r#""Guard warning""#,
    r#""Secret detected""#,
    r#""Egress blocked""#,
    r#""Forbidden path""#,
    r#""Patch rejected""#,
    r#""Session started""#,
    r#""Session ended""#,
    r#""Events skipped by retention""#,
    r#""Security event""#,
];

/// Picks the title of an event's type.
pub(super) fn title(event: &Event<'_>, _: Choices) -> usize {
    match event.opened.event_type {
        EventType::PolicyViolation => 0,
        EventType::PolicyAllow => 1,
        EventType::GuardBlock => 2,
        EventType::GuardWarn => 3,
        EventType::SecretDetected => 4,
        EventType::EgressBlocked => 5,
        EventType::ForbiddenPath => 6,
        EventType::PatchRejected => 7,
        EventType::SessionStart => 8,
        EventType::SessionEnd => 9,
        EventType::ExportGap => 10,
        EventType::Other => 11,
    }
}

/// How many values the privacy proxy replaced before it let the action through; `None` for none.
pub(super) fn sanitized<'a>(event: &Event<'a>) -> Option<&'a [u8]> {
    let metadata = event.value(F::Metadata).filter(|_| event.opened.may_velar)?;
    let count = json::member(json::member(metadata.json, b"velar")?, b"sanitized_count")?;
    (count.iter().all(u8::is_ascii_digit) && count != b"0").then_some(count)
}

/// Whether this is the id of an ATT&CK tactic: `TA` and four digits.
pub(super) fn is_tactic(text: &[u8]) -> bool {
    text.len() == 6 && text.starts_with(b"TA") && are_digits::<4>(&text[2..])
}

/// The id of an ATT&CK technique, `T` and four digits, and whether a subtechnique follows it, a dot
/// and three digits.
pub(super) fn technique(text: &[u8]) -> Option<(&[u8], bool)> {
    let (id, rest) = text.split_at_checked(5)?;
    let subtechnique = match rest {
        [] => false,
        [b'.', digits @ ..] if are_digits::<3>(digits) => true,
        _ => return None,
    };
    (id[0] == b'T' && are_digits::<4>(&id[1..])).then_some((id, subtechnique))
}

/// Whether a text is so many digits, looked at together.
fn are_digits<const COUNT: usize>(text: &[u8]) -> bool {
    <&[u8; COUNT]>::try_from(text)
        .is_ok_and(|digits| digits.iter().fold(true, |all, byte| all & byte.is_ascii_digit()))
}

/// A path, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path<'a> {
    /// The directory; empty when there is none.
    pub(super) directory: &'a [u8],
    /// The base name.
    pub(super) name: &'a [u8],
}

impl<'a> Path<'a> {
    /// The path of the event's resource.
    pub(super) fn of(event: &Event<'a>) -> Self {
        let escapes = PATHS.iter().any(|field| event.opened.escaped & field.bit() != 0);
        match escapes {
            true => Self::split(path(event)),
            false => Self::split_plain(path(event)),
        }
    }

    /// Splits at the last separator.
    ///
    /// A backslash separates where the path begins with a drive or a share, or has no slash.
    fn split(text: &'a [u8]) -> Self {
        if memchr::memchr(b'\\', text).is_none() {
            return Self::split_plain(text);
        }
        match last_separator(text) {
            Some((start, end)) => Self::cut(text, start, end),
            None => Self { directory: b"", name: text },
        }
    }

    /// The same of a text without a backslash.
    fn split_plain(text: &'a [u8]) -> Self {
        match memchr::memrchr(b'/', text) {
            Some(slash) => Self::cut(text, slash, slash + 1),
            None => Self { directory: b"", name: text },
        }
    }

    /// Cuts at a separator.
    fn cut(text: &'a [u8], start: usize, end: usize) -> Self {
        let root = start == 0 || text[..start].ends_with(b":");
        Self { directory: &text[..if root { end } else { start }], name: &text[end..] }
    }

    /// What follows the last dot of the name; empty when there is none, and for dot files.
    pub(super) fn extension(&self) -> &'a [u8] {
        match memchr::memrchr(b'.', self.name) {
            None | Some(0) => b"",
            Some(dot) => &self.name[dot + 1..],
        }
    }
}

/// Start and end of the last separator in escaped text.
fn last_separator(text: &[u8]) -> Option<(usize, usize)> {
    let windows = matches!(text, [drive, b':', ..] if drive.is_ascii_alphabetic())
        || text.starts_with(br"\\\\");
    let (mut slash, mut backslash) = (None, None);
    let mut at = 0;
    while let Some((char, len)) = json::character(&text[at..]) {
        match char {
            '/' => slash = Some((at, at + len)),
            '\\' => backslash = Some((at, at + len)),
            _ => {}
        }
        at += len;
    }
    if windows { slash.max(backslash) } else { slash.or(backslash) }
}

/// The value of the threat indicator where it is written.
pub(super) fn indicator<'a>(event: &Event<'a>, choices: Choices) -> &'a [u8] {
    if shows_indicator(event, choices) { event.text(F::IndicatorValue) } else { b"" }
}

/// The resource's path, else its name.
pub(super) fn path<'a>(event: &Event<'a>) -> &'a [u8] {
    first(event, PATHS)
}

/// Where a path stands.
const PATHS: &[F] = &[F::ResourcePath, F::ResourceName];

/// The base name of the command line's first word.
pub(super) fn command_name<'a>(event: &Event<'a>) -> &'a [u8] {
    Path::split(first_word(command(event))).name
}

/// The command line that the source recorded, else the path or name.
pub(super) fn command<'a>(event: &Event<'a>) -> &'a [u8] {
    first(event, &[F::CommandLine, F::ResourcePath, F::ResourceName])
}

/// The first word, which may stand in quotes.
fn first_word(text: &[u8]) -> &[u8] {
    let (text, quote) = match json::character(text) {
        Some((quote @ ('"' | '\''), len)) => (&text[len..], Some(quote)),
        _ => (text, None),
    };
    let mut at = 0;
    while let Some((char, len)) = json::character(&text[at..]) {
        let ends = quote.map_or(char.is_whitespace(), |quote| char == quote);
        if ends {
            return &text[..at];
        }
        at += len;
    }
    text
}

/// The destination as it was given.
pub(super) fn host<'a>(event: &Event<'a>) -> &'a [u8] {
    first(event, &[F::ResourceHost, F::ResourceName])
}

/// The destination's port; port 0 says that there is none.
pub(super) fn port(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let port = event.text(F::ResourcePort);
    if matches!(port, b"" | b"0") {
        return false;
    }
    encoder.raw(port);
    true
}

/// The destination when it is a name.
pub(super) fn domain<'a>(event: &Event<'a>) -> &'a [u8] {
    let host = host(event);
    if address(host).is_none() { host } else { b"" }
}

/// The destination when it is an address, without brackets.
pub(super) fn ip<'a>(event: &Event<'a>) -> &'a [u8] {
    address(host(event)).map_or(b"", |(_, text)| text)
}

/// The address that a host is, and its text without brackets.
///
/// A test of characters would call `face.cafe` an address; only the parser decides. An IPv4
/// address begins and ends with a digit, which few names do, and an IPv6 address has a colon.
pub(super) fn address(host: &[u8]) -> Option<(IpAddr, &[u8])> {
    let (first, last) = (host.first()?, host.last()?);
    let is_v4 = first.is_ascii_digit() && last.is_ascii_digit();
    if !is_v4 && memchr::memchr(b':', host).is_none() {
        return None;
    }
    let text = match host {
        [b'[', inside @ .., b']'] => inside,
        text => text,
    };
    let address = match memchr::memchr(b':', text) {
        Some(_) => IpAddr::V6(std::str::from_utf8(text).ok()?.parse::<Ipv6Addr>().ok()?),
        None => IpAddr::V4(dotted(text)?),
    };
    Some((address, text))
}

/// Four numbers up to 255 with dots between them, none with a zero before it (RFC 6943, section
/// 3.1.1, the strict form): what the standard library reads, in a fifth of its steps.
fn dotted(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let (mut at, mut digits) = (0, 0);
    for &byte in text {
        match byte {
            b'0'..=b'9' if digits == 0 || octets[at] != 0 => {
                octets[at] = octets[at].checked_mul(10)?.checked_add(byte - b'0')?;
                digits += 1;
            }
            b'.' if digits > 0 && at < 3 => (at, digits) = (at + 1, 0),
            _ => return None,
        }
    }
    (at == 3 && digits > 0).then(|| octets.into())
}

/// The trace's id: the source's own, else that of the W3C `traceparent`.
pub(super) fn trace_id<'a>(event: &Event<'a>) -> &'a [u8] {
    match event.text(F::TraceId) {
        b"" => traceparent(event).map_or(b"", |(trace, _)| trace),
        own => own,
    }
}

/// The span's id: the source's own, else that of the W3C `traceparent`.
pub(super) fn span_id<'a>(event: &Event<'a>) -> &'a [u8] {
    match event.text(F::SpanId) {
        b"" => traceparent(event).map_or(b"", |(_, span)| span),
        own => own,
    }
}

/// W3C Trace Context, section 3.2: version, trace id and parent id in lower-case hex, joined by
/// hyphens. Ids of zeros are invalid.
fn traceparent<'a>(event: &Event<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let text = event.text(F::Traceparent);
    let joined = text.len() >= 55 && [2, 35, 52].iter().all(|&at| text[at] == b'-');
    if !joined {
        return None;
    }
    let (trace, span) = (&text[3..35], &text[36..52]);
    let hex = |id: &[u8]| id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let valid = |id: &[u8]| hex(id) && id.iter().any(|&byte| byte != b'0');
    (valid(trace) && valid(span)).then_some((trace, span))
}

/// The labels as members; dots in their names become `_`, as ECS labels are flat.
///
/// Two names that become one would make a key twice, which Elasticsearch refuses: the one without
/// dots stays, else the first. Empty names and empty texts are left out.
pub(super) fn labels(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let Some(labels) = event.value(F::Labels) else { return false };
    if event.opened.plain_labels && !encoder.is_limited() {
        encoder.members(labels);
        return true;
    }
    let labels = &Value { json: &encoder.named(labels), ..labels };
    let mut written = false;
    let is_many = json::members(labels.json).nth(LABELS_FEW).is_some();
    let stay = is_many.then(|| staying(labels.json));
    for (at, (name, json)) in json::members(labels.json).enumerate() {
        let yields = || match &stay {
            Some(stay) => stay.get(&flat(name)) != Some(&at),
            None => yields(labels.json, at, name),
        };
        if name.is_empty() || json == b"\"\"" || is_dotted(name) && yields() {
            continue;
        }
        written |= label(encoder, name, Value { json, escaped: labels.escaped });
    }
    written
}

/// Whether the label with dots in its name is left out for another one.
fn yields(labels: &[u8], at: usize, name: &[u8]) -> bool {
    let wins = |(place, (other, json)): (usize, (&[u8], &[u8]))| {
        place != at && json != b"\"\"" && same(other, name) && (place < at || !is_dotted(other))
    };
    json::members(labels).enumerate().any(wins)
}

/// The place of the label that stays, by the name that its name and others become: to look through
/// thousands for each of them would take minutes.
fn staying(labels: &[u8]) -> HashMap<Vec<u8>, usize> {
    let mut staying = HashMap::new();
    let said = |(_, (_, json)): &(usize, (&[u8], &[u8]))| *json != b"\"\"";
    for (at, (name, _)) in json::members(labels).enumerate().filter(said) {
        if is_dotted(name) {
            staying.entry(flat(name)).or_insert(at);
        } else {
            staying.insert(name.to_vec(), at);
        }
    }
    staying
}

fn is_dotted(name: &[u8]) -> bool {
    memchr::memchr(b'.', name).is_some()
}

/// A name with its dots as `_`.
fn flat(name: &[u8]) -> Vec<u8> {
    name.iter().map(|&byte| if byte == b'.' { b'_' } else { byte }).collect()
}

fn label(encoder: &mut Encoder<'_>, name: &[u8], value: Value<'_>) -> bool {
    if !encoder.key_with(name, |byte| if byte == b'.' { b'_' } else { byte }) {
        return false;
    }
    encoder.value(value);
    encoder.between();
    true
}

/// Labels that are looked through for each that has a dot: most events have fewer, and looking
/// takes no memory.
const LABELS_FEW: usize = 32;

/// Whether two names are the same once dots are `_`.
fn same(a: &[u8], b: &[u8]) -> bool {
    let flat = |byte: &u8| if *byte == b'.' { b'_' } else { *byte };
    a.len() == b.len() && a.iter().map(flat).eq(b.iter().map(flat))
}

/// The labels as an array of `name:value`.
pub(super) fn tags(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let labels = event.value(F::Labels).map_or(&b"{}"[..], |labels| labels.json);
    if event.opened.plain_labels && encoder.copies() {
        return plain_tags(encoder, json::inside(labels, b'{', b'}'));
    }
    let mut written = false;
    for (name, json) in json::members(labels) {
        let Some(text) = json::string(json).filter(|text| !text.is_empty() && !name.is_empty())
        else {
            continue;
        };
        encoder.literal(if written { b",\"" } else { b"[\"" });
        encoder.characters(name);
        encoder.literal(b":");
        encoder.characters(text);
        encoder.literal(b"\"");
        written = true;
    }
    if written {
        encoder.literal(b"]");
    }
    written
}

/// The same of plain labels, from between their braces: all but the quotes at each colon.
fn plain_tags(encoder: &mut Encoder<'_>, labels: &[u8]) -> bool {
    let mut rest = labels;
    encoder.literal(b"[");
    while let Some((name, after)) = through_quote(rest, 1) {
        // `"name":"text"`, a comma, and the next.
        encoder.raw(&name[..name.len() - 1]);
        encoder.literal(b":");
        let Some((text, after)) = after.get(2..).and_then(|text| through_quote(text, 0)) else {
            break;
        };
        encoder.raw(text);
        rest = after.strip_prefix(b",").unwrap_or_default();
        if !rest.is_empty() {
            encoder.literal(b",");
        }
    }
    encoder.literal(b"]");
    true
}

/// Text up to the first quotation mark from `at` on, itself included, and what follows.
fn through_quote(text: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    let end = at + memchr::memchr(b'"', text.get(at..)?)? + 1;
    Some(text.split_at(end))
}

/// What threat intelligence matched (`threat-intel.md`, enrichment), as ECS nests it.
pub(super) fn enrichments(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let mut written = false;
    for found in matches(event) {
        let text = |key: &[u8]| json::member(found, key).and_then(json::string).unwrap_or_default();
        let value = text(b"value");
        if value.is_empty() {
            continue;
        }
        encoder.literal(if written { b"," } else { b"[" });
        written = true;
        encoder.literal(b"{\"indicator\":{\"name\":");
        encoder.text(value);
        if let Some(kind) = stix(text(b"type"), value) {
            encoder.literal(b",\"type\":");
            encoder.quoted(kind);
        }
        if let Some(confidence) = json::member(found, b"confidence").and_then(confidence) {
            encoder.literal(b",\"confidence\":");
            encoder.quoted(confidence);
        }
        if !text(b"source").is_empty() {
            encoder.literal(b",\"provider\":");
            encoder.text(text(b"source"));
        }
        encoder.literal(b"},\"matched\":{\"atomic\":");
        encoder.text(value);
        if let Some(field) = matched_field(event, text(b"field"), value) {
            encoder.literal(b",\"field\":");
            encoder.quoted(field);
        }
        encoder.literal(b",\"type\":\"indicator_match_rule\"}}");
    }
    if written {
        encoder.literal(b"]");
    }
    written
}

/// What threat intelligence matched, each match as JSON.
#[must_use]
pub fn matches<'a>(event: &Event<'a>) -> json::Elements<'a> {
    json::elements(intelligence(event, b"matches").unwrap_or_default())
}

/// A member of what threat intelligence says of an event, as JSON.
#[must_use]
pub fn intelligence<'a>(event: &Event<'a>, member: &[u8]) -> Option<&'a [u8]> {
    event
        .value(F::Shrike)
        .filter(|_| event.opened.intel)
        .and_then(|shrike| json::member(shrike.json, b"threat_intel"))
        .and_then(|intel| json::member(intel, member))
}

/// The kind of an indicator in the words of STIX.
fn stix(kind: &[u8], value: &[u8]) -> Option<&'static [u8]> {
    Some(match kind {
        b"domain" => b"domain-name",
        b"ip" | b"cidr" if memchr::memchr(b':', value).is_some() => b"ipv6-addr",
        b"ip" | b"cidr" => b"ipv4-addr",
        b"url" => b"url",
        b"file_hash" | b"file_name" | b"file_path" | b"path" => b"file",
        _ => return None,
    })
}

/// ECS takes words; STIX 2.1, appendix A, divides 0 to 100 into them.
fn confidence(json: &[u8]) -> Option<&'static [u8]> {
    let number: f64 = std::str::from_utf8(json).ok()?.parse().ok()?;
    Some(match number {
        _ if number < 1.0 => b"None",
        _ if number < 30.0 => b"Low",
        _ if number < 70.0 => b"Medium",
        _ => b"High",
    })
}

/// The field of our document that holds the matched value.
fn matched_field(event: &Event<'_>, field: &[u8], value: &[u8]) -> Option<&'static [u8]> {
    match field {
        b"resource.host" => return Some(b"destination.address"),
        b"resource.path" => return Some(b"file.path"),
        b"threat.indicator.value" => return Some(b"threat.indicator.name"),
        _ => {}
    }
    if event.text(F::ResourceHost) == value {
        return Some(b"destination.address");
    }
    if event.text(F::ResourcePath) == value {
        return Some(b"file.path");
    }
    (event.text(F::IndicatorValue) == value).then_some(b"threat.indicator.name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Frame, Opened, Opening, OpeningOptions};
    use crate::schemas::ECS;
    use crate::transform::{Overrides, Plan};

    #[test]
    fn paths_split_at_their_last_separator() {
        let cases = [
            ("/home/dev/.ssh/id_ed25519", "/home/dev/.ssh", "id_ed25519", ""),
            ("/srv/app/main.rs", "/srv/app", "main.rs", "rs"),
            ("/etc", "/", "etc", ""),
            ("a", "", "a", ""),
            ("/srv/app/.env", "/srv/app", ".env", ""),
            ("/tmp/", "/tmp", "", ""),
            (r"C:\\Users\\dev\\a.txt", r"C:\\Users\\dev", "a.txt", "txt"),
            (r"C:\\a.txt", r"C:\\", "a.txt", "txt"),
            (r"C:/x\\y.tar.gz", "C:/x", "y.tar.gz", "gz"),
            (r"\\\\host\\share\\f", r"\\\\host\\share", "f", ""),
            (r"\/a\/b", r"\/a", "b", ""),
            (r"/unix/odd\\name", "/unix", r"odd\\name", ""),
            (r"/a\u0022b/c", r"/a\u0022b", "c", ""),
        ];
        for (text, directory, name, extension) in cases {
            let path = Path::split(text.as_bytes());
            let expected = Path { directory: directory.as_bytes(), name: name.as_bytes() };
            assert_eq!(path, expected, "{text}");
            assert_eq!(path.extension(), extension.as_bytes(), "{text}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_standard_library() {
        let parts = ["", "0", "1", "00", "01", "9", "10", "99", "255", "256", "300", "1000", "a"];
        for first in parts {
            for second in parts {
                for text in [
                    format!("{first}.{second}.0.1"),
                    format!("1.{first}.2.{second}"),
                    format!("{first}.{second}"),
                    format!("1.2.{first}.3.{second}"),
                    format!("1.2.{first}"),
                ] {
                    assert_eq!(dotted(text.as_bytes()), text.parse().ok(), "{text}");
                }
            }
        }
    }

    #[test]
    fn only_real_addresses_are_addresses() {
        for (host, expected) in [
            ("192.0.2.7", Some("192.0.2.7")),
            ("2001:db8::17", Some("2001:db8::17")),
            ("[::1]", Some("::1")),
            ("face.cafe", None),
            ("256.1.1.1", None),
            ("1.2.3", None),
            ("host:8080", None),
            ("api2.example.v4", None),
            ("", None),
        ] {
            let found = address(host.as_bytes()).map(|(_, text)| text);
            assert_eq!(found, expected.map(str::as_bytes), "{host}");
        }
    }

    #[test]
    fn plain_labels_are_written_as_any_others() {
        let opening = Opening::new(&OpeningOptions::default());
        let plan = Plan::compile(&[&ECS], &Overrides::default()).expect("ECS compiles");
        for (labels, is_plain) in [
            (r#"{"team":"security"}"#, true),
            (r#"{"team":"security","a":"b","long-name-of-a-label":"its text: été"}"#, true),
            (r#"{":":":",",":",","a":":"}"#, true),
            (r#"{"team":""}"#, false),
            (r#"{"":"x"}"#, false),
            (r#"{"a.b":"c"}"#, false),
            (r#"{"a":"c.d"}"#, false),
            (r#"{"a": "c"}"#, false),
            (r#"{"a":"c" }"#, false),
            (r#"{"a":"x\"y"}"#, false),
            (r#"{"a\n":"y"}"#, false),
            (r#"{"a":1,"b":"c"}"#, false),
            (r#"{"a":"b","a":"c"}"#, false),
            ("{}", false),
        ] {
            let record = LEAST.replace(r#""labels":{}"#, &format!(r#""labels":{labels}"#));
            let (mut arena, mut opened, frame) = (Vec::new(), Opened::default(), Frame::default());
            opening.begin(&mut arena);
            opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("an event");
            assert_eq!(opened.plain_labels, is_plain, "{labels}");
            let encode = |opened: &Opened| {
                let mut out = Vec::new();
                plan.encode(&Event::new(opened, frame, record.as_bytes(), &arena), &mut out);
                String::from_utf8(out).expect("text")
            };
            let any = encode(&Opened { plain_labels: false, ..opened.clone() });
            assert_eq!(encode(&opened), any, "{labels}");
        }
    }

    #[test]
    fn labels_that_become_one_are_settled_alike_however_many_there_are() {
        let opening = Opening::new(&OpeningOptions::default());
        let plan = Plan::compile(&[&ECS], &Overrides::default()).expect("ECS compiles");
        let own =
            r#""a.b":"1","a_c":"2","a_b":"","a.c":"3","x..y":"4","x._y":"5","z.":"","z.":"6""#;
        let written = |others: usize| {
            let others: String = (0..others).map(|n| format!(r#","n{n}":"x""#)).collect();
            let labels = format!(r#""labels":{{{own}{others}}}"#);
            let record = LEAST.replace(r#""labels":{}"#, &labels);
            let (mut arena, mut opened, frame) = (Vec::new(), Opened::default(), Frame::default());
            opening.begin(&mut arena);
            opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("an event");
            let mut out = Vec::new();
            plan.encode(&Event::new(&opened, frame, record.as_bytes(), &arena), &mut out);
            let document = String::from_utf8(out).expect("text");
            let (_, labels) = document.split_once(r#""labels":{"#).expect("it has labels");
            let (labels, _) = labels.split_once('}').expect("an object ends");
            labels.replace(&others, "")
        };
        let few = written(0);
        assert_eq!(few, r#""a_b":"1","a_c":"2","x__y":"4","z_":"6""#);
        assert_eq!(written(LABELS_FEW), few);
    }

    #[test]
    fn what_the_proxy_replaced_is_found_however_its_key_is_spelled() {
        let opening = Opening::new(&OpeningOptions::default());
        for (metadata, expected) in [
            (r#"{"velar":{"sanitized_count":2}}"#, Some(&b"2"[..])),
            (r#"{"a":{"velar":1},"vel\u0061r":{"sanitized_count":3}}"#, Some(b"3")),
            (r#"{"velar":{"sanitized_count":0}}"#, None),
            (r#"{"other":{"velar":{"sanitized_count":2}}}"#, None),
            ("{}", None),
        ] {
            let record = LEAST.replace(r#""metadata":{}"#, &format!(r#""metadata":{metadata}"#));
            let (mut arena, mut opened, frame) = (Vec::new(), Opened::default(), Frame::default());
            opening.begin(&mut arena);
            opening.open(&frame, record.as_bytes(), &mut arena, &mut opened).expect("an event");
            let event = Event::new(&opened, frame, record.as_bytes(), &arena);
            assert_eq!(sanitized(&event), expected, "{metadata}");
        }
    }

    /// What every event has, and labels.
    const LEAST: &str = r#"{"schema_version":"1.0.0","event_id":"019c322d-fa80-7f99-8d84-b44109f58c77","event_type":"guard_block","event_category":"network","timestamp":"2026-02-06T09:00:00Z","agent":{"id":"a","name":"hushd","version":"0.1.0","type":"clawdstrike"},"session":{"id":"s"},"outcome":"failure","action":"egress","decision":{"allowed":false,"guard":"egress_allowlist","severity":"high","reason":""},"resource":{"type":"network","name":"h"},"metadata":{},"labels":{}}"#;

    #[test]
    fn first_words_may_be_quoted() {
        for (command, expected) in [
            ("bash -lc 'x y'", "bash"),
            (r#"\"C:\\Program Files\\a.exe\" /x"#, r"C:\\Program Files\\a.exe"),
            ("'a b' c", "a b"),
            (r"ls\t-l", "ls"),
            ("", ""),
        ] {
            assert_eq!(first_word(command.as_bytes()), expected.as_bytes(), "{command}");
        }
    }

    #[test]
    fn attack_ids_are_told_from_names() {
        assert!(is_tactic(b"TA0010"));
        assert!(!is_tactic(b"TA010") && !is_tactic(b"Exfiltration") && !is_tactic(b""));
        assert_eq!(technique(b"T1041"), Some((&b"T1041"[..], false)));
        assert_eq!(technique(b"T1552.004"), Some((&b"T1552"[..], true)));
        for name in ["T155", "T1552.4", "T1552x", "Phishing", "", "AML.T0051"] {
            assert_eq!(technique(name.as_bytes()), None, "{name}");
        }
    }
}
