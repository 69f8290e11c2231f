//! Objects and arrays of OCSF that are made from several fields.

use super::super::derive::{self, Path};
use super::Class;
use crate::event::{Event, FieldId as F, IndicatorType, ResourceType};
use crate::transform::{Encoder, json};

/// An array of objects under construction.
struct Array {
    objects: usize,
    members: usize,
}

impl Array {
    const EMPTY: Self = Self { objects: 0, members: 0 };

    fn open(&mut self, encoder: &mut Encoder<'_>) {
        encoder.raw(if self.objects == 0 { b"[{" } else { b",{" });
        self.objects += 1;
        self.members = 0;
    }

    /// A member whose value follows; its key is spelled with quotes and colon, and may have whole
    /// members before it.
    fn key(&mut self, encoder: &mut Encoder<'_>, key: &[u8]) {
        if self.members > 0 {
            encoder.literal(b",");
        }
        self.members += 1;
        encoder.raw(key);
    }

    fn text(&mut self, encoder: &mut Encoder<'_>, key: &[u8], text: &[u8]) {
        if !text.is_empty() {
            self.key(encoder, key);
            encoder.text(text);
        }
    }

    /// An object inside; its first member follows.
    fn nest(&mut self, encoder: &mut Encoder<'_>, key: &[u8]) {
        self.key(encoder, key);
        encoder.literal(b"{");
        self.members = 0;
    }

    fn close(&mut self, encoder: &mut Encoder<'_>) {
        encoder.literal(b"}");
        self.members += 1;
    }

    /// Ends the array; false when it has nothing.
    fn end(self, encoder: &mut Encoder<'_>) -> bool {
        if self.objects > 0 {
            encoder.literal(b"]");
        }
        self.objects > 0
    }
}

/// Tactic and technique: ids of ATT&CK and ATLAS as ids, anything else as names.
pub(super) fn attacks(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let (tactic, technique) = (event.text(F::Tactic), event.text(F::Technique));
    if tactic.is_empty() && technique.is_empty() {
        return false;
    }
    encoder.literal(b"[{");
    if !tactic.is_empty() {
        let is_id = derive::is_tactic(tactic) || tactic.starts_with(b"AML.");
        let [id, name] = [br#""tactic":{"uid":"#.as_slice(), br#""tactic":{"name":"#];
        named(encoder, if is_id { id } else { name }, tactic);
    }
    if !technique.is_empty() {
        if !tactic.is_empty() {
            encoder.literal(b",");
        }
        let is_id = derive::technique(technique).is_some() || technique.starts_with(b"AML.");
        let [id, name] = [br#""technique":{"uid":"#.as_slice(), br#""technique":{"name":"#];
        named(encoder, if is_id { id } else { name }, technique);
    }
    encoder.literal(b"}]");
    true
}

/// An object of one text, behind what stands before that.
fn named(encoder: &mut Encoder<'_>, lead: &[u8], text: &[u8]) {
    encoder.raw(lead);
    encoder.text(text);
    encoder.literal(b"}");
}

/// The base name of the resource's path; of a path that ends in a separator all of it.
pub(super) fn file_name<'a>(event: &Event<'a>) -> &'a [u8] {
    match Path::of(event).name {
        b"" => derive::path(event),
        name => name,
    }
}

