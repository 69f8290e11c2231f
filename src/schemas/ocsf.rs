//! Open Cybersecurity Schema Framework (`schemas.md`, OCSF), by class of event.
//!
//! Attributes, captions and numbers are those of 1.8.0, and exist since 1.3. What the framework has
//! no attribute for stands in `unmapped`.

mod objects;

use super::{check, derive};
use crate::event::{Event as E, EventType, FieldId as F, Outcome, ResourceType, Severity};
use crate::transform::Source::{
    Constant, Derived, Event, Extracted, Listed, OneOf, Option as Text, OptionOr, Part, When, With,
};
use crate::transform::write::{epoch_millis, severity, text_millis, value};
use crate::transform::{Choices, Empty, Field, Layout, Schema, row};

/// An OCSF event.
pub static OCSF: Schema = Schema {
    name: "ocsf",
    layout: Layout::Cases {
        shared: SHARED,
        pick: |event| Class::of(event) as usize,
        cases: &[FINDING, NETWORK, FILE, PROCESS, API, AUTHENTICATION, BASE],
    },
    required: &[
        "activity_id",
        "category_uid",
        "class_uid",
        "type_uid",
        "severity_id",
        "time",
        "metadata.version",
        "metadata.uid",
        "metadata.product.name",
    ],
    raw: Some("raw_data"),
    empty: Empty::Drop,
    check: Some(check::ocsf),
    ..Schema::BASE
};

/// Classes of the framework that our events belong to, in the order of the cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Detection Finding, 2004.
    Finding,
    /// Network Activity, 4001.
    Network,
    /// File System Activity, 1001.
    File,
    /// Process Activity, 1007.
    Process,
    /// API Activity, 6003.
    Api,
    /// Authentication, 3002.
    Authentication,
    /// Base Event, 0.
    Base,
}

impl Class {
    pub(super) fn of(event: &E<'_>) -> Self {
        match (event.opened.event_type, event.opened.resource_type) {
            (EventType::EgressBlocked, _) => Self::Network,
            (EventType::ForbiddenPath | EventType::PatchRejected, _) => Self::File,
            (EventType::SessionStart | EventType::SessionEnd, _) => Self::Authentication,
            (EventType::PolicyAllow, ResourceType::Network) => Self::Network,
            (EventType::PolicyAllow, ResourceType::File) => Self::File,
            (EventType::PolicyAllow, ResourceType::Process) => Self::Process,
            (EventType::PolicyAllow, _) => Self::Api,
            (EventType::Other | EventType::ExportGap, _) if event.opened.allowed => Self::Base,
            _ => Self::Finding,
        }
    }
}

