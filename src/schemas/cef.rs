//! Common Event Format (`schemas.md`, CEF): a header of seven slots, then pairs of keys and values.
//!
//! Header and extension escape different characters, so each is a schema of its own syntax. Keys
//! are those of the format's dictionary; what has none there is left out.

use std::net::IpAddr;

use super::check;
use super::derive::{self, Path};
use crate::event::{Event as E, FieldId as F, IndicatorType, ResourceType, Value};
use crate::transform::Source::{
    Constant, Derived, Doc, Event, Extracted, OneOf, Option as Text, Part, With,
};
use crate::transform::write::{epoch_millis, severity, text_millis};
use crate::transform::{Choices, Empty, Encoder, Field, Layout, Schema, Syntax, row};

/// A CEF line.
pub static CEF: Schema = Schema {
    name: "cef",
    syntax: &HEADER,
    layout: Layout::Table(SLOTS),
    // A slot that is left out would move all behind it.
    required: &["vendor", "product", "version", "class", "name", "severity", "extension"],
    next: Some(&EXTENSION),
    // Keys of its dictionary are for single values.
    leaves_out: &[F::Metadata, F::Labels],
    check: Some(check::cef),
    ..Schema::BASE
};

/// The pairs behind the header.
static EXTENSION: Schema = Schema {
    name: "cef extension",
    syntax: &PAIRS,
    layout: Layout::Cases {
        shared: SHARED,
        pick: |event| match event.opened.resource_type {
            ResourceType::File => 0,
            ResourceType::Network => 1,
            ResourceType::Process => 2,
            ResourceType::Tool | ResourceType::Configuration | ResourceType::Other => 3,
        },
        cases: &[FILE, NETWORK, PROCESS, OTHER],
    },
    required: &["rt", "externalId"],
    is_labelled,
    empty: Empty::DropBlank,
    ..Schema::BASE
};

/// Slots between bars; a bar or a backslash in a value carries a backslash, and a line stays one.
static HEADER: Syntax = Syntax {
    name: "cef header",
    open: "CEF:0|",
    close: "",
    between: "|",
    key: ("", ""),
    names: false,
    is_key: |_| true,
    keys: "a slot",
    text: ("", ""),
    nests: false,
    verbatim: false,
    counts_bytes: false,
    escape: |byte| match byte {
        b'\\' => Some("\\\\"),
        b'|' => Some("\\|"),
        0..0x20 | 0x7f => Some(" "),
        _ => None,
    },
};

/// Pairs between blanks; bars stand as they are, line breaks become letters behind a backslash.
static PAIRS: Syntax = Syntax {
    name: "cef extension",
    open: "",
    close: "",
    between: " ",
    key: ("", "="),
    names: true,
    is_key: |key| {
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    },
    keys: "letters, digits and `_`",
    text: ("", ""),
    nests: false,
    verbatim: false,
    counts_bytes: false,
    escape: |byte| match byte {
        b'\\' => Some("\\\\"),
        b'=' => Some("\\="),
        b'\n' => Some("\\n"),
        b'\r' => Some("\\r"),
        b'\t' => None,
        0..0x20 | 0x7f => Some(" "),
        _ => None,
    },
};

/// Characters as the dictionary of the format limits them.
const SLOTS: &[Field] = &[
    row("vendor", Constant(derive::VENDOR)),
    row("product", Derived(&[F::AgentName], |encoder, event| slot(encoder, event, F::AgentName)))
        .max(63),
    row(
        "version",
        Derived(&[F::AgentVersion], |encoder, event| slot(encoder, event, F::AgentVersion)),
    )
    .max(31),
    row("class", Derived(&[F::EventType], |encoder, event| slot(encoder, event, F::EventType)))
        .max(1023),
    row("name", OneOf(&[F::EventType], derive::title, derive::TITLES)),
    row("severity", OneOf(&[F::Severity], severity, &["1", "3", "5", "8", "10"])),
    row("extension", Doc),
];

const SHARED: &[Field] = &[
    row("rt", Derived(&[F::Timestamp], epoch_millis)),
    row("externalId", Event(F::EventId, text)).max(40),
    row("cat", Event(F::EventCategory, text)).max(1023),
    row("act", Event(F::Action, text)).max(63),
    row("outcome", Event(F::Outcome, text)).max(63),
    row("reason", Event(F::Reason, text)).max(1023),
    row("msg", Extracted(&[F::Reason], |event, _| trimmed(event.text(F::Reason)))).max(1023),
    row("dvchost", Text("host.name")).max(100),
    row("deviceExternalId", Event(F::AgentId, text)).max(255),
    row("suid", Event(F::SessionUserId, text)).max(1023),
    row("suser", Extracted(&[F::SessionUserId], |event, _| trimmed(event.text(F::SessionUserId))))
        .max(1023),
    row("request", Extracted(&[F::IndicatorValue], url)).max(1023),
    row("cs1", Event(F::Guard, text)).max(4000),
    row("cs1Label", With(&[F::Guard], "guard")),
    row("cs2", Event(F::SessionId, text)).max(4000),
    row("cs2Label", With(&[F::SessionId], "sessionId")),
    row("cs3", Event(F::SessionTenantId, text)).max(4000),
    row("cs3Label", With(&[F::SessionTenantId], "tenantId")),
    row("cs4", Event(F::Ruleset, text)).max(4000),
    row("cs4Label", With(&[F::Ruleset], "ruleset")),
    row("cs5", Event(F::PolicyHash, text)).max(4000),
    row("cs5Label", With(&[F::PolicyHash], "policyHash")),
    row("cs6", Event(F::Technique, text)).max(4000),
    row("cs6Label", With(&[F::Technique], "mitreTechnique")),
    row("flexString1", Event(F::SessionEnvironment, text)).max(1023),
    row("flexString1Label", With(&[F::SessionEnvironment], "environment")),
    row("flexString2", Event(F::Tactic, text)).max(1023),
    row("flexString2Label", With(&[F::Tactic], "mitreTactic")),
    row("deviceCustomDate1", Part(&[F::IngestedAt], ingested)),
    row("deviceCustomDate1Label", With(&[F::IngestedAt], "ingestedAt")),
    // Both fields, so that it is no default target of the metadata, which is more than a number.
    row("cn1", Part(&[F::EventId, F::Metadata], sanitized)),
    row("cn2", Part(&[F::EventId, F::Shrike], confidence)),
];