/// What the finding is about: the resource.
pub(super) fn evidences(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let mut array = Array::EMPTY;
    match event.opened.resource_type {
        ResourceType::File if !derive::path(event).is_empty() => {
            array.open(encoder);
            array.nest(encoder, br#""file":"#);
            array.text(encoder, br#""name":"#, file_name(event));
            array.text(encoder, br#""path":"#, derive::path(event));
            array.key(encoder, br#""type_id":1,"type":"Regular File""#);
        }
        ResourceType::Network if !derive::host(event).is_empty() => {
            array.open(encoder);
            array.nest(encoder, br#""dst_endpoint":"#);
            let host = derive::host(event);
            match derive::address(host) {
                Some((_, address)) => array.text(encoder, br#""ip":"#, address),
                None => array.text(encoder, br#""hostname":"#, host),
            }
            let port = event.text(F::ResourcePort);
            if !matches!(port, b"" | b"0") {
                array.key(encoder, br#""port":"#);
                encoder.raw(port);
            }
        }
        ResourceType::Process if !derive::command(event).is_empty() => {
            array.open(encoder);
            array.nest(encoder, br#""process":"#);
            array.text(encoder, br#""name":"#, derive::command_name(event));
            array.text(encoder, br#""cmd_line":"#, derive::command(event));
            array.text(encoder, br#""uid":"#, event.text(F::EventId));
        }
        ResourceType::Tool | ResourceType::Configuration | ResourceType::Other
            if !event.text(F::Action).is_empty() && !event.text(F::ResourceName).is_empty() =>
        {
            array.open(encoder);
            array.nest(encoder, br#""api":"#);
            array.text(encoder, br#""operation":"#, event.text(F::Action));
            array.nest(encoder, br#""service":"#);
            array.text(encoder, br#""name":"#, event.text(F::ResourceName));
            array.close(encoder);
        }
        _ => return false,
    }
    array.close(encoder);
    array.close(encoder);
    array.end(encoder)
}

/// The members of an observable of this attribute and type, up to its value.
macro_rules! observable {
    ($name:literal, HOSTNAME) => {
        observable!($name, "1", "Hostname")
    };
    ($name:literal, IP) => {
        observable!($name, "2", "IP Address")
    };
    ($name:literal, USER) => {
        observable!($name, "4", "User Name")
    };
    ($name:literal, URL) => {
        observable!($name, "6", "URL String")
    };
    ($name:literal, FILE_NAME) => {
        observable!($name, "7", "File Name")
    };
    ($name:literal, HASH) => {
        observable!($name, "8", "Hash")
    };
    ($name:literal, FILE_PATH) => {
        observable!($name, "45", "File Path")
    };
    ($name:literal, $id:literal, $kind:literal) => {
        concat!(
            r#""name":""#,
            $name,
            r#"","type_id":"#,
            $id,
            r#","type":""#,
            $kind,
            r#"","value":"#
        )
    };
}
/// Values that an analyst searches for, with the attributes that hold them.
pub(super) fn observables(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let mut array = Array::EMPTY;
    let class = Class::of(event);
    let is_finding = class == Class::Finding;
    let mut add = |encoder: &mut Encoder<'_>, known: &str, text: &[u8]| {
        if !text.is_empty() {
            array.open(encoder);
            array.text(encoder, known.as_bytes(), text);
            array.close(encoder);
        }
    };
    let shape = Shape::of(event);
    if shape == Shape::Network {
        let host = derive::host(event);
        match (derive::address(host), is_finding) {
            (Some((_, ip)), true) => add(encoder, observable!("evidences.dst_endpoint.ip", IP), ip),
            (Some((_, ip)), false) => add(encoder, observable!("dst_endpoint.ip", IP), ip),
            (None, true) => {
                add(encoder, observable!("evidences.dst_endpoint.hostname", HOSTNAME), host);
            }
            (None, false) => add(encoder, observable!("dst_endpoint.hostname", HOSTNAME), host),
        }
    }
    if shape == Shape::File {
        let [name, path] = match is_finding {
            true => [
                observable!("evidences.file.name", FILE_NAME),
                observable!("evidences.file.path", FILE_PATH),
            ],
            false => [observable!("file.name", FILE_NAME), observable!("file.path", FILE_PATH)],
        };
        add(encoder, name, file_name(event));
        add(encoder, path, derive::path(event));
    }
    add(encoder, observable!("actor.user.uid", USER), event.text(F::SessionUserId));
    if derive::shows_indicator(event, encoder.choices()) {
        let known = match event.opened.indicator_type {
            IndicatorType::Url => Some(observable!("unmapped.threat.indicator.value", URL)),
            IndicatorType::FileHash => Some(observable!("unmapped.threat.indicator.value", HASH)),
            _ => None,
        };
        if let Some(known) = known {
            add(encoder, known, event.text(F::IndicatorValue));
        }
    }
    array.end(encoder)
}

/// What threat intelligence matched, each match whole as `data`.
pub(super) fn enrichments(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let mut array = Array::EMPTY;
    for found in derive::matches(event) {
        let text = |key: &[u8]| json::member(found, key).and_then(json::string).unwrap_or_default();
        let value = text(b"value");
        if value.is_empty() {
            continue;
        }
        array.open(encoder);
        array.text(encoder, br#""name":"threat_intel","value":"#, value);
        array.text(encoder, br#""type":"#, text(b"type"));
        array.text(encoder, br#""provider":"#, text(b"source"));
        array.key(encoder, br#""data":"#);
        encoder.value(crate::event::Value { json: found, escaped: true });
        array.close(encoder);
    }
    array.end(encoder)
}

/// How an event shows its resource.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    File,
    Network,
    Process,
    Api,
    Nothing,
}

impl Shape {
    fn of(event: &Event<'_>) -> Self {
        match (Class::of(event), event.opened.resource_type) {
            (Class::File, _) | (Class::Finding, ResourceType::File) => Self::File,
            (Class::Network, _) | (Class::Finding, ResourceType::Network) => Self::Network,
            (Class::Process, _) | (Class::Finding, ResourceType::Process) => Self::Process,
            (Class::Api | Class::Finding, _) => Self::Api,
            (Class::Authentication | Class::Base, _) => Self::Nothing,
        }
    }

    /// The texts of the resource that the event shows.
    fn shown<'a>(self, event: &Event<'a>) -> [&'a [u8]; 2] {
        match self {
            Self::File => [derive::path(event), file_name(event)],
            Self::Network => [derive::host(event), b""],
            Self::Process => [derive::command(event), derive::command_name(event)],
            Self::Api => [event.text(F::ResourceName), b""],
            Self::Nothing => [b"", b""],
        }
    }
}

/// What of the resource stands nowhere else, as members.
pub(super) fn left(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let shape = Shape::of(event);
    let shown = shape.shown(event);
    let fields: [(&[u8], F); 3] =
        [(b"name", F::ResourceName), (b"path", F::ResourcePath), (b"host", F::ResourceHost)];
    let mut written = false;
    for (name, field) in fields {
        let text = event.text(field);
        if !text.is_empty() && !shown.contains(&text) && encoder.key(name) {
            encoder.text(text);
            encoder.between();
            written = true;
        }
    }
    let port = event.text(F::ResourcePort);
    let is_shown = shape == Shape::Network || matches!(port, b"" | b"0");
    if !is_shown && encoder.key(b"port") {
        encoder.raw(port);
        encoder.between();
        written = true;
    }
    written
}