const SHARED: &[Field] = &[
    row("time", Derived(&[F::Timestamp], epoch_millis)),
    row("severity_id", OneOf(&[F::Severity], severity, &["1", "2", "3", "4", "5"])),
    row("severity", OneOf(&[F::Severity], severity, SEVERITIES)),
    row("message", Event(F::Reason, value)),
    row("status_detail", Extracted(&[F::Reason], |event, _| event.text(F::Reason))),
    row("metadata.version", OptionOr("ocsf_version", "1.8.0")),
    row("metadata.profiles", Constant(r#"["host","security_control"]"#)),
    row("metadata.uid", Event(F::EventId, value)),
    row("metadata.event_code", Event(F::EventType, value)),
    row(
        "metadata.correlation_uid",
        Extracted(&[F::SessionId], |event, _| event.text(F::SessionId)),
    ),
    row("metadata.tenant_uid", Event(F::SessionTenantId, value)),
    row("metadata.product.name", Event(F::AgentType, value)),
    row("metadata.product.vendor_name", Constant(derive::VENDOR)),
    row("metadata.product.version", Event(F::AgentVersion, value)),
    row("metadata.original_time", Event(F::Timestamp, value)),
    row(
        "metadata.logged_time",
        Part(&[F::IngestedAt], |encoder, event| text_millis(encoder, event.text(F::IngestedAt))),
    ),
    row("metadata.log_name", Text("exporter")),
    row("metadata.labels", Part(&[F::Labels], derive::tags)),
    row("action_id", OneOf(&[F::Allowed, F::EventType], decision, &["1", "2", "3", "4"])),
    row("action", OneOf(&[F::Allowed, F::EventType], decision, ACTIONS)),
    row("disposition_id", OneOf(&[F::Allowed, F::EventType], decision, &["1", "2", "15", "11"])),
    row("disposition", OneOf(&[F::Allowed, F::EventType], decision, DISPOSITIONS)),
    row("is_alert", OneOf(&[F::Allowed, F::Severity], alert, &["false", "true"])),
    row("policy.name", Event(F::Ruleset, value)),
    row("policy.uid", Event(F::PolicyHash, value)),
    row("attacks", Part(&[F::Tactic, F::Technique], objects::attacks)),
    row("actor.app_name", Event(F::AgentName, value)),
    row("actor.app_uid", Event(F::AgentId, value)),
    row("actor.user.uid", Event(F::SessionUserId, value)),
    row("actor.user.type_id", With(&[F::SessionUserId], "0")),
    row("actor.session.uid", Event(F::SessionId, value)),
    row("device.uid", Text("host.machine_id")),
    row("observables", Part(OBSERVED, objects::observables)),
    row("enrichments", Part(&[F::Shrike], objects::enrichments)),
    row("unmapped.schema_version", Event(F::SchemaVersion, value)),
    row("unmapped.event_category", Event(F::EventCategory, value)),
    row("unmapped.environment", Event(F::SessionEnvironment, value)),
    row("unmapped.decision.allowed", Event(F::Allowed, value)),
    row("unmapped.threat.indicator.type", Extracted(&[F::IndicatorType], indicator_type)),
    row("unmapped.threat.indicator.value", Extracted(&[F::IndicatorValue], derive::indicator)),
    row("unmapped.resource.type", Event(F::ResourceType, value)),
    row("unmapped.resource.*", Part(RESOURCE, objects::left)),
    row("unmapped.metadata.*", Event(F::Metadata, value)),
    row("unmapped.metadata.shrike.*", Event(F::Shrike, value)),
    row("unmapped.metadata.shrike.truncated", When("truncated", "true")),
    row("unmapped.labels.*", Event(F::Labels, value)),
];

const OBSERVED: &[F] =
    &[F::ResourceHost, F::ResourceName, F::ResourcePath, F::SessionUserId, F::IndicatorValue];

const COMMAND: &[F] = &[F::CommandLine, F::ResourcePath, F::ResourceName];

const RESOURCE: &[F] = &[F::ResourceName, F::ResourcePath, F::ResourceHost, F::ResourcePort];

/// A finding's status is where it stands in its life: it is new.
const FINDING: &[Field] = &[
    row("class_uid", Constant("2004")),
    row("class_name", Constant(r#""Detection Finding""#)),
    row("category_uid", Constant("2")),
    row("category_name", Constant(r#""Findings""#)),
    row("activity_id", Constant("1")),
    row("activity_name", Constant(r#""Create""#)),
    row("type_uid", Constant("200401")),
    row("status_id", Constant("1")),
    row("status", Constant(r#""New""#)),
    row("finding_info.uid", Extracted(&[F::EventId], |event, _| event.text(F::EventId))),
    row("finding_info.title", OneOf(&[F::EventType], derive::title, derive::TITLES)),
    row("finding_info.desc", Extracted(&[F::Reason], |event, _| event.text(F::Reason))),
    row("finding_info.created_time", Part(&[F::Timestamp], epoch_millis)),
    row("finding_info.types", Listed(&[F::EventType], |event, _| event.text(F::EventType))),
    row("finding_info.analytic.name", Event(F::Guard, value)),
    row("finding_info.analytic.type_id", With(&[F::Guard], "1")),
    row("finding_info.analytic.type", With(&[F::Guard], r#""Rule""#)),
    row("finding_info.attacks", Part(&[F::Tactic, F::Technique], objects::attacks)),
    row("evidences", Part(EVIDENCE, objects::evidences)),
    row("unmapped.action", Event(F::Action, value)),
    row("unmapped.outcome", Event(F::Outcome, value)),
    row("device.hostname", Text("host.name")),
    row("device.type_id", When("host.name", "0")),
];

const EVIDENCE: &[F] = &[
    F::ResourceName,
    F::ResourcePath,
    F::ResourceHost,
    F::ResourcePort,
    F::CommandLine,
    F::Action,
];

const NETWORK: &[Field] = &[
    row("class_uid", Constant("4001")),
    row("class_name", Constant(r#""Network Activity""#)),
    row("category_uid", Constant("4")),
    row("category_name", Constant(r#""Network Activity""#)),
    row("activity_id", OneOf(&[F::EventType], refused, &["1", "5"])),
    row("activity_name", OneOf(&[F::EventType], refused, &[r#""Open""#, r#""Refuse""#])),
    row("type_uid", OneOf(&[F::EventType], refused, &["400101", "400105"])),
    row("status_id", OneOf(&[F::Outcome], outcome, STATUS_IDS)),
    row("status", Extracted(&[F::Outcome], status)),
    row(
        "dst_endpoint.hostname",
        Extracted(&[F::ResourceHost, F::ResourceName], |event, _| derive::domain(event)),
    ),
    row(
        "dst_endpoint.ip",
        Extracted(&[F::ResourceHost, F::ResourceName], |event, _| derive::ip(event)),
    ),
    row("dst_endpoint.port", Part(&[F::ResourcePort], derive::port)),
    row("connection_info.direction_id", Constant("2")),
    row("connection_info.direction", Constant(r#""Outbound""#)),
    row("unmapped.action", Event(F::Action, value)),
    row("unmapped.decision.guard", Event(F::Guard, value)),
    row("device.hostname", Text("host.name")),
    row("device.type_id", When("host.name", "0")),
];

/// Classes of the system category must name a device.
const FILE: &[Field] = &[
    row("class_uid", Constant("1001")),
    row("class_name", Constant(r#""File System Activity""#)),
    row("category_uid", Constant("1")),
    row("category_name", Constant(r#""System Activity""#)),
    row("activity_id", OneOf(&[F::EventType, F::Action], access, &["2", "3", "14"])),
    row("activity_name", OneOf(&[F::EventType, F::Action], access, ACCESSES)),
    row("type_uid", OneOf(&[F::EventType, F::Action], access, &["100102", "100103", "100114"])),
    row("status_id", OneOf(&[F::Outcome], outcome, STATUS_IDS)),
    row("status", Extracted(&[F::Outcome], status)),
    row(
        "file.name",
        Extracted(&[F::ResourcePath, F::ResourceName], |event, _| objects::file_name(event)),
    ),
    row(
        "file.path",
        Extracted(&[F::ResourcePath, F::ResourceName], |event, _| derive::path(event)),
    ),
    row("file.type_id", With(&[F::ResourcePath, F::ResourceName], "1")),
    row("file.type", With(&[F::ResourcePath, F::ResourceName], r#""Regular File""#)),
    row("unmapped.action", Event(F::Action, value)),
    row("unmapped.decision.guard", Event(F::Guard, value)),
    row("device.hostname", OptionOr("host.name", "unknown")),
    row("device.type_id", Constant("0")),
];

const PROCESS: &[Field] = &[
    row("class_uid", Constant("1007")),
    row("class_name", Constant(r#""Process Activity""#)),
    row("category_uid", Constant("1")),
    row("category_name", Constant(r#""System Activity""#)),
    row("activity_id", Constant("1")),
    row("activity_name", Constant(r#""Launch""#)),
    row("type_uid", Constant("100701")),
    row("status_id", OneOf(&[F::Outcome], outcome, STATUS_IDS)),
    row("status", Extracted(&[F::Outcome], status)),
    row("process.name", Extracted(COMMAND, |event, _| derive::command_name(event))),
    row("process.cmd_line", Extracted(COMMAND, |event, _| derive::command(event))),
    row("process.uid", Extracted(&[F::EventId], |event, _| event.text(F::EventId))),
    row("unmapped.action", Event(F::Action, value)),
    row("unmapped.decision.guard", Event(F::Guard, value)),
    row("device.hostname", OptionOr("host.name", "unknown")),
    row("device.type_id", Constant("0")),
];

const API: &[Field] = &[
    row("class_uid", Constant("6003")),
    row("class_name", Constant(r#""API Activity""#)),
    row("category_uid", Constant("6")),
    row("category_name", Constant(r#""Application Activity""#)),
    row("activity_id", Constant("99")),
    row("activity_name", Event(F::Action, value)),
    row("type_uid", Constant("600399")),
    row("status_id", OneOf(&[F::Outcome], outcome, STATUS_IDS)),
    row("status", Extracted(&[F::Outcome], status)),
    row("api.operation", Extracted(&[F::Action], |event, _| event.text(F::Action))),
    row("api.service.name", Event(F::ResourceName, value)),
    row("src_endpoint.name", Extracted(&[F::AgentId], |event, _| event.text(F::AgentId))),
    row("unmapped.decision.guard", Event(F::Guard, value)),
    row("device.hostname", Text("host.name")),
    row("device.type_id", When("host.name", "0")),
];

const AUTHENTICATION: &[Field] = &[
    row("class_uid", Constant("3002")),
    row("class_name", Constant(r#""Authentication""#)),
    row("category_uid", Constant("3")),
    row("category_name", Constant(r#""Identity & Access Management""#)),
    row("activity_id", OneOf(&[F::EventType], ended, &["1", "2"])),
    row("activity_name", OneOf(&[F::EventType], ended, &[r#""Logon""#, r#""Logoff""#])),
    row("type_uid", OneOf(&[F::EventType], ended, &["300201", "300202"])),
    row("status_id", OneOf(&[F::Outcome], outcome, STATUS_IDS)),
    row("status", Extracted(&[F::Outcome], status)),
    row(
        "user.uid",
        Extracted(&[F::SessionUserId, F::AgentId], |event, _| {
            derive::first(event, &[F::SessionUserId, F::AgentId])
        }),
    ),
    row("user.type_id", Constant("0")),
    row("service.name", Extracted(&[F::AgentName], |event, _| event.text(F::AgentName))),
    row("session.uid", Extracted(&[F::SessionId], |event, _| event.text(F::SessionId))),
    row("unmapped.action", Event(F::Action, value)),
    row("unmapped.decision.guard", Event(F::Guard, value)),
    row("device.hostname", Text("host.name")),
    row("device.type_id", When("host.name", "0")),
];

const BASE: &[Field] = &[
    row("class_uid", Constant("0")),
    row("class_name", Constant(r#""Base Event""#)),
    row("category_uid", Constant("0")),
    row("category_name", Constant(r#""Uncategorized""#)),
    row("activity_id", Constant("99")),
    row("activity_name", Event(F::Action, value)),
    row("type_uid", Constant("99")),
    row("status_id", OneOf(&[F::Outcome], outcome, STATUS_IDS)),
    row("status", Extracted(&[F::Outcome], status)),
    row("unmapped.decision.guard", Event(F::Guard, value)),
    row("device.hostname", Text("host.name")),
    row("device.type_id", When("host.name", "0")),
];

const SEVERITIES: &[&str] =
    &[r#""Informational""#, r#""Low""#, r#""Medium""#, r#""High""#, r#""Critical""#];

const ACTIONS: &[&str] = &[r#""Allowed""#, r#""Denied""#, r#""Observed""#, r#""Modified""#];

const DISPOSITIONS: &[&str] = &[r#""Allowed""#, r#""Blocked""#, r#""Detected""#, r#""Corrected""#];

const ACCESSES: &[&str] = &[r#""Read""#, r#""Update""#, r#""Open""#];

const STATUS_IDS: &[&str] = &["1", "2", "0", "99"];

/// Allowed, denied, warned about, or let through with values replaced.
fn decision(event: &E<'_>, _: Choices) -> usize {
    if !event.opened.allowed {
        return 1;
    }
    if event.opened.event_type == EventType::GuardWarn {
        return 2;
    }
    if derive::sanitized(event).is_some() { 3 } else { 0 }
}

/// A denial that is at least high is something to look at.
fn alert(event: &E<'_>, _: Choices) -> usize {
    usize::from(!event.opened.allowed && event.opened.severity >= Severity::High)
}

fn outcome(event: &E<'_>, _: Choices) -> usize {
    match event.opened.outcome {
        Outcome::Success => 0,
        Outcome::Failure => 1,
        Outcome::Unknown => 2,
        Outcome::Other => 3,
    }
}

/// The caption of the status; that of another one is what the source wrote.
fn status<'a>(event: &E<'a>, _: Choices) -> &'a [u8] {
    match event.opened.outcome {
        Outcome::Success => b"Success",
        Outcome::Failure => b"Failure",
        Outcome::Unknown => b"Unknown",
        Outcome::Other => event.text(F::Outcome),
    }
}

/// The kind of the threat indicator as the source wrote it.
fn indicator_type<'a>(event: &E<'a>, choices: Choices) -> &'a [u8] {
    if derive::shows_indicator(event, choices) { event.text(F::IndicatorType) } else { b"" }
}

fn refused(event: &E<'_>, _: Choices) -> usize {
    usize::from(event.opened.event_type == EventType::EgressBlocked)
}

fn ended(event: &E<'_>, _: Choices) -> usize {
    usize::from(event.opened.event_type == EventType::SessionEnd)
}

/// Read, update, or open when the action says neither.
fn access(event: &E<'_>, _: Choices) -> usize {
    let action = event.text(F::Action);
    let says =
        |words: [&[u8]; 2]| words.iter().any(|word| memchr::memmem::find(action, word).is_some());
    let writes = says([b"write", b"patch"]);
    match event.opened.event_type {
        EventType::PatchRejected => 1,
        _ if writes => 1,
        EventType::ForbiddenPath => 0,
        _ if says([b"read", b"get"]) => 0,
        _ => 2,
    }
}