const FILE: &[Field] = &[
    row(
        "fname",
        Extracted(&[F::ResourcePath, F::ResourceName], |event, _| trimmed(Path::of(event).name)),
    )
    .max(1023),
    row(
        "filePath",
        Extracted(&[F::ResourcePath, F::ResourceName], |event, _| trimmed(derive::path(event))),
    )
    .max(1023),
];

const NETWORK: &[Field] = &[
    row("dst", Extracted(&[F::ResourceHost, F::ResourceName], ipv4)),
    row("c6a3", Part(&[F::ResourceHost, F::ResourceName], ipv6)),
    row(
        "dhost",
        Extracted(&[F::ResourceHost, F::ResourceName], |event, _| trimmed(derive::domain(event))),
    )
    .max(1023),
    row("dpt", Part(&[F::ResourcePort], derive::port)),
];

const PROCESS: &[Field] = &[row("dproc", Event(F::ResourceName, text)).max(1023)];

/// The format has no key for a tool of an agent; what it does is a service to the agent.
const OTHER: &[Field] = &[row("destinationServiceName", Event(F::ResourceName, text)).max(1023)];

/// "A `cs` or `cn` key without its Label is invalid": custom keys of a number, and labels.
fn is_labelled(key: &str) -> bool {
    let own = key.strip_suffix("Label").unwrap_or(key);
    let kind = own.trim_end_matches(|char: char| char.is_ascii_digit());
    kind.len() < own.len() && CUSTOM.contains(&kind)
}

/// Keys of the dictionary that come numbered, each with a label of its own.
const CUSTOM: &[&str] =
    &["cs", "cn", "cfp", "c6a", "deviceCustomDate", "flexDate", "flexNumber", "flexString"];

/// A slot of the header, which stands also when it is empty.
fn slot(encoder: &mut Encoder<'_>, event: &E<'_>, field: F) -> bool {
    encoder.text(event.text(field));
    true
}

/// A value without blanks at its end: readers cannot tell them from the separator.
fn text(encoder: &mut Encoder<'_>, value: Value<'_>) {
    encoder.text(trimmed(value.text()));
}

fn trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
    &text[..end]
}

/// The threat indicator when it is a URL.
fn url<'a>(event: &E<'a>, choices: Choices) -> &'a [u8] {
    let is_url = event.opened.indicator_type == IndicatorType::Url;
    if is_url { trimmed(derive::indicator(event, choices)) } else { b"" }
}

/// The destination when it is an IPv4 address, the only kind that `dst` has in version 0.
fn ipv4<'a>(event: &E<'a>, _: Choices) -> &'a [u8] {
    match derive::address(derive::host(event)) {
        Some((IpAddr::V4(_), text)) => text,
        _ => b"",
    }
}

/// The destination when it is an IPv6 address, with the label that the dictionary gives it.
fn ipv6(encoder: &mut Encoder<'_>, event: &E<'_>) -> bool {
    let Some((IpAddr::V6(_), text)) = derive::address(derive::host(event)) else {
        return false;
    };
    encoder.text(text);
    encoder.raw(b" c6a3Label=Destination IPv6 Address");
    true
}

/// When the event was received. What is no time was taken out when the event was opened.
fn ingested(encoder: &mut Encoder<'_>, event: &E<'_>) -> bool {
    text_millis(encoder, event.text(F::IngestedAt))
}

/// How sure the surest match of threat intelligence is, with its label.
fn confidence(encoder: &mut Encoder<'_>, event: &E<'_>) -> bool {
    let Some(confidence) = derive::intelligence(event, b"max_confidence") else { return false };
    encoder.raw(confidence);
    encoder.raw(b" cn2Label=threatIntelConfidence");
    true
}

/// How many values were sanitised, with its label.
fn sanitized(encoder: &mut Encoder<'_>, event: &E<'_>) -> bool {
    let Some(count) = derive::sanitized(event) else { return false };
    encoder.raw(count);
    encoder.raw(b" cn1Label=sanitizedCount");
    true
}
