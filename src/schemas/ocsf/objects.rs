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

    /// A member whose value follows.
    fn key(&mut self, encoder: &mut Encoder<'_>, key: &[u8]) {
        if self.members > 0 {
            encoder.literal(b",");
        }
        self.members += 1;
        fixed(encoder, key);
        encoder.literal(b":");
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

/// A text of ours, which no limit on the event's texts cuts.
fn fixed(encoder: &mut Encoder<'_>, text: &[u8]) {
    encoder.literal(b"\"");
    encoder.raw(text);
    encoder.literal(b"\"");
}

/// Tactic and technique: ids of ATT&CK and ATLAS as ids, anything else as names.
pub(super) fn attacks(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let (tactic, technique) = (event.text(F::Tactic), event.text(F::Technique));
    let mut array = Array::EMPTY;
    if tactic.is_empty() && technique.is_empty() {
        return false;
    }
    array.open(encoder);
    let is_id = derive::is_tactic(tactic) || tactic.starts_with(b"AML.");
    named(&mut array, encoder, b"tactic", is_id, tactic);
    let is_id = derive::technique(technique).is_some() || technique.starts_with(b"AML.");
    named(&mut array, encoder, b"technique", is_id, technique);
    array.close(encoder);
    array.end(encoder)
}

fn named(array: &mut Array, encoder: &mut Encoder<'_>, key: &[u8], is_id: bool, text: &[u8]) {
    if !text.is_empty() {
        array.nest(encoder, key);
        array.text(encoder, if is_id { b"uid" } else { b"name" }, text);
        array.close(encoder);
    }
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
            array.nest(encoder, b"file");
            array.text(encoder, b"name", file_name(event));
            array.text(encoder, b"path", derive::path(event));
            array.key(encoder, b"type_id");
            encoder.literal(b"1");
            array.key(encoder, b"type");
            fixed(encoder, b"Regular File");
        }
        ResourceType::Network if !derive::host(event).is_empty() => {
            array.open(encoder);
            array.nest(encoder, b"dst_endpoint");
            let host = derive::host(event);
            match derive::address(host) {
                Some((_, address)) => array.text(encoder, b"ip", address),
                None => array.text(encoder, b"hostname", host),
            }
            let port = event.text(F::ResourcePort);
            if !matches!(port, b"" | b"0") {
                array.key(encoder, b"port");
                encoder.raw(port);
            }
        }
        ResourceType::Process if !derive::command(event).is_empty() => {
            array.open(encoder);
            array.nest(encoder, b"process");
            array.text(encoder, b"name", derive::command_name(event));
            array.text(encoder, b"cmd_line", derive::command(event));
            array.text(encoder, b"uid", event.text(F::EventId));
        }
        ResourceType::Tool | ResourceType::Configuration | ResourceType::Other
            if !event.text(F::Action).is_empty() && !event.text(F::ResourceName).is_empty() =>
        {
            array.open(encoder);
            array.nest(encoder, b"api");
            array.text(encoder, b"operation", event.text(F::Action));
            array.nest(encoder, b"service");
            array.text(encoder, b"name", event.text(F::ResourceName));
            array.close(encoder);
        }
        _ => return false,
    }
    array.close(encoder);
    array.close(encoder);
    array.end(encoder)
}

/// Values that an analyst searches for, with the attributes that hold them.
pub(super) fn observables(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    let mut array = Array::EMPTY;
    let class = Class::of(event);
    let is_finding = class == Class::Finding;
    let mut add = |encoder: &mut Encoder<'_>, name: &[u8], [id, kind]: [&[u8]; 2], text: &[u8]| {
        if !text.is_empty() {
            array.open(encoder);
            array.key(encoder, b"name");
            fixed(encoder, name);
            array.key(encoder, b"type_id");
            encoder.raw(id);
            array.key(encoder, b"type");
            fixed(encoder, kind);
            array.text(encoder, b"value", text);
            array.close(encoder);
        }
    };
    let shape = Shape::of(event);
    if shape == Shape::Network {
        let host = derive::host(event);
        match (derive::address(host), is_finding) {
            (Some((_, ip)), true) => add(encoder, b"evidences.dst_endpoint.ip", IP, ip),
            (Some((_, ip)), false) => add(encoder, b"dst_endpoint.ip", IP, ip),
            (None, true) => add(encoder, b"evidences.dst_endpoint.hostname", HOSTNAME, host),
            (None, false) => add(encoder, b"dst_endpoint.hostname", HOSTNAME, host),
        }
    }
    if shape == Shape::File {
        let [name, path]: [&[u8]; 2] = match is_finding {
            true => [b"evidences.file.name", b"evidences.file.path"],
            false => [b"file.name", b"file.path"],
        };
        add(encoder, name, FILE_NAME, file_name(event));
        add(encoder, path, FILE_PATH, derive::path(event));
    }
    add(encoder, b"actor.user.uid", USER, event.text(F::SessionUserId));
    if derive::shows_indicator(event, encoder.choices()) {
        let kind = match event.opened.indicator_type {
            IndicatorType::Url => Some(URL),
            IndicatorType::FileHash => Some(HASH),
            _ => None,
        };
        if let Some(kind) = kind {
            let value = event.text(F::IndicatorValue);
            add(encoder, b"unmapped.threat.indicator.value", kind, value);
        }
    }
    array.end(encoder)
}

const HOSTNAME: [&[u8]; 2] = [b"1", b"Hostname"];
const IP: [&[u8]; 2] = [b"2", b"IP Address"];
const USER: [&[u8]; 2] = [b"4", b"User Name"];
const URL: [&[u8]; 2] = [b"6", b"URL String"];
const FILE_NAME: [&[u8]; 2] = [b"7", b"File Name"];
const HASH: [&[u8]; 2] = [b"8", b"Hash"];
const FILE_PATH: [&[u8]; 2] = [b"45", b"File Path"];

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
        array.key(encoder, b"name");
        fixed(encoder, b"threat_intel");
        array.text(encoder, b"value", value);
        array.text(encoder, b"type", text(b"type"));
        array.text(encoder, b"provider", text(b"source"));
        array.key(encoder, b"data");
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
